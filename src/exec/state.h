/* state.h: what an executor holds, for the files of this room that run it in
 * other orders than front to back (grad.c).
 */
#ifndef LDNQ_EXEC_STATE_H
#define LDNQ_EXEC_STATE_H

#include <ldnq/exec.h>

#include "exec/buffers.h"
#include "exec/plan.h"

struct ldnq_slot {
    struct ldnq_tensor tensor; /* type and shape stay when the data are dropped */
    struct ldnq_buffer *buffer; /* NULL for a lent tensor */
    bool held;
};

struct ldnq_exec {
    const struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct ldnq_arena *arena;
    struct ldnq_plan plan;
    struct ldnq_buffers buffers;
    struct ldnq_slot *slots; /* by value */
    const struct ldnq_tensor **in;
    struct ldnq_tensor *out;
    struct ldnq_buffer **unwanted; /* by output: of one that is left out, while its node runs */
    void *scratch;
    size_t scratch_size;
};

/* Gives up a value's data; its type and shape stay known. */
void ldnq_exec_drop(struct ldnq_exec *exec, size_t value);

/* The executor's scratch, made as large as `bytes`. Errors: NOMEM, also for SIZE_MAX
 * (a size that can't be counted). */
enum ldnq_status ldnq_exec_scratch(struct ldnq_exec *exec, size_t bytes, struct ldnq_error *err);

#endif

/* exec_state.h: what an executor holds, for the files of this room that run it in
 * other orders than front to back (grad.c).
 */
#ifndef LDNQ_EXEC_EXEC_STATE_H
#define LDNQ_EXEC_EXEC_STATE_H

#include "exec/exec.h"

#include "exec/buffers.h"
#include "exec/exec_plan.h"

struct ldnq_slot {
    struct ldnq_tensor tensor;       /* type and shape stay when the data are dropped */
    struct ldnq_exec_buffer *buffer; /* NULL for a lent tensor */
    bool held;
};

struct ldnq_exec {
    const struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct ldnq_arena *arena;
    struct ldnq_exec_plan plan;
    struct ldnq_buffer_pool buffers;
    struct ldnq_slot *slots;        /* by value */
    struct ldnq_stretch *stretches; /* by node (exec/batch_tiling.h) */
    struct ldnq_slot *whole;        /* by value, held while a stretch has parts of it in slots */
    const struct ldnq_tensor **in;
    struct ldnq_tensor *out;
    struct ldnq_exec_buffer *
        *unwanted; /* by output: of one that is left out, while its node runs */
    /* By node: executors of the bodies of one that has bodies (exec/control_flow.h). */
    struct ldnq_exec *(*bodies)[2];
    void *scratch;
    size_t scratch_size;
    /* Nothing is computed: outputs get the shapes that they had last, and buffers
     * only count (ldnq_buffer_pool.counts). */
    bool rehearsal;
};

/* Gives up a value's data; its type and shape stay known. */
void ldnq_exec_drop(struct ldnq_exec *exec, size_t value);

/* Errors: DATA, naming both, for a tensor that does not fit the graph input `value`.
 * `bound` has a size for each symbol, -1 for none yet, and takes in those that the
 * tensor gives. */
enum ldnq_status ldnq_exec_check_input(const struct ldnq_graph *graph,
                                       const struct ldnq_value *value,
                                       const struct ldnq_tensor *tensor, int64_t *bound,
                                       struct ldnq_error *err);

/* The executor's scratch, made as large as `bytes`. Errors: NOMEM, also for SIZE_MAX
 * (a size that can't be counted). */
enum ldnq_status ldnq_exec_scratch(struct ldnq_exec *exec, size_t bytes, struct ldnq_error *err);

#endif

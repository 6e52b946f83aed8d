/* SPDX-License-Identifier: Apache-2.0 */
/* exec_state.h: the inside of an executor, for the files of this room that run nodes
 * in another order than the graph's (grad.c, batch_tiling.c, control_flow.c).
 */
#ifndef LDNQ_EXEC_EXEC_STATE_H
#define LDNQ_EXEC_EXEC_STATE_H

#include "exec/exec.h"

#include "exec/buffers.h"
#include "exec/exec_plan.h"

/* Storage of one value. */
struct ldnq_exec_slot {
    struct ldnq_tensor tensor;       /* type and shape stay valid when the data are freed */
    struct ldnq_exec_buffer *buffer; /* NULL for a bound tensor, which the caller owns */
    bool is_live;
};

struct ldnq_exec {
    const struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct ldnq_arena *arena;
    struct ldnq_exec_plan plan;
    struct ldnq_buffer_pool buffers;
    struct ldnq_exec_slot *slots; /* by value */
    /* Batch tiling (exec/batch_tiling.h). tilings: by node. tile_execs: by thread, NULL without
     * tilings; they run nodes of this graph by this plan, on the samples of a tile. */
    struct ldnq_batch_tiling *tilings;
    struct ldnq_exec *tile_execs;
    size_t tile_exec_count;
    /* Inputs and outputs of the node that runs. */
    const struct ldnq_tensor **in;
    struct ldnq_tensor *out;
    struct ldnq_exec_buffer **omitted; /* by output: memory of an omitted output */
    /* By node: executors of its bodies, for If, Loop and Scan (exec/control_flow.h). */
    struct ldnq_exec *(*bodies)[2];
    /* Iterations of all loops in this graph since ldnq_exec_reset, nested ones included. */
    uint64_t iterations;
    /* Operations of all nodes that have run since then (ops/operation_count.h), with those of
     * bodies. */
    size_t operations;
    /* The node of this graph or of a body in it whose runs are reported; NULL: none. */
    const struct ldnq_node *watched;
    ldnq_exec_watch_fn *watch;
    void *watch_ctx;
    void *scratch;
    size_t scratch_size;
    /* Nothing is computed: outputs get the shapes of the last real run, and `buffers`
     * only count bytes (ldnq_buffer_pool.counts_only). */
    bool is_dry_run;
};

/* Allocates the lists whose sizes depend on the graph alone. Errors: NOMEM. */
enum ldnq_status ldnq_exec_make_lists(struct ldnq_exec *exec, struct ldnq_arena *arena,
                                      struct ldnq_error *err);

/* Frees a value's data; its type and shape stay known. */
void ldnq_exec_free_value(struct ldnq_exec *exec, size_t value_index);

/* Checks a tensor against type and shape of a graph input. symbol_sizes: by symbol of
 * the graph, -1 for a size that is still unknown; sizes that the tensor determines are
 * stored there. Errors: DATA, with both shapes. */
enum ldnq_status ldnq_exec_check_input(const struct ldnq_graph *graph,
                                       const struct ldnq_value *value,
                                       const struct ldnq_tensor *tensor, int64_t *symbol_sizes,
                                       struct ldnq_error *err);

/* Grows exec->scratch to `bytes`. Errors: NOMEM, also for SIZE_MAX (a size that can't be
 * counted). */
enum ldnq_status ldnq_exec_reserve_scratch(struct ldnq_exec *exec, size_t bytes,
                                           struct ldnq_error *err);

#endif

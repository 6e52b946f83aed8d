/* SPDX-License-Identifier: Apache-2.0 */
/* grad_plan.h: which values a gradient's forward pass saves, and which nodes are
 * recomputed in its backward pass (checkpointing).
 *
 * The nodes are split into segments. The forward pass saves the tensors that the backward
 * of the last segment reads, and of each earlier segment only its checkpoints: the values
 * from which the segment can be recomputed. With one segment nothing is recomputed.
 *
 * A pass is prepared by writing `last_use` and `skipped` of the executor's own plan; the
 * executor then frees, overwrites and skips accordingly.
 *
 * Owns    nothing; the lists live in the arena that was passed in
 * Source  Chen, Xu, Zhang, Guestrin, "Training Deep Nets with Sublinear Memory Cost",
 *         2016; here segments have equal saved bytes, not equal numbers of nodes
 */
#ifndef LDNQ_EXEC_GRAD_PLAN_H
#define LDNQ_EXEC_GRAD_PLAN_H

#include "exec/exec_plan.h"
#include "exec/exec_state.h"
#include "exec/grad_reach.h"

struct ldnq_grad_plan {
    struct ldnq_exec *exec;
    const struct ldnq_grad_options *options;
    const struct ldnq_grad_reach *reach;
    size_t segment_count;
    size_t *start; /* segment m is the nodes start[m] .. start[m+1]-1 */
    /* By value: the lowest node index whose backward reads its data, which is its last
     * use in the backward pass; LDNQ_NO_NODE when no backward reads it. */
    size_t *last_backward_use;
    /* By value: for a checkpoint, the lowest segment that needs it, after whose backward
     * it is freed; LDNQ_NO_NODE for all other values. */
    size_t *checkpoint_until;
    bool *is_fed;   /* by value: it comes from outside in this run */
    bool *is_fused; /* by node: it runs inside another node */
    /* By value, for the pass that is being prepared: it must be computed or be at hand;
     * it is at hand; it must survive the pass. */
    bool *needed, *available, *retained;
    /* By node index p and for p = node_count: bytes of saved tensors defined by the nodes
     * before p, and bytes of the values that are live across p. */
    size_t *saved_bytes, *crossing_bytes;
};

/* Finds the saved tensors; one segment. Undoes the fusion of clamps where the value
 * before the clamp is read. Errors: NOMEM. */
enum ldnq_status ldnq_grad_plan_init(struct ldnq_grad_plan *plan, struct ldnq_exec *exec,
                                     const struct ldnq_grad_options *options,
                                     const struct ldnq_grad_reach *reach, struct ldnq_arena *arena,
                                     struct ldnq_error *err);

/* Computes saved_bytes and crossing_bytes from the shapes of the last forward pass. */
void ldnq_grad_plan_measure_bytes(struct ldnq_grad_plan *plan);
/* Splits the nodes into `segments` segments of about equal saved bytes, each starting
 * where few bytes cross; into fewer when there are fewer nodes. Needs measured sizes,
 * except for one segment. */
void ldnq_grad_plan_split_into_segments(struct ldnq_grad_plan *plan, size_t segments);

/* Prepares the forward pass; with only_targets it saves nothing but the targets. */
void ldnq_grad_plan_prepare_forward(struct ldnq_grad_plan *plan, bool only_targets);
/* Prepares the recomputation of segment m from the values that are live now. */
void ldnq_grad_plan_prepare_recompute(struct ldnq_grad_plan *plan, size_t m);

/* Whether the value's data are needed neither by the backward of the nodes below
 * `node_index` in segment m nor by any segment below m. */
bool ldnq_grad_plan_is_dead(const struct ldnq_grad_plan *plan, size_t value, size_t m,
                            size_t node_index);

#endif

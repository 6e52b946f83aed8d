/* grad_plan.h: which values a gradient's forward pass keeps, and which nodes run
 * again when the backward pass comes to them.
 *
 * The nodes are cut into segments. The first pass over all of them keeps what the
 * backward of the last segment reads, and of the others only what they need from
 * outside to be run again. One segment: nothing runs twice.
 *
 * A pass is prepared by writing last_read and skipped of the executor's own plan:
 * it then drops and overwrites what may go, and nothing else.
 */
#ifndef LDNQ_EXEC_GRAD_PLAN_H
#define LDNQ_EXEC_GRAD_PLAN_H

#include "exec/grad_reach.h"
#include "exec/exec_plan.h"
#include "exec/exec_state.h"

struct ldnq_grad_plan {
    struct ldnq_exec *exec;
    const struct ldnq_grad_options *options;
    const struct ldnq_grad_reach *reach;
    size_t segments;
    size_t *start; /* segment m is the nodes start[m] .. start[m+1]-1 */
    /* By value; LDNQ_NEVER for none. The lowest place whose backward reads its data;
     * and of those that the first pass keeps for segments below the last one, or
     * across a cut, the lowest segment that needs it. */
    size_t *read_back, *lowest;
    bool *fed;                /* by value: given from outside in this run */
    bool *fused_away;         /* by node: runs inside another */
    bool *need, *have, *keep; /* by value, for the pass at hand */
    /* By node and behind the last one: bytes that the backward of the nodes in front
     * reads, and bytes that cross the place (ldnq_grad_plan_weigh). */
    size_t *kept, *crossing;
};

/* Takes clamps out of nodes where the values between are looked at; one segment.
 * Errors: NOMEM. */
enum ldnq_status ldnq_grad_plan_init(struct ldnq_grad_plan *plan, struct ldnq_exec *exec,
                                     const struct ldnq_grad_options *options,
                                     const struct ldnq_grad_reach *reach, struct ldnq_arena *arena,
                                     struct ldnq_error *err);

/* Takes the sizes of values from the last forward pass. */
void ldnq_grad_plan_weigh(struct ldnq_grad_plan *plan);
/* Cuts into as many segments of about the same kept bytes each, at places that
 * little crosses; into less where there are not as many places. One segment needs
 * no sizes. */
void ldnq_grad_plan_cut(struct ldnq_grad_plan *plan, size_t segments);

/* The first pass; `keeps` false: one that keeps the targets alone. */
void ldnq_grad_plan_forward(struct ldnq_grad_plan *plan, bool keeps);
/* Segment m again, from what is held. */
void ldnq_grad_plan_again(struct ldnq_grad_plan *plan, size_t m);

/* Whether the value's data are of no use any more, neither for the backward of the
 * nodes below `place` in segment m nor for the segments below. */
bool ldnq_grad_plan_is_done(const struct ldnq_grad_plan *plan, size_t value, size_t m,
                            size_t place);

#endif

/* exec_plan.h: what an executor knows of a graph before data come: when each value
 * is made and read for the last time, and which activations run inside the node
 * in front of them.
 */
#ifndef LDNQ_EXEC_EXEC_PLAN_H
#define LDNQ_EXEC_EXEC_PLAN_H

#include "ops/op.h"

#define LDNQ_NEVER SIZE_MAX

struct ldnq_exec_plan {
    const struct ldnq_graph *graph;
    /* By value: the node (place) that makes it, or LDNQ_NEVER for inputs; and the
     * last one that reads it, node_count for graph outputs, LDNQ_NEVER for none. */
    size_t *made, *last_read;
    /* By node: the clamp behind it that it applies itself, as a node (place) that
     * is then skipped; LDNQ_NEVER for none. */
    size_t *fused;
    struct ldnq_clamp *clamp;
    bool *skipped;
};

/* Lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_exec_plan_init(struct ldnq_exec_plan *plan, const struct ldnq_graph *graph,
                                     struct ldnq_arena *arena, struct ldnq_error *err);

/* The value that output i of a node goes to: its own, or that of the clamp that runs
 * inside it. NULL where it is left out. */
const struct ldnq_value *ldnq_exec_plan_output(const struct ldnq_exec_plan *plan, size_t place,
                                               size_t i);

/* Takes the clamp out of the node at `place` again. */
void ldnq_exec_plan_unfuse(struct ldnq_exec_plan *plan, size_t place);

#endif

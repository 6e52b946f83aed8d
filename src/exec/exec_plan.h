/* SPDX-License-Identifier: Apache-2.0 */
/* exec_plan.h: what is known about a graph's execution before data arrive.
 *
 * Live ranges  each value lives from the node that defines it to its last use
 * Fusion       a Relu or Clip runs inside the convolution that produces its input, a
 *              DequantizeLinear inside the QuantizeLinear, an Add of a bias inside the
 *              MatMul, when nothing else reads the value between the two
 * Owns         nothing; the lists live in the arena that was passed in
 */
#ifndef LDNQ_EXEC_EXEC_PLAN_H
#define LDNQ_EXEC_EXEC_PLAN_H

#include "ops/op.h"

/* In place of a node index: no node. */
#define LDNQ_NO_NODE SIZE_MAX

struct ldnq_exec_plan {
    const struct ldnq_graph *graph;
    /* By value, as node indices. definition: the node that computes the value;
     * LDNQ_NO_NODE for inputs and constants. last_use: the last node that reads it;
     * node_count for graph outputs, LDNQ_NO_NODE for a value that nothing reads. */
    size_t *definition, *last_use;
    /* By node: the index of the node that runs inside it, or LDNQ_NO_NODE; and the bounds
     * where that is a clamp. */
    size_t *fused;
    struct ldnq_clamp *clamp;
    bool *skipped; /* by node: it runs inside another one */
};

/* Errors: NOMEM. */
enum ldnq_status ldnq_exec_plan_init(struct ldnq_exec_plan *plan, const struct ldnq_graph *graph,
                                     struct ldnq_arena *arena, struct ldnq_error *err);

/* The value that output i of a node is stored in: its own, or the output of the node
 * fused into it. NULL for an omitted output. */
const struct ldnq_value *ldnq_exec_plan_output(const struct ldnq_exec_plan *plan, size_t node_index,
                                               size_t i);

/* Undoes the fusion at this node: its reader runs by itself again. */
void ldnq_exec_plan_unfuse(struct ldnq_exec_plan *plan, size_t node_index);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* grad_reach.h: the values and nodes that gradients flow through: those that depend on
 * a requested value and that a target depends on.
 */
#ifndef LDNQ_EXEC_GRAD_REACH_H
#define LDNQ_EXEC_GRAD_REACH_H

#include "exec/grad.h"

#include "ops/op.h"

struct ldnq_grad_reach {
    /* By value: it is on a path from a requested value to a target, and can have a
     * gradient: its elements are float32, or codes of an operator that passes gradients
     * through rounding (LDNQ_OP_STRAIGHT_THROUGH). */
    bool *has_gradient;
    bool *requested, *target; /* by value */
    bool *active;             /* by node: its backward runs */
};

/* What the operator's record declares: whether a gradient can flow from the node's outputs
 * to its input i, and whether its backward reads the data of input i or of output i. */
bool ldnq_grad_is_differentiable(const struct ldnq_node *node, size_t i);
bool ldnq_grad_saves_input(const struct ldnq_node *node, size_t i);
bool ldnq_grad_saves_output(const struct ldnq_node *node, size_t i);

/* Whether the value holds the integer codes of a QuantizeLinear, possibly reshaped. */
bool ldnq_grad_is_quantized_codes(const struct ldnq_value *value);

/* Considers the nodes options->first .. last-1. The lists live in the arena.
 * Errors: UNSUPPORTED (all nodes that gradients would have to pass and can't, with the
 * reasons), USAGE (a target that depends on no requested value), NOMEM. */
enum ldnq_status ldnq_grad_reach_init(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                                      const struct ldnq_grad_options *options,
                                      struct ldnq_arena *arena, struct ldnq_error *err);

#endif

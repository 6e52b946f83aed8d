/* SPDX-License-Identifier: Apache-2.0 */
/* grad_state.h: the inside of a gradient object, and the backward of one node.
 */
#ifndef LDNQ_EXEC_GRAD_STATE_H
#define LDNQ_EXEC_GRAD_STATE_H

#include "exec/grad_plan.h"

/* The gradient of one value; no buffer while no gradient has reached it. */
struct ldnq_grad_slot {
    struct ldnq_tensor tensor;
    struct ldnq_exec_buffer *buffer;
};

struct ldnq_grad {
    const struct ldnq_graph *graph;
    struct ldnq_arena *arena;
    struct ldnq_grad_options options; /* the caller's options, with copies of its lists */
    struct ldnq_grad_reach reach;
    struct ldnq_grad_plan plan;
    struct ldnq_exec *exec;
    struct ldnq_grad_slot *slots; /* by value */
    struct ldnq_grad_slot *seeds; /* by target: the loss's gradient, while it is computed */
    /* Gradients of the outputs and of the inputs of the node whose backward runs. */
    const struct ldnq_tensor **out;
    struct ldnq_tensor *in;
    struct ldnq_exec_buffer **in_buffer;
    /* Arguments of the loss function, by target. */
    const struct ldnq_tensor **values;
    struct ldnq_tensor *gradients;
    /* The feeds for which the segments were chosen: by value, whether it was fed, and
     * with which shape. */
    struct ldnq_shape *planned_shape;
    bool *planned_fed, has_segments;
    int64_t *symbol_sizes; /* by symbol: its size in the feeds, to check that they agree */
};

/* The value's type and shape in the last forward pass, with its data if they are live. */
const struct ldnq_tensor *ldnq_grad_saved_tensor(const struct ldnq_grad *grad,
                                                 const struct ldnq_value *value);

void ldnq_grad_free_gradient(struct ldnq_grad *grad, struct ldnq_grad_slot *slot);
/* Allocates a gradient of zeros. Errors: NOMEM. */
enum ldnq_status ldnq_grad_allocate_zero(struct ldnq_grad *grad, const struct ldnq_shape *shape,
                                         struct ldnq_grad_slot *slot, struct ldnq_error *err);
/* Adds `term`, whose data are in `buffer`, to the value's gradient. Takes over one use of
 * the buffer, also on failure. Errors: NOMEM. */
enum ldnq_status ldnq_grad_accumulate(struct ldnq_grad *grad, const struct ldnq_value *value,
                                      const struct ldnq_tensor *term,
                                      struct ldnq_exec_buffer *buffer, struct ldnq_error *err);

/* Propagates the gradients of a node's outputs to its inputs, then releases those that
 * were not requested. Errors: those of the operator's backward, with the node's name;
 * NOMEM. */
enum ldnq_status ldnq_grad_backward_node(struct ldnq_grad *grad, size_t node_index,
                                         struct ldnq_error *err);

#endif

/* grad_state.h: what a gradient's object holds, and how gradients pass one node.
 */
#ifndef LDNQ_EXEC_GRAD_STATE_H
#define LDNQ_EXEC_GRAD_STATE_H

#include "exec/grad_plan.h"

/* Gradient of a value; no buffer while nothing has flowed to it. */
struct ldnq_grad_slot {
    struct ldnq_tensor tensor;
    struct ldnq_exec_buffer *buffer;
};

struct ldnq_grad {
    const struct ldnq_graph *graph;
    struct ldnq_arena *arena;
    struct ldnq_grad_options options; /* lists of our own */
    struct ldnq_grad_reach reach;
    struct ldnq_grad_plan plan;
    struct ldnq_exec *exec;
    struct ldnq_grad_slot *slots; /* by value */
    struct ldnq_grad_slot *seeds; /* by target; only while the loss is computed */
    /* For the node at hand: gradients of its outputs, and of its inputs. */
    const struct ldnq_tensor **out;
    struct ldnq_tensor *in;
    struct ldnq_exec_buffer **in_buffer;
    /* For the loss. */
    const struct ldnq_tensor **values;
    struct ldnq_tensor *gradients;
    /* What the cuts were made for: by value, the shapes of what was fed. */
    struct ldnq_shape *planned;
    bool *planned_fed, is_planned;
    int64_t *bound; /* by symbol */
};

/* The value's type and shape as they were seen last, and its data where they are
 * kept. */
const struct ldnq_tensor *ldnq_grad_seen(const struct ldnq_grad *grad,
                                         const struct ldnq_value *value);

void ldnq_grad_clear(struct ldnq_grad *grad, struct ldnq_grad_slot *slot);
/* A slot with zeros. Errors: NOMEM. */
enum ldnq_status ldnq_grad_make_zero(struct ldnq_grad *grad, const struct ldnq_shape *shape,
                                     struct ldnq_grad_slot *slot, struct ldnq_error *err);
/* Adds `part` to the value's gradient. Takes over one use of the buffer, whatever the
 * outcome. Errors: NOMEM. */
enum ldnq_status ldnq_grad_collect(struct ldnq_grad *grad, const struct ldnq_value *value,
                                   const struct ldnq_tensor *part, struct ldnq_exec_buffer *buffer,
                                   struct ldnq_error *err);

/* Hands the gradients of a node's outputs on to its inputs and gives up those that are
 * not requested. Errors: what backward returns, with the node in front; NOMEM. */
enum ldnq_status ldnq_grad_pass(struct ldnq_grad *grad, size_t place, struct ldnq_error *err);

#endif

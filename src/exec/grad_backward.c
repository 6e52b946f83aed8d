/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "exec/grad_state.h"

/* ---- gradients of values --------------------------------------------------------------- */

void ldnq_grad_free_gradient(struct ldnq_grad *grad, struct ldnq_grad_slot *slot)
{
    ldnq_buffer_pool_remove_user(&grad->exec->buffers, slot->buffer);
    *slot = (struct ldnq_grad_slot){ 0 };
}

static enum ldnq_status allocate_gradient(struct ldnq_grad *grad, const struct ldnq_shape *shape,
                                          struct ldnq_tensor *tensor,
                                          struct ldnq_exec_buffer **buffer, struct ldnq_error *err)
{
    size_t bytes;
    *tensor = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT, .shape = *shape };
    if (!ldnq_tensor_bytes(tensor, &bytes))
        return ldnq_fail(err, LDNQ_NOMEM, "a gradient is too large");
    LDNQ_TRY(ldnq_buffer_pool_acquire(&grad->exec->buffers, bytes, buffer, err));
    tensor->data = (*buffer)->data;
    return LDNQ_OK;
}

enum ldnq_status ldnq_grad_allocate_zero(struct ldnq_grad *grad, const struct ldnq_shape *shape,
                                         struct ldnq_grad_slot *slot, struct ldnq_error *err)
{
    LDNQ_TRY(allocate_gradient(grad, shape, &slot->tensor, &slot->buffer, err));
    if (!grad->exec->is_dry_run)
        memset(slot->tensor.data, 0, ldnq_tensor_count(&slot->tensor) * sizeof(float));
    return LDNQ_OK;
}

struct gradient_sum {
    float *sum;
    const float *term;
};

static void add_gradient_range(const void *ctx, size_t first, size_t last)
{
    const struct gradient_sum *s = ctx;
    for (size_t i = first; i < last; i++)
        s->sum[i] += s->term[i];
}

static void add_gradient(struct ldnq_grad *grad, struct ldnq_tensor *sum,
                         const struct ldnq_tensor *term)
{
    struct gradient_sum s = { sum->data, term->data };
    struct ldnq_op_call call = { .pool = grad->exec->pool };
    if (grad->exec->is_dry_run)
        return;
    ldnq_op_run_ranges(&call, ldnq_tensor_count(sum), add_gradient_range, &s);
}

/* Copies the gradient when another value's gradient shares its memory. To be called
 * before the elements change. */
static enum ldnq_status make_gradient_unshared(struct ldnq_grad *grad, struct ldnq_grad_slot *slot,
                                               struct ldnq_error *err)
{
    struct ldnq_grad_slot own = { 0 };
    if (slot->buffer->users == 1)
        return LDNQ_OK;
    LDNQ_TRY(allocate_gradient(grad, &slot->tensor.shape, &own.tensor, &own.buffer, err));
    if (!grad->exec->is_dry_run)
        memcpy(own.tensor.data, slot->tensor.data, ldnq_tensor_count(&own.tensor) * sizeof(float));
    ldnq_grad_free_gradient(grad, slot);
    *slot = own;
    return LDNQ_OK;
}

enum ldnq_status ldnq_grad_accumulate(struct ldnq_grad *grad, const struct ldnq_value *value,
                                      const struct ldnq_tensor *term,
                                      struct ldnq_exec_buffer *buffer, struct ldnq_error *err)
{
    struct ldnq_grad_slot *slot = &grad->slots[value->index];
    if (!slot->buffer) {
        *slot = (struct ldnq_grad_slot){ *term, buffer };
        return LDNQ_OK;
    }
    enum ldnq_status status = make_gradient_unshared(grad, slot, err);
    if (status == LDNQ_OK)
        add_gradient(grad, &slot->tensor, term);
    ldnq_buffer_pool_remove_user(&grad->exec->buffers, buffer);
    return status;
}

/* ---- one node ---------------------------------------------------------------------------- */

const struct ldnq_tensor *ldnq_grad_saved_tensor(const struct ldnq_grad *grad,
                                                 const struct ldnq_value *value)
{
    return value->constant ? value->constant : &grad->exec->slots[value->index].tensor;
}

/* Whether the backward of the node computes a gradient for its input i. */
static bool needs_gradient(const struct ldnq_grad *grad, const struct ldnq_node *node, size_t i)
{
    const struct ldnq_value *value = node->inputs[i];
    return value && grad->reach.has_gradient[value->index] &&
           ldnq_grad_is_differentiable(node, i) &&
           (ldnq_grad_saved_tensor(grad, value)->dtype == LDNQ_FLOAT ||
            ldnq_grad_is_quantized_codes(value));
}

/* The gradient of a view's input is the memory of its output's gradient, reshaped. */
static enum ldnq_status pass_gradient_through_view(struct ldnq_grad *grad,
                                                   const struct ldnq_node *node,
                                                   struct ldnq_error *err)
{
    const struct ldnq_grad_slot *out = &grad->slots[node->outputs[0]->index];
    struct ldnq_tensor part = out->tensor;
    if (!out->buffer || !needs_gradient(grad, node, 0))
        return LDNQ_OK;
    part.shape = ldnq_grad_saved_tensor(grad, node->inputs[0])->shape;
    out->buffer->users++;
    return ldnq_grad_accumulate(grad, node->inputs[0], &part, out->buffer, err);
}

static enum ldnq_status call_backward(struct ldnq_grad *grad, const struct ldnq_node *node,
                                      struct ldnq_error *err)
{
    struct ldnq_exec *exec = grad->exec;
    struct ldnq_op_call call = {
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = exec->in,
        .out = exec->out,
        .pool = exec->pool,
    };
    struct ldnq_op_grad op_grad = { .call = &call, .out = grad->out, .in = grad->in };
    for (size_t i = 0; i < node->input_count; i++)
        exec->in[i] = node->inputs[i] ? ldnq_grad_saved_tensor(grad, node->inputs[i]) : NULL;
    for (size_t i = 0; i < node->output_count; i++)
        exec->out[i] = node->outputs[i] ? *ldnq_grad_saved_tensor(grad, node->outputs[i])
                                        : (struct ldnq_tensor){ .shape.rank = LDNQ_RANK_UNKNOWN };
    for (size_t i = 0; i < node->input_count; i++)
        if (needs_gradient(grad, node, i))
            LDNQ_TRY(allocate_gradient(grad, &exec->in[i]->shape, &grad->in[i], &grad->in_buffer[i],
                                       err));
    if (exec->is_dry_run)
        return LDNQ_OK;
    size_t bytes =
        node->op->backward_scratch_bytes ? node->op->backward_scratch_bytes(&op_grad) : 0;
    LDNQ_TRY(ldnq_exec_reserve_scratch(exec, bytes, err));
    call.scratch = exec->scratch;
    return node->op->backward(&op_grad, err);
}

static enum ldnq_status run_operator_backward(struct ldnq_grad *grad, const struct ldnq_node *node,
                                              struct ldnq_error *err)
{
    bool has_gradient = false;
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_grad_slot *slot =
            node->outputs[i] ? &grad->slots[node->outputs[i]->index] : NULL;
        grad->out[i] = slot && slot->buffer ? &slot->tensor : NULL;
        has_gradient |= grad->out[i] != NULL;
    }
    if (!has_gradient)
        return LDNQ_OK;
    for (size_t i = 0; i < node->input_count; i++) {
        grad->in[i] = (struct ldnq_tensor){ .dtype = LDNQ_FLOAT };
        grad->in_buffer[i] = NULL;
    }
    enum ldnq_status status = call_backward(grad, node, err);
    for (size_t i = 0; i < node->input_count; i++) {
        if (grad->in_buffer[i] && status == LDNQ_OK)
            status =
                ldnq_grad_accumulate(grad, node->inputs[i], &grad->in[i], grad->in_buffer[i], err);
        else
            ldnq_buffer_pool_remove_user(&grad->exec->buffers, grad->in_buffer[i]);
    }
    return status;
}

enum ldnq_status ldnq_grad_backward_node(struct ldnq_grad *grad, size_t node_index,
                                         struct ldnq_error *err)
{
    const struct ldnq_node *node = grad->graph->nodes[node_index];
    struct ldnq_error reason;
    enum ldnq_status status = node->op->flags & LDNQ_OP_VIEW
                                  ? pass_gradient_through_view(grad, node, &reason)
                                  : run_operator_backward(grad, node, &reason);
    if (status != LDNQ_OK)
        return ldnq_node_fail(grad->graph, node, status, err, "its gradient: %s", reason.message);
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && !grad->reach.requested[node->outputs[i]->index])
            ldnq_grad_free_gradient(grad, &grad->slots[node->outputs[i]->index]);
    return LDNQ_OK;
}

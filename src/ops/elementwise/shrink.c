/* SPDX-License-Identifier: Apache-2.0 */
/* shrink.c: Shrink: x + bias below -lambd, x - bias above lambd, else 0. */
#include "ops/op.h"

struct shrink_loop {
    const float *x, *dy;
    float *y; /* dx in backward */
    float lambd, bias;
};

static enum ldnq_status shrink_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

static void shrink_range(const void *ctx, size_t first, size_t last)
{
    const struct shrink_loop *s = ctx;
    for (size_t i = first; i < last; i++) {
        const float v = s->x[i];
        s->y[i] = v < -s->lambd ? v + s->bias : v > s->lambd ? v - s->bias : 0.0f;
    }
}

static void shrink_gradient(const void *ctx, size_t first, size_t last)
{
    const struct shrink_loop *s = ctx;
    for (size_t i = first; i < last; i++)
        s->y[i] = s->x[i] < -s->lambd || s->x[i] > s->lambd ? s->dy[i] : 0.0f;
}

static struct shrink_loop describe_loop(const struct ldnq_op_call *call)
{
    return (struct shrink_loop){ .x = call->in[0]->data,
                                 .lambd = ldnq_attr_float(call->node, "lambd", 0.5f),
                                 .bias = ldnq_attr_float(call->node, "bias", 0.0f) };
}

static enum ldnq_status shrink_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct shrink_loop shrink = describe_loop(call);
    (void)err;
    shrink.y = call->out[0].data;
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), shrink_range, &shrink);
    return LDNQ_OK;
}

static enum ldnq_status shrink_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct shrink_loop shrink = describe_loop(grad->call);
    (void)err;
    shrink.dy = grad->out[0]->data;
    shrink.y = grad->in[0].data;
    ldnq_op_run_ranges(grad->call, ldnq_tensor_count(grad->call->in[0]), shrink_gradient, &shrink);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_shrink = {
    .type = "Shrink",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = shrink_infer_shape,
    .forward = shrink_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward = shrink_backward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* prelu.c: PRelu. The slope (input 1) broadcasts to the input, not the other way round. */
#include "ops/shared/elementwise.h"

LDNQ_BINARY_LOOP(prelu_loop, float, float, x < 0.0f ? x * y : x)

static enum ldnq_status prelu_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *slope = &call->in[1]->shape;
    struct ldnq_shape both;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_broadcast(call, x, slope, &both, err));
    if (ldnq_shape_is_known(x) && ldnq_shape_is_known(slope) && !ldnq_shapes_are_equal(x, &both))
        return ldnq_fail(err, LDNQ_MODEL, "its slope does not broadcast to its input");
    return LDNQ_OK;
}

static enum ldnq_status prelu_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in[] = { call->in[0], call->in[1] };
    (void)err;
    ldnq_elementwise_run(call, prelu_loop, &call->out[0], in, 2);
    return LDNQ_OK;
}

LDNQ_TERNARY_LOOP(input_gradient, x < 0.0f ? g * y : g)
LDNQ_BINARY_LOOP(slope_gradient, float, float, y < 0.0f ? x * y : 0.0f)

static enum ldnq_status prelu_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *in[] = { grad->out[0], grad->call->in[0], grad->call->in[1] };
    (void)err;
    ldnq_elementwise_compute_grad(grad, 0, input_gradient, in, 3);
    ldnq_elementwise_compute_grad(grad, 1, slope_gradient, in, 2);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_prelu = {
    .type = "PRelu",
    .since = 7,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = prelu_infer_shape,
    .forward = prelu_forward,
    .differentiable = 3,
    .saved_inputs = 3,
    .backward_scratch_bytes = ldnq_elementwise_grad_scratch_bytes,
    .backward = prelu_backward,
};

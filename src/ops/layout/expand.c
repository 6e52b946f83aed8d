/* SPDX-License-Identifier: Apache-2.0 */
/* expand.c: Expand: broadcasts the input to a shape. */
#include "ops/shared/strided.h"

static enum ldnq_status expand_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_shape shape;
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(ldnq_op_read_dims(call, 1, &shape, err));
    if (shape.rank < 0 || call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0 && !ldnq_is_symbol(shape.dim[i]))
            return ldnq_fail(err, LDNQ_MODEL, "its shape has a negative size");
    return ldnq_op_broadcast(call, &call->in[0]->shape, &shape, &call->out[0].shape, err);
}

static enum ldnq_status expand_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    size_t from[LDNQ_MAX_RANK];
    ptrdiff_t to[LDNQ_MAX_RANK];
    struct ldnq_strided region = { 0 };
    (void)err;
    ldnq_op_broadcast_strides(&in->shape, &out->shape, from);
    ldnq_row_major_strides(&out->shape, to);
    for (int i = 0; i < out->shape.rank; i++)
        ldnq_strided_add_axis(&region, (size_t)out->shape.dim[i], (ptrdiff_t)from[i], to[i]);
    ldnq_strided_copy(call, &region, ldnq_dtype_size(in->dtype), in->data, out->data);
    return LDNQ_OK;
}

static enum ldnq_status expand_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    if (grad->in[0].data)
        ldnq_op_sum_broadcast_grad(grad->call, grad->out[0], &grad->in[0]);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_expand = {
    .type = "Expand",
    .since = 8,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = expand_infer_shape,
    .forward = expand_forward,
    .differentiable = 1,
    .backward = expand_backward,
};

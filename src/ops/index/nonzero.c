/* SPDX-License-Identifier: Apache-2.0 */
/* nonzero.c: NonZero: the indices of elements that are not zero, as a matrix (rank, found).
 * The output's size depends on the data. */
#include "ops/op.h"

#define NONZERO_TYPES                                                                              \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64) |        \
     LDNQ_DTYPE_BIT(LDNQ_BOOL) | LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8))

static bool is_nonzero(const struct ldnq_tensor *x, size_t i)
{
    switch (x->dtype) {
    case LDNQ_FLOAT:
        return ((const float *)x->data)[i] != 0.0f;
    case LDNQ_INT32:
        return ((const int32_t *)x->data)[i] != 0;
    case LDNQ_INT64:
        return ((const int64_t *)x->data)[i] != 0;
    default:
        return ((const uint8_t *)x->data)[i] != 0;
    }
}

static enum ldnq_status nonzero_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *x = call->in[0];
    struct ldnq_tensor *out = &call->out[0];
    size_t count;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, NONZERO_TYPES, err));
    out->dtype = LDNQ_INT64;
    if (x->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    out->shape = (struct ldnq_shape){ .rank = 2, .dim = { x->shape.rank } };
    if (!x->data || !ldnq_shape_count(&x->shape, &count))
        return ldnq_op_make_unknown_dim(call, &out->shape.dim[1], err);
    for (size_t i = 0; i < count; i++)
        out->shape.dim[1] += is_nonzero(x, i);
    return LDNQ_OK;
}

static enum ldnq_status nonzero_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *x = call->in[0];
    int64_t *out = call->out[0].data;
    size_t found = (size_t)call->out[0].shape.dim[1], at = 0;
    (void)err;
    for (size_t i = 0; i < ldnq_tensor_count(x); i++) {
        size_t rest = i;
        if (!is_nonzero(x, i))
            continue;
        for (int k = x->shape.rank - 1; k >= 0; k--) {
            out[(size_t)k * found + at] = (int64_t)(rest % (size_t)x->shape.dim[k]);
            rest /= (size_t)x->shape.dim[k];
        }
        at++;
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_nonzero = {
    .type = "NonZero",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = nonzero_infer_shape,
    .forward = nonzero_forward,
};

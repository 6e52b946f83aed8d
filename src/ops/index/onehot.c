/* SPDX-License-Identifier: Apache-2.0 */
/* onehot.c: OneHot: adds an axis of `depth` elements, which has the on-value at the index and
 * the off-value elsewhere. An index out of range has no on-value. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "ops/shared/float_sums.h"

#define NUMBERS                                                                                    \
    (LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64) | LDNQ_DTYPE_BIT(LDNQ_FLOAT))

/* Element i as an integer; NaN and numbers beyond 2^62 become INT64_MIN, which is out of
 * range for every axis. */
static int64_t read_element_as_int64(const struct ldnq_tensor *tensor, size_t i)
{
    if (tensor->dtype == LDNQ_INT64)
        return ((const int64_t *)tensor->data)[i];
    if (tensor->dtype == LDNQ_INT32)
        return ((const int32_t *)tensor->data)[i];
    float value = ((const float *)tensor->data)[i];
    return fabsf(value) < 0x1p62f ? (int64_t)value : INT64_MIN;
}

/* Reads the position of the new axis, in 0 .. rank. */
static enum ldnq_status read_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank + 1,
                                axis, err);
}

static enum ldnq_status onehot_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    int axis;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, NUMBERS, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, NUMBERS, err));
    LDNQ_TRY(ldnq_op_require_one_element(call, 1, err));
    call->out[0].dtype = call->in[2]->dtype;
    if (ldnq_shape_is_known(&call->in[2]->shape) &&
        (call->in[2]->shape.rank != 1 || call->in[2]->shape.dim[0] != 2))
        return ldnq_fail(err, LDNQ_MODEL, "its values are not two elements");
    if (in->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (in->rank == LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                         LDNQ_MAX_RANK);
    LDNQ_TRY(read_axis(call, &axis, err));
    out->rank = in->rank + 1;
    for (int i = 0; i < out->rank; i++)
        out->dim[i] = i < axis ? in->dim[i] : i > axis ? in->dim[i - 1] : 0;
    if (!call->in[1]->data)
        return ldnq_op_make_unknown_dim(call, &out->dim[axis], err);
    out->dim[axis] = read_element_as_int64(call->in[1], 0);
    return out->dim[axis] < 0 && !ldnq_is_symbol(out->dim[axis])
               ? ldnq_fail(err, LDNQ_MODEL, "its depth is negative")
               : LDNQ_OK;
}

static enum ldnq_status onehot_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    size_t size = ldnq_dtype_size(out->dtype), count = ldnq_tensor_count(out);
    const char *off = call->in[2]->data, *on = off + size;
    char *y = out->data;
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    struct ldnq_axis_split at = ldnq_op_split_at_axis(&out->shape, axis);
    for (size_t i = 0; i < count; i++)
        memcpy(y + i * size, off, size);
    for (size_t i = 0; count > 0 && i < at.outer * at.inner; i++) {
        int64_t depth = (int64_t)at.size, index = read_element_as_int64(call->in[0], i);
        if (index < -depth || index >= depth)
            continue;
        size_t at_depth = (size_t)(index < 0 ? index + depth : index);
        memcpy(y + ((i / at.inner * at.size + at_depth) * at.inner + i % at.inner) * size, on,
               size);
    }
    return LDNQ_OK;
}

/* The gradient of the two values: the on-value gets the sum over all elements at an index,
 * the off-value the sum over all others. */
static enum ldnq_status onehot_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *out = &grad->call->out[0];
    const float *gradient = grad->out[0]->data;
    float *values = grad->in[2].data;
    double on = 0;
    int axis;
    if (!values)
        return LDNQ_OK;
    LDNQ_TRY(read_axis(grad->call, &axis, err));
    struct ldnq_axis_split at = ldnq_op_split_at_axis(&out->shape, axis);
    size_t count = ldnq_tensor_count(out);
    for (size_t i = 0; count > 0 && i < at.outer * at.inner; i++) {
        int64_t depth = (int64_t)at.size, index = read_element_as_int64(grad->call->in[0], i);
        if (index < -depth || index >= depth)
            continue;
        size_t at_depth = (size_t)(index < 0 ? index + depth : index);
        on += (double)gradient[(i / at.inner * at.size + at_depth) * at.inner + i % at.inner];
    }
    values[0] = (float)(ldnq_sum_floats(gradient, count) - on);
    values[1] = (float)on;
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_onehot = {
    .type = "OneHot",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = onehot_infer_shape,
    .forward = onehot_forward,
    .differentiable = 4,
    .saved_inputs = 1,
    .backward = onehot_backward,
};

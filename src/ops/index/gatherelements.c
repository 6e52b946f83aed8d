/* SPDX-License-Identifier: Apache-2.0 */
/* gatherelements.c: GatherElements: out[i][j][k] = data[i][index[i][j][k]][k]. */
#include "ops/shared/strided.h"

#include <inttypes.h>
#include <string.h>

#define INDEX_TYPES (LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

static enum ldnq_status gatherelements_infer_shape(struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    int axis;
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, INDEX_TYPES, err));
    call->out[0].dtype = call->in[0]->dtype;
    call->out[0].shape = *indices;
    if (data->rank < 0 || indices->rank < 0)
        return LDNQ_OK;
    if (data->rank != indices->rank)
        return ldnq_fail(err, LDNQ_MODEL, "its data has %d axes and its indices have %d",
                         data->rank, indices->rank);
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), data->rank, &axis, err));
    for (int i = 0; i < data->rank; i++)
        if (i != axis && !ldnq_is_symbol(data->dim[i]) && !ldnq_is_symbol(indices->dim[i]) &&
            indices->dim[i] > data->dim[i])
            return ldnq_fail(err, LDNQ_MODEL, "its indices are larger than its data in axis %d", i);
    return LDNQ_OK;
}

static enum ldnq_status gatherelements_forward(const struct ldnq_op_call *call,
                                               struct ldnq_error *err)
{
    const struct ldnq_tensor *data = call->in[0], *indices = call->in[1];
    size_t size = ldnq_dtype_size(data->dtype);
    ptrdiff_t stride[LDNQ_MAX_RANK];
    int axis;
    LDNQ_TRY(
        ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), data->shape.rank, &axis, err));
    ldnq_row_major_strides(&data->shape, stride);
    for (size_t i = 0; i < ldnq_tensor_count(indices); i++) {
        int64_t index = indices->dtype == LDNQ_INT64 ? ((const int64_t *)indices->data)[i]
                                                     : ((const int32_t *)indices->data)[i];
        int64_t most = data->shape.dim[axis];
        size_t rest = i;
        if (index < -most || index >= most)
            return ldnq_op_fail_index(indices, i, most, err);
        ptrdiff_t from = (ptrdiff_t)(index < 0 ? index + most : index) * stride[axis];
        for (int k = indices->shape.rank - 1; k >= 0; k--) {
            size_t extent = (size_t)indices->shape.dim[k];
            from += k == axis ? 0 : (ptrdiff_t)(rest % extent) * stride[k];
            rest /= extent;
        }
        memcpy((char *)call->out[0].data + i * size,
               (const char *)data->data + from * (ptrdiff_t)size, size);
    }
    return LDNQ_OK;
}

/* ---- gradient ------------------------------------------------------------------------- */

/* Adds the output's gradient to the data's, line by line along the axis. Each line of the
 * indices has its own line of the data, so that lines run in parallel; within one, additions
 * are in the order of the indices. */
struct gatherelements_grad_loop {
    const struct ldnq_tensor *indices;
    const float *from;
    float *to;
    int axis;
    ptrdiff_t stride[LDNQ_MAX_RANK]; /* strides of the data */
    struct ldnq_axis_split at;       /* the indices, split at the axis */
    int64_t size;                    /* size of the data's axis */
};

static void scatter_line(const struct gatherelements_grad_loop *s, size_t start, float *to)
{
    for (size_t i = 0; i < s->at.size; i++) {
        size_t at = start + i * s->at.inner;
        int64_t index = s->indices->dtype == LDNQ_INT64 ? ((const int64_t *)s->indices->data)[at]
                                                        : ((const int32_t *)s->indices->data)[at];
        to[(ptrdiff_t)(index < 0 ? index + s->size : index) * s->stride[s->axis]] += s->from[at];
    }
}

static void scatter_lines(const void *ctx, size_t first, size_t last)
{
    const struct gatherelements_grad_loop *s = ctx;
    const struct ldnq_shape *shape = &s->indices->shape;
    for (size_t line = first; line < last; line++) {
        size_t rest = line;
        ptrdiff_t to = 0;
        for (int k = shape->rank - 1; k >= 0; k--) {
            size_t extent = (size_t)shape->dim[k];
            if (k == s->axis)
                continue;
            to += (ptrdiff_t)(rest % extent) * s->stride[k];
            rest /= extent;
        }
        size_t start = line / s->at.inner * s->at.size * s->at.inner + line % s->at.inner;
        scatter_line(s, start, s->to + to);
    }
}

static enum ldnq_status gatherelements_backward(const struct ldnq_op_grad *grad,
                                                struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *data = &call->in[0]->shape;
    size_t all = ldnq_tensor_count(&grad->in[0]);
    struct gatherelements_grad_loop scatter = { .indices = call->in[1],
                                                .from = grad->out[0]->data,
                                                .to = grad->in[0].data };
    if (!scatter.to || all == 0)
        return LDNQ_OK;
    memset(scatter.to, 0, all * sizeof(float));
    if (ldnq_tensor_count(call->in[1]) == 0)
        return LDNQ_OK;
    LDNQ_TRY(
        ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), data->rank, &scatter.axis, err));
    scatter.at = ldnq_op_split_at_axis(&call->in[1]->shape, scatter.axis);
    scatter.size = data->dim[scatter.axis];
    ldnq_row_major_strides(data, scatter.stride);
    ldnq_op_run_rows(call, scatter.at.outer * scatter.at.inner, scatter.at.size, scatter_lines,
                     &scatter);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_gatherelements = {
    .type = "GatherElements",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = gatherelements_infer_shape,
    .forward = gatherelements_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = gatherelements_backward,
};

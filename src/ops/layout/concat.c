/* SPDX-License-Identifier: Apache-2.0 */
/* concat.c: Concat. Each input is a matrix (outer, size_i * inner), which is copied to a range
 * of columns of the output (outer, size * inner). */
#include "ops/shared/strided.h"

#include <inttypes.h>

#include "base/size.h"

static enum ldnq_status read_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    const struct ldnq_attr *attr = ldnq_node_find_attr(call->node, "axis");
    if (!attr || attr->kind != LDNQ_ATTR_INT)
        return ldnq_fail(err, LDNQ_MODEL, "has no axis");
    return ldnq_op_resolve_axis(attr->i, call->in[0]->shape.rank, axis, err);
}

/* Appends one more shape to `out`: sizes along the axis are added, *unknown becomes true if
 * one of them is a symbol. All other sizes must be equal; a number replaces a symbol. */
static enum ldnq_status add_size_along_axis(const struct ldnq_shape *shape, int axis,
                                            struct ldnq_shape *out, bool *unknown,
                                            struct ldnq_error *err)
{
    if (shape->rank != out->rank)
        return ldnq_fail(err, LDNQ_MODEL, "joins tensors of %d and of %d axes", out->rank,
                         shape->rank);
    for (int i = 0; i < out->rank; i++) {
        int64_t dim = shape->dim[i];
        if (i == axis) {
            *unknown = *unknown || ldnq_is_symbol(dim) || ldnq_is_symbol(out->dim[i]);
            if (!*unknown && !ldnq_int64_add(out->dim[i], dim, &out->dim[i]))
                return ldnq_fail(err, LDNQ_MODEL, "its output is too large");
        } else if (ldnq_is_symbol(out->dim[i])) {
            out->dim[i] = dim;
        } else if (!ldnq_is_symbol(dim) && dim != out->dim[i]) {
            return ldnq_fail(err, LDNQ_MODEL, "joins sizes %" PRId64 " and %" PRId64 " of axis %d",
                             out->dim[i], dim, i);
        }
    }
    return LDNQ_OK;
}

static enum ldnq_status concat_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    int axis;
    bool unknown = false;
    out->dtype = call->in[0]->dtype;
    for (size_t i = 0; i < call->in_count; i++) {
        if (call->in[i]->shape.rank < 0)
            return ldnq_op_make_unknown_shape(call, 0, err);
        if (call->in[i]->dtype != out->dtype)
            return ldnq_fail(err, LDNQ_MODEL, "joins tensors of types %s and %s",
                             ldnq_dtype_name(out->dtype), ldnq_dtype_name(call->in[i]->dtype));
    }
    LDNQ_TRY(read_axis(call, &axis, err));
    out->shape = call->in[0]->shape;
    for (size_t i = 1; i < call->in_count; i++)
        LDNQ_TRY(add_size_along_axis(&call->in[i]->shape, axis, &out->shape, &unknown, err));
    return unknown ? ldnq_op_make_unknown_dim(call, &out->shape.dim[axis], err) : LDNQ_OK;
}

static enum ldnq_status concat_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    size_t size = ldnq_dtype_size(out->dtype), column = 0;
    struct ldnq_axis_split to = ldnq_op_split_at_axis(&out->shape, axis);
    for (size_t i = 0; i < call->in_count; i++) {
        struct ldnq_axis_split from = ldnq_op_split_at_axis(&call->in[i]->shape, axis);
        size_t columns = from.size * from.inner;
        struct ldnq_strided region = { 0 };
        ldnq_strided_add_axis(&region, from.outer, (ptrdiff_t)columns,
                              (ptrdiff_t)(to.size * to.inner));
        ldnq_strided_add_axis(&region, columns, 1, 1);
        ldnq_strided_copy(call, &region, size, call->in[i]->data,
                          (char *)out->data + column * size);
        column += columns;
    }
    return LDNQ_OK;
}

static enum ldnq_status concat_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const float *gradient = grad->out[0]->data;
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    struct ldnq_axis_split from = ldnq_op_split_at_axis(&call->out[0].shape, axis);
    for (size_t i = 0; i < call->in_count; i++) {
        struct ldnq_axis_split to = ldnq_op_split_at_axis(&call->in[i]->shape, axis);
        size_t columns = to.size * to.inner;
        struct ldnq_strided region = { 0 };
        ldnq_strided_add_axis(&region, to.outer, (ptrdiff_t)(from.size * from.inner),
                              (ptrdiff_t)columns);
        ldnq_strided_add_axis(&region, columns, 1, 1);
        if (grad->in[i].data)
            ldnq_strided_copy(call, &region, sizeof(float), gradient, grad->in[i].data);
        gradient += columns;
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_concat = {
    .type = "Concat",
    .since = 4,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_ALL,
    .inputs_min = 1,
    .inputs_max = -1,
    .outputs_max = 1,
    .infer = concat_infer_shape,
    .forward = concat_forward,
    .differentiable = LDNQ_ALL_INPUTS,
    .backward = concat_backward,
};

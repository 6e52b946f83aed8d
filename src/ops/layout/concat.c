/* concat.c: Concat. Each input is (outer, size_i * inner) and goes to its
 * columns of every outer row of the output. */
#include "ops/shared/strided.h"

#include <inttypes.h>

#include "base/size.h"

static enum ldnq_status concat_axis(const struct ldnq_op_call *call, int *axis,
                                    struct ldnq_error *err)
{
    const struct ldnq_attr *attr = ldnq_node_attr(call->node, "axis");
    if (!attr || attr->kind != LDNQ_ATTR_INT)
        return ldnq_fail(err, LDNQ_MODEL, "has no axis");
    return ldnq_op_resolve_axis(attr->i, call->in[0]->shape.rank, axis, err);
}

/* Joins one more shape to `out`: sizes add up along the axis, a symbol in makes
 * the sum a fresh one; elsewhere they agree, and a number says what a symbol is. */
static enum ldnq_status join(const struct ldnq_shape *shape, int axis, struct ldnq_shape *out,
                             bool *open, struct ldnq_error *err)
{
    if (shape->rank != out->rank)
        return ldnq_fail(err, LDNQ_MODEL, "joins tensors of %d and of %d axes", out->rank,
                         shape->rank);
    for (int i = 0; i < out->rank; i++) {
        int64_t dim = shape->dim[i];
        if (i == axis) {
            *open = *open || ldnq_is_symbol(dim) || ldnq_is_symbol(out->dim[i]);
            if (!*open && !ldnq_int64_add(out->dim[i], dim, &out->dim[i]))
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

static enum ldnq_status concat_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    int axis;
    bool open = false;
    out->dtype = call->in[0]->dtype;
    for (size_t i = 0; i < call->in_count; i++) {
        if (call->in[i]->shape.rank < 0)
            return ldnq_op_make_unknown_shape(call, 0, err);
        if (call->in[i]->dtype != out->dtype)
            return ldnq_fail(err, LDNQ_MODEL, "joins tensors of types %s and %s",
                             ldnq_dtype_name(out->dtype), ldnq_dtype_name(call->in[i]->dtype));
    }
    LDNQ_TRY(concat_axis(call, &axis, err));
    out->shape = call->in[0]->shape;
    for (size_t i = 1; i < call->in_count; i++)
        LDNQ_TRY(join(&call->in[i]->shape, axis, &out->shape, &open, err));
    return open ? ldnq_op_make_unknown_dim(call, &out->shape.dim[axis], err) : LDNQ_OK;
}

static enum ldnq_status concat_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    int axis;
    LDNQ_TRY(concat_axis(call, &axis, err));
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
    LDNQ_TRY(concat_axis(call, &axis, err));
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
    .infer = concat_infer,
    .forward = concat_forward,
    .differentiable = LDNQ_ALL_INPUTS,
    .backward = concat_backward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* split.c: Split. The sizes of the parts are an attribute up to opset 12 and an input since
 * 13. Without sizes the parts are equal; since opset 18 the last one may be smaller. */
#include "ops/shared/strided.h"

#include <inttypes.h>
#include <string.h>

static enum ldnq_status read_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), call->in[0]->shape.rank, axis,
                                err);
}

/* Computes the size of part i along the axis. sizes NULL: equal parts. */
static enum ldnq_status compute_part_size(struct ldnq_op_call *call, const int64_t *sizes, size_t i,
                                          int64_t whole, int64_t *part, struct ldnq_error *err)
{
    int64_t parts = (int64_t)call->out_count, each;
    if (sizes) {
        *part = sizes[i];
        return sizes[i] < 0 ? ldnq_fail(err, LDNQ_MODEL, "%" PRId64 " is not a size", sizes[i])
                            : LDNQ_OK;
    }
    if (ldnq_is_symbol(whole))
        return ldnq_op_make_unknown_dim(call, part, err);
    each = whole / parts + (whole % parts != 0);
    if (whole % parts != 0 && call->node->opset < 18)
        return ldnq_fail(err, LDNQ_MODEL,
                         "%" PRId64 " can't be divided into %" PRId64 " equal parts", whole, parts);
    int64_t left = whole - (int64_t)i * each;
    *part = left < 0 ? 0 : left < each ? left : each;
    return LDNQ_OK;
}

static enum ldnq_status set_part_shapes(struct ldnq_op_call *call, const int64_t *sizes,
                                        size_t count, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0];
    int axis;
    int64_t total = 0;
    LDNQ_TRY(read_axis(call, &axis, err));
    if (sizes && count != call->out_count)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu sizes for %zu outputs", count, call->out_count);
    for (size_t i = 0; i < call->out_count; i++) {
        int64_t *dim = &call->out[i].shape.dim[axis];
        call->out[i].dtype = in->dtype;
        call->out[i].shape = in->shape;
        LDNQ_TRY(compute_part_size(call, sizes, i, in->shape.dim[axis], dim, err));
        if (sizes && *dim > INT64_MAX - total)
            return ldnq_fail(err, LDNQ_MODEL, "its sizes are too large");
        total += sizes ? *dim : 0;
    }
    if (sizes && !ldnq_is_symbol(in->shape.dim[axis]) && total != in->shape.dim[axis])
        return ldnq_fail(err, LDNQ_MODEL, "its sizes sum to %" PRId64 ", not to %" PRId64, total,
                         in->shape.dim[axis]);
    return LDNQ_OK;
}

static enum ldnq_status make_unknown_parts(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0];
    int axis = 0;
    if (in->shape.rank >= 0)
        LDNQ_TRY(read_axis(call, &axis, err));
    for (size_t i = 0; i < call->out_count; i++) {
        call->out[i].dtype = in->dtype;
        call->out[i].shape = in->shape;
        if (in->shape.rank < 0)
            LDNQ_TRY(ldnq_op_make_unknown_shape(call, i, err));
        else
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &call->out[i].shape.dim[axis], err));
    }
    return LDNQ_OK;
}

static enum ldnq_status split_2_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    size_t count;
    const int64_t *sizes = ldnq_attr_ints(call->node, "split", &count);
    if (call->in[0]->shape.rank < 0)
        return make_unknown_parts(call, err);
    return set_part_shapes(call, sizes, count, err);
}

#define MOST_PARTS 256

static enum ldnq_status split_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int64_t sizes[MOST_PARTS];
    size_t count = 0;
    bool known = true, given = ldnq_op_input(call, 1) != NULL;
    int64_t parts = ldnq_attr_int(call->node, "num_outputs", (int64_t)call->out_count);
    if (given)
        LDNQ_TRY(ldnq_op_read_ints(call, 1, sizes, MOST_PARTS, &count, &known, err));
    if (call->in[0]->shape.rank < 0 || !known)
        return make_unknown_parts(call, err);
    if (!given && parts != (int64_t)call->out_count)
        return ldnq_fail(err, LDNQ_MODEL, "num_outputs=%" PRId64 " differs from its %zu outputs",
                         parts, call->out_count);
    return set_part_shapes(call, given ? sizes : NULL, count, err);
}

static enum ldnq_status split_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0];
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    struct ldnq_axis_split from = ldnq_op_split_at_axis(&in->shape, axis);
    size_t size = ldnq_dtype_size(in->dtype), column = 0;
    for (size_t i = 0; i < call->out_count; i++) {
        size_t columns = (size_t)call->out[i].shape.dim[axis] * from.inner;
        struct ldnq_strided region = { 0 };
        ldnq_strided_add_axis(&region, from.outer, (ptrdiff_t)(from.size * from.inner),
                              (ptrdiff_t)columns);
        ldnq_strided_add_axis(&region, columns, 1, 1);
        if (call->out[i].data)
            ldnq_strided_copy(call, &region, size, (const char *)in->data + column * size,
                              call->out[i].data);
        column += columns;
    }
    return LDNQ_OK;
}

/* The gradient is 0 for parts that the loss does not depend on. */
static enum ldnq_status split_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    float *gradient = grad->in[0].data;
    size_t part = 0;
    int axis;
    if (!gradient)
        return LDNQ_OK;
    LDNQ_TRY(read_axis(call, &axis, err));
    struct ldnq_axis_split to = ldnq_op_split_at_axis(&call->in[0]->shape, axis);
    memset(gradient, 0, ldnq_tensor_count(&grad->in[0]) * sizeof(float));
    for (size_t i = 0; i < call->out_count; i++) {
        struct ldnq_strided region = { 0 };
        part = (size_t)call->out[i].shape.dim[axis] * to.inner;
        ldnq_strided_add_axis(&region, to.outer, (ptrdiff_t)part, (ptrdiff_t)(to.size * to.inner));
        ldnq_strided_add_axis(&region, part, 1, 1);
        if (grad->out[i])
            ldnq_strided_copy(call, &region, sizeof(float), grad->out[i]->data, gradient);
        gradient += part;
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_split_2 = {
    .type = "Split",
    .since = 2,
    .until = 12,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = -1,
    .infer = split_2_infer_shape,
    .forward = split_forward,
    .differentiable = 1,
    .backward = split_backward,
};

const struct ldnq_op ldnq_op_split = {
    .type = "Split",
    .since = 13,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 1,
    .inputs_max = 2,
    .outputs_max = -1,
    .infer = split_infer_shape,
    .forward = split_forward,
    .differentiable = 1,
    .backward = split_backward,
};

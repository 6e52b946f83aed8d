/* SPDX-License-Identifier: Apache-2.0 */
/* compress.c: Compress: keeps the slices along an axis for which a condition is true; without
 * an axis, the elements of the flattened tensor. The output's size depends on the data. */
#include <string.h>

#include "ops/op.h"

static bool has_axis(const struct ldnq_op_call *call)
{
    return ldnq_node_find_attr(call->node, "axis") != NULL;
}

/* The input as (outer, size, inner); without an axis (1, elements, 1). */
static enum ldnq_status split_input(const struct ldnq_op_call *call, struct ldnq_axis_split *at,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    int axis;
    *at = (struct ldnq_axis_split){ 1, 1, 1 };
    if (!has_axis(call)) {
        at->size = ldnq_tensor_count(call->in[0]);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), x->rank, &axis, err));
    *at = ldnq_op_split_at_axis(x, axis);
    return LDNQ_OK;
}

static enum ldnq_status compress_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *x = call->in[0], *condition = call->in[1];
    struct ldnq_shape *out = &call->out[0].shape;
    const uint8_t *set = condition->data;
    int axis = 0;
    size_t count;
    call->out[0].dtype = x->dtype;
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_BOOL), err));
    if (condition->shape.rank > 1)
        return ldnq_fail(err, LDNQ_MODEL, "its condition has %d axes where one is needed",
                         condition->shape.rank);
    if (x->shape.rank < 0 && has_axis(call))
        return ldnq_op_make_unknown_shape(call, 0, err);
    *out = (struct ldnq_shape){ .rank = 1 };
    if (has_axis(call)) {
        LDNQ_TRY(
            ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), x->shape.rank, &axis, err));
        *out = x->shape;
    }
    if (!set || !ldnq_shape_count(&condition->shape, &count) || !ldnq_shape_is_known(&x->shape))
        return ldnq_op_make_unknown_dim(call, &out->dim[axis], err);
    struct ldnq_axis_split at;
    LDNQ_TRY(split_input(call, &at, err));
    out->dim[axis] = 0;
    for (size_t i = 0; i < count; i++) {
        if (set[i] && i >= at.size)
            return ldnq_fail(err, LDNQ_MODEL, "its condition selects element %zu of %zu", i,
                             at.size);
        out->dim[axis] += set[i] != 0;
    }
    return LDNQ_OK;
}

/* Copies the selected slices, of `bytes` each, from input to output; with `back`, from the
 * output's gradient to the input's. */
static void copy_selected(const struct ldnq_op_call *call, const struct ldnq_axis_split *at,
                          size_t bytes, const char *from, char *to, bool back)
{
    const uint8_t *set = call->in[1]->data;
    size_t count = ldnq_tensor_count(call->in[1]), done = 0;
    for (size_t outer = 0; outer < at->outer; outer++)
        for (size_t i = 0; i < count; i++) {
            if (!set[i])
                continue;
            size_t in = (outer * at->size + i) * bytes, out = done++ * bytes;
            memcpy(to + (back ? in : out), from + (back ? out : in), bytes);
        }
}

static enum ldnq_status compress_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_axis_split at;
    LDNQ_TRY(split_input(call, &at, err));
    copy_selected(call, &at, at.inner * ldnq_dtype_size(call->in[0]->dtype), call->in[0]->data,
                  call->out[0].data, false);
    return LDNQ_OK;
}

static enum ldnq_status compress_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct ldnq_axis_split at;
    LDNQ_TRY(split_input(grad->call, &at, err));
    memset(grad->in[0].data, 0, ldnq_tensor_count(&grad->in[0]) * sizeof(float));
    copy_selected(grad->call, &at, at.inner * sizeof(float), grad->out[0]->data, grad->in[0].data,
                  true);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_compress = {
    .type = "Compress",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = compress_infer_shape,
    .forward = compress_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = compress_backward,
};

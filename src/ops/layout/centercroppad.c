/* SPDX-License-Identifier: Apache-2.0 */
/* centercroppad.c: CenterCropPad: crops or zero-pads axes on both sides to given sizes. Half
 * of the difference, rounded down, is cropped or padded before the first element, the rest
 * after the last. */
#include <string.h>

#include "ops/shared/strided.h"

/* The axes that input 1 has sizes for: those of the attribute, or all. `count` is the number
 * of sizes, negative if it is unknown. */
static enum ldnq_status read_axes(const struct ldnq_op_call *call, int count, int *axes,
                                  struct ldnq_error *err)
{
    size_t given;
    int rank = call->in[0]->shape.rank;
    const int64_t *list = ldnq_attr_ints(call->node, "axes", &given);
    size_t axis_count = list ? given : (size_t)rank;
    if (count >= 0 && axis_count != (size_t)count)
        return ldnq_fail(err, LDNQ_MODEL, "has %d sizes for %zu axes", count, axis_count);
    if (axis_count > (size_t)rank)
        return ldnq_fail(err, LDNQ_MODEL, "lists %zu axes of a tensor of %d", axis_count, rank);
    for (size_t i = 0; i < axis_count; i++) {
        axes[i] = (int)i;
        if (list)
            LDNQ_TRY(ldnq_op_resolve_axis(list[i], rank, &axes[i], err));
    }
    return LDNQ_OK;
}

static enum ldnq_status centercroppad_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_shape sizes, *out = &call->out[0].shape;
    int axes[LDNQ_MAX_RANK];
    size_t given;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, ~0u, err));
    LDNQ_TRY(ldnq_op_read_dims(call, 1, &sizes, err));
    if (out->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_axes(call, sizes.rank, axes, err));
    bool some = ldnq_attr_ints(call->node, "axes", &given) != NULL;
    for (int i = 0; i < (some ? (int)given : out->rank); i++) {
        if (sizes.rank < 0)
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, &out->dim[axes[i]], err));
        else
            out->dim[axes[i]] = sizes.dim[i];
    }
    return LDNQ_OK;
}

/* Copies the centered region that both shapes have in common; the rest of dst is 0. */
static void copy_common_region(const struct ldnq_op_call *call, size_t size,
                               const struct ldnq_shape *from, const char *src,
                               const struct ldnq_shape *to, char *dst)
{
    struct ldnq_strided region = { 0 };
    ptrdiff_t source[LDNQ_MAX_RANK], target[LDNQ_MAX_RANK], first = 0, target_first = 0;
    size_t count;
    ldnq_row_major_strides(from, source);
    ldnq_row_major_strides(to, target);
    for (int i = 0; i < from->rank; i++) {
        int64_t more = from->dim[i] - to->dim[i];
        first += (ptrdiff_t)(more > 0 ? more / 2 : 0) * source[i];
        target_first += (ptrdiff_t)(more < 0 ? -more / 2 : 0) * target[i];
        ldnq_strided_add_axis(&region, (size_t)(more > 0 ? to->dim[i] : from->dim[i]), source[i],
                              target[i]);
    }
    if (ldnq_shape_count(to, &count) && count > 0)
        memset(dst, 0, count * size);
    if (count > 0 && ldnq_shape_count(from, &count) && count > 0)
        ldnq_strided_copy(call, &region, size, src + first * (ptrdiff_t)size,
                          dst + target_first * (ptrdiff_t)size);
}

static enum ldnq_status centercroppad_forward(const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    (void)err;
    copy_common_region(call, ldnq_dtype_size(in->dtype), &in->shape, in->data, &out->shape,
                       out->data);
    return LDNQ_OK;
}

static enum ldnq_status centercroppad_backward(const struct ldnq_op_grad *grad,
                                               struct ldnq_error *err)
{
    const struct ldnq_tensor *from = grad->out[0], *to = &grad->in[0];
    (void)err;
    if (to->data)
        copy_common_region(grad->call, sizeof(float), &from->shape, from->data, &to->shape,
                           to->data);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_centercroppad = {
    .type = "CenterCropPad",
    .since = 18,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = centercroppad_infer_shape,
    .forward = centercroppad_forward,
    .differentiable = 1,
    .backward = centercroppad_backward,
};

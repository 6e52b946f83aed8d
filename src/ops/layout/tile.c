/* SPDX-License-Identifier: Apache-2.0 */
/* tile.c: Tile: repeats each axis. */
#include "ops/shared/strided.h"

#include <inttypes.h>
#include <string.h>

static enum ldnq_status tile_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape *out = &call->out[0].shape, repeats;
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(ldnq_op_read_dims(call, 1, &repeats, err));
    if (in->rank < 0 || repeats.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (in->rank != repeats.rank)
        return ldnq_fail(err, LDNQ_MODEL, "has %d repeats for %d axes", repeats.rank, in->rank);
    out->rank = in->rank;
    for (int i = 0; i < in->rank; i++) {
        if (repeats.dim[i] < 0 && !ldnq_is_symbol(repeats.dim[i]))
            return ldnq_fail(err, LDNQ_MODEL, "can't repeat an axis %" PRId64 " times",
                             repeats.dim[i]);
        LDNQ_TRY(ldnq_op_multiply_dims(call, in->dim[i], repeats.dim[i], &out->dim[i], err));
    }
    return LDNQ_OK;
}

/* Each axis becomes two: the repeat, and the index in it. */
static enum ldnq_status tile_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    ptrdiff_t from[LDNQ_MAX_RANK], to[LDNQ_MAX_RANK];
    struct ldnq_strided region = { 0 };
    (void)err;
    if (ldnq_tensor_count(out) == 0)
        return LDNQ_OK;
    ldnq_row_major_strides(&in->shape, from);
    ldnq_row_major_strides(&out->shape, to);
    for (int i = 0; i < in->shape.rank; i++) {
        size_t size = (size_t)in->shape.dim[i];
        ldnq_strided_add_axis(&region, (size_t)out->shape.dim[i] / size, 0,
                              to[i] * (ptrdiff_t)size);
        ldnq_strided_add_axis(&region, size, from[i], to[i]);
    }
    ldnq_strided_copy(call, &region, ldnq_dtype_size(in->dtype), in->data, out->data);
    return LDNQ_OK;
}

/* ---- gradient ------------------------------------------------------------------------- */

/* Sums over the repeats, one axis at a time. The sums alternate between the two halves of
 * scratch. */
static size_t tile_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    const struct ldnq_tensor whole = { .dtype = LDNQ_FLOAT, .shape = grad->call->out[0].shape };
    size_t bytes;
    if (!ldnq_tensor_bytes(&whole, &bytes) || bytes > SIZE_MAX / 2)
        return SIZE_MAX;
    return 2 * bytes;
}

/* Sums over the repeats of axis i, after which its size is `size`. */
static void sum_axis_repeats(const struct ldnq_op_call *call, struct ldnq_shape *shape, int i,
                             int64_t size, const float *from, float *to)
{
    struct ldnq_axis_split at = ldnq_op_split_at_axis(shape, i);
    const struct ldnq_shape all = {
        .rank = 3, .dim = { (int64_t)at.outer, (int64_t)at.size / size, size * (int64_t)at.inner }
    };
    struct ldnq_tensor x = { .dtype = LDNQ_FLOAT, .shape = all, .data = (void *)from };
    struct ldnq_tensor y = { .dtype = LDNQ_FLOAT, .shape = all, .data = to };
    y.shape.dim[1] = 1;
    ldnq_op_sum_broadcast_grad(call, &x, &y);
    shape->dim[i] = size;
}

static enum ldnq_status tile_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape shape = call->out[0].shape;
    size_t count = ldnq_tensor_count(&call->out[0]), all = ldnq_tensor_count(call->in[0]);
    float *part[] = { call->scratch, (float *)call->scratch + count };
    const float *from = grad->out[0]->data;
    (void)err;
    if (!grad->in[0].data || all == 0)
        return LDNQ_OK;
    if (count == 0) {
        memset(grad->in[0].data, 0, all * sizeof(float));
        return LDNQ_OK;
    }
    for (int i = 0, turn = 0; i < in->rank; i++) {
        if (shape.dim[i] == in->dim[i])
            continue;
        sum_axis_repeats(call, &shape, i, in->dim[i], from, part[turn]);
        from = part[turn];
        turn = !turn;
    }
    memcpy(grad->in[0].data, from, all * sizeof(float));
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_tile = {
    .type = "Tile",
    .since = 6,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = tile_infer_shape,
    .forward = tile_forward,
    .differentiable = 1,
    .backward_scratch_bytes = tile_backward_scratch_bytes,
    .backward = tile_backward,
};

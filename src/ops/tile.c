/* tile.c: Tile: each axis repeated. */
#include "ops/strided.h"

#include <inttypes.h>

static enum ldnq_status tile_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape *out = &call->out[0].shape, repeats;
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(ldnq_op_read_dims(call, 1, &repeats, err));
    if (in->rank < 0 || repeats.rank < 0)
        return ldnq_op_unknown_shape(call, 0, err);
    if (in->rank != repeats.rank)
        return ldnq_fail(err, LDNQ_MODEL, "has %d repeats for %d axes", repeats.rank, in->rank);
    out->rank = in->rank;
    for (int i = 0; i < in->rank; i++) {
        if (repeats.dim[i] < 0 && !ldnq_is_symbol(repeats.dim[i]))
            return ldnq_fail(err, LDNQ_MODEL, "can't repeat an axis %" PRId64 " times",
                             repeats.dim[i]);
        LDNQ_TRY(ldnq_op_dim_mul(call, in->dim[i], repeats.dim[i], &out->dim[i], err));
    }
    return LDNQ_OK;
}

/* Two axes for one: which repeat, and where in it. */
static enum ldnq_status tile_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    ptrdiff_t from[LDNQ_MAX_RANK], to[LDNQ_MAX_RANK];
    struct ldnq_strided region = { 0 };
    (void)err;
    if (ldnq_tensor_count(out) == 0)
        return LDNQ_OK;
    ldnq_row_major(&in->shape, from);
    ldnq_row_major(&out->shape, to);
    for (int i = 0; i < in->shape.rank; i++) {
        size_t size = (size_t)in->shape.dim[i];
        ldnq_strided_add(&region, (size_t)out->shape.dim[i] / size, 0, to[i] * (ptrdiff_t)size);
        ldnq_strided_add(&region, size, from[i], to[i]);
    }
    ldnq_strided_copy(call, &region, ldnq_dtype_size(in->dtype), in->data, out->data);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_tile = {
    .type = "Tile", .since = 6, .until = LDNQ_OPSET_LATEST, .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2, .inputs_max = 2, .outputs_max = 1,
    .infer = tile_infer,
    .forward = tile_forward,
};

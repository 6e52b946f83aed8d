/* SPDX-License-Identifier: Apache-2.0 */
/* flatten.c: Flatten: merges the axes before `axis` into one, and all others into a second. */
#include "ops/op.h"

static enum ldnq_status flatten_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    struct ldnq_shape *to = &call->out[0].shape;
    int64_t at = ldnq_attr_int(call->node, "axis", 1);
    call->out[0].dtype = call->in[0]->dtype;
    if (from->rank < 0) {
        to->rank = 2;
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &to->dim[0], err));
        return ldnq_op_make_unknown_dim(call, &to->dim[1], err);
    }
    int axis = from->rank;
    /* rank itself is allowed: all axes are merged into the first. */
    if (at != from->rank)
        LDNQ_TRY(ldnq_op_resolve_axis(at, from->rank, &axis, err));
    *to = (struct ldnq_shape){ .rank = 2, .dim = { 1, 1 } };
    for (int i = 0; i < from->rank; i++) {
        int64_t *dim = &to->dim[i < axis ? 0 : 1];
        LDNQ_TRY(ldnq_op_multiply_dims(call, *dim, from->dim[i], dim, err));
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_flatten = {
    .type = "Flatten",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_VIEW,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = flatten_infer_shape,
};

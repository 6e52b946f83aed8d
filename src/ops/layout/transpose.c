/* SPDX-License-Identifier: Apache-2.0 */
/* transpose.c: Transpose. */
#include "ops/shared/strided.h"

/* perm[i] is the axis of the input that becomes axis i. The default is the reverse order. */
static enum ldnq_status read_perm(const struct ldnq_op_call *call, int perm[LDNQ_MAX_RANK],
                                  struct ldnq_error *err)
{
    int rank = call->in[0]->shape.rank;
    unsigned set;
    size_t count;
    const int64_t *given = ldnq_attr_ints(call->node, "perm", &count);
    for (int i = 0; i < rank && !given; i++)
        perm[i] = rank - 1 - i;
    if (!given)
        return LDNQ_OK;
    if (count != (size_t)rank)
        return ldnq_fail(err, LDNQ_MODEL, "perm lists %zu of %d axes", count, rank);
    LDNQ_TRY(ldnq_op_resolve_axes(given, count, rank, &set, err));
    for (int i = 0; i < rank; i++)
        perm[i] = (int)(given[i] < 0 ? given[i] + rank : given[i]);
    return LDNQ_OK;
}

static enum ldnq_status transpose_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *from = &call->in[0]->shape;
    int perm[LDNQ_MAX_RANK];
    call->out[0].dtype = call->in[0]->dtype;
    if (from->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_perm(call, perm, err));
    call->out[0].shape.rank = from->rank;
    for (int i = 0; i < from->rank; i++)
        call->out[0].shape.dim[i] = from->dim[perm[i]];
    return LDNQ_OK;
}

static enum ldnq_status transpose_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in = call->in[0], *out = &call->out[0];
    int perm[LDNQ_MAX_RANK];
    ptrdiff_t from[LDNQ_MAX_RANK], to[LDNQ_MAX_RANK];
    struct ldnq_strided region = { 0 };
    LDNQ_TRY(read_perm(call, perm, err));
    ldnq_row_major_strides(&in->shape, from);
    ldnq_row_major_strides(&out->shape, to);
    for (int i = 0; i < out->shape.rank; i++)
        ldnq_strided_add_axis(&region, (size_t)out->shape.dim[i], from[perm[i]], to[i]);
    ldnq_strided_copy(call, &region, ldnq_dtype_size(in->dtype), in->data, out->data);
    return LDNQ_OK;
}

/* The inverse permutation of the gradient. */
static enum ldnq_status transpose_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    int perm[LDNQ_MAX_RANK];
    ptrdiff_t from[LDNQ_MAX_RANK], to[LDNQ_MAX_RANK];
    struct ldnq_strided region = { 0 };
    if (!grad->in[0].data)
        return LDNQ_OK;
    LDNQ_TRY(read_perm(call, perm, err));
    ldnq_row_major_strides(&call->out[0].shape, from);
    ldnq_row_major_strides(&call->in[0]->shape, to);
    /* Axes in the order of the target, which is written contiguously. */
    for (int i = 0; i < call->in[0]->shape.rank; i++)
        for (int k = 0; k < call->in[0]->shape.rank; k++)
            if (perm[k] == i)
                ldnq_strided_add_axis(&region, (size_t)call->in[0]->shape.dim[i], from[k], to[i]);
    ldnq_strided_copy(call, &region, sizeof(float), grad->out[0]->data, grad->in[0].data);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_transpose = {
    .type = "Transpose",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = transpose_infer_shape,
    .forward = transpose_forward,
    .differentiable = 1,
    .backward = transpose_backward,
};

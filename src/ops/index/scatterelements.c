/* SPDX-License-Identifier: Apache-2.0 */
/* scatterelements.c: ScatterElements, which was named Scatter up to opset 10. For axis 1:
 * out[i][index[i][j][k]][k] = updates[i][j][k]. */
#include "ops/index/scatter_update.h"
#include "ops/shared/indices.h"
#include "ops/shared/strided.h"

static enum ldnq_status read_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), call->in[0]->shape.rank, axis,
                                err);
}

static enum ldnq_status scatterelements_infer_shape(struct ldnq_op_call *call,
                                                    struct ldnq_error *err)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    const struct ldnq_shape *updates = &call->in[2]->shape;
    int axis;
    LDNQ_TRY(ldnq_scatter_infer_shape(call, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_INDEX_TYPES, err));
    if (data->rank < 0)
        return LDNQ_OK;
    LDNQ_TRY(read_axis(call, &axis, err));
    if (indices->rank >= 0 && indices->rank != data->rank)
        return ldnq_fail(err, LDNQ_MODEL, "its data has %d axes and its indices have %d",
                         data->rank, indices->rank);
    for (int i = 0; i < indices->rank; i++)
        if (i != axis && !ldnq_is_symbol(data->dim[i]) && !ldnq_is_symbol(indices->dim[i]) &&
            indices->dim[i] > data->dim[i])
            return ldnq_fail(err, LDNQ_MODEL, "its indices are larger than its data in axis %d", i);
    if (ldnq_shape_is_known(indices) && ldnq_shape_is_known(updates) &&
        !ldnq_shapes_are_equal(indices, updates))
        return ldnq_fail(err, LDNQ_MODEL, "its indices and updates differ in shape");
    return LDNQ_OK;
}

typedef void element_fn(const void *ctx, size_t to, size_t from);

/* Calls visit(ctx, index in the data, index in the updates) for each update, in order. */
static enum ldnq_status visit_updates(const struct ldnq_op_call *call, element_fn *visit,
                                      const void *ctx, struct ldnq_error *err)
{
    const struct ldnq_tensor *indices = call->in[1];
    const struct ldnq_shape *data = &call->in[0]->shape, *shape = &indices->shape;
    ptrdiff_t stride[LDNQ_MAX_RANK];
    size_t index, at[LDNQ_MAX_RANK] = { 0 };
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    ldnq_row_major_strides(data, stride);
    for (size_t i = 0, count = ldnq_tensor_count(indices); i < count; i++) {
        size_t to = 0;
        LDNQ_TRY(ldnq_resolve_index(indices, i, data->dim[axis], &index, err));
        for (int k = 0; k < shape->rank; k++)
            to += (k == axis ? index : at[k]) * (size_t)stride[k];
        visit(ctx, to, i);
        for (int k = shape->rank - 1; k >= 0 && ++at[k] == (size_t)shape->dim[k]; k--)
            at[k] = 0;
    }
    return LDNQ_OK;
}

static void apply_update(const void *ctx, size_t to, size_t from)
{
    ldnq_scatter_update(ctx, to, from, 1);
}

static void apply_update_gradient(const void *ctx, size_t to, size_t from)
{
    ldnq_scatter_grad_update(ctx, to, from, 1);
}

static enum ldnq_status scatterelements_forward(const struct ldnq_op_call *call,
                                                struct ldnq_error *err)
{
    ldnq_scatter_copy_data(call);
    return visit_updates(call, apply_update, call, err);
}

static enum ldnq_status scatterelements_backward(const struct ldnq_op_grad *grad,
                                                 struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_scatter_grad_copy(grad, err));
    return visit_updates(grad->call, apply_update_gradient, grad, err);
}

#define SCATTER(name, Type, SINCE, UNTIL)                                                          \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 3,                                                                           \
        .inputs_max = 3,                                                                           \
        .outputs_max = 1,                                                                          \
        .read_attrs = ldnq_scatter_read_attrs,                                                     \
        .infer = scatterelements_infer_shape,                                                      \
        .forward = scatterelements_forward,                                                        \
        .differentiable = 5,                                                                       \
        .saved_inputs = 2,                                                                         \
        .backward = scatterelements_backward,                                                      \
    };

SCATTER(scatter, "Scatter", 9, 10)
SCATTER(scatterelements, "ScatterElements", 11, LDNQ_OPSET_LATEST)

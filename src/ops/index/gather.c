/* SPDX-License-Identifier: Apache-2.0 */
/* gather.c: Gather along one axis.
 *
 * Shapes  data (outer, size, inner), indices (count), output (outer, count, inner)
 */
#include "ops/op.h"

#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "ops/index/gather_matrices.h"
#include "ops/op_layer.h"

#define INDEX_TYPES (LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

struct gather_loop {
    struct ldnq_axis_split data;
    size_t count; /* number of indices */
    size_t bytes; /* bytes of `inner` elements */
    const struct ldnq_tensor *indices;
    const char *from;
    char *to;
};

static enum ldnq_status gather_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    int axis;
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, INDEX_TYPES, err));
    if (data->rank < 0 || indices->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), data->rank, &axis, err));
    if (data->rank - 1 + indices->rank > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                         LDNQ_MAX_RANK);
    out->rank = 0;
    for (int i = 0; i < axis; i++)
        out->dim[out->rank++] = data->dim[i];
    for (int i = 0; i < indices->rank; i++)
        out->dim[out->rank++] = indices->dim[i];
    for (int i = axis + 1; i < data->rank; i++)
        out->dim[out->rank++] = data->dim[i];
    return LDNQ_OK;
}

static int64_t read_index(const struct ldnq_tensor *indices, size_t i)
{
    return indices->dtype == LDNQ_INT64 ? ((const int64_t *)indices->data)[i]
                                        : ((const int32_t *)indices->data)[i];
}

static enum ldnq_status check_indices(const struct gather_loop *gather, struct ldnq_error *err)
{
    int64_t size = (int64_t)gather->data.size;
    for (size_t i = 0; i < gather->count; i++) {
        int64_t index = read_index(gather->indices, i);
        if (index < -size || index >= size)
            return ldnq_op_fail_index(gather->indices, i, size, err);
    }
    return LDNQ_OK;
}

/* Rows of the output: (outer, index). */
static void gather_rows(const void *ctx, size_t first, size_t last)
{
    const struct gather_loop *gather = ctx;
    for (size_t row = first; row < last; row++) {
        int64_t index = read_index(gather->indices, row % gather->count);
        size_t at = (size_t)(index < 0 ? index + (int64_t)gather->data.size : index);
        size_t from = row / gather->count * gather->data.size + at;
        memcpy(gather->to + row * gather->bytes, gather->from + from * gather->bytes,
               gather->bytes);
    }
}

static enum ldnq_status gather_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *data = call->in[0];
    int axis;
    LDNQ_TRY(
        ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), data->shape.rank, &axis, err));
    struct gather_loop gather = { .data = ldnq_op_split_at_axis(&data->shape, axis),
                                  .count = ldnq_tensor_count(call->in[1]),
                                  .indices = call->in[1],
                                  .from = data->data,
                                  .to = call->out[0].data };
    gather.bytes = gather.data.inner * ldnq_dtype_size(data->dtype);
    LDNQ_TRY(check_indices(&gather, err));
    ldnq_op_run_rows(call, gather.data.outer * gather.count, gather.data.inner, gather_rows,
                     &gather);
    return LDNQ_OK;
}

/* ---- gradient ------------------------------------------------------------------------- */

/* Columns of the inner axis per block; one thread computes a block. */
#define BLOCK ((size_t)256)

struct gather_grad_loop {
    struct gather_loop gather; /* `from` and `to` are gradients */
    size_t blocks;             /* per `inner` elements */
};

/* One block of columns of the data's gradient (size, inner): adds the rows of the output's
 * gradient in the order of the indices. */
static void scatter_block(const struct gather_loop *gather, const float *from, float *to,
                          size_t width)
{
    size_t inner = gather->data.inner;
    for (size_t i = 0; i < gather->data.size; i++)
        memset(to + i * inner, 0, width * sizeof(float));
    for (size_t i = 0; i < gather->count; i++) {
        int64_t index = read_index(gather->indices, i);
        float *row = to + (size_t)(index < 0 ? index + (int64_t)gather->data.size : index) * inner;
        for (size_t k = 0; k < width; k++)
            row[k] += from[i * inner + k];
    }
}

static void scatter_blocks(const void *ctx, size_t first, size_t last)
{
    const struct gather_grad_loop *scatter = ctx;
    const struct gather_loop *gather = &scatter->gather;
    const float *from = (const float *)(const void *)gather->from;
    float *to = (float *)(void *)gather->to;
    size_t inner = gather->data.inner;
    for (size_t i = first; i < last; i++) {
        size_t outer = i / scatter->blocks, column = i % scatter->blocks * BLOCK;
        scatter_block(gather, from + outer * gather->count * inner + column,
                      to + outer * gather->data.size * inner + column,
                      ldnq_size_min(BLOCK, inner - column));
    }
}

static enum ldnq_status gather_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int axis;
    if (!grad->in[0].data)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), shape->rank, &axis, err));
    struct gather_grad_loop scatter = {
        .gather = { .data = ldnq_op_split_at_axis(shape, axis),
                    .count = ldnq_tensor_count(call->in[1]),
                    .indices = call->in[1],
                    .from = grad->out[0]->data,
                    .to = grad->in[0].data },
    };
    const struct ldnq_axis_split *at = &scatter.gather.data;
    scatter.blocks = ldnq_size_ceil_div(at->inner, BLOCK);
    ldnq_op_run_rows(call, at->outer * scatter.blocks,
                     (at->size + scatter.gather.count) * ldnq_size_min(at->inner, BLOCK),
                     scatter_blocks, &scatter);
    return LDNQ_OK;
}

/* ---- as a table ----------------------------------------------------------------------- */

/* Each row has a scale of 4 bytes of its own. */
#define FEWEST_ROW_ELEMENTS 8

static enum ldnq_status gather_describe_weight(const struct ldnq_node *node,
                                               const struct ldnq_tensor *weight,
                                               const struct ldnq_tensor *bias,
                                               struct ldnq_layer_geometry *geometry,
                                               struct ldnq_error *err)
{
    (void)bias;
    int axis;
    if (ldnq_op_resolve_axis(ldnq_attr_int(node, "axis", 0), weight->shape.rank, &axis, err) !=
        LDNQ_OK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its axis is none of its table");
    const struct ldnq_axis_split table = ldnq_op_split_at_axis(&weight->shape, axis);
    if (table.outer * table.inner < FEWEST_ROW_ELEMENTS)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "rows of its table have fewer than %d elements, and a scale each",
                         FEWEST_ROW_ELEMENTS);
    *geometry = ldnq_describe_out_in(1, table.size, table.outer * table.inner, 1);
    geometry->channel_axis = axis;
    if (table.outer == 1)
        return LDNQ_OK;
    geometry->layout = LDNQ_WEIGHT_PERMUTED;
    geometry->kernel = table.inner;
    geometry->strides = (struct ldnq_weight_strides){ .minor = table.inner,
                                                      .channel = table.size * table.inner,
                                                      .kernel = 1 };
    return LDNQ_OK;
}

static bool is_no_lookup_of_matrices(const struct ldnq_node *node)
{
    return !node->feeds_product;
}

static const struct ldnq_op_layer gather_layer = {
    .is_table = true,
    .is_lookup = true,
    .applies_to = is_no_lookup_of_matrices,
    .other = &ldnq_gather_matrices_layer,
    .weight_input = 0,
    .bias_input = -1,
    .describe_weight = gather_describe_weight,
};

bool ldnq_op_reads_table(const struct ldnq_node *node)
{
    struct ldnq_layer_geometry geometry;
    struct ldnq_error reason;
    if (!node->op || !node->op->layer || !node->op->layer->is_table)
        return false;
    const struct ldnq_value *table = node->inputs[0];
    if (node->feeds_product)
        return table && table->constant;
    return table && table->constant && table->constant->dtype == LDNQ_FLOAT &&
           gather_describe_weight(node, table->constant, NULL, &geometry, &reason) == LDNQ_OK;
}

const struct ldnq_op ldnq_op_gather = {
    .type = "Gather",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = gather_infer_shape,
    .forward = gather_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = gather_backward,
    .layer = &gather_layer,
};

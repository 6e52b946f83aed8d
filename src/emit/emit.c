/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/emit.h"

#include <string.h>

#include "base/mapping.h"
#include "emit/axis_steps.h"
#include "emit/emit_norm.h"
#include "emit/emit_pairs.h"
#include "emit/emit_table.h"
#include "emit/separate_products.h"
#include "onnx/edit.h"
#include "target/fused_product.h"

#define FLOAT_BITS ((size_t)32)

struct emitter {
    struct ldnq_model *model;
    const struct ldnq_quantized_network *network;
    const struct ldnq_emit_choice *choice;
    struct ldnq_arena *arena;
    const char **dequantized;        /* by layer: the value that it reads as its weight */
    struct ldnq_table_names *tables; /* by layer; with shared codes, of the first one */
};

/* Adds a float32 tensor in the type that the file has for the layer's weight. */
static enum ldnq_status add_floats(struct emitter *emitter, const struct ldnq_layer *layer,
                                   const char *name, const struct ldnq_tensor *tensor,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *stored;
    LDNQ_TRY(ldnq_tensor_narrow(emitter->arena, tensor, layer->dtype, &stored, err));
    return ldnq_edit_add_initializer(emitter->model, name, stored, err);
}

/* ---- the weight -------------------------------------------------------------------
 *
 * ONNX Runtime (seen in 1.32) replaces a DequantizeLinear that a MatMul or Gemm reads as (K, M)
 * by its MatMulNBits, with any granularity and any type of 2, 4 or 8 bits. That kernel reads the
 * codes, so that it is fast; by default (accuracy level 4) it rounds activations to 8 bits, per
 * block, which differs by up to 1 % of the largest output. With int2 and M % 4 != 0 its codes are
 * packed wrongly, whatever K is, and the result is useless.
 *
 * A target that wants this kernel gets (K, M), and each layer its own tensors: two nodes that read
 * one initializer are not replaced. A weight that so many layers share that the copies would be
 * larger than the float weight is stored once, and dequantized. All others get what the file says:
 * the weight is stored as (M, K), with a Transpose after its DequantizeLinear. One more exception
 * is needed: from opset 21 on, 1.32 moves a Transpose through a DequantizeLinear of int8 with a
 * single scale, and takes MatMulNBits after all. There the scale is written once per channel, or,
 * with a single channel, a Reshape replaces the Transpose.
 *
 * A layer whose input has codes keeps its layout: integer kernels compute it exactly. */

enum stored_form {
    STORED_AS_IS,
    STORED_TRANSPOSED, /* (M, K), followed by a Transpose */
    STORED_AS_PRODUCT, /* (K, M), which the target's kernel of codes and floats reads */
    STORED_AS_MATRIX,  /* in matrix order, followed by what axis_steps.h says */
};

static unsigned stored_bits(const struct emitter *emitter,
                            const struct ldnq_quantized_layer *quantized)
{
    return ldnq_dtype_bits(ldnq_emit_dtype(emitter->choice, quantized->codebook));
}

/* The kernel of codes and floats needs a tensor of its own in each layer. */
static bool is_smaller_in_copies(const struct emitter *emitter,
                                 const struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_quantized_layer *first = quantized->shared ? quantized->shared : quantized;
    size_t copies = 0;
    for (size_t i = 0; i < emitter->network->count; i++)
        copies +=
            &emitter->network->layers[i] == first || emitter->network->layers[i].shared == first;
    return copies * stored_bits(emitter, quantized) < FLOAT_BITS;
}

static enum stored_form choose_stored_form(const struct emitter *emitter,
                                           const struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_layer *layer = &quantized->layer;
    if (layer->geometry.layout == LDNQ_WEIGHT_PERMUTED)
        return STORED_AS_MATRIX;
    if (quantized->runs_on_codes)
        return STORED_AS_IS;
    /* In a network of integer kernels, a layer of 8 bits stays float where codes ruin its input. */
    const bool may_round_input =
        stored_bits(emitter, quantized) < 8 || !emitter->network->placement;
    if (emitter->choice->target && may_round_input && !layer->node->within &&
        ldnq_target_has_product(emitter->choice->target, layer->node, &layer->geometry,
                                stored_bits(emitter, quantized)) &&
        is_smaller_in_copies(emitter, quantized))
        return STORED_AS_PRODUCT;
    return layer->geometry.layout == LDNQ_WEIGHT_IN_OUT ? STORED_TRANSPOSED : STORED_AS_IS;
}

/* Whether the axes of the stored weight are not those of the float weight. */
static bool swaps_axes(const struct emitter *emitter, const struct ldnq_quantized_layer *quantized)
{
    const bool is_in_out = quantized->layer.geometry.layout == LDNQ_WEIGHT_IN_OUT;
    const enum stored_form form = choose_stored_form(emitter, quantized);
    return form == STORED_TRANSPOSED || (form == STORED_AS_PRODUCT && !is_in_out);
}

/* Whether what the layer reads has not the axes of the float weight: a Gemm with transB whose
 * weight is stored as (K, M). */
static bool reads_swapped_axes(const struct emitter *emitter,
                               const struct ldnq_quantized_layer *quantized)
{
    return choose_stored_form(emitter, quantized) == STORED_AS_PRODUCT &&
           swaps_axes(emitter, quantized);
}

/* A weight with a single scale through which ONNX Runtime would move the Transpose. */
static bool has_movable_transpose(const struct emitter *emitter,
                                  const struct ldnq_quantized_layer *quantized)
{
    const bool is_single = !quantized->block_index && (quantized->granularity == LDNQ_PER_TENSOR ||
                                                       ldnq_layer_rows(&quantized->layer) == 1);
    return is_single && stored_bits(emitter, quantized) == 8 && emitter->choice->opset >= 21 &&
           strcmp(quantized->layer.node->op_type, "MatMul") == 0 &&
           choose_stored_form(emitter, quantized) == STORED_TRANSPOSED;
}

/* One scale for the whole weight, as a scalar. */
static bool has_scalar_scale(const struct emitter *emitter,
                             const struct ldnq_quantized_layer *quantized)
{
    return quantized->granularity == LDNQ_PER_TENSOR && !quantized->block_index &&
           !(has_movable_transpose(emitter, quantized) && ldnq_layer_rows(&quantized->layer) > 1);
}

/* The geometry of the codes in the file. */
static struct ldnq_layer_geometry
compute_stored_geometry(const struct emitter *emitter, const struct ldnq_quantized_layer *quantized)
{
    struct ldnq_layer_geometry geometry = quantized->layer.geometry;
    if (choose_stored_form(emitter, quantized) == STORED_AS_MATRIX)
        return ldnq_describe_out_in(geometry.groups, geometry.rows, geometry.cols / geometry.kernel,
                                    geometry.kernel);
    if (swaps_axes(emitter, quantized)) {
        const bool is_in_out = geometry.layout == LDNQ_WEIGHT_IN_OUT;
        geometry.layout = is_in_out ? LDNQ_WEIGHT_OUT_IN : LDNQ_WEIGHT_IN_OUT;
        geometry.channel_axis = is_in_out ? 0 : 1;
    }
    return geometry;
}

/* The shape of a weight with the stored geometry, before blocks. */
static struct ldnq_shape compute_stored_shape(const struct emitter *emitter,
                                              const struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_layer *layer = &quantized->layer;
    struct ldnq_shape shape = layer->weight->shape;
    if (choose_stored_form(emitter, quantized) == STORED_AS_MATRIX)
        return ldnq_find_matrix_shape(&layer->geometry);
    if (swaps_axes(emitter, quantized)) {
        shape.dim[0] = layer->weight->shape.dim[1];
        shape.dim[1] = layer->weight->shape.dim[0];
    }
    return shape;
}

static enum ldnq_status add_weight_codes(struct emitter *emitter,
                                         const struct ldnq_quantized_layer *quantized,
                                         const char **name, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const struct ldnq_layer_geometry geometry = compute_stored_geometry(emitter, quantized);
    const size_t rows = ldnq_layer_rows(layer), cols = geometry.cols;
    int8_t *data = ldnq_arena_alloc(emitter->arena, rows * cols, sizeof *data, err);
    if (!data)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        for (size_t col = 0; col < cols; col++)
            data[ldnq_find_weight_offset(&geometry, row, col)] = quantized->codes[row * cols + col];
    const struct ldnq_tensor codes = {
        .dtype = ldnq_emit_dtype(emitter->choice, quantized->codebook),
        .shape = compute_stored_shape(emitter, quantized),
        .data = data,
    };
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, layer->weight_name, "_quantized", name, err));
    return ldnq_edit_add_initializer(emitter->model, *name, &codes, err);
}

/* The scales of blocks have the layout of the codes, with a block in place of its input
 * channels. */
static enum ldnq_status store_block_scales(struct emitter *emitter,
                                           const struct ldnq_quantized_layer *quantized,
                                           struct ldnq_tensor *scales, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t rows = ldnq_layer_rows(layer), blocks = quantized->block_count;
    struct ldnq_layer_geometry geometry = compute_stored_geometry(emitter, quantized);
    geometry.cols = blocks;
    float *data = ldnq_arena_alloc(emitter->arena, rows * blocks, sizeof *data, err);
    if (!data)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        for (size_t block = 0; block < blocks; block++)
            data[ldnq_find_weight_offset(&geometry, row, block)] =
                quantized->scales[row * blocks + block];
    scales->data = data;
    scales->shape = compute_stored_shape(emitter, quantized);
    scales->shape.dim[1 - geometry.channel_axis] = (int64_t)(blocks / geometry.kernel);
    return LDNQ_OK;
}

static enum ldnq_status add_scales(struct emitter *emitter,
                                   const struct ldnq_quantized_layer *quantized, const char **name,
                                   struct ldnq_error *err)
{
    struct ldnq_tensor scales = { .dtype = LDNQ_FLOAT, .data = quantized->scales };
    if (quantized->block_index)
        LDNQ_TRY(store_block_scales(emitter, quantized, &scales, err));
    else if (!has_scalar_scale(emitter, quantized))
        scales.shape =
            (struct ldnq_shape){ .rank = 1,
                                 .dim = { (int64_t)ldnq_layer_rows(&quantized->layer) } };
    LDNQ_TRY(
        ldnq_edit_unique_name(emitter->model, quantized->layer.weight_name, "_scale", name, err));
    return add_floats(emitter, &quantized->layer, *name, &scales, err);
}

/* ONNX Runtime fuses a Gemm only where its weight has a zero point. */
static enum ldnq_status add_zero_points(struct emitter *emitter,
                                        const struct ldnq_quantized_layer *quantized,
                                        const char **name, struct ldnq_error *err)
{
    struct ldnq_tensor zeros = { .dtype = ldnq_emit_dtype(emitter->choice, quantized->codebook) };
    const size_t scales =
        ldnq_layer_rows(&quantized->layer) * ldnq_quantized_scales_per_row(quantized);
    if (quantized->block_index) {
        struct ldnq_tensor like;
        LDNQ_TRY(store_block_scales(emitter, quantized, &like, err));
        zeros.shape = like.shape;
    } else if (!has_scalar_scale(emitter, quantized))
        zeros.shape = (struct ldnq_shape){ .rank = 1, .dim = { (int64_t)scales } };
    zeros.data = ldnq_arena_alloc(emitter->arena, scales, sizeof(int8_t), err);
    if (!zeros.data)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, quantized->layer.weight_name, "_zero_point",
                                   name, err));
    return ldnq_edit_add_initializer(emitter->model, *name, &zeros, err);
}

static const void *find_file_node(const struct ldnq_node *node)
{
    return node->origin ? node->origin : node->body_origin;
}

static bool has_shared_codes(const struct emitter *emitter,
                             const struct ldnq_quantized_layer *quantized)
{
    for (size_t i = 0; i < emitter->network->count; i++)
        if (emitter->network->layers[i].shared == quantized)
            return true;
    return false;
}

/* The node before which the layer's weight is dequantized: in a branch the layer itself. A loop
 * would repeat it, and other readers of the codes may be in another branch: then it is the node of
 * the main graph. */
static const void *find_insertion_point(const struct emitter *emitter,
                                        const struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const bool is_outside = layer->is_in_loop || has_shared_codes(emitter, quantized);
    return layer->body && layer->outer_origin && is_outside ? layer->outer_origin
                                                            : find_file_node(layer->node);
}

/* Inserts a node before the layer; *output becomes the name of its value. */
static enum ldnq_status
insert_node_before_layer(struct emitter *emitter, const struct ldnq_quantized_layer *quantized,
                         const char *op_type, const char *const *inputs, size_t input_count,
                         const char *suffix, const struct ldnq_edit_int_attr *attrs,
                         size_t attr_count, const char **output, struct ldnq_error *err)
{
    const char *node, *base = quantized->layer.weight_name;
    const char *node_suffix = ldnq_arena_printf(emitter->arena, err, "_%s", op_type);
    if (!node_suffix)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, node_suffix, &node, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, suffix, output, err));
    return ldnq_edit_insert_node(emitter->model, find_insertion_point(emitter, quantized), op_type,
                                 node, inputs, input_count, *output, attrs, attr_count, err);
}

static enum ldnq_status add_reshape(struct emitter *emitter,
                                    const struct ldnq_quantized_layer *quantized,
                                    const struct ldnq_shape *shape, const char *suffix,
                                    const char **output, struct ldnq_error *err)
{
    const char *inputs[2] = { *output };
    struct ldnq_shape dims = *shape;
    const struct ldnq_tensor tensor = { .dtype = LDNQ_INT64,
                                        .shape = { .rank = 1, .dim = { shape->rank } },
                                        .data = dims.dim };
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, quantized->layer.weight_name, "_shape",
                                   &inputs[1], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[1], &tensor, err));
    return insert_node_before_layer(emitter, quantized, "Reshape", inputs, 2, suffix, NULL, 0,
                                    output, err);
}

/* Brings a weight that is stored as a matrix into its axes. */
static enum ldnq_status add_axis_steps(struct emitter *emitter,
                                       const struct ldnq_quantized_layer *quantized,
                                       const char **output, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const struct ldnq_axis_steps steps =
        ldnq_find_axis_steps(&layer->geometry, &layer->weight->shape);
    const struct ldnq_edit_int_attr perm = { .name = "perm",
                                             .values = steps.perm,
                                             .count = (size_t)steps.first.rank };
    if (steps.reshapes_first)
        LDNQ_TRY(add_reshape(emitter, quantized, &steps.first, "_split", output, err));
    const char *split = *output;
    if (steps.transposes)
        LDNQ_TRY(insert_node_before_layer(emitter, quantized, "Transpose", &split, 1, "_transposed",
                                          &perm, 1, output, err));
    return steps.reshapes_last
               ? add_reshape(emitter, quantized, &layer->weight->shape, "_reshaped", output, err)
               : LDNQ_OK;
}

/* Brings a weight stored as (M, K) back to (K, M). */
static enum ldnq_status add_transpose(struct emitter *emitter,
                                      const struct ldnq_quantized_layer *quantized,
                                      const char **output, struct ldnq_error *err)
{
    const char *stored = *output;
    /* Without perm the axes are reversed. */
    if (!has_movable_transpose(emitter, quantized) || quantized->layer.geometry.rows > 1)
        return insert_node_before_layer(emitter, quantized, "Transpose", &stored, 1, "_transposed",
                                        NULL, 0, output, err);
    return add_reshape(emitter, quantized, &quantized->layer.weight->shape, "_transposed", output,
                       err);
}

/* The codes of a table that the layer reads too, if they are stored as the layer's would be; NULL:
 * it needs its own. */
static const char *find_table_codes(const struct emitter *emitter,
                                    const struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_quantized_layer *table = quantized->shared;
    if (!table || !ldnq_layer_is_table(&table->layer) ||
        compute_stored_geometry(emitter, quantized).layout != LDNQ_WEIGHT_OUT_IN)
        return NULL;
    return emitter->tables[table - emitter->network->layers].codes;
}

static enum ldnq_status add_dequantize(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = &emitter->network->layers[i];
    const struct ldnq_layer_geometry geometry = compute_stored_geometry(emitter, quantized);
    const char *inputs[3], *output;
    inputs[0] = find_table_codes(emitter, quantized);
    if (!inputs[0])
        LDNQ_TRY(add_weight_codes(emitter, quantized, &inputs[0], err));
    LDNQ_TRY(add_scales(emitter, quantized, &inputs[1], err));
    if (quantized->runs_on_codes)
        LDNQ_TRY(add_zero_points(emitter, quantized, &inputs[2], err));
    const bool has_blocks = quantized->block_index != NULL;
    const struct ldnq_edit_int_attr attrs[] = {
        { .name = "axis", .value = has_blocks ? 1 - geometry.channel_axis : geometry.channel_axis },
        { .name = "block_size", .value = (int64_t)quantized->block_size },
    };
    size_t count = has_scalar_scale(emitter, quantized) ? 0 : 1;
    if (has_blocks)
        count = 2;
    LDNQ_TRY(insert_node_before_layer(emitter, quantized, "DequantizeLinear", inputs,
                                      quantized->runs_on_codes ? 3 : 2, "_dequantized", attrs,
                                      count, &output, err));
    if (choose_stored_form(emitter, quantized) == STORED_TRANSPOSED)
        LDNQ_TRY(add_transpose(emitter, quantized, &output, err));
    if (choose_stored_form(emitter, quantized) == STORED_AS_MATRIX)
        LDNQ_TRY(add_axis_steps(emitter, quantized, &output, err));
    emitter->dequantized[i] = output;
    return LDNQ_OK;
}

/* Layers that share codes read one DequantizeLinear. */
static enum ldnq_status add_weight(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = &emitter->network->layers[i];
    const struct ldnq_quantized_layer *shared = quantized->shared;
    if (!shared || ldnq_layer_is_table(&shared->layer) ||
        choose_stored_form(emitter, quantized) == STORED_AS_PRODUCT ||
        choose_stored_form(emitter, shared) == STORED_AS_PRODUCT)
        return add_dequantize(emitter, i, err);
    emitter->dequantized[i] = emitter->dequantized[shared - emitter->network->layers];
    return LDNQ_OK;
}

/* ---- the layer ---------------------------------------------------------------------- */

/* The int32 bias and its DequantizeLinear; *output is its value. */
static enum ldnq_status add_bias_codes(struct emitter *emitter,
                                       const struct ldnq_quantized_layer *quantized,
                                       const char **output, struct ldnq_error *err)
{
    const char *base = quantized->layer.bias_name, *inputs[3], *node;
    const size_t rows = ldnq_layer_rows(&quantized->layer);
    const struct ldnq_edit_int_attr axis = { .name = "axis",
                                             .value = quantized->bias->shape.rank - 1 };
    const bool per_tensor = quantized->granularity == LDNQ_PER_TENSOR;
    struct ldnq_tensor scales = { .dtype = LDNQ_FLOAT }, zeros = { .dtype = LDNQ_INT32 };
    float *data = ldnq_arena_alloc(emitter->arena, rows, sizeof *data, err);
    zeros.data = ldnq_arena_alloc(emitter->arena, rows, sizeof(int32_t), err);
    if (!data || !zeros.data)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        data[row] = quantized->input_scale * quantized->scales[row];
    scales.data = data;
    if (!per_tensor)
        scales.shape = zeros.shape = (struct ldnq_shape){ .rank = 1, .dim = { (int64_t)rows } };
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_quantized", &inputs[0], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[0], quantized->bias_codes, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_scale", &inputs[1], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[1], &scales, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_zero_point", &inputs[2], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[2], &zeros, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_DequantizeLinear", &node, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_dequantized", output, err));
    return ldnq_edit_insert_node(emitter->model, quantized->layer.node->origin, "DequantizeLinear",
                                 node, inputs, 3, *output, &axis, per_tensor ? 0 : 1, err);
}

static enum ldnq_status write_bias(struct emitter *emitter,
                                   const struct ldnq_quantized_layer *quantized,
                                   struct ldnq_error *err)
{
    const char *name;
    if (!quantized->bias)
        return LDNQ_OK;
    if (quantized->bias_codes)
        LDNQ_TRY(add_bias_codes(emitter, quantized, &name, err));
    else {
        LDNQ_TRY(ldnq_edit_unique_name(emitter->model, quantized->layer.bias_name, "_corrected",
                                       &name, err));
        LDNQ_TRY(add_floats(emitter, &quantized->layer, name, quantized->bias, err));
    }
    return ldnq_edit_set_input(emitter->model, find_file_node(quantized->layer.node),
                               quantized->layer.bias_input, name, err);
}

/* Removes the nodes that were folded into the layer, which then computes the output of the last
 * one. */
static enum ldnq_status remove_folded_nodes(struct emitter *emitter, const struct ldnq_node *node,
                                            struct ldnq_error *err)
{
    if (node->merged_count == 0)
        return LDNQ_OK;
    /* In a body, the value may have another name than in the file. */
    const char *output = ldnq_edit_find_output(
        emitter->model, find_file_node(node->merged[node->merged_count - 1]), 0);
    for (size_t i = 0; i < node->merged_count; i++)
        ldnq_edit_remove_node(emitter->model, find_file_node(node->merged[i]));
    return ldnq_edit_set_output(emitter->model, find_file_node(node), 0, output, err);
}

static enum ldnq_status write_layer_metadata(struct emitter *emitter,
                                             const struct ldnq_quantized_layer *quantized,
                                             struct ldnq_error *err)
{
    float low, high;
    const struct ldnq_node *node = quantized->layer.node;
    ldnq_quantized_scale_range(quantized, &low, &high);
    /* The weight's name tells a second weight of a node apart. */
    const bool is_first = quantized == emitter->network->layers || quantized[-1].layer.node != node;
    const char *key =
        ldnq_arena_printf(emitter->arena, err, "ldnq.layer.%s%s%s", node->label,
                          is_first ? "" : ".", is_first ? "" : quantized->layer.weight_name);
    const char *value =
        ldnq_arena_printf(emitter->arena, err, "codebook=%s storage=%s scale=%.9g..%.9g error=%.6g",
                          quantized->codebook->name,
                          ldnq_dtype_name(ldnq_emit_layer_dtype(emitter->choice, quantized)),
                          (double)low, (double)high, quantized->error);
    if (!key || !value)
        return LDNQ_NOMEM;
    return ldnq_model_set_metadata(emitter->model, key, value, err);
}

static enum ldnq_status emit_layer(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = &emitter->network->layers[i];
    const struct ldnq_node *node = quantized->layer.node;
    if (ldnq_layer_is_lookup(&quantized->layer)) {
        const size_t owner =
            quantized->shared ? (size_t)(quantized->shared - emitter->network->layers) : i;
        LDNQ_TRY(ldnq_emit_table(emitter->model, quantized, &emitter->tables[owner], emitter->arena,
                                 err));
        return write_layer_metadata(emitter, quantized, err);
    }
    LDNQ_TRY(add_weight(emitter, i, err));
    LDNQ_TRY(ldnq_edit_set_input(emitter->model, find_file_node(node),
                                 quantized->layer.weight_input, emitter->dequantized[i], err));
    if (reads_swapped_axes(emitter, quantized))
        LDNQ_TRY(ldnq_edit_set_int(emitter->model, node->origin, "transB", 0, err));
    LDNQ_TRY(write_bias(emitter, quantized, err));
    LDNQ_TRY(remove_folded_nodes(emitter, node, err));
    return write_layer_metadata(emitter, quantized, err);
}

/* What a layer needs for itself leaves the memory with it. */
static enum ldnq_status emit_and_release_layer(const struct emitter *network_emitter, size_t i,
                                               struct ldnq_error *err)
{
    struct emitter emitter = *network_emitter;
    const struct ldnq_quantized_layer *quantized = &emitter.network->layers[i];
    LDNQ_TRY(ldnq_arena_create(&emitter.arena, err));
    const enum ldnq_status status = emit_layer(&emitter, i, err);
    ldnq_arena_destroy(emitter.arena);
    ldnq_mapping_release_pages(quantized->codes, ldnq_layer_elements(&quantized->layer));
    return status;
}

static enum ldnq_status separate_products(struct emitter *emitter, struct ldnq_error *err)
{
    if (!emitter->choice->target || !emitter->choice->target->separates_products)
        return LDNQ_OK;
    for (size_t i = 0; i < emitter->network->count; i++) {
        const struct ldnq_quantized_layer *quantized = &emitter->network->layers[i];
        const struct ldnq_node *node = quantized->layer.node;
        const bool is_product =
            strcmp(node->op_type, "MatMul") == 0 || strcmp(node->op_type, "Gemm") == 0;
        if (is_product && (quantized->runs_on_codes ||
                           choose_stored_form(emitter, quantized) == STORED_AS_PRODUCT))
            LDNQ_TRY(ldnq_emit_separate_product(emitter->model, node->origin,
                                                quantized->runs_on_codes, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status emit_network(struct emitter *emitter, struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = emitter->network;
    struct ldnq_arena *arena = emitter->arena;
    const size_t count = network->count;
    emitter->dequantized = ldnq_arena_alloc(arena, count, sizeof *emitter->dequantized, err);
    emitter->tables = ldnq_arena_alloc(arena, count, sizeof *emitter->tables, err);
    if (!emitter->dequantized || !emitter->tables)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(emit_and_release_layer(emitter, i, err));
    for (size_t i = 0; i < network->norm_count; i++)
        LDNQ_TRY(ldnq_emit_norm(emitter->model, &network->norms[i], arena, err));
    if (network->placement)
        LDNQ_TRY(ldnq_emit_pairs(emitter->model, network->placement, err));
    LDNQ_TRY(separate_products(emitter, err));
    LDNQ_TRY(ldnq_edit_rename_duplicates(emitter->model, err));
    for (size_t i = 0; i < count; i++) {
        const void *body = network->layers[i].layer.node->body_origin;
        LDNQ_TRY(body ? ldnq_edit_prune_bodies(emitter->model, body, err) : LDNQ_OK);
    }
    return ldnq_edit_prune(emitter->model, err);
}

const char *ldnq_emit_explain_copy(const struct ldnq_quantized_network *network,
                                   const struct ldnq_emit_choice *choice, size_t i)
{
    const struct emitter emitter = { .network = network, .choice = choice };
    const struct ldnq_quantized_layer *quantized = &network->layers[i], *table = quantized->tied;
    if (!table || (quantized->shared == table && ldnq_layer_is_table(&quantized->layer)))
        return NULL;
    if (quantized->codebook != table->codebook)
        return "they have different codebooks";
    if (ldnq_layer_is_table(&quantized->layer))
        return "their lookups read other axes";
    if (ldnq_emit_table_bits(table) == 4)
        return "rows are looked up in packed bytes, which a product can't read";
    if (quantized->runs_on_codes || choose_stored_form(&emitter, quantized) == STORED_AS_PRODUCT)
        return "the target's kernel reads a weight of its own";
    if (table->layer.weight->shape.rank != 2 || table->layer.geometry.channel_axis != 0)
        return "its lookup reads another axis";
    if (quantized->shared != table)
        return "their scales differ";
    return NULL;
}

enum ldnq_status ldnq_emit(struct ldnq_model *model, const struct ldnq_quantized_network *network,
                           const struct ldnq_emit_choice *choice, struct ldnq_error *err)
{
    struct emitter emitter = { .model = model, .network = network, .choice = choice };
    LDNQ_TRY(ldnq_arena_create(&emitter.arena, err));
    const enum ldnq_status status = emit_network(&emitter, err);
    ldnq_arena_destroy(emitter.arena);
    return status;
}

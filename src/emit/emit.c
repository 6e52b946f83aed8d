#include "emit/emit.h"

#include <string.h>

#include "emit/emit_pairs.h"
#include "onnx/edit.h"

struct emitter {
    struct ldnq_model *model;
    const struct ldnq_quantized_network *network;
    const struct ldnq_emit_choice *choice;
    struct ldnq_arena *arena;
    const char **dequantized; /* by layer: the value that it reads as its weight */
};

static enum ldnq_status make_unique_name(struct emitter *emitter, const char *base,
                                         const char *suffix, const char **name,
                                         struct ldnq_error *err)
{
    const char *wanted = ldnq_arena_printf(emitter->arena, err, "%s%s", base, suffix);
    return wanted ? ldnq_edit_unique_name(emitter->model, wanted, name, err) : LDNQ_NOMEM;
}

/* ---- the weight -------------------------------------------------------------------
 *
 * A weight that its node reads as (K, M) is stored as (M, K), with a Transpose after its
 * DequantizeLinear. ONNX Runtime (seen in 1.32) replaces a DequantizeLinear that a MatMul or
 * Gemm reads as (K, M) by its MatMulNBits. That rounds activations to 8 bits and, with int2
 * and K = 200, has errors as large as the result. With the Transpose it computes what the file
 * says where the scales are those of blocks. With one scale per tensor or per row, 1.32 folds
 * the Transpose of some models into the weight and takes MatMulNBits all the same (differences
 * up to 0.7 % of the largest output); the session option session.disable_quant_qdq prevents it.
 * A layer whose input has codes keeps its layout: integer kernels compute it exactly. */

static bool is_transposed(const struct ldnq_quantized_layer *quantized)
{
    return quantized->layer.geometry.layout == LDNQ_WEIGHT_IN_OUT && !quantized->runs_on_codes;
}

/* The geometry of the codes in the file. */
static struct ldnq_layer_geometry
compute_stored_geometry(const struct ldnq_quantized_layer *quantized)
{
    struct ldnq_layer_geometry geometry = quantized->layer.geometry;
    if (is_transposed(quantized)) {
        geometry.layout = LDNQ_WEIGHT_OUT_IN;
        geometry.channel_axis = 0;
    }
    return geometry;
}

/* The shape of a weight with the stored geometry, before blocks. */
static struct ldnq_shape compute_stored_shape(const struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_layer *layer = &quantized->layer;
    struct ldnq_shape shape = layer->weight->shape;
    if (is_transposed(quantized)) {
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
    const struct ldnq_layer_geometry geometry = compute_stored_geometry(quantized);
    const size_t rows = ldnq_layer_rows(layer), cols = geometry.cols;
    int8_t *data = ldnq_arena_alloc(emitter->arena, rows * cols, sizeof *data, err);
    if (!data)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        for (size_t col = 0; col < cols; col++)
            data[ldnq_weight_offset(&geometry, row, col)] = quantized->codes[row * cols + col];
    const struct ldnq_tensor codes = {
        .dtype = ldnq_emit_dtype(emitter->choice, quantized->codebook),
        .shape = compute_stored_shape(quantized),
        .data = data,
    };
    LDNQ_TRY(make_unique_name(emitter, layer->weight_name, "_quantized", name, err));
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
    struct ldnq_layer_geometry geometry = compute_stored_geometry(quantized);
    geometry.cols = blocks;
    float *data = ldnq_arena_alloc(emitter->arena, rows * blocks, sizeof *data, err);
    if (!data)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        for (size_t block = 0; block < blocks; block++)
            data[ldnq_weight_offset(&geometry, row, block)] =
                quantized->scales[row * blocks + block];
    scales->data = data;
    scales->shape = compute_stored_shape(quantized);
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
    else if (quantized->granularity != LDNQ_PER_TENSOR)
        scales.shape =
            (struct ldnq_shape){ .rank = 1,
                                 .dim = { (int64_t)ldnq_layer_rows(&quantized->layer) } };
    LDNQ_TRY(make_unique_name(emitter, quantized->layer.weight_name, "_scale", name, err));
    return ldnq_edit_add_initializer(emitter->model, *name, &scales, err);
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
    } else if (quantized->granularity != LDNQ_PER_TENSOR)
        zeros.shape = (struct ldnq_shape){ .rank = 1, .dim = { (int64_t)scales } };
    zeros.data = ldnq_arena_alloc(emitter->arena, scales, sizeof(int8_t), err);
    if (!zeros.data)
        return LDNQ_NOMEM;
    LDNQ_TRY(make_unique_name(emitter, quantized->layer.weight_name, "_zero_point", name, err));
    return ldnq_edit_add_initializer(emitter->model, *name, &zeros, err);
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
    LDNQ_TRY(make_unique_name(emitter, base, node_suffix, &node, err));
    LDNQ_TRY(make_unique_name(emitter, base, suffix, output, err));
    return ldnq_edit_insert_node(emitter->model, quantized->layer.node->origin, op_type, node,
                                 inputs, input_count, *output, attrs, attr_count, err);
}

static enum ldnq_status add_dequantize(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = &emitter->network->layers[i];
    const struct ldnq_layer_geometry geometry = compute_stored_geometry(quantized);
    const char *inputs[3], *output;
    LDNQ_TRY(add_weight_codes(emitter, quantized, &inputs[0], err));
    LDNQ_TRY(add_scales(emitter, quantized, &inputs[1], err));
    if (quantized->runs_on_codes)
        LDNQ_TRY(add_zero_points(emitter, quantized, &inputs[2], err));
    const bool has_blocks = quantized->block_index != NULL;
    const struct ldnq_edit_int_attr attrs[] = {
        { "axis", has_blocks ? 1 - geometry.channel_axis : geometry.channel_axis },
        { "block_size", (int64_t)quantized->block_size },
    };
    size_t count = quantized->granularity == LDNQ_PER_TENSOR ? 0 : 1;
    if (has_blocks)
        count = 2;
    LDNQ_TRY(insert_node_before_layer(emitter, quantized, "DequantizeLinear", inputs,
                                      quantized->runs_on_codes ? 3 : 2, "_dequantized", attrs,
                                      count, &output, err));
    /* Without perm the axes are reversed. */
    if (is_transposed(quantized))
        LDNQ_TRY(insert_node_before_layer(emitter, quantized, "Transpose",
                                          (const char *const[]){ output }, 1, "_transposed", NULL,
                                          0, &output, err));
    emitter->dequantized[i] = output;
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
    const struct ldnq_edit_int_attr axis = { "axis", quantized->bias->shape.rank - 1 };
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
    LDNQ_TRY(make_unique_name(emitter, base, "_quantized", &inputs[0], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[0], quantized->bias_codes, err));
    LDNQ_TRY(make_unique_name(emitter, base, "_scale", &inputs[1], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[1], &scales, err));
    LDNQ_TRY(make_unique_name(emitter, base, "_zero_point", &inputs[2], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, inputs[2], &zeros, err));
    LDNQ_TRY(make_unique_name(emitter, base, "_DequantizeLinear", &node, err));
    LDNQ_TRY(make_unique_name(emitter, base, "_dequantized", output, err));
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
        LDNQ_TRY(make_unique_name(emitter, quantized->layer.bias_name, "_corrected", &name, err));
        LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, name, quantized->bias, err));
    }
    return ldnq_edit_set_input(emitter->model, quantized->layer.node->origin,
                               quantized->layer.bias_input, name, err);
}

/* Removes the nodes that were folded into the layer, which then computes the output of the last
 * one. */
static enum ldnq_status remove_folded_nodes(struct emitter *emitter, const struct ldnq_node *node,
                                            struct ldnq_error *err)
{
    for (size_t i = 0; i < node->merged_count; i++)
        ldnq_edit_remove_node(emitter->model, node->merged[i]->origin);
    if (node->merged_count == 0)
        return LDNQ_OK;
    return ldnq_edit_set_output(emitter->model, node->origin, 0, node->outputs[0]->name, err);
}

static enum ldnq_status write_layer_metadata(struct emitter *emitter,
                                             const struct ldnq_quantized_layer *quantized,
                                             struct ldnq_error *err)
{
    float low, high;
    ldnq_quantized_scale_range(quantized, &low, &high);
    const char *key =
        ldnq_arena_printf(emitter->arena, err, "ldnq.layer.%s", quantized->layer.node->label);
    const char *value =
        ldnq_arena_printf(emitter->arena, err, "codebook=%s storage=%s scale=%.9g..%.9g error=%.6g",
                          quantized->codebook->name,
                          ldnq_dtype_name(ldnq_emit_dtype(emitter->choice, quantized->codebook)),
                          (double)low, (double)high, quantized->error);
    if (!key || !value)
        return LDNQ_NOMEM;
    return ldnq_model_set_metadata(emitter->model, key, value, err);
}

static enum ldnq_status emit_layer(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = &emitter->network->layers[i];
    const struct ldnq_node *node = quantized->layer.node;
    if (quantized->shared)
        emitter->dequantized[i] =
            emitter->dequantized[quantized->shared - emitter->network->layers];
    else
        LDNQ_TRY(add_dequantize(emitter, i, err));
    LDNQ_TRY(ldnq_edit_set_input(emitter->model, node->origin, quantized->layer.weight_input,
                                 emitter->dequantized[i], err));
    LDNQ_TRY(write_bias(emitter, quantized, err));
    LDNQ_TRY(remove_folded_nodes(emitter, node, err));
    return write_layer_metadata(emitter, quantized, err);
}

static enum ldnq_status emit_tuned_norm(struct emitter *emitter,
                                        const struct ldnq_changed_norm *norm,
                                        struct ldnq_error *err)
{
    const char *name;
    LDNQ_TRY(make_unique_name(emitter, norm->name, "_tuned", &name, err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, name, norm->tensor, err));
    return ldnq_edit_set_input(emitter->model, norm->node->origin, norm->input, name, err);
}

static enum ldnq_status emit_network(struct emitter *emitter, struct ldnq_error *err)
{
    size_t count = emitter->network->count;
    emitter->dequantized =
        ldnq_arena_alloc(emitter->arena, count, sizeof *emitter->dequantized, err);
    if (!emitter->dequantized)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(emit_layer(emitter, i, err));
    for (size_t i = 0; i < emitter->network->norm_count; i++)
        LDNQ_TRY(emit_tuned_norm(emitter, &emitter->network->norms[i], err));
    if (emitter->network->placement)
        LDNQ_TRY(ldnq_emit_pairs(emitter->model, emitter->network->placement, err));
    LDNQ_TRY(ldnq_edit_rename_duplicates(emitter->model, err));
    return ldnq_edit_prune(emitter->model, err);
}

enum ldnq_status ldnq_emit(struct ldnq_model *model, const struct ldnq_quantized_network *network,
                           const struct ldnq_emit_choice *choice, struct ldnq_error *err)
{
    struct emitter emitter = { .model = model, .network = network, .choice = choice };
    LDNQ_TRY(ldnq_arena_create(&emitter.arena, err));
    enum ldnq_status status = emit_network(&emitter, err);
    ldnq_arena_destroy(emitter.arena);
    return status;
}

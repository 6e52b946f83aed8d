#include "emit/emit.h"

#include <string.h>

#include "onnx/edit.h"
#include "pipeline/matrices.h"

struct emitter {
    struct ldnq_model *model;
    const struct ldnq_quantization *quantization;
    const struct ldnq_emit_choice *choice;
    struct ldnq_arena *arena;
    const char **dequantized; /* by layer: the value that its weight now is */
};

static enum ldnq_status fresh_name(struct emitter *emitter, const char *base, const char *suffix,
                                   const char **name, struct ldnq_error *err)
{
    const char *wanted = ldnq_arena_printf(emitter->arena, err, "%s%s", base, suffix);
    return wanted ? ldnq_edit_unique_name(emitter->model, wanted, name, err) : LDNQ_NOMEM;
}

/* ---- the weight -------------------------------------------------------------------
 *
 * A weight that its node reads as (K, M) is stored as (M, K), with a Transpose
 * behind its DequantizeLinear. ONNX Runtime (seen in 1.32) turns a
 * DequantizeLinear in front of a MatMul or Gemm of (K, M) into its MatMulNBits,
 * which rounds activations to 8 bits and, for int2, is wrong by as much as the
 * result for K = 200; behind a Transpose it computes what the file says. */

/* Codes (K, M) as (M, K). */
static enum ldnq_status transpose_codes(struct emitter *emitter, struct ldnq_tensor *codes,
                                        struct ldnq_error *err)
{
    size_t rows = (size_t)codes->shape.dim[0], columns = (size_t)codes->shape.dim[1];
    const int8_t *from = codes->data;
    int8_t *to = ldnq_arena_alloc(emitter->arena, rows * columns, sizeof *to, err);
    if (!to)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            to[column * rows + row] = from[row * columns + column];
    codes->data = to;
    codes->shape.dim[0] = (int64_t)columns;
    codes->shape.dim[1] = (int64_t)rows;
    return LDNQ_OK;
}

static enum ldnq_status add_codes(struct emitter *emitter, const struct ldnq_layer_result *result,
                                  const char **name, struct ldnq_error *err)
{
    struct ldnq_tensor codes = { .dtype = ldnq_emit_dtype(emitter->choice, result->codebook),
                                 .shape = result->layer.weight->shape,
                                 .data = (void *)result->codes };
    if (result->layer.transposed)
        LDNQ_TRY(transpose_codes(emitter, &codes, err));
    LDNQ_TRY(fresh_name(emitter, result->layer.weight_name, "_quantized", name, err));
    return ldnq_edit_add_initializer(emitter->model, *name, &codes, err);
}

/* Of the weight as it is stored: where its input channels are. */
static int input_axis(const struct ldnq_layer *layer)
{
    return layer->transposed ? 1 : 1 - layer->channel_axis;
}

/* The scales of blocks lie as the weight does, with blocks in place of its inputs. */
static enum ldnq_status arrange_blocks(struct emitter *emitter,
                                       const struct ldnq_layer_result *result,
                                       struct ldnq_tensor *scales, struct ldnq_error *err)
{
    struct ldnq_layer blocks = result->layer;
    const size_t rows = ldnq_layer_rows(&blocks), segments = result->segments;
    blocks.transposed = false; /* as add_codes does */
    blocks.inputs = segments;
    float *to = ldnq_arena_alloc(emitter->arena, rows * segments, sizeof *to, err);
    if (!to)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++)
        for (size_t s = 0; s < segments; s++)
            to[ldnq_layer_element(&blocks, row, s)] = result->scales[row * segments + s];
    scales->data = to;
    scales->shape = result->layer.weight->shape;
    if (result->layer.transposed)
        scales->shape.dim[0] = (int64_t)rows;
    scales->shape.dim[input_axis(&result->layer)] = (int64_t)(segments / result->layer.kernel);
    return LDNQ_OK;
}

static enum ldnq_status add_scales(struct emitter *emitter, const struct ldnq_layer_result *result,
                                   const char **name, struct ldnq_error *err)
{
    struct ldnq_tensor scales = { .dtype = LDNQ_FLOAT, .data = (void *)result->scales };
    if (result->block)
        LDNQ_TRY(arrange_blocks(emitter, result, &scales, err));
    else if (emitter->quantization->granularity != LDNQ_PER_TENSOR)
        scales.shape =
            (struct ldnq_shape){ .rank = 1, .dim = { (int64_t)ldnq_layer_rows(&result->layer) } };
    LDNQ_TRY(fresh_name(emitter, result->layer.weight_name, "_scale", name, err));
    return ldnq_edit_add_initializer(emitter->model, *name, &scales, err);
}

/* A node in front of the layer; *output is its new value's name. */
static enum ldnq_status insert(struct emitter *emitter, const struct ldnq_layer_result *result,
                               const char *op_type, const char *const *inputs, size_t input_count,
                               const char *suffix, const struct ldnq_edit_int_attr *attrs,
                               size_t attr_count, const char **output, struct ldnq_error *err)
{
    const char *node, *base = result->layer.weight_name;
    const char *node_suffix = ldnq_arena_printf(emitter->arena, err, "_%s", op_type);
    if (!node_suffix)
        return LDNQ_NOMEM;
    LDNQ_TRY(fresh_name(emitter, base, node_suffix, &node, err));
    LDNQ_TRY(fresh_name(emitter, base, suffix, output, err));
    return ldnq_edit_insert_node(emitter->model, result->layer.node->origin, op_type, node, inputs,
                                 input_count, *output, attrs, attr_count, err);
}

static enum ldnq_status add_dequantize(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_layer_result *result = &emitter->quantization->layers[i];
    const struct ldnq_layer *layer = &result->layer;
    const char *inputs[2], *output;
    LDNQ_TRY(add_codes(emitter, result, &inputs[0], err));
    LDNQ_TRY(add_scales(emitter, result, &inputs[1], err));
    const int channel_axis = layer->transposed ? 0 : layer->channel_axis;
    const struct ldnq_edit_int_attr attrs[] = {
        { "axis", result->block ? input_axis(layer) : channel_axis },
        { "block_size", (int64_t)result->block },
    };
    size_t count = emitter->quantization->granularity == LDNQ_PER_TENSOR ? 0 : 1;
    if (result->block)
        count = 2;
    LDNQ_TRY(insert(emitter, result, "DequantizeLinear", inputs, 2, "_dequantized", attrs, count,
                    &output, err));
    /* Without perm the axes are reversed. */
    if (layer->transposed)
        LDNQ_TRY(insert(emitter, result, "Transpose", (const char *const[]){ output }, 1,
                        "_transposed", NULL, 0, &output, err));
    emitter->dequantized[i] = output;
    return LDNQ_OK;
}

/* ---- the layer ---------------------------------------------------------------------- */

static enum ldnq_status set_bias(struct emitter *emitter, const struct ldnq_layer_result *result,
                                 struct ldnq_error *err)
{
    const char *name;
    if (!result->bias)
        return LDNQ_OK;
    LDNQ_TRY(fresh_name(emitter, result->layer.bias_name, "_corrected", &name, err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, name, result->bias, err));
    return ldnq_edit_set_input(emitter->model, result->layer.node->origin, result->layer.bias_input,
                               name, err);
}

/* The nodes folded into the layer go; it makes what the last of them made. */
static enum ldnq_status absorb_merged(struct emitter *emitter, const struct ldnq_node *node,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < node->merged_count; i++)
        ldnq_edit_remove_node(emitter->model, node->merged[i]->origin);
    if (node->merged_count == 0)
        return LDNQ_OK;
    return ldnq_edit_set_output(emitter->model, node->origin, 0, node->outputs[0]->name, err);
}

static enum ldnq_status note_layer(struct emitter *emitter, const struct ldnq_layer_result *result,
                                   struct ldnq_error *err)
{
    float low, high;
    ldnq_layer_scale_range(result, &low, &high);
    const char *key =
        ldnq_arena_printf(emitter->arena, err, "ldnq.layer.%s", result->layer.node->label);
    const char *value = ldnq_arena_printf(
        emitter->arena, err, "codebook=%s storage=%s scale=%.9g..%.9g error=%.6g",
        result->codebook->name, ldnq_dtype_name(ldnq_emit_dtype(emitter->choice, result->codebook)),
        (double)low, (double)high, result->error);
    if (!key || !value)
        return LDNQ_NOMEM;
    return ldnq_model_set_metadata(emitter->model, key, value, err);
}

static enum ldnq_status emit_layer(struct emitter *emitter, size_t i, struct ldnq_error *err)
{
    const struct ldnq_layer_result *result = &emitter->quantization->layers[i];
    const struct ldnq_node *node = result->layer.node;
    if (result->shared)
        emitter->dequantized[i] =
            emitter->dequantized[result->shared - emitter->quantization->layers];
    else
        LDNQ_TRY(add_dequantize(emitter, i, err));
    LDNQ_TRY(ldnq_edit_set_input(emitter->model, node->origin, result->layer.weight_input,
                                 emitter->dequantized[i], err));
    LDNQ_TRY(set_bias(emitter, result, err));
    LDNQ_TRY(absorb_merged(emitter, node, err));
    return note_layer(emitter, result, err);
}

static enum ldnq_status emit_norm(struct emitter *emitter, const struct ldnq_norm_result *norm,
                                  struct ldnq_error *err)
{
    const char *name;
    LDNQ_TRY(fresh_name(emitter, norm->name, "_tuned", &name, err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, name, norm->tensor, err));
    return ldnq_edit_set_input(emitter->model, norm->node->origin, norm->input, name, err);
}

static enum ldnq_status emit_all(struct emitter *emitter, struct ldnq_error *err)
{
    size_t count = emitter->quantization->count;
    emitter->dequantized =
        ldnq_arena_alloc(emitter->arena, count, sizeof *emitter->dequantized, err);
    if (!emitter->dequantized)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(emit_layer(emitter, i, err));
    for (size_t i = 0; i < emitter->quantization->norm_count; i++)
        LDNQ_TRY(emit_norm(emitter, &emitter->quantization->norms[i], err));
    LDNQ_TRY(ldnq_edit_separate_nodes(emitter->model, err));
    return ldnq_edit_prune(emitter->model, err);
}

enum ldnq_status ldnq_emit(struct ldnq_model *model, const struct ldnq_quantization *quantization,
                           const struct ldnq_emit_choice *choice, struct ldnq_error *err)
{
    struct emitter emitter = { .model = model, .quantization = quantization, .choice = choice };
    LDNQ_TRY(ldnq_arena_create(&emitter.arena, err));
    enum ldnq_status status = emit_all(&emitter, err);
    ldnq_arena_destroy(emitter.arena);
    return status;
}

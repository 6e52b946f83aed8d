/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/emit_table.h"

#include "onnx/edit.h"

/* Added to codes of 4 bits, so that they are not negative. */
#define CODE_OFFSET 8

/* The handle of the table's node, which may be in a body. */
static const void *find_file_node(const struct ldnq_layer *layer)
{
    return layer->node->origin ? layer->node->origin : layer->node->body_origin;
}

struct table_emitter {
    struct ldnq_model *model;
    const struct ldnq_quantized_layer *quantized;
    struct ldnq_arena *arena;
};

unsigned ldnq_emit_table_bits(const struct ldnq_quantized_layer *quantized)
{
    return ldnq_table_code_bits(quantized->codebook->bits,
                                ldnq_layer_packed_size(&quantized->layer));
}

static bool packs_first_axis(const struct ldnq_quantized_layer *quantized)
{
    return ldnq_layer_packed_axis(&quantized->layer) == 0;
}

/* ---- tensors ----------------------------------------------------------------------------- */

static enum ldnq_status add_tensor(struct table_emitter *emitter, const char *suffix,
                                   const struct ldnq_tensor *tensor, const char **name,
                                   struct ldnq_error *err)
{
    return ldnq_edit_add_named(emitter->model, emitter->quantized->layer.weight_name, suffix,
                               tensor, name, err);
}

/* Adds a float32 tensor in the type of the table. */
static enum ldnq_status add_floats(struct table_emitter *emitter, const char *suffix,
                                   const struct ldnq_tensor *tensor, const char **name,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *stored;
    LDNQ_TRY(
        ldnq_tensor_narrow(emitter->arena, tensor, emitter->quantized->layer.dtype, &stored, err));
    return add_tensor(emitter, suffix, stored, name, err);
}

static enum ldnq_status add_scalar(struct table_emitter *emitter, const char *suffix, float value,
                                   const char **name, struct ldnq_error *err)
{
    const struct ldnq_tensor tensor = { .dtype = LDNQ_FLOAT, .data = &value };
    return add_floats(emitter, suffix, &tensor, name, err);
}

/* The axes of the table; with blocks (rows, S, cols / S), or (E, S, B, M) of matrices (E, K, M)
 * with blocks of B. */
static struct ldnq_shape make_codes_shape(const struct ldnq_quantized_layer *quantized)
{
    struct ldnq_shape shape = quantized->layer.weight->shape;
    if (!quantized->block_index)
        return shape;
    const int last = shape.rank - 1;
    if (quantized->layer.product)
        shape.dim[last + 1] = shape.dim[last];
    shape.rank++;
    shape.dim[1] = (int64_t)quantized->block_count;
    shape.dim[2] = (int64_t)(quantized->layer.geometry.cols / quantized->block_count);
    return shape;
}

/* Those of the codes, of which one scale serves all but the axis of the ids and that of blocks. */
static struct ldnq_shape make_scales_shape(const struct ldnq_quantized_layer *quantized)
{
    struct ldnq_shape shape = make_codes_shape(quantized);
    for (int axis = 0; axis < shape.rank; axis++)
        if (axis != quantized->layer.geometry.channel_axis &&
            (axis != 1 || !quantized->block_index))
            shape.dim[axis] = 1;
    return shape;
}

/* Byte k of a part holds its codes k and k + half. */
static void pack_codes(const int8_t *codes, size_t parts, size_t half, uint8_t *bytes)
{
    for (size_t part = 0; part < parts; part++)
        for (size_t k = 0; k < half; k++) {
            const int low = codes[part * 2 * half + k] + CODE_OFFSET;
            const int high = codes[part * 2 * half + half + k] + CODE_OFFSET;
            bytes[part * half + k] = (uint8_t)(high << 4 | low);
        }
}

static enum ldnq_status add_codes(struct table_emitter *emitter, const char **name,
                                  struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = emitter->quantized;
    const struct ldnq_layer_geometry *geometry = &quantized->layer.geometry;
    struct ldnq_shape shape = make_codes_shape(quantized);
    const size_t elements = ldnq_layer_elements(&quantized->layer);
    int8_t *codes = ldnq_arena_alloc(emitter->arena, elements, sizeof *codes, err);
    if (!codes)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < ldnq_layer_rows(&quantized->layer); row++)
        for (size_t col = 0; col < geometry->cols; col++)
            codes[ldnq_find_weight_offset(geometry, row, col)] =
                quantized->codes[row * geometry->cols + col];
    struct ldnq_tensor tensor = { .dtype = LDNQ_INT8, .shape = shape, .data = codes };
    if (ldnq_emit_table_bits(quantized) == 4) {
        const bool is_first = packs_first_axis(quantized);
        const int axis = is_first ? 0 : shape.rank - 1;
        const size_t whole = is_first ? elements : (size_t)shape.dim[axis];
        uint8_t *bytes = ldnq_arena_alloc(emitter->arena, elements / 2, sizeof *bytes, err);
        if (!bytes)
            return LDNQ_NOMEM;
        pack_codes(codes, elements / whole, whole / 2, bytes);
        shape.dim[axis] /= 2;
        tensor = (struct ldnq_tensor){ .dtype = LDNQ_UINT8, .shape = shape, .data = bytes };
    }
    return add_tensor(emitter, "_quantized", &tensor, name, err);
}

/* The scales of matrices, (E, 1, M), or (E, S, 1, M) with blocks. */
static enum ldnq_status make_matrix_scales(const struct table_emitter *emitter,
                                           struct ldnq_tensor *scales, struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *quantized = emitter->quantized;
    const size_t rows = quantized->layer.geometry.rows;
    const size_t count = ldnq_quantized_scales_per_row(quantized);
    const size_t all = ldnq_layer_rows(&quantized->layer);
    float *data = ldnq_arena_alloc(emitter->arena, all, count * sizeof *data, err);
    if (!data)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < all; row++)
        for (size_t s = 0; s < count; s++)
            data[(row / rows * count + s) * rows + row % rows] = quantized->scales[row * count + s];
    scales->data = data;
    scales->shape = make_codes_shape(quantized);
    scales->shape.dim[scales->shape.rank - 2] = 1;
    return LDNQ_OK;
}

static enum ldnq_status add_table_tensors(struct table_emitter *emitter,
                                          struct ldnq_table_names *names, struct ldnq_error *err)
{
    struct ldnq_tensor scales = { .dtype = LDNQ_FLOAT,
                                  .shape = make_scales_shape(emitter->quantized),
                                  .data = emitter->quantized->scales };
    if (emitter->quantized->layer.product)
        LDNQ_TRY(make_matrix_scales(emitter, &scales, err));
    LDNQ_TRY(add_codes(emitter, &names->codes, err));
    return add_floats(emitter, "_scale", &scales, &names->scales, err);
}

/* ---- nodes ------------------------------------------------------------------------------- */

/* Inserts a node before the table's own. b: NULL for a node with one input. */
static enum ldnq_status insert_node(struct table_emitter *emitter, const char *op_type,
                                    const char *a, const char *b,
                                    const struct ldnq_edit_int_attr *attr, const char **output,
                                    struct ldnq_error *err)
{
    const char *inputs[] = { a, b }, *name;
    const struct ldnq_layer *layer = &emitter->quantized->layer;
    const char *suffix = ldnq_arena_printf(emitter->arena, err, "_%s", op_type);
    if (!suffix)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, layer->weight_name, suffix, &name, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, name, "_output", output, err));
    return ldnq_edit_insert_node(emitter->model, find_file_node(layer), op_type, name, inputs,
                                 b ? 2 : 1, *output, attr, attr ? 1 : 0, err);
}

/* *value: bytes as floats; becomes the codes. */
static enum ldnq_status insert_unpacking(struct table_emitter *emitter, const char **value,
                                         struct ldnq_error *err)
{
    const struct ldnq_edit_int_attr packed_axis = {
        .name = "axis", .value = packs_first_axis(emitter->quantized) ? 0 : -1
    };
    const char *sixteenth, *sixteen, *offset, *high, *low;
    LDNQ_TRY(add_scalar(emitter, "_sixteenth", 1.0f / 16, &sixteenth, err));
    LDNQ_TRY(add_scalar(emitter, "_sixteen", 16.0f, &sixteen, err));
    LDNQ_TRY(add_scalar(emitter, "_offset", CODE_OFFSET, &offset, err));
    LDNQ_TRY(insert_node(emitter, "Mul", *value, sixteenth, NULL, &high, err));
    LDNQ_TRY(insert_node(emitter, "Floor", high, NULL, NULL, &high, err));
    LDNQ_TRY(insert_node(emitter, "Mul", high, sixteen, NULL, &low, err));
    LDNQ_TRY(insert_node(emitter, "Sub", *value, low, NULL, &low, err));
    LDNQ_TRY(insert_node(emitter, "Concat", low, high, &packed_axis, value, err));
    return insert_node(emitter, "Sub", *value, offset, NULL, value, err);
}

/* The shape that joins blocks: the axes of the ids as they are, then all columns, or a matrix. */
static enum ldnq_status add_joined_shape(struct table_emitter *emitter, const char **name,
                                         struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &emitter->quantized->layer;
    int axes = layer->node->inputs[1]->shape.rank;
    int64_t dims[LDNQ_MAX_RANK] = { 0 };
    dims[axes++] = (int64_t)layer->geometry.cols;
    if (layer->product)
        dims[axes++] = (int64_t)layer->geometry.rows;
    const struct ldnq_tensor shape = { .dtype = LDNQ_INT64,
                                       .shape = { .rank = 1, .dim = { axes } },
                                       .data = dims };
    return add_tensor(emitter, "_shape", &shape, name, err);
}

static enum ldnq_status insert_nodes(struct table_emitter *emitter,
                                     const struct ldnq_table_names *names, struct ldnq_error *err)
{
    const void *origin = find_file_node(&emitter->quantized->layer);
    const char *ids = ldnq_edit_find_input(emitter->model, origin, 1);
    const struct ldnq_edit_int_attr to_float = { .name = "to",
                                                 .value = emitter->quantized->layer.dtype };
    const struct ldnq_layer *layer = &emitter->quantized->layer;
    const struct ldnq_edit_int_attr axis = { .name = "axis",
                                             .value = layer->geometry.channel_axis };
    const struct ldnq_edit_int_attr *of_gather =
        ldnq_layer_is_table(layer) && axis.value > 0 ? &axis : NULL;
    const char *value, *last[2];
    LDNQ_TRY(insert_node(emitter, "Gather", names->codes, ids, of_gather, &value, err));
    LDNQ_TRY(insert_node(emitter, "Gather", names->scales, ids, of_gather, &last[1], err));
    LDNQ_TRY(insert_node(emitter, "Cast", value, NULL, &to_float, &last[0], err));
    if (ldnq_emit_table_bits(emitter->quantized) == 4)
        LDNQ_TRY(insert_unpacking(emitter, &last[0], err));
    if (!emitter->quantized->block_index)
        return ldnq_edit_replace_node(emitter->model, origin, "Mul", last, 2, NULL, 0, err);
    LDNQ_TRY(insert_node(emitter, "Mul", last[0], last[1], NULL, &last[0], err));
    LDNQ_TRY(add_joined_shape(emitter, &last[1], err));
    return ldnq_edit_replace_node(emitter->model, origin, "Reshape", last, 2, NULL, 0, err);
}

enum ldnq_status ldnq_emit_table(struct ldnq_model *model,
                                 const struct ldnq_quantized_layer *quantized,
                                 struct ldnq_table_names *names, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    struct table_emitter emitter = { .model = model, .quantized = quantized, .arena = arena };
    if (!names->codes)
        LDNQ_TRY(add_table_tensors(&emitter, names, err));
    return insert_nodes(&emitter, names, err);
}

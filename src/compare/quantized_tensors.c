/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/quantized_tensors.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"

/* Codes of more bits are not counted one by one. */
#define MAX_COUNTED_BITS 16

/* ---- codes --------------------------------------------------------------------------- */

static void find_code_range(const struct ldnq_tensor *codes, int64_t *low, int64_t *high)
{
    const size_t count = ldnq_tensor_count(codes);
    *low = *high = count ? ldnq_tensor_load_integer(codes, 0) : 0;
    for (size_t i = 1; i < count; i++) {
        const int64_t code = ldnq_tensor_load_integer(codes, i);
        *low = code < *low ? code : *low;
        *high = code > *high ? code : *high;
    }
}

/* Sets the figures of the tensor that follow from the histogram of its codes. */
static void summarize_codes(struct ldnq_quantized_tensor *tensor, const uint64_t *histogram,
                            size_t bins)
{
    const double count = (double)tensor->count;
    tensor->entropy = 0;
    for (size_t i = 0; i < bins; i++) {
        const double part = (double)histogram[i] / count;
        tensor->codes_used += histogram[i] > 0;
        tensor->entropy -= part > 0 ? part * log2(part) : 0;
    }
}

/* Counts codes from code_min to code_max. The histogram is kept for types of up to 8 bits. */
static enum ldnq_status count_codes(struct ldnq_quantized_tensor *tensor,
                                    const struct ldnq_tensor *codes, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    const unsigned bits = ldnq_dtype_bits(codes->dtype);
    const size_t bins = (size_t)(tensor->code_max - tensor->code_min) + 1;
    if (bits > MAX_COUNTED_BITS || tensor->count == 0)
        return LDNQ_OK;
    uint64_t *histogram = ldnq_arena_alloc(arena, bins, sizeof *histogram, err);
    if (!histogram)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < tensor->count; i++)
        histogram[ldnq_tensor_load_integer(codes, i) - tensor->code_min]++;
    summarize_codes(tensor, histogram, bins);
    if (bits > 8)
        return LDNQ_OK;
    tensor->histogram = histogram;
    tensor->histogram_first = tensor->code_min;
    tensor->histogram_count = bins;
    return LDNQ_OK;
}

/* ---- bytes --------------------------------------------------------------------------- */

static size_t count_packed_bytes(const struct ldnq_tensor *tensor, enum ldnq_dtype dtype)
{
    return (ldnq_tensor_count(tensor) * ldnq_dtype_bits(dtype) + 7) / 8;
}

static enum ldnq_dtype find_constant_dtype(const struct ldnq_value *value)
{
    return value->half ? value->half : value->constant->dtype;
}

/* Where folding has computed the value, the initializer it was computed from: the float weight
 * where the model quantizes it at run time, the float16 weight where a Cast follows. */
static const struct ldnq_value *find_stored_value(const struct ldnq_value *value)
{
    while (!value->is_initializer && value->folded_from && value->folded_from->input_count &&
           value->folded_from->inputs[0])
        value = value->folded_from->inputs[0];
    return value;
}

static size_t count_stored_bytes(const struct ldnq_value *value)
{
    const struct ldnq_value *stored = find_stored_value(value);
    return stored->constant ? count_packed_bytes(stored->constant, find_constant_dtype(stored)) : 0;
}

enum ldnq_dtype ldnq_weight_stored_dtype(const struct ldnq_layer *layer)
{
    const struct ldnq_value *value = layer->node->inputs[layer->weight_input];
    const struct ldnq_value *stored = value ? find_stored_value(value) : NULL;
    if (!layer->weight)
        return LDNQ_UNDEFINED;
    /* What was computed from something else, such as a smaller tensor that is expanded, counts as
     * it is. */
    const bool holds_weight =
        stored && stored->is_initializer && stored->constant &&
        ldnq_tensor_count(stored->constant) == ldnq_tensor_count(layer->weight);
    if (holds_weight)
        return find_constant_dtype(stored);
    return value && value->half ? value->half : layer->weight->dtype;
}

size_t ldnq_weight_stored_bytes(const struct ldnq_layer *layer,
                                const struct ldnq_quantized_tensor *codes)
{
    if (codes && codes->is_constant)
        return codes->bytes;
    return layer->weight ? count_packed_bytes(layer->weight, ldnq_weight_stored_dtype(layer)) : 0;
}

/* ---- one tensor ---------------------------------------------------------------------- */

static const struct ldnq_value *input_value_or_null(const struct ldnq_node *node, size_t i)
{
    return i < node->input_count ? node->inputs[i] : NULL;
}

static void read_scales(struct ldnq_quantized_tensor *tensor, const struct ldnq_node *node)
{
    const struct ldnq_value *scale = input_value_or_null(node, 1),
                            *zero = input_value_or_null(node, 2);
    const struct ldnq_tensor *scales = scale ? scale->constant : NULL;
    if (scales && scales->dtype == LDNQ_FLOAT && ldnq_tensor_count(scales) > 0) {
        const float *data = scales->data;
        tensor->scale_count = ldnq_tensor_count(scales);
        tensor->scale_min = tensor->scale_max = (double)data[0];
        for (size_t i = 1; i < tensor->scale_count; i++) {
            tensor->scale_min = fmin(tensor->scale_min, (double)data[i]);
            tensor->scale_max = fmax(tensor->scale_max, (double)data[i]);
        }
    }
    if (zero && zero->constant && ldnq_dtype_is_integer(zero->constant->dtype))
        find_code_range(zero->constant, &tensor->zero_min, &tensor->zero_max);
    tensor->bytes += scale ? count_stored_bytes(scale) : 0;
    tensor->bytes += zero ? count_stored_bytes(zero) : 0;
}

static void read_axis(struct ldnq_quantized_tensor *tensor, const struct ldnq_node *node)
{
    const int64_t axis = ldnq_attr_int(node, "axis", 1);
    tensor->block_size = ldnq_attr_int(node, "block_size", 0);
    tensor->axis = -1;
    if (tensor->scale_count > 1)
        tensor->axis = (int)(axis < 0 ? axis + tensor->shape.rank : axis);
}

static const char *find_reader_label(const struct ldnq_compute_view *view,
                                     const struct ldnq_value *codes)
{
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++) {
            const struct ldnq_node *node = view->nodes[n].inputs[i].dequantize;
            if (node && node->inputs[0] == codes)
                return view->nodes[n].node->label;
        }
    return "";
}

struct ldnq_diff_shape ldnq_diff_shape_from(const struct ldnq_shape *shape)
{
    static_assert(LDNQ_DIFF_MAX_RANK == LDNQ_MAX_RANK, "every shape of a graph has to fit");
    struct ldnq_diff_shape plain = { shape->rank < 0 ? LDNQ_DIFF_OPEN : shape->rank, { 0 } };
    for (int d = 0; d < plain.rank; d++)
        plain.dim[d] = ldnq_is_symbol(shape->dim[d]) ? LDNQ_DIFF_OPEN : shape->dim[d];
    return plain;
}

static enum ldnq_status describe_tensor(const struct ldnq_compute_view *view,
                                        const struct ldnq_node *node,
                                        struct ldnq_quantized_tensor *tensor,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_value *codes = node->inputs[0];
    *tensor = (struct ldnq_quantized_tensor){
        .name = codes->name,
        .reader = find_reader_label(view, codes),
        .type = ldnq_dtype_name(codes->dtype),
        .shape = ldnq_diff_shape_from(&codes->shape),
        .is_constant = codes->constant != NULL,
        .entropy = NAN,
    };
    read_scales(tensor, node);
    read_axis(tensor, node);
    if (!codes->constant)
        return LDNQ_OK;
    tensor->type = ldnq_dtype_name(codes->constant->dtype);
    tensor->shape = ldnq_diff_shape_from(&codes->constant->shape);
    tensor->bytes += count_stored_bytes(codes);
    if (!ldnq_dtype_is_integer(codes->constant->dtype)) /* float8 has no codes to count */
        return LDNQ_OK;
    tensor->count = ldnq_tensor_count(codes->constant);
    find_code_range(codes->constant, &tensor->code_min, &tensor->code_max);
    return count_codes(tensor, codes->constant, arena, err);
}

/* ---- all tensors --------------------------------------------------------------------- */

static bool is_dequantize(const struct ldnq_node *node)
{
    return strcmp(node->op_type, "DequantizeLinear") == 0 && input_value_or_null(node, 0);
}

enum ldnq_status ldnq_quantized_tensors_list(const struct ldnq_compute_view *view,
                                             struct ldnq_arena *arena,
                                             struct ldnq_quantized_tensor **tensors, size_t *count,
                                             struct ldnq_error *err)
{
    size_t most = view->body_dequantize_count;
    for (size_t i = 0; i < view->file_node_count; i++)
        most += is_dequantize(view->file_nodes[i]);
    *count = 0;
    *tensors = ldnq_arena_alloc(arena, most, sizeof **tensors, err);
    bool *seen = ldnq_arena_alloc(arena, view->graph->value_count, sizeof *seen, err);
    if (!*tensors || !seen)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < view->file_node_count; i++) {
        const struct ldnq_node *node = view->file_nodes[i];
        if (!is_dequantize(node) || seen[node->inputs[0]->index])
            continue;
        seen[node->inputs[0]->index] = true;
        LDNQ_TRY(describe_tensor(view, node, &(*tensors)[(*count)++], arena, err));
    }
    for (size_t i = 0; i < view->body_dequantize_count; i++) {
        const struct ldnq_node *node = view->body_dequantize[i];
        if (!ldnq_quantized_tensors_find(*tensors, *count, node))
            LDNQ_TRY(describe_tensor(view, node, &(*tensors)[(*count)++], arena, err));
    }
    return LDNQ_OK;
}

const struct ldnq_quantized_tensor *
ldnq_quantized_tensors_find(const struct ldnq_quantized_tensor *tensors, size_t count,
                            const struct ldnq_node *dequantize)
{
    for (size_t i = 0; dequantize && i < count; i++)
        if (strcmp(tensors[i].name, dequantize->inputs[0]->name) == 0)
            return &tensors[i];
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/quantized_layer.h"

#include <float.h>
#include <math.h>

#include "base/mapping.h"
#include "base/size.h"
#include "ir/half.h"

/* ---- scales ----------------------------------------------------------------------------- */

bool ldnq_layer_has_blocks(const struct ldnq_layer *layer, size_t block_size)
{
    const size_t kernel = layer->geometry.kernel;
    const size_t channels = kernel ? layer->geometry.cols / kernel : 0;
    return channels > block_size || (channels == block_size && kernel > 1);
}

enum ldnq_status ldnq_quantized_set_blocks(struct ldnq_quantized_layer *quantized,
                                           size_t block_size, struct ldnq_arena *arena,
                                           struct ldnq_error *err)
{
    const size_t cols = quantized->layer.geometry.cols, kernel = quantized->layer.geometry.kernel;
    const size_t channels = kernel ? cols / kernel : 0;
    if (!ldnq_layer_has_blocks(&quantized->layer, block_size))
        return LDNQ_OK;
    uint32_t *block_index = ldnq_arena_alloc(arena, cols, sizeof *block_index, err);
    if (!block_index)
        return LDNQ_NOMEM;
    /* Columns are ordered by input channel, then by element of the kernel. */
    for (size_t col = 0; col < cols; col++)
        block_index[col] = (uint32_t)(col / (block_size * kernel) * kernel + col % kernel);
    quantized->block_index = block_index;
    quantized->block_count = ldnq_size_ceil_div(channels, block_size) * kernel;
    quantized->block_size = block_size;
    return LDNQ_OK;
}

void ldnq_quantized_scale_range(const struct ldnq_quantized_layer *quantized, float *low,
                                float *high)
{
    const float *scales = quantized->scales;
    const size_t count =
        ldnq_layer_rows(&quantized->layer) * ldnq_quantized_scales_per_row(quantized);
    *low = *high = fabsf(scales[0]);
    for (size_t i = 1; i < count; i++) {
        *low = fminf(fabsf(scales[i]), *low);
        *high = fmaxf(fabsf(scales[i]), *high);
    }
}

/* ---- the weight ------------------------------------------------------------------------- */

void ldnq_quantized_write_weight(const struct ldnq_quantized_layer *quantized, const int8_t *codes,
                                 const float *scales, float *weight)
{
    const struct ldnq_layer_geometry *geometry = &quantized->layer.geometry;
    for (size_t row = 0; row < ldnq_layer_rows(&quantized->layer); row++)
        for (size_t col = 0; col < geometry->cols; col++)
            weight[ldnq_find_weight_offset(geometry, row, col)] =
                scales[ldnq_quantized_scale_index(quantized, row, col)] *
                (float)codes[row * geometry->cols + col];
}

/* ---- the bias --------------------------------------------------------------------------- */

/* Codes of a bias stay below this: the kernel adds products to them in 32 bits. */
#define MOST_BIAS_CODE 1073741824.0 /* 2^30 */
/* The code of the bias of a row without weights, whose scale is free. */
#define FREE_BIAS_CODE 16777216.0 /* 2^24 */

static bool has_integer_bias(const struct ldnq_quantized_layer *quantized)
{
    return quantized->bias && quantized->input_scale > 0 && !quantized->block_index &&
           ldnq_tensor_count(quantized->bias) == ldnq_layer_rows(&quantized->layer);
}

static bool has_codes(const struct ldnq_quantized_layer *quantized, size_t row)
{
    const size_t cols = quantized->layer.geometry.cols;
    for (size_t i = row * cols; i < (row + 1) * cols; i++)
        if (quantized->codes[i] != 0)
            return true;
    return false;
}

/* Finds the scale of the row's weights at which its bias has the code `code`. */
static float find_scale_for_bias(const struct ldnq_quantized_layer *quantized, size_t row,
                                 double code)
{
    const float *bias = quantized->bias->data;
    const double scale = fabs((double)bias[row]) / ((double)quantized->input_scale * code);
    const double least =
        fmax(quantized->scale_format == &ldnq_power_of_two_scales ? exp2(ceil(log2(scale))) : scale,
             FLT_MIN);
    return least <= (double)FLT_MAX ? (float)least : FLT_MAX;
}

/* Enlarges the row's scale and rounds its weights to codes of that scale. */
static void widen_scale(struct ldnq_quantized_layer *quantized, size_t row, float scale)
{
    const size_t cols = quantized->layer.geometry.cols;
    const double ratio = (double)quantized->scales[row] / (double)scale;
    for (size_t i = row * cols; i < (row + 1) * cols; i++)
        quantized->codes[i] =
            (int8_t)ldnq_codebook_find_nearest(quantized->codebook, quantized->codes[i] * ratio);
    quantized->scales[row] = scale;
}

/* The bias of a channel that training has switched off is far above what its tiny weights add:
 * its code would not fit. The scale of such weights grows until it does; they lose less than the
 * step of the bias. A row without weights gets a scale that suits its bias. */
static void enlarge_scales_until_bias_fits(struct ldnq_quantized_layer *quantized)
{
    const size_t rows = ldnq_layer_rows(&quantized->layer);
    const bool has_one_scale = quantized->granularity == LDNQ_PER_TENSOR;
    const float *bias = quantized->bias->data;
    float largest = 0;
    for (size_t row = 0; row < rows; row++) {
        const float least = find_scale_for_bias(quantized, row, MOST_BIAS_CODE);
        largest = fmaxf(largest, least);
        if (has_one_scale || bias[row] == 0.0f)
            continue;
        if (!has_codes(quantized, row))
            quantized->scales[row] = find_scale_for_bias(quantized, row, FREE_BIAS_CODE);
        else if (least > fabsf(quantized->scales[row]))
            widen_scale(quantized, row, least);
    }
    for (size_t row = 0; has_one_scale && row < rows && largest > fabsf(quantized->scales[row]);
         row++)
        widen_scale(quantized, row, largest);
}

/* The bias as codes with the scale of the products that the kernel sums. An accumulator of 32
 * bits bounds it. */
static enum ldnq_status quantize_bias(struct ldnq_quantized_layer *quantized,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &quantized->bias->shape;
    if (!quantized->bias_codes)
        LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_INT32, shape, &quantized->bias_codes, err));
    float *bias = quantized->bias->data;
    int32_t *codes = quantized->bias_codes->data;
    for (size_t row = 0; row < ldnq_layer_rows(&quantized->layer); row++) {
        const float scale = quantized->input_scale * quantized->scales[row];
        const double code = nearbyint((double)bias[row] / (double)scale);
        codes[row] = (int32_t)fmin(fmax(code, -2147483648.0), 2147483647.0);
        bias[row] = (float)codes[row] * scale;
    }
    return LDNQ_OK;
}

/* What DequantizeLinear computes with scales of the file's type, and the bias as it is stored. */
static void round_to_file_type(struct ldnq_quantized_layer *quantized)
{
    struct ldnq_tensor *const tensors[] = { quantized->weight, quantized->bias };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (tensors[i])
            ldnq_round_to_halves(quantized->layer.dtype, tensors[i]->data,
                                 ldnq_tensor_count(tensors[i]));
}

/* What is in temporary files leaves the memory: other layers come first, and the executor reads the
 * weight again. */
static void release_pages(const struct ldnq_quantized_layer *quantized)
{
    const size_t elements = ldnq_layer_elements(&quantized->layer);
    ldnq_mapping_release_pages(quantized->codes, elements * sizeof *quantized->codes);
    ldnq_mapping_release_pages(quantized->weight->data, elements * sizeof(float));
    ldnq_mapping_release_pages(quantized->layer.weight->data, elements * sizeof(float));
}

enum ldnq_status ldnq_quantized_layer_apply(struct ldnq_quantized_layer *quantized,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    /* The layer that owns a shared weight decides its scales. */
    if (has_integer_bias(quantized) && !quantized->shared)
        enlarge_scales_until_bias_fits(quantized);
    if (!quantized->weight)
        LDNQ_TRY(
            ldnq_tensor_create(arena, LDNQ_FLOAT, &layer->weight->shape, &quantized->weight, err));
    ldnq_quantized_write_weight(quantized, quantized->codes, quantized->scales,
                                quantized->weight->data);
    layer->node->inputs[layer->weight_input]->constant = quantized->weight;
    if (has_integer_bias(quantized))
        LDNQ_TRY(quantize_bias(quantized, arena, err));
    if (layer->dtype != LDNQ_FLOAT)
        round_to_file_type(quantized);
    if (quantized->bias)
        layer->node->inputs[layer->bias_input]->constant = quantized->bias;
    release_pages(quantized);
    return LDNQ_OK;
}

const struct ldnq_codebook *ldnq_find_common_codebook(const struct ldnq_quantized_network *network)
{
    for (size_t i = 1; i < network->count; i++)
        if (network->layers[i].codebook != network->layers[0].codebook)
            return NULL;
    return network->count ? network->layers[0].codebook : NULL;
}

bool ldnq_has_body_layers(const struct ldnq_quantized_network *network)
{
    for (size_t i = 0; i < network->count; i++)
        if (network->layers[i].layer.body)
            return true;
    return false;
}

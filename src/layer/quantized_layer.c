#include "layer/quantized_layer.h"

#include <math.h>

#include "base/size.h"

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
    *low = *high = scales[0];
    for (size_t i = 1; i < count; i++) {
        *low = scales[i] < *low ? scales[i] : *low;
        *high = scales[i] > *high ? scales[i] : *high;
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

enum ldnq_status ldnq_quantized_layer_apply(struct ldnq_quantized_layer *quantized,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    if (!quantized->weight)
        LDNQ_TRY(
            ldnq_tensor_create(arena, LDNQ_FLOAT, &layer->weight->shape, &quantized->weight, err));
    ldnq_quantized_write_weight(quantized, quantized->codes, quantized->scales,
                                quantized->weight->data);
    layer->node->inputs[layer->weight_input]->constant = quantized->weight;
    if (quantized->bias && quantized->input_scale > 0 && !quantized->block_index &&
        ldnq_tensor_count(quantized->bias) == ldnq_layer_rows(layer))
        LDNQ_TRY(quantize_bias(quantized, arena, err));
    if (quantized->bias)
        layer->node->inputs[layer->bias_input]->constant = quantized->bias;
    return LDNQ_OK;
}

const struct ldnq_codebook *ldnq_find_common_codebook(const struct ldnq_quantized_network *network)
{
    for (size_t i = 1; i < network->count; i++)
        if (network->layers[i].codebook != network->layers[0].codebook)
            return NULL;
    return network->count ? network->layers[0].codebook : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/fine_tune_quantized.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The least distance of a latent from the ends of its cell at the start, in cell widths. */
#define MARGIN 0.02
/* The least part of its start that a scale may shrink to: it must stay positive and in use. */
#define MIN_FACTOR 0.05f

/* ---- latents ------------------------------------------------------------------------ */

/* The cell of code number i: half of the way to each neighbour. The outer codes have as much on
 * their open side. */
static void compute_rounding_interval(const struct ldnq_codebook *codebook, size_t i, double *low,
                                      double *high)
{
    const size_t last = codebook->count - 1;
    const double code = codebook->codes[i];
    const double below = i > 0 ? code - codebook->codes[i - 1] : codebook->codes[1] - code;
    const double above = i < last ? codebook->codes[i + 1] - code : below;
    *low = code - below / 2;
    *high = code + above / 2;
}

static size_t find_code_index(const struct ldnq_codebook *codebook, int8_t code)
{
    size_t i = 0;
    while (codebook->codes[i] != code)
        i++;
    return i;
}

static float clamp_to_float(double value, double low, double high)
{
    return (float)(value < low ? low : value > high ? high : value);
}

/* Starts halfway between code and float weight, but inside the code's cell. */
static void init_latent_weights(struct ldnq_fine_tune_quantized *layer)
{
    const struct ldnq_layer *of = &layer->result->layer;
    const float *weight = of->weight->data;
    for (size_t row = 0; row < layer->rows; row++)
        for (size_t k = 0; k < of->geometry.cols; k++) {
            const size_t at = row * of->geometry.cols + k;
            double low, high;
            compute_rounding_interval(
                layer->codebook, find_code_index(layer->codebook, layer->codes[at]), &low, &high);
            const double margin = MARGIN * (high - low);
            const double exact =
                (double)weight[ldnq_find_weight_offset(&of->geometry, row, k)] /
                (double)layer->scales[ldnq_quantized_scale_index(layer->result, row, k)];
            layer->latent.value[at] =
                clamp_to_float((layer->codes[at] + exact) / 2, low + margin, high - margin);
        }
}

static void round_latents(struct ldnq_fine_tune_quantized *layer)
{
    double low, high, unused;
    compute_rounding_interval(layer->codebook, 0, &low, &unused);
    compute_rounding_interval(layer->codebook, layer->codebook->count - 1, &unused, &high);
    for (size_t i = 0; i < layer->elements; i++) {
        float *u = &layer->latent.value[i];
        *u = clamp_to_float((double)*u, low, high);
        const bool is_held = layer->result->zeros && layer->result->zeros[i];
        layer->codes[i] =
            is_held ? 0 : (int8_t)ldnq_codebook_find_nearest(layer->codebook, (double)*u);
    }
}

/* ---- the start ------------------------------------------------------------------------ */

static enum ldnq_status init_weight_training(struct ldnq_fine_tune_quantized *layer,
                                             bool update_codes, struct ldnq_arena *arena,
                                             struct ldnq_error *err)
{
    const struct ldnq_quantized_layer *result = layer->result;
    layer->codes = ldnq_arena_alloc(arena, layer->elements, sizeof *layer->codes, err);
    layer->best_codes = ldnq_arena_alloc(arena, layer->elements, sizeof *layer->codes, err);
    layer->scales = ldnq_arena_alloc(arena, layer->scale_count, sizeof *layer->scales, err);
    layer->best_scales = ldnq_arena_alloc(arena, layer->scale_count, sizeof *layer->scales, err);
    layer->sums = ldnq_arena_alloc(arena, layer->scale_count, sizeof *layer->sums, err);
    if (!layer->codes || !layer->best_codes || !layer->scales || !layer->best_scales ||
        !layer->sums)
        return LDNQ_NOMEM;
    memcpy(layer->codes, result->codes, layer->elements * sizeof *layer->codes);
    memcpy(layer->scales, result->scales, layer->scale_count * sizeof *layer->scales);
    layer->first_scale = result->scales;
    LDNQ_TRY(ldnq_adam_init(&layer->scale, layer->one_scale ? 1 : layer->scale_count, arena, err));
    if (!update_codes)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_adam_init(&layer->latent, layer->elements, arena, err));
    init_latent_weights(layer);
    return LDNQ_OK;
}

static enum ldnq_status init_bias_training(struct ldnq_fine_tune_quantized *layer,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_tensor *bias = layer->result->bias;
    LDNQ_TRY(ldnq_tensor_copy(arena, bias, &layer->bias_now, err));
    LDNQ_TRY(ldnq_tensor_copy(arena, bias, &layer->bias_best, err));
    layer->first_bias = bias->data;
    layer->result->layer.node->inputs[layer->result->layer.bias_input]->constant = layer->bias_now;
    return ldnq_adam_init(&layer->bias, layer->rows, arena, err);
}

enum ldnq_status ldnq_fine_tune_quantized_init(struct ldnq_fine_tune_quantized *layer,
                                               struct ldnq_quantized_layer *result,
                                               const float *deviation,
                                               struct ldnq_fine_tune_quantized *owner,
                                               bool one_scale, bool update_codes,
                                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t rows = ldnq_layer_rows(&result->layer);
    *layer = (struct ldnq_fine_tune_quantized){
        .result = result,
        .codebook = result->codebook,
        .owner = owner,
        .rows = rows,
        .elements = rows * result->layer.geometry.cols,
        .one_scale = one_scale,
        .scale_count = rows * ldnq_quantized_scales_per_row(result),
        .deviation = deviation,
    };
    if (owner == layer)
        LDNQ_TRY(init_weight_training(layer, update_codes, arena, err));
    else
        result->layer.node->inputs[result->layer.weight_input]->constant = owner->result->weight;
    if (result->bias)
        LDNQ_TRY(init_bias_training(layer, arena, err));
    ldnq_fine_tune_quantized_save_best(layer);
    return LDNQ_OK;
}

/* ---- gradients ------------------------------------------------------------------------- */

static void add_weight(const struct ldnq_layer *from, struct ldnq_fine_tune_quantized *to,
                       const float *g)
{
    memset(to->sums, 0, to->scale_count * sizeof *to->sums);
    for (size_t row = 0; row < to->rows; row++)
        for (size_t k = 0; k < from->geometry.cols; k++) {
            const size_t at = row * from->geometry.cols + k;
            const size_t scale = ldnq_quantized_scale_index(to->result, row, k);
            const float gradient = g[ldnq_find_weight_offset(&from->geometry, row, k)];
            to->sums[scale] += (double)gradient * to->codes[at];
            if (to->latent.count)
                to->latent.gradient[at] += gradient * to->scales[scale];
        }
    for (size_t i = 0; i < to->scale_count; i++)
        to->scale.gradient[to->one_scale ? 0 : i] +=
            (float)(to->sums[i] * (double)to->first_scale[i]);
}

void ldnq_fine_tune_quantized_add_gradient(struct ldnq_fine_tune_quantized *layer,
                                           const struct ldnq_tensor *weight,
                                           const struct ldnq_tensor *bias)
{
    add_weight(&layer->result->layer, layer->owner, weight->data);
    const float *g = bias ? bias->data : NULL;
    for (size_t row = 0; g && row < layer->rows; row++)
        layer->bias.gradient[row] += g[row] * layer->deviation[row];
}

/* ---- a step ------------------------------------------------------------------------------ */

static void write_weight(struct ldnq_fine_tune_quantized *layer)
{
    for (size_t i = 0; i < layer->scale_count; i++) {
        float *s = &layer->scale.value[layer->one_scale ? 0 : i];
        *s = *s < MIN_FACTOR - 1 ? MIN_FACTOR - 1 : *s;
        const float first = layer->first_scale[i];
        layer->scales[i] = copysignf(fmaxf(fabsf(first) * (1 + *s), FLT_MIN), first);
    }
    ldnq_quantized_write_weight(layer->result, layer->codes, layer->scales,
                                layer->result->weight->data);
}

void ldnq_fine_tune_quantized_step(struct ldnq_fine_tune_quantized *layer, size_t step,
                                   double scale_rate, double bias_rate, double code_rate)
{
    if (layer->owner == layer) {
        if (!layer->result->scale_format)
            ldnq_adam_step(&layer->scale, step, scale_rate);
        if (layer->latent.count) {
            ldnq_adam_step(&layer->latent, step, code_rate);
            round_latents(layer);
        }
        write_weight(layer);
    }
    if (!layer->bias.count)
        return;
    ldnq_adam_step(&layer->bias, step, bias_rate);
    float *now = layer->bias_now->data;
    for (size_t row = 0; row < layer->rows; row++)
        now[row] = layer->first_bias[row] + layer->bias.value[row] * layer->deviation[row];
}

/* ---- the best ----------------------------------------------------------------------------- */

void ldnq_fine_tune_quantized_save_best(struct ldnq_fine_tune_quantized *layer)
{
    if (layer->owner == layer) {
        memcpy(layer->best_codes, layer->codes, layer->elements * sizeof *layer->codes);
        memcpy(layer->best_scales, layer->scales, layer->scale_count * sizeof *layer->scales);
    }
    if (layer->bias.count)
        memcpy(layer->bias_best->data, layer->bias_now->data, layer->rows * sizeof(float));
}

enum ldnq_status ldnq_fine_tune_quantized_apply_best(struct ldnq_fine_tune_quantized *layer,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err)
{
    memcpy(layer->result->codes, layer->owner->best_codes, layer->elements);
    memcpy(layer->result->scales, layer->owner->best_scales,
           layer->owner->scale_count * sizeof(float));
    if (layer->bias.count)
        memcpy(layer->result->bias->data, layer->bias_best->data, layer->rows * sizeof(float));
    return ldnq_quantized_layer_apply(layer->result, arena, err);
}

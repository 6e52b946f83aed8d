/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the network keeps its fitted layers, by its output on samples that none was fitted to.
 *
 * A layer's squared error counts loud samples and outputs most; what follows it, such as a Log, may
 * count all the same. Then the fitted network can be worse at its output than one whose weights
 * are rounded, although every layer is better. */
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "metric/accuracy.h"
#include "pipeline/quantizer.h"
#include "quant/quant.h"

/* More would decide the same. */
#define MOST_SAMPLES ((size_t)64)

struct network_comparison {
    const struct ldnq_quantizer *quantizer;
    const struct ldnq_quantized_layer *fitted; /* (layers) */
    struct ldnq_samples *samples;
};

/* Measures the layers as they are; the accuracy is clear where that fails. */
static enum ldnq_status measure_network(const struct network_comparison *comparison,
                                        struct ldnq_accuracy *accuracy, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = comparison->quantizer;
    const struct ldnq_accuracy_options options = {
        .quantized = quantizer->graph,
        .reference = quantizer->reference,
        .measured = { comparison->samples, LDNQ_SAMPLES_HELD_OUT_OF_FIT, false },
        .pool = quantizer->options->pool,
        .powers = quantizer->output_powers,
    };
    struct ldnq_error reason;
    const enum ldnq_status status = ldnq_accuracy_measure(&options, accuracy, &reason);
    if (status != LDNQ_OK)
        ldnq_accuracy_clear(accuracy);
    return status == LDNQ_NOMEM ? ldnq_fail(err, status, "%s", reason.message) : LDNQ_OK;
}

/* ---- the rounded network -------------------------------------------------------------------- */

static enum ldnq_status round_weight(const struct ldnq_quantizer *quantizer,
                                     const struct ldnq_quantized_layer *quantized,
                                     const char *rounding, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t columns = layer->geometry.groups * layer->geometry.cols;
    float *weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *weight, err);
    double *diagonal = ldnq_arena_alloc(arena, columns, sizeof *diagonal, err);
    if (!weight || !diagonal)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    for (size_t i = 0; i < columns; i++)
        diagonal[i] = 1;
    const bool is_per_tensor = quantized->granularity == LDNQ_PER_TENSOR;
    const struct ldnq_layer_problem problem = {
        .groups = layer->geometry.groups,
        .rows = layer->geometry.rows,
        .cols = layer->geometry.cols,
        .weight = weight,
        .diagonal = diagonal,
        .codebook = quantized->codebook,
        .granularity = is_per_tensor            ? LDNQ_PER_TENSOR
                       : quantized->block_index ? LDNQ_PER_BLOCK
                                                : LDNQ_PER_CHANNEL,
        .scale_format = quantized->scale_format,
        .zeros = quantized->zeros,
        .block_index = quantized->block_index,
        .block_count = quantized->block_count,
    };
    struct ldnq_layer_solution solution = { .codes = quantized->codes,
                                            .scales = quantized->scales };
    return ldnq_solve(ldnq_solver_find(rounding), &problem, &options->solver_options, options->pool,
                      &solution, err);
}

static enum ldnq_status copy_file_bias(struct ldnq_quantized_layer *quantized,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    if (!layer->bias)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &layer->bias->shape, &quantized->bias, err));
    ldnq_layer_read_bias(layer, quantized->bias->data);
    float *bias = quantized->bias->data;
    for (size_t row = 0; row < ldnq_layer_rows(layer); row++)
        bias[row] /= layer->geometry.bias_factor;
    return LDNQ_OK;
}

/* Replaces a layer's codes, scales and bias by those of a rounding; NULL: the one that suits the
 * layer. `fitted` is the layer before its first rounding. */
static enum ldnq_status round_layer(const struct ldnq_quantizer *quantizer, size_t index,
                                    const struct ldnq_quantized_layer *fitted, const char *rounding,
                                    struct ldnq_error *err)
{
    struct ldnq_arena *arena = quantizer->arena;
    struct ldnq_quantized_layer *quantized = &quantizer->result->network.layers[index];
    const struct ldnq_layer_choice *choice = &quantizer->result->diagnostics[index].choice;
    const struct ldnq_quantized_layer *shared = quantized->shared;
    const size_t elements = ldnq_layer_elements(&quantized->layer);
    const size_t scales =
        ldnq_layer_rows(&quantized->layer) * ldnq_quantized_scales_per_row(quantized);
    if (quantized->codes == fitted->codes) {
        quantized->codes = ldnq_arena_alloc(arena, elements, sizeof *quantized->codes, err);
        quantized->scales = ldnq_arena_alloc(arena, scales, sizeof *quantized->scales, err);
    }
    quantized->bias_codes = NULL;
    if (!quantized->codes || !quantized->scales)
        return LDNQ_NOMEM;
    LDNQ_TRY(copy_file_bias(quantized, arena, err));
    if (shared) {
        memcpy(quantized->codes, shared->codes, elements * sizeof *quantized->codes);
        memcpy(quantized->scales, shared->scales, scales * sizeof *quantized->scales);
    } else {
        struct ldnq_arena *scratch;
        LDNQ_TRY(ldnq_arena_create(&scratch, err));
        if (!rounding)
            rounding = choice->rounding ? choice->rounding : "mse";
        const enum ldnq_status status = round_weight(quantizer, quantized, rounding, scratch, err);
        ldnq_arena_destroy(scratch);
        LDNQ_TRY(status);
    }
    return ldnq_quantized_layer_apply(quantized, arena, err);
}

/* ---- the choice ------------------------------------------------------------------------------ */

static enum ldnq_status restore_layers(const struct ldnq_quantizer *quantizer,
                                       const struct ldnq_quantized_layer *fitted,
                                       struct ldnq_error *err)
{
    struct ldnq_quantized_network *network = &quantizer->result->network;
    for (size_t i = 0; i < network->count; i++) {
        network->layers[i] = fitted[i];
        LDNQ_TRY(ldnq_quantized_layer_apply(&network->layers[i], quantizer->arena, err));
    }
    return LDNQ_OK;
}

/* What was measured of the fitted layers does not hold for these. */
static void mark_as_rounded(const struct ldnq_quantizer *quantizer)
{
    struct ldnq_quantization *result = quantizer->result;
    for (size_t i = 0; i < result->network.count; i++) {
        struct ldnq_layer_diagnostics *diagnostics = &result->diagnostics[i];
        if (ldnq_layer_is_table(&result->network.layers[i].layer))
            continue;
        diagnostics->choice.fit = LDNQ_LAYER_ROUNDED;
        diagnostics->choice.damping = 0;
        diagnostics->choice.keeps_bias = true;
        diagnostics->lambda = diagnostics->damping = 0;
        diagnostics->change = NAN;
        result->network.layers[i].error = diagnostics->error_start;
    }
}

/* The part of the noise that may be chance: that of one sample is about as far from the mean as the
 * mean is large, half of which both networks share, as both compute the same samples. */
static double estimate_chance(const struct ldnq_samples *samples)
{
    return 0.5 / sqrt((double)ldnq_samples_count(samples));
}

/* Baselines, a published method and a cascade stay as they are. So do rounded layers whose
 * activations are rounded too: that error is larger than what the choice of a scale changes. */
static bool may_be_rounded(const struct ldnq_quantizer *quantizer)
{
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_solver *solver = options->solver;
    if (!options->held_out || solver->is_published || options->cascade > 0)
        return false;
    return solver->needs_gram || (ldnq_solver_rounds_with_bias(solver) && !quantizer->placement);
}

static enum ldnq_status round_network(const struct network_comparison *comparison,
                                      const char *rounding, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = comparison->quantizer;
    const struct ldnq_quantized_network *network = &quantizer->result->network;
    for (size_t i = 0; i < network->count; i++)
        if (!ldnq_layer_is_table(&network->layers[i].layer))
            LDNQ_TRY(round_layer(quantizer, i, &comparison->fitted[i], rounding, err));
    return LDNQ_OK;
}

static enum ldnq_status measure_rounded(const struct network_comparison *comparison,
                                        const char *rounding, struct ldnq_accuracy *accuracy,
                                        struct ldnq_error *err)
{
    LDNQ_TRY(round_network(comparison, rounding, err));
    return measure_network(comparison, accuracy, err);
}

/* Leaves the network rounded as it is best, where it is rounded, and *accuracy as that of the
 * choice. What suits each layer is tried first; where the fit is worse than that, or is a rounding
 * itself, both scales for all layers. */
static enum ldnq_status compare_with_rounded(const struct network_comparison *comparison,
                                             struct ldnq_network_choice *choice,
                                             struct ldnq_accuracy *accuracy, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = comparison->quantizer;
    const bool is_fitted = quantizer->options->solver->needs_gram;
    const char *const roundings[] = { is_fitted ? NULL : "mse", is_fitted ? "mse" : "rtn", "rtn" };
    const size_t count = is_fitted ? 3 : 2;
    size_t best = 0;
    struct ldnq_accuracy rounded;
    LDNQ_TRY(measure_network(comparison, accuracy, err));
    LDNQ_TRY(measure_rounded(comparison, roundings[0], &rounded, err));
    choice->fitted_noise = accuracy->noise_to_signal;
    choice->rounded_noise = rounded.noise_to_signal;
    /* A fitted network without a figure may compute NaN. */
    const double margin = is_fitted ? estimate_chance(comparison->samples) : 0;
    if (is_fitted && choice->fitted_noise <= (1 - margin) * choice->rounded_noise)
        return LDNQ_OK;
    for (size_t i = 1; i < count; i++) {
        struct ldnq_accuracy other;
        LDNQ_TRY(measure_rounded(comparison, roundings[i], &other, err));
        if (!(other.noise_to_signal < choice->rounded_noise) && !isnan(choice->rounded_noise))
            continue;
        rounded = other;
        choice->rounded_noise = rounded.noise_to_signal;
        best = i;
    }
    choice->is_rounded = isfinite(choice->rounded_noise) &&
                         !(choice->fitted_noise <= (1 - margin) * choice->rounded_noise);
    if (!choice->is_rounded)
        return LDNQ_OK;
    *accuracy = rounded;
    return best + 1 < count ? round_network(comparison, roundings[best], err) : LDNQ_OK;
}

enum ldnq_status ldnq_quantizer_choose_network(struct ldnq_quantizer *quantizer,
                                               struct ldnq_error *err)
{
    struct ldnq_quantized_network *network = &quantizer->result->network;
    struct ldnq_network_choice *choice = &quantizer->result->choice;
    struct ldnq_arena *arena = quantizer->arena;
    struct ldnq_samples *samples;
    *choice = (struct ldnq_network_choice){ .fitted_noise = NAN, .rounded_noise = NAN };
    ldnq_accuracy_clear(&quantizer->chosen_accuracy);
    if (!may_be_rounded(quantizer))
        return LDNQ_OK;
    const size_t held_out = ldnq_samples_count(quantizer->options->held_out);
    LDNQ_TRY(ldnq_samples_slice(quantizer->options->held_out, 0,
                                ldnq_size_min(held_out, MOST_SAMPLES), arena, &samples, err));
    struct ldnq_quantized_layer *fitted =
        ldnq_arena_alloc(arena, network->count, sizeof *fitted, err);
    quantizer->output_powers = ldnq_arena_alloc(arena, quantizer->graph->output_count,
                                                sizeof *quantizer->output_powers, err);
    if (!fitted || !quantizer->output_powers)
        return LDNQ_NOMEM;
    memcpy(fitted, network->layers, network->count * sizeof *fitted);
    struct ldnq_error reason;
    const struct network_comparison comparison = { quantizer, fitted, samples };
    const enum ldnq_status status =
        compare_with_rounded(&comparison, choice, &quantizer->chosen_accuracy, &reason);
    /* The layers are fitted: a sample that has vanished since then does not undo that. */
    if (status == LDNQ_IO || status == LDNQ_DATA)
        ldnq_sink_warn(quantizer->options->sink,
                       "the fitted layers were not compared with rounded ones: %s", reason.message);
    else if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    if (!choice->is_rounded)
        return restore_layers(quantizer, fitted, err);
    mark_as_rounded(quantizer);
    return LDNQ_OK;
}

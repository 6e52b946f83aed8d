/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/layer_fitting.h"

#include <math.h>

#include "base/text.h"
#include "quant/problem.h"

struct ldnq_layer_problem ldnq_fitting_make_problem(const struct ldnq_layer_fitting *fitting,
                                                    const struct ldnq_quantized_layer *quantized,
                                                    const float *weight, const float *bias)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const struct ldnq_layer_moments *moments = &fitting->moments;
    enum ldnq_granularity granularity = quantized->granularity;
    if (granularity != LDNQ_PER_TENSOR)
        granularity = quantized->block_index ? LDNQ_PER_BLOCK : LDNQ_PER_CHANNEL;
    return (struct ldnq_layer_problem){
        .groups = layer->geometry.groups,
        .rows = layer->geometry.rows,
        .cols = layer->geometry.cols,
        .weight = weight,
        .gram = fitting->quantizer->means ? NULL : moments->statistics.gram,
        .positions = moments->positions.count ? &moments->positions : NULL,
        .low_rank = moments->is_low_rank ? &moments->low_rank.gram : NULL,
        .diagonal = moments->is_low_rank ? moments->low_rank.diagonal : fitting->columns.diagonal,
        .mean = layer->bias ? ldnq_fitting_get_column_means(fitting) : NULL,
        .bias = layer->bias ? bias : NULL,
        .codebook = quantized->codebook,
        .granularity = granularity,
        .scale_format = quantized->scale_format,
        .negative_scales = quantized->negative_scales,
        .zeros = quantized->zeros,
        .block_index = quantized->block_index,
        .block_count = quantized->block_count,
        .gram_results = fitting->gram_results,
    };
}

enum ldnq_status ldnq_fitting_compute_rank(const struct ldnq_layer_fitting *fitting,
                                           struct ldnq_layer_diagnostics *diagnostics,
                                           const struct ldnq_layer_problem *problem,
                                           struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    diagnostics->varying = diagnostics->rank = problem->cols;
    if (!options->solver->needs_gram)
        return LDNQ_OK;
    if (!options->layer_done && !options->checkpoint && diagnostics->positions > problem->cols)
        return LDNQ_OK;
    return ldnq_problem_compute_rank(problem, &diagnostics->varying, &diagnostics->rank, err);
}

/* The objective of G = 0 is the variance of the layer's output, row by row. */
enum ldnq_status ldnq_fitting_compute_deviation(const struct ldnq_layer_fitting *fitting,
                                                size_t rows,
                                                struct ldnq_layer_diagnostics *diagnostics,
                                                const struct ldnq_layer_problem *problem,
                                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_choice zero = { 0 };
    double *errors = ldnq_arena_alloc(arena, rows, sizeof *errors, err);
    float *deviation = ldnq_arena_alloc(fitting->quantizer->arena, rows, sizeof *deviation, err);
    if (!errors || !deviation)
        return LDNQ_NOMEM;
    ldnq_compute_total_error(problem, fitting->quantizer->options->pool, &zero, errors);
    for (size_t row = 0; row < rows; row++)
        deviation[row] = (float)sqrt(errors[row]);
    diagnostics->deviation = deviation;
    return LDNQ_OK;
}

static double count_positions_per_sample(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    if (quantizer->means)
        return (double)fitting->columns.positions / (double)ldnq_samples_count(quantizer->samples);
    return (double)fitting->moments.all_positions /
           (double)(fitting->runner.sample_count * fitting->runner.copies);
}

enum ldnq_status ldnq_fitting_compute_weight_error(const struct ldnq_layer_fitting *fitting,
                                                   const struct ldnq_quantized_layer *quantized,
                                                   const struct ldnq_layer_solution *solution,
                                                   struct ldnq_layer_diagnostics *diagnostics,
                                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t rows = ldnq_layer_rows(layer);
    float *weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *weight, err);
    float *bias = ldnq_arena_alloc(arena, rows, sizeof *bias, err);
    double *errors = ldnq_arena_alloc(arena, rows, sizeof *errors, err);
    if (!weight || !bias || !errors)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    ldnq_layer_read_bias(layer, bias);
    const struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(fitting, quantized, weight, bias);
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        layer->bias ? solution->bias : NULL };
    const double per_position =
        ldnq_compute_total_error(&problem, quantizer->options->pool, &choice, errors);
    diagnostics->positions_per_sample = count_positions_per_sample(fitting);
    diagnostics->change = sqrt(per_position * diagnostics->positions_per_sample);
    return LDNQ_OK;
}

/* ---- warnings about all layers ------------------------------------------------------------ */

void ldnq_quantizer_warn_late_layers(const struct ldnq_quantizer *quantizer)
{
    const size_t count = quantizer->result->network.count;
    size_t late = 0;
    for (size_t i = 0; i < count; i++)
        late += quantizer->result->diagnostics[i].late;
    if (late > 0)
        ldnq_sink_warn(quantizer->options->sink,
                       "half of the %.3g s were over before the last %zu of %zu layers: they were "
                       "solved by gptq",
                       quantizer->options->max_seconds, late, count);
}

/* H says nothing about directions that no sample has: codes are arbitrary there. */
void ldnq_quantizer_warn_few_samples(const struct ldnq_quantizer *quantizer)
{
    const struct ldnq_quantization *result = quantizer->result;
    const struct ldnq_layer_diagnostics *worst = NULL;
    size_t few = 0;
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_layer_diagnostics *at = &result->diagnostics[i];
        if (at->positions > result->network.layers[i].layer.geometry.cols ||
            at->rank >= at->varying)
            continue;
        few++;
        if (!worst || at->rank * worst->varying < worst->rank * at->varying)
            worst = at;
    }
    if (few > 0)
        ldnq_sink_warn(quantizer->options->sink,
                       "too few samples for %zu of %zu layers: at '%s' they reach %zu of the %zu "
                       "directions of its input (its rank), and what its codes do in the others "
                       "is chance; give more samples",
                       few, result->network.count,
                       result->network.layers[worst - result->diagnostics].layer.label, worst->rank,
                       worst->varying);
}

void ldnq_quantizer_warn_unreached_layers(const struct ldnq_quantizer *quantizer)
{
    const struct ldnq_quantization *result = quantizer->result;
    char list[1024];
    struct ldnq_text text;
    size_t count = 0;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_layer *layer = &result->network.layers[i].layer;
        if (!layer->body || ldnq_layer_is_table(layer) || result->diagnostics[i].positions > 0)
            continue;
        ldnq_text_append_item(&text, ", ", "'%s'", layer->label);
        count++;
    }
    ldnq_text_append_omitted_count(&text);
    if (count > 0)
        ldnq_sink_warn(quantizer->options->sink,
                       "%zu layer%s rounded, as no sample runs %s: %s; give samples that do", count,
                       count == 1 ? " is" : "s are", count == 1 ? "it" : "them", list);
}

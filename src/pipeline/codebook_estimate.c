/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/codebook_estimate.h"

#include <string.h>

#include "metric/output_error.h"
#include "metric/output_projection.h"

/* The codes and scales of one layer with one codebook. */
struct stored_codes {
    struct ldnq_quantized_layer layer; /* its arrays are copies */
    float *bias_change;                /* by element of the bias; NULL without one */
};

struct ldnq_codebook_estimate {
    struct ldnq_arena *arena;
    size_t layers, choices;
    struct stored_codes *codes; /* (layers, choices) */
    /* During a run. */
    const struct ldnq_quantized_network *network;
    const struct ldnq_projection *draw;
    const size_t *rows;
    size_t row_count;
    float **gradient; /* by layer: the weight's gradient in matrix order */
    double *terms;    /* (layers, choices) terms of the draw */
    double *sums;     /* (rows, choices) sums of the draw */
    double share;     /* share of one draw in the mean */
    double *errors;
};

enum ldnq_status ldnq_codebook_estimate_create(size_t layers, size_t choices,
                                               struct ldnq_arena *arena,
                                               struct ldnq_codebook_estimate **out,
                                               struct ldnq_error *err)
{
    struct ldnq_codebook_estimate *estimate = ldnq_arena_alloc(arena, 1, sizeof *estimate, err);
    if (!estimate)
        return LDNQ_NOMEM;
    *estimate = (struct ldnq_codebook_estimate){
        .arena = arena,
        .layers = layers,
        .choices = choices,
        .codes = ldnq_arena_alloc(arena, layers * choices, sizeof *estimate->codes, err),
    };
    *out = estimate;
    return estimate->codes ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- codes ---------------------------------------------------------------------------------- */

static void *copy_array(struct ldnq_arena *arena, const void *from, size_t count, size_t size,
                        struct ldnq_error *err)
{
    void *copy = ldnq_arena_alloc(arena, count, size, err);
    if (copy && count > 0)
        memcpy(copy, from, count * size);
    return copy;
}

static enum ldnq_status copy_layer_codes(struct ldnq_arena *arena,
                                         const struct ldnq_quantized_layer *from,
                                         struct stored_codes *stored, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &from->layer;
    struct ldnq_quantized_layer *copy = &stored->layer;
    const size_t scales = ldnq_layer_rows(layer) * ldnq_quantized_scales_per_row(from);
    *copy = *from;
    copy->codes =
        copy_array(arena, from->codes, ldnq_layer_elements(layer), sizeof *copy->codes, err);
    copy->scales = copy_array(arena, from->scales, scales, sizeof *copy->scales, err);
    if (!copy->codes || !copy->scales)
        return LDNQ_NOMEM;
    if (from->block_index) {
        copy->block_index = copy_array(arena, from->block_index, layer->geometry.cols,
                                       sizeof *copy->block_index, err);
        if (!copy->block_index)
            return LDNQ_NOMEM;
    }
    if (!from->bias)
        return LDNQ_OK;
    const size_t count = ldnq_tensor_count(from->bias);
    const float *exact = layer->bias->data, *fitted = from->bias->data;
    stored->bias_change = ldnq_arena_alloc(arena, count, sizeof *stored->bias_change, err);
    if (!stored->bias_change)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        stored->bias_change[i] = fitted[i] - exact[i];
    return LDNQ_OK;
}

enum ldnq_status ldnq_codebook_estimate_store(struct ldnq_codebook_estimate *estimate,
                                              size_t choice,
                                              const struct ldnq_quantized_network *network,
                                              struct ldnq_error *err)
{
    for (size_t i = 0; i < estimate->layers; i++)
        LDNQ_TRY(copy_layer_codes(estimate->arena, &network->layers[i],
                                  &estimate->codes[i * estimate->choices + choice], err));
    return LDNQ_OK;
}

/* ---- a draw --------------------------------------------------------------------------------- */

/* sum of g (scale code - w) over the weight, and of g times the bias's change. */
static double compute_projected_change_of_codes(const struct stored_codes *stored,
                                                const float *gradient, double weight_term,
                                                const struct ldnq_tensor *bias_gradient)
{
    const struct ldnq_quantized_layer *quantized = &stored->layer;
    const size_t rows = ldnq_layer_rows(&quantized->layer);
    const size_t cols = quantized->layer.geometry.cols;
    double sum = -weight_term;
    for (size_t row = 0; row < rows; row++) {
        const float *g = gradient + row * cols;
        const int8_t *codes = quantized->codes + row * cols;
        double by_code = 0;
        if (quantized->block_index) {
            for (size_t col = 0; col < cols; col++)
                by_code +=
                    (double)g[col] * codes[col] *
                    (double)quantized->scales[ldnq_quantized_scale_index(quantized, row, col)];
        } else {
            for (size_t col = 0; col < cols; col++)
                by_code += (double)g[col] * codes[col];
            by_code *= (double)quantized->scales[row];
        }
        sum += by_code;
    }
    for (size_t i = 0; stored->bias_change && i < ldnq_tensor_count(bias_gradient); i++)
        sum += (double)((const float *)bias_gradient->data)[i] * (double)stored->bias_change[i];
    return sum;
}

/* The values of the projection are the weight and the bias of each layer; layers without a bias
 * repeat their weight. */
static void project_layer(void *ctx, size_t i, size_t thread)
{
    (void)thread;
    const struct ldnq_codebook_estimate *estimate = ctx;
    struct ldnq_layer layer = estimate->network->layers[i].layer;
    const size_t count = ldnq_layer_elements(&layer);
    const float *w = layer.weight->data, *g = estimate->draw->gradients[2 * i]->data;
    double weight_term = 0;
    for (size_t k = 0; k < count; k++)
        weight_term += (double)g[k] * (double)w[k];
    layer.weight = estimate->draw->gradients[2 * i];
    ldnq_layer_read_weight(&layer, estimate->gradient[i]);
    for (size_t c = 0; c < estimate->choices; c++) {
        const size_t at = i * estimate->choices + c;
        estimate->terms[at] =
            compute_projected_change_of_codes(&estimate->codes[at], estimate->gradient[i],
                                              weight_term, estimate->draw->gradients[2 * i + 1]);
    }
}

struct codebook_visit {
    struct ldnq_codebook_estimate *estimate;
    const struct ldnq_quantize_options *options;
    size_t draws; /* so far */
};

static enum ldnq_status add_codebook_errors_of_draw(void *ctx, const struct ldnq_projection *draw,
                                                    struct ldnq_error *err)
{
    struct codebook_visit *visit = ctx;
    struct ldnq_codebook_estimate *estimate = visit->estimate;
    const size_t choices = estimate->choices;
    estimate->draw = draw;
    ldnq_pool_run(visit->options->pool, estimate->layers, project_layer, estimate);
    memset(estimate->sums, 0, estimate->row_count * choices * sizeof *estimate->sums);
    for (size_t i = 0; i < estimate->layers; i++)
        for (size_t c = 0; c < choices; c++)
            estimate->sums[estimate->rows[i] * choices + c] += estimate->terms[i * choices + c];
    for (size_t k = 0; k < estimate->row_count * choices; k++)
        estimate->errors[k] += estimate->share * estimate->sums[k] * estimate->sums[k];
    return ldnq_sink_progress(visit->options->sink, "plan", NULL, ++visit->draws,
                              visit->options->estimate_draws, err);
}

/* ---- a run ---------------------------------------------------------------------------------- */

static enum ldnq_status allocate_estimate_run(struct ldnq_codebook_estimate *estimate,
                                              const struct ldnq_graph *graph,
                                              const struct ldnq_value **values,
                                              struct ldnq_error *err)
{
    struct ldnq_arena *arena = estimate->arena;
    const size_t choices = estimate->choices;
    estimate->gradient = ldnq_arena_alloc(arena, estimate->layers, sizeof *estimate->gradient, err);
    estimate->terms =
        ldnq_arena_alloc(arena, estimate->layers * choices, sizeof *estimate->terms, err);
    estimate->sums =
        ldnq_arena_alloc(arena, estimate->row_count * choices, sizeof *estimate->sums, err);
    if (!estimate->gradient || !estimate->terms || !estimate->sums)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < estimate->layers; i++) {
        const struct ldnq_layer *layer = &estimate->network->layers[i].layer;
        const size_t count = ldnq_layer_elements(layer);
        if (graph->nodes[layer->node_index] != layer->node)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: a layer is in a body", graph->file);
        values[2 * i] = layer->node->inputs[layer->weight_input];
        values[2 * i + 1] = layer->bias ? layer->node->inputs[layer->bias_input] : values[2 * i];
        estimate->gradient[i] = ldnq_arena_alloc(arena, count, sizeof(float), err);
        if (!estimate->gradient[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_codebook_estimate_add_errors(struct ldnq_codebook_estimate *estimate,
                                                   const struct ldnq_graph *graph,
                                                   const struct ldnq_quantized_network *network,
                                                   const size_t *rows, size_t row_count,
                                                   struct ldnq_samples *samples,
                                                   const struct ldnq_quantize_options *options,
                                                   double *errors, struct ldnq_error *err)
{
    const struct ldnq_value **values =
        ldnq_arena_alloc(estimate->arena, 2 * estimate->layers, sizeof *values, err);
    double *powers = ldnq_arena_alloc(estimate->arena, graph->output_count, sizeof *powers, err);
    if (!values || !powers)
        return LDNQ_NOMEM;
    estimate->network = network;
    estimate->rows = rows;
    estimate->row_count = row_count;
    estimate->share = 1 / (double)options->estimate_draws;
    estimate->errors = errors;
    LDNQ_TRY(allocate_estimate_run(estimate, graph, values, err));
    LDNQ_TRY(ldnq_output_measure_powers(graph, samples, options->pool, powers, err));
    struct codebook_visit visit = { estimate, options, 0 };
    const struct ldnq_projection_options project = {
        .values = values,
        .value_count = 2 * estimate->layers,
        .powers = powers,
        .draws = options->estimate_draws,
        .seed = options->seed,
        .max_bytes = options->max_bytes,
        .pool = options->pool,
    };
    return ldnq_project_outputs(graph, samples, &project, add_codebook_errors_of_draw, &visit, err);
}

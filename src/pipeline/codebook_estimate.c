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
    struct ldnq_codebook_estimate *projection = ldnq_arena_alloc(arena, 1, sizeof *projection, err);
    if (!projection)
        return LDNQ_NOMEM;
    *projection = (struct ldnq_codebook_estimate){
        .arena = arena,
        .layers = layers,
        .choices = choices,
        .codes = ldnq_arena_alloc(arena, layers * choices, sizeof *projection->codes, err),
    };
    *out = projection;
    return projection->codes ? LDNQ_OK : LDNQ_NOMEM;
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

enum ldnq_status ldnq_codebook_estimate_store(struct ldnq_codebook_estimate *projection,
                                              size_t choice,
                                              const struct ldnq_quantized_network *network,
                                              struct ldnq_error *err)
{
    for (size_t i = 0; i < projection->layers; i++)
        LDNQ_TRY(copy_layer_codes(projection->arena, &network->layers[i],
                                  &projection->codes[i * projection->choices + choice], err));
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
    const struct ldnq_codebook_estimate *projection = ctx;
    struct ldnq_layer layer = projection->network->layers[i].layer;
    const size_t count = ldnq_layer_elements(&layer);
    const float *w = layer.weight->data, *g = projection->draw->gradients[2 * i]->data;
    double weight_term = 0;
    for (size_t k = 0; k < count; k++)
        weight_term += (double)g[k] * (double)w[k];
    layer.weight = projection->draw->gradients[2 * i];
    ldnq_layer_read_weight(&layer, projection->gradient[i]);
    for (size_t c = 0; c < projection->choices; c++) {
        const size_t at = i * projection->choices + c;
        projection->terms[at] =
            compute_projected_change_of_codes(&projection->codes[at], projection->gradient[i],
                                              weight_term, projection->draw->gradients[2 * i + 1]);
    }
}

struct codebook_visit {
    struct ldnq_codebook_estimate *projection;
    const struct ldnq_quantize_options *options;
    size_t draws; /* so far */
};

static enum ldnq_status add_codebook_errors_of_draw(void *ctx, const struct ldnq_projection *draw,
                                                    struct ldnq_error *err)
{
    struct codebook_visit *visit = ctx;
    struct ldnq_codebook_estimate *projection = visit->projection;
    const size_t choices = projection->choices;
    projection->draw = draw;
    ldnq_pool_run(visit->options->pool, projection->layers, project_layer, projection);
    memset(projection->sums, 0, projection->row_count * choices * sizeof *projection->sums);
    for (size_t i = 0; i < projection->layers; i++)
        for (size_t c = 0; c < choices; c++)
            projection->sums[projection->rows[i] * choices + c] +=
                projection->terms[i * choices + c];
    for (size_t k = 0; k < projection->row_count * choices; k++)
        projection->errors[k] += projection->share * projection->sums[k] * projection->sums[k];
    return ldnq_sink_progress(visit->options->sink, "plan", NULL, ++visit->draws,
                              visit->options->estimate_draws, err);
}

/* ---- a run ---------------------------------------------------------------------------------- */

static enum ldnq_status allocate_projection_run(struct ldnq_codebook_estimate *projection,
                                                const struct ldnq_graph *graph,
                                                const struct ldnq_value **values,
                                                struct ldnq_error *err)
{
    struct ldnq_arena *arena = projection->arena;
    const size_t choices = projection->choices;
    projection->gradient =
        ldnq_arena_alloc(arena, projection->layers, sizeof *projection->gradient, err);
    projection->terms =
        ldnq_arena_alloc(arena, projection->layers * choices, sizeof *projection->terms, err);
    projection->sums =
        ldnq_arena_alloc(arena, projection->row_count * choices, sizeof *projection->sums, err);
    if (!projection->gradient || !projection->terms || !projection->sums)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < projection->layers; i++) {
        const struct ldnq_layer *layer = &projection->network->layers[i].layer;
        const size_t count = ldnq_layer_elements(layer);
        if (graph->nodes[layer->node_index] != layer->node)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: a layer is in a body", graph->file);
        values[2 * i] = layer->node->inputs[layer->weight_input];
        values[2 * i + 1] = layer->bias ? layer->node->inputs[layer->bias_input] : values[2 * i];
        projection->gradient[i] = ldnq_arena_alloc(arena, count, sizeof(float), err);
        if (!projection->gradient[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_codebook_estimate_add_errors(struct ldnq_codebook_estimate *projection,
                                                   const struct ldnq_graph *graph,
                                                   const struct ldnq_quantized_network *network,
                                                   const size_t *rows, size_t row_count,
                                                   struct ldnq_samples *samples,
                                                   const struct ldnq_quantize_options *options,
                                                   double *errors, struct ldnq_error *err)
{
    const struct ldnq_value **values =
        ldnq_arena_alloc(projection->arena, 2 * projection->layers, sizeof *values, err);
    double *powers = ldnq_arena_alloc(projection->arena, graph->output_count, sizeof *powers, err);
    if (!values || !powers)
        return LDNQ_NOMEM;
    projection->network = network;
    projection->rows = rows;
    projection->row_count = row_count;
    projection->share = 1 / (double)options->estimate_draws;
    projection->errors = errors;
    LDNQ_TRY(allocate_projection_run(projection, graph, values, err));
    LDNQ_TRY(ldnq_output_measure_powers(graph, samples, options->pool, powers, err));
    struct codebook_visit visit = { projection, options, 0 };
    const struct ldnq_projection_options project = {
        .values = values,
        .value_count = 2 * projection->layers,
        .powers = powers,
        .draws = options->estimate_draws,
        .seed = options->seed,
        .max_bytes = options->max_bytes,
        .pool = options->pool,
    };
    return ldnq_project_outputs(graph, samples, &project, add_codebook_errors_of_draw, &visit, err);
}

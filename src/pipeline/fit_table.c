/* SPDX-License-Identifier: Apache-2.0 */
/* fit_table.c: round the tables that ids look rows up in.
 *
 * No sample says which error of a row matters less, so that codes and scales are those nearest to
 * the float table, row by row or block by block. Rows that no sample reads are treated as all
 * others.
 *
 * Solves  min over codes q, scales a of  sum |a q - w|^2, over the weights under each scale
 */
#include "pipeline/layer_fitting.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "pipeline/select.h"
#include "quant/problem.h"

/* ---- tied weights ------------------------------------------------------------------------ */

/* An output layer often reads a table through a Transpose that folding has computed, so that
 * elements are compared and not values of the graph. */
const struct ldnq_quantized_layer *
ldnq_fitting_find_tied_table(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantized_layer *layers = fitting->quantizer->result->network.layers;
    for (size_t i = 0; i < fitting->index; i++)
        if (ldnq_layer_is_table(&layers[i].layer) && !layers[i].tied &&
            ldnq_layers_have_same_elements(&layers[i].layer, &layers[fitting->index].layer))
            return &layers[i];
    return NULL;
}

/* Only codes of whole bytes are stored in one form for both readers. Codes that are not shared
 * are fitted to the layer's input. */
bool ldnq_fitting_shares_table(const struct ldnq_quantized_layer *quantized,
                               const struct ldnq_quantized_layer *table)
{
    const struct ldnq_shape *shape = &table->layer.weight->shape;
    if (quantized->codebook != table->codebook || quantized->layer.dtype != table->layer.dtype)
        return false;
    if (ldnq_layer_is_table(&quantized->layer))
        return ldnq_shapes_are_equal(shape, &quantized->layer.weight->shape) &&
               ldnq_geometries_are_equal(&table->layer.geometry, &quantized->layer.geometry);
    const bool has_rows = shape->rank == 2 && table->layer.geometry.channel_axis == 0;
    return has_rows &&
           ldnq_table_code_bits(table->codebook->bits, ldnq_layer_packed_size(&table->layer)) ==
               8 &&
           !table->block_index && quantized->granularity == table->granularity &&
           !quantized->runs_on_codes;
}

/* ---- the rounding ------------------------------------------------------------------------ */

/* The baselines compare all layers by one rule. */
static const struct ldnq_solver *choose_table_solver(const struct ldnq_quantize_options *options)
{
    const bool is_baseline = !options->solver->needs_gram && !options->solver->fits_bias;
    return is_baseline ? options->solver : ldnq_solver_find("mse");
}

static enum ldnq_status make_table_problem(const struct ldnq_quantized_layer *quantized,
                                           struct ldnq_arena *arena,
                                           struct ldnq_layer_problem *problem,
                                           struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t rows = layer->geometry.rows, cols = layer->geometry.cols;
    double *diagonal = ldnq_arena_alloc(arena, cols, sizeof *diagonal, err);
    if (!diagonal)
        return LDNQ_NOMEM;
    const float *weight = layer->weight->data;
    if (layer->geometry.layout != LDNQ_WEIGHT_OUT_IN) {
        float *copy = ldnq_arena_alloc(arena, rows * cols, sizeof *copy, err);
        if (!copy)
            return LDNQ_NOMEM;
        ldnq_layer_read_weight(layer, copy);
        weight = copy;
    }
    /* The mean over the rows, as if all were read equally often. */
    for (size_t col = 0; col < cols; col++)
        diagonal[col] = 1 / (double)rows;
    *problem = (struct ldnq_layer_problem){
        .groups = 1,
        .rows = rows,
        .cols = cols,
        .weight = weight,
        .diagonal = diagonal,
        .codebook = quantized->codebook,
        .granularity = quantized->block_index ? LDNQ_PER_BLOCK : LDNQ_PER_CHANNEL,
        .scale_format = quantized->scale_format,
        .block_index = quantized->block_index,
        .block_count = quantized->block_count,
    };
    return LDNQ_OK;
}

/* ids per sample; dimensions that the graph does not know count as 1. */
static double count_ids_per_sample(const struct ldnq_layer *layer)
{
    const struct ldnq_shape *shape = &layer->node->inputs[1]->shape;
    double count = 1;
    for (int axis = 0; axis < shape->rank; axis++)
        if (shape->dim[axis] > 0)
            count *= (double)shape->dim[axis];
    return count;
}

static enum ldnq_status measure_table(const struct ldnq_layer_fitting *fitting,
                                      const struct ldnq_layer_problem *problem,
                                      const struct ldnq_layer_solution *solution,
                                      struct ldnq_layer_diagnostics *diagnostics,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *layer =
        &fitting->quantizer->result->network.layers[fitting->index].layer;
    struct ldnq_pool *pool = fitting->quantizer->options->pool;
    const struct ldnq_choice choice = { solution->codes, solution->scales, NULL };
    double *errors = ldnq_arena_alloc(arena, problem->rows, sizeof *errors, err);
    if (!errors)
        return LDNQ_NOMEM;
    diagnostics->varying = diagnostics->rank = problem->cols;
    diagnostics->positions_per_sample = count_ids_per_sample(layer);
    diagnostics->change = sqrt(ldnq_compute_total_error(problem, pool, &choice, errors) *
                               diagnostics->positions_per_sample);
    return LDNQ_OK;
}

enum ldnq_status ldnq_fitting_fit_table(struct ldnq_layer_fitting *fitting,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantized_network *network = &quantizer->result->network;
    struct ldnq_quantized_layer *quantized = &network->layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    const struct ldnq_layer *layer = &quantized->layer;
    const struct ldnq_quantized_layer *tied = quantized->tied;
    const size_t elements = ldnq_layer_elements(layer);
    const double start = ldnq_now();
    struct ldnq_error reason;
    *diagnostics = (struct ldnq_layer_diagnostics){
        .choice = { .fitted_error = NAN, .damped_error = NAN, .rounded_error = NAN },
        .remaining_error = NAN,
        .cascade_start = NAN,
        .cascade_error = NAN,
    };
    quantized->shared = tied && ldnq_fitting_shares_table(quantized, tied) ? tied : NULL;
    const size_t block =
        ldnq_select_block(quantized->shared ? &quantized->shared->layer : layer, options);
    if (block)
        LDNQ_TRY(ldnq_quantized_set_blocks(quantized, block, quantizer->arena, err));
    const size_t scales = layer->geometry.rows * ldnq_quantized_scales_per_row(quantized);
    struct ldnq_layer_problem problem;
    LDNQ_TRY(make_table_problem(quantized, arena, &problem, err));
    struct ldnq_layer_solution solution = {
        .codes = ldnq_arena_alloc(arena, elements, sizeof *solution.codes, err),
        .scales = ldnq_arena_alloc(arena, scales, sizeof *solution.scales, err),
    };
    if (!solution.codes || !solution.scales)
        return LDNQ_NOMEM;
    if (quantized->shared) {
        memcpy(solution.codes, quantized->shared->codes, elements * sizeof *solution.codes);
        memcpy(solution.scales, quantized->shared->scales, scales * sizeof *solution.scales);
        solution.error = solution.error_start = quantized->shared->error;
    } else {
        diagnostics->solver = choose_table_solver(options);
        const enum ldnq_status status =
            ldnq_solve(diagnostics->solver, &problem, &options->solver_options, options->pool,
                       &solution, &reason);
        if (status != LDNQ_OK)
            return ldnq_node_fail(quantizer->graph, layer->node, status, err, "%s", reason.message);
    }
    diagnostics->solver_seconds = ldnq_now() - start;
    diagnostics->error_start = solution.error_start;
    LDNQ_TRY(measure_table(fitting, &problem, &solution, diagnostics, arena, err));
    LDNQ_TRY(ldnq_fitting_store_solution(fitting, quantized, &solution, err));
    return ldnq_fitting_finish_layer(fitting, &solution, start, err);
}

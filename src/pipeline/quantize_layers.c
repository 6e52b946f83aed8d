/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_layers.c: fit the codes of all layers, one after the other, from the network's
 * inputs to its outputs.
 *
 * For each layer, with y the columns of its input in the float network and y^ those in the
 * network whose earlier layers are quantized:
 *
 *   1  H = E[y^ y^'] and E[y^] over the calibration samples
 *   2  W* = W + lambda E[W (y - y^) y^'] C^-1, its target (error_compensation.h); held-out
 *      samples choose lambda, and whether H is damped or W rounded (layer_choice.h)
 *   3  min over codes q and scales a of  tr((G - W*) H (G - W*)'),  G = a q
 *   4  the layer computes with G, and with the bias that is best for it
 *
 * Solvers that round to nearest need no more than the mean and the power of y: then one pass
 * of the float network has seen all layers before (input_means.h), step 2 is left out, and H
 * is a diagonal.
 *
 * Source  the layer-wise optimization of Chen, Wang, Pan, AAAI 2019; step 2 is ours, and
 *         with lambda = 0 it leaves the paper's W
 */
#include "pipeline/layer_fitting.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mapping.h"
#include "base/size.h"
#include "pipeline/checkpoint.h"
#include "pipeline/layer_choice.h"
#include "pipeline/memory_need.h"
#include "pipeline/select.h"
#include "quant/problem.h"

#define FEWEST_SAMPLES 16.0

/* ---- step 3: codes and scales ------------------------------------------------------------ */

/* The first of two layers that share codes dequantizes them in the main graph, where both can read
 * them. A layer of a branch that folding has chosen stays in that branch of the file. */
static bool is_readable_by_others(const struct ldnq_layer *first)
{
    return first->body || !first->node->body_origin;
}

/* Finds an earlier layer that reads the same weight in the same way: both keep one set of
 * codes. Tables are compared by their elements (fit_table.c). */
static const struct ldnq_quantized_layer *
find_layer_with_same_weight(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantized_layer *layers = quantizer->result->network.layers;
    const struct ldnq_quantized_layer *tied = layers[fitting->index].tied;
    if (tied)
        return ldnq_fitting_shares_table(&layers[fitting->index], tied) ? tied : NULL;
    for (size_t i = 0; i < fitting->index; i++) {
        if (quantizer->file_weight[i]->constant ==
                quantizer->file_weight[fitting->index]->constant &&
            !layers[i].shared && layers[i].granularity == layers[fitting->index].granularity &&
            ldnq_geometries_are_equal(&layers[i].layer.geometry,
                                      &layers[fitting->index].layer.geometry) &&
            is_readable_by_others(&layers[i].layer))
            return &layers[i];
    }
    return NULL;
}

/* The best bias and the error depend on this layer's own input. A solver that leaves the
 * biases of the file alone does so here too. */
void ldnq_fitting_copy_shared_solution(const struct ldnq_layer_fitting *fitting,
                                       const struct ldnq_quantized_layer *shared,
                                       const struct ldnq_layer_problem *problem,
                                       struct ldnq_layer_solution *solution)
{
    const size_t rows = ldnq_layer_rows(&shared->layer);
    memcpy(solution->codes, shared->codes,
           ldnq_layer_elements(&shared->layer) * sizeof *solution->codes);
    memcpy(solution->scales, shared->scales,
           rows * ldnq_quantized_scales_per_row(shared) * sizeof *solution->scales);
    if (problem->bias)
        memcpy(solution->bias, problem->bias, rows * sizeof *solution->bias);
    solution->error = solution->error_start = ldnq_compute_layer_error(problem, solution);
    if (!problem->bias || !fitting->quantizer->options->solver->fits_bias)
        return;
    ldnq_compute_best_bias(problem, solution);
    solution->error = ldnq_compute_layer_error(problem, solution);
}

/* After half of the time limit, GPTQ replaces slower solvers. */
static const struct ldnq_solver *choose_solver(const struct ldnq_layer_fitting *fitting,
                                               struct ldnq_layer_diagnostics *diagnostics)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    diagnostics->late =
        !fitting->quantizer->means &&
        ldnq_quantizer_seconds_left(fitting->quantizer) < 0.5 * options->max_seconds;
    diagnostics->solver = diagnostics->late ? ldnq_solver_find("gptq") : options->solver;
    return diagnostics->solver;
}

static enum ldnq_status solve_as_chosen(struct ldnq_layer_fitting *fitting,
                                        struct ldnq_layer_diagnostics *diagnostics,
                                        const struct ldnq_layer_problem *problem,
                                        struct ldnq_layer_solution *solution,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer_choice *choice = &diagnostics->choice;
    const struct ldnq_solver *solver = choose_solver(fitting, diagnostics);
    return choice->fit == LDNQ_LAYER_ROUNDED
               ? ldnq_fitting_round(fitting, choice, problem, solution, err)
               : ldnq_fitting_solve_damped(fitting, solver, choice->damping, problem, solution,
                                           arena, err);
}

enum ldnq_status ldnq_fitting_share_or_set_blocks(const struct ldnq_layer_fitting *fitting,
                                                  struct ldnq_quantized_layer *quantized,
                                                  struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    if (quantized->tied || !ldnq_layer_is_table(&quantized->layer))
        quantized->shared = find_layer_with_same_weight(fitting);
    const size_t block = ldnq_select_block(
        quantized->shared ? &quantized->shared->layer : &quantized->layer, quantizer->options);
    return block ? ldnq_quantized_set_blocks(quantized, block, quantizer->arena, err) : LDNQ_OK;
}

enum ldnq_status ldnq_fitting_allocate_solution(const struct ldnq_quantized_layer *quantized,
                                                struct ldnq_arena *arena,
                                                struct ldnq_layer_solution *solution,
                                                struct ldnq_error *err)
{
    const size_t rows = ldnq_layer_rows(&quantized->layer);
    const size_t elements = ldnq_layer_elements(&quantized->layer);
    const size_t scales = rows * ldnq_quantized_scales_per_row(quantized);
    *solution = (struct ldnq_layer_solution){
        .codes = ldnq_arena_alloc(arena, elements, sizeof *solution->codes, err),
        .scales = ldnq_arena_alloc(arena, scales, sizeof *solution->scales, err),
        .bias = ldnq_arena_alloc(arena, rows, sizeof *solution->bias, err),
    };
    return solution->codes && solution->scales && solution->bias ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- step 4: the result ------------------------------------------------------------------ */

enum ldnq_status ldnq_fitting_store_solution(const struct ldnq_layer_fitting *fitting,
                                             struct ldnq_quantized_layer *quantized,
                                             const struct ldnq_layer_solution *solution,
                                             struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantized->layer;
    struct ldnq_arena *arena = fitting->quantizer->arena;
    const size_t rows = ldnq_layer_rows(layer), elements = ldnq_layer_elements(layer);
    const size_t scales = rows * ldnq_quantized_scales_per_row(quantized);
    quantized->codes = ldnq_arena_alloc(arena, elements, sizeof *quantized->codes, err);
    quantized->scales = ldnq_arena_alloc(arena, scales, sizeof *quantized->scales, err);
    if (!quantized->codes || !quantized->scales)
        return LDNQ_NOMEM;
    memcpy(quantized->codes, solution->codes, elements * sizeof *quantized->codes);
    memcpy(quantized->scales, solution->scales, scales * sizeof *quantized->scales);
    quantized->error = solution->error;
    if (!layer->bias)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &layer->bias->shape, &quantized->bias, err));
    float *bias = quantized->bias->data;
    for (size_t row = 0; row < rows; row++)
        bias[row] = solution->bias[row] / layer->geometry.bias_factor;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fitting_finish_layer(struct ldnq_layer_fitting *fitting,
                                           struct ldnq_layer_solution *solution, double start,
                                           struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantized_network *network = &quantizer->result->network;
    struct ldnq_quantized_layer *quantized = &network->layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    LDNQ_TRY(ldnq_quantized_layer_apply(quantized, quantizer->arena, err));
    diagnostics->seconds = ldnq_now() - start;
    const struct ldnq_layer_record record = { fitting->index, quantized, solution, diagnostics };
    LDNQ_TRY(ldnq_checkpoint_write_layer(options->checkpoint, &record, options->sink, err));
    return ldnq_fitting_report_layer(fitting, err);
}

/* ---- one layer --------------------------------------------------------------------------- */

static enum ldnq_status fit_layer(struct ldnq_layer_fitting *fitting, struct ldnq_arena *arena,
                                  struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantized_network *network = &quantizer->result->network;
    struct ldnq_quantized_layer *quantized = &network->layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    const struct ldnq_layer *layer = &quantized->layer;
    const size_t rows = ldnq_layer_rows(layer), elements = ldnq_layer_elements(layer);
    const double start = ldnq_now();
    struct ldnq_error reason;
    quantized->tied = ldnq_fitting_find_tied_table(fitting);
    if (options->layer_start)
        options->layer_start(options->layer_ctx, layer);
    if (ldnq_layer_is_table(layer))
        return ldnq_fitting_fit_table(fitting, arena, err);
    if (!quantizer->samples)
        return ldnq_fitting_fit_without_samples(fitting, arena, err);
    *diagnostics = (struct ldnq_layer_diagnostics){ .remaining_error = NAN,
                                                    .cascade_start = NAN,
                                                    .cascade_error = NAN };

    /* ---- the float weight W and bias b, in matrix order ---- */
    float *weight = ldnq_arena_alloc(arena, elements, sizeof *weight, err);
    float *bias = ldnq_arena_alloc(arena, rows, sizeof *bias, err);
    if (!weight || !bias)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    ldnq_mapping_release_pages(layer->weight->data, elements * sizeof *weight);
    ldnq_layer_read_bias(layer, bias);
    LDNQ_TRY(ldnq_fitting_share_or_set_blocks(fitting, quantized, err));

    /* ---- 1: H = E[y^ y^'] and E[y^], with the layers before this one quantized ----
     * ---- 2: W* = W + lambda E[W (y - y^) y^'] C^-1, and its bias ---- */
    if (quantizer->means) {
        LDNQ_TRY(ldnq_fitting_compute_column_moments(fitting, layer, arena, err));
        diagnostics->positions = fitting->columns.positions;
    } else {
        LDNQ_TRY(ldnq_fitting_collect_statistics(fitting, diagnostics, weight, bias, arena, err));
        diagnostics->positions = fitting->moments.statistics.positions;
    }
    enum ldnq_status status =
        ldnq_fitting_check_statistics(fitting, layer, diagnostics->positions, err);
    fitting->input_is_infinite = status == LDNQ_NUMERIC;
    LDNQ_TRY(status);
    if (diagnostics->positions == 0)
        return ldnq_fitting_fit_unreached_layer(fitting, weight, bias, start, arena, err);

    /* ---- 3: min over codes q, scales a of  tr((G - W*) H (G - W*)'),  G = a q ---- */
    struct ldnq_layer_solution solution;
    LDNQ_TRY(ldnq_fitting_allocate_solution(quantized, arena, &solution, err));
    const struct ldnq_layer_problem problem =
        ldnq_fitting_make_problem(fitting, quantized, weight, bias);
    if (options->fine_tune.steps > 0 || options->cascade > 0)
        LDNQ_TRY(ldnq_fitting_compute_deviation(fitting, rows, diagnostics, &problem, arena, err));
    status = ldnq_fitting_compute_rank(fitting, diagnostics, &problem, &reason);
    const double solver_start = ldnq_now();
    if (status == LDNQ_OK && quantized->shared) {
        quantized->codebook = quantized->shared->codebook;
        ldnq_fitting_copy_shared_solution(fitting, quantized->shared, &problem, &solution);
    } else if (status == LDNQ_OK) {
        status = solve_as_chosen(fitting, diagnostics, &problem, &solution, arena, &reason);
    }
    if (status != LDNQ_OK)
        return ldnq_node_fail(quantizer->graph, layer->node, status, err, "%s", reason.message);
    diagnostics->solver_seconds = ldnq_now() - solver_start;
    diagnostics->error_start = solution.error_start;
    diagnostics->iterations = solution.iterations;
    diagnostics->rho = solution.rho;

    /* ---- 4: write back: later layers see this one quantized ---- */
    LDNQ_TRY(ldnq_fitting_store_solution(fitting, quantized, &solution, err));
    LDNQ_TRY(
        ldnq_fitting_compute_weight_error(fitting, quantized, &solution, diagnostics, arena, err));
    return ldnq_fitting_finish_layer(fitting, &solution, start, err);
}

/* The same for a layer that an earlier run has fitted. The runner takes the steps that it takes
 * for a layer that is fitted, and none where no layer is left to fit, or a cascade starts again
 * from the network's inputs. */
static enum ldnq_status replay_layer(struct ldnq_layer_fitting *fitting, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantized_layer *quantized = &quantizer->result->network.layers[fitting->index];
    struct ldnq_layer_diagnostics *diagnostics = &quantizer->result->diagnostics[fitting->index];
    struct ldnq_layer_solution solution;
    quantized->tied = ldnq_fitting_find_tied_table(fitting);
    if (options->layer_start)
        options->layer_start(options->layer_ctx, &quantized->layer);
    *diagnostics = (struct ldnq_layer_diagnostics){ .cascade_start = NAN, .cascade_error = NAN };
    if (!quantizer->means && options->cascade == 0 && !ldnq_layer_is_table(&quantized->layer) &&
        !ldnq_checkpoint_has_all_layers(options->checkpoint))
        LDNQ_TRY(ldnq_fitting_skip_statistics(fitting, arena, err));
    LDNQ_TRY(ldnq_fitting_share_or_set_blocks(fitting, quantized, err));
    if (quantized->shared)
        quantized->codebook = quantized->shared->codebook;
    LDNQ_TRY(ldnq_fitting_allocate_solution(quantized, arena, &solution, err));
    const struct ldnq_layer_record record = { fitting->index, quantized, &solution, diagnostics };
    LDNQ_TRY(ldnq_checkpoint_read_layer(options->checkpoint, &record, quantizer->arena, err));
    LDNQ_TRY(ldnq_fitting_store_solution(fitting, quantized, &solution, err));
    return ldnq_quantized_layer_apply(quantized, quantizer->arena, err);
}

/* ---- all layers -------------------------------------------------------------------------- */

/* Multiplications of all layers for one sample; dimensions that the graph does not know, such
 * as the batch, count as 1. */
static double count_macs_per_sample(const struct ldnq_quantized_network *network)
{
    double macs = 0;
    for (size_t i = 0; i < network->count; i++)
        macs += ldnq_layer_macs_per_sample(&network->layers[i].layer);
    return macs;
}

size_t ldnq_count_fitted_samples(const struct ldnq_fit_limits *fit, double macs)
{
    if (!(fit->macs > 0) || !(macs > 0))
        return SIZE_MAX;
    return (size_t)fmin(fmax(ceil(fit->macs / macs), FEWEST_SAMPLES), 1e9);
}

static enum ldnq_status init_runner(const struct ldnq_quantizer *quantizer,
                                    const struct ldnq_graph *graph, size_t max_bytes,
                                    struct ldnq_calib_runner *runner, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_calib_runner_options runner_options = {
        .samples = ldnq_count_fitted_samples(&options->fit,
                                             count_macs_per_sample(&quantizer->result->network)),
        .copies = ldnq_size_max(1, options->copies),
        .seed = options->seed,
        .max_bytes = max_bytes,
        .pool = options->pool,
    };
    return ldnq_calib_runner_init(runner, graph, quantizer->samples, &runner_options,
                                  quantizer->arena, err);
}

static enum ldnq_status fit_layers(struct ldnq_layer_fitting *fitting, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantization *result = quantizer->result;
    const size_t max_bytes =
        ldnq_limit_stored_values(ldnq_get_max_bytes(options), quantizer->graph->releases_constants);
    const bool compensates = options->lambda != 0 && options->cascade == 0;
    LDNQ_TRY(ldnq_checkpoint_begin_fit(options->checkpoint, quantizer, err));
    LDNQ_TRY(ldnq_fitting_allocate_call(fitting, err));
    if (!quantizer->means && quantizer->samples)
        LDNQ_TRY(init_runner(quantizer, quantizer->graph, max_bytes / (compensates ? 2 : 1),
                             &fitting->runner, err));
    if (!quantizer->means && compensates) {
        LDNQ_TRY(
            init_runner(quantizer, quantizer->reference, max_bytes / 2, &fitting->reference, err));
        fitting->runner.reference = &fitting->reference;
    }
    LDNQ_TRY(ldnq_fitting_plan_work(fitting, err));
    for (fitting->index = 0; fitting->index < result->network.count; fitting->index++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        const enum ldnq_status status =
            ldnq_checkpoint_has_layer(options->checkpoint, fitting->index)
                ? replay_layer(fitting, arena, err)
                : fit_layer(fitting, arena, err);
        ldnq_layer_moments_release(&fitting->moments);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
        quantizer->fitted = fitting->index + 1;
        if (options->cascade > 0 && quantizer->fitted < result->network.count) {
            /* A cascade changes all values before the next layer: the runner starts again at
             * the network's inputs. */
            LDNQ_TRY(ldnq_quantizer_fine_tune_downstream(quantizer, err));
            ldnq_calib_runner_finish(&fitting->runner);
            LDNQ_TRY(init_runner(quantizer, quantizer->graph, max_bytes, &fitting->runner, err));
        }
        if (options->layer_done)
            options->layer_done(options->layer_ctx, &result->network.layers[fitting->index],
                                &result->diagnostics[fitting->index]);
    }
    ldnq_quantizer_warn_late_layers(quantizer);
    ldnq_quantizer_warn_few_samples(quantizer);
    if (quantizer->samples)
        ldnq_quantizer_warn_unreached_layers(quantizer);
    return LDNQ_OK;
}

/* The layers as they were before the fit, which compute in float. */
static enum ldnq_status copy_layers(const struct ldnq_quantizer *quantizer,
                                    struct ldnq_quantized_layer **copy, struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &quantizer->result->network;
    *copy = ldnq_arena_alloc(quantizer->arena, network->count, sizeof **copy, err);
    if (!*copy)
        return LDNQ_NOMEM;
    memcpy(*copy, network->layers, network->count * sizeof **copy);
    return LDNQ_OK;
}

static void restore_float_layers(const struct ldnq_quantizer *quantizer,
                                 const struct ldnq_quantized_layer *unfitted)
{
    const struct ldnq_quantized_network *network = &quantizer->result->network;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_layer *layer = &unfitted[i].layer;
        network->layers[i] = unfitted[i];
        layer->node->inputs[layer->weight_input]->constant = layer->weight;
        if (layer->bias)
            layer->node->inputs[layer->bias_input]->constant = layer->bias;
    }
}

/* Rounding changes a weight less than a fit to the samples may: where a sum of positive numbers
 * became negative, a logarithm of it is no number. Published methods stay as they are. */
static bool may_round_layers_before(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_solver *solver = quantizer->options->solver;
    return fitting->input_is_infinite && fitting->index > quantizer->rounded &&
           solver->needs_gram && !solver->is_published && quantizer->options->cascade == 0;
}

struct float_input {
    const struct ldnq_node *node;
    bool is_finite;
};

static enum ldnq_status check_batch_of_float_input(void *ctx, const struct ldnq_exec *exec,
                                                   size_t batch, struct ldnq_error *err)
{
    struct float_input *input = ctx;
    (void)batch;
    (void)err;
    for (size_t i = 0; i < input->node->input_count; i++) {
        const struct ldnq_value *value = input->node->inputs[i];
        const struct ldnq_tensor *tensor = value ? ldnq_exec_find_value(exec, value) : NULL;
        if (!tensor || tensor->dtype != LDNQ_FLOAT)
            continue;
        const float *data = tensor->data;
        for (size_t e = 0; input->is_finite && e < ldnq_tensor_count(tensor); e++)
            input->is_finite = isfinite(data[e]);
    }
    return LDNQ_OK;
}

/* Whether the layer's input is finite in the float network. */
static bool has_finite_float_input(const struct ldnq_quantizer *quantizer, size_t index)
{
    const struct ldnq_graph *reference = quantizer->reference;
    const size_t node = quantizer->result->network.layers[index].layer.node_index;
    struct float_input input = { reference->nodes[node], true };
    struct ldnq_calib_runner runner = { 0 };
    struct ldnq_error ignored;
    struct ldnq_ranks *ranks = ldnq_pool_ranks(quantizer->options->pool);
    enum ldnq_status status = init_runner(
        quantizer, reference, ldnq_get_max_bytes(quantizer->options), &runner, &ignored);
    status = ldnq_ranks_share_first_failure(ranks, status, &ignored);
    if (status == LDNQ_OK)
        status =
            ldnq_calib_runner_advance(&runner, node, check_batch_of_float_input, &input, &ignored);
    ldnq_calib_runner_finish(&runner);
    if (status == LDNQ_OK) /* of all batches, and not only those of this rank */
        status = ldnq_ranks_share_first_failure(ranks, input.is_finite ? LDNQ_OK : LDNQ_NUMERIC,
                                                &ignored);
    return status == LDNQ_OK;
}

static enum ldnq_status fit_or_round_layers(struct ldnq_quantizer *quantizer,
                                            struct ldnq_error *err)
{
    struct ldnq_quantized_layer *unfitted;
    LDNQ_TRY(copy_layers(quantizer, &unfitted, err));
    for (;;) {
        struct ldnq_layer_fitting fitting = { .quantizer = quantizer };
        const enum ldnq_status status = fit_layers(&fitting, err);
        ldnq_calib_runner_finish(&fitting.runner);
        ldnq_calib_runner_finish(&fitting.reference);
        ldnq_shared_input_release(&fitting.shared);
        ldnq_gram_results_clear(&fitting.stored_results);
        ldnq_stored_changes_clear(&fitting.stored_changes);
        if (status != LDNQ_NUMERIC || !may_round_layers_before(&fitting) ||
            !has_finite_float_input(quantizer, fitting.index))
            return status;
        quantizer->rounded = fitting.index;
        ldnq_sink_warn(quantizer->options->sink,
                       "'%s': its input is not finite after the layers before it were fitted: they "
                       "are rounded, and the fit starts again",
                       unfitted[fitting.index].layer.label);
        restore_float_layers(quantizer, unfitted);
    }
}

enum ldnq_status ldnq_quantizer_fit_layers(struct ldnq_quantizer *quantizer, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *const options = quantizer->options;
    struct ldnq_quantize_options traced = *options;
    ldnq_checkpoint_trace_solver(options->checkpoint, &traced.solver_options);
    quantizer->options = &traced;
    const enum ldnq_status status = fit_or_round_layers(quantizer, err);
    quantizer->options = options;
    return status;
}

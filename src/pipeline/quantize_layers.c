/* quantize_layers.c: fit the codes of all layers, one after the other, from the network's
 * inputs to its outputs.
 *
 * For each layer, with y the columns of its input in the float network and y^ those in the
 * network whose earlier layers are quantized:
 *
 *   1  H = E[y^ y^'] and E[y^] over the calibration samples
 *   2  W* = W + lambda E[W (y - y^) y^'] C^-1, its target (error_compensation.h)
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
#include "pipeline/quantizer.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "pipeline/holdout.h"
#include "pipeline/layer_moments.h"
#include "pipeline/select.h"
#include "quant/problem.h"

#define DEFAULT_MAX_BYTES ((size_t)256 << 20)
/* Positions that layers with few columns are fitted to, where options->fit limits them. */
#define FEWEST_POSITIONS ((size_t)512)
#define FEWEST_SAMPLES 16.0

struct layer_fitting {
    struct ldnq_quantizer *quantizer;
    struct ldnq_calib_runner runner;    /* the network that is being quantized */
    struct ldnq_calib_runner reference; /* the float network; set with error compensation */
    size_t index;                       /* index of the current layer */
    /* Arguments of one call of any layer: [0] in the runner, [1] in the reference. */
    const struct ldnq_tensor **in[2];
    struct ldnq_tensor *out[2];
    struct ldnq_layer_moments moments;  /* moments of the current layer */
    struct ldnq_column_moments columns; /* used in place of moments if there are means */
};

/* ---- step 1: statistics ----------------------------------------------------------------- */

static enum ldnq_status allocate_layer_call(struct layer_fitting *fitting, struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    struct ldnq_arena *arena = fitting->quantizer->arena;
    size_t inputs = 0, outputs = 0;
    for (size_t i = 0; i < network->count; i++) {
        inputs = ldnq_size_max(inputs, network->layers[i].layer.node->input_count);
        outputs = ldnq_size_max(outputs, network->layers[i].layer.node->output_count);
    }
    for (size_t i = 0; i < 2; i++) {
        fitting->in[i] = ldnq_arena_alloc(arena, inputs, sizeof *fitting->in[i], err);
        fitting->out[i] = ldnq_arena_alloc(arena, outputs, sizeof *fitting->out[i], err);
        if (!fitting->in[i] || !fitting->out[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

/* The call that the executor would make of the layer for this batch, with shapes inferred. */
static enum ldnq_status infer_layer_call(struct layer_fitting *fitting,
                                         const struct ldnq_calib_runner *runner, size_t batch,
                                         struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantizer->result->network.layers[fitting->index].layer;
    const struct ldnq_node *node = runner->graph->nodes[layer->node_index];
    const size_t which = runner == &fitting->reference;
    for (size_t i = 0; i < node->input_count; i++)
        fitting->in[which][i] =
            node->inputs[i] ? ldnq_exec_find_value(runner->exec, node->inputs[i]) : NULL;
    *call = (struct ldnq_op_call){
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = fitting->in[which],
        .out = fitting->out[which],
        .pool = quantizer->options->pool,
    };
    struct ldnq_error reason;
    enum ldnq_status status = ldnq_ops_infer_shape(call, &reason);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    /* The model's own shapes were checked before, so these come from the samples. */
    if (status == LDNQ_MODEL)
        status = LDNQ_DATA;
    return ldnq_node_fail(
        quantizer->graph, node, status, err, "%s (samples from %s on)", reason.message,
        ldnq_samples_name(runner->samples, ldnq_calib_runner_first_sample(runner, batch)));
}

/* Counts the most positions of one batch that the statistics read; 0: all. */
static size_t count_positions_per_batch(const struct layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const size_t per_column = quantizer->options->fit.positions_per_column;
    const size_t cols = quantizer->result->network.layers[fitting->index].layer.geometry.cols;
    return ldnq_size_ceil_div(per_column ? ldnq_size_max(per_column * cols, FEWEST_POSITIONS) : 0,
                              fitting->runner.batch_count);
}

static enum ldnq_status add_batch_statistics(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                             struct ldnq_error *err)
{
    (void)exec;
    struct layer_fitting *fitting = ctx;
    const struct ldnq_calib_runner *runner = &fitting->runner;
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    struct ldnq_op_call quantized, exact;
    LDNQ_TRY(infer_layer_call(fitting, runner, batch, &quantized, err));
    if (runner->reference)
        LDNQ_TRY(infer_layer_call(fitting, &fitting->reference, batch, &exact, err));
    const bool held_out =
        ldnq_is_held_out(ldnq_calib_runner_first_sample(runner, batch), runner->sample_count);
    ldnq_layer_moments_add(&fitting->moments, held_out, count_positions_per_batch(fitting),
                           &quantized, runner->reference ? &exact : NULL);
    const size_t steps = runner->batch_count + 1;
    return ldnq_sink_progress(fitting->quantizer->options->sink, "quantize",
                              network->layers[fitting->index].layer.node->label,
                              fitting->index * steps + batch + 1, network->count * steps, err);
}

static const double *compute_column_means(const struct layer_fitting *fitting)
{
    return fitting->quantizer->means ? fitting->columns.mean : fitting->moments.statistics.mean;
}

/* The model's own shapes were checked before: what does not fit comes from the samples. */
static enum ldnq_status compute_column_moments(struct layer_fitting *fitting,
                                               const struct ldnq_layer *layer,
                                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    struct ldnq_error reason;
    const enum ldnq_status status =
        ldnq_input_means_columns(quantizer->means, fitting->index, layer, quantizer->reference,
                                 arena, &fitting->columns, &reason);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    return ldnq_node_fail(quantizer->graph, layer->node, status == LDNQ_MODEL ? LDNQ_DATA : status,
                          err, "%s (samples from %s on)", reason.message,
                          ldnq_samples_name(quantizer->samples, 0));
}

static enum ldnq_status check_statistics(const struct layer_fitting *fitting,
                                         const struct ldnq_layer *layer, size_t positions,
                                         struct ldnq_error *err)
{
    const struct ldnq_graph *graph = fitting->quantizer->graph;
    if (positions == 0)
        return ldnq_node_fail(graph, layer->node, LDNQ_DATA, err,
                              "the calibration samples give it no input");
    for (size_t i = 0; i < layer->geometry.groups * layer->geometry.cols; i++)
        if (!isfinite(compute_column_means(fitting)[i]))
            return ldnq_node_fail(graph, layer->node, LDNQ_NUMERIC, err,
                                  "its input is not finite on the calibration samples");
    return LDNQ_OK;
}

/* ---- step 2: error compensation --------------------------------------------------------- */

/* Replaces weight and bias (NULL without one) by the target. */
static enum ldnq_status compensate_error(struct layer_fitting *fitting,
                                         struct ldnq_layer_diagnostics *diagnostics, float *weight,
                                         float *bias, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    struct ldnq_layer_moments *moments = &fitting->moments;
    struct ldnq_compensation_strength strength = { options->lambda, LDNQ_COMPENSATION_DAMPING,
                                                   NAN };
    if (options->lambda == LDNQ_LAMBDA_AUTO)
        LDNQ_TRY(ldnq_layer_moments_choose_strength(moments, bias != NULL, &strength, err));
    diagnostics->lambda = strength.lambda;
    diagnostics->damping = strength.damping;
    diagnostics->remaining_error = strength.remaining_error;
    /* Fine-tuning is judged by the held-out samples, so nothing may be fitted on them. */
    if (options->fine_tune.steps == 0)
        ldnq_layer_moments_merge(moments);
    if (!(strength.lambda > 0))
        return LDNQ_OK;
    return ldnq_compensation_apply(&moments->compensation, &moments->statistics, strength.lambda,
                                   strength.damping, weight, bias, err);
}

/* Steps 1 and 2 on the samples. */
static enum ldnq_status collect_statistics(struct layer_fitting *fitting,
                                           struct ldnq_layer_diagnostics *diagnostics,
                                           float *weight, float *bias, struct ldnq_arena *arena,
                                           struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantizer->result->network.layers[fitting->index].layer;
    const bool compensates = fitting->runner.reference != NULL;
    LDNQ_TRY(ldnq_layer_moments_init(&fitting->moments, &layer->geometry, weight, compensates,
                                     quantizer->options->pool, arena, err));
    LDNQ_TRY(ldnq_calib_runner_advance(&fitting->runner, layer->node_index, add_batch_statistics,
                                       fitting, err));
    if (compensates)
        LDNQ_TRY(compensate_error(fitting, diagnostics, weight, layer->bias ? bias : NULL, err));
    ldnq_layer_moments_release(&fitting->moments);
    ldnq_statistics_finish(&fitting->moments.statistics);
    return LDNQ_OK;
}

/* ---- step 3: codes and scales ------------------------------------------------------------ */

static struct ldnq_layer_problem make_layer_problem(const struct layer_fitting *fitting,
                                                    const struct ldnq_quantized_layer *quantized,
                                                    const float *weight, const float *bias)
{
    const struct ldnq_layer *layer = &quantized->layer;
    enum ldnq_granularity granularity = quantized->granularity;
    if (granularity != LDNQ_PER_TENSOR)
        granularity = quantized->block_index ? LDNQ_PER_BLOCK : LDNQ_PER_CHANNEL;
    return (struct ldnq_layer_problem){
        .groups = layer->geometry.groups,
        .rows = layer->geometry.rows,
        .cols = layer->geometry.cols,
        .weight = weight,
        .gram = fitting->quantizer->means ? NULL : fitting->moments.statistics.gram,
        .diagonal = fitting->columns.diagonal,
        .mean = layer->bias ? compute_column_means(fitting) : NULL,
        .bias = layer->bias ? bias : NULL,
        .codebook = quantized->codebook,
        .granularity = granularity,
        .power_of_two = quantized->power_of_two,
        .block_index = quantized->block_index,
        .block_count = quantized->block_count,
    };
}

/* Finds an earlier layer that reads the same weight in the same way: both keep one set of
 * codes. */
static const struct ldnq_quantized_layer *
find_layer_with_same_weight(const struct layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantized_layer *layers = quantizer->result->network.layers;
    const struct ldnq_layer_geometry *own = &layers[fitting->index].layer.geometry;
    for (size_t i = 0; i < fitting->index; i++) {
        const struct ldnq_layer_geometry *other = &layers[i].layer.geometry;
        if (quantizer->file_weight[i] == quantizer->file_weight[fitting->index] &&
            !layers[i].shared && layers[i].granularity == layers[fitting->index].granularity &&
            other->layout == own->layout && other->groups == own->groups &&
            other->rows == own->rows && other->channel_axis == own->channel_axis)
            return &layers[i];
    }
    return NULL;
}

/* The best bias and the error depend on this layer's own input. A solver that leaves the
 * biases of the file alone does so here too. */
static void copy_shared_solution(const struct layer_fitting *fitting,
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
static const struct ldnq_solver *choose_solver(const struct layer_fitting *fitting,
                                               struct ldnq_layer_diagnostics *diagnostics)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    diagnostics->late =
        !fitting->quantizer->means &&
        ldnq_quantizer_seconds_left(fitting->quantizer) < 0.5 * options->max_seconds;
    diagnostics->solver = diagnostics->late ? ldnq_solver_find("gptq") : options->solver;
    return diagnostics->solver;
}

/* The rank costs a factorization: it is computed where someone reads it, or where it may be
 * too low. */
static enum ldnq_status compute_problem_rank(const struct layer_fitting *fitting,
                                             struct ldnq_layer_diagnostics *diagnostics,
                                             const struct ldnq_layer_problem *problem,
                                             struct ldnq_error *err)
{
    diagnostics->varying = diagnostics->rank = problem->cols;
    if (!fitting->quantizer->options->solver->needs_gram)
        return LDNQ_OK;
    if (!fitting->quantizer->options->layer_done && diagnostics->positions > problem->cols)
        return LDNQ_OK;
    return ldnq_problem_compute_rank(problem, &diagnostics->varying, &diagnostics->rank, err);
}

/* The objective of G = 0 is the variance of the layer's output, row by row. */
static enum ldnq_status compute_output_deviation(const struct layer_fitting *fitting, size_t rows,
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

/* ---- step 4: the result ------------------------------------------------------------------ */

static enum ldnq_status store_solution(const struct layer_fitting *fitting,
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

static double count_positions_per_sample(const struct layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    if (quantizer->means)
        return (double)fitting->columns.positions / (double)ldnq_samples_count(quantizer->samples);
    return (double)fitting->moments.all_positions /
           (double)(fitting->runner.sample_count * fitting->runner.copies);
}

/* Compares with the float weight and bias, whatever the target was. */
static enum ldnq_status compute_weight_error(const struct layer_fitting *fitting,
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
    const struct ldnq_layer_problem problem = make_layer_problem(fitting, quantized, weight, bias);
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        layer->bias ? solution->bias : NULL };
    const double per_position =
        ldnq_compute_total_error(&problem, quantizer->options->pool, &choice, errors);
    diagnostics->positions_per_sample = count_positions_per_sample(fitting);
    diagnostics->change = sqrt(per_position * diagnostics->positions_per_sample);
    return LDNQ_OK;
}

/* ---- one layer --------------------------------------------------------------------------- */

static enum ldnq_status fit_layer(struct layer_fitting *fitting, struct ldnq_arena *arena,
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
    if (options->layer_start)
        options->layer_start(options->layer_ctx, layer);
    *diagnostics = (struct ldnq_layer_diagnostics){ .remaining_error = NAN,
                                                    .cascade_start = NAN,
                                                    .cascade_error = NAN };

    /* ---- the float weight W and bias b, in matrix order ---- */
    float *weight = ldnq_arena_alloc(arena, elements, sizeof *weight, err);
    float *bias = ldnq_arena_alloc(arena, rows, sizeof *bias, err);
    if (!weight || !bias)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    ldnq_layer_read_bias(layer, bias);

    /* ---- 1: H = E[y^ y^'] and E[y^], with the layers before this one quantized ----
     * ---- 2: W* = W + lambda E[W (y - y^) y^'] C^-1, and its bias ---- */
    if (quantizer->means) {
        LDNQ_TRY(compute_column_moments(fitting, layer, arena, err));
        diagnostics->positions = fitting->columns.positions;
    } else {
        LDNQ_TRY(collect_statistics(fitting, diagnostics, weight, bias, arena, err));
        diagnostics->positions = fitting->moments.statistics.positions;
    }
    LDNQ_TRY(check_statistics(fitting, layer, diagnostics->positions, err));

    /* ---- 3: min over codes q, scales a of  tr((G - W*) H (G - W*)'),  G = a q ---- */
    quantized->shared = find_layer_with_same_weight(fitting);
    const size_t block =
        ldnq_select_block(quantized->shared ? &quantized->shared->layer : layer, options);
    if (block)
        LDNQ_TRY(ldnq_quantized_set_blocks(quantized, block, quantizer->arena, err));
    const size_t scales = rows * ldnq_quantized_scales_per_row(quantized);
    struct ldnq_layer_solution solution = {
        .codes = ldnq_arena_alloc(arena, elements, sizeof *solution.codes, err),
        .scales = ldnq_arena_alloc(arena, scales, sizeof *solution.scales, err),
        .bias = ldnq_arena_alloc(arena, rows, sizeof *solution.bias, err),
    };
    if (!solution.codes || !solution.scales || !solution.bias)
        return LDNQ_NOMEM;
    const struct ldnq_layer_problem problem = make_layer_problem(fitting, quantized, weight, bias);
    LDNQ_TRY(compute_output_deviation(fitting, rows, diagnostics, &problem, arena, err));
    enum ldnq_status status = compute_problem_rank(fitting, diagnostics, &problem, &reason);
    const double solver_start = ldnq_now();
    if (status == LDNQ_OK && quantized->shared) {
        quantized->codebook = quantized->shared->codebook;
        copy_shared_solution(fitting, quantized->shared, &problem, &solution);
    } else if (status == LDNQ_OK) {
        status = ldnq_solve(choose_solver(fitting, diagnostics), &problem, &options->solver_options,
                            options->pool, &solution, &reason);
    }
    if (status != LDNQ_OK)
        return ldnq_node_fail(quantizer->graph, layer->node, status, err, "%s", reason.message);
    diagnostics->solver_seconds = ldnq_now() - solver_start;
    diagnostics->error_start = solution.error_start;
    diagnostics->iterations = solution.iterations;
    diagnostics->rho = solution.rho;

    /* ---- 4: write back: later layers see this one quantized ---- */
    LDNQ_TRY(store_solution(fitting, quantized, &solution, err));
    LDNQ_TRY(compute_weight_error(fitting, quantized, &solution, diagnostics, arena, err));
    LDNQ_TRY(ldnq_quantized_layer_apply(quantized, quantizer->arena, err));
    diagnostics->seconds = ldnq_now() - start;
    const size_t steps = quantizer->means ? 1 : fitting->runner.batch_count + 1;
    return ldnq_sink_progress(options->sink, "quantize", layer->node->label,
                              (fitting->index + 1) * steps, network->count * steps, err);
}

/* ---- all layers -------------------------------------------------------------------------- */

static void warn_layers_solved_by_gptq(const struct ldnq_quantizer *quantizer)
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
static void warn_few_samples(const struct ldnq_quantizer *quantizer)
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
                       result->network.layers[worst - result->diagnostics].layer.node->label,
                       worst->rank, worst->varying);
}

/* Multiplications of all layers for one sample; dimensions that the graph does not know, such
 * as the batch, count as 1. */
static double count_macs_per_sample(const struct ldnq_quantized_network *network)
{
    double macs = 0;
    for (size_t i = 0; i < network->count; i++)
        macs += ldnq_layer_macs_per_sample(&network->layers[i].layer);
    return macs;
}

/* Counts the samples that layers are fitted to; 0: all. */
static size_t count_fitted_samples(const struct ldnq_quantizer *quantizer)
{
    const struct ldnq_fit_limits *fit = &quantizer->options->fit;
    const double macs = count_macs_per_sample(&quantizer->result->network);
    if (!(fit->macs > 0) || !(macs > 0))
        return 0;
    return (size_t)fmin(fmax(ceil(fit->macs / macs), FEWEST_SAMPLES), 1e9);
}

static enum ldnq_status init_runner(const struct ldnq_quantizer *quantizer,
                                    const struct ldnq_graph *graph, size_t max_bytes,
                                    struct ldnq_calib_runner *runner, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_calib_runner_options runner_options = {
        .samples = count_fitted_samples(quantizer),
        .copies = ldnq_size_max(1, options->copies),
        .seed = options->seed,
        .max_bytes = max_bytes,
        .pool = options->pool,
    };
    return ldnq_calib_runner_init(runner, graph, quantizer->samples, &runner_options,
                                  quantizer->arena, err);
}

static enum ldnq_status fit_layers(struct layer_fitting *fitting, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantize_options *options = quantizer->options;
    struct ldnq_quantization *result = quantizer->result;
    const size_t max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
    const bool compensates = options->lambda != 0 && options->cascade == 0;
    LDNQ_TRY(allocate_layer_call(fitting, err));
    if (!quantizer->means)
        LDNQ_TRY(init_runner(quantizer, quantizer->graph, max_bytes / (compensates ? 2 : 1),
                             &fitting->runner, err));
    if (!quantizer->means && compensates) {
        LDNQ_TRY(
            init_runner(quantizer, quantizer->reference, max_bytes / 2, &fitting->reference, err));
        fitting->runner.reference = &fitting->reference;
    }
    for (fitting->index = 0; fitting->index < result->network.count; fitting->index++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        const enum ldnq_status status = fit_layer(fitting, arena, err);
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
    warn_layers_solved_by_gptq(quantizer);
    warn_few_samples(quantizer);
    return LDNQ_OK;
}

enum ldnq_status ldnq_quantizer_fit_layers(struct ldnq_quantizer *quantizer, struct ldnq_error *err)
{
    struct layer_fitting fitting = { .quantizer = quantizer };
    const enum ldnq_status status = fit_layers(&fitting, err);
    ldnq_calib_runner_finish(&fitting.runner);
    ldnq_calib_runner_finish(&fitting.reference);
    return status;
}

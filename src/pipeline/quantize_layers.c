/* walk.c: front to back, each layer's statistics, its problem, and its codes. */
#include "pipeline/quantizer.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "pipeline/holdout.h"
#include "pipeline/layer_moments.h"
#include "quant/problem.h"

#define DEFAULT_MAX_BYTES ((size_t)256 << 20)

struct walk {
    struct ldnq_quantizer *run;
    struct ldnq_calib_runner runner,
        reference; /* the latter when layers aim at the float outputs */
    size_t at;     /* the layer that the walk stands in front of */
    /* Of one call, room for any layer's; the second for the float network. */
    const struct ldnq_tensor **in[2];
    struct ldnq_tensor *out[2];
    float *weight, *bias; /* to solve for: (G, M, K) and (G, M) */
    struct ldnq_layer_moments moments;
};

/* ---- statistics -------------------------------------------------------------------- */

static enum ldnq_status check_statistics(const struct walk *walk, const struct ldnq_layer *layer,
                                         struct ldnq_error *err)
{
    const struct ldnq_statistics *s = &walk->moments.statistics;
    if (s->positions == 0)
        return ldnq_node_fail(walk->run->graph, layer->node, LDNQ_DATA, err,
                              "the calibration samples give it no input");
    for (size_t i = 0; i < s->geometry.groups * s->geometry.cols; i++)
        if (!isfinite(s->mean[i]))
            return ldnq_node_fail(walk->run->graph, layer->node, LDNQ_NUMERIC, err,
                                  "its input is not finite on the calibration samples");
    return LDNQ_OK;
}

/* What the executor would call the layer with for this batch, shapes inferred. */
static enum ldnq_status make_call(struct walk *walk, const struct ldnq_calib_runner *runner,
                                  size_t batch, struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_node *node =
        runner->graph->nodes[walk->run->result->network.layers[walk->at].layer.node_index];
    const size_t which = runner == &walk->reference;
    for (size_t i = 0; i < node->input_count; i++)
        walk->in[which][i] =
            node->inputs[i] ? ldnq_exec_value(runner->exec, node->inputs[i]) : NULL;
    *call = (struct ldnq_op_call){
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = walk->in[which],
        .out = walk->out[which],
        .pool = walk->run->options->pool,
    };
    struct ldnq_error reason;
    enum ldnq_status status = ldnq_ops_infer(call, &reason);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    /* The model's own shapes were checked before: these come from the samples. */
    if (status == LDNQ_MODEL)
        status = LDNQ_DATA;
    return ldnq_node_fail(
        walk->run->graph, node, status, err, "%s (samples from %s on)", reason.message,
        ldnq_samples_name(runner->samples, ldnq_calib_runner_first_sample(runner, batch)));
}

static enum ldnq_status add_batch(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                  struct ldnq_error *err)
{
    (void)exec;
    struct walk *walk = ctx;
    const struct ldnq_node *node = walk->run->result->network.layers[walk->at].layer.node;
    struct ldnq_op_call call, exact;
    LDNQ_TRY(make_call(walk, &walk->runner, batch, &call, err));
    if (walk->runner.reference)
        LDNQ_TRY(make_call(walk, &walk->reference, batch, &exact, err));
    const bool held_out = ldnq_is_held_out(ldnq_calib_runner_first_sample(&walk->runner, batch),
                                           ldnq_samples_count(walk->runner.samples));
    ldnq_layer_moments_add(&walk->moments, held_out, &call, walk->runner.reference ? &exact : NULL);
    size_t batches = walk->runner.batch_count;
    ldnq_sink_progress(walk->run->options->sink, "quantize", node->label,
                       walk->at * (batches + 1) + batch + 1,
                       walk->run->result->network.count * (batches + 1));
    return LDNQ_OK;
}

/* ---- solving ------------------------------------------------------------------------ */

static struct ldnq_layer_problem problem_of(const struct walk *walk, const struct ldnq_layer *layer,
                                            const float *weight, const float *bias)
{
    const struct ldnq_quantized_layer *result = &walk->run->result->network.layers[walk->at];
    enum ldnq_granularity granularity = walk->run->options->granularity;
    if (granularity == LDNQ_PER_BLOCK && !result->block_index)
        granularity = LDNQ_PER_CHANNEL;
    return (struct ldnq_layer_problem){
        .groups = layer->geometry.groups,
        .outputs = layer->geometry.rows,
        .inputs = layer->geometry.cols,
        .weight = weight,
        .gram = walk->moments.statistics.gram,
        .mean = layer->bias ? walk->moments.statistics.mean : NULL,
        .bias = layer->bias ? bias : NULL,
        .codebook = result->codebook,
        .granularity = granularity,
        .segment = result->block_index,
        .segments = result->block_count,
    };
}

static enum ldnq_status keep(struct walk *walk, struct ldnq_quantized_layer *result,
                             struct ldnq_layer_diagnostics *diagnostics,
                             const struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    size_t rows = ldnq_layer_rows(layer);
    int8_t *codes =
        ldnq_arena_alloc(walk->run->arena, rows * layer->geometry.cols, sizeof *codes, err);
    const size_t count = rows * ldnq_quantized_row_scales(result);
    float *scales = ldnq_arena_alloc(walk->run->arena, count, sizeof *scales, err);
    if (!codes || !scales)
        return LDNQ_NOMEM;
    memcpy(scales, solution->scales, count * sizeof *scales);
    memcpy(codes, solution->codes, rows * layer->geometry.cols * sizeof *codes);
    result->codes = codes;
    result->scales = scales;
    result->error = solution->error;
    diagnostics->error_start = solution->error_start;
    diagnostics->iterations = solution->iterations;
    diagnostics->rho = solution->rho;
    if (!layer->bias)
        return LDNQ_OK;
    struct ldnq_tensor *bias;
    LDNQ_TRY(ldnq_tensor_create(walk->run->arena, LDNQ_FLOAT, &layer->bias->shape, &bias, err));
    for (size_t row = 0; row < rows; row++)
        ((float *)bias->data)[row] = solution->bias[row] / layer->geometry.bias_factor;
    result->bias = bias;
    return LDNQ_OK;
}

/* With all codes 0 the objective is what the layer's output varies by. */
static enum ldnq_status measure(struct walk *walk, const struct ldnq_layer *layer,
                                struct ldnq_layer_diagnostics *diagnostics,
                                const struct ldnq_layer_problem *problem, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    const struct ldnq_choice nothing = { 0 };
    const size_t rows = ldnq_layer_rows(layer);
    double *errors = ldnq_arena_alloc(arena, rows, sizeof *errors, err);
    float *deviation = ldnq_arena_alloc(walk->run->arena, rows, sizeof *deviation, err);
    if (!errors || !deviation)
        return LDNQ_NOMEM;
    ldnq_total_error(problem, walk->run->options->pool, &nothing, errors);
    for (size_t row = 0; row < rows; row++)
        deviation[row] = (float)sqrt(errors[row]);
    diagnostics->deviation = deviation;
    return LDNQ_OK;
}

/* Against the float weight and bias, whatever the layer aimed at. */
static enum ldnq_status measure_change(const struct walk *walk, const struct ldnq_layer *layer,
                                       struct ldnq_layer_diagnostics *diagnostics,
                                       const struct ldnq_layer_solution *solution,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    float *weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *weight, err);
    float *bias = ldnq_arena_alloc(arena, ldnq_layer_rows(layer), sizeof *bias, err);
    if (!weight || !bias)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    ldnq_layer_read_bias(layer, bias);
    const struct ldnq_layer_problem problem = problem_of(walk, layer, weight, bias);
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        layer->bias ? solution->bias : NULL };
    double *errors = ldnq_arena_alloc(arena, ldnq_layer_rows(layer), sizeof *errors, err);
    if (!errors)
        return LDNQ_NOMEM;
    const double samples = (double)(ldnq_samples_count(walk->run->samples) *
                                    ldnq_size_max(1, walk->run->options->copies));
    const double mean = ldnq_total_error(&problem, walk->run->options->pool, &choice, errors);
    diagnostics->change = sqrt(mean * (double)diagnostics->positions / samples);
    return LDNQ_OK;
}

/* A weight that several layers read in the same role keeps one set of codes. */
static const struct ldnq_quantized_layer *find_shared(const struct walk *walk)
{
    const struct ldnq_quantized_layer *layers = walk->run->result->network.layers;
    const struct ldnq_value **file_weight = walk->run->file_weight;
    const struct ldnq_layer *layer = &layers[walk->at].layer;
    for (size_t i = 0; i < walk->at; i++) {
        const struct ldnq_layer *other = &layers[i].layer;
        if (file_weight[i] == file_weight[walk->at] && !layers[i].shared &&
            other->geometry.layout == layer->geometry.layout &&
            other->geometry.groups == layer->geometry.groups &&
            other->geometry.rows == layer->geometry.rows &&
            other->geometry.channel_axis == layer->geometry.channel_axis)
            return &layers[i];
    }
    return NULL;
}

/* Codes are given; the best bias and the error depend on this layer's own input.
 * A solver that leaves the file's biases alone does so here too. */
static void share(const struct walk *walk, struct ldnq_quantized_layer *result,
                  const struct ldnq_quantized_layer *shared,
                  const struct ldnq_layer_problem *problem, struct ldnq_layer_solution *solution)
{
    const struct ldnq_layer *layer = &result->layer;
    memcpy(solution->codes, shared->codes, ldnq_layer_elements(layer) * sizeof *solution->codes);
    memcpy(solution->scales, shared->scales,
           ldnq_layer_rows(layer) * ldnq_quantized_row_scales(result) * sizeof *solution->scales);
    if (problem->bias)
        memcpy(solution->bias, problem->bias, ldnq_layer_rows(layer) * sizeof *solution->bias);
    result->shared = shared;
    result->codebook = shared->codebook;
    solution->error = solution->error_start = ldnq_layer_error(problem, solution);
    if (!problem->bias || !walk->run->options->solver->fits_bias)
        return;
    ldnq_layer_best_bias(problem, solution);
    solution->error = ldnq_layer_error(problem, solution);
}

/* Past half of the run's time what is quick will do. */
static const struct ldnq_solver *solver_of(const struct walk *walk,
                                           struct ldnq_layer_diagnostics *result)
{
    const struct ldnq_quantize_options *options = walk->run->options;
    result->late = ldnq_quantizer_time_left(walk->run) < 0.5 * options->max_seconds;
    result->solver = result->late ? ldnq_solver_find("gptq") : options->solver;
    return result->solver;
}

static enum ldnq_status count_directions(const struct walk *walk,
                                         struct ldnq_layer_diagnostics *result,
                                         const struct ldnq_layer_problem *problem,
                                         struct ldnq_error *err)
{
    result->varying = result->rank = problem->inputs;
    if (!walk->run->options->layer_done && result->positions > problem->inputs)
        return LDNQ_OK;
    return ldnq_problem_rank(problem, &result->varying, &result->rank, err);
}

static enum ldnq_status solve(struct walk *walk, struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_quantized_layer *result = &walk->run->result->network.layers[walk->at];
    struct ldnq_layer_diagnostics *diagnostics = &walk->run->result->diagnostics[walk->at];
    const struct ldnq_layer *layer = &result->layer;
    const size_t rows = ldnq_layer_rows(layer);
    if (walk->run->options->granularity == LDNQ_PER_BLOCK)
        LDNQ_TRY(
            ldnq_quantized_set_blocks(result, walk->run->options->block, walk->run->arena, err));
    struct ldnq_layer_problem problem = problem_of(walk, layer, walk->weight, walk->bias);
    struct ldnq_layer_solution solution = { 0 };
    solution.codes =
        ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *solution.codes, err);
    solution.scales = ldnq_arena_alloc(arena, rows * ldnq_quantized_row_scales(result),
                                       sizeof *solution.scales, err);
    solution.bias = ldnq_arena_alloc(arena, rows, sizeof *solution.bias, err);
    if (!solution.codes || !solution.scales || !solution.bias)
        return LDNQ_NOMEM;
    diagnostics->positions = walk->moments.statistics.positions;
    LDNQ_TRY(measure(walk, layer, diagnostics, &problem, arena, err));
    LDNQ_TRY(count_directions(walk, diagnostics, &problem, err));
    const struct ldnq_quantized_layer *shared = find_shared(walk);
    const double start = ldnq_now();
    if (shared)
        share(walk, result, shared, &problem, &solution);
    else
        LDNQ_TRY(ldnq_solve(solver_of(walk, diagnostics), &problem,
                            &walk->run->options->solver_options, walk->run->options->pool,
                            &solution, err));
    diagnostics->solver_seconds = ldnq_now() - start;
    LDNQ_TRY(keep(walk, result, diagnostics, &solution, err));
    LDNQ_TRY(measure_change(walk, layer, diagnostics, &solution, arena, err));
    return ldnq_quantized_apply(result, walk->run->arena, err);
}

/* ---- the walk ------------------------------------------------------------------------ */

/* The weight and bias to solve for, in place of the float ones. */
static enum ldnq_status aim(struct walk *walk, const struct ldnq_layer *layer,
                            struct ldnq_layer_diagnostics *result, struct ldnq_error *err)
{
    float *bias = layer->bias ? walk->bias : NULL;
    struct ldnq_layer_moments *moments = &walk->moments;
    struct ldnq_compensation_strength aim = { walk->run->options->lambda, LDNQ_COMPENSATION_DAMPING,
                                              NAN };
    if (aim.lambda == LDNQ_LAMBDA_AUTO)
        LDNQ_TRY(ldnq_layer_moments_choose(moments, bias != NULL, &aim, err));
    result->lambda = aim.lambda;
    result->damping = aim.damping;
    result->held_out_left = aim.left;
    /* What learning is to be judged by must not have been fitted on. */
    if (walk->run->options->fine_tune.steps == 0)
        ldnq_layer_moments_merge(moments);
    return result->lambda > 0
               ? ldnq_compensation_apply(&moments->target, &moments->statistics, result->lambda,
                                         result->damping, walk->weight, bias, err)
               : LDNQ_OK;
}

static enum ldnq_status sum_up(struct walk *walk, const struct ldnq_layer *layer,
                               struct ldnq_layer_diagnostics *result, struct ldnq_arena *arena,
                               struct ldnq_error *err)
{
    result->held_out_left = result->cascade_start = result->cascade_error = NAN;
    walk->weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *walk->weight, err);
    walk->bias = ldnq_arena_alloc(arena, ldnq_layer_rows(layer), sizeof *walk->bias, err);
    if (!walk->weight || !walk->bias)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, walk->weight);
    ldnq_layer_read_bias(layer, walk->bias);
    LDNQ_TRY(ldnq_layer_moments_init(&walk->moments, &layer->geometry, walk->weight,
                                     walk->runner.reference != NULL, walk->run->options->pool,
                                     arena, err));
    LDNQ_TRY(ldnq_calib_runner_advance(&walk->runner, layer->node_index, add_batch, walk, err));
    if (walk->runner.reference)
        LDNQ_TRY(aim(walk, layer, result, err));
    ldnq_statistics_finish(&walk->moments.statistics);
    return check_statistics(walk, layer, err);
}

static enum ldnq_status quantize_layer(struct walk *walk, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &walk->run->result->network.layers[walk->at].layer;
    struct ldnq_layer_diagnostics *diagnostics = &walk->run->result->diagnostics[walk->at];
    const struct ldnq_node *node = layer->node;
    const struct ldnq_quantize_options *options = walk->run->options;
    const double start = ldnq_now();
    if (options->layer_start)
        options->layer_start(options->layer_ctx, layer);
    enum ldnq_status status = sum_up(walk, layer, diagnostics, arena, err);
    ldnq_layer_moments_release(&walk->moments);
    LDNQ_TRY(status);
    struct ldnq_error reason;
    status = solve(walk, arena, &reason);
    if (status != LDNQ_OK)
        return ldnq_node_fail(walk->run->graph, node, status, err, "%s", reason.message);
    diagnostics->seconds = ldnq_now() - start;
    size_t steps = walk->runner.batch_count + 1;
    ldnq_sink_progress(walk->run->options->sink, "quantize", node->label, (walk->at + 1) * steps,
                       walk->run->result->network.count * steps);
    return LDNQ_OK;
}

static enum ldnq_status allocate_call(struct walk *walk, struct ldnq_error *err)
{
    const struct ldnq_quantization *result = walk->run->result;
    size_t inputs = 0, outputs = 0;
    for (size_t i = 0; i < result->network.count; i++) {
        inputs = ldnq_size_max(inputs, result->network.layers[i].layer.node->input_count);
        outputs = ldnq_size_max(outputs, result->network.layers[i].layer.node->output_count);
    }
    for (size_t i = 0; i < 2; i++) {
        walk->in[i] = ldnq_arena_alloc(walk->run->arena, inputs, sizeof *walk->in[i], err);
        walk->out[i] = ldnq_arena_alloc(walk->run->arena, outputs, sizeof *walk->out[i], err);
        if (!walk->in[i] || !walk->out[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

static void warn_of_late(const struct walk *walk)
{
    size_t late = 0;
    for (size_t i = 0; i < walk->run->result->network.count; i++)
        late += walk->run->result->diagnostics[i].late;
    if (late > 0)
        ldnq_sink_warn(walk->run->options->sink,
                       "half of the %.3g s were over before the last %zu of %zu layers: they were "
                       "solved by gptq",
                       walk->run->options->max_seconds, late, walk->run->result->network.count);
}

/* Codes in directions that no sample has are free: what they do there is chance. */
static void warn_of_few(const struct walk *walk)
{
    const struct ldnq_quantization *result = walk->run->result;
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
        ldnq_sink_warn(walk->run->options->sink,
                       "too few samples for %zu of %zu layers: at '%s' they reach %zu of the %zu "
                       "directions of its input (its rank), and what its codes do in the others "
                       "is chance; give more samples",
                       few, result->network.count,
                       result->network.layers[worst - result->diagnostics].layer.node->label,
                       worst->rank, worst->varying);
}

/* After a cascade all values in front are others: the runner walks from the inputs. */
static enum ldnq_status start_twin(struct walk *walk, size_t max_bytes, struct ldnq_error *err)
{
    const struct ldnq_quantizer *run = walk->run;
    ldnq_calib_runner_finish(&walk->runner);
    walk->runner = (struct ldnq_calib_runner){ .graph = NULL };
    return ldnq_calib_runner_init(&walk->runner, run->graph, run->samples,
                                  ldnq_size_max(1, run->options->copies), run->options->seed,
                                  max_bytes, run->options->pool, run->arena, err);
}

static enum ldnq_status place_all(struct walk *walk, struct ldnq_error *err)
{
    struct ldnq_quantizer *run = walk->run;
    const struct ldnq_quantize_options *options = run->options;
    size_t max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
    const bool aims = options->lambda != 0 && options->cascade == 0;
    LDNQ_TRY(allocate_call(walk, err));
    const size_t copies = ldnq_size_max(1, options->copies);
    LDNQ_TRY(start_twin(walk, max_bytes / (aims ? 2 : 1), err));
    if (aims) {
        LDNQ_TRY(ldnq_calib_runner_init(&walk->reference, run->reference, run->samples, copies,
                                        options->seed, max_bytes / 2, options->pool, run->arena,
                                        err));
        walk->runner.reference = &walk->reference;
    }
    for (walk->at = 0; walk->at < run->result->network.count; walk->at++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        enum ldnq_status status = quantize_layer(walk, arena, err);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
        run->fitted = walk->at + 1;
        if (options->cascade > 0 && run->fitted < run->result->network.count) {
            LDNQ_TRY(ldnq_quantizer_cascade(run, err));
            LDNQ_TRY(start_twin(walk, max_bytes, err));
        }
        if (options->layer_done)
            options->layer_done(options->layer_ctx, &run->result->network.layers[walk->at],
                                &run->result->diagnostics[walk->at]);
    }
    warn_of_late(walk);
    warn_of_few(walk);
    return LDNQ_OK;
}

enum ldnq_status ldnq_quantizer_fit_layers(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    struct walk walk = { .run = run };
    enum ldnq_status status = place_all(&walk, err);
    ldnq_calib_runner_finish(&walk.runner);
    ldnq_calib_runner_finish(&walk.reference);
    return status;
}

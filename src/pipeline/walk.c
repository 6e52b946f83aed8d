/* walk.c: front to back, each layer's statistics, its problem, and its codes. */
#include "pipeline/run.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "pipeline/holdout.h"
#include "pipeline/moments.h"
#include "quant/problem.h"

#define DEFAULT_MAX_BYTES ((size_t)256 << 20)

struct walk {
    struct ldnq_run *run;
    struct ldnq_twin twin, teacher; /* the latter when layers aim at the float outputs */
    size_t at;                      /* the layer that the walk stands in front of */
    /* Of one call, room for any layer's; the second for the float network. */
    const struct ldnq_tensor **in[2];
    struct ldnq_tensor *out[2];
    struct ldnq_matrices matrices;
    struct ldnq_moments moments;
};

/* ---- statistics -------------------------------------------------------------------- */

static enum ldnq_status check_statistics(const struct walk *walk, const struct ldnq_layer *layer,
                                         struct ldnq_error *err)
{
    const struct ldnq_statistics *s = &walk->moments.statistics;
    if (s->positions == 0)
        return ldnq_node_fail(walk->run->graph, layer->node, LDNQ_DATA, err,
                              "the calibration samples give it no input");
    for (size_t i = 0; i < s->groups * s->inputs; i++)
        if (!isfinite(s->mean[i]))
            return ldnq_node_fail(walk->run->graph, layer->node, LDNQ_NUMERIC, err,
                                  "its input is not finite on the calibration samples");
    return LDNQ_OK;
}

/* What the executor would call the layer with for this batch, shapes inferred. */
static enum ldnq_status make_call(struct walk *walk, const struct ldnq_twin *twin, size_t batch,
                                  struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_node *node =
        twin->graph->nodes[walk->run->result->layers[walk->at].layer.place];
    const size_t which = twin == &walk->teacher;
    for (size_t i = 0; i < node->input_count; i++)
        walk->in[which][i] = node->inputs[i] ? ldnq_exec_value(twin->exec, node->inputs[i]) : NULL;
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
    return ldnq_node_fail(walk->run->graph, node, status, err, "%s (samples from %s on)",
                          reason.message,
                          ldnq_samples_name(twin->samples, ldnq_twin_sample(twin, batch)));
}

static enum ldnq_status add_batch(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                  struct ldnq_error *err)
{
    (void)exec;
    struct walk *walk = ctx;
    const struct ldnq_node *node = walk->run->result->layers[walk->at].layer.node;
    struct ldnq_op_call call, exact;
    LDNQ_TRY(make_call(walk, &walk->twin, batch, &call, err));
    if (walk->twin.partner)
        LDNQ_TRY(make_call(walk, &walk->teacher, batch, &exact, err));
    const bool held_out = ldnq_is_held_out(ldnq_twin_sample(&walk->twin, batch),
                                           ldnq_samples_count(walk->twin.samples));
    ldnq_moments_add(&walk->moments, held_out, &call, walk->twin.partner ? &exact : NULL);
    size_t batches = walk->twin.batch_count;
    ldnq_sink_progress(walk->run->options->sink, "quantize", node->label,
                       walk->at * (batches + 1) + batch + 1,
                       walk->run->result->count * (batches + 1));
    return LDNQ_OK;
}

/* ---- solving ------------------------------------------------------------------------ */

static struct ldnq_layer_problem problem_of(const struct walk *walk, const struct ldnq_layer *layer,
                                            const struct ldnq_matrices *m)
{
    const struct ldnq_layer_result *result = &walk->run->result->layers[walk->at];
    enum ldnq_granularity granularity = walk->run->options->granularity;
    if (granularity == LDNQ_PER_BLOCK && !result->segment)
        granularity = LDNQ_PER_CHANNEL;
    return (struct ldnq_layer_problem){
        .groups = layer->groups,
        .outputs = layer->outputs,
        .inputs = layer->inputs,
        .weight = m->weight,
        .gram = walk->moments.statistics.gram,
        .mean = layer->bias ? walk->moments.statistics.mean : NULL,
        .bias = layer->bias ? m->bias : NULL,
        .codebook = result->codebook,
        .granularity = granularity,
        .segment = result->segment,
        .segments = result->segments,
    };
}

static enum ldnq_status keep(struct walk *walk, struct ldnq_layer_result *result,
                             const struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    size_t rows = ldnq_layer_rows(layer);
    int8_t *codes = ldnq_arena_alloc(walk->run->arena, rows * layer->inputs, sizeof *codes, err);
    const size_t count = rows * ldnq_layer_row_scales(result);
    float *scales = ldnq_arena_alloc(walk->run->arena, count, sizeof *scales, err);
    if (!codes || !scales)
        return LDNQ_NOMEM;
    memcpy(scales, solution->scales, count * sizeof *scales);
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < layer->inputs; k++)
            codes[ldnq_layer_element(layer, row, k)] = solution->codes[row * layer->inputs + k];
    result->codes = codes;
    result->scales = scales;
    result->error_start = solution->error_start;
    result->error = solution->error;
    result->iterations = solution->iterations;
    result->rho = solution->rho;
    if (!layer->bias)
        return LDNQ_OK;
    struct ldnq_tensor *bias;
    LDNQ_TRY(ldnq_tensor_create(walk->run->arena, LDNQ_FLOAT, &layer->bias->shape, &bias, err));
    for (size_t row = 0; row < rows; row++)
        ((float *)bias->data)[row] = solution->bias[row] / layer->bias_factor;
    result->bias = bias;
    return LDNQ_OK;
}

/* With all codes 0 the objective is what the layer's output varies by. */
static enum ldnq_status measure(struct walk *walk, struct ldnq_layer_result *result,
                                const struct ldnq_layer_problem *problem, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    const struct ldnq_choice nothing = { 0 };
    const size_t rows = ldnq_layer_rows(&result->layer);
    double *errors = ldnq_arena_alloc(arena, rows, sizeof *errors, err);
    float *deviation = ldnq_arena_alloc(walk->run->arena, rows, sizeof *deviation, err);
    if (!errors || !deviation)
        return LDNQ_NOMEM;
    ldnq_total_error(problem, walk->run->options->pool, &nothing, errors);
    for (size_t row = 0; row < rows; row++)
        deviation[row] = (float)sqrt(errors[row]);
    result->deviation = deviation;
    return LDNQ_OK;
}

/* Against the float weight and bias, whatever the layer aimed at. */
static enum ldnq_status measure_change(const struct walk *walk, struct ldnq_layer_result *result,
                                       const struct ldnq_layer_solution *solution,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    struct ldnq_matrices exact;
    LDNQ_TRY(ldnq_matrices_init(&exact, layer, arena, err));
    const struct ldnq_layer_problem problem = problem_of(walk, layer, &exact);
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        layer->bias ? solution->bias : NULL };
    double *errors = ldnq_arena_alloc(arena, ldnq_layer_rows(layer), sizeof *errors, err);
    if (!errors)
        return LDNQ_NOMEM;
    const double samples = (double)(ldnq_samples_count(walk->run->samples) *
                                    ldnq_size_max(1, walk->run->options->copies));
    const double mean = ldnq_total_error(&problem, walk->run->options->pool, &choice, errors);
    result->change = sqrt(mean * (double)result->positions / samples);
    return LDNQ_OK;
}

/* A weight that several layers read in the same role keeps one set of codes. */
static const struct ldnq_layer_result *find_shared(const struct walk *walk)
{
    const struct ldnq_layer_result *layers = walk->run->result->layers;
    const struct ldnq_value **file_weight = walk->run->file_weight;
    const struct ldnq_layer *layer = &layers[walk->at].layer;
    for (size_t i = 0; i < walk->at; i++) {
        const struct ldnq_layer *other = &layers[i].layer;
        if (file_weight[i] == file_weight[walk->at] && !layers[i].shared &&
            other->transposed == layer->transposed && other->taps == layer->taps &&
            other->groups == layer->groups && other->outputs == layer->outputs &&
            other->channel_axis == layer->channel_axis)
            return &layers[i];
    }
    return NULL;
}

/* Codes are given; the best bias and the error depend on this layer's own input.
 * A solver that leaves the file's biases alone does so here too. */
static void share(const struct walk *walk, struct ldnq_layer_result *result,
                  const struct ldnq_layer_result *shared, const struct ldnq_layer_problem *problem,
                  struct ldnq_layer_solution *solution)
{
    const struct ldnq_layer *layer = &result->layer;
    for (size_t row = 0; row < ldnq_layer_rows(layer); row++)
        for (size_t k = 0; k < layer->inputs; k++)
            solution->codes[row * layer->inputs + k] =
                shared->codes[ldnq_layer_element(layer, row, k)];
    memcpy(solution->scales, shared->scales,
           ldnq_layer_rows(layer) * ldnq_layer_row_scales(result) * sizeof *solution->scales);
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
                                           struct ldnq_layer_result *result)
{
    const struct ldnq_quantize_options *options = walk->run->options;
    result->late = ldnq_run_time_left(walk->run) < 0.5 * options->max_seconds;
    result->solver = result->late ? ldnq_solver_find("gptq") : options->solver;
    return result->solver;
}

static enum ldnq_status count_directions(const struct walk *walk, struct ldnq_layer_result *result,
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
    struct ldnq_layer_result *result = &walk->run->result->layers[walk->at];
    const struct ldnq_layer *layer = &result->layer;
    const size_t rows = ldnq_layer_rows(layer);
    LDNQ_TRY(ldnq_layer_split(result, walk->run->options, walk->run->arena, err));
    struct ldnq_layer_problem problem = problem_of(walk, layer, &walk->matrices);
    struct ldnq_layer_solution solution = { .codes = walk->matrices.codes };
    solution.scales =
        ldnq_arena_alloc(arena, rows * ldnq_layer_row_scales(result), sizeof *solution.scales, err);
    solution.bias = ldnq_arena_alloc(arena, rows, sizeof *solution.bias, err);
    if (!solution.scales || !solution.bias)
        return LDNQ_NOMEM;
    result->positions = walk->moments.statistics.positions;
    LDNQ_TRY(measure(walk, result, &problem, arena, err));
    LDNQ_TRY(count_directions(walk, result, &problem, err));
    const struct ldnq_layer_result *shared = find_shared(walk);
    const double start = ldnq_now();
    if (shared)
        share(walk, result, shared, &problem, &solution);
    else
        LDNQ_TRY(solver_of(walk, result)
                     ->solve(&problem, &walk->run->options->solver_options,
                             walk->run->options->pool, &solution, err));
    result->solver_seconds = ldnq_now() - start;
    LDNQ_TRY(keep(walk, result, &solution, err));
    LDNQ_TRY(measure_change(walk, result, &solution, arena, err));
    return ldnq_layer_place(result, walk->run->arena, err);
}

/* ---- the walk ------------------------------------------------------------------------ */

/* The weight and bias to solve for, in place of the float ones. */
static enum ldnq_status aim(struct walk *walk, struct ldnq_layer_result *result,
                            struct ldnq_error *err)
{
    float *bias = result->layer.bias ? walk->matrices.bias : NULL;
    struct ldnq_moments *moments = &walk->moments;
    struct ldnq_aim aim = { walk->run->options->lambda, LDNQ_MOMENTS_DAMPING, NAN };
    if (aim.lambda == LDNQ_LAMBDA_AUTO)
        LDNQ_TRY(ldnq_moments_judge(moments, bias != NULL, &aim, err));
    result->lambda = aim.lambda;
    result->damping = aim.damping;
    result->held_out_left = aim.left;
    /* What learning is to be judged by must not have been fitted on. */
    if (walk->run->options->tune.steps == 0)
        ldnq_moments_join(moments);
    return result->lambda > 0
               ? ldnq_target_apply(&moments->target, &moments->statistics, result->lambda,
                                   result->damping, walk->matrices.weight, bias, err)
               : LDNQ_OK;
}

static enum ldnq_status sum_up(struct walk *walk, struct ldnq_layer_result *result,
                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    result->held_out_left = result->cascade_start = result->cascade_error = NAN;
    LDNQ_TRY(ldnq_matrices_init(&walk->matrices, layer, arena, err));
    LDNQ_TRY(ldnq_moments_init(&walk->moments, layer->groups, layer->outputs, layer->inputs,
                               walk->matrices.weight, walk->twin.partner != NULL,
                               walk->run->options->pool, arena, err));
    LDNQ_TRY(ldnq_twin_walk(&walk->twin, layer->place, add_batch, walk, err));
    if (walk->twin.partner)
        LDNQ_TRY(aim(walk, result, err));
    ldnq_statistics_finish(&walk->moments.statistics);
    return check_statistics(walk, layer, err);
}

static enum ldnq_status quantize_layer(struct walk *walk, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    struct ldnq_layer_result *result = &walk->run->result->layers[walk->at];
    const struct ldnq_node *node = result->layer.node;
    const struct ldnq_quantize_options *options = walk->run->options;
    const double start = ldnq_now();
    if (options->layer_start)
        options->layer_start(options->layer_ctx, &result->layer);
    enum ldnq_status status = sum_up(walk, result, arena, err);
    ldnq_moments_release(&walk->moments);
    LDNQ_TRY(status);
    struct ldnq_error reason;
    status = solve(walk, arena, &reason);
    if (status != LDNQ_OK)
        return ldnq_node_fail(walk->run->graph, node, status, err, "%s", reason.message);
    result->seconds = ldnq_now() - start;
    size_t steps = walk->twin.batch_count + 1;
    ldnq_sink_progress(walk->run->options->sink, "quantize", node->label, (walk->at + 1) * steps,
                       walk->run->result->count * steps);
    return LDNQ_OK;
}

static enum ldnq_status allocate_call(struct walk *walk, struct ldnq_error *err)
{
    const struct ldnq_quantization *result = walk->run->result;
    size_t inputs = 0, outputs = 0;
    for (size_t i = 0; i < result->count; i++) {
        inputs = ldnq_size_max(inputs, result->layers[i].layer.node->input_count);
        outputs = ldnq_size_max(outputs, result->layers[i].layer.node->output_count);
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
    for (size_t i = 0; i < walk->run->result->count; i++)
        late += walk->run->result->layers[i].late;
    if (late > 0)
        ldnq_sink_warn(walk->run->options->sink,
                       "half of the %.3g s were over before the last %zu of %zu layers: they were "
                       "solved by gptq",
                       walk->run->options->max_seconds, late, walk->run->result->count);
}

/* Codes in directions that no sample has are free: what they do there is chance. */
static void warn_of_few(const struct walk *walk)
{
    const struct ldnq_layer_result *worst = NULL;
    size_t few = 0;
    for (size_t i = 0; i < walk->run->result->count; i++) {
        const struct ldnq_layer_result *at = &walk->run->result->layers[i];
        if (at->positions > at->layer.inputs || at->rank >= at->varying)
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
                       few, walk->run->result->count, worst->layer.node->label, worst->rank,
                       worst->varying);
}

/* After a cascade all values in front are others: the twin walks from the inputs. */
static enum ldnq_status start_twin(struct walk *walk, size_t max_bytes, struct ldnq_error *err)
{
    const struct ldnq_run *run = walk->run;
    ldnq_twin_finish(&walk->twin);
    walk->twin = (struct ldnq_twin){ .graph = NULL };
    return ldnq_twin_init(&walk->twin, run->graph, run->samples,
                          ldnq_size_max(1, run->options->copies), run->options->seed, max_bytes,
                          run->options->pool, run->arena, err);
}

static enum ldnq_status place_all(struct walk *walk, struct ldnq_error *err)
{
    struct ldnq_run *run = walk->run;
    const struct ldnq_quantize_options *options = run->options;
    size_t max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
    const bool aims = options->lambda != 0 && options->cascade == 0;
    LDNQ_TRY(allocate_call(walk, err));
    const size_t copies = ldnq_size_max(1, options->copies);
    LDNQ_TRY(start_twin(walk, max_bytes / (aims ? 2 : 1), err));
    if (aims) {
        LDNQ_TRY(ldnq_twin_init(&walk->teacher, run->teacher, run->samples, copies, options->seed,
                                max_bytes / 2, options->pool, run->arena, err));
        walk->twin.partner = &walk->teacher;
    }
    for (walk->at = 0; walk->at < run->result->count; walk->at++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        enum ldnq_status status = quantize_layer(walk, arena, err);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
        run->placed = walk->at + 1;
        if (options->cascade > 0 && run->placed < run->result->count) {
            LDNQ_TRY(ldnq_run_cascade(run, err));
            LDNQ_TRY(start_twin(walk, max_bytes, err));
        }
        if (options->layer_done)
            options->layer_done(options->layer_ctx, &run->result->layers[walk->at]);
    }
    warn_of_late(walk);
    warn_of_few(walk);
    return LDNQ_OK;
}

enum ldnq_status ldnq_run_walk(struct ldnq_run *run, struct ldnq_error *err)
{
    struct walk walk = { .run = run };
    enum ldnq_status status = place_all(&walk, err);
    ldnq_twin_finish(&walk.twin);
    ldnq_twin_finish(&walk.teacher);
    return status;
}

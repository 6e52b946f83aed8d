/* quantize.c: the main job's loop. */
#include <ldnq/pipeline.h>

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "pipeline/select.h"
#include "pipeline/statistics.h"
#include "pipeline/twin.h"

#define DEFAULT_MAX_BYTES ((size_t)256 << 20)

struct run {
    struct ldnq_graph *graph;
    const struct ldnq_quantize_options *options;
    struct ldnq_arena *arena;
    struct ldnq_twin twin;
    struct ldnq_quantization *result;
    const struct ldnq_value **file_weight; /* the one that it read in the file */
    size_t at;                            /* the layer that the walk stands in front of */
    const struct ldnq_tensor **in; /* of one call, room for any layer's */
    struct ldnq_tensor *out;
    struct ldnq_statistics *statistics;
};

/* ---- preparing -------------------------------------------------------------------- */

/* A constant of the node's own, so that writing codes back touches nobody else
 * who reads the same initializer. */
static enum ldnq_status own_input(struct run *run, struct ldnq_node *node, size_t input,
                                  struct ldnq_error *err)
{
    return ldnq_graph_add_constant(run->graph, "", node->inputs[input]->constant,
                                   &node->inputs[input], err);
}

static enum ldnq_status check_finite(const struct run *run, const struct ldnq_layer *layer,
                                     const struct ldnq_tensor *tensor, const char *what,
                                     struct ldnq_error *err)
{
    const float *data = tensor ? tensor->data : NULL;
    for (size_t i = 0, count = tensor ? ldnq_tensor_count(tensor) : 0; i < count; i++)
        if (!isfinite(data[i]))
            return ldnq_node_fail(run->graph, layer->node, LDNQ_NUMERIC, err,
                                  "element %zu of its %s is %s; --skip '%s' leaves it as it is", i,
                                  what, isnan(data[i]) ? "NaN" : "infinity",
                                  layer->node->label);
    return LDNQ_OK;
}

static enum ldnq_status prepare_layer(struct run *run, size_t i, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &run->result->layers[i].layer;
    LDNQ_TRY(check_finite(run, layer, layer->weight, "weight", err));
    LDNQ_TRY(check_finite(run, layer, layer->bias, "bias", err));
    run->file_weight[i] = layer->node->inputs[layer->weight_input];
    LDNQ_TRY(own_input(run, layer->node, layer->weight_input, err));
    return layer->bias ? own_input(run, layer->node, layer->bias_input, err) : LDNQ_OK;
}

static enum ldnq_status allocate_call(struct run *run, const struct ldnq_layer *layers,
                                      size_t count, struct ldnq_error *err)
{
    size_t inputs = 0, outputs = 0;
    for (size_t i = 0; i < count; i++) {
        inputs = ldnq_size_max(inputs, layers[i].node->input_count);
        outputs = ldnq_size_max(outputs, layers[i].node->output_count);
    }
    run->in = ldnq_arena_alloc(run->arena, inputs, sizeof *run->in, err);
    run->out = ldnq_arena_alloc(run->arena, outputs, sizeof *run->out, err);
    return run->in && run->out ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status prepare(struct run *run, struct ldnq_error *err)
{
    struct ldnq_selection selection;
    LDNQ_TRY(ldnq_select_layers(run->graph, run->options, run->arena, &selection, err));
    const struct ldnq_layer *layers = selection.layers;
    size_t count = selection.count;
    struct ldnq_quantization *result = ldnq_arena_alloc(run->arena, 1, sizeof *result, err);
    run->file_weight = ldnq_arena_alloc(run->arena, count, sizeof *run->file_weight, err);
    if (!result || !run->file_weight)
        return LDNQ_NOMEM;
    *result = (struct ldnq_quantization){ .codebook = run->options->codebook,
                                          .granularity = run->options->granularity,
                                          .count = count,
                                          .kept = selection.kept,
                                          .kept_count = selection.kept_count };
    result->layers = ldnq_arena_alloc(run->arena, count, sizeof *result->layers, err);
    if (!result->layers)
        return LDNQ_NOMEM;
    run->result = result;
    LDNQ_TRY(allocate_call(run, layers, count, err));
    for (size_t i = 0; i < count; i++) {
        result->layers[i].layer = layers[i];
        LDNQ_TRY(prepare_layer(run, i, err));
    }
    return LDNQ_OK;
}

/* ---- statistics -------------------------------------------------------------------- */

static enum ldnq_status check_statistics(const struct run *run, const struct ldnq_layer *layer,
                                         struct ldnq_error *err)
{
    const struct ldnq_statistics *s = run->statistics;
    if (s->positions == 0)
        return ldnq_node_fail(run->graph, layer->node, LDNQ_DATA, err,
                              "the calibration samples give it no input");
    for (size_t i = 0; i < s->groups * s->inputs; i++)
        if (!isfinite(s->mean[i]))
            return ldnq_node_fail(run->graph, layer->node, LDNQ_NUMERIC, err,
                                  "its input is not finite on the calibration samples");
    return LDNQ_OK;
}

/* What the executor would call the layer with for this batch, shapes inferred. */
static enum ldnq_status make_call(struct run *run, const struct ldnq_exec *exec, size_t batch,
                                  struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_node *node = run->result->layers[run->at].layer.node;
    for (size_t i = 0; i < node->input_count; i++)
        run->in[i] = node->inputs[i] ? ldnq_exec_value(exec, node->inputs[i]) : NULL;
    *call = (struct ldnq_op_call){
        .node = node, .attrs = node->op_attrs, .in_count = node->input_count,
        .out_count = node->output_count, .in = run->in, .out = run->out,
        .pool = run->options->pool,
    };
    struct ldnq_error reason;
    enum ldnq_status status = ldnq_ops_infer(call, &reason);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    /* The model's own shapes were checked before: these come from the samples. */
    if (status == LDNQ_MODEL)
        status = LDNQ_DATA;
    return ldnq_node_fail(run->graph, node, status, err, "%s (samples from %s on)",
                          reason.message,
                          ldnq_samples_name(run->twin.samples, batch * run->twin.batch_size));
}

static enum ldnq_status add_batch(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                  struct ldnq_error *err)
{
    struct run *run = ctx;
    const struct ldnq_node *node = run->result->layers[run->at].layer.node;
    struct ldnq_op_call call;
    LDNQ_TRY(make_call(run, exec, batch, &call, err));
    ldnq_statistics_add(run->statistics, &call);
    size_t batches = run->twin.batch_count;
    ldnq_sink_progress(run->options->sink, "quantize", node->label,
                       run->at * (batches + 1) + batch + 1, run->result->count * (batches + 1));
    return LDNQ_OK;
}

/* ---- solving ------------------------------------------------------------------------ */

/* The weight tensor's element (g, m, k). */
static size_t element(const struct ldnq_layer *layer, size_t row, size_t k)
{
    if (layer->taps)
        return (k / layer->taps * layer->outputs + row) * layer->taps + k % layer->taps;
    return layer->transposed ? k * (layer->groups * layer->outputs) + row
                             : row * layer->inputs + k;
}

static size_t rows_of(const struct ldnq_layer *layer)
{
    return layer->groups * layer->outputs;
}

struct matrices {
    float *weight, *bias;
    int8_t *codes;
};

static enum ldnq_status to_matrices(const struct ldnq_layer *layer, struct ldnq_arena *arena,
                                    struct matrices *m, struct ldnq_error *err)
{
    size_t rows = rows_of(layer), count = rows * layer->inputs;
    const float *weight = layer->weight->data, *bias = layer->bias ? layer->bias->data : NULL;
    m->weight = ldnq_arena_alloc(arena, count, sizeof *m->weight, err);
    m->codes = ldnq_arena_alloc(arena, count, sizeof *m->codes, err);
    m->bias = ldnq_arena_alloc(arena, rows, sizeof *m->bias, err);
    if (!m->weight || !m->codes || !m->bias)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++) {
        for (size_t k = 0; k < layer->inputs; k++)
            m->weight[row * layer->inputs + k] = weight[element(layer, row, k)];
        m->bias[row] = bias ? layer->bias_factor * bias[row] : 0.0f;
    }
    return LDNQ_OK;
}

static struct ldnq_layer_problem problem_of(const struct run *run, const struct ldnq_layer *layer,
                                            const struct matrices *m)
{
    return (struct ldnq_layer_problem){
        .groups = layer->groups, .outputs = layer->outputs, .inputs = layer->inputs,
        .weight = m->weight, .gram = run->statistics->gram,
        .mean = layer->bias ? run->statistics->mean : NULL,
        .bias = layer->bias ? m->bias : NULL,
        .codebook = run->options->codebook, .granularity = run->options->granularity,
    };
}

/* The layer computes with its codes from now on. */
static enum ldnq_status write_back(struct run *run, struct ldnq_layer_result *result,
                                   struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    struct ldnq_tensor *weight;
    LDNQ_TRY(ldnq_tensor_create(run->arena, LDNQ_FLOAT, &layer->weight->shape, &weight, err));
    float *data = weight->data;
    for (size_t row = 0; row < rows_of(layer); row++)
        for (size_t k = 0; k < layer->inputs; k++) {
            size_t at = element(layer, row, k);
            data[at] = result->scales[row] * (float)result->codes[at];
        }
    layer->node->inputs[layer->weight_input]->constant = weight;
    if (result->bias)
        layer->node->inputs[layer->bias_input]->constant = result->bias;
    return LDNQ_OK;
}

static enum ldnq_status keep(struct run *run, struct ldnq_layer_result *result,
                             const struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    size_t rows = rows_of(layer);
    int8_t *codes = ldnq_arena_alloc(run->arena, rows * layer->inputs, sizeof *codes, err);
    float *scales = ldnq_arena_alloc(run->arena, rows, sizeof *scales, err);
    if (!codes || !scales)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++) {
        scales[row] = solution->scales[row];
        for (size_t k = 0; k < layer->inputs; k++)
            codes[element(layer, row, k)] = solution->codes[row * layer->inputs + k];
    }
    result->codes = codes;
    result->scales = scales;
    result->error_start = solution->error_start;
    result->error = solution->error;
    result->iterations = solution->iterations;
    result->rho = solution->rho;
    if (!layer->bias)
        return LDNQ_OK;
    struct ldnq_tensor *bias;
    LDNQ_TRY(ldnq_tensor_create(run->arena, LDNQ_FLOAT, &layer->bias->shape, &bias, err));
    for (size_t row = 0; row < rows; row++)
        ((float *)bias->data)[row] = solution->bias[row] / layer->bias_factor;
    result->bias = bias;
    return LDNQ_OK;
}

/* A weight that several layers read in the same role keeps one set of codes. */
static const struct ldnq_layer_result *find_shared(const struct run *run)
{
    const struct ldnq_layer *layer = &run->result->layers[run->at].layer;
    for (size_t i = 0; i < run->at; i++) {
        const struct ldnq_layer *other = &run->result->layers[i].layer;
        if (run->file_weight[i] == run->file_weight[run->at] && !run->result->layers[i].shared &&
            other->transposed == layer->transposed && other->taps == layer->taps &&
            other->groups == layer->groups &&
            other->outputs == layer->outputs && other->channel_axis == layer->channel_axis)
            return &run->result->layers[i];
    }
    return NULL;
}

/* Codes are given; the best bias and the error depend on this layer's own input.
 * A solver that leaves the file's biases alone does so here too. */
static void share(const struct run *run, struct ldnq_layer_result *result,
                  const struct ldnq_layer_result *shared,
                  const struct ldnq_layer_problem *problem, struct ldnq_layer_solution *solution)
{
    const struct ldnq_layer *layer = &result->layer;
    for (size_t row = 0; row < rows_of(layer); row++)
        for (size_t k = 0; k < layer->inputs; k++)
            solution->codes[row * layer->inputs + k] = shared->codes[element(layer, row, k)];
    memcpy(solution->scales, shared->scales, rows_of(layer) * sizeof *solution->scales);
    if (problem->bias)
        memcpy(solution->bias, problem->bias, rows_of(layer) * sizeof *solution->bias);
    result->shared = shared;
    solution->error = solution->error_start = ldnq_layer_error(problem, solution);
    if (!problem->bias || !run->options->solver->fits_bias)
        return;
    ldnq_layer_best_bias(problem, solution);
    solution->error = ldnq_layer_error(problem, solution);
}

static enum ldnq_status solve(struct run *run, struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_layer_result *result = &run->result->layers[run->at];
    const struct ldnq_layer *layer = &result->layer;
    struct matrices m;
    LDNQ_TRY(to_matrices(layer, arena, &m, err));
    struct ldnq_layer_problem problem = problem_of(run, layer, &m);
    struct ldnq_layer_solution solution = { .codes = m.codes };
    solution.scales = ldnq_arena_alloc(arena, rows_of(layer), sizeof *solution.scales, err);
    solution.bias = ldnq_arena_alloc(arena, rows_of(layer), sizeof *solution.bias, err);
    if (!solution.scales || !solution.bias)
        return LDNQ_NOMEM;
    const struct ldnq_layer_result *shared = find_shared(run);
    if (shared)
        share(run, result, shared, &problem, &solution);
    else
        LDNQ_TRY(run->options->solver->solve(&problem, &run->options->solver_options,
                                             run->options->pool, &solution, err));
    result->positions = run->statistics->positions;
    LDNQ_TRY(keep(run, result, &solution, err));
    return write_back(run, result, err);
}

/* ---- the walk ------------------------------------------------------------------------ */

static enum ldnq_status quantize_layer(struct run *run, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &run->result->layers[run->at].layer;
    struct ldnq_statistics statistics;
    run->statistics = &statistics;
    LDNQ_TRY(ldnq_statistics_init(&statistics, layer->groups, layer->inputs, run->options->pool,
                                  arena, err));
    LDNQ_TRY(ldnq_twin_walk(&run->twin, layer->place, add_batch, run, err));
    ldnq_statistics_finish(&statistics);
    LDNQ_TRY(check_statistics(run, layer, err));
    struct ldnq_error reason;
    enum ldnq_status status = solve(run, arena, &reason);
    if (status != LDNQ_OK)
        return ldnq_node_fail(run->graph, layer->node, status, err, "%s", reason.message);
    size_t steps = run->twin.batch_count + 1;
    ldnq_sink_progress(run->options->sink, "quantize", layer->node->label, (run->at + 1) * steps,
                       run->result->count * steps);
    return LDNQ_OK;
}

static enum ldnq_status walk(struct run *run, struct ldnq_samples *samples,
                             struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = run->options;
    size_t max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
    LDNQ_TRY(ldnq_twin_init(&run->twin, run->graph, samples, max_bytes, options->pool, run->arena,
                            err));
    for (run->at = 0; run->at < run->result->count; run->at++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        enum ldnq_status status = quantize_layer(run, arena, err);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_quantize(struct ldnq_graph *graph, struct ldnq_samples *samples,
                               const struct ldnq_quantize_options *options,
                               struct ldnq_arena *arena, struct ldnq_quantization **out,
                               struct ldnq_error *err)
{
    struct run run = { .graph = graph, .options = options, .arena = arena };
    LDNQ_TRY(prepare(&run, err));
    enum ldnq_status status = walk(&run, samples, err);
    ldnq_twin_finish(&run.twin);
    *out = run.result;
    return status;
}

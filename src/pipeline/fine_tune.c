/* SPDX-License-Identifier: Apache-2.0 */
/* fine_tune.c: fine-tune all fitted layers together, by gradients of a distillation loss.
 *
 * Solves  min mean over outputs of |y - t|^2 / |t|^2, y the outputs of the quantized network
 *         and t those of the float network, on the samples that are not held out
 * Numbers Adam, its rates falling along half a cosine; the held-out samples are measured
 *         MEASUREMENTS times, and the best state on them is kept
 */
#include "pipeline/quantizer.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "base/pool.h"
#include "base/size.h"
#include "exec/exec.h"
#include "exec/grad.h"
#include "metric/distance.h"
#include "metric/output_error.h"
#include "pipeline/activations.h"
#include "pipeline/fine_tune_activations.h"
#include "pipeline/fine_tune_float.h"
#include "pipeline/fine_tune_norm.h"
#include "pipeline/fine_tune_quantized.h"
#include "pipeline/fine_tune_samples.h"

/* Rates of the first step: relative to the scale, in standard deviations of the output, and in
 * codes. */
#define SCALE_RATE 1e-3
#define BIAS_RATE 1e-3
#define CODE_RATE 1e-2
/* For float weights, in root mean squares of their row. */
#define FLOAT_RATE 1e-2
/* For scales of activations, relative to them. */
#define ACTIVATION_RATE 1e-2

#define MIN_BATCH 8
#define MAX_BATCH 32
#define MIN_SAMPLES 10
#define MEASUREMENTS 20

struct fine_tuning {
    struct ldnq_quantizer *quantizer;
    struct ldnq_fine_tune_samples samples;
    struct ldnq_exec *reference, *quantized;
    struct ldnq_grad *grad;
    struct ldnq_arena *arena; /* freed with the fine-tuning */
    struct ldnq_fine_tune_result *result;
    struct ldnq_fine_tune_quantized *layers;       /* the fitted ones */
    struct ldnq_fine_tune_float *floats;           /* the others; only in a cascade */
    struct ldnq_fine_tune_norm *norms;             /* trained norms; none in a cascade */
    struct ldnq_fine_tune_activations activations; /* none in a cascade */
    size_t count, float_count, norm_count;
    bool update_codes;
    size_t *weight_index, *bias_index; /* by layer, in `requested`; SIZE_MAX: none */
    /* A layer without a weight_index stays as it is. */
    const struct ldnq_value **requested; /* values whose gradients are computed */
    size_t requested_count, norm_index;  /* the norms' values begin at norm_index */
    struct ldnq_grad_feed *feeds;
    double *power; /* by output: mean of t^2 on the held-out samples */
    double share;  /* part of the step's batch that the current run computes */
    size_t step, batch;
    size_t steps;           /* number of steps to do */
    double start, now, end; /* in seconds; end is infinite without a time limit */
};

/* ---- the loss ------------------------------------------------------------------------- */

static const struct ldnq_tensor *find_reference_output(const struct fine_tuning *tuning,
                                                       size_t output)
{
    return ldnq_exec_find_value(tuning->reference, tuning->quantizer->reference->outputs[output]);
}

static bool is_float_output(const struct fine_tuning *tuning, size_t i)
{
    return find_reference_output(tuning, i)->dtype == LDNQ_FLOAT && tuning->power[i] > 0;
}

/* Adds the loss of output o, the mean over elements of (y - t)^2 / power without masked positions,
 * and writes its gradient. */
static enum ldnq_status add_loss_of_output(const struct fine_tuning *tuning, size_t o,
                                           const struct ldnq_tensor *y,
                                           struct ldnq_tensor *gradient, double *sum,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_samples *samples = tuning->samples.samples;
    const size_t current = tuning->samples.current, all = ldnq_tensor_count(y);
    const struct ldnq_tensor *t = find_reference_output(tuning, o), *y_part, *t_part;
    LDNQ_TRY(ldnq_samples_select_unmasked(samples, current, y, arena, &y_part, err));
    LDNQ_TRY(ldnq_samples_select_unmasked(samples, current, t, arena, &t_part, err));
    const size_t n = ldnq_tensor_count(y_part);
    const double outputs = (double)tuning->quantizer->graph->output_count;
    const double unit = tuning->share / (outputs * tuning->power[o] * (double)n);
    const float *whole_y = y->data, *whole_t = t->data;
    float *g = gradient->data;
    for (size_t i = 0; i < all; i++)
        g[i] = (float)(2 * unit * ((double)whole_y[i] - (double)whole_t[i]));
    ldnq_samples_clear_masked(samples, current, gradient);
    *sum += unit * ldnq_compute_squared_error(y_part->data, t_part->data, n);
    return LDNQ_OK;
}

/* The loss is the mean over the outputs. */
static enum ldnq_status add_distillation_loss(void *ctx, const struct ldnq_tensor *const *values,
                                              struct ldnq_tensor *gradients, double *sum,
                                              struct ldnq_error *err)
{
    const struct fine_tuning *tuning = ctx;
    struct ldnq_arena *arena;
    enum ldnq_status status = LDNQ_OK;
    *sum = 0;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    for (size_t o = 0; status == LDNQ_OK && o < tuning->quantizer->graph->output_count; o++) {
        status = ldnq_output_check_shape(tuning->quantizer->graph->outputs[o]->name, values[o],
                                         find_reference_output(tuning, o), err);
        if (status == LDNQ_OK && is_float_output(tuning, o))
            status = add_loss_of_output(tuning, o, values[o], &gradients[o], sum, arena, err);
    }
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- held-out samples ------------------------------------------------------------------- */

static enum ldnq_status measure_held_out_batch(struct fine_tuning *tuning, size_t first,
                                               size_t count, double *errors, double *powers,
                                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = tuning->quantizer->graph;
    struct ldnq_tensor **inputs;
    LDNQ_TRY(
        ldnq_fine_tune_samples_read_held_out(&tuning->samples, first, count, arena, &inputs, err));
    const struct ldnq_executed_graph quantized = { .graph = graph,
                                                   .exec = tuning->quantized,
                                                   .samples = tuning->samples.samples,
                                                   .sample = tuning->samples.current };
    const struct ldnq_executed_graph reference = { .graph = tuning->quantizer->reference,
                                                   .exec = tuning->reference };
    LDNQ_TRY(ldnq_exec_run(tuning->reference, inputs, err));
    LDNQ_TRY(ldnq_exec_run(tuning->quantized, inputs, err));
    LDNQ_TRY(ldnq_output_error_add(&quantized, &reference, errors, powers, err));
    for (size_t o = 0; o < graph->output_count; o++) { /* a count here, divided below */
        const struct ldnq_tensor *part;
        LDNQ_TRY(ldnq_samples_select_unmasked(tuning->samples.samples, tuning->samples.current,
                                              find_reference_output(tuning, o), arena, &part, err));
        tuning->power[o] += (double)ldnq_tensor_count(part);
    }
    return LDNQ_OK;
}

/* Measures the noise-to-signal ratio on the held-out samples, and the outputs' power. */
static enum ldnq_status measure_held_out(struct fine_tuning *tuning, double *error,
                                         struct ldnq_error *err)
{
    const size_t outputs = tuning->quantizer->graph->output_count;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    double *errors = ldnq_arena_alloc(arena, outputs, sizeof *errors, err);
    double *powers = ldnq_arena_alloc(arena, outputs, sizeof *powers, err);
    enum ldnq_status status = errors && powers ? LDNQ_OK : LDNQ_NOMEM;
    memset(tuning->power, 0, outputs * sizeof *tuning->power);
    for (size_t i = 0; status == LDNQ_OK && i < tuning->samples.held_out_count;
         i += tuning->samples.max_batch) {
        struct ldnq_arena *batch;
        status = ldnq_arena_create(&batch, err);
        if (status != LDNQ_OK)
            break;
        status = measure_held_out_batch(
            tuning, i, ldnq_size_min(tuning->samples.max_batch, tuning->samples.held_out_count - i),
            errors, powers, batch, err);
        ldnq_exec_reset(tuning->reference);
        ldnq_exec_reset(tuning->quantized);
        ldnq_arena_destroy(batch);
    }
    *error = status == LDNQ_OK ? ldnq_output_error_compute_mean(errors, powers, outputs) : 0;
    for (size_t o = 0; status == LDNQ_OK && o < outputs; o++)
        tuning->power[o] = tuning->power[o] > 0 ? powers[o] / tuning->power[o] : 0;
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- a step ------------------------------------------------------------------------------ */

/* Whether steps change the layer: its index counts fitted layers first, then float ones. */
static bool is_trained(const struct fine_tuning *tuning, size_t i)
{
    return tuning->weight_index[i] != SIZE_MAX;
}

static enum ldnq_status add_gradients(struct fine_tuning *tuning, size_t count,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = tuning->quantizer->graph;
    struct ldnq_tensor **inputs;
    double value;
    LDNQ_TRY(ldnq_fine_tune_samples_draw(&tuning->samples, count, arena, &inputs, err));
    LDNQ_TRY(ldnq_exec_run(tuning->reference, inputs, err));
    for (size_t i = 0; i < graph->input_count; i++)
        tuning->feeds[i] = (struct ldnq_grad_feed){ graph->inputs[i], inputs[i] };
    LDNQ_TRY(ldnq_grad_run(tuning->grad, tuning->feeds, graph->input_count, add_distillation_loss,
                           tuning, &value, err));
    for (size_t i = 0; i < tuning->count + tuning->float_count; i++) {
        if (!is_trained(tuning, i))
            continue;
        const struct ldnq_tensor *weight =
            ldnq_grad_find_gradient(tuning->grad, tuning->weight_index[i]);
        const struct ldnq_tensor *bias =
            tuning->bias_index[i] == SIZE_MAX
                ? NULL
                : ldnq_grad_find_gradient(tuning->grad, tuning->bias_index[i]);
        if (i < tuning->count)
            ldnq_fine_tune_quantized_add_gradient(&tuning->layers[i], weight, bias);
        else
            ldnq_fine_tune_float_add_gradient(&tuning->floats[i - tuning->count], weight, bias);
    }
    for (size_t i = 0; i < tuning->norm_count; i++)
        ldnq_fine_tune_norm_add_gradient(
            &tuning->norms[i], ldnq_grad_find_gradient(tuning->grad, tuning->norm_index + i));
    for (size_t i = 0; i < tuning->activations.count; i++)
        ldnq_fine_tune_activations_add_gradient(
            &tuning->activations, i,
            ldnq_grad_find_gradient(tuning->grad, tuning->norm_index + tuning->norm_count + i));
    return LDNQ_OK;
}

/* The part of the steps or of the time that is over, whichever is larger: 0 .. 1. */
static double compute_training_progress(const struct fine_tuning *tuning)
{
    const double steps = (double)tuning->step / (double)tuning->steps;
    const double time =
        isfinite(tuning->end) ? (tuning->now - tuning->start) / (tuning->end - tuning->start) : 0;
    return fmin(fmax(steps, time), 1);
}

/* The factor of the first step's rates: half a cosine from 1 to 0. */
static double compute_learning_rate_factor(const struct fine_tuning *tuning)
{
    return 0.5 * (1 + cos(acos(-1.0) * compute_training_progress(tuning)));
}

static void update_layer_parameters(void *ctx, size_t i, size_t thread)
{
    (void)thread;
    struct fine_tuning *tuning = ctx;
    const double rate = compute_learning_rate_factor(tuning);
    if (!is_trained(tuning, i))
        return;
    if (i < tuning->count)
        ldnq_fine_tune_quantized_step(&tuning->layers[i], tuning->step + 1, rate * SCALE_RATE,
                                      rate * BIAS_RATE, rate * CODE_RATE);
    else
        ldnq_fine_tune_float_step(&tuning->floats[i - tuning->count], tuning->step + 1,
                                  rate * FLOAT_RATE);
}

static enum ldnq_status run_training_step(struct fine_tuning *tuning, struct ldnq_error *err)
{
    const size_t batch = tuning->batch;
    for (size_t done = 0; done < batch;) {
        const size_t count = ldnq_size_min(tuning->samples.max_batch, batch - done);
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        tuning->share = (double)count / (double)batch;
        enum ldnq_status status = add_gradients(tuning, count, arena, err);
        ldnq_exec_reset(tuning->reference);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
        done += count;
    }
    ldnq_pool_run(tuning->quantizer->options->pool, tuning->count + tuning->float_count,
                  update_layer_parameters, tuning);
    for (size_t i = 0; i < tuning->norm_count; i++)
        ldnq_fine_tune_norm_step(&tuning->norms[i], tuning->step + 1,
                                 compute_learning_rate_factor(tuning) * SCALE_RATE);
    ldnq_fine_tune_activations_step(&tuning->activations, tuning->step + 1,
                                    compute_learning_rate_factor(tuning) * ACTIVATION_RATE);
    return LDNQ_OK;
}

static enum ldnq_status save_if_held_out_improves(struct fine_tuning *tuning,
                                                  struct ldnq_error *err)
{
    struct ldnq_fine_tune_result *result = tuning->result;
    double error;
    LDNQ_TRY(measure_held_out(tuning, &error, err));
    if (!(error < result->error))
        return LDNQ_OK;
    result->error = error;
    for (size_t i = 0; i < tuning->count; i++)
        if (is_trained(tuning, i))
            ldnq_fine_tune_quantized_save_best(&tuning->layers[i]);
    for (size_t i = 0; i < tuning->float_count; i++)
        if (is_trained(tuning, tuning->count + i))
            ldnq_fine_tune_float_save_best(&tuning->floats[i]);
    for (size_t i = 0; i < tuning->norm_count; i++)
        ldnq_fine_tune_norm_save_best(&tuning->norms[i]);
    ldnq_fine_tune_activations_save_best(&tuning->activations);
    return LDNQ_OK;
}

static enum ldnq_status run_training_steps(struct fine_tuning *tuning, struct ldnq_error *err)
{
    struct ldnq_fine_tune_result *result = tuning->result;
    const size_t interval = ldnq_size_max(1, tuning->steps / MEASUREMENTS);
    LDNQ_TRY(measure_held_out(tuning, &result->error_start, err));
    result->error = result->error_start;
    result->held_out = tuning->samples.held_out_count;
    for (bool late = false; tuning->step < tuning->steps && !late;) {
        tuning->now = ldnq_now();
        LDNQ_TRY(run_training_step(tuning, err));
        result->steps = ++tuning->step;
        late = ldnq_now() >= tuning->end;
        if (isfinite(tuning->end))
            late = ldnq_ranks_take_decision_of_first(
                ldnq_pool_ranks(tuning->quantizer->options->pool), late);
        if (tuning->step % interval == 0 || tuning->step == tuning->steps || late)
            LDNQ_TRY(save_if_held_out_improves(tuning, err));
        if (tuning->float_count == 0) /* a cascade is part of fitting the layers */
            LDNQ_TRY(ldnq_sink_progress(tuning->quantizer->options->sink, "distill", NULL,
                                        tuning->step, tuning->steps, err));
    }
    return LDNQ_OK;
}

/* ---- the start ---------------------------------------------------------------------------- */

static enum ldnq_status init_layer_training(struct fine_tuning *tuning, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = tuning->quantizer;
    for (size_t i = 0; i < tuning->count; i++) {
        struct ldnq_quantized_layer *result = &quantizer->result->network.layers[i];
        if (!is_trained(tuning, i))
            continue;
        const bool one_scale = result->granularity == LDNQ_PER_TENSOR;
        const size_t owner =
            result->shared ? (size_t)(result->shared - quantizer->result->network.layers) : i;
        LDNQ_TRY(ldnq_fine_tune_quantized_init(
            &tuning->layers[i], result, quantizer->result->diagnostics[i].deviation,
            &tuning->layers[owner], one_scale, tuning->update_codes, tuning->arena, err));
    }
    for (size_t i = 0; i < tuning->float_count; i++)
        if (is_trained(tuning, tuning->count + i))
            LDNQ_TRY(ldnq_fine_tune_float_init(
                &tuning->floats[i], &quantizer->result->network.layers[tuning->count + i].layer,
                quantizer->first_changed > 0, tuning->arena, quantizer->arena, err));
    return LDNQ_OK;
}

/* A step would move the few rows that the samples read, and these alone. */
static bool reads_table_codes(const struct ldnq_quantized_layer *quantized)
{
    return ldnq_layer_is_table(&quantized->layer) ||
           (quantized->shared && ldnq_layer_is_table(&quantized->shared->layer));
}

static enum ldnq_status list_trained_values(struct fine_tuning *tuning, struct ldnq_error *err)
{
    const struct ldnq_quantization *result = tuning->quantizer->result;
    struct ldnq_arena *arena = tuning->arena;
    const size_t all = result->network.count;
    tuning->count = tuning->quantizer->fitted;
    tuning->float_count = all - tuning->count;
    tuning->layers = ldnq_arena_alloc(arena, tuning->count, sizeof *tuning->layers, err);
    tuning->floats = ldnq_arena_alloc(arena, tuning->float_count, sizeof *tuning->floats, err);
    tuning->weight_index = ldnq_arena_alloc(arena, all, sizeof *tuning->weight_index, err);
    tuning->bias_index = ldnq_arena_alloc(arena, all, sizeof *tuning->bias_index, err);
    if (tuning->float_count == 0) {
        LDNQ_TRY(ldnq_fine_tune_norms_init(tuning->quantizer, arena, &tuning->norms,
                                           &tuning->norm_count, err));
        LDNQ_TRY(ldnq_fine_tune_activations_init(&tuning->activations, tuning->quantizer->placement,
                                                 arena, err));
    }
    tuning->requested =
        ldnq_arena_alloc(arena, 2 * all + tuning->norm_count + tuning->activations.count,
                         sizeof *tuning->requested, err);
    tuning->feeds =
        ldnq_arena_alloc(arena, tuning->quantizer->graph->input_count, sizeof *tuning->feeds, err);
    tuning->power =
        ldnq_arena_alloc(arena, tuning->quantizer->graph->output_count, sizeof *tuning->power, err);
    if (!tuning->layers || !tuning->floats || !tuning->weight_index || !tuning->bias_index ||
        !tuning->requested || !tuning->feeds || !tuning->power)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < all; i++) {
        const struct ldnq_layer *layer = &result->network.layers[i].layer;
        tuning->weight_index[i] = tuning->bias_index[i] = SIZE_MAX;
        if (reads_table_codes(&result->network.layers[i]))
            continue;
        tuning->weight_index[i] = tuning->requested_count;
        tuning->requested[tuning->requested_count++] = layer->node->inputs[layer->weight_input];
        if (!layer->bias)
            continue;
        tuning->bias_index[i] = tuning->requested_count;
        tuning->requested[tuning->requested_count++] = layer->node->inputs[layer->bias_input];
    }
    tuning->norm_index = tuning->requested_count;
    for (size_t i = 0; i < tuning->norm_count; i++) {
        const struct ldnq_changed_norm *norm = &tuning->norms[i].result;
        tuning->requested[tuning->requested_count++] = norm->node->inputs[norm->input];
    }
    for (size_t i = 0; i < tuning->activations.count; i++)
        tuning->requested[tuning->requested_count++] =
            ldnq_fine_tune_activations_find_scale(&tuning->activations, i);
    return LDNQ_OK;
}

/* Without the scales of activations where gradients can't pass all of these, but all layers. */
static enum ldnq_status create_gradients(struct fine_tuning *tuning, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = tuning->quantizer;
    struct ldnq_grad_options options = {
        .requested = tuning->requested,
        .requested_count = tuning->requested_count,
        .max_bytes = quantizer->options->max_bytes,
    };
    enum ldnq_status status =
        ldnq_grad_create(quantizer->graph, quantizer->options->pool, &options, &tuning->grad, err);
    if (status != LDNQ_UNSUPPORTED || tuning->activations.count == 0)
        return status;
    options.requested_count -= tuning->activations.count;
    tuning->activations.count = 0;
    return ldnq_grad_create(quantizer->graph, quantizer->options->pool, &options, &tuning->grad,
                            err);
}

static enum ldnq_status create_executors(struct fine_tuning *tuning, struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = tuning->quantizer;
    struct ldnq_pool *pool = quantizer->options->pool;
    LDNQ_TRY(ldnq_exec_create(quantizer->reference, pool, &tuning->reference, err));
    LDNQ_TRY(ldnq_exec_create(quantizer->graph, pool, &tuning->quantized, err));
    LDNQ_TRY(create_gradients(tuning, err));
    return init_layer_training(tuning, err);
}

static enum ldnq_status run_fine_tuning(struct fine_tuning *tuning, struct ldnq_error *err)
{
    const struct ldnq_sink *sink = tuning->quantizer->options->sink;
    struct ldnq_error reason;
    enum ldnq_status status = create_executors(tuning, &reason);
    /* USAGE: no output is a float that depends on a weight. */
    if (status == LDNQ_UNSUPPORTED || status == LDNQ_USAGE) {
        if (tuning->float_count == 0 || tuning->count == 1) /* only the first cascade warns */
            ldnq_sink_warn(sink, "%s: %s", tuning->float_count ? "no cascade" : "not fine-tuned",
                           reason.message);
        return ldnq_fine_tune_norms_apply_best(tuning->quantizer, tuning->norms, tuning->norm_count,
                                               err);
    }
    if (status == LDNQ_OK)
        status = run_training_steps(tuning, &reason);
    if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    ldnq_fine_tune_activations_apply_best(&tuning->activations);
    if (tuning->activations.count > 0) /* codes of the biases depend on them */
        ldnq_quantizer_set_input_scales(tuning->quantizer);
    for (size_t i = 0; i < tuning->count; i++)
        if (is_trained(tuning, i))
            LDNQ_TRY(ldnq_fine_tune_quantized_apply_best(&tuning->layers[i],
                                                         tuning->quantizer->arena, err));
    for (size_t i = 0; i < tuning->float_count; i++)
        if (is_trained(tuning, tuning->count + i))
            ldnq_fine_tune_float_apply_best(&tuning->floats[i]);
    LDNQ_TRY(
        ldnq_fine_tune_norms_apply_best(tuning->quantizer, tuning->norms, tuning->norm_count, err));
    if (tuning->float_count > 0)
        tuning->quantizer->first_changed = tuning->count;
    return LDNQ_OK;
}

static size_t choose_batch(const struct ldnq_quantizer *quantizer)
{
    const size_t count = ldnq_samples_count(quantizer->samples),
                 asked = quantizer->options->fine_tune.batch;
    const size_t batch = ldnq_size_min(ldnq_size_max(count / 16, MIN_BATCH), MAX_BATCH);
    return asked ? asked : batch;
}

static enum ldnq_status fine_tune_in_arena(struct fine_tuning *tuning, uint64_t seed,
                                           struct ldnq_error *err)
{
    struct ldnq_quantizer *quantizer = tuning->quantizer;
    tuning->batch = choose_batch(quantizer);
    tuning->start = ldnq_now();
    tuning->end = tuning->start + ldnq_quantizer_seconds_left(quantizer);
    if (tuning->end <= tuning->start)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_fine_tune_samples_init(&tuning->samples, quantizer->samples, quantizer->graph,
                                         tuning->batch, quantizer->options->fine_tune.augment, seed,
                                         quantizer->options->pool, tuning->arena, err));
    LDNQ_TRY(list_trained_values(tuning, err));
    enum ldnq_status status = run_fine_tuning(tuning, err);
    ldnq_grad_destroy(tuning->grad);
    ldnq_exec_destroy(tuning->quantized);
    ldnq_exec_destroy(tuning->reference);
    return status;
}

static enum ldnq_status fine_tune(struct fine_tuning *tuning, uint64_t seed, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_arena_create(&tuning->arena, err));
    const enum ldnq_status status = fine_tune_in_arena(tuning, seed, err);
    ldnq_arena_destroy(tuning->arena);
    return status;
}

enum ldnq_status ldnq_quantizer_fine_tune(struct ldnq_quantizer *quantizer, struct ldnq_error *err)
{
    struct fine_tuning tuning = { .quantizer = quantizer,
                                  .steps = quantizer->options->fine_tune.steps,
                                  .update_codes = quantizer->options->fine_tune.update_codes,
                                  .result = &quantizer->result->fine_tune };
    if (ldnq_samples_count(quantizer->samples) >= MIN_SAMPLES)
        return fine_tune(&tuning, quantizer->options->seed, err);
    ldnq_sink_warn(quantizer->options->sink, "not fine-tuned: it takes at least %d samples",
                   MIN_SAMPLES);
    return LDNQ_OK;
}

/* Each cascade has a seed, and so an order of the samples, of its own. */
enum ldnq_status ldnq_quantizer_fine_tune_downstream(struct ldnq_quantizer *quantizer,
                                                     struct ldnq_error *err)
{
    struct ldnq_fine_tune_result result = { .error_start = NAN, .error = NAN };
    struct ldnq_layer_diagnostics *layer = &quantizer->result->diagnostics[quantizer->fitted - 1];
    struct fine_tuning tuning = { .quantizer = quantizer,
                                  .steps = quantizer->options->cascade,
                                  .result = &result };
    if (ldnq_samples_count(quantizer->samples) < MIN_SAMPLES) {
        if (quantizer->fitted == 1)
            ldnq_sink_warn(quantizer->options->sink, "no cascade: it takes at least %d samples",
                           MIN_SAMPLES);
        return LDNQ_OK;
    }
    LDNQ_TRY(fine_tune(&tuning, quantizer->options->seed + quantizer->fitted, err));
    layer->cascade_start = result.error_start;
    layer->cascade_error = result.error;
    return LDNQ_OK;
}

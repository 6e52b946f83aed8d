/* tune.c: learns all placed layers together, towards the float network's outputs. */
#include "pipeline/run.h"

#include <math.h>
#include <string.h>

#include "exec/exec.h"
#include "exec/grad.h"

#include "base/pool.h"
#include "base/size.h"
#include "metric/distance.h"
#include "metric/output_error.h"
#include "pipeline/tune_data.h"
#include "pipeline/tune_float.h"
#include "pipeline/tune_layer.h"
#include "pipeline/tune_norm.h"

/* Rates at the start; a cosine takes them to 0. In relative scale, deviations of the
 * output, and codes. */
#define SCALE_RATE 1e-3
#define BIAS_RATE 1e-3
#define CODE_RATE 1e-2
/* Of weights that are still float, in root mean squares of their channel's. */
#define FLOAT_RATE 1e-2

#define LEAST_BATCH 8
#define MOST_BATCH 32
#define LEAST_SAMPLES 10
#define CHECKS 20 /* times that the held-out samples are looked at */

struct tune {
    struct ldnq_run *run;
    struct ldnq_tune_data data;
    struct ldnq_exec *teacher, *student;
    struct ldnq_grad *grad;
    struct ldnq_arena *arena; /* of what is forgotten in the end */
    struct ldnq_tune_result *result;
    struct ldnq_tune_layer *layers; /* those that are placed */
    struct ldnq_tune_float *floats; /* the others, in a cascade */
    struct ldnq_tune_norm *norms;   /* not in a cascade */
    size_t count, float_count, norm_count;
    bool learn_codes;
    size_t *weight_place, *bias_place; /* in the list of wanted values; SIZE_MAX: none */
    const struct ldnq_value **wanted;
    size_t wanted_count;
    struct ldnq_grad_feed *feeds;
    double *power; /* by output: mean square of the float network's on the held-out samples */
    double share;  /* of a run's loss in its step's */
    size_t step, batch;
    size_t steps;           /* that are to be taken */
    double start, now, end; /* by the clock; end is infinite without a limit */
};

/* ---- the loss ------------------------------------------------------------------------- */

static const struct ldnq_tensor *target_of(const struct tune *tune, size_t output)
{
    return ldnq_exec_value(tune->teacher, tune->run->teacher->outputs[output]);
}

static bool is_float_output(const struct tune *tune, size_t i)
{
    return target_of(tune, i)->dtype == LDNQ_FLOAT && tune->power[i] > 0;
}

/* The mean over outputs and elements of (y - t)^2 / power. */
static enum ldnq_status loss(void *ctx, const struct ldnq_tensor *const *values,
                             struct ldnq_tensor *gradients, double *sum, struct ldnq_error *err)
{
    const struct tune *tune = ctx;
    const size_t outputs = tune->run->graph->output_count;
    *sum = 0;
    for (size_t o = 0; o < outputs; o++) {
        LDNQ_TRY(ldnq_outputs_check(tune->run->graph->outputs[o]->name, values[o],
                                    target_of(tune, o), err));
        if (!is_float_output(tune, o))
            continue;
        const size_t n = ldnq_tensor_count(values[o]);
        const float *y = values[o]->data, *t = target_of(tune, o)->data;
        const double unit = tune->share / ((double)outputs * tune->power[o] * (double)n);
        float *g = gradients[o].data;
        for (size_t i = 0; i < n; i++)
            g[i] = (float)(2 * unit * ((double)y[i] - (double)t[i]));
        *sum += unit * ldnq_squared_error(y, t, n);
    }
    return LDNQ_OK;
}

/* ---- held-out samples ------------------------------------------------------------------- */

static enum ldnq_status judge_batch(struct tune *tune, size_t first, size_t count, double *errors,
                                    double *powers, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    const struct ldnq_graph *graph = tune->run->graph;
    const struct ldnq_network student = { graph, tune->student };
    const struct ldnq_network teacher = { tune->run->teacher, tune->teacher };
    struct ldnq_tensor **inputs;
    LDNQ_TRY(ldnq_tune_data_held(&tune->data, first, count, arena, &inputs, err));
    LDNQ_TRY(ldnq_exec_run(tune->teacher, inputs, err));
    LDNQ_TRY(ldnq_exec_run(tune->student, inputs, err));
    LDNQ_TRY(ldnq_outputs_add(&student, &teacher, errors, powers, err));
    for (size_t o = 0; o < graph->output_count; o++) /* until judge() is through */
        tune->power[o] += (double)ldnq_tensor_count(target_of(tune, o));
    return LDNQ_OK;
}

/* The relative error on the held-out samples; fills in the outputs' power. */
static enum ldnq_status judge(struct tune *tune, double *error, struct ldnq_error *err)
{
    const size_t outputs = tune->run->graph->output_count;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    double *errors = ldnq_arena_alloc(arena, outputs, sizeof *errors, err);
    double *powers = ldnq_arena_alloc(arena, outputs, sizeof *powers, err);
    enum ldnq_status status = errors && powers ? LDNQ_OK : LDNQ_NOMEM;
    memset(tune->power, 0, outputs * sizeof *tune->power);
    for (size_t i = 0; status == LDNQ_OK && i < tune->data.held_count; i += tune->data.most) {
        struct ldnq_arena *batch;
        status = ldnq_arena_create(&batch, err);
        if (status != LDNQ_OK)
            break;
        status = judge_batch(tune, i, ldnq_size_min(tune->data.most, tune->data.held_count - i),
                             errors, powers, batch, err);
        ldnq_exec_reset(tune->teacher);
        ldnq_exec_reset(tune->student);
        ldnq_arena_destroy(batch);
    }
    *error = status == LDNQ_OK ? ldnq_outputs_error(errors, powers, outputs) : 0;
    for (size_t o = 0; status == LDNQ_OK && o < outputs; o++)
        tune->power[o] = tune->power[o] > 0 ? powers[o] / tune->power[o] : 0;
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- a step ------------------------------------------------------------------------------ */

static enum ldnq_status add_run(struct tune *tune, size_t count, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    const struct ldnq_graph *graph = tune->run->graph;
    struct ldnq_tensor **inputs;
    double value;
    LDNQ_TRY(ldnq_tune_data_draw(&tune->data, count, arena, &inputs, err));
    LDNQ_TRY(ldnq_exec_run(tune->teacher, inputs, err));
    for (size_t i = 0; i < graph->input_count; i++)
        tune->feeds[i] = (struct ldnq_grad_feed){ graph->inputs[i], inputs[i] };
    LDNQ_TRY(ldnq_grad_run(tune->grad, tune->feeds, graph->input_count, loss, tune, &value, err));
    for (size_t i = 0; i < tune->count + tune->float_count; i++) {
        const struct ldnq_tensor *weight = ldnq_grad_of(tune->grad, tune->weight_place[i]);
        const struct ldnq_tensor *bias =
            tune->bias_place[i] == SIZE_MAX ? NULL : ldnq_grad_of(tune->grad, tune->bias_place[i]);
        if (i < tune->count)
            ldnq_tune_layer_add(&tune->layers[i], weight, bias);
        else
            ldnq_tune_float_add(&tune->floats[i - tune->count], weight, bias);
    }
    for (size_t i = 0; i < tune->norm_count; i++)
        ldnq_tune_norm_add(&tune->norms[i],
                           ldnq_grad_of(tune->grad, tune->wanted_count - tune->norm_count + i));
    return LDNQ_OK;
}

/* From 0 to 1: of the steps, or of the time when that is shorter. */
static double progress(const struct tune *tune)
{
    const double steps = (double)tune->step / (double)tune->steps;
    const double time =
        isfinite(tune->end) ? (tune->now - tune->start) / (tune->end - tune->start) : 0;
    return fmin(fmax(steps, time), 1);
}

/* Of the rates at the start, along half a cosine. */
static double rate_now(const struct tune *tune)
{
    return 0.5 * (1 + cos(acos(-1.0) * progress(tune)));
}

static void step_layer(void *ctx, size_t i, size_t thread)
{
    (void)thread;
    struct tune *tune = ctx;
    const double rate = rate_now(tune);
    if (i < tune->count)
        ldnq_tune_layer_step(&tune->layers[i], tune->step + 1, rate * SCALE_RATE, rate * BIAS_RATE,
                             rate * CODE_RATE);
    else
        ldnq_tune_float_step(&tune->floats[i - tune->count], tune->step + 1, rate * FLOAT_RATE);
}

static enum ldnq_status take_step(struct tune *tune, struct ldnq_error *err)
{
    const size_t batch = tune->batch;
    for (size_t done = 0; done < batch;) {
        const size_t count = ldnq_size_min(tune->data.most, batch - done);
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        tune->share = (double)count / (double)batch;
        enum ldnq_status status = add_run(tune, count, arena, err);
        ldnq_exec_reset(tune->teacher);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
        done += count;
    }
    ldnq_pool_run(tune->run->options->pool, tune->count + tune->float_count, step_layer, tune);
    for (size_t i = 0; i < tune->norm_count; i++)
        ldnq_tune_norm_step(&tune->norms[i], tune->step + 1, rate_now(tune) * SCALE_RATE);
    return LDNQ_OK;
}

static enum ldnq_status look(struct tune *tune, struct ldnq_error *err)
{
    struct ldnq_tune_result *result = tune->result;
    double error;
    LDNQ_TRY(judge(tune, &error, err));
    if (!(error < result->error))
        return LDNQ_OK;
    result->error = error;
    for (size_t i = 0; i < tune->count; i++)
        ldnq_tune_layer_keep(&tune->layers[i]);
    for (size_t i = 0; i < tune->float_count; i++)
        ldnq_tune_float_keep(&tune->floats[i]);
    for (size_t i = 0; i < tune->norm_count; i++)
        ldnq_tune_norm_keep(&tune->norms[i]);
    return LDNQ_OK;
}

static enum ldnq_status learn(struct tune *tune, struct ldnq_error *err)
{
    struct ldnq_tune_result *result = tune->result;
    const size_t pause = ldnq_size_max(1, tune->steps / CHECKS);
    LDNQ_TRY(judge(tune, &result->error_start, err));
    result->error = result->error_start;
    result->held_out = tune->data.held_count;
    for (bool late = false; tune->step < tune->steps && !late;) {
        tune->now = ldnq_now();
        LDNQ_TRY(take_step(tune, err));
        result->steps = ++tune->step;
        late = ldnq_now() >= tune->end;
        if (tune->step % pause == 0 || tune->step == tune->steps || late)
            LDNQ_TRY(look(tune, err));
        if (tune->float_count == 0) /* a cascade is part of the walk */
            ldnq_sink_progress(tune->run->options->sink, "distill", NULL, tune->step, tune->steps);
    }
    return LDNQ_OK;
}

/* ---- the start ---------------------------------------------------------------------------- */

static enum ldnq_status init_layers(struct tune *tune, struct ldnq_error *err)
{
    struct ldnq_run *run = tune->run;
    const bool one_scale = run->options->granularity == LDNQ_PER_TENSOR;
    for (size_t i = 0; i < tune->count; i++) {
        struct ldnq_quantized_layer *result = &run->result->network.layers[i];
        const size_t owner =
            result->shared ? (size_t)(result->shared - run->result->network.layers) : i;
        LDNQ_TRY(ldnq_tune_layer_init(&tune->layers[i], result,
                                      run->result->diagnostics[i].deviation, &tune->layers[owner],
                                      one_scale, tune->learn_codes, tune->arena, err));
    }
    for (size_t i = 0; i < tune->float_count; i++)
        LDNQ_TRY(ldnq_tune_float_init(&tune->floats[i],
                                      &run->result->network.layers[tune->count + i].layer,
                                      run->moved > 0, tune->arena, run->arena, err));
    return LDNQ_OK;
}

static enum ldnq_status list_wanted(struct tune *tune, struct ldnq_error *err)
{
    const struct ldnq_quantization *result = tune->run->result;
    struct ldnq_arena *arena = tune->arena;
    const size_t all = result->network.count;
    tune->count = tune->run->placed;
    tune->float_count = all - tune->count;
    tune->layers = ldnq_arena_alloc(arena, tune->count, sizeof *tune->layers, err);
    tune->floats = ldnq_arena_alloc(arena, tune->float_count, sizeof *tune->floats, err);
    tune->weight_place = ldnq_arena_alloc(arena, all, sizeof *tune->weight_place, err);
    tune->bias_place = ldnq_arena_alloc(arena, all, sizeof *tune->bias_place, err);
    if (tune->float_count == 0)
        LDNQ_TRY(ldnq_tune_norms_init(tune->run, arena, &tune->norms, &tune->norm_count, err));
    tune->wanted = ldnq_arena_alloc(arena, 2 * all + tune->norm_count, sizeof *tune->wanted, err);
    tune->feeds = ldnq_arena_alloc(arena, tune->run->graph->input_count, sizeof *tune->feeds, err);
    tune->power = ldnq_arena_alloc(arena, tune->run->graph->output_count, sizeof *tune->power, err);
    if (!tune->layers || !tune->floats || !tune->weight_place || !tune->bias_place ||
        !tune->wanted || !tune->feeds || !tune->power)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < all; i++) {
        const struct ldnq_layer *layer = &result->network.layers[i].layer;
        tune->weight_place[i] = tune->wanted_count;
        tune->wanted[tune->wanted_count++] = layer->node->inputs[layer->weight_input];
        tune->bias_place[i] = SIZE_MAX;
        if (!layer->bias)
            continue;
        tune->bias_place[i] = tune->wanted_count;
        tune->wanted[tune->wanted_count++] = layer->node->inputs[layer->bias_input];
    }
    for (size_t i = 0; i < tune->norm_count; i++) {
        const struct ldnq_changed_norm *norm = &tune->norms[i].result;
        tune->wanted[tune->wanted_count++] = norm->node->inputs[norm->input];
    }
    return LDNQ_OK;
}

static enum ldnq_status prepare(struct tune *tune, struct ldnq_error *err)
{
    struct ldnq_run *run = tune->run;
    struct ldnq_pool *pool = run->options->pool;
    const struct ldnq_grad_options options = {
        .requested = tune->wanted,
        .requested_count = tune->wanted_count,
        .max_bytes = run->options->max_bytes,
    };
    LDNQ_TRY(ldnq_exec_create(run->teacher, pool, &tune->teacher, err));
    LDNQ_TRY(ldnq_exec_create(run->graph, pool, &tune->student, err));
    LDNQ_TRY(ldnq_grad_create(run->graph, pool, &options, &tune->grad, err));
    return init_layers(tune, err);
}

static enum ldnq_status run_all(struct tune *tune, struct ldnq_error *err)
{
    const struct ldnq_sink *sink = tune->run->options->sink;
    struct ldnq_error reason;
    enum ldnq_status status = prepare(tune, &reason);
    /* USAGE: no output is a float that depends on a weight. */
    if (status == LDNQ_UNSUPPORTED || status == LDNQ_USAGE) {
        if (tune->float_count == 0 || tune->count == 1) /* of cascades the first says so */
            ldnq_sink_warn(sink, "%s: %s", tune->float_count ? "no cascade" : "not distilled",
                           reason.message);
        return ldnq_tune_norms_finish(tune->run, tune->norms, tune->norm_count, err);
    }
    if (status == LDNQ_OK)
        status = learn(tune, &reason);
    if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    for (size_t i = 0; i < tune->count; i++)
        LDNQ_TRY(ldnq_tune_layer_finish(&tune->layers[i], tune->run->arena, err));
    for (size_t i = 0; i < tune->float_count; i++)
        ldnq_tune_float_finish(&tune->floats[i]);
    LDNQ_TRY(ldnq_tune_norms_finish(tune->run, tune->norms, tune->norm_count, err));
    if (tune->float_count > 0)
        tune->run->moved = tune->count;
    return LDNQ_OK;
}

static size_t batch_of(const struct ldnq_run *run)
{
    const size_t count = ldnq_samples_count(run->samples), asked = run->options->tune.batch;
    const size_t batch = ldnq_size_min(ldnq_size_max(count / 16, LEAST_BATCH), MOST_BATCH);
    return asked ? asked : batch;
}

static enum ldnq_status tune_in(struct tune *tune, uint64_t seed, struct ldnq_error *err)
{
    struct ldnq_run *run = tune->run;
    tune->batch = batch_of(run);
    tune->start = ldnq_now();
    tune->end = tune->start + ldnq_run_time_left(run);
    if (tune->end <= tune->start)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_tune_data_init(&tune->data, run->samples, run->graph, tune->batch,
                                 run->options->tune.augment, seed, run->options->pool, tune->arena,
                                 err));
    LDNQ_TRY(list_wanted(tune, err));
    enum ldnq_status status = run_all(tune, err);
    ldnq_grad_destroy(tune->grad);
    ldnq_exec_destroy(tune->student);
    ldnq_exec_destroy(tune->teacher);
    return status;
}

static enum ldnq_status run_tune(struct tune *tune, uint64_t seed, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_arena_create(&tune->arena, err));
    const enum ldnq_status status = tune_in(tune, seed, err);
    ldnq_arena_destroy(tune->arena);
    return status;
}

enum ldnq_status ldnq_run_tune(struct ldnq_run *run, struct ldnq_error *err)
{
    struct tune tune = { .run = run,
                         .steps = run->options->tune.steps,
                         .learn_codes = run->options->tune.learn_codes,
                         .result = &run->result->tune };
    if (ldnq_samples_count(run->samples) >= LEAST_SAMPLES)
        return run_tune(&tune, run->options->seed, err);
    ldnq_sink_warn(run->options->sink, "not distilled: that takes at least %d samples",
                   LEAST_SAMPLES);
    return LDNQ_OK;
}

/* Each draws the samples in an order of its own. */
enum ldnq_status ldnq_run_cascade(struct ldnq_run *run, struct ldnq_error *err)
{
    struct ldnq_tune_result result = { .error_start = NAN, .error = NAN };
    struct ldnq_layer_diagnostics *layer = &run->result->diagnostics[run->placed - 1];
    struct tune tune = { .run = run, .steps = run->options->cascade, .result = &result };
    if (ldnq_samples_count(run->samples) < LEAST_SAMPLES) {
        if (run->placed == 1)
            ldnq_sink_warn(run->options->sink, "no cascade: that takes at least %d samples",
                           LEAST_SAMPLES);
        return LDNQ_OK;
    }
    LDNQ_TRY(run_tune(&tune, run->options->seed + run->placed, err));
    layer->cascade_start = result.error_start;
    layer->cascade_error = result.error;
    return LDNQ_OK;
}

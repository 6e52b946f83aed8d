/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/output_projection.h"

#include <math.h>

#include "base/rng.h"
#include "base/size.h"
#include "exec/grad.h"

#define MAX_SAMPLES ((size_t)32)

struct output_projector {
    const struct ldnq_graph *graph;
    const struct ldnq_projection_options *options;
    struct ldnq_arena *arena;
    struct ldnq_grad *grad;
    const struct ldnq_value **targets; /* the outputs that are projected */
    size_t target_count;
    double *units; /* by projected output: the size of the elements of u */
    struct ldnq_rng rng;
    const struct ldnq_samples *samples;
    size_t sample;           /* of the draw */
    struct ldnq_arena *draw; /* of the sample */
    struct ldnq_projection projection;
};

/* ---- which outputs ------------------------------------------------------------------------ */

/* Marks all values that depend on those of the options. */
static bool *mark_dependents(const struct output_projector *projector, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = projector->graph;
    bool *depends = ldnq_arena_alloc(projector->arena, graph->value_count, sizeof *depends, err);
    if (!depends)
        return NULL;
    for (size_t i = 0; i < projector->options->value_count; i++)
        depends[projector->options->values[i]->index] = true;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        bool any = false;
        for (size_t i = 0; i < node->input_count; i++)
            any |= node->inputs[i] && depends[node->inputs[i]->index];
        for (size_t i = 0; any && i < node->output_count; i++)
            if (node->outputs[i])
                depends[node->outputs[i]->index] = true;
    }
    return depends;
}

static enum ldnq_status list_targets(struct output_projector *projector, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = projector->graph;
    const struct ldnq_projection_options *options = projector->options;
    projector->targets =
        ldnq_arena_alloc(projector->arena, graph->output_count, sizeof *projector->targets, err);
    projector->units =
        ldnq_arena_alloc(projector->arena, graph->output_count, sizeof *projector->units, err);
    const bool *depends = mark_dependents(projector, err);
    if (!projector->targets || !projector->units || !depends)
        return LDNQ_NOMEM;
    for (size_t o = 0; o < graph->output_count; o++) {
        const struct ldnq_value *output = graph->outputs[o];
        if (!(options->powers[o] > 0) || output->dtype != LDNQ_FLOAT || !depends[output->index])
            continue;
        projector->units[projector->target_count] =
            1 / sqrt((double)graph->output_count * options->powers[o]);
        projector->targets[projector->target_count++] = output;
    }
    return projector->target_count > 0
               ? LDNQ_OK
               : ldnq_fail(err, LDNQ_UNSUPPORTED,
                           "%s: no float output depends on the quantized layers", graph->file);
}

/* ---- a draw --------------------------------------------------------------------------------- */

/* The loss u'y: its gradients by the outputs are u. */
static enum ldnq_status project_targets(void *ctx, const struct ldnq_tensor *const *values,
                                        struct ldnq_tensor *gradients, double *sum,
                                        struct ldnq_error *err)
{
    struct output_projector *projector = ctx;
    (void)err;
    *sum = 0;
    for (size_t o = 0; o < projector->target_count; o++) {
        const float *y = values[o]->data, unit = (float)projector->units[o];
        float *u = gradients[o].data;
        const size_t count = ldnq_tensor_count(values[o]);
        for (size_t i = 0; i < count; i++)
            u[i] = ldnq_rng_next(&projector->rng) >> 63 ? unit : -unit;
        ldnq_samples_clear_masked(projector->samples, projector->sample, &gradients[o]);
        for (size_t i = 0; i < count; i++)
            *sum += (double)u[i] * (double)y[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status project_once(struct output_projector *projector,
                                     struct ldnq_tensor *const *inputs,
                                     ldnq_projection_visit_fn *visit, void *ctx,
                                     struct ldnq_error *err)
{
    const struct ldnq_graph *graph = projector->graph;
    const struct ldnq_projection_options *options = projector->options;
    struct ldnq_grad_feed *feeds =
        ldnq_arena_alloc(projector->draw, graph->input_count, sizeof *feeds, err);
    double value;
    if (!feeds)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->input_count; i++)
        feeds[i] = (struct ldnq_grad_feed){ graph->inputs[i], inputs[i] };
    LDNQ_TRY(ldnq_grad_run(projector->grad, feeds, graph->input_count, project_targets, projector,
                           &value, err));
    for (size_t i = 0; i < options->value_count; i++)
        projector->projection.gradients[i] = ldnq_grad_find_gradient(projector->grad, i);
    projector->projection.inputs = inputs;
    return visit(ctx, &projector->projection, err);
}

static enum ldnq_status project_each_batch(struct output_projector *projector,
                                           struct ldnq_samples *samples,
                                           ldnq_projection_visit_fn *visit, void *ctx,
                                           struct ldnq_error *err)
{
    const size_t count = ldnq_size_min(ldnq_samples_count(samples), MAX_SAMPLES);
    for (size_t d = 0; d < projector->options->draws; d++) {
        struct ldnq_sample_batch batch;
        LDNQ_TRY(
            ldnq_sample_batch_read(samples, d % count, 1, projector->options->pool, &batch, err));
        projector->draw = batch.arena;
        projector->sample = d % count;
        const enum ldnq_status status = project_once(projector, batch.inputs, visit, ctx, err);
        ldnq_arena_destroy(batch.arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

static enum ldnq_status project_in_arena(struct output_projector *projector,
                                         struct ldnq_samples *samples,
                                         ldnq_projection_visit_fn *visit, void *ctx,
                                         struct ldnq_error *err)
{
    const struct ldnq_projection_options *options = projector->options;
    LDNQ_TRY(list_targets(projector, err));
    projector->projection.gradients = ldnq_arena_alloc(
        projector->arena, options->value_count, sizeof *projector->projection.gradients, err);
    if (!projector->projection.gradients)
        return LDNQ_NOMEM;
    const struct ldnq_grad_options grad = {
        .targets = projector->targets,
        .target_count = projector->target_count,
        .requested = options->values,
        .requested_count = options->value_count,
        .max_bytes = options->max_bytes,
    };
    struct ldnq_error reason;
    const enum ldnq_status status =
        ldnq_grad_create(projector->graph, options->pool, &grad, &projector->grad, &reason);
    /* USAGE: the output depends on the values through integers alone. */
    if (status != LDNQ_OK)
        return ldnq_fail(err, status == LDNQ_USAGE ? LDNQ_UNSUPPORTED : status, "%s",
                         reason.message);
    return project_each_batch(projector, samples, visit, ctx, err);
}

enum ldnq_status ldnq_project_outputs(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                      const struct ldnq_projection_options *options,
                                      ldnq_projection_visit_fn *visit, void *ctx,
                                      struct ldnq_error *err)
{
    struct output_projector projector = {
        .graph = graph, .options = options, .samples = samples, .rng = { options->seed }
    };
    LDNQ_TRY(ldnq_arena_create(&projector.arena, err));
    const enum ldnq_status status = project_in_arena(&projector, samples, visit, ctx, err);
    ldnq_grad_destroy(projector.grad);
    ldnq_arena_destroy(projector.arena);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/output_error.h"

#include <math.h>

#include "base/alloc.h"
#include "base/ranks.h"
#include "base/size.h"
#include "metric/distance.h"

#define BATCH ((size_t)8)

enum ldnq_status ldnq_output_check_shape(const char *name, const struct ldnq_tensor *y,
                                         const struct ldnq_tensor *t, struct ldnq_error *err)
{
    if (ldnq_shapes_are_equal(&y->shape, &t->shape))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "the shape of output '%s' depends on weights", name);
}

/* *out becomes the part of an output that counts. */
static enum ldnq_status select_unmasked_part(const struct ldnq_executed_graph *executed,
                                             const struct ldnq_tensor *output,
                                             struct ldnq_arena *arena,
                                             const struct ldnq_tensor **out, struct ldnq_error *err)
{
    *out = output;
    return executed->samples ? ldnq_samples_select_unmasked(executed->samples, executed->sample,
                                                            output, arena, out, err)
                             : LDNQ_OK;
}

static enum ldnq_status add_errors(const struct ldnq_executed_graph *quantized,
                                   const struct ldnq_executed_graph *reference, double *errors,
                                   double *powers, struct ldnq_arena *arena, struct ldnq_error *err)
{
    for (size_t o = 0; o < quantized->graph->output_count; o++) {
        const struct ldnq_value *output = quantized->graph->outputs[o];
        const struct ldnq_tensor *y = ldnq_exec_find_value(quantized->exec, output);
        const struct ldnq_tensor *t =
            ldnq_exec_find_value(reference->exec, reference->graph->outputs[o]);
        LDNQ_TRY(ldnq_output_check_shape(output->name, y, t, err));
        if (y->dtype != LDNQ_FLOAT)
            continue;
        LDNQ_TRY(select_unmasked_part(quantized, y, arena, &y, err));
        LDNQ_TRY(select_unmasked_part(quantized, t, arena, &t, err));
        const size_t count = ldnq_tensor_count(t);
        errors[o] += ldnq_compute_squared_error(y->data, t->data, count);
        powers[o] += ldnq_compute_squared_error(t->data, NULL, count);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_error_add(const struct ldnq_executed_graph *quantized,
                                       const struct ldnq_executed_graph *reference, double *errors,
                                       double *powers, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = add_errors(quantized, reference, errors, powers, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

double ldnq_output_error_compute_mean(const double *errors, const double *powers, size_t outputs)
{
    double sum = 0;
    for (size_t o = 0; o < outputs; o++)
        sum += powers[o] > 0 ? errors[o] / powers[o] / (double)outputs : 0;
    return sum;
}

/* ---- on a few samples ------------------------------------------------------------------ */

enum ldnq_status ldnq_visit_first_samples(const struct ldnq_graph *graph,
                                          struct ldnq_samples *samples, struct ldnq_pool *pool,
                                          ldnq_batch_visit_fn *visit, void *ctx,
                                          struct ldnq_error *err)
{
    const size_t all = ldnq_size_min(ldnq_samples_count(samples), LDNQ_MOST_VISITED_SAMPLES);
    const size_t max_batch = ldnq_samples_choose_batch_size(samples, graph, BATCH);
    for (size_t first = 0; first < all; first += max_batch) {
        const size_t count = ldnq_size_min(max_batch, all - first);
        struct ldnq_sample_batch batch;
        LDNQ_TRY(ldnq_sample_batch_read(samples, first, count, pool, &batch, err));
        const enum ldnq_status status =
            visit(ctx, batch.inputs, (double)(first + count) / (double)all, err);
        ldnq_arena_destroy(batch.arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

/* ---- power ------------------------------------------------------------------------------ */

struct power_measurement {
    struct ldnq_executed_graph executed;
    struct ldnq_ranks *ranks;
    size_t batch, batches;
    double *powers; /* (batches, outputs) */
};

static enum ldnq_status add_powers(const struct power_measurement *m, size_t batch,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = m->executed.graph;
    double *powers = m->powers + batch * graph->output_count;
    for (size_t o = 0; o < graph->output_count; o++) {
        const struct ldnq_tensor *t = ldnq_exec_find_value(m->executed.exec, graph->outputs[o]);
        if (t->dtype != LDNQ_FLOAT)
            continue;
        LDNQ_TRY(select_unmasked_part(&m->executed, t, arena, &t, err));
        powers[o] += ldnq_compute_squared_error(t->data, NULL, ldnq_tensor_count(t));
    }
    return LDNQ_OK;
}

static enum ldnq_status run_and_add_powers(void *ctx, struct ldnq_tensor *const *inputs,
                                           double done, struct ldnq_error *err)
{
    (void)done;
    struct power_measurement *m = ctx;
    struct ldnq_arena *arena;
    const size_t batch = m->batch++;
    m->executed.sample = batch; /* where positions are masked, one run has one sample */
    if (ldnq_ranks_find_owner(m->ranks, batch, m->batches) != ldnq_ranks_own_rank(m->ranks))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = ldnq_exec_run(m->executed.exec, inputs, err);
    if (status == LDNQ_OK)
        status = add_powers(m, batch, arena, err);
    ldnq_exec_reset(m->executed.exec);
    ldnq_arena_destroy(arena);
    return status;
}

/* Each rank runs its batches; all add up all of them, in their order. */
static enum ldnq_status measure_powers(struct power_measurement *m, struct ldnq_samples *samples,
                                       struct ldnq_pool *pool, double *powers,
                                       struct ldnq_error *err)
{
    const size_t outputs = m->executed.graph->output_count;
    LDNQ_TRY(ldnq_exec_create(m->executed.graph, pool, &m->executed.exec, err));
    const enum ldnq_status status =
        ldnq_visit_first_samples(m->executed.graph, samples, pool, run_and_add_powers, m, err);
    LDNQ_TRY(ldnq_ranks_share_first_failure(m->ranks, status, err));
    LDNQ_TRY(ldnq_ranks_allgather_units(m->ranks, m->powers, m->batches,
                                        outputs * sizeof *m->powers, err));
    for (size_t i = 0; i < m->batches * outputs; i++)
        powers[i % outputs] += m->powers[i];
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_measure_powers(const struct ldnq_graph *graph,
                                            struct ldnq_samples *samples, struct ldnq_pool *pool,
                                            double *powers, struct ldnq_error *err)
{
    const size_t all = ldnq_size_min(ldnq_samples_count(samples), LDNQ_MOST_VISITED_SAMPLES);
    struct power_measurement m = {
        .executed.graph = graph,
        .executed.samples = ldnq_samples_have_masked_positions(samples) ? samples : NULL,
        .ranks = ldnq_pool_ranks(pool),
        .batches = ldnq_size_ceil_div(all, ldnq_samples_choose_batch_size(samples, graph, BATCH)),
    };
    for (size_t o = 0; o < graph->output_count; o++)
        powers[o] = 0;
    m.powers = ldnq_calloc(m.batches * graph->output_count + 1, sizeof *m.powers);
    const enum ldnq_status status = m.powers ? measure_powers(&m, samples, pool, powers, err)
                                             : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    ldnq_exec_destroy(m.executed.exec);
    ldnq_free(m.powers);
    for (size_t o = 0; o < graph->output_count; o++)
        powers[o] = status == LDNQ_OK ? powers[o] / (double)all : 0;
    return status == LDNQ_NOMEM || status == LDNQ_IO ? status : LDNQ_OK;
}

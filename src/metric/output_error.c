#include "metric/output_error.h"

#include <math.h>

#include "base/size.h"
#include "metric/distance.h"

#define MAX_SAMPLES ((size_t)32)
#define BATCH ((size_t)8)

enum ldnq_status ldnq_output_check_shape(const char *name, const struct ldnq_tensor *y,
                                         const struct ldnq_tensor *t, struct ldnq_error *err)
{
    if (ldnq_shapes_are_equal(&y->shape, &t->shape))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "the shape of output '%s' depends on weights", name);
}

enum ldnq_status ldnq_output_error_add(const struct ldnq_executed_graph *quantized,
                                       const struct ldnq_executed_graph *reference, double *errors,
                                       double *powers, struct ldnq_error *err)
{
    for (size_t o = 0; o < quantized->graph->output_count; o++) {
        const struct ldnq_value *output = quantized->graph->outputs[o];
        const struct ldnq_tensor *y = ldnq_exec_find_value(quantized->exec, output);
        const struct ldnq_tensor *t =
            ldnq_exec_find_value(reference->exec, reference->graph->outputs[o]);
        LDNQ_TRY(ldnq_output_check_shape(output->name, y, t, err));
        if (y->dtype != LDNQ_FLOAT)
            continue;
        const size_t count = ldnq_tensor_count(y);
        errors[o] += ldnq_compute_squared_error(y->data, t->data, count);
        powers[o] += ldnq_compute_squared_error(t->data, NULL, count);
    }
    return LDNQ_OK;
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
    const size_t all = ldnq_size_min(ldnq_samples_count(samples), MAX_SAMPLES);
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

/* ---- two networks ----------------------------------------------------------------------- */

struct output_measurement {
    struct ldnq_executed_graph quantized, reference;
    double *errors, *powers;
};

static enum ldnq_status run_both_and_add_error(void *ctx, struct ldnq_tensor *const *inputs,
                                               double done, struct ldnq_error *err)
{
    (void)done;
    const struct output_measurement *m = ctx;
    enum ldnq_status status = ldnq_exec_run(m->reference.exec, inputs, err);
    if (status == LDNQ_OK)
        status = ldnq_exec_run(m->quantized.exec, inputs, err);
    if (status == LDNQ_OK)
        status = ldnq_output_error_add(&m->quantized, &m->reference, m->errors, m->powers, err);
    ldnq_exec_reset(m->reference.exec);
    ldnq_exec_reset(m->quantized.exec);
    return status;
}

static enum ldnq_status measure_outputs(struct output_measurement *m, struct ldnq_samples *samples,
                                        struct ldnq_pool *pool, double *error,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t outputs = m->quantized.graph->output_count;
    double power = 0;
    m->errors = ldnq_arena_alloc(arena, outputs, sizeof *m->errors, err);
    if (!m->errors)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_exec_create(m->quantized.graph, pool, &m->quantized.exec, err));
    LDNQ_TRY(ldnq_exec_create(m->reference.graph, pool, &m->reference.exec, err));
    LDNQ_TRY(ldnq_visit_first_samples(m->reference.graph, samples, pool, run_both_and_add_error, m,
                                      err));
    for (size_t o = 0; o < outputs; o++)
        power += m->powers[o];
    if (power > 0)
        *error = ldnq_output_error_compute_mean(m->errors, m->powers, outputs);
    const double count = (double)ldnq_size_min(ldnq_samples_count(samples), MAX_SAMPLES);
    for (size_t o = 0; o < outputs; o++)
        m->powers[o] /= count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_error_measure(const struct ldnq_graph *quantized,
                                           const struct ldnq_graph *reference,
                                           struct ldnq_samples *samples, struct ldnq_pool *pool,
                                           double *error, double *powers, struct ldnq_error *err)
{
    struct output_measurement m = { .quantized.graph = quantized,
                                    .reference.graph = reference,
                                    .powers = powers };
    struct ldnq_arena *arena;
    *error = NAN;
    for (size_t o = 0; o < quantized->output_count; o++)
        powers[o] = 0;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = measure_outputs(&m, samples, pool, error, arena, err);
    ldnq_exec_destroy(m.quantized.exec);
    ldnq_exec_destroy(m.reference.exec);
    ldnq_arena_destroy(arena);
    return status == LDNQ_NOMEM || status == LDNQ_IO ? status : LDNQ_OK;
}

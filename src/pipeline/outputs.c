#include "pipeline/outputs.h"

#include <math.h>

#include "base/size.h"

double ldnq_square_difference(const struct ldnq_tensor *y, const struct ldnq_tensor *t)
{
    const float *a = y->data, *b = t ? t->data : NULL;
    double sum = 0;
    for (size_t i = 0, n = ldnq_tensor_count(y); i < n; i++) {
        const double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    return sum;
}

enum ldnq_status ldnq_outputs_add(const struct ldnq_network *student,
                                  const struct ldnq_network *teacher, double *errors,
                                  double *powers, struct ldnq_error *err)
{
    for (size_t o = 0; o < student->graph->output_count; o++) {
        const struct ldnq_value *output = student->graph->outputs[o];
        const struct ldnq_tensor *y = ldnq_exec_value(student->exec, output);
        const struct ldnq_tensor *t = ldnq_exec_value(teacher->exec, teacher->graph->outputs[o]);
        if (!ldnq_shape_equal(&y->shape, &t->shape))
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "the shape of output '%s' depends on weights",
                             output->name);
        if (y->dtype != LDNQ_FLOAT)
            continue;
        errors[o] += ldnq_square_difference(y, t);
        powers[o] += ldnq_square_difference(t, NULL);
    }
    return LDNQ_OK;
}

double ldnq_outputs_error(const double *errors, const double *powers, size_t outputs)
{
    double sum = 0;
    for (size_t o = 0; o < outputs; o++)
        sum += powers[o] > 0 ? errors[o] / powers[o] / (double)outputs : 0;
    return sum;
}

/* ---- both networks on a few samples ----------------------------------------------------- */

static enum ldnq_status run_batch(const struct ldnq_network *student,
                                  const struct ldnq_network *teacher,
                                  struct ldnq_samples *samples, size_t first, size_t count,
                                  struct ldnq_pool *pool, double *errors,
                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(arena, student->graph->input_count, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_read(samples, first, count, pool, arena, inputs, err));
    LDNQ_TRY(ldnq_exec_run(teacher->exec, inputs, err));
    LDNQ_TRY(ldnq_exec_run(student->exec, inputs, err));
    return ldnq_outputs_add(student, teacher, errors, errors + student->graph->output_count, err);
}

/* errors (2, outputs): the powers are its second row. */
static enum ldnq_status run_batches(const struct ldnq_network *student,
                                    const struct ldnq_network *teacher,
                                    struct ldnq_samples *samples, struct ldnq_pool *pool,
                                    double *errors, struct ldnq_error *err)
{
    const size_t count = ldnq_size_min(ldnq_samples_count(samples), LDNQ_OUTPUTS_SAMPLES);
    const size_t most = ldnq_samples_batch(samples, teacher->graph, LDNQ_OUTPUTS_BATCH);
    for (size_t first = 0; first < count; first += most) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        const enum ldnq_status status =
            run_batch(student, teacher, samples, first, ldnq_size_min(most, count - first), pool,
                      errors, arena, err);
        ldnq_exec_reset(teacher->exec);
        ldnq_exec_reset(student->exec);
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

static enum ldnq_status measure(struct ldnq_network *student, struct ldnq_network *teacher,
                                struct ldnq_samples *samples, struct ldnq_pool *pool,
                                double *error, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t outputs = student->graph->output_count;
    double *errors = ldnq_arena_alloc(arena, outputs, 2 * sizeof *errors, err), power = 0;
    if (!errors)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_exec_create(student->graph, pool, &student->exec, err));
    LDNQ_TRY(ldnq_exec_create(teacher->graph, pool, &teacher->exec, err));
    LDNQ_TRY(run_batches(student, teacher, samples, pool, errors, err));
    for (size_t o = 0; o < outputs; o++)
        power += errors[outputs + o];
    if (power > 0)
        *error = ldnq_outputs_error(errors, errors + outputs, outputs);
    return LDNQ_OK;
}

enum ldnq_status ldnq_outputs_measure(const struct ldnq_graph *student,
                                      const struct ldnq_graph *teacher,
                                      struct ldnq_samples *samples, struct ldnq_pool *pool,
                                      double *error, struct ldnq_error *err)
{
    struct ldnq_network one = { .graph = student }, two = { .graph = teacher };
    struct ldnq_arena *arena;
    *error = NAN;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = measure(&one, &two, samples, pool, error, arena, err);
    ldnq_exec_destroy(one.exec);
    ldnq_exec_destroy(two.exec);
    ldnq_arena_destroy(arena);
    return status == LDNQ_NOMEM || status == LDNQ_IO ? status : LDNQ_OK;
}

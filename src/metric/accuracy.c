#include "metric/accuracy.h"

#include <inttypes.h>
#include <math.h>

#include "base/size.h"
#include "base/text.h"
#include "exec/exec.h"
#include "metric/output_metrics.h"

#define BATCH ((size_t)20)

struct accuracy_measurement {
    const struct ldnq_graph *graphs[2]; /* quantized, reference */
    struct ldnq_exec *execs[2];
    struct ldnq_samples *samples;
    struct ldnq_pool *pool;
    struct ldnq_output_sums *sums; /* by output */
    size_t correct[2], labelled;
};

static const struct ldnq_tensor *
find_output_of_graph(const struct accuracy_measurement *measurement, size_t which, size_t output)
{
    return ldnq_exec_find_value(measurement->execs[which],
                                measurement->graphs[which]->outputs[output]);
}

/* Compares the largest score of each row of the first output with the sample's label. */
static enum ldnq_status count_correct(struct accuracy_measurement *measurement, size_t first,
                                      size_t count, struct ldnq_error *err)
{
    for (size_t which = 0; which < 2; which++) {
        const struct ldnq_tensor *output = find_output_of_graph(measurement, which, 0);
        const size_t elements = ldnq_tensor_count(output), classes = elements / count;
        if (output->dtype != LDNQ_FLOAT || classes < 2 || elements % count != 0)
            return ldnq_fail(err, LDNQ_UNSUPPORTED,
                             "%s: output '%s' is not one score per class for each of %zu samples",
                             measurement->graphs[1]->file, measurement->graphs[1]->outputs[0]->name,
                             count);
        for (size_t i = 0; i < count; i++) {
            const int64_t label = ldnq_samples_label(measurement->samples, first + i);
            if (label < 0 || (uint64_t)label >= classes)
                return ldnq_fail(err, LDNQ_DATA, "%s: class %" PRId64 " where '%s' has %zu classes",
                                 ldnq_samples_name(measurement->samples, first + i), label,
                                 measurement->graphs[1]->outputs[0]->name, classes);
            const float *row = (const float *)output->data + i * classes;
            measurement->correct[which] += ldnq_find_best_class(row, classes) == (size_t)label;
        }
    }
    measurement->labelled += count;
    return LDNQ_OK;
}

static enum ldnq_status measure_accuracy_of_batch(struct accuracy_measurement *measurement,
                                                  struct ldnq_tensor *const *inputs, size_t first,
                                                  size_t count, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_exec_run(measurement->execs[0], inputs, err));
    LDNQ_TRY(ldnq_exec_run(measurement->execs[1], inputs, err));
    for (size_t o = 0; o < measurement->graphs[1]->output_count; o++)
        LDNQ_TRY(ldnq_output_sums_add(
            &measurement->sums[o], find_output_of_graph(measurement, 0, o),
            find_output_of_graph(measurement, 1, o), count, measurement->pool, err));
    return ldnq_samples_label(measurement->samples, first) < 0
               ? LDNQ_OK
               : count_correct(measurement, first, count, err);
}

static enum ldnq_status measure_batches(struct accuracy_measurement *measurement,
                                        struct ldnq_error *err)
{
    const size_t all = ldnq_samples_count(measurement->samples);
    const size_t most =
        ldnq_samples_choose_batch_size(measurement->samples, measurement->graphs[1], BATCH);
    for (size_t i = 0; i < 2; i++)
        LDNQ_TRY(ldnq_exec_create(measurement->graphs[i], measurement->pool, &measurement->execs[i],
                                  err));
    for (size_t first = 0; first < all; first += most) {
        const size_t count = ldnq_size_min(most, all - first);
        struct ldnq_sample_batch batch;
        LDNQ_TRY(ldnq_sample_batch_read(measurement->samples, first, count, measurement->pool,
                                        &batch, err));
        const enum ldnq_status status =
            measure_accuracy_of_batch(measurement, batch.inputs, first, count, err);
        ldnq_exec_reset(measurement->execs[0]);
        ldnq_exec_reset(measurement->execs[1]);
        ldnq_arena_destroy(batch.arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

static double compute_percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : NAN;
}

static void summarize_accuracy(const struct accuracy_measurement *measurement,
                               struct ldnq_accuracy *out)
{
    *out = (struct ldnq_accuracy){ .samples = ldnq_samples_count(measurement->samples),
                                   .sqnr = NAN,
                                   .agreement = NAN };
    for (size_t o = 0; o < measurement->graphs[1]->output_count; o++) {
        const struct ldnq_output_metrics metrics =
            ldnq_output_metrics_compute(&measurement->sums[o]);
        out->sqnr = fmin(out->sqnr, metrics.sqnr); /* fmin ignores NaN */
        out->agreement = fmin(out->agreement, 100 * metrics.agreement);
    }
    out->top1 = compute_percent(measurement->correct[0], measurement->labelled);
    out->reference_top1 = compute_percent(measurement->correct[1], measurement->labelled);
    /* Not the difference of both, whose rounding may be beyond a goal that is met exactly. */
    out->drop = measurement->labelled
                    ? 100 * ((double)measurement->correct[1] - (double)measurement->correct[0]) /
                          (double)measurement->labelled
                    : NAN;
}

enum ldnq_status ldnq_accuracy_measure(const struct ldnq_graph *quantized,
                                       const struct ldnq_graph *reference,
                                       struct ldnq_samples *samples, struct ldnq_pool *pool,
                                       struct ldnq_accuracy *out, struct ldnq_error *err)
{
    struct accuracy_measurement measurement = { .graphs = { quantized, reference },
                                                .samples = samples,
                                                .pool = pool };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    measurement.sums =
        ldnq_arena_alloc(arena, reference->output_count, sizeof *measurement.sums, err);
    enum ldnq_status status = measurement.sums ? measure_batches(&measurement, err) : LDNQ_NOMEM;
    if (status == LDNQ_OK)
        summarize_accuracy(&measurement, out);
    ldnq_exec_destroy(measurement.execs[0]);
    ldnq_exec_destroy(measurement.execs[1]);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- goals ---------------------------------------------------------------------------------- */

bool ldnq_accuracy_meets(const struct ldnq_accuracy *accuracy,
                         const struct ldnq_accuracy_goal *goal)
{
    return (isnan(goal->max_drop) || accuracy->drop <= goal->max_drop) &&
           (isnan(goal->min_agreement) || accuracy->agreement >= goal->min_agreement) &&
           (isnan(goal->min_sqnr) || accuracy->sqnr >= goal->min_sqnr);
}

void ldnq_accuracy_print(const struct ldnq_accuracy *accuracy,
                         const struct ldnq_accuracy_goal *goal, char *text, size_t size)
{
    struct ldnq_text out;
    ldnq_text_init(&out, text, size);
    if (!isnan(goal->max_drop))
        ldnq_text_append_item(&out, ", ", "a drop of %.4g points (goal %.4g)", accuracy->drop,
                              goal->max_drop);
    if (!isnan(goal->min_agreement))
        ldnq_text_append_item(&out, ", ", "an agreement of %.4g %% (goal %.4g)",
                              accuracy->agreement, goal->min_agreement);
    if (!isnan(goal->min_sqnr))
        ldnq_text_append_item(&out, ", ", "an SQNR of %.4g dB (goal %.4g)", accuracy->sqnr,
                              goal->min_sqnr);
}

struct ldnq_accuracy_part ldnq_accuracy_find_part(const struct ldnq_accuracy *accuracy,
                                                  const struct ldnq_accuracy_goal *goal)
{
    if (!isnan(goal->max_drop))
        return (struct ldnq_accuracy_part){ "drop of top-1 in points", goal->max_drop,
                                            accuracy->drop, true };
    if (!isnan(goal->min_agreement))
        return (struct ldnq_accuracy_part){ "agreement in percent", goal->min_agreement,
                                            accuracy->agreement, false };
    return (struct ldnq_accuracy_part){ "SQNR in dB", goal->min_sqnr, accuracy->sqnr, false };
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/value_sizes.h"
#include "metric/accuracy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/ranks.h"
#include "base/size.h"
#include "base/text.h"
#include "exec/exec.h"
#include "metric/output_metrics.h"
#include "metric/sample_failure.h"

#define BATCH ((size_t)20)

/* ---- words ---------------------------------------------------------------------------------- */

const char *ldnq_sample_role_name(enum ldnq_sample_role role)
{
    static const char *const names[] = { [LDNQ_SAMPLES_OF_THEIR_OWN] = "data",
                                         [LDNQ_SAMPLES_HELD_OUT_OF_FIT] = "held-out",
                                         [LDNQ_SAMPLES_OF_FIT] = "fitted" };
    return names[role];
}

void ldnq_describe_samples(enum ldnq_sample_role role, size_t samples, char *text, size_t size)
{
    const char *plural = samples == 1 ? "" : "s";
    if (role == LDNQ_SAMPLES_HELD_OUT_OF_FIT)
        snprintf(text, size, "%zu held-out sample%s", samples, plural);
    else if (role == LDNQ_SAMPLES_OF_THEIR_OWN)
        snprintf(text, size, "%zu sample%s", samples, plural);
    else
        snprintf(text, size,
                 "the %zu sample%s that %s fitted: too few to hold any out, so that unseen ones "
                 "will have larger errors",
                 samples, plural, samples == 1 ? "was" : "were");
}

/* ---- measuring ------------------------------------------------------------------------------ */

struct sample_counts {
    size_t correct[2], labelled;
};

struct accuracy_measurement {
    const struct ldnq_accuracy_options *options;
    const struct ldnq_graph *graphs[2]; /* quantized, reference */
    struct ldnq_exec *execs[2];
    struct ldnq_samples *samples;
    struct ldnq_output_sums *sums; /* by output */
    struct sample_counts counts;
    /* (batches, outputs) and (batches): what ranks exchange and then add up in one order. */
    struct ldnq_output_sums *batch_sums;
    struct sample_counts *batch_counts;
};

static const struct ldnq_tensor *
find_output_of_graph(const struct accuracy_measurement *measurement, size_t which, size_t output)
{
    return ldnq_exec_find_value(measurement->execs[which],
                                measurement->graphs[which]->outputs[output]);
}

/* Compares the largest score of each row of the first output with the sample's label. */
static enum ldnq_status count_correct(const struct accuracy_measurement *measurement, size_t first,
                                      size_t count, struct sample_counts *counts,
                                      struct ldnq_error *err)
{
    for (size_t which = 0; which < 2; which++) {
        const struct ldnq_tensor *output = find_output_of_graph(measurement, which, 0);
        const size_t classes = ldnq_count_classes(output, count);
        if (classes == 0)
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
            counts->correct[which] += ldnq_find_best_class(row, classes) == (size_t)label;
        }
    }
    counts->labelled += count;
    return LDNQ_OK;
}

static enum ldnq_status measure_accuracy_of_batch(struct accuracy_measurement *measurement,
                                                  const struct ldnq_sample_batch *read,
                                                  size_t first, size_t count, size_t batch,
                                                  struct ldnq_error *err)
{
    struct ldnq_output_sums *sums =
        measurement->batch_sums + batch * measurement->graphs[1]->output_count;
    for (size_t i = 0; i < 2; i++)
        LDNQ_TRY(ldnq_name_failed_sample(ldnq_exec_run(measurement->execs[i], read->inputs, err),
                                         measurement->graphs[i], measurement->samples, first, count,
                                         err));
    for (size_t o = 0; o < measurement->graphs[1]->output_count; o++) {
        const struct ldnq_tensor *both[2] = { find_output_of_graph(measurement, 0, o),
                                              find_output_of_graph(measurement, 1, o) };
        for (size_t i = 0; i < 2 && both[0] && both[1]; i++)
            LDNQ_TRY(ldnq_samples_select_unmasked(measurement->samples, first, both[i], read->arena,
                                                  &both[i], err));
        LDNQ_TRY(ldnq_output_sums_add(&sums[o], both[0], both[1], count, measurement->options->pool,
                                      err));
    }
    const bool has_labels = measurement->options->measured.uses_labels &&
                            ldnq_samples_label(measurement->samples, first) >= 0;
    return has_labels
               ? count_correct(measurement, first, count, &measurement->batch_counts[batch], err)
               : LDNQ_OK;
}

static enum ldnq_status measure_batches(struct accuracy_measurement *measurement,
                                        struct ldnq_rank_share own, size_t most,
                                        struct ldnq_error *err)
{
    const size_t all = ldnq_samples_count(measurement->samples);
    for (size_t batch = own.first; batch < own.end; batch++) {
        const size_t first = batch * most, count = ldnq_size_min(most, all - first);
        struct ldnq_sample_batch read;
        LDNQ_TRY(ldnq_sample_batch_read(measurement->samples, first, count,
                                        measurement->options->pool, &read, err));
        const enum ldnq_status status =
            measure_accuracy_of_batch(measurement, &read, first, count, batch, err);
        ldnq_exec_reset(measurement->execs[0]);
        ldnq_exec_reset(measurement->execs[1]);
        ldnq_arena_destroy(read.arena);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

static void add_batch(struct accuracy_measurement *measurement, size_t batch)
{
    const size_t outputs = measurement->graphs[1]->output_count;
    const struct sample_counts *counts = &measurement->batch_counts[batch];
    for (size_t o = 0; o < outputs; o++)
        ldnq_output_sums_merge(&measurement->sums[o],
                               &measurement->batch_sums[batch * outputs + o]);
    measurement->counts.correct[0] += counts->correct[0];
    measurement->counts.correct[1] += counts->correct[1];
    measurement->counts.labelled += counts->labelled;
}

/* Each rank measures its batches; all add up all of them. */
static enum ldnq_status measure_and_add_batches(struct accuracy_measurement *measurement,
                                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = measurement->graphs[1];
    struct ldnq_ranks *ranks = ldnq_pool_ranks(measurement->options->pool);
    const size_t all = ldnq_samples_count(measurement->samples), outputs = graph->output_count;
    const size_t most =
        ldnq_samples_choose_batch_size(measurement->samples, graph, ldnq_limit_batch(graph, BATCH));
    const size_t batches = ldnq_size_ceil_div(all, most);
    measurement->sums = ldnq_arena_alloc(arena, outputs, sizeof *measurement->sums, err);
    measurement->batch_sums =
        ldnq_arena_alloc(arena, batches * outputs, sizeof *measurement->batch_sums, err);
    measurement->batch_counts =
        ldnq_arena_alloc(arena, batches, sizeof *measurement->batch_counts, err);
    if (!measurement->sums || !measurement->batch_sums || !measurement->batch_counts)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < 2; i++)
        LDNQ_TRY(ldnq_exec_create(measurement->graphs[i], measurement->options->pool,
                                  &measurement->execs[i], err));
    const enum ldnq_status status =
        measure_batches(measurement, ldnq_ranks_own_share(ranks, batches), most, err);
    LDNQ_TRY(ldnq_ranks_share_first_failure(ranks, status, err));
    LDNQ_TRY(ldnq_ranks_allgather_units(ranks, measurement->batch_sums, batches,
                                        outputs * sizeof *measurement->batch_sums, err));
    LDNQ_TRY(ldnq_ranks_allgather_units(ranks, measurement->batch_counts, batches,
                                        sizeof *measurement->batch_counts, err));
    for (size_t batch = 0; batch < batches; batch++)
        add_batch(measurement, batch);
    return LDNQ_OK;
}

static double compute_percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : NAN;
}

void ldnq_accuracy_clear(struct ldnq_accuracy *out)
{
    *out = (struct ldnq_accuracy){ .sqnr = NAN,
                                   .noise_to_signal = NAN,
                                   .agreement = NAN,
                                   .agreement_interval = { NAN, NAN },
                                   .top1 = NAN,
                                   .reference_top1 = NAN,
                                   .drop = NAN };
}

/* The worst of the outputs for SQNR and agreement, the mean for the ratio. */
static void summarize_outputs(const struct accuracy_measurement *measurement,
                              struct ldnq_accuracy *out)
{
    double sum = 0;
    size_t compared = 0;
    for (size_t o = 0; o < measurement->graphs[1]->output_count; o++) {
        const struct ldnq_output_metrics metrics =
            ldnq_output_metrics_compute(&measurement->sums[o]);
        if (isnan(metrics.sqnr))
            continue;
        out->outputs++;
        if (!(out->sqnr <= metrics.sqnr)) { /* it starts as NaN */
            out->sqnr = metrics.sqnr;
            out->worst_output = measurement->graphs[1]->outputs[o]->name;
        }
        /* Where t is 0 there is no ratio. It is infinite where y is, and counts. */
        if (measurement->sums[o].distance.tt > 0 || metrics.noise_to_signal == 0) {
            sum += metrics.noise_to_signal;
            compared++;
        }
        if (isnan(metrics.agreement) || out->agreement <= 100 * metrics.agreement)
            continue;
        out->agreement = 100 * metrics.agreement;
        out->agreement_interval = (struct ldnq_interval){ 100 * metrics.agreement_interval.low,
                                                          100 * metrics.agreement_interval.high };
    }
    if (compared > 0)
        out->noise_to_signal = sum / (double)compared;
}

static void summarize_accuracy(const struct accuracy_measurement *measurement,
                               struct ldnq_accuracy *out)
{
    const struct ldnq_accuracy_options *options = measurement->options;
    ldnq_accuracy_clear(out);
    out->role = options->measured.role;
    out->samples = ldnq_samples_count(measurement->samples);
    summarize_outputs(measurement, out);
    for (size_t o = 0; options->powers && o < measurement->graphs[1]->output_count; o++)
        options->powers[o] = measurement->sums[o].distance.failed
                                 ? 0
                                 : measurement->sums[o].distance.tt / (double)out->samples;
    if (!measurement->counts.labelled)
        return;
    out->top1 = compute_percent(measurement->counts.correct[0], measurement->counts.labelled);
    out->reference_top1 =
        compute_percent(measurement->counts.correct[1], measurement->counts.labelled);
    /* Not the difference of both, whose rounding may be beyond a goal that is met exactly. */
    out->drop = 100 *
                ((double)measurement->counts.correct[1] - (double)measurement->counts.correct[0]) /
                (double)measurement->counts.labelled;
}

enum ldnq_status ldnq_accuracy_measure(const struct ldnq_accuracy_options *options,
                                       struct ldnq_accuracy *out, struct ldnq_error *err)
{
    struct accuracy_measurement measurement = { .options = options,
                                                .graphs = { options->quantized,
                                                            options->reference },
                                                .samples = options->measured.samples };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = measure_and_add_batches(&measurement, arena, err);
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
        ldnq_text_append_item(&out, ", ", "a drop of %.4g%s (goal %.4g)", accuracy->drop,
                              goal->is_score ? " in the score" : " points", goal->max_drop);
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
        return (struct ldnq_accuracy_part){ goal->is_score ? "drop of the score"
                                                           : "drop of top-1 in points",
                                            goal->max_drop, accuracy->drop, true };
    if (!isnan(goal->min_agreement))
        return (struct ldnq_accuracy_part){ "agreement in percent", goal->min_agreement,
                                            accuracy->agreement, false };
    return (struct ldnq_accuracy_part){ "SQNR in dB", goal->min_sqnr, accuracy->sqnr, false };
}

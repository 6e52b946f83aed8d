/* SPDX-License-Identifier: Apache-2.0 */
/* job_eval.c: top-1 and top-5 of models on labelled samples, and how often they agree, with the 95
 * % intervals of interval.h. */
#include <inttypes.h>
#include <string.h>

#include "api/job.h"
#include "api/json_graph.h"
#include "api/result.h"
#include "base/clock.h"
#include "base/alloc.h"
#include "base/json_add.h"
#include "base/ranks_join.h"
#include "base/size.h"
#include "exec/exec.h"
#include "metric/batch_check.h"
#include "metric/output_metrics.h"
#include "metric/sample_failure.h"
#include "passes/passes.h"

#define BATCH ((size_t)20)
#define TOP ((size_t)5)

struct model_score {
    const char *file;
    size_t samples, top1, top5;
    size_t *predicted; /* (samples) */
    double seconds;    /* time in the executor alone */
};

struct evaluation {
    struct ldnq_job job;
    struct ldnq_job_model loaded;
    struct ldnq_samples *samples;
    struct ldnq_exec *exec;
    struct model_score *score;
    size_t model, model_count; /* index of this one, and how many there are */
};

/* ---- scoring ------------------------------------------------------------------------------ */

/* How many elements of the row rank before `label`; of equal ones the first does. */
static size_t count_classes_above(const float *row, size_t classes, size_t label)
{
    size_t rank = 0;
    for (size_t i = 0; i < classes; i++)
        rank += row[i] > row[label] || (row[i] == row[label] && i < label);
    return rank;
}

static enum ldnq_status check_output(const struct evaluation *eval,
                                     const struct ldnq_tensor *output, size_t count,
                                     size_t *classes, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = eval->loaded.graph;
    char shape[LDNQ_SHAPE_TEXT];
    *classes = ldnq_count_classes(output, count);
    if (*classes == 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: output '%s' is %s %s, which is not one score per class for each of "
                         "%zu samples",
                         graph->file, graph->outputs[0]->name, ldnq_dtype_name(output->dtype),
                         ldnq_shape_print(&output->shape, NULL, shape, sizeof shape), count);
    return LDNQ_OK;
}

static enum ldnq_status score_batch(struct evaluation *eval, size_t first, size_t count,
                                    struct ldnq_error *err)
{
    struct model_score *score = eval->score;
    const struct ldnq_value *value = eval->loaded.graph->outputs[0];
    const struct ldnq_tensor *output = ldnq_exec_find_value(eval->exec, value);
    size_t classes = 0;
    LDNQ_TRY(check_output(eval, output, count, &classes, err));
    for (size_t i = 0; i < count; i++) {
        const float *row = (const float *)output->data + i * classes;
        const int64_t label = ldnq_samples_label(eval->samples, first + i);
        if (label < 0 || (uint64_t)label >= classes)
            return ldnq_fail(err, LDNQ_DATA, "%s: class %" PRId64 " where '%s' has %zu classes",
                             ldnq_samples_name(eval->samples, first + i), label, value->name,
                             classes);
        const size_t rank = count_classes_above(row, classes, (size_t)label);
        score->top1 += rank == 0;
        score->top5 += rank < TOP;
        score->predicted[first + i] = ldnq_find_best_class(row, classes);
    }
    return LDNQ_OK;
}

static enum ldnq_status run_and_score_batch(struct evaluation *eval,
                                            struct ldnq_tensor *const *inputs, size_t first,
                                            size_t count, struct ldnq_error *err)
{
    const double start = ldnq_now();
    LDNQ_TRY(ldnq_name_failed_sample(ldnq_exec_run(eval->exec, inputs, err), eval->loaded.graph,
                                     eval->samples, first, count, err));
    eval->score->seconds += ldnq_now() - start;
    return score_batch(eval, first, count, err);
}

static enum ldnq_status score_own_batches(struct evaluation *eval, struct ldnq_rank_share own,
                                          size_t batch, struct ldnq_error *err)
{
    const size_t samples = eval->score->samples;
    for (size_t first = own.first * batch; first < own.end * batch && first < samples;
         first += batch) {
        struct ldnq_sample_batch read;
        const size_t count = ldnq_size_min(batch, samples - first);
        LDNQ_TRY(ldnq_sample_batch_read(eval->samples, first, count, eval->job.pool, &read, err));
        const enum ldnq_status status = run_and_score_batch(eval, read.inputs, first, count, err);
        ldnq_exec_reset(eval->exec);
        ldnq_arena_destroy(read.arena);
        LDNQ_TRY(status);
        LDNQ_TRY(ldnq_sink_progress(&eval->job.sink, "eval", eval->score->file,
                                    eval->model * samples + first + count,
                                    eval->model_count * samples, err));
    }
    return LDNQ_OK;
}

/* Ranks with other samples or another model would add up what does not belong together. */
static enum ldnq_status compare_ranks(struct evaluation *eval, struct ldnq_error *err)
{
    struct ldnq_ranks *ranks = eval->job.ranks;
    uint64_t own[3] = { ldnq_samples_count(eval->samples), ldnq_model_hash(eval->loaded.model), 0 };
    uint64_t first[3];
    if (ldnq_ranks_count(ranks) == 1)
        return LDNQ_OK;
    enum ldnq_status status = ldnq_samples_hash(eval->samples, &own[2], err);
    LDNQ_TRY(ldnq_ranks_share_first_failure(ranks, status, err));
    memcpy(first, own, sizeof first);
    LDNQ_TRY(ldnq_ranks_broadcast(ranks, 0, first, sizeof first, err));
    if (memcmp(first, own, sizeof first) != 0)
        status = ldnq_fail(err, LDNQ_USAGE,
                           "rank %zu on %s has %s than rank 0 (hash %016" PRIx64 " for %016" PRIx64
                           "); give all ranks the same",
                           ranks->rank, ldnq_ranks_host(ranks->rank),
                           first[1] != own[1] ? "another model" : "other samples",
                           first[1] != own[1] ? own[1] : own[2],
                           first[1] != own[1] ? first[1] : first[2]);
    return ldnq_ranks_share_first_failure(ranks, status, err);
}

/* Each rank scores its batches; all know what all have scored. */
static enum ldnq_status score_all_batches(struct evaluation *eval, struct ldnq_error *err)
{
    struct model_score *score = eval->score;
    struct ldnq_ranks *ranks = eval->job.ranks;
    const size_t batch = ldnq_samples_choose_batch_size(eval->samples, eval->loaded.graph, BATCH);
    const size_t batches = ldnq_size_ceil_div(score->samples, batch);
    const enum ldnq_status status =
        score_own_batches(eval, ldnq_ranks_own_share(ranks, batches), batch, err);
    LDNQ_TRY(ldnq_ranks_share_first_failure(ranks, status, err));
    if (ldnq_ranks_count(ranks) == 1)
        return LDNQ_OK;
    size_t *bounds = ldnq_rank_bounds(ranks);
    size_t(*counts)[2] = ldnq_calloc(ranks->count, sizeof *counts);
    for (size_t rank = 0; bounds && rank < ranks->count; rank++)
        bounds[rank + 1] =
            ldnq_size_min(ldnq_ranks_share(ranks, rank, batches).end * batch, score->samples);
    if (bounds && counts) {
        counts[ranks->rank][0] = score->top1;
        counts[ranks->rank][1] = score->top5;
        ldnq_ranks_allgather_rows(ranks, score->predicted, bounds, sizeof *score->predicted);
        ldnq_ranks_allgather_units(ranks, counts, ranks->count, sizeof *counts, NULL);
        score->top1 = score->top5 = 0;
        for (size_t rank = 0; rank < ranks->count; rank++) {
            score->top1 += counts[rank][0];
            score->top5 += counts[rank][1];
        }
    }
    const bool has_memory = bounds && counts;
    ldnq_free(bounds);
    ldnq_free(counts);
    return has_memory ? ldnq_ranks_check(ranks, err) : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

static enum ldnq_status score_model(struct evaluation *eval, const struct ldnq_onnx *onnx,
                                    const struct ldnq_dataset *dataset, struct ldnq_error *err)
{
    struct model_score *score = eval->score;
    LDNQ_TRY(ldnq_job_load(&eval->job, onnx, &eval->loaded, err));
    LDNQ_TRY(ldnq_passes_widen_and_run(eval->loaded.graph, err));
    const struct ldnq_job_samples wanted = { .need_labels = true };
    LDNQ_TRY(ldnq_job_open_samples(&eval->job, dataset, eval->loaded.graph, &wanted, &eval->samples,
                                   err));
    LDNQ_TRY(ldnq_check_batch(eval->loaded.graph, eval->samples, eval->job.pool, NULL, err));
    score->file = ldnq_onnx_name(onnx);
    score->samples = ldnq_samples_count(eval->samples);
    score->predicted = ldnq_calloc(score->samples, sizeof *score->predicted);
    if (!score->predicted)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    LDNQ_TRY(compare_ranks(eval, err));
    LDNQ_TRY(ldnq_exec_create(eval->loaded.graph, eval->job.pool, &eval->exec, err));
    LDNQ_TRY(score_all_batches(eval, err));
    /* Not before: a model without scores is refused in one line. */
    const char *reason = ldnq_samples_single_reason(eval->samples);
    if (reason)
        ldnq_sink_warn(&eval->job.sink, "%s: samples run one at a time: %s", score->file, reason);
    return LDNQ_OK;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static double compute_percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Counts the samples in which two models name the same class. */
static size_t count_agreements(const struct model_score *a, const struct model_score *b)
{
    size_t same = 0;
    for (size_t i = 0; i < a->samples; i++)
        same += a->predicted[i] == b->predicted[i];
    return same;
}

/* Adds "NAME_low" and "NAME_high", in percent. */
static bool add_interval_json(cJSON *item, const char *low, const char *high, size_t part,
                              size_t whole)
{
    const struct ldnq_interval interval = ldnq_compute_share_interval(part, whole);
    return ldnq_json_add_number(item, low, 100 * interval.low) &&
           ldnq_json_add_number(item, high, 100 * interval.high);
}

static bool add_score_json(cJSON *list, const struct model_score *score)
{
    cJSON *item = ldnq_json_append_object(list);
    return item && ldnq_json_add_text(item, "file", score->file) &&
           ldnq_json_add_number(item, "top1", compute_percent(score->top1, score->samples)) &&
           add_interval_json(item, "top1_low", "top1_high", score->top1, score->samples) &&
           ldnq_json_add_number(item, "top5", compute_percent(score->top5, score->samples)) &&
           ldnq_json_add_number(item, "samples", (double)score->samples) &&
           ldnq_json_add_number(item, "seconds", score->seconds);
}

enum agreement_figure { AGREEMENT, AGREEMENT_LOW, AGREEMENT_HIGH };

static double compute_agreement_figure(enum agreement_figure figure, const struct model_score *a,
                                       const struct model_score *b)
{
    const size_t same = count_agreements(a, b);
    const struct ldnq_interval interval = ldnq_compute_share_interval(same, a->samples);
    return figure == AGREEMENT       ? compute_percent(same, a->samples)
           : figure == AGREEMENT_LOW ? 100 * interval.low
                                     : 100 * interval.high;
}

/* Adds null for one model, a number for two, a list (each with the first) for more. */
static bool add_agreement_figure_json(cJSON *root, const char *name, enum agreement_figure figure,
                                      const struct model_score *scores, size_t count)
{
    if (count == 1)
        return cJSON_AddNullToObject(root, name) != NULL;
    if (count == 2)
        return ldnq_json_add_number(root, name,
                                    compute_agreement_figure(figure, &scores[0], &scores[1]));
    cJSON *list = cJSON_AddArrayToObject(root, name);
    for (size_t i = 1; list && i < count; i++)
        if (!cJSON_AddItemToArray(
                list, cJSON_CreateNumber(compute_agreement_figure(figure, &scores[0], &scores[i]))))
            return false;
    return list != NULL;
}

static bool add_agreement_json(cJSON *root, const struct model_score *scores, size_t count)
{
    return add_agreement_figure_json(root, "agreement", AGREEMENT, scores, count) &&
           add_agreement_figure_json(root, "agreement_low", AGREEMENT_LOW, scores, count) &&
           add_agreement_figure_json(root, "agreement_high", AGREEMENT_HIGH, scores, count);
}

static bool fill_result_json(cJSON *root, const struct model_score *scores, size_t count)
{
    cJSON *list = cJSON_AddArrayToObject(root, "models");
    for (size_t i = 0; list && i < count; i++)
        if (!add_score_json(list, &scores[i]))
            return false;
    return list && add_agreement_json(root, scores, count);
}

/* ---- the job ----------------------------------------------------------------------------------
 */

static enum ldnq_status score_all(const struct ldnq_onnx *const *models, size_t count,
                                  const struct ldnq_dataset *samples,
                                  const struct ldnq_options *options, struct model_score *scores,
                                  struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct evaluation eval = { .score = &scores[i], .model = i, .model_count = count };
        enum ldnq_status status = ldnq_job_init(&eval.job, options, err);
        if (status == LDNQ_OK)
            status = score_model(&eval, models[i], samples, err);
        ldnq_job_report_failure_to_ranks(&eval.job, status, err);
        ldnq_exec_destroy(eval.exec);
        ldnq_samples_destroy(eval.samples);
        ldnq_model_destroy(eval.loaded.model);
        ldnq_job_finish(&eval.job);
        LDNQ_TRY(status);
        if (scores[i].samples != scores[0].samples)
            return ldnq_fail(err, LDNQ_DATA, "%s: reads %zu samples where %s reads %zu",
                             scores[i].file, scores[i].samples, scores[0].file, scores[0].samples);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_eval(const struct ldnq_onnx *const *models, size_t count,
                           const struct ldnq_dataset *samples, const struct ldnq_options *options,
                           struct ldnq_result **out, struct ldnq_error *err)
{
    struct ldnq_result *result = NULL;
    if (out)
        *out = NULL;
    if (!models || count == 0)
        return ldnq_fail(err, LDNQ_USAGE, "no model is given");
    struct model_score *scores = ldnq_calloc(count, sizeof *scores);
    if (!scores)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    enum ldnq_status status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        status = score_all(models, count, samples, options, scores, err);
    if (status == LDNQ_OK) {
        cJSON *root = cJSON_CreateObject();
        status =
            ldnq_result_print(result, root, root && fill_result_json(root, scores, count), err);
    }
    for (size_t i = 0; i < count; i++)
        ldnq_free(scores[i].predicted);
    ldnq_free(scores);
    return ldnq_result_return_or_destroy(result, status, out);
}

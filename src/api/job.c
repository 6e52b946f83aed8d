/* SPDX-License-Identifier: Apache-2.0 */
#include "api/job.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/foreign_nodes.h"
#include "api/option_value.h"
#include "api/picture_options.h"
#include "base/alloc.h"
#include "base/json_add.h"
#include "base/ranks_join.h"
#include "emit/rewrite_lookups.h"
#include "linalg/blas.h"
#include "linalg/blas_buffers.h"
#include "passes/passes.h"

/* ---- callbacks ---------------------------------------------------------------------------- */

static int report_progress(void *ctx, const struct ldnq_progress *progress)
{
    const struct ldnq_job *job = ctx;
    const int result = job->options->progress(job->options->progress_ctx, progress);
    return result == LDNQ_CANCEL_AFTER_LAYER && ldnq_checkpoint_end_after_layer(job->checkpoint)
               ? 0
               : result;
}

void ldnq_job_report_event(const struct ldnq_job *job, const cJSON *event)
{
    if (!job->options || !job->options->event || !ldnq_ranks_is_first(job->ranks))
        return;
    char *text = event ? ldnq_json_print(event, LDNQ_JSON_LINE) : NULL;
    if (text)
        job->options->event(job->options->event_ctx, text);
    ldnq_free(text);
}

static bool has_warned(const struct ldnq_job *job, const char *message)
{
    const cJSON *text;
    cJSON_ArrayForEach(text,
                       job->warnings) if (strcmp(text->valuestring, message) == 0) return true;
    return false;
}

/* The same text once: samples are opened several times. */
static void report_warning(void *ctx, const char *message)
{
    struct ldnq_job *job = ctx;
    if (has_warned(job, message))
        return;
    cJSON *text = cJSON_CreateString(message);
    if (!job->warnings)
        job->warnings = cJSON_CreateArray();
    if (!text || !job->warnings || !cJSON_AddItemToArray(job->warnings, text))
        cJSON_Delete(text);
    cJSON *event = cJSON_CreateObject();
    if (event && ldnq_json_add_text(event, "event", "warning") &&
        ldnq_json_add_text(event, "text", message))
        ldnq_job_report_event(job, event);
    cJSON_Delete(event);
}

/* ---- the frame ------------------------------------------------------------------------------ */

enum ldnq_status ldnq_job_init(struct ldnq_job *job, const struct ldnq_options *options,
                               struct ldnq_error *err)
{
    *job = (struct ldnq_job){ .options = options };
    job->sink.ctx = job;
    LDNQ_TRY(ldnq_ranks_join(&job->ranks, err));
    if (job->ranks) {
        job->ranks->sent_bytes = 0;
        job->ranks->waiting_seconds = 0;
    }
    job->sink.progress =
        options && options->progress && ldnq_ranks_is_first(job->ranks) ? report_progress : NULL;
    job->sink.warn = report_warning;
    job->is_portable = ldnq_option_flag(options, OPTION_PORTABLE);
    if (job->is_portable)
        LDNQ_TRY(ldnq_blas_acquire_portable(err));
    else
        ldnq_blas_acquire();
    job->has_blas = true;
    char warning[256];
    if (!job->is_portable && ldnq_blas_warning(warning, sizeof warning))
        ldnq_sink_warn(&job->sink, "%s", warning);
    LDNQ_TRY(ldnq_arena_create(&job->arena, err));
    LDNQ_TRY(ldnq_pool_create(ldnq_option_count(options, OPTION_THREADS), &job->pool, err));
    ldnq_pool_join_ranks(job->pool, job->ranks);
    LDNQ_TRY(ldnq_blas_reserve(ldnq_pool_threads(job->pool), err));
    job->blas_threads = ldnq_pool_threads(job->pool);
    return LDNQ_OK;
}

void ldnq_job_finish(struct ldnq_job *job)
{
    cJSON_Delete(job->warnings);
    ldnq_pool_destroy(job->pool);
    ldnq_arena_destroy(job->arena);
    ldnq_blas_unreserve(job->blas_threads);
    if (job->has_blas)
        ldnq_blas_release();
}

enum ldnq_status ldnq_job_report_failure_to_ranks(const struct ldnq_job *job,
                                                  enum ldnq_status status,
                                                  const struct ldnq_error *err)
{
    if (status != LDNQ_OK && status != LDNQ_GATE)
        ldnq_ranks_report_failure(job->ranks, status, err);
    return status;
}

/* ---- models and samples --------------------------------------------------------------------- */

static enum ldnq_status import_graph(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                     struct ldnq_error *err)
{
    size_t count;
    const char *const *dims = ldnq_option_list(job->options, OPTION_DIM, &count);
    LDNQ_TRY(ldnq_model_import_as(loaded->model, job->form, job->arena, &loaded->graph, err));
    for (size_t i = 0; i < count; i++) {
        char name[256];
        size_t size = 0;
        ldnq_parse_dim(dims[i], name, sizeof name, &size); /* checked when it was set */
        LDNQ_TRY(ldnq_pass_bind_dim(loaded->graph, name, (int64_t)size, err));
    }
    return LDNQ_OK;
}

/* Where no layer would be left, the graph stays whole, so that the nodes are named as an error. */
enum ldnq_status ldnq_job_import(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                 struct ldnq_error *err)
{
    bool is_empty;
    LDNQ_TRY(import_graph(job, loaded, err));
    if (!job->cuts_foreign)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_cut_foreign_nodes(loaded->graph, &job->sink, &is_empty, err));
    return is_empty ? import_graph(job, loaded, err) : LDNQ_OK;
}

enum ldnq_status ldnq_job_rewrite_lookups(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                          struct ldnq_error *err)
{
    if (!ldnq_model_has_operator(loaded->model, "GatherND"))
        return LDNQ_OK;
    LDNQ_TRY(import_graph(job, loaded, err));
    /* Nodes that can't be executed are named later; shapes of the others are known. */
    const enum ldnq_status status = ldnq_pass_bind_and_fold(loaded->graph, err);
    if (status != LDNQ_OK && status != LDNQ_UNSUPPORTED && status != LDNQ_MODEL)
        return status;
    return ldnq_emit_rewrite_lookups(loaded->model, loaded->graph, err);
}

enum ldnq_status ldnq_job_load(const struct ldnq_job *job, const struct ldnq_onnx *onnx,
                               struct ldnq_job_model *loaded, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_onnx_load(onnx, &loaded->model, err));
    return ldnq_job_import(job, loaded, err);
}

enum ldnq_status ldnq_job_open_samples(const struct ldnq_job *job,
                                       const struct ldnq_dataset *dataset,
                                       const struct ldnq_graph *graph,
                                       const struct ldnq_job_samples *wanted,
                                       struct ldnq_samples **samples, struct ldnq_error *err)
{
    struct ldnq_samples_options options = {
        .max_samples = wanted->all ? 0 : ldnq_option_count(job->options, OPTION_MAX_SAMPLES),
        .seed = ldnq_option_count(job->options, OPTION_SEED),
        .shuffle = wanted->shuffle,
        .part = wanted->part,
        .need_labels = wanted->need_labels,
        .is_strict = ldnq_option_flag(job->options, OPTION_STRICT),
        .pool = job->pool,
        .mask = ldnq_option_text(job->options, OPTION_MASK),
        .sink = &job->sink,
    };
    LDNQ_TRY(ldnq_preprocess_read_options(job->options, &options.preprocess, err));
    LDNQ_TRY(ldnq_dataset_open(dataset, graph, &options, samples, err));
    return ldnq_preprocess_check_samples(job->options, *samples, err);
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* SPDX-License-Identifier: Apache-2.0 */
/* job_diff.c: what quantization did to a network: the float model and quantized ones, side by side.
 */
#include <string.h>

#include "api/diff_facts.h"
#include "api/diff_gates.h"
#include "api/expected_speed.h"
#include "api/job.h"
#include "api/output_files.h"
#include "api/page.h"
#include "api/result.h"
#include "base/ranks.h"
#include "compare/compare.h"
#include "report/report.h"

struct diff_job {
    struct ldnq_job job;
    struct ldnq_output_files files;
    struct ldnq_job_model reference;
    struct ldnq_job_model *candidates; /* (count) */
    struct ldnq_diff **found;          /* (count) */
    size_t count;
    struct ldnq_samples *samples; /* NULL: structure and weights alone are compared */
};

/* The models that the caller wants compared. */
struct diff_models {
    const struct ldnq_onnx *reference;
    const struct ldnq_onnx *const *candidates; /* (count) */
    size_t count;
    bool are_summarized; /* the result is a few figures of each */
};

static enum ldnq_status load_model(const struct diff_job *diff, const struct ldnq_onnx *onnx,
                                   struct ldnq_job_model *loaded, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_onnx_load(onnx, &loaded->model, err));
    LDNQ_TRY(ldnq_job_rewrite_lookups(&diff->job, loaded, err));
    LDNQ_TRY(ldnq_job_import(&diff->job, loaded, err));
    return ldnq_output_files_check_model(&diff->files, onnx, loaded->model, err);
}

static enum ldnq_status load_models(struct diff_job *diff, const struct diff_models *models,
                                    struct ldnq_error *err)
{
    struct ldnq_arena *arena = diff->job.arena;
    diff->candidates = ldnq_arena_alloc(arena, models->count, sizeof *diff->candidates, err);
    diff->found = ldnq_arena_alloc(arena, models->count, sizeof(void *), err);
    if (!diff->candidates || !diff->found)
        return LDNQ_NOMEM;
    LDNQ_TRY(load_model(diff, models->reference, &diff->reference, err));
    for (size_t i = 0; i < models->count; i++) {
        diff->count++;
        LDNQ_TRY(load_model(diff, models->candidates[i], &diff->candidates[i], err));
    }
    return LDNQ_OK;
}

static enum ldnq_status open_samples(struct diff_job *diff, const struct ldnq_dataset *samples,
                                     struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_job_open_samples(&diff->job, samples, diff->reference.graph,
                                   &(struct ldnq_job_samples){ .shuffle = true }, &diff->samples,
                                   err));
    return ldnq_output_files_check_samples(&diff->files, diff->samples, err);
}

/* Each comparison changes a graph of the float model, which is loaded once. */
static enum ldnq_status compare_candidates(struct diff_job *diff, const struct diff_models *models,
                                           struct ldnq_error *err)
{
    struct ldnq_job *job = &diff->job;
    struct ldnq_diff_options *options =
        ldnq_arena_alloc(job->arena, diff->count, sizeof *options, err);
    if (!options)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < diff->count; i++) {
        struct ldnq_job_model reference = diff->reference;
        if (i > 0)
            LDNQ_TRY(ldnq_job_import(job, &reference, err));
        options[i] = (struct ldnq_diff_options){
            .model_a = reference.model,
            .model_b = diff->candidates[i].model,
            .graph_a = reference.graph,
            .graph_b = diff->candidates[i].graph,
            .samples = diff->samples,
            .pool = job->pool,
            .sink = &job->sink,
        };
    }
    LDNQ_TRY(models->are_summarized
                 ? ldnq_diff_create_candidates(options, diff->count, job->arena, diff->found, err)
                 : ldnq_diff_create(options, job->arena, diff->found, err));
    for (size_t i = 0; i < diff->count; i++) {
        LDNQ_TRY(
            ldnq_diff_fill_speed(job, options[i].model_a, options[i].model_b, diff->found[i], err));
        LDNQ_TRY(ldnq_diff_judge_gates(job->options, job->arena, diff->found[i], err));
    }
    return LDNQ_OK;
}

/* The page's command names all models. */
static enum ldnq_status fill_reproduction(struct diff_job *diff, const struct diff_models *models,
                                          struct ldnq_error *err)
{
    const struct ldnq_job *job = &diff->job;
    const char **names = ldnq_arena_alloc(job->arena, models->count + 1, sizeof *names, err);
    if (!names)
        return LDNQ_NOMEM;
    names[0] = ldnq_onnx_name(models->reference);
    for (size_t i = 0; i < models->count; i++)
        names[i + 1] = ldnq_onnx_name(models->candidates[i]);
    return ldnq_diff_fill_reproduction("diff", names, models->count + 1, job->options,
                                       models->count > 1 ? NULL : diff->candidates[0].model,
                                       job->arena, diff->found[0], err);
}

static enum ldnq_status write_result(struct diff_job *diff, const struct diff_models *models,
                                     struct ldnq_result *result, struct ldnq_error *err)
{
    const struct ldnq_job *job = &diff->job;
    const char *page = ldnq_option_text(job->options, OPTION_HTML);
    if (ldnq_page_is_wanted(job->options, page)) {
        LDNQ_TRY(models->are_summarized
                     ? ldnq_page_render_candidates(diff->found, diff->count, result, err)
                     : ldnq_page_render(diff->found[0], result, err));
        if (ldnq_ranks_is_first(job->ranks))
            LDNQ_TRY(ldnq_page_write(job->options, page, result, err));
    }
    return models->are_summarized
               ? ldnq_candidates_print_json(diff->found, diff->count, &result->json, err)
               : ldnq_diff_print_json(diff->found[0], &result->json, err);
}

static enum ldnq_status compare_models(struct diff_job *diff, const struct diff_models *models,
                                       const struct ldnq_dataset *samples,
                                       struct ldnq_result *result, struct ldnq_error *err)
{
    diff->job.form = LDNQ_FORM_PAIRS;
    diff->job.cuts_foreign = true;
    LDNQ_TRY(load_models(diff, models, err));
    if (samples)
        LDNQ_TRY(open_samples(diff, samples, err));
    LDNQ_TRY(compare_candidates(diff, models, err));
    LDNQ_TRY(fill_reproduction(diff, models, err));
    return write_result(diff, models, result, err);
}

static enum ldnq_status run_diff_job(const struct diff_models *models,
                                     const struct ldnq_dataset *samples,
                                     const struct ldnq_options *options, struct ldnq_result **out,
                                     struct ldnq_error *err)
{
    struct diff_job diff = { .count = 0 };
    struct ldnq_result *result = NULL;
    if (out)
        *out = NULL;
    LDNQ_TRY(
        ldnq_output_files_add(&diff.files, "html", ldnq_option_text(options, OPTION_HTML), err));
    enum ldnq_status status = ldnq_job_init(&diff.job, options, err);
    if (status == LDNQ_OK)
        status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        status = compare_models(&diff, models, samples, result, err);
    ldnq_samples_destroy(diff.samples);
    ldnq_model_destroy(diff.reference.model);
    for (size_t i = 0; i < diff.count; i++)
        ldnq_model_destroy(diff.candidates[i].model);
    ldnq_job_finish(&diff.job);
    return ldnq_result_return_or_destroy(result, status, out);
}

enum ldnq_status ldnq_diff(const struct ldnq_onnx *reference, const struct ldnq_onnx *quantized,
                           const struct ldnq_dataset *samples, const struct ldnq_options *options,
                           struct ldnq_result **out, struct ldnq_error *err)
{
    const struct diff_models models = { reference, &quantized, 1, false };
    return run_diff_job(&models, samples, options, out, err);
}

enum ldnq_status ldnq_diff_candidates(const struct ldnq_onnx *reference,
                                      const struct ldnq_onnx *const *candidates, size_t count,
                                      const struct ldnq_dataset *samples,
                                      const struct ldnq_options *options, struct ldnq_result **out,
                                      struct ldnq_error *err)
{
    const struct diff_models models = { reference, candidates, count, true };
    if (count == 0)
        return ldnq_fail(err, LDNQ_USAGE, "a comparison needs a quantized model");
    return run_diff_job(&models, samples, options, out, err);
}

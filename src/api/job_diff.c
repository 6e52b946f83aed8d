/* job_diff.c: what quantization did to a network: two models, side by side. */
#include <string.h>

#include "api/diff_facts.h"
#include "api/diff_gates.h"
#include "api/job.h"
#include "api/output_files.h"
#include "api/page.h"
#include "api/result.h"
#include "compare/compare.h"
#include "report/report.h"

struct diff_job {
    struct ldnq_job job;
    struct ldnq_job_model a, b;
    struct ldnq_samples *samples;
    struct ldnq_output_files files;
};

static enum ldnq_status load_model(const struct ldnq_job *job, const struct ldnq_onnx *onnx,
                                   struct ldnq_job_model *loaded, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_onnx_load(onnx, &loaded->model, err));
    LDNQ_TRY(ldnq_job_rewrite_lookups(job, loaded, err));
    return ldnq_job_import(job, loaded, err);
}

static enum ldnq_status compare_models(struct diff_job *diff, const struct ldnq_onnx *a,
                                       const struct ldnq_onnx *b,
                                       const struct ldnq_dataset *samples,
                                       struct ldnq_result *result, struct ldnq_error *err)
{
    struct ldnq_job *job = &diff->job;
    struct ldnq_diff *found;
    job->form = LDNQ_FORM_PAIRS;
    job->cuts_foreign = true;
    LDNQ_TRY(load_model(job, a, &diff->a, err));
    LDNQ_TRY(load_model(job, b, &diff->b, err));
    LDNQ_TRY(ldnq_output_files_check_model(&diff->files, a, diff->a.model, err));
    LDNQ_TRY(ldnq_output_files_check_model(&diff->files, b, diff->b.model, err));
    if (samples) {
        LDNQ_TRY(ldnq_job_open_samples(job, samples, diff->a.graph,
                                       &(struct ldnq_job_samples){ .shuffle = true },
                                       &diff->samples, err));
        LDNQ_TRY(ldnq_output_files_check_samples(&diff->files, diff->samples, err));
    }
    const struct ldnq_diff_options options = {
        .model_a = diff->a.model,
        .model_b = diff->b.model,
        .graph_a = diff->a.graph,
        .graph_b = diff->b.graph,
        .samples = diff->samples,
        .pool = job->pool,
        .sink = &job->sink,
    };
    LDNQ_TRY(ldnq_diff_create(&options, job->arena, &found, err));
    LDNQ_TRY(ldnq_diff_judge_gates(job->options, job->arena, found, err));
    const char *const names[] = { ldnq_onnx_name(a), ldnq_onnx_name(b) };
    LDNQ_TRY(ldnq_diff_state_facts("diff", names, 2, job->options, diff->b.model, job->arena, found,
                                   err));
    const char *page = ldnq_option_text(job->options, OPTION_HTML);
    if (ldnq_page_is_wanted(job->options, page)) {
        LDNQ_TRY(ldnq_page_render(found, result, err));
        LDNQ_TRY(ldnq_page_write(job->options, page, result, err));
    }
    return ldnq_diff_print_json(found, &result->json, err);
}

enum ldnq_status ldnq_diff(const struct ldnq_onnx *reference, const struct ldnq_onnx *quantized,
                           const struct ldnq_dataset *samples, const struct ldnq_options *options,
                           struct ldnq_result **out, struct ldnq_error *err)
{
    struct diff_job diff = { .samples = NULL };
    struct ldnq_result *result = NULL;
    if (out)
        *out = NULL;
    LDNQ_TRY(
        ldnq_output_files_add(&diff.files, "html", ldnq_option_text(options, OPTION_HTML), err));
    enum ldnq_status status = ldnq_job_init(&diff.job, options, err);
    if (status == LDNQ_OK)
        status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        status = compare_models(&diff, reference, quantized, samples, result, err);
    ldnq_samples_destroy(diff.samples);
    ldnq_model_destroy(diff.a.model);
    ldnq_model_destroy(diff.b.model);
    ldnq_job_finish(&diff.job);
    return ldnq_result_return_or_destroy(result, status, out);
}

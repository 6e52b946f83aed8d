/* cmd_diff.c: what quantization did to a network: two files, side by side. */
#include "compare/compare.h"

#include <stdio.h>

#include "cli/diff_table.h"
#include "cli/gates.h"
#include "cli/outfile.h"
#include "cli/session.h"
#include "report/report.h"

struct job {
    struct cli_session a, b; /* b has a model of its own, and else what a has */
    struct ldnq_samples *samples;
    struct ldnq_diff *diff;
    enum cli_sort sort;
};

static enum ldnq_status print_json(const struct ldnq_diff *diff, struct ldnq_error *err)
{
    char *text;
    LDNQ_TRY(ldnq_diff_json(diff, &text, err));
    printf("%s\n", text);
    ldnq_report_free(text);
    return LDNQ_OK;
}

static enum ldnq_status diff_files(struct job *job, struct ldnq_error *err)
{
    const struct cli_settings *settings = job->a.settings;
    LDNQ_TRY(ldnq_model_load(settings->models.items[0], &job->a.model, err));
    LDNQ_TRY(cli_session_import(&job->a, err));
    LDNQ_TRY(cli_session_beside(&job->a, settings->models.items[1], &job->b, err));
    if (settings->data)
        LDNQ_TRY(cli_session_samples(&job->a, settings->data, false, &job->samples, err));
    const struct ldnq_diff_options options = {
        .model_a = job->a.model,
        .model_b = job->b.model,
        .graph_a = job->a.graph,
        .graph_b = job->b.graph,
        .samples = job->samples,
        .pool = job->a.pool,
        .sink = &job->a.progress.sink,
    };
    LDNQ_TRY(ldnq_diff_create(&options, job->a.arena, &job->diff, err));
    cli_progress_finish(&job->a.progress);
    if (settings->html)
        LDNQ_TRY(ldnq_diff_html(job->diff, settings->html, err));
    if (settings->json)
        LDNQ_TRY(print_json(job->diff, err));
    else if (!settings->quiet)
        LDNQ_TRY(cli_print_diff(job->diff, job->sort, settings->top, err));
    return cli_gates_pass(settings, job->diff, err);
}

static enum ldnq_status run_diff(const struct cli_settings *settings, struct ldnq_error *err)
{
    struct job job = { .samples = NULL };
    LDNQ_TRY(cli_choose_sort(settings->sort, &job.sort, err));
    LDNQ_TRY(cli_gates_check(settings, err));
    if (settings->html)
        LDNQ_TRY(cli_check_outfile(settings->html, err));
    enum ldnq_status status = cli_session_init(&job.a, settings, err);
    if (status == LDNQ_OK)
        status = diff_files(&job, err);
    ldnq_samples_destroy(job.samples);
    ldnq_model_destroy(job.b.model);
    cli_session_finish(&job.a);
    return status;
}

static const char *const options[] = {
    "--data",
    "--sort",
    "--top",
    "--html",
    "--fail-below-sqnr",
    "--fail-below-agreement",
    "--fail-size-above",
    "--mean",
    "--std",
    "--scale",
    "--resize",
    "--crop",
    "--dim",
    "--max-samples",
    "--seed",
    "--threads",
    "--json",
    "--quiet",
    NULL,
};

const struct cli_command cli_cmd_diff = {
    .name = "diff",
    .arguments = "FLOAT QUANT [--data PATH] [options]",
    .summary = "what quantization did: two files side by side, layer by layer",
    .details =
        "Pairs the nodes of a float file (A) and a quantized one (B), whichever tool made it,\n"
        "through QuantizeLinear and DequantizeLinear, and tells what became of each layer.\n"
        "With --data both run side by side: a layer's isolated error is that of B's layer on A's\n"
        "input, where it is made; the accumulated one is what has come together in B up to\n"
        "there. Labels are not needed.\n\n"
        "  ldnq diff net.onnx net-int4.onnx\n"
        "  ldnq diff net.onnx net-int4.onnx --data images/ --html report.html \\\n"
        "       --mean .485,.456,.406 --std .229,.224,.225 --fail-below-agreement 97",
    .options = options,
    .models_min = 2,
    .models_max = 2,
    .run = run_diff,
};

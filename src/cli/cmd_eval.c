/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_eval.c: top-1 and top-5 of models on labelled samples, side by side. */
#include <stdint.h>
#include <stdio.h>

#include "cli/failure.h"
#include "cli/handles.h"
#include "cli/json.h"

/* The figure of model `index` compared with the first; a list only with more than two models. */
static double read_agreement(const cJSON *root, const char *name, int index)
{
    const cJSON *figure = cli_json_item(root, name);
    return cJSON_GetNumberValue(cJSON_IsArray(figure) ? cJSON_GetArrayItem(figure, index - 1)
                                                      : figure);
}

static void print_table(const cJSON *root)
{
    const cJSON *models = cli_json_item(root, "models"), *model;
    const char *first = cli_json_text(cJSON_GetArrayItem(models, 0), "file");
    int index = 0;
    printf("%8s  %-14s %8s %9s %9s  %s\n", "top-1", "95% interval", "top-5", "samples", "seconds",
           "model");
    cJSON_ArrayForEach(model, models)
        printf("%7.2f%%  %5.2f to %6.2f %7.2f%% %9zu %9.2f  %s\n", cli_json_number(model, "top1"),
               cli_json_number(model, "top1_low"), cli_json_number(model, "top1_high"),
               cli_json_number(model, "top5"), cli_json_read_count(model, "samples"),
               cli_json_number(model, "seconds"), cli_json_text(model, "file"));
    cJSON_ArrayForEach(model, models)
    {
        if (index++ == 0)
            continue;
        printf("agreement of %s with %s: %.2f%% (95 %% interval %.2f to %.2f) on %zu samples\n",
               cli_json_text(model, "file"), first, read_agreement(root, "agreement", index - 1),
               read_agreement(root, "agreement_low", index - 1),
               read_agreement(root, "agreement_high", index - 1),
               cli_json_read_count(model, "samples"));
    }
}

static enum ldnq_status run_eval(struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    if (!cli_line_text(line, "data"))
        return cli_fail(err, LDNQ_USAGE, "eval: --data PATH is missing: the labelled samples");
    enum ldnq_status status = cli_handles_init(&handles, line, "data", err);
    if (status == LDNQ_OK)
        status = ldnq_eval((const struct ldnq_onnx *const *)handles.models, handles.model_count,
                           handles.samples, line->options, &handles.result, err);
    cli_progress_finish(&handles.progress);
    if (status == LDNQ_OK)
        status = cli_json_print_or(line, handles.result, print_table, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_eval = {
    .name = "eval",
    .job = LDNQ_JOB_EVAL,
    .arguments = "MODEL [MODEL ...] --data PATH [options]",
    .summary = "measure the top-1 and top-5 accuracy of one or more models",
    .details = "Runs each model on labelled samples. With several models it also counts the\n"
               "samples for which each predicts the same class as the first. Shares have their\n"
               "95 % interval (Wilson), as a few samples do not tell models apart.",
    .examples = "  ldnq eval net.onnx net-int4.onnx --data images/ \\\n"
                "       --mean .485,.456,.406 --std .229,.224,.225",
    .models_min = 1,
    .models_max = SIZE_MAX,
    .run = run_eval,
};

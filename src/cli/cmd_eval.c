/* cmd_eval.c: top-1 and top-5 of models on labelled samples, side by side. */
#include <stdint.h>
#include <stdio.h>

#include "cli/failure.h"
#include "cli/handles.h"
#include "cli/json.h"

static void print_table(const cJSON *root)
{
    const cJSON *models = cli_json_item(root, "models"), *model;
    const cJSON *agreement = cli_json_item(root, "agreement");
    const char *first = cli_json_text(cJSON_GetArrayItem(models, 0), "file");
    int index = 0;
    printf("%8s %8s %9s %9s  %s\n", "top-1", "top-5", "samples", "seconds", "model");
    cJSON_ArrayForEach(model, models)
        printf("%7.2f%% %7.2f%% %9zu %9.2f  %s\n", cli_json_number(model, "top1"),
               cli_json_number(model, "top5"), cli_json_read_count(model, "samples"),
               cli_json_number(model, "seconds"), cli_json_text(model, "file"));
    cJSON_ArrayForEach(model, models)
    {
        if (index++ == 0)
            continue;
        const cJSON *own =
            cJSON_IsArray(agreement) ? cJSON_GetArrayItem(agreement, index - 2) : agreement;
        printf("agreement of %s with %s: %.2f%%\n", cli_json_text(model, "file"), first,
               cJSON_GetNumberValue(own));
    }
}

static enum ldnq_status print_result(const struct cli_line *line, const struct ldnq_result *result,
                                     struct ldnq_error *err)
{
    cJSON *root;
    if (cli_line_has_flag(line, "json")) {
        puts(ldnq_result_json(result));
        return LDNQ_OK;
    }
    const enum ldnq_status status = cli_json_parse(result, &root, err);
    if (status == LDNQ_OK)
        print_table(root);
    cJSON_Delete(root);
    return status;
}

static enum ldnq_status run_eval(const struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    const char *data = cli_line_text(line, "data");
    if (!data)
        return cli_fail(err, LDNQ_USAGE, "eval: --data PATH is missing: the labelled samples");
    enum ldnq_status status = cli_handles_init(&handles, line, data, err);
    if (status == LDNQ_OK)
        status = ldnq_eval((const struct ldnq_onnx *const *)handles.models, handles.model_count,
                           handles.samples, line->options, &handles.result, err);
    cli_progress_finish(&handles.progress);
    if (status == LDNQ_OK)
        status = print_result(line, handles.result, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_eval = {
    .name = "eval",
    .job = LDNQ_JOB_EVAL,
    .arguments = "MODEL [MODEL ...] --data PATH [options]",
    .summary = "measure the top-1 and top-5 accuracy of one or more models",
    .details = "Runs each model on labelled samples. With several models it also counts the\n"
               "samples for which each predicts the same class as the first.",
    .examples = "  ldnq eval net.onnx net-int4.onnx --data images/ \\\n"
                "       --mean .485,.456,.406 --std .229,.224,.225",
    .models_min = 1,
    .models_max = SIZE_MAX,
    .run = run_eval,
};

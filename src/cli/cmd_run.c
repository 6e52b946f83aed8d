/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_run.c: the reference executor on arrays from files. */
#include <stdio.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/handles.h"
#include "cli/json.h"
#include "cli/plain.h"

static void print_outputs(const cJSON *root)
{
    const cJSON *output;
    cJSON_ArrayForEach(output, cli_json_item(root, "outputs"))
    {
        char shape[512], name[CLI_PLAIN_SIZE];
        printf("%s: %s %s %s\n", cli_json_text(output, "file"),
               cli_copy_printable(cli_json_text(output, "name"), name),
               cli_json_text(output, "dtype"),
               cli_json_shape(cli_json_item(output, "shape"), shape, sizeof shape));
    }
}

static enum ldnq_status print_result(struct cli_line *line, const struct ldnq_result *result,
                                     struct ldnq_error *err)
{
    cJSON *root;
    if (cli_line_has_flag(line, "json"))
        cli_json_print_result(line, result);
    if (cli_line_has_flag(line, "json") || cli_line_has_flag(line, "quiet"))
        return LDNQ_OK;
    const enum ldnq_status status = cli_json_parse(result, &root, err);
    if (status == LDNQ_OK)
        print_outputs(root);
    cJSON_Delete(root);
    return status;
}

/* The library says which input is missing; where it comes from is the program's affair. */
static void add_missing_input_hint(struct ldnq_error *err)
{
    static const char end[] = " is missing";
    const size_t length = strlen(err->message);
    if (length > sizeof end && strcmp(err->message + length - (sizeof end - 1), end) == 0)
        snprintf(err->message + length, sizeof err->message - length,
                 "; give it with --input NAME=FILE.npy");
}

static enum ldnq_status run_command(struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    if (!cli_line_text(line, "output"))
        return cli_fail(err, LDNQ_USAGE, "run: --output DIR is missing");
    enum ldnq_status status = cli_handles_init(&handles, line, NULL, err);
    if (status == LDNQ_OK)
        status = ldnq_run(handles.models[0], NULL, 0, line->options, &handles.result, err);
    if (status == LDNQ_USAGE)
        add_missing_input_hint(err);
    if (status == LDNQ_OK)
        status = print_result(line, handles.result, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_run = {
    .name = "run",
    .job = LDNQ_JOB_RUN,
    .arguments = "MODEL --input [NAME=]FILE.npy ... --output DIR [options]",
    .summary = "run a model on arrays and write each output as .npy",
    .details = "Executes the model, float or QDQ, and writes OUTPUT_NAME.npy for each graph\n"
               "output into DIR ('/' in a name becomes '_').",
    .examples = "  ldnq run net.onnx --input image.npy --output out/\n"
                "  ldnq run net.onnx --input ids=ids.npy --input mask=mask.npy --output out/",
    .models_min = 1,
    .models_max = 1,
    .run = run_command,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_diff.c: what quantization did to a network: two files, side by side. */
#include <stdint.h>
#include <stdio.h>

#include "cli/diff_table.h"
#include "cli/gates.h"
#include "cli/handles.h"
#include "cli/json.h"
#include "cli/standard_streams.h"

/* Of several quantized files, one line each, and the first that exceeds a limit fails. */
static enum ldnq_status print_candidates(struct cli_line *line, const struct ldnq_result *result,
                                         struct ldnq_error *err)
{
    cJSON *root;
    const cJSON *candidate;
    enum ldnq_status status = cli_json_parse(result, &root, err);
    if (status == LDNQ_OK && cli_line_has_flag(line, "json"))
        cli_json_print_result(line, result);
    else if (status == LDNQ_OK && line->streamed)
        status = cli_write_streamed(line, result, err);
    else if (status == LDNQ_OK && !cli_line_has_flag(line, "quiet"))
        cli_print_candidates(root);
    if (status == LDNQ_OK)
        cJSON_ArrayForEach(candidate, cli_json_item(root, "candidates"))
        {
            if (status == LDNQ_OK)
                status = cli_gates_pass(candidate, cli_json_text(candidate, "path"), err);
        }
    cJSON_Delete(root);
    return status;
}

static enum ldnq_status print_diff(struct cli_line *line, const struct ldnq_result *result,
                                   struct ldnq_error *err)
{
    cJSON *diff;
    enum ldnq_status status = cli_json_parse(result, &diff, err);
    if (status == LDNQ_OK && cli_line_has_flag(line, "json"))
        cli_json_print_result(line, result);
    else if (status == LDNQ_OK && line->streamed)
        status = cli_write_streamed(line, result, err);
    else if (status == LDNQ_OK && !cli_line_has_flag(line, "quiet"))
        status = cli_print_diff(diff, cli_line_text(line, "sort"),
                                (size_t)cli_line_number(line, "top"), err);
    if (status == LDNQ_OK)
        status = cli_gates_pass(diff, cli_json_text(cli_json_item(diff, "b"), "path"), err);
    cJSON_Delete(diff);
    return status;
}

static enum ldnq_status run_diff(struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    enum ldnq_status status = cli_gates_check(line, err);
    if (status != LDNQ_OK)
        return status;
    status = cli_handles_init(&handles, line, "data", err);
    const bool has_several = line->model_count > 2;
    if (status == LDNQ_OK && has_several)
        status = ldnq_diff_candidates(
            handles.models[0], (const struct ldnq_onnx *const *)handles.models + 1,
            line->model_count - 1, handles.samples, line->options, &handles.result, err);
    else if (status == LDNQ_OK)
        status = ldnq_diff(handles.models[0], handles.models[1], handles.samples, line->options,
                           &handles.result, err);
    cli_progress_finish(&handles.progress);
    if (status == LDNQ_OK)
        status = has_several ? print_candidates(line, handles.result, err)
                             : print_diff(line, handles.result, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_diff = {
    .name = "diff",
    .job = LDNQ_JOB_DIFF,
    .arguments = "FLOAT QUANT [QUANT ...] [--data PATH] [options]",
    .summary = "compare a quantized file with the float one, layer by layer",
    .details =
        "Pairs the nodes of a float file (A) and a quantized one (B), whichever tool made it,\n"
        "through QuantizeLinear and DequantizeLinear, and reports the error of each layer.\n\n"
        "With --data both models run on the samples. The isolated error of a layer is that of\n"
        "B's layer on A's input: the layer alone causes it. The accumulated error is that of B's\n"
        "layer on B's own input: all layers before it contribute to it. With more than 32 "
        "samples,\n"
        "the first ones in random order measure the layers, and all of them the outputs. Labels "
        "are\n"
        "not needed.\n\n"
        "Agreement is the share of samples whose largest score is that of the same class in both,\n"
        "with its 95 % interval (Wilson). It is measured for outputs with one row of two scores "
        "or\n"
        "more per sample. Samples that the weights were fitted to show errors that are too "
        "small.\n\n"
        "Several quantized files are compared with the float one side by side: a line each, and\n"
        "on the page a table and their size over what they keep.",
    .examples = "  ldnq diff net.onnx net-int4.onnx\n"
                "  ldnq diff net.onnx net-int4.onnx --data images/ --html report.html \\\n"
                "       --mean .485,.456,.406 --std .229,.224,.225 --fail-below-agreement 97\n"
                "  ldnq diff net.onnx net-int8.onnx net-int4.onnx --data images/ --html sizes.html",
    .models_min = 2,
    .models_max = SIZE_MAX,
    .run = run_diff,
};

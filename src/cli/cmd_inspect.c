/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_inspect.c: what is in a model, what would be quantized, what not, and why. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/handles.h"
#include "cli/json.h"
#include "cli/plain.h"

static void print_inputs_or_outputs(const char *title, const cJSON *values)
{
    const cJSON *value;
    cJSON_ArrayForEach(value, values)
    {
        char shape[512], name[CLI_PLAIN_SIZE];
        printf("%s %s %s %s\n", title, cli_copy_printable(cli_json_text(value, "name"), name),
               cli_json_text(value, "dtype"),
               cli_json_shape(cli_json_item(value, "shape"), shape, sizeof shape));
    }
}

/* Width of the first column. */
static int measure_op_column_width(const cJSON *layers)
{
    const cJSON *layer;
    size_t width = 6;
    cJSON_ArrayForEach(layer, layers)
    {
        const char *op = cli_json_text(layer, "op");
        if (op && strlen(op) > width)
            width = strlen(op);
    }
    return (int)width;
}

/* "12.5%" of the whole; "" when it is not known. */
static const char *format_percentage(double part, double whole, char text[16])
{
    *text = '\0';
    if (whole > 0)
        snprintf(text, 16, "%.1f%%", 100 * part / whole);
    return text;
}

static void print_layer(const cJSON *layer, const cJSON *totals, int width)
{
    char shape[512] = "-", label[CLI_PLAIN_SIZE], macs_text[32] = "?", part[16];
    const char *type = cli_json_text(layer, "type"), *reason = cli_json_text(layer, "reason");
    const double macs = cli_json_number(layer, "macs");
    if (!isnan(macs))
        snprintf(macs_text, sizeof macs_text, "%.0f", macs);
    if (type)
        cli_json_shape(cli_json_item(layer, "shape"), shape, sizeof shape);
    printf(
        "%-*s %-18s %-7s %10zu %6s", width, cli_json_text(layer, "op"), shape, type ? type : "-",
        cli_json_read_count(layer, "bytes"),
        format_percentage(cli_json_number(layer, "bytes"), cli_json_number(totals, "bytes"), part));
    printf(" %12s %6s  %-11s  %s%s%s\n", macs_text,
           format_percentage(macs, cli_json_number(totals, "all_macs"), part),
           cli_json_flag(layer, "quantizable") ? "yes" : "no",
           cli_copy_printable(cli_json_text(layer, "node"), label), reason ? ": " : "",
           reason ? reason : "");
}

/* Prints nothing for a file without quantized tensors. */
static void print_quantized_tensor_summary(const cJSON *tensors)
{
    const cJSON *tensor;
    size_t constants = 0, activations = 0, bytes = 0;
    cJSON_ArrayForEach(tensor, tensors)
    {
        const bool is_constant = cli_json_flag(tensor, "constant");
        constants += is_constant;
        activations += !is_constant;
        bytes += is_constant ? cli_json_read_count(tensor, "bytes") : 0;
    }
    if (constants + activations)
        printf("in codes: %zu weights and biases (%zu bytes with their scales), %zu activations; "
               "--json has each\n",
               constants, bytes, activations);
}

static void print_table(const cJSON *root)
{
    const cJSON *totals = cli_json_item(root, "totals"), *layer;
    const cJSON *layers = cli_json_item(root, "layers");
    const int width = measure_op_column_width(layers);
    const double macs = cli_json_number(totals, "macs");
    const char *refused = cli_json_text(root, "reason");
    char file[CLI_PLAIN_SIZE], producer[CLI_PLAIN_SIZE];
    printf("%s: IR %zu, opset %zu, producer '%s', %zu bytes",
           cli_copy_printable(cli_json_text(root, "file"), file),
           cli_json_read_count(root, "ir_version"), cli_json_read_count(root, "opset"),
           cli_copy_printable(cli_json_text(root, "producer"), producer),
           cli_json_read_count(root, "bytes"));
    if (cli_json_read_count(root, "data_bytes"))
        printf(", of which %zu in data files", cli_json_read_count(root, "data_bytes"));
    printf("\n");
    print_inputs_or_outputs("input ", cli_json_item(root, "inputs"));
    print_inputs_or_outputs("output", cli_json_item(root, "outputs"));
    printf("\n%-*s %-18s %-7s %10s %6s %12s %6s  %-11s  %s\n", width, "op", "weight", "type",
           "bytes", "", "MACs", "", "quantizable", "node");
    cJSON_ArrayForEach(layer, layers) print_layer(layer, totals, width);
    printf("\n%zu of %d layers can be quantized: %zu weights, ",
           cli_json_read_count(totals, "quantizable"), cJSON_GetArraySize(layers),
           cli_json_read_count(totals, "weights"));
    if (!isnan(macs))
        printf("%.0f MACs per sample\n", macs);
    else
        printf("MACs not known (sizes are open; see --dim)\n");
    print_quantized_tensor_summary(cli_json_item(root, "tensors"));
    if (refused)
        printf("it can't be executed, and so not quantized: %s\n", refused);
}

static enum ldnq_status run_inspect(struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    enum ldnq_status status = cli_handles_init(&handles, line, NULL, err);
    if (status == LDNQ_OK)
        status = ldnq_inspect(handles.models[0], line->options, &handles.result, err);
    if (status == LDNQ_OK)
        status = cli_json_print_or(line, handles.result, print_table, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_inspect = {
    .name = "inspect",
    .job = LDNQ_JOB_INSPECT,
    .arguments = "MODEL [options]",
    .summary = "list the layers: shape, type, size, MACs, and whether they can be quantized",
    .details = "Reads the model and lists its layers with weights in the order in which they\n"
               "run: their bytes in the file, with scales where the weight is quantized, and\n"
               "multiplications with the weight per sample ('?' where sizes are open; --dim sets\n"
               "them).",
    .examples = "  ldnq inspect net.onnx\n"
                "  ldnq inspect net.onnx --dim height=224 --dim width=224 --json",
    .models_min = 1,
    .models_max = 1,
    .run = run_inspect,
};

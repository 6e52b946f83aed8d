/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_quantize.c: the main job, from a float file and samples to a QDQ file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/dry_run_table.h"
#include "cli/failure.h"
#include "cli/handles.h"
#include "cli/heap.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/plain.h"
#include "cli/standard_streams.h"

/* Layers that someone may expect to be quantized; all of them are in the JSON. */
#define MOST_KEPT_PRINTED 8
#define MOST_INPUTS_PRINTED 4

static void print_layers_left_float(const cJSON *kept)
{
    const cJSON *layer;
    const int count = cJSON_GetArraySize(kept);
    int printed = 0;
    cJSON_ArrayForEach(layer, kept)
    {
        char node[CLI_PLAIN_SIZE];
        if (printed++ == MOST_KEPT_PRINTED)
            break;
        printf("not quantized: %s '%s': %s\n", cli_json_text(layer, "op"),
               cli_copy_printable(cli_json_text(layer, "node"), node),
               cli_json_text(layer, "reason"));
    }
    if (count > MOST_KEPT_PRINTED)
        printf("not quantized: %d more; --json lists them\n", count - MOST_KEPT_PRINTED);
}

static void print_tied_layers(const cJSON *tied)
{
    const cJSON *layer;
    cJSON_ArrayForEach(layer, tied)
    {
        char node[CLI_PLAIN_SIZE], table[CLI_PLAIN_SIZE];
        const char *reason = cli_json_text(layer, "reason");
        cli_copy_printable(cli_json_text(layer, "node"), node);
        cli_copy_printable(cli_json_text(layer, "table"), table);
        if (reason)
            printf("stored twice: the table of '%s' and '%s': %s\n", table, node, reason);
        else
            printf("stored once: the table of '%s' and '%s'\n", table, node);
    }
}

/* All codebooks, in the form "ternary|int2" of the option table. */
static const char *codebook_names(void)
{
    const struct ldnq_option *option;
    for (size_t i = 0; (option = ldnq_options_describe(i)) != NULL; i++)
        if (strcmp(option->name, "weights") == 0)
            return option->choices;
    return "";
}

/* How many layers have which codebook. */
static void print_codebooks(const cJSON *root)
{
    const char *comma = "";
    for (const char *name = codebook_names(); *name;) {
        const size_t length = strcspn(name, "|");
        const cJSON *layer;
        size_t count = 0;
        cJSON_ArrayForEach(layer, cli_json_item(root, "layers"))
        {
            const char *own = cli_json_text(layer, "weights");
            count += own && strlen(own) == length && strncmp(own, name, length) == 0;
        }
        if (count > 0) {
            printf("%s%.*s in %zu layer%s", comma, (int)length, name, count, count == 1 ? "" : "s");
            comma = ", ";
        }
        name += length + (name[length] == '|');
    }
    printf("; %.2f bits per weight\n", cli_json_number(root, "bits"));
}

/* Prints the cost of storing codes in wider types than they need. */
static void print_storage_hint(const cJSON *root)
{
    const cJSON *narrowest = cli_json_item(root, "narrowest");
    const char *storage = cli_json_text(narrowest, "storage");
    const size_t opset = cli_json_read_count(narrowest, "opset");
    const size_t bytes = cli_json_read_count(narrowest, "bytes_saved");
    if (bytes == 0)
        return;
    if (cli_json_read_count(root, "opset") < opset)
        printf("hint: at opset %zu the codes take %zu bytes more than in %s, which needs opset "
               "%zu\n",
               cli_json_read_count(root, "opset"), bytes,
               strcmp(storage, "mixed") == 0 ? "their narrowest types" : storage, opset);
    else
        printf("hint: --storage auto takes %zu bytes less\n", bytes);
}

static const cJSON *find_worst_layer(const cJSON *layers)
{
    const cJSON *layer, *worst = cJSON_GetArrayItem(layers, 0);
    cJSON_ArrayForEach(layer, layers)
    {
        if (cli_json_number(layer, "error") > cli_json_number(worst, "error"))
            worst = layer;
    }
    return worst;
}

static bool member_equals_text(const cJSON *object, const char *key, const char *text)
{
    return strcmp(cli_json_text(object, key), text) == 0;
}

/* Whether an earlier node of the list has the same reason and, where `op` is set, that type. */
static bool is_listed_before(const cJSON *nodes, const cJSON *node, bool op)
{
    const cJSON *other;
    cJSON_ArrayForEach(other, nodes)
    {
        if (other == node)
            return false;
        if (member_equals_text(other, "reason", cli_json_text(node, "reason")) &&
            (!op || member_equals_text(other, "op", cli_json_text(node, "op"))))
            return true;
    }
    return false;
}

/* Prints "Add (3), Softmax", the types of the nodes with the reason of `like`. */
static void print_types_in_float(const cJSON *nodes, const cJSON *like)
{
    const char *reason = cli_json_text(like, "reason"), *comma = "  in float: ";
    const cJSON *node, *other;
    cJSON_ArrayForEach(node, nodes)
    {
        size_t count = 0;
        if (!member_equals_text(node, "reason", reason) || is_listed_before(nodes, node, true))
            continue;
        cJSON_ArrayForEach(other, nodes)
        {
            count += member_equals_text(other, "reason", reason) &&
                     member_equals_text(other, "op", cli_json_text(node, "op"));
        }
        char op[CLI_PLAIN_SIZE];
        printf("%s%s", comma, cli_copy_printable(cli_json_text(node, "op"), op));
        if (count > 1)
            printf(" (%zu)", count);
        comma = ", ";
    }
    printf(": %s\n", reason);
}

static void print_activations(const cJSON *activations)
{
    const cJSON *nodes = cli_json_item(activations, "float_nodes"), *node, *pair;
    const cJSON *pairs = cli_json_item(activations, "pairs");
    const int floats = cJSON_GetArraySize(nodes);
    printf("activations: %d as %s for target %s, %d node%s in float\n", cJSON_GetArraySize(pairs),
           cli_json_text(activations, "type"), cli_json_text(activations, "target"), floats,
           floats == 1 ? "" : "s");
    cJSON_ArrayForEach(pair, pairs)
    {
        if (cJSON_IsString(cli_json_item(pair, "reason")))
            printf("  %s as %s: %s\n", cli_json_text(pair, "name"), cli_json_text(pair, "type"),
                   cli_json_text(pair, "reason"));
    }
    cJSON_ArrayForEach(node, nodes)
    {
        if (!is_listed_before(nodes, node, false))
            print_types_in_float(nodes, node);
    }
}

static void print_goal_part(const cJSON *step, const char *name, const char *what, const char *unit,
                            double goal)
{
    if (!isnan(goal))
        printf("goal: %s of %.4g%s, where %.4g was asked for\n", what, cli_json_number(step, name),
               unit, goal);
}

static void print_goal(const cJSON *goal)
{
    const cJSON *steps = cli_json_item(goal, "steps");
    const cJSON *step = cJSON_GetArrayItem(steps, (int)cli_json_read_count(goal, "chosen"));
    const int tried = cJSON_GetArraySize(steps);
    if (!cJSON_IsObject(goal))
        return;
    print_goal_part(step, "drop", "a drop", " points", cli_json_number(goal, "max_drop"));
    print_goal_part(step, "agreement", "an agreement", " %",
                    cli_json_number(goal, "min_agreement"));
    print_goal_part(step, "sqnr", "an SQNR", " dB", cli_json_number(goal, "min_sqnr"));
    printf("goal: the smallest of %d file%s tried\n", tried, tried == 1 ? "" : "s");
}

/* An energy ratio noise / signal in dB. */
static double compute_sqnr(double noise_to_signal)
{
    return -10 * log10(noise_to_signal);
}

/* Prints the figures and what they were measured on: without that they mislead. */
static void print_accuracy(const cJSON *accuracy)
{
    const double sqnr = cli_json_number(accuracy, "sqnr");
    const double agreement = cli_json_number(accuracy, "agreement");
    const double drop = cli_json_number(accuracy, "drop");
    char output[CLI_PLAIN_SIZE];
    if (!cli_json_text(accuracy, "measured_on"))
        return;
    if (!cli_json_read_count(accuracy, "outputs"))
        return;
    if (cli_json_read_count(accuracy, "outputs") > 1)
        printf("worst of %zu outputs, '%s': ", cli_json_read_count(accuracy, "outputs"),
               cli_copy_printable(cli_json_text(accuracy, "worst_output"), output));
    else
        printf("output: ");
    if (cli_json_flag(accuracy, "exact"))
        printf("exact");
    else if (isnan(sqnr))
        printf("infinite, or noise where the float network's output is 0");
    else
        printf("SQNR %.1f dB", sqnr);
    if (!isnan(agreement))
        printf(", top-1 agreement %.1f %% (95 %% interval %.1f to %.1f)", agreement,
               cli_json_number(accuracy, "agreement_low"),
               cli_json_number(accuracy, "agreement_high"));
    if (!isnan(drop))
        printf(", top-1 %.2f %% where the float network has %.2f %%",
               cli_json_number(accuracy, "top1"), cli_json_number(accuracy, "reference_top1"));
    printf(", on %s\n", cli_json_text(accuracy, "measured_on"));
}

static void print_estimate(const cJSON *estimate)
{
    const double error = cli_json_number(estimate, "error");
    if (!isnan(error))
        printf("estimate of it from the changes of the layers: SQNR %.1f dB (noise-to-signal ratio "
               "%.3g +- %.2g)\n",
               compute_sqnr(error), error, cli_json_number(estimate, "deviation"));
}

static void print_ranks(const cJSON *ranks)
{
    const cJSON *rank;
    const char *comma = "ranks: ";
    cJSON_ArrayForEach(rank, ranks)
    {
        printf("%srank %zu on %s %.0f %%", comma, cli_json_read_count(rank, "rank"),
               cli_json_text(rank, "host"), 100 * cli_json_number(rank, "share"));
        comma = ", ";
    }
    if (cJSON_GetArraySize(ranks) > 0)
        printf(" of the processor time\n");
}

static void print_sizes(const cJSON *root)
{
    const double before = cli_json_number(root, "bytes_before");
    const double after = cli_json_number(root, "bytes_after");
    const size_t data_before = cli_json_read_count(root, "data_bytes_before");
    const size_t data_after = cli_json_read_count(root, "data_bytes_after");
    printf("%.0f -> %.0f bytes (%.2f times %s)", before, after,
           after > before ? after / before : before / after, after > before ? "larger" : "smaller");
    if (data_before || data_after)
        printf(", of which %zu -> %zu in data files", data_before, data_after);
}

/* Held-out samples decide against fits that are to chance. */
static void print_rounded_layers(const cJSON *root)
{
    const cJSON *layers = cli_json_item(root, "layers"), *layer;
    size_t rounded = 0;
    cJSON_ArrayForEach(layer, layers) rounded +=
        strcmp(cli_json_text(layer, "fit"), "rounded") == 0;
    if (cli_json_flag(root, "is_rounded"))
        printf(
            "all layers are rounded: on held-out samples the output is then no worse than fitted "
            "(SQNR %.1f dB for %.1f)\n",
            compute_sqnr(cli_json_number(root, "rounded_noise_to_signal")),
            compute_sqnr(cli_json_number(root, "fitted_noise_to_signal")));
    else if (rounded > 0)
        printf("%zu of %d layers are rounded: on held-out samples their output is then no worse "
               "than fitted\n",
               rounded, cJSON_GetArraySize(layers));
}

/* Prints how much of pruned weights is 0 and stays so. */
static void print_zeros(const cJSON *layers)
{
    const cJSON *layer;
    double kept = 0, weights = 0;
    size_t count = 0;
    cJSON_ArrayForEach(layer, layers)
    {
        const double own = cli_json_number(layer, "groups") * cli_json_number(layer, "outputs") *
                           cli_json_number(layer, "inputs");
        const double share = cli_json_number(layer, "zeros_kept");
        count += share > 0;
        kept += share * own;
        weights += share > 0 ? own : 0;
    }
    if (count > 0)
        printf("zeros: %.1f %% of the weights of %zu pruned layer%s; their codes are 0\n",
               100 * kept / weights, count, count == 1 ? "" : "s");
}

static void print_numbers(const char *what, const cJSON *numbers)
{
    const cJSON *number;
    printf("%s", what);
    cJSON_ArrayForEach(number, numbers)
    {
        printf(" %.3g", cJSON_GetNumberValue(number));
    }
}

/* Prints what preprocessing has made of the samples. */
static void print_inputs(const cJSON *inputs)
{
    const cJSON *input;
    int printed = 0;
    cJSON_ArrayForEach(input, inputs)
    {
        char name[CLI_PLAIN_SIZE];
        if (printed++ == MOST_INPUTS_PRINTED)
            break;
        printf("input '%s':", cli_copy_printable(cli_json_text(input, "name"), name));
        print_numbers(" mean", cli_json_item(input, "mean"));
        print_numbers(", deviation", cli_json_item(input, "deviation"));
        printf("\n");
    }
}

static void print_summary(const cJSON *root)
{
    const cJSON *layers = cli_json_item(root, "layers"), *worst = find_worst_layer(layers);
    const cJSON *distillation = cli_json_item(root, "distillation");
    const cJSON *activations = cli_json_item(root, "activations");
    const int count = cJSON_GetArraySize(layers);
    const size_t samples = cli_json_read_count(root, "samples");
    const bool is_mixed = strcmp(cli_json_text(root, "weights"), "mixed") == 0;
    char node[CLI_PLAIN_SIZE];
    printf("%s: %d layer%s, %zu weights, %s in %s, one scale per %s\n",
           cli_json_text(root, "output"), count, count == 1 ? "" : "s",
           cli_json_read_count(root, "weight_count"), cli_json_text(root, "weights"),
           cli_json_text(root, "storage"),
           strcmp(cli_json_text(root, "granularity"), "mixed") == 0
               ? "channel or block"
               : cli_json_text(root, "granularity"));
    print_sizes(root);
    printf(", opset %zu, %zu sample%s%s, %.1f s\n", cli_json_read_count(root, "opset"), samples,
           samples == 1 ? "" : "s", cli_json_text(root, "one_at_a_time") ? " one at a time" : "",
           cli_json_number(root, "seconds"));
    print_inputs(cli_json_item(root, "inputs"));
    print_zeros(layers);
    if (cJSON_IsObject(activations))
        print_activations(activations);
    if (samples > 0 && cli_json_number(worst, "error") > 0)
        printf("worst layer on the samples that it was fitted to: SQNR %.1f dB at '%s'\n",
               compute_sqnr(cli_json_number(worst, "error")),
               cli_copy_printable(cli_json_text(worst, "node"), node));
    if (samples > 0)
        print_rounded_layers(root);
    print_accuracy(cli_json_item(root, "accuracy"));
    print_estimate(cli_json_item(root, "output_estimate"));
    if (cJSON_IsObject(distillation))
        printf(
            "fine-tuning: SQNR of the output %.1f dB, after %zu steps %.1f dB, on the %zu samples "
            "that chose when to stop\n",
            compute_sqnr(cli_json_number(distillation, "error_start")),
            cli_json_read_count(distillation, "steps"),
            compute_sqnr(cli_json_number(distillation, "error")),
            cli_json_read_count(distillation, "held_out"));
    print_goal(cli_json_item(root, "goal"));
    if (is_mixed)
        print_codebooks(root);
    print_tied_layers(cli_json_item(root, "tied"));
    print_layers_left_float(cli_json_item(root, "not_quantized"));
    print_storage_hint(root);
    print_ranks(cli_json_item(root, "ranks"));
    printf("kernels: %s\n", cli_json_text(cli_json_item(root, "metadata"), "ldnq.kernels"));
}

static enum ldnq_status print_result(struct cli_line *line, const struct ldnq_result *result,
                                     struct ldnq_error *err)
{
    cJSON *root;
    if (!ldnq_is_reporter())
        return LDNQ_OK;
    if (line->streamed)
        return cli_write_streamed(line, result, err);
    if (cli_line_has_flag(line, "json")) {
        cli_json_print_result(line, result);
        return LDNQ_OK;
    }
    const enum ldnq_status status = cli_json_parse(result, &root, err);
    /* A pipe or a device has no size, and may be standard output itself. */
    if (status == LDNQ_OK && !cli_line_has_flag(line, "quiet") &&
        cli_json_read_count(root, "bytes_after"))
        print_summary(root);
    cJSON_Delete(root);
    return status;
}

/* Says how to go on. */
static enum ldnq_status fail_interrupted(const struct cli_line *line, struct ldnq_error *err)
{
    const char *folder = cli_line_text(line, "checkpoint");
    if (!folder)
        return cli_fail(err, LDNQ_CANCELED,
                        "ended by %s; nothing was written, and the same command starts from the "
                        "beginning: with --checkpoint DIR a run can go on where it was",
                        cli_interrupt_name());
    return cli_fail(err, LDNQ_CANCELED,
                    "ended by %s; the same command%s goes on after the layers that are in '%s'",
                    cli_interrupt_name(), cli_line_has_flag(line, "resume") ? "" : " with --resume",
                    folder);
}

static enum ldnq_status run_quantize(struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    const bool is_dry = cli_line_has_flag(line, "dry-run");
    if (!is_dry && !cli_line_text(line, "output") &&
        !(line->streamed && strcmp(line->streamed, "model") == 0))
        return cli_fail(err, LDNQ_USAGE, "quantize: -o OUT is missing");
    if (!cli_line_text(line, "calib"))
        return cli_fail(err, LDNQ_USAGE,
                        "quantize: --calib PATH is missing: the samples that the weights are "
                        "fitted on");
    cli_interrupt_catch();
    const double max_mem = cli_line_number(line, "max-mem");
    if (max_mem > 0)
        cli_keep_freed_memory(max_mem);
    enum ldnq_status status = cli_handles_init(&handles, line, "calib", err);
    if (status == LDNQ_OK)
        status =
            ldnq_quantize(handles.models[0], handles.samples, line->options, &handles.result, err);
    cli_progress_finish(&handles.progress);
    if (status == LDNQ_CANCELED && cli_interrupt_signal())
        status = fail_interrupted(line, err);
    if (status == LDNQ_OK)
        status = is_dry ? cli_print_dry_run(line, handles.result, err)
                        : print_result(line, handles.result, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_quantize = {
    .name = "quantize",
    .job = LDNQ_JOB_QUANTIZE,
    .arguments = "MODEL -o OUT --calib PATH [options]",
    .summary = "quantize a float ONNX model, fitted to samples, to a QDQ one",
    .details = "Replaces the weight of every Conv, Gemm and MatMul by low-bit integers and a\n"
               "DequantizeLinear, fitted layer by layer so that each layer's output on the\n"
               "samples stays what it was. Labels are not needed. OUT appears whole or not at\n"
               "all.\n\n"
               "A part of the samples is held out: nothing is fitted to it, and the figures of\n"
               "accuracy are measured on it. Fewer than 5 samples are all fitted, and the\n"
               "summary says so. Sizes count the model and its external data.\n\n"
               "'ldnq inspect MODEL' lists the layers that can be quantized; 'ldnq diff' and\n"
               "'ldnq eval' measure what the quantized model has lost.",
    .examples = "  ldnq quantize net.onnx -o net-int4.onnx --calib images/ --weights int4 \\\n"
                "       --mean .485,.456,.406 --std .229,.224,.225\n"
                "  ldnq quantize net.onnx -o net-t.onnx --calib images/ --skip '/head/*'\n"
                "  ldnq quantize net.onnx -o net-q.onnx --calib images/ --target ort \\\n"
                "       --min-agreement 99 --goal-data more-images/ --plan net.json",
    .models_min = 1,
    .models_max = 1,
    .run = run_quantize,
};

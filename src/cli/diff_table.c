/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/diff_table.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/json.h"
#include "cli/plain.h"

#define LABEL 25 /* columns of a layer's name */
#define MOST_NOTES ((size_t)8)

/* ---- the order ---------------------------------------------------------------------------- */

struct layer_rank {
    double key; /* ascending; NaN last */
    size_t index;
    const cJSON *layer;
};

static int compare_rows_by_sort_key(const void *left, const void *right)
{
    const struct layer_rank *x = left, *y = right;
    if (isnan(x->key) != isnan(y->key))
        return isnan(x->key) ? 1 : -1;
    if (!isnan(x->key) && x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Reads an SQNR in dB: infinite where nothing differs, NaN where nothing was measured. */
static double read_sqnr(const cJSON *item, const char *error)
{
    const cJSON *member = cli_json_item(item, error);
    return cli_json_flag(member, "exact") ? INFINITY : cli_json_number(member, "sqnr_db");
}

/* The worst layer is the one that makes the largest error; without samples, the one whose
 * weight has lost most. */
static double compute_sort_key(const cJSON *layer, const char *sort, bool has_samples)
{
    if (!cli_json_text(layer, "other"))
        return strcmp(sort, "order") == 0 ? 0 : -INFINITY; /* nothing is worse than no match */
    if (strcmp(sort, "worst") == 0)
        return read_sqnr(layer, has_samples ? "isolated" : "weight_error");
    if (strcmp(sort, "isolated") == 0 || strcmp(sort, "accumulated") == 0)
        return read_sqnr(layer, sort);
    if (strcmp(sort, "weight") == 0)
        return read_sqnr(layer, "weight_error");
    if (strcmp(sort, "bits") == 0)
        return cli_json_number(layer, "bits");
    return strcmp(sort, "size") == 0 ? -cli_json_number(layer, "bytes_b") : 0;
}

/* ---- cells -------------------------------------------------------------------------------- */

/* Omits the beginning of a long name, as its end says more. */
static void print_truncated_label(const char *label, int width)
{
    char plain[CLI_PLAIN_SIZE];
    const size_t length = strlen(cli_copy_printable(label, plain)), room = (size_t)width;
    if (length > room)
        printf("..%s ", plain + length - room + 2);
    else
        printf("%-*s ", width, plain);
}

static const char *format_sqnr(double value, char text[16])
{
    if (isnan(value))
        snprintf(text, 16, "-");
    else if (isinf(value))
        snprintf(text, 16, "exact");
    else
        snprintf(text, 16, "%.1f", value);
    return text;
}

static const char *format_number(double value, const char *format, char text[16])
{
    if (isnan(value))
        snprintf(text, 16, "-");
    else
        snprintf(text, 16, format, value);
    return text;
}

/* ---- layers ------------------------------------------------------------------------------- */

/* The tensor that holds the codes of the layer's weight; NULL where that is float. */
static const cJSON *find_weight_codes(const cJSON *diff, const cJSON *layer)
{
    const cJSON *index = cli_json_item(layer, "weight_tensor");
    return cJSON_IsNumber(index)
               ? cJSON_GetArrayItem(cli_json_item(diff, "tensors"), index->valueint)
               : NULL;
}

static void print_layer(const cJSON *diff, const struct layer_rank *rank, bool has_samples)
{
    char bits[16], weight[16], isolated[16], accumulated[16], cosine[16];
    const cJSON *layer = rank->layer, *codes = find_weight_codes(diff, layer);
    const cJSON *accumulation = cli_json_item(layer, "accumulated");
    printf("%3zu ", rank->index + 1);
    print_truncated_label(cli_json_text(layer, "node"), LABEL);
    printf("%-9.9s ", cli_json_text(layer, "op"));
    if (!cli_json_text(layer, "other")) {
        printf("has no partner\n");
        return;
    }
    printf("%-6s %5s %6s", codes ? cli_json_text(codes, "type") : "float",
           format_number(cli_json_number(layer, "bits"), "%.2f", bits),
           format_sqnr(read_sqnr(layer, "weight_error"), weight));
    if (has_samples)
        printf(" %6s %6s %6s", format_sqnr(read_sqnr(layer, "isolated"), isolated),
               format_sqnr(read_sqnr(layer, "accumulated"), accumulated),
               format_number(cli_json_number(accumulation, "cosine"), "%.4f", cosine));
    else if (cli_json_read_count(codes, "count"))
        printf(" %6zu %8zu", cli_json_read_count(codes, "codes_used"),
               cli_json_read_count(codes, "scale_count"));
    printf("\n");
}

static void print_layers(const cJSON *diff, const struct layer_rank *ranks, size_t count,
                         size_t top)
{
    const bool has_samples = cli_json_read_count(diff, "samples") > 0;
    const size_t shown = top && top < count ? top : count;
    const size_t measured = cli_json_read_count(diff, "layer_samples");
    printf("\n%3s %-*s %-9s %-6s %5s %6s", "#", LABEL, "layer", "op", "codes", "bits", "weight");
    if (has_samples)
        printf(" %6s %6s %6s\n", "isol.", "accum.", "cosine");
    else
        printf(" %6s %8s\n", "used", "scales");
    for (size_t i = 0; i < shown; i++)
        print_layer(diff, &ranks[i], has_samples);
    if (shown < count)
        printf("    %zu more; --top 0 shows all, --sort in another order\n", count - shown);
    printf("bits: per weight, scales included; weight: SQNR of the weights in dB;\n");
    printf(has_samples ? "isolated, accumulated: of the output, on A's input and on B's; "
                         "cosine: in B\n"
                       : "used: different codes\n");
    if (has_samples && measured < cli_json_read_count(diff, "samples"))
        printf("these three are measured on the first %zu samples\n", measured);
}

static enum ldnq_status list_layers(const cJSON *diff, const char *sort, size_t top,
                                    struct ldnq_error *err)
{
    const cJSON *layers = cli_json_item(diff, "layers"), *layer;
    const bool has_samples = cli_json_read_count(diff, "samples") > 0;
    const size_t count = (size_t)cJSON_GetArraySize(layers);
    size_t filled = 0;
    if (count == 0)
        return LDNQ_OK;
    struct layer_rank *ranks = calloc(count, sizeof *ranks);
    if (!ranks)
        return cli_fail(err, LDNQ_NOMEM, "out of memory");
    cJSON_ArrayForEach(layer, layers)
    {
        ranks[filled] =
            (struct layer_rank){ compute_sort_key(layer, sort, has_samples), filled, layer };
        filled++;
    }
    qsort(ranks, count, sizeof *ranks, compare_rows_by_sort_key);
    print_layers(diff, ranks, count, top);
    free(ranks);
    return LDNQ_OK;
}

/* ---- files and outputs -------------------------------------------------------------------- */

static void print_file_facts(const char *letter, const cJSON *file)
{
    char path[CLI_PLAIN_SIZE];
    printf("%s  %s\n   %zu bytes", letter, cli_copy_printable(cli_json_text(file, "path"), path),
           cli_json_read_count(file, "bytes"));
    if (cli_json_read_count(file, "data_bytes"))
        printf(" (%zu of them in data files)", cli_json_read_count(file, "data_bytes"));
    printf(", opset %zu, %zu nodes", cli_json_read_count(file, "opset"),
           cli_json_read_count(file, "nodes"));
    if (cli_json_read_count(file, "qdq_nodes"))
        printf(", %zu of them quantization's", cli_json_read_count(file, "qdq_nodes"));
    if (cli_json_read_count(file, "weights"))
        printf("\n   %zu weights in %zu bytes", cli_json_read_count(file, "weights"),
               cli_json_read_count(file, "weight_bytes"));
    printf("\n");
}

static void print_pairing(const cJSON *diff)
{
    static const char *const ways[] = { "name", "output", "content", "neighbourhood" };
    const cJSON *layers = cli_json_item(diff, "layers"), *layer;
    const size_t paired = cli_json_read_count(diff, "paired_layers");
    printf("%zu of %d layers are paired", paired, cJSON_GetArraySize(layers));
    const char *before = " (by ";
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        size_t count = 0;
        cJSON_ArrayForEach(layer, layers)
        {
            const char *way = cli_json_text(layer, "pairing");
            count += way && strcmp(way, ways[i]) == 0;
        }
        if (!count)
            continue;
        printf("%s%s: %zu", before, ways[i], count);
        before = ", ";
    }
    printf("%s\n", paired ? ")" : "");
}

static void print_output(const cJSON *output)
{
    char name[CLI_PLAIN_SIZE], sqnr[16];
    const double own = read_sqnr(output, "error");
    const double agreement = cli_json_number(output, "agreement");
    const double bound = cli_json_number(output, "noise_to_signal_bound");
    printf("output '%s': ", cli_copy_printable(cli_json_text(output, "name"), name));
    if (!cli_json_text(output, "other") || isnan(own)) {
        printf("can't be compared\n");
        return;
    }
    printf("SQNR %s%s, cosine %.6f, largest error %.4g\n", format_sqnr(own, sqnr),
           isinf(own) ? "" : " dB", cli_json_number(cli_json_item(output, "error"), "cosine"),
           cli_json_number(output, "max_error"));
    if (!isnan(agreement))
        printf("  top-1 agrees in %.2f%% of the samples (95 %% interval %.2f to %.2f)\n  KL "
               "divergence %.4g nats, ",
               100 * agreement, 100 * cli_json_number(output, "agreement_low"),
               100 * cli_json_number(output, "agreement_high"), cli_json_number(output, "kl"));
    else
        printf("  ");
    printf("noise-to-signal ratio %.4g", cli_json_number(output, "noise_to_signal"));
    if (bound < 1) /* above, it says nothing; the JSON has it */
        printf(", at most %.4g by the layers' errors", bound);
    printf("\n");
}

static void print_outputs(const cJSON *diff)
{
    const size_t samples = cli_json_read_count(diff, "samples");
    const char *reason = cli_json_text(diff, "bound_reason");
    const cJSON *output;
    printf("\n%zu sample%s, %.1f s\n", samples, samples == 1 ? "" : "s",
           cli_json_number(diff, "seconds"));
    cJSON_ArrayForEach(output, cli_json_item(diff, "outputs")) print_output(output);
    if (reason)
        printf("no bound by the paper's theorem: %s\n", reason);
}

/* ---- other differences -------------------------------------------------------------------- */

/* Whether two notes of one operator say the same, up to the figures or names in them: they
 * become one line. */
static bool have_same_note_text(const cJSON *x, const cJSON *y)
{
    const char *x_text = cli_json_text(x, "text"), *y_text = cli_json_text(y, "text");
    const size_t length = strcspn(x_text, ":'");
    return strcmp(cli_json_text(x, "op"), cli_json_text(y, "op")) == 0 &&
           strcspn(y_text, ":'") == length && strncmp(x_text, y_text, length) == 0;
}

static bool is_repeated_note(const cJSON *notes, const cJSON *note)
{
    const cJSON *earlier;
    cJSON_ArrayForEach(earlier, notes)
    {
        if (earlier == note)
            return false;
        if (have_same_note_text(earlier, note))
            return true;
    }
    return false;
}

static void print_change_note(const cJSON *note, size_t times)
{
    char op[CLI_PLAIN_SIZE], node[CLI_PLAIN_SIZE], text[CLI_PLAIN_SIZE];
    cli_copy_printable(cli_json_text(note, "node"), node);
    cli_copy_printable(cli_json_text(note, "text"), text);
    printf("  %s", cli_copy_printable(cli_json_text(note, "op"), op));
    if (*node)
        printf(" '%s'", node);
    printf("%s%s", *text ? ": " : "", text);
    if (times > 1)
        printf("; and %zu like it", times - 1);
    printf("\n");
}

static void print_notes(const char *title, const cJSON *notes)
{
    size_t lines = 0, left = 0;
    const cJSON *note, *other;
    if (cJSON_GetArraySize(notes) == 0)
        return;
    printf("\n%s: %d\n", title, cJSON_GetArraySize(notes));
    cJSON_ArrayForEach(note, notes)
    {
        size_t times = 0;
        if (is_repeated_note(notes, note))
            continue;
        cJSON_ArrayForEach(other, notes) times += have_same_note_text(note, other);
        if (lines++ < MOST_NOTES)
            print_change_note(note, times);
        else
            left += times;
    }
    if (left)
        printf("  %zu more; --json lists them\n", left);
}

/* Prints the quantized activations; weights are in the table of layers. */
static void print_activations(const cJSON *diff)
{
    const cJSON *tensor;
    size_t count = 0;
    cJSON_ArrayForEach(tensor, cli_json_item(diff, "tensors")) count +=
        !cli_json_flag(tensor, "constant");
    if (count)
        printf("%zu activation%s in codes\n", count, count == 1 ? " is" : "s are");
}

static void print_verdict(const cJSON *diff)
{
    const cJSON *verdict = cli_json_item(diff, "verdict"), *gate;
    char reason[CLI_PLAIN_SIZE];
    printf("%s: %s\n", cli_json_text(verdict, "words"),
           cli_copy_printable(cli_json_text(verdict, "reason"), reason));
    cJSON_ArrayForEach(gate, cli_json_item(diff, "gates"))
    {
        char output[CLI_PLAIN_SIZE];
        const char *name = cli_json_text(gate, "output");
        const double value = cli_json_number(gate, "value");
        printf("%s  %s%s%s%s ", cli_json_flag(gate, "passes") ? "PASS" : "FAIL",
               cli_json_text(gate, "figure"), name ? " of '" : "", cli_copy_printable(name, output),
               name ? "'" : "");
        if (isnan(value))
            printf("%s", cli_json_flag(gate, "passes") ? "exact" : "not measured");
        else
            printf("%.6g", value);
        printf(", %s %.6g %s\n", cli_json_flag(gate, "upper") ? "at most" : "at least",
               cli_json_number(gate, "limit"), cli_json_text(gate, "unit"));
    }
}

enum ldnq_status cli_print_diff(const cJSON *diff, const char *sort, size_t top,
                                struct ldnq_error *err)
{
    print_verdict(diff);
    print_file_facts("A", cli_json_item(diff, "a"));
    print_file_facts("B", cli_json_item(diff, "b"));
    print_pairing(diff);
    print_activations(diff);
    const enum ldnq_status status = list_layers(diff, sort, top, err);
    if (status != LDNQ_OK)
        return status;
    if (cli_json_read_count(diff, "samples"))
        print_outputs(diff);
    print_notes("only in A", cli_json_item(diff, "removed"));
    print_notes("only in B", cli_json_item(diff, "added"));
    print_notes("changed", cli_json_item(diff, "changed"));
    return LDNQ_OK;
}

void cli_print_candidates(const cJSON *root)
{
    const cJSON *candidate;
    char path[CLI_PLAIN_SIZE], agreement[40], sqnr[16];
    printf("%-15s %11s %6s %24s %8s  %s\n", "verdict", "bytes", "bits", "agreement (95 % interval)",
           "SQNR", "file");
    printf("%-15s %11.0f %6s %24s %8s  %s\n", "float", cli_json_number(root, "bytes"), "", "", "",
           cli_copy_printable(cli_json_text(root, "path"), path));
    cJSON_ArrayForEach(candidate, cli_json_item(root, "candidates"))
    {
        const double share = 100 * cli_json_number(candidate, "agreement");
        snprintf(agreement, sizeof agreement, "-");
        if (!isnan(share))
            snprintf(agreement, sizeof agreement, "%.2f%% (%.2f to %.2f)", share,
                     100 * cli_json_number(candidate, "agreement_low"),
                     100 * cli_json_number(candidate, "agreement_high"));
        const double own =
            cli_json_flag(candidate, "exact") ? INFINITY : cli_json_number(candidate, "sqnr_db");
        printf("%-15s %11.0f %6.2f %24s %8s  %s\n",
               cli_json_text(cli_json_item(candidate, "verdict"), "words"),
               cli_json_number(candidate, "bytes"), cli_json_number(candidate, "bits"), agreement,
               format_sqnr(own, sqnr), cli_copy_printable(cli_json_text(candidate, "path"), path));
    }
}

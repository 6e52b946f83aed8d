/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dry_run_table.h"

#include <math.h>
#include <stdio.h>

#include "cli/json.h"
#include "cli/plain.h"

static void print_layers(const cJSON *root)
{
    const cJSON *layer;
    char node[CLI_PLAIN_SIZE];
    printf("%-10s %12s %12s  %s\n", "weights", "bytes", "becomes", "layer");
    cJSON_ArrayForEach(layer, cli_json_item(root, "layers"))
    {
        const char *codebook = cli_json_text(layer, "weights");
        const double after = cli_json_number(layer, "bytes_after");
        printf("%-10s %12.0f ", codebook ? codebook : "searched",
               cli_json_number(layer, "bytes_before"));
        if (isnan(after))
            printf("%12s", "?");
        else
            printf("%12.0f", after);
        printf("  %s\n", cli_copy_printable(cli_json_text(layer, "node"), node));
    }
    cJSON_ArrayForEach(layer, cli_json_item(root, "not_quantized")) printf(
        "%-10s %25s  %s: %s\n", "float", "", cli_copy_printable(cli_json_text(layer, "node"), node),
        cli_json_text(layer, "reason"));
}

static void print_prediction(const cJSON *root)
{
    const double before = cli_json_number(root, "bytes_before");
    const double after = cli_json_number(root, "bytes_after");
    const double memory = cli_json_number(root, "memory_bytes");
    const double seconds = cli_json_number(root, "seconds");
    printf("%d layers for target %s, fitted to %zu samples, %zu held out\n",
           cJSON_GetArraySize(cli_json_item(root, "layers")), cli_json_text(root, "target"),
           cli_json_read_count(root, "samples"), cli_json_read_count(root, "held_out"));
    if (isnan(after))
        printf("size: %.0f bytes now; the search decides what it becomes\n", before);
    else
        printf("size: %.0f bytes now, then about %.0f (%.2f times smaller)\n", before, after,
               before / after);
    if (!isnan(memory))
        printf("memory: about %.0f MB\n", ceil(memory / (1 << 20)));
    if (!isnan(seconds))
        printf("time: about %.*f s on this machine\n", seconds < 10 ? 1 : 0, seconds);
    printf("dry run: nothing was written\n");
}

static void print_dry_run(const cJSON *root)
{
    print_layers(root);
    print_prediction(root);
}

enum ldnq_status cli_print_dry_run(struct cli_line *line, const struct ldnq_result *result,
                                   struct ldnq_error *err)
{
    return cli_json_print_or(line, result, print_dry_run, err);
}

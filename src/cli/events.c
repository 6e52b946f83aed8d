/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events.h"

#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/plain.h"

/* Iterations per row of the table. */
#define TRACE_EVERY 25
#define MEBI 1048576.0

static void print_start(const cJSON *event)
{
    char node[CLI_PLAIN_SIZE];
    fprintf(stderr, "\n%s '%s': %zu x %zu x %zu\n", cli_json_text(event, "op"),
            cli_copy_printable(cli_json_text(event, "node"), node),
            cli_json_read_count(event, "groups"), cli_json_read_count(event, "outputs"),
            cli_json_read_count(event, "inputs"));
}

static void print_memory(const cJSON *event)
{
    char node[CLI_PLAIN_SIZE];
    fprintf(stderr,
            "needs about %.0f MB of memory: up to %.0f MB for live values (max-mem %.4g MB), and "
            "%.0f MB that the model needs, of which %.0f MB for layer '%s'\n",
            cli_json_number(event, "bytes") / MEBI, cli_json_number(event, "live") / MEBI,
            cli_json_number(event, "limit") / MEBI, cli_json_number(event, "floor") / MEBI,
            cli_json_number(event, "layer_bytes") / MEBI,
            cli_copy_printable(cli_json_text(event, "layer"), node));
}

static void print_iteration(const cJSON *event)
{
    const int iteration = (int)cli_json_number(event, "iteration");
    if (iteration != 1 && iteration % TRACE_EVERY != 0)
        return;
    if (iteration == 1)
        fprintf(stderr, "  iter   objective    residual     rho   changed    active\n");
    fprintf(stderr, "%6d  %10.4e  %10.4e  %6.3g  %8zu  %8zu\n", iteration,
            cli_json_number(event, "objective"), cli_json_number(event, "residual"),
            cli_json_number(event, "rho"), cli_json_read_count(event, "changed"),
            cli_json_read_count(event, "active"));
}

static void print_layer(const cJSON *event)
{
    const char *solver = cli_json_text(event, "solver");
    if (solver && strcmp(solver, "shared") == 0)
        solver = "shared codes";
    fprintf(stderr,
            "  %s, %s: objective %.4e -> %.4e, %zu positions, rank %zu of %zu, lambda %.3g, "
            "%.2f s\n",
            cli_json_text(event, "weights"), solver, cli_json_number(event, "error_start"),
            cli_json_number(event, "error"), cli_json_read_count(event, "positions"),
            cli_json_read_count(event, "rank"), cli_json_read_count(event, "inputs"),
            cli_json_number(event, "lambda"), cli_json_number(event, "seconds"));
}

static void print_checkpoint(const cJSON *event, bool is_quiet)
{
    char folder[CLI_PLAIN_SIZE];
    const size_t layers = cli_json_read_count(event, "layers");
    cli_copy_printable(cli_json_text(event, "folder"), folder);
    if (layers == 0)
        fprintf(stderr, "ldnq: %s has no layers to resume with: starts from the beginning\n",
                folder);
    else if (!is_quiet)
        fprintf(stderr, "ldnq: resumes with %zu layer%s of %s\n", layers, layers == 1 ? "" : "s",
                folder);
}

void cli_print_event(const char *json, bool is_quiet)
{
    cJSON *event = cJSON_Parse(json);
    const char *kind = cli_json_text(event, "event");
    char text[CLI_PLAIN_SIZE];
    if (!kind) {
        cJSON_Delete(event);
        return;
    }
    if (strcmp(kind, "warning") == 0)
        fprintf(stderr, "ldnq: warning: %s\n",
                cli_copy_printable(cli_json_text(event, "text"), text));
    else if (strcmp(kind, "checkpoint") == 0)
        print_checkpoint(event, is_quiet);
    else if (!is_quiet && strcmp(kind, "memory") == 0)
        print_memory(event);
    else if (!is_quiet && strcmp(kind, "layer_start") == 0)
        print_start(event);
    else if (!is_quiet && strcmp(kind, "iteration") == 0)
        print_iteration(event);
    else if (!is_quiet && strcmp(kind, "layer") == 0)
        print_layer(event);
    cJSON_Delete(event);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/gates.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/json.h"

/* Failures, with "; " between them. */
struct gate_list {
    char text[4096];
    size_t used, count;
};

__attribute__((format(printf, 2, 3))) static void append(struct gate_list *list, const char *format,
                                                         ...)
{
    char item[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(item, sizeof item, format, args);
    va_end(args);
    const char *before = list->count++ ? "; " : "";
    const size_t left = sizeof list->text - list->used;
    const int length = snprintf(list->text + list->used, left, "%s%s", before, item);
    list->used += (size_t)length < left ? (size_t)length : left - 1;
}

enum ldnq_status cli_gates_check(const struct cli_line *line, struct ldnq_error *err)
{
    const char *gate = cli_line_text(line, "fail-below-sqnr")        ? "fail-below-sqnr"
                       : cli_line_text(line, "fail-below-agreement") ? "fail-below-agreement"
                                                                     : NULL;
    if (gate && !cli_line_text(line, "data"))
        return cli_fail(err, LDNQ_USAGE, "diff: --%s needs --data PATH: the samples to compare on",
                        gate);
    return LDNQ_OK;
}

/* Says what is wrong with one figure. */
static void append_failure(struct gate_list *list, const cJSON *gate)
{
    const char *figure = cli_json_text(gate, "figure"), *output = cli_json_text(gate, "output");
    const double limit = cli_json_number(gate, "limit"), value = cli_json_number(gate, "value");
    if (strcmp(figure, "file size") == 0)
        append(list, "it has %.0f bytes, above %.0f", value, limit);
    else if (!output)
        append(list, "no output has scores of classes that could agree");
    else if (isnan(value))
        append(list, "output '%s' can't be compared", output);
    else if (strcmp(figure, "SQNR") == 0)
        append(list, "output '%s' has an SQNR of %.2f dB, below %g", output, value, limit);
    else
        append(list, "output '%s' agrees in %.2f%% of the samples, below %g%%", output, value,
               limit);
}

enum ldnq_status cli_gates_pass(const cJSON *diff, const char *path, struct ldnq_error *err)
{
    struct gate_list list = { .used = 0 };
    const cJSON *gate;
    cJSON_ArrayForEach(gate, cli_json_item(diff, "gates"))
    {
        if (!cli_json_flag(gate, "passes"))
            append_failure(&list, gate);
    }
    return list.count ? cli_fail(err, LDNQ_GATE, "%s: %s", path, list.text) : LDNQ_OK;
}

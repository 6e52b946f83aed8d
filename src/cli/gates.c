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

/* An output that can't be measured fails. */
static void check_sqnr(double least, const cJSON *outputs, struct gate_list *list)
{
    const cJSON *output;
    cJSON_ArrayForEach(output, outputs)
    {
        const cJSON *error = cli_json_item(output, "error");
        const char *name = cli_json_text(output, "name");
        const double sqnr = cli_json_number(error, "sqnr_db");
        if (cli_json_flag(error, "exact"))
            continue;
        if (isnan(sqnr))
            append(list, "output '%s' can't be compared", name);
        else if (sqnr < least)
            append(list, "output '%s' has an SQNR of %.2f dB, below %g", name, sqnr, least);
    }
}

static void check_agreement(double least, const cJSON *outputs, struct gate_list *list)
{
    const cJSON *output;
    size_t measured = 0;
    cJSON_ArrayForEach(output, outputs)
    {
        const double agreement = cli_json_number(output, "agreement");
        measured += !isnan(agreement);
        if (100 * agreement < least)
            append(list, "output '%s' agrees in %.2f%% of the samples, below %g%%",
                   cli_json_text(output, "name"), 100 * agreement, least);
    }
    if (!measured)
        append(list, "no output has scores of classes that could agree");
}

enum ldnq_status cli_gates_pass(const struct cli_line *line, const cJSON *diff,
                                struct ldnq_error *err)
{
    struct gate_list list = { .used = 0 };
    const cJSON *outputs = cli_json_item(diff, "outputs"), *file = cli_json_item(diff, "b");
    const double sqnr = cli_line_number(line, "fail-below-sqnr");
    const double agreement = cli_line_number(line, "fail-below-agreement");
    const double most = cli_line_number(line, "fail-size-above");
    const double bytes = cli_json_number(file, "bytes");
    if (!isnan(sqnr))
        check_sqnr(sqnr, outputs, &list);
    if (!isnan(agreement))
        check_agreement(agreement, outputs, &list);
    if (bytes > most)
        append(&list, "it has %.0f bytes, above %.0f", bytes, most);
    return list.count ? cli_fail(err, LDNQ_GATE, "%s: %s", cli_json_text(file, "path"), list.text)
                      : LDNQ_OK;
}

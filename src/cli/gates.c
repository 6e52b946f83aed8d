#include "cli/gates.h"

#include <math.h>

#include "base/text.h"

enum ldnq_status cli_gates_check(const struct cli_settings *settings, struct ldnq_error *err)
{
    const char *gate = !isnan(settings->least_sqnr)    ? "--fail-below-sqnr"
                       : settings->least_agreement > 0 ? "--fail-below-agreement"
                                                       : NULL;
    if (gate && !settings->data)
        return ldnq_fail(err, LDNQ_USAGE, "diff: %s needs --data PATH: the samples to compare on",
                         gate);
    return LDNQ_OK;
}

/* What can't be measured does not pass. */
static void hold_sqnr(const struct cli_settings *settings, const struct ldnq_diff *diff,
                      struct ldnq_text *text)
{
    for (size_t i = 0; !isnan(settings->least_sqnr) && i < diff->output_count; i++) {
        const struct ldnq_diff_output *output = &diff->outputs[i];
        if (isnan(output->error.sqnr))
            ldnq_text_item(text, "; ", "output '%s' can't be compared", output->name);
        else if (output->error.sqnr < settings->least_sqnr)
            ldnq_text_item(text, "; ", "output '%s' has an SQNR of %.2f dB, below %g", output->name,
                           output->error.sqnr, settings->least_sqnr);
    }
}

static void hold_agreement(const struct cli_settings *settings, const struct ldnq_diff *diff,
                           struct ldnq_text *text)
{
    size_t measured = 0;
    if (settings->least_agreement <= 0)
        return;
    for (size_t i = 0; i < diff->output_count; i++) {
        const struct ldnq_diff_output *output = &diff->outputs[i];
        measured += !isnan(output->agreement);
        if (100 * output->agreement < settings->least_agreement)
            ldnq_text_item(text, "; ", "output '%s' agrees in %.2f%% of the samples, below %g%%",
                           output->name, 100 * output->agreement, settings->least_agreement);
    }
    if (!measured)
        ldnq_text_item(text, "; ", "no output has scores of classes that could agree");
}

enum ldnq_status cli_gates_pass(const struct cli_settings *settings, const struct ldnq_diff *diff,
                                struct ldnq_error *err)
{
    char list[4096] = "";
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    hold_sqnr(settings, diff, &text);
    hold_agreement(settings, diff, &text);
    if (settings->most_bytes && diff->b.bytes > settings->most_bytes)
        ldnq_text_item(&text, "; ", "it has %zu bytes, above %zu", diff->b.bytes,
                       settings->most_bytes);
    ldnq_text_end(&text);
    return text.items ? ldnq_fail(err, LDNQ_GATE, "%s: %s", diff->b.path, list) : LDNQ_OK;
}

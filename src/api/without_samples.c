/* SPDX-License-Identifier: Apache-2.0 */
#include "api/without_samples.h"

#include <string.h>

/* Options that ask for what only samples tell. */
static const enum ldnq_option_index need_samples[] = {
    OPTION_BUDGET,     OPTION_MAX_DROP, OPTION_MIN_AGREEMENT, OPTION_MIN_SQNR, OPTION_GOAL_DATA,
    OPTION_CASCADE,    OPTION_DISTILL,  OPTION_REFINE,        OPTION_RANGES,   OPTION_AUGMENT,
    OPTION_CHECKPOINT, OPTION_REPORT,   OPTION_PAGE,
};

static bool is_set_to_other_than(const struct ldnq_options *options, enum ldnq_option_index index,
                                 const char *word)
{
    return ldnq_option_is_set(options, index) &&
           strcmp(ldnq_option_text(options, index), word) != 0;
}

static enum ldnq_status check_options(const struct ldnq_options *options, struct ldnq_error *err)
{
    for (size_t i = 0; i < sizeof need_samples / sizeof *need_samples; i++)
        if (is_set_to_other_than(options, need_samples[i], "0"))
            return ldnq_fail(err, LDNQ_USAGE, "%s needs samples",
                             ldnq_option_table[need_samples[i]].name);
    const char *solver = ldnq_option_text(options, OPTION_SOLVER);
    if (ldnq_option_is_set(options, OPTION_SOLVER) && strcmp(solver, "auto") != 0 &&
        strcmp(solver, "mse") != 0 && strcmp(solver, "rtn") != 0)
        return ldnq_fail(err, LDNQ_USAGE,
                         "solver %s fits to samples: without them there are mse and rtn", solver);
    if (is_set_to_other_than(options, OPTION_ACTIVATIONS, "none") &&
        is_set_to_other_than(options, OPTION_ACTIVATIONS, "auto"))
        return ldnq_fail(err, LDNQ_USAGE,
                         "activations %s needs samples, which tell the ranges of the values",
                         ldnq_option_text(options, OPTION_ACTIVATIONS));
    return LDNQ_OK;
}

/* What is left of a quantization: rounding of the weights. */
static enum ldnq_status set_rounding(struct ldnq_options *options, struct ldnq_error *err)
{
    const bool is_rtn = ldnq_option_is_set(options, OPTION_SOLVER) &&
                        strcmp(ldnq_option_text(options, OPTION_SOLVER), "rtn") == 0;
    LDNQ_TRY(ldnq_options_set(options, "solver", is_rtn ? "rtn" : "mse", err));
    LDNQ_TRY(ldnq_options_set(options, "lambda", "0", err));
    LDNQ_TRY(ldnq_options_set(options, "estimate", "0", err));
    return ldnq_options_set(options, "activations", "none", err);
}

enum ldnq_status ldnq_options_without_samples(const struct ldnq_options *options,
                                              struct ldnq_options **out, struct ldnq_error *err)
{
    *out = NULL;
    LDNQ_TRY(check_options(options, err));
    LDNQ_TRY(ldnq_options_copy(options, out, err));
    const enum ldnq_status status = set_rounding(*out, err);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    ldnq_options_destroy(*out);
    *out = NULL;
    return status;
}

void ldnq_warn_without_samples(const struct ldnq_sink *sink)
{
    ldnq_sink_warn(sink, "no samples: weights are rounded with the scale of least squared error, "
                         "activations stay float, and no accuracy is known. Layers that are fitted "
                         "to samples have about half of the error");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "report/verdict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Shares of samples with the same class. */
#define GOOD_AGREEMENT 0.97
#define BAD_AGREEMENT 0.90
/* Few samples that all agree prove little: the interval has to be above, or the error small. */
#define GOOD_AGREEMENT_LOW 0.95
#define SURE_SQNR 25.0

#define LONGEST_NAME 60
#define LONGEST_REASON 400

const char *ldnq_verdict_name(enum ldnq_verdict_level level)
{
    static const char *const names[] = {
        [LDNQ_VERDICT_GOOD] = "good",
        [LDNQ_VERDICT_UNMEASURED] = "unmeasured",
        [LDNQ_VERDICT_DOUBTFUL] = "doubtful",
        [LDNQ_VERDICT_BAD] = "bad",
    };
    return names[level];
}

const char *ldnq_verdict_words(enum ldnq_verdict_level level)
{
    static const char *const words[] = {
        [LDNQ_VERDICT_GOOD] = "Ready to ship",
        [LDNQ_VERDICT_UNMEASURED] = "Not measured",
        [LDNQ_VERDICT_DOUBTFUL] = "Do not ship yet",
        [LDNQ_VERDICT_BAD] = "Do not ship",
    };
    return words[level];
}

/* ---- bands --------------------------------------------------------------------------- */

enum ldnq_quality_band ldnq_quality_find_band(double sqnr)
{
    if (isnan(sqnr))
        return LDNQ_QUALITY_UNKNOWN;
    if (isinf(sqnr) && sqnr > 0)
        return LDNQ_QUALITY_EXACT;
    return sqnr >= LDNQ_QUALITY_HIGH_FROM   ? LDNQ_QUALITY_HIGH
           : sqnr >= LDNQ_QUALITY_FAIR_FROM ? LDNQ_QUALITY_FAIR
           : sqnr >= LDNQ_QUALITY_LOW_FROM  ? LDNQ_QUALITY_LOW
                                            : LDNQ_QUALITY_NOISE;
}

const char *ldnq_quality_name(enum ldnq_quality_band band)
{
    static const char *const names[] = {
        [LDNQ_QUALITY_EXACT] = "exact", [LDNQ_QUALITY_HIGH] = "high",
        [LDNQ_QUALITY_FAIR] = "fair",   [LDNQ_QUALITY_LOW] = "low",
        [LDNQ_QUALITY_NOISE] = "noise", [LDNQ_QUALITY_UNKNOWN] = "unknown",
    };
    return names[band];
}

/* ---- outputs ------------------------------------------------------------------------- */

static enum ldnq_verdict_level judge_agreement(const struct ldnq_diff_output *output)
{
    if (output->agreement < BAD_AGREEMENT)
        return LDNQ_VERDICT_BAD;
    const bool is_sure =
        output->agreement_low >= GOOD_AGREEMENT_LOW || output->error.sqnr >= SURE_SQNR;
    return output->agreement >= GOOD_AGREEMENT && is_sure ? LDNQ_VERDICT_GOOD
                                                          : LDNQ_VERDICT_DOUBTFUL;
}

static enum ldnq_verdict_level judge_output(const struct ldnq_diff_output *output)
{
    if (!isnan(output->agreement))
        return judge_agreement(output);
    switch (ldnq_quality_find_band(output->error.sqnr)) {
    case LDNQ_QUALITY_EXACT:
    case LDNQ_QUALITY_HIGH:
    case LDNQ_QUALITY_FAIR:
        return LDNQ_VERDICT_GOOD;
    case LDNQ_QUALITY_LOW:
        return LDNQ_VERDICT_DOUBTFUL;
    case LDNQ_QUALITY_NOISE:
        return LDNQ_VERDICT_BAD;
    case LDNQ_QUALITY_UNKNOWN:
        break;
    }
    return LDNQ_VERDICT_UNMEASURED;
}

/* The output of the worst level, of those with the least SQNR. */
static const struct ldnq_diff_output *find_worst_output(const struct ldnq_diff *diff)
{
    const struct ldnq_diff_output *worst = NULL;
    for (size_t i = 0; diff->samples && i < diff->output_count; i++) {
        const struct ldnq_diff_output *output = &diff->outputs[i];
        const enum ldnq_verdict_level level = judge_output(output);
        if (!worst || level > judge_output(worst) ||
            (level == judge_output(worst) && output->error.sqnr < worst->error.sqnr))
            worst = output;
    }
    return worst;
}

/* ---- the verdict --------------------------------------------------------------------- */

static size_t count_failed_gates(const struct ldnq_diff *diff)
{
    size_t failed = 0;
    for (size_t i = 0; i < diff->gate_count; i++)
        failed += !diff->gates[i].passes;
    return failed;
}

/* A limit of the size says nothing about the outputs. */
static bool limits_accuracy(const struct ldnq_diff *diff)
{
    for (size_t i = 0; i < diff->gate_count; i++)
        if (diff->gates[i].output || (diff->goal && !isnan(diff->goal->limit)))
            return true;
    return false;
}

static void describe_output(const struct ldnq_diff *diff, struct ldnq_verdict *verdict)
{
    const struct ldnq_diff_output *output = verdict->output;
    char *text = verdict->reason;
    const size_t size = sizeof verdict->reason;
    if (!isnan(output->agreement)) {
        const bool is_few =
            verdict->level == LDNQ_VERDICT_DOUBTFUL && output->agreement >= GOOD_AGREEMENT;
        snprintf(text, size,
                 "the top-1 class is the float network's in %.1f %% of %s (95 %% interval "
                 "%.1f to %.1f %%)%s",
                 100 * output->agreement, diff->measured_on ? diff->measured_on : "the samples",
                 100 * output->agreement_low, 100 * output->agreement_high,
                 is_few ? "; these are too few samples to be sure" : "");
    } else if (isinf(output->error.sqnr)) {
        snprintf(text, size, "the outputs are those of the float network, to the bit");
    } else {
        snprintf(text, size,
                 "the output '%.*s' has an SQNR of %.1f dB, its error is %.2g %% of it, on %s",
                 LONGEST_NAME, output->name, output->error.sqnr,
                 100 * pow(10, -output->error.sqnr / 20),
                 diff->measured_on ? diff->measured_on : "the samples");
    }
}

struct ldnq_verdict ldnq_diff_judge(const struct ldnq_diff *diff)
{
    const size_t failed = count_failed_gates(diff);
    struct ldnq_verdict verdict = { .level = LDNQ_VERDICT_UNMEASURED,
                                    .output = find_worst_output(diff) };
    if (verdict.output)
        verdict.level = judge_output(verdict.output);
    if (verdict.level == LDNQ_VERDICT_UNMEASURED)
        snprintf(verdict.reason, sizeof verdict.reason,
                 diff->samples ? "no output could be compared"
                               : "no samples were given: nothing says how good the outputs are");
    else
        describe_output(diff, &verdict);
    if (verdict.level == LDNQ_VERDICT_GOOD && diff->is_measured_on_fitted) {
        verdict.level = LDNQ_VERDICT_DOUBTFUL;
        snprintf(verdict.reason, sizeof verdict.reason,
                 "the weights were fitted to the samples that the figures are from, so that these "
                 "are too good; compare on other samples");
    }
    if (failed > 0) {
        verdict.level = LDNQ_VERDICT_BAD;
        char measured[sizeof verdict.reason];
        memcpy(measured, verdict.reason, sizeof measured);
        snprintf(verdict.reason, sizeof verdict.reason, "%zu of %zu limits %s not kept; %.*s",
                 failed, diff->gate_count, failed == 1 ? "is" : "are", LONGEST_REASON, measured);
    } else if (limits_accuracy(diff)) {
        verdict.level = LDNQ_VERDICT_GOOD;
    }
    return verdict;
}

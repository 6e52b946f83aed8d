/* SPDX-License-Identifier: Apache-2.0 */
/* accuracy.h: what a quantized network keeps of the float one on samples.
 *
 * Samples that codes, scales or biases are fitted to show errors that are too small, the more so
 * the fewer they are. A figure goes with the samples it was measured on, and with words for them.
 *
 * Units   agreement and top-1 in percent of the samples, drop in percentage points, SQNR in dB
 * Owns    nothing
 */
#ifndef LDNQ_METRIC_ACCURACY_H
#define LDNQ_METRIC_ACCURACY_H

#include "calib/calib.h"
#include "metric/interval.h"

/* What the samples are to the network that is measured. */
enum ldnq_sample_role {
    LDNQ_SAMPLES_OF_THEIR_OWN, /* given for measuring alone */
    LDNQ_SAMPLES_HELD_OUT_OF_FIT,
    LDNQ_SAMPLES_OF_FIT, /* fitted: there are too few to hold any out */
};

struct ldnq_measured_samples {
    struct ldnq_samples *samples;
    enum ldnq_sample_role role;
    bool uses_labels; /* their labels are the network's classes; else top-1 is not measured */
};

/* The role's name in JSON: "data", "held-out", "fitted". */
const char *ldnq_sample_role_name(enum ldnq_sample_role role);

/* Writes "20 held-out samples", to follow "on"; with fitted samples also what that means. */
void ldnq_describe_samples(enum ldnq_sample_role role, size_t samples, char *text, size_t size);
#define LDNQ_SAMPLES_TEXT 160 /* size of the text */

/* NaN where it was not measured. */
struct ldnq_accuracy {
    enum ldnq_sample_role role;
    size_t samples;           /* 0: nothing was measured */
    size_t outputs;           /* those that could be compared */
    const char *worst_output; /* name in the reference of the one with the least SQNR; NULL: none */
    double sqnr;              /* its SQNR, in dB */
    double noise_to_signal;   /* |y - t|^2 / |t|^2, the mean over the outputs */
    double agreement;         /* agreement of the worst output that is a classifier's
                                 (output_metrics.h) */
    struct ldnq_interval agreement_interval; /* in percent, as interval.h has it */
    double top1, reference_top1;
    double drop; /* reference_top1 - top1 */
};

/* NaN: not part of the goal. */
struct ldnq_accuracy_goal {
    double max_drop, min_agreement, min_sqnr;
    bool is_score; /* the drop is that of a score of the caller's, not of top-1 */
};

struct ldnq_accuracy_options {
    const struct ldnq_graph *quantized, *reference;
    struct ldnq_measured_samples measured;
    struct ldnq_pool *pool;
    double *powers; /* by output: becomes the mean over the samples of |t|^2, 0 for an output that
                       can't be compared; may be NULL */
};

/* Runs both networks over all samples; top-1 where labels are used, by the first output.
 * Outputs that are not floats, or have other shapes than the reference's, are left out. Errors:
 * UNSUPPORTED (a first output without a score per class), DATA (a label beyond the classes), those
 * of the samples and the executor. */
enum ldnq_status ldnq_accuracy_measure(const struct ldnq_accuracy_options *options,
                                       struct ldnq_accuracy *out, struct ldnq_error *err);

/* Where nothing was measured. */
void ldnq_accuracy_clear(struct ldnq_accuracy *out);

/* Whether all parts of the goal are met. A part that was not measured is not. */
bool ldnq_accuracy_meets(const struct ldnq_accuracy *accuracy,
                         const struct ldnq_accuracy_goal *goal);

/* Writes "agreement 98.2 % (goal 99), SQNR 21.3 dB (goal 20)" for the parts of the goal. */
void ldnq_accuracy_print(const struct ldnq_accuracy *accuracy,
                         const struct ldnq_accuracy_goal *goal, char *text, size_t size);

/* The first part of the goal: its name, its limit, and the value that was measured. */
struct ldnq_accuracy_part {
    const char *name; /* "drop of top-1 in points", "drop of the score", "agreement in percent",
                         "SQNR in dB" */
    double limit, value;
    bool is_upper; /* the value must not be above the limit */
};
struct ldnq_accuracy_part ldnq_accuracy_find_part(const struct ldnq_accuracy *accuracy,
                                                  const struct ldnq_accuracy_goal *goal);

#endif

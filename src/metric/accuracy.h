/* accuracy.h: what a quantized network keeps of the float one on samples, as a goal states it.
 *
 * Units   agreement and top-1 in percent of the samples, drop in percentage points, SQNR in dB
 * Owns    nothing
 */
#ifndef LDNQ_METRIC_ACCURACY_H
#define LDNQ_METRIC_ACCURACY_H

#include "calib/calib.h"

/* NaN where it was not measured. */
struct ldnq_accuracy {
    size_t samples;
    double sqnr;      /* SQNR of the worst output, in dB */
    double agreement; /* agreement of the worst output that is a row of scores per sample */
    double top1, reference_top1;
    double drop; /* reference_top1 - top1 */
};

/* NaN: not part of the goal. */
struct ldnq_accuracy_goal {
    double max_drop, min_agreement, min_sqnr;
};

/* Runs both networks over all samples; top-1 where the samples have labels, by the first output.
 * Errors: UNSUPPORTED (outputs of other shapes than the reference's), DATA (a label beyond the
 * classes), those of the samples and the executor. */
enum ldnq_status ldnq_accuracy_measure(const struct ldnq_graph *quantized,
                                       const struct ldnq_graph *reference,
                                       struct ldnq_samples *samples, struct ldnq_pool *pool,
                                       struct ldnq_accuracy *out, struct ldnq_error *err);

/* Whether all parts of the goal are met. A part that was not measured is not. */
bool ldnq_accuracy_meets(const struct ldnq_accuracy *accuracy,
                         const struct ldnq_accuracy_goal *goal);

/* Writes "agreement 98.2 % (goal 99), SQNR 21.3 dB (goal 20)" for the parts of the goal. */
void ldnq_accuracy_print(const struct ldnq_accuracy *accuracy,
                         const struct ldnq_accuracy_goal *goal, char *text, size_t size);

/* The first part of the goal: its name, its limit, and the value that was measured. */
struct ldnq_accuracy_part {
    const char *name; /* "drop of top-1 in points", "agreement in percent", "SQNR in dB" */
    double limit, value;
    bool is_upper; /* the value must not be above the limit */
};
struct ldnq_accuracy_part ldnq_accuracy_find_part(const struct ldnq_accuracy *accuracy,
                                                  const struct ldnq_accuracy_goal *goal);

#endif

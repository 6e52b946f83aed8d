/* axis.h: the scale of a chart: its ends, and ticks at round numbers with labels.
 *
 * Ends that are not finite, or the same, give an axis all the same.
 */
#ifndef LDNQ_REPORT_AXIS_H
#define LDNQ_REPORT_AXIS_H

#include <stdbool.h>
#include <stddef.h>

#define LDNQ_AXIS_TICKS 12

struct ldnq_axis_tick {
    double value;
    char label[24];
};

struct ldnq_axis {
    double low, high;
    bool is_log;
    size_t tick_count;
    struct ldnq_axis_tick ticks[LDNQ_AXIS_TICKS]; /* ascending, between low and high */
};

/* From low to high, with at most `most` ticks (2 .. LDNQ_AXIS_TICKS). */
void ldnq_axis_exact(struct ldnq_axis *axis, double low, double high, size_t most);
/* The same, with the ends moved outwards to ticks. */
void ldnq_axis_round(struct ldnq_axis *axis, double low, double high, size_t most);
/* For the whole numbers first .. last, each in the middle of its place. */
void ldnq_axis_whole(struct ldnq_axis *axis, double first, double last, size_t most);
/* Logarithmic, low and high > 0, with the ends moved outwards to ticks: powers of ten,
 * for short axes twice and five times them too. */
void ldnq_axis_log(struct ldnq_axis *axis, double low, double high, size_t most);
/* Labels in B, kB, MB or GB, the same unit for all ticks. Units of 1000: round bytes are
 * round megabytes then. */
void ldnq_axis_label_bytes(struct ldnq_axis *axis);
/* Labels of counts: 10k, 5M. */
void ldnq_axis_label_counts(struct ldnq_axis *axis);

/* Where the value lies, 0 at low and 1 at high; NaN where it has no place. */
double ldnq_axis_place(const struct ldnq_axis *axis, double value);

#endif

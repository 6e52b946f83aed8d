/* SPDX-License-Identifier: Apache-2.0 */
/* axis.h: an axis of a chart: its range, and labelled ticks at round numbers.
 *
 * A range that is not finite, or empty, is replaced by one that can be shown.
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

/* Starts at low and ends at high, with at most `most` ticks (2 .. LDNQ_AXIS_TICKS). */
void ldnq_axis_init_exact(struct ldnq_axis *axis, double low, double high, size_t most);
/* Initializes a linear axis whose ends are moved outwards to a tick. */
void ldnq_axis_init_rounded(struct ldnq_axis *axis, double low, double high, size_t most);
/* For the integers first .. last: each is the centre of an interval of length 1. */
void ldnq_axis_init_integers(struct ldnq_axis *axis, double first, double last, size_t most);
/* Logarithmic, for low and high > 0, with both ends moved outwards to a tick. Ticks are powers
 * of ten, on short axes also their double and fivefold. */
void ldnq_axis_init_log(struct ldnq_axis *axis, double low, double high, size_t most);
/* Replaces the labels by sizes in one unit: B, kB, MB or GB, which are powers of 1000, so that
 * ticks at round numbers of bytes have round labels. */
void ldnq_axis_label_bytes(struct ldnq_axis *axis);
/* Replaces the labels by short counts: 10k, 5M. */
void ldnq_axis_label_counts(struct ldnq_axis *axis);

/* Returns 0 at low, 1 at high; NaN for a value <= 0 on a logarithmic axis. */
double ldnq_axis_convert_value_to_fraction(const struct ldnq_axis *axis, double value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* observer.h: which values an activation takes, in a fixed amount of memory, and the range
 * of reals that its codes should cover.
 *
 * An observer counts in bins of one width, a power of two that doubles (bins are joined in
 * pairs) when a value falls outside: the counts do not depend on the order or the batches in
 * which values arrive. Counts are integers, so that sums are exact.
 *
 * Threads  one call at a time for one observer.
 */
#ifndef LDNQ_TARGET_OBSERVER_H
#define LDNQ_TARGET_OBSERVER_H

#include "base/pool.h"
#include "target/placement.h"

enum ldnq_range_rule {
    /* Least expected squared error of what the consumers compute: a channel counts by the
     * squared norm of the weights that read it. */
    LDNQ_RANGE_AUTO,
    LDNQ_RANGE_MINMAX,
    LDNQ_RANGE_PERCENTILE, /* 99.99 % of the values on each side */
    LDNQ_RANGE_MSE,        /* least expected squared error of the activation itself */
    LDNQ_RANGE_ENTROPY,    /* least Kullback-Leibler divergence of the distributions */
};

struct ldnq_observer;

/* Importance: NULL, or for each of `channels` entries of axis `axis` how much a squared error
 * there counts; copied. Lives in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_observer_create(struct ldnq_arena *arena, const float *importance,
                                      size_t channels, size_t axis, struct ldnq_observer **out,
                                      struct ldnq_error *err);

/* Counts the tensor's float32 elements: all of them for the least and the largest value; the
 * bins see at most LDNQ_OBSERVER_MOST elements per sample (of axis 0), evenly spread. NaN is
 * skipped. The pool may be NULL. */
#define LDNQ_OBSERVER_MOST 8192
void ldnq_observer_add(struct ldnq_observer *observer, const struct ldnq_tensor *tensor,
                       struct ldnq_pool *pool);

/* To be called before values are added: counts the powers of rows (row_powers.h) too. */
void ldnq_observer_watch_rows(struct ldnq_observer *observer);

/* Whether no NaN and no infinity was among the elements. */
bool ldnq_observer_all_finite(const struct ldnq_observer *observer);
/* Whether infinities were among the values, or the huge numbers that masks have in their place: no
 * scale suits them and the others. */
bool ldnq_observer_has_mask(const struct ldnq_observer *observer);

/* Makes `observer` an equal of `from`, whose importance and slices it shares. */
void ldnq_observer_copy(struct ldnq_observer *observer, const struct ldnq_observer *from);

/* Adds what `other` saw: for activations that share a scale. Both have the same importance or
 * none. */
void ldnq_observer_merge(struct ldnq_observer *observer, const struct ldnq_observer *other);

bool ldnq_observer_has_importance(const struct ldnq_observer *observer);

/* The expected squared error of codes with this scale, rounding and clipping, relative to the power
 * of the values; a channel counts by its importance. 0 where nothing was seen. */
double ldnq_observer_relative_error(const struct ldnq_observer *observer, enum ldnq_dtype dtype,
                                    struct ldnq_scale scale);

/* The part of the slices (entries of axis 1, or of the last axis, where it is larger) that vary,
 * but within one step of the codes: from 0 to 1. */
double ldnq_observer_lost_slices(const struct ldnq_observer *observer, double step);

/* ldnq_row_powers_median_error; 0 where rows are not watched. */
double ldnq_observer_median_row_error(const struct ldnq_observer *observer, double step);

/* What was seen; both 0 where nothing was. */
void ldnq_observer_extremes(const struct ldnq_observer *observer, double *low, double *high);

/* The range that `rule` chooses for codes of `dtype` on the target, within low and high (an
 * absorbed clamp's bounds; infinite where there is none). */
void ldnq_observer_range(const struct ldnq_observer *observer, enum ldnq_range_rule rule,
                         const struct ldnq_target *target, enum ldnq_dtype dtype, double *low,
                         double *high);

#endif

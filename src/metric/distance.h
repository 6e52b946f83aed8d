/* SPDX-License-Identifier: Apache-2.0 */
/* distance.h: how far a tensor y is from its reference t, summed over batches.
 *
 * Units   SQNR in dB, 10 log10 (sum t^2 / sum (y - t)^2)
 * Owns    nothing
 * Errors  NOMEM
 * Threads the sums are the same bits for any number of threads
 */
#ifndef LDNQ_METRIC_DISTANCE_H
#define LDNQ_METRIC_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"
#include "ir/ir.h"

/* The sum of (y - t)^2 over `count` elements, in their order; t NULL is 0. */
double ldnq_compute_squared_error(const float *y, const float *t, size_t count);

/* 10 log10 (power / error): infinite without error, also where both are 0; NaN where
 * either is NaN. */
double ldnq_compute_sqnr(double power, double error);

/* Start from zeros. */
struct ldnq_distance {
    double tt, yy, ty, ee; /* sums of t^2, y^2, t y and (y - t)^2 */
    double max_error;      /* the largest |y - t| */
    bool failed;           /* some tensors could not be compared */
    size_t count;          /* elements; 0: nothing was measured */
};

/* Adds two float tensors of one shape. Other tensors, or NULL, mark the sums as failed
 * for good. */
enum ldnq_status ldnq_distance_add(struct ldnq_distance *sums, const struct ldnq_tensor *y,
                                   const struct ldnq_tensor *t, struct ldnq_pool *pool,
                                   struct ldnq_error *err);

/* Adds the sums of later tensors. */
void ldnq_distance_merge(struct ldnq_distance *sums, const struct ldnq_distance *later);

/* NaN where the sums failed or nothing was measured. */
double ldnq_distance_compute_sqnr(const struct ldnq_distance *sums);
/* The cosine of the angle between y and t as vectors over all batches: 1 where y is t,
 * also where both are 0; NaN as for the SQNR. */
double ldnq_distance_compute_cosine(const struct ldnq_distance *sums);

#endif

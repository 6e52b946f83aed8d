/* SPDX-License-Identifier: Apache-2.0 */
/* float_sums.h: sums over an array of floats, in double and in a fixed order, so that they
 * are the same for any instruction set and number of threads; and its maximum. */
#ifndef LDNQ_OPS_FLOAT_SUMS_H
#define LDNQ_OPS_FLOAT_SUMS_H

#include <stdbool.h>
#include <stddef.h>

/* Sum of x over `count` elements, in double. */
double ldnq_sum_floats(const float *x, size_t count);
/* Sum of (x - centre)^2 over `count` elements, in double. */
double ldnq_sum_squared_deviations(const float *x, size_t count, double centre);
/* Sum of a * (x - centre). */
double ldnq_sum_weighted_deviations(const float *a, const float *x, size_t count, double centre);
/* The largest element that is not NaN; -infinity if there is none. */
float ldnq_find_max_float(const float *x, size_t count);
bool ldnq_has_nan(const float *x, size_t count);

#endif

/* float_sums.h: sums of a run of floats in double, in one fixed order. */
#ifndef LDNQ_OPS_FLOAT_SUMS_H
#define LDNQ_OPS_FLOAT_SUMS_H

#include <stddef.h>

double ldnq_sum_floats(const float *x, size_t count);
/* Sum of (x - centre) squared. */
double ldnq_sum_squared_deviations(const float *x, size_t count, double centre);
/* Sum of a * (x - centre). */
double ldnq_sum_weighted_deviations(const float *a, const float *x, size_t count, double centre);

#endif

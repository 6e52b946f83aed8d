/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/norm/standardize.h"

#include <math.h>

#include "ops/op.h"
#include "ops/shared/float_sums.h"

struct ldnq_standardize_stats ldnq_standardize_measure(const float *x, size_t count, double epsilon)
{
    double mean = ldnq_sum_floats(x, count) / (double)count;
    double variance = ldnq_sum_squared_deviations(x, count, mean) / (double)count;
    return (struct ldnq_standardize_stats){ mean, 1.0 / sqrt(variance + epsilon) };
}

void ldnq_standardize(const float *x, float *y, size_t count, struct ldnq_standardize_stats stats,
                      float scale, float shift)
{
    const float mean = (float)stats.mean, factor = (float)(stats.inverse_std * (double)scale);
    LDNQ_IVDEP
    for (size_t i = 0; i < count; i++)
        y[i] = (x[i] - mean) * factor + shift;
}

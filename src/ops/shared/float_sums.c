/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/shared/float_sums.h"

#include <math.h>

#include "base/simd.h"

/* Partial sums that the compiler keeps in vector registers. The order of additions follows
 * from the code alone. */
#define LANES 8
#define MAX_LANES 32

static double sum_lanes(const double *lane)
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

LDNQ_MULTIVERSION
double ldnq_sum_floats(const float *x, size_t count)
{
    double lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (double)x[i + k];
    for (size_t k = 0; i < count; i++, k++)
        lane[k] += (double)x[i];
    return sum_lanes(lane);
}

LDNQ_MULTIVERSION
double ldnq_sum_squared_deviations(const float *x, size_t count, double centre)
{
    double lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            double difference = (double)x[i + k] - centre;
            lane[k] += difference * difference;
        }
    }
    for (size_t k = 0; i < count; i++, k++) {
        double difference = (double)x[i] - centre;
        lane[k] += difference * difference;
    }
    return sum_lanes(lane);
}

double ldnq_sum_weighted_deviations(const float *a, const float *x, size_t count, double centre)
{
    double lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (double)a[i + k] * ((double)x[i + k] - centre);
    for (size_t k = 0; i < count; i++, k++)
        lane[k] += (double)a[i] * ((double)x[i] - centre);
    return sum_lanes(lane);
}

/* `lanes` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) float find_max_by_lanes(const float *x, size_t count,
                                                                     size_t lanes)
{
    float lane[MAX_LANES], max = -INFINITY;
    size_t i = 0;
    for (size_t k = 0; k < lanes; k++)
        lane[k] = -INFINITY;
    for (; i + lanes <= count; i += lanes)
        for (size_t k = 0; k < lanes; k++)
            lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
    for (; i < count; i++)
        max = x[i] > max ? x[i] : max;
    for (size_t k = 0; k < lanes; k++)
        max = lane[k] > max ? lane[k] : max;
    return max;
}

/* The end of a short row costs more than its vectors. */
LDNQ_MULTIVERSION
float ldnq_find_max_float(const float *x, size_t count)
{
    return count >= 4 * MAX_LANES ? find_max_by_lanes(x, count, MAX_LANES)
                                  : find_max_by_lanes(x, count, LANES);
}

LDNQ_MULTIVERSION
bool ldnq_has_nan(const float *x, size_t count)
{
    int found = 0;
    for (size_t i = 0; i < count; i++)
        found |= x[i] != x[i];
    return found;
}

#include "ops/shared/float_sums.h"

#include "base/simd.h"

/* Partial sums that the compiler keeps in vector registers. The order of additions follows
 * from the code alone. */
#define LANES 8

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

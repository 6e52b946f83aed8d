/* SPDX-License-Identifier: Apache-2.0 */
/* standardize.h: (x - mean) / sqrt(variance + epsilon) over contiguous floats, shared by
 * LayerNormalization, InstanceNormalization and GroupNormalization.
 *
 * Numbers  mean and variance are summed in double
 * Threads  safe
 */
#ifndef LDNQ_OPS_STANDARDIZE_H
#define LDNQ_OPS_STANDARDIZE_H

#include <stddef.h>

struct ldnq_standardize_stats {
    double mean, inverse_std; /* inverse_std: 1 / sqrt(variance + epsilon) */
};

/* Computes mean and inverse standard deviation of x (count), count > 0. */
struct ldnq_standardize_stats ldnq_standardize_measure(const float *x, size_t count,
                                                       double epsilon);
/* y = (x - mean) * inverse_std * scale + shift, all of `count` floats; y may be x. */
void ldnq_standardize(const float *x, float *y, size_t count, struct ldnq_standardize_stats stats,
                      float scale, float shift);

#endif

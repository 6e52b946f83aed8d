/* standardize.h: (x - mean) / sqrt(variance + epsilon) of one run of floats: what
 * LayerNormalization, InstanceNormalization and GroupNormalization share. */
#ifndef LDNQ_OPS_STANDARDIZE_H
#define LDNQ_OPS_STANDARDIZE_H

#include <stddef.h>

struct ldnq_standardize_stats {
    double mean, inverse; /* inverse: 1 / sqrt(variance + epsilon) */
};

struct ldnq_standardize_stats ldnq_standardize_measure(const float *x, size_t count,
                                                       double epsilon);
/* y = (x - mean) * inverse * scale + shift; y may be x. */
void ldnq_standardize(const float *x, float *y, size_t count, struct ldnq_standardize_stats moments,
                      float scale, float shift);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* project.h: the projection of a vector to the set { a q }.
 *
 * Solves  min over scale a > 0 and codes q of  sum_s weight_s |v_s - a q_s|^2
 *         alternately: q = the codes nearest to v / a;  a = (v.q) / (q.q)
 * Shapes  a span has v (rows, v_stride), of which the first `length` columns count, and
 *         codes (rows, length), row-major; all spans share one scale
 * Owns    nothing; all buffers belong to the caller; does not allocate
 * Errors  none
 * Threads spans run in the pool; sums over spans run in their order, so that the result
 *         does not depend on the number of threads
 * Source  the paper's projection step. The iteration finds a local minimum, and the paper
 *         does not say where it starts: we search over scales first
 */
#ifndef LDNQ_QUANT_PROJECT_H
#define LDNQ_QUANT_PROJECT_H

#include <float.h>

#include "quant/quant.h"

/* Scales that a search tries. */
#define LDNQ_TRIAL_SCALES 32

struct ldnq_span {
    const double *v;
    size_t v_stride, rows, length;
    int8_t *codes;
    double weight; /* weight of this span's distance in the sum */
    /* Results of the last pass. */
    double vq, qq;              /* weight * (v.q) and weight * (q.q) */
    double largest, lowest, vv; /* extremes of v; vv its unweighted square */
    /* vq and qq at each scale of the last search. */
    double trial_vq[LDNQ_TRIAL_SCALES], trial_qq[LDNQ_TRIAL_SCALES];
};

/* Fills in the codes and returns their scale, rounded to float32 as it is stored. `start` is
 * the scale to start from; 0 means a search. A vector that is zero, or too small for a
 * normal float32 scale, gets codes 0 and the scale 1: any scale is right, and 1 is safe to
 * divide by and to store. */
float ldnq_project(const struct ldnq_codebook *codebook, struct ldnq_pool *pool,
                   struct ldnq_span *spans, size_t count, float start);

/* Whether the value, as a float32, is safe to divide by. */
static inline bool ldnq_is_scale(double value)
{
    return value >= (double)FLT_MIN && value <= (double)FLT_MAX;
}

static inline float ldnq_scale_or_default(double value, float otherwise)
{
    return ldnq_is_scale(value) ? (float)value : otherwise;
}

/* The best scale a = vq / qq for given codes; `otherwise` where that is no scale. */
static inline float ldnq_compute_best_scale(double vq, double qq, float otherwise)
{
    return ldnq_scale_or_default(qq > 0 ? vq / qq : 0, otherwise);
}

/* One pass: fills in the codes nearest to v / scale, and their vq and qq. */
void ldnq_project_codes(const struct ldnq_codebook *codebook, struct ldnq_span *span, float scale);

#endif

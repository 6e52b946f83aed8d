/* project.h: the nearest point of the set { a * q } to a vector.
 *
 * Solves  min over scale a > 0 and codes q of  sum_s weight_s |v_s - a q_s|^2
 *         by turns: q = nearest code of v / a;  a = (v.q) / (q.q)
 * Shapes  a span holds v (rows, v_stride) of which `length` columns count, and
 *         its codes (rows, length) row-major; all spans share one scale
 * Owns    nothing; all buffers are the caller's; does not allocate
 * Threads spans are taken by the pool; the sums over them run in their order,
 *         so the answer does not depend on how many threads there are
 * Source  the paper's projection step. The paper does not say how it starts; it
 *         finds a local minimum, so a search over scales comes first.
 */
#ifndef LDNQ_QUANT_PROJECT_H
#define LDNQ_QUANT_PROJECT_H

#include <float.h>

#include "quant/quant.h"

struct ldnq_span {
    const double *v;
    size_t v_stride, rows, length;
    int8_t *codes;
    double weight; /* of this span's distance in the sum */
    /* Left by the last pass. */
    double vq, qq;              /* weight * (v.q) and weight * (q.q) */
    double largest, lowest, vv; /* of v; vv its unweighted square */
};

/* Fills in the codes and returns their scale, rounded to float32 as it will be
 * stored. `start` is the scale to start from; 0 asks for the search. A vector
 * that is zero, or too small for a normal float32 scale, has all codes 0 and
 * the scale 1: any would do, and 1 is safe to divide by and to store. */
float ldnq_project(const struct ldnq_codebook *codebook, struct ldnq_pool *pool,
                   struct ldnq_span *spans, size_t count, float start);

/* Whether a float32 can hold it as a scale that is safe to divide by. */
static inline bool ldnq_is_scale(double value)
{
    return value >= (double)FLT_MIN && value <= (double)FLT_MAX;
}

static inline float ldnq_scale_or(double value, float otherwise)
{
    return ldnq_is_scale(value) ? (float)value : otherwise;
}

/* The scale a = vq / qq that is best for given codes, where there is one. */
static inline float ldnq_best_scale(double vq, double qq, float otherwise)
{
    return ldnq_scale_or(qq > 0 ? vq / qq : 0, otherwise);
}

/* One pass: the codes nearest to v / scale, and their vq and qq. */
void ldnq_project_codes(const struct ldnq_codebook *codebook, struct ldnq_span *span, float scale);

#endif

/* gemm_tiled.h: float products with a bias and a clamp, in the caller's thread.
 *
 * C = clamp(alpha * A * B + beta * C + row_bias + column_bias)
 *
 * What the executor's layers need and BLAS does not have: no pass over memory in
 * front of the product or behind it, and nothing repacked but a few columns of B.
 * Sums run along k in one order, so that how a product is cut changes no bit.
 *
 * Shapes  A (M, K), B (K, N) with any two strides each, C (M, N) in lines
 * Owns    nothing; some 100 kB of stack
 * Threads safe on distinct C
 */
#ifndef LDNQ_LINALG_GEMM_TILED_H
#define LDNQ_LINALG_GEMM_TILED_H

#include <stdbool.h>
#include <stddef.h>

struct ldnq_gemm {
    size_t m, n, k;
    const float *a, *b;
    size_t a_row, a_step; /* element (i, k) is a[i * a_row + k * a_step] */
    size_t b_row, b_step; /* element (k, j) is b[k * b_row + j * b_step] */
    float *c;
    size_t c_row;
    float alpha, beta;                   /* beta 0 leaves what C held before unread */
    const float *row_bias, *column_bias; /* M, N; either may be NULL */
    bool is_clamped;
    float low, high; /* NaN stays NaN */
};

void ldnq_gemm(const struct ldnq_gemm *gemm);

/* ---- for tests ------------------------------------------------------------------- */

/* The ways that the processor has, best first; ldnq_gemm takes way 0. */
size_t ldnq_gemm_ways(void);
void ldnq_gemm_by(size_t way, const struct ldnq_gemm *gemm);

#endif

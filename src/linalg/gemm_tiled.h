/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_tiled.h: float matrix products with a bias and a clamp, in the calling thread.
 *
 * Solves  C = clamp(alpha A B + beta C + row_bias + column_bias). Unlike BLAS it needs no
 *         pass over memory before or after the product, and repacks only a few columns of B
 *         at a time. Sums run along k in one order, so that the tiling changes no bit
 * Shapes  A (M, K) and B (K, N) with any two strides each; C (M, N) row-major
 * Owns    nothing; uses about 100 kB of stack
 * Errors  none
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
    float alpha, beta;                   /* C is not read when beta is 0 */
    const float *row_bias, *column_bias; /* M, N; either may be NULL */
    bool is_clamped;
    float low, high; /* NaN stays NaN */
    /* The first next_n columns of the B that the thread is likely to multiply next, of the same k
     * and strides; it is prefetched. NULL: not known. */
    const float *next_b;
    size_t next_n;
};

void ldnq_gemm(const struct ldnq_gemm *gemm);

/* ---- for tests ------------------------------------------------------------------- */

/* The number of implementations that run on this processor, best first; ldnq_gemm uses
 * implementation 0. */
size_t ldnq_gemm_count_implementations(void);
void ldnq_gemm_with(size_t implementation, const struct ldnq_gemm *gemm);

#endif

/* blas.h: the matrix products and factorizations that ldnq needs, row-major.
 *
 * All run in the caller's thread: the pool in base is the one parallel level.
 * This holds for the whole program: OpenBLAS is set to one thread when it starts,
 * as sums that are cut by the number of threads would not be the same everywhere.
 */
#ifndef LDNQ_LINALG_BLAS_H
#define LDNQ_LINALG_BLAS_H

#include "base/base.h"

/* "OpenBLAS 0.3.21 (Zen kernels)", for --version. */
const char *ldnq_blas_describe(char *text, size_t size);

enum ldnq_transpose { LDNQ_AS_IS, LDNQ_TRANSPOSED };

/* C (M,N) = alpha * op(A) (M,K) * op(B) (K,N) + beta * C; lda, ldb, ldc are the
 * rows' lengths in memory. */
void ldnq_sgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta,
                float *c, size_t ldc);
void ldnq_dgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                double alpha, const double *a, size_t lda, const double *b, size_t ldb, double beta,
                double *c, size_t ldc);

#endif

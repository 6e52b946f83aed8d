/* SPDX-License-Identifier: Apache-2.0 */
/* blas.h: the matrix products that ldnq needs, row-major.
 *
 * Units   none: plain matrices
 * Owns    nothing; all matrices belong to the caller
 * Errors  none; sizes are below 2^31, which BLAS counts in
 * Threads safe on distinct results, between acquire and release. Products run in the
 *         calling thread alone: the pool in base is the one parallel level, and sums that
 *         OpenBLAS cuts by its number of threads would differ between machines.
 */
#ifndef LDNQ_LINALG_BLAS_H
#define LDNQ_LINALG_BLAS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Prepares OpenBLAS for this library; every product and factorization, in any thread, runs
 * between an acquire and its release. Pairs may nest and overlap in several threads. The
 * outermost acquire sets OpenBLAS to one thread, and the last release restores the number
 * of threads that the process had. The first acquire of the process also chooses the
 * kernels (blas_kernels.h), which then stay.
 *
 * Both change what the whole process shares, and the first one sets and unsets an
 * environment variable: a host that uses OpenBLAS itself, or calls getenv in other threads,
 * makes its first acquire while it does neither, and gets slower products, not wrong ones,
 * for as long as ldnq holds OpenBLAS. */
void ldnq_blas_acquire(void);
void ldnq_blas_release(void);

/* As ldnq_blas_acquire, with the one set of kernels that every x86-64 processor with AVX2 and FMA
 * runs, until the last release. OPENBLAS_CORETYPE does not matter.
 * Errors: UNSUPPORTED (another processor; an OpenBLAS without these kernels; somebody else holds
 * OpenBLAS with other kernels), and then nothing is acquired. */
enum ldnq_status ldnq_blas_acquire_portable(struct ldnq_error *err);

/* Whether ldnq_blas_acquire is in effect, for assertions. */
bool ldnq_blas_is_acquired(void);

/* Writes "OpenBLAS 0.3.21 (Zen kernels)", for --version; returns `text`. The kernels are
 * the ones that products use between acquire and release. */
const char *ldnq_blas_describe(char *text, size_t size);

/* Writes "OpenBLAS 0.3.21 (Zen kernels), FMA, glibc 2.36": what the last bits of results depend
 * on besides the program; returns `text`. */
const char *ldnq_blas_describe_arithmetic(char *text, size_t size);

/* Writes one sentence for the user when products are slower than they could be, because
 * OpenBLAS has no kernels for this processor; NULL when all is well. */
const char *ldnq_blas_warning(char *text, size_t size);

enum ldnq_transpose { LDNQ_AS_IS, LDNQ_TRANSPOSED };

/* C (M,N) = alpha * op(A) (M,K) * op(B) (K,N) + beta * C; lda, ldb, ldc are the distances
 * between rows in memory. C is not read when beta is 0. */
void ldnq_sgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                float alpha, const float *a, size_t lda, const float *b, size_t ldb, float beta,
                float *c, size_t ldc);
void ldnq_dgemm(enum ldnq_transpose ta, enum ldnq_transpose tb, size_t m, size_t n, size_t k,
                double alpha, const double *a, size_t lda, const double *b, size_t ldb, double beta,
                double *c, size_t ldc);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* cholesky.h: factorize a symmetric positive definite matrix, solve with the factor, or
 * invert it.
 *
 * Shapes  a and factor (n, n), b (rows, n), row-major. The factor L is lower triangular,
 *         A = L L'; elements above its diagonal are not changed
 * Owns    nothing; all functions work in place, and only rank allocates
 * Errors  NUMERIC (not positive definite, or n is above LAPACK's int)
 * Threads between ldnq_blas_acquire and ldnq_blas_release; safe on distinct buffers, and a
 *         factor may be shared by solves
 */
#ifndef LDNQ_LINALG_CHOLESKY_H
#define LDNQ_LINALG_CHOLESKY_H

#include <stddef.h>

#include "base/error.h"

/* Replaces A by L. Reads only the lower triangle of A. */
enum ldnq_status ldnq_cholesky_factor(size_t n, double *a, struct ldnq_error *err);

/* Replaces each row of b, a right-hand side, by its solution: B becomes B A^-1, which for a
 * symmetric A is A^-1 applied to every row. */
void ldnq_cholesky_solve(size_t n, const double *factor, size_t rows, double *b);

/* Computes the numerical rank of a positive semidefinite A: the number of pivots above the
 * tolerance in a factorization with complete pivoting. Reads the lower triangle of A and
 * overwrites it. Errors: NUMERIC (size), NOMEM. */
enum ldnq_status ldnq_cholesky_rank(size_t n, double *a, double tolerance, size_t *rank,
                                    struct ldnq_error *err);

/* Replaces L, from ldnq_cholesky_factor, by L^-1, which is lower triangular too:
 * A^-1 = L^-1' L^-1. */
void ldnq_cholesky_invert(size_t n, double *factor);

#endif

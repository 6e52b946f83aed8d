/* cholesky.h: factor a symmetric positive definite matrix, and solve with it or
 * invert the factor.
 *
 * Shapes  a, factor (n, n); b (rows, n); all row-major. factor = L, lower, with
 *         A = L L'; what lies above its diagonal is left as it was.
 * Owns    nothing; all work in place and do not allocate, but for rank.
 * Errors  NUMERIC (not positive definite, or a size LAPACK can't count)
 * Threads safe on distinct buffers; a factor may be shared by solves
 */
#ifndef LDNQ_LINALG_CHOLESKY_H
#define LDNQ_LINALG_CHOLESKY_H

#include "base/base.h"

/* A becomes L. Only the lower triangle of A is read. */
enum ldnq_status ldnq_cholesky_factor(size_t n, double *a, struct ldnq_error *err);

/* Each row of b is a right-hand side and becomes its solution: B becomes
 * B A^-1, which for symmetric A is A^-1 applied to every row. */
void ldnq_cholesky_solve(size_t n, const double *factor, size_t rows, double *b);

/* How many pivots are above the tolerance when the largest that is left is taken each
 * time: the numerical rank of a positive semidefinite A, whose lower triangle alone is
 * read, and overwritten. Errors: NUMERIC (size), NOMEM. */
enum ldnq_status ldnq_cholesky_rank(size_t n, double *a, double tolerance, size_t *rank,
                                    struct ldnq_error *err);

/* L becomes L^-1, lower as well: A^-1 = L^-1' L^-1. `factor` is what
 * ldnq_cholesky_factor left. */
void ldnq_cholesky_invert(size_t n, double *factor);

#endif

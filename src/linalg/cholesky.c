/* SPDX-License-Identifier: Apache-2.0 */
#include "linalg/cholesky.h"

#include <assert.h>
#include <limits.h>
#include <math.h>

#include "base/arena.h"
#include "linalg/blas.h"

/* LAPACK's Fortran symbols, which every build of OpenBLAS has; Debian's has no LAPACKE. The
 * last parameters are the lengths of the character arguments, which Fortran passes. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
             size_t uplo_length);
void dpotrs_(const char *uplo, const int *n, const int *rows, const double *a, const int *lda,
             double *b, const int *ldb, int *info, size_t uplo_length);
void dpstrf_(const char *uplo, const int *n, double *a, const int *lda, int *pivots, int *rank,
             const double *tolerance, double *work, int *info, size_t uplo_length);
void dtrtri_(const char *uplo, const char *diagonal, const int *n, double *a, const int *lda,
             int *info, size_t uplo_length, size_t diagonal_length);

static enum ldnq_status check_matrix_order(size_t n, struct ldnq_error *err)
{
    if (n <= INT_MAX)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_NUMERIC, "a matrix of %zu rows is too large to factor", n);
}

/* OpenBLAS only checks that no pivot is at or below 0, which is false for NaN. */
static int find_bad_pivot(size_t n, const double *factor)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(factor[i * n + i]))
            return (int)i + 1;
    return 0;
}

enum ldnq_status ldnq_cholesky_rank(size_t n, double *a, double tolerance, size_t *rank,
                                    struct ldnq_error *err)
{
    *rank = 0;
    assert(ldnq_blas_is_acquired());
    LDNQ_TRY(check_matrix_order(n, err));
    if (n == 0)
        return LDNQ_OK;
    int order = (int)n, found = 0, info = 0;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    int *pivots = ldnq_arena_alloc(arena, n, sizeof *pivots, err);
    double *work = ldnq_arena_alloc(arena, n, 2 * sizeof *work, err);
    if (pivots && work)
        dpstrf_("U", &order, a, &order, pivots, &found, &tolerance, work, &info, 1);
    ldnq_arena_destroy(arena);
    *rank = (size_t)found;
    return pivots && work ? LDNQ_OK : LDNQ_NOMEM;
}

/* Column-major and row-major are each other's transposes: Fortran's upper
 * triangle U with A = U'U is our lower triangle L with A = LL'. */
enum ldnq_status ldnq_cholesky_factor(size_t n, double *a, struct ldnq_error *err)
{
    assert(ldnq_blas_is_acquired());
    LDNQ_TRY(check_matrix_order(n, err));
    if (n == 0)
        return LDNQ_OK;
    int order = (int)n, info = 0;
    dpotrf_("U", &order, a, &order, &info, 1);
    if (info == 0)
        info = find_bad_pivot(n, a);
    if (info != 0)
        return ldnq_fail(err, LDNQ_NUMERIC,
                         "a matrix of %zu rows is not positive definite (pivot %d)", n, info);
    return LDNQ_OK;
}

/* A row of b is a column to Fortran. One call takes as many rows as an int can count. */
void ldnq_cholesky_solve(size_t n, const double *factor, size_t rows, double *b)
{
    assert(ldnq_blas_is_acquired());
    if (n == 0)
        return;
    int order = (int)n, info = 0;
    while (rows > 0) {
        int slice = rows < INT_MAX ? (int)rows : INT_MAX;
        dpotrs_("U", &order, &slice, factor, &order, b, &order, &info, 1);
        b += (size_t)slice * n;
        rows -= (size_t)slice;
    }
}

/* The transpose of the inverse is the inverse of the transpose, so that Fortran's upper
 * triangle is our lower one here too. No pivot of a factor is 0. */
void ldnq_cholesky_invert(size_t n, double *factor)
{
    assert(ldnq_blas_is_acquired());
    if (n == 0)
        return;
    int order = (int)n, info = 0;
    dtrtri_("U", "N", &order, factor, &order, &info, 1, 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* inverse.h: the inverse Cholesky factor of H, for solvers that round one column at a time.
 *
 * Solves  X = L^-1 with L L' = H + damping, the columns permuted by ascending variance, so
 *         that X'X is the inverse. Row i of X up to its diagonal is proportional to row i of
 *         the inverse of H's submatrix for the columns 0 .. i, which are the columns not yet
 *         rounded when a solver goes from the last column to the first
 * Shapes  columns (G, K); factor (G, K, K) lower triangular, undefined above the diagonal
 * Units   H is centred (H - m m') where the layer has a bias, and divided by the mean of its
 *         diagonal. The damping is 1 % of that mean, more where rounding of the statistics
 *         has made the matrix indefinite. Constant columns get no off-diagonal elements
 * Owns    nothing; all arrays are allocated in the arena, or in that of the problem's gram_results,
 *         which has them already where a matrix is the same
 * Errors  NUMERIC (a group's matrix is indefinite), NOMEM
 * Threads groups run in the pool; the result does not depend on the number of threads
 */
#ifndef LDNQ_QUANT_INVERSE_H
#define LDNQ_QUANT_INVERSE_H

#include "base/arena.h"
#include "quant/quant.h"

struct ldnq_column {
    double variance; /* the centred diagonal; 0 for a constant column */
    size_t col;      /* index of the column in the problem */
};

struct ldnq_inverse {
    struct ldnq_column *columns; /* columns by ascending variance */
    double *factor;              /* X */
    /* (G) what the group's matrix was divided by, and what was added to the diagonal then. */
    double *units, *dampings;
};

/* Sorts columns by ascending variance, and returns the mean of their variances. */
double ldnq_order_columns(size_t count, struct ldnq_column *columns);

enum ldnq_status ldnq_inverse_init(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                   struct ldnq_inverse *inverse, struct ldnq_arena *arena,
                                   struct ldnq_error *err);

#endif

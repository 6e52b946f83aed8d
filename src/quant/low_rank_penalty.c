/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/low_rank_penalty.h"

#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/problem.h"

enum ldnq_status ldnq_low_rank_penalty_init(struct ldnq_low_rank_penalty *penalty,
                                            const struct ldnq_layer_problem *problem,
                                            size_t threads, struct ldnq_arena *arena,
                                            struct ldnq_error *err)
{
    const size_t k = problem->cols, positions = problem->low_rank->count;
    *penalty = (struct ldnq_low_rank_penalty){ .problem = problem };
#define NEW(member, n) (penalty->member = ldnq_arena_alloc(arena, n, sizeof *penalty->member, err))
    if (!NEW(columns, k * positions) || !NEW(scaled, k * positions) || !NEW(inverse, k) ||
        !NEW(factor, positions * positions) ||
        !NEW(products, threads * LDNQ_PIECE_ROWS * positions))
        return LDNQ_NOMEM;
#undef NEW
    for (size_t i = 0; i < k * positions; i++)
        penalty->columns[i] = (double)problem->low_rank->columns[i];
    return LDNQ_OK;
}

static double get_added(const struct ldnq_low_rank_penalty *penalty, size_t col)
{
    const double *added = penalty->problem->low_rank->added;
    return added ? added[col] : 0;
}

bool ldnq_low_rank_penalty_factor(struct ldnq_low_rank_penalty *penalty, double rho,
                                  const double *diagonal)
{
    const size_t k = penalty->problem->cols, positions = penalty->problem->low_rank->count;
    for (size_t i = 0; i < k; i++) {
        penalty->inverse[i] = 1 / (get_added(penalty, i) + rho * diagonal[i]);
        for (size_t p = 0; p < positions; p++)
            penalty->scaled[i * positions + p] =
                penalty->inverse[i] * penalty->columns[i * positions + p];
    }
    ldnq_dgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, positions, positions, k, 1, penalty->columns, positions,
               penalty->scaled, positions, 0, penalty->factor, positions);
    for (size_t p = 0; p < positions; p++)
        penalty->factor[p * positions + p] += (double)positions;
    return ldnq_cholesky_factor(positions, penalty->factor, NULL) == LDNQ_OK;
}

void ldnq_low_rank_penalty_solve(const struct ldnq_low_rank_penalty *penalty, size_t rows,
                                 double *b, size_t thread)
{
    const size_t k = penalty->problem->cols, positions = penalty->problem->low_rank->count;
    double *products = penalty->products + thread * LDNQ_PIECE_ROWS * positions;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, positions, k, 1, b, k, penalty->scaled, positions, 0,
               products, positions);
    ldnq_cholesky_solve(positions, penalty->factor, rows, products);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < k; i++)
            b[r * k + i] *= penalty->inverse[i];
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, k, positions, -1, products, positions,
               penalty->scaled, positions, 1, b, k);
}

void ldnq_low_rank_penalty_multiply(const struct ldnq_low_rank_penalty *penalty, size_t rows,
                                    const double *x, double *product, size_t thread)
{
    const size_t k = penalty->problem->cols, positions = penalty->problem->low_rank->count;
    double *products = penalty->products + thread * LDNQ_PIECE_ROWS * positions;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, positions, k, 1 / (double)positions, x, k,
               penalty->columns, positions, 0, products, positions);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < k; i++)
            product[r * k + i] = get_added(penalty, i) * x[r * k + i];
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, k, positions, 1, products, positions,
               penalty->columns, positions, 1, product, k);
}

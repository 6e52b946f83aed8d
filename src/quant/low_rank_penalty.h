/* SPDX-License-Identifier: Apache-2.0 */
/* low_rank_penalty.h: systems of ADMM for a matrix of low rank.
 *
 * Solves  X (C + rho D) = B with C = Y'Y / P + A, A the added diagonal, by Woodbury's identity:
 *         with E = A + rho D and B' = B E^-1,
 *
 *             X = B' - (B' Y') (P I + Y E^-1 Y')^-1 Y E^-1
 *
 *         Each rho costs a factorization of P positions instead of K columns
 * Shapes  D (K), X and B (rows, K), at most LDNQ_PIECE_ROWS rows
 * Owns    nothing; all arrays are allocated in the arena
 * Errors  NOMEM
 * Threads solve and multiply are safe on distinct rows
 */
#ifndef LDNQ_QUANT_LOW_RANK_PENALTY_H
#define LDNQ_QUANT_LOW_RANK_PENALTY_H

#include "base/arena.h"
#include "quant/quant.h"

struct ldnq_low_rank_penalty {
    const struct ldnq_layer_problem *problem;
    double *columns;  /* (K, P) Y' */
    double *scaled;   /* (K, P) E^-1 Y' */
    double *inverse;  /* (K) E^-1 */
    double *factor;   /* (P, P) Cholesky of P I + Y E^-1 Y' */
    double *products; /* (threads, LDNQ_PIECE_ROWS, P) */
};

enum ldnq_status ldnq_low_rank_penalty_init(struct ldnq_low_rank_penalty *penalty,
                                            const struct ldnq_layer_problem *problem,
                                            size_t threads, struct ldnq_arena *arena,
                                            struct ldnq_error *err);

/* Factors for rho and a D above 0; false when numbers are not finite. */
bool ldnq_low_rank_penalty_factor(struct ldnq_low_rank_penalty *penalty, double rho,
                                  const double *diagonal);

/* Replaces each row of b by its solution. */
void ldnq_low_rank_penalty_solve(const struct ldnq_low_rank_penalty *penalty, size_t rows,
                                 double *b, size_t thread);

/* Writes X C to `product`. */
void ldnq_low_rank_penalty_multiply(const struct ldnq_low_rank_penalty *penalty, size_t rows,
                                    const double *x, double *product, size_t thread);

#endif

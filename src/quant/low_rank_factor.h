/* SPDX-License-Identifier: Apache-2.0 */
/* low_rank_factor.h: what rounding one block of columns after the other needs of a matrix of low
 * rank, in the space of its P positions.
 *
 * Solves  H = Y Y' + D, with a column of the layer's input in each row of Y (K, P) and D the added
 *         diagonal and the damping of inverse.h, permuted as there. Blocks of columns are rounded
 *         from the last one to the first. With S = I + Y_C' D_C^-1 Y_C of the columns C before a
 *         block B,
 *
 *             U = Y_B S^-1,   H~ = D_B + Y_B U' = L L',   X = L^-1,   V = X'X U
 *
 *         H~ is what is left of H_B when the columns before the block compensate, so that X is the
 *         corner of inverse.h's X. The targets of the block's columns are w_B - r V', where r (P)
 *         is the error of the outputs, the sum of (a q_j - w_j) y_j over the columns j after the
 *         block. S^-1 - (X U)'(X U) is that of the next block
 * Cost    4 K P^2 to compute, and 2 K P per row and branch, where the factor of a matrix takes K^3
 *         and K^2 / 2
 * Shapes  values and responses (K, P); corners (blocks, BLOCK, BLOCK), zero above the diagonal and
 *         past K; block 0 holds the last columns; units (K)
 * Units   H is divided by the mean of its diagonal, so that Y is the input / sqrt(P mean)
 * Owns    nothing; all arrays are allocated in the arena
 * Errors  NUMERIC (numbers overflow), NOMEM
 * Threads runs in the calling thread
 * Source  Woodbury's identity; GPTQ as in gptq.c
 */
#ifndef LDNQ_QUANT_LOW_RANK_FACTOR_H
#define LDNQ_QUANT_LOW_RANK_FACTOR_H

#include "base/arena.h"
#include "quant/inverse.h"
#include "quant/quant.h"

/* Columns whose errors reach the other columns as one product. */
#define LDNQ_LOW_RANK_BLOCK ((size_t)32)

struct ldnq_low_rank_factor {
    struct ldnq_column *columns; /* (K) by ascending variance */
    float *values, *responses;   /* Y and V */
    float *corners;              /* X */
    float *units;                /* 1 / X_ii */
};

/* The problem has one group and `low_rank`. */
enum ldnq_status ldnq_low_rank_factor_init(const struct ldnq_layer_problem *problem,
                                           struct ldnq_low_rank_factor *factor,
                                           struct ldnq_arena *arena, struct ldnq_error *err);

#endif

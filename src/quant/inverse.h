/* inverse.h: what codes taken one input at a time need of H.
 *
 * Solves  X = L^-1, L L' = H + damping, the inputs in an order: X'X is the inverse.
 *         Row i of X up to its diagonal is, but for a factor, row i of the inverse of
 *         H's part for the inputs 0 .. i: those that are still to come when inputs are
 *         taken from the last to the first
 * Shapes  columns (G, K), factor (G, K, K) lower triangular; what is above the diagonals
 *         is anything
 * Units   H is that of the centred quadratic, H - m m', where the layer has a bias, in
 *         units of the mean of its diagonal, of which the damping is 1 %, or more where
 *         the statistics' rounding has left the matrix indefinite. An input that never
 *         varies is bound to no other
 * Owns    nothing; both live in the arena
 * Errors  NUMERIC (a group's matrix is indefinite), NOMEM
 * Threads groups are taken by the pool; the answer does not depend on how many threads
 *         there are
 */
#ifndef LDNQ_QUANT_INVERSE_H
#define LDNQ_QUANT_INVERSE_H

#include "quant/quant.h"

struct ldnq_column {
    double variance; /* the centred diagonal; 0 for a constant input */
    size_t input;
};

struct ldnq_inverse {
    struct ldnq_column *columns; /* by ascending variance */
    double *factor;
};

enum ldnq_status ldnq_inverse_init(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                   struct ldnq_inverse *inverse, struct ldnq_arena *arena,
                                   struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* exact.h: the best codes of short rows, by a search over all of them.
 *
 * Solves  min over codes q of  (a q - w)' H (a q - w), exactly, for several scales a around
 *         the row's own; then a = q'Hw / q'Hq (summed over all rows where they share one).
 *         Codes are chosen column by column, the nearest first, and a branch ends when its
 *         partial sum is no less than the best so far
 * Shapes  as in descent.h: a problem without a mean; codes, scales and errors (G, M), the
 *         rows' objectives, are input and result
 * Errors  NOMEM
 * Threads pieces of rows run in the pool; the result does not depend on their number
 * Source  Schnorr and Euchner, "Lattice Basis Reduction: Improved Practical Algorithms and
 *         Solving Subset Sum Problems", Math. Programming 66, 1994 (the enumeration). A
 *         search ends after LDNQ_EXACT_NODES nodes with the best found until then
 *
 * Problems with more than LDNQ_EXACT_COLS columns, with blocks or with a matrix of low rank are
 * left unchanged, and so are groups whose matrix is not positive definite.
 */
#ifndef LDNQ_QUANT_EXACT_H
#define LDNQ_QUANT_EXACT_H

#include "quant/quant.h"

#define LDNQ_EXACT_COLS 32
#define LDNQ_EXACT_NODES 1000

/* Tries `steps` scales on each side of a row's own, 3 % apart. */
enum ldnq_status ldnq_search_exactly(const struct ldnq_layer_problem *problem, int steps,
                                     struct ldnq_pool *pool, int8_t *codes, float *scales,
                                     double *errors, struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* low_rank_descent.h: the descent of descent.h for a matrix of low rank.
 *
 * Solves  the same: each code in order becomes the best one while the others are fixed. Rows have
 *         the errors of their outputs r = (a q - w) Y' in place of slopes; those of a tile of
 *         columns are r Y / P + (a q - w) diag(added), one product for many rows
 * Shapes  as in descent.h, one group
 * Numbers products in float; a code changes where that gains more than they round
 * Errors  NOMEM
 * Threads chunks of rows run in the pool; the result does not depend on their number
 */
#ifndef LDNQ_QUANT_LOW_RANK_DESCENT_H
#define LDNQ_QUANT_LOW_RANK_DESCENT_H

#include "quant/quant.h"

/* Improves codes and scales, each rank those of some rows. */
enum ldnq_status ldnq_run_low_rank_descent(const struct ldnq_layer_problem *problem,
                                           struct ldnq_pool *pool, int8_t *codes, float *scales,
                                           struct ldnq_error *err);

#endif

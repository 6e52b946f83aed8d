/* SPDX-License-Identifier: Apache-2.0 */
/* descent.h: coordinate descent on codes and scales.
 *
 * Solves  min over codes q, scale a of  (a q - w)' H (a q - w)  for each row, or of the sum
 *         over all rows where they share a scale, alternately: each code in order becomes
 *         the best one while the others are fixed; then a = q'Hw / q'Hq, unless scales have
 *         a format: these stay as they are. The scales of blocks take a step of steepest
 *         descent instead, preconditioned by each block's own curvature
 * Shapes  as in quant.h, for a problem without a mean (ldnq_problem_eliminate_bias): codes
 *         (G, M, K) and scales (G, M, S) are input and result
 * Ends    when no code changes, or after LDNQ_DESCENT_SWEEPS sweeps; the objective never
 *         rises, except by the rounding of scales to float32
 * Errors  NOMEM
 * Threads pieces of rows run in the pool; the result does not depend on their number
 */
#ifndef LDNQ_QUANT_DESCENT_H
#define LDNQ_QUANT_DESCENT_H

#include "quant/quant.h"

#define LDNQ_DESCENT_SWEEPS 60

/* Writes W H to target (G, M, K), which any number of descents can use; with a matrix of low rank,
 * where none reads it, nothing, and target may be NULL. Where rows have scales of their own, a rank
 * (base/ranks.h) has those of its pieces. */
enum ldnq_status ldnq_compute_descent_target(const struct ldnq_layer_problem *problem,
                                             struct ldnq_pool *pool, double *target,
                                             struct ldnq_error *err);

/* Improves codes and scales, and writes each row's objective to errors (G, M). */
enum ldnq_status ldnq_run_coordinate_descent(const struct ldnq_layer_problem *problem,
                                             const double *target, struct ldnq_pool *pool,
                                             int8_t *codes, float *scales, double *errors,
                                             struct ldnq_error *err);

#endif

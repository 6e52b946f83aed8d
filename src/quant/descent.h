/* descent.h: coordinate descent on codes and scales, from where a solver left them.
 *
 * Solves  min over codes q, scale a of  (a q - w)' H (a q - w)  for each row, or
 *         of the sum of all rows where they share a scale, by turns: each code in
 *         order becomes the best one while the others stay; then
 *         a = q'Hw / q'Hq. The scales of blocks take a step of steepest descent
 *         instead, preconditioned by what each would do alone
 * Shapes  as in quant.h, for a problem without a mean (ldnq_problem_reduce makes
 *         one): codes (G, M, K) and scales (G, M, S) are both input and result
 * Ends    when no code changes any more, or after LDNQ_DESCENT_SWEEPS; the
 *         objective never rises, but for the rounding of scales to float32
 * Threads pieces of rows are taken by the pool; the answer does not depend on how
 *         many threads there are
 * Errors  NOMEM
 */
#ifndef LDNQ_QUANT_DESCENT_H
#define LDNQ_QUANT_DESCENT_H

#include "quant/quant.h"

#define LDNQ_DESCENT_SWEEPS 60

/* H w into target (G, M, K), which serves any number of descents. */
enum ldnq_status ldnq_descent_target(const struct ldnq_layer_problem *problem,
                                     struct ldnq_pool *pool, double *target,
                                     struct ldnq_error *err);

/* Writes each row's objective into errors (G, M). */
enum ldnq_status ldnq_descend(const struct ldnq_layer_problem *problem, const double *target,
                              struct ldnq_pool *pool, int8_t *codes, float *scales, double *errors,
                              struct ldnq_error *err);

#endif

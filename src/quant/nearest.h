/* nearest.h: where the solvers start: the a * q nearest to the weight.
 *
 * Solves  min over codes q, scales a of  sum |a q - w|^2  over the weights
 *         of each scale; the bias stays the problem's
 * Errors  NOMEM
 */
#ifndef LDNQ_QUANT_NEAREST_H
#define LDNQ_QUANT_NEAREST_H

#include "quant/quant.h"

/* Fills in the codes, scales and bias of the solution. */
enum ldnq_status ldnq_nearest_start(const struct ldnq_layer_problem *problem,
                                    struct ldnq_pool *pool, struct ldnq_layer_solution *solution,
                                    struct ldnq_error *err);

#endif

/* bound.h: what the layers' errors can do to the network's output at most.
 *
 * Solves  |y' - y| <= sum over layers l of c_l d_l, in the root mean square over samples:
 *         d_l is what layer l's codes change of its output on its own (erring) input, c_l
 *         the product of the Lipschitz constants behind it, added up over branches. A
 *         layer's constant is the Frobenius norm of its float weight, times the root of
 *         how often a convolution reads an element
 * Source  the paper's theorem on the final output's error, here for any graph without
 *         operators of unknown or unbounded constant
 */
#ifndef LDNQ_PIPELINE_BOUND_H
#define LDNQ_PIPELINE_BOUND_H

#include "pipeline/run.h"

/* The bound on the result's output_error, in the same measure: the squares of the bounds
 * over the outputs' powers (as ldnq_outputs_measure has them), the mean over the float
 * outputs; NaN where an operator has no constant. Errors: NOMEM. */
enum ldnq_status ldnq_bound_outputs(const struct ldnq_run *run, const double *powers,
                                    double *bound, struct ldnq_error *err);

#endif

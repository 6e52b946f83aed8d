/* bound.h: what the layers' errors can do to the network's output at most.
 *
 * Solves  |y' - y| <= sum over layers l of c_l d_l, in the root mean square over samples:
 *         d_l is what layer l's codes change of its output, c_l the product of the
 *         Lipschitz constants behind it, added up over branches. Either d_l is taken on the
 *         layer's own (erring) input, and the constants are the float network's; or on
 *         the float input, and they are the quantized one's. A layer's constant is the
 *         Frobenius norm of its weight, times the root of how often a convolution reads
 *         an element
 * Source  the paper's theorem on the final output's error, here for any graph without
 *         operators of unknown or unbounded constant
 */
#ifndef LDNQ_METRIC_ERROR_BOUND_H
#define LDNQ_METRIC_ERROR_BOUND_H

#include "ir/ir.h"

/* bounds[o]: of output o, in the measure of output_error: the square of the bound over the
 * output's power (as ldnq_output_error_measure has it; 0 for one that does not count). NaN where
 * an operator has no constant. `graph` gives the constants; changes, by place, are d_l of the
 * layers and 0 of all other nodes. Errors: NOMEM. */
enum ldnq_status ldnq_bound_output_errors(const struct ldnq_graph *graph, const double *changes,
                                          const double *powers, double *bounds,
                                          struct ldnq_error *err);

#endif

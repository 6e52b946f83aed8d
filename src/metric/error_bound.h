/* SPDX-License-Identifier: Apache-2.0 */
/* error_bound.h: an upper bound of the error of a network's outputs, from the error of each
 * layer.
 *
 * Solves  |y' - y| <= sum over layers l of c_l d_l, in the root mean square over samples. d_l
 *         is how much quantization changes the output of layer l; c_l is the product of the
 *         Lipschitz constants of all nodes after it, added up over branches. Either d_l is
 *         measured on the layer's input in the quantized network, and the constants are the
 *         float network's; or on its float input, and they are the quantized network's.
 *         The constant of a layer is the Frobenius norm of its weight, times the square
 *         root of how many windows of a convolution read an element
 * Source  the paper's theorem on the error of the final output, for any graph whose operators
 *         have a known constant
 */
#ifndef LDNQ_METRIC_ERROR_BOUND_H
#define LDNQ_METRIC_ERROR_BOUND_H

#include "ir/ir.h"

/* `graph` has the constants; changes[n] is d_l where node n is a layer, else 0; powers[o] is
 * the mean over the samples of |t|^2 of output o. bounds[o] becomes the square of the bound
 * over powers[o] (0 where that is 0), or NaN where an operator has no constant.
 * Errors: NOMEM. */
enum ldnq_status ldnq_bound_output_errors(const struct ldnq_graph *graph, const double *changes,
                                          const double *powers, double *bounds,
                                          struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* output_projection.h: random projections of the Jacobian of a network's outputs.
 *
 * Computes u' J_v for values v of a graph, J_v the derivative of the outputs by v, u one random
 *          vector per draw. A draw is one sample and one backward pass, which yields the
 *          projections of all values together. Elements of u have independent random signs,
 *          and a size for which
 *              E[(u' d)^2] = mean over the outputs o of |d_o|^2 / power_o
 *          for any change d of the outputs: the unit of output_error.h
 * Numbers  N draws estimate such an error with a standard deviation of about sqrt(2/N) of it
 * Source   Hutchinson's estimator of a trace, with random signs
 */
#ifndef LDNQ_METRIC_OUTPUT_PROJECTION_H
#define LDNQ_METRIC_OUTPUT_PROJECTION_H

#include "calib/calib.h"

struct ldnq_projection_options {
    /* Constants and computed values of the graph. */
    const struct ldnq_value *const *values;
    size_t value_count;
    const double *powers; /* by output: mean over the samples of |t|^2; an output with 0 is left
                             out */
    size_t draws;         /* number of draws, on the first samples (at most 32), which repeat */
    uint64_t seed;
    size_t max_bytes; /* as in grad.h */
    struct ldnq_pool *pool;
};

/* Valid during the visit. */
struct ldnq_projection {
    const struct ldnq_tensor **gradients; /* by value: u' J_v in the shape of v */
    struct ldnq_tensor *const *inputs;    /* of the graph: the sample */
};

typedef enum ldnq_status ldnq_projection_visit_fn(void *ctx,
                                                  const struct ldnq_projection *projection,
                                                  struct ldnq_error *err);

/* Calls visit once per draw. Errors: UNSUPPORTED (a node without a gradient is in the way; no
 * float output depends on the values), those of the samples and the executor, those of visit. */
enum ldnq_status ldnq_project_outputs(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                      const struct ldnq_projection_options *options,
                                      ldnq_projection_visit_fn *visit, void *ctx,
                                      struct ldnq_error *err);

#endif

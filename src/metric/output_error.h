/* SPDX-License-Identifier: Apache-2.0 */
/* output_error.h: the error of a network's outputs y against a reference network's t.
 *
 * Units   the noise-to-signal ratio |y - t|^2 / |t|^2 per output, the mean over the outputs
 * Owns    nothing
 */
#ifndef LDNQ_METRIC_OUTPUT_ERROR_H
#define LDNQ_METRIC_OUTPUT_ERROR_H

#include "calib/calib.h"
#include "exec/exec.h"

/* A graph and an executor of it that has run. */
struct ldnq_executed_graph {
    const struct ldnq_graph *graph;
    struct ldnq_exec *exec;
    /* The sample of the run, whose masked positions do not count; NULL: all positions count. */
    const struct ldnq_samples *samples;
    size_t sample;
};

/* Checks that y, the output of this name, has the shape of t. Errors: UNSUPPORTED. */
enum ldnq_status ldnq_output_check_shape(const char *name, const struct ldnq_tensor *y,
                                         const struct ldnq_tensor *t, struct ldnq_error *err);

/* Adds |y - t|^2 and |t|^2 of each float output to errors and powers, both by output.
 * Errors: UNSUPPORTED (an output whose shape is not the reference's). */
enum ldnq_status ldnq_output_error_add(const struct ldnq_executed_graph *quantized,
                                       const struct ldnq_executed_graph *reference, double *errors,
                                       double *powers, struct ldnq_error *err);

/* The mean over the outputs of errors / powers; an output whose power is 0 counts as 0. */
double ldnq_output_error_compute_mean(const double *errors, const double *powers, size_t outputs);

/* `done` is the part of the samples that this batch completes, 0 .. 1. The inputs are freed
 * afterwards. */
typedef enum ldnq_status ldnq_batch_visit_fn(void *ctx, struct ldnq_tensor *const *inputs,
                                             double done, struct ldnq_error *err);

#define LDNQ_MOST_VISITED_SAMPLES ((size_t)32)

/* Calls visit for the first samples, at most that many, in batches, as inputs of the graph.
 * Errors: those of ldnq_samples_read, and those of visit. */
enum ldnq_status ldnq_visit_first_samples(const struct ldnq_graph *graph,
                                          struct ldnq_samples *samples, struct ldnq_pool *pool,
                                          ldnq_batch_visit_fn *visit, void *ctx,
                                          struct ldnq_error *err);

/* powers[o] becomes the mean over those samples of |t|^2 of output o, 0 where it is not a float,
 * and for all of them where the network can't be run. Errors: NOMEM, IO. */
enum ldnq_status ldnq_output_measure_powers(const struct ldnq_graph *graph,
                                            struct ldnq_samples *samples, struct ldnq_pool *pool,
                                            double *powers, struct ldnq_error *err);

#endif

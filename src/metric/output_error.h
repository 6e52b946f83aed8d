/* outputs.h: comparing what two networks give. */
#ifndef LDNQ_METRIC_OUTPUT_ERROR_H
#define LDNQ_METRIC_OUTPUT_ERROR_H

#include "calib/calib.h"
#include "exec/exec.h"

/* A graph and its executor, which has run. */
struct ldnq_executed_graph {
    const struct ldnq_graph *graph;
    struct ldnq_exec *exec;
};

/* Errors: UNSUPPORTED when y, the output of this name, has not the shape of t. */
enum ldnq_status ldnq_output_check_shape(const char *name, const struct ldnq_tensor *y,
                                         const struct ldnq_tensor *t, struct ldnq_error *err);

/* Adds |y - t|^2 and |t|^2 of each float output to errors and powers (one an output).
 * Errors: UNSUPPORTED (an output whose shape is not the reference's). */
enum ldnq_status ldnq_output_error_add(const struct ldnq_executed_graph *quantized,
                                       const struct ldnq_executed_graph *reference, double *errors,
                                       double *powers, struct ldnq_error *err);

/* errors / powers, the mean over the outputs; those without power are right. */
double ldnq_output_error_mean(const double *errors, const double *powers, size_t outputs);

/* `part` of the samples are behind this batch's end. The inputs are gone afterwards. */
typedef enum ldnq_status ldnq_outputs_fn(void *ctx, struct ldnq_tensor *const *inputs, double part,
                                         struct ldnq_error *err);

/* Calls visit for batches of the first samples, up to 32, as inputs of the graph.
 * Errors: those of ldnq_samples_read, and what visit returns. */
enum ldnq_status ldnq_outputs_walk(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                   struct ldnq_pool *pool, ldnq_outputs_fn *visit, void *ctx,
                                   struct ldnq_error *err);

/* The error of the quantized's outputs on those samples; NaN when no output is a float, or
 * when they can't be run or compared. Also the mean over the samples of each float output's
 * |t|^2 (0 of others), of the reference. Errors: NOMEM, IO. */
enum ldnq_status ldnq_output_error_measure(const struct ldnq_graph *quantized,
                                           const struct ldnq_graph *reference,
                                           struct ldnq_samples *samples, struct ldnq_pool *pool,
                                           double *error, double *powers, struct ldnq_error *err);

#endif

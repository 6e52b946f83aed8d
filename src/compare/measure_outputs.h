/* SPDX-License-Identifier: Apache-2.0 */
/* measure_outputs.h: runs a float network A and quantized ones on the same samples and compares
 * their outputs.
 *
 * Owns    nothing: all arrays live in the arena
 * Errors  UNSUPPORTED (a graph that can't be executed, or an input of B that A lacks), DATA
 *         (samples that don't fit one of the graphs), IO, NOMEM
 */
#ifndef LDNQ_COMPARE_MEASURE_OUTPUTS_H
#define LDNQ_COMPARE_MEASURE_OUTPUTS_H

#include "base/sink.h"
#include "calib/calib.h"
#include "compare/changed_samples.h"
#include "exec/exec.h"
#include "metric/output_metrics.h"

/* A quantized network B beside A, and the sums of the errors of its outputs. */
struct ldnq_compared_network {
    struct ldnq_graph *graph_a, *graph_b;
    struct ldnq_diff *diff;        /* gets the outputs and changed_samples */
    struct ldnq_exec *exec;        /* of B */
    size_t *input_of_b;            /* by input of B: the input of A with its samples */
    struct ldnq_tensor **inputs_b; /* B's inputs of the current batch */
    size_t *output_of_a;           /* by output of A: the output of B, or LDNQ_NO_NODE */
    struct ldnq_output_sums *sums; /* by output of A: sums for its metrics */
    double *bounds;                /* by output of A: as diff->outputs has them; NaN at first */
};

/* Where to run the networks, and on what. */
struct ldnq_compared_run {
    struct ldnq_samples *samples;
    size_t count; /* of the samples */
    size_t batch; /* samples at a time */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
};

/* Pairs the inputs and outputs of both graphs by name, else by their order; creates no executor. */
enum ldnq_status ldnq_compared_network_init(struct ldnq_compared_network *network,
                                            struct ldnq_arena *arena, struct ldnq_error *err);

/* Sets run->batch to what all networks take at a time, which it finds out by running them. */
enum ldnq_status ldnq_compared_run_choose_batch(struct ldnq_compared_run *run,
                                                const struct ldnq_compared_network *networks,
                                                size_t count, struct ldnq_error *err);

/* Adds the outputs for all samples from `first` on. A runs once for all the networks. Pads of the
 * graphs are merged into layers before that. */
enum ldnq_status ldnq_measure_outputs(const struct ldnq_compared_run *run, size_t first,
                                      struct ldnq_compared_network *networks, size_t count,
                                      struct ldnq_arena *arena, struct ldnq_error *err);

/* Fills in diff->outputs. */
enum ldnq_status ldnq_compared_network_store_outputs(const struct ldnq_compared_network *network,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err);

/* ---- for a caller that runs both networks itself ---- */

/* Fills in network->inputs_b from the inputs of A. */
void ldnq_compared_network_read_inputs(struct ldnq_compared_network *network,
                                       struct ldnq_tensor *const *inputs);

/* Adds the outputs of a batch that both executors have run. batch->output, t and y are not read. */
enum ldnq_status ldnq_compared_network_add_outputs(struct ldnq_compared_network *network,
                                                   const struct ldnq_exec *a,
                                                   const struct ldnq_compared_batch *batch,
                                                   struct ldnq_pool *pool, struct ldnq_arena *arena,
                                                   struct ldnq_error *err);

#endif

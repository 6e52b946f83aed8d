/* SPDX-License-Identifier: Apache-2.0 */
/* float_pass.h: one run of the float network over all samples, a batch at a time.
 *
 * Memory  each value is freed after its last use, so that it does not grow with the samples
 */
#ifndef LDNQ_PIPELINE_FLOAT_PASS_H
#define LDNQ_PIPELINE_FLOAT_PASS_H

#include "base/sink.h"
#include "calib/calib.h"

struct ldnq_float_pass {
    const struct ldnq_graph *graph;
    struct ldnq_samples *samples;
    const bool *visited; /* by value index: the values that `visit` is called for */
    /* Called for each batch with every visited float value that the batch computes. */
    enum ldnq_status (*visit)(void *ctx, const struct ldnq_value *value,
                              const struct ldnq_tensor *tensor, struct ldnq_error *err);
    void *ctx;
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
};

/* Errors: those of the samples, the executor and `visit`; NOMEM. */
enum ldnq_status ldnq_float_pass_run(const struct ldnq_float_pass *pass, struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* compare.h: compares a float model (A, the reference) with a quantized one (B), whichever tool
 * wrote it.
 *
 * The same node is found in both files through Q/DQ nodes, new names, another order and folded
 * BatchNormalizations. With samples the networks run side by side, and each layer's error is
 * measured.
 *
 * Owns    nothing: the result lives in the arena and points into the two models, which must
 *         outlive it
 */
#ifndef LDNQ_COMPARE_H
#define LDNQ_COMPARE_H

#include "base/sink.h"
#include "calib/calib.h"
#include "compare/comparison.h"
#include "metric/accuracy.h"
#include "onnx/onnx.h"

struct ldnq_diff_options {
    const struct ldnq_model *model_a, *model_b;
    /* As imported, before any pass. The comparison folds and merges them. */
    struct ldnq_graph *graph_a, *graph_b;
    struct ldnq_samples *samples; /* opened for A's graph; NULL: compare structure and weights */
    size_t max_samples;           /* use only the first; 0: all */
    enum ldnq_sample_role role;   /* what they are to B */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
};

/* Errors: MODEL, NOMEM; with samples also UNSUPPORTED (a graph that can't be executed, with all
 * its unsupported nodes; an input of B that A lacks), DATA, IO. */
enum ldnq_status ldnq_diff_create(const struct ldnq_diff_options *options, struct ldnq_arena *arena,
                                  struct ldnq_diff **out, struct ldnq_error *err);

/* Compares several models B with one A by their structure and their outputs: the layers are not
 * run by themselves, and have no errors. Samples, pool and sink are those of the first options; A
 * runs once for all, as the first graph_a. Each comparison folds nodes of a graph_a of its own.
 * Errors: as above. */
enum ldnq_status ldnq_diff_create_candidates(const struct ldnq_diff_options *options, size_t count,
                                             struct ldnq_arena *arena, struct ldnq_diff **out,
                                             struct ldnq_error *err);

#endif

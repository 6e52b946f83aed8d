/* SPDX-License-Identifier: Apache-2.0 */
/* measure_errors.h: runs two networks side by side on samples and measures, layer by layer, how
 * far B is from A.
 *
 * Both graphs run node by node on the same batch. Before a layer of A runs, B's layer runs on
 * A's inputs (isolated_run.h). After it, the outputs of all three are compared and freed, so
 * that no more than the live values of one batch are held.
 */
#ifndef LDNQ_COMPARE_MEASURE_ERRORS_H
#define LDNQ_COMPARE_MEASURE_ERRORS_H

#include "base/sink.h"
#include "calib/calib.h"
#include "compare/matched_layers.h"

struct ldnq_measure_options {
    const struct ldnq_node_pairs *pairs;
    const struct ldnq_matched_layers *layers;
    struct ldnq_samples *samples;
    size_t max_samples; /* the first of them; 0: all */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
};

/* Fills in the errors of diff->layers, which are `layers` one by one, and all that the diff
 * holds about samples and outputs. Layers and outputs whose shapes differ have NaN. Errors:
 * UNSUPPORTED (a graph that can't be executed, or an input of B that A lacks), DATA (samples
 * that don't fit one of the graphs), IO, NOMEM. */
enum ldnq_status ldnq_measure_errors(const struct ldnq_measure_options *options,
                                     struct ldnq_arena *arena, struct ldnq_diff *diff,
                                     struct ldnq_error *err);

#endif

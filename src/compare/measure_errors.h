/* measure.h: two networks side by side over samples, layer by layer.
 *
 * Both are walked node by node over the same batch. Where A stands in front of a layer, B's
 * layer is run on A's input by an executor of its own; behind the layer the outputs of all
 * three are compared and may go: no more than a batch's live values are held.
 */
#ifndef LDNQ_COMPARE_MEASURE_ERRORS_H
#define LDNQ_COMPARE_MEASURE_ERRORS_H

#include "calib/calib.h"
#include "compare/matched_layers.h"

struct ldnq_measure_options {
    const struct ldnq_node_pairs *pairs;
    const struct ldnq_matched_layers *couples;
    struct ldnq_samples *samples;
    size_t max_samples; /* 0: all */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
    struct ldnq_diff *diff; /* its layers are the couples */
};

/* Fills in the layers' errors and all that the diff has of samples and outputs. An output
 * or a layer that can't be compared (other shapes) has NaN.
 * Errors: UNSUPPORTED (a graph that can't be executed), DATA (samples that don't fit one of
 * them), IO, NOMEM. */
enum ldnq_status ldnq_measure_errors(const struct ldnq_measure_options *measuring,
                                     struct ldnq_arena *arena, struct ldnq_error *err);

#endif

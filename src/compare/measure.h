/* measure.h: two networks side by side over samples, layer by layer.
 *
 * Both are walked node by node over the same batch. Where A stands in front of a layer, B's
 * layer is run on A's input by an executor of its own; behind the layer the outputs of all
 * three are compared and may go: no more than a batch's live values are held.
 */
#ifndef LDNQ_COMPARE_MEASURE_H
#define LDNQ_COMPARE_MEASURE_H

#include "calib/calib.h"
#include "compare/couple.h"

struct ldnq_measuring {
    const struct ldnq_pairs *pairs;
    const struct ldnq_couples *couples;
    struct ldnq_samples *samples;
    size_t most_samples; /* 0: all */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
    struct ldnq_diff *diff; /* its layers are the couples */
};

/* Fills in the layers' errors and all that the diff has of samples and outputs. An output
 * or a layer that can't be compared (other shapes) has NaN.
 * Errors: UNSUPPORTED (a graph that can't be executed), DATA (samples that don't fit one of
 * them), IO, NOMEM. */
enum ldnq_status ldnq_measure(const struct ldnq_measuring *measuring, struct ldnq_arena *arena,
                              struct ldnq_error *err);

#endif

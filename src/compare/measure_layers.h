/* SPDX-License-Identifier: Apache-2.0 */
/* measure_layers.h: runs two networks side by side on the first samples and measures, layer by
 * layer, how far B is from A.
 *
 * Both graphs run node by node on the same batch. Before a layer of A runs, B's layer runs on
 * A's inputs (isolated_run.h). After it, the outputs of all three are compared and freed, so
 * that no more than the live values of one batch are held. This takes two to three times as long
 * as to run both networks (measure_outputs.h), which is left for the other samples.
 */
#ifndef LDNQ_COMPARE_MEASURE_LAYERS_H
#define LDNQ_COMPARE_MEASURE_LAYERS_H

#include "compare/matched_layers.h"
#include "compare/measure_outputs.h"

struct ldnq_measure_layers_options {
    const struct ldnq_node_pairs *pairs;
    const struct ldnq_matched_layers *layers;
    const struct ldnq_compared_run *run;
};

/* Fills in the errors of diff->layers, which are `layers` one by one, diff->layer_samples, and
 * network->bounds; adds these samples' outputs to the network's sums. Layers whose shapes differ
 * have NaN. The caller has paired the networks. Errors: UNSUPPORTED (a graph that can't be
 * executed), DATA (samples that don't fit one of the graphs), IO, NOMEM. */
enum ldnq_status ldnq_measure_layers(const struct ldnq_measure_layers_options *options,
                                     struct ldnq_compared_network *network,
                                     struct ldnq_arena *arena, struct ldnq_error *err);

#endif

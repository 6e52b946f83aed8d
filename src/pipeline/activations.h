/* SPDX-License-Identifier: Apache-2.0 */
/* activations.h: the quantized activations of a run.
 *
 * The pairs are inserted into the graph before anything is measured, so that each layer is
 * fitted to the rounded input that it will get, and towards the float network's output: it
 * makes up for the rounding of its input as for that of the upstream layers.
 */
#ifndef LDNQ_PIPELINE_ACTIVATIONS_H
#define LDNQ_PIPELINE_ACTIVATIONS_H

#include "pipeline/quantizer.h"

/* Before the layers are listed, as the indices of nodes change: decides which activations the
 * options' target has codes of, runs the float network once over the samples to find their scales
 * (and the means of the layers' inputs, where no more is needed), and inserts the pairs into
 * run->graph. A value that one scale ruins stays float, with a warning, and the network is run
 * once more. Without a target, or with one for weights alone, there are no pairs.
 * Errors: those of ldnq_select_layers and ldnq_float_pass_run; NUMERIC, NOMEM. */
enum ldnq_status ldnq_quantizer_place_pairs(struct ldnq_quantizer *run, struct ldnq_error *err);

/* Makes the clone of the graph, the reference, compute without the pairs, and stores in each layer
 * whether it reads codes, and their scale. Errors: NOMEM. */
enum ldnq_status ldnq_quantizer_bypass_pairs(struct ldnq_quantizer *run, struct ldnq_error *err);

/* Stores in each layer whether it reads codes, and the scale that they have now. There are pairs.
 */
void ldnq_quantizer_set_input_scales(struct ldnq_quantizer *run);

/* Whether the float network's means are all that the layers are fitted to. Error compensation,
 * cascade and fine-tuning go through the layers one by one, and so do the baselines: their errors
 * are measured with all correlations of the input. Means of samples of different shapes would take
 * memory for each shape. */
bool ldnq_fit_needs_only_input_means(const struct ldnq_quantize_options *options,
                                     const struct ldnq_samples *samples);

#endif

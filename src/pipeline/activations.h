/* activations.h: the quantized activations of a run.
 *
 * The pairs are inserted into the graph before anything is measured, so that each layer is
 * fitted to the rounded input that it will get, and towards the float network's output: it
 * makes up for the rounding of its input as for that of the upstream layers.
 */
#ifndef LDNQ_PIPELINE_ACTIVATIONS_H
#define LDNQ_PIPELINE_ACTIVATIONS_H

#include "pipeline/quantizer.h"

/* Inserts the pairs that the options' target asks for into run->graph. Before the layers are
 * listed, as the indices of nodes change. Without a target, or with one for weights alone,
 * nothing happens. Errors: those of ldnq_select_layers, NOMEM. */
enum ldnq_status ldnq_quantizer_insert_pairs(struct ldnq_quantizer *run, struct ldnq_error *err);

/* After the float network was cloned: takes the pairs out of it, runs it once over the samples
 * where ranges or means are needed, sets the scales of all activations, and stores in each
 * layer the scale of its input. Errors: those of ldnq_float_pass_run. */
enum ldnq_status ldnq_quantizer_observe(struct ldnq_quantizer *run, struct ldnq_error *err);

#endif

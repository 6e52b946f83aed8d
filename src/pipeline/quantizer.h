/* run.h: one run of the quantizer, as its stages see it.
 *
 * quantize.c prepares it and calls the stages in their order; walk.c places the
 * layers one by one; what comes after works on the placed layers together.
 */
#ifndef LDNQ_PIPELINE_QUANTIZER_H
#define LDNQ_PIPELINE_QUANTIZER_H

#include "pipeline/pipeline.h"

#include "pipeline/calib_runner.h"

struct ldnq_quantizer {
    struct ldnq_graph *graph;     /* computes with the codes of the layers placed so far */
    struct ldnq_graph *reference; /* the float network */
    struct ldnq_samples *samples;
    const struct ldnq_quantize_options *options;
    struct ldnq_arena *arena;
    double start; /* ldnq_now() */
    struct ldnq_quantization *result;
    const struct ldnq_value **file_weight; /* by layer: the one that it read in the file */
    size_t fitted;                         /* layers that have their codes */
    size_t moved; /* layers from this one on have weights of a cascade; 0: none has */
};

/* Seconds that are left of the run's time; infinite without a limit. */
double ldnq_quantizer_time_left(const struct ldnq_quantizer *run);

/* Places all layers, front to back. */
enum ldnq_status ldnq_quantizer_fit_layers(struct ldnq_quantizer *run, struct ldnq_error *err);

/* Learns scales, biases and (if asked) codes of all placed layers together, by
 * back-propagation through the quantized network towards the float one's outputs.
 * A part of the samples is held out: what is best on them is kept, the layers as they
 * were placed included. A network that gradients can't pass, or too few samples, are
 * a warning. */
enum ldnq_status ldnq_quantizer_fine_tune(struct ldnq_quantizer *run, struct ldnq_error *err);

/* The same after some layers were placed, for the options' `cascade` steps: learns scales
 * and biases of these, weights and biases of the others. */
enum ldnq_status ldnq_quantizer_cascade(struct ldnq_quantizer *run, struct ldnq_error *err);

#endif

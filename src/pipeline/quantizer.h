/* SPDX-License-Identifier: Apache-2.0 */
/* quantizer.h: one run of ldnq_quantize_graph, as its stages see it.
 *
 * quantize.c prepares the run and calls the stages in their order; quantize_layers.c fits the
 * layers one by one; fine_tune.c changes all fitted layers together.
 */
#ifndef LDNQ_PIPELINE_QUANTIZER_H
#define LDNQ_PIPELINE_QUANTIZER_H

#include "pipeline/calib_runner.h"
#include "pipeline/input_means.h"
#include "pipeline/pipeline.h"

struct ldnq_quantizer {
    struct ldnq_graph *graph;         /* computes with the codes of the layers fitted so far */
    struct ldnq_graph *reference;     /* the float network */
    struct ldnq_placement *placement; /* the Q/DQ pairs in both graphs; NULL: none */
    struct ldnq_input_means *means;   /* means that the layers are fitted to; NULL: Gram matrices */
    struct ldnq_samples *samples;     /* NULL: layers are rounded, and nothing is measured */
    const struct ldnq_quantize_options *options;
    struct ldnq_arena *arena;
    double start; /* ldnq_now() */
    struct ldnq_quantization *result;
    const struct ldnq_value **file_weight; /* by layer: the value of its weight in the file */
    size_t fitted;                         /* layers that have their codes */
    size_t rounded; /* layers from the first one on that are rounded, as a later one needs it */
    /* Float layers from this one on have weights that a cascade changed; 0: none has. */
    size_t first_changed;
    /* Of the network that was chosen, on the first held-out samples, with the powers of its
     * outputs; no samples: not measured. */
    struct ldnq_accuracy chosen_accuracy;
    double *output_powers;
};

/* Seconds until the time limit; infinite without one. */
double ldnq_quantizer_seconds_left(const struct ldnq_quantizer *quantizer);

/* Fits the codes of all layers, in the order of the graph. */
enum ldnq_status ldnq_quantizer_fit_layers(struct ldnq_quantizer *quantizer,
                                           struct ldnq_error *err);

/* Rounds all layers where the output on the held-out samples is then nearer to the float
 * network's. Errors: NOMEM, those of the solvers. */
enum ldnq_status ldnq_quantizer_choose_network(struct ldnq_quantizer *quantizer,
                                               struct ldnq_error *err);

/* Fine-tunes scales, biases and (if asked) codes of all layers together: gradients of the
 * distillation loss, the distance of the outputs to the reference's, are propagated
 * back through the quantized network. The state with the least loss on the held-out samples
 * is kept, which may be the initial one. A network without gradients, or too few samples,
 * are a warning. */
enum ldnq_status ldnq_quantizer_fine_tune(struct ldnq_quantizer *quantizer, struct ldnq_error *err);

/* The same between two layers, for options->cascade steps: scales and biases of the fitted
 * layers, weights and biases of the others. */
enum ldnq_status ldnq_quantizer_fine_tune_downstream(struct ldnq_quantizer *quantizer,
                                                     struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* layer_cost.h: what a layer costs the outputs, and what one more step of bits would change. */
#ifndef LDNQ_REPORT_LAYER_COST_H
#define LDNQ_REPORT_LAYER_COST_H

#include "compare/comparison.h"

/* The next codebook up: ternary and int2 to int4, to int8, to float. */
struct ldnq_layer_step {
    const char *codebook; /* the name for a rule of the layer; NULL where the layer is float */
    double bytes;         /* that the file grows by */
    double layer_gain;    /* dB that the layer's own error falls by, a bit being 6.02; INFINITY for
                             float */
    double output_gain;   /* dB that the output's error falls by, from the estimate; NaN without */
};

struct ldnq_layer_step ldnq_layer_step_up(const struct ldnq_diff *diff,
                                          const struct ldnq_diff_layer *layer);

/* The layer's part of all layers' noise, 0 .. 1: of the estimate for the outputs where there is
 * one, else of the isolated noise-to-signal ratios. NaN where it was not measured. */
double ldnq_layer_noise_share(const struct ldnq_diff *diff, const struct ldnq_diff_layer *layer);

/* The sum over the listed layers, each with its next codebook up: codebook is NULL, layer_gain NaN,
 * and output_gain NaN if the diff has no estimate. */
struct ldnq_layer_step ldnq_layers_step_up(const struct ldnq_diff *diff, const size_t *layers,
                                           size_t count);

/* The part of the output's estimated noise that no layer's codes make, 0 .. 1: that of rounded
 * activations. NaN without an estimate. */
double ldnq_diff_noise_besides_layers(const struct ldnq_diff *diff);

/* Fills `worst` with up to `most` indices of quantized layers by falling share; returns how
 * many. Layers without error are left out. */
size_t ldnq_layers_find_worst(const struct ldnq_diff *diff, size_t *worst, size_t most);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* select.h: which layers a run quantizes, by the options skip and only. */
#ifndef LDNQ_PIPELINE_SELECT_H
#define LDNQ_PIPELINE_SELECT_H

#include "pipeline/pipeline.h"

struct ldnq_selection {
    struct ldnq_layer *layers; /* layers to quantize, in order */
    size_t count;
    struct ldnq_layer *kept; /* layers with a constant weight that stay float, with refusals */
    size_t kept_count;
};

/* Errors: USAGE (a pattern that matches no layer; no layer left, with the reasons),
 * UNSUPPORTED (a normalization in training mode), NUMERIC (a weight or bias that is not finite),
 * NOMEM. */
enum ldnq_status ldnq_select_layers(const struct ldnq_graph *graph,
                                    const struct ldnq_quantize_options *options,
                                    struct ldnq_arena *arena, struct ldnq_selection *selection,
                                    struct ldnq_error *err);

/* Whether the layer or its node has this label or name, or a label matches the shell pattern. */
bool ldnq_select_matches(const struct ldnq_layer *layer, const char *pattern);

/* The codebook of the first plan entry that matches the layer, or else options->codebook. */
const struct ldnq_codebook *ldnq_select_codebook(const struct ldnq_layer *layer,
                                                 const struct ldnq_quantize_options *options);

/* Whether the plan names the layer, and did not find it by a search. */
bool ldnq_select_is_planned(const struct ldnq_layer *layer,
                            const struct ldnq_quantize_options *options);

/* Whether the layer's input is quantized to 16 bits by the first plan entry that matches the
 * layer. */
bool ldnq_select_has_wide_input(const struct ldnq_layer *layer,
                                const struct ldnq_quantize_options *options);

/* Bits per code of this layer in the file. */
unsigned ldnq_select_stored_bits(const struct ldnq_layer *layer,
                                 const struct ldnq_quantize_options *options);

/* Input channels of this layer that share a scale; 0: all of them. */
size_t ldnq_select_block(const struct ldnq_layer *layer,
                         const struct ldnq_quantize_options *options);

/* Whether integer kernels of the options' target take the codes of this layer. */
bool ldnq_select_fits_integers(const struct ldnq_layer *layer,
                               const struct ldnq_quantize_options *options);

#endif

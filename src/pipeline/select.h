/* select.h: which layers a run quantizes, by --skip and --only. */
#ifndef LDNQ_PIPELINE_SELECT_H
#define LDNQ_PIPELINE_SELECT_H

#include "pipeline/pipeline.h"

struct ldnq_selection {
    struct ldnq_layer *layers; /* that are to be quantized, in order */
    size_t count;
    struct ldnq_layer *kept; /* that have a constant weight and stay as they are; each
                                with its refusal */
    size_t kept_count;
};

/* Errors: USAGE (a pattern that matches no layer, no layer left: with the reasons),
 * NOMEM. */
enum ldnq_status ldnq_select_layers(const struct ldnq_graph *graph,
                                    const struct ldnq_quantize_options *options,
                                    struct ldnq_arena *arena, struct ldnq_selection *selection,
                                    struct ldnq_error *err);

/* The codebook that the options' plan has for the node, or else the options' own. */
const struct ldnq_codebook *ldnq_planned_codebook(const struct ldnq_node *node,
                                                  const struct ldnq_quantize_options *options);

#endif

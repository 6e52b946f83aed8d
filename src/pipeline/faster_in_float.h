/* SPDX-License-Identifier: Apache-2.0 */
/* faster_in_float.h: layers that the target computes faster in float, by what is around them.
 *
 * Layers are decided in the order of the nodes. Pairs that are inserted already change nothing: the
 * same layers are found before and after that.
 */
#ifndef LDNQ_PIPELINE_FASTER_IN_FLOAT_H
#define LDNQ_PIPELINE_FASTER_IN_FLOAT_H

#include "pipeline/pipeline.h"

/* Which values come from integer kernels, as far as the nodes before `node_index`: the placement
 * finds the same later, from the layers that are selected. */
struct ldnq_code_flow {
    const struct ldnq_graph *graph;
    const struct ldnq_target *target; /* NULL: activations stay float */
    bool *has_codes;                  /* by value */
    size_t node_index;
};

/* Errors: NOMEM. */
enum ldnq_status ldnq_code_flow_init(struct ldnq_code_flow *flow, const struct ldnq_graph *graph,
                                     const struct ldnq_activation_options *activations,
                                     struct ldnq_arena *arena, struct ldnq_error *err);
/* Advances over nodes that are no decided layers, up to this one. */
void ldnq_code_flow_advance(struct ldnq_code_flow *flow, size_t node_index);
/* Advances over the layer's node: its output has codes if the layer was not refused. */
void ldnq_code_flow_pass_layer(struct ldnq_code_flow *flow, const struct ldnq_layer *layer,
                               const struct ldnq_quantize_options *options);

/* Whether codes pass it as they are: a pair that is inserted already, and a clamp. */
bool ldnq_passes_codes(const struct ldnq_node *node);

/* Why the target runs the layer faster in float, all layers before it decided; NULL: it does not.
 * A plan that names it has the last word. */
const char *ldnq_explain_faster_in_float(struct ldnq_code_flow *flow,
                                         const struct ldnq_layer *layer,
                                         const struct ldnq_quantize_options *options);

/* The refusal of layers whose conversions take longer than they save (integer_islands.h). */
extern const char ldnq_converted_in_float[];

/* Accepts layers that were refused for their time alone where no other is left: what was asked for
 * counts more than time. */
void ldnq_accept_rather_than_nothing(struct ldnq_layer *layers, size_t count);

#endif

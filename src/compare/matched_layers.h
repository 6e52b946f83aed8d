/* SPDX-License-Identifier: Apache-2.0 */
/* matched_layers.h: the layers of A with their matches in B, ready to be compared.
 *
 * Where B has folded a node of A into a layer, A's layer is compared as if it were folded too:
 * a BatchNormalization or an Add of a bias downstream of the layer, or a Pad upstream of it.
 * Its weight is then the folded one, and its output that of the folded node.
 *
 * Owns    nothing: arrays live in the arena
 * Errors  MODEL, NOMEM
 */
#ifndef LDNQ_COMPARE_MATCHED_LAYERS_H
#define LDNQ_COMPARE_MATCHED_LAYERS_H

#include "compare/node_pairs.h"

struct ldnq_matched_layer {
    size_t a, b; /* indices in the views; b is LDNQ_NO_NODE without a match */
    const struct ldnq_layer *own_layer_a; /* as it is in the file */
    /* With weights that can be compared. layer_b is NULL without a match, or where B computes
     * with an operator that has no layer. */
    const struct ldnq_layer *layer_a, *layer_b;
    const struct ldnq_value *output_a, *output_b; /* the values to compare; NULL without a match */
    const char *folded; /* labels of the nodes of A that B has folded into it; or NULL */
};

struct ldnq_matched_layers {
    struct ldnq_matched_layer *items; /* all layers of A, in order of execution */
    size_t count;
    /* By node of A: the layer that B has folded it into, as an index in A's view; or
     * LDNQ_NO_NODE. */
    size_t *folded_into;
};

/* Changes the graphs of both views: merges their BatchNormalizations and Pads where the other
 * graph lacks some. */
enum ldnq_status ldnq_matched_layers_find(struct ldnq_matched_layers *layers,
                                          const struct ldnq_node_pairs *pairs,
                                          struct ldnq_arena *arena, struct ldnq_error *err);

#endif

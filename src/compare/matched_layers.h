/* couple.h: the layers of A with their partners, brought to the same place.
 *
 * A BatchNormalization (or an Add of a bias) behind a layer of A that B has folded belongs to
 * that layer: its weight counts as folded, and its output is what is compared. So does a Pad
 * in front of it.
 */
#ifndef LDNQ_COMPARE_MATCHED_LAYERS_H
#define LDNQ_COMPARE_MATCHED_LAYERS_H

#include "compare/node_pairs.h"

struct ldnq_matched_layer {
    size_t a, b; /* places in the views; b is LDNQ_NO_NODE where there is no partner */
    /* As they compute now; their weights may be compared. NULL for no partner. */
    const struct ldnq_layer *layer_a, *layer_b;
    const struct ldnq_value *out_a, *out_b; /* to be compared */
    const char *folded;                     /* labels of what B has merged into it; or NULL */
};

struct ldnq_matched_layers {
    struct ldnq_matched_layer *items; /* in A's order */
    size_t count;
    size_t *folded; /* by node of A: the layer (place) that B has it in, or LDNQ_NO_NODE */
};

/* Merges BatchNormalizations and Pads in a graph that has some without a partner.
 * Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_matched_layers_find(struct ldnq_matched_layers *couples,
                                          const struct ldnq_node_pairs *pairs,
                                          struct ldnq_arena *arena, struct ldnq_error *err);

#endif

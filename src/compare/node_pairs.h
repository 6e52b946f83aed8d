/* pair.h: which node of one network is which of another. */
#ifndef LDNQ_COMPARE_NODE_PAIRS_H
#define LDNQ_COMPARE_NODE_PAIRS_H

#include "compare/comparison.h"

#include "compare/compute_view.h"

struct ldnq_node_pairs {
    const struct ldnq_compute_view *a, *b;
    size_t *of_a, *of_b; /* by node: the partner's place, or LDNQ_NO_NODE */
};

/* Layers first, by what their weights hold, and by names; then what lies between them, along
 * the wires from nodes that are paired already; then what is left, by name. A pair is of one
 * kind, and its weights have one shape. The same files always give the same pairs.
 * Errors: NOMEM. */
enum ldnq_status ldnq_node_pairs_find(struct ldnq_node_pairs *pairs,
                                      const struct ldnq_compute_view *a,
                                      const struct ldnq_compute_view *b, struct ldnq_arena *arena,
                                      struct ldnq_error *err);

/* What two partners were recognized by. */
enum ldnq_pairing ldnq_node_pairs_reason(const struct ldnq_node_pairs *pairs, size_t a);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* node_pairs.h: finds for each node of one network the same node in another.
 *
 * Method  layers first, by the content of their weights and by names; then the nodes between
 *         them, along the edges of the graph from nodes that are paired already; then the
 *         rest, by name. The nodes of a pair have one kind, and weights of one shape
 * Owns    nothing: arrays live in the arena
 * Errors  NOMEM
 */
#ifndef LDNQ_COMPARE_NODE_PAIRS_H
#define LDNQ_COMPARE_NODE_PAIRS_H

#include "compare/comparison.h"
#include "compare/compute_view.h"

struct ldnq_node_pairs {
    const struct ldnq_compute_view *a, *b;
    /* By node of a and of b: the index of its match in the other view, or LDNQ_NO_NODE. */
    size_t *match_of_a, *match_of_b;
};

enum ldnq_status ldnq_node_pairs_find(struct ldnq_node_pairs *pairs,
                                      const struct ldnq_compute_view *a,
                                      const struct ldnq_compute_view *b, struct ldnq_arena *arena,
                                      struct ldnq_error *err);

/* Returns the property by which node `a` of view a was paired with its match. */
enum ldnq_pairing ldnq_node_pairs_reason(const struct ldnq_node_pairs *pairs, size_t a);

#endif

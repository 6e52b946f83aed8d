/* SPDX-License-Identifier: Apache-2.0 */
/* graph_changes.h: lists the differences of two graphs other than weights. */
#ifndef LDNQ_COMPARE_GRAPH_CHANGES_H
#define LDNQ_COMPARE_GRAPH_CHANGES_H

#include "compare/node_pairs.h"

/* Fills in diff->removed, added and changed. Biases and other constants are compared, weights
 * of layers are not: the layers report those. folded_into: as in matched_layers.h.
 * Errors: NOMEM. */
enum ldnq_status ldnq_graph_changes_list(const struct ldnq_node_pairs *pairs,
                                         const size_t *folded_into, struct ldnq_arena *arena,
                                         struct ldnq_diff *diff, struct ldnq_error *err);

#endif

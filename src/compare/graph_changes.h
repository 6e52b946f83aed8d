/* differences.h: in what two partners differ, and which nodes have none. */
#ifndef LDNQ_COMPARE_GRAPH_CHANGES_H
#define LDNQ_COMPARE_GRAPH_CHANGES_H

#include "compare/node_pairs.h"

/* Fills in removed, added and changed. Weights are not compared here (they have their own
 * table), biases are. `folded` says of an unpaired node of A which layer of A took it over
 * in B, by place, or LDNQ_NO_NODE. Errors: NOMEM. */
enum ldnq_status ldnq_graph_changes_list(const struct ldnq_node_pairs *pairs, const size_t *folded,
                                         struct ldnq_arena *arena, struct ldnq_diff *diff,
                                         struct ldnq_error *err);

#endif

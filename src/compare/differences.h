/* differences.h: in what two partners differ, and which nodes have none. */
#ifndef LDNQ_COMPARE_DIFFERENCES_H
#define LDNQ_COMPARE_DIFFERENCES_H

#include "compare/pair.h"

/* Fills in removed, added and changed. Weights are not compared here (they have their own
 * table), biases are. `folded` says of an unpaired node of A which layer of A took it over
 * in B, by place, or LDNQ_VIEW_NONE. Errors: NOMEM. */
enum ldnq_status ldnq_differences_list(const struct ldnq_pairs *pairs, const size_t *folded,
                                       struct ldnq_arena *arena, struct ldnq_diff *diff,
                                       struct ldnq_error *err);

#endif

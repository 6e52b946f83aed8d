/* SPDX-License-Identifier: Apache-2.0 */
/* fold.h: constant folding over a graph and its bodies; the part that fold.c and
 * subgraphs.c share.
 *
 * Owns    nothing; results live in the graph's arena
 */
#ifndef LDNQ_PASSES_FOLD_H
#define LDNQ_PASSES_FOLD_H

#include "ir/node_problems.h"

/* ldnq_pass_fold_constants with another budget: the bytes that all results and their scratch may
 * take together. Nodes beyond it are left to run time. */
enum ldnq_status ldnq_fold_within_budget(struct ldnq_graph *graph, size_t budget,
                                         struct ldnq_error *err);

/* State of one folding pass. */
struct ldnq_folding {
    size_t budget;                      /* bytes left */
    struct ldnq_node_problems problems; /* the nodes that can't be executed, and why */
    size_t body_depth;                  /* bodies around the current graph */
    size_t loop_depth;                  /* loops around it */
    bool is_dry_run; /* everything is restored afterwards: report and move nothing */
};

/* Folds the nodes of one graph. Errors: NOMEM; all others are added to `problems`. */
enum ldnq_status ldnq_fold_graph(struct ldnq_folding *folding, struct ldnq_graph *graph,
                                 struct ldnq_error *err);

#endif

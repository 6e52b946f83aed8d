/* SPDX-License-Identifier: Apache-2.0 */
/* subgraphs.h: the bodies of If, Loop and Scan in constant folding.
 *
 * Errors  NOMEM. What is wrong in a body is added to the folding's problems, or left to
 *         run time when the body may never run.
 */
#ifndef LDNQ_PASSES_SUBGRAPHS_H
#define LDNQ_PASSES_SUBGRAPHS_H

#include "passes/fold.h"

/* Folds the bodies of a node, starting from what is known about the node's inputs. A
 * carried value of a loop keeps only the sizes that no iteration changes. */
enum ldnq_status ldnq_subgraphs_fold_constants(struct ldnq_folding *folding,
                                               const struct ldnq_node *node,
                                               struct ldnq_error *err);

/* The type that the file has for output i of a node whose bodies were widened. */
enum ldnq_dtype ldnq_subgraphs_find_half_of_output(const struct ldnq_node *node, size_t i);

/* The branch that an If takes when its condition is constant; NULL otherwise. */
struct ldnq_graph *ldnq_subgraph_find_taken_branch(const struct ldnq_node *node);

/* Moves the nodes and values of a branch into the graph, where they compute the outputs of
 * `node`. Returns these nodes in order; the caller puts them in the place of `node`. */
enum ldnq_status ldnq_subgraph_inline(struct ldnq_graph *graph, struct ldnq_node *node,
                                      struct ldnq_graph *body, struct ldnq_node ***nodes,
                                      size_t *count, struct ldnq_error *err);

/* Removes captures that the node's bodies no longer read, and dead nodes of the bodies. */
enum ldnq_status ldnq_subgraphs_remove_unread(struct ldnq_graph *graph, struct ldnq_node *node,
                                              struct ldnq_error *err);

#endif

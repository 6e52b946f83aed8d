/* subgraphs.h: If, Loop and Scan ahead of data.
 *
 * Errors  NOMEM; what is wrong in a body is noted in the folding, or left to run
 *         time where the body may never be run.
 */
#ifndef LDNQ_PASSES_SUBGRAPHS_H
#define LDNQ_PASSES_SUBGRAPHS_H

#include "passes/fold.h"

/* Types and shapes in the bodies of a node, from those of its inputs. What a loop
 * carries keeps only those sizes that no iteration changes. */
enum ldnq_status ldnq_control_look(struct ldnq_folding *folding, const struct ldnq_node *node,
                                   struct ldnq_error *err);

/* The body that an If takes, when its condition is known; NULL otherwise. */
struct ldnq_graph *ldnq_control_taken(const struct ldnq_node *node);

/* Moves the body's nodes and values into the graph, where they make what the node
 * made: the caller puts them in its place. */
enum ldnq_status ldnq_control_inline(struct ldnq_graph *graph, struct ldnq_node *node,
                                     struct ldnq_graph *body, struct ldnq_node ***nodes,
                                     size_t *count, struct ldnq_error *err);

/* Takes out of the node's captures and inputs what its bodies no longer read. */
enum ldnq_status ldnq_control_trim(struct ldnq_graph *graph, struct ldnq_node *node,
                                   struct ldnq_error *err);

#endif

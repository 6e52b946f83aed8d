/* SPDX-License-Identifier: Apache-2.0 */
/* node_problems.h: collects the nodes that are in the way, for one message. Nodes of one operator
 * that have the same problem are named by the first of them and their number.
 *
 * Owns    nothing; texts are copied into the arena of the first graph
 */
#ifndef LDNQ_IR_NODE_PROBLEMS_H
#define LDNQ_IR_NODE_PROBLEMS_H

#include "ir/graph.h"

/* More kinds of problems than a message has room for. */
#define LDNQ_MOST_NODE_PROBLEMS ((size_t)128)

struct ldnq_node_problem {
    const struct ldnq_node *node; /* the first one */
    const char *reason;
    size_t count;
};

/* Starts zeroed. */
struct ldnq_node_problems {
    enum ldnq_status worst; /* MODEL before all others; OK while there are none */
    size_t count, omitted;
    struct ldnq_node_problem list[LDNQ_MOST_NODE_PROBLEMS];
};

/* Adds a node. `reason` does not name it. Errors: NOMEM. */
enum ldnq_status ldnq_node_problems_add(struct ldnq_node_problems *problems,
                                        const struct ldnq_graph *graph,
                                        const struct ldnq_node *node, enum ldnq_status status,
                                        const char *reason, struct ldnq_error *err);

/* Returns the worst status with a message of all problems; OK where there are none. */
enum ldnq_status ldnq_node_problems_fail(const struct ldnq_node_problems *problems,
                                         const struct ldnq_graph *graph, struct ldnq_error *err);

#endif

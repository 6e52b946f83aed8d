/* SPDX-License-Identifier: Apache-2.0 */
/* edit_bodies.h: the subgraph that a node is in. */
#ifndef LDNQ_ONNX_EDIT_BODIES_H
#define LDNQ_ONNX_EDIT_BODIES_H

#include "onnx/model.h"

#define LDNQ_MOST_GRAPHS 64

/* The graphs around a node, from the outermost one to the node's own. */
struct ldnq_graph_path {
    Onnx__GraphProto *graphs[LDNQ_MOST_GRAPHS];
    size_t count;
};

/* Finds the node, a NodeProto, in the graph or its subgraphs; *at: its index in its own graph. */
bool ldnq_find_graph_of_node(Onnx__GraphProto *graph, const void *node,
                             struct ldnq_graph_path *path, size_t *at);

#endif

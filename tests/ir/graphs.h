/* SPDX-License-Identifier: Apache-2.0 */
/* graphs.h: graphs made by hand for the tests of ir. */
#ifndef TESTS_IR_GRAPHS_H
#define TESTS_IR_GRAPHS_H

#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

static struct ldnq_error err;

/* An empty graph with room for so many nodes. */
static inline struct ldnq_graph *make_graph(size_t room)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_graph_create(arena, "main", "m.onnx", &graph, &err));
    graph->nodes = ldnq_arena_alloc(arena, room, sizeof *graph->nodes, &err);
    graph->outputs = ldnq_arena_alloc(arena, 4, sizeof *graph->outputs, &err);
    return graph;
}

static inline void free_graph(struct ldnq_graph *graph)
{
    ldnq_arena_destroy(graph->arena);
}

static inline struct ldnq_value *make_value(struct ldnq_graph *graph, const char *name)
{
    struct ldnq_value *value;
    assert_ok(ldnq_graph_add_value(graph, name, &value, &err));
    return value;
}

static inline struct ldnq_value *make_input(struct ldnq_graph *graph, const char *name)
{
    struct ldnq_value *value = make_value(graph, name);
    value->is_input = true;
    return value;
}

/* A node at the list's end with up to one input (NULL for none) and one output. */
static inline struct ldnq_node *make_node(struct ldnq_graph *graph, const char *type,
                                          const char *name, struct ldnq_value *in,
                                          struct ldnq_value *out)
{
    struct ldnq_node *node = ldnq_arena_alloc(graph->arena, 1, sizeof *node, &err);
    node->name = name;
    node->op_type = type;
    node->domain = "";
    node->opset = 13;
    node->index = graph->node_count;
    node->inputs = ldnq_arena_alloc(graph->arena, 2, sizeof *node->inputs, &err);
    node->outputs = ldnq_arena_alloc(graph->arena, 2, sizeof *node->outputs, &err);
    node->captures = ldnq_arena_alloc(graph->arena, 2, sizeof *node->captures, &err);
    node->inputs[0] = in;
    node->outputs[0] = out;
    node->input_count = node->output_count = 1;
    if (out)
        out->producer = node;
    graph->nodes[graph->node_count++] = node;
    return node;
}

#endif

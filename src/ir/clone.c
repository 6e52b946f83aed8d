/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir.h"

#include <string.h>

struct graph_clone {
    const struct ldnq_graph *from;
    struct ldnq_graph *to;
    struct ldnq_arena *arena;
};

static struct ldnq_value *find_clone_of_value(const struct graph_clone *clone,
                                              const struct ldnq_value *value)
{
    return value ? clone->to->values[value->index] : NULL;
}

static enum ldnq_status map_values(const struct graph_clone *clone, struct ldnq_value *const *from,
                                   size_t count, struct ldnq_value ***to, struct ldnq_error *err)
{
    struct ldnq_value **list = ldnq_arena_alloc(clone->arena, count, sizeof *list, err);
    if (!list)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        list[i] = find_clone_of_value(clone, from[i]);
    *to = list;
    return LDNQ_OK;
}

static enum ldnq_status clone_values(struct graph_clone *clone, struct ldnq_error *err)
{
    size_t count = clone->from->value_count;
    struct ldnq_value *values = ldnq_arena_alloc(clone->arena, count, sizeof *values, err);
    clone->to->values = ldnq_arena_alloc(clone->arena, count, sizeof *clone->to->values, err);
    if (!values || !clone->to->values)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        values[i] = *clone->from->values[i];
        clone->to->values[i] = &values[i];
    }
    clone->to->value_capacity = count;
    return LDNQ_OK;
}

static enum ldnq_status clone_graph(const struct ldnq_graph *graph, struct ldnq_graph *outer,
                                    struct ldnq_arena *arena, struct ldnq_graph **out,
                                    struct ldnq_error *err);

/* Captures of a body refer to values of the clone around it. */
static enum ldnq_status clone_body(const struct graph_clone *clone, struct ldnq_graph **body,
                                   struct ldnq_error *err)
{
    const struct ldnq_graph *from = *body;
    LDNQ_TRY(clone_graph(from, clone->to, clone->arena, body, err));
    struct ldnq_capture *captures =
        ldnq_arena_alloc(clone->arena, from->capture_count, sizeof *captures, err);
    if (!captures)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < from->capture_count; i++)
        captures[i] = (struct ldnq_capture){
            .outer = find_clone_of_value(clone, from->captures[i].outer),
            .inner = (*body)->values[from->captures[i].inner->index],
        };
    (*body)->captures = captures;
    (*body)->capture_capacity = from->capture_count;
    return LDNQ_OK;
}

static enum ldnq_status clone_bodies(const struct graph_clone *clone, struct ldnq_node *node,
                                     struct ldnq_error *err)
{
    size_t bodies = 0;
    for (size_t i = 0; i < node->attr_count; i++)
        bodies += node->attrs[i].kind == LDNQ_ATTR_GRAPH;
    if (bodies == 0)
        return LDNQ_OK;
    struct ldnq_attr *attrs = ldnq_arena_alloc(clone->arena, node->attr_count, sizeof *attrs, err);
    if (!attrs)
        return LDNQ_NOMEM;
    memcpy(attrs, node->attrs, node->attr_count * sizeof *attrs);
    for (size_t i = 0; i < node->attr_count; i++)
        if (attrs[i].kind == LDNQ_ATTR_GRAPH)
            LDNQ_TRY(clone_body(clone, &attrs[i].g, err));
    node->attrs = attrs;
    return LDNQ_OK;
}

static enum ldnq_status clone_node(struct graph_clone *clone, const struct ldnq_node *from,
                                   struct ldnq_node *to, struct ldnq_error *err)
{
    *to = *from;
    LDNQ_TRY(map_values(clone, from->inputs, from->input_count, &to->inputs, err));
    LDNQ_TRY(map_values(clone, from->outputs, from->output_count, &to->outputs, err));
    LDNQ_TRY(map_values(clone, from->captures, from->capture_count, &to->captures, err));
    for (size_t i = 0; i < to->output_count; i++)
        if (to->outputs[i])
            to->outputs[i]->producer = to;
    return clone_bodies(clone, to, err);
}

static enum ldnq_status clone_nodes(struct graph_clone *clone, struct ldnq_error *err)
{
    size_t count = clone->from->node_count;
    struct ldnq_node *nodes = ldnq_arena_alloc(clone->arena, count, sizeof *nodes, err);
    clone->to->nodes = ldnq_arena_alloc(clone->arena, count, sizeof *clone->to->nodes, err);
    if (!nodes || !clone->to->nodes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        clone->to->nodes[i] = &nodes[i];
        LDNQ_TRY(clone_node(clone, clone->from->nodes[i], &nodes[i], err));
    }
    return LDNQ_OK;
}

static enum ldnq_status clone_graph(const struct ldnq_graph *graph, struct ldnq_graph *outer,
                                    struct ldnq_arena *arena, struct ldnq_graph **out,
                                    struct ldnq_error *err)
{
    struct graph_clone clone = { .from = graph, .arena = arena };
    clone.to = ldnq_arena_alloc(arena, 1, sizeof *clone.to, err);
    if (!clone.to)
        return LDNQ_NOMEM;
    *clone.to = *graph;
    clone.to->arena = arena;
    clone.to->outer = outer;
    clone.to->symbol_capacity = graph->symbol_count; /* so that adding one copies the list */
    LDNQ_TRY(clone_values(&clone, err));
    LDNQ_TRY(clone_nodes(&clone, err));
    LDNQ_TRY(map_values(&clone, graph->inputs, graph->input_count, &clone.to->inputs, err));
    LDNQ_TRY(map_values(&clone, graph->outputs, graph->output_count, &clone.to->outputs, err));
    *out = clone.to;
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_clone(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                  struct ldnq_graph **out, struct ldnq_error *err)
{
    return clone_graph(graph, NULL, arena, out, err);
}

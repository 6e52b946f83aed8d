/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir.h"

#include "base/alloc.h"

static bool graph_has_value(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    return value->index < graph->value_count && graph->values[value->index] == value;
}

static enum ldnq_status verify_inputs(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                      const bool *defined, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->input_count + node->capture_count; i++) {
        const struct ldnq_value *value =
            i < node->input_count ? node->inputs[i] : node->captures[i - node->input_count];
        if (value && (!graph_has_value(graph, value) || !defined[value->index]))
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "reads '%s', which no earlier node produces", value->name);
    }
    return LDNQ_OK;
}

static enum ldnq_status verify_outputs(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                       bool *defined, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_value *value = node->outputs[i];
        if (!value)
            continue;
        if (!graph_has_value(graph, value))
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "produces '%s', which is not in this graph", value->name);
        if (defined[value->index])
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "produces '%s', which has a producer already", value->name);
        if (value->producer != node)
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "produces '%s', which names another producer", value->name);
        defined[value->index] = true;
    }
    return LDNQ_OK;
}

static enum ldnq_status verify_values(const struct ldnq_graph *graph, bool *defined,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->value_count; i++) {
        const struct ldnq_value *value = graph->values[i];
        if (value->index != i)
            return ldnq_fail(err, LDNQ_MODEL, "%s: value '%s' has index %zu at position %zu",
                             graph->file, value->name, value->index, i);
        defined[i] = value->is_input || value->constant;
    }
    for (size_t i = 0; i < graph->capture_count; i++) {
        const struct ldnq_value *inner = graph->captures[i].inner;
        if (!graph_has_value(graph, inner))
            return ldnq_fail(err, LDNQ_MODEL, "%s: captured value '%s' is not in its graph",
                             graph->file, inner->name);
        defined[inner->index] = true;
    }
    return LDNQ_OK;
}

/* A body may read only values of this graph that exist when its node runs. */
static enum ldnq_status verify_bodies(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                      const bool *defined, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct ldnq_graph *body = node->attrs[i].g;
        if (node->attrs[i].kind != LDNQ_ATTR_GRAPH)
            continue;
        for (size_t k = 0; k < body->capture_count; k++) {
            const struct ldnq_value *outer = body->captures[k].outer;
            if (!graph_has_value(graph, outer) || !defined[outer->index])
                return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                      "reads '%s' in a body, which no earlier node produces",
                                      outer->name);
        }
        LDNQ_TRY(ldnq_graph_verify(body, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status verify_graph(const struct ldnq_graph *graph, bool *defined,
                                     struct ldnq_error *err)
{
    LDNQ_TRY(verify_values(graph, defined, err));
    for (size_t i = 0; i < graph->node_count; i++) {
        LDNQ_TRY(verify_inputs(graph, graph->nodes[i], defined, err));
        LDNQ_TRY(verify_bodies(graph, graph->nodes[i], defined, err));
        LDNQ_TRY(verify_outputs(graph, graph->nodes[i], defined, err));
    }
    for (size_t i = 0; i < graph->output_count; i++)
        if (!graph_has_value(graph, graph->outputs[i]) || !defined[graph->outputs[i]->index])
            return ldnq_fail(err, LDNQ_MODEL, "%s: graph output '%s' is produced by no node",
                             graph->file, graph->outputs[i]->name);
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_verify(const struct ldnq_graph *graph, struct ldnq_error *err)
{
    bool *defined = ldnq_calloc(graph->value_count, sizeof *defined);
    if (!defined)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", graph->file);
    enum ldnq_status status = verify_graph(graph, defined, err);
    ldnq_free(defined);
    return status;
}

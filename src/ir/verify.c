#include "ir/ir.h"

#include "base/alloc.h"

static bool belongs(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    return value->index < graph->value_count && graph->values[value->index] == value;
}

static enum ldnq_status verify_reads(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                     const bool *made, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->input_count + node->capture_count; i++) {
        const struct ldnq_value *value =
            i < node->input_count ? node->inputs[i] : node->captures[i - node->input_count];
        if (value && (!belongs(graph, value) || !made[value->index]))
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "reads '%s', which nothing before it makes", value->name);
    }
    return LDNQ_OK;
}

static enum ldnq_status verify_writes(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                      bool *made, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_value *value = node->outputs[i];
        if (!value)
            continue;
        if (!belongs(graph, value))
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "makes '%s', which is not of this graph", value->name);
        if (made[value->index])
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err, "makes '%s', which is made already",
                                  value->name);
        if (value->producer != node)
            return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                  "makes '%s', which names another producer", value->name);
        made[value->index] = true;
    }
    return LDNQ_OK;
}

static enum ldnq_status verify_values(const struct ldnq_graph *graph, bool *made,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->value_count; i++) {
        const struct ldnq_value *value = graph->values[i];
        if (value->index != i)
            return ldnq_fail(err, LDNQ_MODEL, "%s: value '%s' has index %zu at place %zu",
                             graph->file, value->name, value->index, i);
        made[i] = value->is_input || value->constant;
    }
    for (size_t i = 0; i < graph->capture_count; i++) {
        const struct ldnq_value *inner = graph->captures[i].inner;
        if (!belongs(graph, inner))
            return ldnq_fail(err, LDNQ_MODEL, "%s: captured '%s' is not of its graph", graph->file,
                             inner->name);
        made[inner->index] = true;
    }
    return LDNQ_OK;
}

/* Bodies read values of this graph that are there when the node runs. */
static enum ldnq_status verify_bodies(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                      const bool *made, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct ldnq_graph *body = node->attrs[i].g;
        if (node->attrs[i].kind != LDNQ_ATTR_GRAPH)
            continue;
        for (size_t k = 0; k < body->capture_count; k++) {
            const struct ldnq_value *outer = body->captures[k].outer;
            if (!belongs(graph, outer) || !made[outer->index])
                return ldnq_node_fail(graph, node, LDNQ_MODEL, err,
                                      "reads '%s' in a body, which nothing before it makes",
                                      outer->name);
        }
        LDNQ_TRY(ldnq_graph_verify(body, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status verify_with(const struct ldnq_graph *graph, bool *made,
                                    struct ldnq_error *err)
{
    LDNQ_TRY(verify_values(graph, made, err));
    for (size_t i = 0; i < graph->node_count; i++) {
        LDNQ_TRY(verify_reads(graph, graph->nodes[i], made, err));
        LDNQ_TRY(verify_bodies(graph, graph->nodes[i], made, err));
        LDNQ_TRY(verify_writes(graph, graph->nodes[i], made, err));
    }
    for (size_t i = 0; i < graph->output_count; i++)
        if (!belongs(graph, graph->outputs[i]) || !made[graph->outputs[i]->index])
            return ldnq_fail(err, LDNQ_MODEL, "%s: graph output '%s' is made by no node",
                             graph->file, graph->outputs[i]->name);
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_verify(const struct ldnq_graph *graph, struct ldnq_error *err)
{
    bool *made = ldnq_calloc(graph->value_count, sizeof *made);
    if (!made)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", graph->file);
    enum ldnq_status status = verify_with(graph, made, err);
    ldnq_free(made);
    return status;
}

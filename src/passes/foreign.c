/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/foreign.h"

#include <string.h>

#include "ops/op_layer.h"
#include "passes/sequences.h"

struct foreign_search {
    struct ldnq_graph *graph;
    bool *cut;  /* by node: it can't be executed, or depends on such a node */
    bool *lost; /* by value: a node that is cut computes it */
};

/* Whether the node or one in its bodies has no operator. */
static bool is_foreign(const struct ldnq_node *node)
{
    if (!node->op)
        return true;
    for (size_t a = 0; a < node->attr_count; a++) {
        const struct ldnq_graph *body =
            node->attrs[a].kind == LDNQ_ATTR_GRAPH ? node->attrs[a].g : NULL;
        for (size_t i = 0; body && i < body->node_count; i++)
            if (is_foreign(body->nodes[i]))
                return true;
    }
    return false;
}

static bool reads_lost_value(const struct foreign_search *search, const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && search->lost[node->inputs[i]->index])
            return true;
    for (size_t i = 0; i < node->capture_count; i++)
        if (search->lost[node->captures[i]->index])
            return true;
    return false;
}

/* Marks what is to be cut, from input to output. */
static void mark_cut_nodes(struct foreign_search *search, struct ldnq_foreign *foreign)
{
    for (size_t n = 0; n < search->graph->node_count; n++) {
        const struct ldnq_node *node = search->graph->nodes[n];
        const bool starts = is_foreign(node);
        if (!starts && !reads_lost_value(search, node))
            continue;
        search->cut[n] = true;
        if (starts && foreign->count++ == 0)
            foreign->first = node;
        for (size_t o = 0; o < node->output_count; o++)
            if (node->outputs[o])
                search->lost[node->outputs[o]->index] = true;
    }
}

/* Whether the node is a layer whose weight is in the file. */
static bool is_weight_layer(const struct ldnq_node *node)
{
    if (!node->op || !node->op->layer)
        return false;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->constant &&
            node->inputs[i]->constant->shape.rank > 1)
            return true;
    return false;
}

/* Appends a value that a cut node reads, unless it is there, or no node computes it. */
static void append_frontier(const struct foreign_search *search, struct ldnq_value *value,
                            struct ldnq_value **outputs, size_t *count)
{
    if (!value || search->lost[value->index] || !value->producer || value->constant)
        return;
    for (size_t i = 0; i < *count; i++)
        if (outputs[i] == value)
            return;
    value->is_output = true;
    outputs[(*count)++] = value;
}

static size_t count_reads(const struct foreign_search *search)
{
    size_t reads = 0;
    for (size_t n = 0; n < search->graph->node_count; n++)
        if (search->cut[n])
            reads += search->graph->nodes[n]->input_count + search->graph->nodes[n]->capture_count;
    return reads;
}

/* Lets the outputs be those that are left, and the values that the cut nodes read. */
static enum ldnq_status replace_outputs(struct foreign_search *search, struct ldnq_foreign *foreign,
                                        struct ldnq_error *err)
{
    struct ldnq_graph *graph = search->graph;
    size_t count = 0;
    struct ldnq_value **outputs = ldnq_arena_alloc(
        graph->arena, graph->output_count + count_reads(search), sizeof *outputs, err);
    foreign->outputs =
        ldnq_arena_alloc(graph->arena, graph->output_count, sizeof *foreign->outputs, err);
    if (!outputs || !foreign->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->output_count; i++) {
        struct ldnq_value *output = graph->outputs[i];
        const bool is_lost = search->lost[output->index];
        output->is_output = !is_lost;
        if (is_lost)
            foreign->outputs[foreign->output_count++] = output->name;
        else
            outputs[count++] = output;
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; search->cut[n] && i < node->input_count; i++)
            append_frontier(search, node->inputs[i], outputs, &count);
        for (size_t i = 0; search->cut[n] && i < node->capture_count; i++)
            append_frontier(search, node->captures[i], outputs, &count);
    }
    graph->outputs = outputs;
    graph->output_count = count;
    return LDNQ_OK;
}

static void mark_reads(const struct ldnq_node *node, bool *is_read)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i])
            is_read[node->inputs[i]->index] = true;
    for (size_t i = 0; i < node->capture_count; i++)
        is_read[node->captures[i]->index] = true;
}

/* Takes inputs off the graph that only cut nodes read: samples need no data for them. */
static enum ldnq_status drop_lost_inputs(struct foreign_search *search, struct ldnq_error *err)
{
    struct ldnq_graph *graph = search->graph;
    size_t count = 0;
    bool *by_cut = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *by_cut, err);
    bool *by_kept = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *by_kept, err);
    struct ldnq_value **inputs =
        ldnq_arena_alloc(graph->arena, graph->input_count, sizeof *inputs, err);
    if (!by_cut || !by_kept || !inputs)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        mark_reads(graph->nodes[n], search->cut[n] ? by_cut : by_kept);
    for (size_t i = 0; i < graph->input_count; i++) {
        const size_t v = graph->inputs[i]->index;
        if (by_kept[v] || !by_cut[v] || graph->inputs[i]->is_output)
            inputs[count++] = graph->inputs[i];
    }
    graph->inputs = inputs;
    graph->input_count = count;
    return LDNQ_OK;
}

static enum ldnq_status remove_cut_nodes(struct foreign_search *search,
                                         struct ldnq_foreign *foreign, struct ldnq_error *err)
{
    struct ldnq_graph *graph = search->graph;
    size_t kept = 0;
    foreign->layers =
        ldnq_arena_alloc(graph->arena, graph->node_count, sizeof *foreign->layers, err);
    if (!foreign->layers)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++) {
        struct ldnq_node *node = graph->nodes[n];
        if (!search->cut[n]) {
            foreign->layers_left += node->op && node->op->layer;
            graph->nodes[kept++] = node;
            continue;
        }
        if (is_weight_layer(node))
            foreign->layers[foreign->layer_count++] = node->label;
        for (size_t o = 0; o < node->output_count; o++)
            if (node->outputs[o])
                node->outputs[o]->producer = NULL;
    }
    graph->node_count = kept;
    return LDNQ_OK;
}

enum ldnq_status ldnq_pass_cut_foreign(struct ldnq_graph *graph, struct ldnq_foreign *foreign,
                                       struct ldnq_error *err)
{
    struct foreign_search search = { .graph = graph };
    *foreign = (struct ldnq_foreign){ .first = NULL };
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(graph, err));
    LDNQ_TRY(ldnq_pass_replace_sequences(graph, err));
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(graph, err));
    const enum ldnq_status bound = ldnq_ops_bind(graph, NULL);
    if (bound != LDNQ_UNSUPPORTED)
        return bound == LDNQ_NOMEM ? ldnq_fail(err, bound, "out of memory") : LDNQ_OK;
    search.cut = ldnq_arena_alloc(graph->arena, graph->node_count, sizeof *search.cut, err);
    search.lost = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *search.lost, err);
    if (!search.cut || !search.lost)
        return LDNQ_NOMEM;
    mark_cut_nodes(&search, foreign);
    LDNQ_TRY(replace_outputs(&search, foreign, err));
    LDNQ_TRY(drop_lost_inputs(&search, err));
    LDNQ_TRY(remove_cut_nodes(&search, foreign, err));
    return ldnq_pass_remove_dead_nodes(graph, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* ---- labels ------------------------------------------------------------------- */

/* All names and labels of the graph, sorted. */
struct used_names {
    const char **names;
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum ldnq_status collect_names(const struct ldnq_graph *graph, struct used_names *used,
                                      struct ldnq_error *err)
{
    used->names = ldnq_calloc(graph->node_count, 2 * sizeof *used->names);
    if (!used->names)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", graph->file);
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (*node->name)
            used->names[used->count++] = node->name;
        if (node->label && strcmp(node->label, node->name) != 0)
            used->names[used->count++] = node->label;
    }
    qsort(used->names, used->count, sizeof *used->names, compare_names);
    return LDNQ_OK;
}

/* How often the name occurs: 0, 1, or more than 1. */
static int count_name_uses(const struct used_names *used, const char *name)
{
    const char **end = used->names + used->count;
    const char **at = bsearch(&name, used->names, used->count, sizeof *used->names, compare_names);
    if (!at)
        return 0;
    bool before = at > used->names && strcmp(at[-1], name) == 0;
    bool after = at + 1 < end && strcmp(at[1], name) == 0;
    return 1 + before + after;
}

/* Returns "Conv#12". Labels made here differ in their last number, the node's index; a
 * label that is already in use gets the number appended once more. */
static const char *make_node_label(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                   const struct used_names *used, struct ldnq_error *err)
{
    const char *label = *node->name ? node->name : node->op_type;
    do
        label = ldnq_arena_printf(graph->arena, err, "%s#%zu", label, node->index);
    while (label && count_name_uses(used, label) > 0);
    return label;
}

static enum ldnq_status set_node_labels(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct used_names used = { 0 };
    enum ldnq_status status = collect_names(graph, &used, err);
    for (size_t i = 0; status == LDNQ_OK && i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (node->label)
            continue;
        bool is_unique = *node->name && count_name_uses(&used, node->name) == 1;
        node->label = is_unique ? node->name : make_node_label(graph, node, &used, err);
        if (!node->label)
            status = LDNQ_NOMEM;
    }
    ldnq_free(used.names);
    return status;
}

/* ---- order -------------------------------------------------------------------- */

enum mark { UNVISITED, ON_STACK, SORTED };

struct sorter {
    struct ldnq_graph *graph;
    unsigned char *mark; /* by index in the unsorted list */
    struct ldnq_node **sorted;
    size_t sorted_count;
    /* Depth-first search with an explicit stack: recursion could overflow C's. */
    size_t *stack, *next_input;
    size_t *producer_index; /* by value: its producer's index in the unsorted list */
};

static struct ldnq_value *read_input_or_capture(const struct ldnq_node *node, size_t i)
{
    return i < node->input_count ? node->inputs[i] : node->captures[i - node->input_count];
}

/* Finds the next producer of the node that is not sorted yet; false when there is none. */
static bool find_unsorted_producer(struct sorter *sorter, size_t node, size_t *producer)
{
    const struct ldnq_node *at = sorter->graph->nodes[node];
    size_t reads = at->input_count + at->capture_count;
    while (sorter->next_input[node] < reads) {
        const struct ldnq_value *value = read_input_or_capture(at, sorter->next_input[node]++);
        if (!value || !value->producer)
            continue;
        *producer = sorter->producer_index[value->index];
        if (sorter->mark[*producer] != SORTED)
            return true;
    }
    return false;
}

static enum ldnq_status sort_producers_first(struct sorter *sorter, size_t root,
                                             struct ldnq_error *err)
{
    size_t depth = 0;
    sorter->stack[depth++] = root;
    sorter->mark[root] = ON_STACK;
    while (depth > 0) {
        size_t node = sorter->stack[depth - 1], producer;
        if (!find_unsorted_producer(sorter, node, &producer)) {
            sorter->mark[node] = SORTED;
            sorter->sorted[sorter->sorted_count++] = sorter->graph->nodes[node];
            depth--;
        } else if (sorter->mark[producer] == ON_STACK) {
            return ldnq_node_fail(sorter->graph, sorter->graph->nodes[node], LDNQ_MODEL, err,
                                  "is part of a cycle: it needs its own output");
        } else {
            sorter->mark[producer] = ON_STACK;
            sorter->stack[depth++] = producer;
        }
    }
    return LDNQ_OK;
}

static enum ldnq_status sort_nodes(struct sorter *sorter, struct ldnq_error *err)
{
    struct ldnq_graph *graph = sorter->graph;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t o = 0; o < graph->nodes[i]->output_count; o++)
            if (graph->nodes[i]->outputs[o])
                sorter->producer_index[graph->nodes[i]->outputs[o]->index] = i;
    for (size_t i = 0; i < graph->node_count; i++)
        if (sorter->mark[i] == UNVISITED)
            LDNQ_TRY(sort_producers_first(sorter, i, err));
    if (graph->node_count)
        memcpy(graph->nodes, sorter->sorted, graph->node_count * sizeof *graph->nodes);
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_sort(struct ldnq_graph *graph, struct ldnq_error *err)
{
    LDNQ_TRY(set_node_labels(graph, err));
    size_t nodes = graph->node_count;
    struct sorter sorter = {
        .graph = graph,
        .mark = ldnq_calloc(nodes, 1),
        .sorted = ldnq_calloc(nodes, sizeof *sorter.sorted),
        .stack = ldnq_calloc(nodes, sizeof *sorter.stack),
        .next_input = ldnq_calloc(nodes, sizeof *sorter.next_input),
        .producer_index = ldnq_calloc(graph->value_count, sizeof *sorter.producer_index),
    };
    enum ldnq_status status;
    if (sorter.mark && sorter.sorted && sorter.stack && sorter.next_input && sorter.producer_index)
        status = sort_nodes(&sorter, err);
    else
        status = ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", graph->file);
    ldnq_free(sorter.mark);
    ldnq_free(sorter.sorted);
    ldnq_free(sorter.stack);
    ldnq_free(sorter.next_input);
    ldnq_free(sorter.producer_index);
    return status;
}

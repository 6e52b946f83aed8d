#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* ---- labels ------------------------------------------------------------------- */

/* All names and labels that stand in the graph, sorted. */
struct taken {
    const char **names;
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum ldnq_status collect_names(const struct ldnq_graph *graph, struct taken *taken,
                                      struct ldnq_error *err)
{
    taken->names = ldnq_calloc(graph->node_count, 2 * sizeof *taken->names);
    if (!taken->names)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", graph->file);
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (*node->name)
            taken->names[taken->count++] = node->name;
        if (node->label && strcmp(node->label, node->name) != 0)
            taken->names[taken->count++] = node->label;
    }
    qsort(taken->names, taken->count, sizeof *taken->names, compare_names);
    return LDNQ_OK;
}

/* 0, 1, or more than 1. */
static int times_taken(const struct taken *taken, const char *name)
{
    const char **end = taken->names + taken->count;
    const char **at =
        bsearch(&name, taken->names, taken->count, sizeof *taken->names, compare_names);
    if (!at)
        return 0;
    bool before = at > taken->names && strcmp(at[-1], name) == 0;
    bool behind = at + 1 < end && strcmp(at[1], name) == 0;
    return 1 + before + behind;
}

/* "Conv#12". Labels made here differ from each other in their last number, which
 * is the node's own; one that is somebody's name gets that number once more. */
static const char *make_label(const struct ldnq_graph *graph, const struct ldnq_node *node,
                              const struct taken *taken, struct ldnq_error *err)
{
    const char *label = *node->name ? node->name : node->op_type;
    do
        label = ldnq_arena_printf(graph->arena, err, "%s#%zu", label, node->index);
    while (label && times_taken(taken, label) > 0);
    return label;
}

static enum ldnq_status set_labels(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct taken taken = { 0 };
    enum ldnq_status status = collect_names(graph, &taken, err);
    for (size_t i = 0; status == LDNQ_OK && i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (node->label)
            continue;
        bool is_unique = *node->name && times_taken(&taken, node->name) == 1;
        node->label = is_unique ? node->name : make_label(graph, node, &taken, err);
        if (!node->label)
            status = LDNQ_NOMEM;
    }
    ldnq_free(taken.names);
    return status;
}

/* ---- order -------------------------------------------------------------------- */

enum mark { UNSEEN, OPEN, PLACED };

struct sorter {
    struct ldnq_graph *graph;
    unsigned char *mark; /* by place in the unsorted list */
    struct ldnq_node **sorted;
    size_t placed;
    /* Depth-first with a stack of our own: graphs may be deeper than C's stack. */
    size_t *stack, *next_input;
    size_t *place; /* of a value's producer in the unsorted list */
};

static struct ldnq_value *nth_read(const struct ldnq_node *node, size_t i)
{
    return i < node->input_count ? node->inputs[i] : node->captures[i - node->input_count];
}

/* Finds the next producer of node that is still to be placed; false when all are. */
static bool next_producer(struct sorter *sorter, size_t node, size_t *producer)
{
    const struct ldnq_node *at = sorter->graph->nodes[node];
    size_t reads = at->input_count + at->capture_count;
    while (sorter->next_input[node] < reads) {
        const struct ldnq_value *value = nth_read(at, sorter->next_input[node]++);
        if (!value || !value->producer)
            continue;
        *producer = sorter->place[value->index];
        if (sorter->mark[*producer] != PLACED)
            return true;
    }
    return false;
}

static enum ldnq_status place_from(struct sorter *sorter, size_t root, struct ldnq_error *err)
{
    size_t depth = 0;
    sorter->stack[depth++] = root;
    sorter->mark[root] = OPEN;
    while (depth > 0) {
        size_t node = sorter->stack[depth - 1], producer;
        if (!next_producer(sorter, node, &producer)) {
            sorter->mark[node] = PLACED;
            sorter->sorted[sorter->placed++] = sorter->graph->nodes[node];
            depth--;
        } else if (sorter->mark[producer] == OPEN) {
            return ldnq_node_fail(sorter->graph, sorter->graph->nodes[node], LDNQ_MODEL, err,
                                  "is part of a cycle: it needs its own output");
        } else {
            sorter->mark[producer] = OPEN;
            sorter->stack[depth++] = producer;
        }
    }
    return LDNQ_OK;
}

static enum ldnq_status place_all(struct sorter *sorter, struct ldnq_error *err)
{
    struct ldnq_graph *graph = sorter->graph;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t o = 0; o < graph->nodes[i]->output_count; o++)
            if (graph->nodes[i]->outputs[o])
                sorter->place[graph->nodes[i]->outputs[o]->index] = i;
    for (size_t i = 0; i < graph->node_count; i++)
        if (sorter->mark[i] == UNSEEN)
            LDNQ_TRY(place_from(sorter, i, err));
    if (graph->node_count)
        memcpy(graph->nodes, sorter->sorted, graph->node_count * sizeof *graph->nodes);
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_sort(struct ldnq_graph *graph, struct ldnq_error *err)
{
    LDNQ_TRY(set_labels(graph, err));
    size_t nodes = graph->node_count;
    struct sorter sorter = {
        .graph = graph,
        .mark = ldnq_calloc(nodes, 1),
        .sorted = ldnq_calloc(nodes, sizeof *sorter.sorted),
        .stack = ldnq_calloc(nodes, sizeof *sorter.stack),
        .next_input = ldnq_calloc(nodes, sizeof *sorter.next_input),
        .place = ldnq_calloc(graph->value_count, sizeof *sorter.place),
    };
    enum ldnq_status status;
    if (sorter.mark && sorter.sorted && sorter.stack && sorter.next_input && sorter.place)
        status = place_all(&sorter, err);
    else
        status = ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", graph->file);
    ldnq_free(sorter.mark);
    ldnq_free(sorter.sorted);
    ldnq_free(sorter.stack);
    ldnq_free(sorter.next_input);
    ldnq_free(sorter.place);
    return status;
}

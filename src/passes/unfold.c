/* SPDX-License-Identifier: Apache-2.0 */
/* unfold.c: puts layers whose inputs are all constant back into the graph.
 *
 * A product of a table of positions, or of learned queries where the batch is fixed, is constant,
 * and so may all be that follows until it meets the data. Folding computes it, but the file
 * computes it anew and has its weights, which are to be quantized as others are.
 * So has it the whole of a table whose rows it looks up at constant indices, as those of the places
 * of a fixed length.
 */
#include <stdint.h>
#include <string.h>

#include "ops/op_layer.h"
#include "passes/passes.h"

/* Weights with fewer elements cost less than what is computed on each run. */
#define LEAST_ELEMENTS ((size_t)4096)

struct unfolding {
    struct ldnq_graph *graph;
    bool *is_weight; /* by value: a layer reads it as its weight, which stays constant */
    bool *is_visited;
    struct ldnq_node **nodes; /* that were put back, and those of the graph after them */
    size_t count;
};

/* Whether the value has the elements of an initializer, as a weight has. */
static bool is_stored(const struct ldnq_value *value)
{
    static const char *const types[] = { "DequantizeLinear", "Transpose", "Reshape", "Identity",
                                         "Cast" };
    while (!value->is_initializer && value->folded_from) {
        const struct ldnq_node *node = value->folded_from;
        bool is_move = false;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            is_move = is_move || strcmp(node->op_type, types[i]) == 0;
        if (!is_move || node->input_count == 0 || !node->inputs[0])
            return false;
        value = node->inputs[0];
    }
    return value->is_initializer;
}

/* The input of a layer of the main graph that has data in place of a weight; NULL: the node is
 * no layer to put back. */
static const struct ldnq_value *find_data(const struct ldnq_node *node)
{
    const struct ldnq_op_layer *layer = node->op ? node->op->layer : NULL;
    for (; layer && node->origin; layer = layer->other) {
        const struct ldnq_value *weight = node->inputs[layer->weight_input];
        const struct ldnq_value *data = node->inputs[layer->data_input];
        if (!layer->is_table && weight && data && weight->constant && is_stored(weight) &&
            ldnq_tensor_count(weight->constant) >= LEAST_ELEMENTS && data->folded_from &&
            !is_stored(data))
            return data;
    }
    return NULL;
}

/* Whether the node looks up rows of a table at indices that are constant: the file has all of the
 * table. */
static bool looks_up_rows(const struct ldnq_node *node)
{
    const struct ldnq_value *table = node->inputs[0];
    return node->origin && ldnq_op_reads_table(node) && table && table->constant &&
           is_stored(table) && ldnq_tensor_count(table->constant) >= LEAST_ELEMENTS;
}

static void restore_folded_node(struct unfolding *unfolding, struct ldnq_node *node)
{
    for (size_t i = 0; i < node->output_count; i++) {
        if (!node->outputs[i])
            continue;
        node->outputs[i]->constant = NULL;
        node->outputs[i]->folded_from = NULL;
        node->outputs[i]->producer = node;
        unfolding->is_visited[node->outputs[i]->index] = true;
    }
    unfolding->nodes[unfolding->count++] = node;
}

/* Puts back what computes the value, if a layer is among it; after that the value is no constant.
 */
static void restore_producers_of_value(struct unfolding *unfolding, const struct ldnq_value *value)
{
    struct ldnq_node *node = (struct ldnq_node *)(uintptr_t)value->folded_from;
    if (!value->constant || !node || unfolding->is_visited[value->index] ||
        unfolding->is_weight[value->index])
        return;
    bool is_needed = false;
    unfolding->is_visited[value->index] = true;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *input = node->inputs[i];
        if (!input || (node->op->flags & LDNQ_OP_READS_SHAPE))
            continue;
        restore_producers_of_value(unfolding, input);
        is_needed = is_needed || (!input->constant && unfolding->is_visited[input->index]);
    }
    is_needed = is_needed || looks_up_rows(node);
    const struct ldnq_value *data = find_data(node);
    if (data && !unfolding->is_weight[data->index]) {
        restore_folded_node(unfolding, (struct ldnq_node *)(uintptr_t)data->folded_from);
        is_needed = true;
    }
    if (is_needed && value->constant)
        restore_folded_node(unfolding, node);
}

static void mark_weights(struct unfolding *unfolding)
{
    for (size_t n = 0; n < unfolding->graph->node_count; n++) {
        const struct ldnq_node *node = unfolding->graph->nodes[n];
        const struct ldnq_op_layer *layer = node->op ? node->op->layer : NULL;
        for (; layer; layer = layer->other) {
            const struct ldnq_value *weight = (size_t)layer->weight_input < node->input_count
                                                  ? node->inputs[layer->weight_input]
                                                  : NULL;
            if (weight && weight->constant)
                unfolding->is_weight[weight->index] = true;
        }
    }
}

static size_t count_folded_values(const struct ldnq_graph *graph)
{
    size_t count = 0;
    for (size_t v = 0; v < graph->value_count; v++)
        count += graph->values[v]->folded_from != NULL;
    return count;
}

enum ldnq_status ldnq_pass_unfold_layers(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct unfolding unfolding = { .graph = graph };
    const size_t most = count_folded_values(graph) + graph->node_count;
    unfolding.is_weight =
        ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *unfolding.is_weight, err);
    unfolding.is_visited =
        ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *unfolding.is_visited, err);
    unfolding.nodes = ldnq_arena_alloc(graph->arena, most, sizeof *unfolding.nodes, err);
    if (!unfolding.is_weight || !unfolding.is_visited || !unfolding.nodes)
        return LDNQ_NOMEM;
    mark_weights(&unfolding);
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i])
                restore_producers_of_value(&unfolding, graph->nodes[n]->inputs[i]);
    if (unfolding.count == 0)
        return LDNQ_OK;
    memcpy(unfolding.nodes + unfolding.count, graph->nodes,
           graph->node_count * sizeof(struct ldnq_node *));
    graph->nodes = unfolding.nodes;
    graph->node_count += unfolding.count;
    return LDNQ_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lookups.c: moves the lookup of matrices next to the product that reads them. */
#include "passes/passes.h"

#include <string.h>

#include "ops/op.h"

static bool looks_up_matrices(const struct ldnq_node *node)
{
    const struct ldnq_value *table = node->input_count == 2 ? node->inputs[0] : NULL;
    return node->op && strcmp(node->op->type, "Gather") == 0 && !node->within && table &&
           table->constant && table->constant->dtype == LDNQ_FLOAT &&
           table->constant->shape.rank == 3 && ldnq_attr_int(node, "axis", 0) == 0 &&
           node->outputs[0] && !node->outputs[0]->is_output;
}

/* Whether the node is a MatMul of computed data and the value. */
static bool is_product(const struct ldnq_node *node, const struct ldnq_value *value)
{
    return node->op && strcmp(node->op->type, "MatMul") == 0 && node->inputs[1] == value &&
           !node->inputs[0]->constant && node->inputs[0]->shape.rank >= 2;
}

static bool has_one_reader(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    size_t count = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        count += ldnq_node_reads(graph->nodes[n], value);
    return count == 1;
}

void ldnq_pass_move_lookups(struct ldnq_graph *graph)
{
    /* Backwards: what moves is not met again. */
    for (size_t n = graph->node_count; n-- > 0;) {
        struct ldnq_node *node = graph->nodes[n];
        if (!looks_up_matrices(node) || !has_one_reader(graph, node->outputs[0]))
            continue;
        const size_t product = ldnq_find_product_of_lookup(graph, n);
        if (product == n || !is_product(graph->nodes[product], node->outputs[0]))
            continue;
        node->feeds_product = true;
        memmove(graph->nodes + n, graph->nodes + n + 1,
                (product - n - 1) * sizeof(struct ldnq_node *));
        graph->nodes[product - 1] = node;
    }
}

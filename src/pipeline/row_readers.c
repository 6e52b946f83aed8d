/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/row_readers.h"

#include <string.h>

#include "ops/op.h"

/* Nodes from a square to the division by its root; more are not searched. */
#define MOST_STEPS 8

static bool has_type(const struct ldnq_node *node, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

static bool is_constant_input(const struct ldnq_node *node, size_t i)
{
    return i < node->input_count && node->inputs[i] && node->inputs[i]->constant;
}

/* A product with other data, or a normalization of rows. */
static bool computes_rows(const struct ldnq_node *node)
{
    static const char *const types[] = { "MatMul", "LayerNormalization", "RMSNormalization" };
    return has_type(node, types, sizeof types / sizeof *types) ||
           (strcmp(node->op_type, "Gemm") == 0 && ldnq_attr_int(node, "transA", 0) == 0);
}

/* Whether the node computes ratios of its input i: the same part of a small value changes its
 * result as much as that of a large one. */
static bool computes_ratios(const struct ldnq_node *node, size_t i)
{
    static const char *const types[] = { "Sqrt", "Reciprocal", "Log" };
    return i == 0 ? has_type(node, types, sizeof types / sizeof *types)
                  : strcmp(node->op_type, "Div") == 0;
}

/* Whether the node takes the mean of each row off: x - mean(x). */
static bool subtracts_mean(const struct ldnq_node *node, size_t i)
{
    const struct ldnq_value *mean = node->input_count > 1 ? node->inputs[1] : NULL;
    const struct ldnq_node *reduction = mean ? mean->producer : NULL;
    return i == 0 && reduction && strcmp(node->op_type, "Sub") == 0 &&
           strcmp(reduction->op_type, "ReduceMean") == 0 && reduction->inputs[0] == node->inputs[0];
}

/* Whether the node is a step from a value to its size: a square, a mean or sum, a constant that is
 * added or that bounds it. */
static bool is_step_to_size(const struct ldnq_node *node, size_t i)
{
    static const char *const first[] = {
        "Pow", "Abs", "ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "Clip"
    };
    static const char *const beside_constant[] = { "Add", "Mul", "Max" };
    if (i == 0 && has_type(node, first, sizeof first / sizeof *first))
        return true;
    if (subtracts_mean(node, i))
        return true;
    if (i > 1 || !has_type(node, beside_constant, sizeof beside_constant / sizeof *beside_constant))
        return false;
    const bool is_square = node->inputs[0] == node->inputs[1] && strcmp(node->op_type, "Mul") == 0;
    return is_square || is_constant_input(node, 1 - i);
}

static bool leads_to_ratios(const struct ldnq_graph *graph, const struct ldnq_node *node, size_t i,
                            unsigned steps)
{
    if (computes_ratios(node, i))
        return true;
    if (steps == 0 || !is_step_to_size(node, i))
        return false;
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t input = 0; input < graph->nodes[n]->input_count; input++)
            if (graph->nodes[n]->inputs[input] == node->outputs[0] &&
                leads_to_ratios(graph, graph->nodes[n], input, steps - 1))
                return true;
    return false;
}

bool ldnq_reads_rows_alike(const struct ldnq_graph *graph, const struct ldnq_node *node, size_t i)
{
    return (i == 0 && computes_rows(node)) || leads_to_ratios(graph, node, i, MOST_STEPS);
}

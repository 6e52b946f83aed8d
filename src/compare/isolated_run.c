/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/isolated_run.h"

#include <string.h>

/* The value upstream of a Reshape that the other model does not have, and of Q/DQ nodes; the value
 * itself where another node computes it. */
static const struct ldnq_value *skip_reshape(const struct ldnq_value *value,
                                             const struct ldnq_compute_view *view,
                                             const size_t *match_of)
{
    const struct ldnq_node *node = value->producer;
    if (!node || strcmp(node->op_type, "Reshape") != 0)
        return value;
    const size_t n = ldnq_compute_view_find(view, node);
    return n == LDNQ_NO_NODE || match_of[n] != LDNQ_NO_NODE
               ? value
               : ldnq_compute_view_trace_source(node->inputs[0]).value;
}

/* The layers' inputs, after the merges. */
static enum ldnq_status find_matching_layer_inputs(struct ldnq_isolated_run *run,
                                                   const struct ldnq_node_pairs *pairs,
                                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_node *a = pairs->a->nodes[run->match->a].node;
    const struct ldnq_node *b = pairs->b->nodes[run->match->b].node;
    run->inputs = ldnq_arena_alloc(arena, a->input_count, sizeof *run->inputs, err);
    if (!run->inputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < a->input_count && i < b->input_count; i++) {
        const struct ldnq_value *x = ldnq_compute_view_trace_source(a->inputs[i]).value;
        const struct ldnq_value *y = ldnq_compute_view_trace_source(b->inputs[i]).value;
        /* A product may get its rows in one axis in one model, and in several in the other. */
        if (x && y && x->shape.rank > y->shape.rank)
            y = skip_reshape(y, pairs->b, pairs->match_of_b);
        else if (x && y && x->shape.rank < y->shape.rank)
            x = skip_reshape(x, pairs->a, pairs->match_of_a);
        if (x && y && !x->constant && !y->constant)
            run->inputs[run->input_count++] = (struct ldnq_isolated_input){ x, y };
    }
    return LDNQ_OK;
}

static bool is_bound_input(const struct ldnq_isolated_run *run, const struct ldnq_value *value)
{
    for (size_t i = 0; i < run->input_count; i++)
        if (run->inputs[i].b == value)
            return true;
    return false;
}

static bool computes_needed_value(const struct ldnq_isolated_run *run, const struct ldnq_node *node,
                                  const bool *needed)
{
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && needed[node->outputs[o]->index] &&
            !is_bound_input(run, node->outputs[o]))
            return true;
    return false;
}

/* Goes upstream from the output to the bound inputs; `needed` is by value. */
static enum ldnq_status find_nodes_to_run(struct ldnq_isolated_run *run,
                                          const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                          struct ldnq_error *err)
{
    bool *needed = ldnq_arena_alloc(arena, graph->value_count, sizeof *needed, err);
    if (!needed)
        return LDNQ_NOMEM;
    size_t count = 0;
    needed[run->match->output_b->index] = true;
    for (size_t n = graph->node_count; n-- > 0;) {
        const struct ldnq_node *node = graph->nodes[n];
        if (!computes_needed_value(run, node, needed))
            continue;
        count++;
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && !node->inputs[i]->constant)
                needed[node->inputs[i]->index] = true;
    }
    run->nodes = ldnq_arena_alloc(arena, count, sizeof *run->nodes, err);
    if (!run->nodes)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        if (computes_needed_value(run, graph->nodes[n], needed))
            run->nodes[run->node_count++] = n;
    run->is_possible = true;
    for (size_t i = 0; i < graph->input_count; i++)
        if (needed[graph->inputs[i]->index] && !is_bound_input(run, graph->inputs[i]))
            run->is_possible = false;
    return LDNQ_OK;
}

enum ldnq_status ldnq_isolated_run_init(struct ldnq_isolated_run *run,
                                        const struct ldnq_matched_layer *match,
                                        const struct ldnq_node_pairs *pairs,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    *run = (struct ldnq_isolated_run){ .match = match };
    LDNQ_TRY(find_matching_layer_inputs(run, pairs, arena, err));
    return find_nodes_to_run(run, pairs->b->graph, arena, err);
}

enum ldnq_status ldnq_isolated_run_execute(const struct ldnq_isolated_run *run,
                                           const struct ldnq_exec *a, struct ldnq_exec *isolated,
                                           const struct ldnq_tensor **output,
                                           struct ldnq_error *err)
{
    *output = NULL;
    ldnq_exec_reset(isolated);
    if (!run->is_possible)
        return LDNQ_OK;
    for (size_t i = 0; i < run->input_count; i++) {
        const struct ldnq_tensor *tensor = ldnq_exec_find_value(a, run->inputs[i].a);
        const struct ldnq_value *bound = run->inputs[i].b;
        if (!tensor || tensor->dtype != bound->dtype ||
            (bound->shape.rank >= 0 && tensor->shape.rank != bound->shape.rank))
            return LDNQ_OK;
        ldnq_exec_bind(isolated, bound, tensor);
    }
    for (size_t i = 0; i < run->node_count; i++)
        LDNQ_TRY(ldnq_exec_run_range(isolated, run->nodes[i], run->nodes[i] + 1, err));
    *output = ldnq_exec_find_value(isolated, run->match->output_b);
    return LDNQ_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/exec_plan.h"

static enum ldnq_status allocate_plan_arrays(struct ldnq_exec_plan *plan, struct ldnq_arena *arena,
                                             struct ldnq_error *err)
{
    size_t nodes = plan->graph->node_count, values = plan->graph->value_count;
    plan->definition = ldnq_arena_alloc(arena, values, sizeof *plan->definition, err);
    plan->last_use = ldnq_arena_alloc(arena, values, sizeof *plan->last_use, err);
    plan->fused = ldnq_arena_alloc(arena, nodes, sizeof *plan->fused, err);
    plan->clamp = ldnq_arena_alloc(arena, nodes, sizeof *plan->clamp, err);
    plan->skipped = ldnq_arena_alloc(arena, nodes, sizeof *plan->skipped, err);
    bool all = plan->definition && plan->last_use && plan->fused && plan->clamp && plan->skipped;
    for (size_t i = 0; all && i < values; i++)
        plan->definition[i] = plan->last_use[i] = LDNQ_NO_NODE;
    for (size_t i = 0; all && i < nodes; i++)
        plan->fused[i] = LDNQ_NO_NODE;
    return all ? LDNQ_OK : LDNQ_NOMEM;
}

/* Whether the node can run `reader`, the only one that reads its output 0, inside it. */
static bool can_fuse(const struct ldnq_node *node, const struct ldnq_node *reader,
                     struct ldnq_clamp *clamp)
{
    if (!node->op || !reader->op)
        return false;
    if (node->op->flags & LDNQ_OP_FUSES_CLAMP)
        return reader->inputs[0] == node->outputs[0] && reader->op->as_clamp &&
               reader->op->as_clamp(reader, clamp);
    return node->op->can_fuse && node->op->can_fuse(node, reader);
}

/* Fuses the only reader of the node's output 0 into the node, where that is possible.
 * `readers` has, by value, the last node that reads it. */
static void fuse_reader(struct ldnq_exec_plan *plan, size_t node_index, const size_t *reader_count,
                        const size_t *readers)
{
    const struct ldnq_node *node = plan->graph->nodes[node_index];
    if (!node->outputs[0] || node->outputs[0]->is_output)
        return;
    size_t between = node->outputs[0]->index, reader = readers[between];
    if (reader_count[between] != 1 ||
        !can_fuse(node, plan->graph->nodes[reader], &plan->clamp[node_index]))
        return;
    plan->fused[node_index] = reader;
    plan->skipped[reader] = true;
    plan->definition[plan->graph->nodes[reader]->outputs[0]->index] = node_index;
    plan->last_use[between] = LDNQ_NO_NODE;
    plan->definition[between] = LDNQ_NO_NODE;
}

const struct ldnq_value *ldnq_exec_plan_output(const struct ldnq_exec_plan *plan, size_t node_index,
                                               size_t i)
{
    size_t reader = plan->fused[node_index];
    if (i == 0 && reader != LDNQ_NO_NODE)
        return plan->graph->nodes[reader]->outputs[0];
    return plan->graph->nodes[node_index]->outputs[i];
}

void ldnq_exec_plan_unfuse(struct ldnq_exec_plan *plan, size_t node_index)
{
    size_t reader = plan->fused[node_index];
    if (reader == LDNQ_NO_NODE)
        return;
    size_t between = plan->graph->nodes[node_index]->outputs[0]->index;
    plan->fused[node_index] = LDNQ_NO_NODE;
    plan->skipped[reader] = false;
    plan->definition[plan->graph->nodes[reader]->outputs[0]->index] = reader;
    plan->definition[between] = node_index;
    plan->last_use[between] = reader;
}

enum ldnq_status ldnq_exec_plan_init(struct ldnq_exec_plan *plan, const struct ldnq_graph *graph,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    *plan = (struct ldnq_exec_plan){ .graph = graph };
    LDNQ_TRY(allocate_plan_arrays(plan, arena, err));
    size_t *reader_count = ldnq_arena_alloc(arena, graph->value_count, sizeof *reader_count, err);
    size_t *readers = ldnq_arena_alloc(arena, graph->value_count, sizeof *readers, err);
    if (!reader_count || !readers)
        return LDNQ_NOMEM;

    /* ---- live ranges ---- */
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (!node->inputs[i])
                continue;
            size_t value = node->inputs[i]->index;
            plan->last_use[value] = readers[value] = n;
            reader_count[value]++;
        }
        for (size_t i = 0; i < node->output_count; i++)
            if (node->outputs[i])
                plan->definition[node->outputs[i]->index] = n;
    }
    for (size_t i = 0; i < graph->output_count; i++)
        plan->last_use[graph->outputs[i]->index] = graph->node_count;

    /* ---- fusion ---- */
    for (size_t n = 0; n < graph->node_count; n++)
        fuse_reader(plan, n, reader_count, readers);
    return LDNQ_OK;
}

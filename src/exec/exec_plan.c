#include "exec/exec_plan.h"

static enum ldnq_status allocate(struct ldnq_exec_plan *plan, struct ldnq_arena *arena,
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

/* Fuses the clamp that reads the node's output into the node, when it is the only
 * reader. `reader` has, by value, the last node that reads it. */
static void fuse_clamp(struct ldnq_exec_plan *plan, size_t node_index, const size_t *reader_count,
                       const size_t *reader)
{
    const struct ldnq_node *node = plan->graph->nodes[node_index];
    if (!node->op || !(node->op->flags & LDNQ_OP_FUSES_CLAMP) || node->outputs[0]->is_output)
        return;
    size_t between = node->outputs[0]->index, next = reader[between];
    if (reader_count[between] != 1)
        return;
    const struct ldnq_node *clamp = plan->graph->nodes[next];
    if (!clamp->op || !clamp->op->as_clamp || clamp->inputs[0] != node->outputs[0] ||
        !clamp->op->as_clamp(clamp, &plan->clamp[node_index]))
        return;
    plan->fused[node_index] = next;
    plan->skipped[next] = true;
    plan->definition[clamp->outputs[0]->index] = node_index;
    plan->last_use[between] = LDNQ_NO_NODE;
    plan->definition[between] = LDNQ_NO_NODE;
}

const struct ldnq_value *ldnq_exec_plan_output(const struct ldnq_exec_plan *plan, size_t node_index,
                                               size_t i)
{
    size_t clamp = plan->fused[node_index];
    if (i == 0 && clamp != LDNQ_NO_NODE)
        return plan->graph->nodes[clamp]->outputs[0];
    return plan->graph->nodes[node_index]->outputs[i];
}

void ldnq_exec_plan_unfuse(struct ldnq_exec_plan *plan, size_t node_index)
{
    size_t clamp = plan->fused[node_index];
    if (clamp == LDNQ_NO_NODE)
        return;
    size_t between = plan->graph->nodes[node_index]->outputs[0]->index;
    plan->fused[node_index] = LDNQ_NO_NODE;
    plan->skipped[clamp] = false;
    plan->definition[plan->graph->nodes[clamp]->outputs[0]->index] = clamp;
    plan->definition[between] = node_index;
    plan->last_use[between] = clamp;
}

enum ldnq_status ldnq_exec_plan_init(struct ldnq_exec_plan *plan, const struct ldnq_graph *graph,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    *plan = (struct ldnq_exec_plan){ .graph = graph };
    LDNQ_TRY(allocate(plan, arena, err));
    size_t *reader_count = ldnq_arena_alloc(arena, graph->value_count, sizeof *reader_count, err);
    size_t *reader = ldnq_arena_alloc(arena, graph->value_count, sizeof *reader, err);
    if (!reader_count || !reader)
        return LDNQ_NOMEM;

    /* ---- live ranges ---- */
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (!node->inputs[i])
                continue;
            size_t value = node->inputs[i]->index;
            plan->last_use[value] = reader[value] = n;
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
        fuse_clamp(plan, n, reader_count, reader);
    return LDNQ_OK;
}

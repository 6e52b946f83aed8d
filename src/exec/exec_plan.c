#include "exec/exec_plan.h"

static enum ldnq_status allocate(struct ldnq_exec_plan *plan, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    size_t nodes = plan->graph->node_count, values = plan->graph->value_count;
    plan->made = ldnq_arena_alloc(arena, values, sizeof *plan->made, err);
    plan->last_read = ldnq_arena_alloc(arena, values, sizeof *plan->last_read, err);
    plan->fused = ldnq_arena_alloc(arena, nodes, sizeof *plan->fused, err);
    plan->clamp = ldnq_arena_alloc(arena, nodes, sizeof *plan->clamp, err);
    plan->skipped = ldnq_arena_alloc(arena, nodes, sizeof *plan->skipped, err);
    bool all = plan->made && plan->last_read && plan->fused && plan->clamp && plan->skipped;
    for (size_t i = 0; all && i < values; i++)
        plan->made[i] = plan->last_read[i] = LDNQ_NEVER;
    for (size_t i = 0; all && i < nodes; i++)
        plan->fused[i] = LDNQ_NEVER;
    return all ? LDNQ_OK : LDNQ_NOMEM;
}

static void note_node(struct ldnq_exec_plan *plan, size_t place, size_t *readers, size_t *reader)
{
    const struct ldnq_node *node = plan->graph->nodes[place];
    for (size_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i])
            continue;
        size_t value = node->inputs[i]->index;
        plan->last_read[value] = place;
        readers[value]++;
        reader[value] = place;
    }
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i])
            plan->made[node->outputs[i]->index] = place;
}

/* The clamp moves into the node in front when nothing else sees what lies between. */
static void fuse(struct ldnq_exec_plan *plan, size_t place, const size_t *readers,
                 const size_t *reader)
{
    const struct ldnq_node *node = plan->graph->nodes[place];
    if (!node->op || !(node->op->flags & LDNQ_OP_CLAMPS) || node->outputs[0]->is_output)
        return;
    size_t between = node->outputs[0]->index, next = reader[between];
    if (readers[between] != 1)
        return;
    const struct ldnq_node *clamp = plan->graph->nodes[next];
    if (!clamp->op || !clamp->op->as_clamp || clamp->inputs[0] != node->outputs[0] ||
        !clamp->op->as_clamp(clamp, &plan->clamp[place]))
        return;
    plan->fused[place] = next;
    plan->skipped[next] = true;
    plan->made[clamp->outputs[0]->index] = place;
    plan->last_read[between] = LDNQ_NEVER;
    plan->made[between] = LDNQ_NEVER;
}

const struct ldnq_value *ldnq_exec_plan_output(const struct ldnq_exec_plan *plan, size_t place,
                                               size_t i)
{
    size_t fused = plan->fused[place];
    if (i == 0 && fused != LDNQ_NEVER)
        return plan->graph->nodes[fused]->outputs[0];
    return plan->graph->nodes[place]->outputs[i];
}

void ldnq_exec_plan_unfuse(struct ldnq_exec_plan *plan, size_t place)
{
    size_t next = plan->fused[place];
    if (next == LDNQ_NEVER)
        return;
    size_t between = plan->graph->nodes[place]->outputs[0]->index;
    plan->fused[place] = LDNQ_NEVER;
    plan->skipped[next] = false;
    plan->made[plan->graph->nodes[next]->outputs[0]->index] = next;
    plan->made[between] = place;
    plan->last_read[between] = next;
}

enum ldnq_status ldnq_exec_plan_init(struct ldnq_exec_plan *plan, const struct ldnq_graph *graph,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    *plan = (struct ldnq_exec_plan){ .graph = graph };
    LDNQ_TRY(allocate(plan, arena, err));
    size_t *readers = ldnq_arena_alloc(arena, graph->value_count, sizeof *readers, err);
    size_t *reader = ldnq_arena_alloc(arena, graph->value_count, sizeof *reader, err);
    if (!readers || !reader)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->node_count; i++)
        note_node(plan, i, readers, reader);
    for (size_t i = 0; i < graph->output_count; i++)
        plan->last_read[graph->outputs[i]->index] = graph->node_count;
    for (size_t i = 0; i < graph->node_count; i++)
        fuse(plan, i, readers, reader);
    return LDNQ_OK;
}

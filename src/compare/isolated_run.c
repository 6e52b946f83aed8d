#include "compare/isolated_run.h"

static size_t place_of(const struct ldnq_graph *graph, const struct ldnq_node *node)
{
    for (size_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i] == node)
            return i;
    return LDNQ_NO_NODE;
}

/* What the layers now read behind the plumbing, input by input. */
static enum ldnq_status find_roots(struct ldnq_isolated_run *lane, const struct ldnq_node *a,
                                   const struct ldnq_node *b, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    lane->roots = ldnq_arena_alloc(arena, a->input_count, sizeof *lane->roots, err);
    if (!lane->roots)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < a->input_count && i < b->input_count; i++) {
        const struct ldnq_value *x = ldnq_compute_view_trace(a->inputs[i]).value;
        const struct ldnq_value *y = ldnq_compute_view_trace(b->inputs[i]).value;
        if (x && y && !x->constant && !y->constant)
            lane->roots[lane->root_count++] = (struct ldnq_isolated_input){ x, y };
    }
    return LDNQ_OK;
}

static bool is_root(const struct ldnq_isolated_run *lane, const struct ldnq_value *value)
{
    for (size_t i = 0; i < lane->root_count; i++)
        if (lane->roots[i].b == value)
            return true;
    return false;
}

/* Marks the nodes that `value` takes, up to the roots; false when more than those would be
 * needed. */
static bool need(const struct ldnq_isolated_run *lane, const struct ldnq_graph *graph,
                 const struct ldnq_value *value, bool *needed)
{
    needed[value->index] = true;
    for (size_t place = lane->end_b + 1; place-- > 0;) {
        const struct ldnq_node *node = graph->nodes[place];
        bool wanted = false;
        for (size_t o = 0; o < node->output_count; o++)
            wanted |= node->outputs[o] && needed[node->outputs[o]->index] &&
                      !is_root(lane, node->outputs[o]);
        for (size_t i = 0; wanted && i < node->input_count; i++)
            if (node->inputs[i] && !node->inputs[i]->constant)
                needed[node->inputs[i]->index] = true;
    }
    for (size_t i = 0; i < graph->input_count; i++)
        if (needed[graph->inputs[i]->index] && !is_root(lane, graph->inputs[i]))
            return false;
    return true;
}

static bool makes_needed(const struct ldnq_isolated_run *lane, const struct ldnq_node *node,
                         const bool *needed)
{
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && needed[node->outputs[o]->index] && !is_root(lane, node->outputs[o]))
            return true;
    return false;
}

static enum ldnq_status find_steps(struct ldnq_isolated_run *lane, const struct ldnq_graph *graph,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    bool *needed = ldnq_arena_alloc(arena, graph->value_count, sizeof *needed, err);
    if (!needed)
        return LDNQ_NOMEM;
    lane->isolates = need(lane, graph, lane->couple->out_b, needed);
    size_t count = 0;
    for (size_t place = 0; place <= lane->end_b; place++)
        count += makes_needed(lane, graph->nodes[place], needed);
    lane->steps = ldnq_arena_alloc(arena, count, sizeof *lane->steps, err);
    if (!lane->steps)
        return LDNQ_NOMEM;
    for (size_t place = 0; place <= lane->end_b; place++)
        if (makes_needed(lane, graph->nodes[place], needed))
            lane->steps[lane->step_count++] = place;
    return LDNQ_OK;
}

enum ldnq_status ldnq_isolated_run_init(struct ldnq_isolated_run *lane,
                                        const struct ldnq_matched_layer *couple,
                                        const struct ldnq_node_pairs *pairs,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_compute_node *a = &pairs->a->nodes[couple->a];
    const struct ldnq_compute_node *b = &pairs->b->nodes[couple->b];
    *lane = (struct ldnq_isolated_run){
        .couple = couple,
        .start_a = place_of(pairs->a->graph, a->node),
        .end_a = place_of(pairs->a->graph, couple->out_a->producer),
        .end_b = place_of(pairs->b->graph, couple->out_b->producer),
    };
    LDNQ_TRY(find_roots(lane, a->node, b->node, arena, err));
    return find_steps(lane, pairs->b->graph, arena, err);
}

enum ldnq_status ldnq_isolated_run_execute(const struct ldnq_isolated_run *lane,
                                           const struct ldnq_exec *a, struct ldnq_exec *apart,
                                           bool *done, struct ldnq_error *err)
{
    *done = false;
    ldnq_exec_reset(apart);
    for (size_t i = 0; lane->isolates && i < lane->root_count; i++) {
        const struct ldnq_tensor *tensor = ldnq_exec_value(a, lane->roots[i].a);
        if (!tensor || tensor->dtype != lane->roots[i].b->dtype)
            return LDNQ_OK;
        ldnq_exec_bind(apart, lane->roots[i].b, tensor);
    }
    for (size_t i = 0; lane->isolates && i < lane->step_count; i++)
        LDNQ_TRY(ldnq_exec_run_range(apart, lane->steps[i], lane->steps[i] + 1, err));
    *done = lane->isolates;
    return LDNQ_OK;
}

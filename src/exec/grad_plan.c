/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/grad_plan.h"

#include <string.h>

#include "base/size.h"

/* ---- fused nodes -------------------------------------------------------------------- */

static bool reads_in_backward(const struct ldnq_node *node, const struct ldnq_value *value)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == value && ldnq_grad_saves_input(node, i))
            return true;
    return false;
}

/* Whether a reader can stay fused: both nodes are in the range that runs, and neither a
 * backward nor the caller reads the value between them. */
static bool can_stay_fused(const struct ldnq_grad_plan *plan, size_t node_index, size_t reader)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    const struct ldnq_grad_reach *reach = plan->reach;
    size_t between = graph->nodes[node_index]->outputs[0]->index;
    if (node_index < plan->options->first || reader >= plan->options->last)
        return false;
    if (reach->requested[between] || reach->target[between])
        return false;
    return !(reach->active[node_index] && ldnq_grad_saves_output(graph->nodes[node_index], 0)) &&
           !(reach->active[reader] &&
             reads_in_backward(graph->nodes[reader], graph->values[between]));
}

static void unfuse_read_values(struct ldnq_grad_plan *plan)
{
    struct ldnq_exec_plan *run = &plan->exec->plan;
    for (size_t n = 0; n < plan->exec->graph->node_count; n++)
        if (run->fused[n] != LDNQ_NO_NODE && !can_stay_fused(plan, n, run->fused[n]))
            ldnq_exec_plan_unfuse(run, n);
    for (size_t n = 0; n < plan->exec->graph->node_count; n++)
        plan->is_fused[n] = run->skipped[n];
}

/* ---- saved tensors ------------------------------------------------------------------ */

static void mark_saved_value(struct ldnq_grad_plan *plan, size_t value, size_t node_index)
{
    plan->needed[value] = true;
    plan->last_backward_use[value] = ldnq_size_min(plan->last_backward_use[value], node_index);
}

/* Marks the tensors that the backward of the nodes first .. last-1 reads. */
static void mark_saved_values(struct ldnq_grad_plan *plan, size_t first, size_t last)
{
    for (size_t n = first; n < last; n++) {
        const struct ldnq_node *node = plan->exec->graph->nodes[n];
        if (!plan->reach->active[n])
            continue;
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && !node->inputs[i]->constant && ldnq_grad_saves_input(node, i))
                mark_saved_value(plan, node->inputs[i]->index, n);
        for (size_t i = 0; i < node->output_count; i++)
            if (node->outputs[i] && ldnq_grad_saves_output(node, i))
                mark_saved_value(plan, node->outputs[i]->index, n);
    }
}

enum ldnq_status ldnq_grad_plan_init(struct ldnq_grad_plan *plan, struct ldnq_exec *exec,
                                     const struct ldnq_grad_options *options,
                                     const struct ldnq_grad_reach *reach, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    size_t values = exec->graph->value_count, nodes = exec->graph->node_count;
    *plan = (struct ldnq_grad_plan){
        .exec = exec, .options = options, .reach = reach, .segment_count = 1
    };
    plan->start = ldnq_arena_alloc(arena, nodes + 2, sizeof *plan->start, err);
    plan->last_backward_use = ldnq_arena_alloc(arena, values, sizeof *plan->last_backward_use, err);
    plan->checkpoint_until = ldnq_arena_alloc(arena, values, sizeof *plan->checkpoint_until, err);
    plan->is_fed = ldnq_arena_alloc(arena, values, sizeof *plan->is_fed, err);
    plan->is_fused = ldnq_arena_alloc(arena, nodes, sizeof *plan->is_fused, err);
    plan->needed = ldnq_arena_alloc(arena, values, sizeof *plan->needed, err);
    plan->available = ldnq_arena_alloc(arena, values, sizeof *plan->available, err);
    plan->retained = ldnq_arena_alloc(arena, values, sizeof *plan->retained, err);
    plan->saved_bytes = ldnq_arena_alloc(arena, nodes + 1, sizeof *plan->saved_bytes, err);
    plan->crossing_bytes = ldnq_arena_alloc(arena, nodes + 1, sizeof *plan->crossing_bytes, err);
    if (!plan->start || !plan->last_backward_use || !plan->checkpoint_until || !plan->is_fed ||
        !plan->is_fused || !plan->needed || !plan->available || !plan->retained ||
        !plan->saved_bytes || !plan->crossing_bytes)
        return LDNQ_NOMEM;
    unfuse_read_values(plan);
    for (size_t i = 0; i < values; i++)
        plan->last_backward_use[i] = plan->checkpoint_until[i] = LDNQ_NO_NODE;
    mark_saved_values(plan, options->first, options->last);
    plan->start[0] = options->first;
    plan->start[1] = options->last;
    return LDNQ_OK;
}

/* ---- preparing a pass ---------------------------------------------------------------- */

static bool computes_needed(const struct ldnq_grad_plan *plan, size_t node_index)
{
    const struct ldnq_node *node = plan->exec->graph->nodes[node_index];
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_value *value = ldnq_exec_plan_output(&plan->exec->plan, node_index, i);
        if (value && plan->needed[value->index] && !plan->available[value->index])
            return true;
    }
    return false;
}

static void mark_needed_value(struct ldnq_grad_plan *plan, const struct ldnq_value *value,
                              size_t node_index)
{
    if (!value || value->constant)
        return;
    size_t *last_use = &plan->exec->plan.last_use[value->index];
    plan->needed[value->index] = true;
    if (*last_use == LDNQ_NO_NODE)
        *last_use = node_index;
}

/* Writes the executor's plan for a pass over the nodes first .. last-1: runs the nodes
 * that compute needed values which are not available, and marks the inputs of these nodes
 * as needed in turn. Goes backwards, so the first reader found is the last use. */
static void plan_pass_over_nodes(struct ldnq_grad_plan *plan, size_t first, size_t last)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    struct ldnq_exec_plan *run = &plan->exec->plan;
    for (size_t i = 0; i < graph->value_count; i++)
        run->last_use[i] = LDNQ_NO_NODE;
    for (size_t n = last; n-- > first;) {
        const struct ldnq_node *node = graph->nodes[n];
        run->skipped[n] = plan->is_fused[n] || !computes_needed(plan, n);
        if (run->skipped[n])
            continue;
        for (size_t i = 0; i < node->input_count; i++)
            mark_needed_value(plan, node->inputs[i], n);
        for (size_t i = 0; i < node->capture_count; i++)
            mark_needed_value(plan, node->captures[i], n);
    }
    for (size_t i = 0; i < graph->value_count; i++)
        if (plan->retained[i] || plan->is_fed[i])
            run->last_use[i] = graph->node_count;
}

/* Needed: the saved tensors of segment m. Available: what is fed. */
static void mark_values_of_segment(struct ldnq_grad_plan *plan, size_t m)
{
    size_t bytes = plan->exec->graph->value_count * sizeof(bool);
    memset(plan->needed, 0, bytes);
    memset(plan->retained, 0, bytes);
    memcpy(plan->available, plan->is_fed, bytes);
    mark_saved_values(plan, plan->start[m], plan->start[m + 1]);
}

void ldnq_grad_plan_prepare_forward(struct ldnq_grad_plan *plan, bool only_targets)
{
    const struct ldnq_grad_reach *reach = plan->reach;
    mark_values_of_segment(plan, plan->segment_count - 1);
    for (size_t i = 0; i < plan->exec->graph->value_count; i++) {
        bool is_saved = plan->needed[i] || plan->checkpoint_until[i] != LDNQ_NO_NODE;
        plan->retained[i] = reach->target[i] || (!only_targets && is_saved);
        plan->needed[i] |= plan->retained[i] || reach->requested[i];
    }
    plan_pass_over_nodes(plan, plan->options->first, plan->options->last);
}

/* Plans the recomputation of segment m, except for nodes that would compute something
 * else the second time (LDNQ_OP_RANDOM): their outputs are checkpoints. */
static void plan_recompute(struct ldnq_grad_plan *plan, size_t m)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    for (size_t n = plan->start[m]; n < plan->start[m + 1]; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; (node->op->flags & LDNQ_OP_RANDOM) && i < node->output_count; i++)
            if (node->outputs[i])
                plan->available[node->outputs[i]->index] = true;
    }
    plan_pass_over_nodes(plan, plan->start[m], plan->start[m + 1]);
}

void ldnq_grad_plan_prepare_recompute(struct ldnq_grad_plan *plan, size_t m)
{
    mark_values_of_segment(plan, m);
    for (size_t i = 0; i < plan->exec->graph->value_count; i++) {
        size_t until = plan->checkpoint_until[i];
        plan->retained[i] = plan->needed[i] || (until != LDNQ_NO_NODE && until < m);
        plan->available[i] = plan->exec->slots[i].is_live;
    }
    plan_recompute(plan, m);
}

bool ldnq_grad_plan_is_dead(const struct ldnq_grad_plan *plan, size_t value, size_t m,
                            size_t node_index)
{
    size_t until = plan->checkpoint_until[value], last_use = plan->last_backward_use[value];
    bool is_checkpoint = until != LDNQ_NO_NODE && until < m;
    bool is_used_here = last_use >= plan->start[m] && last_use < node_index;
    return !plan->is_fed[value] && !is_checkpoint && !is_used_here;
}

/* ---- splitting into segments ---------------------------------------------------------- */

static size_t count_value_bytes(const struct ldnq_grad_plan *plan, size_t value)
{
    size_t bytes;
    const struct ldnq_tensor *tensor = &plan->exec->slots[value].tensor;
    return ldnq_tensor_bytes(tensor, &bytes) ? bytes : 0;
}

/* Whether the value shares the memory of another value. */
static bool is_view_of_other_value(const struct ldnq_value *value)
{
    return value->producer && (value->producer->op->flags & LDNQ_OP_VIEW) &&
           value->producer->outputs[0] == value;
}

void ldnq_grad_plan_measure_bytes(struct ldnq_grad_plan *plan)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    const struct ldnq_exec_plan *run = &plan->exec->plan;
    size_t *saved = plan->saved_bytes, *crossing = plan->crossing_bytes;

    /* ---- last uses, in the executor's plan, which every pass overwrites ---- */
    for (size_t i = 0; i < graph->value_count; i++)
        run->last_use[i] = LDNQ_NO_NODE;
    for (size_t n = plan->options->first; n < plan->options->last; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        for (size_t i = 0; !plan->is_fused[n] && i < node->input_count; i++)
            if (node->inputs[i])
                run->last_use[node->inputs[i]->index] = n;
    }

    /* ---- differences from one node to the next; they wrap where they are negative ---- */
    memset(saved, 0, (graph->node_count + 1) * sizeof *saved);
    memset(crossing, 0, (graph->node_count + 1) * sizeof *crossing);
    for (size_t i = 0; i < graph->value_count; i++) {
        size_t definition = run->definition[i], last_use = run->last_use[i];
        if (definition == LDNQ_NO_NODE || definition < plan->options->first ||
            is_view_of_other_value(graph->values[i]))
            continue;
        if (plan->last_backward_use[i] != LDNQ_NO_NODE)
            saved[definition + 1] += count_value_bytes(plan, i);
        if (last_use != LDNQ_NO_NODE && last_use > definition) {
            crossing[definition + 1] += count_value_bytes(plan, i);
            crossing[last_use + 1] -= count_value_bytes(plan, i);
        }
    }

    /* ---- prefix sums ---- */
    for (size_t n = 1; n <= graph->node_count; n++) {
        saved[n] += saved[n - 1];
        crossing[n] += crossing[n - 1];
    }
}

static size_t compute_absolute_difference(size_t a, size_t b)
{
    return a > b ? a - b : b - a;
}

/* The first node of the segment after the one that starts at `start`: of the nodes before
 * which `ideal` bytes are saved, give or take `slack`, the one with the fewest crossing
 * bytes; the nearest to `ideal` when there is no such node. */
static size_t find_segment_end(const struct ldnq_grad_plan *plan, size_t start, size_t ideal,
                               size_t slack)
{
    const size_t *crossing = plan->crossing_bytes;
    size_t best = start + 1;
    for (size_t n = start + 2; n < plan->options->last; n++) {
        size_t d = compute_absolute_difference(plan->saved_bytes[n], ideal);
        size_t d_best = compute_absolute_difference(plan->saved_bytes[best], ideal);
        bool near = d <= slack, best_near = d_best <= slack;
        if (near != best_near ? near : near ? crossing[n] < crossing[best] : d < d_best)
            best = n;
    }
    return best;
}

/* Makes checkpoints of the values from which segment m is recomputed: those defined
 * before the segment, those of random nodes, and checkpoints of later segments. */
static void add_checkpoints(struct ldnq_grad_plan *plan, size_t m)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    size_t *until = plan->checkpoint_until;
    mark_values_of_segment(plan, m);
    for (size_t i = 0; i < graph->value_count; i++)
        plan->available[i] |= until[i] != LDNQ_NO_NODE;
    if (m + 1 < plan->segment_count)
        plan_recompute(plan, m);
    for (size_t i = 0; i < graph->value_count; i++) {
        const struct ldnq_node *producer = graph->values[i]->producer;
        size_t definition = plan->exec->plan.definition[i];
        bool is_random = producer && (producer->op->flags & LDNQ_OP_RANDOM);
        bool is_earlier = definition != LDNQ_NO_NODE && definition < plan->start[m];
        if (plan->needed[i] && !plan->is_fed[i] &&
            (is_earlier || is_random || until[i] != LDNQ_NO_NODE))
            until[i] = m;
    }
}

void ldnq_grad_plan_split_into_segments(struct ldnq_grad_plan *plan, size_t segments)
{
    size_t last = plan->options->last, share = plan->saved_bytes[last] / segments, count = 1;
    plan->start[0] = plan->options->first;
    for (size_t i = 1; i < segments && plan->start[count - 1] + 1 < last; i++, count++)
        plan->start[count] = find_segment_end(plan, plan->start[count - 1], share * i, share / 4);
    plan->start[count] = last;
    plan->segment_count = count;
    for (size_t i = 0; i < plan->exec->graph->value_count; i++)
        plan->checkpoint_until[i] = LDNQ_NO_NODE;
    for (size_t m = count; count > 1 && m-- > 0;)
        add_checkpoints(plan, m);
}

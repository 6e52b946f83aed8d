#include "exec/grad_plan.h"

#include <string.h>

#include "base/size.h"

/* ---- what backward reads ------------------------------------------------------------ */

typedef void visit_fn(struct ldnq_grad_plan *plan, size_t value, size_t place);

/* Each value whose data the backward of node `place` reads. */
static void visit_reads(struct ldnq_grad_plan *plan, size_t place, visit_fn *visit)
{
    const struct ldnq_node *node = plan->exec->graph->nodes[place];
    if (!plan->reach->active[place])
        return;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !node->inputs[i]->constant && ldnq_grad_reads_in(node, i))
            visit(plan, node->inputs[i]->index, place);
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] && ldnq_grad_reads_out(node, i))
            visit(plan, node->outputs[i]->index, place);
}

static void note_read(struct ldnq_grad_plan *plan, size_t value, size_t place)
{
    plan->read_back[value] = ldnq_size_min(plan->read_back[value], place);
}

static void mark_needed(struct ldnq_grad_plan *plan, size_t value, size_t place)
{
    (void)place;
    plan->need[value] = true;
}

static void mark_segment(struct ldnq_grad_plan *plan, size_t m)
{
    for (size_t p = plan->start[m]; p < plan->start[m + 1]; p++)
        visit_reads(plan, p, mark_needed);
}

/* ---- clamps -------------------------------------------------------------------------- */

/* A clamp can stay inside the node in front when no one looks at what lies between,
 * and both are in the stretch that runs. */
static bool may_stay(const struct ldnq_grad_plan *plan, size_t place, size_t clamp)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    const struct ldnq_grad_reach *reach = plan->reach;
    size_t between = graph->nodes[place]->outputs[0]->index;
    if (place < plan->options->first || clamp >= plan->options->last)
        return false;
    if (reach->requested[between] || reach->target[between])
        return false;
    return !(reach->active[place] && ldnq_grad_reads_out(graph->nodes[place], 0)) &&
           !(reach->active[clamp] && ldnq_grad_reads_in(graph->nodes[clamp], 0));
}

static void settle_clamps(struct ldnq_grad_plan *plan)
{
    struct ldnq_exec_plan *run = &plan->exec->plan;
    for (size_t p = 0; p < plan->exec->graph->node_count; p++)
        if (run->fused[p] != LDNQ_NEVER && !may_stay(plan, p, run->fused[p]))
            ldnq_exec_plan_unfuse(run, p);
    for (size_t p = 0; p < plan->exec->graph->node_count; p++)
        plan->fused_away[p] = run->skipped[p];
}

enum ldnq_status ldnq_grad_plan_init(struct ldnq_grad_plan *plan, struct ldnq_exec *exec,
                                     const struct ldnq_grad_options *options,
                                     const struct ldnq_grad_reach *reach, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    size_t values = exec->graph->value_count, nodes = exec->graph->node_count;
    *plan =
        (struct ldnq_grad_plan){ .exec = exec, .options = options, .reach = reach, .segments = 1 };
    plan->start = ldnq_arena_alloc(arena, nodes + 2, sizeof *plan->start, err);
    plan->read_back = ldnq_arena_alloc(arena, values, sizeof *plan->read_back, err);
    plan->lowest = ldnq_arena_alloc(arena, values, sizeof *plan->lowest, err);
    plan->fed = ldnq_arena_alloc(arena, values, sizeof *plan->fed, err);
    plan->fused_away = ldnq_arena_alloc(arena, nodes, sizeof *plan->fused_away, err);
    plan->need = ldnq_arena_alloc(arena, values, sizeof *plan->need, err);
    plan->have = ldnq_arena_alloc(arena, values, sizeof *plan->have, err);
    plan->keep = ldnq_arena_alloc(arena, values, sizeof *plan->keep, err);
    plan->kept = ldnq_arena_alloc(arena, nodes + 1, sizeof *plan->kept, err);
    plan->crossing = ldnq_arena_alloc(arena, nodes + 1, sizeof *plan->crossing, err);
    if (!plan->start || !plan->read_back || !plan->lowest || !plan->fed || !plan->fused_away ||
        !plan->need || !plan->have || !plan->keep || !plan->kept || !plan->crossing)
        return LDNQ_NOMEM;
    settle_clamps(plan);
    for (size_t i = 0; i < values; i++)
        plan->read_back[i] = plan->lowest[i] = LDNQ_NEVER;
    for (size_t p = options->first; p < options->last; p++)
        visit_reads(plan, p, note_read);
    plan->start[0] = options->first;
    plan->start[1] = options->last;
    return LDNQ_OK;
}

/* ---- what a pass runs ----------------------------------------------------------------- */

static bool makes_needed(const struct ldnq_grad_plan *plan, size_t place)
{
    const struct ldnq_node *node = plan->exec->graph->nodes[place];
    for (size_t i = 0; i < node->output_count; i++) {
        const struct ldnq_value *value = ldnq_exec_plan_output(&plan->exec->plan, place, i);
        if (value && plan->need[value->index] && !plan->have[value->index])
            return true;
    }
    return false;
}

static void read_value(struct ldnq_grad_plan *plan, const struct ldnq_value *value, size_t place)
{
    if (!value || value->constant)
        return;
    size_t *last_read = &plan->exec->plan.last_read[value->index];
    plan->need[value->index] = true;
    if (*last_read == LDNQ_NEVER)
        *last_read = place;
}

static void read_inputs(struct ldnq_grad_plan *plan, size_t place)
{
    const struct ldnq_node *node = plan->exec->graph->nodes[place];
    for (size_t i = 0; i < node->input_count; i++)
        read_value(plan, node->inputs[i], place);
    for (size_t i = 0; i < node->capture_count; i++)
        read_value(plan, node->captures[i], place);
}

/* Runs of first .. last-1 what makes the needed values that are not at hand; the
 * values that this needs in turn are marked as well. */
static void settle_nodes(struct ldnq_grad_plan *plan, size_t first, size_t last)
{
    struct ldnq_exec_plan *run = &plan->exec->plan;
    for (size_t i = 0; i < plan->exec->graph->value_count; i++)
        run->last_read[i] = LDNQ_NEVER;
    for (size_t p = last; p-- > first;) {
        run->skipped[p] = plan->fused_away[p] || !makes_needed(plan, p);
        if (!run->skipped[p])
            read_inputs(plan, p);
    }
    for (size_t i = 0; i < plan->exec->graph->value_count; i++)
        if (plan->keep[i] || plan->fed[i])
            run->last_read[i] = plan->exec->graph->node_count;
}

static void clear_marks(struct ldnq_grad_plan *plan)
{
    size_t bytes = plan->exec->graph->value_count * sizeof(bool);
    memset(plan->need, 0, bytes);
    memset(plan->keep, 0, bytes);
    memcpy(plan->have, plan->fed, bytes);
}

void ldnq_grad_plan_forward(struct ldnq_grad_plan *plan, bool keeps)
{
    const struct ldnq_grad_reach *reach = plan->reach;
    clear_marks(plan);
    mark_segment(plan, plan->segments - 1);
    for (size_t i = 0; i < plan->exec->graph->value_count; i++) {
        bool later = plan->need[i] || plan->lowest[i] != LDNQ_NEVER;
        plan->keep[i] = reach->target[i] || (keeps && later);
        plan->need[i] |= plan->keep[i] || reach->requested[i];
    }
    settle_nodes(plan, plan->options->first, plan->options->last);
}

/* What can't be made again is kept from the first pass on. */
static void settle_again(struct ldnq_grad_plan *plan, size_t m)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    for (size_t p = plan->start[m]; p < plan->start[m + 1]; p++) {
        const struct ldnq_node *node = graph->nodes[p];
        for (size_t i = 0; (node->op->flags & LDNQ_OP_IMPURE) && i < node->output_count; i++)
            if (node->outputs[i])
                plan->have[node->outputs[i]->index] = true;
    }
    settle_nodes(plan, plan->start[m], plan->start[m + 1]);
}

void ldnq_grad_plan_again(struct ldnq_grad_plan *plan, size_t m)
{
    clear_marks(plan);
    mark_segment(plan, m);
    for (size_t i = 0; i < plan->exec->graph->value_count; i++) {
        bool below = plan->lowest[i] != LDNQ_NEVER && plan->lowest[i] < m;
        plan->keep[i] = plan->need[i] || below;
        plan->have[i] = plan->exec->slots[i].held;
    }
    settle_again(plan, m);
}

bool ldnq_grad_plan_is_done(const struct ldnq_grad_plan *plan, size_t value, size_t m, size_t place)
{
    bool below = plan->lowest[value] != LDNQ_NEVER && plan->lowest[value] < m;
    bool here = plan->read_back[value] >= plan->start[m] && plan->read_back[value] < place;
    return !plan->fed[value] && !below && !here;
}

/* ---- cuts ---------------------------------------------------------------------------- */

static size_t bytes_of(const struct ldnq_grad_plan *plan, size_t value)
{
    size_t bytes;
    const struct ldnq_tensor *tensor = &plan->exec->slots[value].tensor;
    return ldnq_tensor_bytes(tensor, &bytes) ? bytes : 0;
}

/* Another value's memory. */
static bool is_view(const struct ldnq_value *value)
{
    return value->producer && (value->producer->op->flags & LDNQ_OP_VIEW) &&
           value->producer->outputs[0] == value;
}

static void note_last_reads(struct ldnq_grad_plan *plan, size_t *last_read)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    for (size_t i = 0; i < graph->value_count; i++)
        last_read[i] = LDNQ_NEVER;
    for (size_t p = plan->options->first; p < plan->options->last; p++) {
        const struct ldnq_node *node = graph->nodes[p];
        for (size_t i = 0; !plan->fused_away[p] && i < node->input_count; i++)
            if (node->inputs[i])
                last_read[node->inputs[i]->index] = p;
    }
}

void ldnq_grad_plan_weigh(struct ldnq_grad_plan *plan)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    const struct ldnq_exec_plan *run = &plan->exec->plan;
    memset(plan->kept, 0, (graph->node_count + 1) * sizeof *plan->kept);
    memset(plan->crossing, 0, (graph->node_count + 1) * sizeof *plan->crossing);
    /* The executor's own are written anew for each pass. */
    note_last_reads(plan, run->last_read);
    for (size_t i = 0; i < graph->value_count; i++) {
        size_t made = run->made[i], last = run->last_read[i];
        if (made == LDNQ_NEVER || made < plan->options->first || is_view(graph->values[i]))
            continue;
        if (plan->read_back[i] != LDNQ_NEVER)
            plan->kept[made + 1] += bytes_of(plan, i);
        /* Sums of differences: they may wrap on the way. */
        if (last != LDNQ_NEVER && last > made) {
            plan->crossing[made + 1] += bytes_of(plan, i);
            plan->crossing[last + 1] -= bytes_of(plan, i);
        }
    }
    for (size_t p = 1; p <= graph->node_count; p++) {
        plan->kept[p] += plan->kept[p - 1];
        plan->crossing[p] += plan->crossing[p - 1];
    }
}

static size_t distance(size_t a, size_t b)
{
    return a > b ? a - b : b - a;
}

/* The place behind `above` near which `ideal` bytes are kept; of those that are near
 * enough the one that least crosses. */
static size_t best_place(const struct ldnq_grad_plan *plan, size_t above, size_t ideal,
                         size_t slack)
{
    size_t best = above + 1;
    for (size_t p = above + 2; p < plan->options->last; p++) {
        size_t d = distance(plan->kept[p], ideal), d_best = distance(plan->kept[best], ideal);
        bool near = d <= slack, best_near = d_best <= slack;
        if (near != best_near ? near : near ? plan->crossing[p] < plan->crossing[best] : d < d_best)
            best = p;
    }
    return best;
}

/* Notes what segment m needs of what the first pass made: from outside, or because
 * it is kept already, or can't be made again. */
static void keep_for(struct ldnq_grad_plan *plan, size_t m)
{
    const struct ldnq_graph *graph = plan->exec->graph;
    const size_t *made = plan->exec->plan.made;
    clear_marks(plan);
    mark_segment(plan, m);
    for (size_t i = 0; i < graph->value_count; i++)
        plan->have[i] |= plan->lowest[i] != LDNQ_NEVER;
    if (m + 1 < plan->segments)
        settle_again(plan, m);
    for (size_t i = 0; i < graph->value_count; i++) {
        const struct ldnq_node *maker = graph->values[i]->producer;
        bool once = maker && (maker->op->flags & LDNQ_OP_IMPURE);
        bool outside = made[i] != LDNQ_NEVER && made[i] < plan->start[m];
        if (plan->need[i] && !plan->fed[i] && (outside || once || plan->lowest[i] != LDNQ_NEVER))
            plan->lowest[i] = m;
    }
}

void ldnq_grad_plan_cut(struct ldnq_grad_plan *plan, size_t segments)
{
    size_t last = plan->options->last, share = plan->kept[last] / segments, count = 1;
    plan->start[0] = plan->options->first;
    for (size_t i = 1; i < segments && plan->start[count - 1] + 1 < last; i++, count++)
        plan->start[count] = best_place(plan, plan->start[count - 1], share * i, share / 4);
    plan->start[count] = last;
    plan->segments = count;
    for (size_t i = 0; i < plan->exec->graph->value_count; i++)
        plan->lowest[i] = LDNQ_NEVER;
    for (size_t m = count; count > 1 && m-- > 0;)
        keep_for(plan, m);
}

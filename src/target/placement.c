/* SPDX-License-Identifier: Apache-2.0 */
#include "target/placement.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "ops/op_layer.h"
#include "target/placement_workspace.h"

/* ---- 5.: which values have a pair ----------------------------------------------------------- */

/* TensorRT fuses a residual Add into the layer that writes one of its operands, where that
 * operand has no pair. */
static bool is_fused_operand(const struct ldnq_placement_workspace *work, size_t n, size_t input)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    if (work->options->target->residual != LDNQ_RESIDUAL_SHORTCUT ||
        strcmp(node->op_type, "Add") != 0)
        return false;
    for (size_t i = 0; i <= input; i++) {
        const size_t writer =
            node->inputs[i] ? work->facts[node->inputs[i]->index].writer : LDNQ_NO_NODE;
        if (writer != LDNQ_NO_NODE && work->rules[writer] && work->rules[writer]->weight)
            return i == input; /* the first operand that a layer writes */
    }
    return false;
}

static void add_pairs_on_inputs(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    for (size_t i = 0; i < node->input_count; i++) {
        if (!ldnq_placement_reads_activation(work->rules[n], node, i) ||
            is_fused_operand(work, n, i))
            continue;
        work->facts[node->inputs[i]->index].has_pair = true;
        work->placement->reads_codes[n] |= 1u << (i < 31 ? i : 31);
    }
}

const struct ldnq_value *ldnq_placement_find_written(const struct ldnq_placement_workspace *work,
                                                     size_t n, size_t o)
{
    float low, high;
    const struct ldnq_value *value = work->graph->nodes[n]->outputs[o];
    if (!value || value->dtype != LDNQ_FLOAT)
        return NULL;
    const size_t clamp = work->placement->runs[n] == LDNQ_NODE_INTEGER
                             ? ldnq_placement_find_clamp(work, n, &low, &high)
                             : LDNQ_NO_NODE;
    return clamp != LDNQ_NO_NODE && work->placement->runs[clamp] == LDNQ_NODE_ABSORBED
               ? work->graph->nodes[clamp]->outputs[0]
               : value;
}

/* A value that a quantized operator writes: not where the kernel may write float and nothing
 * reads codes, nor where a clamp follows whose output has the pair. */
static void add_pairs_on_outputs(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const struct ldnq_operator_rule *rule = work->rules[n];
    for (size_t o = 0; o < node->output_count; o++) {
        const struct ldnq_value *value = ldnq_placement_find_written(work, n, o);
        if (!value)
            continue;
        struct ldnq_value_facts *facts = &work->facts[value->index];
        if (!rule->float_output || value != node->outputs[o] || work->options->target->every_tensor)
            facts->has_pair = facts->replaces_graph_output = true;
        if (rule->low < rule->high) {
            facts->low = rule->low;
            facts->high = rule->high;
            facts->fixed = !rule->fixed_types ||
                           (rule->fixed_types & LDNQ_DTYPE_BIT(work->options->activation));
        }
    }
}

/* Whether the float value never exists, so that all readers read what the pair leaves. */
static bool is_written_by_integers(const struct ldnq_placement_workspace *work,
                                   const struct ldnq_value *value)
{
    if (work->options->target->pairs != LDNQ_PAIRS_AT_BOTH || value->constant)
        return false;
    if (!work->options->target->falls_back)
        return true;
    const size_t writer = work->facts[value->index].writer;
    return writer != LDNQ_NO_NODE && work->placement->runs[writer] != LDNQ_NODE_FLOAT;
}

/* Bodies read values of the graph by their names. Where they were imported as graphs, these are the
 * node's last inputs; any other node may have a graph among its attributes, too. */
static size_t count_own_inputs(const struct ldnq_node *node)
{
    const bool has_bodies = node->op && (node->op->flags & LDNQ_OP_CONTROL_FLOW);
    return has_bodies ? node->input_count - node->capture_count : node->input_count;
}

static void choose_pair_positions(struct ldnq_placement_workspace *work)
{
    const bool both = work->options->target->pairs == LDNQ_PAIRS_AT_BOTH;
    for (size_t n = 0; n < work->graph->node_count; n++) {
        const enum ldnq_node_run run = work->placement->runs[n];
        if (run != LDNQ_NODE_INTEGER && run != LDNQ_NODE_MOVES)
            continue;
        add_pairs_on_inputs(work, n);
        if (both)
            add_pairs_on_outputs(work, n);
    }
    /* An operator in float reads what the pair leaves of a value that an integer kernel writes:
     * the value itself never exists. */
    for (size_t n = 0; both && n < work->graph->node_count; n++) {
        const struct ldnq_node *node = work->graph->nodes[n];
        const size_t inputs = node->within ? 0 : count_own_inputs(node);
        for (size_t i = 0; i < inputs; i++)
            if (node->inputs[i] && work->facts[node->inputs[i]->index].has_pair &&
                is_written_by_integers(work, node->inputs[i]))
                work->placement->reads_codes[n] |= 1u << (i < 31 ? i : 31);
    }
}

/* ---- 6.: values of one scale --------------------------------------------------------------- */

size_t ldnq_placement_find_group(struct ldnq_placement_workspace *work, size_t value)
{
    while (work->facts[value].group != value) {
        work->facts[value].group = work->facts[work->facts[value].group].group;
        value = work->facts[value].group;
    }
    return value;
}

static void unite_scale_groups(struct ldnq_placement_workspace *work, const struct ldnq_value *a,
                               const struct ldnq_value *b)
{
    const size_t first = ldnq_placement_find_group(work, a->index),
                 second = ldnq_placement_find_group(work, b->index);
    work->facts[second > first ? second : first].group = second > first ? first : second;
}

/* A node that only moves elements. */
static void unite_scales_past_node(struct ldnq_placement_workspace *work,
                                   const struct ldnq_node *node)
{
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && node->outputs[o]->dtype == LDNQ_FLOAT)
            unite_scale_groups(work, node->inputs[0], node->outputs[o]);
}

/* The value of a fixed range in the group of `value`; NULL: there is none. */
static const struct ldnq_value *find_fixed_range(struct ldnq_placement_workspace *work,
                                                 const struct ldnq_value *value)
{
    const size_t group = ldnq_placement_find_group(work, value->index);
    for (size_t v = 0; v < work->graph->value_count; v++)
        if (work->facts[v].fixed && ldnq_placement_find_group(work, v) == group)
            return work->graph->values[v];
    return NULL;
}

static bool have_same_fixed_range(struct ldnq_placement_workspace *work, const struct ldnq_value *a,
                                  const struct ldnq_value *b)
{
    const struct ldnq_value *first = find_fixed_range(work, a), *second = find_fixed_range(work, b);
    return first && second && work->facts[first->index].low == work->facts[second->index].low &&
           work->facts[first->index].high == work->facts[second->index].high;
}

static bool all_inputs_have_one_fixed_range(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    for (size_t i = 0; i < node->input_count; i++)
        if (ldnq_placement_reads_activation(work->rules[n], node, i) &&
            !have_same_fixed_range(work, node->inputs[0], node->inputs[i]))
            return false;
    return true;
}

/* A node whose inputs have one scale, which is also the output's where its class says so. Inputs
 * of fixed ranges get a second pair, unless all have the same range. */
static void unite_scales_around_node(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const bool is_fixed = all_inputs_have_one_fixed_range(work, n);
    const struct ldnq_value *like =
        work->rules[n]->class == LDNQ_UNIFIES_SCALES ? node->outputs[0] : NULL;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!ldnq_placement_reads_activation(work->rules[n], node, i) ||
            (!is_fixed && find_fixed_range(work, value)))
            continue;
        if (like)
            unite_scale_groups(work, like, value);
        like = like ? like : value;
    }
    for (size_t i = 0; like && !is_fixed && i < node->input_count; i++)
        if (ldnq_placement_reads_activation(work->rules[n], node, i) &&
            find_fixed_range(work, node->inputs[i]))
            work->requantizations[work->requantization_count++] =
                (struct ldnq_requantization){ node->inputs[i], like, n };
}

static void unite_scales(struct ldnq_placement_workspace *work)
{
    const size_t nodes = work->graph->node_count;
    for (size_t n = 0; n < nodes; n++)
        if (work->placement->runs[n] == LDNQ_NODE_MOVES)
            unite_scales_past_node(work, work->graph->nodes[n]);
    for (size_t n = 0; n < nodes; n++)
        if (work->placement->runs[n] == LDNQ_NODE_INTEGER &&
            (work->rules[n]->class == LDNQ_UNIFIES_SCALES ||
             work->rules[n]->class == LDNQ_UNIFIES_INPUTS))
            unite_scales_around_node(work, n);
}

/* ---- the result --------------------------------------------------------------------------------
 */

static size_t count_inputs(const struct ldnq_graph *graph)
{
    size_t count = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        count += graph->nodes[n]->input_count;
    return count;
}

/* Integer kernels take and write float32. */
static bool has_halves(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->half)
            return true;
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && node->outputs[o]->half)
            return true;
    return false;
}

/* Whether the node multiplies matrices that are looked up as codes and dequantized. */
static bool reads_lookup(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->producer &&
            node->inputs[i]->producer->feeds_product)
            return true;
    return false;
}

static enum ldnq_status allocate_placement_arrays(struct ldnq_placement_workspace *work,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = work->graph;
    const size_t nodes = graph->node_count;
    struct ldnq_placement *placement = work->placement;
    work->rules = ldnq_arena_alloc(arena, nodes, sizeof *work->rules, err);
    work->facts = ldnq_arena_alloc(arena, graph->value_count, sizeof *work->facts, err);
    placement->runs = ldnq_arena_alloc(arena, nodes, sizeof *placement->runs, err);
    placement->is_wide = ldnq_arena_alloc(arena, nodes, sizeof *placement->is_wide, err);
    placement->reads_codes = ldnq_arena_alloc(arena, nodes, sizeof *placement->reads_codes, err);
    work->reasons = ldnq_arena_alloc(arena, nodes, sizeof *work->reasons, err);
    work->requantizations =
        ldnq_arena_alloc(arena, count_inputs(graph), sizeof *work->requantizations, err);
    if (!work->rules || !work->facts || !placement->runs || !placement->is_wide ||
        !placement->reads_codes || !work->reasons || !work->requantizations)
        return LDNQ_NOMEM;
    for (size_t v = 0; v < graph->value_count; v++)
        work->facts[v] = (struct ldnq_value_facts){
            .group = v, .writer = LDNQ_NO_NODE, .low = -INFINITY, .high = INFINITY
        };
    for (size_t n = 0; n < nodes; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        const struct ldnq_operator_rule *rule = ldnq_target_rule(work->options->target, node);
        /* A node that the file has elsewhere (in a function) can't be changed there. */
        const bool is_table = work->options->target->gathers_codes && ldnq_op_reads_table(node);
        if (node->within || is_table || reads_lookup(node) ||
            (rule && (rule->class == LDNQ_TAKES_NO_PAIR || rule->class == LDNQ_RUNS_FLOAT)))
            rule = NULL;
        if (rule && has_halves(node)) {
            work->reasons[n] = "the file computes it in 16-bit floats";
            rule = NULL;
        }
        if (rule && rule->activations &&
            !(rule->activations & LDNQ_DTYPE_BIT(work->options->activation))) {
            work->reasons[n] = "the target has no kernel of it for this activation type";
            rule = NULL;
        }
        work->rules[n] = rule;
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i]) {
                work->facts[node->inputs[i]->index].readers++;
                work->facts[node->inputs[i]->index].reader = n;
            }
        for (size_t o = 0; o < node->output_count; o++)
            if (node->outputs[o])
                work->facts[node->outputs[o]->index].writer = n;
    }
    return LDNQ_OK;
}

static enum ldnq_dtype get_type(const struct ldnq_placement_workspace *work, bool is_wide)
{
    return is_wide ? work->options->target->wide_activation : work->options->activation;
}

/* Pairs that differ in type from the others of a group are a group of their own, which is numbered
 * after those of all values. */
static size_t get_group(struct ldnq_placement_workspace *work, const struct ldnq_value *value,
                        bool is_wide)
{
    const size_t group = ldnq_placement_find_group(work, value->index);
    return work->facts[group].group_is_wide == is_wide ? group : work->graph->value_count + group;
}

static void add_activation(struct ldnq_placement_workspace *work, struct ldnq_value *value)
{
    const struct ldnq_value_facts *facts = &work->facts[value->index];
    struct ldnq_placement *placement = work->placement;
    if (!facts->has_pair)
        return;
    placement->activations[placement->count++] = (struct ldnq_placed_activation){
        .value = value,
        .group = get_group(work, value, facts->is_wide),
        .dtype = get_type(work, facts->is_wide),
        .wide_reason =
            work->options->wide && facts->is_wide ? work->options->wide[value->index] : NULL,
        .is_constant = value->constant != NULL,
        .low = facts->low,
        .high = facts->high,
        .fixed = facts->fixed,
        .is_only_codes = is_written_by_integers(work, value),
        .replaces_graph_output = facts->replaces_graph_output && value->is_output
    };
    if (facts->converts)
        placement->activations[placement->count++] =
            (struct ldnq_placed_activation){ .value = value,
                                             .group = get_group(work, value, !facts->is_wide),
                                             .dtype = get_type(work, !facts->is_wide),
                                             .is_constant = value->constant != NULL,
                                             .low = facts->low,
                                             .high = facts->high,
                                             .converts = true };
    for (size_t r = 0; r < work->requantization_count; r++) {
        const struct ldnq_requantization *again = &work->requantizations[r];
        const size_t group = ldnq_placement_find_group(work, again->like->index);
        if (again->value == value)
            placement->activations[placement->count++] = (struct ldnq_placed_activation){
                .value = value,
                .group = group,
                .dtype = get_type(work, work->facts[group].group_is_wide),
                .low = -INFINITY,
                .high = INFINITY,
                .reader = work->graph->nodes[again->node],
            };
    }
}

/* Groups are numbered in the order of their first activation. */
static enum ldnq_status number_scale_groups(struct ldnq_placement_workspace *work,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_placement *placement = work->placement;
    size_t *numbers = ldnq_arena_alloc(arena, 2 * work->graph->value_count, sizeof *numbers, err);
    if (!numbers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < placement->count; i++) {
        size_t *number = &numbers[placement->activations[i].group];
        if (*number == 0)
            *number = ++placement->group_count;
        placement->activations[i].group = *number - 1;
    }
    return LDNQ_OK;
}

/* Inputs and constants first, then what the nodes write. */
static enum ldnq_status list_activations(struct ldnq_placement_workspace *work,
                                         struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = work->graph;
    struct ldnq_placement *placement = work->placement;
    placement->activations =
        ldnq_arena_alloc(arena, 2 * graph->value_count + work->requantization_count,
                         sizeof *placement->activations, err);
    if (!placement->activations)
        return LDNQ_NOMEM;
    for (size_t v = 0; v < graph->value_count; v++)
        if (graph->values[v]->constant || graph->values[v]->is_input)
            add_activation(work, graph->values[v]);
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t o = 0; o < graph->nodes[n]->output_count; o++)
            if (graph->nodes[n]->outputs[o])
                add_activation(work, graph->nodes[n]->outputs[o]);
    return number_scale_groups(work, arena, err);
}

static enum ldnq_status list_float_nodes(struct ldnq_placement_workspace *work,
                                         struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_placement *placement = work->placement;
    const size_t nodes = work->graph->node_count;
    placement->float_nodes = ldnq_arena_alloc(arena, nodes, sizeof *placement->float_nodes, err);
    if (!placement->float_nodes)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < nodes; n++)
        if (work->reasons[n])
            placement->float_nodes[placement->float_count++] =
                (struct ldnq_float_node){ work->graph->nodes[n], work->reasons[n] };
    return LDNQ_OK;
}

enum ldnq_status ldnq_placement_make(const struct ldnq_graph *graph,
                                     const struct ldnq_placement_options *options,
                                     struct ldnq_arena *arena, struct ldnq_placement **out,
                                     struct ldnq_error *err)
{
    struct ldnq_placement_workspace work = { .graph = graph, .options = options };
    work.placement = ldnq_arena_alloc(arena, 1, sizeof *work.placement, err);
    if (!work.placement)
        return LDNQ_NOMEM;
    work.placement->target = options->target;
    work.placement->dtype = options->activation;
    LDNQ_TRY(allocate_placement_arrays(&work, arena, err));
    ldnq_placement_choose_nodes(&work);
    choose_pair_positions(&work);
    unite_scales(&work);
    ldnq_placement_choose_types(&work);
    LDNQ_TRY(list_activations(&work, arena, err));
    LDNQ_TRY(list_float_nodes(&work, arena, err));
    *out = work.placement;
    return LDNQ_OK;
}

#include "target/placement.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"

#define NO_NODE SIZE_MAX

/* What is known of a value while the placement is made. */
struct value_facts {
    size_t readers;     /* inputs of nodes that read it */
    size_t reader;      /* the last node that reads it */
    size_t writer;      /* the node that writes it; NO_NODE for inputs and constants */
    bool from_integers; /* a node that computes on codes, or moves them, writes it */
    bool has_pair;
    bool replaces_graph_output;
    size_t group; /* union-find parent, by value index */
    float low, high;
    bool fixed;
};

/* Input `input` of node `node` needs the scale of `like`, and the value has a fixed one. */
struct requantization {
    const struct ldnq_value *value, *like;
    size_t node;
};

struct placement_workspace {
    const struct ldnq_graph *graph;
    const struct ldnq_placement_options *options;
    struct ldnq_placement *placement;
    const struct ldnq_operator_rule **rules; /* by node; NULL: no rule */
    struct value_facts *facts;               /* by value */
    struct requantization *requantizations;
    size_t requantization_count;
    const char **reasons; /* by node: why it computes in float; NULL: no reason is needed */
};

static bool is_data_input(unsigned mask, size_t input)
{
    return mask >> (input < 31 ? input : 31) & 1;
}

/* Written by a node that the file has in a function or a branch: no pair can follow it. */
static bool is_written_in_subgraph(const struct ldnq_value *value)
{
    return value->producer && value->producer->within;
}

/* The inputs of a node that its rule calls activations: a constant weight is none. */
static bool is_activation(const struct ldnq_operator_rule *rule, const struct ldnq_node *node,
                          size_t input)
{
    const struct ldnq_value *value = node->inputs[input];
    if (!value || !is_data_input(rule->data_inputs, input) || value->dtype != LDNQ_FLOAT ||
        is_written_in_subgraph(value))
        return false;
    return !(rule->weight && value->constant);
}

static bool has_variable_float_input(const struct ldnq_operator_rule *rule,
                                     const struct ldnq_node *node)
{
    bool any = false;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!value || !is_data_input(rule->data_inputs, i))
            continue;
        /* Indices, conditions: Where's first input is not in its mask. */
        if (value->dtype != LDNQ_FLOAT)
            return false;
        any = any || !value->constant;
    }
    return any;
}

/* ---- 1. and 2.: which nodes compute on codes ------------------------------------------ */

static const char *refuse_layer(const struct placement_workspace *work,
                                const struct ldnq_operator_rule *rule, const struct ldnq_node *node)
{
    const struct ldnq_value *weight = node->input_count > 1 ? node->inputs[1] : NULL;
    if (node->inputs[0] && node->inputs[0]->constant)
        return "its first input is constant";
    if (node->inputs[0] && is_written_in_subgraph(node->inputs[0]))
        return "its input is computed in a function or a branch";
    if (weight && !weight->constant)
        return is_data_input(rule->data_inputs, 1) ? NULL : "its weight is computed at run time";
    return work->options->has_codes(work->options->ctx, node)
               ? NULL
               : "its weight has no codes that the target's integer kernels take";
}

/* A layer of weights, or a product of two activations. */
static void choose_layers_on_integers(struct placement_workspace *work)
{
    for (size_t n = 0; n < work->graph->node_count; n++) {
        const struct ldnq_node *node = work->graph->nodes[n];
        const struct ldnq_operator_rule *rule = work->rules[n];
        if (!rule || !rule->weight || !has_variable_float_input(rule, node))
            continue;
        work->reasons[n] = refuse_layer(work, rule, node);
        if (work->reasons[n])
            continue;
        work->placement->runs[n] = LDNQ_NODE_INTEGER;
        work->facts[node->outputs[0]->index].from_integers = true;
    }
}

static bool reads_integer_result(const struct placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    for (size_t i = 0; i < node->input_count; i++)
        if (is_activation(work->rules[n], node, i) &&
            work->facts[node->inputs[i]->index].from_integers)
            return true;
    return false;
}

/* A fixed range gains nothing where only the caller reads the result: a last Softmax stays
 * float, unless the target computes nothing in float. */
static bool is_fixed_range_output(const struct ldnq_operator_rule *rule,
                                  const struct ldnq_node *node)
{
    return rule->low < rule->high && node->outputs[0]->is_output;
}

/* True when the node became one that computes on codes or moves them. */
static bool mark_node_for_integers(struct placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const struct ldnq_operator_rule *rule = work->rules[n];
    if (!rule || rule->weight || work->placement->runs[n] != LDNQ_NODE_FLOAT ||
        !has_variable_float_input(rule, node))
        return false;
    if (!work->options->target->every_tensor &&
        (!reads_integer_result(work, n) || is_fixed_range_output(rule, node)))
        return false;
    work->placement->runs[n] =
        rule->class == LDNQ_PASSES_SCALE ? LDNQ_NODE_MOVES : LDNQ_NODE_INTEGER;
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o])
            work->facts[node->outputs[o]->index].from_integers = true;
    return true;
}

/* ---- 3.: Relu and Clip that the range of the codes stands for ---------------------------- */

static bool read_clamp_bound(const struct ldnq_node *node, size_t input, const char *attr,
                             float otherwise, float *bound)
{
    const struct ldnq_value *value = input < node->input_count ? node->inputs[input] : NULL;
    *bound = ldnq_attr_float(node, attr, otherwise);
    if (!value)
        return true;
    if (!value->constant || value->constant->dtype != LDNQ_FLOAT ||
        ldnq_tensor_count(value->constant) != 1)
        return false;
    *bound = *(const float *)value->constant->data;
    return true;
}

/* The bounds of a Relu or Clip; false for other nodes, and where they are not constant. */
static bool read_clamp_bounds(const struct ldnq_node *node, float *low, float *high)
{
    *low = 0.0f;
    *high = INFINITY;
    if (*node->domain == '\0' && strcmp(node->op_type, "Relu") == 0)
        return true;
    return *node->domain == '\0' && strcmp(node->op_type, "Clip") == 0 &&
           read_clamp_bound(node, 1, "min", -INFINITY, low) &&
           read_clamp_bound(node, 2, "max", INFINITY, high) && *low <= 0.0f && *high > 0.0f;
}

/* The one node that reads node n's output, if it is a clamp that can join node n; else NO_NODE.
 * With a pair on the output, a clamp's range would break the rule of one scale. */
static size_t find_absorbable_clamp(const struct placement_workspace *work, size_t n, float *low,
                                    float *high)
{
    const struct ldnq_target *target = work->options->target;
    const struct ldnq_value *value = work->graph->nodes[n]->outputs[0];
    const struct value_facts *facts = &work->facts[value->index];
    const bool keeps_scale =
        target->pairs == LDNQ_PAIRS_AT_BOTH && work->rules[n]->class == LDNQ_UNIFIES_SCALES;
    if (!target->absorbs_clamps || keeps_scale || value->is_output || facts->readers != 1)
        return NO_NODE;
    const struct ldnq_node *reader = work->graph->nodes[facts->reader];
    return reader->inputs[0] == value && read_clamp_bounds(reader, low, high) ? facts->reader
                                                                              : NO_NODE;
}

static bool absorb_clamps(struct placement_workspace *work)
{
    bool changed = false;
    for (size_t n = 0; n < work->graph->node_count; n++) {
        float low, high;
        if (work->placement->runs[n] != LDNQ_NODE_INTEGER)
            continue;
        const size_t clamp = find_absorbable_clamp(work, n, &low, &high);
        if (clamp == NO_NODE || work->placement->runs[clamp] == LDNQ_NODE_ABSORBED)
            continue;
        struct value_facts *out = &work->facts[work->graph->nodes[clamp]->outputs[0]->index];
        work->placement->runs[clamp] = LDNQ_NODE_ABSORBED;
        out->from_integers = true;
        out->low = low;
        out->high = high;
        changed = true;
    }
    return changed;
}

static void choose_nodes_on_integers(struct placement_workspace *work)
{
    choose_layers_on_integers(work);
    for (bool changed = true; changed;) {
        changed = absorb_clamps(work);
        for (size_t n = 0; n < work->graph->node_count; n++)
            changed = mark_node_for_integers(work, n) || changed;
    }
}

/* ---- 4.: which values have a pair ----------------------------------------------------------- */

/* TensorRT fuses a residual Add into the layer that writes one of its operands, where that
 * operand has no pair. */
static bool is_fused_operand(const struct placement_workspace *work, size_t n, size_t input)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    if (work->options->target->residual != LDNQ_RESIDUAL_SHORTCUT ||
        strcmp(node->op_type, "Add") != 0)
        return false;
    for (size_t i = 0; i <= input; i++) {
        const size_t writer =
            node->inputs[i] ? work->facts[node->inputs[i]->index].writer : NO_NODE;
        if (writer != NO_NODE && work->rules[writer] && work->rules[writer]->weight)
            return i == input; /* the first operand that a layer writes */
    }
    return false;
}

static void add_pairs_on_inputs(struct placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    for (size_t i = 0; i < node->input_count; i++) {
        if (!is_activation(work->rules[n], node, i) || is_fused_operand(work, n, i))
            continue;
        work->facts[node->inputs[i]->index].has_pair = true;
        work->placement->reads_codes[n] |= 1u << (i < 31 ? i : 31);
    }
}

/* A value that a quantized operator writes: not where the kernel may write float and nothing
 * reads codes, nor where a clamp follows whose output has the pair. */
static void add_pairs_on_outputs(struct placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const struct ldnq_operator_rule *rule = work->rules[n];
    for (size_t o = 0; o < node->output_count; o++) {
        float low, high;
        const struct ldnq_value *value = node->outputs[o];
        if (!value || value->dtype != LDNQ_FLOAT)
            continue;
        const size_t clamp = work->placement->runs[n] == LDNQ_NODE_INTEGER
                                 ? find_absorbable_clamp(work, n, &low, &high)
                                 : NO_NODE;
        if (clamp != NO_NODE)
            value = work->graph->nodes[clamp]->outputs[0];
        struct value_facts *facts = &work->facts[value->index];
        if (!rule->float_output || clamp != NO_NODE || work->options->target->every_tensor)
            facts->has_pair = facts->replaces_graph_output = true;
        if (rule->low < rule->high) {
            facts->low = rule->low;
            facts->high = rule->high;
            facts->fixed = !rule->fixed_types ||
                           (rule->fixed_types & LDNQ_DTYPE_BIT(work->options->activation));
        }
    }
}

static void choose_pair_positions(struct placement_workspace *work)
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
    /* An operator in float reads what the pair leaves where the value itself is never
     * written; so does every reader, as a value that is read twice costs a pass. */
    for (size_t n = 0; both && n < work->graph->node_count; n++) {
        const struct ldnq_node *node = work->graph->nodes[n];
        /* Bodies read values of the graph by their names. */
        const size_t inputs = node->within ? 0 : node->input_count - node->capture_count;
        for (size_t i = 0; i < inputs; i++)
            if (node->inputs[i] && work->facts[node->inputs[i]->index].has_pair &&
                !node->inputs[i]->constant)
                work->placement->reads_codes[n] |= 1u << (i < 31 ? i : 31);
    }
}

/* ---- 5.: values of one scale --------------------------------------------------------------- */

static size_t find_scale_group(struct placement_workspace *work, size_t value)
{
    while (work->facts[value].group != value) {
        work->facts[value].group = work->facts[work->facts[value].group].group;
        value = work->facts[value].group;
    }
    return value;
}

static void unite_scale_groups(struct placement_workspace *work, const struct ldnq_value *a,
                               const struct ldnq_value *b)
{
    const size_t first = find_scale_group(work, a->index),
                 second = find_scale_group(work, b->index);
    work->facts[second > first ? second : first].group = second > first ? first : second;
}

/* A node that only moves elements. */
static void unite_scales_past_node(struct placement_workspace *work, const struct ldnq_node *node)
{
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && node->outputs[o]->dtype == LDNQ_FLOAT)
            unite_scale_groups(work, node->inputs[0], node->outputs[o]);
}

/* The value of a fixed range in the group of `value`; NULL: there is none. */
static const struct ldnq_value *find_fixed_range(struct placement_workspace *work,
                                                 const struct ldnq_value *value)
{
    const size_t group = find_scale_group(work, value->index);
    for (size_t v = 0; v < work->graph->value_count; v++)
        if (work->facts[v].fixed && find_scale_group(work, v) == group)
            return work->graph->values[v];
    return NULL;
}

static bool have_same_fixed_range(struct placement_workspace *work, const struct ldnq_value *a,
                                  const struct ldnq_value *b)
{
    const struct ldnq_value *first = find_fixed_range(work, a), *second = find_fixed_range(work, b);
    return first && second && work->facts[first->index].low == work->facts[second->index].low &&
           work->facts[first->index].high == work->facts[second->index].high;
}

static bool all_inputs_have_one_fixed_range(struct placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    for (size_t i = 0; i < node->input_count; i++)
        if (is_activation(work->rules[n], node, i) &&
            !have_same_fixed_range(work, node->inputs[0], node->inputs[i]))
            return false;
    return true;
}

/* A node whose inputs have one scale, which is also the output's where its class says so. Inputs
 * of fixed ranges get a second pair, unless all have the same range. */
static void unite_scales_around_node(struct placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const bool is_fixed = all_inputs_have_one_fixed_range(work, n);
    const struct ldnq_value *like =
        work->rules[n]->class == LDNQ_UNIFIES_SCALES ? node->outputs[0] : NULL;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!is_activation(work->rules[n], node, i) || (!is_fixed && find_fixed_range(work, value)))
            continue;
        if (like)
            unite_scale_groups(work, like, value);
        like = like ? like : value;
    }
    for (size_t i = 0; like && !is_fixed && i < node->input_count; i++)
        if (is_activation(work->rules[n], node, i) && find_fixed_range(work, node->inputs[i]))
            work->requantizations[work->requantization_count++] =
                (struct requantization){ node->inputs[i], like, n };
}

static void unite_scales(struct placement_workspace *work)
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

static enum ldnq_status allocate_placement_arrays(struct placement_workspace *work,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = work->graph;
    const size_t nodes = graph->node_count;
    struct ldnq_placement *placement = work->placement;
    work->rules = ldnq_arena_alloc(arena, nodes, sizeof *work->rules, err);
    work->facts = ldnq_arena_alloc(arena, graph->value_count, sizeof *work->facts, err);
    placement->runs = ldnq_arena_alloc(arena, nodes, sizeof *placement->runs, err);
    placement->reads_codes = ldnq_arena_alloc(arena, nodes, sizeof *placement->reads_codes, err);
    work->reasons = ldnq_arena_alloc(arena, nodes, sizeof *work->reasons, err);
    work->requantizations =
        ldnq_arena_alloc(arena, count_inputs(graph), sizeof *work->requantizations, err);
    if (!work->rules || !work->facts || !placement->runs || !placement->reads_codes ||
        !work->reasons || !work->requantizations)
        return LDNQ_NOMEM;
    for (size_t v = 0; v < graph->value_count; v++)
        work->facts[v] = (struct value_facts){
            .group = v, .writer = NO_NODE, .low = -INFINITY, .high = INFINITY
        };
    for (size_t n = 0; n < nodes; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        const struct ldnq_operator_rule *rule = ldnq_target_rule(work->options->target, node);
        /* A node that the file has elsewhere (in a function) can't be changed there. */
        rule = node->within || (rule && rule->class == LDNQ_TAKES_NO_PAIR) ? NULL : rule;
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

static void add_activation(struct placement_workspace *work, struct ldnq_value *value)
{
    const struct value_facts *facts = &work->facts[value->index];
    struct ldnq_placement *placement = work->placement;
    if (!facts->has_pair)
        return;
    placement->activations[placement->count++] =
        (struct ldnq_placed_activation){ .value = value,
                                         .group = find_scale_group(work, value->index),
                                         .is_constant = value->constant != NULL,
                                         .low = facts->low,
                                         .high = facts->high,
                                         .fixed = facts->fixed,
                                         .replaces_graph_output =
                                             facts->replaces_graph_output && value->is_output };
    for (size_t r = 0; r < work->requantization_count; r++) {
        const struct requantization *again = &work->requantizations[r];
        if (again->value == value)
            placement->activations[placement->count++] = (struct ldnq_placed_activation){
                .value = value,
                .group = find_scale_group(work, again->like->index),
                .low = -INFINITY,
                .high = INFINITY,
                .reader = work->graph->nodes[again->node],
            };
    }
}

/* Groups are numbered in the order of their first activation. */
static enum ldnq_status number_scale_groups(struct placement_workspace *work,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_placement *placement = work->placement;
    size_t *numbers = ldnq_arena_alloc(arena, work->graph->value_count, sizeof *numbers, err);
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
static enum ldnq_status list_activations(struct placement_workspace *work, struct ldnq_arena *arena,
                                         struct ldnq_error *err)
{
    const struct ldnq_graph *graph = work->graph;
    struct ldnq_placement *placement = work->placement;
    placement->activations =
        ldnq_arena_alloc(arena, graph->value_count + work->requantization_count,
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

static enum ldnq_status list_float_nodes(struct placement_workspace *work, struct ldnq_arena *arena,
                                         struct ldnq_error *err)
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
    struct placement_workspace work = { .graph = graph, .options = options };
    work.placement = ldnq_arena_alloc(arena, 1, sizeof *work.placement, err);
    if (!work.placement)
        return LDNQ_NOMEM;
    work.placement->target = options->target;
    work.placement->dtype = options->activation;
    LDNQ_TRY(allocate_placement_arrays(&work, arena, err));
    choose_nodes_on_integers(&work);
    choose_pair_positions(&work);
    unite_scales(&work);
    LDNQ_TRY(list_activations(&work, arena, err));
    LDNQ_TRY(list_float_nodes(&work, arena, err));
    *out = work.placement;
    return LDNQ_OK;
}

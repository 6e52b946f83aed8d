/* SPDX-License-Identifier: Apache-2.0 */
/* integer_nodes.c: which nodes of a graph compute on codes for a target. */
#include "target/placement_workspace.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"

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
bool ldnq_placement_reads_activation(const struct ldnq_operator_rule *rule,
                                     const struct ldnq_node *node, size_t input)
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

/* Why a value that the node would read or write as codes gets none; NULL: they all may. */
static const char *find_excluded_value(const struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const char *const *excluded = work->options->excluded;
    float low, high;
    if (!excluded)
        return NULL;
    for (size_t i = 0; i < node->input_count; i++)
        if (ldnq_placement_reads_activation(work->rules[n], node, i) &&
            excluded[node->inputs[i]->index])
            return excluded[node->inputs[i]->index];
    if (work->rules[n]->float_output)
        return NULL;
    const size_t clamp = ldnq_placement_find_clamp(work, n, &low, &high);
    const struct ldnq_node *last = clamp == LDNQ_NO_NODE ? node : work->graph->nodes[clamp];
    return last->outputs[0] ? excluded[last->outputs[0]->index] : NULL;
}

/* ---- 1. and 2.: which nodes compute on codes ------------------------------------------ */

static const char *refuse_layer(const struct ldnq_placement_workspace *work,
                                const struct ldnq_operator_rule *rule, const struct ldnq_node *node)
{
    const struct ldnq_value *weight = node->input_count > 1 ? node->inputs[1] : NULL;
    if (node->inputs[0] && node->inputs[0]->constant)
        return "its first input is constant";
    if (node->inputs[0] && is_written_in_subgraph(node->inputs[0]))
        return "its input is computed in a function or a branch";
    if (weight && !weight->constant)
        return is_data_input(rule->data_inputs, 1) ? NULL : "its weight is computed at run time";
    return work->options->explain_float_weight(work->options->ctx, node);
}

/* A layer of weights, or a product of two activations. */
static void choose_layers_on_integers(struct ldnq_placement_workspace *work)
{
    for (size_t n = 0; n < work->graph->node_count; n++) {
        const struct ldnq_node *node = work->graph->nodes[n];
        const struct ldnq_operator_rule *rule = work->rules[n];
        if (!rule || !rule->weight || !has_variable_float_input(rule, node))
            continue;
        work->reasons[n] = refuse_layer(work, rule, node);
        if (!work->reasons[n])
            work->reasons[n] = find_excluded_value(work, n);
        if (work->reasons[n])
            continue;
        work->placement->runs[n] = LDNQ_NODE_INTEGER;
        work->facts[node->outputs[0]->index].from_integers = true;
    }
}

static bool reads_integer_results(const struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    size_t from_integers = 0, from_float = 0;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!ldnq_placement_reads_activation(work->rules[n], node, i) || node->inputs[i]->constant)
            continue;
        const bool has_codes = work->facts[node->inputs[i]->index].from_integers;
        from_integers += has_codes;
        from_float += !has_codes;
    }
    return from_integers > 0 && (from_float == 0 || !work->rules[n]->needs_all_codes);
}

/* True when the node became one that computes on codes or moves them. */
static bool mark_node_for_integers(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const struct ldnq_operator_rule *rule = work->rules[n];
    if (!rule || rule->weight || work->reasons[n] || work->placement->runs[n] != LDNQ_NODE_FLOAT ||
        !has_variable_float_input(rule, node))
        return false;
    if (!work->options->target->every_tensor && !reads_integer_results(work, n))
        return false;
    work->reasons[n] = ldnq_target_refuse_operator(rule, node);
    if (!work->reasons[n])
        work->reasons[n] = find_excluded_value(work, n);
    if (work->reasons[n])
        return false;
    work->placement->runs[n] =
        rule->class == LDNQ_PASSES_SCALE ? LDNQ_NODE_MOVES : LDNQ_NODE_INTEGER;
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o])
            work->facts[node->outputs[o]->index].from_integers = true;
    return true;
}

/* ---- 3.: Relu and Clip that the range of the codes replaces ---------------------------- */

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

bool ldnq_placement_read_clamp(const struct ldnq_node *node, float *low, float *high)
{
    *low = 0.0f;
    *high = INFINITY;
    if (*node->domain == '\0' && strcmp(node->op_type, "Relu") == 0)
        return true;
    return *node->domain == '\0' && strcmp(node->op_type, "Clip") == 0 &&
           read_clamp_bound(node, 1, "min", -INFINITY, low) &&
           read_clamp_bound(node, 2, "max", INFINITY, high) && *low <= 0.0f && *high > 0.0f;
}

/* The one node that reads node n's output, if it is a clamp that can join node n; else
 * LDNQ_NO_NODE. With a pair on the output, a clamp's range would break the rule of one scale. */
size_t ldnq_placement_find_clamp(const struct ldnq_placement_workspace *work, size_t n, float *low,
                                 float *high)
{
    const struct ldnq_target *target = work->options->target;
    const struct ldnq_value *value = work->graph->nodes[n]->outputs[0];
    const bool keeps_scale =
        target->pairs == LDNQ_PAIRS_AT_BOTH && work->rules[n]->class == LDNQ_UNIFIES_SCALES;
    if (!value || !target->absorbs_clamps || keeps_scale || value->is_output)
        return LDNQ_NO_NODE;
    const struct ldnq_value_facts *facts = &work->facts[value->index];
    if (facts->readers != 1)
        return LDNQ_NO_NODE;
    const struct ldnq_node *reader = work->graph->nodes[facts->reader];
    return reader->inputs[0] == value && ldnq_placement_read_clamp(reader, low, high)
               ? facts->reader
               : LDNQ_NO_NODE;
}

static bool absorb_clamps(struct ldnq_placement_workspace *work)
{
    bool changed = false;
    for (size_t n = 0; n < work->graph->node_count; n++) {
        float low, high;
        if (work->placement->runs[n] != LDNQ_NODE_INTEGER)
            continue;
        const size_t clamp = ldnq_placement_find_clamp(work, n, &low, &high);
        if (clamp == LDNQ_NO_NODE || work->placement->runs[clamp] == LDNQ_NODE_ABSORBED)
            continue;
        struct ldnq_value_facts *out = &work->facts[work->graph->nodes[clamp]->outputs[0]->index];
        work->placement->runs[clamp] = LDNQ_NODE_ABSORBED;
        out->from_integers = true;
        out->low = low;
        out->high = high;
        changed = true;
    }
    return changed;
}

/* Float costs such an operator nothing worth a reason. */
static bool only_moves_elements(const struct ldnq_operator_rule *rule)
{
    return rule && rule->class == LDNQ_PASSES_SCALE && !rule->shrinks;
}

/* ---- 4.: nodes whose codes nobody reads ----------------------------------------------- */

static bool has_input_codes(const struct ldnq_placement_workspace *work, size_t n, size_t input)
{
    switch (work->placement->runs[n]) {
    case LDNQ_NODE_INTEGER:
    case LDNQ_NODE_MOVES:
        return ldnq_placement_reads_activation(work->rules[n], work->graph->nodes[n], input);
    case LDNQ_NODE_ABSORBED:
        return input == 0 && work->facts[work->graph->nodes[n]->outputs[0]->index].codes_are_read;
    default:
        return false;
    }
}

/* Whether the value has codes whoever reads it: a layer that can't write floats computed it, or
 * a pool, which leaves fewer values to dequantize. */
static bool has_codes_for_every_reader(const struct ldnq_placement_workspace *work,
                                       const struct ldnq_value *value)
{
    const size_t n = value ? work->facts[value->index].writer : LDNQ_NO_NODE;
    if (n == LDNQ_NO_NODE)
        return false;
    const struct ldnq_operator_rule *rule = work->rules[n];
    switch (work->placement->runs[n]) {
    case LDNQ_NODE_INTEGER:
        return (rule->weight && !rule->float_output) || rule->shrinks;
    case LDNQ_NODE_MOVES:
    case LDNQ_NODE_ABSORBED:
        return has_codes_for_every_reader(work, work->graph->nodes[n]->inputs[0]);
    default:
        return false;
    }
}

/* Whether it pays that the node computes on codes. */
static bool is_worth_codes(const struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const struct ldnq_operator_rule *rule = work->rules[n];
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && work->facts[node->outputs[o]->index].codes_are_read)
            return true;
    if (work->placement->runs[n] == LDNQ_NODE_MOVES && !rule->shrinks)
        return has_codes_for_every_reader(work, node->inputs[0]);
    return rule->weight || rule->shrinks;
}

/* The clamp after a node that computes on codes computes in float where the node can write
 * floats and nobody reads the codes after the clamp. */
static void release_clamp(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_value *value = work->graph->nodes[n]->outputs[0];
    if (!value) /* a Split whose first part nobody needs */
        return;
    const size_t clamp = work->facts[value->index].reader;
    if (work->facts[value->index].readers != 1 ||
        work->placement->runs[clamp] != LDNQ_NODE_ABSORBED)
        return;
    struct ldnq_value_facts *out = &work->facts[work->graph->nodes[clamp]->outputs[0]->index];
    if (work->placement->runs[n] == LDNQ_NODE_INTEGER &&
        (out->codes_are_read || !work->rules[n]->float_output))
        return;
    work->placement->runs[clamp] = LDNQ_NODE_FLOAT;
    out->low = -INFINITY;
    out->high = INFINITY;
}

static void drop_nodes_without_readers_of_codes(struct ldnq_placement_workspace *work)
{
    for (size_t n = work->graph->node_count; n-- > 0;) {
        const struct ldnq_node *node = work->graph->nodes[n];
        const enum ldnq_node_run run = work->placement->runs[n];
        if ((run == LDNQ_NODE_INTEGER || run == LDNQ_NODE_MOVES) && !is_worth_codes(work, n)) {
            work->placement->runs[n] = LDNQ_NODE_FLOAT;
            if (!only_moves_elements(work->rules[n]))
                work->reasons[n] = "no integer kernel reads its result";
        }
        if (run == LDNQ_NODE_INTEGER)
            release_clamp(work, n);
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && has_input_codes(work, n, i))
                work->facts[node->inputs[i]->index].codes_are_read = true;
    }
}

/* ---- why nodes compute in float ---------------------------------------------------------- */

static bool computes_on_floats(const struct ldnq_node *node)
{
    bool reads = false, writes = false;
    for (size_t i = 0; i < node->input_count; i++)
        reads = reads || (node->inputs[i] && node->inputs[i]->dtype == LDNQ_FLOAT &&
                          !node->inputs[i]->constant);
    for (size_t o = 0; o < node->output_count; o++)
        writes = writes || (node->outputs[o] && node->outputs[o]->dtype == LDNQ_FLOAT &&
                            !node->outputs[o]->constant);
    return reads && writes && strcmp(node->op_type, "Identity") != 0 &&
           strcmp(node->op_type, "Dropout") != 0;
}

static void explain_float_nodes(struct ldnq_placement_workspace *work)
{
    for (size_t n = 0; n < work->graph->node_count; n++) {
        const struct ldnq_node *node = work->graph->nodes[n];
        if (work->placement->runs[n] != LDNQ_NODE_FLOAT || work->reasons[n] ||
            only_moves_elements(work->rules[n]) || !computes_on_floats(node))
            continue;
        if (node->within)
            work->reasons[n] = "the file has it in a function or a branch";
        else if (!work->rules[n])
            work->reasons[n] = "the target has no integer kernel of it";
        else
            work->reasons[n] = work->rules[n]->needs_all_codes
                                   ? "not all of its inputs come from integer kernels"
                                   : "none of its inputs comes from an integer kernel";
    }
}

void ldnq_placement_choose_nodes(struct ldnq_placement_workspace *work)
{
    choose_layers_on_integers(work);
    for (bool changed = true; changed;) {
        changed = absorb_clamps(work);
        for (size_t n = 0; n < work->graph->node_count; n++)
            changed = mark_node_for_integers(work, n) || changed;
    }
    if (work->options->target->drops_unread_codes)
        drop_nodes_without_readers_of_codes(work);
    explain_float_nodes(work);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* wide_values.c: which pairs of a placement have 16 bits beside others of 8, and the second pairs
 * that convert between them.
 *
 * If a value needs 16 bits, all values of its scale group get 16 bits. A node that reads or writes
 * one of them computes in 16 bits: kernels have one type, so that its other inputs and outputs get
 * 16 bits, too:
 *
 *   writer of 8 bits  -> Q8 DQ8 ---> readers of 8 bits
 *                             \-> Q16 DQ16 -> readers of 16 bits
 *   writer of 16 bits -> Q16 DQ16 -> readers of 16 bits, and float ones
 *                             \-> Q8 DQ8 ---> readers of 8 bits
 */
#include "ops/op.h"
#include "target/placement_workspace.h"

static bool computes_on_codes(const struct ldnq_placement *placement, size_t n)
{
    return placement->runs[n] == LDNQ_NODE_INTEGER || placement->runs[n] == LDNQ_NODE_MOVES;
}

static bool is_requantized(const struct ldnq_placement_workspace *work,
                           const struct ldnq_value *value, size_t n)
{
    for (size_t r = 0; r < work->requantization_count; r++)
        if (work->requantizations[r].value == value && work->requantizations[r].node == n)
            return true;
    return false;
}

/* Whether node n reads codes of a pair that has the scale of the value's group. */
static bool reads_group(const struct ldnq_placement_workspace *work, size_t n, size_t input)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    return ldnq_placement_reads_activation(work->rules[n], node, input) &&
           work->facts[node->inputs[input]->index].has_pair &&
           !is_requantized(work, node->inputs[input], n);
}

static bool is_in_wide_group(struct ldnq_placement_workspace *work, const struct ldnq_value *value)
{
    return work->facts[ldnq_placement_find_group(work, value->index)].group_is_wide;
}

/* The facts of the value whose pair has the codes that node n writes as output o; NULL: none. */
static struct ldnq_value_facts *find_written_facts(const struct ldnq_placement_workspace *work,
                                                   size_t n, size_t o)
{
    const struct ldnq_value *value = work->options->target->pairs == LDNQ_PAIRS_AT_BOTH
                                         ? ldnq_placement_find_written(work, n, o)
                                         : NULL;
    return value && work->facts[value->index].has_pair ? &work->facts[value->index] : NULL;
}

static bool touches_wide_group(struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    for (size_t i = 0; i < node->input_count; i++)
        if (reads_group(work, n, i) && is_in_wide_group(work, node->inputs[i]))
            return true;
    for (size_t o = 0; o < node->output_count; o++)
        if (find_written_facts(work, n, o) &&
            is_in_wide_group(work, ldnq_placement_find_written(work, n, o)))
            return true;
    return false;
}

/* Some kernels of 16 bits need the operator's own range. */
static void widen_written_values(const struct ldnq_placement_workspace *work, size_t n)
{
    const struct ldnq_operator_rule *rule = work->rules[n];
    for (size_t o = 0; o < work->graph->nodes[n]->output_count; o++) {
        struct ldnq_value_facts *facts = find_written_facts(work, n, o);
        if (!facts)
            continue;
        facts->is_wide = true;
        facts->fixed = facts->fixed ||
                       (rule->low < rule->high &&
                        rule->fixed_types & LDNQ_DTYPE_BIT(work->options->target->wide_activation));
    }
}

void ldnq_placement_choose_types(struct ldnq_placement_workspace *work)
{
    const struct ldnq_graph *graph = work->graph;
    const char *const *wide = work->options->wide;
    bool *is_wide = work->placement->is_wide;
    if (!wide)
        return;
    for (size_t v = 0; v < graph->value_count; v++)
        if (wide[v] && work->facts[v].has_pair)
            work->facts[ldnq_placement_find_group(work, v)].group_is_wide = true;
    for (size_t v = 0; v < graph->value_count; v++)
        work->facts[v].is_wide = is_in_wide_group(work, graph->values[v]);
    for (size_t n = 0; n < graph->node_count; n++) {
        is_wide[n] = computes_on_codes(work->placement, n) && touches_wide_group(work, n);
        if (is_wide[n])
            widen_written_values(work, n);
    }
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0;
             computes_on_codes(work->placement, n) && i < graph->nodes[n]->input_count; i++)
            if (reads_group(work, n, i)) {
                struct ldnq_value_facts *facts = &work->facts[graph->nodes[n]->inputs[i]->index];
                facts->converts = facts->converts || facts->is_wide != is_wide[n];
            }
}

/* ---- which pair a node reads ------------------------------------------------------------------
 */

bool ldnq_activation_is_second(const struct ldnq_placed_activation *activation)
{
    return activation->reader || activation->converts;
}

struct ldnq_placed_activation *ldnq_placement_find_pair(const struct ldnq_placement *placement,
                                                        struct ldnq_placed_activation *first,
                                                        const struct ldnq_node *node, size_t index)
{
    struct ldnq_placed_activation *found = first;
    const struct ldnq_placed_activation *end = placement->activations + placement->count;
    const enum ldnq_dtype dtype =
        placement->is_wide[index] ? placement->target->wide_activation : placement->dtype;
    for (struct ldnq_placed_activation *at = first; at < end && at->value == first->value; at++) {
        if (at->reader == node)
            return at;
        if (at->converts && at->dtype == dtype && computes_on_codes(placement, index))
            found = at;
    }
    return found;
}

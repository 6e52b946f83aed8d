/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/grad_reach.h"

#include "base/text.h"

/* ---- what an operator declares ---------------------------------------------------------- */

static bool has_bit_for_index(unsigned mask, size_t i)
{
    return i < 32 ? mask >> i & 1u : mask == LDNQ_ALL_INPUTS;
}

bool ldnq_grad_is_differentiable(const struct ldnq_node *node, size_t i)
{
    unsigned mask = node->op->flags & LDNQ_OP_VIEW ? 1 : node->op->differentiable;
    return has_bit_for_index(mask, i);
}

bool ldnq_grad_saves_input(const struct ldnq_node *node, size_t i)
{
    return has_bit_for_index(node->op->saved_inputs, i);
}

bool ldnq_grad_saves_output(const struct ldnq_node *node, size_t i)
{
    return has_bit_for_index(node->op->saved_outputs, i);
}

bool ldnq_grad_is_quantized_codes(const struct ldnq_value *value)
{
    const struct ldnq_node *node = value->producer;
    while (node && node->op && (node->op->flags & LDNQ_OP_VIEW) && node->outputs[0] == value &&
           node->inputs[0]) {
        value = node->inputs[0];
        node = value->producer;
    }
    return node && node->op && (node->op->flags & LDNQ_OP_STRAIGHT_THROUGH) &&
           node->outputs[0] == value;
}

static bool is_other_float_type(const struct ldnq_value *value)
{
    enum ldnq_dtype dtype = value->dtype;
    return dtype == LDNQ_DOUBLE || dtype == LDNQ_FLOAT16 || dtype == LDNQ_BFLOAT16;
}

/* In a graph that was not folded some types are unknown; the backward pass checks again. */
static bool can_have_gradient(const struct ldnq_value *value)
{
    return value->dtype == LDNQ_FLOAT || value->dtype == LDNQ_UNDEFINED ||
           ldnq_grad_is_quantized_codes(value);
}

/* ---- dependencies ------------------------------------------------------------------------ */

/* Forward: marks the values that depend on a requested value through differentiable
 * inputs alone, and the nodes that compute them as active. */
static void mark_dependents(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                            const struct ldnq_grad_options *options, bool *dependent)
{
    for (size_t p = options->first; p < options->last; p++) {
        const struct ldnq_node *node = graph->nodes[p];
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && dependent[node->inputs[i]->index] &&
                ldnq_grad_is_differentiable(node, i))
                reach->active[p] = true;
        for (size_t i = 0; reach->active[p] && i < node->output_count; i++)
            if (node->outputs[i] && can_have_gradient(node->outputs[i]))
                dependent[node->outputs[i]->index] = true;
    }
}

/* Backward: of these, keeps the nodes on which a target depends, and marks the values on
 * the paths. */
static void mark_paths_to_targets(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                                  const struct ldnq_grad_options *options, const bool *dependent)
{
    for (size_t p = options->last; p-- > options->first;) {
        const struct ldnq_node *node = graph->nodes[p];
        bool is_used = false;
        for (size_t i = 0; i < node->output_count; i++)
            is_used |= node->outputs[i] && reach->has_gradient[node->outputs[i]->index];
        reach->active[p] = reach->active[p] && is_used;
        for (size_t i = 0; reach->active[p] && i < node->input_count; i++)
            if (node->inputs[i] && dependent[node->inputs[i]->index] &&
                ldnq_grad_is_differentiable(node, i))
                reach->has_gradient[node->inputs[i]->index] = true;
    }
}

static enum ldnq_status check_targets(const struct ldnq_graph *graph,
                                      const struct ldnq_grad_options *options,
                                      const bool *dependent, struct ldnq_error *err)
{
    for (size_t i = 0; i < options->target_count; i++)
        if (!dependent[options->targets[i]->index])
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: '%s' depends on none of the values whose gradients are requested",
                             graph->file, options->targets[i]->name);
    return LDNQ_OK;
}

/* Marks all values on which a target depends, also through inputs without a gradient. */
static void mark_values_downstream_of_targets(bool *influences, const struct ldnq_graph *graph,
                                              const struct ldnq_grad_options *options)
{
    for (size_t i = 0; i < options->target_count; i++)
        influences[options->targets[i]->index] = true;
    for (size_t p = options->last; p-- > options->first;) {
        const struct ldnq_node *node = graph->nodes[p];
        bool used = false;
        for (size_t i = 0; i < node->output_count; i++)
            used |= node->outputs[i] && influences[node->outputs[i]->index];
        for (size_t i = 0; used && i < node->input_count; i++)
            if (node->inputs[i])
                influences[node->inputs[i]->index] = true;
    }
}

/* Why a gradient can't pass a node that it should pass; NULL when it can. An integer
 * output that holds no codes is no obstacle: it has no gradient. */
static const char *find_obstacle(const struct ldnq_node *node, bool active, const bool *dependent,
                                 const bool *influences)
{
    bool is_differentiable = false, from_codes = false;
    for (size_t i = 0; i < node->input_count; i++) {
        bool here = node->inputs[i] && dependent[node->inputs[i]->index] &&
                    ldnq_grad_is_differentiable(node, i);
        is_differentiable |= here;
        from_codes |= here && ldnq_grad_is_quantized_codes(node->inputs[i]);
    }
    for (size_t i = 0; is_differentiable && i < node->output_count; i++) {
        const struct ldnq_value *out = node->outputs[i];
        if (out && influences[out->index] && is_other_float_type(out))
            return "its output is not float32";
        if (out && influences[out->index] && from_codes && !can_have_gradient(out))
            return "it reads integer codes, whose gradients only DequantizeLinear accepts";
    }
    bool passes = node->op->backward || (node->op->flags & LDNQ_OP_VIEW);
    return active && !passes ? "it has no gradient" : NULL;
}

static enum ldnq_status check_nodes(const struct ldnq_grad_reach *reach,
                                    const struct ldnq_graph *graph,
                                    const struct ldnq_grad_options *options, const bool *dependent,
                                    const bool *influences, struct ldnq_error *err)
{
    char list[LDNQ_ERROR_SIZE];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t p = options->first; p < options->last; p++) {
        const struct ldnq_node *node = graph->nodes[p];
        const char *why = find_obstacle(node, reach->active[p], dependent, influences);
        if (why)
            ldnq_text_append_item(&text, "; ", "node '%s' (%s, opset %d): %s", node->label,
                                  node->op_type, node->opset, why);
    }
    ldnq_text_append_omitted_count(&text);
    return text.items
               ? ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: gradients can't pass %s", graph->file, list)
               : LDNQ_OK;
}

enum ldnq_status ldnq_grad_reach_init(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                                      const struct ldnq_grad_options *options,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t values = graph->value_count;
    reach->has_gradient = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    reach->requested = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    reach->target = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    reach->active = ldnq_arena_alloc(arena, graph->node_count, sizeof(bool), err);
    bool *dependent = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    bool *influences = ldnq_arena_alloc(arena, values, sizeof(bool), err);
    if (!reach->has_gradient || !reach->requested || !reach->target || !reach->active ||
        !dependent || !influences)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < options->requested_count; i++)
        reach->requested[options->requested[i]->index] = dependent[options->requested[i]->index] =
            true;
    mark_dependents(reach, graph, options, dependent);
    mark_values_downstream_of_targets(influences, graph, options);
    for (size_t i = 0; i < options->target_count; i++)
        reach->target[options->targets[i]->index] =
            reach->has_gradient[options->targets[i]->index] = true;
    mark_paths_to_targets(reach, graph, options, dependent);
    LDNQ_TRY(check_nodes(reach, graph, options, dependent, influences, err));
    return check_targets(graph, options, dependent, err);
}

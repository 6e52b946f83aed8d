/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/faster_in_float.h"

#include <string.h>

#include "ops/op.h"
#include "ops/op_layer.h"
#include "pipeline/select.h"

enum ldnq_status ldnq_code_flow_init(struct ldnq_code_flow *flow, const struct ldnq_graph *graph,
                                     const struct ldnq_activation_options *activations,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    const bool has_pairs = activations->target && activations->dtype != LDNQ_UNDEFINED;
    *flow =
        (struct ldnq_code_flow){ .graph = graph, .target = has_pairs ? activations->target : NULL };
    flow->has_codes = ldnq_arena_alloc(arena, graph->value_count, sizeof *flow->has_codes, err);
    return flow->has_codes ? LDNQ_OK : LDNQ_NOMEM;
}

bool ldnq_passes_codes(const struct ldnq_node *node)
{
    static const char *const types[] = { "QuantizeLinear", "DequantizeLinear", "Relu", "Clip" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (*node->domain == '\0' && strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

static bool computes_on_codes(const struct ldnq_code_flow *flow, const struct ldnq_node *node)
{
    const struct ldnq_operator_rule *rule = ldnq_target_rule(flow->target, node);
    const bool only_first = ldnq_passes_codes(node);
    size_t with = 0, without = 0;
    for (size_t i = 0; i < (only_first ? 1 : node->input_count); i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!value || value->constant || (!only_first && (!rule || !(rule->data_inputs >> i & 1))))
            continue;
        with += flow->has_codes[value->index];
        without += !flow->has_codes[value->index];
    }
    return with > 0 && (without == 0 || !rule || !rule->needs_all_codes);
}

void ldnq_code_flow_advance(struct ldnq_code_flow *flow, size_t node_index)
{
    for (; flow->node_index < node_index; flow->node_index++) {
        const struct ldnq_node *node = flow->graph->nodes[flow->node_index];
        const bool found = computes_on_codes(flow, node);
        for (size_t o = 0; o < node->output_count; o++)
            if (node->outputs[o])
                flow->has_codes[node->outputs[o]->index] |= found;
    }
}

static const char after_float[] = "the target computes it faster in float, as its input is float";
static const char before_float[] =
    "the target computes it faster in float, as float operators read its result";
static const char fused_in_float[] =
    "the target computes it faster in float, together with the operator after it";
const char ldnq_converted_in_float[] =
    "the target computes it faster in float, as codes would be converted before and after it";

static bool has_rule(const struct ldnq_code_flow *flow, const struct ldnq_node *node)
{
    return ldnq_passes_codes(node) || ldnq_target_rule(flow->target, node);
}

/* Whether the node has no integer kernel, or none for codes beside what it reads from an operator
 * without one. Nodes after it are not decided yet. */
static bool computes_in_float(const struct ldnq_code_flow *flow, const struct ldnq_node *node)
{
    const struct ldnq_operator_rule *rule = ldnq_target_rule(flow->target, node);
    if (!has_rule(flow, node))
        return true;
    for (size_t i = 0; rule && rule->needs_all_codes && i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (value && !value->constant && value->producer && !has_rule(flow, value->producer))
            return true;
    }
    return false;
}

/* Nodes between a layer and what computes with its result: a clamp, and a pair that is inserted
 * already. */
#define MOST_STEPS 4

static bool is_read_in_float(const struct ldnq_code_flow *flow, const struct ldnq_value *value,
                             int steps)
{
    for (size_t n = flow->node_index; n < flow->graph->node_count; n++) {
        const struct ldnq_node *node = flow->graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] != value)
                continue;
            if (computes_in_float(flow, node) ||
                (ldnq_passes_codes(node) && steps > 0 &&
                 is_read_in_float(flow, node->outputs[0], steps - 1)))
                return true;
        }
    }
    return false;
}

/* Whether nothing but the operator that the target computes with a float layer reads the value. */
static bool is_fused_in_float(const struct ldnq_code_flow *flow, const struct ldnq_value *value)
{
    size_t readers = 0;
    for (size_t n = flow->node_index; n < flow->graph->node_count; n++) {
        const struct ldnq_node *node = flow->graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] != value)
                continue;
            readers++;
            if (*node->domain != '\0' || strcmp(node->op_type, flow->target->fused_in_float) != 0)
                return false;
        }
    }
    return readers == 1;
}

static bool is_refused_for_time(const struct ldnq_layer *layer)
{
    return layer->refusal == after_float || layer->refusal == before_float ||
           layer->refusal == fused_in_float || layer->refusal == ldnq_converted_in_float;
}

void ldnq_accept_rather_than_nothing(struct ldnq_layer *layers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!layers[i].refusal)
            return;
    for (size_t i = 0; i < count; i++)
        if (is_refused_for_time(&layers[i]))
            layers[i].refusal = NULL;
}

const char *ldnq_explain_faster_in_float(struct ldnq_code_flow *flow,
                                         const struct ldnq_layer *layer,
                                         const struct ldnq_quantize_options *options)
{
    const struct ldnq_node *node = layer->node;
    if (!flow->target || !layer->weight || !ldnq_select_fits_integers(layer, options) ||
        !node->inputs[0] || !node->outputs[0])
        return NULL;
    const struct ldnq_shape *weight = &layer->weight->shape;
    const bool is_depthwise = ldnq_target_floats_depthwise(flow->target, node, weight);
    const bool is_narrow = ldnq_target_floats_narrow(flow->target, node, weight);
    if (!is_depthwise && !is_narrow)
        return NULL;
    if (ldnq_select_is_planned(layer, options))
        return NULL;
    ldnq_code_flow_advance(flow, layer->node_index);
    if (is_narrow && is_fused_in_float(flow, node->outputs[0]))
        return fused_in_float;
    if (!is_depthwise)
        return NULL;
    if (!flow->has_codes[node->inputs[0]->index])
        return after_float;
    return is_read_in_float(flow, node->outputs[0], MOST_STEPS) ? before_float : NULL;
}

void ldnq_code_flow_pass_layer(struct ldnq_code_flow *flow, const struct ldnq_layer *layer,
                               const struct ldnq_quantize_options *options)
{
    const struct ldnq_operator_rule *rule =
        flow->target ? ldnq_target_rule(flow->target, layer->node) : NULL;
    if (!rule || !rule->weight || flow->graph->nodes[layer->node_index] != layer->node)
        return;
    ldnq_code_flow_advance(flow, layer->node_index);
    if (layer->node->outputs[0])
        flow->has_codes[layer->node->outputs[0]->index] =
            !layer->refusal && ldnq_select_fits_integers(layer, options);
    flow->node_index = layer->node_index + 1;
}

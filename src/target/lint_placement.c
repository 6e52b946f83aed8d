/* SPDX-License-Identifier: Apache-2.0 */
/* lint_placement.c: the rules of which tensors have a Q/DQ pair, and of the whole model. */
#include "target/lint_check.h"

#include <string.h>

#include "ops/op.h"
#include "target/placement.h"

#define ADD_PAIR_BEFORE "add a QuantizeLinear and a DequantizeLinear before it"
#define ADD_PAIR_AFTER "add a QuantizeLinear and a DequantizeLinear after it"

/* A constant weight, with codes or without; NULL: none. */
static const struct ldnq_value *find_constant_weight(const struct ldnq_linter *linter,
                                                     const struct ldnq_node *node)
{
    const struct ldnq_value *weight =
        linter->rule->weight && node->input_count > 1 ? node->inputs[1] : NULL;
    return weight && weight->constant ? weight : NULL;
}

/* ---- pairs of pairs
 * ------------------------------------------------------------------------------ */

bool ldnq_check_double_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *before = node->inputs[0]->producer;
    if (!ldnq_lint_is_quantize(node) || !ldnq_lint_is_dequantize(before) ||
        ldnq_lint_code_type(node) != ldnq_lint_code_type(before))
        return true; /* a conversion between types is meant */
    if (ldnq_lint_have_same_scale(before, node))
        ldnq_lint_report(linter, node, LDNQ_SLOWER, "remove it and the DequantizeLinear after it",
                         "it quantizes what a DequantizeLinear of the same scale has written");
    else
        ldnq_lint_report(linter, node, LDNQ_NOTE, "give both pairs one scale",
                         "it quantizes codes again, to another scale");
    return true;
}

/* ---- the inputs of an operator that computes
 * ------------------------------------------------------ */

static bool is_too_small(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *weight = find_constant_weight(linter, node);
    return weight && ldnq_target_skips_small_layer(linter->target, node, &weight->constant->shape);
}

static bool is_floated_depthwise(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *weight = find_constant_weight(linter, node);
    return weight && ldnq_target_floats_depthwise(linter->target, node, &weight->constant->shape);
}

/* Whether the node before the pair that the layer reads computes on floats, past clamps. */
static bool quantizes_float_result(const struct ldnq_linter *linter, const struct ldnq_node *layer)
{
    const struct ldnq_node *dequantize = ldnq_lint_find_dequantize(layer->inputs[0]);
    const struct ldnq_node *quantize = dequantize ? dequantize->inputs[0]->producer : NULL;
    float low, high;
    if (!quantize || !ldnq_lint_is_quantize(quantize))
        return false;
    const struct ldnq_node *node = quantize->inputs[0]->producer;
    while (node && ldnq_placement_read_clamp(node, &low, &high))
        node = node->inputs[0]->producer;
    const struct ldnq_operator_rule *rule = node ? ldnq_target_rule(linter->target, node) : NULL;
    if (!rule)
        return !ldnq_lint_is_dequantize(node);
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !node->inputs[i]->constant && rule->data_inputs >> i & 1 &&
            ldnq_lint_find_dequantize(node->inputs[i]))
            return false;
    return true;
}

bool ldnq_check_no_pairs(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    if (ldnq_lint_list_activations(linter, node).quantized > 0)
        return true;
    if (!ldnq_target_has_default_attributes(node))
        ldnq_lint_report(linter, node, LDNQ_NOTE, "fold them into its weight and its bias",
                         "integer kernels have no alpha, beta and transA: it computes in float");
    else if (!is_too_small(linter, node) && !is_floated_depthwise(linter, node))
        ldnq_lint_report(linter, node, linter->target->every_tensor ? LDNQ_SLOWER : LDNQ_NOTE,
                         "quantize its inputs",
                         "nothing that it reads has codes: it computes in float");
    return false;
}

/* Whether the float kernel of this narrow layer would also compute the one node that reads its
 * result, past the layer's pair. */
static bool is_narrow_before_fused(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *weight = find_constant_weight(linter, node);
    if (!weight || !ldnq_target_floats_narrow(linter->target, node, &weight->constant->shape))
        return false;
    const struct ldnq_value *value = node->outputs[0];
    while (value && linter->readers[value->index] == 1) {
        const struct ldnq_node *reader = linter->reader[value->index];
        if (!ldnq_lint_is_quantize(reader) && !ldnq_lint_is_dequantize(reader))
            return strcmp(reader->op_type, linter->target->fused_in_float) == 0;
        value = reader->outputs[0];
    }
    return false;
}

/* Whether the layer is right to be float although its input has codes. */
static bool pays_in_float(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *clamp;
    return is_narrow_before_fused(linter, node) ||
           (is_floated_depthwise(linter, node) &&
            !ldnq_lint_find_quantize(linter, node->outputs[0], &clamp));
}

bool ldnq_check_weight_float(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    if (!find_constant_weight(linter, node) || ldnq_lint_find_weight(linter, node) ||
        ldnq_lint_list_activations(linter, node).quantized == 0)
        return true;
    if (pays_in_float(linter, node))
        return false;
    ldnq_lint_report(linter, node, LDNQ_SLOWER, "quantize its weight",
                     "its input has codes and its weight has none: it computes in float between "
                     "conversions");
    return false;
}

/* The output of a layer that an Add reads without a pair, where the target fuses the two. */
static bool is_fused_residual(const struct ldnq_linter *linter, const struct ldnq_node *node,
                              size_t input)
{
    const struct ldnq_node *producer = node->inputs[input]->producer;
    const struct ldnq_operator_rule *rule =
        producer ? ldnq_target_rule(linter->target, producer) : NULL;
    return linter->target->residual == LDNQ_RESIDUAL_SHORTCUT &&
           strcmp(node->op_type, "Add") == 0 && rule && rule->weight;
}

/* Without a layer's weight, and where the target computes in float what nobody reads codes of. */
static enum ldnq_severity find_severity_in_float(const struct ldnq_linter *linter)
{
    return linter->rule->weight || !linter->target->drops_unread_codes ? LDNQ_SLOWER : LDNQ_NOTE;
}

bool ldnq_check_input_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_lint_activations found = ldnq_lint_list_activations(linter, node);
    const bool is_fused_float =
        linter->target->pairs == LDNQ_PAIRS_AT_INPUTS && !linter->rule->weight;
    if (found.quantized == 0 || found.quantized == found.count ||
        is_fused_residual(linter, node, found.missing))
        return true;
    ldnq_lint_report(linter, node, is_fused_float ? LDNQ_NOTE : find_severity_in_float(linter),
                     ADD_PAIR_BEFORE,
                     "input %zu has no Q/DQ pair while others have, so that it computes in float",
                     found.missing);
    return false;
}

bool ldnq_check_small_layer(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    if (is_narrow_before_fused(linter, node))
        ldnq_lint_report(linter, node, LDNQ_SLOWER, "leave it in float, without pairs",
                         "target %s computes a convolution this narrow faster in float, together "
                         "with the %s after it",
                         linter->target->name, linter->target->fused_in_float);
    if (is_floated_depthwise(linter, node) && quantizes_float_result(linter, node))
        ldnq_lint_report(linter, node, LDNQ_SLOWER, "leave it in float, without pairs",
                         "it has one input channel per group and its input is computed in float: "
                         "target %s computes it faster in float",
                         linter->target->name);
    if (!is_too_small(linter, node))
        return true;
    ldnq_lint_report(linter, node, LDNQ_SLOWER, "leave it in float, without pairs",
                     "it has few channels, which target %s computes faster in float",
                     linter->target->name);
    return true;
}

bool ldnq_check_residual_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *layer = NULL;
    if (linter->target->residual != LDNQ_RESIDUAL_SHORTCUT || strcmp(node->op_type, "Add") != 0)
        return true;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!ldnq_lint_find_dequantize(node->inputs[i]))
            return true; /* the operand that is fused */
        const struct ldnq_node *before = ldnq_lint_find_layer_before_pair(linter, node->inputs[i]);
        layer = layer ? layer : before;
    }
    if (layer)
        ldnq_lint_report(
            linter, node, LDNQ_SLOWER, "remove the pair between the Add and one of its layers",
            "both operands have a pair, so that it is not fused into '%s'", layer->label);
    return true;
}

/* ---- the output
 * ------------------------------------------------------------------------------------ */

bool ldnq_check_output_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_operator_rule *rule = linter->rule;
    const struct ldnq_target *target = linter->target;
    const struct ldnq_node *clamp;
    if (target->pairs != LDNQ_PAIRS_AT_BOTH || (rule->float_output && !target->every_tensor))
        return true;
    const struct ldnq_node *after = ldnq_lint_find_quantize(linter, node->outputs[0], &clamp);
    if (after) {
        /* Its pair has a finding of its own. */
        const struct ldnq_node *reader = linter->reader[after->outputs[0]->index];
        return !ldnq_lint_is_dequantize(reader) || !ldnq_lint_is_shared_int8(linter, reader);
    }
    /* A last Softmax gains nothing on integers. */
    const bool is_last = rule->low < rule->high && node->outputs[0]->is_output;
    ldnq_lint_report(linter, node,
                     is_last && !target->every_tensor ? LDNQ_NOTE : find_severity_in_float(linter),
                     ADD_PAIR_AFTER,
                     "its output is not read by a QuantizeLinear alone, so that it computes in "
                     "float");
    return false;
}

/* ---- operators that move codes
 * ------------------------------------------------------------------- */

bool ldnq_check_move_codes(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *clamp;
    if (!linter->rule->on_codes || node->inputs[0]->dtype != LDNQ_FLOAT ||
        !ldnq_lint_find_quantize(linter, node->outputs[0], &clamp) || clamp)
        return true;
    ldnq_lint_report(linter, node, LDNQ_SLOWER,
                     "place it between the QuantizeLinear and the DequantizeLinear before it",
                     "it is not fused with pairs around it, so that it moves floats");
    return false;
}

/* After each output that is read. */
static bool has_pairs_after(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *clamp;
    for (size_t o = 0; o < node->output_count; o++) {
        const struct ldnq_value *value = node->outputs[o];
        if (!value || (linter->readers[value->index] == 0 && !value->is_output))
            continue;
        if (!ldnq_lint_find_quantize(linter, value, &clamp) || clamp)
            return false;
    }
    return true;
}

bool ldnq_check_move_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const bool has_input = ldnq_lint_find_dequantize(node->inputs[0]) != NULL;
    if (node->inputs[0]->dtype != LDNQ_FLOAT || (has_input && has_pairs_after(linter, node)))
        return true;
    ldnq_lint_report(linter, node, linter->target->every_tensor ? LDNQ_SLOWER : LDNQ_NOTE,
                     "add pairs of one scale before and after it",
                     "it moves floats: its %s has no pair", has_input ? "output" : "input");
    return false;
}

/* ---- operators without codes
 * ------------------------------------------------------------------------ */

bool ldnq_check_clamp_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    float low, high;
    if (!linter->target->absorbs_clamps || !ldnq_placement_read_clamp(node, &low, &high) ||
        linter->readers[node->inputs[0]->index] != 1)
        return true;
    const struct ldnq_node *layer = ldnq_lint_find_layer_before_pair(linter, node->inputs[0]);
    if (layer)
        ldnq_lint_report(linter, node, LDNQ_SLOWER, "remove the pair before it",
                         "a pair keeps it apart from '%s', which computes it on its own",
                         layer->label);
    return true;
}

bool ldnq_check_copy_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    if (!linter->rule || linter->rule->class != LDNQ_TAKES_NO_PAIR)
        return true;
    for (size_t i = 0; i < node->input_count; i++)
        if (ldnq_lint_is_activation(linter, node, i) && !node->inputs[i]->constant &&
            ldnq_lint_find_dequantize(node->inputs[i])) {
            ldnq_lint_report(linter, node, LDNQ_SLOWER,
                             "move the pair to the layers that read its output",
                             "input %zu has a Q/DQ pair, and target %s moves codes through %s on "
                             "its own",
                             i, linter->target->name, node->op_type);
            break;
        }
    return true;
}

static bool has_quantized_output(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    for (size_t o = 0; o < node->output_count; o++) {
        const struct ldnq_value *value = node->outputs[o];
        if (value && linter->readers[value->index] > 0 &&
            ldnq_lint_is_quantize(linter->reader[value->index]))
            return true;
    }
    return false;
}

bool ldnq_check_float_between(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    bool reads_codes = false;
    for (size_t i = 0; i < node->input_count; i++)
        reads_codes = reads_codes || (node->inputs[i] && !node->inputs[i]->constant &&
                                      ldnq_lint_find_dequantize(node->inputs[i]));
    if (linter->rule || linter->target->pairs == LDNQ_PAIRS_NONE || !reads_codes ||
        !has_quantized_output(linter, node))
        return true;
    ldnq_lint_report(linter, node, LDNQ_NOTE, "replace it by operators that have integer kernels",
                     "target %s has no integer kernel of %s: it computes in float between "
                     "conversions",
                     linter->target->name, node->op_type);
    return true;
}

/* An operator that is an integer kernel itself: what ONNX Runtime makes of QDQ. */
static bool is_integer_kernel(const struct ldnq_node *node)
{
    return strncmp(node->op_type, "QLinear", 7) == 0 || strcmp(node->op_type, "QGemm") == 0 ||
           strcmp(node->op_type, "ConvInteger") == 0 ||
           strcmp(node->op_type, "MatMulInteger") == 0 || strcmp(node->op_type, "MatMulNBits") == 0;
}

bool ldnq_check_operator_format(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    if (!is_integer_kernel(node) || target->pairs == LDNQ_PAIRS_NONE)
        return true;
    /* ONNX Runtime's own. */
    if (target->bias == LDNQ_BIAS_INT32 && target->falls_back)
        linter->lint->integer_nodes++;
    else
        ldnq_lint_report(linter, node, target->falls_back ? LDNQ_NOTE : LDNQ_BROKEN,
                         "write the model with Q/DQ pairs around float operators",
                         "it is an integer operator, and target %s reads Q/DQ pairs", target->name);
    return true;
}

/* ---- the model
 * --------------------------------------------------------------------------------------- */

/* Without scales per channel a target that runs any file takes older opsets. */
bool ldnq_check_opset(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    if (linter->opset < target->opset_min && (linter->has_channels || !target->falls_back))
        ldnq_lint_report(linter, node, LDNQ_BROKEN, "raise the model's opset",
                         "the model has opset %d, and target %s needs at least %d", linter->opset,
                         target->name, target->opset_min);
    return true;
}

bool ldnq_check_static_shapes(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_graph *graph = linter->graph;
    for (size_t i = 0; linter->target->static_shapes && i < graph->input_count; i++)
        for (int axis = 0; axis < graph->inputs[i]->shape.rank; axis++)
            if (ldnq_is_symbol(graph->inputs[i]->shape.dim[axis])) {
                ldnq_lint_report(linter, node, LDNQ_NOTE,
                                 "give the dimension a size when you compile the model",
                                 "dimension %d of input '%s' is open, and target %s compiles for "
                                 "fixed shapes",
                                 axis, graph->inputs[i]->name, linter->target->name);
                return true;
            }
    return true;
}

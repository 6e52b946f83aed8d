/* SPDX-License-Identifier: Apache-2.0 */
/* lint_graph.c: what the Q and DQ nodes around a node say. */
#include "target/lint_check.h"

#include <string.h>

#include "ops/op.h"

/* Whether it is a node of this type of ai.onnx that is bound, and so has its inputs and output;
 * false for NULL. */
static bool is_bound_node(const struct ldnq_node *node, const char *type)
{
    return node && node->op && *node->domain == '\0' && strcmp(node->op_type, type) == 0;
}

bool ldnq_lint_is_quantize(const struct ldnq_node *node)
{
    return is_bound_node(node, "QuantizeLinear");
}

bool ldnq_lint_is_dequantize(const struct ldnq_node *node)
{
    return is_bound_node(node, "DequantizeLinear");
}

/* ---- along the edges ------------------------------------------------------------------------ */

const struct ldnq_node *ldnq_lint_find_dequantize(const struct ldnq_value *value)
{
    const struct ldnq_node *node = value->constant ? value->folded_from : value->producer;
    return ldnq_lint_is_dequantize(node) ? node : NULL;
}

/* Operators between the DequantizeLinear of a weight and its layer that runtimes apply to the
 * codes. */
static bool is_weight_layout_operator(const struct ldnq_node *node)
{
    static const char *const types[] = { "Transpose", "Reshape", "Squeeze",
                                         "Unsqueeze", "Flatten", "Identity" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (is_bound_node(node, types[i]))
            return true;
    return false;
}

const struct ldnq_node *ldnq_lint_find_weight(const struct ldnq_linter *linter,
                                              const struct ldnq_node *node)
{
    const struct ldnq_value *weight =
        linter->rule->weight && node->input_count > 1 ? node->inputs[1] : NULL;
    const struct ldnq_node *source = weight && weight->constant ? weight->folded_from : NULL;
    while (source && is_weight_layout_operator(source))
        source = source->inputs[0] ? source->inputs[0]->folded_from : NULL;
    return ldnq_lint_is_dequantize(source) ? source : NULL;
}

const struct ldnq_node *ldnq_lint_find_quantize(const struct ldnq_linter *linter,
                                                const struct ldnq_value *value,
                                                const struct ldnq_node **clamp)
{
    *clamp = NULL;
    if (!value || linter->readers[value->index] != 1 || value->is_output)
        return NULL;
    const struct ldnq_node *reader = linter->reader[value->index];
    if (is_bound_node(reader, "Relu") || is_bound_node(reader, "Clip")) {
        const struct ldnq_value *out = reader->outputs[0];
        *clamp = reader;
        if (linter->readers[out->index] != 1 || out->is_output)
            return NULL;
        reader = linter->reader[out->index];
    }
    return ldnq_lint_is_quantize(reader) ? reader : NULL;
}

const struct ldnq_node *ldnq_lint_find_layer_before_pair(const struct ldnq_linter *linter,
                                                         const struct ldnq_value *value)
{
    const struct ldnq_node *dequantize = value->producer;
    if (!ldnq_lint_is_dequantize(dequantize) || !dequantize->inputs[0]->producer ||
        !ldnq_lint_is_quantize(dequantize->inputs[0]->producer))
        return NULL;
    const struct ldnq_value *exact = dequantize->inputs[0]->producer->inputs[0];
    const struct ldnq_operator_rule *rule =
        exact->producer ? ldnq_target_rule(linter->target, exact->producer) : NULL;
    if (!rule || !rule->weight || linter->readers[exact->index] != 1)
        return NULL;
    const struct ldnq_value *input = exact->producer->inputs[0];
    return input && ldnq_lint_find_dequantize(input) ? exact->producer : NULL;
}

/* ---- scales and zero points -------------------------------------------------------------------
 */

const struct ldnq_tensor *ldnq_lint_find_scale(const struct ldnq_node *pair)
{
    return pair->input_count > 1 && pair->inputs[1] ? pair->inputs[1]->constant : NULL;
}

const float *ldnq_lint_read_scales(const struct ldnq_node *pair, size_t *count)
{
    const struct ldnq_tensor *tensor = ldnq_lint_find_scale(pair);
    *count = tensor ? ldnq_tensor_count(tensor) : 0;
    return *count && tensor->dtype == LDNQ_FLOAT ? tensor->data : NULL;
}

bool ldnq_lint_read_scale(const struct ldnq_node *pair, float *scale)
{
    size_t count;
    const float *scales = ldnq_lint_read_scales(pair, &count);
    if (!scales || count != 1)
        return false;
    *scale = *scales;
    return true;
}

bool ldnq_lint_read_zero_point(const struct ldnq_node *pair, double *zero)
{
    const struct ldnq_value *value = pair->input_count > 2 ? pair->inputs[2] : NULL;
    const struct ldnq_tensor *tensor = value ? value->constant : NULL;
    *zero = 0;
    if (!tensor || ldnq_tensor_count(tensor) != 1)
        return !value;
    if (!ldnq_dtype_is_integer(tensor->dtype) || ldnq_dtype_bits(tensor->dtype) < 8 ||
        ldnq_dtype_bits(tensor->dtype) > 16)
        return false;
    *zero = (double)ldnq_tensor_load_integer(tensor, 0);
    return true;
}

enum ldnq_dtype ldnq_lint_code_type(const struct ldnq_node *pair)
{
    return ldnq_lint_is_quantize(pair) ? pair->outputs[0]->dtype : pair->inputs[0]->dtype;
}

bool ldnq_lint_have_same_scale(const struct ldnq_node *a, const struct ldnq_node *b)
{
    float first, second;
    double zero_a, zero_b;
    return !ldnq_lint_read_scale(a, &first) || !ldnq_lint_read_scale(b, &second) ||
           !ldnq_lint_read_zero_point(a, &zero_a) || !ldnq_lint_read_zero_point(b, &zero_b) ||
           (first == second && zero_a == zero_b);
}

/* ---- the activations of a node ----------------------------------------------------------------
 */

bool ldnq_lint_is_shared_int8(const struct ldnq_linter *linter, const struct ldnq_node *dequantize)
{
    const struct ldnq_value *codes = dequantize->inputs[0];
    return linter->target->rewrites_int8 && codes->dtype == LDNQ_INT8 && !codes->constant &&
           (linter->readers[codes->index] > 1 ||
            linter->readers[dequantize->outputs[0]->index] > 1);
}

bool ldnq_lint_is_activation(const struct ldnq_linter *linter, const struct ldnq_node *node,
                             size_t input)
{
    const struct ldnq_value *value = node->inputs[input];
    return value && value->dtype == LDNQ_FLOAT &&
           (linter->rule->data_inputs >> (input < 31 ? input : 31) & 1) &&
           !(linter->rule->weight && value->constant);
}

/* Copies in a row that are followed at most. */
#define MOST_COPIES 16

/* The DequantizeLinear whose codes the value has, past operators that carry them; NULL: it has
 * none. */
static const struct ldnq_node *find_carried_codes(const struct ldnq_linter *linter,
                                                  const struct ldnq_value *value, int depth)
{
    const struct ldnq_node *found = ldnq_lint_find_dequantize(value), *node = value->producer;
    const struct ldnq_operator_rule *rule = node ? ldnq_target_rule(linter->target, node) : NULL;
    if (found || !rule || !rule->carries_codes || depth == MOST_COPIES)
        return found;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *input = node->inputs[i];
        if (!input || !(rule->data_inputs >> (i < 31 ? i : 31) & 1))
            continue;
        const struct ldnq_node *before = find_carried_codes(linter, input, depth + 1);
        if (!before || (found && !ldnq_lint_have_same_scale(found, before)))
            return NULL;
        found = before;
    }
    return found;
}

struct ldnq_lint_activations ldnq_lint_list_activations(const struct ldnq_linter *linter,
                                                        const struct ldnq_node *node)
{
    struct ldnq_lint_activations found = { .count = 0 };
    const unsigned types = linter->target->activation_types;
    for (size_t i = 0; i < node->input_count; i++) {
        if (!ldnq_lint_is_activation(linter, node, i))
            continue;
        const struct ldnq_node *pair = find_carried_codes(linter, node->inputs[i], 0);
        found.count++;
        found.quantized += pair != NULL;
        found.missing = pair ? found.missing : i;
        found.other_type += pair && (!(types & LDNQ_DTYPE_BIT(pair->inputs[0]->dtype)) ||
                                     ldnq_lint_is_shared_int8(linter, pair));
    }
    return found;
}

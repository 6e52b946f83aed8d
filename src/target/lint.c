#include "target/lint.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ops/op.h"

struct linter {
    const struct ldnq_graph *graph;
    const struct ldnq_target *target;
    struct ldnq_arena *arena;
    struct ldnq_lint *lint;
    size_t capacity;
    struct ldnq_error *err;
    enum ldnq_status status;         /* the first failure; nothing is added after it */
    size_t *readers;                 /* by value: how many inputs of nodes read it */
    const struct ldnq_node **reader; /* by value: the last of them */
};

const char *ldnq_severity_name(enum ldnq_severity severity)
{
    static const char *const names[] = { "note", "slower", "broken" };
    return names[severity];
}

static void add_finding(struct linter *linter, const struct ldnq_node *node, const char *rule,
                        enum ldnq_severity severity, const char *advice, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

static void add_finding(struct linter *linter, const struct ldnq_node *node, const char *rule,
                        enum ldnq_severity severity, const char *advice, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct ldnq_lint *lint = linter->lint;
    if (linter->status != LDNQ_OK)
        return;
    if (lint->count == linter->capacity) {
        const size_t capacity = linter->capacity ? 2 * linter->capacity : 32;
        struct ldnq_finding *larger =
            ldnq_arena_alloc(linter->arena, capacity, sizeof *larger, linter->err);
        if (!larger) {
            linter->status = LDNQ_NOMEM;
            return;
        }
        if (lint->count)
            memcpy(larger, lint->findings, lint->count * sizeof *larger);
        lint->findings = larger;
        linter->capacity = capacity;
    }
    const char *message = ldnq_arena_strdup(linter->arena, text, linter->err);
    if (!message) {
        linter->status = LDNQ_NOMEM;
        return;
    }
    lint->findings[lint->count++] = (struct ldnq_finding){
        .node = node, .rule = rule, .severity = severity, .message = message, .advice = advice
    };
}

/* ---- what Q and DQ nodes say -------------------------------------------------------------- */

static bool is_quantize(const struct ldnq_node *node)
{
    return node && strcmp(node->op_type, "QuantizeLinear") == 0;
}

static bool is_dequantize(const struct ldnq_node *node)
{
    return node && strcmp(node->op_type, "DequantizeLinear") == 0;
}

/* The DequantizeLinear that a value comes from, at run time or folded; NULL: none. */
static const struct ldnq_node *dequantize_of(const struct ldnq_value *value)
{
    const struct ldnq_node *node = value->constant ? value->folded_from : value->producer;
    return is_dequantize(node) ? node : NULL;
}

/* The DequantizeLinear of a weight, also through a folded Transpose. */
static const struct ldnq_node *weight_source(const struct ldnq_value *weight)
{
    const struct ldnq_node *node = weight->folded_from;
    if (node && strcmp(node->op_type, "Transpose") == 0)
        return NULL;
    return is_dequantize(node) ? node : NULL;
}

static const struct ldnq_tensor *scale_tensor(const struct ldnq_node *pair)
{
    return pair->input_count > 1 && pair->inputs[1] ? pair->inputs[1]->constant : NULL;
}

static bool scalar_scale(const struct ldnq_node *pair, float *scale)
{
    const struct ldnq_tensor *tensor = scale_tensor(pair);
    if (!tensor || tensor->dtype != LDNQ_FLOAT || ldnq_tensor_count(tensor) != 1)
        return false;
    *scale = *(const float *)tensor->data;
    return true;
}

static bool zero_point(const struct ldnq_node *pair, double *zero)
{
    const struct ldnq_value *value = pair->input_count > 2 ? pair->inputs[2] : NULL;
    const struct ldnq_tensor *tensor = value ? value->constant : NULL;
    *zero = 0;
    if (!tensor || ldnq_tensor_count(tensor) != 1)
        return !value;
    switch (tensor->dtype) {
    case LDNQ_UINT8:
        *zero = *(const uint8_t *)tensor->data;
        return true;
    case LDNQ_INT8:
        *zero = *(const int8_t *)tensor->data;
        return true;
    case LDNQ_UINT16:
        *zero = *(const uint16_t *)tensor->data;
        return true;
    case LDNQ_INT16:
        *zero = *(const int16_t *)tensor->data;
        return true;
    default:
        return false;
    }
}

/* The QuantizeLinear that alone reads the value, and past a clamp that does; NULL: there is
 * none. */
static const struct ldnq_node *quantize_after(const struct linter *linter,
                                              const struct ldnq_value *value,
                                              const struct ldnq_node **clamp)
{
    *clamp = NULL;
    if (linter->readers[value->index] != 1 || value->is_output)
        return NULL;
    const struct ldnq_node *reader = linter->reader[value->index];
    if (strcmp(reader->op_type, "Relu") == 0 || strcmp(reader->op_type, "Clip") == 0) {
        const struct ldnq_value *out = reader->outputs[0];
        *clamp = reader;
        if (linter->readers[out->index] != 1 || out->is_output)
            return NULL;
        reader = linter->reader[out->index];
    }
    return is_quantize(reader) ? reader : NULL;
}

/* ---- the rules ------------------------------------------------------------------------------ */

static void check_pair(struct linter *linter, const struct ldnq_node *node)
{
    float scale;
    double zero;
    const struct ldnq_target *target = linter->target;
    const enum ldnq_dtype dtype =
        is_quantize(node) ? node->outputs[0]->dtype : node->inputs[0]->dtype;
    if (target->pairs == LDNQ_PAIRS_NONE || !scalar_scale(node, &scale))
        return;
    if (dtype == LDNQ_INT32) /* a bias */
        return;
    if (!(target->activation_types & LDNQ_DTYPE_BIT(dtype)))
        add_finding(linter, node, "activation-type", LDNQ_BROKEN,
                    "quantize activations to a type that the target takes",
                    "its codes are %s, which target %s does not take for activations",
                    ldnq_dtype_name(dtype), target->name);
    if (target->symmetric && zero_point(node, &zero) && ldnq_dtype_is_signed(dtype) && zero != 0)
        add_finding(linter, node, "symmetric", LDNQ_BROKEN, "use a symmetric range",
                    "its zero point is %g, and target %s needs 0", zero, target->name);
    int exponent;
    if (target->power_of_two && frexpf(scale, &exponent) != 0.5f)
        add_finding(linter, node, "power-of-two", LDNQ_BROKEN, "round the scale to a power of two",
                    "its scale %g is no power of two", (double)scale);
}

static void check_weight(struct linter *linter, const struct ldnq_node *node,
                         const struct ldnq_operator_rule *rule, bool *has_codes)
{
    const struct ldnq_value *weight = node->input_count > 1 ? node->inputs[1] : NULL;
    *has_codes = true;
    if (!rule->weight || !weight || !weight->constant)
        return;
    const struct ldnq_node *source = weight_source(weight);
    *has_codes = source != NULL;
    if (!source)
        return;
    const unsigned bits = ldnq_dtype_bits(source->inputs[0]->dtype);
    if (!(linter->target->weight_bits >> bits & 1)) {
        *has_codes = false;
        add_finding(linter, node, "weight-bits", LDNQ_SLOWER,
                    "store the weight in 8 bits, or turn Q/DQ fusion off where the model runs",
                    "its weight has %u bits, which target %s dequantizes on every run", bits,
                    linter->target->name);
    }
    if (strcmp(node->op_type, "Gemm") == 0 && linter->target->bias == LDNQ_BIAS_INT32 &&
        (source->input_count < 3 || !source->inputs[2]))
        add_finding(linter, node, "weight-zero-point", LDNQ_SLOWER,
                    "add a zero point of 0 to the weight's DequantizeLinear",
                    "its weight has no zero point, without which a Gemm is not fused");
}

static void check_bias(struct linter *linter, const struct ldnq_node *node,
                       const struct ldnq_node *input)
{
    const struct ldnq_value *bias = node->input_count > 2 ? node->inputs[2] : NULL;
    const struct ldnq_node *source = bias && bias->constant ? dequantize_of(bias) : NULL;
    const struct ldnq_node *weight =
        node->inputs[1]->constant ? weight_source(node->inputs[1]) : NULL;
    float in;
    if (!bias || !bias->constant || !weight || !scalar_scale(input, &in))
        return;
    if (linter->target->bias == LDNQ_BIAS_FLOAT) {
        if (source)
            add_finding(linter, node, "bias-float", LDNQ_BROKEN, "store the bias as float32",
                        "its bias is quantized, and target %s reads it as float32",
                        linter->target->name);
        return;
    }
    if (!source) {
        add_finding(linter, node, "bias-int32", LDNQ_SLOWER,
                    "store the bias as int32 with a scale of input scale times weight scale",
                    "its bias is float32, and target %s needs int32", linter->target->name);
        return;
    }
    const struct ldnq_tensor *scales = scale_tensor(source), *weights = scale_tensor(weight);
    const size_t count = scales ? ldnq_tensor_count(scales) : 0;
    for (size_t i = 0; weights && i < count; i++) {
        const size_t all = ldnq_tensor_count(weights);
        const float wanted = in * ((const float *)weights->data)[all == count ? i : 0];
        const float found = ((const float *)scales->data)[i];
        if (fabsf(found - wanted) > 1e-5f * wanted) {
            add_finding(linter, node, "bias-scale", LDNQ_SLOWER,
                        "give the bias a scale of input scale times weight scale",
                        "the scale of its bias is %g where input times weight scale is %g",
                        (double)found, (double)wanted);
            return;
        }
    }
}

static void check_output(struct linter *linter, const struct ldnq_node *node,
                         const struct ldnq_operator_rule *rule)
{
    const struct ldnq_node *clamp;
    if (linter->target->pairs != LDNQ_PAIRS_AT_BOTH || rule->float_output)
        return;
    const struct ldnq_node *after = quantize_after(linter, node->outputs[0], &clamp);
    if (!after)
        add_finding(linter, node, "output-pair", LDNQ_SLOWER,
                    "add a QuantizeLinear and a DequantizeLinear after it",
                    "its output is not read by a QuantizeLinear alone, so that it computes in "
                    "float");
    double zero;
    if (after && clamp && strcmp(clamp->op_type, "Relu") == 0 && zero_point(after, &zero)) {
        const double least = ldnq_dtype_is_signed(after->outputs[0]->dtype) ? -128 : 0;
        if (zero != least)
            add_finding(linter, clamp, "relu-range", LDNQ_SLOWER,
                        "choose a range from 0 for the output",
                        "the codes after it start below 0 (zero point %g), so that it is not "
                        "dropped",
                        zero);
    }
}

static bool has_codes_at(const struct ldnq_node *node, size_t input)
{
    return node->inputs[input] && dequantize_of(node->inputs[input]) != NULL;
}

static void check_computing(struct linter *linter, const struct ldnq_node *node,
                            const struct ldnq_operator_rule *rule)
{
    size_t activations = 0, quantized = 0, missing = 0;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!value || value->dtype != LDNQ_FLOAT || !(rule->data_inputs >> (i < 31 ? i : 31) & 1) ||
            (rule->weight && value->constant))
            continue;
        activations++;
        if (has_codes_at(node, i))
            quantized++;
        else
            missing = i;
    }
    bool weight_has_codes;
    check_weight(linter, node, rule, &weight_has_codes);
    const bool weight_only = rule->weight && weight_has_codes && quantized == 0 &&
                             node->inputs[1] && node->inputs[1]->constant;
    if (weight_only && linter->target->pairs != LDNQ_PAIRS_NONE)
        add_finding(linter, node, "weights-only", LDNQ_SLOWER,
                    "quantize the activations too, or turn Q/DQ fusion off where the model runs",
                    "its weight has codes and its input has none: the weight is dequantized on "
                    "every run");
    if (quantized == 0 || activations == 0 || !weight_has_codes) {
        linter->lint->float_nodes++;
        if (!weight_only && quantized > 0 && rule->weight && !weight_has_codes)
            add_finding(linter, node, "weight-float", LDNQ_NOTE, "quantize its weight",
                        "its input has codes and its weight has none: it computes in float");
        return;
    }
    if (quantized < activations) {
        linter->lint->float_nodes++;
        add_finding(linter, node, "input-pair", LDNQ_SLOWER,
                    "add a QuantizeLinear and a DequantizeLinear before it",
                    "input %zu has no Q/DQ pair while others have, so that it computes in float",
                    missing);
        return;
    }
    linter->lint->integer_nodes++;
    if (rule->weight)
        check_bias(linter, node, dequantize_of(node->inputs[0]));
    check_output(linter, node, rule);
}

static bool same_scale(const struct ldnq_node *a, const struct ldnq_node *b)
{
    float first, second;
    double zero_a, zero_b;
    return !scalar_scale(a, &first) || !scalar_scale(b, &second) || !zero_point(a, &zero_a) ||
           !zero_point(b, &zero_b) || (first == second && zero_a == zero_b);
}

static void check_moving(struct linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *before =
        node->inputs[0] && !node->inputs[0]->constant ? dequantize_of(node->inputs[0]) : NULL;
    const struct ldnq_node *clamp;
    if (!before)
        return;
    const struct ldnq_node *after = quantize_after(linter, node->outputs[0], &clamp);
    if (!after || clamp) {
        linter->lint->float_nodes++;
        add_finding(linter, node, "move-pair", LDNQ_NOTE, "add a pair of the same scale after it",
                    "it moves floats between two pairs: its output has no pair of its own");
        return;
    }
    linter->lint->integer_nodes++;
    if (!same_scale(before, after))
        add_finding(linter, node, "same-scale", LDNQ_SLOWER,
                    "give its output the scale and zero point of its input",
                    "scales before and after it differ, so that it requantizes");
}

static void check_unified(struct linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *first = node->inputs[0] ? dequantize_of(node->inputs[0]) : NULL;
    for (size_t i = 1; first && i < node->input_count; i++) {
        const struct ldnq_node *other = node->inputs[i] ? dequantize_of(node->inputs[i]) : NULL;
        if (other && !same_scale(first, other)) {
            add_finding(linter, node, "one-scale", LDNQ_SLOWER,
                        "give all its inputs one scale and zero point",
                        "inputs 0 and %zu have different scales, and target %s needs one", i,
                        linter->target->name);
            return;
        }
    }
}

static void check_node(struct linter *linter, const struct ldnq_node *node)
{
    if (is_quantize(node) || is_dequantize(node)) {
        check_pair(linter, node);
        return;
    }
    const struct ldnq_operator_rule *rule = ldnq_target_rule(linter->target, node);
    if (!rule)
        return;
    if (rule->class == LDNQ_PASSES_SCALE) {
        if (linter->target->pairs == LDNQ_PAIRS_AT_BOTH)
            check_moving(linter, node);
        return;
    }
    check_computing(linter, node, rule);
    if (rule->class == LDNQ_UNIFIES_SCALES)
        check_unified(linter, node);
}

static enum ldnq_status prepare(struct linter *linter, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = linter->graph;
    linter->readers =
        ldnq_arena_alloc(linter->arena, graph->value_count, sizeof *linter->readers, err);
    linter->reader =
        ldnq_arena_alloc(linter->arena, graph->value_count, sizeof *linter->reader, err);
    linter->lint = ldnq_arena_alloc(linter->arena, 1, sizeof *linter->lint, err);
    if (!linter->readers || !linter->reader || !linter->lint)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i]) {
                linter->readers[graph->nodes[n]->inputs[i]->index]++;
                linter->reader[graph->nodes[n]->inputs[i]->index] = graph->nodes[n];
            }
    return LDNQ_OK;
}

enum ldnq_status ldnq_lint_run(const struct ldnq_graph *graph, const struct ldnq_target *target,
                               int opset, struct ldnq_arena *arena, struct ldnq_lint **out,
                               struct ldnq_error *err)
{
    struct linter linter = { .graph = graph, .target = target, .arena = arena, .err = err };
    LDNQ_TRY(prepare(&linter, err));
    if (opset < target->opset_min)
        add_finding(&linter, NULL, "opset", LDNQ_BROKEN, "raise the model's opset",
                    "the model has opset %d, and target %s needs at least %d", opset, target->name,
                    target->opset_min);
    for (size_t n = 0; n < graph->node_count; n++)
        check_node(&linter, graph->nodes[n]);
    *out = linter.lint;
    return linter.status;
}

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
    bool has_channels;               /* some scales are per channel or per block */
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
static const struct ldnq_node *find_dequantize(const struct ldnq_value *value)
{
    const struct ldnq_node *node = value->constant ? value->folded_from : value->producer;
    return is_dequantize(node) ? node : NULL;
}

/* Operators between the DequantizeLinear of a weight and its layer that runtimes apply to the
 * codes. */
static bool is_weight_layout_operator(const struct ldnq_node *node)
{
    static const char *const types[] = { "Transpose", "Reshape", "Squeeze",
                                         "Unsqueeze", "Flatten", "Identity" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

/* The DequantizeLinear of a constant weight; NULL where it has no codes. */
static const struct ldnq_node *find_weight_dequantize(const struct ldnq_value *weight)
{
    const struct ldnq_node *node = weight->folded_from;
    while (node && is_weight_layout_operator(node))
        node = node->inputs[0] ? node->inputs[0]->folded_from : NULL;
    return is_dequantize(node) ? node : NULL;
}

static const struct ldnq_tensor *find_scale_constant(const struct ldnq_node *pair)
{
    return pair->input_count > 1 && pair->inputs[1] ? pair->inputs[1]->constant : NULL;
}

/* The scales, in float32; NULL where they are computed or of another type. */
static const float *read_scales(const struct ldnq_node *pair, size_t *count)
{
    const struct ldnq_tensor *tensor = find_scale_constant(pair);
    *count = tensor ? ldnq_tensor_count(tensor) : 0;
    return *count && tensor->dtype == LDNQ_FLOAT ? tensor->data : NULL;
}

static bool read_scalar_scale(const struct ldnq_node *pair, float *scale)
{
    const struct ldnq_tensor *tensor = find_scale_constant(pair);
    if (!tensor || tensor->dtype != LDNQ_FLOAT || ldnq_tensor_count(tensor) != 1)
        return false;
    *scale = *(const float *)tensor->data;
    return true;
}

static bool read_zero_point(const struct ldnq_node *pair, double *zero)
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
static const struct ldnq_node *find_only_quantize_reader(const struct linter *linter,
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

/* int8 codes with several readers, which ONNX Runtime on x64 leaves int8 while it rewrites all
 * others to uint8: kernels that would read both types are not fused. */
static bool is_shared_int8(const struct linter *linter, const struct ldnq_node *dequantize)
{
    const struct ldnq_value *codes = dequantize->inputs[0];
    return linter->target->rewrites_int8 && codes->dtype == LDNQ_INT8 && !codes->constant &&
           (linter->readers[codes->index] > 1 ||
            linter->readers[dequantize->outputs[0]->index] > 1);
}

/* Q/DQ nodes of an activation. One finding per pair: that of its QuantizeLinear. */
static void check_activation_pair(struct linter *linter, const struct ldnq_node *node)
{
    float scale;
    double zero;
    int exponent;
    const struct ldnq_target *target = linter->target;
    const bool quantizes = is_quantize(node);
    const enum ldnq_dtype dtype = quantizes ? node->outputs[0]->dtype : node->inputs[0]->dtype;
    if (target->pairs == LDNQ_PAIRS_NONE || (!quantizes && is_quantize(node->inputs[0]->producer)))
        return;
    if (dtype != LDNQ_UNDEFINED && !(target->activation_types & LDNQ_DTYPE_BIT(dtype)))
        add_finding(linter, node, "activation-type", target->falls_back ? LDNQ_SLOWER : LDNQ_BROKEN,
                    "quantize activations to a type that the target takes",
                    "its codes are %s, which target %s does not take for activations",
                    ldnq_dtype_name(dtype), target->name);
    const struct ldnq_node *reader = quantizes ? linter->reader[node->outputs[0]->index] : node;
    if (is_dequantize(reader) && is_shared_int8(linter, reader))
        add_finding(linter, node, "shared-int8", LDNQ_SLOWER,
                    "quantize activations to uint8, or allow int8 where the model runs "
                    "(session.qdqisint8allowed)",
                    "its int8 codes have several readers, which compute in float on x64");
    if (target->symmetric && read_zero_point(node, &zero) && ldnq_dtype_is_signed(dtype) &&
        zero != 0)
        add_finding(linter, node, "symmetric", LDNQ_BROKEN, "use a symmetric range",
                    "its zero point is %g, and target %s needs 0", zero, target->name);
    if (target->power_of_two && read_scalar_scale(node, &scale) && frexpf(scale, &exponent) != 0.5f)
        add_finding(linter, node, "power-of-two", LDNQ_BROKEN, "round the scale to a power of two",
                    "its scale %g is no power of two", (double)scale);
}

/* Returns whether the target has an integer kernel for the weight, as far as it has codes. */
static bool check_weight(struct linter *linter, const struct ldnq_node *node,
                         const struct ldnq_node *source)
{
    const struct ldnq_target *target = linter->target;
    const unsigned bits = ldnq_dtype_bits(source->inputs[0]->dtype);
    size_t count;
    const float *scales = read_scales(source, &count);
    const bool per_tensor = ldnq_target_is_per_tensor(target, node->op_type);
    int exponent;
    linter->has_channels = linter->has_channels || count > 1;
    if (count > 1 && per_tensor)
        add_finding(linter, node, "weight-per-tensor", LDNQ_BROKEN, "use one scale for the weight",
                    "its weight has %zu scales, and target %s takes one", count, target->name);
    for (size_t i = 0; scales && target->power_of_two && i < count; i++)
        if (frexpf(scales[i], &exponent) != 0.5f) {
            add_finding(linter, node, "weight-power-of-two", LDNQ_BROKEN,
                        "round the weight's scales to powers of two",
                        "the scale %g of its weight is no power of two", (double)scales[i]);
            break;
        }
    if (target->weight_bits >> bits & 1)
        return true;
    add_finding(linter, node, "weight-bits", LDNQ_SLOWER,
                "store the weight in 8 bits, or turn Q/DQ fusion off where the model runs",
                "its weight has %u bits, which target %s dequantizes on every run", bits,
                target->name);
    return false;
}

/* Returns whether the bias lets the target compute on integers. */
static bool check_bias(struct linter *linter, const struct ldnq_node *node,
                       const struct ldnq_node *weight)
{
    const struct ldnq_target *target = linter->target;
    const struct ldnq_value *bias = node->input_count > 2 ? node->inputs[2] : NULL;
    const struct ldnq_node *source = bias && bias->constant ? find_dequantize(bias) : NULL;
    const struct ldnq_node *input = find_dequantize(node->inputs[0]);
    float in;
    if (!bias || !bias->constant)
        return true;
    if (target->bias == LDNQ_BIAS_FLOAT) {
        if (source)
            add_finding(linter, node, "bias-float", target->falls_back ? LDNQ_NOTE : LDNQ_BROKEN,
                        "store the bias as float32",
                        "its bias is quantized, and target %s reads it as float32", target->name);
        return true;
    }
    if (!source) {
        /* ONNX Runtime 1.32 quantizes it when it loads the model. */
        add_finding(linter, node, "bias-int32", target->falls_back ? LDNQ_NOTE : LDNQ_SLOWER,
                    "store the bias as int32 with a scale of input scale times weight scale",
                    "its bias is float32, and the kernels of target %s read int32", target->name);
        return target->falls_back;
    }
    size_t count, weight_count;
    const float *scales = read_scales(source, &count);
    const float *weights = read_scales(weight, &weight_count);
    if (!scales || !weights || !read_scalar_scale(input, &in) ||
        (weight_count != 1 && weight_count != count))
        return true;
    for (size_t i = 0; i < count; i++) {
        const float expected = in * weights[weight_count == count ? i : 0];
        if (!(fabsf(scales[i] - expected) <= 1e-5f * expected)) {
            add_finding(linter, node, "bias-scale", LDNQ_SLOWER,
                        "set the scale of the bias to input scale times weight scale",
                        "the scale of its bias is %g where input scale times weight scale is %g",
                        (double)scales[i], (double)expected);
            return false;
        }
    }
    return true;
}

static enum ldnq_severity find_severity_in_float(const struct linter *linter,
                                                 const struct ldnq_operator_rule *rule)
{
    return rule->weight || !linter->target->drops_unread_codes ? LDNQ_SLOWER : LDNQ_NOTE;
}

/* Returns whether the output lets the target compute on integers. */
static bool check_output(struct linter *linter, const struct ldnq_node *node,
                         const struct ldnq_operator_rule *rule)
{
    const struct ldnq_node *clamp;
    double zero;
    if (linter->target->pairs != LDNQ_PAIRS_AT_BOTH || rule->float_output)
        return true;
    const struct ldnq_node *after = find_only_quantize_reader(linter, node->outputs[0], &clamp);
    if (!after) {
        add_finding(linter, node, "output-pair", find_severity_in_float(linter, rule),
                    "add a QuantizeLinear and a DequantizeLinear after it",
                    "its output is not read by a QuantizeLinear alone, so that it computes in "
                    "float");
        return false;
    }
    const struct ldnq_node *reader = linter->reader[after->outputs[0]->index];
    if (is_dequantize(reader) && is_shared_int8(linter, reader))
        return false; /* check_activation_pair reports it */
    if (!clamp || strcmp(clamp->op_type, "Relu") != 0 || !read_zero_point(after, &zero))
        return true;
    const enum ldnq_dtype dtype = after->outputs[0]->dtype;
    const double least = !ldnq_dtype_is_signed(dtype)  ? 0
                         : ldnq_dtype_size(dtype) == 1 ? -128
                                                       : -32768;
    /* A target with its own Relu on integers, or with symmetric ranges, clamps the codes. */
    if (zero == least || linter->target->symmetric || ldnq_target_rule(linter->target, clamp))
        return true;
    add_finding(linter, clamp, "relu-range", LDNQ_SLOWER, "choose a range from 0 for the output",
                "the codes after it start below 0 (zero point %g), so that it stays and the layer "
                "before it computes in float",
                zero);
    return false;
}

/* How many inputs are activations, and which of them have codes. */
struct node_activations {
    size_t count, quantized, other_type; /* other_type: codes that no integer kernel reads */
    size_t missing;                      /* the last one without codes */
};

static struct node_activations list_activations(const struct linter *linter,
                                                const struct ldnq_node *node,
                                                const struct ldnq_operator_rule *rule)
{
    struct node_activations found = { .count = 0 };
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!value || value->dtype != LDNQ_FLOAT || !(rule->data_inputs >> (i < 31 ? i : 31) & 1) ||
            (rule->weight && value->constant))
            continue;
        const struct ldnq_node *pair = find_dequantize(value);
        found.count++;
        found.quantized += pair != NULL;
        found.missing = pair ? found.missing : i;
        found.other_type +=
            pair && (!(linter->target->activation_types & LDNQ_DTYPE_BIT(pair->inputs[0]->dtype)) ||
                     is_shared_int8(linter, pair));
    }
    return found;
}

/* The output of a layer that an Add reads without a pair, where the target fuses the two. */
static bool is_fused_residual(const struct linter *linter, const struct ldnq_node *node,
                              size_t input)
{
    const struct ldnq_node *producer = node->inputs[input]->producer;
    const struct ldnq_operator_rule *rule =
        producer ? ldnq_target_rule(linter->target, producer) : NULL;
    return linter->target->residual == LDNQ_RESIDUAL_SHORTCUT &&
           strcmp(node->op_type, "Add") == 0 && rule && rule->weight;
}

/* A Relu or Clip that the range of the codes after it stands for. */
static bool is_absorbed_clamp(const struct linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *before = node->inputs[0]->producer, *clamp;
    return linter->target->absorbs_clamps && before && !is_dequantize(before) &&
           ldnq_target_rule(linter->target, before) &&
           (strcmp(node->op_type, "Relu") == 0 || strcmp(node->op_type, "Clip") == 0) &&
           find_only_quantize_reader(linter, before->outputs[0], &clamp);
}

/* Whether one kernel of the target (ONNX Runtime's MatMulNBits) reads the codes of the weight
 * beside float activations. Seen with 1.32: it needs the weight as (K, M). A Transpose is moved
 * to the codes, but not past blocks, nor where MatMul and Add have become a Gemm. */
static bool fits_block_weight_kernel(const struct linter *linter, const struct ldnq_node *node,
                                     const struct ldnq_node *source)
{
    const unsigned bits = ldnq_dtype_bits(source->inputs[0]->dtype);
    const struct ldnq_tensor *scales = find_scale_constant(source);
    const struct ldnq_value *out = node->outputs[0];
    const struct ldnq_attr *transposes = ldnq_node_attr(node, "transB");
    const bool is_direct = node->inputs[1]->folded_from == source;
    if (!(linter->target->product_bits >> bits & 1))
        return false;
    if (strcmp(node->op_type, "Gemm") == 0)
        return is_direct && !(transposes && transposes->i);
    const bool has_bias = linter->readers[out->index] == 1 && !out->is_output &&
                          strcmp(linter->reader[out->index]->op_type, "Add") == 0;
    const bool is_blocked = scales && scales->shape.rank > 1;
    return strcmp(node->op_type, "MatMul") == 0 && (is_direct || (!is_blocked && !has_bias));
}

/* A layer of which the weight alone has codes. Returns whether one kernel reads the codes. */
static bool check_weights_only(struct linter *linter, const struct ldnq_node *node,
                               const struct ldnq_node *source)
{
    if (fits_block_weight_kernel(linter, node, source)) {
        add_finding(linter, node, "weights-only", LDNQ_NOTE, "compare its accuracy there",
                    "its weight alone has codes: one kernel reads them and rounds the input to 8 "
                    "bits");
        return true;
    }
    add_finding(linter, node, "weights-only", LDNQ_SLOWER,
                "quantize the activations too, or turn Q/DQ fusion off where the model runs",
                "its weight has codes and its input has none: the weight is dequantized on "
                "every run");
    return false;
}

/* The checks of an operator that computes. Returns whether it runs on integers. */
static bool check_node_runs_on_integers(struct linter *linter, const struct ldnq_node *node,
                                        const struct ldnq_operator_rule *rule)
{
    const struct ldnq_target *target = linter->target;
    const struct node_activations found = list_activations(linter, node, rule);
    const struct ldnq_value *weight =
        rule->weight && node->input_count > 1 && node->inputs[1] && node->inputs[1]->constant
            ? node->inputs[1]
            : NULL;
    const struct ldnq_node *source = weight ? find_weight_dequantize(weight) : NULL;
    if (source && found.quantized == 0)
        return check_weights_only(linter, node, source);
    if (found.quantized == 0) {
        add_finding(linter, node, "no-pairs", LDNQ_NOTE, "quantize its inputs",
                    "nothing that it reads has codes: it computes in float");
        return false;
    }
    if (weight && !source) {
        add_finding(linter, node, "weight-float", LDNQ_SLOWER, "quantize its weight",
                    "its input has codes and its weight has none: it computes in float between "
                    "conversions");
        return false;
    }
    if (found.quantized < found.count && !is_fused_residual(linter, node, found.missing)) {
        const bool is_fused_float = target->pairs == LDNQ_PAIRS_AT_INPUTS && !rule->weight;
        add_finding(linter, node, "input-pair",
                    is_fused_float ? LDNQ_NOTE : find_severity_in_float(linter, rule),
                    "add a QuantizeLinear and a DequantizeLinear before it",
                    "input %zu has no Q/DQ pair while others have, so that it computes in float",
                    found.missing);
        return false;
    }
    bool fits = found.other_type == 0; /* check_activation_pair has reported it */
    if (source)
        fits = check_weight(linter, node, source) && check_bias(linter, node, source) && fits;
    /* ONNX Runtime's rule of fusion for Gemm reads it. */
    if (source && target->falls_back && target->bias == LDNQ_BIAS_INT32 &&
        strcmp(node->op_type, "Gemm") == 0 && (source->input_count < 3 || !source->inputs[2])) {
        add_finding(linter, node, "weight-zero-point", LDNQ_SLOWER,
                    "add a zero point of 0 to the weight's DequantizeLinear",
                    "its weight has no zero point, without which a Gemm is not fused");
        fits = false;
    }
    return check_output(linter, node, rule) && fits;
}

static void check_computing_node(struct linter *linter, const struct ldnq_node *node,
                                 const struct ldnq_operator_rule *rule)
{
    if (is_absorbed_clamp(linter, node) || list_activations(linter, node, rule).count == 0)
        return;
    if (check_node_runs_on_integers(linter, node, rule))
        linter->lint->integer_nodes++;
    else
        linter->lint->float_nodes++;
}

static bool have_same_scale(const struct ldnq_node *a, const struct ldnq_node *b)
{
    float first, second;
    double zero_a, zero_b;
    return !read_scalar_scale(a, &first) || !read_scalar_scale(b, &second) ||
           !read_zero_point(a, &zero_a) || !read_zero_point(b, &zero_b) ||
           (first == second && zero_a == zero_b);
}

static void check_scale_passing_node(struct linter *linter, const struct ldnq_node *node,
                                     const struct ldnq_operator_rule *rule)
{
    const struct ldnq_node *before =
        node->inputs[0] && !node->inputs[0]->constant ? find_dequantize(node->inputs[0]) : NULL;
    const struct ldnq_node *clamp;
    linter->lint->integer_nodes += rule->on_codes && node->inputs[0]->dtype != LDNQ_FLOAT;
    if (!before)
        return;
    const struct ldnq_node *after = find_only_quantize_reader(linter, node->outputs[0], &clamp);
    if (after && !clamp && have_same_scale(before, after) && !rule->on_codes) {
        linter->lint->integer_nodes++;
        return;
    }
    linter->lint->float_nodes++;
    if (after && !clamp && rule->on_codes)
        add_finding(linter, node, "move-codes", LDNQ_SLOWER,
                    "place it between the QuantizeLinear and the DequantizeLinear before it",
                    "it is not fused with pairs around it, so that it moves floats");
    else if (after && !clamp)
        add_finding(linter, node, "same-scale", LDNQ_SLOWER,
                    "set scale and zero point of its output to those of its input",
                    "scales before and after it differ, so that it moves floats between "
                    "conversions");
    else
        add_finding(linter, node, "move-pair", LDNQ_NOTE, "add a pair of the same scale after it",
                    "it moves floats: its output has no pair of its own");
}

static void check_inputs_share_scale(struct linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *first = node->inputs[0] ? find_dequantize(node->inputs[0]) : NULL;
    for (size_t i = 1; first && i < node->input_count; i++) {
        const struct ldnq_node *other = node->inputs[i] ? find_dequantize(node->inputs[i]) : NULL;
        if (other && !have_same_scale(first, other)) {
            add_finding(linter, node, "one-scale", LDNQ_SLOWER,
                        "give all its inputs one scale and zero point",
                        "inputs 0 and %zu have different scales, and target %s needs one", i,
                        linter->target->name);
            return;
        }
    }
}

/* An operator that is an integer kernel itself: what ONNX Runtime makes of QDQ. */
static bool is_integer_kernel(const struct ldnq_node *node)
{
    return strncmp(node->op_type, "QLinear", 7) == 0 || strcmp(node->op_type, "QGemm") == 0 ||
           strcmp(node->op_type, "ConvInteger") == 0 ||
           strcmp(node->op_type, "MatMulInteger") == 0 || strcmp(node->op_type, "MatMulNBits") == 0;
}

static void check_node(struct linter *linter, const struct ldnq_node *node)
{
    if (is_quantize(node) || is_dequantize(node)) {
        check_activation_pair(linter, node);
        return;
    }
    if (is_integer_kernel(node) && linter->target->bias == LDNQ_BIAS_INT32 &&
        linter->target->falls_back)
        linter->lint->integer_nodes++;
    else if (is_integer_kernel(node) && linter->target->pairs != LDNQ_PAIRS_NONE)
        add_finding(
            linter, node, "operator-format", linter->target->falls_back ? LDNQ_NOTE : LDNQ_BROKEN,
            "write the model with Q/DQ pairs around float operators",
            "it is an integer operator, and target %s reads Q/DQ pairs", linter->target->name);
    const struct ldnq_operator_rule *rule = ldnq_target_rule(linter->target, node);
    if (!rule || rule->class == LDNQ_TAKES_NO_PAIR || ldnq_target_refuse_operator(rule, node))
        return;
    if (rule->class == LDNQ_PASSES_SCALE) {
        if (linter->target->pairs == LDNQ_PAIRS_AT_BOTH)
            check_scale_passing_node(linter, node, rule);
        return;
    }
    check_computing_node(linter, node, rule);
    if (rule->class == LDNQ_UNIFIES_SCALES)
        check_inputs_share_scale(linter, node);
}

static enum ldnq_status record_value_readers(struct linter *linter, struct ldnq_error *err)
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
    LDNQ_TRY(record_value_readers(&linter, err));
    for (size_t n = 0; n < graph->node_count; n++)
        check_node(&linter, graph->nodes[n]);
    /* Without scales per channel a target that runs any file takes older ones. */
    if (opset < target->opset_min && (linter.has_channels || !target->falls_back))
        add_finding(&linter, NULL, "opset", LDNQ_BROKEN, "raise the model's opset",
                    "the model has opset %d, and target %s needs at least %d", opset, target->name,
                    target->opset_min);
    *out = linter.lint;
    return linter.status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lint_weights.c: the rules of weights and biases. */
#include "target/lint_check.h"

#include <math.h>
#include <string.h>

/* ---- codes and scales of weights ----------------------------------------------------------------
 */

bool ldnq_check_weight_bits(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    const unsigned bits = source ? ldnq_dtype_bits(source->inputs[0]->dtype) : 0;
    if (!source || (linter->target->weight_bits >> bits & 1))
        return true;
    ldnq_lint_report(linter, node, LDNQ_SLOWER,
                     "store the weight in 8 bits, or turn Q/DQ fusion off where the model runs",
                     "its weight has %u bits, which target %s dequantizes on every run", bits,
                     linter->target->name);
    return false;
}

bool ldnq_check_weight_type(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    const enum ldnq_dtype dtype = source ? source->inputs[0]->dtype : LDNQ_INT8;
    if (ldnq_dtype_is_signed(dtype) || linter->target->unsigned_weights)
        return true;
    ldnq_lint_report(linter, node, ldnq_lint_severity(linter), "store the weight as int8",
                     "its weight is %s, and target %s takes signed codes alone",
                     ldnq_dtype_name(dtype), linter->target->name);
    return true;
}

/* Codes that lie in a byte each. */
static bool is_small_signed(enum ldnq_dtype dtype)
{
    return ldnq_dtype_is_signed(dtype) && ldnq_dtype_size(dtype) == 1;
}

bool ldnq_check_weight_symmetric(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    const struct ldnq_value *value = source && source->input_count > 2 ? source->inputs[2] : NULL;
    const struct ldnq_tensor *zeros = value ? value->constant : NULL;
    if (!linter->target->symmetric_weights || !zeros || !is_small_signed(zeros->dtype))
        return true;
    const int8_t *zero = zeros->data;
    for (size_t i = 0, count = ldnq_tensor_count(zeros); i < count; i++)
        if (zero[i] != 0) {
            ldnq_lint_report(linter, node, ldnq_lint_severity(linter),
                             "quantize the weight with a symmetric range",
                             "its weight has a zero point of %d, and target %s needs 0", zero[i],
                             linter->target->name);
            break;
        }
    return true;
}

bool ldnq_check_weight_narrow(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    const struct ldnq_tensor *codes = source ? source->inputs[0]->constant : NULL;
    if (!linter->target->narrow_weights || !codes || !is_small_signed(codes->dtype))
        return true;
    const int least = -(1 << (ldnq_dtype_bits(codes->dtype) - 1));
    if (!memchr(codes->data, least & 0xff, ldnq_tensor_count(codes)))
        return true;
    ldnq_lint_report(linter, node, linter->target->falls_back ? LDNQ_NOTE : LDNQ_BROKEN,
                     "quantize the weight to a symmetric range of codes",
                     "its weight has the code %d, and target %s uses %d to %d", least,
                     linter->target->name, least + 1, -least - 1);
    return true;
}

bool ldnq_check_weight_per_tensor(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    const struct ldnq_tensor *scales = source ? ldnq_lint_find_scale(source) : NULL;
    const size_t count = scales ? ldnq_tensor_count(scales) : 0;
    linter->has_channels = linter->has_channels || count > 1;
    /* onnxruntime-qnn 2.7 runs such a MatMul; the rules that QNN publishes have one scale. */
    if (count > 1 && ldnq_target_is_per_tensor(linter->target, node->op_type))
        ldnq_lint_report(linter, node, linter->target->per_channel ? LDNQ_NOTE : LDNQ_BROKEN,
                         "use one scale for the weight",
                         "its weight has %zu scales, and target %s takes one for %s%s", count,
                         linter->target->name, node->op_type,
                         linter->target->per_channel ? " in older releases" : "");
    return true;
}

bool ldnq_check_weight_power_of_two(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    size_t count;
    const float *scales = source ? ldnq_lint_read_scales(source, &count) : NULL;
    int exponent;
    for (size_t i = 0; scales && linter->target->power_of_two && i < count; i++)
        if (frexpf(scales[i], &exponent) != 0.5f) {
            ldnq_lint_report(linter, node, LDNQ_BROKEN,
                             "round the weight's scales to powers of two",
                             "the scale %g of its weight is no power of two", (double)scales[i]);
            break;
        }
    return true;
}

/* ONNX Runtime's rule of fusion for Gemm reads it. */
bool ldnq_check_weight_zero_point(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    const struct ldnq_node *source = ldnq_lint_find_weight(linter, node);
    if (!source || !target->falls_back || target->bias != LDNQ_BIAS_INT32 ||
        strcmp(node->op_type, "Gemm") != 0 || (source->input_count > 2 && source->inputs[2]))
        return true;
    ldnq_lint_report(linter, node, LDNQ_SLOWER,
                     "add a zero point of 0 to the weight's DequantizeLinear",
                     "its weight has no zero point, without which a Gemm is not fused");
    return false;
}

/* ---- the bias -----------------------------------------------------------------------------------
 */

/* The bias of a layer whose weight has codes; NULL: there is none, or it is computed. */
static const struct ldnq_value *find_bias(const struct ldnq_linter *linter,
                                          const struct ldnq_node *node)
{
    const struct ldnq_value *bias = node->input_count > 2 ? node->inputs[2] : NULL;
    return bias && bias->constant && ldnq_lint_find_weight(linter, node) ? bias : NULL;
}

bool ldnq_check_bias_float(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *bias = find_bias(linter, node);
    if (linter->target->bias == LDNQ_BIAS_FLOAT && bias && ldnq_lint_find_dequantize(bias))
        ldnq_lint_report(linter, node, linter->target->falls_back ? LDNQ_NOTE : LDNQ_BROKEN,
                         "store the bias as float32",
                         "its bias is quantized, and target %s reads it as float32",
                         linter->target->name);
    return true;
}

/* ONNX Runtime 1.32 quantizes a float bias when it loads the model. */
bool ldnq_check_bias_int32(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    const struct ldnq_value *bias = find_bias(linter, node);
    if (target->bias != LDNQ_BIAS_INT32 || !bias)
        return true;
    const struct ldnq_node *source = ldnq_lint_find_dequantize(bias);
    if (source && source->inputs[0]->dtype == LDNQ_INT32)
        return true;
    ldnq_lint_report(linter, node, target->falls_back ? LDNQ_NOTE : LDNQ_SLOWER,
                     "store the bias as int32 with a scale of input scale times weight scale",
                     "its bias is %s, and the kernels of target %s read int32",
                     source ? ldnq_dtype_name(source->inputs[0]->dtype) : "float32", target->name);
    return target->falls_back;
}

bool ldnq_check_bias_saturated(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *bias = find_bias(linter, node);
    const struct ldnq_node *source = bias ? ldnq_lint_find_dequantize(bias) : NULL;
    const struct ldnq_tensor *codes = source ? source->inputs[0]->constant : NULL;
    if (!codes || codes->dtype != LDNQ_INT32)
        return true;
    const int32_t *code = codes->data;
    for (size_t i = 0, count = ldnq_tensor_count(codes); i < count; i++)
        if (code[i] == INT32_MAX || code[i] == INT32_MIN) {
            ldnq_lint_report(linter, node, LDNQ_BROKEN,
                             "use a larger scale for the weights of this channel",
                             "the code of its bias is cut at 32 bits in channel %zu", i);
            break;
        }
    return true;
}

bool ldnq_check_bias_scale(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *bias = find_bias(linter, node);
    const struct ldnq_node *source = bias ? ldnq_lint_find_dequantize(bias) : NULL;
    const struct ldnq_node *input = ldnq_lint_find_dequantize(node->inputs[0]);
    size_t count, weight_count;
    float in;
    if (linter->target->bias != LDNQ_BIAS_INT32 || !source || !input)
        return true;
    const float *scales = ldnq_lint_read_scales(source, &count);
    const float *weights =
        ldnq_lint_read_scales(ldnq_lint_find_weight(linter, node), &weight_count);
    if (!scales || !weights || !ldnq_lint_read_scale(input, &in) ||
        (weight_count != 1 && weight_count != count && count != 1))
        return true;
    for (size_t i = 0; i < (count > weight_count ? count : weight_count); i++) {
        const float scale = scales[count > 1 ? i : 0];
        const float expected = in * weights[weight_count > 1 ? i : 0];
        if (!(fabsf(scale - expected) <= 1e-5f * fabsf(expected))) {
            ldnq_lint_report(linter, node, LDNQ_SLOWER,
                             "set the scale of the bias to input scale times weight scale",
                             "the scale of its bias is %g where input scale times weight scale is "
                             "%g",
                             (double)scale, (double)expected);
            return false;
        }
    }
    return true;
}

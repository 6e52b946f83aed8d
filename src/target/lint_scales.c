/* SPDX-License-Identifier: Apache-2.0 */
/* lint_scales.c: the rules of scales and zero points of activations. */
#include "target/lint_check.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "target/placement.h"

/* ---- one pair ------------------------------------------------------------------------------- */

bool ldnq_check_activation_type(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    const enum ldnq_dtype dtype = ldnq_lint_code_type(node);
    if (dtype != LDNQ_UNDEFINED && !(target->activation_types & LDNQ_DTYPE_BIT(dtype)))
        ldnq_lint_report(linter, node, ldnq_lint_severity(linter),
                         "quantize activations to a type that the target takes",
                         "its codes are %s, which target %s does not take for activations",
                         ldnq_dtype_name(dtype), target->name);
    return true;
}

bool ldnq_check_shared_int8(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *reader =
        ldnq_lint_is_quantize(node) ? linter->reader[node->outputs[0]->index] : node;
    if (ldnq_lint_is_dequantize(reader) && ldnq_lint_is_shared_int8(linter, reader))
        ldnq_lint_report(linter, node, LDNQ_SLOWER,
                         "quantize activations to uint8, or allow int8 where the model runs "
                         "(session.qdqisint8allowed)",
                         "its int8 codes have several readers, which compute in float on x64");
    return true;
}

bool ldnq_check_symmetric(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    const enum ldnq_dtype dtype = ldnq_lint_code_type(node);
    const bool is_symmetric =
        target->symmetric || (target->symmetric_16 && ldnq_dtype_size(dtype) == 2);
    double zero;
    if (is_symmetric && ldnq_lint_read_zero_point(node, &zero) && ldnq_dtype_is_signed(dtype) &&
        zero != 0)
        ldnq_lint_report(linter, node, LDNQ_BROKEN, "use a symmetric range",
                         "its zero point is %g, and target %s needs 0", zero, target->name);
    return true;
}

bool ldnq_check_power_of_two(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    float scale;
    int exponent;
    if (linter->target->power_of_two && ldnq_lint_read_scale(node, &scale) &&
        frexpf(scale, &exponent) != 0.5f)
        ldnq_lint_report(linter, node, LDNQ_BROKEN, "round the scale to a power of two",
                         "its scale %g is no power of two", (double)scale);
    return true;
}

/* The pair itself, or the DequantizeLinear of a layer's weight; NULL: none. */
static const struct ldnq_node *find_checked_pair(const struct ldnq_linter *linter,
                                                 const struct ldnq_node *node)
{
    const bool is_pair = ldnq_lint_is_quantize(node) || ldnq_lint_is_dequantize(node);
    return is_pair ? node : ldnq_lint_find_weight(linter, node);
}

bool ldnq_check_constant_scale(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *pair = find_checked_pair(linter, node);
    if (pair && !ldnq_lint_find_scale(pair))
        ldnq_lint_report(
            linter, node, LDNQ_BROKEN, "store its scale as an initializer",
            "its scale is computed when the model runs, and target %s needs a constant",
            linter->target->name);
    return true;
}

bool ldnq_check_positive_scale(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *pair = find_checked_pair(linter, node);
    size_t count;
    const float *scales = pair ? ldnq_lint_read_scales(pair, &count) : NULL;
    /* Weights alone are dequantized by any factor. */
    const bool takes_negative = pair != node && linter->target->negative_scales;
    for (size_t i = 0; scales && i < count; i++)
        if (!(scales[i] > 0 || (takes_negative && scales[i] < 0)) || !isfinite(scales[i])) {
            ldnq_lint_report(linter, node, LDNQ_BROKEN,
                             takes_negative ? "use a scale other than 0" : "use a scale above 0",
                             "the scale %g %sis not %s and finite", (double)scales[i],
                             pair == node ? "" : "of its weight ",
                             takes_negative ? "other than 0" : "above 0");
            break;
        }
    return true;
}

static double count_steps(enum ldnq_dtype dtype)
{
    return ldexp(1.0, (int)(8 * ldnq_dtype_size(dtype))) - 1.0;
}

bool ldnq_check_least_range(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const double least = (double)linter->target->least_range;
    float scale;
    if (!(least > 0) || !ldnq_lint_read_scale(node, &scale) ||
        ldnq_lint_code_type(node) == LDNQ_UNDEFINED)
        return true;
    const double range = (double)scale * count_steps(ldnq_lint_code_type(node));
    if (!(range >= least * (1 - 1e-5)))
        ldnq_lint_report(linter, node, LDNQ_BROKEN, "widen its range",
                         "its codes cover a range of %g, and target %s needs at least %g", range,
                         linter->target->name, least);
    return true;
}

/* ---- the pair after an operator ----------------------------------------------------------------
 */

bool ldnq_check_fixed_range(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_operator_rule *rule = linter->rule;
    const struct ldnq_node *clamp;
    float scale;
    double zero;
    const struct ldnq_node *after = ldnq_lint_find_quantize(linter, node->outputs[0], &clamp);
    if (!linter->target->every_tensor || !(rule->low < rule->high) || !after ||
        !ldnq_lint_read_scale(after, &scale) || !ldnq_lint_read_zero_point(after, &zero))
        return true;
    const enum ldnq_dtype dtype = after->outputs[0]->dtype;
    if (rule->fixed_types && !(rule->fixed_types & LDNQ_DTYPE_BIT(dtype)))
        return true;
    const struct ldnq_scale fixed =
        ldnq_target_scale(linter->target, dtype, (double)rule->low, (double)rule->high, true);
    if (fabsf(scale - fixed.scale) <= 1e-6f * fixed.scale && zero == fixed.zero_point)
        return true;
    /* onnxruntime-qnn puts its own range in place of another; a converter to LiteRT does not. */
    ldnq_lint_report(linter, node, rule->fixed_types ? LDNQ_NOTE : LDNQ_BROKEN,
                     "set the output's scale and zero point to these",
                     "its output has scale %g and zero point %g, and target %s needs %g and %d",
                     (double)scale, zero, linter->target->name, (double)fixed.scale,
                     (int)fixed.zero_point);
    return true;
}

bool ldnq_check_relu_range(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_target *target = linter->target;
    const struct ldnq_node *clamp;
    double zero;
    if (target->pairs != LDNQ_PAIRS_AT_BOTH || linter->rule->float_output)
        return true;
    const struct ldnq_node *after = ldnq_lint_find_quantize(linter, node->outputs[0], &clamp);
    /* A target with its own Relu on integers, or with symmetric ranges, clamps the codes. */
    if (!after || !clamp || strcmp(clamp->op_type, "Relu") != 0 || target->symmetric ||
        ldnq_target_rule(target, clamp) || !ldnq_lint_read_zero_point(after, &zero))
        return true;
    const enum ldnq_dtype dtype = after->outputs[0]->dtype;
    if (zero == (ldnq_dtype_is_signed(dtype) ? -(count_steps(dtype) + 1) / 2 : 0))
        return true;
    ldnq_lint_report(linter, clamp, LDNQ_SLOWER, "choose a range from 0 for the output",
                     "the codes after it start below 0 (zero point %g), so that it stays and the "
                     "layer before it computes in float",
                     zero);
    return false;
}

/* ---- scales around an operator --------------------------------------------------------------- */

bool ldnq_check_same_scale(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *before = ldnq_lint_find_dequantize(node->inputs[0]), *clamp;
    for (size_t o = 0; !linter->rule->on_codes && o < node->output_count; o++) {
        const struct ldnq_node *after = ldnq_lint_find_quantize(linter, node->outputs[o], &clamp);
        if (!after || clamp || ldnq_lint_have_same_scale(before, after))
            continue;
        ldnq_lint_report(linter, node, ldnq_lint_severity(linter),
                         "set scale and zero point of its output to those of its input",
                         "scales before and after it differ, so that it moves floats between "
                         "conversions");
        return false;
    }
    return true;
}

bool ldnq_check_one_scale(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const enum ldnq_operator_class class = linter->rule ? linter->rule->class : LDNQ_RUNS_FLOAT;
    const struct ldnq_node *clamp;
    if (class != LDNQ_UNIFIES_SCALES && class != LDNQ_UNIFIES_INPUTS && class != LDNQ_TAKES_NO_PAIR)
        return true;
    const struct ldnq_node *first =
        node->inputs[0] ? ldnq_lint_find_dequantize(node->inputs[0]) : NULL;
    for (size_t i = 1; first && i < node->input_count; i++) {
        const struct ldnq_node *other = ldnq_lint_is_activation(linter, node, i)
                                            ? ldnq_lint_find_dequantize(node->inputs[i])
                                            : NULL;
        if (!other || ldnq_lint_have_same_scale(first, other))
            continue;
        ldnq_lint_report(linter, node, ldnq_lint_severity(linter),
                         "give all its inputs one scale and zero point",
                         "inputs 0 and %zu have different scales, and target %s needs one", i,
                         linter->target->name);
        return true;
    }
    const struct ldnq_node *after = ldnq_lint_find_quantize(linter, node->outputs[0], &clamp);
    if (first && after && class == LDNQ_UNIFIES_SCALES &&
        linter->target->pairs == LDNQ_PAIRS_AT_BOTH && !ldnq_lint_have_same_scale(first, after))
        ldnq_lint_report(linter, node, ldnq_lint_severity(linter),
                         "set scale and zero point of its output to those of its inputs",
                         "its output has another scale than its inputs, and target %s needs one",
                         linter->target->name);
    return true;
}

/* A kernel has one type of codes. Where pairs are at inputs alone, the runtime chooses the output's
 * and mixes those of 8 bits. */
bool ldnq_check_one_type(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *first = NULL, *other = NULL, *clamp;
    if (linter->target->pairs != LDNQ_PAIRS_AT_BOTH)
        return true;
    for (size_t i = 0; i < node->input_count + node->output_count; i++) {
        const struct ldnq_node *pair = NULL;
        if (i >= node->input_count)
            pair = ldnq_lint_find_quantize(linter, node->outputs[i - node->input_count], &clamp);
        else if (ldnq_lint_is_activation(linter, node, i))
            pair = ldnq_lint_find_dequantize(node->inputs[i]);
        first = first ? first : pair;
        if (pair && ldnq_lint_code_type(pair) != ldnq_lint_code_type(first))
            other = pair;
    }
    if (other)
        ldnq_lint_report(linter, node, ldnq_lint_severity(linter),
                         "convert them by pairs of its type before and after it",
                         "it reads or writes codes of %s and of %s, and target %s has no kernel "
                         "that mixes types",
                         ldnq_dtype_name(ldnq_lint_code_type(first)),
                         ldnq_dtype_name(ldnq_lint_code_type(other)), linter->target->name);
    return true;
}

/* Widens low and high to what the codes of the pair reach; false where that is not known, or the
 * range is fixed by the operator before it. */
static bool widen_to_pair(const struct ldnq_linter *linter, const struct ldnq_node *pair,
                          float *least_scale, double *low, double *high)
{
    float scale;
    double zero;
    if (!pair || !ldnq_lint_read_scale(pair, &scale) || !ldnq_lint_read_zero_point(pair, &zero))
        return false;
    const struct ldnq_node *quantize =
        ldnq_lint_is_quantize(pair) ? pair : pair->inputs[0]->producer;
    const struct ldnq_node *writer = quantize ? quantize->inputs[0]->producer : NULL;
    const struct ldnq_operator_rule *rule =
        writer ? ldnq_target_rule(linter->target, writer) : NULL;
    const enum ldnq_dtype dtype = ldnq_lint_code_type(pair);
    const double steps = count_steps(dtype);
    const double first = ldnq_dtype_is_signed(dtype) ? -(steps + 1) / 2 : 0;
    *least_scale = fminf(*least_scale, scale);
    *low = fmin(*low, (first - zero) * (double)scale);
    *high = fmax(*high, (first + steps - zero) * (double)scale);
    return !rule || !(rule->low < rule->high);
}

bool ldnq_check_near_scale(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *clamp;
    const struct ldnq_node *after = ldnq_lint_find_quantize(linter, node->outputs[0], &clamp);
    float least = INFINITY;
    double low = 0, high = 0;
    bool is_same = true;
    if (linter->rule->class != LDNQ_UNIFIES_NEAR_SCALES || clamp ||
        !widen_to_pair(linter, after, &least, &low, &high))
        return true;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_node *pair = ldnq_lint_find_dequantize(node->inputs[i]);
        if (!widen_to_pair(linter, pair, &least, &low, &high))
            return true;
        is_same = is_same && ldnq_lint_have_same_scale(pair, after);
    }
    const struct ldnq_scale joined =
        ldnq_target_scale(linter->target, after->outputs[0]->dtype, low, high, false);
    if (!is_same && joined.scale <= LDNQ_NEAR_SCALES * least)
        ldnq_lint_report(linter, node, LDNQ_SLOWER,
                         "give its inputs and its output one scale and zero point",
                         "the scales of its inputs and its output differ by less than %.3g %%",
                         100.0 * ((double)LDNQ_NEAR_SCALES - 1.0));
    return true;
}

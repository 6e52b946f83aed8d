/* SPDX-License-Identifier: Apache-2.0 */
/* scale.c: from a range of reals to the scale and zero point of integer codes. */
#include "target/placement.h"

#include <math.h>

static void code_range(enum ldnq_dtype dtype, double *least, double *most)
{
    const int bits = (int)ldnq_dtype_bits(dtype);
    const bool is_signed = ldnq_dtype_is_signed(dtype);
    *least = is_signed ? -ldexp(1.0, bits - 1) : 0.0;
    *most = *least + ldexp(1.0, bits) - 1.0;
}

/* The scale as a float for which the whole range of codes stays within it: ONNX Runtime
 * drops a Clip only where the codes imply it exactly. */
static float round_scale_down(double scale, double codes, double reals)
{
    float rounded = (float)scale;
    while ((double)(rounded * (float)codes) > reals)
        rounded = nextafterf(rounded, 0.0f);
    return rounded;
}

struct ldnq_scale ldnq_target_scale(const struct ldnq_target *target, enum ldnq_dtype dtype,
                                    double low, double high, bool fixed)
{
    double least, most;
    struct ldnq_scale result;
    code_range(dtype, &least, &most);
    low = fmin(low, 0.0);
    high = fmax(high, 0.0);
    const double reals = fmax(high - low, target->least_range);
    const bool symmetric =
        target->symmetric || (target->symmetric_16 && ldnq_dtype_size(dtype) == 2);
    const double middle = ldnq_dtype_is_signed(dtype) ? 0.0 : (least + most + 1.0) / 2.0;
    if (!(reals > 0) || !isfinite(reals))
        return (struct ldnq_scale){ .scale = 1.0f,
                                    .zero_point = (int32_t)(symmetric ? middle : least) };
    if (symmetric) {
        const double codes = fixed ? most - middle + 1.0 : most - middle;
        double scale = fmax(fmax(high, -low), target->least_range / 2.0) / codes;
        if (target->power_of_two)
            scale = exp2(ceil(log2(scale)));
        result.scale = (float)scale;
        result.zero_point = (int32_t)middle;
    } else {
        const double codes = fixed ? most - least + 1.0 : most - least;
        result.scale =
            fixed ? (float)(reals / codes) : round_scale_down(reals / codes, codes, reals);
        result.zero_point = (int32_t)(least + nearbyint(-low / (double)result.scale));
    }
    /* Too small for a float is too small for anyone to see. */
    if (!(result.scale >= 1e-37f))
        result.scale = 1e-37f;
    return result;
}

/* ---- scales that differ little ----------------------------------------------------------------
 */

/* Finds the pair whose DequantizeLinear writes the value, or whose QuantizeLinear reads it. */
static const struct ldnq_placed_activation *find_pair_of(const struct ldnq_placement *placement,
                                                         const struct ldnq_value *value)
{
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].dequantized == value ||
            placement->activations[a].value == value)
            return &placement->activations[a];
    return NULL;
}

static float scale_of(const struct ldnq_placed_activation *activation)
{
    return *(const float *)activation->scale->constant->data;
}

/* The scale for all reals that the codes of these activations reach. */
static struct ldnq_scale join_scales(const struct ldnq_placement *placement,
                                     const struct ldnq_placed_activation *const *pairs,
                                     size_t count)
{
    double least, most, low = 0, high = 0;
    code_range(pairs[0]->dtype, &least, &most);
    for (size_t i = 0; i < count; i++) {
        const int32_t zero = ldnq_activation_zero_point(pairs[i]);
        low = fmin(low, (least - zero) * (double)scale_of(pairs[i]));
        high = fmax(high, (most - zero) * (double)scale_of(pairs[i]));
    }
    return ldnq_target_scale(placement->target, pairs[0]->dtype, low, high, false);
}

static bool has_fixed_range(const struct ldnq_placement *placement, size_t group)
{
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].group == group && placement->activations[a].fixed)
            return true;
    return false;
}

static void unify_near_scales_of(struct ldnq_placement *placement,
                                 const struct ldnq_placed_activation *const *pairs, size_t count)
{
    float least = INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (!pairs[i] || has_fixed_range(placement, pairs[i]->group))
            return; /* a kernel has one type: that of the first is that of all */
        least = fminf(least, scale_of(pairs[i]));
    }
    const struct ldnq_scale joined = join_scales(placement, pairs, count);
    if (!(joined.scale <= LDNQ_NEAR_SCALES * least))
        return;
    for (size_t i = 0; i < count; i++)
        for (size_t a = 0; a < placement->count; a++)
            if (placement->activations[a].group == pairs[i]->group)
                ldnq_activation_set_scale(&placement->activations[a], joined);
}

/* More inputs than this are left as they are. */
#define MOST_INPUTS 64

void ldnq_placement_unify_near_scales(struct ldnq_placement *placement)
{
    for (size_t n = 0; n < placement->graph->node_count; n++) {
        const struct ldnq_placed_activation *pairs[MOST_INPUTS + 1];
        const struct ldnq_node *node = placement->graph->nodes[n];
        const struct ldnq_operator_rule *rule = ldnq_target_rule(placement->target, node);
        if (!rule || rule->class != LDNQ_UNIFIES_NEAR_SCALES || node->input_count > MOST_INPUTS)
            continue;
        for (size_t i = 0; i < node->input_count; i++)
            pairs[i] = find_pair_of(placement, node->inputs[i]);
        pairs[node->input_count] = find_pair_of(placement, node->outputs[0]);
        unify_near_scales_of(placement, pairs, node->input_count + 1);
    }
}

/* ---- codes of constants -----------------------------------------------------------------------
 */

/* Codes of less than 8 bits have a byte each. */
static void store_tensor_code(struct ldnq_tensor *tensor, size_t i, int32_t code)
{
    if (ldnq_dtype_size(tensor->dtype) == 1)
        ((uint8_t *)tensor->data)[i] = (uint8_t)code;
    else
        ((uint16_t *)tensor->data)[i] = (uint16_t)code;
}

/* As QuantizeLinear: ties to even, saturated. */
static int32_t quantize_to_code(float x, float scale, int32_t zero_point, enum ldnq_dtype dtype)
{
    double least, most;
    code_range(dtype, &least, &most);
    return (int32_t)fmin(fmax(nearbyint((double)(x / scale)) + zero_point, least), most);
}

void ldnq_activation_set_scale(struct ldnq_placed_activation *activation, struct ldnq_scale scale)
{
    struct ldnq_tensor *zero = (struct ldnq_tensor *)(uintptr_t)activation->zero_point->constant;
    *(float *)activation->scale->constant->data = scale.scale;
    store_tensor_code(zero, 0, scale.zero_point);
    if (!activation->is_constant)
        return;
    const float *from = activation->value->constant->data;
    float *to = activation->dequantized->constant->data;
    for (size_t i = 0, count = ldnq_tensor_count(activation->value->constant); i < count; i++) {
        const int32_t code = quantize_to_code(from[i], scale.scale, scale.zero_point, zero->dtype);
        to[i] = (float)(code - scale.zero_point) * scale.scale;
    }
}

float ldnq_activation_find_largest_scale(const struct ldnq_placed_activation *activation)
{
    double least, most;
    const int32_t zero = ldnq_activation_zero_point(activation);
    float largest = INFINITY;
    code_range(activation->dtype, &least, &most);
    if (isfinite(activation->high) && most > zero)
        largest = round_scale_down((double)activation->high / (most - zero), most - zero,
                                   (double)activation->high);
    if (isfinite(activation->low) && least < zero)
        largest = fminf(largest, round_scale_down((double)activation->low / (least - zero),
                                                  zero - least, -(double)activation->low));
    return largest;
}

enum ldnq_status ldnq_activation_codes(const struct ldnq_placed_activation *activation,
                                       struct ldnq_arena *arena, struct ldnq_tensor **out,
                                       struct ldnq_error *err)
{
    const struct ldnq_tensor *zero = activation->zero_point->constant;
    const float scale = *(const float *)activation->scale->constant->data;
    const float *x = activation->value->constant->data;
    LDNQ_TRY(ldnq_tensor_create(arena, zero->dtype, &activation->value->constant->shape, out, err));
    for (size_t i = 0, count = ldnq_tensor_count(*out); i < count; i++)
        store_tensor_code(
            *out, i,
            quantize_to_code(x[i], scale, (int32_t)ldnq_tensor_load_integer(zero, 0), zero->dtype));
    return LDNQ_OK;
}

const char *ldnq_activation_name(const struct ldnq_placed_activation *activation)
{
    return activation->replaces_graph_output ? activation->dequantized->name
                                             : activation->value->name;
}

int32_t ldnq_activation_zero_point(const struct ldnq_placed_activation *activation)
{
    return (int32_t)ldnq_tensor_load_integer(activation->zero_point->constant, 0);
}

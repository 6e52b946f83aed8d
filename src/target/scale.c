/* scale.c: from a range of reals to the scale and zero point of integer codes. */
#include "target/placement.h"

#include <math.h>

static void code_range(enum ldnq_dtype dtype, double *least, double *most)
{
    const int bits = (int)(8 * ldnq_dtype_size(dtype));
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
    if (!(reals > 0) || !isfinite(reals))
        return (struct ldnq_scale){ .scale = 1.0f, .zero_point = (int32_t)least };
    const bool symmetric =
        target->symmetric || (target->symmetric_16 && ldnq_dtype_size(dtype) == 2);
    if (symmetric) {
        const double middle = ldnq_dtype_is_signed(dtype) ? 0.0 : (least + most + 1.0) / 2.0;
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

static void store_tensor_code(struct ldnq_tensor *tensor, size_t i, int32_t code)
{
    switch (tensor->dtype) {
    case LDNQ_UINT8:
        ((uint8_t *)tensor->data)[i] = (uint8_t)code;
        break;
    case LDNQ_INT8:
        ((int8_t *)tensor->data)[i] = (int8_t)code;
        break;
    case LDNQ_UINT16:
        ((uint16_t *)tensor->data)[i] = (uint16_t)code;
        break;
    default:
        ((int16_t *)tensor->data)[i] = (int16_t)code;
        break;
    }
}

static int32_t load_tensor_code(const struct ldnq_tensor *tensor, size_t i)
{
    switch (tensor->dtype) {
    case LDNQ_UINT8:
        return ((const uint8_t *)tensor->data)[i];
    case LDNQ_INT8:
        return ((const int8_t *)tensor->data)[i];
    case LDNQ_UINT16:
        return ((const uint16_t *)tensor->data)[i];
    default:
        return ((const int16_t *)tensor->data)[i];
    }
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

enum ldnq_status ldnq_activation_codes(const struct ldnq_placed_activation *activation,
                                       struct ldnq_arena *arena, struct ldnq_tensor **out,
                                       struct ldnq_error *err)
{
    const struct ldnq_tensor *zero = activation->zero_point->constant;
    const float scale = *(const float *)activation->scale->constant->data;
    const float *x = activation->value->constant->data;
    LDNQ_TRY(ldnq_tensor_create(arena, zero->dtype, &activation->value->constant->shape, out, err));
    for (size_t i = 0, count = ldnq_tensor_count(*out); i < count; i++)
        store_tensor_code(*out, i,
                          quantize_to_code(x[i], scale, load_tensor_code(zero, 0), zero->dtype));
    return LDNQ_OK;
}

const char *ldnq_activation_name(const struct ldnq_placed_activation *activation)
{
    return activation->replaces_graph_output ? activation->dequantized->name
                                             : activation->value->name;
}

int32_t ldnq_activation_zero_point(const struct ldnq_placed_activation *activation)
{
    return load_tensor_code(activation->zero_point->constant, 0);
}

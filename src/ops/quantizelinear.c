/* quantizelinear.c: QuantizeLinear and DequantizeLinear.
 *
 * Shapes  x, y any; scale and zero point: one for all, one for each index of
 *         `axis`, or one for each block of block_size indices along it (scale
 *         then has x's shape with ceil(size / block_size) at `axis`).
 *         Types below a byte are one element a byte.
 *
 * y = clamp(round(x / scale) + zero), half to even;  x = (y - zero) * scale
 *
 * x is cut into segments along which the scale stands still or goes on by one
 * with each element; a kernel does one segment.
 */
#include "ops/op.h"


#include "base/size.h"

#define BITS(dtype) LDNQ_DTYPE_BIT(LDNQ_##dtype)
#define SMALL_TYPES                                                                                \
    (BITS(UINT8) | BITS(INT8) | BITS(UINT16) | BITS(INT16) | BITS(UINT4) | BITS(INT4) |            \
     BITS(UINT2) | BITS(INT2))

struct segments {
    const char *x, *zero; /* zero may be NULL */
    char *y;
    const float *scale;
    size_t x_size, y_size, zero_size;
    size_t outer, size, inner; /* x around the axis; size 1 for one scale */
    size_t block, blocks;      /* block 0: none */
    size_t scale_step;         /* along a segment: 0 or 1 */
    float low, high;           /* QuantizeLinear's range of codes */
    void (*run)(const struct segments *segments, const char *x, char *y, const float *scale,
                const char *zero, size_t count);
};

/* ---- kernels ------------------------------------------------------------------------ */

/* 2^23 + 2^22: adding it leaves no bits for a fraction, and the processor rounds
 * to even. Right for all |v| < 2^22, which codes of 16 bits are. */
#define ROUNDER 12582912.0f

static inline float code_of(float x, float scale, float low, float high)
{
    float v = x / scale;
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (v + ROUNDER) - ROUNDER;
}

/* The range is moved by the zero point, so that rounding comes after it. */
#define QUANTIZE(name, T, X)                                                                       \
    static void name(const struct segments *s, const char *x_, char *y_, const float *scale,       \
                     const char *zero_, size_t count)                                              \
    {                                                                                              \
        const X *x = (const void *)x_;                                                             \
        T *y = (void *)y_;                                                                         \
        const T *zero = (const void *)zero_;                                                       \
        if (s->scale_step == 0) {                                                                  \
            const float z = zero ? (float)*zero : 0.0f, a = *scale;                                \
            const float low = s->low - z, high = s->high - z;                                      \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = (T)(int32_t)(code_of((float)x[i], a, low, high) + z);                       \
            return;                                                                                \
        }                                                                                          \
        for (size_t i = 0; i < count; i++) {                                                       \
            const float z = zero ? (float)zero[i] : 0.0f;                                          \
            y[i] = (T)(int32_t)(code_of((float)x[i], scale[i], s->low - z, s->high - z) + z);      \
        }                                                                                          \
    }

QUANTIZE(quantize_int8, int8_t, float)
QUANTIZE(quantize_uint8, uint8_t, float)
QUANTIZE(quantize_int16, int16_t, float)
QUANTIZE(quantize_uint16, uint16_t, float)
QUANTIZE(requantize_int8, int8_t, int32_t)
QUANTIZE(requantize_uint8, uint8_t, int32_t)
QUANTIZE(requantize_int16, int16_t, int32_t)
QUANTIZE(requantize_uint16, uint16_t, int32_t)

/* D is wide enough for the difference. */
#define DEQUANTIZE(name, T, D)                                                                     \
    static void name(const struct segments *s, const char *x_, char *y_, const float *scale,       \
                     const char *zero_, size_t count)                                              \
    {                                                                                              \
        const T *x = (const void *)x_;                                                             \
        float *y = (void *)y_;                                                                     \
        const T *zero = (const void *)zero_;                                                       \
        if (s->scale_step == 0) {                                                                  \
            const D z = zero ? *zero : 0;                                                          \
            const float a = *scale;                                                                \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = (float)((D)x[i] - z) * a;                                                   \
            return;                                                                                \
        }                                                                                          \
        for (size_t i = 0; i < count; i++)                                                         \
            y[i] = (float)((D)x[i] - (zero ? zero[i] : 0)) * scale[i];                             \
    }

DEQUANTIZE(dequantize_int8, int8_t, int32_t)
DEQUANTIZE(dequantize_uint8, uint8_t, int32_t)
DEQUANTIZE(dequantize_int16, int16_t, int32_t)
DEQUANTIZE(dequantize_uint16, uint16_t, int32_t)
DEQUANTIZE(dequantize_int32, int32_t, int64_t)

/* ---- segments -------------------------------------------------------------------------- */

/* Where segment i lies in x, how long it is, and which scale it starts with. */
static void locate(const struct segments *s, size_t i, size_t *at, size_t *count, size_t *scale)
{
    if (s->inner > 1) {
        size_t index = i % s->size, outer = i / s->size;
        *at = i * s->inner;
        *count = s->inner;
        *scale = s->block ? (outer * s->blocks + index / s->block) * s->inner : index;
    } else if (s->block) {
        size_t start = i % s->blocks * s->block;
        *at = i / s->blocks * s->size + start;
        *count = ldnq_size_min(s->block, s->size - start);
        *scale = i;
    } else {
        *at = i * s->size;
        *count = s->size;
        *scale = 0;
    }
}

static void run_segments(const void *ctx, size_t first, size_t last)
{
    const struct segments *s = ctx;
    for (size_t i = first; i < last; i++) {
        size_t at, count, scale;
        locate(s, i, &at, &count, &scale);
        s->run(s, s->x + at * s->x_size, s->y + at * s->y_size, s->scale + scale,
               s->zero ? s->zero + scale * s->zero_size : NULL, count);
    }
}

/* One scale for all: pieces of equal length. */
static void run_whole(const void *ctx, size_t first, size_t last)
{
    const struct segments *s = ctx;
    s->run(s, s->x + first * s->x_size, s->y + first * s->y_size, s->scale, s->zero,
           last - first);
}

static enum ldnq_status run_all(const struct ldnq_op_call *call, struct segments *s)
{
    const struct ldnq_tensor *x = call->in[0], *scale = call->in[1], *zero = ldnq_op_in(call, 2);
    size_t count = ldnq_tensor_count(x);
    int axis = 0;
    s->x = x->data;
    s->y = call->out[0].data;
    s->scale = scale->data;
    s->zero = zero ? zero->data : NULL;
    s->x_size = ldnq_dtype_size(x->dtype);
    s->y_size = ldnq_dtype_size(call->out[0].dtype);
    s->zero_size = zero ? ldnq_dtype_size(zero->dtype) : 0;
    if (count == 0)
        return LDNQ_OK;
    if (ldnq_tensor_count(scale) == 1) {
        ldnq_op_for_ranges(call, count, run_whole, s);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_op_axis(ldnq_attr_int(call->node, "axis", 1), x->shape.rank, &axis, NULL));
    struct ldnq_split_at at = ldnq_op_split_at(&x->shape, axis);
    s->outer = at.outer;
    s->size = at.size;
    s->inner = at.inner;
    s->block = scale->shape.rank > 1 ? (size_t)ldnq_attr_int(call->node, "block_size", 0) : 0;
    s->blocks = s->block ? ldnq_size_ceil_div(s->size, s->block) : 0;
    s->scale_step = (s->inner > 1) == (s->block > 0);
    size_t segments = s->outer * (s->inner > 1 ? s->size : s->block ? s->blocks : 1);
    ldnq_op_for_rows(call, segments, count / segments, run_segments, s);
    return LDNQ_OK;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static enum ldnq_status misfit(const struct ldnq_op_call *call, const struct ldnq_tensor *scale,
                               struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    return ldnq_fail(err, LDNQ_MODEL, "its scale of shape %s does not fit its input of shape %s",
                     ldnq_shape_print(&scale->shape, NULL, y, sizeof y),
                     ldnq_shape_print(&call->in[0]->shape, NULL, x, sizeof x));
}

static bool agree(int64_t a, int64_t b)
{
    return a == b || ldnq_is_symbol(a) || ldnq_is_symbol(b);
}

static enum ldnq_status check_scale(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *scale = call->in[1];
    const struct ldnq_shape *x = &call->in[0]->shape;
    int64_t block = ldnq_attr_int(call->node, "block_size", 0);
    size_t count;
    int axis;
    if (x->rank < 0 || scale->shape.rank < 0 || !ldnq_shape_count(&scale->shape, &count))
        return LDNQ_OK;
    if (count == 1 && scale->shape.rank <= 1 && block == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_op_axis(ldnq_attr_int(call->node, "axis", 1), x->rank, &axis, err));
    if (block == 0)
        return scale->shape.rank == 1 && agree(scale->shape.dim[0], x->dim[axis])
                   ? LDNQ_OK
                   : misfit(call, scale, err);
    if (block < 0 || scale->shape.rank != x->rank)
        return misfit(call, scale, err);
    for (int i = 0; i < x->rank; i++) {
        int64_t size = x->dim[i];
        if (i == axis && !ldnq_is_symbol(size))
            size = size / block + (size % block != 0);
        if (!agree(scale->shape.dim[i], size))
            return misfit(call, scale, err);
    }
    return LDNQ_OK;
}

static enum ldnq_status check_zero(const struct ldnq_op_call *call, enum ldnq_dtype dtype,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *zero = ldnq_op_in(call, 2);
    size_t scales, zeros;
    if (!zero)
        return LDNQ_OK;
    if (zero->dtype != dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its zero point has type %s where %s is needed",
                         ldnq_dtype_name(zero->dtype), ldnq_dtype_name(dtype));
    if (ldnq_shape_count(&zero->shape, &zeros) &&
        ldnq_shape_count(&call->in[1]->shape, &scales) && zeros != scales)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu scales and %zu zero points", scales, zeros);
    return LDNQ_OK;
}

/* ---- QuantizeLinear ------------------------------------------------------------------------ */

static enum ldnq_status quantize_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *zero = ldnq_op_in(call, 2);
    int64_t wanted = ldnq_attr_int(call->node, "output_dtype", LDNQ_UNDEFINED);
    enum ldnq_dtype dtype = zero ? zero->dtype : wanted ? (enum ldnq_dtype)wanted : LDNQ_UINT8;
    LDNQ_TRY(ldnq_op_require(call, 0, BITS(FLOAT) | BITS(INT32), err));
    LDNQ_TRY(ldnq_op_require(call, 1, BITS(FLOAT), err));
    if (wanted < 0 || wanted > LDNQ_INT2 || !(SMALL_TYPES & LDNQ_DTYPE_BIT(dtype)))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "quantizing to %s is not supported",
                         ldnq_dtype_name(dtype));
    if (wanted && (int64_t)dtype != wanted)
        return ldnq_fail(err, LDNQ_MODEL, "output_dtype differs from its zero point's type");
    LDNQ_TRY(check_scale(call, err));
    LDNQ_TRY(check_zero(call, dtype, err));
    call->out[0].dtype = dtype;
    call->out[0].shape = call->in[0]->shape;
    return LDNQ_OK;
}

static enum ldnq_status quantize_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    enum ldnq_dtype dtype = call->out[0].dtype;
    bool is_signed = ldnq_dtype_is_signed(dtype), wide = ldnq_dtype_size(dtype) == 2;
    bool from_int = call->in[0]->dtype == LDNQ_INT32;
    int range = 1 << ldnq_dtype_bits(dtype);
    struct segments segments = { .low = is_signed ? (float)(-range / 2) : 0.0f,
                                 .high = (float)(is_signed ? range / 2 - 1 : range - 1) };
    (void)err;
    if (is_signed)
        segments.run = from_int ? (wide ? requantize_int16 : requantize_int8)
                                : (wide ? quantize_int16 : quantize_int8);
    else
        segments.run = from_int ? (wide ? requantize_uint16 : requantize_uint8)
                                : (wide ? quantize_uint16 : quantize_uint8);
    return run_all(call, &segments);
}

const struct ldnq_op ldnq_op_quantizelinear = {
    .type = "QuantizeLinear", .since = 10, .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2, .inputs_max = 3, .outputs_max = 1,
    .infer = quantize_infer,
    .forward = quantize_forward,
};

/* ---- DequantizeLinear ------------------------------------------------------------------------ */

static enum ldnq_status dequantize_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_require(call, 0, SMALL_TYPES | BITS(INT32), err));
    LDNQ_TRY(ldnq_op_require(call, 1, BITS(FLOAT), err));
    if (ldnq_attr_int(call->node, "output_dtype", LDNQ_FLOAT) > LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "dequantizing to another type than float32 is not "
                                                "supported");
    LDNQ_TRY(check_scale(call, err));
    LDNQ_TRY(check_zero(call, call->in[0]->dtype, err));
    call->out[0].dtype = LDNQ_FLOAT;
    call->out[0].shape = call->in[0]->shape;
    return LDNQ_OK;
}

static enum ldnq_status dequantize_forward(const struct ldnq_op_call *call,
                                           struct ldnq_error *err)
{
    enum ldnq_dtype dtype = call->in[0]->dtype;
    bool is_signed = ldnq_dtype_is_signed(dtype);
    struct segments segments = { 0 };
    (void)err;
    switch (ldnq_dtype_size(dtype)) {
    case 1:
        segments.run = is_signed ? dequantize_int8 : dequantize_uint8;
        break;
    case 2:
        segments.run = is_signed ? dequantize_int16 : dequantize_uint16;
        break;
    default:
        segments.run = dequantize_int32;
        break;
    }
    return run_all(call, &segments);
}

const struct ldnq_op ldnq_op_dequantizelinear = {
    .type = "DequantizeLinear", .since = 10, .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2, .inputs_max = 3, .outputs_max = 1,
    .infer = dequantize_infer,
    .forward = dequantize_forward,
};

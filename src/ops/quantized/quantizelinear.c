/* SPDX-License-Identifier: Apache-2.0 */
/* quantizelinear.c: QuantizeLinear and DequantizeLinear.
 *
 * Computes y = clamp(round(x / scale) + zero), rounding half to even; x = (y - zero) * scale
 * Shapes   x, y any, seen as (outer, size, inner) around `axis`; scale and zero: one number
 *          per tensor, one per index of `axis` (size), or one per block of block_size
 *          indices (outer, ceil(size / block_size), inner)
 * Layout   dtypes of fewer than 8 bits have one element per byte
 * Source   onnx.ai/onnx/operators/onnx__QuantizeLinear.html, DequantizeLinear
 *
 * x is divided into runs of contiguous elements along which the scale is constant or
 * advances by one per element. A kernel processes one run.
 */
#include "ops/op.h"

#include "base/size.h"
#include "ir/float8.h"
#include "ops/quantized/quantize_pair.h"

#define BITS(dtype) LDNQ_DTYPE_BIT(LDNQ_##dtype)
#define SMALL_TYPES                                                                                \
    (BITS(UINT8) | BITS(INT8) | BITS(UINT16) | BITS(INT16) | BITS(UINT4) | BITS(INT4) |            \
     BITS(UINT2) | BITS(INT2))
/* Their zero points are 0. */
#define FLOAT8_TYPES                                                                               \
    (BITS(FLOAT8E4M3FN) | BITS(FLOAT8E4M3FNUZ) | BITS(FLOAT8E5M2) | BITS(FLOAT8E5M2FNUZ) |         \
     BITS(FLOAT4E2M1))

struct scale_runs {
    const char *x, *zero; /* zero may be NULL */
    char *y;
    const float *scale;
    size_t x_size, y_size, zero_size;
    size_t outer, size, inner; /* x around `axis`; not set for one scale per tensor */
    size_t block, blocks;      /* block_size, 0 for none; blocks along `axis` */
    size_t scale_step;         /* along a run: 0 or 1 */
    float low, high;           /* QuantizeLinear's range of codes */
    enum ldnq_dtype x_dtype;   /* for float8 */
    void (*run)(const struct scale_runs *runs, const char *x, char *y, const float *scale,
                const char *zero, size_t count);
};

/* ---- kernels ------------------------------------------------------------------------ */

/* The range is shifted by the zero point, so that clamping comes before rounding. */
#define QUANTIZE(name, T, X)                                                                       \
    static void name(const struct scale_runs *s, const char *x_, char *y_, const float *scale,     \
                     const char *zero_, size_t count)                                              \
    {                                                                                              \
        const X *x = (const void *)x_;                                                             \
        T *y = (void *)y_;                                                                         \
        const T *zero = (const void *)zero_;                                                       \
        if (s->scale_step == 0) {                                                                  \
            const float z = zero ? (float)*zero : 0.0f, a = *scale;                                \
            const float low = s->low - z, high = s->high - z;                                      \
            for (size_t i = 0; i < count; i++)                                                     \
                y[i] = (T)(int32_t)(ldnq_round_code((float)x[i], a, low, high) + z);               \
            return;                                                                                \
        }                                                                                          \
        for (size_t i = 0; i < count; i++) {                                                       \
            const float z = zero ? (float)zero[i] : 0.0f;                                          \
            y[i] =                                                                                 \
                (T)(int32_t)(ldnq_round_code((float)x[i], scale[i], s->low - z, s->high - z) + z); \
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

/* D is a type wide enough for x - zero. */
#define DEQUANTIZE(name, T, D)                                                                     \
    static void name(const struct scale_runs *s, const char *x_, char *y_, const float *scale,     \
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

static void dequantize_float8(const struct scale_runs *s, const char *x, char *y_,
                              const float *scale, const char *zero, size_t count)
{
    float *y = (void *)y_;
    (void)zero;
    for (size_t i = 0; i < count; i++)
        y[i] = (float)ldnq_float8_to_double(s->x_dtype, (uint8_t)x[i]) * scale[i * s->scale_step];
}

/* ---- runs -------------------------------------------------------------------------- */

/* Run i: its first element in x, its length, and its first scale. */
static void find_scale_run(const struct scale_runs *s, size_t i, size_t *at, size_t *count,
                           size_t *scale)
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

/* Converts the runs first .. last-1, each with one scale. */
static void convert_scale_runs(const void *ctx, size_t first, size_t last)
{
    const struct scale_runs *s = ctx;
    for (size_t i = first; i < last; i++) {
        size_t at, count, scale;
        find_scale_run(s, i, &at, &count, &scale);
        s->run(s, s->x + at * s->x_size, s->y + at * s->y_size, s->scale + scale,
               s->zero ? s->zero + scale * s->zero_size : NULL, count);
    }
}

/* Converts the elements first .. last-1 with one scale per tensor. */
static void convert_with_one_scale(const void *ctx, size_t first, size_t last)
{
    const struct scale_runs *s = ctx;
    s->run(s, s->x + first * s->x_size, s->y + first * s->y_size, s->scale, s->zero, last - first);
}

/* Sets the pointers to the data of a forward call. */
static void set_data_pointers(const struct ldnq_op_call *call, struct scale_runs *s)
{
    const struct ldnq_tensor *x = call->in[0], *zero = ldnq_op_input(call, 2);
    s->x = x->data;
    s->y = call->out[0].data;
    s->scale = call->in[1]->data;
    s->zero = zero ? zero->data : NULL;
    s->x_dtype = x->dtype;
    s->x_size = ldnq_dtype_size(x->dtype);
    s->y_size = ldnq_dtype_size(call->out[0].dtype);
    s->zero_size = zero ? ldnq_dtype_size(zero->dtype) : 0;
}

/* Divides x into runs and processes them. */
static enum ldnq_status convert_tensor(const struct ldnq_op_call *call, struct scale_runs *s)
{
    const struct ldnq_tensor *x = call->in[0], *scale = call->in[1];
    size_t count = ldnq_tensor_count(x);
    int axis = 0;
    if (count == 0)
        return LDNQ_OK;
    if (ldnq_tensor_count(scale) == 1) {
        ldnq_op_run_ranges(call, count, convert_with_one_scale, s);
        return LDNQ_OK;
    }
    LDNQ_TRY(
        ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 1), x->shape.rank, &axis, NULL));
    struct ldnq_axis_split at = ldnq_op_split_at_axis(&x->shape, axis);
    s->outer = at.outer;
    s->size = at.size;
    s->inner = at.inner;
    s->block = scale->shape.rank > 1 ? (size_t)ldnq_attr_int(call->node, "block_size", 0) : 0;
    s->blocks = s->block ? ldnq_size_ceil_div(s->size, s->block) : 0;
    s->scale_step = (s->inner > 1) == (s->block > 0);
    size_t runs = s->outer * (s->inner > 1 ? s->size : s->block ? s->blocks : 1);
    ldnq_op_run_rows(call, runs, count / runs, convert_scale_runs, s);
    return LDNQ_OK;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static enum ldnq_status fail_scale_shape_misfit(const struct ldnq_op_call *call,
                                                const struct ldnq_tensor *scale,
                                                struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    return ldnq_fail(err, LDNQ_MODEL, "its scale of shape %s does not fit its input of shape %s",
                     ldnq_shape_print(&scale->shape, NULL, y, sizeof y),
                     ldnq_shape_print(&call->in[0]->shape, NULL, x, sizeof x));
}

static enum ldnq_status check_scale_shape(const struct ldnq_op_call *call, struct ldnq_error *err)
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
    LDNQ_TRY(ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 1), x->rank, &axis, err));
    if (block == 0)
        return scale->shape.rank == 1 && ldnq_op_dims_may_match(scale->shape.dim[0], x->dim[axis])
                   ? LDNQ_OK
                   : fail_scale_shape_misfit(call, scale, err);
    if (block < 0 || scale->shape.rank != x->rank)
        return fail_scale_shape_misfit(call, scale, err);
    for (int i = 0; i < x->rank; i++) {
        int64_t size = x->dim[i];
        if (i == axis && !ldnq_is_symbol(size))
            size = size / block + (size % block != 0);
        if (!ldnq_op_dims_may_match(scale->shape.dim[i], size))
            return fail_scale_shape_misfit(call, scale, err);
    }
    return LDNQ_OK;
}

static enum ldnq_status check_zero(const struct ldnq_op_call *call, enum ldnq_dtype dtype,
                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *zero = ldnq_op_input(call, 2);
    size_t scales, zeros;
    if (!zero)
        return LDNQ_OK;
    if (zero->dtype != dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its zero point has type %s where %s is needed",
                         ldnq_dtype_name(zero->dtype), ldnq_dtype_name(dtype));
    if (ldnq_shape_count(&zero->shape, &zeros) && ldnq_shape_count(&call->in[1]->shape, &scales) &&
        zeros != scales)
        return ldnq_fail(err, LDNQ_MODEL, "has %zu scales and %zu zero points", scales, zeros);
    return LDNQ_OK;
}

/* A scale per index of `axis` or per block may belong to a sample. */
static bool has_one_scale(const struct ldnq_node *node)
{
    const struct ldnq_shape *scale = &node->inputs[1]->shape;
    return scale->rank == 0 || (scale->rank == 1 && scale->dim[0] == 1);
}

/* ---- gradients --------------------------------------------------------------------------- */

/* Floats: one per element, the terms of dscale, and one per scale: the zero points or ones. */
static size_t backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    struct ldnq_tensor terms = { .dtype = LDNQ_FLOAT, .shape = grad->call->in[0]->shape };
    size_t a, b, bytes;
    return ldnq_tensor_bytes(&terms, &a) && ldnq_tensor_bytes(grad->call->in[1], &b) &&
                   ldnq_size_add(a, b, &bytes)
               ? bytes
               : SIZE_MAX;
}

/* sums (outer, blocks, inner) = the sums of terms (outer, size, inner) over each block. */
struct block_sums {
    const float *terms;
    float *sums;
    size_t size, inner, block, blocks;
};

/* Sums the blocks first .. last-1, counted over (outer, blocks). */
static void sum_blocks(const void *ctx, size_t first, size_t last)
{
    const struct block_sums *b = ctx;
    for (size_t i = first; i < last; i++) {
        size_t start = i % b->blocks * b->block;
        size_t count = ldnq_size_min(b->block, b->size - start);
        const float *terms = b->terms + (i / b->blocks * b->size + start) * b->inner;
        for (size_t k = 0; k < b->inner; k++) {
            double sum = 0;
            for (size_t row = 0; row < count; row++)
                sum += (double)terms[row * b->inner + k];
            b->sums[i * b->inner + k] = (float)sum;
        }
    }
}

/* dscale = the sum of the terms of all elements with the same scale. */
static enum ldnq_status sum_terms(const struct ldnq_op_grad *grad, float *terms,
                                  struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_tensor *x = call->in[0];
    struct ldnq_tensor from = { LDNQ_FLOAT, x->shape, terms }, to = grad->in[1];
    int64_t block = ldnq_attr_int(call->node, "block_size", 0);
    int axis = 0;
    to.shape.rank = 0;
    if (ldnq_tensor_count(&grad->in[1]) != 1 || block > 0)
        LDNQ_TRY(
            ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 1), x->shape.rank, &axis, err));
    if (block == 0) {
        if (ldnq_tensor_count(&grad->in[1]) != 1)
            to.shape = x->shape;
        for (int i = 0; i < to.shape.rank; i++)
            to.shape.dim[i] = i == axis ? x->shape.dim[i] : 1;
        ldnq_op_sum_broadcast_grad(call, &from, &to);
        return LDNQ_OK;
    }
    struct ldnq_axis_split at = ldnq_op_split_at_axis(&x->shape, axis);
    struct block_sums blocks = { .terms = terms,
                                 .sums = to.data,
                                 .size = at.size,
                                 .inner = at.inner,
                                 .block = (size_t)block,
                                 .blocks = ldnq_size_ceil_div(at.size, (size_t)block) };
    ldnq_op_run_rows(call, at.outer * blocks.blocks, blocks.block * at.inner, sum_blocks, &blocks);
    return LDNQ_OK;
}

/* y = x * scale. */
static void multiply_by_scale(const struct scale_runs *s, const char *x_, char *y_,
                              const float *scale, const char *zero, size_t count)
{
    const float *x = (const void *)x_;
    float *y = (void *)y_;
    (void)zero;
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] * scale[i * s->scale_step];
}

/* ---- QuantizeLinear ------------------------------------------------------------------------ */

static enum ldnq_dtype find_code_dtype(const struct ldnq_op_call *call)
{
    const struct ldnq_tensor *zero = ldnq_op_input(call, 2);
    int64_t wanted = ldnq_attr_int(call->node, "output_dtype", LDNQ_UNDEFINED);
    return zero ? zero->dtype : wanted ? (enum ldnq_dtype)wanted : LDNQ_UINT8;
}

static enum ldnq_status quantize_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    int64_t wanted = ldnq_attr_int(call->node, "output_dtype", LDNQ_UNDEFINED);
    enum ldnq_dtype dtype = find_code_dtype(call);
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, BITS(FLOAT) | BITS(INT32), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, BITS(FLOAT), err));
    if (wanted < 0 || wanted > LDNQ_INT2 || !(SMALL_TYPES & LDNQ_DTYPE_BIT(dtype)))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "quantizing to %s is not supported",
                         ldnq_dtype_name(dtype));
    if (wanted && (int64_t)dtype != wanted)
        return ldnq_fail(err, LDNQ_MODEL, "output_dtype differs from its zero point's type");
    LDNQ_TRY(check_scale_shape(call, err));
    LDNQ_TRY(check_zero(call, dtype, err));
    call->out[0].dtype = call->fused_reader ? LDNQ_FLOAT : dtype;
    call->out[0].shape = call->in[0]->shape;
    return LDNQ_OK;
}

static struct scale_runs make_code_range(enum ldnq_dtype dtype)
{
    bool is_signed = ldnq_dtype_is_signed(dtype);
    int range = 1 << ldnq_dtype_bits(dtype);
    return (struct scale_runs){ .low = is_signed ? (float)(-range / 2) : 0.0f,
                                .high = (float)(is_signed ? range / 2 - 1 : range - 1) };
}

static enum ldnq_status quantize_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    enum ldnq_dtype dtype = find_code_dtype(call);
    bool is_signed = ldnq_dtype_is_signed(dtype), wide = ldnq_dtype_size(dtype) == 2;
    bool from_int = call->in[0]->dtype == LDNQ_INT32;
    struct scale_runs runs = make_code_range(dtype);
    (void)err;
    if (call->fused_reader) {
        ldnq_quantize_pair_run(call, runs.low, runs.high);
        return LDNQ_OK;
    }
    set_data_pointers(call, &runs);
    if (is_signed)
        runs.run = from_int ? (wide ? requantize_int16 : requantize_int8)
                            : (wide ? quantize_int16 : quantize_int8);
    else
        runs.run = from_int ? (wide ? requantize_uint16 : requantize_uint8)
                            : (wide ? quantize_uint16 : quantize_uint8);
    return convert_tensor(call, &runs);
}

/* The straight-through estimator with a learned scale (Esser et al., "Learned Step Size
 * Quantization", ICLR 2020). With v = x / scale, QuantizeLinear's gradients are
 *   dx = dcode / scale, dscale = -dcode v / scale   if v is in the range of the codes,
 *   0                                               otherwise.
 * Followed by a DequantizeLinear, with dcode = dy scale and dscale = dy (code - zero), the
 * gradients of both are
 *   dx = dy, dscale = dy (round(v) - v)             if v is in the range of the codes,
 *   dx = 0,  dscale = dy (code - zero)              otherwise. */
struct quantize_grad {
    struct scale_runs runs; /* y: dx or the terms of dscale; zero is float */
    const float *dcode;
    bool by_scale;
};

static void estimate_gradient(const struct scale_runs *s, const char *x_, char *y_,
                              const float *scale, const char *zero_, size_t count)
{
    const struct quantize_grad *grad = (const void *)s;
    const float *x = (const void *)x_, *zero = (const void *)zero_;
    const float *dcode = grad->dcode + (x - (const float *)(const void *)s->x);
    float *y = (void *)y_;
    for (size_t i = 0; i < count; i++) {
        const float a = scale[i * s->scale_step], z = zero[i * s->scale_step], v = x[i] / a;
        const bool inside = v >= s->low - z && v <= s->high - z;
        const float slope = grad->by_scale ? -v / a : 1.0f / a;
        y[i] = inside ? dcode[i] * slope : 0.0f;
    }
}

static enum ldnq_status quantize_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_tensor *zero = ldnq_op_input(call, 2);
    struct quantize_grad quantize = { .runs = make_code_range(call->out[0].dtype),
                                      .dcode = grad->out[0]->data };
    struct scale_runs *s = &quantize.runs;
    float *terms = call->scratch, *zeros = terms + ldnq_tensor_count(call->in[0]);
    if (call->in[0]->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of %s are not supported",
                         ldnq_dtype_name(call->in[0]->dtype));
    for (size_t i = 0; i < ldnq_tensor_count(call->in[1]); i++)
        zeros[i] = zero ? (float)ldnq_tensor_load_integer(zero, i) : 0.0f;
    set_data_pointers(call, s);
    s->run = estimate_gradient;
    s->y_size = s->zero_size = sizeof(float);
    s->zero = (const char *)zeros;
    s->y = grad->in[0].data;
    if (s->y)
        LDNQ_TRY(convert_tensor(call, s));
    if (!grad->in[1].data)
        return LDNQ_OK;
    s->y = call->scratch;
    quantize.by_scale = true;
    LDNQ_TRY(convert_tensor(call, s));
    return sum_terms(grad, terms, err);
}

const struct ldnq_op ldnq_op_quantizelinear = {
    .type = "QuantizeLinear",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_STRAIGHT_THROUGH | LDNQ_OP_IN_PLACE | LDNQ_OP_PER_SAMPLE,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = quantize_infer_shape,
    .forward = quantize_forward,
    .differentiable = 3,
    .saved_inputs = 7,
    .backward_scratch_bytes = backward_scratch_bytes,
    .backward = quantize_backward,
    .can_fuse = ldnq_quantize_pair_applies,
    .is_per_sample = has_one_scale,
};

/* ---- DequantizeLinear ------------------------------------------------------------------------ */

static enum ldnq_status dequantize_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, SMALL_TYPES | FLOAT8_TYPES | BITS(INT32), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, BITS(FLOAT), err));
    if (ldnq_attr_int(call->node, "output_dtype", LDNQ_FLOAT) > LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "dequantizing to another type than float32 is not "
                         "supported");
    LDNQ_TRY(check_scale_shape(call, err));
    LDNQ_TRY(check_zero(call, call->in[0]->dtype, err));
    call->out[0].dtype = LDNQ_FLOAT;
    call->out[0].shape = call->in[0]->shape;
    return LDNQ_OK;
}

static void choose_dequantize_loop(enum ldnq_dtype dtype, struct scale_runs *runs)
{
    bool is_signed = ldnq_dtype_is_signed(dtype);
    if (FLOAT8_TYPES & LDNQ_DTYPE_BIT(dtype)) {
        runs->run = dequantize_float8;
        return;
    }
    switch (ldnq_dtype_size(dtype)) {
    case 1:
        runs->run = is_signed ? dequantize_int8 : dequantize_uint8;
        break;
    case 2:
        runs->run = is_signed ? dequantize_int16 : dequantize_uint16;
        break;
    default:
        runs->run = dequantize_int32;
        break;
    }
}

static enum ldnq_status dequantize_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct scale_runs runs = { 0 };
    (void)err;
    set_data_pointers(call, &runs);
    choose_dequantize_loop(call->in[0]->dtype, &runs);
    return convert_tensor(call, &runs);
}

/* dcode = dy * scale and dscale = sum of dy (code - zero); for the latter the codes are
 * dequantized with scales of 1. */
static enum ldnq_status dequantize_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const float *dy = grad->out[0]->data;
    if (grad->in[0].data) {
        struct scale_runs runs = { .x = grad->out[0]->data,
                                   .y = grad->in[0].data,
                                   .x_size = sizeof(float),
                                   .y_size = sizeof(float),
                                   .scale = call->in[1]->data,
                                   .run = multiply_by_scale };
        LDNQ_TRY(convert_tensor(call, &runs));
    }
    if (!grad->in[1].data)
        return LDNQ_OK;
    struct scale_runs runs = { 0 };
    float *terms = call->scratch, *ones = terms + ldnq_tensor_count(call->in[0]);
    set_data_pointers(call, &runs);
    choose_dequantize_loop(call->in[0]->dtype, &runs);
    for (size_t i = 0; i < ldnq_tensor_count(call->in[1]); i++)
        ones[i] = 1.0f;
    runs.scale = ones;
    runs.y = call->scratch;
    runs.y_size = sizeof(float);
    LDNQ_TRY(convert_tensor(call, &runs));
    for (size_t i = 0; i < ldnq_tensor_count(call->in[0]); i++)
        terms[i] *= dy[i];
    return sum_terms(grad, terms, err);
}

const struct ldnq_op ldnq_op_dequantizelinear = {
    .type = "DequantizeLinear",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_PER_SAMPLE,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = dequantize_infer_shape,
    .forward = dequantize_forward,
    .differentiable = 3,
    .saved_inputs = 7,
    .backward_scratch_bytes = backward_scratch_bytes,
    .backward = dequantize_backward,
    .is_per_sample = has_one_scale,
};

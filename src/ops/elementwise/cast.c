/* SPDX-License-Identifier: Apache-2.0 */
/* cast.c: Cast and CastLike between numbers.
 *
 * Elements are converted in tiles, by way of double or int64, whichever represents the source
 * exactly. Conversions to integers truncate fractions. An integer that is too large for its
 * new type keeps its low bits; a float is first clamped to the range of int64 (uint64_t for
 * uint64).
 *
 * "Real" types are floating point, "whole" types are integers and bool. "Eighths" are
 * float8 and float4.
 */
#include "ops/op.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ir/float8.h"
#include "ir/half.h"

#define TILE ((size_t)512)
#define BIT(dtype) LDNQ_DTYPE_BIT(LDNQ_##dtype)
#define EIGHTHS                                                                                    \
    (BIT(FLOAT8E4M3FN) | BIT(FLOAT8E4M3FNUZ) | BIT(FLOAT8E5M2) | BIT(FLOAT8E5M2FNUZ) |             \
     BIT(FLOAT4E2M1))
#define REALS (BIT(FLOAT) | BIT(DOUBLE) | BIT(FLOAT16) | BIT(BFLOAT16) | EIGHTHS)
#define WHOLES                                                                                     \
    (BIT(INT8) | BIT(UINT8) | BIT(INT16) | BIT(UINT16) | BIT(INT32) | BIT(UINT32) | BIT(INT64) |   \
     BIT(UINT64) | BIT(BOOL) | BIT(INT4) | BIT(UINT4) | BIT(INT2) | BIT(UINT2))

struct cast_loop {
    const char *x;
    char *y;
    enum ldnq_dtype from, to;
    bool saturate; /* float8: clamp to the largest finite number */
};

/* ---- loading a tile ----------------------------------------------------------------- */

#define LOAD(DTYPE, T, EXPR)                                                                       \
    case LDNQ_##DTYPE:                                                                             \
        for (size_t i = 0; i < count; i++) {                                                       \
            const T v = ((const T *)x)[i];                                                         \
            out[i] = EXPR;                                                                         \
        }                                                                                          \
        break;

static void widen_floats_to_doubles(enum ldnq_dtype dtype, const void *x, size_t count, double *out)
{
    switch (dtype) {
        LOAD(FLOAT, float, (double)v)
        LOAD(DOUBLE, double, v)
        LOAD(FLOAT16, uint16_t, ldnq_half_to_double(v))
        LOAD(BFLOAT16, uint16_t, ldnq_bfloat_to_double(v))
    default:
        break;
    }
}

/* uint64 keeps its bits as int64; convert_int64_to_dtype has from_uint64 for them. */
static void widen_integers_to_int64(enum ldnq_dtype dtype, const void *x, size_t count,
                                    int64_t *out)
{
    switch (dtype) {
        LOAD(INT8, int8_t, v)
        LOAD(INT4, int8_t, v)
        LOAD(INT2, int8_t, v)
        LOAD(UINT8, uint8_t, v)
        LOAD(UINT4, uint8_t, v)
        LOAD(UINT2, uint8_t, v)
        LOAD(BOOL, uint8_t, v != 0)
        LOAD(INT16, int16_t, v)
        LOAD(UINT16, uint16_t, v)
        LOAD(INT32, int32_t, v)
        LOAD(UINT32, uint32_t, v)
        LOAD(INT64, int64_t, v)
        LOAD(UINT64, uint64_t, (int64_t)v)
    default:
        break;
    }
}

/* ---- storing a tile ------------------------------------------------------------------- */

#define STORE(DTYPE, T, EXPR)                                                                      \
    case LDNQ_##DTYPE:                                                                             \
        for (size_t i = 0; i < count; i++)                                                         \
            ((T *)y)[i] = (T)(EXPR);                                                               \
        break;

/* Returns the low bits of v, sign-extended if is_signed. */
static int64_t extract_low_bits(int64_t v, unsigned bits, bool is_signed)
{
    uint64_t low = (uint64_t)v & (((uint64_t)1 << bits) - 1);
    return is_signed && (low >> (bits - 1)) ? (int64_t)low - ((int64_t)1 << bits) : (int64_t)low;
}

/* Converts to float directly, as a detour by double would round twice. */
static void convert_int64_to_dtype(enum ldnq_dtype dtype, bool from_uint64, const int64_t *in,
                                   size_t count, void *y)
{
    switch (dtype) {
        STORE(FLOAT, float, from_uint64 ? (float)(uint64_t)in[i] : (float)in[i])
        STORE(DOUBLE, double, from_uint64 ? (double)(uint64_t)in[i] : (double)in[i])
        STORE(FLOAT16, uint16_t,
              ldnq_half_from_double(from_uint64 ? (double)(uint64_t)in[i] : (double)in[i]))
        STORE(BFLOAT16, uint16_t,
              ldnq_bfloat_from_double(from_uint64 ? (double)(uint64_t)in[i] : (double)in[i]))
        STORE(BOOL, uint8_t, in[i] != 0)
        STORE(INT8, int8_t, extract_low_bits(in[i], 8, true))
        STORE(INT4, int8_t, extract_low_bits(in[i], 4, true))
        STORE(INT2, int8_t, extract_low_bits(in[i], 2, true))
        STORE(UINT8, uint8_t, extract_low_bits(in[i], 8, false))
        STORE(UINT4, uint8_t, extract_low_bits(in[i], 4, false))
        STORE(UINT2, uint8_t, extract_low_bits(in[i], 2, false))
        STORE(INT16, int16_t, extract_low_bits(in[i], 16, true))
        STORE(UINT16, uint16_t, extract_low_bits(in[i], 16, false))
        STORE(INT32, int32_t, extract_low_bits(in[i], 32, true))
        STORE(UINT32, uint32_t, extract_low_bits(in[i], 32, false))
        STORE(INT64, int64_t, in[i])
        STORE(UINT64, uint64_t, in[i])
    default:
        break;
    }
}

/* Truncates, and clamps to the range of int64. NaN becomes 0. */
static int64_t double_to_int64(double v)
{
    if (isnan(v))
        return 0;
    return v < -0x1p63 ? INT64_MIN : v < 0x1p63 ? (int64_t)v : INT64_MAX;
}

static uint64_t double_to_uint64(double v)
{
    return !(v >= 0x1p63) ? (uint64_t)double_to_int64(v) : v < 0x1p64 ? (uint64_t)v : UINT64_MAX;
}

static void convert_doubles_to_dtype(enum ldnq_dtype dtype, const double *in, size_t count, void *y)
{
    switch (dtype) {
        STORE(FLOAT, float, in[i])
        STORE(DOUBLE, double, in[i])
        STORE(FLOAT16, uint16_t, ldnq_half_from_double(in[i]))
        STORE(BFLOAT16, uint16_t, ldnq_bfloat_from_double(in[i]))
        STORE(BOOL, uint8_t, in[i] != 0.0)
        STORE(INT8, int8_t, extract_low_bits(double_to_int64(in[i]), 8, true))
        STORE(INT4, int8_t, extract_low_bits(double_to_int64(in[i]), 4, true))
        STORE(INT2, int8_t, extract_low_bits(double_to_int64(in[i]), 2, true))
        STORE(UINT8, uint8_t, extract_low_bits(double_to_int64(in[i]), 8, false))
        STORE(UINT4, uint8_t, extract_low_bits(double_to_int64(in[i]), 4, false))
        STORE(UINT2, uint8_t, extract_low_bits(double_to_int64(in[i]), 2, false))
        STORE(INT16, int16_t, extract_low_bits(double_to_int64(in[i]), 16, true))
        STORE(UINT16, uint16_t, extract_low_bits(double_to_int64(in[i]), 16, false))
        STORE(INT32, int32_t, extract_low_bits(double_to_int64(in[i]), 32, true))
        STORE(UINT32, uint32_t, extract_low_bits(double_to_int64(in[i]), 32, false))
        STORE(INT64, int64_t, double_to_int64(in[i]))
        STORE(UINT64, uint64_t, double_to_uint64(in[i]))
    default:
        break;
    }
}

/* ---- the whole tensor -------------------------------------------------------------------- */

/* Rare enough that the type is dispatched per element. */
static void load_float8(enum ldnq_dtype dtype, const uint8_t *x, size_t count, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = ldnq_float8_to_double(dtype, x[i]);
}

static void store_float8(const struct cast_loop *cast, const double *in, size_t count, uint8_t *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = ldnq_float8_from_double(cast->to, in[i], cast->saturate);
}

static void store_tile(const struct cast_loop *cast, const double *in, size_t count, char *y)
{
    if (EIGHTHS & LDNQ_DTYPE_BIT(cast->to))
        store_float8(cast, in, count, (uint8_t *)y);
    else
        convert_doubles_to_dtype(cast->to, in, count, y);
}

static void cast_tile(const struct cast_loop *cast, size_t first, size_t count)
{
    const char *x = cast->x + first * ldnq_dtype_size(cast->from);
    char *y = cast->y + first * ldnq_dtype_size(cast->to);
    union {
        double real[TILE];
        int64_t whole[TILE];
    } tile;
    if (REALS & LDNQ_DTYPE_BIT(cast->from)) {
        if (EIGHTHS & LDNQ_DTYPE_BIT(cast->from))
            load_float8(cast->from, (const uint8_t *)x, count, tile.real);
        else
            widen_floats_to_doubles(cast->from, x, count, tile.real);
        store_tile(cast, tile.real, count, y);
    } else if (EIGHTHS & LDNQ_DTYPE_BIT(cast->to)) {
        widen_integers_to_int64(cast->from, x, count, tile.whole);
        for (size_t i = 0; i < count; i++)
            tile.real[i] =
                cast->from == LDNQ_UINT64 ? (double)(uint64_t)tile.whole[i] : (double)tile.whole[i];
        store_tile(cast, tile.real, count, y);
    } else {
        widen_integers_to_int64(cast->from, x, count, tile.whole);
        convert_int64_to_dtype(cast->to, cast->from == LDNQ_UINT64, tile.whole, count, y);
    }
}

static void cast_range(const void *ctx, size_t first, size_t last)
{
    const struct cast_loop *cast = ctx;
    size_t size = ldnq_dtype_size(cast->from);
    if (cast->from == cast->to) {
        memmove(cast->y + first * size, cast->x + first * size, (last - first) * size);
        return;
    }
    for (; first < last; first += TILE)
        cast_tile(cast, first, ldnq_size_min(TILE, last - first));
}

static enum ldnq_status cast_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct cast_loop cast = { .x = call->in[0]->data,
                              .y = call->out[0].data,
                              .from = call->in[0]->dtype,
                              .to = call->out[0].dtype,
                              .saturate = ldnq_attr_int(call->node, "saturate", 1) != 0 };
    (void)err;
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), cast_range, &cast);
    return LDNQ_OK;
}

static enum ldnq_status infer_cast_to_dtype(struct ldnq_op_call *call, int64_t to,
                                            struct ldnq_error *err)
{
    enum ldnq_dtype dtype = to >= 0 && to <= LDNQ_INT2 ? (enum ldnq_dtype)to : LDNQ_UNDEFINED;
    if (!((REALS | WHOLES) & LDNQ_DTYPE_BIT(dtype)) || dtype == LDNQ_FLOAT4E2M1)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a cast to %s is not supported",
                         ldnq_dtype_name(dtype));
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, REALS | WHOLES, err));
    call->out[0].dtype = dtype;
    return LDNQ_OK;
}

static enum ldnq_status cast_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_cast_to_dtype(call, ldnq_attr_int(call->node, "to", LDNQ_UNDEFINED), err);
}

static enum ldnq_status castlike_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return infer_cast_to_dtype(call, call->in[1]->dtype, err);
}

/* The gradients of input and output are float32, whatever their types. The derivative of a
 * cast to integers is 0. */
static enum ldnq_status cast_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    size_t bytes = ldnq_tensor_count(&grad->in[0]) * sizeof(float);
    (void)err;
    if (!grad->in[0].data || bytes == 0)
        return LDNQ_OK;
    if (REALS & LDNQ_DTYPE_BIT(grad->call->out[0].dtype))
        memcpy(grad->in[0].data, grad->out[0]->data, bytes);
    else
        memset(grad->in[0].data, 0, bytes);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_cast = {
    .type = "Cast",
    .since = 6,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = cast_infer_shape,
    .forward = cast_forward,
    .differentiable = 1,
    .backward = cast_backward,
};

const struct ldnq_op ldnq_op_castlike = {
    .type = "CastLike",
    .since = 15,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = castlike_infer_shape,
    .forward = cast_forward,
    .differentiable = 1,
    .backward = cast_backward,
};

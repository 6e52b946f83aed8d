/* unary.c: functions of one element without attributes. */
#include <math.h>

#include "base/simd.h"
#include "ops/shared/erff.h"
#include "ops/shared/expf.h"
#include "ops/shared/slopes.h"

#define FLOATS LDNQ_DTYPE_BIT(LDNQ_FLOAT)
#define SIGNED (FLOATS | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

struct unary {
    const void *x;
    void *y;
};

/* y[i] = EXPR of v, both T. */
#define LOOP(name, T, EXPR)                                                                        \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct unary *unary = ctx;                                                           \
        const T *x = unary->x;                                                                     \
        T *y = unary->y;                                                                           \
        LDNQ_IVDEP                                                                                 \
        for (size_t i = first; i < last; i++) {                                                    \
            const T v = x[i];                                                                      \
            y[i] = (T)(EXPR);                                                                      \
        }                                                                                          \
    }

#define RECORD(name, Type, SINCE, TYPES, ...)                                                      \
    static enum ldnq_status name##_infer(struct ldnq_op_call *call, struct ldnq_error *err)        \
    {                                                                                              \
        return ldnq_op_infer_same(call, TYPES, err);                                               \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 1,                                                                           \
        .inputs_max = 1,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer,                                                                     \
        .forward = name##_forward,                                                                 \
        __VA_ARGS__,                                                                               \
    };

/* At the end of a record: steps, whose slope is 0 wherever there is one; and functions
 * whose backward reads their `in` or their `out`. */
#define FLAT .flows = 0
#define SLOPED(name, FROM) .flows = 1, .reads_##FROM = 1, .backward = name##_backward

/* backward by EXPR of g and v (ops/shared/slopes.h). */
#define BACKWARD(name, FROM, EXPR)                                                                 \
    LDNQ_SLOPE(name##_slope, EXPR)                                                                 \
    static enum ldnq_status name##_backward(const struct ldnq_op_grad *grad,                       \
                                            struct ldnq_error *err)                                \
    {                                                                                              \
        return ldnq_slope_run(grad, LDNQ_SLOPE_OF_##FROM(grad), name##_slope, 0.0f, 0.0f, err);    \
    }

static enum ldnq_status run_unary(const struct ldnq_op_call *call, ldnq_range_fn *run)
{
    struct unary unary = { call->in[0]->data, call->out[0].data };
    ldnq_op_for_ranges(call, ldnq_tensor_count(call->in[0]), run, &unary);
    return LDNQ_OK;
}

/* float32 only */
#define FLOAT_UNARY(name, Type, SINCE, EXPR, ...)                                                  \
    LOOP(name##_float, float, EXPR)                                                                \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        (void)err;                                                                                 \
        return run_unary(call, name##_float);                                                      \
    }                                                                                              \
    RECORD(name, Type, SINCE, FLOATS, __VA_ARGS__)

/* float32, int32 and int64 */
#define SIGNED_UNARY(name, Type, SINCE, FLOAT_EXPR, INT32_EXPR, INT64_EXPR, ...)                   \
    LOOP(name##_float, float, FLOAT_EXPR)                                                          \
    LOOP(name##_int32, int32_t, INT32_EXPR)                                                        \
    LOOP(name##_int64, int64_t, INT64_EXPR)                                                        \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        enum ldnq_dtype dtype = call->in[0]->dtype;                                                \
        (void)err;                                                                                 \
        return run_unary(call, dtype == LDNQ_FLOAT   ? name##_float                                \
                               : dtype == LDNQ_INT32 ? name##_int32                                \
                                                     : name##_int64);                              \
    }                                                                                              \
    RECORD(name, Type, SINCE, SIGNED, __VA_ARGS__)

/* Through unsigned, where the least number has a negative as well. */
#define NEGATIVE32(v) (int32_t)(0 - (uint32_t)(v))
#define NEGATIVE64(v) (int64_t)(0 - (uint64_t)(v))

/* At the kink the slope counts as 0. */
BACKWARD(abs, in,
         v > 0.0f   ? g
         : v < 0.0f ? -g
                    : 0.0f)
LDNQ_SLOPE(neg_slope, ((void)v, -g))
/* The one that reads nothing back. */
static enum ldnq_status neg_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    return ldnq_slope_run(grad, grad->out[0], neg_slope, 0.0f, 0.0f, err);
}
SIGNED_UNARY(abs, "Abs", 6, fabsf(v), v < 0 ? NEGATIVE32(v) : v, v < 0 ? NEGATIVE64(v) : v,
             SLOPED(abs, in))
SIGNED_UNARY(neg, "Neg", 6, -v, NEGATIVE32(v), NEGATIVE64(v), .flows = 1, .backward = neg_backward)
SIGNED_UNARY(sign, "Sign", 9, (float)((v > 0.0f) - (v < 0.0f)), (v > 0) - (v < 0),
             (v > 0) - (v < 0), FLAT)

#define CLAMPED(v) ((v) < 0.0f ? 0.0f : (v) > 1.0f ? 1.0f : (v))
/* log(1 + e^v) = max(v, 0) + log(1 + e^-|v|) does not overflow. */
#define SOFTPLUS(v) (fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v))))
#define LOGISTIC(v) (1.0f / (1.0f + ldnq_expf(-(v))))
#define TWO_OVER_SQRT_PI 1.12837916709551257390f

BACKWARD(erf, in, g * (TWO_OVER_SQRT_PI * ldnq_expf(-v * v)))
BACKWARD(exp, out, g * v)
BACKWARD(hardswish, in,
         v <= -3.0f  ? 0.0f
         : v >= 3.0f ? g
                     : g * (v * (1.0f / 3.0f) + 0.5f))
BACKWARD(log, in, g / v)
/* Beyond these bounds the slope is 0 or 1 to the last bit, and infinity times 0 would
 * make it NaN. */
#define MISH_BOUND(v) ((v) > 30.0f ? 30.0f : (v) < -104.0f ? -104.0f : (v))
static inline float mish_slope_at(float v)
{
    float t = tanhf(SOFTPLUS(v));
    return t + v * (1.0f - t * t) * LOGISTIC(v);
}
BACKWARD(mish, in, g * mish_slope_at(MISH_BOUND(v)))
BACKWARD(reciprocal, out, -g * v * v)
BACKWARD(sigmoid, out, g * v * (1.0f - v))
BACKWARD(softplus, in, g * LOGISTIC(v))
BACKWARD(softsign, in, g / ((1.0f + fabsf(v)) * (1.0f + fabsf(v))))
/* Infinite at 0, as the slope is. */
BACKWARD(sqrt, out, g / (2.0f * v))
BACKWARD(tanh, out, g * (1.0f - v * v))

FLOAT_UNARY(ceil, "Ceil", 6, ceilf(v), FLAT)
FLOAT_UNARY(erf, "Erf", 9, ldnq_erff(v), SLOPED(erf, in))
FLOAT_UNARY(exp, "Exp", 6, ldnq_expf(v), SLOPED(exp, out))
FLOAT_UNARY(floor, "Floor", 6, floorf(v), FLAT)
FLOAT_UNARY(hardswish, "HardSwish", 14, v * CLAMPED(v * (1.0f / 6.0f) + 0.5f), SLOPED(hardswish, in))
FLOAT_UNARY(log, "Log", 6, logf(v), SLOPED(log, in))
FLOAT_UNARY(mish, "Mish", 18, v *tanhf(SOFTPLUS(v)), SLOPED(mish, in))
FLOAT_UNARY(reciprocal, "Reciprocal", 6, 1.0f / v, SLOPED(reciprocal, out))
/* The mode of rounding is the default one: half to even. */
FLOAT_UNARY(round, "Round", 11, rintf(v), FLAT)
FLOAT_UNARY(sigmoid, "Sigmoid", 6, 1.0f / (1.0f + ldnq_expf(-v)), SLOPED(sigmoid, out))
FLOAT_UNARY(softplus, "Softplus", 1, SOFTPLUS(v), SLOPED(softplus, in))
FLOAT_UNARY(softsign, "Softsign", 1, v / (1.0f + fabsf(v)), SLOPED(softsign, in))
FLOAT_UNARY(sqrt, "Sqrt", 6, sqrtf(v), SLOPED(sqrt, out))
FLOAT_UNARY(tanh, "Tanh", 6, tanhf(v), SLOPED(tanh, out))

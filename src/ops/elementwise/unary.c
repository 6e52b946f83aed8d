/* SPDX-License-Identifier: Apache-2.0 */
/* unary.c: functions of one element without attributes: Abs, Exp, Sigmoid and others. */
#include <math.h>

#include "base/simd.h"
#include "ops/shared/erff.h"
#include "ops/shared/expf.h"
#include "ops/shared/tanhf.h"
#include "ops/shared/unary_grad.h"

#define FLOATS LDNQ_DTYPE_BIT(LDNQ_FLOAT)
#define SIGNED (FLOATS | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

struct unary_loop {
    const void *x;
    void *y;
};

/* Defines the loop y[i] = EXPR of v (x[i]), both of type T. */
#define LOOP(name, T, EXPR)                                                                        \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct unary_loop *unary = ctx;                                                      \
        const T *x = unary->x;                                                                     \
        T *y = unary->y;                                                                           \
        LDNQ_IVDEP                                                                                 \
        for (size_t i = first; i < last; i++) {                                                    \
            const T v = x[i];                                                                      \
            y[i] = (T)(EXPR);                                                                      \
        }                                                                                          \
    }

#define RECORD(name, Type, SINCE, TYPES, ...)                                                      \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return ldnq_op_infer_like_first_input(call, TYPES, err);                                   \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 1,                                                                           \
        .inputs_max = 1,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
        __VA_ARGS__,                                                                               \
    };

/* The fields of a record that concern gradients: for step functions, and for functions whose
 * backward reads their `inputs` or their `outputs`. */
#define NOT_DIFFERENTIABLE .differentiable = 0
#define DIFFERENTIABLE(name, FROM)                                                                 \
    .differentiable = 1, .saved_##FROM = 1, .backward = name##_backward

/* Defines backward: dx = EXPR of g (dy) and v, which is x if FROM is inputs, y if it is
 * outputs. */
#define BACKWARD(name, FROM, EXPR)                                                                 \
    LDNQ_UNARY_GRAD(name##_gradient, EXPR)                                                         \
    static enum ldnq_status name##_backward(const struct ldnq_op_grad *grad,                       \
                                            struct ldnq_error *err)                                \
    {                                                                                              \
        return ldnq_unary_grad_run(grad, LDNQ_SAVED_##FROM(grad), name##_gradient, 0.0f, 0.0f,     \
                                   err);                                                           \
    }

static enum ldnq_status run_unary(const struct ldnq_op_call *call, ldnq_range_fn *run)
{
    struct unary_loop unary = { call->in[0]->data, call->out[0].data };
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), run, &unary);
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

/* In unsigned arithmetic, which wraps around for INT_MIN. */
#define NEGATIVE32(v) (int32_t)(0 - (uint32_t)(v))
#define NEGATIVE64(v) (int64_t)(0 - (uint64_t)(v))

/* The derivative at 0 is defined as 0. */
BACKWARD(abs, inputs,
         v > 0.0f   ? g
         : v < 0.0f ? -g
                    : 0.0f)
LDNQ_UNARY_GRAD(neg_gradient, ((void)v, -g))
/* Reads neither x nor y; the loop's v is dy itself. */
static enum ldnq_status neg_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    return ldnq_unary_grad_run(grad, grad->out[0], neg_gradient, 0.0f, 0.0f, err);
}
SIGNED_UNARY(abs, "Abs", 6, fabsf(v), v < 0 ? NEGATIVE32(v) : v, v < 0 ? NEGATIVE64(v) : v,
             DIFFERENTIABLE(abs, inputs))
SIGNED_UNARY(neg, "Neg", 6, -v, NEGATIVE32(v), NEGATIVE64(v), .differentiable = 1,
             .backward = neg_backward)
SIGNED_UNARY(sign, "Sign", 9, (float)((v > 0.0f) - (v < 0.0f)), (v > 0) - (v < 0),
             (v > 0) - (v < 0), NOT_DIFFERENTIABLE)

#define CLAMPED(v) ((v) < 0.0f ? 0.0f : (v) > 1.0f ? 1.0f : (v))
/* log(1 + e^v) = max(v, 0) + log(1 + e^-|v|) does not overflow. */
#define SOFTPLUS(v) (fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v))))
#define LOGISTIC(v) (1.0f / (1.0f + ldnq_expf(-(v))))
#define TWO_OVER_SQRT_PI 1.12837916709551257390f

BACKWARD(erf, inputs, g * (TWO_OVER_SQRT_PI * ldnq_expf(-v * v)))
BACKWARD(exp, outputs, g * v)
BACKWARD(hardswish, inputs,
         v <= -3.0f  ? 0.0f
         : v >= 3.0f ? g
                     : g * (v * (1.0f / 3.0f) + 0.5f))
BACKWARD(log, inputs, g / v)
/* Beyond these bounds the derivative is 0 or 1 to the last bit; there infinity times 0 would
 * make it NaN. */
#define MISH_BOUND(v) ((v) > 30.0f ? 30.0f : (v) < -104.0f ? -104.0f : (v))
static inline float compute_mish_derivative(float v)
{
    float t = tanhf(SOFTPLUS(v));
    return t + v * (1.0f - t * t) * LOGISTIC(v);
}
BACKWARD(mish, inputs, g * compute_mish_derivative(MISH_BOUND(v)))
BACKWARD(reciprocal, outputs, -g * v * v)
BACKWARD(sigmoid, outputs, g * v * (1.0f - v))
BACKWARD(softplus, inputs, g * LOGISTIC(v))
BACKWARD(softsign, inputs, g / ((1.0f + fabsf(v)) * (1.0f + fabsf(v))))
/* Infinite at 0, as the derivative is. */
BACKWARD(sqrt, outputs, g / (2.0f * v))
BACKWARD(tanh, outputs, g * (1.0f - v * v))

FLOAT_UNARY(ceil, "Ceil", 6, ceilf(v), NOT_DIFFERENTIABLE)
FLOAT_UNARY(erf, "Erf", 9, ldnq_erff(v), DIFFERENTIABLE(erf, inputs))
FLOAT_UNARY(exp, "Exp", 6, ldnq_expf(v), DIFFERENTIABLE(exp, outputs))
FLOAT_UNARY(floor, "Floor", 6, floorf(v), NOT_DIFFERENTIABLE)
FLOAT_UNARY(hardswish, "HardSwish", 14, v * CLAMPED(v * (1.0f / 6.0f) + 0.5f),
            DIFFERENTIABLE(hardswish, inputs))
FLOAT_UNARY(log, "Log", 6, logf(v), DIFFERENTIABLE(log, inputs))
FLOAT_UNARY(mish, "Mish", 18, v *tanhf(SOFTPLUS(v)), DIFFERENTIABLE(mish, inputs))
FLOAT_UNARY(reciprocal, "Reciprocal", 6, 1.0f / v, DIFFERENTIABLE(reciprocal, outputs))
/* In the default rounding mode: half to even. */
FLOAT_UNARY(round, "Round", 11, rintf(v), NOT_DIFFERENTIABLE)
FLOAT_UNARY(sigmoid, "Sigmoid", 6, 1.0f / (1.0f + ldnq_expf(-v)), DIFFERENTIABLE(sigmoid, outputs))
FLOAT_UNARY(softplus, "Softplus", 1, SOFTPLUS(v), DIFFERENTIABLE(softplus, inputs))
FLOAT_UNARY(softsign, "Softsign", 1, v / (1.0f + fabsf(v)), DIFFERENTIABLE(softsign, inputs))
FLOAT_UNARY(sqrt, "Sqrt", 6, sqrtf(v), DIFFERENTIABLE(sqrt, outputs))
FLOAT_UNARY(tanh, "Tanh", 6, ldnq_tanhf(v), DIFFERENTIABLE(tanh, outputs))

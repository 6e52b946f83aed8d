/* unary.c: functions of one element without attributes. */
#include "ops/op.h"

#include <math.h>

#include "base/simd.h"
#include "ops/expf.h"

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

#define RECORD(name, Type, SINCE, TYPES)                                                           \
    static enum ldnq_status name##_infer(struct ldnq_op_call *call, struct ldnq_error *err)        \
    {                                                                                              \
        return ldnq_op_infer_same(call, TYPES, err);                                               \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type, .since = SINCE, .until = LDNQ_OPSET_LATEST, .flags = LDNQ_OP_IN_PLACE,       \
        .inputs_min = 1, .inputs_max = 1, .outputs_max = 1,                                        \
        .infer = name##_infer,                                                                     \
        .forward = name##_forward,                                                                 \
    };

static enum ldnq_status run_unary(const struct ldnq_op_call *call, ldnq_range_fn *run)
{
    struct unary unary = { call->in[0]->data, call->out[0].data };
    ldnq_op_for_ranges(call, ldnq_tensor_count(call->in[0]), run, &unary);
    return LDNQ_OK;
}

/* float32 only */
#define FLOAT_UNARY(name, Type, SINCE, EXPR)                                                       \
    LOOP(name##_float, float, EXPR)                                                                \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        (void)err;                                                                                 \
        return run_unary(call, name##_float);                                                      \
    }                                                                                              \
    RECORD(name, Type, SINCE, FLOATS)

/* float32, int32 and int64 */
#define SIGNED_UNARY(name, Type, SINCE, FLOAT_EXPR, INT32_EXPR, INT64_EXPR)                        \
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
    RECORD(name, Type, SINCE, SIGNED)

/* Through unsigned, where the least number has a negative as well. */
#define NEGATIVE32(v) (int32_t)(0 - (uint32_t)(v))
#define NEGATIVE64(v) (int64_t)(0 - (uint64_t)(v))

SIGNED_UNARY(abs, "Abs", 6, fabsf(v), v < 0 ? NEGATIVE32(v) : v, v < 0 ? NEGATIVE64(v) : v)
SIGNED_UNARY(neg, "Neg", 6, -v, NEGATIVE32(v), NEGATIVE64(v))
SIGNED_UNARY(sign, "Sign", 9, (float)((v > 0.0f) - (v < 0.0f)), (v > 0) - (v < 0),
             (v > 0) - (v < 0))

FLOAT_UNARY(ceil, "Ceil", 6, ceilf(v))
FLOAT_UNARY(erf, "Erf", 9, erff(v))
FLOAT_UNARY(exp, "Exp", 6, ldnq_expf(v))
FLOAT_UNARY(floor, "Floor", 6, floorf(v))
#define CLAMPED(v) ((v) < 0.0f ? 0.0f : (v) > 1.0f ? 1.0f : (v))
FLOAT_UNARY(hardswish, "HardSwish", 14, v * CLAMPED(v * (1.0f / 6.0f) + 0.5f))
FLOAT_UNARY(log, "Log", 6, logf(v))
FLOAT_UNARY(reciprocal, "Reciprocal", 6, 1.0f / v)
/* The mode of rounding is the default one: half to even. */
FLOAT_UNARY(round, "Round", 11, rintf(v))
FLOAT_UNARY(sigmoid, "Sigmoid", 6, 1.0f / (1.0f + ldnq_expf(-v)))
/* log(1 + e^v) = max(v, 0) + log(1 + e^-|v|) does not overflow. */
#define SOFTPLUS(v) (fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v))))
FLOAT_UNARY(softplus, "Softplus", 1, SOFTPLUS(v))
FLOAT_UNARY(mish, "Mish", 18, v * tanhf(SOFTPLUS(v)))
FLOAT_UNARY(softsign, "Softsign", 1, v / (1.0f + fabsf(v)))
FLOAT_UNARY(sqrt, "Sqrt", 6, sqrtf(v))
FLOAT_UNARY(tanh, "Tanh", 6, tanhf(v))

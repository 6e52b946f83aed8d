/* SPDX-License-Identifier: Apache-2.0 */
/* trigonometry.c: the circular and hyperbolic functions and their inverses. */
#include "ops/op.h"

#include <math.h>

struct trigonometry_loop {
    const float *x, *dy;
    float *y; /* dx in backward */
};

static enum ldnq_status trigonometry_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

static enum ldnq_status run_trigonometry(const struct ldnq_op_call *call,
                                         const struct trigonometry_loop *f, ldnq_range_fn *run)
{
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), run, f);
    return LDNQ_OK;
}

/* y = EXPR and y' = DERIVATIVE, both in terms of the input v. */
#define FUNCTION(name, Type, SINCE, EXPR, DERIVATIVE)                                              \
    static void name##_range(const void *ctx, size_t first, size_t last)                           \
    {                                                                                              \
        const struct trigonometry_loop *f = ctx;                                                   \
        for (size_t i = first; i < last; i++) {                                                    \
            const float v = f->x[i];                                                               \
            f->y[i] = (EXPR);                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void name##_gradient(const void *ctx, size_t first, size_t last)                        \
    {                                                                                              \
        const struct trigonometry_loop *f = ctx;                                                   \
        for (size_t i = first; i < last; i++) {                                                    \
            const float v = f->x[i];                                                               \
            f->y[i] = f->dy[i] * (DERIVATIVE);                                                     \
        }                                                                                          \
    }                                                                                              \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        struct trigonometry_loop f = { .x = call->in[0]->data, .y = call->out[0].data };           \
        (void)err;                                                                                 \
        return run_trigonometry(call, &f, name##_range);                                           \
    }                                                                                              \
    static enum ldnq_status name##_backward(const struct ldnq_op_grad *grad,                       \
                                            struct ldnq_error *err)                                \
    {                                                                                              \
        struct trigonometry_loop f = { .x = grad->call->in[0]->data,                               \
                                       .dy = grad->out[0]->data,                                   \
                                       .y = grad->in[0].data };                                    \
        (void)err;                                                                                 \
        return run_trigonometry(grad->call, &f, name##_gradient);                                  \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 1,                                                                           \
        .inputs_max = 1,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = trigonometry_infer_shape,                                                         \
        .forward = name##_forward,                                                                 \
        .differentiable = 1,                                                                       \
        .saved_inputs = 1,                                                                         \
        .backward = name##_backward,                                                               \
    };

FUNCTION(sin, "Sin", 7, sinf(v), cosf(v))
FUNCTION(cos, "Cos", 7, cosf(v), -sinf(v))
FUNCTION(tan, "Tan", 7, tanf(v), 1.0f / (cosf(v) * cosf(v)))
FUNCTION(asin, "Asin", 7, asinf(v), 1.0f / sqrtf((1.0f - v) * (1.0f + v)))
FUNCTION(acos, "Acos", 7, acosf(v), -1.0f / sqrtf((1.0f - v) * (1.0f + v)))
FUNCTION(atan, "Atan", 7, atanf(v), 1.0f / (1.0f + v * v))
FUNCTION(sinh, "Sinh", 9, sinhf(v), coshf(v))
FUNCTION(cosh, "Cosh", 9, coshf(v), sinhf(v))
FUNCTION(asinh, "Asinh", 9, asinhf(v), 1.0f / hypotf(v, 1.0f))
FUNCTION(acosh, "Acosh", 9, acoshf(v), 1.0f / sqrtf((v - 1.0f) * (v + 1.0f)))
FUNCTION(atanh, "Atanh", 9, atanhf(v), 1.0f / ((1.0f - v) * (1.0f + v)))

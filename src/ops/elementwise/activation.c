/* SPDX-License-Identifier: Apache-2.0 */
/* activation.c: activation functions with attributes, and Gelu. */
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/shared/erff.h"
#include "ops/shared/expf.h"
#include "ops/shared/tanhf.h"
#include "ops/shared/unary_grad.h"

struct activation_loop {
    const float *x;
    float *y;
    float alpha, beta; /* beta: the second attribute, whatever its name (gamma of Selu) */
};

/* The record and functions of one activation.
 * ALPHA     default of the attribute alpha
 * SECOND    name of the second attribute, BETA its default
 * EXPR      y in terms of v (x), alpha and beta
 * FROM      inputs or outputs: whether v is x or y in GRADIENT
 * GRADIENT  dx in terms of v, g (dy), alpha and beta */
#define ACTIVATION(name, Type, SINCE, ALPHA, SECOND, BETA, EXPR, FROM, GRADIENT)                   \
    LDNQ_MULTIVERSION                                                                              \
    static void name##_range(const void *ctx, size_t first, size_t last)                           \
    {                                                                                              \
        const struct activation_loop *activation = ctx;                                            \
        const float *x = activation->x;                                                            \
        float *y = activation->y;                                                                  \
        const float alpha = activation->alpha, beta = activation->beta;                            \
        (void)alpha;                                                                               \
        (void)beta;                                                                                \
        LDNQ_IVDEP                                                                                 \
        for (size_t i = first; i < last; i++) {                                                    \
            const float v = x[i];                                                                  \
            y[i] = EXPR;                                                                           \
        }                                                                                          \
    }                                                                                              \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        struct activation_loop activation = { call->in[0]->data, call->out[0].data,                \
                                              ldnq_attr_float(call->node, "alpha", ALPHA),         \
                                              ldnq_attr_float(call->node, SECOND, BETA) };         \
        (void)err;                                                                                 \
        ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), name##_range, &activation);       \
        return LDNQ_OK;                                                                            \
    }                                                                                              \
    LDNQ_UNARY_GRAD(name##_gradient, GRADIENT)                                                     \
    static enum ldnq_status name##_backward(const struct ldnq_op_grad *grad,                       \
                                            struct ldnq_error *err)                                \
    {                                                                                              \
        return ldnq_unary_grad_run(grad, LDNQ_SAVED_##FROM(grad), name##_gradient,                 \
                                   ldnq_attr_float(grad->call->node, "alpha", ALPHA),              \
                                   ldnq_attr_float(grad->call->node, SECOND, BETA), err);          \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .flags = LDNQ_OP_IN_PLACE,                                                                 \
        .inputs_min = 1,                                                                           \
        .inputs_max = 1,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = activation_infer_shape,                                                           \
        .forward = name##_forward,                                                                 \
        .differentiable = 1,                                                                       \
        .saved_##FROM = 1,                                                                         \
        .backward = name##_backward,                                                               \
    };

static enum ldnq_status activation_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

#define CLAMPED(v) ((v) < 0.0f ? 0.0f : (v) > 1.0f ? 1.0f : (v))

/* d/dv of v s(alpha v) at z = alpha v, with s the logistic function. Beyond the bounds the
 * derivative is 0 or 1 to the last bit; there infinity times 0 would make it NaN. */
static inline float compute_swish_derivative(float z)
{
    z = z > 104.0f ? 104.0f : z < -104.0f ? -104.0f : z;
    float s = 1.0f / (1.0f + ldnq_expf(-z)), rest = 1.0f / (1.0f + ldnq_expf(z));
    return s + z * s * rest;
}

ACTIVATION(celu, "Celu", 12, 1.0f, "beta", 0.0f,
           fmaxf(0.0f, v) + fminf(0.0f, alpha *expm1f(v / alpha)), inputs,
           v > 0.0f ? g : g * ldnq_expf(v / alpha))
ACTIVATION(elu, "Elu", 6, 1.0f, "beta", 0.0f, v < 0.0f ? alpha * ldnq_expm1f_negative(v) : v,
           inputs, v > 0.0f ? g : g * (alpha * ldnq_expf(v)))
ACTIVATION(hardsigmoid, "HardSigmoid", 6, 0.2f, "beta", 0.5f, CLAMPED(alpha * v + beta), outputs,
           v > 0.0f && v < 1.0f ? g * alpha : 0.0f)
ACTIVATION(leakyrelu, "LeakyRelu", 6, 0.01f, "beta", 0.0f, v < 0.0f ? alpha * v : v, inputs,
           v > 0.0f ? g : g * alpha)
ACTIVATION(selu, "Selu", 6, 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f,
           beta * (v > 0.0f ? v : alpha * ldnq_expm1f_negative(v)), inputs,
           v > 0.0f ? g * beta : g * (beta * alpha * ldnq_expf(v)))
ACTIVATION(swish, "Swish", 24, 1.0f, "beta", 0.0f, v / (1.0f + ldnq_expf(-alpha * v)), inputs,
           g * compute_swish_derivative(alpha * v))
ACTIVATION(thresholdedrelu, "ThresholdedRelu", 10, 1.0f, "beta", 0.0f, v > alpha ? v : 0.0f, inputs,
           v > alpha ? g : 0.0f)

/* ---- Gelu ---------------------------------------------------------------------- */

#define SQRT_HALF 0.70710678118654752440f
#define INV_SQRT_2_PI 0.39894228040143267794f
#define SQRT_2_OVER_PI 0.79788456080286535588f

LDNQ_MULTIVERSION
static void compute_exact_gelu(const void *ctx, size_t first, size_t last)
{
    const struct activation_loop *gelu = ctx;
    const float *x = gelu->x;
    float *y = gelu->y;
    LDNQ_IVDEP
    for (size_t i = first; i < last; i++) {
        const float v = x[i];
        y[i] = 0.5f * v * (1.0f + ldnq_erff(v * SQRT_HALF));
    }
}

/* (1 + tanh(u)) / 2 = 1 / (1 + e^-2u) */
LDNQ_MULTIVERSION
static void compute_tanh_gelu(const void *ctx, size_t first, size_t last)
{
    const struct activation_loop *gelu = ctx;
    const float *x = gelu->x;
    float *y = gelu->y;
    LDNQ_IVDEP
    for (size_t i = first; i < last; i++) {
        const float v = x[i], u = SQRT_2_OVER_PI * (v + 0.044715f * v * v * v);
        y[i] = v / (1.0f + ldnq_expf(-2.0f * u));
    }
}

static enum ldnq_status gelu_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    const char *name = ldnq_attr_string(node, "approximate", "none");
    (void)arena;
    (void)attrs;
    if (strcmp(name, "none") == 0 || strcmp(name, "tanh") == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "approximate=%s is not none or tanh", name);
}

static enum ldnq_status gelu_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct activation_loop gelu = { .x = call->in[0]->data, .y = call->out[0].data };
    bool exact = strcmp(ldnq_attr_string(call->node, "approximate", "none"), "none") == 0;
    (void)err;
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]),
                       exact ? compute_exact_gelu : compute_tanh_gelu, &gelu);
    return LDNQ_OK;
}

/* With erfc, which is accurate for negative arguments, where 1 + erf cancels. */
LDNQ_UNARY_GRAD(gelu_exact_gradient,
                g * (0.5f * erfcf(-v * SQRT_HALF) + v * (INV_SQRT_2_PI * ldnq_expf(-0.5f * v * v))))

/* (1 + tanh u) / 2 = s(2 u), with s the logistic function. Beyond the bounds the derivative
 * is 0 or 1 to the last bit. */
static inline float compute_tanh_gelu_derivative(float v)
{
    v = v > 20.0f ? 20.0f : v < -20.0f ? -20.0f : v;
    float z = 2.0f * SQRT_2_OVER_PI * (v + 0.044715f * v * v * v);
    float steep = 2.0f * SQRT_2_OVER_PI * (1.0f + 3.0f * 0.044715f * v * v);
    float s = 1.0f / (1.0f + ldnq_expf(-z)), rest = 1.0f / (1.0f + ldnq_expf(z));
    return s + v * s * rest * steep;
}

LDNQ_UNARY_GRAD(gelu_tanh_gradient, g * compute_tanh_gelu_derivative(v))

static enum ldnq_status gelu_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    bool exact = strcmp(ldnq_attr_string(grad->call->node, "approximate", "none"), "none") == 0;
    return ldnq_unary_grad_run(grad, grad->call->in[0],
                               exact ? gelu_exact_gradient : gelu_tanh_gradient, 0.0f, 0.0f, err);
}

const struct ldnq_op ldnq_op_gelu = {
    .type = "Gelu",
    .since = 20,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = gelu_read_attrs,
    .infer = activation_infer_shape,
    .forward = gelu_forward,
    .differentiable = 1,
    .saved_inputs = 1,
    .backward = gelu_backward,
};

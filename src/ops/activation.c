/* activation.c: functions of one element with attributes. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/expf.h"

struct activation {
    const float *x;
    float *y;
    float alpha, beta; /* beta or gamma */
};

/* SECOND is the name of the second attribute. */
#define ACTIVATION(name, Type, SINCE, ALPHA, SECOND, BETA, EXPR)                                   \
    LDNQ_MULTIVERSION                                                                              \
    static void name##_range(const void *ctx, size_t first, size_t last)                           \
    {                                                                                              \
        const struct activation *activation = ctx;                                                 \
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
        struct activation activation = { call->in[0]->data, call->out[0].data,                     \
                                         ldnq_attr_float(call->node, "alpha", ALPHA),              \
                                         ldnq_attr_float(call->node, SECOND, BETA) };              \
        (void)err;                                                                                 \
        ldnq_op_for_ranges(call, ldnq_tensor_count(call->in[0]), name##_range, &activation);       \
        return LDNQ_OK;                                                                            \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type, .since = SINCE, .until = LDNQ_OPSET_LATEST, .flags = LDNQ_OP_IN_PLACE,       \
        .inputs_min = 1, .inputs_max = 1, .outputs_max = 1,                                        \
        .infer = activation_infer,                                                                 \
        .forward = name##_forward,                                                                 \
    };

static enum ldnq_status activation_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

#define CLAMPED(v) ((v) < 0.0f ? 0.0f : (v) > 1.0f ? 1.0f : (v))

ACTIVATION(celu, "Celu", 12, 1.0f, "beta", 0.0f,
           fmaxf(0.0f, v) + fminf(0.0f, alpha * expm1f(v / alpha)))
ACTIVATION(elu, "Elu", 6, 1.0f, "beta", 0.0f, v < 0.0f ? alpha * expm1f(v) : v)
ACTIVATION(hardsigmoid, "HardSigmoid", 6, 0.2f, "beta", 0.5f, CLAMPED(alpha * v + beta))
ACTIVATION(leakyrelu, "LeakyRelu", 6, 0.01f, "beta", 0.0f, v < 0.0f ? alpha * v : v)
ACTIVATION(selu, "Selu", 6, 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f,
           beta * (v > 0.0f ? v : alpha * expm1f(v)))
ACTIVATION(swish, "Swish", 24, 1.0f, "beta", 0.0f, v / (1.0f + ldnq_expf(-alpha * v)))
ACTIVATION(thresholdedrelu, "ThresholdedRelu", 10, 1.0f, "beta", 0.0f, v > alpha ? v : 0.0f)

/* ---- Gelu ---------------------------------------------------------------------- */

#define SQRT_HALF 0.70710678118654752440f
#define SQRT_2_OVER_PI 0.79788456080286535588f

static void gelu_exact(const void *ctx, size_t first, size_t last)
{
    const struct activation *gelu = ctx;
    for (size_t i = first; i < last; i++)
        gelu->y[i] = 0.5f * gelu->x[i] * (1.0f + erff(gelu->x[i] * SQRT_HALF));
}

static void gelu_tanh(const void *ctx, size_t first, size_t last)
{
    const struct activation *gelu = ctx;
    for (size_t i = first; i < last; i++) {
        const float v = gelu->x[i];
        gelu->y[i] = 0.5f * v * (1.0f + tanhf(SQRT_2_OVER_PI * (v + 0.044715f * v * v * v)));
    }
}

static enum ldnq_status gelu_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                  const void **attrs, struct ldnq_error *err)
{
    const char *name = ldnq_attr_string(node, "approximate", "none");
    (void)arena;
    (void)attrs;
    if (strcmp(name, "none") == 0 || strcmp(name, "tanh") == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "approximate=%s is not a known value", name);
}

static enum ldnq_status gelu_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct activation gelu = { .x = call->in[0]->data, .y = call->out[0].data };
    bool exact = strcmp(ldnq_attr_string(call->node, "approximate", "none"), "none") == 0;
    (void)err;
    ldnq_op_for_ranges(call, ldnq_tensor_count(call->in[0]), exact ? gelu_exact : gelu_tanh,
                       &gelu);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_gelu = {
    .type = "Gelu", .since = 20, .until = LDNQ_OPSET_LATEST, .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1, .inputs_max = 1, .outputs_max = 1,
    .read = gelu_read,
    .infer = activation_infer,
    .forward = gelu_forward,
};

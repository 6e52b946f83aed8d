/* SPDX-License-Identifier: Apache-2.0 */
/* clip.c: Clip. Its bounds are attributes up to opset 10 and inputs since 11. NaN stays NaN.
 * If low > high, the result is high.
 *
 * The gradient passes where the output is strictly between the bounds, and not where the
 * input equals a bound: backward reads the output, which is all that a convolution with a
 * fused Clip leaves, and can't distinguish the two (PyTorch's relu6 does the same). The
 * bounds have no gradient. */
#include <float.h>

#include "ops/shared/unary_grad.h"

struct clip_loop {
    const void *x;
    void *y;
    union {
        float f;
        int32_t i32;
        int64_t i64;
        int8_t i8;
        uint8_t u8;
    } low, high;
};

#define CLIP_TYPES                                                                                 \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64) |        \
     LDNQ_DTYPE_BIT(LDNQ_INT8) | LDNQ_DTYPE_BIT(LDNQ_UINT8))

#define CLIP(name, T, member)                                                                      \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct clip_loop *clip = ctx;                                                        \
        const T *x = clip->x;                                                                      \
        T *y = clip->y;                                                                            \
        const T low = clip->low.member, high = clip->high.member;                                  \
        LDNQ_IVDEP                                                                                 \
        for (size_t i = first; i < last; i++) {                                                    \
            const T above = low > x[i] ? low : x[i];                                               \
            y[i] = high < above ? high : above;                                                    \
        }                                                                                          \
    }

CLIP(clip_float, float, f)
CLIP(clip_int32, int32_t, i32)
CLIP(clip_int64, int64_t, i64)
CLIP(clip_int8, int8_t, i8)
CLIP(clip_uint8, uint8_t, u8)

/* ---- bounds as attributes -------------------------------------------------------- */

static enum ldnq_status clip_6_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err);
}

static enum ldnq_status clip_6_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    struct clip_loop clip = { .x = call->in[0]->data,
                              .y = call->out[0].data,
                              .low.f = ldnq_attr_float(call->node, "min", -FLT_MAX),
                              .high.f = ldnq_attr_float(call->node, "max", FLT_MAX) };
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), clip_float, &clip);
    return LDNQ_OK;
}

LDNQ_UNARY_GRAD(clip_gradient, v > alpha && v < beta ? g : 0.0f)

static enum ldnq_status clip_6_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    return ldnq_unary_grad_run(grad, &grad->call->out[0], clip_gradient,
                               ldnq_attr_float(grad->call->node, "min", -FLT_MAX),
                               ldnq_attr_float(grad->call->node, "max", FLT_MAX), err);
}

static bool clip_6_as_clamp(const struct ldnq_node *node, struct ldnq_clamp *clamp)
{
    *clamp = (struct ldnq_clamp){ .low = ldnq_attr_float(node, "min", -FLT_MAX),
                                  .high = ldnq_attr_float(node, "max", FLT_MAX) };
    return true;
}

const struct ldnq_op ldnq_op_clip_6 = {
    .type = "Clip",
    .since = 6,
    .until = 10,
    .flags = LDNQ_OP_IN_PLACE | LDNQ_OP_PER_SAMPLE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = clip_6_infer_shape,
    .forward = clip_6_forward,
    .differentiable = 1,
    .saved_outputs = 1,
    .backward = clip_6_backward,
    .as_clamp = clip_6_as_clamp,
};

/* ---- bounds as inputs ------------------------------------------------------------- */

static enum ldnq_status clip_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    for (size_t i = 1; i <= 2; i++) {
        const struct ldnq_tensor *bound = ldnq_op_input(call, i);
        LDNQ_TRY(ldnq_op_require_one_element(call, i, err));
        if (bound && bound->dtype != call->in[0]->dtype)
            return ldnq_fail(err, LDNQ_MODEL, "its bound has type %s where its input has %s",
                             ldnq_dtype_name(bound->dtype), ldnq_dtype_name(call->in[0]->dtype));
    }
    return ldnq_op_infer_like_first_input(call, CLIP_TYPES, err);
}

#define BOUND(tensor, T, otherwise) ((tensor) ? *(const T *)(tensor)->data : (otherwise))

static enum ldnq_status clip_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    struct clip_loop clip = { .x = call->in[0]->data, .y = call->out[0].data };
    const struct ldnq_tensor *low = ldnq_op_input(call, 1), *high = ldnq_op_input(call, 2);
    ldnq_range_fn *run = clip_float;
    switch (call->in[0]->dtype) {
    case LDNQ_INT32:
        run = clip_int32;
        clip.low.i32 = BOUND(low, int32_t, INT32_MIN);
        clip.high.i32 = BOUND(high, int32_t, INT32_MAX);
        break;
    case LDNQ_INT64:
        run = clip_int64;
        clip.low.i64 = BOUND(low, int64_t, INT64_MIN);
        clip.high.i64 = BOUND(high, int64_t, INT64_MAX);
        break;
    case LDNQ_INT8:
        run = clip_int8;
        clip.low.i8 = BOUND(low, int8_t, INT8_MIN);
        clip.high.i8 = BOUND(high, int8_t, INT8_MAX);
        break;
    case LDNQ_UINT8:
        run = clip_uint8;
        clip.low.u8 = BOUND(low, uint8_t, 0);
        clip.high.u8 = BOUND(high, uint8_t, UINT8_MAX);
        break;
    default:
        clip.low.f = BOUND(low, float, -FLT_MAX);
        clip.high.f = BOUND(high, float, FLT_MAX);
        break;
    }
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), run, &clip);
    return LDNQ_OK;
}

static enum ldnq_status clip_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *low = ldnq_op_input(grad->call, 1),
                             *high = ldnq_op_input(grad->call, 2);
    bool real = grad->call->in[0]->dtype == LDNQ_FLOAT; /* others are refused below */
    return ldnq_unary_grad_run(grad, &grad->call->out[0], clip_gradient,
                               real ? BOUND(low, float, -FLT_MAX) : 0.0f,
                               real ? BOUND(high, float, FLT_MAX) : 0.0f, err);
}

/* Reads a bound that is absent or a constant float scalar; false for all others. */
static bool read_constant_bound(const struct ldnq_node *node, size_t input, float otherwise,
                                float *bound)
{
    const struct ldnq_value *value = input < node->input_count ? node->inputs[input] : NULL;
    *bound = otherwise;
    if (!value)
        return true;
    if (!value->constant || value->constant->dtype != LDNQ_FLOAT ||
        ldnq_tensor_count(value->constant) != 1)
        return false;
    *bound = *(const float *)value->constant->data;
    return true;
}

static bool clip_as_clamp(const struct ldnq_node *node, struct ldnq_clamp *clamp)
{
    return read_constant_bound(node, 1, -FLT_MAX, &clamp->low) &&
           read_constant_bound(node, 2, FLT_MAX, &clamp->high);
}

const struct ldnq_op ldnq_op_clip = {
    .type = "Clip",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE | LDNQ_OP_PER_SAMPLE,
    .inputs_min = 1,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = clip_infer_shape,
    .forward = clip_forward,
    .differentiable = 1,
    .saved_inputs = 6,
    .saved_outputs = 1,
    .backward = clip_backward,
    .as_clamp = clip_as_clamp,
};

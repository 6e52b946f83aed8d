/* SPDX-License-Identifier: Apache-2.0 */
/* arithmetic.c: Add, Sub, Mul, Div. Integers wrap around; integer division
 * truncates and refuses a zero. */
#include "ops/shared/elementwise.h"

/* A list of kernels and its length. */
#define KERNELS(list) (list), sizeof(list) / sizeof *(list)

/* In unsigned arithmetic, which is defined to wrap around. */
#define ADD32(x, y) (int32_t)((uint32_t)(x) + (uint32_t)(y))
#define SUB32(x, y) (int32_t)((uint32_t)(x) - (uint32_t)(y))
#define MUL32(x, y) (int32_t)((uint32_t)(x) * (uint32_t)(y))
#define ADD64(x, y) (int64_t)((uint64_t)(x) + (uint64_t)(y))
#define SUB64(x, y) (int64_t)((uint64_t)(x) - (uint64_t)(y))
#define MUL64(x, y) (int64_t)((uint64_t)(x) * (uint64_t)(y))

LDNQ_BINARY_LOOP(add_float, float, float, x + y)
LDNQ_BINARY_LOOP(add_int32, int32_t, int32_t, ADD32(x, y))
LDNQ_BINARY_LOOP(add_int64, int64_t, int64_t, ADD64(x, y))
LDNQ_BINARY_LOOP(sub_float, float, float, x - y)
LDNQ_BINARY_LOOP(sub_int32, int32_t, int32_t, SUB32(x, y))
LDNQ_BINARY_LOOP(sub_int64, int64_t, int64_t, SUB64(x, y))
LDNQ_BINARY_LOOP(mul_float, float, float, x *y)
LDNQ_BINARY_LOOP(mul_int32, int32_t, int32_t, MUL32(x, y))
LDNQ_BINARY_LOOP(mul_int64, int64_t, int64_t, MUL64(x, y))
LDNQ_BINARY_LOOP(div_float, float, float, x / y)
LDNQ_BINARY_LOOP(div_int32, int32_t, int32_t, y == -1 ? SUB32(0, x) : x / y)
LDNQ_BINARY_LOOP_INTEGERS(add, (uint64_t)x + (uint64_t)y)
LDNQ_BINARY_LOOP_INTEGERS(sub, (uint64_t)x - (uint64_t)y)
LDNQ_BINARY_LOOP_INTEGERS(mul, (uint64_t)x *(uint64_t)y)
LDNQ_BINARY_LOOP_INTEGERS(div, x / y)
LDNQ_BINARY_LOOP(div_int64, int64_t, int64_t, y == -1 ? SUB64(0, x) : x / y)

/* SAVED: the inputs that backward reads. */
#define ARITHMETIC(name, Type, SAVED)                                                              \
    static const struct ldnq_elementwise_kernel name##_kernels[] = {                               \
        { LDNQ_FLOAT, name##_float },                                                              \
        { LDNQ_INT32, name##_int32 },                                                              \
        { LDNQ_INT64, name##_int64 },                                                              \
        LDNQ_INTEGER_KERNELS(name),                                                                \
    };                                                                                             \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return ldnq_binary_infer_shape(call, KERNELS(name##_kernels), LDNQ_UNDEFINED, err);        \
    }                                                                                              \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        LDNQ_TRY(name##_check(call, err));                                                         \
        ldnq_binary_run(call, KERNELS(name##_kernels));                                            \
        return LDNQ_OK;                                                                            \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = 7,                                                                                \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .flags = LDNQ_OP_IN_PLACE | LDNQ_OP_PER_SAMPLE,                                            \
        .inputs_min = 2,                                                                           \
        .inputs_max = 2,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
        .differentiable = 3,                                                                       \
        .saved_inputs = (SAVED),                                                                   \
        .backward_scratch_bytes = ldnq_elementwise_grad_scratch_bytes,                             \
        .backward = name##_backward,                                                               \
    };

static inline enum ldnq_status accept_any_inputs(const struct ldnq_op_call *call,
                                                 struct ldnq_error *err)
{
    (void)call;
    (void)err;
    return LDNQ_OK;
}

static enum ldnq_status div_check(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    bool zero = ldnq_dtype_is_integer(call->in[1]->dtype) && ldnq_elementwise_has_zero(call->in[1]);
    return zero ? ldnq_fail(err, LDNQ_NUMERIC, "divides an integer by zero") : LDNQ_OK;
}

/* ---- gradients -------------------------------------------------------------------- */

LDNQ_BINARY_LOOP(multiply_gradient, float, float, x *y)

static void negate_gradient(void *out_, const void *const *in, const size_t *step, size_t count)
{
    const float *x = in[0];
    float *out = out_;
    (void)step;
    for (size_t i = 0; i < count; i++)
        out[i] = -x[i];
}

static enum ldnq_status add_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    for (size_t i = 0; i < 2; i++)
        if (grad->in[i].data)
            ldnq_op_sum_broadcast_grad(grad->call, grad->out[0], &grad->in[i]);
    return LDNQ_OK;
}

static enum ldnq_status sub_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    if (grad->in[0].data)
        ldnq_op_sum_broadcast_grad(grad->call, grad->out[0], &grad->in[0]);
    ldnq_elementwise_compute_grad(grad, 1, negate_gradient, grad->out, 1);
    return LDNQ_OK;
}

static enum ldnq_status mul_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    for (size_t i = 0; i < 2; i++) {
        const struct ldnq_tensor *in[] = { grad->out[0], grad->call->in[1 - i] };
        ldnq_elementwise_compute_grad(grad, i, multiply_gradient, in, 2);
    }
    return LDNQ_OK;
}

LDNQ_BINARY_LOOP(dividend_gradient, float, float, x / y)
/* Two divisions, as y * y might overflow. */
LDNQ_TERNARY_LOOP(divisor_gradient, -g * (x / y / y))

static enum ldnq_status div_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_tensor *in[] = { grad->out[0], call->in[1] };
    const struct ldnq_tensor *all[] = { grad->out[0], call->in[0], call->in[1] };
    (void)err;
    ldnq_elementwise_compute_grad(grad, 0, dividend_gradient, in, 2);
    ldnq_elementwise_compute_grad(grad, 1, divisor_gradient, all, 3);
    return LDNQ_OK;
}

#define add_check accept_any_inputs
#define sub_check accept_any_inputs
#define mul_check accept_any_inputs

ARITHMETIC(add, "Add", 0)
ARITHMETIC(sub, "Sub", 0)
ARITHMETIC(mul, "Mul", 3)
ARITHMETIC(div, "Div", 3)

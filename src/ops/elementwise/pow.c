/* SPDX-License-Identifier: Apache-2.0 */
/* pow.c: Pow. The output has the base's type; the exponent may have another. */
#include "ops/shared/elementwise.h"

#include <math.h>

/* By repeated squaring. Overflow wraps around. A negative exponent truncates the result,
 * which is 0 for all bases but 1 and -1. */
static int64_t raise_to_integer_power(int64_t base, int64_t exponent)
{
    uint64_t result = 1, square = (uint64_t)base;
    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result *= square;
        square *= square;
    }
    return (int64_t)result;
}

/* A real power of an integer, truncated; INT64_MIN if it is out of range. */
static int64_t raise_and_truncate(int64_t base, float exponent)
{
    double power = pow((double)base, (double)exponent);
    return power < 0x1p63 && power >= -0x1p63 ? (int64_t)power : INT64_MIN;
}

/* The loop of EXPR, for a base x of type B and an exponent y of type E. */
#define POWER(name, B, E, EXPR)                                                                    \
    static void name(void *out_, const void *const *in, const size_t *step, size_t count)          \
    {                                                                                              \
        const B *a = in[0];                                                                        \
        const E *b = in[1];                                                                        \
        B *out = out_;                                                                             \
        for (size_t i = 0; i < count; i++) {                                                       \
            const B x = a[i * step[0]];                                                            \
            const E y = b[i * step[1]];                                                            \
            out[i] = (B)(EXPR);                                                                    \
        }                                                                                          \
    }

POWER(float_float, float, float, powf(x, y))
POWER(float_int32, float, int32_t, powf(x, (float)y))
POWER(float_int64, float, int64_t, powf(x, (float)y))
POWER(float_uint32, float, uint32_t, powf(x, (float)y))
POWER(float_uint64, float, uint64_t, powf(x, (float)y))
POWER(int32_int32, int32_t, int32_t, raise_to_integer_power(x, y))
POWER(int32_int64, int32_t, int64_t, raise_to_integer_power(x, y))
POWER(int32_float, int32_t, float, raise_and_truncate(x, y))
POWER(int64_int32, int64_t, int32_t, raise_to_integer_power(x, y))
POWER(int64_int64, int64_t, int64_t, raise_to_integer_power(x, y))
POWER(int64_float, int64_t, float, raise_and_truncate(x, y))
/* The exponent 2, which is most frequent in exported models. */
LDNQ_BINARY_LOOP(square_float, float, float, ((void)y, x *x))

static const struct ldnq_elementwise_kernel float_kernels[] = {
    { LDNQ_FLOAT, float_float },   { LDNQ_INT32, float_int32 },   { LDNQ_INT64, float_int64 },
    { LDNQ_UINT32, float_uint32 }, { LDNQ_UINT64, float_uint64 },
};
static const struct ldnq_elementwise_kernel int32_kernels[] = {
    { LDNQ_FLOAT, int32_float },
    { LDNQ_INT32, int32_int32 },
    { LDNQ_INT64, int32_int64 },
};
static const struct ldnq_elementwise_kernel int64_kernels[] = {
    { LDNQ_FLOAT, int64_float },
    { LDNQ_INT32, int64_int32 },
    { LDNQ_INT64, int64_int64 },
};

#define COUNT(list) (sizeof(list) / sizeof *(list))

#define POW_TYPES                                                                                  \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

static enum ldnq_status pow_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, POW_TYPES, err));
    unsigned whole = LDNQ_DTYPE_BIT(LDNQ_UINT32) | LDNQ_DTYPE_BIT(LDNQ_UINT64);
    LDNQ_TRY(ldnq_op_require_dtype(
        call, 1, call->in[0]->dtype == LDNQ_FLOAT ? POW_TYPES | whole : POW_TYPES, err));
    call->out[0].dtype = call->in[0]->dtype;
    return ldnq_op_broadcast(call, &call->in[0]->shape, &call->in[1]->shape, &call->out[0].shape,
                             err);
}

static enum ldnq_status pow_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *in[] = { call->in[0], call->in[1] };
    const struct ldnq_elementwise_kernel *kernels = in[0]->dtype == LDNQ_FLOAT   ? float_kernels
                                                    : in[0]->dtype == LDNQ_INT32 ? int32_kernels
                                                                                 : int64_kernels;
    ldnq_elementwise_fn *run = ldnq_elementwise_find(
        kernels, kernels == float_kernels ? COUNT(float_kernels) : 3, in[1]->dtype);
    (void)err;
    if (run == float_float && ldnq_tensor_count(in[1]) == 1 && *(const float *)in[1]->data == 2.0f)
        run = square_float;
    ldnq_elementwise_run(call, run, &call->out[0], in, 2);
    return LDNQ_OK;
}

/* ---- gradients --------------------------------------------------------------------- */

/* d/dx x^y = y x^(y-1). It is 0 for y = 0, also at x = 0. */
#define BASE_GRADIENT(name, E)                                                                     \
    static void name(void *out_, const void *const *in, const size_t *step, size_t count)          \
    {                                                                                              \
        const float *gradient = in[0], *base = in[1];                                              \
        const E *exponent = in[2];                                                                 \
        float *out = out_;                                                                         \
        for (size_t i = 0; i < count; i++) {                                                       \
            const float x = base[i * step[1]], y = (float)exponent[i * step[2]];                   \
            out[i] = y == 0.0f ? 0.0f : gradient[i * step[0]] * (y * powf(x, y - 1.0f));           \
        }                                                                                          \
    }

BASE_GRADIENT(base_float, float)
BASE_GRADIENT(base_int32, int32_t)
BASE_GRADIENT(base_int64, int64_t)
BASE_GRADIENT(base_uint32, uint32_t)
BASE_GRADIENT(base_uint64, uint64_t)
LDNQ_BINARY_LOOP(base_square, float, float, x * (2.0f * y))
/* d/dy x^y = x^y log x. It is 0 for x = 0 and y >= 0, where 0^y is constant. */
LDNQ_TERNARY_LOOP(exponent_float, x == 0.0f && y >= 0.0f ? 0.0f : g * (powf(x, y) * logf(x)))

static const struct ldnq_elementwise_kernel base_kernels[] = {
    { LDNQ_FLOAT, base_float },   { LDNQ_INT32, base_int32 },   { LDNQ_INT64, base_int64 },
    { LDNQ_UINT32, base_uint32 }, { LDNQ_UINT64, base_uint64 },
};

/* Only float bases have a gradient. Integer exponents have none. */
static enum ldnq_status pow_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *base = grad->call->in[0], *exponent = grad->call->in[1];
    const struct ldnq_tensor *in[] = { grad->out[0], base, exponent };
    if (base->dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients of type %s are not supported",
                         ldnq_dtype_name(base->dtype));
    if (exponent->dtype == LDNQ_FLOAT && ldnq_tensor_count(exponent) == 1 &&
        *(const float *)exponent->data == 2.0f)
        ldnq_elementwise_compute_grad(grad, 0, base_square, in, 2);
    else
        ldnq_elementwise_compute_grad(
            grad, 0, ldnq_elementwise_find(base_kernels, COUNT(base_kernels), exponent->dtype), in,
            3);
    if (exponent->dtype == LDNQ_FLOAT)
        ldnq_elementwise_compute_grad(grad, 1, exponent_float, in, 3);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_pow = {
    .type = "Pow",
    .since = 7,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = pow_infer_shape,
    .forward = pow_forward,
    .differentiable = 3,
    .saved_inputs = 3,
    .backward_scratch_bytes = ldnq_elementwise_grad_scratch_bytes,
    .backward = pow_backward,
};

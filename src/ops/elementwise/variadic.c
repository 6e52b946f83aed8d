/* SPDX-License-Identifier: Apache-2.0 */
/* variadic.c: Max, Min, Sum and Mean of any number of inputs that broadcast. */
#include <string.h>

#include "base/size.h"
#include "ops/shared/elementwise.h"

/* The result is NaN if either is. */
LDNQ_BINARY_LOOP(max_float, float, float, x > y || x != x ? x : y)
LDNQ_BINARY_LOOP(max_double, double, double, x > y || x != x ? x : y)
LDNQ_BINARY_LOOP(max_int32, int32_t, int32_t, x > y ? x : y)
LDNQ_BINARY_LOOP(max_int64, int64_t, int64_t, x > y ? x : y)
LDNQ_BINARY_LOOP(min_float, float, float, x < y || x != x ? x : y)
LDNQ_BINARY_LOOP(min_double, double, double, x < y || x != x ? x : y)
LDNQ_BINARY_LOOP(min_int32, int32_t, int32_t, x < y ? x : y)
LDNQ_BINARY_LOOP(min_int64, int64_t, int64_t, x < y ? x : y)
LDNQ_BINARY_LOOP_INTEGERS(max, x > y ? x : y)
LDNQ_BINARY_LOOP_INTEGERS(min, x < y ? x : y)
LDNQ_BINARY_LOOP(sum_float, float, float, x + y)

static const struct ldnq_elementwise_kernel max_kernels[] = {
    { LDNQ_FLOAT, max_float },   { LDNQ_INT32, max_int32 }, { LDNQ_INT64, max_int64 },
    { LDNQ_DOUBLE, max_double }, LDNQ_INTEGER_KERNELS(max),
};
static const struct ldnq_elementwise_kernel min_kernels[] = {
    { LDNQ_FLOAT, min_float },   { LDNQ_INT32, min_int32 }, { LDNQ_INT64, min_int64 },
    { LDNQ_DOUBLE, min_double }, LDNQ_INTEGER_KERNELS(min),
};
static const struct ldnq_elementwise_kernel sum_kernels[] = { { LDNQ_FLOAT, sum_float } };

static enum ldnq_status variadic_infer_shape(struct ldnq_op_call *call,
                                             const struct ldnq_elementwise_kernel *kernels,
                                             size_t count, struct ldnq_error *err)
{
    unsigned mask = 0;
    for (size_t i = 0; i < count; i++)
        mask |= LDNQ_DTYPE_BIT(kernels[i].dtype);
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, mask, err));
    for (size_t i = 1; i < call->in_count; i++) {
        if (call->in[i]->dtype != call->in[0]->dtype)
            return ldnq_fail(err, LDNQ_MODEL, "its inputs have the types %s and %s",
                             ldnq_dtype_name(call->in[0]->dtype),
                             ldnq_dtype_name(call->in[i]->dtype));
        LDNQ_TRY(ldnq_op_broadcast(call, &call->out[0].shape, &call->in[i]->shape,
                                   &call->out[0].shape, err));
    }
    return LDNQ_OK;
}

/* Combines the first two inputs, then the result with each further input. */
static void run_variadic_operator(const struct ldnq_op_call *call,
                                  const struct ldnq_elementwise_kernel *kernels, size_t count)
{
    struct ldnq_tensor *out = &call->out[0];
    ldnq_elementwise_fn *run = ldnq_elementwise_find(kernels, count, out->dtype);
    if (call->in_count == 1)
        memcpy(out->data, call->in[0]->data, ldnq_tensor_count(out) * ldnq_dtype_size(out->dtype));
    for (size_t i = 1; i < call->in_count; i++) {
        const struct ldnq_tensor *in[] = { i == 1 ? call->in[0] : out, call->in[i] };
        ldnq_elementwise_run(call, run, out, in, 2);
    }
}

#define VARIADIC(name, Type, CASES, COUNT, ...)                                                    \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return variadic_infer_shape(call, CASES, COUNT, err);                                      \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = 6,                                                                                \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .inputs_min = 1,                                                                           \
        .inputs_max = -1,                                                                          \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
        .differentiable = LDNQ_ALL_INPUTS,                                                         \
        __VA_ARGS__,                                                                               \
    };

static enum ldnq_status max_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    run_variadic_operator(call, max_kernels, sizeof max_kernels / sizeof *max_kernels);
    return LDNQ_OK;
}

static enum ldnq_status min_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    run_variadic_operator(call, min_kernels, sizeof min_kernels / sizeof *min_kernels);
    return LDNQ_OK;
}

static enum ldnq_status sum_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    run_variadic_operator(call, sum_kernels, 1);
    return LDNQ_OK;
}

static enum ldnq_status mean_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    float *out = call->out[0].data, inputs = (float)call->in_count;
    size_t count = ldnq_tensor_count(&call->out[0]);
    (void)err;
    run_variadic_operator(call, sum_kernels, 1);
    for (size_t i = 0; i < count; i++)
        out[i] /= inputs;
    return LDNQ_OK;
}

/* ---- gradients --------------------------------------------------------------------- */

static enum ldnq_status sum_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    for (size_t i = 0; i < grad->call->in_count; i++)
        if (grad->in[i].data)
            ldnq_op_sum_broadcast_grad(grad->call, grad->out[0], &grad->in[i]);
    return LDNQ_OK;
}

static enum ldnq_status mean_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    float inputs = (float)grad->call->in_count;
    LDNQ_TRY(sum_backward(grad, err));
    for (size_t i = 0; i < grad->call->in_count; i++) {
        float *gradient = grad->in[i].data;
        size_t count = gradient ? ldnq_tensor_count(&grad->in[i]) : 0;
        for (size_t k = 0; k < count; k++)
            gradient[k] /= inputs;
    }
    return LDNQ_OK;
}

/* Max and Min: the gradient is divided evenly among the inputs that equal the output. */

LDNQ_TERNARY_LOOP(count_equal, g + (x == y ? 1.0f : 0.0f))
LDNQ_BINARY_LOOP(divide_gradient, float, float, y / x)
LDNQ_TERNARY_LOOP(share_gradient, x == y ? g : 0.0f)

/* The scratch of ldnq_elementwise_compute_grad, followed by one share of the gradient per element.
 */
static size_t min_max_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    struct ldnq_tensor whole = { .dtype = LDNQ_FLOAT, .shape = grad->call->out[0].shape };
    size_t bytes, both, first = ldnq_elementwise_grad_scratch_bytes(grad);
    return ldnq_tensor_bytes(&whole, &bytes) && ldnq_size_add(first, bytes, &both) ? both
                                                                                   : SIZE_MAX;
}

static enum ldnq_status min_max_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    const struct ldnq_tensor *out = &call->out[0];
    struct ldnq_tensor shares = { .dtype = LDNQ_FLOAT,
                                  .shape = out->shape,
                                  .data = (char *)call->scratch +
                                          ldnq_elementwise_grad_scratch_bytes(grad) };
    const struct ldnq_tensor *both[] = { &shares, grad->out[0] };
    size_t count = ldnq_tensor_count(out);
    (void)err;
    if (count > 0)
        memset(shares.data, 0, count * sizeof(float));
    for (size_t i = 0; i < call->in_count; i++) {
        const struct ldnq_tensor *in[] = { &shares, call->in[i], out };
        ldnq_elementwise_run(call, count_equal, &shares, in, 3);
    }
    ldnq_elementwise_run(call, divide_gradient, &shares, both, 2);
    for (size_t i = 0; i < call->in_count; i++) {
        const struct ldnq_tensor *in[] = { &shares, call->in[i], out };
        ldnq_elementwise_compute_grad(grad, i, share_gradient, in, 3);
    }
    return LDNQ_OK;
}

#define EXTREME                                                                                    \
    .saved_inputs = LDNQ_ALL_INPUTS, .saved_outputs = 1,                                           \
    .backward_scratch_bytes = min_max_backward_scratch_bytes, .backward = min_max_backward

VARIADIC(max, "Max", max_kernels, sizeof max_kernels / sizeof *max_kernels, EXTREME)
VARIADIC(mean, "Mean", sum_kernels, 1, .backward = mean_backward)
VARIADIC(min, "Min", min_kernels, sizeof min_kernels / sizeof *min_kernels, EXTREME)
VARIADIC(sum, "Sum", sum_kernels, 1, .backward = sum_backward)

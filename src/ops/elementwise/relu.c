/* SPDX-License-Identifier: Apache-2.0 */
/* relu.c: Relu. NaN stays NaN, as in ONNX Runtime. */
#include <math.h>

#include "base/simd.h"
#include "ops/shared/elementwise.h"

#define RELU_TYPES                                                                                 \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64) |        \
     LDNQ_DTYPE_BIT(LDNQ_INT8))

struct relu_loop {
    const void *x;
    void *y;
};

static enum ldnq_status relu_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, RELU_TYPES, err);
}

#define RELU(name, T)                                                                              \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct relu_loop *relu = ctx;                                                        \
        const T *x = relu->x;                                                                      \
        T *y = relu->y;                                                                            \
        LDNQ_IVDEP                                                                                 \
        for (size_t i = first; i < last; i++)                                                      \
            y[i] = (T)0 > x[i] ? (T)0 : x[i];                                                      \
    }

RELU(relu_float, float)
RELU(relu_int32, int32_t)
RELU(relu_int64, int64_t)
RELU(relu_int8, int8_t)

static enum ldnq_status relu_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    struct relu_loop relu = { call->in[0]->data, call->out[0].data };
    enum ldnq_dtype dtype = call->in[0]->dtype;
    ldnq_range_fn *run = dtype == LDNQ_FLOAT   ? relu_float
                         : dtype == LDNQ_INT32 ? relu_int32
                         : dtype == LDNQ_INT64 ? relu_int64
                                               : relu_int8;
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), run, &relu);
    return LDNQ_OK;
}

LDNQ_BINARY_LOOP(relu_gradient, float, float, x > 0.0f ? y : 0.0f)

/* Computes the gradient from the output, which is positive where the input is. */
static enum ldnq_status relu_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *in[] = { &grad->call->out[0], grad->out[0] };
    (void)err;
    ldnq_elementwise_compute_grad(grad, 0, relu_gradient, in, 2);
    return LDNQ_OK;
}

static bool relu_as_clamp(const struct ldnq_node *node, struct ldnq_clamp *clamp)
{
    (void)node;
    *clamp = (struct ldnq_clamp){ .low = 0.0f, .high = INFINITY };
    return true;
}

const struct ldnq_op ldnq_op_relu = {
    .type = "Relu",
    .since = 6,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE | LDNQ_OP_PER_SAMPLE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = relu_infer_shape,
    .forward = relu_forward,
    .differentiable = 1,
    .saved_outputs = 1,
    .backward = relu_backward,
    .as_clamp = relu_as_clamp,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* where.c: Where: out = condition ? x : y, all three broadcast. */
#include "ops/shared/elementwise.h"

#define WHERE(name, T)                                                                             \
    static void name(void *out_, const void *const *in, const size_t *step, size_t count)          \
    {                                                                                              \
        const uint8_t *condition = in[0];                                                          \
        const T *x = in[1], *y = in[2];                                                            \
        T *out = out_;                                                                             \
        for (size_t i = 0; i < count; i++)                                                         \
            out[i] = condition[i * step[0]] ? x[i * step[1]] : y[i * step[2]];                     \
    }

WHERE(where_8, uint8_t)
WHERE(where_16, uint16_t)
WHERE(where_32, uint32_t)
WHERE(where_64, uint64_t)

static enum ldnq_status where_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *x = call->in[1], *y = call->in[2];
    struct ldnq_shape both;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_BOOL), err));
    if (x->dtype != y->dtype)
        return ldnq_fail(err, LDNQ_MODEL, "its inputs have the types %s and %s",
                         ldnq_dtype_name(x->dtype), ldnq_dtype_name(y->dtype));
    if (ldnq_dtype_size(x->dtype) == 0 || ldnq_dtype_size(x->dtype) > 8)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "input 1 of type %s is not supported",
                         ldnq_dtype_name(x->dtype));
    call->out[0].dtype = x->dtype;
    LDNQ_TRY(ldnq_op_broadcast(call, &x->shape, &y->shape, &both, err));
    return ldnq_op_broadcast(call, &call->in[0]->shape, &both, &call->out[0].shape, err);
}

static enum ldnq_status where_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    size_t size = ldnq_dtype_size(call->out[0].dtype);
    const struct ldnq_tensor *in[] = { call->in[0], call->in[1], call->in[2] };
    ldnq_elementwise_fn *run = size == 1   ? where_8
                               : size == 2 ? where_16
                               : size == 4 ? where_32
                                           : where_64;
    (void)err;
    ldnq_elementwise_run(call, run, &call->out[0], in, 3);
    return LDNQ_OK;
}

#define WHERE_GRADIENT(name, EXPR)                                                                 \
    static void name(void *out_, const void *const *in, const size_t *step, size_t count)          \
    {                                                                                              \
        const uint8_t *condition = in[0];                                                          \
        const float *gradient = in[1];                                                             \
        float *out = out_;                                                                         \
        for (size_t i = 0; i < count; i++) {                                                       \
            const uint8_t c = condition[i * step[0]];                                              \
            const float g = gradient[i * step[1]];                                                 \
            out[i] = EXPR;                                                                         \
        }                                                                                          \
    }

WHERE_GRADIENT(where_true, c ? g : 0.0f)
WHERE_GRADIENT(where_false, c ? 0.0f : g)

static enum ldnq_status where_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_tensor *in[] = { grad->call->in[0], grad->out[0] };
    (void)err;
    ldnq_elementwise_compute_grad(grad, 1, where_true, in, 2);
    ldnq_elementwise_compute_grad(grad, 2, where_false, in, 2);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_where = {
    .type = "Where",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = where_infer_shape,
    .forward = where_forward,
    .differentiable = 6,
    .saved_inputs = 1,
    .backward_scratch_bytes = ldnq_elementwise_grad_scratch_bytes,
    .backward = where_backward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* logical.c: And, Or, Xor and Not of bool. */
#include "ops/shared/elementwise.h"

#define LOGICAL(name, Type, EXPR)                                                                  \
    LDNQ_BINARY_LOOP(name##_loop, uint8_t, uint8_t, EXPR)                                          \
    static const struct ldnq_elementwise_kernel name##_kernel = { LDNQ_BOOL, name##_loop };        \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return ldnq_binary_infer_shape(call, &name##_kernel, 1, LDNQ_BOOL, err);                   \
    }                                                                                              \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        (void)err;                                                                                 \
        ldnq_binary_run(call, &name##_kernel, 1);                                                  \
        return LDNQ_OK;                                                                            \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = 7,                                                                                \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .inputs_min = 2,                                                                           \
        .inputs_max = 2,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
    };

LOGICAL(and, "And", x &&y)
LOGICAL(or, "Or", x || y)
LOGICAL(xor, "Xor", !x != !y)

static enum ldnq_status not_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_BOOL), err);
}

static enum ldnq_status not_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const uint8_t *x = call->in[0]->data;
    uint8_t *y = call->out[0].data;
    size_t count = ldnq_tensor_count(call->in[0]);
    (void)err;
    for (size_t i = 0; i < count; i++)
        y[i] = !x[i];
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_not = {
    .type = "Not",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = not_infer_shape,
    .forward = not_forward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* compare.c: Equal, Greater, Less, GreaterOrEqual, LessOrEqual. */
#include "ops/shared/elementwise.h"

#define KERNELS(name) name##_kernels, sizeof(name##_kernels) / sizeof *name##_kernels

#define COMPARE(name, Type, SINCE, EXPR)                                                           \
    LDNQ_BINARY_LOOP(name##_float, float, uint8_t, EXPR)                                           \
    LDNQ_BINARY_LOOP(name##_int32, int32_t, uint8_t, EXPR)                                         \
    LDNQ_BINARY_LOOP(name##_int64, int64_t, uint8_t, EXPR)                                         \
    LDNQ_BINARY_LOOP_INTEGERS_TO(name, LDNQ_RESULT_BOOL, EXPR)                                     \
    static const struct ldnq_elementwise_kernel name##_kernels[] = {                               \
        { LDNQ_FLOAT, name##_float }, { LDNQ_INT32, name##_int32 }, { LDNQ_INT64, name##_int64 },  \
        LDNQ_INTEGER_KERNELS(name),   { LDNQ_BOOL, name##_uint8 },                                 \
    };                                                                                             \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return ldnq_binary_infer_shape(call, KERNELS(name), LDNQ_BOOL, err);                       \
    }                                                                                              \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        (void)err;                                                                                 \
        ldnq_binary_run(call, KERNELS(name));                                                      \
        return LDNQ_OK;                                                                            \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .inputs_min = 2,                                                                           \
        .inputs_max = 2,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
    };

COMPARE(equal, "Equal", 7, x == y)
COMPARE(greater, "Greater", 7, x > y)
COMPARE(greaterorequal, "GreaterOrEqual", 12, x >= y)
COMPARE(less, "Less", 7, x < y)
COMPARE(lessorequal, "LessOrEqual", 12, x <= y)

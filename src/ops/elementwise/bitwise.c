/* SPDX-License-Identifier: Apache-2.0 */
/* bitwise.c: BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot, and BitShift of unsigned
 * integers. */
#include "ops/shared/elementwise.h"

#include <string.h>

/* A list of kernels and its length. */
#define KERNELS(name) name##_kernels, sizeof name##_kernels / sizeof *name##_kernels

/* Signed integers use the unsigned loops: bits are the same in two's complement. */
#define BITWISE(name, Type, EXPR)                                                                  \
    LDNQ_BINARY_LOOP(name##_8, uint8_t, uint8_t, EXPR)                                             \
    LDNQ_BINARY_LOOP(name##_16, uint16_t, uint16_t, EXPR)                                          \
    LDNQ_BINARY_LOOP(name##_32, uint32_t, uint32_t, EXPR)                                          \
    LDNQ_BINARY_LOOP(name##_64, uint64_t, uint64_t, EXPR)                                          \
    static const struct ldnq_elementwise_kernel name##_kernels[] = {                               \
        { LDNQ_UINT8, name##_8 },   { LDNQ_INT8, name##_8 },    { LDNQ_UINT16, name##_16 },        \
        { LDNQ_INT16, name##_16 },  { LDNQ_UINT32, name##_32 }, { LDNQ_INT32, name##_32 },         \
        { LDNQ_UINT64, name##_64 }, { LDNQ_INT64, name##_64 },                                     \
    };                                                                                             \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return ldnq_binary_infer_shape(call, KERNELS(name), LDNQ_UNDEFINED, err);                  \
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
        .since = 18,                                                                               \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .inputs_min = 2,                                                                           \
        .inputs_max = 2,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
    };

BITWISE(bitwiseand, "BitwiseAnd", x &y)
BITWISE(bitwiseor, "BitwiseOr", x | y)
BITWISE(bitwisexor, "BitwiseXor", x ^ y)

/* ---- BitwiseNot ------------------------------------------------------------------------- */

#define INTEGERS                                                                                   \
    (LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8) | LDNQ_DTYPE_BIT(LDNQ_UINT16) |        \
     LDNQ_DTYPE_BIT(LDNQ_INT16) | LDNQ_DTYPE_BIT(LDNQ_UINT32) | LDNQ_DTYPE_BIT(LDNQ_INT32) |       \
     LDNQ_DTYPE_BIT(LDNQ_UINT64) | LDNQ_DTYPE_BIT(LDNQ_INT64))

static enum ldnq_status bitwisenot_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, INTEGERS, err);
}

static enum ldnq_status bitwisenot_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const uint8_t *x = call->in[0]->data;
    uint8_t *y = call->out[0].data;
    size_t bytes = ldnq_tensor_count(call->in[0]) * ldnq_dtype_size(call->in[0]->dtype);
    (void)err;
    for (size_t i = 0; i < bytes; i++)
        y[i] = (uint8_t)~x[i];
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_bitwisenot = {
    .type = "BitwiseNot",
    .since = 18,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = bitwisenot_infer_shape,
    .forward = bitwisenot_forward,
};

/* ---- BitShift ----------------------------------------------------------------------------- */

/* A shift by the width of the type or more results in 0. */
#define SHIFT(bits, T)                                                                             \
    LDNQ_BINARY_LOOP(left_##bits, T, T, y < bits ? (T)((uint64_t)x << y) : 0)                      \
    LDNQ_BINARY_LOOP(right_##bits, T, T, y < bits ? (T)((uint64_t)x >> y) : 0)

SHIFT(8, uint8_t)
SHIFT(16, uint16_t)
SHIFT(32, uint32_t)
SHIFT(64, uint64_t)

static const struct ldnq_elementwise_kernel left_kernels[] = {
    { LDNQ_UINT8, left_8 },
    { LDNQ_UINT16, left_16 },
    { LDNQ_UINT32, left_32 },
    { LDNQ_UINT64, left_64 },
};
static const struct ldnq_elementwise_kernel right_kernels[] = {
    { LDNQ_UINT8, right_8 },
    { LDNQ_UINT16, right_16 },
    { LDNQ_UINT32, right_32 },
    { LDNQ_UINT64, right_64 },
};

static enum ldnq_status bitshift_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                            const void **attrs, struct ldnq_error *err)
{
    const char *direction = ldnq_attr_string(node, "direction", "");
    (void)arena;
    (void)attrs;
    if (strcmp(direction, "LEFT") == 0 || strcmp(direction, "RIGHT") == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "direction='%s' is not LEFT or RIGHT", direction);
}

static bool shifts_left(const struct ldnq_op_call *call)
{
    return *ldnq_attr_string(call->node, "direction", "") == 'L';
}

static enum ldnq_status bitshift_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_binary_infer_shape(call, KERNELS(left), LDNQ_UNDEFINED, err);
}

static enum ldnq_status bitshift_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    if (shifts_left(call))
        ldnq_binary_run(call, KERNELS(left));
    else
        ldnq_binary_run(call, KERNELS(right));
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_bitshift = {
    .type = "BitShift",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .read_attrs = bitshift_read_attrs,
    .infer = bitshift_infer_shape,
    .forward = bitshift_forward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* mod.c: Mod. The result has the sign of the dividend with fmod=1 (C's %), else that of the
 * divisor (Python's %). */
#include "ops/shared/elementwise.h"

#include <math.h>

/* INT_MIN % -1 overflows; the remainder of any division by -1 is 0. */
#define REMAINDER(x, y) ((y) == -1 ? 0 : (x) % (y))
#define MODULO(x, y)                                                                               \
    (REMAINDER(x, y) != 0 && (x < 0) != (y < 0) ? (x) % (y) + (y) : REMAINDER(x, y))

LDNQ_BINARY_LOOP(mod_int8, int8_t, int8_t, MODULO(x, y))
LDNQ_BINARY_LOOP(mod_int16, int16_t, int16_t, MODULO(x, y))
LDNQ_BINARY_LOOP(mod_int32, int32_t, int32_t, MODULO(x, y))
LDNQ_BINARY_LOOP(mod_int64, int64_t, int64_t, MODULO(x, y))
LDNQ_BINARY_LOOP(fmod_int32, int32_t, int32_t, REMAINDER(x, y))
LDNQ_BINARY_LOOP(fmod_int64, int64_t, int64_t, REMAINDER(x, y))
LDNQ_BINARY_LOOP(fmod_float, float, float, fmodf(x, y))
LDNQ_BINARY_LOOP(fmod_double, double, double, fmod(x, y))

LDNQ_BINARY_LOOP_INTEGERS(fmod, x % y)

static const struct ldnq_elementwise_kernel mod_kernels[] = {
    { LDNQ_INT32, mod_int32 },
    { LDNQ_INT64, mod_int64 },
    { LDNQ_INT8, mod_int8 },
    { LDNQ_INT16, mod_int16 },
    /* Unsigned: both definitions are the remainder. */
    { LDNQ_UINT8, fmod_uint8 },
    { LDNQ_UINT16, fmod_uint16 },
    { LDNQ_UINT32, fmod_uint32 },
    { LDNQ_UINT64, fmod_uint64 },
};
static const struct ldnq_elementwise_kernel fmod_kernels[] = {
    { LDNQ_INT32, fmod_int32 },   { LDNQ_INT64, fmod_int64 }, { LDNQ_FLOAT, fmod_float },
    { LDNQ_DOUBLE, fmod_double }, LDNQ_INTEGER_KERNELS(fmod),
};

/* A list of kernels and its length. */
#define KERNELS(list) (list), sizeof(list) / sizeof *(list)

static bool is_fmod(const struct ldnq_op_call *call)
{
    return ldnq_attr_int(call->node, "fmod", 0) != 0;
}

static enum ldnq_status mod_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    if (is_fmod(call))
        return ldnq_binary_infer_shape(call, KERNELS(fmod_kernels), LDNQ_UNDEFINED, err);
    if (call->in[0]->dtype == LDNQ_FLOAT || call->in[0]->dtype == LDNQ_DOUBLE)
        return ldnq_fail(err, LDNQ_MODEL, "floats need fmod=1");
    return ldnq_binary_infer_shape(call, KERNELS(mod_kernels), LDNQ_UNDEFINED, err);
}

static enum ldnq_status mod_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    bool zero = ldnq_dtype_is_integer(call->in[1]->dtype) && ldnq_elementwise_has_zero(call->in[1]);
    if (zero)
        return ldnq_fail(err, LDNQ_NUMERIC, "divides an integer by zero");
    if (is_fmod(call))
        ldnq_binary_run(call, KERNELS(fmod_kernels));
    else
        ldnq_binary_run(call, KERNELS(mod_kernels));
    return LDNQ_OK;
}

/* y = a - b trunc(a / b), so dy/da = 1. The gradient of the divisor is not implemented, as
 * no network uses it. */
static enum ldnq_status mod_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    if (grad->in[0].data)
        ldnq_op_sum_broadcast_grad(grad->call, grad->out[0], &grad->in[0]);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_mod = {
    .type = "Mod",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = mod_infer_shape,
    .forward = mod_forward,
    .differentiable = 1,
    .backward = mod_backward,
};

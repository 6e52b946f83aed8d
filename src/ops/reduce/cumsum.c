/* SPDX-License-Identifier: Apache-2.0 */
/* cumsum.c: CumSum along one axis. */
#include "ops/op.h"

#define CUMSUM_TYPES                                                                               \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_DOUBLE) | LDNQ_DTYPE_BIT(LDNQ_INT32) |       \
     LDNQ_DTYPE_BIT(LDNQ_INT64))

struct cumsum_loop {
    const void *x;
    void *y;
    struct ldnq_axis_split at;
    bool exclusive, reverse;
};

/* S is the type of the sum, unsigned so that integers wrap around. */
#define CUMSUM(name, T, S)                                                                         \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct cumsum_loop *c = ctx;                                                         \
        size_t size = c->at.size, inner = c->at.inner;                                             \
        for (size_t line = first; line < last; line++) {                                           \
            size_t start = line / inner * size * inner + line % inner;                             \
            S sum = 0;                                                                             \
            for (size_t i = 0; i < size; i++) {                                                    \
                size_t at = start + (c->reverse ? size - 1 - i : i) * inner;                       \
                const S before = sum;                                                              \
                sum += (S)((const T *)c->x)[at];                                                   \
                ((T *)c->y)[at] = (T)(c->exclusive ? before : sum);                                \
            }                                                                                      \
        }                                                                                          \
    }

CUMSUM(cumsum_float, float, float)
CUMSUM(cumsum_double, double, double)
CUMSUM(cumsum_int32, int32_t, uint32_t)
CUMSUM(cumsum_int64, int64_t, uint64_t)

static enum ldnq_status cumsum_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_require_one_element(call, 1, err));
    return ldnq_op_infer_like_first_input(call, CUMSUM_TYPES, err);
}

/* y = the cumulative sums of x, both in the shape of input 0; with `back`, in the reverse
 * direction. */
static enum ldnq_status run_cumsum(const struct ldnq_op_call *call, const struct ldnq_tensor *x,
                                   void *y, bool back, struct ldnq_error *err)
{
    int64_t given = 0;
    size_t count;
    bool known;
    int axis;
    LDNQ_TRY(ldnq_op_read_ints(call, 1, &given, 1, &count, &known, err));
    LDNQ_TRY(ldnq_op_resolve_axis(given, x->shape.rank, &axis, err));
    struct cumsum_loop cumsum = { .x = x->data,
                                  .y = y,
                                  .at = ldnq_op_split_at_axis(&x->shape, axis),
                                  .exclusive = ldnq_attr_int(call->node, "exclusive", 0) != 0,
                                  .reverse =
                                      (ldnq_attr_int(call->node, "reverse", 0) != 0) != back };
    ldnq_range_fn *run = x->dtype == LDNQ_FLOAT    ? cumsum_float
                         : x->dtype == LDNQ_DOUBLE ? cumsum_double
                         : x->dtype == LDNQ_INT32  ? cumsum_int32
                                                   : cumsum_int64;
    ldnq_op_run_rows(call, cumsum.at.outer * cumsum.at.inner, cumsum.at.size, run, &cumsum);
    return LDNQ_OK;
}

static enum ldnq_status cumsum_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return run_cumsum(call, call->in[0], call->out[0].data, false, err);
}

/* An element is part of all sums after it: the gradient is the cumulative sum in the reverse
 * direction. */
static enum ldnq_status cumsum_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    if (!grad->in[0].data)
        return LDNQ_OK;
    return run_cumsum(grad->call, grad->out[0], grad->in[0].data, true, err);
}

const struct ldnq_op ldnq_op_cumsum = {
    .type = "CumSum",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = cumsum_infer_shape,
    .forward = cumsum_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = cumsum_backward,
};

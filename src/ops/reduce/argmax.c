/* SPDX-License-Identifier: Apache-2.0 */
/* argmax.c: ArgMax and ArgMin along one axis: x as (outer, size, inner). */
#include "ops/op.h"

#define ARG_TYPES                                                                                  \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64) |        \
     LDNQ_DTYPE_BIT(LDNQ_INT8) | LDNQ_DTYPE_BIT(LDNQ_UINT8))

struct argmax_loop {
    const void *x;
    int64_t *y;
    struct ldnq_axis_split at;
    bool least; /* ArgMin */
    bool last;  /* select_last_index: of equal elements, the last one */
};

#define ARG(name, T)                                                                               \
    static void name(const void *ctx, size_t first, size_t end)                                    \
    {                                                                                              \
        const struct argmax_loop *arg = ctx;                                                       \
        size_t size = arg->at.size, inner = arg->at.inner;                                         \
        for (size_t line = first; line < end; line++) {                                            \
            const T *x = (const T *)arg->x + line / inner * size * inner + line % inner;           \
            size_t best = 0;                                                                       \
            for (size_t i = 1; i < size; i++) {                                                    \
                const T a = x[i * inner], b = x[best * inner];                                     \
                if ((arg->least ? a < b : a > b) || (arg->last && a == b))                         \
                    best = i;                                                                      \
            }                                                                                      \
            arg->y[line] = (int64_t)best;                                                          \
        }                                                                                          \
    }

ARG(arg_float, float)
ARG(arg_int32, int32_t)
ARG(arg_int64, int64_t)
ARG(arg_int8, int8_t)
ARG(arg_uint8, uint8_t)

static enum ldnq_status read_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", 0), call->in[0]->shape.rank, axis,
                                err);
}

static enum ldnq_status arg_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    bool keep = ldnq_attr_int(call->node, "keepdims", 1) != 0;
    int axis;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, ARG_TYPES, err));
    call->out[0].dtype = LDNQ_INT64;
    if (in->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_axis(call, &axis, err));
    if (in->dim[axis] == 0)
        return ldnq_fail(err, LDNQ_MODEL, "axis %d is empty", axis);
    out->rank = 0;
    for (int i = 0; i < in->rank; i++)
        if (i != axis || keep)
            out->dim[out->rank++] = i == axis ? 1 : in->dim[i];
    return LDNQ_OK;
}

static enum ldnq_status arg_forward(const struct ldnq_op_call *call, bool least,
                                    struct ldnq_error *err)
{
    const struct ldnq_tensor *x = call->in[0];
    int axis;
    LDNQ_TRY(read_axis(call, &axis, err));
    struct argmax_loop arg = { .x = x->data,
                               .y = call->out[0].data,
                               .least = least,
                               .at = ldnq_op_split_at_axis(&x->shape, axis),
                               .last = ldnq_attr_int(call->node, "select_last_index", 0) != 0 };
    ldnq_range_fn *run = x->dtype == LDNQ_FLOAT   ? arg_float
                         : x->dtype == LDNQ_INT32 ? arg_int32
                         : x->dtype == LDNQ_INT64 ? arg_int64
                         : x->dtype == LDNQ_INT8  ? arg_int8
                                                  : arg_uint8;
    ldnq_op_run_rows(call, arg.at.outer * arg.at.inner, arg.at.size, run, &arg);
    return LDNQ_OK;
}

static enum ldnq_status argmax_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return arg_forward(call, false, err);
}

static enum ldnq_status argmin_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return arg_forward(call, true, err);
}

const struct ldnq_op ldnq_op_argmax = {
    .type = "ArgMax",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = arg_infer_shape,
    .forward = argmax_forward,
};

const struct ldnq_op ldnq_op_argmin = {
    .type = "ArgMin",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = arg_infer_shape,
    .forward = argmin_forward,
};

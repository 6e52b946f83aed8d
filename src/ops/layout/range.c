/* SPDX-License-Identifier: Apache-2.0 */
/* range.c: Range: start, start + delta, and so on, up to but not including the limit. */
#include "ops/op.h"

#include <math.h>

#define RANGE_TYPES                                                                                \
    (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

static int64_t read_integer(const struct ldnq_tensor *tensor)
{
    return tensor->dtype == LDNQ_INT64 ? *(const int64_t *)tensor->data
                                       : *(const int32_t *)tensor->data;
}

static enum ldnq_status count_range_of_floats(const struct ldnq_op_call *call, int64_t *count,
                                              struct ldnq_error *err)
{
    double start = (double)*(const float *)call->in[0]->data;
    double limit = (double)*(const float *)call->in[1]->data;
    double delta = (double)*(const float *)call->in[2]->data;
    double steps = ceil((limit - start) / delta);
    if (delta == 0.0 || isnan(steps) || steps > 0x1p40)
        return ldnq_fail(err, LDNQ_MODEL, "its range does not end");
    *count = steps > 0.0 ? (int64_t)steps : 0;
    return LDNQ_OK;
}

/* The number is unknown if start, limit or delta is a symbol. */
static enum ldnq_status count_range_of_integers(struct ldnq_op_call *call, int64_t *count,
                                                struct ldnq_error *err)
{
    int64_t start = read_integer(call->in[0]), limit = read_integer(call->in[1]);
    int64_t delta = read_integer(call->in[2]);
    if (ldnq_is_symbol(start) || ldnq_is_symbol(limit) || ldnq_is_symbol(delta))
        return ldnq_op_make_unknown_dim(call, count, err);
    if (delta == 0)
        return ldnq_fail(err, LDNQ_MODEL, "its range does not end");
    *count = 0;
    if (delta > 0 ? start >= limit : start <= limit)
        return LDNQ_OK;
    uint64_t distance =
        delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
    uint64_t step = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
    uint64_t steps = (distance - 1) / step + 1;
    if (steps > (uint64_t)1 << 40)
        return ldnq_fail(err, LDNQ_MODEL, "its range has more than 2^40 elements");
    *count = (int64_t)steps;
    return LDNQ_OK;
}

static enum ldnq_status range_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    bool known = true;
    out->dtype = call->in[0]->dtype;
    out->shape.rank = 1;
    for (size_t i = 0; i < 3; i++) {
        LDNQ_TRY(ldnq_op_require_dtype(call, i, RANGE_TYPES, err));
        LDNQ_TRY(ldnq_op_require_one_element(call, i, err));
        if (call->in[i]->dtype != out->dtype)
            return ldnq_fail(err, LDNQ_MODEL, "its bounds have different types");
        known = known && call->in[i]->data;
    }
    if (!known)
        return ldnq_op_make_unknown_dim(call, &out->shape.dim[0], err);
    return out->dtype == LDNQ_FLOAT ? count_range_of_floats(call, &out->shape.dim[0], err)
                                    : count_range_of_integers(call, &out->shape.dim[0], err);
}

static enum ldnq_status range_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *out = &call->out[0];
    size_t count = ldnq_tensor_count(out);
    (void)err;
    if (out->dtype == LDNQ_FLOAT) {
        const float start = *(const float *)call->in[0]->data;
        const float delta = *(const float *)call->in[2]->data;
        for (size_t i = 0; i < count; i++)
            ((float *)out->data)[i] = start + (float)i * delta;
        return LDNQ_OK;
    }
    const uint64_t start = (uint64_t)read_integer(call->in[0]);
    const uint64_t delta = (uint64_t)read_integer(call->in[2]);
    for (size_t i = 0; i < count; i++) {
        int64_t value = (int64_t)(start + i * delta);
        if (out->dtype == LDNQ_INT64)
            ((int64_t *)out->data)[i] = value;
        else
            ((int32_t *)out->data)[i] = (int32_t)value;
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_range = {
    .type = "Range",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .infer = range_infer_shape,
    .forward = range_forward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* isnan.c: IsNaN and IsInf. */
#include "ops/op.h"

#include <math.h>

#define FLOAT_TYPES (LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_DOUBLE))

struct isnan_loop {
    const float *x;
    const double *wide; /* in place of x */
    uint8_t *y;
    bool negative, positive; /* IsInf: which infinities are reported */
};

static enum ldnq_status isnan_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, FLOAT_TYPES, err));
    call->out[0].dtype = LDNQ_BOOL;
    return LDNQ_OK;
}

static void mark_nan_elements(const void *ctx, size_t first, size_t last)
{
    const struct isnan_loop *loop = ctx;
    for (size_t i = first; i < last; i++)
        loop->y[i] = loop->wide ? loop->wide[i] != loop->wide[i] : loop->x[i] != loop->x[i];
}

static void mark_infinite_elements(const void *ctx, size_t first, size_t last)
{
    const struct isnan_loop *loop = ctx;
    const uint8_t negative = loop->negative, positive = loop->positive;
    for (size_t i = first; i < last; i++) {
        const double x = loop->wide ? loop->wide[i] : (double)loop->x[i];
        loop->y[i] = (uint8_t)((x == -INFINITY) & negative) | (uint8_t)((x == INFINITY) & positive);
    }
}

static enum ldnq_status test_elements(const struct ldnq_op_call *call, ldnq_range_fn *run)
{
    const bool is_wide = call->in[0]->dtype == LDNQ_DOUBLE;
    struct isnan_loop loop = {
        .x = is_wide ? NULL : call->in[0]->data,
        .wide = is_wide ? call->in[0]->data : NULL,
        .y = call->out[0].data,
        .negative = ldnq_attr_int(call->node, "detect_negative", 1) != 0,
        .positive = ldnq_attr_int(call->node, "detect_positive", 1) != 0,
    };
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), run, &loop);
    return LDNQ_OK;
}

static enum ldnq_status isnan_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    return test_elements(call, mark_nan_elements);
}

static enum ldnq_status isinf_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    return test_elements(call, mark_infinite_elements);
}

const struct ldnq_op ldnq_op_isnan = {
    .type = "IsNaN",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = isnan_infer_shape,
    .forward = isnan_forward,
};

const struct ldnq_op ldnq_op_isinf = {
    .type = "IsInf",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = isnan_infer_shape,
    .forward = isinf_forward,
};

/* isnan.c: IsNaN and IsInf. */
#include "ops/op.h"

#include <math.h>

struct asked {
    const float *x;
    uint8_t *y;
    bool negative, positive; /* which infinities count */
};

static enum ldnq_status asked_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = LDNQ_BOOL;
    return LDNQ_OK;
}

static void find_nan(const void *ctx, size_t first, size_t last)
{
    const struct asked *asked = ctx;
    for (size_t i = first; i < last; i++)
        asked->y[i] = asked->x[i] != asked->x[i];
}

static void find_infinite(const void *ctx, size_t first, size_t last)
{
    const struct asked *asked = ctx;
    const uint8_t negative = asked->negative, positive = asked->positive;
    for (size_t i = first; i < last; i++)
        asked->y[i] = (uint8_t)((asked->x[i] == -INFINITY) & negative) |
                      (uint8_t)((asked->x[i] == INFINITY) & positive);
}

static enum ldnq_status ask(const struct ldnq_op_call *call, ldnq_range_fn *run)
{
    struct asked asked = {
        .x = call->in[0]->data,
        .y = call->out[0].data,
        .negative = ldnq_attr_int(call->node, "detect_negative", 1) != 0,
        .positive = ldnq_attr_int(call->node, "detect_positive", 1) != 0,
    };
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), run, &asked);
    return LDNQ_OK;
}

static enum ldnq_status isnan_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    return ask(call, find_nan);
}

static enum ldnq_status isinf_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    return ask(call, find_infinite);
}

const struct ldnq_op ldnq_op_isnan = {
    .type = "IsNaN",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = asked_infer,
    .forward = isnan_forward,
};

const struct ldnq_op ldnq_op_isinf = {
    .type = "IsInf",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = asked_infer,
    .forward = isinf_forward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* dynamicquantizelinear.c: DynamicQuantizeLinear: uint8 codes, whose scale and zero point
 * follow from the range of the data.
 */
#include "ops/op.h"
#include "ops/quantized/dynamic_codes.h"

struct dynamic_quantize {
    const float *x;
    uint8_t *y;
    struct ldnq_dynamic_codes codes;
};

static enum ldnq_status dynamicquantizelinear_infer_shape(struct ldnq_op_call *call,
                                                          struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    const struct ldnq_tensor outputs[] = { { LDNQ_UINT8, call->in[0]->shape, NULL },
                                           { LDNQ_FLOAT, { 0 }, NULL },
                                           { LDNQ_UINT8, { 0 }, NULL } };
    for (size_t i = 0; i < call->out_count; i++)
        call->out[i] = outputs[i];
    return LDNQ_OK;
}

static void quantize_range(const void *ctx, size_t first, size_t last)
{
    const struct dynamic_quantize *q = ctx;
    for (size_t i = first; i < last; i++)
        q->y[i] = ldnq_round_to_dynamic_code(&q->codes, q->x[i]);
}

static enum ldnq_status dynamicquantizelinear_forward(const struct ldnq_op_call *call,
                                                      struct ldnq_error *err)
{
    struct dynamic_quantize q = { .x = call->in[0]->data, .y = call->out[0].data };
    const size_t count = ldnq_tensor_count(call->in[0]);
    (void)err;
    q.codes = ldnq_choose_dynamic_codes(q.x, count);
    ldnq_op_run_ranges(call, count, quantize_range, &q);
    if (call->out_count > 1)
        *(float *)call->out[1].data = q.codes.scale;
    if (call->out_count > 2)
        *(uint8_t *)call->out[2].data = (uint8_t)q.codes.zero;
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_dynamicquantizelinear = {
    .type = "DynamicQuantizeLinear",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 3,
    .infer = dynamicquantizelinear_infer_shape,
    .forward = dynamicquantizelinear_forward,
    .differentiable = 1, /* so that a gradient is refused instead of being 0 */
};

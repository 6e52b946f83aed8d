/* dropout.c: Dropout, which does nothing outside of training. The mask output
 * is not made. */
#include "ops/op.h"

static enum ldnq_status dropout_7_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_same(call, ~0u, err);
}

const struct ldnq_op ldnq_op_dropout_7 = {
    .type = "Dropout", .since = 7, .until = 11, .flags = LDNQ_OP_VIEW,
    .inputs_min = 1, .inputs_max = 1, .outputs_max = 1,
    .infer = dropout_7_infer,
};

static enum ldnq_status dropout_infer(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *training = ldnq_op_in(call, 2);
    LDNQ_TRY(ldnq_op_require(call, 2, LDNQ_DTYPE_BIT(LDNQ_BOOL), err));
    LDNQ_TRY(ldnq_op_require_one(call, 2, err));
    if (training && training->data && *(const uint8_t *)training->data)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "training_mode is not supported");
    return ldnq_op_infer_same(call, ~0u, err);
}

const struct ldnq_op ldnq_op_dropout = {
    .type = "Dropout", .since = 12, .until = LDNQ_OPSET_LATEST, .flags = LDNQ_OP_VIEW,
    .inputs_min = 1, .inputs_max = 3, .outputs_max = 1,
    .infer = dropout_infer,
};

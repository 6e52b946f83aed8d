/* SPDX-License-Identifier: Apache-2.0 */
/* dropout.c: Dropout as it is outside of training: output 0 is input 0, and the mask (output
 * 1) is all true. */
#include "ops/op.h"

#include <string.h>

/* The mask is bool since opset 10. Before, it had the input's type. */
static enum ldnq_status dropout_10_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, ~0u, err));
    if (call->out_count > 1) {
        call->out[1].dtype = LDNQ_BOOL;
        call->out[1].shape = call->out[0].shape;
    }
    return LDNQ_OK;
}

static enum ldnq_status dropout_7_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, ~0u, err);
}

/* Whether no element is dropped, so that training mode changes nothing. */
static bool is_ratio_zero(const struct ldnq_tensor *ratio)
{
    return ratio && ratio->data && ratio->dtype == LDNQ_FLOAT &&
           *(const float *)ratio->data == 0.0f;
}

static enum ldnq_status dropout_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_tensor *training = ldnq_op_input(call, 2);
    LDNQ_TRY(ldnq_op_require_dtype(call, 2, LDNQ_DTYPE_BIT(LDNQ_BOOL), err));
    LDNQ_TRY(ldnq_op_require_one_element(call, 1, err));
    LDNQ_TRY(ldnq_op_require_one_element(call, 2, err));
    if (training && training->data && *(const uint8_t *)training->data &&
        !is_ratio_zero(ldnq_op_input(call, 1)))
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "training_mode is not supported, except with a constant ratio of 0; "
                         "export the model for inference");
    return dropout_10_infer_shape(call, err);
}

static enum ldnq_status dropout_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    size_t count = ldnq_tensor_count(call->in[0]);
    (void)err;
    if (count == 0)
        return LDNQ_OK;
    if (call->out[0].data != call->in[0]->data)
        memcpy(call->out[0].data, call->in[0]->data, count * ldnq_dtype_size(call->in[0]->dtype));
    if (call->out_count > 1)
        memset(call->out[1].data, 1, count);
    return LDNQ_OK;
}

static enum ldnq_status dropout_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    size_t count = grad->out[0] ? ldnq_tensor_count(grad->out[0]) : 0;
    (void)err;
    if (count > 0)
        memcpy(grad->in[0].data, grad->out[0]->data, count * sizeof(float));
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_dropout_7 = {
    .type = "Dropout",
    .since = 7,
    .until = 9,
    .flags = LDNQ_OP_VIEW,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = dropout_7_infer_shape,
};

const struct ldnq_op ldnq_op_dropout_10 = {
    .type = "Dropout",
    .since = 10,
    .until = 11,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 2,
    .infer = dropout_10_infer_shape,
    .forward = dropout_forward,
    .differentiable = 1,
    .backward = dropout_backward,
};

const struct ldnq_op ldnq_op_dropout = {
    .type = "Dropout",
    .since = 12,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 1,
    .inputs_max = 3,
    .outputs_max = 2,
    .infer = dropout_infer_shape,
    .forward = dropout_forward,
    .differentiable = 1,
    .backward = dropout_backward,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c: Identity. */
#include "ops/op.h"

static enum ldnq_status identity_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_op_infer_like_first_input(call, ~0u, err);
}

const struct ldnq_op ldnq_op_identity = {
    .type = "Identity",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_VIEW,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .infer = identity_infer_shape,
};

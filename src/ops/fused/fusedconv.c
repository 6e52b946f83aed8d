/* SPDX-License-Identifier: Apache-2.0 */
/* fusedconv.c: FusedConv: a Conv, the sum of its result and input Z, and an activation.
 *
 * Source  ONNX Runtime's docs/ContribOperators.md, com.microsoft.FusedConv
 */
#include "ops/fused/fused.h"

#define SUM_INPUT 3

static enum ldnq_status fusedconv_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                             const void **attrs, struct ldnq_error *err)
{
    const struct ldnq_attr *list = ldnq_node_find_attr(node, "activation_params");
    return ldnq_fused_read_attrs(&ldnq_op_conv, node, list ? list->floats : NULL,
                                 list ? list->count : 0, arena, attrs, err);
}

static enum ldnq_status fusedconv_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_fused_forward(call, SUM_INPUT, err);
}

const struct ldnq_op ldnq_op_fusedconv = {
    .domain = "com.microsoft",
    .type = "FusedConv",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 4,
    .outputs_max = 1,
    .read_attrs = fusedconv_read_attrs,
    .infer = ldnq_fused_infer_shape,
    .scratch_bytes = ldnq_fused_scratch_bytes,
    .count_operations = ldnq_fused_count_operations,
    .forward = fusedconv_forward,
    .differentiable = LDNQ_ALL_INPUTS,
    .layer = &ldnq_fused_layer,
};

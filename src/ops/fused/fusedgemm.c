/* SPDX-License-Identifier: Apache-2.0 */
/* fusedgemm.c: FusedGemm: a Gemm and an activation.
 *
 * Source  ONNX Runtime's docs/ContribOperators.md, com.microsoft.FusedGemm
 */
#include "ops/fused/fused.h"

#define NO_INPUT 3

static enum ldnq_status fusedgemm_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                             const void **attrs, struct ldnq_error *err)
{
    const float parameters[] = { ldnq_attr_float(node, "activation_alpha", 0.01f),
                                 ldnq_attr_float(node, "activation_beta", 0.0f) };
    const size_t count = ldnq_node_find_attr(node, "activation_beta")    ? 2
                         : ldnq_node_find_attr(node, "activation_alpha") ? 1
                                                                         : 0;
    return ldnq_fused_read_attrs(&ldnq_op_gemm, node, parameters, count, arena, attrs, err);
}

static enum ldnq_status fusedgemm_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    return ldnq_fused_forward(call, NO_INPUT, err);
}

const struct ldnq_op ldnq_op_fusedgemm = {
    .domain = "com.microsoft",
    .type = "FusedGemm",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = fusedgemm_read_attrs,
    .infer = ldnq_fused_infer_shape,
    .scratch_bytes = ldnq_fused_scratch_bytes,
    .count_operations = ldnq_fused_count_operations,
    .forward = fusedgemm_forward,
    .differentiable = LDNQ_ALL_INPUTS,
    .layer = &ldnq_fused_layers,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "target/target.h"

#include <string.h>

#include "ops/op.h"

const struct ldnq_target *const *ldnq_targets(void)
{
    static const struct ldnq_target *const targets[] = {
        &ldnq_target_ort,    &ldnq_target_openvino, &ldnq_target_tensorrt, &ldnq_target_qnn,
        &ldnq_target_tflite, &ldnq_target_pow2,     &ldnq_target_weights,  NULL,
    };
    return targets;
}

const struct ldnq_target *ldnq_target_find(const char *name)
{
    for (const struct ldnq_target *const *target = ldnq_targets(); *target; target++)
        if (strcmp((*target)->name, name) == 0)
            return *target;
    return NULL;
}

bool ldnq_target_can_widen(const struct ldnq_target *target, enum ldnq_dtype activation)
{
    return target && target->wide_activation != LDNQ_UNDEFINED && ldnq_dtype_bits(activation) == 8;
}

const struct ldnq_operator_rule *ldnq_target_rule(const struct ldnq_target *target,
                                                  const struct ldnq_node *node)
{
    if (*node->domain != '\0' || !node->op)
        return NULL;
    for (const struct ldnq_operator_rule *rule = target->rules; rule->op_type; rule++)
        if (strcmp(rule->op_type, node->op_type) == 0)
            return node->opset >= rule->since ? rule : NULL;
    return NULL;
}

bool ldnq_target_is_per_tensor(const struct ldnq_target *target, const char *op_type)
{
    return !target->per_channel || (target->matmul_per_tensor && strcmp(op_type, "MatMul") == 0);
}

bool ldnq_target_has_default_attributes(const struct ldnq_node *node)
{
    return strcmp(node->op_type, "Gemm") != 0 ||
           (ldnq_attr_float(node, "alpha", 1.0f) == 1.0f &&
            ldnq_attr_float(node, "beta", 1.0f) == 1.0f && ldnq_attr_int(node, "transA", 0) == 0);
}

bool ldnq_target_skips_small_layer(const struct ldnq_target *target, const struct ldnq_node *node,
                                   const struct ldnq_shape *weight)
{
    const int64_t least = target->least_channels;
    if (weight->rank < 2)
        return false;
    if (weight->rank == 2)
        return weight->dim[0] < least || weight->dim[1] < least;
    for (int axis = 0; axis < 2; axis++) {
        /* Axis 0 of a Conv, and axis 1 of a ConvTranspose, count over all groups. */
        const int64_t channels =
            axis == (strcmp(node->op_type, "ConvTranspose") == 0 ? 0 : 1)
                ? weight->dim[axis] * (axis == 1 ? ldnq_attr_int(node, "group", 1) : 1)
                : weight->dim[axis];
        if (channels < least && channels % target->channel_multiple != 0)
            return true;
    }
    return false;
}

bool ldnq_target_floats_depthwise(const struct ldnq_target *target, const struct ldnq_node *node,
                                  const struct ldnq_shape *weight)
{
    return target->floats_depthwise_after_float && strcmp(node->op_type, "Conv") == 0 &&
           weight->rank == 4 && weight->dim[1] == 1;
}

bool ldnq_target_floats_narrow(const struct ldnq_target *target, const struct ldnq_node *node,
                               const struct ldnq_shape *weight)
{
    int64_t columns = 1;
    if (!target->fused_in_float || strcmp(node->op_type, "Conv") != 0 || weight->rank < 3)
        return false;
    for (int i = 1; i < weight->rank; i++)
        columns *= weight->dim[i];
    return columns <= target->most_fused_columns || weight->dim[1] <= target->most_fused_channels;
}

/* Whether a Pad fills with zeros, or with other elements. */
static bool pads_with_zero(const struct ldnq_node *node)
{
    const struct ldnq_value *fill = node->input_count > 2 ? node->inputs[2] : NULL;
    return !fill || strcmp(ldnq_attr_string(node, "mode", "constant"), "constant") != 0 ||
           (fill->constant && ldnq_tensor_count(fill->constant) == 1 &&
            *(const float *)fill->constant->data == 0.0f);
}

const char *ldnq_target_refuse_operator(const struct ldnq_operator_rule *rule,
                                        const struct ldnq_node *node)
{
    const int rank = node->inputs[0] ? node->inputs[0]->shape.rank : 0;
    const int64_t axis = ldnq_attr_int(node, "axis", -1);
    if (rule->slow_on_last_axis && (axis == -1 || axis == rank - 1))
        return "the float kernel is faster along the last axis";
    if (strcmp(node->op_type, "Pad") == 0 && !pads_with_zero(node))
        return "it does not pad with zeros";
    if (strcmp(node->op_type, "Resize") == 0 && rule->nearest_only &&
        strcmp(ldnq_attr_string(node, "mode", "nearest"), "nearest") != 0)
        return "the target has no integer kernel that interpolates";
    return NULL;
}

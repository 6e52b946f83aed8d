#include "target/target.h"

#include <string.h>

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

const struct ldnq_operator_rule *ldnq_target_rule(const struct ldnq_target *target,
                                                  const struct ldnq_node *node)
{
    if (*node->domain != '\0')
        return NULL;
    for (const struct ldnq_operator_rule *rule = target->rules; rule->op_type; rule++)
        if (strcmp(rule->op_type, node->op_type) == 0)
            return node->opset >= rule->since ? rule : NULL;
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* constantofshape.c: ConstantOfShape: a tensor filled with one value. */
#include "ops/op.h"

#include <string.h>

static enum ldnq_status constantofshape_read_attrs(const struct ldnq_node *node,
                                                   struct ldnq_arena *arena, const void **attrs,
                                                   struct ldnq_error *err)
{
    const struct ldnq_attr *value = ldnq_node_find_attr(node, "value");
    (void)arena;
    *attrs = NULL;
    if (!value)
        return LDNQ_OK;
    if (value->kind != LDNQ_ATTR_TENSOR || !value->t || ldnq_tensor_count(value->t) != 1)
        return ldnq_fail(err, LDNQ_MODEL, "its value is not a tensor of one element");
    *attrs = value->t;
    return LDNQ_OK;
}

static enum ldnq_status constantofshape_infer_shape(struct ldnq_op_call *call,
                                                    struct ldnq_error *err)
{
    const struct ldnq_tensor *value = call->attrs;
    call->out[0].dtype = value ? value->dtype : LDNQ_FLOAT;
    return ldnq_op_read_dims(call, 0, &call->out[0].shape, err);
}

static enum ldnq_status constantofshape_forward(const struct ldnq_op_call *call,
                                                struct ldnq_error *err)
{
    const struct ldnq_tensor *value = call->attrs;
    size_t size = ldnq_dtype_size(call->out[0].dtype), count = ldnq_tensor_count(&call->out[0]);
    char *out = call->out[0].data;
    (void)err;
    if (!value) {
        memset(out, 0, count * size);
        return LDNQ_OK;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * size, value->data, size);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_constantofshape = {
    .type = "ConstantOfShape",
    .since = 9,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = 1,
    .outputs_max = 1,
    .read_attrs = constantofshape_read_attrs,
    .infer = constantofshape_infer_shape,
    .forward = constantofshape_forward,
};

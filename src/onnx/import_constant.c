/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/attrs.h"
#include "onnx/codec.h"
#include "onnx/import.h"

/* Wraps the data of value_float, value_ints and the like in a tensor, without a copy. */
static enum ldnq_status wrap_values_as_tensor(struct ldnq_import *import, enum ldnq_dtype dtype,
                                              int rank, size_t count, const void *data,
                                              const struct ldnq_tensor **out,
                                              struct ldnq_error *err)
{
    struct ldnq_tensor *tensor = ldnq_arena_alloc(import->graph->arena, 1, sizeof *tensor, err);
    if (!tensor)
        return LDNQ_NOMEM;
    tensor->dtype = dtype;
    tensor->shape.rank = rank;
    tensor->shape.dim[0] = (int64_t)count;
    tensor->data = (void *)(uintptr_t)data;
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status decode_sparse_value(struct ldnq_import *import,
                                            const struct ldnq_node *node,
                                            const struct ldnq_attr_source *attrs,
                                            const struct ldnq_tensor **out, struct ldnq_error *err)
{
    const Onnx__AttributeProto *proto = NULL;
    for (size_t i = 0; i < node->attr_count; i++)
        if (strcmp(attrs[i].name, "sparse_value") == 0)
            proto = attrs[i].proto;
    struct ldnq_tensor *tensor;
    if (!proto || !proto->sparse_tensor)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_codec_decode_sparse(proto->sparse_tensor, import->graph->arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

/* Strings have no data in the IR, so a Constant of strings stays a node. */
enum ldnq_status ldnq_import_constant(struct ldnq_import *import, const struct ldnq_node *node,
                                      const struct ldnq_attr_source *attrs,
                                      const struct ldnq_tensor **out, struct ldnq_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct ldnq_attr *attr = &node->attrs[i];
        bool is_value = strncmp(attr->name, "value", 5) == 0;
        if (!is_value)
            continue;
        if (attr->kind == LDNQ_ATTR_TENSOR)
            *out = attr->t->dtype == LDNQ_STRING ? NULL : attr->t;
        else if (attr->kind == LDNQ_ATTR_FLOAT)
            return wrap_values_as_tensor(import, LDNQ_FLOAT, 0, 1, &attr->f, out, err);
        else if (attr->kind == LDNQ_ATTR_INT)
            return wrap_values_as_tensor(import, LDNQ_INT64, 0, 1, &attr->i, out, err);
        else if (attr->kind == LDNQ_ATTR_FLOATS)
            return wrap_values_as_tensor(import, LDNQ_FLOAT, 1, attr->count, attr->floats, out,
                                         err);
        else if (attr->kind == LDNQ_ATTR_INTS)
            return wrap_values_as_tensor(import, LDNQ_INT64, 1, attr->count, attr->ints, out, err);
        return LDNQ_OK;
    }
    return decode_sparse_value(import, node, attrs, out, err);
}

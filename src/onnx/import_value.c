/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/codec.h"
#include "onnx/import.h"

/* ---- initializers ------------------------------------------------------------------- */

static enum ldnq_status add_initializer(struct ldnq_import *import, const char *name,
                                        const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    struct ldnq_value *value;
    if (!*name)
        return ldnq_fail(err, LDNQ_MODEL, "%s: an initializer has no name", import->graph->file);
    LDNQ_TRY(ldnq_import_add_value(import, name, "an initializer", &value, err));
    value->dtype = tensor->dtype;
    value->shape = tensor->shape;
    value->constant = tensor;
    value->is_initializer = true;
    return LDNQ_OK;
}

static enum ldnq_status import_dense_initializer(struct ldnq_import *import,
                                                 const Onnx__TensorProto *proto,
                                                 struct ldnq_error *err)
{
    struct ldnq_tensor *tensor;
    enum ldnq_status status = ldnq_codec_decode(proto, import->graph->arena, &tensor, err);
    if (status != LDNQ_OK)
        return ldnq_fail_within(err, status, "%s", import->graph->file);
    return add_initializer(import, ldnq_or_empty(proto->name), tensor, err);
}

static enum ldnq_status import_sparse_initializer(struct ldnq_import *import,
                                                  const Onnx__SparseTensorProto *proto,
                                                  struct ldnq_error *err)
{
    struct ldnq_tensor *tensor;
    enum ldnq_status status = ldnq_codec_decode_sparse(proto, import->graph->arena, &tensor, err);
    if (status != LDNQ_OK)
        return ldnq_fail_within(err, status, "%s", import->graph->file);
    return add_initializer(import, ldnq_or_empty(proto->values->name), tensor, err);
}

enum ldnq_status ldnq_import_initializers(struct ldnq_import *import, struct ldnq_error *err)
{
    const Onnx__GraphProto *proto = import->proto;
    for (size_t i = 0; i < proto->n_initializer; i++)
        LDNQ_TRY(import_dense_initializer(import, proto->initializer[i], err));
    for (size_t i = 0; i < proto->n_sparse_initializer; i++)
        LDNQ_TRY(import_sparse_initializer(import, proto->sparse_initializer[i], err));
    return LDNQ_OK;
}

/* ---- inputs --------------------------------------------------------------------------- */

/* Some exporters write one of these for every open dimension, whatever its size is. */
static bool is_dim_name(const char *text)
{
    static const char *const placeholders[] = { "", "?", "None", "none", "unk", "unknown", "-1" };
    for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++)
        if (strcmp(text, placeholders[i]) == 0)
            return false;
    return true;
}

/* Some exporters write -1 or '?' for an unknown size; each one becomes a symbol of its own. */
static enum ldnq_status read_dim(struct ldnq_import *import,
                                 const Onnx__TensorShapeProto__Dimension *proto, int64_t *dim,
                                 struct ldnq_error *err)
{
    if (proto->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        proto->dim_value >= 0) {
        *dim = proto->dim_value;
        return LDNQ_OK;
    }
    const char *name = NULL;
    if (proto->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
        proto->dim_param && is_dim_name(proto->dim_param))
        name = proto->dim_param;
    return ldnq_graph_find_or_add_symbol(import->graph, name, dim, err);
}

static enum ldnq_status read_shape(struct ldnq_import *import, const Onnx__TensorShapeProto *proto,
                                   struct ldnq_value *value, struct ldnq_error *err)
{
    if (proto->n_dim > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: graph input '%s' has rank %zu; at most %d are supported",
                         import->graph->file, value->name, proto->n_dim, LDNQ_MAX_RANK);
    value->shape.rank = (int)proto->n_dim;
    for (size_t i = 0; i < proto->n_dim; i++)
        LDNQ_TRY(read_dim(import, proto->dim[i], &value->shape.dim[i], err));
    return LDNQ_OK;
}

static enum ldnq_status read_type(struct ldnq_import *import, const Onnx__TypeProto *proto,
                                  struct ldnq_value *value, struct ldnq_error *err)
{
    if (!proto || proto->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
        return LDNQ_OK;
    value->is_no_tensor = proto->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    if (value->is_no_tensor)
        return LDNQ_OK;
    const Onnx__TypeProto__Tensor *tensor = proto->tensor_type;
    if (tensor->elem_type > LDNQ_UNDEFINED && tensor->elem_type <= LDNQ_INT2)
        value->dtype = (enum ldnq_dtype)tensor->elem_type;
    /* An input of a body may have another size in each iteration. */
    bool varies = import->outer && value->is_input;
    return tensor->shape && !varies ? read_shape(import, tensor->shape, value, err) : LDNQ_OK;
}

static enum ldnq_status import_input(struct ldnq_import *import, const Onnx__ValueInfoProto *proto,
                                     struct ldnq_error *err)
{
    struct ldnq_graph *graph = import->graph;
    struct ldnq_value *value = ldnq_import_find(import, ldnq_or_empty(proto->name));
    if (value && value->is_initializer)
        return LDNQ_OK;
    if (!proto->name || !*proto->name)
        return ldnq_fail(err, LDNQ_MODEL, "%s: a graph input has no name", graph->file);
    LDNQ_TRY(ldnq_import_add_value(import, proto->name, "a graph input", &value, err));
    value->is_input = true;
    graph->inputs[graph->input_count++] = value;
    return read_type(import, proto->type, value, err);
}

enum ldnq_status ldnq_import_inputs(struct ldnq_import *import, struct ldnq_error *err)
{
    struct ldnq_graph *graph = import->graph;
    const Onnx__GraphProto *proto = import->proto;
    graph->inputs = ldnq_arena_alloc(graph->arena, proto->n_input, sizeof *graph->inputs, err);
    if (!graph->inputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < proto->n_input; i++)
        LDNQ_TRY(import_input(import, proto->input[i], err));
    return LDNQ_OK;
}

/* ---- outputs ------------------------------------------------------------------------- */

/* The outputs of a body that never runs have only their declared shapes. */
static enum ldnq_status set_declared_shape(struct ldnq_import *import, const Onnx__TypeProto *type,
                                           struct ldnq_value *value, struct ldnq_error *err)
{
    bool is_made = value->producer && value->dtype == LDNQ_UNDEFINED;
    return import->outer && is_made ? read_type(import, type, value, err) : LDNQ_OK;
}

enum ldnq_status ldnq_import_outputs(struct ldnq_import *import, struct ldnq_error *err)
{
    struct ldnq_graph *graph = import->graph;
    const Onnx__GraphProto *proto = import->proto;
    graph->outputs = ldnq_arena_alloc(graph->arena, proto->n_output, sizeof *graph->outputs, err);
    if (!graph->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < proto->n_output; i++) {
        const char *name = ldnq_or_empty(proto->output[i]->name);
        struct ldnq_value *value;
        bool found;
        LDNQ_TRY(ldnq_import_resolve_name(import, name, &found, &value, err));
        if (!value)
            return ldnq_fail(err, LDNQ_MODEL,
                             "%s: graph output '%s%s' is made by no node, input or initializer",
                             graph->file, import->prefix, name);
        value->is_output = true;
        graph->outputs[graph->output_count++] = value;
        LDNQ_TRY(set_declared_shape(import, proto->output[i]->type, value, err));
    }
    return LDNQ_OK;
}

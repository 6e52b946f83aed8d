/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/attrs.h"
#include "onnx/opset.h"

/* ---- collecting ------------------------------------------------------------------- */

static enum ldnq_status record_value_type(struct ldnq_scope *scope, const char *name, int32_t type,
                                          bool has_rank, size_t rank, struct ldnq_error *err)
{
    struct ldnq_name *entry;
    if (!name || !*name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_names_insert(&scope->values, name, &entry, err));
    entry->count = (size_t)type;
    entry->flags = has_rank ? (unsigned)rank + 1 : 0;
    return LDNQ_OK;
}

static enum ldnq_status add_value_infos(struct ldnq_scope *scope,
                                        Onnx__ValueInfoProto *const *infos, size_t count,
                                        struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const Onnx__TypeProto *type = infos[i]->type;
        if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
            continue;
        const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
        LDNQ_TRY(record_value_type(scope, infos[i]->name, type->tensor_type->elem_type,
                                   shape != NULL, shape ? shape->n_dim : 0, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status insert_name_with_pointer(struct ldnq_names *names, const char *name,
                                                 void *pointer, struct ldnq_error *err)
{
    struct ldnq_name *entry;
    if (!name || !*name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_names_insert(names, name, &entry, err));
    entry->pointer = pointer;
    return LDNQ_OK;
}

static enum ldnq_status add_producers(struct ldnq_scope *scope, Onnx__NodeProto *const *nodes,
                                      size_t count, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        for (size_t o = 0; o < nodes[i]->n_output; o++)
            LDNQ_TRY(
                insert_name_with_pointer(&scope->producers, nodes[i]->output[o], nodes[i], err));
    return LDNQ_OK;
}

static void init_scope(struct ldnq_scope *scope, const struct ldnq_scope *outer,
                       struct ldnq_arena *arena)
{
    scope->outer = outer;
    ldnq_names_init(&scope->values, arena);
    ldnq_names_init(&scope->producers, arena);
    ldnq_names_init(&scope->initializers, arena);
}

enum ldnq_status ldnq_scope_init_from_graph(struct ldnq_scope *scope,
                                            const struct ldnq_scope *outer,
                                            const Onnx__GraphProto *graph, struct ldnq_arena *arena,
                                            struct ldnq_error *err)
{
    init_scope(scope, outer, arena);
    LDNQ_TRY(add_value_infos(scope, graph->value_info, graph->n_value_info, err));
    LDNQ_TRY(add_value_infos(scope, graph->output, graph->n_output, err));
    LDNQ_TRY(add_value_infos(scope, graph->input, graph->n_input, err));
    LDNQ_TRY(add_producers(scope, graph->node, graph->n_node, err));
    for (size_t i = 0; i < graph->n_initializer; i++) {
        Onnx__TensorProto *tensor = graph->initializer[i];
        LDNQ_TRY(
            record_value_type(scope, tensor->name, tensor->data_type, true, tensor->n_dims, err));
        LDNQ_TRY(insert_name_with_pointer(&scope->initializers, tensor->name, tensor, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_scope_init_from_function(struct ldnq_scope *scope,
                                               const Onnx__FunctionProto *function,
                                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    init_scope(scope, NULL, arena);
    LDNQ_TRY(add_value_infos(scope, function->value_info, function->n_value_info, err));
    return add_producers(scope, function->node, function->n_node, err);
}

/* ---- looking up --------------------------------------------------------------------- */

static const struct ldnq_name *find_value_entry(const struct ldnq_scope *scope, const char *name)
{
    for (; scope; scope = scope->outer) {
        const struct ldnq_name *entry = ldnq_names_find(&scope->values, name);
        if (entry || ldnq_names_find(&scope->producers, name))
            return entry;
    }
    return NULL;
}

static const Onnx__NodeProto *find_producer(const struct ldnq_scope *scope, const char *name)
{
    for (; scope; scope = scope->outer) {
        const struct ldnq_name *entry = ldnq_names_find(&scope->producers, name);
        if (entry)
            return entry->pointer;
    }
    return NULL;
}

enum ldnq_dtype ldnq_scope_type(const struct ldnq_scope *scope, const char *name)
{
    const struct ldnq_name *entry = find_value_entry(scope, name);
    return entry && entry->count <= LDNQ_INT2 ? (enum ldnq_dtype)entry->count : LDNQ_UNDEFINED;
}

const Onnx__TensorProto *ldnq_scope_constant(const struct ldnq_scope *scope, const char *name)
{
    const Onnx__NodeProto *producer = find_producer(scope, name);
    if (producer) {
        const Onnx__AttributeProto *value = ldnq_attr_find(producer, "value");
        bool is_constant = ldnq_is_onnx_domain(producer->domain) &&
                           strcmp(ldnq_or_empty(producer->op_type), "Constant") == 0;
        return is_constant && value ? value->t : NULL;
    }
    for (; scope; scope = scope->outer) {
        const struct ldnq_name *entry = ldnq_names_find(&scope->initializers, name);
        if (entry)
            return entry->pointer;
    }
    return NULL;
}

/* The rank of a value without a declared shape, where its operator determines it. */
static int find_rank_from_producer(const struct ldnq_scope *scope, const char *name)
{
    const Onnx__NodeProto *producer = find_producer(scope, name);
    if (!producer || !ldnq_is_onnx_domain(producer->domain) || !producer->op_type)
        return LDNQ_RANK_UNKNOWN;
    if (strcmp(producer->op_type, "Gemm") == 0 || strcmp(producer->op_type, "Flatten") == 0)
        return 2;
    if (strcmp(producer->op_type, "Reshape") == 0 && producer->n_input == 2) {
        const Onnx__TensorProto *shape = ldnq_scope_constant(scope, producer->input[1]);
        if (shape && shape->n_dims == 1 && shape->dims[0] >= 0 && shape->dims[0] < 64)
            return (int)shape->dims[0];
    }
    return LDNQ_RANK_UNKNOWN;
}

int ldnq_scope_rank(const struct ldnq_scope *scope, const char *name)
{
    const struct ldnq_name *entry = find_value_entry(scope, name);
    return entry && entry->flags ? (int)entry->flags - 1 : find_rank_from_producer(scope, name);
}

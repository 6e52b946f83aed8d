/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/uses.h"

#include <string.h>

#include "onnx/visit.h"

/* ---- every name ------------------------------------------------------------------- */

static enum ldnq_status reserve_name(struct ldnq_model *model, const char *name,
                                     struct ldnq_error *err)
{
    struct ldnq_name *ignored;
    return name && *name ? ldnq_names_insert(&model->names, name, &ignored, err) : LDNQ_OK;
}

static enum ldnq_status reserve_node_names(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__NodeProto *node = message;
    for (size_t i = 0; i < node->n_input; i++)
        LDNQ_TRY(reserve_name(ctx, node->input[i], err));
    for (size_t i = 0; i < node->n_output; i++)
        LDNQ_TRY(reserve_name(ctx, node->output[i], err));
    return reserve_name(ctx, node->name, err);
}

static enum ldnq_status reserve_tensor_name(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__TensorProto *tensor = message;
    return reserve_name(ctx, tensor->name, err);
}

static enum ldnq_status reserve_value_name(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__ValueInfoProto *info = message;
    return reserve_name(ctx, info->name, err);
}

static enum ldnq_status reserve_function_names(void *ctx, void *message, struct ldnq_error *err)
{
    const Onnx__FunctionProto *function = message;
    for (size_t i = 0; i < function->n_input; i++)
        LDNQ_TRY(reserve_name(ctx, function->input[i], err));
    for (size_t i = 0; i < function->n_output; i++)
        LDNQ_TRY(reserve_name(ctx, function->output[i], err));
    return LDNQ_OK;
}

static enum ldnq_status reserve_all_names(struct ldnq_model *model, struct ldnq_error *err)
{
    ProtobufCMessage *root = &model->proto->base;
    LDNQ_TRY(ldnq_visit(root, &onnx__node_proto__descriptor, reserve_node_names, model, err));
    LDNQ_TRY(ldnq_visit(root, &onnx__tensor_proto__descriptor, reserve_tensor_name, model, err));
    LDNQ_TRY(
        ldnq_visit(root, &onnx__function_proto__descriptor, reserve_function_names, model, err));
    return ldnq_visit(root, &onnx__value_info_proto__descriptor, reserve_value_name, model, err);
}

/* ---- reads ------------------------------------------------------------------------ */

enum ldnq_status ldnq_uses_visit_node(const Onnx__NodeProto *node, struct ldnq_arena *scratch,
                                      enum ldnq_status (*visit)(void *, const char *,
                                                                struct ldnq_error *),
                                      void *ctx, struct ldnq_error *err)
{
    for (size_t i = 0; i < node->n_input; i++)
        if (*node->input[i])
            LDNQ_TRY(visit(ctx, node->input[i], err));
    return ldnq_visit_node_captures(node, scratch, visit, ctx, err);
}

static enum ldnq_status count_name_read(void *ctx, const char *name, struct ldnq_error *err)
{
    struct ldnq_name *entry;
    if (!name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_names_insert(ctx, name, &entry, err));
    entry->count++;
    return LDNQ_OK;
}

static enum ldnq_status count_names_in_pairs(struct ldnq_names *reads, size_t count,
                                             Onnx__StringStringEntryProto *const *pairs,
                                             bool keys_too, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        LDNQ_TRY(count_name_read(reads, pairs[i]->value, err));
        if (keys_too)
            LDNQ_TRY(count_name_read(reads, pairs[i]->key, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status count_names_in_training_info(const Onnx__TrainingInfoProto *info,
                                                     struct ldnq_names *reads,
                                                     struct ldnq_error *err)
{
    struct ldnq_arena *scratch = reads->arena;
    if (info->initialization)
        LDNQ_TRY(
            ldnq_visit_graph_captures(info->initialization, scratch, count_name_read, reads, err));
    if (info->algorithm)
        LDNQ_TRY(ldnq_visit_graph_captures(info->algorithm, scratch, count_name_read, reads, err));
    LDNQ_TRY(count_names_in_pairs(reads, info->n_initialization_binding,
                                  info->initialization_binding, true, err));
    return count_names_in_pairs(reads, info->n_update_binding, info->update_binding, true, err);
}

enum ldnq_status ldnq_uses_count(const struct ldnq_model *model, struct ldnq_names *reads,
                                 struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t i = 0; i < graph->n_node; i++)
        LDNQ_TRY(ldnq_uses_visit_node(graph->node[i], reads->arena, count_name_read, reads, err));
    for (size_t i = 0; i < graph->n_output; i++)
        LDNQ_TRY(count_name_read(reads, graph->output[i]->name, err));
    for (size_t i = 0; i < graph->n_quantization_annotation; i++) {
        const Onnx__TensorAnnotation *annotation = graph->quantization_annotation[i];
        LDNQ_TRY(count_names_in_pairs(reads, annotation->n_quant_parameter_tensor_names,
                                      annotation->quant_parameter_tensor_names, false, err));
    }
    for (size_t i = 0; i < model->proto->n_training_info; i++)
        LDNQ_TRY(count_names_in_training_info(model->proto->training_info[i], reads, err));
    return LDNQ_OK;
}

/* ---- dead when loaded ---------------------------------------------------------------- */

static void mark_if_unread(struct ldnq_model *model, const struct ldnq_names *reads,
                           const char *name)
{
    struct ldnq_name *entry = name ? ldnq_names_find(&model->names, name) : NULL;
    if (entry && !ldnq_names_find(reads, name))
        entry->flags |= LDNQ_NAME_DEAD;
}

static enum ldnq_status mark_all_dead(struct ldnq_model *model, struct ldnq_arena *scratch,
                                      struct ldnq_error *err)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    struct ldnq_names reads;
    ldnq_names_init(&reads, scratch);
    LDNQ_TRY(ldnq_uses_count(model, &reads, err));
    for (size_t i = 0; i < graph->n_initializer; i++)
        mark_if_unread(model, &reads, graph->initializer[i]->name);
    for (size_t i = 0; i < graph->n_sparse_initializer; i++)
        if (graph->sparse_initializer[i]->values)
            mark_if_unread(model, &reads, graph->sparse_initializer[i]->values->name);
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t o = 0; o < graph->node[i]->n_output; o++)
            mark_if_unread(model, &reads, graph->node[i]->output[o]);
    return LDNQ_OK;
}

enum ldnq_status ldnq_uses_init(struct ldnq_model *model, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    ldnq_names_init(&model->names, model->arena);
    LDNQ_TRY(reserve_all_names(model, err));
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = mark_all_dead(model, scratch, err);
    ldnq_arena_destroy(scratch);
    return status;
}

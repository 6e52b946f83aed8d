/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/model.h"

#include <limits.h>
#include <string.h>

int ldnq_find_onnx_opset(Onnx__OperatorSetIdProto *const *imports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t version = imports[i]->version;
        if (ldnq_is_onnx_domain(imports[i]->domain))
            return version < 0 || version > INT_MAX ? INT_MAX : (int)version;
    }
    return 0;
}

const char *ldnq_model_path(const struct ldnq_model *model)
{
    return model->path;
}

const char *ldnq_model_data_file(const struct ldnq_model *model, size_t index)
{
    return index < model->data_file_count ? model->data_files[index].path : NULL;
}

void ldnq_model_limit_memory(struct ldnq_model *model, size_t bytes)
{
    ldnq_arena_limit_memory(model->arena, bytes);
}

size_t ldnq_model_bytes(const struct ldnq_model *model)
{
    return model->bytes;
}

size_t ldnq_model_data_bytes(const struct ldnq_model *model)
{
    return model->bytes - model->file_bytes;
}

uint64_t ldnq_model_hash(const struct ldnq_model *model)
{
    return model->hash;
}

const char *ldnq_model_input_name(const struct ldnq_model *model, size_t index)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    return index < graph->n_input ? ldnq_or_empty(graph->input[index]->name) : NULL;
}

bool ldnq_model_has_initializer(const struct ldnq_model *model, const char *name)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(ldnq_or_empty(graph->initializer[i]->name), name) == 0)
            return true;
    return false;
}

int64_t ldnq_model_ir_version(const struct ldnq_model *model)
{
    return model->proto->ir_version;
}

const char *ldnq_model_producer(const struct ldnq_model *model)
{
    return ldnq_or_empty(model->proto->producer_name);
}

size_t ldnq_model_node_count(const struct ldnq_model *model)
{
    return model->proto->graph ? model->proto->graph->n_node : 0;
}

int ldnq_model_opset(const struct ldnq_model *model)
{
    return ldnq_find_onnx_opset(model->proto->opset_import, model->proto->n_opset_import);
}

bool ldnq_model_has_operator(const struct ldnq_model *model, const char *op_type)
{
    const Onnx__GraphProto *graph = model->proto->graph;
    for (size_t n = 0; n < graph->n_node; n++)
        if (strcmp(ldnq_or_empty(graph->node[n]->op_type), op_type) == 0)
            return true;
    return false;
}

/* ---- IR version --------------------------------------------------------------------- */

/* The first IR version whose initializers need not be graph inputs. */
#define IR_PLAIN_INITIALIZERS 4

static enum ldnq_status remove_inputs_of_initializers(Onnx__GraphProto *graph,
                                                      struct ldnq_arena *scratch,
                                                      struct ldnq_error *err)
{
    struct ldnq_names names;
    struct ldnq_name *entry;
    ldnq_names_init(&names, scratch);
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (graph->initializer[i]->name)
            LDNQ_TRY(ldnq_names_insert(&names, graph->initializer[i]->name, &entry, err));
    for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
        const Onnx__TensorProto *values = graph->sparse_initializer[i]->values;
        if (values && values->name)
            LDNQ_TRY(ldnq_names_insert(&names, values->name, &entry, err));
    }
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_input; i++)
        if (!graph->input[i]->name || !ldnq_names_find(&names, graph->input[i]->name))
            graph->input[kept++] = graph->input[i];
    graph->n_input = kept;
    return LDNQ_OK;
}

enum ldnq_status ldnq_model_raise_ir(struct ldnq_model *model, int64_t version,
                                     struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    enum ldnq_status status = LDNQ_OK;
    if (model->proto->ir_version >= version)
        return LDNQ_OK;
    if (model->proto->ir_version < IR_PLAIN_INITIALIZERS && version >= IR_PLAIN_INITIALIZERS) {
        LDNQ_TRY(ldnq_arena_create(&scratch, err));
        status = remove_inputs_of_initializers(model->proto->graph, scratch, err);
        ldnq_arena_destroy(scratch);
    }
    if (status == LDNQ_OK)
        model->proto->ir_version = version;
    return status;
}

/* ---- metadata ----------------------------------------------------------------------- */

static Onnx__StringStringEntryProto *find_metadata_entry(const Onnx__ModelProto *proto,
                                                         const char *key)
{
    for (size_t i = 0; i < proto->n_metadata_props; i++)
        if (strcmp(ldnq_or_empty(proto->metadata_props[i]->key), key) == 0)
            return proto->metadata_props[i];
    return NULL;
}

const char *ldnq_model_metadata(const struct ldnq_model *model, const char *key)
{
    const Onnx__StringStringEntryProto *entry = find_metadata_entry(model->proto, key);
    return entry ? ldnq_or_empty(entry->value) : NULL;
}

static enum ldnq_status add_metadata_entry(struct ldnq_model *model, const char *key,
                                           Onnx__StringStringEntryProto **out,
                                           struct ldnq_error *err)
{
    Onnx__ModelProto *proto = model->proto;
    size_t count = proto->n_metadata_props;
    Onnx__StringStringEntryProto *entry = ldnq_arena_alloc(model->arena, 1, sizeof *entry, err);
    Onnx__StringStringEntryProto **list =
        ldnq_arena_alloc(model->arena, count + 1, sizeof(void *), err);
    if (!entry || !list)
        return LDNQ_NOMEM;
    onnx__string_string_entry_proto__init(entry);
    entry->key = ldnq_arena_strdup(model->arena, key, err);
    if (!entry->key)
        return LDNQ_NOMEM;
    if (count)
        memcpy(list, proto->metadata_props, count * sizeof *list);
    list[count] = entry;
    proto->metadata_props = list;
    proto->n_metadata_props = count + 1;
    *out = entry;
    return LDNQ_OK;
}

enum ldnq_status ldnq_model_set_metadata(struct ldnq_model *model, const char *key,
                                         const char *value, struct ldnq_error *err)
{
    char *copy = ldnq_arena_strdup(model->arena, value, err);
    Onnx__StringStringEntryProto *entry = find_metadata_entry(model->proto, key);
    if (!copy)
        return LDNQ_NOMEM;
    if (!entry)
        LDNQ_TRY(add_metadata_entry(model, key, &entry, err));
    entry->value = copy;
    return LDNQ_OK;
}

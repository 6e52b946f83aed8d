#include "onnx/import.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum ldnq_status ldnq_import_fail(const struct ldnq_import *import, struct ldnq_node *node,
                                  enum ldnq_status status, struct ldnq_error *err,
                                  const char *format, ...)
{
    char reason[4096], label[64];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    snprintf(label, sizeof label, "%.40s#%zu", node->op_type, node->index);
    node->label = *node->name ? node->name : label;
    ldnq_node_fail(import->graph, node, status, err, "%s", reason);
    node->label = NULL;
    return status;
}

struct ldnq_value *ldnq_import_find(const struct ldnq_import *import, const char *name)
{
    const struct ldnq_name *entry = ldnq_names_find(&import->values, name);
    return entry ? entry->pointer : NULL;
}

static const char *maker_of(const struct ldnq_value *value)
{
    return value->is_initializer ? "an initializer" : value->is_input ? "a graph input" : "a node";
}

enum ldnq_status ldnq_import_value(struct ldnq_import *import, const char *name, const char *maker,
                                   struct ldnq_value **out, struct ldnq_error *err)
{
    struct ldnq_name *entry;
    const struct ldnq_value *before = ldnq_import_find(import, name);
    if (before)
        return ldnq_fail(err, LDNQ_MODEL, "%s: value '%s' is made twice, by %s and by %s",
                         import->graph->file, name, maker_of(before), maker ? maker : "a node");
    LDNQ_TRY(ldnq_graph_add_value(import->graph, name, out, err));
    LDNQ_TRY(ldnq_names_put(&import->values, (*out)->name, &entry, err));
    entry->pointer = *out;
    return LDNQ_OK;
}

static enum ldnq_status import_outputs(struct ldnq_import *import, struct ldnq_error *err)
{
    struct ldnq_graph *graph = import->graph;
    const Onnx__GraphProto *proto = import->model->proto->graph;
    if (!proto->n_output)
        return ldnq_fail(err, LDNQ_MODEL, "%s: the graph has no outputs", graph->file);
    graph->outputs = ldnq_arena_alloc(graph->arena, proto->n_output, sizeof *graph->outputs, err);
    if (!graph->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < proto->n_output; i++) {
        const char *name = ldnq_or_empty(proto->output[i]->name);
        struct ldnq_value *value = ldnq_import_find(import, name);
        if (!value)
            return ldnq_fail(err, LDNQ_MODEL,
                             "%s: graph output '%s' is made by no node, input or initializer",
                             graph->file, name);
        value->is_output = true;
        graph->outputs[graph->output_count++] = value;
    }
    return LDNQ_OK;
}

static enum ldnq_status check_opset(const struct ldnq_model *model, struct ldnq_error *err)
{
    Onnx__OperatorSetIdProto *const *imports = model->proto->opset_import;
    int opset = ldnq_model_opset(model);
    for (size_t i = 0; i < model->proto->n_opset_import; i++)
        if (ldnq_is_onnx_domain(imports[i]->domain) && imports[i]->version != opset)
            return ldnq_fail(err, LDNQ_MODEL, "%s: imports ai.onnx in two versions", model->path);
    if (!opset)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: does not import the operators of ai.onnx, only foreign ones",
                         model->path);
    if (opset < LDNQ_OPSET_FIRST)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: is written in opset %d; opsets %d to %d are supported. Export it "
                         "again, or raise it with onnx.version_converter",
                         model->path, opset, LDNQ_OPSET_FIRST, LDNQ_OPSET_LATEST);
    if (opset > LDNQ_OPSET_LATEST)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: is written in opset %d; opsets %d to %d are supported. Export it "
                         "for opset %d",
                         model->path, opset, LDNQ_OPSET_FIRST, LDNQ_OPSET_LATEST,
                         LDNQ_OPSET_LATEST);
    return LDNQ_OK;
}

static enum ldnq_status import_all(struct ldnq_import *import, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    const struct ldnq_model *model = import->model;
    ldnq_names_init(&import->values, import->scratch);
    LDNQ_TRY(ldnq_graph_create(arena, ldnq_or_empty(model->proto->graph->name), model->path,
                               &import->graph, err));
    LDNQ_TRY(ldnq_import_initializers(import, err));
    LDNQ_TRY(ldnq_import_inputs(import, err));
    LDNQ_TRY(ldnq_import_nodes(import, err));
    LDNQ_TRY(ldnq_import_edges(import, err));
    LDNQ_TRY(import_outputs(import, err));
    return ldnq_graph_sort(import->graph, err);
}

enum ldnq_status ldnq_model_import(const struct ldnq_model *model, struct ldnq_arena *arena,
                                   struct ldnq_graph **out, struct ldnq_error *err)
{
    struct ldnq_error ignored;
    struct ldnq_import import = { .model = model };
    if (!err)
        err = &ignored;
    LDNQ_TRY(check_opset(model, err));
    LDNQ_TRY(ldnq_arena_create(&import.scratch, err));
    enum ldnq_status status = import_all(&import, arena, err);
    ldnq_arena_destroy(import.scratch);
    *out = status == LDNQ_OK ? import.graph : NULL;
    return status;
}

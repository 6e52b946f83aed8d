/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/import.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Models are raised to LDNQ_OPSET_LATEST at most, and read up to this one: 26 and 27 add operators,
 * and Range of 27 takes more types. */
#define NEWEST_OPSET 27

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

/* ---- names --------------------------------------------------------------------------- */

struct ldnq_value *ldnq_import_find(const struct ldnq_import *import, const char *name)
{
    const struct ldnq_name *entry = ldnq_names_find(&import->values, name);
    return entry ? entry->pointer : NULL;
}

bool ldnq_import_has(const struct ldnq_import *import, const char *name)
{
    return ldnq_names_find(&import->values, name) != NULL;
}

static const char *describe_producer(const struct ldnq_value *value)
{
    return value->is_initializer ? "an initializer" : value->is_input ? "a graph input" : "a node";
}

/* Makes the graph-wide name of a value in an inner scope, unused in the file and in the
 * import. */
static enum ldnq_status make_unique_name(struct ldnq_import *import, const char *name,
                                         const char **out, struct ldnq_error *err)
{
    struct ldnq_import_all *all = import->all;
    struct ldnq_name *entry;
    const char *full = ldnq_arena_printf(all->scratch, err, "%s%s", import->prefix, name);
    while (full &&
           (ldnq_names_find(&all->model->names, full) || ldnq_names_find(&all->taken, full)))
        full =
            ldnq_arena_printf(all->scratch, err, "%s%s#%zu", import->prefix, name, ++all->serial);
    *out = full;
    return full ? ldnq_names_insert(&all->taken, full, &entry, err) : LDNQ_NOMEM;
}

static enum ldnq_status bind_name(struct ldnq_import *import, const char *name,
                                  struct ldnq_value *value, struct ldnq_error *err)
{
    struct ldnq_name *entry;
    LDNQ_TRY(ldnq_names_insert(&import->values, name, &entry, err));
    entry->pointer = value;
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_add_value(struct ldnq_import *import, const char *name,
                                       const char *producer, struct ldnq_value **out,
                                       struct ldnq_error *err)
{
    const struct ldnq_value *before = ldnq_import_find(import, name);
    const char *full = name;
    if (before)
        return ldnq_fail(err, LDNQ_MODEL, "%s: value '%s' is made twice, by %s and by %s",
                         import->graph->file, name, describe_producer(before),
                         producer ? producer : "a node");
    if (import->within)
        LDNQ_TRY(make_unique_name(import, name, &full, err));
    LDNQ_TRY(ldnq_graph_add_value(import->graph, full, out, err));
    return bind_name(import, name, *out, err);
}

enum ldnq_status ldnq_import_resolve_name(struct ldnq_import *import, const char *name, bool *found,
                                          struct ldnq_value **value, struct ldnq_error *err)
{
    struct ldnq_value *outer;
    const char *full;
    *found = ldnq_import_has(import, name);
    *value = ldnq_import_find(import, name);
    if (*found || !import->outer)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_import_resolve_name(import->outer, name, found, &outer, err));
    if (!*found)
        return LDNQ_OK;
    if (outer) {
        LDNQ_TRY(make_unique_name(import, name, &full, err));
        LDNQ_TRY(ldnq_graph_add_capture(import->graph, full, outer, value, err));
    }
    return bind_name(import, name, *value, err);
}

/* ---- the model ------------------------------------------------------------------------- */

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
                         model->path, opset, LDNQ_OPSET_FIRST, NEWEST_OPSET);
    if (opset > NEWEST_OPSET)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: is written in opset %d; opsets %d to %d are supported. Export it "
                         "for opset %d",
                         model->path, opset, LDNQ_OPSET_FIRST, NEWEST_OPSET, NEWEST_OPSET);
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_graph(struct ldnq_import *import, struct ldnq_error *err)
{
    struct ldnq_import_list list = { .next_index = import->proto->n_node };
    list.end = &list.first;
    import->list = &list;
    LDNQ_TRY(ldnq_import_initializers(import, err));
    LDNQ_TRY(ldnq_import_inputs(import, err));
    LDNQ_TRY(ldnq_import_nodes(import, import->proto->node, import->proto->n_node, err));
    LDNQ_TRY(ldnq_import_edges(import, err));
    LDNQ_TRY(ldnq_import_outputs(import, err));
    return ldnq_graph_sort(import->graph, err);
}

static enum ldnq_status import_all(struct ldnq_import_all *all, struct ldnq_graph **out,
                                   struct ldnq_error *err)
{
    const struct ldnq_model *model = all->model;
    struct ldnq_import import = {
        .all = all,
        .proto = model->proto->graph,
        .opsets = model->proto->opset_import,
        .opset_count = model->proto->n_opset_import,
        .prefix = "",
    };
    ldnq_names_init(&all->functions, all->scratch);
    ldnq_names_init(&all->taken, all->scratch);
    ldnq_names_init(&import.values, all->scratch);
    LDNQ_TRY(ldnq_import_functions(all, err));
    LDNQ_TRY(ldnq_graph_create(all->arena, ldnq_or_empty(model->proto->graph->name), model->path,
                               &import.graph, err));
    if (!import.proto->n_output)
        return ldnq_fail(err, LDNQ_MODEL, "%s: the graph has no outputs", model->path);
    *out = import.graph;
    return ldnq_import_graph(&import, err);
}

enum ldnq_status ldnq_model_import_as(const struct ldnq_model *model, enum ldnq_operator_form form,
                                      struct ldnq_arena *arena, struct ldnq_graph **out,
                                      struct ldnq_error *err)
{
    struct ldnq_error ignored;
    struct ldnq_import_all all = { .model = model, .arena = arena, .form = form };
    struct ldnq_graph *graph = NULL;
    if (!err)
        err = &ignored;
    LDNQ_TRY(check_opset(model, err));
    LDNQ_TRY(ldnq_arena_create(&all.scratch, err));
    enum ldnq_status status = import_all(&all, &graph, err);
    ldnq_arena_destroy(all.scratch);
    *out = status == LDNQ_OK ? graph : NULL;
    return status;
}

enum ldnq_status ldnq_model_import(const struct ldnq_model *model, struct ldnq_arena *arena,
                                   struct ldnq_graph **out, struct ldnq_error *err)
{
    return ldnq_model_import_as(model, LDNQ_FORM_COMPUTED, arena, out, err);
}

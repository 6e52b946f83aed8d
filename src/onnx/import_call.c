/* SPDX-License-Identifier: Apache-2.0 */
/* import_call.c: replace calls of the model's functions by their bodies.
 *
 * A function's body is imported once per call, with its own values and labels. The
 * model, which is what will be saved, keeps its functions.
 */
#include <string.h>

#include "onnx/contributed.h"
#include "onnx/import.h"
#include "onnx/opset.h"

/* ---- which function ------------------------------------------------------------------ */

static const char *make_function_key(struct ldnq_arena *arena, const char *domain, const char *name,
                                     const char *overload, struct ldnq_error *err)
{
    domain = ldnq_is_onnx_domain(domain) ? "" : domain;
    return ldnq_arena_printf(arena, err, "%zu:%s:%zu:%s:%s", strlen(domain), domain,
                             strlen(ldnq_or_empty(name)), ldnq_or_empty(name),
                             ldnq_or_empty(overload));
}

enum ldnq_status ldnq_import_functions(struct ldnq_import_all *all, struct ldnq_error *err)
{
    const Onnx__ModelProto *proto = all->model->proto;
    for (size_t i = 0; i < proto->n_functions; i++) {
        Onnx__FunctionProto *function = proto->functions[i];
        struct ldnq_name *entry;
        const char *key = make_function_key(all->scratch, function->domain, function->name,
                                            function->overload, err);
        if (!key)
            return LDNQ_NOMEM;
        LDNQ_TRY(ldnq_names_insert(&all->functions, key, &entry, err));
        if (entry->pointer)
            return ldnq_fail(err, LDNQ_MODEL, "%s: function '%s' is there twice", all->model->path,
                             ldnq_or_empty(function->name));
        entry->pointer = function;
    }
    return LDNQ_OK;
}

/* A function named like one of ONNX's own operators is ignored, as in ONNX Runtime;
 * ONNX leaves the choice open. */
enum ldnq_status ldnq_import_find_function(const struct ldnq_import *import,
                                           const Onnx__NodeProto *proto,
                                           const Onnx__FunctionProto **out, struct ldnq_error *err)
{
    struct ldnq_import_all *all = import->all;
    *out = NULL;
    if (!all->functions.count ||
        (ldnq_is_onnx_domain(proto->domain) && ldnq_opset_find(ldnq_or_empty(proto->op_type))))
        return ldnq_contributed_find(import, proto, out, err);
    const char *key =
        make_function_key(all->scratch, proto->domain, proto->op_type, proto->overload, err);
    if (!key)
        return LDNQ_NOMEM;
    const struct ldnq_name *entry = ldnq_names_find(&all->functions, key);
    if (!entry)
        return ldnq_contributed_find(import, proto, out, err);
    *out = entry->pointer;
    return LDNQ_OK;
}

/* ---- attributes ------------------------------------------------------------------------ */

static const Onnx__AttributeProto *find_call_attr(const struct ldnq_import_call *call,
                                                  const char *name)
{
    for (size_t i = 0; i < call->attr_count; i++)
        if (strcmp(call->attrs[i].name, name) == 0)
            return call->attrs[i].proto;
    for (size_t i = 0; i < call->function->n_attribute_proto; i++)
        if (strcmp(ldnq_or_empty(call->function->attribute_proto[i]->name), name) == 0)
            return call->function->attribute_proto[i];
    return NULL;
}

enum ldnq_status ldnq_import_resolve_attrs(const struct ldnq_import *import,
                                           const Onnx__NodeProto *proto,
                                           const struct ldnq_attr_source **out, size_t *count,
                                           struct ldnq_error *err)
{
    struct ldnq_attr_source *sources =
        ldnq_arena_alloc(import->all->scratch, proto->n_attribute, sizeof *sources, err);
    *out = sources;
    *count = 0;
    if (!sources)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < proto->n_attribute; i++) {
        const Onnx__AttributeProto *attr = proto->attribute[i];
        const char *reference = ldnq_or_empty(attr->ref_attr_name);
        const char *name = ldnq_or_empty(attr->name);
        if (*reference && import->call)
            attr = find_call_attr(import->call, reference);
        if (attr)
            sources[(*count)++] =
                (struct ldnq_attr_source){ name, attr, attr != proto->attribute[i] };
    }
    return LDNQ_OK;
}

/* ---- the body ---------------------------------------------------------------------------- */

static enum ldnq_status check_call(struct ldnq_import *import, struct ldnq_node *node,
                                   const Onnx__FunctionProto *function, struct ldnq_error *err)
{
    const char *name = ldnq_or_empty(function->name);
    for (const struct ldnq_import *at = import; at; at = at->call ? at->call->caller : at->outer)
        if (at->call && at->call->function == function)
            return ldnq_import_fail(import, node, LDNQ_MODEL, err,
                                    "calls function '%s' from within that function", name);
    if (import->depth >= LDNQ_IMPORT_DEPTH)
        return ldnq_import_fail(import, node, LDNQ_UNSUPPORTED, err,
                                "calls and subgraphs are nested more than %d deep",
                                LDNQ_IMPORT_DEPTH);
    if (node->input_count > function->n_input || node->output_count > function->n_output)
        return ldnq_import_fail(import, node, LDNQ_MODEL, err,
                                "has %zu inputs and %zu outputs where function '%s' has %zu "
                                "and %zu",
                                node->input_count, node->output_count, name, function->n_input,
                                function->n_output);
    import->all->inlined += function->n_node;
    if (import->all->inlined > LDNQ_IMPORT_NODES)
        return ldnq_import_fail(import, node, LDNQ_UNSUPPORTED, err,
                                "the functions of the model become more than %zu nodes",
                                LDNQ_IMPORT_NODES);
    return LDNQ_OK;
}

static bool is_node_output(const Onnx__FunctionProto *function, const char *name)
{
    for (size_t i = 0; i < function->n_node; i++)
        for (size_t o = 0; o < function->node[i]->n_output; o++)
            if (strcmp(function->node[i]->output[o], name) == 0)
                return true;
    return false;
}

/* Connects an output of the call with the caller's value. A node of the body produces
 * it directly, except when the function's output is one of its inputs or is listed
 * twice: then an Identity is added. */
static enum ldnq_status connect_call_output(struct ldnq_import *body, struct ldnq_import_call *call,
                                            struct ldnq_node *caller, size_t i,
                                            struct ldnq_error *err)
{
    struct ldnq_value *value;
    struct ldnq_name *entry;
    struct ldnq_node *node;
    const char *name = call->proto->output[i], *inner = call->function->output[i];
    if (!*name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_import_output(call->caller, caller, name, &value, err));
    LDNQ_TRY(ldnq_names_insert(&call->outputs, inner, &entry, err));
    if (!entry->pointer && is_node_output(call->function, inner)) {
        entry->pointer = value;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_import_new_node(body, "Identity", "", 1, 1, &node, err));
    node->opset = ldnq_model_opset(body->all->model);
    node->index = body->list->next_index++;
    node->name = ldnq_arena_printf(body->graph->arena, err, "%sIdentity#%zu", body->prefix, i);
    node->outputs[0] = value;
    value->producer = node;
    return node->name ? ldnq_import_add_pending_node(body, node, NULL, NULL, 0, err) : LDNQ_NOMEM;
}

/* Limit of a node's part in the names of all values and nodes of its body. */
#define PREFIX_LENGTH 200

const char *ldnq_import_make_prefix(struct ldnq_arena *arena, const char *name, const char *op_type,
                                    size_t index, struct ldnq_error *err)
{
    return *name ? ldnq_arena_printf(arena, err, "%.*s/", PREFIX_LENGTH, name)
                 : ldnq_arena_printf(arena, err, "%.*s#%zu/", PREFIX_LENGTH, op_type, index);
}

static enum ldnq_status init_body_import(struct ldnq_import *import, const struct ldnq_node *node,
                                         const struct ldnq_import_call *call,
                                         struct ldnq_import *body, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->graph->arena;
    const Onnx__FunctionProto *function = call->function;
    const char *domain = ldnq_or_empty(function->domain);
    *body = (struct ldnq_import){
        .all = import->all,
        .graph = import->graph,
        .call = call,
        .list = import->list,
        .opsets = function->opset_import,
        .opset_count = function->n_opset_import,
        .depth = import->depth + 1,
    };
    ldnq_names_init(&body->values, import->all->scratch);
    body->prefix = ldnq_import_make_prefix(arena, node->name, node->op_type, node->index, err);
    body->within = ldnq_arena_printf(arena, err, "function '%s%s%s'", domain, *domain ? "." : "",
                                     ldnq_or_empty(function->name));
    return body->prefix && body->within ? LDNQ_OK : LDNQ_NOMEM;
}

/* Reserves the names of the function's inputs, so that no node of the body can produce
 * them; they are bound later. */
static enum ldnq_status reserve_function_input_names(struct ldnq_import *body,
                                                     struct ldnq_node *node, struct ldnq_error *err)
{
    const Onnx__FunctionProto *function = body->call->function;
    struct ldnq_name *entry;
    for (size_t i = 0; i < function->n_input; i++) {
        if (ldnq_import_has(body, function->input[i]))
            return ldnq_import_fail(body->call->caller, node, LDNQ_MODEL, err,
                                    "function '%s' has two inputs '%s'",
                                    ldnq_or_empty(function->name), function->input[i]);
        LDNQ_TRY(ldnq_names_insert(&body->values, function->input[i], &entry, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_inline_call(struct ldnq_import *import,
                                         const Onnx__FunctionProto *function,
                                         struct ldnq_node *node, const Onnx__NodeProto *proto,
                                         const struct ldnq_attr_source *attrs, size_t attr_count,
                                         struct ldnq_error *err)
{
    struct ldnq_arena *scratch = import->all->scratch;
    LDNQ_TRY(check_call(import, node, function, err));
    struct ldnq_import_call *call = ldnq_arena_alloc(scratch, 1, sizeof *call, err);
    struct ldnq_import *body = ldnq_arena_alloc(scratch, 1, sizeof *body, err);
    if (!call || !body)
        return LDNQ_NOMEM;
    *call = (struct ldnq_import_call){ .caller = import,
                                       .proto = proto,
                                       .function = function,
                                       .attrs = attrs,
                                       .attr_count = attr_count };
    ldnq_names_init(&call->outputs, scratch);
    LDNQ_TRY(init_body_import(import, node, call, body, err));
    LDNQ_TRY(reserve_function_input_names(body, node, err));
    LDNQ_TRY(ldnq_import_add_pending_node(body, NULL, proto, NULL, 0, err));
    for (size_t i = 0; i < proto->n_output; i++)
        LDNQ_TRY(connect_call_output(body, call, node, i, err));
    return ldnq_import_nodes(body, function->node, function->n_node, err);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static enum ldnq_status bind_input(struct ldnq_import *body, size_t i, struct ldnq_error *err)
{
    const Onnx__NodeProto *proto = body->call->proto;
    const char *name = i < proto->n_input ? proto->input[i] : "";
    struct ldnq_name *entry = ldnq_names_find(&body->values, body->call->function->input[i]);
    struct ldnq_value *value;
    bool found;
    if (!*name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_import_resolve_name(body->call->caller, name, &found, &value, err));
    if (!found)
        return ldnq_fail(err, LDNQ_MODEL,
                         "%s: node '%.*s' (%s): input %zu '%s' is made by no node, input or "
                         "initializer",
                         body->graph->file, (int)strlen(body->prefix) - 1, body->prefix,
                         ldnq_or_empty(proto->op_type), i, name);
    entry->pointer = value;
    return LDNQ_OK;
}

/* Connects the inputs of connect_call_output's Identities to the body's values. */
static enum ldnq_status bind_results(const struct ldnq_import_pending *use, struct ldnq_error *err)
{
    const struct ldnq_import_call *call = use->scope->call;
    const struct ldnq_import_pending *at = use->next;
    for (size_t i = 0; i < call->proto->n_output; i++) {
        bool is_identity = at && at->scope == use->scope && at->node && !at->proto;
        const struct ldnq_name *wanted = ldnq_names_find(&call->outputs, call->function->output[i]);
        if (!*call->proto->output[i] || !is_identity)
            continue;
        struct ldnq_value *caller = ldnq_import_find(call->caller, call->proto->output[i]);
        if (at->node->outputs[0] != caller)
            continue;
        at->node->inputs[0] = wanted && wanted->pointer
                                  ? wanted->pointer
                                  : ldnq_import_find(use->scope, call->function->output[i]);
        if (!at->node->inputs[0])
            return ldnq_fail(err, LDNQ_MODEL,
                             "%s: output '%s' of function '%s' is made by no node "
                             "of it",
                             use->scope->graph->file, call->function->output[i],
                             ldnq_or_empty(call->function->name));
        at = at->next;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_bind_inputs(const struct ldnq_import_pending *use,
                                         struct ldnq_error *err)
{
    for (size_t i = 0; i < use->scope->call->function->n_input; i++)
        LDNQ_TRY(bind_input(use->scope, i, err));
    return bind_results(use, err);
}

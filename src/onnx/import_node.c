/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <string.h>

#include "base/growing_list.h"
#include "onnx/import.h"
#include "onnx/visit.h"

/* ---- nodes ---------------------------------------------------------------------------- */

static int find_opset_version(const struct ldnq_import *import, const char *domain)
{
    if (ldnq_is_onnx_domain(domain))
        return ldnq_find_onnx_opset(import->opsets, import->opset_count);
    for (size_t i = 0; i < import->opset_count; i++) {
        int64_t version = import->opsets[i]->version;
        if (strcmp(ldnq_or_empty(import->opsets[i]->domain), domain) == 0)
            return version < 0 || version > INT_MAX ? INT_MAX : (int)version;
    }
    return 0;
}

/* Before opset 21, ONNX Runtime's tools write 16-bit and 4-bit codes with operators of its own
 * domain that mean what those of ONNX do. */
static bool is_microsoft_quantize_or_dequantize(const char *op_type, const char *domain)
{
    return strcmp(ldnq_or_empty(domain), "com.microsoft") == 0 &&
           (strcmp(op_type, "QuantizeLinear") == 0 || strcmp(op_type, "DequantizeLinear") == 0);
}

enum ldnq_status ldnq_import_new_node(struct ldnq_import *import, const char *op_type,
                                      const char *domain, size_t inputs, size_t outputs,
                                      struct ldnq_node **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->graph->arena;
    struct ldnq_node *node = ldnq_arena_alloc(arena, 1, sizeof *node, err);
    *out = node;
    if (!node)
        return LDNQ_NOMEM;
    node->name = "";
    node->op_type = op_type;
    const bool is_standard =
        ldnq_is_onnx_domain(domain) || is_microsoft_quantize_or_dequantize(op_type, domain);
    node->domain = is_standard ? "" : domain;
    node->opset = find_opset_version(import, node->domain);
    node->within = import->within;
    node->input_count = inputs;
    node->output_count = outputs;
    node->inputs = ldnq_arena_alloc(arena, inputs, sizeof *node->inputs, err);
    node->outputs = ldnq_arena_alloc(arena, outputs, sizeof *node->outputs, err);
    return node->inputs && node->outputs ? LDNQ_OK : LDNQ_NOMEM;
}

/* In inner scopes the name says where the node comes from: "call/conv",
 * "If#3/then_branch/Add#0". */
static enum ldnq_status set_node_name_and_origin(struct ldnq_import *import,
                                                 const Onnx__NodeProto *proto, size_t at,
                                                 struct ldnq_node *node, struct ldnq_error *err)
{
    const char *name = ldnq_or_empty(proto->name);
    node->name = name;
    node->index = at;
    node->origin = import->within ? NULL : proto;
    node->body_origin = import->within && !import->call ? proto : NULL;
    if (!import->within)
        return LDNQ_OK;
    struct ldnq_arena *arena = import->graph->arena;
    node->name = *name
                     ? ldnq_arena_printf(arena, err, "%s%s", import->prefix, name)
                     : ldnq_arena_printf(arena, err, "%s%s#%zu", import->prefix, node->op_type, at);
    if (ldnq_import_is_body(import))
        node->index = import->list->next_index++;
    return node->name ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status read_attrs(struct ldnq_import *import, struct ldnq_node *node,
                                   const struct ldnq_attr_source *sources, struct ldnq_error *err)
{
    struct ldnq_attr *attrs;
    enum ldnq_status status =
        ldnq_attrs_read(sources, node->attr_count, import->graph->arena, &attrs, err);
    node->attrs = attrs;
    if (status == LDNQ_OK)
        return LDNQ_OK;
    node->attr_count = 0;
    struct ldnq_error inner = *err;
    return ldnq_import_fail(import, node, status, err, "%s", inner.message);
}

/* In a function's body, the values that the call outputs exist already. */
enum ldnq_status ldnq_import_output(struct ldnq_import *import, struct ldnq_node *node,
                                    const char *name, struct ldnq_value **out,
                                    struct ldnq_error *err)
{
    struct ldnq_name *entry;
    const struct ldnq_name *wanted =
        ldnq_import_is_body(import) ? ldnq_names_find(&import->call->outputs, name) : NULL;
    if (ldnq_import_has(import, name))
        return ldnq_import_fail(import, node, LDNQ_MODEL, err,
                                "its output '%s' is made elsewhere too", name);
    if (!wanted)
        return ldnq_import_add_value(import, name, NULL, out, err);
    *out = wanted->pointer;
    LDNQ_TRY(ldnq_names_insert(&import->values, name, &entry, err));
    entry->pointer = *out;
    return LDNQ_OK;
}

static enum ldnq_status import_outputs(struct ldnq_import *import, struct ldnq_node *node,
                                       const Onnx__NodeProto *proto, struct ldnq_error *err)
{
    for (size_t i = 0; i < proto->n_output; i++) {
        if (!*proto->output[i])
            continue;
        LDNQ_TRY(ldnq_import_output(import, node, proto->output[i], &node->outputs[i], err));
        node->outputs[i]->producer = node;
    }
    return LDNQ_OK;
}

static bool has_string_attr(const struct ldnq_node *node)
{
    const struct ldnq_attr *value = node->attr_count == 1 ? &node->attrs[0] : NULL;
    return value && (value->kind == LDNQ_ATTR_STRING || value->kind == LDNQ_ATTR_STRINGS ||
                     (value->kind == LDNQ_ATTR_TENSOR && value->t->dtype == LDNQ_STRING));
}

static enum ldnq_status import_constant_node(struct ldnq_import *import, struct ldnq_node *node,
                                             const struct ldnq_attr_source *attrs,
                                             bool *is_constant, struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor;
    *is_constant = false;
    if (*node->domain || strcmp(node->op_type, "Constant") != 0 || node->output_count != 1 ||
        !node->outputs[0])
        return LDNQ_OK;
    enum ldnq_status status = ldnq_import_constant(import, node, attrs, &tensor, err);
    if (status != LDNQ_OK) {
        struct ldnq_error inner = *err;
        return ldnq_import_fail(import, node, status, err, "%s", inner.message);
    }
    if (!tensor) {
        node->outputs[0]->dtype = has_string_attr(node) ? LDNQ_STRING : LDNQ_UNDEFINED;
        return LDNQ_OK;
    }
    *is_constant = true;
    node->outputs[0]->producer = NULL;
    node->outputs[0]->constant = tensor;
    node->outputs[0]->dtype = tensor->dtype;
    node->outputs[0]->shape = tensor->shape;
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_add_pending_node(struct ldnq_import *import, struct ldnq_node *node,
                                              const Onnx__NodeProto *proto,
                                              const struct ldnq_attr_source *attrs,
                                              size_t attr_count, struct ldnq_error *err)
{
    struct ldnq_import_pending *use = ldnq_arena_alloc(import->all->scratch, 1, sizeof *use, err);
    if (!use)
        return LDNQ_NOMEM;
    *use = (struct ldnq_import_pending){
        .scope = import, .node = node, .proto = proto, .attrs = attrs, .attr_count = attr_count
    };
    *import->list->end = use;
    import->list->end = &use->next;
    return LDNQ_OK;
}

static enum ldnq_status import_node(struct ldnq_import *import, const Onnx__NodeProto *proto,
                                    size_t at, struct ldnq_error *err)
{
    struct ldnq_node *node;
    const struct ldnq_attr_source *attrs;
    const Onnx__FunctionProto *function;
    bool is_constant;
    LDNQ_TRY(ldnq_import_new_node(import, ldnq_or_empty(proto->op_type), proto->domain,
                                  proto->n_input, proto->n_output, &node, err));
    LDNQ_TRY(set_node_name_and_origin(import, proto, at, node, err));
    if (!*node->op_type)
        return ldnq_import_fail(import, node, LDNQ_MODEL, err, "has no operator type");
    LDNQ_TRY(ldnq_import_resolve_attrs(import, proto, &attrs, &node->attr_count, err));
    LDNQ_TRY(ldnq_import_find_function(import, proto, &function, err));
    if (function)
        return ldnq_import_inline_call(import, function, node, proto, attrs, node->attr_count, err);
    LDNQ_TRY(read_attrs(import, node, attrs, err));
    LDNQ_TRY(import_outputs(import, node, proto, err));
    LDNQ_TRY(import_constant_node(import, node, attrs, &is_constant, err));
    return is_constant
               ? LDNQ_OK
               : ldnq_import_add_pending_node(import, node, proto, attrs, node->attr_count, err);
}

enum ldnq_status ldnq_import_nodes(struct ldnq_import *import, Onnx__NodeProto *const *nodes,
                                   size_t count, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(import_node(import, nodes[i], i, err));
    return LDNQ_OK;
}

/* ---- edges ------------------------------------------------------------------------------ */

static enum ldnq_status connect_inputs(struct ldnq_import *import, struct ldnq_node *node,
                                       const Onnx__NodeProto *proto, struct ldnq_error *err)
{
    for (size_t i = 0; i < proto->n_input; i++) {
        if (!*proto->input[i])
            continue;
        bool found;
        LDNQ_TRY(ldnq_import_resolve_name(import, proto->input[i], &found, &node->inputs[i], err));
        if (!found)
            return ldnq_import_fail(import, node, LDNQ_MODEL, err,
                                    "input %zu '%s' is made by no node, input or initializer", i,
                                    proto->input[i]);
    }
    return LDNQ_OK;
}

struct capture {
    struct ldnq_import *import;
    struct ldnq_node *node;
    struct ldnq_names seen;
    size_t capacity;
};

static enum ldnq_status append_captured_value(struct capture *capture, struct ldnq_value *value,
                                              struct ldnq_error *err)
{
    struct ldnq_node *node = capture->node;
    LDNQ_TRY(ldnq_list_reserve(capture->import->graph->arena, &node->captures, node->capture_count,
                               &capture->capacity, sizeof *node->captures, err));
    node->captures[node->capture_count++] = value;
    return LDNQ_OK;
}

static enum ldnq_status visit_capture(void *ctx, const char *name, struct ldnq_error *err)
{
    struct capture *capture = ctx;
    struct ldnq_name *seen;
    struct ldnq_value *value;
    bool found;
    LDNQ_TRY(ldnq_import_resolve_name(capture->import, name, &found, &value, err));
    if (!found)
        return ldnq_import_fail(capture->import, capture->node, LDNQ_MODEL, err,
                                "its subgraph reads '%s', which is made by no node, input or "
                                "initializer",
                                name);
    LDNQ_TRY(ldnq_names_insert(&capture->seen, name, &seen, err));
    return seen->count++ || !value ? LDNQ_OK : append_captured_value(capture, value, err);
}

static enum ldnq_status connect_captures(struct ldnq_import *import, struct ldnq_node *node,
                                         const Onnx__NodeProto *proto, struct ldnq_error *err)
{
    struct capture capture = { .import = import, .node = node };
    ldnq_names_init(&capture.seen, import->all->scratch);
    return ldnq_visit_node_captures(proto, import->all->scratch, visit_capture, &capture, err);
}

/* A call precedes the nodes of its body in the list, so that the body's inputs are
 * bound first. */
static enum ldnq_status connect_pending_node(struct ldnq_import_pending *use,
                                             struct ldnq_error *err)
{
    if (!use->node)
        return ldnq_import_bind_inputs(use, err);
    LDNQ_TRY(connect_inputs(use->scope, use->node, use->proto, err));
    LDNQ_TRY(connect_captures(use->scope, use->node, use->proto, err));
    return ldnq_import_subgraphs(use->scope, use, err);
}

enum ldnq_status ldnq_import_edges(struct ldnq_import *import, struct ldnq_error *err)
{
    struct ldnq_graph *graph = import->graph;
    size_t count = 0;
    /* Arguments may append nodes. */
    for (struct ldnq_import_pending *use = import->list->first; use; use = use->next) {
        if (use->proto)
            LDNQ_TRY(connect_pending_node(use, err));
        count += use->node != NULL;
    }
    graph->nodes = ldnq_arena_alloc(graph->arena, count, sizeof *graph->nodes, err);
    if (!graph->nodes)
        return LDNQ_NOMEM;
    for (const struct ldnq_import_pending *use = import->list->first; use; use = use->next)
        if (use->node)
            graph->nodes[graph->node_count++] = use->node;
    return LDNQ_OK;
}

#include <limits.h>
#include <string.h>

#include "base/size.h"
#include "onnx/attrs.h"
#include "onnx/import.h"
#include "onnx/visit.h"

/* ---- nodes ---------------------------------------------------------------------------- */

static int opset_of(const Onnx__ModelProto *model, const char *domain)
{
    if (ldnq_is_onnx_domain(domain))
        return ldnq_opset_in(model->opset_import, model->n_opset_import);
    for (size_t i = 0; i < model->n_opset_import; i++) {
        int64_t version = model->opset_import[i]->version;
        if (strcmp(ldnq_or_empty(model->opset_import[i]->domain), domain) == 0)
            return version < 0 || version > INT_MAX ? INT_MAX : (int)version;
    }
    return 0;
}

static enum ldnq_status read_node(struct ldnq_import *import, const Onnx__NodeProto *proto,
                                  size_t index, struct ldnq_node **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->graph->arena;
    struct ldnq_node *node = ldnq_arena_alloc(arena, 1, sizeof *node, err);
    *out = node;
    if (!node)
        return LDNQ_NOMEM;
    node->name = ldnq_or_empty(proto->name);
    node->op_type = ldnq_or_empty(proto->op_type);
    node->domain = ldnq_is_onnx_domain(proto->domain) ? "" : proto->domain;
    node->opset = opset_of(import->model->proto, node->domain);
    node->index = index;
    node->origin = proto;
    node->input_count = proto->n_input;
    node->output_count = proto->n_output;
    node->inputs = ldnq_arena_alloc(arena, proto->n_input, sizeof *node->inputs, err);
    node->outputs = ldnq_arena_alloc(arena, proto->n_output, sizeof *node->outputs, err);
    if (!node->inputs || !node->outputs)
        return LDNQ_NOMEM;
    if (!*node->op_type)
        return ldnq_import_fail(import, node, LDNQ_MODEL, err, "has no operator type");
    node->attr_count = proto->n_attribute;
    enum ldnq_status status = ldnq_attrs_read(proto, arena, &node->attrs, err);
    if (status != LDNQ_OK) {
        struct ldnq_error inner = *err;
        ldnq_import_fail(import, node, status, err, "%s", inner.message);
    }
    return status;
}

static enum ldnq_status import_outputs(struct ldnq_import *import, struct ldnq_node *node,
                                       const Onnx__NodeProto *proto, struct ldnq_error *err)
{
    for (size_t i = 0; i < proto->n_output; i++) {
        if (!*proto->output[i])
            continue;
        if (ldnq_import_find(import, proto->output[i]))
            return ldnq_import_fail(import, node, LDNQ_MODEL, err,
                                    "its output '%s' is made elsewhere too", proto->output[i]);
        LDNQ_TRY(ldnq_import_value(import, proto->output[i], NULL, &node->outputs[i], err));
        node->outputs[i]->producer = node;
    }
    return LDNQ_OK;
}

static bool holds_strings(const struct ldnq_node *node)
{
    const struct ldnq_attr *value = node->attr_count == 1 ? &node->attrs[0] : NULL;
    return value && (value->kind == LDNQ_ATTR_STRING || value->kind == LDNQ_ATTR_STRINGS ||
                     (value->kind == LDNQ_ATTR_TENSOR && value->t->dtype == LDNQ_STRING));
}

static enum ldnq_status make_constant(struct ldnq_import *import, struct ldnq_node *node,
                                      bool *is_constant, struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor;
    *is_constant = false;
    if (*node->domain || strcmp(node->op_type, "Constant") != 0 || node->output_count != 1 ||
        !node->outputs[0])
        return LDNQ_OK;
    enum ldnq_status status = ldnq_import_constant(import, node, &tensor, err);
    if (status != LDNQ_OK) {
        struct ldnq_error inner = *err;
        return ldnq_import_fail(import, node, status, err, "%s", inner.message);
    }
    if (!tensor) {
        node->outputs[0]->dtype = holds_strings(node) ? LDNQ_STRING : LDNQ_UNDEFINED;
        return LDNQ_OK;
    }
    *is_constant = true;
    node->outputs[0]->producer = NULL;
    node->outputs[0]->constant = tensor;
    node->outputs[0]->dtype = tensor->dtype;
    node->outputs[0]->shape = tensor->shape;
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_nodes(struct ldnq_import *import, struct ldnq_error *err)
{
    struct ldnq_graph *graph = import->graph;
    const Onnx__GraphProto *proto = import->model->proto->graph;
    graph->nodes = ldnq_arena_alloc(graph->arena, proto->n_node, sizeof *graph->nodes, err);
    if (!graph->nodes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < proto->n_node; i++) {
        struct ldnq_node *node;
        bool is_constant;
        LDNQ_TRY(read_node(import, proto->node[i], i, &node, err));
        LDNQ_TRY(import_outputs(import, node, proto->node[i], err));
        LDNQ_TRY(make_constant(import, node, &is_constant, err));
        if (!is_constant)
            graph->nodes[graph->node_count++] = node;
    }
    return LDNQ_OK;
}

/* ---- edges ------------------------------------------------------------------------------ */

static enum ldnq_status connect_inputs(struct ldnq_import *import, struct ldnq_node *node,
                                       const Onnx__NodeProto *proto, struct ldnq_error *err)
{
    for (size_t i = 0; i < proto->n_input; i++) {
        if (!*proto->input[i])
            continue;
        node->inputs[i] = ldnq_import_find(import, proto->input[i]);
        if (!node->inputs[i])
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

static enum ldnq_status add_capture(struct capture *capture, struct ldnq_value *value,
                                    struct ldnq_error *err)
{
    struct ldnq_node *node = capture->node;
    if (node->capture_count == capture->capacity) {
        size_t capacity = ldnq_size_max(8, 2 * capture->capacity);
        struct ldnq_value **larger =
            ldnq_arena_alloc(capture->import->graph->arena, capacity, sizeof *larger, err);
        if (!larger)
            return LDNQ_NOMEM;
        if (node->capture_count)
            memcpy(larger, node->captures, node->capture_count * sizeof *larger);
        node->captures = larger;
        capture->capacity = capacity;
    }
    node->captures[node->capture_count++] = value;
    return LDNQ_OK;
}

static enum ldnq_status visit_capture(void *ctx, const char *name, struct ldnq_error *err)
{
    struct capture *capture = ctx;
    struct ldnq_name *seen;
    struct ldnq_value *value = ldnq_import_find(capture->import, name);
    if (!value)
        return ldnq_import_fail(capture->import, capture->node, LDNQ_MODEL, err,
                                "its subgraph reads '%s', which is made by no node, input or "
                                "initializer",
                                name);
    LDNQ_TRY(ldnq_names_put(&capture->seen, name, &seen, err));
    return seen->count++ ? LDNQ_OK : add_capture(capture, value, err);
}

static enum ldnq_status connect_captures(struct ldnq_import *import, struct ldnq_node *node,
                                         const Onnx__NodeProto *proto, struct ldnq_error *err)
{
    struct capture capture = { .import = import, .node = node };
    ldnq_names_init(&capture.seen, import->scratch);
    return ldnq_visit_node_captures(proto, import->scratch, visit_capture, &capture, err);
}

enum ldnq_status ldnq_import_edges(struct ldnq_import *import, struct ldnq_error *err)
{
    for (size_t i = 0; i < import->graph->node_count; i++) {
        struct ldnq_node *node = import->graph->nodes[i];
        LDNQ_TRY(connect_inputs(import, node, node->origin, err));
        LDNQ_TRY(connect_captures(import, node, node->origin, err));
    }
    return LDNQ_OK;
}

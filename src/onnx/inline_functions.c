/* SPDX-License-Identifier: Apache-2.0 */
/* inline_functions.c: replace calls of functions that have layers by the functions' bodies.
 *
 * A function is called more than once, and each call has weights of its own: its body can't have
 * the codes of one of them. Runtimes inline all functions. New names are those of an
 * import. Operators of ONNX Runtime whose weights are not those of a layer are replaced too. */
#include <string.h>

#include "base/growing_list.h"
#include "onnx/contributed.h"
#include "onnx/edit.h"
#include "onnx/import.h"
#include "onnx/wire.h"

/* Calls that would add more nodes stay, as do those that are nested deeper than LDNQ_IMPORT_DEPTH:
 * the import refuses them, with a message. */
#define MOST_NODES ((size_t)1 << 17)
/* Each of a model's functions is looked up by comparing names. */
#define MOST_FUNCTIONS ((size_t)2048)

/* A function of the model, and what is known of it. */
struct called_function {
    Onnx__FunctionProto *proto;
    bool has_layer;    /* itself, or a function that it calls */
    bool is_reachable; /* from the main graph */
    bool is_visited;   /* what it calls is marked as reachable */
};

struct inliner {
    struct ldnq_model *model;
    struct called_function *functions;
    size_t function_count;
    struct ldnq_arena *scratch;
    size_t nodes; /* that were made */
    bool changed;
};

/* One call: its names, and where its nodes go. */
struct inlined_call {
    struct inliner *inliner;
    const Onnx__NodeProto *call;
    const Onnx__FunctionProto *function;
    const char *prefix;
    struct ldnq_names names; /* of the body; pointer: the name in the graph */
};

struct node_list {
    Onnx__NodeProto **items;
    size_t count, capacity;
};

/* ---- which functions ------------------------------------------------------------------------ */

static bool are_equal(const char *a, const char *b)
{
    return strcmp(ldnq_or_empty(a), ldnq_or_empty(b)) == 0;
}

static struct called_function *find_function(const struct inliner *inliner,
                                             const Onnx__NodeProto *node)
{
    if (ldnq_is_onnx_domain(node->domain))
        return NULL;
    for (size_t i = 0; i < inliner->function_count; i++) {
        const Onnx__FunctionProto *proto = inliner->functions[i].proto;
        if (are_equal(proto->name, node->op_type) && are_equal(proto->domain, node->domain) &&
            are_equal(proto->overload, node->overload))
            return &inliner->functions[i];
    }
    return NULL;
}

static bool is_layer_type(const Onnx__NodeProto *node)
{
    static const char *const types[] = { "Conv",   "ConvTranspose", "Gemm", "MatMul",
                                         "Einsum", "LSTM",          "GRU",  "RNN" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (ldnq_is_onnx_domain(node->domain) && are_equal(node->op_type, types[i]))
            return true;
    return false;
}

/* Whether a node is a layer, or calls a function that is known to have one. */
static bool has_layer(const struct inliner *inliner, Onnx__NodeProto *const *nodes, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        const struct called_function *called = find_function(inliner, nodes[n]);
        if (is_layer_type(nodes[n]) || (called && called->has_layer))
            return true;
        for (size_t a = 0; a < nodes[n]->n_attribute; a++) {
            const Onnx__GraphProto *body = nodes[n]->attribute[a]->g;
            if (body && has_layer(inliner, body->node, body->n_node))
                return true;
        }
    }
    return false;
}

static enum ldnq_status list_functions(struct inliner *inliner, struct ldnq_error *err)
{
    const Onnx__ModelProto *proto = inliner->model->proto;
    inliner->functions =
        ldnq_arena_alloc(inliner->scratch, proto->n_functions, sizeof *inliner->functions, err);
    if (!inliner->functions)
        return LDNQ_NOMEM;
    inliner->function_count = proto->n_functions;
    for (size_t i = 0; i < proto->n_functions; i++)
        inliner->functions[i].proto = proto->functions[i];
    bool changed = true;
    for (size_t depth = 0; changed && depth < LDNQ_IMPORT_DEPTH; depth++) {
        changed = false;
        for (size_t i = 0; i < inliner->function_count; i++) {
            struct called_function *function = &inliner->functions[i];
            if (function->has_layer ||
                !has_layer(inliner, function->proto->node, function->proto->n_node))
                continue;
            function->has_layer = changed = true;
        }
    }
    return LDNQ_OK;
}

/* The nodes of the body mean the same in the graph if it imports the same opsets. */
static bool has_opsets_of_model(const struct inliner *inliner, const Onnx__FunctionProto *function)
{
    const Onnx__ModelProto *proto = inliner->model->proto;
    for (size_t i = 0; i < function->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *wanted = function->opset_import[i];
        bool found = false;
        for (size_t k = 0; k < proto->n_opset_import; k++)
            found = found || (proto->opset_import[k]->version == wanted->version &&
                              (are_equal(proto->opset_import[k]->domain, wanted->domain) ||
                               (ldnq_is_onnx_domain(proto->opset_import[k]->domain) &&
                                ldnq_is_onnx_domain(wanted->domain))));
        if (!found)
            return false;
    }
    return true;
}

/* A body that the caller hands in has the caller's names. */
static bool has_graph_attribute(const Onnx__NodeProto *node)
{
    for (size_t a = 0; a < node->n_attribute; a++)
        if (node->attribute[a]->g)
            return true;
    return false;
}

/* The function whose body replaces the node; *out is NULL where it stays. */
static enum ldnq_status find_inlined_function(const struct inliner *inliner, Onnx__NodeProto *node,
                                              size_t depth, Onnx__FunctionProto **out,
                                              struct ldnq_error *err)
{
    const struct called_function *called = find_function(inliner, node);
    Onnx__FunctionProto *function = NULL;
    if (!called)
        LDNQ_TRY(
            ldnq_contributed_find_layers(inliner->model, inliner->scratch, node, &function, err));
    else if (called->has_layer && !has_graph_attribute(node) &&
             has_opsets_of_model(inliner, called->proto))
        function = called->proto;
    const bool fits = function && depth < LDNQ_IMPORT_DEPTH &&
                      inliner->nodes + function->n_node < MOST_NODES &&
                      node->n_input <= function->n_input && node->n_output <= function->n_output;
    *out = fits ? function : NULL;
    return LDNQ_OK;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* The name in the graph of a name in the body; a new one at its first use. */
static enum ldnq_status map_name(struct inlined_call *call, const char *name, char **out,
                                 struct ldnq_error *err)
{
    struct ldnq_name *entry;
    const char *unique;
    *out = (char *)(uintptr_t)name;
    if (!*name)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_names_insert(&call->names, name, &entry, err));
    if (!entry->pointer) {
        LDNQ_TRY(ldnq_edit_unique_name(call->inliner->model, call->prefix, name, &unique, err));
        entry->pointer = (void *)(uintptr_t)unique;
    }
    *out = entry->pointer;
    return LDNQ_OK;
}

static enum ldnq_status map_names(struct inlined_call *call, char **names, size_t count,
                                  struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(map_name(call, names[i], &names[i], err));
    return LDNQ_OK;
}

static enum ldnq_status map_value_infos(struct inlined_call *call, Onnx__ValueInfoProto **infos,
                                        size_t count, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(map_name(call, ldnq_or_empty(infos[i]->name), &infos[i]->name, err));
    return LDNQ_OK;
}

static enum ldnq_status map_node(struct inlined_call *call, Onnx__NodeProto *node,
                                 struct ldnq_error *err);

static enum ldnq_status map_graph(struct inlined_call *call, Onnx__GraphProto *graph,
                                  struct ldnq_error *err)
{
    LDNQ_TRY(map_value_infos(call, graph->input, graph->n_input, err));
    LDNQ_TRY(map_value_infos(call, graph->output, graph->n_output, err));
    LDNQ_TRY(map_value_infos(call, graph->value_info, graph->n_value_info, err));
    for (size_t i = 0; i < graph->n_initializer; i++)
        LDNQ_TRY(map_name(call, ldnq_or_empty(graph->initializer[i]->name),
                          &graph->initializer[i]->name, err));
    for (size_t n = 0; n < graph->n_node; n++)
        LDNQ_TRY(map_node(call, graph->node[n], err));
    return LDNQ_OK;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static const Onnx__AttributeProto *find_attr(const struct inlined_call *call, const char *name)
{
    for (size_t i = 0; i < call->call->n_attribute; i++)
        if (are_equal(call->call->attribute[i]->name, name))
            return call->call->attribute[i];
    for (size_t i = 0; i < call->function->n_attribute_proto; i++)
        if (are_equal(call->function->attribute_proto[i]->name, name))
            return call->function->attribute_proto[i];
    return NULL;
}

/* An attribute that refers to one of the function becomes that of the call, its default, or is left
 * out. */
static enum ldnq_status resolve_attrs(const struct inlined_call *call, Onnx__NodeProto *node,
                                      struct ldnq_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->n_attribute; i++) {
        Onnx__AttributeProto *attr = node->attribute[i];
        if (*ldnq_or_empty(attr->ref_attr_name)) {
            const Onnx__AttributeProto *from = find_attr(call, attr->ref_attr_name);
            if (!from)
                continue;
            Onnx__AttributeProto *copy =
                ldnq_arena_alloc(call->inliner->model->arena, 1, sizeof *copy, err);
            if (!copy)
                return LDNQ_NOMEM;
            *copy = *from;
            copy->name = attr->name;
            attr = copy;
        }
        node->attribute[kept++] = attr;
    }
    node->n_attribute = kept;
    return LDNQ_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static enum ldnq_status map_node(struct inlined_call *call, Onnx__NodeProto *node,
                                 struct ldnq_error *err)
{
    LDNQ_TRY(resolve_attrs(call, node, err));
    LDNQ_TRY(map_names(call, node->input, node->n_input, err));
    LDNQ_TRY(map_names(call, node->output, node->n_output, err));
    for (size_t a = 0; a < node->n_attribute; a++)
        if (node->attribute[a]->g)
            LDNQ_TRY(map_graph(call, node->attribute[a]->g, err));
    return LDNQ_OK;
}

static enum ldnq_status copy_node(const struct inlined_call *call, const Onnx__NodeProto *from,
                                  Onnx__NodeProto **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena = call->inliner->model->arena;
    const size_t size = onnx__node_proto__get_packed_size(from);
    uint8_t *bytes = ldnq_arena_alloc(call->inliner->scratch, size, 1, err);
    ProtobufCMessage *message;
    if (!bytes)
        return LDNQ_NOMEM;
    onnx__node_proto__pack(from, bytes);
    LDNQ_TRY(ldnq_wire_unpack(&onnx__node_proto__descriptor, bytes, size, arena, &message, err));
    *out = (Onnx__NodeProto *)message;
    return LDNQ_OK;
}

static enum ldnq_status name_node(const struct inlined_call *call, Onnx__NodeProto *node, size_t at,
                                  struct ldnq_error *err)
{
    const char *name = ldnq_or_empty(node->name);
    struct ldnq_arena *arena = call->inliner->model->arena;
    node->name = *name ? ldnq_arena_printf(arena, err, "%s%s", call->prefix, name)
                       : ldnq_arena_printf(arena, err, "%s%s#%zu", call->prefix,
                                           ldnq_or_empty(node->op_type), at);
    return node->name ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status append_node(struct inliner *inliner, struct node_list *list,
                                    Onnx__NodeProto *node, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(inliner->model->arena, &list->items, list->count, &list->capacity,
                               sizeof *list->items, err));
    list->items[list->count++] = node;
    return LDNQ_OK;
}

static enum ldnq_status append_inlined(struct inliner *inliner, struct node_list *list,
                                       Onnx__NodeProto *node, size_t at, size_t depth,
                                       struct ldnq_error *err);

/* Inputs of the call are those of the body; an output that is one of them already needs a copy. */
static enum ldnq_status bind_interface(struct inlined_call *call, struct node_list *list,
                                       struct ldnq_error *err)
{
    const Onnx__FunctionProto *function = call->function;
    struct inliner *inliner = call->inliner;
    struct ldnq_name *entry;
    for (size_t i = 0; i < function->n_input; i++) {
        LDNQ_TRY(ldnq_names_insert(&call->names, function->input[i], &entry, err));
        entry->pointer = i < call->call->n_input ? call->call->input[i] : (char *)(uintptr_t) "";
    }
    for (size_t o = 0; o < call->call->n_output; o++) {
        const char *output = call->call->output[o];
        if (!*output)
            continue;
        LDNQ_TRY(ldnq_names_insert(&call->names, function->output[o], &entry, err));
        if (!entry->pointer) {
            entry->pointer = (char *)(uintptr_t)output;
            continue;
        }
        const char *input = entry->pointer;
        Onnx__NodeProto *copy = ldnq_arena_alloc(inliner->model->arena, 1, sizeof *copy, err);
        if (!copy)
            return LDNQ_NOMEM;
        onnx__node_proto__init(copy);
        copy->op_type = ldnq_arena_strdup(inliner->model->arena, "Identity", err);
        copy->input = ldnq_arena_alloc(inliner->model->arena, 1, sizeof *copy->input, err);
        copy->output = ldnq_arena_alloc(inliner->model->arena, 1, sizeof *copy->output, err);
        if (!copy->op_type || !copy->input || !copy->output)
            return LDNQ_NOMEM;
        copy->n_input = copy->n_output = 1;
        copy->input[0] = (char *)(uintptr_t)input;
        copy->output[0] = (char *)(uintptr_t)output;
        LDNQ_TRY(append_node(inliner, list, copy, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status append_body(struct inlined_call *call, struct node_list *list, size_t depth,
                                    struct ldnq_error *err)
{
    const Onnx__FunctionProto *function = call->function;
    LDNQ_TRY(bind_interface(call, list, err));
    for (size_t n = 0; n < function->n_node; n++) {
        Onnx__NodeProto *node;
        LDNQ_TRY(copy_node(call, function->node[n], &node, err));
        LDNQ_TRY(name_node(call, node, n, err));
        LDNQ_TRY(map_node(call, node, err));
        LDNQ_TRY(append_inlined(call->inliner, list, node, n, depth + 1, err));
    }
    return LDNQ_OK;
}

/* Appends the node, or the body of the function that it calls. */
static enum ldnq_status append_inlined(struct inliner *inliner, struct node_list *list,
                                       Onnx__NodeProto *node, size_t at, size_t depth,
                                       struct ldnq_error *err)
{
    Onnx__FunctionProto *function;
    LDNQ_TRY(find_inlined_function(inliner, node, depth, &function, err));
    if (!function)
        return append_node(inliner, list, node, err);
    struct inlined_call call = { .inliner = inliner, .call = node, .function = function };
    ldnq_names_init(&call.names, inliner->scratch);
    call.prefix = ldnq_import_make_prefix(inliner->scratch, ldnq_or_empty(node->name),
                                          ldnq_or_empty(node->op_type), at, err);
    if (!call.prefix)
        return LDNQ_NOMEM;
    inliner->nodes += function->n_node;
    inliner->changed = true;
    return append_body(&call, list, depth, err);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static enum ldnq_status inline_in_graph(struct inliner *inliner, Onnx__GraphProto *graph,
                                        struct ldnq_error *err)
{
    struct node_list list = { .count = 0 };
    const bool changed_before = inliner->changed;
    inliner->changed = false;
    for (size_t n = 0; n < graph->n_node; n++)
        LDNQ_TRY(append_inlined(inliner, &list, graph->node[n], n, 0, err));
    if (inliner->changed) {
        graph->node = list.items;
        graph->n_node = list.count;
        if (graph == inliner->model->proto->graph)
            inliner->model->node_capacity = list.capacity;
    }
    inliner->changed = inliner->changed || changed_before;
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t a = 0; a < graph->node[n]->n_attribute; a++)
            if (graph->node[n]->attribute[a]->g)
                LDNQ_TRY(inline_in_graph(inliner, graph->node[n]->attribute[a]->g, err));
    return LDNQ_OK;
}

static void mark_called(const struct inliner *inliner, Onnx__NodeProto *const *nodes, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        struct called_function *called = find_function(inliner, nodes[n]);
        if (called)
            called->is_reachable = true;
        for (size_t a = 0; a < nodes[n]->n_attribute; a++) {
            const Onnx__GraphProto *body = nodes[n]->attribute[a]->g;
            if (body)
                mark_called(inliner, body->node, body->n_node);
        }
    }
}

static struct called_function *find_unvisited_function(const struct inliner *inliner)
{
    for (size_t i = 0; i < inliner->function_count; i++)
        if (inliner->functions[i].is_reachable && !inliner->functions[i].is_visited)
            return &inliner->functions[i];
    return NULL;
}

/* Functions with layers that nothing calls any more. */
static void remove_functions(const struct inliner *inliner)
{
    Onnx__ModelProto *proto = inliner->model->proto;
    size_t kept = 0;
    mark_called(inliner, proto->graph->node, proto->graph->n_node);
    for (struct called_function *called; (called = find_unvisited_function(inliner));) {
        called->is_visited = true;
        mark_called(inliner, called->proto->node, called->proto->n_node);
    }
    for (size_t i = 0; i < inliner->function_count; i++)
        if (inliner->functions[i].is_reachable || !inliner->functions[i].has_layer)
            proto->functions[kept++] = inliner->functions[i].proto;
    proto->n_functions = kept;
}

enum ldnq_status ldnq_model_inline_functions(struct ldnq_model *model, struct ldnq_error *err)
{
    struct inliner inliner = { .model = model };
    if (model->proto->n_functions > MOST_FUNCTIONS || !model->proto->graph)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&inliner.scratch, err));
    enum ldnq_status status = list_functions(&inliner, err);
    if (status == LDNQ_OK)
        status = inline_in_graph(&inliner, model->proto->graph, err);
    if (status == LDNQ_OK && inliner.changed)
        remove_functions(&inliner);
    ldnq_arena_destroy(inliner.scratch);
    return status;
}

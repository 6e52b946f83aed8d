/* SPDX-License-Identifier: Apache-2.0 */
/* import_subgraph.c: the bodies of If, Loop and Scan, as graphs of their own.
 *
 * A value that a body reads from an outer graph becomes a captured value of the body.
 * Subgraphs of other operators are not imported; they stay in the model.
 */
#include <string.h>

#include "onnx/import.h"

static bool has_known_bodies(const struct ldnq_node *node)
{
    static const char *const types[] = { "If", "Loop", "Scan" };
    for (size_t i = 0; !*node->domain && i < sizeof types / sizeof *types; i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

static enum ldnq_status import_subgraph_body(struct ldnq_import *import, struct ldnq_node *node,
                                             const struct ldnq_attr_source *source,
                                             struct ldnq_graph **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->graph->arena;
    struct ldnq_import body = {
        .all = import->all,
        .outer = import,
        .proto = source->proto->g,
        .call = import->call,
        .opsets = import->opsets,
        .opset_count = import->opset_count,
        .depth = import->depth + 1,
    };
    if (body.depth > LDNQ_IMPORT_DEPTH)
        return ldnq_import_fail(import, node, LDNQ_UNSUPPORTED, err,
                                "calls and subgraphs are nested more than %d deep",
                                LDNQ_IMPORT_DEPTH);
    ldnq_names_init(&body.values, import->all->scratch);
    const char *prefix =
        ldnq_import_make_prefix(arena, node->name, node->op_type, node->index, err);
    body.prefix = prefix ? ldnq_arena_printf(arena, err, "%s%s/", prefix, source->name) : NULL;
    body.within = ldnq_arena_printf(arena, err, "the %s of %s '%s'", source->name, node->op_type,
                                    *node->name ? node->name : ldnq_or_empty(body.proto->name));
    if (!body.prefix || !body.within)
        return LDNQ_NOMEM;
    LDNQ_TRY(
        ldnq_graph_create(arena, ldnq_or_empty(body.proto->name), import->graph->file, out, err));
    (*out)->outer = import->graph;
    body.graph = *out;
    return ldnq_import_graph(&body, err);
}

/* Appends the values that the bodies capture to the node's inputs, so that the node
 * reads them. */
static enum ldnq_status append_captures(struct ldnq_import *import, struct ldnq_node *node,
                                        struct ldnq_error *err)
{
    size_t count = node->input_count + node->capture_count;
    struct ldnq_value **inputs = ldnq_arena_alloc(import->graph->arena, count, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    if (node->input_count)
        memcpy(inputs, node->inputs, node->input_count * sizeof *inputs);
    if (node->capture_count)
        memcpy(inputs + node->input_count, node->captures, node->capture_count * sizeof *inputs);
    node->inputs = inputs;
    node->input_count = count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_import_subgraphs(struct ldnq_import *import,
                                       const struct ldnq_import_pending *use,
                                       struct ldnq_error *err)
{
    struct ldnq_node *node = use->node;
    if (!has_known_bodies(node))
        return LDNQ_OK;
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct ldnq_attr_source *source = &use->attrs[i];
        struct ldnq_attr *attr = (struct ldnq_attr *)(uintptr_t)&node->attrs[i];
        if (ldnq_attr_type(source->proto) != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH ||
            !source->proto->g)
            continue;
        if (source->is_handed_in)
            return ldnq_import_fail(import, node, LDNQ_UNSUPPORTED, err,
                                    "its %s is handed in by the caller of a function",
                                    source->name);
        LDNQ_TRY(import_subgraph_body(import, node, source, &attr->g, err));
        attr->kind = LDNQ_ATTR_GRAPH;
    }
    return append_captures(import, node, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/growing_list.h"

enum ldnq_status ldnq_graph_create(struct ldnq_arena *arena, const char *name, const char *file,
                                   struct ldnq_graph **out, struct ldnq_error *err)
{
    struct ldnq_graph *graph = ldnq_arena_alloc(arena, 1, sizeof *graph, err);
    *out = graph;
    if (!graph)
        return LDNQ_NOMEM;
    graph->arena = arena;
    graph->name = ldnq_arena_strdup(arena, name, err);
    graph->file = ldnq_arena_strdup(arena, file, err);
    return graph->name && graph->file ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_graph_add_value(struct ldnq_graph *graph, const char *name,
                                      struct ldnq_value **out, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(graph->arena, &graph->values, graph->value_count,
                               &graph->value_capacity, sizeof *graph->values, err));
    struct ldnq_value *value = ldnq_arena_alloc(graph->arena, 1, sizeof *value, err);
    if (!value)
        return LDNQ_NOMEM;
    value->name = *name ? ldnq_arena_strdup(graph->arena, name, err)
                        : ldnq_arena_printf(graph->arena, err, "#value%zu", graph->value_count);
    if (!value->name)
        return LDNQ_NOMEM;
    value->index = graph->value_count;
    value->shape.rank = LDNQ_RANK_UNKNOWN;
    graph->values[graph->value_count++] = value;
    *out = value;
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_add_constant(struct ldnq_graph *graph, const char *name,
                                         const struct ldnq_tensor *tensor, struct ldnq_value **out,
                                         struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_graph_add_value(graph, name, out, err));
    (*out)->dtype = tensor->dtype;
    (*out)->shape = tensor->shape;
    (*out)->constant = tensor;
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_find_or_add_symbol(struct ldnq_graph *graph, const char *name,
                                               int64_t *symbol, struct ldnq_error *err)
{
    while (graph->outer)
        graph = graph->outer;
    for (size_t i = 0; name && i < graph->symbol_count; i++) {
        if (graph->symbols[i] && strcmp(graph->symbols[i], name) == 0) {
            *symbol = LDNQ_SYMBOL_BASE + (int64_t)i;
            return LDNQ_OK;
        }
    }
    LDNQ_TRY(ldnq_list_reserve(graph->arena, &graph->symbols, graph->symbol_count,
                               &graph->symbol_capacity, sizeof *graph->symbols, err));
    const char *copy = NULL;
    if (name && !(copy = ldnq_arena_strdup(graph->arena, name, err)))
        return LDNQ_NOMEM;
    *symbol = LDNQ_SYMBOL_BASE + (int64_t)graph->symbol_count;
    graph->symbols[graph->symbol_count++] = copy;
    return LDNQ_OK;
}

const char *ldnq_graph_symbol_name(const struct ldnq_graph *graph, int64_t symbol)
{
    while (graph->outer)
        graph = graph->outer;
    /* A dimension of the file may be any number, for which the subtraction could overflow. */
    size_t index = ldnq_is_symbol(symbol) ? (size_t)(symbol - LDNQ_SYMBOL_BASE) : SIZE_MAX;
    return index < graph->symbol_count ? graph->symbols[index] : NULL;
}

struct ldnq_value *ldnq_graph_find_value(const struct ldnq_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->value_count; i++)
        if (strcmp(graph->values[i]->name, name) == 0)
            return graph->values[i];
    return NULL;
}

struct ldnq_node *ldnq_graph_find_node(const struct ldnq_graph *graph, const char *label)
{
    struct ldnq_node *by_name = NULL;
    size_t matches = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (strcmp(node->label, label) == 0)
            return node;
        if (strcmp(node->name, label) == 0) {
            by_name = node;
            matches++;
        }
    }
    return matches == 1 ? by_name : NULL;
}

enum ldnq_status ldnq_graph_add_capture(struct ldnq_graph *graph, const char *name,
                                        struct ldnq_value *outer, struct ldnq_value **inner,
                                        struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(graph->arena, &graph->captures, graph->capture_count,
                               &graph->capture_capacity, sizeof *graph->captures, err));
    LDNQ_TRY(ldnq_graph_add_value(graph, name, inner, err));
    ldnq_value_copy_facts(*inner, outer);
    graph->captures[graph->capture_count++] = (struct ldnq_capture){ outer, *inner };
    return LDNQ_OK;
}

enum ldnq_status ldnq_graph_adopt_value(struct ldnq_graph *graph, struct ldnq_value *value,
                                        struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(graph->arena, &graph->values, graph->value_count,
                               &graph->value_capacity, sizeof *graph->values, err));
    value->index = graph->value_count;
    graph->values[graph->value_count++] = value;
    return LDNQ_OK;
}

void ldnq_value_copy_facts(struct ldnq_value *value, const struct ldnq_value *from)
{
    value->dtype = from->dtype;
    value->shape = from->shape;
    value->constant = from->constant;
    value->partial = from->partial;
    value->folded_from = from->folded_from;
    value->from_codes = from->from_codes;
    value->half = from->half;
    value->is_no_tensor = from->is_no_tensor;
}

const struct ldnq_attr *ldnq_node_find_attr(const struct ldnq_node *node, const char *name)
{
    for (size_t i = 0; i < node->attr_count; i++)
        if (strcmp(node->attrs[i].name, name) == 0)
            return &node->attrs[i];
    return NULL;
}

enum ldnq_status ldnq_node_fail(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                enum ldnq_status status, struct ldnq_error *err, const char *format,
                                ...)
{
    char reason[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    const char *dot = *node->domain ? "." : "";
    return ldnq_fail(err, status, "%s: node '%s' (%s%s%s, opset %d): %s", graph->file, node->label,
                     node->domain, dot, node->op_type, node->opset, reason);
}

const char *ldnq_graph_strip_file(const struct ldnq_graph *graph, const char *message)
{
    return ldnq_message_strip(message, graph->file);
}

bool ldnq_is_file_node(const struct ldnq_node *node, const char *op_type)
{
    return node && node->origin && *node->domain == '\0' && strcmp(node->op_type, op_type) == 0;
}

bool ldnq_node_has_inputs(const struct ldnq_node *node, size_t count)
{
    size_t there = 0;
    while (there < node->input_count && there < count && node->inputs[there])
        there++;
    return there == count;
}

bool ldnq_node_reads(const struct ldnq_node *node, const struct ldnq_value *value)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == value)
            return true;
    for (size_t i = 0; i < node->capture_count; i++)
        if (node->captures[i] == value)
            return true;
    return false;
}

size_t ldnq_find_product_of_lookup(const struct ldnq_graph *graph, size_t node_index)
{
    const struct ldnq_value *value = graph->nodes[node_index]->outputs[0];
    for (size_t n = node_index + 1; n < graph->node_count; n++)
        if (ldnq_node_reads(graph->nodes[n], value))
            return n;
    return node_index;
}

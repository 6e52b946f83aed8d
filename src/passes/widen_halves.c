/* SPDX-License-Identifier: Apache-2.0 */
/* widen_halves.c: compute in float32 what a file has in float16 or bfloat16.
 *
 * Runtimes without kernels for halves do the same (ONNX Runtime on a CPU), and gradients, integer
 * kernels and the folding of normalizations exist for float32 alone. */
#include "passes/passes.h"

#include <string.h>

#include "base/mapping.h"
#include "ir/half.h"

static bool is_half(enum ldnq_dtype dtype)
{
    return dtype == LDNQ_FLOAT16 || dtype == LDNQ_BFLOAT16;
}

/* ---- constants ------------------------------------------------------------------------------ */

static enum ldnq_status widen_tensor(struct ldnq_arena *arena, const struct ldnq_tensor **tensor,
                                     struct ldnq_error *err)
{
    const struct ldnq_tensor *half = *tensor;
    const size_t count = ldnq_tensor_count(half);
    struct ldnq_tensor *wide;
    if (!is_half(half->dtype))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &half->shape, &wide, err));
    (half->dtype == LDNQ_FLOAT16 ? ldnq_halves_to_floats
                                 : ldnq_bfloats_to_floats)(half->data, wide->data, count);
    ldnq_mapping_release_pages(half->data, count * sizeof(uint16_t));
    ldnq_mapping_release_pages(wide->data, count * sizeof(float));
    *tensor = wide;
    return LDNQ_OK;
}

static enum ldnq_status widen_value(struct ldnq_arena *arena, struct ldnq_value *value,
                                    struct ldnq_error *err)
{
    if (!is_half(value->dtype))
        return LDNQ_OK;
    value->half = value->dtype;
    value->dtype = LDNQ_FLOAT;
    return value->constant ? widen_tensor(arena, &value->constant, err) : LDNQ_OK;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static bool names_a_dtype(const struct ldnq_attr *attr)
{
    static const char *const names[] = { "to", "dtype", "output_dtype", "output_datatype" };
    for (size_t i = 0; attr->kind == LDNQ_ATTR_INT && i < sizeof names / sizeof *names; i++)
        if (strcmp(attr->name, names[i]) == 0)
            return true;
    return false;
}

static bool attr_has_half(const struct ldnq_attr *attr)
{
    return (names_a_dtype(attr) && is_half((enum ldnq_dtype)attr->i)) ||
           (attr->kind == LDNQ_ATTR_TENSOR && attr->t && is_half(attr->t->dtype));
}

/* Nodes of a type of their own (Cast, ConstantOfShape) make float32. */
static enum ldnq_status widen_attrs(const struct ldnq_graph *graph, struct ldnq_node *node,
                                    struct ldnq_error *err)
{
    bool has_half = false;
    for (size_t i = 0; i < node->attr_count; i++)
        has_half = has_half || attr_has_half(&node->attrs[i]);
    if (!has_half)
        return LDNQ_OK;
    struct ldnq_attr *attrs = ldnq_arena_alloc(graph->arena, node->attr_count, sizeof *attrs, err);
    if (!attrs)
        return LDNQ_NOMEM;
    memcpy(attrs, node->attrs, node->attr_count * sizeof *attrs);
    for (size_t i = 0; i < node->attr_count; i++) {
        if (!attr_has_half(&attrs[i]))
            continue;
        if (node->output_count && node->outputs[0])
            node->outputs[0]->half =
                attrs[i].kind == LDNQ_ATTR_TENSOR ? attrs[i].t->dtype : (enum ldnq_dtype)attrs[i].i;
        if (attrs[i].kind == LDNQ_ATTR_TENSOR)
            LDNQ_TRY(widen_tensor(graph->arena, &attrs[i].t, err));
        else
            attrs[i].i = LDNQ_FLOAT;
    }
    node->attrs = attrs;
    return LDNQ_OK;
}

/* ---- inputs --------------------------------------------------------------------------------- */

/* `input` keeps its index and type; a new value, which a Cast computes, replaces it for all its
 * readers. */
static enum ldnq_status make_input_cast(struct ldnq_graph *graph, struct ldnq_value *input,
                                        struct ldnq_node **out, struct ldnq_error *err)
{
    struct ldnq_node *node = ldnq_arena_alloc(graph->arena, 1, sizeof *node, err);
    struct ldnq_value **ends = ldnq_arena_alloc(graph->arena, 2, sizeof *ends, err);
    struct ldnq_attr *to = ldnq_arena_alloc(graph->arena, 1, sizeof *to, err);
    if (!node || !ends || !to)
        return LDNQ_NOMEM;
    *to = (struct ldnq_attr){ .name = "to", .kind = LDNQ_ATTR_INT, .i = LDNQ_FLOAT };
    ends[0] = input;
    LDNQ_TRY(ldnq_graph_add_value(graph, "", &ends[1], err));
    *node = (struct ldnq_node){
        .name = "",
        .label = ldnq_arena_printf(graph->arena, err, "%s/float32", input->name),
        .op_type = "Cast",
        .domain = "",
        .opset = LDNQ_OPSET_FIRST,
        .within = "the type of an input",
        .is_added = true,
        .input_count = 1,
        .output_count = 1,
        .inputs = &ends[0],
        .outputs = &ends[1],
        .attr_count = 1,
        .attrs = to,
    };
    if (!node->label)
        return LDNQ_NOMEM;
    ends[1]->dtype = LDNQ_FLOAT;
    ends[1]->half = input->dtype;
    ends[1]->shape = input->shape;
    ends[1]->producer = node;
    *out = node;
    return LDNQ_OK;
}

static void replace_reads_of_value(struct ldnq_graph *graph, const struct ldnq_value *from,
                                   struct ldnq_value *to)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        for (size_t k = 0; k < node->input_count; k++)
            node->inputs[k] = node->inputs[k] == from ? to : node->inputs[k];
        for (size_t k = 0; k < node->capture_count; k++)
            node->captures[k] = node->captures[k] == from ? to : node->captures[k];
        for (size_t k = 0; k < node->attr_count; k++) {
            struct ldnq_graph *body =
                node->attrs[k].kind == LDNQ_ATTR_GRAPH ? node->attrs[k].g : NULL;
            for (size_t c = 0; body && c < body->capture_count; c++)
                if (body->captures[c].outer == from)
                    body->captures[c].outer = to;
        }
    }
    for (size_t i = 0; i < graph->output_count; i++)
        if (graph->outputs[i] == from) {
            graph->outputs[i]->is_output = false;
            graph->outputs[i] = to;
            to->is_output = true;
        }
}

static enum ldnq_status cast_inputs(struct ldnq_graph *graph, struct ldnq_error *err)
{
    size_t casts = 0;
    struct ldnq_node **nodes =
        ldnq_arena_alloc(graph->arena, graph->input_count + graph->node_count, sizeof *nodes, err);
    if (!nodes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->input_count; i++) {
        if (!is_half(graph->inputs[i]->dtype))
            continue;
        LDNQ_TRY(make_input_cast(graph, graph->inputs[i], &nodes[casts], err));
        replace_reads_of_value(graph, graph->inputs[i], nodes[casts++]->outputs[0]);
    }
    memcpy(nodes + casts, graph->nodes, graph->node_count * sizeof *nodes);
    graph->nodes = nodes;
    graph->node_count += casts;
    return LDNQ_OK;
}

/* ---- graphs --------------------------------------------------------------------------------- */

static bool has_halves(const struct ldnq_graph *graph)
{
    for (size_t i = 0; i < graph->value_count; i++)
        if (is_half(graph->values[i]->dtype))
            return true;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i]->attr_count; k++) {
            const struct ldnq_attr *attr = &graph->nodes[i]->attrs[k];
            if (attr_has_half(attr) || (attr->kind == LDNQ_ATTR_GRAPH && has_halves(attr->g)))
                return true;
        }
    return false;
}

static enum ldnq_status widen_graph(struct ldnq_graph *graph, struct ldnq_error *err)
{
    if (!graph->outer)
        LDNQ_TRY(cast_inputs(graph, err));
    for (size_t i = 0; i < graph->value_count; i++)
        if (graph->outer || !graph->values[i]->is_input)
            LDNQ_TRY(widen_value(graph->arena, graph->values[i], err));
    for (size_t i = 0; i < graph->node_count; i++) {
        LDNQ_TRY(widen_attrs(graph, graph->nodes[i], err));
        for (size_t k = 0; k < graph->nodes[i]->attr_count; k++)
            if (graph->nodes[i]->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(widen_graph(graph->nodes[i]->attrs[k].g, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_pass_widen_halves(struct ldnq_graph *graph, struct ldnq_error *err)
{
    return has_halves(graph) ? widen_graph(graph, err) : LDNQ_OK;
}

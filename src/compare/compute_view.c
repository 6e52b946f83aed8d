/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/compute_view.h"

#include <string.h>

#include "base/growing_list.h"
#include "compare/table_form.h"
#include "passes/passes.h"

/* ---- Q/DQ nodes ---------------------------------------------------------------------- */

static bool is_node_of_type(const struct ldnq_node *node, const char *type)
{
    return *node->domain == '\0' && strcmp(node->op_type, type) == 0;
}

/* NULL also where the node has no inputs, as a file may write it. */
static const struct ldnq_value *find_first_input(const struct ldnq_node *node)
{
    return ldnq_node_has_inputs(node, 1) ? node->inputs[0] : NULL;
}

/* Exporters clip codes whose range is narrower than their type's. */
static bool is_clip_of_codes(const struct ldnq_node *node)
{
    const struct ldnq_value *x = find_first_input(node);
    return is_node_of_type(node, "Clip") && x && x->producer &&
           is_node_of_type(x->producer, "QuantizeLinear");
}

/* Dropout computes nothing in a network that is not trained. */
static bool is_copy(const struct ldnq_node *node)
{
    return is_node_of_type(node, "Identity") || is_node_of_type(node, "Dropout");
}

static bool is_qdq_node(const struct ldnq_node *node)
{
    return is_node_of_type(node, "QuantizeLinear") || is_node_of_type(node, "DequantizeLinear") ||
           is_copy(node) || is_clip_of_codes(node);
}

/* Whether the node is there because of quantization: a copy is, where it copies codes. */
static bool belongs_to_quantization(const struct ldnq_node *node)
{
    if (!is_copy(node))
        return is_qdq_node(node);
    const struct ldnq_value *value = find_first_input(node);
    while (value && value->producer && is_copy(value->producer))
        value = find_first_input(value->producer);
    if (!value || !value->producer)
        return value && (value->dtype == LDNQ_INT8 || value->dtype == LDNQ_UINT8 ||
                         value->dtype == LDNQ_INT4 || value->dtype == LDNQ_UINT4 ||
                         value->dtype == LDNQ_INT2 || value->dtype == LDNQ_UINT2 ||
                         value->dtype == LDNQ_INT16 || value->dtype == LDNQ_UINT16);
    return is_node_of_type(value->producer, "QuantizeLinear") || is_clip_of_codes(value->producer);
}

/* Folding has replaced the nodes upstream of a constant. They are followed along their first
 * inputs, which is the one that a Transpose or Reshape moves. */
static const struct ldnq_node *find_folded_dequantize(const struct ldnq_value *constant)
{
    const struct ldnq_node *node = constant->from_codes ? constant->folded_from : NULL;
    while (node && !is_node_of_type(node, "DequantizeLinear"))
        node = find_first_input(node) ? node->inputs[0]->folded_from : NULL;
    return node;
}

struct ldnq_compute_source ldnq_compute_view_trace_source(const struct ldnq_value *value)
{
    struct ldnq_compute_source source = { .value = value, .producer = LDNQ_NO_NODE };
    while (source.value && !source.value->constant && source.value->producer &&
           (is_qdq_node(source.value->producer) || source.value->producer->is_added) &&
           find_first_input(source.value->producer)) {
        const struct ldnq_node *node = source.value->producer;
        if (!source.dequantize && is_node_of_type(node, "DequantizeLinear"))
            source.dequantize = node;
        source.value = node->inputs[0];
    }
    if (source.value && source.value->constant && !source.dequantize)
        source.dequantize = find_folded_dequantize(source.value);
    return source;
}

/* ---- kinds --------------------------------------------------------------------------- */

/* Operators that float, fused and integer files use for the same computation. */
static const char *const kinds[][2] = {
    { "Gemm", "MatMul" },        { "QLinearMatMul", "MatMul" }, { "MatMulInteger", "MatMul" },
    { "FusedMatMul", "MatMul" }, { "FusedGemm", "MatMul" },     { "QLinearConv", "Conv" },
    { "ConvInteger", "Conv" },   { "FusedConv", "Conv" },       { "QLinearAdd", "Add" },
    { "QLinearMul", "Mul" },     { "QLinearConcat", "Concat" }, { "Upsample", "Resize" },
};

static const char *find_operator_kind(const struct ldnq_node *node)
{
    const bool is_known = *node->domain == '\0' || strcmp(node->domain, "com.microsoft") == 0;
    for (size_t i = 0; is_known && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(node->op_type, kinds[i][0]) == 0)
            return kinds[i][1];
    return node->op_type;
}

/* ---- the view ------------------------------------------------------------------------ */

static enum ldnq_status list_file_nodes(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    const size_t most = view->graph->node_count;
    view->file_nodes = ldnq_arena_alloc(arena, most, sizeof *view->file_nodes, err);
    if (!view->file_nodes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < most; i++) {
        struct ldnq_node *node = view->graph->nodes[i];
        if (node->is_added)
            continue;
        view->file_nodes[view->file_node_count++] = node;
        /* What a function has in place of an operator is not in the file. */
        const bool is_in_file = !node->within || node->body_origin;
        view->qdq_node_count += is_in_file && belongs_to_quantization(node);
    }
    return LDNQ_OK;
}

/* Folding removes them from their bodies. */
static enum ldnq_status list_dequantize_nodes_of_bodies(struct ldnq_compute_view *view,
                                                        const struct ldnq_graph *graph,
                                                        size_t *capacity, struct ldnq_arena *arena,
                                                        struct ldnq_error *err)
{
    for (size_t n = 0; n < graph->node_count; n++) {
        struct ldnq_node *node = graph->nodes[n];
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(
                    list_dequantize_nodes_of_bodies(view, node->attrs[k].g, capacity, arena, err));
        if (!graph->outer || !is_node_of_type(node, "DequantizeLinear") || !node->input_count)
            continue;
        LDNQ_TRY(ldnq_list_reserve(arena, &view->body_dequantize, view->body_dequantize_count,
                                   capacity, sizeof *view->body_dequantize, err));
        view->body_dequantize[view->body_dequantize_count++] = node;
    }
    return LDNQ_OK;
}

static enum ldnq_status append_node(struct ldnq_compute_view *view, struct ldnq_node *node,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_compute_node *item = &view->nodes[view->count++];
    *item = (struct ldnq_compute_node){ .node = node,
                                        .kind = find_operator_kind(node),
                                        .input_count = node->input_count,
                                        .output_count = node->output_count };
    item->inputs = ldnq_arena_alloc(arena, node->input_count, sizeof *item->inputs, err);
    item->outputs = ldnq_arena_alloc(arena, node->output_count, sizeof *item->outputs, err);
    if (!item->inputs || !item->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < node->input_count; i++)
        item->inputs[i] = ldnq_compute_view_trace_source(node->inputs[i]);
    for (size_t i = 0; i < node->output_count; i++)
        item->outputs[i] = node->outputs[i];
    return LDNQ_OK;
}

/* Sets the producer of every input and output. */
static enum ldnq_status connect_producers(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                          struct ldnq_error *err)
{
    const struct ldnq_graph *graph = view->graph;
    size_t *producers = ldnq_arena_alloc(arena, graph->value_count, sizeof *producers, err);
    view->outputs = ldnq_arena_alloc(arena, graph->output_count, sizeof *view->outputs, err);
    if (!producers || !view->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->value_count; i++)
        producers[i] = LDNQ_NO_NODE;
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].output_count; i++)
            if (view->nodes[n].outputs[i])
                producers[view->nodes[n].outputs[i]->index] = n;
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++) {
            struct ldnq_compute_source *source = &view->nodes[n].inputs[i];
            if (source->value && !source->value->constant)
                source->producer = producers[source->value->index];
        }
    for (size_t i = 0; i < graph->output_count; i++) {
        struct ldnq_compute_source *source = &view->outputs[i];
        *source = ldnq_compute_view_trace_source(graph->outputs[i]);
        if (source->value && !source->value->constant)
            source->producer = producers[source->value->index];
    }
    return LDNQ_OK;
}

/* The producer of node n's input i; LDNQ_NO_NODE without one, or where n has been counted as
 * its consumer. last_consumer[p]: 1 + the node that was counted last for p. */
static size_t find_uncounted_producer(const struct ldnq_compute_view *view, size_t n, size_t i,
                                      size_t *last_consumer)
{
    const size_t producer = view->nodes[n].inputs[i].producer;
    if (producer == LDNQ_NO_NODE || last_consumer[producer] == n + 1)
        return LDNQ_NO_NODE;
    last_consumer[producer] = n + 1;
    return producer;
}

static enum ldnq_status list_consumers(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    size_t *last_consumer = ldnq_arena_alloc(arena, view->count, sizeof *last_consumer, err);
    if (!last_consumer)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++) {
            const size_t producer = find_uncounted_producer(view, n, i, last_consumer);
            if (producer != LDNQ_NO_NODE)
                view->nodes[producer].consumer_count++;
        }
    for (size_t n = 0; n < view->count; n++) {
        struct ldnq_compute_node *item = &view->nodes[n];
        item->consumers =
            ldnq_arena_alloc(arena, item->consumer_count, sizeof *item->consumers, err);
        if (!item->consumers)
            return LDNQ_NOMEM;
        item->consumer_count = 0;
        last_consumer[n] = 0;
    }
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++) {
            const size_t producer = find_uncounted_producer(view, n, i, last_consumer);
            if (producer != LDNQ_NO_NODE) {
                struct ldnq_compute_node *item = &view->nodes[producer];
                item->consumers[item->consumer_count++] = n;
            }
        }
    return LDNQ_OK;
}

size_t ldnq_compute_view_find(const struct ldnq_compute_view *view, const struct ldnq_node *node)
{
    for (size_t n = 0; n < view->count; n++)
        if (view->nodes[n].node == node)
            return n;
    return LDNQ_NO_NODE;
}

static enum ldnq_status connect_layers_to_nodes(struct ldnq_compute_view *view,
                                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_layers_list(view->graph, arena, &view->layers, &view->layer_count, err));
    for (size_t i = 0; i < view->layer_count; i++) {
        const size_t n = ldnq_compute_view_find(view, view->layers[i].node);
        if (n != LDNQ_NO_NODE && !view->nodes[n].layer)
            view->nodes[n].layer = &view->layers[i];
    }
    return LDNQ_OK;
}

static size_t count_body_layers(const struct ldnq_compute_view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->layer_count; i++)
        count += view->layers[i].body != NULL;
    return count;
}

/* The layers of bodies are nodes of the view that have neither producers nor consumers. */
static enum ldnq_status append_body_layers(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                           struct ldnq_error *err)
{
    const size_t count = view->count;
    struct ldnq_compute_node *nodes =
        ldnq_arena_alloc(arena, count + count_body_layers(view), sizeof *nodes, err);
    if (!nodes)
        return LDNQ_NOMEM;
    if (count > 0)
        memcpy(nodes, view->nodes, count * sizeof *nodes);
    view->nodes = nodes;
    for (size_t i = 0; i < view->layer_count; i++) {
        struct ldnq_layer *layer = &view->layers[i];
        if (!layer->body || ldnq_compute_view_find(view, layer->node) != LDNQ_NO_NODE)
            continue;
        LDNQ_TRY(append_node(view, layer->node, arena, err));
        view->nodes[view->count - 1].layer = layer;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_compute_view_init(struct ldnq_compute_view *view, struct ldnq_graph *graph,
                                        struct ldnq_arena *arena, const char **refusal,
                                        struct ldnq_error *err)
{
    *view = (struct ldnq_compute_view){ .graph = graph };
    *refusal = NULL;
    LDNQ_TRY(ldnq_pass_widen_halves(graph, err));
    LDNQ_TRY(ldnq_table_forms_rewrite(graph, err));
    LDNQ_TRY(list_file_nodes(view, arena, err));
    size_t capacity = 0;
    LDNQ_TRY(list_dequantize_nodes_of_bodies(view, graph, &capacity, arena, err));
    const enum ldnq_status status = ldnq_pass_bind_and_fold(graph, err);
    if (status != LDNQ_OK && status != LDNQ_UNSUPPORTED)
        return status;
    LDNQ_TRY(ldnq_pass_unfold_layers(graph, err));
    if (status == LDNQ_UNSUPPORTED && !(*refusal = ldnq_arena_strdup(arena, err->message, err)))
        return LDNQ_NOMEM;
    view->nodes = ldnq_arena_alloc(arena, graph->node_count, sizeof *view->nodes, err);
    if (!view->nodes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->node_count; i++)
        if (!is_qdq_node(graph->nodes[i]) && !graph->nodes[i]->is_added)
            LDNQ_TRY(append_node(view, graph->nodes[i], arena, err));
    LDNQ_TRY(connect_producers(view, arena, err));
    LDNQ_TRY(list_consumers(view, arena, err));
    LDNQ_TRY(connect_layers_to_nodes(view, arena, err));
    return append_body_layers(view, arena, err);
}

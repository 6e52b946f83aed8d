#include "compare/compute_view.h"

#include <string.h>

#include "passes/passes.h"

#include "ops/op.h"

/* ---- plumbing ------------------------------------------------------------------------- */

static bool is_type(const struct ldnq_node *node, const char *type)
{
    return strcmp(node->op_type, type) == 0;
}

/* Codes are clipped where their range is narrower than their type's. */
static bool clips_codes(const struct ldnq_node *node)
{
    const struct ldnq_value *x = node->input_count ? node->inputs[0] : NULL;
    return is_type(node, "Clip") && x && x->producer && is_type(x->producer, "QuantizeLinear");
}

static bool is_plumbing(const struct ldnq_node *node)
{
    return is_type(node, "QuantizeLinear") || is_type(node, "DequantizeLinear") ||
           is_type(node, "Identity") || is_type(node, "Dropout") || clips_codes(node);
}

/* A constant is followed through what it was computed from, along the first inputs: that is
 * where a Transpose or Reshape has what it moves. */
static const struct ldnq_node *dequantize_of(const struct ldnq_value *constant)
{
    const struct ldnq_node *node = constant->from_codes ? constant->folded_from : NULL;
    while (node && !is_type(node, "DequantizeLinear"))
        node = node->input_count && node->inputs[0] ? node->inputs[0]->folded_from : NULL;
    return node;
}

struct ldnq_compute_source ldnq_compute_view_trace(const struct ldnq_value *value)
{
    struct ldnq_compute_source source = { .value = value, .maker = LDNQ_NO_NODE };
    while (source.value && !source.value->constant && source.value->producer &&
           is_plumbing(source.value->producer) && source.value->producer->inputs[0]) {
        const struct ldnq_node *node = source.value->producer;
        if (!source.dequantize && is_type(node, "DequantizeLinear"))
            source.dequantize = node;
        source.value = node->inputs[0];
    }
    if (source.value && source.value->constant && !source.dequantize)
        source.dequantize = dequantize_of(source.value);
    return source;
}

/* ---- kinds ----------------------------------------------------------------------------- */

/* Operators that stand for one another in float, fused and integer files. */
static const char *const kinds[][2] = {
    { "Gemm", "MatMul" },        { "QLinearMatMul", "MatMul" }, { "MatMulInteger", "MatMul" },
    { "FusedMatMul", "MatMul" }, { "FusedGemm", "MatMul" },     { "QLinearConv", "Conv" },
    { "ConvInteger", "Conv" },   { "FusedConv", "Conv" },       { "QLinearAdd", "Add" },
    { "QLinearMul", "Mul" },     { "QLinearConcat", "Concat" }, { "Upsample", "Resize" },
};

static const char *kind_of(const struct ldnq_node *node)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (is_type(node, kinds[i][0]))
            return kinds[i][1];
    return node->op_type;
}

/* ---- the view --------------------------------------------------------------------------- */

static enum ldnq_status add_node(struct ldnq_compute_view *view, struct ldnq_node *node,
                                 struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_compute_node *item = &view->nodes[view->count++];
    *item = (struct ldnq_compute_node){ .node = node,
                                        .kind = kind_of(node),
                                        .input_count = node->input_count,
                                        .output_count = node->output_count };
    item->inputs = ldnq_arena_alloc(arena, node->input_count, sizeof *item->inputs, err);
    item->outputs = ldnq_arena_alloc(arena, node->output_count, sizeof *item->outputs, err);
    if (!item->inputs || !item->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < node->input_count; i++)
        item->inputs[i] = ldnq_compute_view_trace(node->inputs[i]);
    for (size_t i = 0; i < node->output_count; i++)
        item->outputs[i] = node->outputs[i];
    return LDNQ_OK;
}

static void resolve(struct ldnq_compute_source *source, const size_t *makers)
{
    if (source->value && !source->value->constant)
        source->maker = makers[source->value->index];
}

/* A reader is counted once, also where it reads a value twice: `last` remembers it. */
static bool reads_anew(const struct ldnq_compute_node *item, size_t i, size_t *last, size_t reader)
{
    const size_t maker = item->inputs[i].maker;
    if (maker == LDNQ_NO_NODE || last[maker] == reader + 1)
        return false;
    last[maker] = reader + 1;
    return true;
}

static enum ldnq_status list_readers(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    size_t *last = ldnq_arena_alloc(arena, view->count, sizeof *last, err);
    if (!last)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++)
            if (reads_anew(&view->nodes[n], i, last, n))
                view->nodes[view->nodes[n].inputs[i].maker].reader_count++;
    for (size_t n = 0; n < view->count; n++) {
        struct ldnq_compute_node *item = &view->nodes[n];
        item->readers = ldnq_arena_alloc(arena, item->reader_count, sizeof *item->readers, err);
        if (!item->readers)
            return LDNQ_NOMEM;
        item->reader_count = 0;
        last[n] = 0;
    }
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++)
            if (reads_anew(&view->nodes[n], i, last, n)) {
                struct ldnq_compute_node *maker = &view->nodes[view->nodes[n].inputs[i].maker];
                maker->readers[maker->reader_count++] = n;
            }
    return LDNQ_OK;
}

static enum ldnq_status wire(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                             struct ldnq_error *err)
{
    const struct ldnq_graph *graph = view->graph;
    size_t *makers = ldnq_arena_alloc(arena, graph->value_count, sizeof *makers, err);
    view->outputs = ldnq_arena_alloc(arena, graph->output_count, sizeof *view->outputs, err);
    if (!makers || !view->outputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->value_count; i++)
        makers[i] = LDNQ_NO_NODE;
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].output_count; i++)
            if (view->nodes[n].outputs[i])
                makers[view->nodes[n].outputs[i]->index] = n;
    for (size_t n = 0; n < view->count; n++)
        for (size_t i = 0; i < view->nodes[n].input_count; i++)
            resolve(&view->nodes[n].inputs[i], makers);
    for (size_t i = 0; i < graph->output_count; i++) {
        view->outputs[i] = ldnq_compute_view_trace(graph->outputs[i]);
        resolve(&view->outputs[i], makers);
    }
    return list_readers(view, arena, err);
}

size_t ldnq_compute_view_find(const struct ldnq_compute_view *view, const struct ldnq_node *node)
{
    for (size_t n = 0; n < view->count; n++)
        if (view->nodes[n].node == node)
            return n;
    return LDNQ_NO_NODE;
}

static enum ldnq_status find_layers(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    struct ldnq_layer *layers;
    size_t count;
    LDNQ_TRY(ldnq_layers_list(view->graph, arena, &layers, &count, err));
    for (size_t i = 0; i < count; i++) {
        const size_t n = ldnq_compute_view_find(view, layers[i].node);
        if (n != LDNQ_NO_NODE)
            view->nodes[n].layer = &layers[i];
    }
    return LDNQ_OK;
}

static enum ldnq_status keep_all(struct ldnq_compute_view *view, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    view->file_node_count = view->graph->node_count;
    view->all = ldnq_arena_alloc(arena, view->file_node_count, sizeof *view->all, err);
    if (!view->all)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < view->file_node_count; i++) {
        view->all[i] = view->graph->nodes[i];
        view->qdq_node_count += is_plumbing(view->all[i]);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_compute_view_init(struct ldnq_compute_view *view, struct ldnq_graph *graph,
                                        struct ldnq_arena *arena, const char **refused,
                                        struct ldnq_error *err)
{
    *view = (struct ldnq_compute_view){ .graph = graph };
    *refused = NULL;
    LDNQ_TRY(keep_all(view, arena, err));
    const enum ldnq_status status = ldnq_pass_bind_and_fold(graph, err);
    if (status != LDNQ_OK && status != LDNQ_UNSUPPORTED)
        return status;
    if (status == LDNQ_UNSUPPORTED && !(*refused = ldnq_arena_strdup(arena, err->message, err)))
        return LDNQ_NOMEM;
    view->nodes = ldnq_arena_alloc(arena, graph->node_count, sizeof *view->nodes, err);
    if (!view->nodes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->node_count; i++)
        if (!is_plumbing(graph->nodes[i]))
            LDNQ_TRY(add_node(view, graph->nodes[i], arena, err));
    LDNQ_TRY(wire(view, arena, err));
    return find_layers(view, arena, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/matched_layers.h"

#include <string.h>

#include "passes/passes.h"

#include "base/text.h"

/* ---- merging what the other graph has folded ----------------------------------------- */

static bool is_node_of_type(const struct ldnq_compute_node *item, const char *type)
{
    return strcmp(item->node->op_type, type) == 0;
}

static bool has_unpaired_node_of_type(const struct ldnq_compute_view *view, const size_t *match_of,
                                      const char *type)
{
    for (size_t n = 0; n < view->count; n++)
        if (is_node_of_type(&view->nodes[n], type) && match_of[n] == LDNQ_NO_NODE)
            return true;
    return false;
}

static enum ldnq_status fold_unpaired_nodes(const struct ldnq_compute_view *view,
                                            const size_t *match_of, struct ldnq_error *err)
{
    if (has_unpaired_node_of_type(view, match_of, "BatchNormalization"))
        LDNQ_TRY(ldnq_pass_merge_batchnorms(view->graph, err));
    if (has_unpaired_node_of_type(view, match_of, "Pad"))
        LDNQ_TRY(ldnq_pass_merge_pads(view->graph, err));
    return ldnq_pass_remove_dead_nodes(view->graph, err);
}

static bool is_merged_into_layer(const struct ldnq_node *layer, const struct ldnq_node *node)
{
    for (size_t i = 0; i < layer->merged_count; i++)
        if (layer->merged[i] == node)
            return true;
    return false;
}

/* A recurrent layer may have its last states alone. */
static const struct ldnq_value *find_first_output(const struct ldnq_node *node)
{
    size_t i = 0;
    while (i + 1 < node->output_count && !node->outputs[i])
        i++;
    return node->outputs[i];
}

/* The output of `other` to compare with `layer`, its match. A pass merges every
 * BatchNormalization it can: `layer` may have taken one in whose match is still a node of its
 * own downstream of `other`. The output to compare is then that node's. */
static const struct ldnq_value *find_output_to_compare(const struct ldnq_compute_view *view,
                                                       const struct ldnq_node *layer,
                                                       const struct ldnq_compute_view *other_view,
                                                       const size_t *match_of,
                                                       const struct ldnq_node *other)
{
    const struct ldnq_value *output = find_first_output(other);
    for (size_t i = 0; i < layer->merged_count; i++) {
        const size_t norm = ldnq_compute_view_find(view, layer->merged[i]);
        const size_t match = norm == LDNQ_NO_NODE ? LDNQ_NO_NODE : match_of[norm];
        if (match != LDNQ_NO_NODE && !is_merged_into_layer(other, other_view->nodes[match].node))
            output = other_view->nodes[match].outputs[0];
    }
    return output;
}

/* ---- nodes of A that B has folded ---------------------------------------------------- */

/* Records an unpaired Pad that its only consumer, a paired layer, has merged. */
static void record_folded_pad(struct ldnq_matched_layers *layers,
                              const struct ldnq_node_pairs *pairs, size_t n)
{
    const struct ldnq_compute_node *pad = &pairs->a->nodes[n];
    if (!is_node_of_type(pad, "Pad") || pairs->match_of_a[n] != LDNQ_NO_NODE ||
        pad->consumer_count != 1)
        return;
    const size_t consumer = pad->consumers[0];
    const struct ldnq_node *layer = pairs->a->nodes[consumer].node;
    if (pairs->match_of_a[consumer] != LDNQ_NO_NODE && layer->inputs[0] != pad->outputs[0])
        layers->folded_into[n] = consumer;
}

/* The Add that is the bias of a MatMul in A, where B has a Gemm with a bias; LDNQ_NO_NODE for
 * none. */
static size_t find_bias_add(const struct ldnq_node_pairs *pairs,
                            const struct ldnq_matched_layer *match)
{
    const struct ldnq_compute_node *a = &pairs->a->nodes[match->a];
    const struct ldnq_compute_node *b = &pairs->b->nodes[match->b];
    if (!is_node_of_type(a, "MatMul") || !is_node_of_type(b, "Gemm") || a->consumer_count != 1 ||
        b->input_count < 3 || !b->inputs[2].value)
        return LDNQ_NO_NODE;
    const size_t consumer = a->consumers[0];
    const struct ldnq_compute_node *add = &pairs->a->nodes[consumer];
    const bool has_constant = add->input_count == 2 && add->inputs[0].value &&
                              add->inputs[1].value &&
                              (add->inputs[0].value->constant || add->inputs[1].value->constant);
    const bool is_bias =
        is_node_of_type(add, "Add") && has_constant && pairs->match_of_a[consumer] == LDNQ_NO_NODE;
    return is_bias ? consumer : LDNQ_NO_NODE;
}

/* Records the nodes of A that B has folded into the layer, and lists their labels. */
static enum ldnq_status record_folded_nodes(struct ldnq_matched_layers *layers,
                                            struct ldnq_matched_layer *match,
                                            const struct ldnq_node_pairs *pairs,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_node *node = pairs->a->nodes[match->a].node;
    char list[512] = "";
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < node->merged_count; i++) {
        const size_t norm = ldnq_compute_view_find(pairs->a, node->merged[i]);
        if (norm == LDNQ_NO_NODE || pairs->match_of_a[norm] != LDNQ_NO_NODE)
            continue;
        layers->folded_into[norm] = match->a;
        ldnq_text_append_item(&text, ", ", "%s", node->merged[i]->label);
    }
    const size_t add = find_bias_add(pairs, match);
    if (add != LDNQ_NO_NODE) {
        layers->folded_into[add] = match->a;
        match->output_a = pairs->a->nodes[add].outputs[0];
        ldnq_text_append_item(&text, ", ", "%s", pairs->a->nodes[add].node->label);
    }
    ldnq_text_append_omitted_count(&text);
    if (!text.items)
        return LDNQ_OK;
    match->folded = ldnq_arena_strdup(arena, list, err);
    return match->folded ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- all layers ---------------------------------------------------------------------- */

/* The layers of a graph after the merges. */
struct merged_layers {
    struct ldnq_layer *items;
    size_t count;
};

/* The layer of the node with its weight in this input, or else the node's first. */
static const struct ldnq_layer *find_layer(const struct ldnq_layer *layers, size_t count,
                                           const struct ldnq_node *node, size_t weight_input)
{
    const struct ldnq_layer *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (layers[i].node == node && (!found || layers[i].weight_input == weight_input))
            found = &layers[i];
    return found;
}

/* Appends the layer `own` of node n of A. */
static enum ldnq_status append_layer(struct ldnq_matched_layers *layers, size_t n,
                                     const struct ldnq_layer *own,
                                     const struct ldnq_node_pairs *pairs,
                                     const struct merged_layers merged[2], struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    struct ldnq_matched_layer *match = &layers->items[layers->count++];
    const struct ldnq_compute_node *a = &pairs->a->nodes[n];
    *match = (struct ldnq_matched_layer){
        .a = n,
        .b = pairs->match_of_a[n],
        .own_layer_a = own,
        .layer_a = find_layer(merged[0].items, merged[0].count, a->node, own->weight_input),
    };
    if (match->b == LDNQ_NO_NODE)
        return LDNQ_OK;
    const struct ldnq_compute_node *b = &pairs->b->nodes[match->b];
    match->layer_b = find_layer(merged[1].items, merged[1].count, b->node, own->weight_input);
    match->output_a =
        find_output_to_compare(pairs->b, b->node, pairs->a, pairs->match_of_b, a->node);
    match->output_b =
        find_output_to_compare(pairs->a, a->node, pairs->b, pairs->match_of_a, b->node);
    /* A BatchNormalization was merged into only one of the two layers, and is a node in the other
     * graph still: compare the weights as the files have them. */
    if (match->output_a != find_first_output(a->node) ||
        match->output_b != find_first_output(b->node)) {
        match->layer_a = own;
        match->layer_b =
            find_layer(pairs->b->layers, pairs->b->layer_count, b->node, own->weight_input);
    }
    return record_folded_nodes(layers, match, pairs, arena, err);
}

enum ldnq_status ldnq_matched_layers_find(struct ldnq_matched_layers *layers,
                                          const struct ldnq_node_pairs *pairs,
                                          struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_compute_view *a = pairs->a, *b = pairs->b;
    struct merged_layers merged[2];
    *layers = (struct ldnq_matched_layers){ .count = 0 };
    layers->items = ldnq_arena_alloc(arena, a->layer_count, sizeof *layers->items, err);
    layers->folded_into = ldnq_arena_alloc(arena, a->count, sizeof *layers->folded_into, err);
    if (!layers->items || !layers->folded_into)
        return LDNQ_NOMEM;
    LDNQ_TRY(fold_unpaired_nodes(a, pairs->match_of_a, err));
    LDNQ_TRY(fold_unpaired_nodes(b, pairs->match_of_b, err));
    LDNQ_TRY(ldnq_layers_list(a->graph, arena, &merged[0].items, &merged[0].count, err));
    LDNQ_TRY(ldnq_layers_list(b->graph, arena, &merged[1].items, &merged[1].count, err));
    for (size_t n = 0; n < a->count; n++)
        layers->folded_into[n] = LDNQ_NO_NODE;
    for (size_t n = 0; n < a->count; n++)
        record_folded_pad(layers, pairs, n);
    for (size_t i = 0; i < a->layer_count; i++) {
        const size_t n = ldnq_compute_view_find(a, a->layers[i].node);
        if (n != LDNQ_NO_NODE)
            LDNQ_TRY(append_layer(layers, n, &a->layers[i], pairs, merged, arena, err));
    }
    return LDNQ_OK;
}

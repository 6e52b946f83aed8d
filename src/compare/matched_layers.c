#include "compare/matched_layers.h"

#include <string.h>

#include "passes/passes.h"

#include "base/text.h"

/* ---- what passes merge ----------------------------------------------------------------------- */

static bool has_lone(const struct ldnq_compute_view *view, const size_t *partners, const char *type)
{
    for (size_t n = 0; n < view->count; n++)
        if (strcmp(view->nodes[n].node->op_type, type) == 0 && partners[n] == LDNQ_NO_NODE)
            return true;
    return false;
}

/* Where the other graph has what this one does in nodes of their own. */
static enum ldnq_status merge(const struct ldnq_compute_view *view, const size_t *partners,
                              struct ldnq_error *err)
{
    if (has_lone(view, partners, "BatchNormalization"))
        LDNQ_TRY(ldnq_pass_batchnorm(view->graph, err));
    if (has_lone(view, partners, "Pad"))
        LDNQ_TRY(ldnq_pass_pad(view->graph, err));
    return ldnq_pass_dead(view->graph, err);
}

/* Of a Pad without a partner that its only reader, a paired layer, has taken in. */
static void note_pad(struct ldnq_matched_layers *couples, const struct ldnq_node_pairs *pairs,
                     size_t place)
{
    const struct ldnq_compute_node *pad = &pairs->a->nodes[place];
    if (strcmp(pad->node->op_type, "Pad") != 0 || pairs->of_a[place] != LDNQ_NO_NODE ||
        pad->reader_count != 1)
        return;
    const size_t reader = pad->readers[0];
    const struct ldnq_node *layer = pairs->a->nodes[reader].node;
    if (pairs->of_a[reader] != LDNQ_NO_NODE && layer->inputs[0] != pad->outputs[0])
        couples->folded[place] = reader;
}

static bool is_merged(const struct ldnq_node *layer, const struct ldnq_node *norm)
{
    for (size_t i = 0; i < layer->merged_count; i++)
        if (layer->merged[i] == norm)
            return true;
    return false;
}

/* The pass merges what it can. Where `layer` has taken in a norm whose partner stands by
 * itself behind the other layer, that partner's output is what has to be compared, and the
 * weights are compared as they were before. */
static const struct ldnq_value *output_beside(const struct ldnq_compute_view *view,
                                              const struct ldnq_node *layer,
                                              const struct ldnq_compute_view *other_view,
                                              const size_t *partners, const struct ldnq_node *other)
{
    const struct ldnq_value *out = other->outputs[0];
    for (size_t i = 0; i < layer->merged_count; i++) {
        const size_t norm = ldnq_compute_view_find(view, layer->merged[i]);
        const size_t partner = norm == LDNQ_NO_NODE ? norm : partners[norm];
        if (partner != LDNQ_NO_NODE && !is_merged(other, other_view->nodes[partner].node))
            out = other_view->nodes[partner].outputs[0];
    }
    return out;
}

/* ---- the bias of a product ------------------------------------------------------------------- */

/* A MatMul whose bias is an Add of its own, where B has a Gemm. */
static size_t bias_behind(const struct ldnq_node_pairs *pairs,
                          const struct ldnq_matched_layer *couple)
{
    const struct ldnq_compute_node *a = &pairs->a->nodes[couple->a];
    const struct ldnq_compute_node *b = &pairs->b->nodes[couple->b];
    if (strcmp(a->node->op_type, "MatMul") != 0 || strcmp(b->node->op_type, "Gemm") != 0 ||
        a->reader_count != 1 || b->input_count < 3 || !b->inputs[2].value)
        return LDNQ_NO_NODE;
    const size_t reader = a->readers[0];
    const struct ldnq_compute_node *add = &pairs->a->nodes[reader];
    const bool has_constant = add->input_count == 2 && add->inputs[0].value &&
                              add->inputs[1].value &&
                              (add->inputs[0].value->constant || add->inputs[1].value->constant);
    return strcmp(add->node->op_type, "Add") == 0 && has_constant &&
                   pairs->of_a[reader] == LDNQ_NO_NODE
               ? reader
               : LDNQ_NO_NODE;
}

/* ---- couples ----------------------------------------------------------------------------------
 */

static enum ldnq_status note_folded(struct ldnq_matched_layers *couples,
                                    struct ldnq_matched_layer *couple,
                                    const struct ldnq_node_pairs *pairs, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    const struct ldnq_node *node = pairs->a->nodes[couple->a].node;
    char list[512] = "";
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < node->merged_count; i++) {
        const size_t norm = ldnq_compute_view_find(pairs->a, node->merged[i]);
        if (norm == LDNQ_NO_NODE || pairs->of_a[norm] != LDNQ_NO_NODE)
            continue;
        couples->folded[norm] = couple->a;
        ldnq_text_item(&text, ", ", "%s", node->merged[i]->label);
    }
    const size_t add = bias_behind(pairs, couple);
    if (add != LDNQ_NO_NODE) {
        couples->folded[add] = couple->a;
        couple->out_a = pairs->a->nodes[add].outputs[0];
        ldnq_text_item(&text, ", ", "%s", pairs->a->nodes[add].node->label);
    }
    ldnq_text_end(&text);
    if (!text.items)
        return LDNQ_OK;
    couple->folded = ldnq_arena_strdup(arena, list, err);
    return couple->folded ? LDNQ_OK : LDNQ_NOMEM;
}

static const struct ldnq_layer *find_layer(const struct ldnq_layer *layers, size_t count,
                                           const struct ldnq_node *node)
{
    for (size_t i = 0; i < count; i++)
        if (layers[i].node == node)
            return &layers[i];
    return NULL;
}

/* The layers of both graphs as they are after the merges. */
struct lists {
    struct ldnq_layer *a, *b;
    size_t a_count, b_count;
};

static enum ldnq_status describe(struct ldnq_matched_layers *couples,
                                 struct ldnq_matched_layer *couple,
                                 const struct ldnq_node_pairs *pairs, const struct lists *lists,
                                 struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_compute_node *a = &pairs->a->nodes[couple->a];
    couple->layer_a = find_layer(lists->a, lists->a_count, a->node);
    couple->b = pairs->of_a[couple->a];
    if (couple->b == LDNQ_NO_NODE)
        return LDNQ_OK;
    const struct ldnq_compute_node *b = &pairs->b->nodes[couple->b];
    couple->layer_b = find_layer(lists->b, lists->b_count, b->node);
    couple->out_a = output_beside(pairs->b, b->node, pairs->a, pairs->of_b, a->node);
    couple->out_b = output_beside(pairs->a, a->node, pairs->b, pairs->of_a, b->node);
    if (couple->out_a != a->node->outputs[0] || couple->out_b != b->node->outputs[0]) {
        couple->layer_a = a->layer;
        couple->layer_b = b->layer;
    }
    return note_folded(couples, couple, pairs, arena, err);
}

enum ldnq_status ldnq_matched_layers_find(struct ldnq_matched_layers *couples,
                                          const struct ldnq_node_pairs *pairs,
                                          struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_compute_view *a = pairs->a, *b = pairs->b;
    struct lists lists;
    *couples = (struct ldnq_matched_layers){ .count = 0 };
    couples->items = ldnq_arena_alloc(arena, a->count, sizeof *couples->items, err);
    couples->folded = ldnq_arena_alloc(arena, a->count, sizeof *couples->folded, err);
    if (!couples->items || !couples->folded)
        return LDNQ_NOMEM;
    LDNQ_TRY(merge(a, pairs->of_a, err));
    LDNQ_TRY(merge(b, pairs->of_b, err));
    LDNQ_TRY(ldnq_layers_list(a->graph, arena, &lists.a, &lists.a_count, err));
    LDNQ_TRY(ldnq_layers_list(b->graph, arena, &lists.b, &lists.b_count, err));
    for (size_t n = 0; n < a->count; n++)
        couples->folded[n] = LDNQ_NO_NODE;
    for (size_t n = 0; n < a->count; n++) {
        note_pad(couples, pairs, n);
        if (!a->nodes[n].layer)
            continue;
        struct ldnq_matched_layer *couple = &couples->items[couples->count++];
        *couple = (struct ldnq_matched_layer){ .a = n };
        LDNQ_TRY(describe(couples, couple, pairs, &lists, arena, err));
    }
    return LDNQ_OK;
}

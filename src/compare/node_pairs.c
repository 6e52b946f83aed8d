#include "compare/node_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "compare/compare_weights.h"

/* Random rows of 27 elements have a cosine of .15, of 9 (depthwise) one of .27; ternary codes
 * have .8 and more with what they stand for. */
#define ALIKE 0.5

static bool is_name(const char *a, const char *b)
{
    return *a != '\0' && strcmp(a, b) == 0;
}

static bool has_name_of(const struct ldnq_compute_node *a, const struct ldnq_compute_node *b)
{
    return is_name(a->node->name, b->node->name);
}

static bool has_output_of(const struct ldnq_compute_node *a, const struct ldnq_compute_node *b)
{
    return a->output_count && b->output_count && a->outputs[0] && b->outputs[0] &&
           is_name(a->outputs[0]->name, b->outputs[0]->name);
}

/* Whether nothing speaks against their being one: the kind, and the weights' sizes. */
static bool can_be_one(const struct ldnq_compute_node *a, const struct ldnq_compute_node *b)
{
    if (strcmp(a->kind, b->kind) != 0 || strcmp(a->node->domain, b->node->domain) != 0)
        return false;
    if (!a->layer || !b->layer || !a->layer->weight || !b->layer->weight)
        return true;
    return ldnq_shape_equal(&a->layer->weight->shape, &b->layer->weight->shape) ||
           !isnan(ldnq_weight_similarity(a->layer, b->layer));
}

static void pair(struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    pairs->of_a[a] = b;
    pairs->of_b[b] = a;
}

static bool is_free(const struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    return pairs->of_a[a] == LDNQ_NO_NODE && pairs->of_b[b] == LDNQ_NO_NODE;
}

/* ---- layers ----------------------------------------------------------------------------- */

struct candidate {
    double score;
    size_t a, b, distance; /* distance: between their places among the layers */
};

/* Content counts for more than both names: those of an exporter that numbers nodes are off
 * by one as soon as a node is missing. */
static double score_of(const struct ldnq_compute_node *a, const struct ldnq_compute_node *b)
{
    const double alike = ldnq_weight_similarity(a->layer, b->layer);
    const double names = has_name_of(a, b) + has_output_of(a, b);
    return (alike >= ALIKE ? 4 * alike : 0) + names;
}

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *x = left, *y = right;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    if (x->a != y->a)
        return x->a < y->a ? -1 : 1;
    return x->b < y->b ? -1 : x->b > y->b;
}

static size_t count_layers(const struct ldnq_compute_view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->count; i++)
        count += view->nodes[i].layer != NULL;
    return count;
}

static size_t list_candidates(const struct ldnq_node_pairs *pairs, struct candidate *list)
{
    size_t count = 0, rank_a = 0;
    for (size_t a = 0; a < pairs->a->count; a++) {
        if (!pairs->a->nodes[a].layer)
            continue;
        size_t rank_b = 0;
        for (size_t b = 0; b < pairs->b->count; b++) {
            if (!pairs->b->nodes[b].layer)
                continue;
            const size_t distance = rank_a > rank_b ? rank_a - rank_b : rank_b - rank_a;
            rank_b++;
            if (!can_be_one(&pairs->a->nodes[a], &pairs->b->nodes[b]))
                continue;
            const double score = score_of(&pairs->a->nodes[a], &pairs->b->nodes[b]);
            if (score > 0)
                list[count++] = (struct candidate){ score, a, b, distance };
        }
        rank_a++;
    }
    return count;
}

static enum ldnq_status pair_layers(struct ldnq_node_pairs *pairs, struct ldnq_error *err)
{
    const size_t most = count_layers(pairs->a) * count_layers(pairs->b);
    struct candidate *list = ldnq_calloc(most ? most : 1, sizeof *list);
    if (!list)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    const size_t count = list_candidates(pairs, list);
    qsort(list, count, sizeof *list, compare_candidates);
    for (size_t i = 0; i < count; i++)
        if (is_free(pairs, list[i].a, list[i].b))
            pair(pairs, list[i].a, list[i].b);
    ldnq_free(list);
    return LDNQ_OK;
}

/* ---- along the wires ----------------------------------------------------------------------- */

/* Free readers of a node that could be `like`, which reads that one's partner at input `slot`.
 * *found is the last of them. */
static size_t count_partners(const struct ldnq_compute_view *view, const size_t *taken,
                             size_t maker, const struct ldnq_compute_node *like, size_t slot,
                             size_t *found)
{
    size_t count = 0;
    for (size_t i = 0; i < view->nodes[maker].reader_count; i++) {
        const size_t reader = view->nodes[maker].readers[i];
        const struct ldnq_compute_node *item = &view->nodes[reader];
        if (taken[reader] != LDNQ_NO_NODE || slot >= item->input_count ||
            item->inputs[slot].maker != maker || !can_be_one(like, item))
            continue;
        count++;
        *found = reader;
    }
    return count;
}

static size_t slot_of(const struct ldnq_compute_node *reader, size_t maker)
{
    size_t slot = 0;
    while (reader->inputs[slot].maker != maker)
        slot++;
    return slot;
}

/* A reader of `a` that has one likely partner behind b, and is that one's only one. */
static bool pair_readers(struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    const struct ldnq_compute_node *maker = &pairs->a->nodes[a];
    bool changed = false;
    for (size_t i = 0; i < maker->reader_count; i++) {
        const size_t reader = maker->readers[i];
        const struct ldnq_compute_node *item = &pairs->a->nodes[reader];
        const size_t slot = slot_of(item, a);
        size_t partner, back;
        if (pairs->of_a[reader] != LDNQ_NO_NODE ||
            count_partners(pairs->b, pairs->of_b, b, item, slot, &partner) != 1 ||
            count_partners(pairs->a, pairs->of_a, a, &pairs->b->nodes[partner], slot, &back) != 1)
            continue;
        pair(pairs, reader, partner);
        changed = true;
    }
    return changed;
}

static bool pair_makers(struct ldnq_node_pairs *pairs, const struct ldnq_compute_source *a,
                        const struct ldnq_compute_source *b)
{
    if (a->maker == LDNQ_NO_NODE || b->maker == LDNQ_NO_NODE ||
        !is_free(pairs, a->maker, b->maker) ||
        !can_be_one(&pairs->a->nodes[a->maker], &pairs->b->nodes[b->maker]))
        return false;
    pair(pairs, a->maker, b->maker);
    return true;
}

static bool pair_makers_of(struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    const struct ldnq_compute_node *x = &pairs->a->nodes[a], *y = &pairs->b->nodes[b];
    bool changed = false;
    for (size_t i = 0; i < x->input_count && i < y->input_count; i++)
        changed |= pair_makers(pairs, &x->inputs[i], &y->inputs[i]);
    return changed;
}

static bool pair_outputs(struct ldnq_node_pairs *pairs)
{
    const struct ldnq_compute_view *a = pairs->a, *b = pairs->b;
    bool changed = false;
    for (size_t i = 0; i < a->graph->output_count && i < b->graph->output_count; i++)
        changed |= pair_makers(pairs, &a->outputs[i], &b->outputs[i]);
    return changed;
}

/* Readers of two inputs of the network as of two nodes. */
static bool pair_input_readers(struct ldnq_node_pairs *pairs, const struct ldnq_value *x,
                               const struct ldnq_value *y)
{
    size_t a = LDNQ_NO_NODE, b = LDNQ_NO_NODE, readers_a = 0, readers_b = 0;
    for (size_t n = 0; n < pairs->a->count; n++)
        if (pairs->a->nodes[n].input_count && pairs->a->nodes[n].inputs[0].value == x)
            a = n, readers_a++;
    for (size_t n = 0; n < pairs->b->count; n++)
        if (pairs->b->nodes[n].input_count && pairs->b->nodes[n].inputs[0].value == y)
            b = n, readers_b++;
    if (readers_a != 1 || readers_b != 1 || !is_free(pairs, a, b) ||
        !can_be_one(&pairs->a->nodes[a], &pairs->b->nodes[b]))
        return false;
    pair(pairs, a, b);
    return true;
}

static bool pair_inputs(struct ldnq_node_pairs *pairs)
{
    const struct ldnq_graph *a = pairs->a->graph, *b = pairs->b->graph;
    bool changed = false;
    for (size_t i = 0; i < a->input_count && i < b->input_count; i++)
        changed |= pair_input_readers(pairs, a->inputs[i], b->inputs[i]);
    return changed;
}

/* Forward in the order of the nodes, then backward, until nothing more is found: each sweep
 * follows whole chains. */
static void follow_wires(struct ldnq_node_pairs *pairs)
{
    bool changed = true;
    while (changed) {
        changed = pair_inputs(pairs) || pair_outputs(pairs);
        for (size_t a = 0; a < pairs->a->count; a++)
            if (pairs->of_a[a] != LDNQ_NO_NODE)
                changed |= pair_readers(pairs, a, pairs->of_a[a]);
        for (size_t a = pairs->a->count; a-- > 0;)
            if (pairs->of_a[a] != LDNQ_NO_NODE)
                changed |= pair_makers_of(pairs, a, pairs->of_a[a]);
    }
}

/* ---- by name, and in their order ------------------------------------------------------------ */

/* The names of a view's nodes, sorted, with each node's place. */
struct named {
    const char *name;
    size_t place;
};

static int compare_names(const void *left, const void *right)
{
    const struct named *x = left, *y = right;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static const char *name_of(const struct ldnq_compute_node *item, bool by_output)
{
    if (!by_output)
        return item->node->name;
    return item->output_count && item->outputs[0] ? item->outputs[0]->name : "";
}

static void sort_names(const struct ldnq_compute_view *view, bool by_output, struct named *list)
{
    for (size_t n = 0; n < view->count; n++)
        list[n] = (struct named){ name_of(&view->nodes[n], by_output), n };
    qsort(list, view->count, sizeof *list, compare_names);
}

static bool is_unique(const struct named *list, size_t count, size_t i)
{
    return (i == 0 || strcmp(list[i - 1].name, list[i].name) != 0) &&
           (i + 1 == count || strcmp(list[i + 1].name, list[i].name) != 0);
}

/* Free nodes whose name is the only one of its kind in both files. */
static void join_names(struct ldnq_node_pairs *pairs, const struct named *a, const struct named *b)
{
    const size_t a_count = pairs->a->count, b_count = pairs->b->count;
    for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
        const int order = strcmp(a[i].name, b[j].name);
        if (order == 0 && *a[i].name && is_unique(a, a_count, i) && is_unique(b, b_count, j) &&
            is_free(pairs, a[i].place, b[j].place) &&
            can_be_one(&pairs->a->nodes[a[i].place], &pairs->b->nodes[b[j].place]))
            pair(pairs, a[i].place, b[j].place);
        i += order <= 0;
        j += order >= 0;
    }
}

static enum ldnq_status pair_names(struct ldnq_node_pairs *pairs, bool by_output,
                                   struct ldnq_error *err)
{
    struct named *a = ldnq_calloc(pairs->a->count + 1, sizeof *a);
    struct named *b = ldnq_calloc(pairs->b->count + 1, sizeof *b);
    const bool there = a && b;
    if (there) {
        sort_names(pairs->a, by_output, a);
        sort_names(pairs->b, by_output, b);
        join_names(pairs, a, b);
    }
    ldnq_free(a);
    ldnq_free(b);
    return there ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

/* Readers of a pair that are alike (the heads of an attention): in their order. */
static bool pair_in_order(struct ldnq_node_pairs *pairs)
{
    for (size_t a = 0; a < pairs->a->count; a++) {
        const size_t b = pairs->of_a[a];
        for (size_t i = 0; b != LDNQ_NO_NODE && i < pairs->a->nodes[a].reader_count; i++) {
            const size_t reader = pairs->a->nodes[a].readers[i];
            const struct ldnq_compute_node *item = &pairs->a->nodes[reader];
            for (size_t j = 0; j < pairs->b->nodes[b].reader_count; j++) {
                const size_t partner = pairs->b->nodes[b].readers[j];
                if (!is_free(pairs, reader, partner) ||
                    !can_be_one(item, &pairs->b->nodes[partner]) ||
                    slot_of(item, a) != slot_of(&pairs->b->nodes[partner], b))
                    continue;
                pair(pairs, reader, partner);
                return true;
            }
        }
    }
    return false;
}

/* ---- both ------------------------------------------------------------------------------------ */

enum ldnq_pairing ldnq_node_pairs_reason(const struct ldnq_node_pairs *pairs, size_t a)
{
    const size_t b = pairs->of_a[a];
    if (b == LDNQ_NO_NODE)
        return LDNQ_PAIR_NONE;
    const struct ldnq_compute_node *x = &pairs->a->nodes[a], *y = &pairs->b->nodes[b];
    if (has_name_of(x, y))
        return LDNQ_PAIR_NAME;
    if (has_output_of(x, y))
        return LDNQ_PAIR_OUTPUT;
    return ldnq_weight_similarity(x->layer, y->layer) >= ALIKE ? LDNQ_PAIR_CONTENT
                                                               : LDNQ_PAIR_NEIGHBOURHOOD;
}

const char *ldnq_pairing_name(enum ldnq_pairing pairing)
{
    static const char *const names[] = { "none", "name", "output", "content", "neighbourhood" };
    return (size_t)pairing < sizeof names / sizeof *names ? names[pairing] : "none";
}

static enum ldnq_status find_pairs(struct ldnq_node_pairs *pairs, struct ldnq_error *err)
{
    LDNQ_TRY(pair_layers(pairs, err));
    follow_wires(pairs);
    LDNQ_TRY(pair_names(pairs, false, err));
    LDNQ_TRY(pair_names(pairs, true, err));
    follow_wires(pairs);
    while (pair_in_order(pairs))
        follow_wires(pairs);
    return LDNQ_OK;
}

enum ldnq_status ldnq_node_pairs_find(struct ldnq_node_pairs *pairs,
                                      const struct ldnq_compute_view *a,
                                      const struct ldnq_compute_view *b, struct ldnq_arena *arena,
                                      struct ldnq_error *err)
{
    *pairs = (struct ldnq_node_pairs){ .a = a, .b = b };
    pairs->of_a = ldnq_arena_alloc(arena, a->count, sizeof *pairs->of_a, err);
    pairs->of_b = ldnq_arena_alloc(arena, b->count, sizeof *pairs->of_b, err);
    if (!pairs->of_a || !pairs->of_b)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < a->count; i++)
        pairs->of_a[i] = LDNQ_NO_NODE;
    for (size_t i = 0; i < b->count; i++)
        pairs->of_b[i] = LDNQ_NO_NODE;
    return find_pairs(pairs, err);
}

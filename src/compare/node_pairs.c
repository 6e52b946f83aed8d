/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/node_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "compare/compare_weights.h"

/* Least similarity of two weights that hold the same values. Random rows of 27 elements have
 * .15 on average, of 9 elements (depthwise) .27; a weight and its ternary codes .8 and more. */
#define SAME_CONTENT 0.5

static bool is_same_name(const char *a, const char *b)
{
    return *a != '\0' && strcmp(a, b) == 0;
}

static bool have_same_node_name(const struct ldnq_compute_node *a,
                                const struct ldnq_compute_node *b)
{
    return is_same_name(a->node->name, b->node->name);
}

static bool have_same_output_name(const struct ldnq_compute_node *a,
                                  const struct ldnq_compute_node *b)
{
    return a->output_count && b->output_count && a->outputs[0] && b->outputs[0] &&
           is_same_name(a->outputs[0]->name, b->outputs[0]->name);
}

/* Whether kinds and sizes of weights allow that a and b are the same node. */
static bool are_compatible_nodes(const struct ldnq_compute_node *a,
                                 const struct ldnq_compute_node *b)
{
    if (strcmp(a->kind, b->kind) != 0 || strcmp(a->node->domain, b->node->domain) != 0)
        return false;
    if (!a->layer || !b->layer || !a->layer->weight || !b->layer->weight)
        return true;
    return ldnq_shapes_are_equal(&a->layer->weight->shape, &b->layer->weight->shape) ||
           !isnan(ldnq_compare_weights(a->layer, b->layer));
}

static void pair_nodes(struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    pairs->match_of_a[a] = b;
    pairs->match_of_b[b] = a;
}

static bool are_both_unpaired(const struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    return pairs->match_of_a[a] == LDNQ_NO_NODE && pairs->match_of_b[b] == LDNQ_NO_NODE;
}

/* ---- layers -------------------------------------------------------------------------- */

struct layer_candidate {
    double score;
    size_t a, b, distance; /* distance: of their ranks among the layers */
};

/* Equal weights count for more than equal names of node and output together: where an exporter
 * numbers nodes, the names are off by one after a node that one file lacks. */
static double score_node_pair(const struct ldnq_compute_node *a, const struct ldnq_compute_node *b)
{
    const double similarity = ldnq_compare_weights(a->layer, b->layer);
    const double names = have_same_node_name(a, b) + have_same_output_name(a, b);
    return (similarity >= SAME_CONTENT ? 4 * similarity : 0) + names;
}

static int compare_candidates(const void *left, const void *right)
{
    const struct layer_candidate *x = left, *y = right;
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

static size_t list_candidates(const struct ldnq_node_pairs *pairs, struct layer_candidate *list)
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
            if (!are_compatible_nodes(&pairs->a->nodes[a], &pairs->b->nodes[b]))
                continue;
            const double score = score_node_pair(&pairs->a->nodes[a], &pairs->b->nodes[b]);
            if (score > 0)
                list[count++] = (struct layer_candidate){ score, a, b, distance };
        }
        rank_a++;
    }
    return count;
}

/* Takes the candidates by descending score. */
static enum ldnq_status pair_layers(struct ldnq_node_pairs *pairs, struct ldnq_error *err)
{
    const size_t most = count_layers(pairs->a) * count_layers(pairs->b);
    struct layer_candidate *list = ldnq_calloc(most ? most : 1, sizeof *list);
    if (!list)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    const size_t count = list_candidates(pairs, list);
    qsort(list, count, sizeof *list, compare_candidates);
    for (size_t i = 0; i < count; i++)
        if (are_both_unpaired(pairs, list[i].a, list[i].b))
            pair_nodes(pairs, list[i].a, list[i].b);
    ldnq_free(list);
    return LDNQ_OK;
}

/* ---- along the edges of the graph ---------------------------------------------------- */

/* Unpaired consumers of `producer` that can match `like` and read it as input `slot`. *found
 * is the last of them. */
static size_t count_matching_consumers(const struct ldnq_compute_view *view, const size_t *match_of,
                                       size_t producer, const struct ldnq_compute_node *like,
                                       size_t slot, size_t *found)
{
    size_t count = 0;
    for (size_t i = 0; i < view->nodes[producer].consumer_count; i++) {
        const size_t consumer = view->nodes[producer].consumers[i];
        const struct ldnq_compute_node *item = &view->nodes[consumer];
        if (match_of[consumer] != LDNQ_NO_NODE || slot >= item->input_count ||
            item->inputs[slot].producer != producer || !are_compatible_nodes(like, item))
            continue;
        count++;
        *found = consumer;
    }
    return count;
}

/* The first input of the consumer that comes from `producer`, which must be one. */
static size_t find_input_from_producer(const struct ldnq_compute_node *consumer, size_t producer)
{
    size_t slot = 0;
    while (consumer->inputs[slot].producer != producer)
        slot++;
    return slot;
}

/* Pairs consumers of a and b that can match each other and no other consumer of these. */
static bool pair_consumers(struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    const struct ldnq_compute_node *producer = &pairs->a->nodes[a];
    bool changed = false;
    for (size_t i = 0; i < producer->consumer_count; i++) {
        const size_t consumer = producer->consumers[i];
        const struct ldnq_compute_node *item = &pairs->a->nodes[consumer];
        const size_t slot = find_input_from_producer(item, a);
        size_t match, back;
        if (pairs->match_of_a[consumer] != LDNQ_NO_NODE ||
            count_matching_consumers(pairs->b, pairs->match_of_b, b, item, slot, &match) != 1 ||
            count_matching_consumers(pairs->a, pairs->match_of_a, a, &pairs->b->nodes[match], slot,
                                     &back) != 1)
            continue;
        pair_nodes(pairs, consumer, match);
        changed = true;
    }
    return changed;
}

static bool pair_input_producers(struct ldnq_node_pairs *pairs, const struct ldnq_compute_source *a,
                                 const struct ldnq_compute_source *b)
{
    if (a->producer == LDNQ_NO_NODE || b->producer == LDNQ_NO_NODE ||
        !are_both_unpaired(pairs, a->producer, b->producer) ||
        !are_compatible_nodes(&pairs->a->nodes[a->producer], &pairs->b->nodes[b->producer]))
        return false;
    pair_nodes(pairs, a->producer, b->producer);
    return true;
}

static bool pair_producers(struct ldnq_node_pairs *pairs, size_t a, size_t b)
{
    const struct ldnq_compute_node *x = &pairs->a->nodes[a], *y = &pairs->b->nodes[b];
    bool changed = false;
    for (size_t i = 0; i < x->input_count && i < y->input_count; i++)
        changed |= pair_input_producers(pairs, &x->inputs[i], &y->inputs[i]);
    return changed;
}

static bool pair_producers_of_outputs(struct ldnq_node_pairs *pairs)
{
    const struct ldnq_compute_view *a = pairs->a, *b = pairs->b;
    bool changed = false;
    for (size_t i = 0; i < a->graph->output_count && i < b->graph->output_count; i++)
        changed |= pair_input_producers(pairs, &a->outputs[i], &b->outputs[i]);
    return changed;
}

/* The only node that reads the graph input as its first input; LDNQ_NO_NODE for none or more. */
static size_t find_only_graph_input_reader(const struct ldnq_compute_view *view,
                                           const struct ldnq_value *input)
{
    size_t reader = LDNQ_NO_NODE, count = 0;
    for (size_t n = 0; n < view->count; n++)
        if (view->nodes[n].input_count && view->nodes[n].inputs[0].value == input)
            reader = n, count++;
    return count == 1 ? reader : LDNQ_NO_NODE;
}

static bool pair_consumers_of_inputs(struct ldnq_node_pairs *pairs)
{
    const struct ldnq_graph *graph_a = pairs->a->graph, *graph_b = pairs->b->graph;
    bool changed = false;
    for (size_t i = 0; i < graph_a->input_count && i < graph_b->input_count; i++) {
        const size_t a = find_only_graph_input_reader(pairs->a, graph_a->inputs[i]);
        const size_t b = find_only_graph_input_reader(pairs->b, graph_b->inputs[i]);
        if (a == LDNQ_NO_NODE || b == LDNQ_NO_NODE || !are_both_unpaired(pairs, a, b) ||
            !are_compatible_nodes(&pairs->a->nodes[a], &pairs->b->nodes[b]))
            continue;
        pair_nodes(pairs, a, b);
        changed = true;
    }
    return changed;
}

/* Sweeps downstream in order of execution and then upstream, until a round finds nothing. One
 * sweep follows a whole chain. */
static void pair_neighbours_of_pairs(struct ldnq_node_pairs *pairs)
{
    bool changed = true;
    while (changed) {
        changed = pair_consumers_of_inputs(pairs) || pair_producers_of_outputs(pairs);
        for (size_t a = 0; a < pairs->a->count; a++)
            if (pairs->match_of_a[a] != LDNQ_NO_NODE)
                changed |= pair_consumers(pairs, a, pairs->match_of_a[a]);
        for (size_t a = pairs->a->count; a-- > 0;)
            if (pairs->match_of_a[a] != LDNQ_NO_NODE)
                changed |= pair_producers(pairs, a, pairs->match_of_a[a]);
    }
}

/* ---- by name, and by order ----------------------------------------------------------- */

struct named_node {
    const char *name;
    size_t index;
};

static int compare_names(const void *left, const void *right)
{
    const struct named_node *x = left, *y = right;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static const char *find_name_or_output_name(const struct ldnq_compute_node *item, bool by_output)
{
    if (!by_output)
        return item->node->name;
    return item->output_count && item->outputs[0] ? item->outputs[0]->name : "";
}

static void sort_by_name(const struct ldnq_compute_view *view, bool by_output,
                         struct named_node *list)
{
    for (size_t n = 0; n < view->count; n++)
        list[n] = (struct named_node){ find_name_or_output_name(&view->nodes[n], by_output), n };
    qsort(list, view->count, sizeof *list, compare_names);
}

static bool is_unique_in_sorted_names(const struct named_node *list, size_t count, size_t i)
{
    return (i == 0 || strcmp(list[i - 1].name, list[i].name) != 0) &&
           (i + 1 == count || strcmp(list[i + 1].name, list[i].name) != 0);
}

/* Pairs unpaired nodes whose name occurs once in each file. */
static void pair_unique_names(struct ldnq_node_pairs *pairs, const struct named_node *a,
                              const struct named_node *b)
{
    const size_t a_count = pairs->a->count, b_count = pairs->b->count;
    for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
        const int order = strcmp(a[i].name, b[j].name);
        if (order == 0 && *a[i].name && is_unique_in_sorted_names(a, a_count, i) &&
            is_unique_in_sorted_names(b, b_count, j) &&
            are_both_unpaired(pairs, a[i].index, b[j].index) &&
            are_compatible_nodes(&pairs->a->nodes[a[i].index], &pairs->b->nodes[b[j].index]))
            pair_nodes(pairs, a[i].index, b[j].index);
        i += order <= 0;
        j += order >= 0;
    }
}

static enum ldnq_status pair_by_name(struct ldnq_node_pairs *pairs, bool by_output,
                                     struct ldnq_error *err)
{
    struct named_node *a = ldnq_calloc(pairs->a->count + 1, sizeof *a);
    struct named_node *b = ldnq_calloc(pairs->b->count + 1, sizeof *b);
    const bool allocated = a && b;
    if (allocated) {
        sort_by_name(pairs->a, by_output, a);
        sort_by_name(pairs->b, by_output, b);
        pair_unique_names(pairs, a, b);
    }
    ldnq_free(a);
    ldnq_free(b);
    return allocated ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

/* Consumers of a pair that look the same, as the heads of an attention, match in their order.
 * Pairs the first two that are found; false when there are none. */
static bool pair_first_in_order(struct ldnq_node_pairs *pairs)
{
    for (size_t a = 0; a < pairs->a->count; a++) {
        const size_t b = pairs->match_of_a[a];
        for (size_t i = 0; b != LDNQ_NO_NODE && i < pairs->a->nodes[a].consumer_count; i++) {
            const size_t consumer = pairs->a->nodes[a].consumers[i];
            const struct ldnq_compute_node *item = &pairs->a->nodes[consumer];
            for (size_t j = 0; j < pairs->b->nodes[b].consumer_count; j++) {
                const size_t match = pairs->b->nodes[b].consumers[j];
                if (!are_both_unpaired(pairs, consumer, match) ||
                    !are_compatible_nodes(item, &pairs->b->nodes[match]) ||
                    find_input_from_producer(item, a) !=
                        find_input_from_producer(&pairs->b->nodes[match], b))
                    continue;
                pair_nodes(pairs, consumer, match);
                return true;
            }
        }
    }
    return false;
}

/* ---- all steps ----------------------------------------------------------------------- */

enum ldnq_pairing ldnq_node_pairs_reason(const struct ldnq_node_pairs *pairs, size_t a)
{
    const size_t b = pairs->match_of_a[a];
    if (b == LDNQ_NO_NODE)
        return LDNQ_PAIR_NONE;
    const struct ldnq_compute_node *x = &pairs->a->nodes[a], *y = &pairs->b->nodes[b];
    if (have_same_node_name(x, y))
        return LDNQ_PAIR_NAME;
    if (have_same_output_name(x, y))
        return LDNQ_PAIR_OUTPUT;
    return ldnq_compare_weights(x->layer, y->layer) >= SAME_CONTENT ? LDNQ_PAIR_CONTENT
                                                                    : LDNQ_PAIR_NEIGHBOURHOOD;
}

const char *ldnq_pairing_name(enum ldnq_pairing pairing)
{
    static const char *const names[] = { "none", "name", "output", "content", "neighbourhood" };
    return (size_t)pairing < sizeof names / sizeof *names ? names[pairing] : "none";
}

enum ldnq_status ldnq_node_pairs_find(struct ldnq_node_pairs *pairs,
                                      const struct ldnq_compute_view *a,
                                      const struct ldnq_compute_view *b, struct ldnq_arena *arena,
                                      struct ldnq_error *err)
{
    *pairs = (struct ldnq_node_pairs){ .a = a, .b = b };
    pairs->match_of_a = ldnq_arena_alloc(arena, a->count, sizeof *pairs->match_of_a, err);
    pairs->match_of_b = ldnq_arena_alloc(arena, b->count, sizeof *pairs->match_of_b, err);
    if (!pairs->match_of_a || !pairs->match_of_b)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < a->count; i++)
        pairs->match_of_a[i] = LDNQ_NO_NODE;
    for (size_t i = 0; i < b->count; i++)
        pairs->match_of_b[i] = LDNQ_NO_NODE;

    LDNQ_TRY(pair_layers(pairs, err));
    pair_neighbours_of_pairs(pairs);
    LDNQ_TRY(pair_by_name(pairs, false, err));
    LDNQ_TRY(pair_by_name(pairs, true, err));
    pair_neighbours_of_pairs(pairs);
    while (pair_first_in_order(pairs))
        pair_neighbours_of_pairs(pairs);
    return LDNQ_OK;
}

#include "compare/graph_changes.h"

#include <string.h>

#include "compare/attribute.h"
#include "metric/distance.h"

/* Notes in a list that grows. */
struct notes {
    struct ldnq_diff_change *items;
    size_t count, capacity;
    struct ldnq_arena *arena;
};

static enum ldnq_status add(struct notes *notes, const char *node, const char *op, const char *text,
                            struct ldnq_error *err)
{
    if (!text)
        return LDNQ_NOMEM;
    if (notes->count == notes->capacity) {
        const size_t capacity = notes->capacity ? 2 * notes->capacity : 16;
        struct ldnq_diff_change *larger =
            ldnq_arena_alloc(notes->arena, capacity, sizeof *larger, err);
        if (!larger)
            return LDNQ_NOMEM;
        if (notes->count)
            memcpy(larger, notes->items, notes->count * sizeof *larger);
        notes->items = larger;
        notes->capacity = capacity;
    }
    notes->items[notes->count++] = (struct ldnq_diff_change){ node, op, text };
    return LDNQ_OK;
}

/* ---- attributes --------------------------------------------------------------------------- */

/* Of one that the other node does not have, and which matters. What a newer opset has as an
 * input is no change. */
static bool is_missed(const struct ldnq_node *node, const struct ldnq_attr *attr,
                      const struct ldnq_node *other)
{
    return !ldnq_node_attr(other, attr->name) && node->op == other->op &&
           !ldnq_attribute_is_default(node, attr);
}

static enum ldnq_status compare_attributes(struct notes *notes, const struct ldnq_node *a,
                                           const struct ldnq_node *b, struct ldnq_error *err)
{
    char x[LDNQ_ATTRIBUTE_TEXT], y[LDNQ_ATTRIBUTE_TEXT];
    for (size_t i = 0; i < a->attr_count; i++) {
        const struct ldnq_attr *attr = &a->attrs[i], *other = ldnq_node_attr(b, attr->name);
        if (other ? ldnq_attribute_equal(attr, other) : !is_missed(a, attr, b))
            continue;
        LDNQ_TRY(add(notes, a->label, a->op_type,
                     ldnq_arena_printf(notes->arena, err, "%s: %s -> %s", attr->name,
                                       ldnq_attribute_print(attr, x),
                                       other ? ldnq_attribute_print(other, y) : "left out"),
                     err));
    }
    for (size_t i = 0; i < b->attr_count; i++)
        if (is_missed(b, &b->attrs[i], a))
            LDNQ_TRY(add(notes, a->label, a->op_type,
                         ldnq_arena_printf(notes->arena, err, "%s: left out -> %s",
                                           b->attrs[i].name, ldnq_attribute_print(&b->attrs[i], y)),
                         err));
    return LDNQ_OK;
}

/* ---- constants ----------------------------------------------------------------------------- */

/* *what stays NULL when they are the same. */
static enum ldnq_status constants_differ(const struct ldnq_tensor *a, const struct ldnq_tensor *b,
                                         struct ldnq_arena *arena, const char **what,
                                         struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    size_t bytes;
    const bool alike = a->dtype == b->dtype && ldnq_shape_equal(&a->shape, &b->shape);
    if (alike && (!a->data || !b->data || !ldnq_tensor_bytes(a, &bytes) ||
                  memcmp(a->data, b->data, bytes) == 0))
        return LDNQ_OK;
    if (!alike)
        *what = ldnq_arena_printf(arena, err, "%s %s -> %s %s", ldnq_dtype_name(a->dtype),
                                  ldnq_shape_print(&a->shape, NULL, x, sizeof x),
                                  ldnq_dtype_name(b->dtype),
                                  ldnq_shape_print(&b->shape, NULL, y, sizeof y));
    else if (a->dtype != LDNQ_FLOAT)
        *what = ldnq_arena_printf(arena, err, "other %s", ldnq_dtype_name(a->dtype));
    else if (ldnq_tensor_count(a) == 1)
        *what = ldnq_arena_printf(arena, err, "%.6g -> %.6g", (double)((const float *)a->data)[0],
                                  (double)((const float *)b->data)[0]);
    else {
        struct ldnq_distance distance = { 0 };
        LDNQ_TRY(ldnq_distance_add(&distance, b, a, NULL, err));
        *what = ldnq_arena_printf(arena, err, "%zu numbers, SQNR %.1f dB", ldnq_tensor_count(a),
                                  ldnq_distance_sqnr(&distance));
    }
    return *what ? LDNQ_OK : LDNQ_NOMEM;
}

static bool is_weight(const struct ldnq_compute_node *item, size_t input)
{
    return item->layer && item->layer->weight && item->layer->weight_input == input;
}

static const char *input_name(const struct ldnq_compute_node *item, size_t input)
{
    static const char *const names[] = { "input 0", "input 1", "input 2", "input 3",
                                         "input 4", "input 5", "input 6", "input 7" };
    if (item->layer && item->layer->bias && item->layer->bias_input == input)
        return "bias";
    return input < sizeof names / sizeof *names ? names[input] : "a later input";
}

static enum ldnq_status compare_inputs(struct notes *notes, const struct ldnq_compute_node *a,
                                       const struct ldnq_compute_node *b, struct ldnq_error *err)
{
    for (size_t i = 0; i < a->input_count && i < b->input_count; i++) {
        const struct ldnq_value *x = a->inputs[i].value, *y = b->inputs[i].value;
        if (!x || !y || is_weight(a, i) || (!x->constant && !y->constant))
            continue;
        const char *what = NULL;
        if (x->constant && y->constant)
            LDNQ_TRY(constants_differ(x->constant, y->constant, notes->arena, &what, err));
        else
            what = "a constant in one file only";
        if (what)
            LDNQ_TRY(add(notes, a->node->label, a->node->op_type,
                         ldnq_arena_printf(notes->arena, err, "%s: %s", input_name(a, i), what),
                         err));
    }
    return LDNQ_OK;
}

/* ---- types and shapes ----------------------------------------------------------------------- */

/* Symbols are of their own graph: any agrees with any. */
static bool shapes_agree(const struct ldnq_shape *a, const struct ldnq_shape *b)
{
    if (a->rank == LDNQ_RANK_UNKNOWN || b->rank == LDNQ_RANK_UNKNOWN)
        return true;
    if (a->rank != b->rank)
        return false;
    for (int d = 0; d < a->rank; d++)
        if (!ldnq_is_symbol(a->dim[d]) && !ldnq_is_symbol(b->dim[d]) && a->dim[d] != b->dim[d])
            return false;
    return true;
}

static enum ldnq_status compare_values(struct notes *notes, const char *node, const char *op,
                                       const struct ldnq_value *a, const struct ldnq_value *b,
                                       struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    const bool typed =
        a->dtype == LDNQ_UNDEFINED || b->dtype == LDNQ_UNDEFINED || a->dtype == b->dtype;
    if (typed && shapes_agree(&a->shape, &b->shape))
        return LDNQ_OK;
    return add(
        notes, node, op,
        ldnq_arena_printf(notes->arena, err, "gives %s %s -> %s %s", ldnq_dtype_name(a->dtype),
                          ldnq_shape_print(&a->shape, NULL, x, sizeof x), ldnq_dtype_name(b->dtype),
                          ldnq_shape_print(&b->shape, NULL, y, sizeof y)),
        err);
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static enum ldnq_status compare_nodes(struct notes *notes, const struct ldnq_compute_node *a,
                                      const struct ldnq_compute_node *b, struct ldnq_error *err)
{
    if (strcmp(a->node->op_type, b->node->op_type) != 0)
        LDNQ_TRY(add(notes, a->node->label, a->node->op_type,
                     ldnq_arena_printf(notes->arena, err, "operator -> %s", b->node->op_type),
                     err));
    else
        LDNQ_TRY(compare_attributes(notes, a->node, b->node, err));
    LDNQ_TRY(compare_inputs(notes, a, b, err));
    if (a->output_count && b->output_count && a->outputs[0] && b->outputs[0])
        LDNQ_TRY(compare_values(notes, a->node->label, a->node->op_type, a->outputs[0],
                                b->outputs[0], err));
    return LDNQ_OK;
}

static enum ldnq_status compare_ends(struct notes *notes, const char *what,
                                     struct ldnq_value *const *a, size_t a_count,
                                     struct ldnq_value *const *b, size_t b_count,
                                     struct ldnq_error *err)
{
    if (a_count != b_count)
        LDNQ_TRY(add(notes, "", what,
                     ldnq_arena_printf(notes->arena, err, "there are %zu -> %zu", a_count, b_count),
                     err));
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        if (strcmp(a[i]->name, b[i]->name) != 0)
            LDNQ_TRY(add(notes, a[i]->name, what,
                         ldnq_arena_printf(notes->arena, err, "renamed to '%s'", b[i]->name), err));
        LDNQ_TRY(compare_values(notes, a[i]->name, what, a[i], b[i], err));
    }
    return LDNQ_OK;
}

/* An activation that a QuantizeLinear does as well: its readers' partners read codes. */
static bool is_clipped_by_codes(const struct ldnq_node_pairs *pairs,
                                const struct ldnq_compute_node *item, size_t place)
{
    const bool clips = strcmp(item->kind, "Relu") == 0 || strcmp(item->kind, "Clip") == 0;
    for (size_t i = 0; clips && i < item->reader_count; i++) {
        const struct ldnq_compute_node *reader = &pairs->a->nodes[item->readers[i]];
        const size_t partner = pairs->of_a[item->readers[i]];
        for (size_t k = 0; partner != LDNQ_NO_NODE && k < reader->input_count; k++)
            if (reader->inputs[k].maker == place && k < pairs->b->nodes[partner].input_count &&
                pairs->b->nodes[partner].inputs[k].dequantize)
                return true;
    }
    return false;
}

static enum ldnq_status note_removed(struct notes *notes, const struct ldnq_node_pairs *pairs,
                                     size_t place, size_t folded, struct ldnq_error *err)
{
    const struct ldnq_compute_node *item = &pairs->a->nodes[place];
    const char *text = "";
    if (folded != LDNQ_NO_NODE)
        text = ldnq_arena_printf(notes->arena, err, "folded into '%s'",
                                 pairs->a->nodes[folded].node->label);
    else if (is_clipped_by_codes(pairs, item, place))
        text = "the codes behind it clip as it does";
    return add(notes, item->node->label, item->node->op_type, text, err);
}

static enum ldnq_status compare_all(const struct ldnq_node_pairs *pairs, const size_t *folded,
                                    struct notes *removed, struct notes *added,
                                    struct notes *changed, struct ldnq_error *err)
{
    const struct ldnq_graph *a = pairs->a->graph, *b = pairs->b->graph;
    LDNQ_TRY(
        compare_ends(changed, "input", a->inputs, a->input_count, b->inputs, b->input_count, err));
    for (size_t i = 0; i < pairs->a->count; i++) {
        if (pairs->of_a[i] == LDNQ_NO_NODE)
            LDNQ_TRY(note_removed(removed, pairs, i, folded[i], err));
        else
            LDNQ_TRY(
                compare_nodes(changed, &pairs->a->nodes[i], &pairs->b->nodes[pairs->of_a[i]], err));
    }
    for (size_t i = 0; i < pairs->b->count; i++)
        if (pairs->of_b[i] == LDNQ_NO_NODE)
            LDNQ_TRY(add(added, pairs->b->nodes[i].node->label, pairs->b->nodes[i].node->op_type,
                         "", err));
    return compare_ends(changed, "output", a->outputs, a->output_count, b->outputs, b->output_count,
                        err);
}

enum ldnq_status ldnq_graph_changes_list(const struct ldnq_node_pairs *pairs, const size_t *folded,
                                         struct ldnq_arena *arena, struct ldnq_diff *diff,
                                         struct ldnq_error *err)
{
    struct notes removed = { .arena = arena }, added = removed, changed = removed;
    LDNQ_TRY(compare_all(pairs, folded, &removed, &added, &changed, err));
    diff->removed = removed.items;
    diff->removed_count = removed.count;
    diff->added = added.items;
    diff->added_count = added.count;
    diff->changed = changed.items;
    diff->changed_count = changed.count;
    return LDNQ_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/graph_changes.h"

#include <string.h>

#include "compare/attribute.h"
#include "metric/distance.h"
#include "base/growing_list.h"

struct change_list {
    struct ldnq_diff_change *items;
    size_t count, capacity;
    struct ldnq_arena *arena;
};

/* A NULL text means that its allocation failed. */
static enum ldnq_status append_change(struct change_list *list, const char *node, const char *op,
                                      const char *text, struct ldnq_error *err)
{
    if (!text)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_list_reserve(list->arena, &list->items, list->count, &list->capacity,
                               sizeof *list->items, err));
    list->items[list->count++] = (struct ldnq_diff_change){ node, op, text };
    return LDNQ_OK;
}

/* ---- attributes ---------------------------------------------------------------------- */

/* Whether `other` lacks the attribute and so computes something else. Nodes of different opsets
 * are not compared here: a newer one may have the attribute as an input. */
static bool lacks_attribute(const struct ldnq_node *node, const struct ldnq_attr *attr,
                            const struct ldnq_node *other)
{
    return !ldnq_node_find_attr(other, attr->name) && node->op == other->op &&
           !ldnq_attribute_is_default(node, attr);
}

static enum ldnq_status compare_attributes(struct change_list *list, const struct ldnq_node *a,
                                           const struct ldnq_node *b, struct ldnq_error *err)
{
    char x[LDNQ_ATTRIBUTE_TEXT], y[LDNQ_ATTRIBUTE_TEXT];
    for (size_t i = 0; i < a->attr_count; i++) {
        const struct ldnq_attr *attr = &a->attrs[i], *other = ldnq_node_find_attr(b, attr->name);
        if (other ? ldnq_attribute_equal(attr, other) : !lacks_attribute(a, attr, b))
            continue;
        LDNQ_TRY(
            append_change(list, a->label, a->op_type,
                          ldnq_arena_printf(list->arena, err, "%s: %s -> %s", attr->name,
                                            ldnq_attribute_print(attr, x),
                                            other ? ldnq_attribute_print(other, y) : "left out"),
                          err));
    }
    for (size_t i = 0; i < b->attr_count; i++)
        if (lacks_attribute(b, &b->attrs[i], a))
            LDNQ_TRY(append_change(list, a->label, a->op_type,
                                   ldnq_arena_printf(list->arena, err, "%s: left out -> %s",
                                                     b->attrs[i].name,
                                                     ldnq_attribute_print(&b->attrs[i], y)),
                                   err));
    return LDNQ_OK;
}

/* ---- constants ----------------------------------------------------------------------- */

/* Describes the difference in *what, which stays NULL where there is none. */
static enum ldnq_status compare_constants(const struct ldnq_tensor *a, const struct ldnq_tensor *b,
                                          struct ldnq_arena *arena, const char **what,
                                          struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    size_t bytes;
    const bool same_type = a->dtype == b->dtype && ldnq_shapes_are_equal(&a->shape, &b->shape);
    if (same_type && (!a->data || !b->data || !ldnq_tensor_bytes(a, &bytes) ||
                      memcmp(a->data, b->data, bytes) == 0))
        return LDNQ_OK;
    if (!same_type)
        *what = ldnq_arena_printf(arena, err, "%s %s -> %s %s", ldnq_dtype_name(a->dtype),
                                  ldnq_shape_print(&a->shape, NULL, x, sizeof x),
                                  ldnq_dtype_name(b->dtype),
                                  ldnq_shape_print(&b->shape, NULL, y, sizeof y));
    else if (a->dtype != LDNQ_FLOAT)
        *what = ldnq_arena_printf(arena, err, "different %s values", ldnq_dtype_name(a->dtype));
    else if (ldnq_tensor_count(a) == 1)
        *what = ldnq_arena_printf(arena, err, "%.6g -> %.6g", (double)((const float *)a->data)[0],
                                  (double)((const float *)b->data)[0]);
    else {
        struct ldnq_distance distance = { 0 };
        LDNQ_TRY(ldnq_distance_add(&distance, b, a, NULL, err));
        *what = ldnq_arena_printf(arena, err, "%zu values, SQNR %.1f dB", ldnq_tensor_count(a),
                                  ldnq_distance_compute_sqnr(&distance));
    }
    return *what ? LDNQ_OK : LDNQ_NOMEM;
}

static bool is_weight_input(const struct ldnq_compute_node *item, size_t input)
{
    const struct ldnq_op *op = item->layer && item->layer->weight ? item->node->op : NULL;
    for (const struct ldnq_op_layer *layer = op ? op->layer : NULL; layer; layer = layer->other)
        if ((size_t)layer->weight_input == input)
            return true;
    return false;
}

static const char *describe_input(const struct ldnq_compute_node *item, size_t input)
{
    static const char *const names[] = { "input 0", "input 1", "input 2", "input 3",
                                         "input 4", "input 5", "input 6", "input 7" };
    if (item->layer && item->layer->bias && item->layer->bias_input == input)
        return "bias";
    return input < sizeof names / sizeof *names ? names[input] : "a later input";
}

/* What bodies read of the graph around them are the node's last inputs, in any order. */
static size_t count_own_inputs(const struct ldnq_compute_node *item)
{
    const bool has_bodies = item->node->op && item->node->op->flags & LDNQ_OP_CONTROL_FLOW;
    return has_bodies ? item->input_count - item->node->capture_count : item->input_count;
}

static enum ldnq_status compare_inputs(struct change_list *list, const struct ldnq_compute_node *a,
                                       const struct ldnq_compute_node *b, struct ldnq_error *err)
{
    const size_t own_a = count_own_inputs(a), own_b = count_own_inputs(b);
    for (size_t i = 0; i < own_a && i < own_b; i++) {
        const struct ldnq_value *x = a->inputs[i].value, *y = b->inputs[i].value;
        if (!x || !y || is_weight_input(a, i) || (!x->constant && !y->constant))
            continue;
        const char *what = NULL;
        if (x->constant && y->constant)
            LDNQ_TRY(compare_constants(x->constant, y->constant, list->arena, &what, err));
        else
            what = "a constant in one file only";
        if (what)
            LDNQ_TRY(append_change(
                list, a->node->label, a->node->op_type,
                ldnq_arena_printf(list->arena, err, "%s: %s", describe_input(a, i), what), err));
    }
    return LDNQ_OK;
}

/* ---- types and shapes ---------------------------------------------------------------- */

/* A symbol belongs to its graph, so it agrees with any size. */
static bool are_compatible_shapes(const struct ldnq_shape *a, const struct ldnq_shape *b)
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

/* An operator that only moves elements moves the codes of a quantized value. */
static bool are_compatible_types(enum ldnq_dtype a, enum ldnq_dtype b)
{
    return a == LDNQ_UNDEFINED || b == LDNQ_UNDEFINED || a == b ||
           (a == LDNQ_FLOAT && b != LDNQ_INT64 && ldnq_dtype_is_integer(b));
}

static enum ldnq_status compare_values(struct change_list *list, const char *node, const char *op,
                                       const struct ldnq_value *a, const struct ldnq_value *b,
                                       struct ldnq_error *err)
{
    char x[LDNQ_SHAPE_TEXT], y[LDNQ_SHAPE_TEXT];
    const enum ldnq_dtype type_a = ldnq_value_file_dtype(a), type_b = ldnq_value_file_dtype(b);
    if (are_compatible_types(type_a, type_b) && are_compatible_shapes(&a->shape, &b->shape))
        return LDNQ_OK;
    return append_change(
        list, node, op,
        ldnq_arena_printf(list->arena, err, "type and shape: %s %s -> %s %s",
                          ldnq_dtype_name(type_a), ldnq_shape_print(&a->shape, NULL, x, sizeof x),
                          ldnq_dtype_name(type_b), ldnq_shape_print(&b->shape, NULL, y, sizeof y)),
        err);
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static enum ldnq_status compare_nodes(struct change_list *list, const struct ldnq_compute_node *a,
                                      const struct ldnq_compute_node *b, struct ldnq_error *err)
{
    if (strcmp(a->node->op_type, b->node->op_type) != 0)
        LDNQ_TRY(append_change(
            list, a->node->label, a->node->op_type,
            ldnq_arena_printf(list->arena, err, "operator -> %s", b->node->op_type), err));
    else
        LDNQ_TRY(compare_attributes(list, a->node, b->node, err));
    LDNQ_TRY(compare_inputs(list, a, b, err));
    if (a->output_count && b->output_count && a->outputs[0] && b->outputs[0])
        LDNQ_TRY(compare_values(list, a->node->label, a->node->op_type, a->outputs[0],
                                b->outputs[0], err));
    return LDNQ_OK;
}

/* `what` is "input" or "output" of the graphs. */
static enum ldnq_status compare_graph_inputs_or_outputs(struct change_list *list, const char *what,
                                                        struct ldnq_value *const *a, size_t a_count,
                                                        struct ldnq_value *const *b, size_t b_count,
                                                        struct ldnq_error *err)
{
    if (a_count != b_count)
        LDNQ_TRY(append_change(
            list, "", what,
            ldnq_arena_printf(list->arena, err, "count %zu -> %zu", a_count, b_count), err));
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        if (strcmp(a[i]->name, b[i]->name) != 0)
            LDNQ_TRY(append_change(
                list, a[i]->name, what,
                ldnq_arena_printf(list->arena, err, "renamed to '%s'", b[i]->name), err));
        LDNQ_TRY(compare_values(list, a[i]->name, what, a[i], b[i], err));
    }
    return LDNQ_OK;
}

/* Whether A's node is an activation that a QuantizeLinear of B replaces: the range of the codes
 * clips as it does. */
static bool is_clipped_by_codes(const struct ldnq_node_pairs *pairs, size_t n)
{
    const struct ldnq_compute_node *item = &pairs->a->nodes[n];
    const bool clips = strcmp(item->kind, "Relu") == 0 || strcmp(item->kind, "Clip") == 0;
    for (size_t i = 0; clips && i < item->consumer_count; i++) {
        const struct ldnq_compute_node *consumer = &pairs->a->nodes[item->consumers[i]];
        const size_t match = pairs->match_of_a[item->consumers[i]];
        for (size_t k = 0; match != LDNQ_NO_NODE && k < consumer->input_count; k++)
            if (consumer->inputs[k].producer == n && k < pairs->b->nodes[match].input_count &&
                pairs->b->nodes[match].inputs[k].dequantize)
                return true;
    }
    return false;
}

static enum ldnq_status append_removed_node(struct change_list *list,
                                            const struct ldnq_node_pairs *pairs, size_t n,
                                            size_t folded_into, struct ldnq_error *err)
{
    const struct ldnq_compute_node *item = &pairs->a->nodes[n];
    const char *text = "";
    if (folded_into != LDNQ_NO_NODE)
        text = ldnq_arena_printf(list->arena, err, "folded into '%s'",
                                 pairs->a->nodes[folded_into].node->label);
    else if (is_clipped_by_codes(pairs, n))
        text = "clipped by the range of the codes";
    return append_change(list, item->node->label, item->node->op_type, text, err);
}

enum ldnq_status ldnq_graph_changes_list(const struct ldnq_node_pairs *pairs,
                                         const size_t *folded_into, struct ldnq_arena *arena,
                                         struct ldnq_diff *diff, struct ldnq_error *err)
{
    const struct ldnq_graph *a = pairs->a->graph, *b = pairs->b->graph;
    struct change_list removed = { .arena = arena }, added = removed, changed = removed;
    LDNQ_TRY(compare_graph_inputs_or_outputs(&changed, "input", a->inputs, a->input_count,
                                             b->inputs, b->input_count, err));
    for (size_t n = 0; n < pairs->a->count; n++) {
        const struct ldnq_compute_node *item = &pairs->a->nodes[n];
        const size_t match = pairs->match_of_a[n];
        if (match == LDNQ_NO_NODE)
            LDNQ_TRY(append_removed_node(&removed, pairs, n, folded_into[n], err));
        else
            LDNQ_TRY(compare_nodes(&changed, item, &pairs->b->nodes[match], err));
    }
    for (size_t n = 0; n < pairs->b->count; n++) {
        const struct ldnq_node *node = pairs->b->nodes[n].node;
        if (pairs->match_of_b[n] == LDNQ_NO_NODE)
            LDNQ_TRY(append_change(&added, node->label, node->op_type, "", err));
    }
    LDNQ_TRY(compare_graph_inputs_or_outputs(&changed, "output", a->outputs, a->output_count,
                                             b->outputs, b->output_count, err));
    diff->removed = removed.items;
    diff->removed_count = removed.count;
    diff->added = added.items;
    diff->added_count = added.count;
    diff->changed = changed.items;
    diff->changed_count = changed.count;
    return LDNQ_OK;
}

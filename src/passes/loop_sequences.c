/* SPDX-License-Identifier: Apache-2.0 */
/* loop_sequences.c: sequences around a Loop, as TorchScript writes lists in a loop.
 *
 * A list that each iteration appends to is a carried sequence: SequenceEmpty before the Loop,
 * SequenceInsert in its body, ConcatFromSequence after it. It becomes a stacked output of the Loop.
 * A loop over x.unbind() reads a captured sequence at an index: a Gather of x.
 */
#include <stdint.h>
#include <string.h>

#include "ops/op.h"
#include "passes/sequence_nodes.h"

#define FIRST_CARRIED ((size_t)2) /* after the trip count or iteration, and the condition */

/* Labels for the axes on one side of the stacked one. */
static const char letters[] = "abcdefgh";
#define MOST_AXES ((int64_t)(sizeof letters - 1))

static struct ldnq_graph *find_body(const struct ldnq_node *loop)
{
    for (size_t i = 0; i < loop->attr_count; i++)
        if (strcmp(loop->attrs[i].name, "body") == 0 && loop->attrs[i].kind == LDNQ_ATTR_GRAPH)
            return loop->attrs[i].g;
    return NULL;
}

static size_t count_readers(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    size_t count = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        count += ldnq_node_reads(graph->nodes[n], value);
    for (size_t i = 0; i < graph->output_count; i++)
        count += graph->outputs[i] == value;
    return count;
}

/* ---- what is appended --------------------------------------------------------------------- */

/* Whether the body appends one tensor to the carried sequence and does nothing else with it. */
static bool appends_once(const struct ldnq_graph *body, size_t carried)
{
    const struct ldnq_value *before = body->inputs[FIRST_CARRIED + carried];
    const struct ldnq_value *after = body->outputs[1 + carried];
    const struct ldnq_node *insert = after->producer;
    return insert && ldnq_sequence_is_node(insert, "SequenceInsert") && insert->input_count == 2 &&
           insert->inputs[0] == before && insert->inputs[1] != before &&
           count_readers(body, before) == 1 && count_readers(body, after) == 1;
}

/* Whether all that reads the Loop's sequence can be replaced. */
static bool has_known_readers(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    for (size_t n = 0; n < graph->node_count; n++)
        if (ldnq_node_reads(graph->nodes[n], value) &&
            !ldnq_sequence_is_node(graph->nodes[n], "ConcatFromSequence") &&
            !ldnq_sequence_is_node(graph->nodes[n], "SequenceLength"))
            return false;
    return !value->is_output;
}

static void move_to_end(struct ldnq_value **values, size_t count, size_t index)
{
    struct ldnq_value *value = values[index];
    memmove(values + index, values + index + 1, (count - index - 1) * sizeof(struct ldnq_value *));
    values[count - 1] = value;
}

/* Carried value `carried` becomes an output that stacks what was inserted. */
static void stack_output(struct ldnq_node *loop, struct ldnq_graph *body, size_t carried)
{
    struct ldnq_node *insert = body->outputs[1 + carried]->producer;
    insert->op_type = "Identity";
    insert->inputs[0] = insert->inputs[1];
    insert->input_count = 1;
    body->outputs[1 + carried]->is_no_tensor = false;
    loop->outputs[carried]->is_no_tensor = false;
    move_to_end(body->inputs, body->input_count--, FIRST_CARRIED + carried);
    move_to_end(body->outputs, body->output_count, 1 + carried);
    move_to_end(loop->inputs, loop->input_count--, FIRST_CARRIED + carried);
    move_to_end(loop->outputs, loop->output_count, carried);
}

static void replace_carried(struct sequence_replacement *replacement, struct ldnq_node *loop,
                            struct ldnq_graph *body)
{
    /* Backwards: what moves to the end is not met again. */
    for (size_t i = body->input_count - FIRST_CARRIED; i-- > 0;) {
        const struct ldnq_value *before = loop->inputs[FIRST_CARRIED + i];
        struct ldnq_value *after = loop->outputs[i];
        if (!before || !after || !replacement->sequences[before->index].is_empty ||
            !appends_once(body, i) || !has_known_readers(replacement->graph, after))
            continue;
        stack_output(loop, body, i);
        replacement->sequences[after->index] =
            (struct sequence){ .is_known = true, .whole = after, .size = 1, .drops_axis = true };
    }
}

/* ---- what is taken from a captured sequence ----------------------------------------------------
 */

static bool is_only_indexed(const struct ldnq_graph *body, const struct ldnq_value *value)
{
    for (size_t n = 0; n < body->node_count; n++) {
        const struct ldnq_node *node = body->nodes[n];
        if (ldnq_node_reads(node, value) && (!ldnq_sequence_is_node(node, "SequenceAt") ||
                                             node->input_count != 2 || node->inputs[0] != value))
            return false;
    }
    return !value->is_output;
}

static enum ldnq_status replace_captured_sequence(struct ldnq_node *loop, struct ldnq_graph *body,
                                                  struct ldnq_capture *capture,
                                                  const struct sequence *sequence,
                                                  struct ldnq_error *err)
{
    struct ldnq_attr *axis = ldnq_arena_alloc(body->arena, 1, sizeof *axis, err);
    if (!axis)
        return LDNQ_NOMEM;
    *axis = (struct ldnq_attr){ .name = "axis", .kind = LDNQ_ATTR_INT, .i = sequence->axis };
    for (size_t n = 0; n < body->node_count; n++) {
        struct ldnq_node *node = body->nodes[n];
        if (!ldnq_node_reads(node, capture->inner))
            continue;
        node->op_type = "Gather";
        node->attrs = axis;
        node->attr_count = 1;
    }
    for (size_t i = 0; i < loop->input_count; i++)
        if (loop->inputs[i] == capture->outer)
            loop->inputs[i] = sequence->whole;
    for (size_t i = 0; i < loop->capture_count; i++)
        if (loop->captures[i] == capture->outer)
            loop->captures[i] = sequence->whole;
    capture->inner->is_no_tensor = false;
    capture->outer = sequence->whole;
    return LDNQ_OK;
}

enum ldnq_status ldnq_sequence_replace_in_loop(struct sequence_replacement *replacement,
                                               struct ldnq_node *loop, struct ldnq_error *err)
{
    struct ldnq_graph *body = find_body(loop);
    if (!body || body->input_count < FIRST_CARRIED ||
        loop->input_count - loop->capture_count != body->input_count ||
        body->output_count != loop->output_count + 1 ||
        loop->output_count < body->input_count - FIRST_CARRIED)
        return LDNQ_OK;
    for (size_t i = 0; i < body->capture_count; i++) {
        struct ldnq_capture *capture = &body->captures[i];
        const struct sequence *sequence = &replacement->sequences[capture->outer->index];
        if (sequence->is_known && sequence->whole && sequence->size == 1 && !sequence->sizes &&
            sequence->drops_axis && is_only_indexed(body, capture->inner))
            LDNQ_TRY(replace_captured_sequence(loop, body, capture, sequence, err));
    }
    replace_carried(replacement, loop, body);
    return LDNQ_OK;
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* Appends an Einsum that moves the first axis to `at`, from the end where that is negative. */
static enum ldnq_status append_move(struct sequence_replacement *replacement,
                                    const struct ldnq_node *old, struct ldnq_value *whole,
                                    int64_t at, struct ldnq_value *output, struct ldnq_error *err)
{
    const int count = (int)(at < 0 ? -at - 1 : at);
    struct ldnq_attr equation = { .name = "equation", .kind = LDNQ_ATTR_STRING };
    equation.s = ldnq_arena_printf(replacement->graph->arena, err,
                                   at < 0 ? "t...%.*s->...t%.*s" : "t%.*s...->%.*st...", count,
                                   letters, count, letters);
    return equation.s ? ldnq_sequence_append_node(replacement, old, "Einsum", &whole, 1, &equation,
                                                  output, err)
                      : LDNQ_NOMEM;
}

static enum ldnq_status append_slice(struct sequence_replacement *replacement,
                                     const struct ldnq_node *old, struct ldnq_value *shape,
                                     int64_t start, int64_t end, struct ldnq_value **out,
                                     struct ldnq_error *err)
{
    struct ldnq_value *inputs[3] = { shape };
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &start, 1, false, &inputs[1], err));
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &end, 1, false, &inputs[2], err));
    LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", out, err));
    return ldnq_sequence_append_node(replacement, old, "Slice", inputs, 3, NULL, *out, err);
}

/* Appends nodes that make one axis of two: that of the number and the one after it; where that is
 * negative, the two before the last -axis - 1 ones. */
static enum ldnq_status append_merge(struct sequence_replacement *replacement,
                                     const struct ldnq_node *old, struct ldnq_value *moved,
                                     int64_t axis, struct ldnq_value *output,
                                     struct ldnq_error *err)
{
    static const int64_t joined = -1;
    const struct ldnq_attr first = { .name = "axis", .kind = LDNQ_ATTR_INT };
    const int64_t before = axis < 0 ? axis - 1 : axis, after = axis < 0 ? axis + 1 : axis + 2;
    struct ldnq_value *shape, *parts[3], *inputs[2] = { moved };
    size_t count = 0;
    LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", &shape, err));
    LDNQ_TRY(ldnq_sequence_append_node(replacement, old, "Shape", &moved, 1, NULL, shape, err));
    if (before != 0)
        LDNQ_TRY(append_slice(replacement, old, shape, 0, before, &parts[count++], err));
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &joined, 1, false, &parts[count++], err));
    if (after != 0)
        LDNQ_TRY(append_slice(replacement, old, shape, after, INT64_MAX, &parts[count++], err));
    LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", &inputs[1], err));
    LDNQ_TRY(ldnq_sequence_append_node(replacement, old, "Concat", parts, count, &first, inputs[1],
                                       err));
    return ldnq_sequence_append_node(replacement, old, "Reshape", inputs, 2, NULL, output, err);
}

enum ldnq_status ldnq_sequence_concat_stacked(struct sequence_replacement *replacement,
                                              const struct ldnq_node *node,
                                              const struct sequence *sequence, bool *is_replaced,
                                              struct ldnq_error *err)
{
    const bool has_new_axis = ldnq_attr_int(node, "new_axis", 0) != 0;
    const int64_t axis = ldnq_attr_int(node, "axis", 0);
    struct ldnq_value *moved = sequence->whole, *output = node->outputs[0];
    *is_replaced = axis <= MOST_AXES && axis >= -MOST_AXES;
    if (!*is_replaced)
        return LDNQ_OK;
    if (has_new_axis)
        return axis == 0 ? ldnq_sequence_append_node(replacement, node, "Identity", &moved, 1, NULL,
                                                     output, err)
                         : append_move(replacement, node, moved, axis, output, err);
    if (axis != 0) {
        LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", &moved, err));
        LDNQ_TRY(append_move(replacement, node, sequence->whole, axis < 0 ? axis - 1 : axis, moved,
                             err));
    }
    return append_merge(replacement, node, moved, axis, output, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/sequences.h"

#include <string.h>

#include "base/growing_list.h"
#include "ops/op.h"
#include "passes/sequence_nodes.h"

/* ---- constants --------------------------------------------------------------------------- */

static bool read_integers(const struct ldnq_value *value, int64_t *out, size_t most, size_t *count)
{
    const struct ldnq_tensor *tensor = value ? value->constant : NULL;
    if (!tensor || (tensor->dtype != LDNQ_INT64 && tensor->dtype != LDNQ_INT32))
        return false;
    *count = ldnq_tensor_count(tensor);
    for (size_t i = 0; i < *count && i < most; i++)
        out[i] = ldnq_tensor_load_integer(tensor, i);
    return *count <= most;
}

static bool read_integer(const struct ldnq_value *value, int64_t *out)
{
    size_t count;
    return read_integers(value, out, 1, &count) && count == 1;
}

enum ldnq_status ldnq_sequence_add_integers(struct sequence_replacement *replacement,
                                            const int64_t *values, size_t count, bool is_scalar,
                                            struct ldnq_value **out, struct ldnq_error *err)
{
    const struct ldnq_shape shape = { is_scalar ? 0 : 1, { (int64_t)count } };
    struct ldnq_tensor *tensor;
    LDNQ_TRY(ldnq_tensor_create(replacement->graph->arena, LDNQ_INT64, &shape, &tensor, err));
    memcpy(tensor->data, values, count * sizeof *values);
    return ldnq_graph_add_constant(replacement->graph, "", tensor, out, err);
}

/* ---- new nodes ---------------------------------------------------------------------------- */

enum ldnq_status ldnq_sequence_append_to_list(struct sequence_replacement *replacement,
                                              struct ldnq_node *node, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(replacement->graph->arena, &replacement->nodes, replacement->count,
                               &replacement->capacity, sizeof *replacement->nodes, err));
    replacement->nodes[replacement->count++] = node;
    return LDNQ_OK;
}

enum ldnq_status ldnq_sequence_append_node(struct sequence_replacement *replacement,
                                           const struct ldnq_node *old, const char *op_type,
                                           struct ldnq_value **inputs, size_t input_count,
                                           const struct ldnq_attr *attr, struct ldnq_value *output,
                                           struct ldnq_error *err)
{
    struct ldnq_arena *arena = replacement->graph->arena;
    struct ldnq_node *node = ldnq_arena_alloc(arena, 1, sizeof *node, err);
    struct ldnq_value **copies = ldnq_arena_alloc(arena, input_count, sizeof *copies, err);
    struct ldnq_value **outputs = ldnq_arena_alloc(arena, 1, sizeof *outputs, err);
    struct ldnq_attr *attrs = ldnq_arena_alloc(arena, 1, sizeof *attrs, err);
    if (!node || !copies || !outputs || !attrs)
        return LDNQ_NOMEM;
    memcpy(copies, inputs, input_count * sizeof *copies);
    outputs[0] = output;
    if (attr)
        attrs[0] = *attr;
    *node = (struct ldnq_node){ .name = "",
                                .label = old->label,
                                .op_type = op_type,
                                .domain = "",
                                .opset = old->opset,
                                .index = old->index,
                                .input_count = input_count,
                                .output_count = 1,
                                .inputs = copies,
                                .outputs = outputs,
                                .attr_count = attr ? 1 : 0,
                                .attrs = attrs,
                                .within = "a sequence" };
    output->producer = node;
    output->is_no_tensor = false;
    return ldnq_sequence_append_to_list(replacement, node, err);
}

static struct ldnq_attr make_axis(int64_t axis)
{
    return (struct ldnq_attr){ .name = "axis", .kind = LDNQ_ATTR_INT, .i = axis };
}

/* ---- what a sequence holds ---------------------------------------------------------------- */

static enum ldnq_status read_split(struct sequence_replacement *replacement,
                                   const struct ldnq_node *node, struct sequence *out,
                                   struct ldnq_error *err)
{
    const struct ldnq_value *split = node->input_count > 1 ? node->inputs[1] : NULL;
    *out = (struct sequence){ .whole = node->inputs[0],
                              .axis = ldnq_attr_int(node, "axis", 0),
                              .size = 1 };
    if (!split) {
        out->drops_axis = ldnq_attr_int(node, "keepdims", 1) == 0;
        out->is_known = true;
        return LDNQ_OK;
    }
    if (!split->constant)
        return LDNQ_OK;
    if (split->constant->shape.rank == 0) {
        out->is_known = read_integer(split, &out->size) && out->size > 0;
        /* ONNX has no keepdims beside a split, but torch writes unbind so, and runtimes do it. */
        out->drops_axis = out->size == 1 && ldnq_attr_int(node, "keepdims", 1) == 0;
        return LDNQ_OK;
    }
    const size_t count = ldnq_tensor_count(split->constant);
    int64_t *sizes = ldnq_arena_alloc(replacement->graph->arena, count, sizeof *sizes, err);
    if (!sizes)
        return LDNQ_NOMEM;
    out->is_known = read_integers(split, sizes, count, &out->count) && count > 0;
    out->sizes = sizes;
    return LDNQ_OK;
}

static enum ldnq_status read_construct(const struct ldnq_node *node, struct sequence *out)
{
    *out = (struct sequence){ .is_known = node->input_count > 0,
                              .items = node->inputs,
                              .count = node->input_count };
    return LDNQ_OK;
}

/* ---- what readers become -------------------------------------------------------------------- */

/* Writes a piece of a tensor to `output`. */
static enum ldnq_status append_piece(struct sequence_replacement *replacement,
                                     const struct ldnq_node *old, const struct sequence *sequence,
                                     int64_t index, struct ldnq_value *output,
                                     struct ldnq_error *err)
{
    struct ldnq_value *inputs[4] = { sequence->whole };
    if (!sequence->sizes && sequence->size == 1) {
        const struct ldnq_attr axis = make_axis(sequence->axis);
        LDNQ_TRY(ldnq_sequence_add_integers(replacement, &index, 1, sequence->drops_axis,
                                            &inputs[1], err));
        return ldnq_sequence_append_node(replacement, old, "Gather", inputs, 2, &axis, output, err);
    }
    int64_t start = index * sequence->size, end = start + sequence->size;
    if (sequence->sizes) {
        start = 0;
        for (int64_t i = 0; i < index; i++)
            start += sequence->sizes[i];
        end = start + sequence->sizes[index];
    }
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &start, 1, false, &inputs[1], err));
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &end, 1, false, &inputs[2], err));
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &sequence->axis, 1, false, &inputs[3], err));
    return ldnq_sequence_append_node(replacement, old, "Slice", inputs, 4, NULL, output, err);
}

static bool has_item(const struct sequence *sequence, int64_t *index)
{
    const int64_t count = (int64_t)sequence->count;
    if (!sequence->is_known)
        return false;
    if (count == 0) /* of pieces of one element Gather counts from the end as well */
        return *index >= 0 || sequence->size == 1;
    *index += *index < 0 ? count : 0;
    return *index >= 0 && *index < count;
}

static enum ldnq_status replace_sequence_at(struct sequence_replacement *replacement,
                                            struct ldnq_node *node, bool *is_replaced,
                                            struct ldnq_error *err)
{
    const struct sequence *sequence = &replacement->sequences[node->inputs[0]->index];
    int64_t index;
    *is_replaced = node->input_count == 2 && read_integer(node->inputs[1], &index) &&
                   has_item(sequence, &index);
    if (!*is_replaced)
        return LDNQ_OK;
    if (sequence->items)
        return ldnq_sequence_append_node(replacement, node, "Identity", &sequence->items[index], 1,
                                         NULL, node->outputs[0], err);
    return append_piece(replacement, node, sequence, index, node->outputs[0], err);
}

/* Appends an Unsqueeze of one item, for a new axis. */
static enum ldnq_status append_unsqueeze(struct sequence_replacement *replacement,
                                         const struct ldnq_node *old, struct ldnq_value **item,
                                         int64_t axis, struct ldnq_error *err)
{
    struct ldnq_value *inputs[2] = { *item }, *output;
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &axis, 1, false, &inputs[1], err));
    LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", &output, err));
    *item = output;
    return ldnq_sequence_append_node(replacement, old, "Unsqueeze", inputs, 2, NULL, output, err);
}

static enum ldnq_status replace_concat_from_sequence(struct sequence_replacement *replacement,
                                                     struct ldnq_node *node, bool *is_replaced,
                                                     struct ldnq_error *err)
{
    const struct sequence *sequence = &replacement->sequences[node->inputs[0]->index];
    const bool has_new_axis = ldnq_attr_int(node, "new_axis", 0) != 0;
    const struct ldnq_attr axis = make_axis(ldnq_attr_int(node, "axis", 0));
    if (sequence->is_known && sequence->count == 0 && sequence->drops_axis && sequence->axis == 0)
        return ldnq_sequence_concat_stacked(replacement, node, sequence, is_replaced, err);
    /* Unsqueeze has its axes as an input from opset 13 on. */
    *is_replaced =
        sequence->is_known && sequence->count > 0 && (!has_new_axis || node->opset >= 13);
    if (!*is_replaced)
        return LDNQ_OK;
    struct ldnq_value **items =
        ldnq_arena_alloc(replacement->graph->arena, sequence->count, sizeof *items, err);
    if (!items)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < sequence->count; i++) {
        if (sequence->items) {
            items[i] = sequence->items[i];
        } else {
            LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", &items[i], err));
            LDNQ_TRY(append_piece(replacement, node, sequence, (int64_t)i, items[i], err));
        }
        if (has_new_axis)
            LDNQ_TRY(append_unsqueeze(replacement, node, &items[i], axis.i, err));
    }
    return ldnq_sequence_append_node(replacement, node, "Concat", items, sequence->count, &axis,
                                     node->outputs[0], err);
}

static enum ldnq_status replace_sequence_length(struct sequence_replacement *replacement,
                                                struct ldnq_node *node, bool *is_replaced,
                                                struct ldnq_error *err)
{
    const struct sequence *sequence = &replacement->sequences[node->inputs[0]->index];
    struct ldnq_value *length, *inputs[2];
    const int64_t count = (int64_t)sequence->count;
    const bool is_axis = sequence->is_known && count == 0 && sequence->size == 1;
    const struct ldnq_attr first = make_axis(0);
    *is_replaced = is_axis || (sequence->is_known && count > 0);
    if (!*is_replaced)
        return LDNQ_OK;
    if (is_axis) {
        LDNQ_TRY(ldnq_graph_add_value(replacement->graph, "", &inputs[0], err));
        LDNQ_TRY(
            ldnq_sequence_add_integers(replacement, &sequence->axis, 1, true, &inputs[1], err));
        LDNQ_TRY(ldnq_sequence_append_node(replacement, node, "Shape",
                                           (struct ldnq_value *[]){ sequence->whole }, 1, NULL,
                                           inputs[0], err));
        return ldnq_sequence_append_node(replacement, node, "Gather", inputs, 2, &first,
                                         node->outputs[0], err);
    }
    LDNQ_TRY(ldnq_sequence_add_integers(replacement, &count, 1, true, &length, err));
    return ldnq_sequence_append_node(replacement, node, "Identity", &length, 1, NULL,
                                     node->outputs[0], err);
}

/* ---- the pass -------------------------------------------------------------------------------- */

bool ldnq_sequence_is_node(const struct ldnq_node *node, const char *op_type)
{
    return *node->domain == '\0' && strcmp(node->op_type, op_type) == 0 && node->input_count > 0 &&
           node->inputs[0] && node->output_count == 1 && node->outputs[0];
}

/* Of a type that an Einsum moves. */
static bool is_empty_sequence(const struct ldnq_node *node)
{
    const int64_t dtype = ldnq_attr_int(node, "dtype", 1);
    return *node->domain == '\0' && strcmp(node->op_type, "SequenceEmpty") == 0 &&
           node->output_count == 1 && node->outputs[0] &&
           (dtype == 1 || dtype == 10 || dtype == 16);
}

static enum ldnq_status visit_node(struct sequence_replacement *replacement, struct ldnq_node *node,
                                   struct ldnq_error *err)
{
    bool is_replaced = false;
    if (ldnq_sequence_is_node(node, "SplitToSequence"))
        LDNQ_TRY(
            read_split(replacement, node, &replacement->sequences[node->outputs[0]->index], err));
    else if (ldnq_sequence_is_node(node, "SequenceConstruct"))
        LDNQ_TRY(read_construct(node, &replacement->sequences[node->outputs[0]->index]));
    else if (is_empty_sequence(node))
        replacement->sequences[node->outputs[0]->index].is_empty = true;
    else if (*node->domain == '\0' && strcmp(node->op_type, "Loop") == 0)
        LDNQ_TRY(ldnq_sequence_replace_in_loop(replacement, node, err));
    else if (ldnq_sequence_is_node(node, "SequenceAt"))
        LDNQ_TRY(replace_sequence_at(replacement, node, &is_replaced, err));
    else if (ldnq_sequence_is_node(node, "ConcatFromSequence"))
        LDNQ_TRY(replace_concat_from_sequence(replacement, node, &is_replaced, err));
    else if (ldnq_sequence_is_node(node, "SequenceLength"))
        LDNQ_TRY(replace_sequence_length(replacement, node, &is_replaced, err));
    return is_replaced ? LDNQ_OK : ldnq_sequence_append_to_list(replacement, node, err);
}

static bool has_sequences(const struct ldnq_graph *graph)
{
    for (size_t n = 0; n < graph->node_count; n++)
        if (ldnq_sequence_is_node(graph->nodes[n], "SplitToSequence") ||
            ldnq_sequence_is_node(graph->nodes[n], "SequenceConstruct") ||
            is_empty_sequence(graph->nodes[n]))
            return true;
    return false;
}

enum ldnq_status ldnq_pass_replace_sequences(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct sequence_replacement replacement = { .graph = graph };
    if (!has_sequences(graph))
        return LDNQ_OK;
    /* By values of the file: those of new nodes are no sequences. */
    replacement.sequences =
        ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *replacement.sequences, err);
    if (!replacement.sequences)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        LDNQ_TRY(visit_node(&replacement, graph->nodes[n], err));
    graph->nodes = replacement.nodes;
    graph->node_count = replacement.count;
    return LDNQ_OK;
}

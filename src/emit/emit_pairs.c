/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/emit_pairs.h"

#include <string.h>

#include "onnx/edit.h"
#include "ops/op.h"

struct pair_emitter {
    struct ldnq_model *model;
    const struct ldnq_graph *graph;
    const struct ldnq_placement *placement;
    struct ldnq_arena *arena;
    /* By group: the names of the initializers that its activations share. */
    const char **scales, **zero_points;
    /* By value index of the graph with pairs: the name in the file of codes, of their zero point
     * and of the DequantizeLinear's output; NULL: the value has no pair. */
    const char **names;
};

static enum ldnq_status add_scale(struct pair_emitter *emitter,
                                  const struct ldnq_placed_activation *activation,
                                  struct ldnq_error *err)
{
    const size_t group = activation->group;
    const char *base = activation->value->name;
    if (emitter->scales[group])
        return LDNQ_OK;
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_scale", &emitter->scales[group], err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_zero_point",
                                   &emitter->zero_points[group], err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, emitter->scales[group],
                                       activation->scale->constant, err));
    return ldnq_edit_add_initializer(emitter->model, emitter->zero_points[group],
                                     activation->zero_point->constant, err);
}

/* The first opset whose QuantizeLinear has types of 16 bits. Before, ONNX Runtime's own has them.
 */
#define OPSET_OF_16_BITS 21

static enum ldnq_status append_node(struct pair_emitter *emitter, const void *after,
                                    const char *op_type,
                                    const struct ldnq_placed_activation *activation,
                                    const char *base, const char *input, const char *output,
                                    struct ldnq_error *err)
{
    const char *name;
    const char *inputs[] = { input, emitter->scales[activation->group],
                             emitter->zero_points[activation->group] };
    const char *suffix = ldnq_arena_printf(emitter->arena, err, "_%s", op_type);
    if (!suffix)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, suffix, &name, err));
    LDNQ_TRY(ldnq_edit_append_node(emitter->model, after, op_type, name, inputs, 3, output, NULL, 0,
                                   err));
    return ldnq_dtype_size(activation->dtype) == 2 &&
                   ldnq_model_opset(emitter->model) < OPSET_OF_16_BITS
               ? ldnq_edit_set_contributed(emitter->model, output, err)
               : LDNQ_OK;
}

/* A constant operand is stored as codes. */
static enum ldnq_status emit_constant(struct pair_emitter *emitter,
                                      const struct ldnq_placed_activation *activation,
                                      struct ldnq_error *err)
{
    struct ldnq_tensor *codes;
    const char *name, *output, *base = activation->value->name;
    LDNQ_TRY(ldnq_activation_codes(activation, emitter->arena, &codes, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_quantized", &name, err));
    LDNQ_TRY(ldnq_edit_add_initializer(emitter->model, name, codes, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_dequantized", &output, err));
    emitter->names[activation->dequantized->index] = output;
    return append_node(emitter, NULL, "DequantizeLinear", activation, base, name, output, err);
}

/* The file's node that writes the value: the last of those that were merged into its producer,
 * if that is in the file still. NULL: an input of the graph. */
static const void *find_node_that_writes(const struct pair_emitter *emitter,
                                         const struct ldnq_value *value, size_t *output)
{
    const struct ldnq_node *node = value->producer;
    *output = 0;
    if (!node)
        return NULL;
    while (node->outputs[*output] != value)
        ++*output;
    const void *last = node->merged_count ? node->merged[node->merged_count - 1]->origin : NULL;
    return last && ldnq_edit_has_node(emitter->model, last) ? last : node->origin;
}

/* The second pairs of a value, which read what its first pair leaves in `input`. */
static enum ldnq_status emit_second_pairs(struct pair_emitter *emitter, const void *writer,
                                          const struct ldnq_placed_activation *first,
                                          const char *input, struct ldnq_error *err)
{
    const struct ldnq_placed_activation *end =
        emitter->placement->activations + emitter->placement->count;
    for (const struct ldnq_placed_activation *again = first + 1;
         again < end && again->value == first->value; again++) {
        const char *codes, *output, *base = again->value->name;
        LDNQ_TRY(add_scale(emitter, again, err));
        LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_requantized", &codes, err));
        LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_dequantized_again", &output, err));
        emitter->names[again->dequantized->index] = output;
        LDNQ_TRY(append_node(emitter, writer, "DequantizeLinear", again, base, codes, output, err));
        LDNQ_TRY(append_node(emitter, writer, "QuantizeLinear", again, base, input, codes, err));
    }
    return LDNQ_OK;
}

/* Also nodes that are in the file alone, as they were folded in the graph: the float value must
 * have no reader but the QuantizeLinear, or the runtime computes it. */
static enum ldnq_status redirect_readers_in_file(struct pair_emitter *emitter,
                                                 const struct ldnq_placed_activation *activation,
                                                 const char *codes, const char *output,
                                                 struct ldnq_error *err)
{
    static const char *const of_shape[] = { "Shape", "Size" };
    const char *name = activation->value->name;
    if (!activation->is_only_codes)
        return LDNQ_OK;
    for (size_t i = 0; i < sizeof of_shape / sizeof *of_shape; i++)
        LDNQ_TRY(ldnq_edit_redirect_readers(emitter->model, name, codes, of_shape[i], err));
    return ldnq_edit_redirect_readers(emitter->model, name, output, NULL, err);
}

static enum ldnq_status emit_pair(struct pair_emitter *emitter,
                                  const struct ldnq_placed_activation *activation,
                                  struct ldnq_error *err)
{
    size_t index;
    const char *codes, *output, *input = activation->value->name, *base = input;
    const void *writer = find_node_that_writes(emitter, activation->value, &index);
    if (activation->replaces_graph_output)
        output = base = activation->dequantized->name;
    else
        LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_dequantized", &output, err));
    LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_quantized", &codes, err));
    emitter->names[activation->dequantized->index] = output;
    emitter->names[activation->codes->index] = codes;
    emitter->names[activation->zero_point->index] = emitter->zero_points[activation->group];
    if (!activation->replaces_graph_output)
        LDNQ_TRY(redirect_readers_in_file(emitter, activation, codes, output, err));
    else if (activation->quantize) {
        /* The DequantizeLinear gets the graph output's name, so readers of it stay as they are. */
        LDNQ_TRY(ldnq_edit_unique_name(emitter->model, base, "_float", &input, err));
        LDNQ_TRY(ldnq_edit_set_output(emitter->model, writer, index, input, err));
    }
    if (!activation->quantize)
        LDNQ_TRY(ldnq_edit_set_output(emitter->model, writer, index, codes, err));
    /* Each goes right after the writer: the last one comes first. */
    LDNQ_TRY(emit_second_pairs(emitter, writer, activation, output, err));
    LDNQ_TRY(
        append_node(emitter, writer, "DequantizeLinear", activation, base, codes, output, err));
    return activation->quantize
               ? append_node(emitter, writer, "QuantizeLinear", activation, base, input, codes, err)
               : LDNQ_OK;
}

static enum ldnq_status write_pads(struct pair_emitter *emitter, const struct ldnq_node *node,
                                   struct ldnq_error *err)
{
    size_t count;
    const int64_t *pads = ldnq_attr_ints(node, "pads", &count);
    if (!pads || strcmp(node->op_type, "Conv") != 0)
        return LDNQ_OK;
    return ldnq_edit_set_ints(emitter->model, node->origin, "pads", pads, count, err);
}

static enum ldnq_status redirect_readers(struct pair_emitter *emitter, struct ldnq_error *err)
{
    for (size_t n = 0; n < emitter->graph->node_count; n++) {
        const struct ldnq_node *node = emitter->graph->nodes[n];
        bool reads = false;
        for (size_t i = 0; node->origin && i < node->input_count; i++) {
            const char *name = node->inputs[i] ? emitter->names[node->inputs[i]->index] : NULL;
            if (!name)
                continue;
            LDNQ_TRY(ldnq_edit_set_input(emitter->model, node->origin, i, name, err));
            reads = true;
        }
        if (reads)
            LDNQ_TRY(write_pads(emitter, node, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status emit_all_pairs(struct pair_emitter *emitter, struct ldnq_error *err)
{
    const struct ldnq_placement *placement = emitter->placement;
    emitter->scales =
        ldnq_arena_alloc(emitter->arena, placement->group_count, sizeof *emitter->scales, err);
    emitter->zero_points =
        ldnq_arena_alloc(emitter->arena, placement->group_count, sizeof *emitter->zero_points, err);
    emitter->names =
        ldnq_arena_alloc(emitter->arena, emitter->graph->value_count, sizeof *emitter->names, err);
    if (!emitter->scales || !emitter->zero_points || !emitter->names)
        return LDNQ_NOMEM;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        if (ldnq_activation_is_second(activation) && !activation->is_constant)
            continue; /* with the first pair of its value */
        LDNQ_TRY(add_scale(emitter, activation, err));
        LDNQ_TRY(activation->is_constant ? emit_constant(emitter, activation, err)
                                         : emit_pair(emitter, activation, err));
    }
    return redirect_readers(emitter, err);
}

enum ldnq_status ldnq_emit_pairs(struct ldnq_model *model, const struct ldnq_placement *placement,
                                 struct ldnq_error *err)
{
    struct pair_emitter emitter = { .model = model,
                                    .graph = placement->graph,
                                    .placement = placement };
    LDNQ_TRY(ldnq_arena_create(&emitter.arena, err));
    const enum ldnq_status status = emit_all_pairs(&emitter, err);
    ldnq_arena_destroy(emitter.arena);
    return status;
}

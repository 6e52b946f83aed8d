/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/remove_pairs.h"

#include <math.h>
#include <string.h>

#include "onnx/edit.h"

struct pair_remover {
    struct ldnq_model *model;
    const struct ldnq_graph *graph;
    struct ldnq_arena *arena;
    const char **floats; /* by value: the float initializer in its place; NULL: none yet */
    bool changed;
};

/* ---- weights -------------------------------------------------------------------------------- */

/* Input i of the node becomes a float initializer if it was folded from codes. */
static enum ldnq_status replace_input(struct pair_remover *remover, const struct ldnq_node *node,
                                      size_t i, struct ldnq_error *err)
{
    const struct ldnq_value *value = node->inputs[i];
    if (!value || !value->from_codes || !value->constant || value->constant->dtype != LDNQ_FLOAT)
        return LDNQ_OK;
    const char **name = &remover->floats[value->index];
    if (!*name)
        LDNQ_TRY(
            ldnq_edit_add_named(remover->model, value->name, "_float", value->constant, name, err));
    remover->changed = true;
    return ldnq_edit_set_input(remover->model, node->origin, i, *name, err);
}

/* ---- activations ---------------------------------------------------------------------------- */

/* Scale and zero point of a Q/DQ node with one scale. */
static bool read_scale(const struct ldnq_node *node, double *scale, double *zero,
                       enum ldnq_dtype *codes)
{
    const struct ldnq_value *s = node->input_count > 1 ? node->inputs[1] : NULL;
    const struct ldnq_value *z = node->input_count > 2 ? node->inputs[2] : NULL;
    if (!s || !s->constant || s->constant->dtype != LDNQ_FLOAT ||
        ldnq_tensor_count(s->constant) != 1 || (z && !z->constant))
        return false;
    *scale = ((const float *)s->constant->data)[0];
    *codes = z ? z->constant->dtype : node->inputs[0]->dtype;
    if (!ldnq_dtype_is_integer(*codes))
        return false;
    *zero = z ? (double)ldnq_tensor_load_integer(z->constant, 0) : 0.0;
    return true;
}

/* Narrows lowest and highest to the constants of a Clip of codes. */
static bool narrow_range_by_clip(const struct ldnq_node *clip, double *lowest, double *highest)
{
    const struct ldnq_value *low = clip->input_count > 1 ? clip->inputs[1] : NULL;
    const struct ldnq_value *high = clip->input_count > 2 ? clip->inputs[2] : NULL;
    if ((low && !low->constant) || (high && !high->constant))
        return false;
    if (low)
        *lowest = fmax(*lowest, (double)ldnq_tensor_load_integer(low->constant, 0));
    if (high)
        *highest = fmin(*highest, (double)ldnq_tensor_load_integer(high->constant, 0));
    return true;
}

/* Finds the float value that a DequantizeLinear reads through a QuantizeLinear, and the ends of
 * its codes' range; NULL where there is none. */
static const struct ldnq_value *find_float_source(const struct ldnq_node *dequantize, float ends[2])
{
    double scale, zero;
    enum ldnq_dtype codes;
    if (!read_scale(dequantize, &scale, &zero, &codes))
        return NULL;
    const unsigned bits = ldnq_dtype_bits(codes);
    const double lowest_code = ldnq_dtype_is_signed(codes) ? -ldexp(1.0, (int)bits - 1) : 0.0;
    double lowest = lowest_code, highest = lowest_code + ldexp(1.0, (int)bits) - 1.0;
    const struct ldnq_node *node = dequantize->inputs[0]->producer;
    if (ldnq_is_file_node(node, "Clip")) {
        if (!narrow_range_by_clip(node, &lowest, &highest))
            return NULL;
        node = node->inputs[0]->producer;
    }
    if (!ldnq_is_file_node(node, "QuantizeLinear"))
        return NULL;
    ends[0] = (float)((lowest - zero) * scale);
    ends[1] = (float)((highest - zero) * scale);
    return node->inputs[0];
}

/* Whether a range of codes that begins at 0 may stand for a Relu or Clip after the node: other
 * operators have no such activation merged into them. */
static bool may_have_activation(const struct ldnq_node *producer)
{
    static const char *const types[] = { "Conv", "ConvTranspose", "Gemm", "MatMul",
                                         "Add",  "Sub",           "Mul",  "BatchNormalization" };
    for (size_t i = 0; producer && i < sizeof types / sizeof *types; i++)
        if (strcmp(producer->op_type, types[i]) == 0)
            return true;
    return false;
}

static bool is_captured(const struct ldnq_graph *graph, const struct ldnq_value *value)
{
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t c = 0; c < graph->nodes[n]->capture_count; c++)
            if (graph->nodes[n]->captures[c] == value)
                return true;
    return false;
}

static enum ldnq_status replace_pair_by_clip(struct pair_remover *remover,
                                             const struct ldnq_node *dequantize, const char *source,
                                             float ends[2], struct ldnq_error *err)
{
    const struct ldnq_tensor low = { .dtype = LDNQ_FLOAT, .data = &ends[0] };
    const struct ldnq_tensor high = { .dtype = LDNQ_FLOAT, .data = &ends[1] };
    const char *inputs[3] = { source };
    LDNQ_TRY(ldnq_edit_add_named(remover->model, dequantize->label, "_min", &low, &inputs[1], err));
    LDNQ_TRY(
        ldnq_edit_add_named(remover->model, dequantize->label, "_max", &high, &inputs[2], err));
    return ldnq_edit_replace_node(remover->model, dequantize->origin, "Clip", inputs, 3, NULL, 0,
                                  err);
}

/* The readers of the pair read its source. Where its range may stand for a Relu or Clip that was
 * merged into the producer, the DequantizeLinear becomes that Clip. */
static enum ldnq_status replace_pair(struct pair_remover *remover,
                                     const struct ldnq_node *dequantize, struct ldnq_error *err)
{
    float ends[2];
    const struct ldnq_value *source = find_float_source(dequantize, ends);
    const struct ldnq_value *output = dequantize->outputs[0];
    if (!source || source->constant)
        return LDNQ_OK;
    remover->changed = true;
    if (ends[0] == 0.0f && may_have_activation(source->producer))
        return replace_pair_by_clip(remover, dequantize, source->name, ends, err);
    if (output->is_output || is_captured(remover->graph, output))
        return ldnq_edit_replace_node(remover->model, dequantize->origin, "Identity",
                                      &(const char *){ source->name }, 1, NULL, 0, err);
    return ldnq_edit_redirect_readers(remover->model, output->name, source->name, NULL, err);
}

static enum ldnq_status remove_pairs(struct pair_remover *remover, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = remover->graph;
    remover->floats =
        ldnq_arena_alloc(remover->arena, graph->value_count, sizeof *remover->floats, err);
    if (!remover->floats)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        if (!node->origin)
            continue;
        if (ldnq_is_file_node(node, "DequantizeLinear"))
            LDNQ_TRY(replace_pair(remover, node, err));
        else
            for (size_t i = 0; i < node->input_count; i++)
                LDNQ_TRY(replace_input(remover, node, i, err));
    }
    LDNQ_TRY(ldnq_model_raise_opset(remover->model, 11, err));
    return ldnq_edit_prune(remover->model, err);
}

enum ldnq_status ldnq_emit_remove_pairs(struct ldnq_model *model, const struct ldnq_graph *graph,
                                        bool *changed, struct ldnq_error *err)
{
    struct pair_remover remover = { .model = model, .graph = graph };
    LDNQ_TRY(ldnq_arena_create(&remover.arena, err));
    const enum ldnq_status status = remove_pairs(&remover, err);
    *changed = remover.changed;
    ldnq_arena_destroy(remover.arena);
    return status;
}

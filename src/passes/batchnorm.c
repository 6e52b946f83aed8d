/* SPDX-License-Identifier: Apache-2.0 */
/* batchnorm.c: merges a BatchNormalization into the layer before it.
 *
 * Source  Ioffe, Szegedy, "Batch Normalization", ICML 2015, algorithm 2: at
 *         inference it is an affine map per channel
 */
#include "passes/passes.h"

#include <math.h>
#include <string.h>

#include "ops/norm/batchnormalization_training.h"
#include "ops/op_layer.h"

/* The inputs of BatchNormalization. */
enum { X, SCALE, SHIFT, MEAN, VARIANCE, INPUTS };

struct batchnorm_merge {
    struct ldnq_graph *graph;
    const size_t *readers; /* by value */
    struct ldnq_node *layer, *norm;
    struct ldnq_layer_geometry geometry;
    const struct ldnq_tensor *weight, *bias;
    size_t channels;
    struct ldnq_tensor *new_weight, *new_bias;
};

/* By value: the number of its readers; being a graph output counts as one. */
static size_t *count_readers(const struct ldnq_graph *graph, struct ldnq_error *err)
{
    size_t *readers = ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *readers, err);
    for (size_t i = 0; readers && i < graph->value_count; i++)
        readers[i] = graph->values[i]->is_output;
    for (size_t i = 0; readers && i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        for (size_t j = 0; j < node->input_count; j++)
            if (node->inputs[j])
                readers[node->inputs[j]->index]++;
        for (size_t j = 0; j < node->capture_count; j++)
            readers[node->captures[j]->index]++;
    }
    return readers;
}

static const struct ldnq_tensor *find_float_constant(const struct ldnq_node *node, size_t input)
{
    const struct ldnq_value *value = input < node->input_count ? node->inputs[input] : NULL;
    return value && value->constant && value->constant->dtype == LDNQ_FLOAT ? value->constant
                                                                            : NULL;
}

static bool has_constant_norm_inputs(const struct ldnq_node *norm, size_t channels)
{
    for (size_t i = SCALE; i < INPUTS; i++) {
        const struct ldnq_tensor *tensor = find_float_constant(norm, i);
        if (!tensor || ldnq_tensor_count(tensor) != channels)
            return false;
    }
    return true;
}

static bool can_merge_norm_into_layer(struct batchnorm_merge *merge)
{
    struct ldnq_node *layer = merge->layer;
    /* A node of the file can't be merged with a node from inside a function. */
    if (!layer || !layer->op || !layer->op->layer || (merge->norm->within && !layer->within) ||
        merge->readers[layer->outputs[0]->index] != 1)
        return false;
    const struct ldnq_op_layer *facts = layer->op->layer;
    merge->weight = find_float_constant(layer, (size_t)facts->weight_input);
    if (facts->bias_input < 0 || !merge->weight)
        return false;
    size_t bias_input = (size_t)facts->bias_input;
    bool has_bias = bias_input < layer->input_count && layer->inputs[bias_input];
    merge->bias = has_bias ? find_float_constant(layer, bias_input) : NULL;
    if (has_bias && !merge->bias)
        return false;
    if (facts->describe_weight(layer, merge->weight, merge->bias, &merge->geometry, NULL) !=
            LDNQ_OK ||
        merge->geometry.bias_factor == 0.0f)
        return false;
    merge->channels = merge->geometry.groups * merge->geometry.rows;
    return has_constant_norm_inputs(merge->norm, merge->channels);
}

static enum ldnq_status merge_tensors(struct batchnorm_merge *merge, struct ldnq_error *err)
{
    struct ldnq_arena *arena = merge->graph->arena;
    struct ldnq_shape shape = { .rank = 1, .dim = { (int64_t)merge->channels } };
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &merge->weight->shape, &merge->new_weight, err));
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &shape, &merge->new_bias, err));
    float *weight = merge->new_weight->data, *bias = merge->new_bias->data;
    double *factor = ldnq_arena_alloc(arena, merge->channels, sizeof *factor, err);
    if (!factor)
        return LDNQ_NOMEM;
    const struct ldnq_node *norm = merge->norm;
    const float *scale = find_float_constant(norm, SCALE)->data;
    const float *shift = find_float_constant(norm, SHIFT)->data;
    const float *mean = find_float_constant(norm, MEAN)->data;
    const float *var = find_float_constant(norm, VARIANCE)->data;
    const float *old = merge->bias ? merge->bias->data : NULL;
    double epsilon = ldnq_attr_float(norm, "epsilon", 1e-5f), beta = merge->geometry.bias_factor;
    for (size_t c = 0; c < merge->channels; c++) {
        factor[c] = scale[c] / sqrt((double)var[c] + epsilon);
        double before = old ? beta * old[c] : 0.0;
        bias[c] = (float)(((before - mean[c]) * factor[c] + shift[c]) / beta);
    }
    const float *w = merge->weight->data;
    for (size_t c = 0; c < merge->channels; c++)
        for (size_t col = 0; col < merge->geometry.cols; col++) {
            const size_t i = ldnq_find_weight_offset(&merge->geometry, c, col);
            weight[i] = (float)(w[i] * factor[c]);
        }
    return LDNQ_OK;
}

/* Makes the tensor an input of the layer. It keeps the name of the constant it replaces;
 * a missing bias is appended to the inputs. */
static enum ldnq_status replace_constant(const struct batchnorm_merge *merge, size_t input,
                                         const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    struct ldnq_node *layer = merge->layer;
    struct ldnq_value *old = input < layer->input_count ? layer->inputs[input] : NULL, *value;
    const char *name =
        old ? old->name : ldnq_arena_printf(merge->graph->arena, err, "%s.bias", layer->label);
    if (!name)
        return LDNQ_NOMEM;
    if (input >= layer->input_count) {
        struct ldnq_value **longer =
            ldnq_arena_alloc(merge->graph->arena, input + 1, sizeof *longer, err);
        if (!longer)
            return LDNQ_NOMEM;
        memcpy(longer, layer->inputs, layer->input_count * sizeof *longer);
        layer->inputs = longer;
        layer->input_count = input + 1;
    }
    LDNQ_TRY(ldnq_graph_add_constant(merge->graph, name, tensor, &value, err));
    /* The merged constant comes from where the old one came from. */
    value->folded_from = old ? old->folded_from : NULL;
    value->from_codes = old && old->from_codes;
    layer->inputs[input] = value;
    return LDNQ_OK;
}

static enum ldnq_status append_merged(const struct batchnorm_merge *merge, struct ldnq_error *err)
{
    struct ldnq_node *layer = merge->layer;
    struct ldnq_node **list =
        ldnq_arena_alloc(merge->graph->arena, layer->merged_count + 1, sizeof *list, err);
    if (!list)
        return LDNQ_NOMEM;
    if (layer->merged_count)
        memcpy(list, layer->merged, layer->merged_count * sizeof *list);
    list[layer->merged_count++] = merge->norm;
    layer->merged = list;
    return LDNQ_OK;
}

static enum ldnq_status apply_merge(struct batchnorm_merge *merge, struct ldnq_error *err)
{
    const struct ldnq_op_layer *facts = merge->layer->op->layer;
    LDNQ_TRY(replace_constant(merge, (size_t)facts->weight_input, merge->new_weight, err));
    LDNQ_TRY(replace_constant(merge, (size_t)facts->bias_input, merge->new_bias, err));
    LDNQ_TRY(append_merged(merge, err));
    merge->layer->outputs[0]->producer = NULL;
    merge->layer->outputs[0] = merge->norm->outputs[0];
    merge->layer->outputs[0]->producer = merge->layer;
    return LDNQ_OK;
}

enum ldnq_status ldnq_pass_merge_batchnorms(struct ldnq_graph *graph, struct ldnq_error *err)
{
    size_t kept = 0;
    const size_t *readers = count_readers(graph, err);
    if (!readers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        graph->nodes[kept++] = node;
        if (!node->op || strcmp(node->op->type, "BatchNormalization") != 0 || !node->inputs[X] ||
            ldnq_batchnorm_is_training(node))
            continue;
        struct batchnorm_merge merge = {
            .graph = graph, .readers = readers, .norm = node, .layer = node->inputs[X]->producer
        };
        if (!can_merge_norm_into_layer(&merge))
            continue;
        LDNQ_TRY(merge_tensors(&merge, err));
        /* A negative variance, or a Gemm's beta that is too small to divide the bias by. */
        if (!ldnq_tensor_is_finite(merge.new_weight, NULL) ||
            !ldnq_tensor_is_finite(merge.new_bias, NULL))
            continue;
        LDNQ_TRY(apply_merge(&merge, err));
        kept--;
    }
    graph->node_count = kept;
    return LDNQ_OK;
}

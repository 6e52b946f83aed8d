/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/fine_tune_norm.h"

#include <math.h>
#include <string.h>

#define SCALE_INPUT 1
#define BIAS_INPUT 2

static bool is_norm(const struct ldnq_node *node)
{
    static const char *const types[] = { "BatchNormalization", "LayerNormalization",
                                         "InstanceNormalization", "GroupNormalization",
                                         "RMSNormalization" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return node->op && node->origin && !node->within;
    return false;
}

static const struct ldnq_tensor *find_constant(const struct ldnq_node *node, size_t input)
{
    const struct ldnq_value *value = input < node->input_count ? node->inputs[input] : NULL;
    const struct ldnq_tensor *tensor = value && !value->from_codes ? value->constant : NULL;
    return tensor && tensor->dtype == LDNQ_FLOAT && ldnq_tensor_count(tensor) > 0 ? tensor : NULL;
}

static enum ldnq_status init_norm_constant_training(struct ldnq_quantizer *quantizer,
                                                    struct ldnq_node *node, size_t input,
                                                    struct ldnq_arena *arena,
                                                    struct ldnq_fine_tune_norm *norm,
                                                    struct ldnq_error *err)
{
    const struct ldnq_tensor *first = find_constant(node, input);
    const float *scale = find_constant(node, SCALE_INPUT)->data;
    const size_t count = ldnq_tensor_count(first);
    *norm = (struct ldnq_fine_tune_norm){
        .result = { .node = node, .input = input, .name = node->inputs[input]->name },
        .first = first->data,
    };
    norm->unit = ldnq_arena_alloc(arena, count, sizeof *norm->unit, err);
    if (!norm->unit)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        norm->unit[i] = input == SCALE_INPUT ? scale[i] : fabsf(scale[i]);
    LDNQ_TRY(ldnq_tensor_copy(arena, first, &norm->now, err));
    LDNQ_TRY(ldnq_tensor_copy(quantizer->arena, first, &norm->result.tensor, err));
    LDNQ_TRY(ldnq_adam_init(&norm->adam, count, arena, err));
    return ldnq_graph_add_constant(quantizer->graph, "", norm->now, &node->inputs[input], err);
}

/* The scale is first: the bias needs its float value. */
static enum ldnq_status init_norm_node_training(struct ldnq_quantizer *quantizer,
                                                struct ldnq_node *node, struct ldnq_arena *arena,
                                                struct ldnq_fine_tune_norm *norms, size_t *count,
                                                struct ldnq_error *err)
{
    const struct ldnq_tensor *scale = find_constant(node, SCALE_INPUT);
    const struct ldnq_tensor *bias = find_constant(node, BIAS_INPUT);
    if (!is_norm(node) || !scale)
        return LDNQ_OK;
    LDNQ_TRY(
        init_norm_constant_training(quantizer, node, SCALE_INPUT, arena, &norms[(*count)++], err));
    if (!bias || strcmp(node->op_type, "RMSNormalization") == 0 ||
        ldnq_tensor_count(bias) != ldnq_tensor_count(scale))
        return LDNQ_OK;
    return init_norm_constant_training(quantizer, node, BIAS_INPUT, arena, &norms[(*count)++], err);
}

enum ldnq_status ldnq_fine_tune_norms_init(struct ldnq_quantizer *quantizer,
                                           struct ldnq_arena *arena,
                                           struct ldnq_fine_tune_norm **norms, size_t *count,
                                           struct ldnq_error *err)
{
    size_t nodes = 0;
    *count = 0;
    for (size_t i = 0; i < quantizer->graph->node_count; i++)
        nodes += is_norm(quantizer->graph->nodes[i]);
    *norms = ldnq_arena_alloc(arena, 2 * nodes, sizeof **norms, err);
    if (!*norms)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < quantizer->graph->node_count; i++)
        LDNQ_TRY(init_norm_node_training(quantizer, quantizer->graph->nodes[i], arena, *norms,
                                         count, err));
    return LDNQ_OK;
}

void ldnq_fine_tune_norm_add_gradient(struct ldnq_fine_tune_norm *norm,
                                      const struct ldnq_tensor *gradient)
{
    const float *g = gradient->data;
    for (size_t i = 0; i < norm->adam.count; i++)
        norm->adam.gradient[i] += g[i] * norm->unit[i];
}

void ldnq_fine_tune_norm_step(struct ldnq_fine_tune_norm *norm, size_t step, double rate)
{
    float *now = norm->now->data;
    ldnq_adam_step(&norm->adam, step, rate);
    for (size_t i = 0; i < norm->adam.count; i++)
        now[i] = norm->first[i] + norm->adam.value[i] * norm->unit[i];
}

void ldnq_fine_tune_norm_save_best(struct ldnq_fine_tune_norm *norm)
{
    memcpy(norm->result.tensor->data, norm->now->data, norm->adam.count * sizeof(float));
}

enum ldnq_status ldnq_fine_tune_norms_apply_best(struct ldnq_quantizer *quantizer,
                                                 struct ldnq_fine_tune_norm *norms, size_t count,
                                                 struct ldnq_error *err)
{
    struct ldnq_quantization *result = quantizer->result;
    result->network.norms =
        ldnq_arena_alloc(quantizer->arena, count, sizeof *result->network.norms, err);
    if (!result->network.norms)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_changed_norm *norm = &norms[i].result;
        norm->node->inputs[norm->input]->constant = norm->tensor;
        if (memcmp(norms[i].first, norm->tensor->data, norms[i].adam.count * sizeof(float)) != 0)
            result->network.norms[result->network.norm_count++] = *norm;
    }
    return LDNQ_OK;
}

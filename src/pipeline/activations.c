#include "pipeline/activations.h"

#include <string.h>

#include "ops/op.h"
#include "pipeline/ranges.h"
#include "pipeline/select.h"

/* Samples per batch while ranges are found. */
#define BATCH ((size_t)8)

/* alpha, beta and transA of a Gemm that integer kernels have: 1, 1 and 0. */
static bool has_default_gemm_attributes(const struct ldnq_node *node)
{
    return strcmp(node->op_type, "Gemm") != 0 ||
           (ldnq_attr_float(node, "alpha", 1.0f) == 1.0f &&
            ldnq_attr_float(node, "beta", 1.0f) == 1.0f && ldnq_attr_int(node, "transA", 0) == 0);
}

static bool is_selected(void *ctx, const struct ldnq_node *node)
{
    const struct ldnq_selection *selection = ctx;
    for (size_t i = 0; i < selection->count; i++)
        if (selection->layers[i].node == node)
            return has_default_gemm_attributes(node);
    return false;
}

enum ldnq_status ldnq_quantizer_insert_pairs(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    const struct ldnq_activation_options *activations = &run->options->activations;
    struct ldnq_selection selection;
    if (!activations->target || activations->target->pairs == LDNQ_PAIRS_NONE ||
        activations->dtype == LDNQ_UNDEFINED)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_select_layers(run->graph, run->options, run->arena, &selection, err));
    const struct ldnq_placement_options options = { .target = activations->target,
                                                    .activation = activations->dtype,
                                                    .has_codes = is_selected,
                                                    .ctx = &selection };
    LDNQ_TRY(ldnq_placement_make(run->graph, &options, run->arena, &run->placement, err));
    return ldnq_placement_insert(run->placement, run->graph, err);
}

/* The activation whose codes the layer reads; NULL where it computes in float. */
static const struct ldnq_placed_activation *
find_input_activation(const struct ldnq_placement *placement, const struct ldnq_layer *layer)
{
    for (size_t i = 0; i < placement->float_count; i++)
        if (placement->float_nodes[i].node == layer->node)
            return NULL;
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].dequantized == layer->node->inputs[0])
            return &placement->activations[a];
    return NULL;
}

enum ldnq_status ldnq_quantizer_set_ranges(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    struct ldnq_placement *placement = run->placement;
    struct ldnq_quantized_network *network = &run->result->network;
    if (!placement)
        return LDNQ_OK;
    const struct ldnq_ranges_options options = { .rule = run->options->activations.rule,
                                                 .batch = BATCH,
                                                 .pool = run->options->pool,
                                                 .sink = run->options->sink };
    LDNQ_TRY(ldnq_placement_bypass_pairs(placement, run->graph, run->reference, err));
    LDNQ_TRY(ldnq_ranges_find(placement, run->graph, run->reference, run->samples, &options, err));
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_placed_activation *input =
            find_input_activation(placement, &network->layers[i].layer);
        network->layers[i].runs_on_codes = input != NULL;
        if (input && placement->target->bias == LDNQ_BIAS_INT32)
            network->layers[i].input_scale = *(const float *)input->scale->constant->data;
    }
    network->placement = placement;
    return LDNQ_OK;
}

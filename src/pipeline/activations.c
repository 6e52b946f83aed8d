#include "pipeline/activations.h"

#include "pipeline/ranges.h"
#include "pipeline/select.h"

/* Samples per batch while ranges are found. */
#define BATCH ((size_t)8)

/* The layers whose codes the integer kernels take. */
struct integer_layers {
    const struct ldnq_quantize_options *options;
    struct ldnq_selection selection;
};

static bool is_integer_layer(void *ctx, const struct ldnq_node *node)
{
    const struct integer_layers *layers = ctx;
    for (size_t i = 0; i < layers->selection.count; i++)
        if (layers->selection.layers[i].node == node)
            return ldnq_select_fits_integers(&layers->selection.layers[i], layers->options);
    return false;
}

static bool has_integer_layer(struct integer_layers *layers)
{
    for (size_t i = 0; i < layers->selection.count; i++)
        if (is_integer_layer(layers, layers->selection.layers[i].node))
            return true;
    return false;
}

enum ldnq_status ldnq_quantizer_insert_pairs(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    const struct ldnq_activation_options *activations = &run->options->activations;
    struct integer_layers layers = { .options = run->options };
    if (!activations->target || activations->target->pairs == LDNQ_PAIRS_NONE ||
        activations->dtype == LDNQ_UNDEFINED)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_select_layers(run->graph, run->options, run->arena, &layers.selection, err));
    if (!has_integer_layer(&layers))
        return LDNQ_OK;
    const struct ldnq_placement_options options = { .target = activations->target,
                                                    .activation = activations->dtype,
                                                    .has_codes = is_integer_layer,
                                                    .ctx = &layers };
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

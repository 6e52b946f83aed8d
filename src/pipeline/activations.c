#include "pipeline/activations.h"

#include "pipeline/float_pass.h"
#include "pipeline/ranges.h"
#include "pipeline/select.h"

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

/* ---- one pass of the float network --------------------------------------------------------- */

struct observation {
    struct ldnq_ranges *ranges;     /* NULL: no activation has a pair */
    struct ldnq_input_means *means; /* NULL: not needed */
};

static enum ldnq_status observe_value(void *ctx, const struct ldnq_value *value,
                                      const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    const struct observation *observation = ctx;
    if (observation->ranges)
        LDNQ_TRY(ldnq_ranges_add(observation->ranges, value, tensor, err));
    return observation->means ? ldnq_input_means_add(observation->means, value, tensor, err)
                              : LDNQ_OK;
}

static enum ldnq_status observe_samples(struct ldnq_quantizer *run, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    struct observation observation = { .means = run->means };
    bool *visited = ldnq_arena_alloc(arena, run->reference->value_count, sizeof *visited, err);
    if (!visited)
        return LDNQ_NOMEM;
    if (run->placement) {
        LDNQ_TRY(ldnq_ranges_create(run->placement, run->graph, run->reference,
                                    run->options->activations.rule, arena, &observation.ranges,
                                    err));
        ldnq_ranges_mark(observation.ranges, visited);
    }
    if (run->means)
        ldnq_input_means_mark(run->means, visited);
    const struct ldnq_float_pass pass = { .graph = run->reference,
                                          .samples = run->samples,
                                          .visited = visited,
                                          .visit = observe_value,
                                          .ctx = &observation,
                                          .pool = run->options->pool,
                                          .sink = run->options->sink };
    LDNQ_TRY(ldnq_float_pass_run(&pass, err));
    if (run->placement)
        ldnq_ranges_choose(observation.ranges);
    return LDNQ_OK;
}

static void set_input_scales(struct ldnq_quantizer *run)
{
    struct ldnq_quantized_network *network = &run->result->network;
    const struct ldnq_placement *placement = run->placement;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_placed_activation *input =
            find_input_activation(placement, &network->layers[i].layer);
        network->layers[i].runs_on_codes = input != NULL;
        if (input && placement->target->bias == LDNQ_BIAS_INT32)
            network->layers[i].input_scale = *(const float *)input->scale->constant->data;
    }
    network->placement = placement;
}

/* Whether the float network's means are all that the layers are fitted to. Error compensation,
 * cascade and fine-tuning go through the layers one by one. */
static bool needs_only_means(const struct ldnq_quantize_options *options)
{
    return !options->solver->needs_gram && options->lambda == 0 && options->cascade == 0 &&
           options->fine_tune.steps == 0;
}

enum ldnq_status ldnq_quantizer_observe(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = run->options;
    struct ldnq_arena *arena;
    if (run->placement)
        LDNQ_TRY(ldnq_placement_bypass_pairs(run->placement, run->graph, run->reference, err));
    if (needs_only_means(options))
        LDNQ_TRY(ldnq_input_means_create(&run->result->network, run->reference, options->pool,
                                         run->arena, &run->means, err));
    if (!run->placement && !run->means)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = observe_samples(run, arena, err);
    ldnq_arena_destroy(arena);
    LDNQ_TRY(status);
    if (run->placement)
        set_input_scales(run);
    return LDNQ_OK;
}

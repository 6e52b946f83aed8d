/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/activations.h"

#include <stdio.h>

#include "pipeline/float_pass.h"
#include "pipeline/ranges.h"
#include "pipeline/select.h"

/* The layers whose codes the integer kernels take. */
struct integer_layers {
    const struct ldnq_quantize_options *options;
    struct ldnq_selection selection;
};

static const char *explain_float_weight(void *ctx, const struct ldnq_node *node)
{
    const struct integer_layers *layers = ctx;
    const struct ldnq_selection *selection = &layers->selection;
    for (size_t i = 0; i < selection->kept_count; i++)
        if (selection->kept[i].node == node)
            return selection->kept[i].refusal;
    for (size_t i = 0; i < selection->count; i++)
        if (selection->layers[i].node == node &&
            ldnq_select_fits_integers(&selection->layers[i], layers->options))
            return NULL;
    return "its weight has no codes that the target's integer kernels take";
}

static bool has_integer_layer(struct integer_layers *layers)
{
    for (size_t i = 0; i < layers->selection.count; i++)
        if (!explain_float_weight(layers, layers->selection.layers[i].node))
            return true;
    return false;
}

/* ---- one pass of the float network --------------------------------------------------------- */

struct observation {
    struct ldnq_ranges *ranges;     /* NULL: no activation has a pair */
    struct ldnq_input_means *means; /* NULL: not needed */
    struct ldnq_pool *pool;
};

static enum ldnq_status observe_value(void *ctx, const struct ldnq_value *value,
                                      const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    const struct observation *observation = ctx;
    if (observation->ranges)
        LDNQ_TRY(ldnq_ranges_add(observation->ranges, value, tensor, observation->pool, err));
    return observation->means ? ldnq_input_means_add(observation->means, value, tensor, err)
                              : LDNQ_OK;
}

static enum ldnq_status observe_samples(struct ldnq_quantizer *run, struct ldnq_ranges *ranges,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct observation observation = { .ranges = ranges,
                                       .means = run->means,
                                       .pool = run->options->pool };
    bool *visited = ldnq_arena_alloc(arena, run->graph->value_count, sizeof *visited, err);
    if (!visited)
        return LDNQ_NOMEM;
    if (ranges)
        ldnq_ranges_mark(ranges, visited);
    if (run->means)
        ldnq_input_means_mark(run->means, visited);
    const struct ldnq_float_pass pass = { .graph = run->graph,
                                          .samples = run->samples,
                                          .visited = visited,
                                          .visit = observe_value,
                                          .ctx = &observation,
                                          .pool = run->options->pool,
                                          .sink = run->options->sink };
    return ldnq_float_pass_run(&pass, err);
}

bool ldnq_fit_needs_only_input_means(const struct ldnq_quantize_options *options,
                                     const struct ldnq_samples *samples)
{
    return options->solver && ldnq_solver_rounds_with_bias(options->solver) &&
           options->lambda == 0 && options->cascade == 0 && options->fine_tune.steps == 0 &&
           !ldnq_samples_differ_in_shape(samples) && !ldnq_samples_have_masked_positions(samples);
}

/* ---- placing ------------------------------------------------------------------------------- */

struct placing {
    struct ldnq_quantizer *run;
    struct integer_layers layers;
    struct ldnq_ruined_values ruined;
    struct ldnq_arena *arena;
};

/* Inputs of layers in bodies are no values of the graph. */
static bool has_body_layer(const struct ldnq_selection *selection)
{
    for (size_t i = 0; i < selection->count; i++)
        if (selection->layers[i].body)
            return true;
    return false;
}

static bool should_place_pairs(struct placing *placing)
{
    const struct ldnq_activation_options *activations = &placing->run->options->activations;
    return activations->target && activations->target->pairs != LDNQ_PAIRS_NONE &&
           activations->dtype != LDNQ_UNDEFINED && has_integer_layer(&placing->layers);
}

static enum ldnq_status place_and_observe(struct placing *placing, struct ldnq_ranges **ranges,
                                          struct ldnq_error *err)
{
    struct ldnq_quantizer *run = placing->run;
    const struct ldnq_activation_options *activations = &run->options->activations;
    const struct ldnq_selection *selection = &placing->layers.selection;
    *ranges = NULL;
    if (should_place_pairs(placing)) {
        const struct ldnq_placement_options options = { .target = activations->target,
                                                        .activation = activations->dtype,
                                                        .explain_float_weight =
                                                            explain_float_weight,
                                                        .ctx = &placing->layers,
                                                        .excluded = placing->ruined.excluded,
                                                        .wide = placing->ruined.wide };
        LDNQ_TRY(ldnq_placement_make(run->graph, &options, run->arena, &run->placement, err));
        LDNQ_TRY(ldnq_ranges_create(run->placement, run->graph, activations->rule, placing->arena,
                                    ranges, err));
    }
    if (ldnq_fit_needs_only_input_means(run->options, run->samples) && !has_body_layer(selection))
        LDNQ_TRY(ldnq_input_means_create(selection->layers, selection->count, run->graph,
                                         run->options->pool, run->arena, &run->means, err));
    if (!*ranges && !run->means)
        return LDNQ_OK;
    LDNQ_TRY(observe_samples(run, *ranges, placing->arena, err));
    if (*ranges)
        ldnq_ranges_choose(*ranges);
    return LDNQ_OK;
}

/* The reason of a value that has 16 bits because somebody asked for it: nothing to warn of. */
static const char planned[] = "the plan gives its layer 16 bits";

/* Marks what the layers read whose entry of the plan says so. */
static void widen_planned_inputs(struct placing *placing)
{
    const struct ldnq_quantize_options *options = placing->run->options;
    const struct ldnq_selection *selection = &placing->layers.selection;
    if (!ldnq_target_can_widen(options->activations.target, options->activations.dtype))
        return;
    for (size_t i = 0; i < selection->count; i++) {
        const struct ldnq_node *node = selection->layers[i].node;
        if (!selection->layers[i].body &&
            ldnq_select_has_wide_input(&selection->layers[i], options))
            placing->ruined.wide[node->inputs[0]->index] = planned;
    }
}

/* Warnings of one kind that name their value; the others are counted. */
#define MOST_NAMED_VALUES ((size_t)4)

/* Warns of each value with a reason, but for those of a plan. `outcome` is what follows. */
static void warn_of_values(const struct placing *placing, const char *const *reasons,
                           const char *outcome)
{
    const struct ldnq_sink *sink = placing->run->options->sink;
    size_t count = 0;
    for (size_t v = 0; v < placing->run->graph->value_count; v++) {
        const bool is_float = placing->ruined.excluded[v] && reasons != placing->ruined.excluded;
        if (!reasons[v] || reasons[v] == planned || is_float)
            continue;
        if (count++ < MOST_NAMED_VALUES)
            ldnq_sink_warn(sink, "%s: it %s", reasons[v], outcome);
    }
    if (count > MOST_NAMED_VALUES)
        ldnq_sink_warn(sink, "so it is with %zu more values: each %s", count - MOST_NAMED_VALUES,
                       outcome);
}

static void warn_ruined(const struct placing *placing)
{
    const struct ldnq_target *target = placing->run->options->activations.target;
    char wide[40] = "";
    if (target)
        snprintf(wide, sizeof wide, "has 16 bits (%s)", ldnq_dtype_name(target->wide_activation));
    warn_of_values(placing, placing->ruined.excluded, "stays float");
    warn_of_values(placing, placing->ruined.wide, wide);
}

/* Observes once more where a value turns out to be ruined: without its pair others have pairs. */
static enum ldnq_status place_pairs(struct placing *placing, struct ldnq_error *err)
{
    struct ldnq_quantizer *run = placing->run;
    struct ldnq_ranges *ranges;
    struct ldnq_ruined_values *ruined = &placing->ruined;
    const size_t values = run->graph->value_count;
    size_t added = 0;
    ruined->excluded = ldnq_arena_alloc(placing->arena, values, sizeof *ruined->excluded, err);
    ruined->wide = ldnq_arena_alloc(placing->arena, values, sizeof *ruined->wide, err);
    if (!ruined->excluded || !ruined->wide)
        return LDNQ_NOMEM;
    widen_planned_inputs(placing);
    do {
        LDNQ_TRY(place_and_observe(placing, &ranges, err));
        added = 0;
        if (ranges)
            LDNQ_TRY(ldnq_ranges_find_ruined(ranges, ruined, &added, err));
    } while (added > 0);
    warn_ruined(placing);
    if (!ranges)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_placement_insert(run->placement, run->graph, err));
    ldnq_ranges_apply(ranges);
    return LDNQ_OK;
}

enum ldnq_status ldnq_quantizer_place_pairs(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    struct placing placing = { .run = run, .layers = { .options = run->options } };
    LDNQ_TRY(
        ldnq_select_layers(run->graph, run->options, run->arena, &placing.layers.selection, err));
    LDNQ_TRY(ldnq_arena_create(&placing.arena, err));
    const enum ldnq_status status = place_pairs(&placing, err);
    ldnq_arena_destroy(placing.arena);
    return status;
}

/* ---- the layers that read codes ------------------------------------------------------------ */

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

void ldnq_quantizer_set_input_scales(struct ldnq_quantizer *run)
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

enum ldnq_status ldnq_quantizer_bypass_pairs(struct ldnq_quantizer *run, struct ldnq_error *err)
{
    if (!run->placement)
        return LDNQ_OK;
    ldnq_quantizer_set_input_scales(run);
    return ldnq_placement_bypass_pairs(run->placement, run->graph, run->reference, err);
}

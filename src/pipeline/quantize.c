/* quantize.c: prepares a run of the quantizer and calls its stages. */
#include <math.h>

#include "base/clock.h"
#include "base/size.h"
#include "metric/error_bound.h"
#include "metric/output_error.h"
#include "pipeline/activations.h"
#include "pipeline/output_estimate.h"
#include "pipeline/quantizer.h"
#include "pipeline/select.h"

/* ---- preparing -------------------------------------------------------------------- */

/* Gives the node a constant of its own: other nodes that read the same initializer must not
 * see the codes. */
static enum ldnq_status copy_constant_for_node(struct ldnq_quantizer *quantizer,
                                               struct ldnq_node *node, size_t input,
                                               struct ldnq_error *err)
{
    return ldnq_graph_add_constant(quantizer->graph, "", node->inputs[input]->constant,
                                   &node->inputs[input], err);
}

static enum ldnq_status copy_layer_constants(struct ldnq_quantizer *quantizer, size_t i,
                                             struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantizer->result->network.layers[i].layer;
    quantizer->file_weight[i] = layer->node->inputs[layer->weight_input];
    LDNQ_TRY(copy_constant_for_node(quantizer, layer->node, layer->weight_input, err));
    return layer->bias ? copy_constant_for_node(quantizer, layer->node, layer->bias_input, err)
                       : LDNQ_OK;
}

/* Chooses the codebook and the granularity that the target takes for this layer. */
static void choose_codebook_and_granularity(const struct ldnq_quantize_options *options,
                                            const struct ldnq_layer *layer,
                                            struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_target *target = options->activations.target;
    quantized->layer = *layer;
    quantized->codebook = ldnq_select_codebook(layer->node, options);
    quantized->granularity = options->granularity;
    if (!target)
        return;
    quantized->power_of_two = target->power_of_two;
    if (target->narrow_weights)
        quantized->codebook = ldnq_codebook_find_symmetric(quantized->codebook);
    if (ldnq_target_is_per_tensor(target, layer->node->op_type))
        quantized->granularity = LDNQ_PER_TENSOR;
}

static enum ldnq_status init_quantized_layers(struct ldnq_quantizer *quantizer,
                                              struct ldnq_error *err)
{
    struct ldnq_selection selection;
    LDNQ_TRY(ldnq_select_layers(quantizer->graph, quantizer->options, quantizer->arena, &selection,
                                err));
    const struct ldnq_layer *layers = selection.layers;
    size_t count = selection.count;
    struct ldnq_quantization *result = ldnq_arena_alloc(quantizer->arena, 1, sizeof *result, err);
    quantizer->file_weight =
        ldnq_arena_alloc(quantizer->arena, count, sizeof *quantizer->file_weight, err);
    if (!result || !quantizer->file_weight)
        return LDNQ_NOMEM;
    *result = (struct ldnq_quantization){ .network = { .count = count },
                                          .kept = selection.kept,
                                          .kept_count = selection.kept_count };
    result->network.layers =
        ldnq_arena_alloc(quantizer->arena, count, sizeof *result->network.layers, err);
    result->diagnostics =
        ldnq_arena_alloc(quantizer->arena, count, sizeof *result->diagnostics, err);
    if (!result->network.layers || !result->diagnostics)
        return LDNQ_NOMEM;
    quantizer->result = result;
    for (size_t i = 0; i < count; i++) {
        choose_codebook_and_granularity(quantizer->options, &layers[i], &result->network.layers[i]);
        LDNQ_TRY(copy_layer_constants(quantizer, i, err));
    }
    return LDNQ_OK;
}

double ldnq_quantizer_seconds_left(const struct ldnq_quantizer *quantizer)
{
    const double limit = quantizer->options->max_seconds;
    return limit > 0 ? limit - (ldnq_now() - quantizer->start) : INFINITY;
}

static enum ldnq_status compute_output_error_bound(const struct ldnq_quantizer *quantizer,
                                                   const double *powers, struct ldnq_error *err)
{
    struct ldnq_quantization *result = quantizer->result;
    const size_t outputs = quantizer->reference->output_count;
    double *changes =
        ldnq_arena_alloc(quantizer->arena, quantizer->reference->node_count, sizeof *changes, err);
    double *bounds = ldnq_arena_alloc(quantizer->arena, outputs, sizeof *bounds, err);
    if (!changes || !bounds)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < result->network.count; i++)
        changes[result->network.layers[i].layer.node_index] = result->diagnostics[i].change;
    LDNQ_TRY(ldnq_bound_output_errors(quantizer->reference, changes, powers, bounds, err));
    result->output_bound = 0;
    for (size_t o = 0; o < outputs; o++)
        result->output_bound += bounds[o] / (double)outputs;
    return LDNQ_OK;
}

/* 10 dB: what such a network computes is of little use. */
#define LARGE_OUTPUT_ERROR 0.1

/* Codes at an even distance suit no network whose small values matter as much as its large ones,
 * as before a logarithm. */
static void warn_activations_cost_much(const struct ldnq_quantizer *quantizer)
{
    const double error = quantizer->result->output_error;
    if (quantizer->placement && quantizer->placement->count > 0 && error > LARGE_OUTPUT_ERROR)
        ldnq_sink_warn(
            quantizer->options->sink,
            "the network's output has an SQNR of %.1f dB on the samples: its activations "
            "lose too much as %s; leave them float (activations none), or ask for an "
            "accuracy (min-sqnr, min-agreement)",
            -10 * log10(error), ldnq_dtype_name(quantizer->placement->dtype));
}

/* Measures the error of the outputs, its estimate and its bound. After fine-tuning there is no
 * bound, as each layer's `change` was measured before. */
static enum ldnq_status measure_output(const struct ldnq_quantizer *quantizer,
                                       struct ldnq_error *err)
{
    struct ldnq_quantization *result = quantizer->result;
    const struct ldnq_quantize_options *options = quantizer->options;
    double *powers =
        ldnq_arena_alloc(quantizer->arena, quantizer->graph->output_count, sizeof *powers, err);
    if (!powers)
        return LDNQ_NOMEM;
    if (options->skips_output_error) {
        result->output_error = result->output_bound = NAN;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_output_error_measure(quantizer->graph, quantizer->reference,
                                       options->held_out ? options->held_out : quantizer->samples,
                                       options->pool, &result->output_error, powers, err));
    warn_activations_cost_much(quantizer);
    const struct ldnq_estimate_inputs inputs = {
        .graph = quantizer->graph,
        .reference = quantizer->reference,
        .network = &result->network,
        .powers = powers,
        .samples = quantizer->samples,
        .options = options,
        .draws = ldnq_estimate_choose_draws(options, result),
    };
    LDNQ_TRY(ldnq_estimate_output_error(&inputs, quantizer->arena, &result->output_estimate, err));
    result->output_bound = NAN;
    if (isnan(result->output_error) || options->fine_tune.steps > 0 || options->cascade > 0)
        return LDNQ_OK;
    return compute_output_error_bound(quantizer, powers, err);
}

enum ldnq_status ldnq_quantize_graph(struct ldnq_graph *graph, struct ldnq_samples *samples,
                                     const struct ldnq_quantize_options *options,
                                     struct ldnq_arena *arena, struct ldnq_quantization **out,
                                     struct ldnq_error *err)
{
    struct ldnq_quantizer quantizer = {
        .graph = graph, .samples = samples, .options = options, .arena = arena, .start = ldnq_now()
    };
    LDNQ_TRY(ldnq_quantizer_place_pairs(&quantizer, err));
    LDNQ_TRY(init_quantized_layers(&quantizer, err));
    LDNQ_TRY(ldnq_graph_clone(graph, arena, &quantizer.reference, err));
    LDNQ_TRY(ldnq_quantizer_connect_layers(&quantizer, err));
    LDNQ_TRY(ldnq_quantizer_fit_layers(&quantizer, err));
    if (options->fine_tune.steps > 0)
        LDNQ_TRY(ldnq_quantizer_fine_tune(&quantizer, err));
    LDNQ_TRY(measure_output(&quantizer, err));
    *out = quantizer.result;
    return LDNQ_OK;
}

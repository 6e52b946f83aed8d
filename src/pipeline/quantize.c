/* SPDX-License-Identifier: Apache-2.0 */
/* quantize.c: prepares a run of the quantizer and calls its stages. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "base/size.h"
#include "metric/error_bound.h"
#include "metric/output_error.h"
#include "ops/op.h"
#include "pipeline/activations.h"
#include "pipeline/output_estimate.h"
#include "pipeline/pruned.h"
#include "pipeline/quantizer.h"
#include "pipeline/select.h"

/* ---- preparing -------------------------------------------------------------------- */

/* Gives the node a constant of its own: other nodes that read the same initializer must not
 * see the codes. */
static enum ldnq_status copy_constant_for_node(struct ldnq_graph *graph, struct ldnq_node *node,
                                               size_t input, struct ldnq_error *err)
{
    return ldnq_graph_add_constant(graph, "", node->inputs[input]->constant, &node->inputs[input],
                                   err);
}

static enum ldnq_status copy_layer_constants(struct ldnq_quantizer *quantizer, size_t i,
                                             struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &quantizer->result->network.layers[i].layer;
    quantizer->file_weight[i] = layer->node->inputs[layer->weight_input];
    struct ldnq_graph *graph = layer->body ? layer->body : quantizer->graph;
    LDNQ_TRY(copy_constant_for_node(graph, layer->node, layer->weight_input, err));
    return layer->bias ? copy_constant_for_node(graph, layer->node, layer->bias_input, err)
                       : LDNQ_OK;
}

/* Scales have the type of the weight in the file. */
static const struct ldnq_scale_format *find_scale_format(const struct ldnq_layer *layer)
{
    return layer->dtype == LDNQ_FLOAT16    ? &ldnq_float16_scales
           : layer->dtype == LDNQ_BFLOAT16 ? &ldnq_bfloat16_scales
                                           : NULL;
}

/* Chooses the codebook and the granularity that the target takes for this layer. */
static void choose_codebook_and_granularity(const struct ldnq_quantize_options *options,
                                            const struct ldnq_layer *layer,
                                            struct ldnq_quantized_layer *quantized)
{
    const struct ldnq_target *target =
        options->target ? options->target : options->activations.target;
    quantized->layer = *layer;
    quantized->codebook = ldnq_select_codebook(layer, options);
    /* The scales of rows are gathered with them. */
    const bool is_table = ldnq_layer_is_lookup(layer);
    quantized->granularity = is_table ? LDNQ_PER_CHANNEL : options->granularity;
    quantized->scale_format = find_scale_format(layer);
    quantized->negative_scales = !is_table && (!target || target->negative_scales);
    if (!target)
        return;
    if (target->power_of_two && !is_table)
        quantized->scale_format = &ldnq_power_of_two_scales;
    if (target->narrow_weights)
        quantized->codebook = ldnq_codebook_find_symmetric(quantized->codebook);
    if (!is_table && ldnq_target_is_per_tensor(target, layer->node->op_type))
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
        if (!ldnq_layer_is_table(&layers[i]))
            LDNQ_TRY(ldnq_find_pruned_zeros(&result->network.layers[i], layers[i].weight,
                                            quantizer->arena, err));
    }
    return LDNQ_OK;
}

double ldnq_quantizer_seconds_left(const struct ldnq_quantizer *quantizer)
{
    const double limit = quantizer->options->max_seconds;
    double left = limit > 0 ? limit - (ldnq_now() - quantizer->start) : INFINITY;
    if (limit > 0) /* all ranks decide by the first one's clock */
        ldnq_ranks_broadcast(ldnq_pool_ranks(quantizer->options->pool), 0, &left, sizeof left,
                             NULL);
    return left;
}

struct ldnq_measured_samples
ldnq_choose_measured_samples(const struct ldnq_quantize_options *options,
                             struct ldnq_samples *fitted)
{
    if (options->measured.samples)
        return options->measured;
    if (options->held_out)
        return (struct ldnq_measured_samples){ options->held_out, LDNQ_SAMPLES_HELD_OUT_OF_FIT,
                                               false };
    return (struct ldnq_measured_samples){ fitted, LDNQ_SAMPLES_OF_FIT, false };
}

/* ---- the accuracy ------------------------------------------------------------------- */

/* The squares of the bounds over the power of each output, 0 where that is 0. */
static double compute_mean_bound(const double *bounds, const double *powers, size_t outputs)
{
    double sum = 0;
    for (size_t o = 0; o < outputs; o++)
        sum += powers[o] > 0 ? bounds[o] / powers[o] / (double)outputs : 0;
    return sum;
}

/* The theorem counts what layers change, and that on the samples they were fitted to: the bound is
 * relative to the power of the outputs there. Rounded activations are no such change, and after
 * fine-tuning the layers' changes are others than those that were measured. */
static enum ldnq_status compute_bound(const struct ldnq_quantizer *quantizer,
                                      struct ldnq_error *err)
{
    struct ldnq_quantization *result = quantizer->result;
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_graph *reference = quantizer->reference;
    const size_t outputs = reference->output_count;
    double *changes =
        ldnq_arena_alloc(quantizer->arena, reference->node_count, sizeof *changes, err);
    double *powers = ldnq_arena_alloc(quantizer->arena, outputs, sizeof *powers, err);
    double *bounds = ldnq_arena_alloc(quantizer->arena, outputs, sizeof *bounds, err);
    result->noise_to_signal_bound = NAN;
    if (!changes || !powers || !bounds)
        return LDNQ_NOMEM;
    if (options->fine_tune.steps > 0 || options->cascade > 0 || quantizer->placement ||
        ldnq_has_body_layers(&result->network) || isnan(result->accuracy.noise_to_signal))
        return LDNQ_OK;
    for (size_t i = 0; i < result->network.count; i++)
        changes[result->network.layers[i].layer.node_index] = result->diagnostics[i].change;
    for (size_t o = 0; o < outputs; o++)
        powers[o] = 1;
    LDNQ_TRY(ldnq_bound_output_errors(reference, changes, powers, bounds, err));
    if (isnan(compute_mean_bound(bounds, powers, outputs)))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_output_measure_powers(reference, quantizer->samples, options->pool, powers, err));
    result->noise_to_signal_bound = compute_mean_bound(bounds, powers, outputs);
    return LDNQ_OK;
}

/* 10 dB: what such a network computes is of little use. */
#define LARGE_NOISE_TO_SIGNAL 0.1

/* Codes at an even distance suit no network whose small values matter as much as its large ones,
 * as before a logarithm. */
static void warn_if_activations_lose_accuracy(const struct ldnq_quantizer *quantizer)
{
    const struct ldnq_accuracy *accuracy = &quantizer->result->accuracy;
    char on[LDNQ_SAMPLES_TEXT];
    if (!quantizer->placement || quantizer->placement->count == 0 ||
        !(accuracy->noise_to_signal > LARGE_NOISE_TO_SIGNAL))
        return;
    ldnq_describe_samples(accuracy->role, accuracy->samples, on, sizeof on);
    ldnq_sink_warn(quantizer->options->sink,
                   "the network's output has an SQNR of %.1f dB on %s: its activations "
                   "lose too much as %s; leave them float (activations none), or ask for an "
                   "accuracy (min-sqnr, min-agreement)",
                   -10 * log10(accuracy->noise_to_signal), on,
                   ldnq_dtype_name(quantizer->placement->dtype));
}

/* Whether the choice of the network has measured what is asked for. */
static bool is_accuracy_known(const struct ldnq_quantizer *quantizer,
                              const struct ldnq_measured_samples *measured)
{
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_accuracy *known = &quantizer->chosen_accuracy;
    return known->samples > 0 && measured->samples == options->held_out &&
           known->samples == ldnq_samples_count(measured->samples) &&
           known->role == measured->role && !measured->uses_labels && options->fine_tune.steps == 0;
}

/* The result is good without its figures: a sample that can't be read or run is a warning. */
static enum ldnq_status measure_accuracy(const struct ldnq_quantizer *quantizer,
                                         const struct ldnq_measured_samples *measured,
                                         double *powers, bool *is_measured, struct ldnq_error *err)
{
    struct ldnq_accuracy *accuracy = &quantizer->result->accuracy;
    if (is_accuracy_known(quantizer, measured)) {
        *accuracy = quantizer->chosen_accuracy;
        memcpy(powers, quantizer->output_powers, quantizer->graph->output_count * sizeof *powers);
        *is_measured = true;
        return LDNQ_OK;
    }
    const struct ldnq_accuracy_options options = {
        .quantized = quantizer->graph,
        .reference = quantizer->reference,
        .measured = *measured,
        .pool = quantizer->options->pool,
        .powers = powers,
    };
    struct ldnq_error reason;
    const enum ldnq_status status = ldnq_accuracy_measure(&options, accuracy, &reason);
    *is_measured = status == LDNQ_OK;
    if (status == LDNQ_OK)
        return LDNQ_OK;
    if (status == LDNQ_NOMEM)
        return ldnq_fail(err, status, "%s", reason.message);
    ldnq_sink_warn(quantizer->options->sink, "the accuracy could not be measured: %s",
                   reason.message);
    ldnq_accuracy_clear(accuracy);
    return LDNQ_OK;
}

/* Measures the accuracy, its estimate and its bound. */
static enum ldnq_status measure_output(const struct ldnq_quantizer *quantizer,
                                       struct ldnq_error *err)
{
    struct ldnq_quantization *result = quantizer->result;
    const struct ldnq_quantize_options *options = quantizer->options;
    const struct ldnq_measured_samples measured =
        ldnq_choose_measured_samples(options, quantizer->samples);
    double *powers =
        ldnq_arena_alloc(quantizer->arena, quantizer->graph->output_count, sizeof *powers, err);
    if (!powers)
        return LDNQ_NOMEM;
    ldnq_accuracy_clear(&result->accuracy);
    result->noise_to_signal_bound = NAN;
    if (options->skips_output_error)
        return LDNQ_OK;
    bool is_measured = false;
    if (quantizer->samples)
        LDNQ_TRY(measure_accuracy(quantizer, &measured, powers, &is_measured, err));
    warn_if_activations_lose_accuracy(quantizer);
    const struct ldnq_estimate_inputs inputs = {
        .graph = quantizer->graph,
        .reference = quantizer->reference,
        .network = &result->network,
        .powers = powers,
        .samples = measured.samples,
        .options = options,
        .draws = is_measured ? ldnq_estimate_choose_draws(options, result) : 0,
    };
    LDNQ_TRY(ldnq_estimate_output_error(&inputs, quantizer->arena, &result->output_estimate, err));
    return compute_bound(quantizer, err);
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
    LDNQ_TRY(ldnq_ops_clone_graph(graph, arena, &quantizer.reference, err));
    LDNQ_TRY(ldnq_quantizer_bypass_pairs(&quantizer, err));
    LDNQ_TRY(ldnq_quantizer_fit_layers(&quantizer, err));
    LDNQ_TRY(ldnq_quantizer_choose_network(&quantizer, err));
    if (options->fine_tune.steps > 0)
        LDNQ_TRY(ldnq_quantizer_fine_tune(&quantizer, err));
    LDNQ_TRY(measure_output(&quantizer, err));
    *out = quantizer.result;
    return LDNQ_OK;
}

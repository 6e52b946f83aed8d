/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantize_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "api/json_graph.h"
#include "api/option_value.h"
#include "api/quantize_events.h"
#include "api/quantize_settings.h"
#include "base/json_add.h"
#include "base/text.h"
#include "linalg/blas.h"

/* ---- names -------------------------------------------------------------------------------- */

static const char *find_common_codebook_name(const struct ldnq_quantization *result)
{
    const struct ldnq_codebook *codebook = ldnq_find_common_codebook(&result->network);
    return codebook ? codebook->name : "mixed";
}

static const char *find_storage_name(const struct ldnq_quantize_summary *summary)
{
    const struct ldnq_quantized_network *network = &summary->result->network;
    const enum ldnq_dtype first = ldnq_emit_layer_dtype(summary->choice, &network->layers[0]);
    for (size_t i = 1; i < network->count; i++)
        if (ldnq_emit_layer_dtype(summary->choice, &network->layers[i]) != first)
            return "mixed";
    return ldnq_dtype_name(first);
}

/* ---- metadata ----------------------------------------------------------------------------- */

static void append_values_of_list_option(struct ldnq_text *text, const struct ldnq_options *options,
                                         enum ldnq_option_index index)
{
    size_t count;
    const char *const *values = ldnq_option_list(options, index, &count);
    for (size_t i = 0; i < count; i++)
        ldnq_text_append_item(text, " ", "%s=%s", ldnq_option_table[index].name, values[i]);
}

/* Adds "name=N" where N is not 0. */
static void append_option_count(struct ldnq_text *text, const struct ldnq_options *options,
                                enum ldnq_option_index index)
{
    const size_t value = ldnq_option_count(options, index);
    if (value)
        ldnq_text_append_item(text, " ", "%s=%zu", ldnq_option_table[index].name, value);
}

/* Adds "name=text" if the option is set. */
static void append_option_text(struct ldnq_text *text, const struct ldnq_options *options,
                               enum ldnq_option_index index)
{
    if (ldnq_option_is_set(options, index))
        ldnq_text_append_item(text, " ", "%s=%s", ldnq_option_table[index].name,
                              ldnq_option_text(options, index));
}

/* Options that decide the result, and no others: not the threads, not the paths. */
static void describe_options(const struct ldnq_quantize_summary *summary, char *data, size_t size)
{
    const struct ldnq_options *options = summary->job->options;
    const struct ldnq_quantize_options *quantize = summary->quantize;
    const struct ldnq_fine_tune_result *tune = &summary->result->fine_tune;
    struct ldnq_text text;
    float scale = 0;
    ldnq_text_init(&text, data, size);
    ldnq_text_append_item(
        &text, " ", "weights=%s granularity=%s solver=%s rho=%g rho-from=%s storage=%s",
        find_common_codebook_name(summary->result),
        quantize->product_block ? "auto" : ldnq_granularity_name(quantize->granularity),
        quantize->solver->name, quantize->solver_options.rho_factor,
        ldnq_option_text(options, OPTION_RHO_FROM), ldnq_option_text(options, OPTION_STORAGE));
    if (ldnq_solver_rounds_with_bias(quantize->solver) || quantize->fit.positions_per_column > 0)
        ldnq_text_append_item(&text, " ", "effort=%s", ldnq_option_text(options, OPTION_EFFORT));
    if (quantize->block)
        ldnq_text_append_item(&text, " ", "block-size=%zu", quantize->block);
    append_option_count(&text, options, OPTION_CASCADE);
    if (tune->held_out)
        ldnq_text_append_item(&text, " ", "distill=%zu refine=%s", tune->steps,
                              quantize->fine_tune.update_codes ? "on" : "off");
    ldnq_text_append_item(&text, " ", "augment=%zu seed=%" PRIu64, quantize->copies,
                          quantize->seed);
    if (quantize->lambda == LDNQ_LAMBDA_AUTO)
        ldnq_text_append_item(&text, " ", "lambda=auto");
    else
        ldnq_text_append_item(&text, " ", "lambda=%g", quantize->lambda);
    append_option_count(&text, options, OPTION_OPSET);
    if (ldnq_option_is_word(options, OPTION_OPSET, "keep"))
        ldnq_text_append_item(&text, " ", "opset=keep");
    if (!quantize->activations.target && summary->choice->target->pairs != LDNQ_PAIRS_NONE)
        ldnq_text_append_item(&text, " ", "target=%s activations=none",
                              summary->choice->target->name);
    if (quantize->activations.target)
        ldnq_text_append_item(
            &text, " ", "target=%s activations=%s ranges=%s", quantize->activations.target->name,
            ldnq_dtype_name(quantize->activations.dtype), ldnq_option_text(options, OPTION_RANGES));
    ldnq_parse_ratio(ldnq_option_text(options, OPTION_SCALE), &scale);
    ldnq_text_append_item(&text, " ", "scale=%.9g", (double)scale);
    append_option_text(&text, options, OPTION_MEAN);
    append_option_text(&text, options, OPTION_STD);
    append_option_count(&text, options, OPTION_RESIZE);
    append_option_count(&text, options, OPTION_CROP);
    append_option_count(&text, options, OPTION_MAX_SAMPLES);
    if (ldnq_option_flag(options, OPTION_REQUANTIZE))
        ldnq_text_append_item(&text, " ", "requantize=1");
    if (summary->job->is_portable)
        ldnq_text_append_item(&text, " ", "portable=1");
    append_values_of_list_option(&text, options, OPTION_DIM);
    append_values_of_list_option(&text, options, OPTION_SKIP);
    append_values_of_list_option(&text, options, OPTION_ONLY);
    append_values_of_list_option(&text, options, OPTION_LAYER);
    ldnq_text_append_omitted_count(&text);
}

enum ldnq_status ldnq_quantize_write_metadata(const struct ldnq_quantize_summary *summary,
                                              struct ldnq_model *model, uint64_t model_hash,
                                              uint64_t data_hash, struct ldnq_error *err)
{
    char text[4096];
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.version", LDNQ_VERSION, err));
    describe_options(summary, text, sizeof text);
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.options", text, err));
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.kernels",
                                     ldnq_blas_describe_arithmetic(text, sizeof text), err));
    snprintf(text, sizeof text, "xxh3:%016" PRIx64, model_hash);
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.model", text, err));
    if (summary->samples == 0)
        snprintf(text, sizeof text, "none");
    else
        snprintf(text, sizeof text, "xxh3:%016" PRIx64 " samples=%zu", data_hash, summary->samples);
    return ldnq_model_set_metadata(model, "ldnq.data", text, err);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static bool add_layers(cJSON *root, const struct ldnq_quantization *result)
{
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; list && i < result->network.count; i++) {
        cJSON *item = ldnq_json_append_object(list);
        if (!item ||
            !ldnq_json_add_layer_figures(item, &result->network.layers[i],
                                         &result->diagnostics[i]) ||
            !ldnq_json_add_number(item, "output_estimate", result->output_estimate.layers[i]))
            return false;
    }
    return list != NULL;
}

/* What the samples are, in words too, so that nobody takes the figures for more than they are. */
static bool add_network_choice(cJSON *root, const struct ldnq_network_choice *choice)
{
    return ldnq_json_add_number(root, "fitted_noise_to_signal", choice->fitted_noise) &&
           ldnq_json_add_number(root, "rounded_noise_to_signal", choice->rounded_noise) &&
           cJSON_AddBoolToObject(root, "is_rounded", choice->is_rounded);
}

static bool add_accuracy(cJSON *root, const struct ldnq_quantization *result)
{
    const struct ldnq_accuracy *accuracy = &result->accuracy;
    cJSON *item = cJSON_AddObjectToObject(root, "accuracy");
    char on[LDNQ_SAMPLES_TEXT];
    ldnq_describe_samples(accuracy->role, accuracy->samples, on, sizeof on);
    return item && ldnq_json_add_number(item, "samples", (double)accuracy->samples) &&
           ldnq_json_add_text(item, "role",
                              accuracy->samples ? ldnq_sample_role_name(accuracy->role) : NULL) &&
           ldnq_json_add_text(item, "measured_on", accuracy->samples ? on : NULL) &&
           ldnq_json_add_accuracy(item, accuracy) &&
           ldnq_json_add_number(item, "noise_to_signal_bound", result->noise_to_signal_bound);
}

static bool add_estimate(cJSON *root, const struct ldnq_output_estimate *estimate)
{
    cJSON *item = cJSON_AddObjectToObject(root, "output_estimate");
    return item && ldnq_json_add_number(item, "error", estimate->error) &&
           ldnq_json_add_number(item, "deviation", estimate->deviation) &&
           ldnq_json_add_number(item, "activations", estimate->activations) &&
           ldnq_json_add_number(item, "draws", (double)estimate->draws) &&
           ldnq_json_add_number(item, "seconds", estimate->seconds);
}

/* Adds null when no sample was held out, as nothing was fine-tuned then. */
static bool add_distillation(cJSON *root, const struct ldnq_fine_tune_result *tune)
{
    if (!tune->held_out)
        return cJSON_AddNullToObject(root, "distillation") != NULL;
    cJSON *item = cJSON_AddObjectToObject(root, "distillation");
    return item && ldnq_json_add_number(item, "steps", (double)tune->steps) &&
           ldnq_json_add_number(item, "held_out", (double)tune->held_out) &&
           ldnq_json_add_number(item, "error_start", tune->error_start) &&
           ldnq_json_add_number(item, "error", tune->error);
}

static bool add_layers_left_float(cJSON *root, const struct ldnq_quantization *result)
{
    cJSON *list = cJSON_AddArrayToObject(root, "not_quantized");
    for (size_t i = 0; list && i < result->kept_count; i++) {
        const struct ldnq_layer *layer = &result->kept[i];
        cJSON *item = ldnq_json_append_object(list);
        if (!item || !ldnq_json_add_text(item, "node", layer->label) ||
            !ldnq_json_add_text(item, "op", layer->node->op_type) ||
            !ldnq_json_add_text(item, "reason", layer->refusal))
            return false;
    }
    return list != NULL;
}

static bool add_tied_layer(cJSON *list, const struct ldnq_layer *layer,
                           const struct ldnq_layer *table, const char *reason)
{
    cJSON *item = ldnq_json_append_object(list);
    return item && ldnq_json_add_text(item, "node", layer->label) &&
           ldnq_json_add_text(item, "table", table->label) &&
           ldnq_json_add_text(item, "reason", reason);
}

/* Adds the layers whose codes the file has besides a table in float. */
static bool add_layers_of_float_table(cJSON *list, const struct ldnq_quantized_network *network,
                                      const struct ldnq_layer *table)
{
    if (!ldnq_layer_is_table(table) || table->weight->dtype != LDNQ_FLOAT)
        return true;
    for (size_t i = 0; i < network->count; i++)
        if (ldnq_layers_have_same_elements(&network->layers[i].layer, table) &&
            !add_tied_layer(list, &network->layers[i].layer, table, table->refusal))
            return false;
    return true;
}

/* Layers that have the elements of a table: `reason` says why they have codes of their own, and is
 * null where both read one tensor. */
static bool add_tied_layers(cJSON *root, const struct ldnq_quantize_summary *summary)
{
    const struct ldnq_quantized_network *network = &summary->result->network;
    cJSON *list = cJSON_AddArrayToObject(root, "tied");
    for (size_t i = 0; list && i < network->count; i++) {
        if (!network->layers[i].tied)
            continue;
        if (!add_tied_layer(list, &network->layers[i].layer, &network->layers[i].tied->layer,
                            ldnq_emit_explain_copy(network, summary->choice, i)))
            return false;
    }
    for (size_t i = 0; list && i < summary->result->kept_count; i++)
        if (!add_layers_of_float_table(list, network, &summary->result->kept[i]))
            return false;
    return list != NULL;
}

static bool add_metadata(cJSON *root, const struct ldnq_model *model)
{
    static const char *const keys[] = { "ldnq.version", "ldnq.options", "ldnq.kernels",
                                        "ldnq.model", "ldnq.data" };
    cJSON *item = cJSON_AddObjectToObject(root, "metadata");
    for (size_t i = 0; item && i < sizeof keys / sizeof *keys; i++)
        if (!ldnq_json_add_text(item, keys[i], ldnq_model_metadata(model, keys[i])))
            return false;
    return item != NULL;
}

/* The narrowest type of each layer's codes: of all layers, or mixed; the first opset that has all
 * of them; and what they would save. */
static bool add_narrowest_storage(cJSON *root, const struct ldnq_quantize_summary *summary)
{
    const struct ldnq_quantized_network *network = &summary->result->network;
    const char *name = NULL;
    double bits = 0;
    int opset = 0;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_quantized_layer *layer = &network->layers[i];
        int own;
        if (ldnq_layer_is_table(&layer->layer))
            continue;
        const enum ldnq_dtype narrowest =
            ldnq_emit_narrowest_dtype(summary->choice, layer->codebook, &own);
        const unsigned stored = ldnq_dtype_bits(ldnq_emit_dtype(summary->choice, layer->codebook));
        opset = own > opset ? own : opset;
        name = !name || name == ldnq_dtype_name(narrowest) ? ldnq_dtype_name(narrowest) : "mixed";
        if (!layer->shared)
            bits += (double)ldnq_layer_elements(&layer->layer) *
                    ((double)stored - ldnq_dtype_bits(narrowest));
    }
    cJSON *item = cJSON_AddObjectToObject(root, "narrowest");
    if (!name) /* tables alone */
        name = find_storage_name(summary);
    return item && ldnq_json_add_text(item, "storage", name) &&
           ldnq_json_add_number(item, "opset", opset) &&
           cJSON_AddBoolToObject(item, "is_used", bits == 0) &&
           ldnq_json_add_number(item, "bytes_saved", floor(bits / 8));
}

/* The granularity of the scales: the layers' common one, or "mixed". */
static const char *granularity_name(const struct ldnq_quantize_summary *summary)
{
    const struct ldnq_quantized_network *network = &summary->result->network;
    size_t with_blocks = 0;
    for (size_t i = 0; i < network->count; i++)
        with_blocks += network->layers[i].block_index != NULL;
    if (summary->quantize->granularity != LDNQ_PER_CHANNEL || with_blocks == 0)
        return ldnq_granularity_name(summary->quantize->granularity);
    return with_blocks == network->count ? ldnq_granularity_name(LDNQ_PER_BLOCK) : "mixed";
}

static bool add_warnings(cJSON *root, const struct ldnq_job *job)
{
    cJSON *list = job->warnings ? cJSON_Duplicate(job->warnings, true) : cJSON_CreateArray();
    if (list && cJSON_AddItemToObject(root, "warnings", list))
        return true;
    cJSON_Delete(list);
    return false;
}

static bool add_activation_pair(cJSON *list, const struct ldnq_placed_activation *activation)
{
    cJSON *item = ldnq_json_append_object(list);
    const float scale = *(const float *)activation->scale->constant->data;
    return item && ldnq_json_add_text(item, "name", ldnq_activation_name(activation)) &&
           ldnq_json_add_text(item, "type", ldnq_dtype_name(activation->dtype)) &&
           ldnq_json_add_number(item, "scale", (double)scale) &&
           ldnq_json_add_number(item, "zero_point", ldnq_activation_zero_point(activation)) &&
           ldnq_json_add_number(item, "group", (double)activation->group) &&
           ldnq_json_add_text(item, "reason", activation->wide_reason);
}

/* Adds null when activations stay float. */
static bool add_activations(cJSON *root, const struct ldnq_quantize_summary *summary)
{
    const struct ldnq_placement *placement = summary->result->network.placement;
    if (!placement)
        return cJSON_AddNullToObject(root, "activations") != NULL;
    cJSON *item = cJSON_AddObjectToObject(root, "activations");
    bool done =
        item && ldnq_json_add_text(item, "target", placement->target->name) &&
        ldnq_json_add_text(item, "type", ldnq_dtype_name(placement->dtype)) &&
        ldnq_json_add_text(item, "ranges", ldnq_option_text(summary->job->options, OPTION_RANGES));
    cJSON *list = done ? cJSON_AddArrayToObject(item, "pairs") : NULL;
    for (size_t i = 0; list && i < placement->count; i++)
        if (!add_activation_pair(list, &placement->activations[i]))
            return false;
    list = list ? cJSON_AddArrayToObject(item, "float_nodes") : NULL;
    for (size_t i = 0; list && i < placement->float_count; i++) {
        const struct ldnq_float_node *node = &placement->float_nodes[i];
        cJSON *entry = ldnq_json_append_object(list);
        if (!entry || !ldnq_json_add_text(entry, "node", node->node->label) ||
            !ldnq_json_add_text(entry, "op", node->node->op_type) ||
            !ldnq_json_add_text(entry, "reason", node->reason))
            return false;
    }
    return list != NULL;
}

static size_t count_weights(const struct ldnq_quantization *result)
{
    size_t weights = 0;
    for (size_t i = 0; i < result->network.count; i++)
        weights += ldnq_layer_elements(&result->network.layers[i].layer);
    return weights;
}

bool ldnq_quantize_add_json(cJSON *root, const struct ldnq_quantize_summary *summary)
{
    const struct ldnq_quantization *result = summary->result;
    return ldnq_json_add_text(root, "model", summary->model_name) &&
           ldnq_json_add_text(root, "output", summary->output) &&
           ldnq_json_add_text(root, "weights", find_common_codebook_name(result)) &&
           ldnq_json_add_number(root, "weight_count", (double)count_weights(result)) &&
           ldnq_json_add_number(root, "bits", ldnq_compute_mean_bits(result)) &&
           ldnq_json_add_text(root, "granularity", granularity_name(summary)) &&
           ldnq_json_add_text(root, "solver", summary->quantize->solver->name) &&
           ldnq_json_add_text(root, "storage", find_storage_name(summary)) &&
           cJSON_AddBoolToObject(root, "storage_is_auto", summary->storage == LDNQ_STORAGE_AUTO) &&
           add_narrowest_storage(root, summary) && add_activations(root, summary) &&
           ldnq_json_add_number(root, "opset", summary->choice->opset) &&
           ldnq_json_add_number(root, "opset_latest", LDNQ_OPSET_LATEST) &&
           ldnq_json_add_number(root, "samples", (double)summary->samples) &&
           ldnq_json_add_number(root, "held_out_samples", (double)summary->held_out) &&
           ldnq_json_add_text(root, "one_at_a_time", summary->single_reason) &&
           ldnq_input_figures_add_json(root, &summary->inputs) &&
           ldnq_json_add_number(root, "bytes_before", (double)summary->bytes_before) &&
           ldnq_json_add_number(root, "bytes_after", (double)summary->bytes_after) &&
           ldnq_json_add_number(root, "data_bytes_before", (double)summary->data_bytes_before) &&
           ldnq_json_add_number(root, "data_bytes_after", (double)summary->data_bytes_after) &&
           ldnq_json_add_number(root, "seconds", summary->seconds) && add_accuracy(root, result) &&
           add_network_choice(root, &result->choice) &&
           add_estimate(root, &result->output_estimate) && add_layers(root, result) &&
           add_distillation(root, &result->fine_tune) && add_layers_left_float(root, result) &&
           add_tied_layers(root, summary) && add_warnings(root, summary->job) &&
           ldnq_job_plan_add_json(root, summary->plan, summary->job) &&
           ldnq_job_goal_add_result_to_json(root, summary->goal) &&
           add_metadata(root, summary->model);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/select.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mapping.h"
#include "base/text.h"
#include "ops/norm/batchnormalization_training.h"
#include "ops/op.h"
#include "ops/op_layer.h"
#include "pipeline/faster_in_float.h"
#include "pipeline/integer_islands.h"

/* Compares as a name first: names may contain characters of patterns. */
bool ldnq_select_matches(const struct ldnq_layer *layer, const char *pattern)
{
    const struct ldnq_node *node = layer->node;
    return strcmp(layer->label, pattern) == 0 || strcmp(node->label, pattern) == 0 ||
           strcmp(node->name, pattern) == 0 || fnmatch(pattern, layer->label, 0) == 0 ||
           fnmatch(pattern, node->label, 0) == 0;
}

static bool matches_any_pattern(const struct ldnq_layer *layer, const char *const *patterns,
                                size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ldnq_select_matches(layer, patterns[i]))
            return true;
    return false;
}

/* Memory that is out costs the proposal alone. */
static const char *find_nearest_label(const struct ldnq_selection *all, const char *pattern)
{
    const char **labels = ldnq_calloc(all->count + 1, sizeof *labels);
    for (size_t i = 0; labels && i < all->count; i++)
        labels[i] = all->layers[i].label;
    const char *nearest = labels ? ldnq_nearest_name(pattern, labels) : NULL;
    ldnq_free(labels);
    return nearest;
}

static enum ldnq_status check_pattern(const struct ldnq_graph *graph, const char *option,
                                      const char *pattern, const struct ldnq_selection *all,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < all->count; i++)
        if (ldnq_select_matches(&all->layers[i], pattern))
            return LDNQ_OK;
    const char *nearest = find_nearest_label(all, pattern);
    if (nearest)
        return ldnq_fail(err, LDNQ_USAGE, "%s: %s '%s' matches no layer; did you mean '%s'?",
                         graph->file, option, pattern, nearest);
    return ldnq_fail(err, LDNQ_USAGE, "%s: %s '%s' matches no layer; inspect lists them",
                     graph->file, option, pattern);
}

static enum ldnq_status check_options(const struct ldnq_graph *graph,
                                      const struct ldnq_quantize_options *options,
                                      const struct ldnq_selection *all, struct ldnq_error *err)
{
    for (size_t i = 0; i < options->skip_count; i++)
        LDNQ_TRY(check_pattern(graph, "skip", options->skip[i], all, err));
    for (size_t i = 0; i < options->only_count; i++)
        LDNQ_TRY(check_pattern(graph, "only", options->only[i], all, err));
    for (size_t i = 0; i < options->plan_count; i++)
        LDNQ_TRY(check_pattern(graph, "the plan's", options->plan[i].node, all, err));
    return LDNQ_OK;
}

static bool is_table(const struct ldnq_node *node)
{
    return node->op && node->op->layer && node->op->layer->is_table && !node->feeds_product;
}

/* The first entry of the plan that matches the layer; NULL: none does. */
static const struct ldnq_plan_entry *find_plan_entry(const struct ldnq_layer *layer,
                                                     const struct ldnq_quantize_options *options)
{
    for (size_t i = 0; i < options->plan_count; i++)
        if (ldnq_select_matches(layer, options->plan[i].node))
            return &options->plan[i];
    return NULL;
}

bool ldnq_select_is_planned(const struct ldnq_layer *layer,
                            const struct ldnq_quantize_options *options)
{
    const struct ldnq_plan_entry *entry = find_plan_entry(layer, options);
    return entry && !entry->yields_to_speed;
}

bool ldnq_select_has_wide_input(const struct ldnq_layer *layer,
                                const struct ldnq_quantize_options *options)
{
    const struct ldnq_plan_entry *entry = find_plan_entry(layer, options);
    return entry && entry->wide_input;
}

const struct ldnq_codebook *ldnq_select_codebook(const struct ldnq_layer *layer,
                                                 const struct ldnq_quantize_options *options)
{
    const struct ldnq_plan_entry *entry = find_plan_entry(layer, options);
    if (entry)
        return entry->codebook;
    return is_table(layer->node) && options->table_codebook ? options->table_codebook
                                                            : options->codebook;
}

unsigned ldnq_select_stored_bits(const struct ldnq_layer *layer,
                                 const struct ldnq_quantize_options *options)
{
    const unsigned bits = ldnq_select_codebook(layer, options)->bits;
    if (ldnq_layer_is_lookup(layer))
        return ldnq_table_code_bits(bits, ldnq_layer_packed_size(layer));
    return bits > options->least_code_bits ? bits : options->least_code_bits;
}

/* Layers whose columns are the inputs themselves; rows of a table are like those of a product. */
static bool has_product_blocks(const struct ldnq_node *node)
{
    return is_table(node) || node->feeds_product || strcmp(node->op_type, "MatMul") == 0 ||
           strcmp(node->op_type, "Gemm") == 0;
}

/* Blocks of a table's rows, or of matrices that are looked up, are an axis of the file's tensors:
 * they are of one size, and what was gathered is brought back to its axes, for which those of the
 * ids must be known. */
static bool can_cut_lookup(const struct ldnq_layer *layer, size_t block)
{
    const bool has_rows =
        layer->product || (layer->weight->shape.rank == 2 && layer->geometry.channel_axis == 0);
    return block && has_rows && layer->geometry.cols % block == 0 && layer->node->inputs[1] &&
           layer->node->inputs[1]->shape.rank >= 0 &&
           layer->node->inputs[1]->shape.rank + 3 <= LDNQ_MAX_RANK;
}

size_t ldnq_select_block(const struct ldnq_layer *layer,
                         const struct ldnq_quantize_options *options)
{
    size_t block = 0;
    if (options->granularity == LDNQ_PER_BLOCK)
        block = options->block;
    else if (options->granularity == LDNQ_PER_CHANNEL && has_product_blocks(layer->node) &&
             ldnq_select_stored_bits(layer, options) < 8)
        block = options->product_block;
    /* With 8 bits a row's own scale leaves nothing to gain. */
    if (ldnq_layer_is_lookup(layer) &&
        (ldnq_select_stored_bits(layer, options) == 8 || !can_cut_lookup(layer, block)))
        return 0;
    return block && ldnq_layer_has_blocks(layer, block) ? block : 0;
}

/* Integer kernels read a weight on the right, whose output channels are an axis: of a transposed
 * convolution, axis 1. */
static bool has_kernel_layout(const struct ldnq_layer *layer)
{
    return layer->weight_input == 1 && layer->geometry.layout != LDNQ_WEIGHT_PERMUTED &&
           !(layer->op->spreads_inputs && layer->geometry.groups > 1);
}

bool ldnq_select_fits_integers(const struct ldnq_layer *layer,
                               const struct ldnq_quantize_options *options)
{
    const unsigned bits = ldnq_select_stored_bits(layer, options);
    return !ldnq_layer_is_table(layer) && has_kernel_layout(layer) && layer->dtype == LDNQ_FLOAT &&
           !layer->node->within && ldnq_target_has_default_attributes(layer->node) &&
           ldnq_select_block(layer, options) == 0 &&
           options->activations.target->weight_bits >> bits & 1;
}

static enum ldnq_status fail_without_layer(const struct ldnq_graph *graph,
                                           const struct ldnq_layer *layers, size_t count,
                                           struct ldnq_error *err)
{
    char list[4096];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < count; i++)
        ldnq_text_append_item(&text, "; ", "'%s': %s", layers[i].label, layers[i].refusal);
    ldnq_text_append_omitted_count(&text);
    return ldnq_fail(err, LDNQ_USAGE, "%s: no layer to quantize%s%s", graph->file,
                     count ? ": " : ": no Conv, Gemm, MatMul or table has a constant weight", list);
}

/* In training mode a normalization uses the statistics of its batch: results would depend on how
 * samples are grouped into batches. */
static enum ldnq_status refuse_training(const struct ldnq_graph *graph, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        if (strcmp(node->op_type, "BatchNormalization") == 0 && !*node->domain &&
            ldnq_batchnorm_is_training(node))
            return ldnq_node_fail(graph, node, LDNQ_UNSUPPORTED, err,
                                  "training_mode=1 can't be quantized: export the model for "
                                  "inference");
    }
    return LDNQ_OK;
}

static enum ldnq_status check_finite(const struct ldnq_graph *graph, const struct ldnq_layer *layer,
                                     const struct ldnq_tensor *tensor, const char *what,
                                     struct ldnq_error *err)
{
    size_t i;
    if (!tensor)
        return LDNQ_OK;
    const float *data = tensor->data;
    if (!ldnq_tensor_is_finite(tensor, &i))
        return ldnq_node_fail(graph, layer->node, LDNQ_NUMERIC, err,
                              "element %zu of its %s is %s; skip '%s' to leave it as it is", i,
                              what, isnan(data[i]) ? "NaN" : "infinity", layer->label);
    ldnq_mapping_release_pages(data, ldnq_tensor_count(tensor) * sizeof *data);
    return LDNQ_OK;
}

/* ---- tables ------------------------------------------------------------------------------ */

static bool only_moves_elements(const struct ldnq_node *node)
{
    return node->input_count > 0 &&
           (strcmp(node->op_type, "Transpose") == 0 || strcmp(node->op_type, "Reshape") == 0 ||
            strcmp(node->op_type, "Identity") == 0);
}

/* The tensor of the file that has the elements of this value; NULL: none. */
static const struct ldnq_tensor *find_stored_tensor(const struct ldnq_value *value)
{
    while (value->folded_from && only_moves_elements(value->folded_from) &&
           value->folded_from->inputs[0])
        value = value->folded_from->inputs[0];
    return value->constant;
}

/* A node with bodies has what they read as its last inputs. */
static size_t count_reads_of_node(const struct ldnq_node *node, const struct ldnq_tensor *tensor)
{
    size_t count = 0, inputs = node->input_count;
    for (size_t a = 0; a < node->attr_count; a++)
        if (node->attrs[a].kind == LDNQ_ATTR_GRAPH)
            inputs = node->input_count - node->capture_count;
    for (size_t i = 0; i < inputs; i++)
        count += node->inputs[i] && find_stored_tensor(node->inputs[i]) == tensor;
    return count;
}

static bool is_captured(const struct ldnq_graph *body, const struct ldnq_value *value)
{
    for (size_t i = 0; i < body->capture_count; i++)
        if (body->captures[i].inner == value)
            return true;
    return false;
}

/* Counts what reads the tensor in the graph and its bodies, nodes included that folding has
 * computed: they are in the file still. */
static size_t count_reads(const struct ldnq_graph *graph, const struct ldnq_tensor *tensor)
{
    size_t count = 0;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        count += count_reads_of_node(node, tensor);
        for (size_t a = 0; a < node->attr_count; a++)
            if (node->attrs[a].kind == LDNQ_ATTR_GRAPH)
                count += count_reads(node->attrs[a].g, tensor);
    }
    for (size_t v = 0; v < graph->value_count; v++) {
        const struct ldnq_node *folded = graph->values[v]->folded_from;
        if (folded && !only_moves_elements(folded) && !is_captured(graph, graph->values[v]))
            count += count_reads_of_node(folded, tensor);
    }
    for (size_t o = 0; o < graph->output_count; o++)
        count += find_stored_tensor(graph->outputs[o]) == tensor;
    return count;
}

static const struct ldnq_tensor *find_table_tensor(const struct ldnq_layer *layer)
{
    return find_stored_tensor(layer->node->inputs[layer->weight_input]);
}

/* Whether all that reads the table in the file is a layer that will have its codes. */
static bool is_read_as_codes(const struct ldnq_graph *graph, const struct ldnq_layer *table,
                             const struct ldnq_layer *layers, size_t count)
{
    const struct ldnq_tensor *tensor = find_table_tensor(table);
    size_t readers = 0;
    for (size_t i = 0; i < count; i++)
        readers += !layers[i].refusal && find_table_tensor(&layers[i]) == tensor;
    return count_reads(graph, tensor) == readers;
}

/* A table that something reads in float stays: the file would have its codes besides it. */
static void refuse_tables(const struct ldnq_graph *graph, struct ldnq_layer *layers, size_t count)
{
    /* Infinities are a mask's, which has to have them exactly. */
    for (size_t i = 0; i < count; i++)
        if (!layers[i].refusal && ldnq_layer_is_table(&layers[i]) &&
            !ldnq_tensor_is_finite(layers[i].weight, NULL))
            layers[i].refusal = "its table has elements that are not finite";
    for (size_t i = 0; i < count; i++)
        if (!layers[i].refusal && ldnq_layer_is_table(&layers[i]) &&
            !is_read_as_codes(graph, &layers[i], layers, count))
            layers[i].refusal = "another reader of its table stays float";
}

/* ---- layers in bodies --------------------------------------------------------------------- */

/* Why a layer in a body stays float; NULL: it does not. */
static const char *refuse_body(const struct ldnq_quantize_options *options)
{
    return options->fine_tune.steps > 0 || options->cascade > 0
               ? "fine-tuning has no gradients of layers in a body"
               : NULL;
}

static const char *explain_missing_codebook(const struct ldnq_layer *layer,
                                            const struct ldnq_quantize_options *options)
{
    const struct ldnq_plan_entry *entry = find_plan_entry(layer, options);
    return entry && entry->float_reason ? entry->float_reason : "left float by its codebook";
}

/* ---- all layers -------------------------------------------------------------------------- */

enum ldnq_status ldnq_select_layers(const struct ldnq_graph *graph,
                                    const struct ldnq_quantize_options *options,
                                    struct ldnq_arena *arena, struct ldnq_selection *selection,
                                    struct ldnq_error *err)
{
    const struct ldnq_target *target = options->activations.target;
    struct ldnq_layer *all;
    struct ldnq_code_flow flow;
    size_t count;
    LDNQ_TRY(refuse_training(graph, err));
    LDNQ_TRY(ldnq_code_flow_init(&flow, graph, &options->activations, arena, err));
    LDNQ_TRY(ldnq_layers_list(graph, arena, &all, &count, err));
    LDNQ_TRY(check_options(graph, options,
                           &(struct ldnq_selection){ .layers = all, .count = count }, err));
    *selection = (struct ldnq_selection){
        .layers = ldnq_arena_alloc(arena, count, sizeof *selection->layers, err),
        .kept = ldnq_arena_alloc(arena, count, sizeof *selection->kept, err),
    };
    if (!selection->layers || !selection->kept)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_node *node = all[i].node;
        bool wanted = !options->only_count ||
                      matches_any_pattern(&all[i], options->only, options->only_count);
        if (!wanted || matches_any_pattern(&all[i], options->skip, options->skip_count))
            all[i].refusal = "left out by skip or only";
        if (!all[i].refusal && all[i].body)
            all[i].refusal = refuse_body(options);
        if (!all[i].refusal && target && ldnq_layer_is_lookup(&all[i]) && !target->gathers_codes)
            all[i].refusal = "the target has no form for the codes of a table";
        if (!all[i].refusal && !ldnq_select_codebook(&all[i], options))
            all[i].refusal = explain_missing_codebook(&all[i], options);
        else if (!all[i].refusal && target &&
                 ldnq_target_skips_small_layer(target, node, &all[i].weight->shape))
            all[i].refusal = "the target computes a layer this small faster in float";
        else if (!all[i].refusal && target && !target->falls_back &&
                 !ldnq_target_has_default_attributes(node))
            all[i].refusal = "the target has no integer kernel with its alpha, beta or transA";
        else if (!all[i].refusal && target && !target->falls_back &&
                 !ldnq_layer_is_table(&all[i]) && !has_kernel_layout(&all[i]))
            all[i].refusal = "the target has no integer kernel for a weight of this form";
        else if (!all[i].refusal)
            all[i].refusal = ldnq_explain_faster_in_float(&flow, &all[i], options);
        ldnq_code_flow_pass_layer(&flow, &all[i], options);
    }
    LDNQ_TRY(ldnq_refuse_integer_islands(&flow, all, count, options, arena, err));
    ldnq_accept_rather_than_nothing(all, count);
    refuse_tables(graph, all, count);
    for (size_t i = 0; i < count; i++) {
        if (!all[i].refusal)
            selection->layers[selection->count++] = all[i];
        else if (all[i].weight)
            selection->kept[selection->kept_count++] = all[i];
    }
    for (size_t i = 0; i < selection->count; i++) {
        const struct ldnq_layer *layer = &selection->layers[i];
        LDNQ_TRY(check_finite(graph, layer, layer->weight, "weight", err));
        LDNQ_TRY(check_finite(graph, layer, layer->bias, "bias", err));
    }
    return selection->count ? LDNQ_OK : fail_without_layer(graph, all, count, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/layer_fitting.h"

#include <math.h>

#include "base/alloc.h"
#include "base/size.h"
#include "base/text.h"
#include "pipeline/checkpoint.h"
#include "pipeline/holdout.h"
#include "pipeline/layer_choice.h"

/* Positions that layers with few columns are fitted to, where options->fit limits them. */
#define FEWEST_POSITIONS ((size_t)512)
/* Bytes of a Gram matrix above which a solver's blocks do not fit into those of the batches. */
#define LARGE_MATRIX ((double)(4 << 20))

/* ---- step 1: statistics ----------------------------------------------------------------- */

enum ldnq_status ldnq_fitting_allocate_call(struct ldnq_layer_fitting *fitting,
                                            struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    struct ldnq_arena *arena = fitting->quantizer->arena;
    size_t inputs = 0, outputs = 0;
    for (size_t i = 0; i < network->count; i++) {
        const size_t extra = network->layers[i].layer.product != NULL;
        inputs = ldnq_size_max(inputs, network->layers[i].layer.node->input_count + extra);
        outputs = ldnq_size_max(outputs, network->layers[i].layer.node->output_count);
    }
    for (size_t i = 0; i < 2; i++) {
        fitting->in[i] = ldnq_arena_alloc(arena, inputs, sizeof *fitting->in[i], err);
        fitting->out[i] = ldnq_arena_alloc(arena, outputs, sizeof *fitting->out[i], err);
        if (!fitting->in[i] || !fitting->out[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

/* The data that is multiplied with the matrices that the layer looks up. */
static const struct ldnq_value *find_product_data(const struct ldnq_calib_runner *runner,
                                                  const struct ldnq_layer *layer)
{
    const struct ldnq_graph *graph = runner->graph;
    return graph->nodes[ldnq_find_product_of_lookup(graph, layer->node_index)]->inputs[0];
}

/* The call that the executor would make of the layer for this batch, with shapes inferred. */
static enum ldnq_status infer_layer_call(struct ldnq_layer_fitting *fitting,
                                         const struct ldnq_calib_runner *runner, size_t batch,
                                         struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantizer->result->network.layers[fitting->index].layer;
    const struct ldnq_node *node = runner->graph->nodes[layer->node_index];
    const size_t which = runner == &fitting->reference;
    for (size_t i = 0; i < node->input_count; i++)
        fitting->in[which][i] =
            node->inputs[i] ? ldnq_exec_find_value(runner->exec, node->inputs[i]) : NULL;
    if (layer->product)
        fitting->in[which][layer->op->data_input] =
            ldnq_exec_find_value(runner->exec, find_product_data(runner, layer));
    *call = (struct ldnq_op_call){
        .node = node,
        .attrs = node->op_attrs,
        .in_count = node->input_count,
        .out_count = node->output_count,
        .in = fitting->in[which],
        .out = fitting->out[which],
        .pool = quantizer->options->pool,
    };
    struct ldnq_error reason;
    enum ldnq_status status = ldnq_ops_infer_shape(call, &reason);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    /* The model's own shapes were checked before, so these come from the samples. */
    if (status == LDNQ_MODEL)
        status = LDNQ_DATA;
    return ldnq_node_fail(
        quantizer->graph, node, status, err, "%s (samples from %s on)", reason.message,
        ldnq_samples_name(runner->samples, ldnq_calib_runner_first_sample(runner, batch)));
}

/* Computes what the layer's columns need besides the inputs of the call, which ends with `arena`.
 */
static enum ldnq_status prepare_call(const struct ldnq_layer_fitting *fitting,
                                     struct ldnq_op_call *call, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_op_layer *op = quantizer->result->network.layers[fitting->index].layer.op;
    struct ldnq_error reason;
    call->scratch = ldnq_arena_alloc(arena, op->scratch_bytes(call), 1, err);
    if (!call->scratch)
        return LDNQ_NOMEM;
    const enum ldnq_status status = op->prepare(call, &reason);
    return status == LDNQ_OK ? status
                             : ldnq_node_fail(quantizer->graph, call->node,
                                              status == LDNQ_MODEL ? LDNQ_DATA : status, err, "%s",
                                              reason.message);
}

/* Counts the most positions of one batch that the statistics read; 0: all. */
static size_t limit_positions_per_batch(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const size_t per_column = quantizer->options->fit.positions_per_column;
    const size_t cols = quantizer->result->network.layers[fitting->index].layer.geometry.cols;
    return ldnq_size_ceil_div(per_column ? ldnq_size_max(per_column * cols, FEWEST_POSITIONS) : 0,
                              fitting->runner.batch_count);
}

static bool is_batch_held_out(const struct ldnq_calib_runner *runner, size_t batch)
{
    return ldnq_is_held_out(ldnq_calib_runner_first_sample(runner, batch), runner->sample_count);
}

static enum ldnq_status add_calls(struct ldnq_layer_fitting *fitting, size_t batch,
                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_calib_runner *runner = &fitting->runner;
    const struct ldnq_op_layer *op =
        fitting->quantizer->result->network.layers[fitting->index].layer.op;
    struct ldnq_op_call quantized, exact;
    LDNQ_TRY(infer_layer_call(fitting, runner, batch, &quantized, err));
    if (op->prepare)
        LDNQ_TRY(prepare_call(fitting, &quantized, arena, err));
    if (runner->reference)
        LDNQ_TRY(infer_layer_call(fitting, &fitting->reference, batch, &exact, err));
    /* A position is compared with itself: it meets the matrix of the quantized network. */
    if (runner->reference && op->is_lookup)
        fitting->in[1][1] = fitting->in[0][1];
    if (runner->reference && op->prepare)
        LDNQ_TRY(prepare_call(fitting, &exact, arena, err));
    struct ldnq_layer_moments_call call = {
        .op = op,
        .quantized = &quantized,
        .exact = runner->reference ? &exact : NULL,
        .positions = limit_positions_per_batch(fitting),
        .number = batch,
        .held_out = is_batch_held_out(runner, batch),
    };
    call.unmasked = ldnq_samples_find_unmasked_positions(
        runner->samples, ldnq_calib_runner_first_sample(runner, batch),
        op->count_positions(&quantized), &call.unmasked_count);
    return ldnq_layer_moments_add(&fitting->moments, &call, err);
}

static enum ldnq_status end_batch(struct ldnq_layer_fitting *fitting, size_t batch,
                                  struct ldnq_error *err)
{
    const struct ldnq_calib_runner *runner = &fitting->runner;
    if (ldnq_sum_leaf_ends(batch, runner->batch_count, runner->leaf_count))
        LDNQ_TRY(ldnq_layer_moments_end_leaf(
            &fitting->moments, ldnq_sum_leaf(batch, runner->batch_count, runner->leaf_count), err));
    return ldnq_fitting_report_batch(fitting, batch, err);
}

static enum ldnq_status add_batch_statistics(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                             struct ldnq_error *err)
{
    (void)exec;
    struct ldnq_layer_fitting *fitting = ctx;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = add_calls(fitting, batch, arena, err);
    ldnq_arena_destroy(arena);
    LDNQ_TRY(status);
    return end_batch(fitting, batch, err);
}

/* ---- layers in bodies --------------------------------------------------------------------- */

/* One batch of a layer in a body, which is fitted without error compensation: the float network may
 * take another branch, or more iterations. */
struct body_batch {
    struct ldnq_layer_fitting *fitting;
    size_t sample;      /* the first one */
    size_t next_number; /* of the layer's calls, from the batch's own on */
    bool held_out;
};

static enum ldnq_status add_body_call(struct body_batch *batch, struct ldnq_op_call *quantized,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_layer_fitting *fitting = batch->fitting;
    const struct ldnq_op_layer *op =
        fitting->quantizer->result->network.layers[fitting->index].layer.op;
    if (op->prepare)
        LDNQ_TRY(prepare_call(fitting, quantized, arena, err));
    struct ldnq_layer_moments_call call = {
        .op = op,
        .quantized = quantized,
        .positions = limit_positions_per_batch(fitting),
        .number = batch->next_number++,
        .held_out = batch->held_out,
    };
    call.unmasked =
        ldnq_samples_find_unmasked_positions(fitting->runner.samples, batch->sample,
                                             op->count_positions(quantized), &call.unmasked_count);
    return ldnq_layer_moments_add(&fitting->moments, &call, err);
}

static enum ldnq_status watch_body_call(void *ctx, const struct ldnq_op_call *call,
                                        struct ldnq_error *err)
{
    struct ldnq_op_call quantized = *call;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = add_body_call(ctx, &quantized, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

static enum ldnq_status add_batch_statistics_of_body(void *ctx, const struct ldnq_exec *exec,
                                                     size_t batch, struct ldnq_error *err)
{
    (void)exec;
    struct ldnq_layer_fitting *fitting = ctx;
    const struct ldnq_layer *layer =
        &fitting->quantizer->result->network.layers[fitting->index].layer;
    struct body_batch body = { fitting, ldnq_calib_runner_first_sample(&fitting->runner, batch),
                               batch, is_batch_held_out(&fitting->runner, batch) };
    LDNQ_TRY(ldnq_exec_watch_body(fitting->runner.exec, layer->node_index, layer->node,
                                  watch_body_call, &body, err));
    return end_batch(fitting, batch, err);
}

const double *ldnq_fitting_get_column_means(const struct ldnq_layer_fitting *fitting)
{
    return fitting->quantizer->means ? fitting->columns.mean : fitting->moments.statistics.mean;
}

/* The model's own shapes were checked before: what does not fit comes from the samples. */
enum ldnq_status ldnq_fitting_compute_column_moments(struct ldnq_layer_fitting *fitting,
                                                     const struct ldnq_layer *layer,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    struct ldnq_error reason;
    const enum ldnq_status status =
        ldnq_input_means_columns(quantizer->means, fitting->index, layer, quantizer->reference,
                                 arena, &fitting->columns, &reason);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    return ldnq_node_fail(quantizer->graph, layer->node, status == LDNQ_MODEL ? LDNQ_DATA : status,
                          err, "%s (samples from %s on)", reason.message,
                          ldnq_samples_name(quantizer->samples, 0));
}

enum ldnq_status ldnq_fitting_check_statistics(const struct ldnq_layer_fitting *fitting,
                                               const struct ldnq_layer *layer, size_t positions,
                                               struct ldnq_error *err)
{
    const struct ldnq_graph *graph = fitting->quantizer->graph;
    if (positions == 0 && layer->body)
        return LDNQ_OK;
    if (positions == 0)
        return ldnq_node_fail(graph, layer->node, LDNQ_DATA, err,
                              "the calibration samples give it no input");
    for (size_t i = 0; i < layer->geometry.groups * layer->geometry.cols; i++)
        if (!isfinite(ldnq_fitting_get_column_means(fitting)[i]))
            return ldnq_node_fail(graph, layer->node, LDNQ_NUMERIC, err,
                                  "its input is not finite on the calibration samples");
    return LDNQ_OK;
}

/* ---- step 2: the choice, and error compensation ------------------------------------------ */

bool ldnq_fitting_compensates(const struct ldnq_layer_fitting *fitting)
{
    return fitting->runner.reference &&
           !fitting->quantizer->result->network.layers[fitting->index].layer.body;
}

/* A published method is left as it is, and so are the solvers that round: of what they do, the
 * compensation alone could follow chance, and lambda is chosen on the held-out part. */
static bool chooses_fit(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_solver *solver = fitting->quantizer->options->solver;
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    return solver->needs_gram && !solver->is_published && !network->layers[fitting->index].shared;
}

/* Chooses lambda and how the layer is fitted, then adds the held-out part to the fitted one. */
static enum ldnq_status choose_by_held_out_part(struct ldnq_layer_fitting *fitting,
                                                struct ldnq_layer_diagnostics *diagnostics,
                                                const float *weight, const float *bias,
                                                struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    const struct ldnq_layer *layer =
        &fitting->quantizer->result->network.layers[fitting->index].layer;
    struct ldnq_layer_moments *moments = &fitting->moments;
    struct ldnq_compensation_strength strength = { options->lambda, LDNQ_COMPENSATION_DAMPING,
                                                   NAN };
    if (!ldnq_fitting_compensates(fitting))
        strength.lambda = strength.damping = 0;
    else if (options->lambda == LDNQ_LAMBDA_AUTO)
        LDNQ_TRY(ldnq_layer_moments_choose_strength(moments, layer->bias != NULL, &strength, err));
    if (chooses_fit(fitting))
        LDNQ_TRY(
            ldnq_fitting_choose_fit(fitting, weight, bias, &strength, &diagnostics->choice, err));
    if (diagnostics->choice.fit == LDNQ_LAYER_ROUNDED)
        strength.lambda = 0;
    diagnostics->lambda = strength.lambda;
    diagnostics->damping = strength.damping;
    diagnostics->remaining_error = strength.remaining_error;
    /* Fine-tuning is judged by the held-out part, so nothing may be fitted on it. */
    if (options->fine_tune.steps == 0)
        ldnq_layer_moments_merge(moments);
    return LDNQ_OK;
}

/* Matrices that no sample meets have no input to be fitted to: each of their columns counts the
 * same. They are named. */
static void round_unmet_matrices(const struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantizer->result->network.layers[fitting->index].layer;
    const size_t cols = layer->geometry.cols;
    char list[256];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t group = 0; group < layer->geometry.groups; group++) {
        double *gram = fitting->moments.statistics.gram + group * cols * cols, power = 0;
        for (size_t k = 0; k < cols; k++)
            power += gram[k * cols + k];
        if (power > 0)
            continue;
        for (size_t k = 0; k < cols; k++)
            gram[k * cols + k] = 1;
        ldnq_text_append_item(&text, ", ", "%zu", group);
    }
    if (text.items == 0)
        return;
    const bool is_one = text.items == 1;
    ldnq_text_append_omitted_count(&text);
    ldnq_sink_warn(quantizer->options->sink,
                   "'%s': no sample meets %s %s of its weight, which %s rounded", layer->label,
                   is_one ? "matrix" : "matrices", list, is_one ? "is" : "are");
}

/* Finds the leaves of the sums that have batches of each part. */
static enum ldnq_status find_parts_of_leaves(const struct ldnq_calib_runner *runner,
                                             struct ldnq_layer_moments_parts *parts,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    bool *has[2];
    for (size_t i = 0; i < 2; i++) {
        has[i] = ldnq_arena_alloc(arena, runner->leaf_count, sizeof **has, err);
        if (!has[i])
            return LDNQ_NOMEM;
    }
    for (size_t batch = 0; batch < runner->batch_count; batch++)
        has[parts->holds_out && is_batch_held_out(runner, batch)]
           [ldnq_sum_leaf(batch, runner->batch_count, runner->leaf_count)] = true;
    parts->leaves = runner->leaf_count;
    parts->has_fitted = has[0];
    parts->has_held_out = has[1];
    return LDNQ_OK;
}

static bool has_large_matrices(const struct ldnq_layer *layer)
{
    const double cols = (double)layer->geometry.cols;
    return sizeof(double) * (double)layer->geometry.groups * cols * cols > LARGE_MATRIX;
}

static struct ldnq_input_readers find_readers(const struct ldnq_layer_fitting *fitting)
{
    return ldnq_find_input_readers(&fitting->quantizer->result->network, fitting->index,
                                   fitting->runner.sample_count * fitting->runner.copies);
}

/* Finds the results of the layers with the same input. */
static void select_gram_results(struct ldnq_layer_fitting *fitting)
{
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    const bool follows = ldnq_has_input_of_previous(network, fitting->index);
    if (!follows) {
        ldnq_gram_results_clear(&fitting->stored_results);
        ldnq_stored_changes_clear(&fitting->stored_changes);
    }
    fitting->gram_results = follows || ldnq_has_input_of_previous(network, fitting->index + 1)
                                ? &fitting->stored_results
                                : NULL;
}

/* Sums over the input of the current layer, or takes over those of a layer before it. */
static enum ldnq_status sum_input(struct ldnq_layer_fitting *fitting, const float *weight,
                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantizer->result->network.layers[fitting->index].layer;
    const struct ldnq_input_readers readers = find_readers(fitting);
    struct ldnq_layer_moments *moments = &fitting->moments;
    const bool compensates = ldnq_fitting_compensates(fitting);
    struct ldnq_layer_moments_parts parts = {
        .compensates = compensates,
        .holds_out = compensates || chooses_fit(fitting),
        .uses_input = compensates && readers.uses_input,
        .calls = layer->body ? 0 : fitting->runner.batch_count,
        .takes_low_rank = quantizer->options->solver->takes_low_rank && !layer->product,
        .has_bias = layer->bias != NULL,
        .sum_heap_bytes = ldnq_sum_tree_limit_heap(ldnq_get_max_bytes(quantizer->options)),
    };
    select_gram_results(fitting);
    LDNQ_TRY(find_parts_of_leaves(&fitting->runner, &parts, arena, err));
    LDNQ_TRY(ldnq_layer_moments_init(moments, &layer->geometry, weight, parts,
                                     quantizer->options->pool, arena, err));
    moments->compensation.input.stored = fitting->gram_results ? &fitting->stored_changes : NULL;
    if (ldnq_shared_input_has(&fitting->shared, fitting->index, parts.holds_out)) {
        ldnq_shared_input_read(&fitting->shared, moments);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_calib_runner_advance(
        &fitting->runner, layer->node_index,
        layer->body ? add_batch_statistics_of_body : add_batch_statistics, fitting, err));
    LDNQ_TRY(ldnq_layer_moments_finish_sums(moments, err));
    return ldnq_shared_input_store(&fitting->shared, &readers, moments, err);
}

/* Steps 1 and 2 on the samples. */
enum ldnq_status ldnq_fitting_collect_statistics(struct ldnq_layer_fitting *fitting,
                                                 struct ldnq_layer_diagnostics *diagnostics,
                                                 float *weight, float *bias,
                                                 struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_layer *layer = &quantizer->result->network.layers[fitting->index].layer;
    struct ldnq_layer_moments *moments = &fitting->moments;
    LDNQ_TRY(sum_input(fitting, weight, arena, err));
    if (fitting->shared.readers.end == fitting->index + 1)
        ldnq_shared_input_release(&fitting->shared);
    if (quantizer->options->max_bytes > 0 && has_large_matrices(layer))
        ldnq_heap_return_freed(); /* what the batches needed makes room for the solver */
    LDNQ_TRY(ldnq_layer_moments_finish_calls(moments, err));
    if (!layer->product)
        LDNQ_TRY(ldnq_layer_moments_find_positions(moments, err));
    if (moments->held_out_arena && moments->statistics.positions > 0)
        LDNQ_TRY(choose_by_held_out_part(fitting, diagnostics, weight, bias, err));
    if (ldnq_fitting_compensates(fitting) && diagnostics->lambda > 0)
        LDNQ_TRY(ldnq_compensation_apply(&moments->compensation, &moments->statistics,
                                         diagnostics->lambda, diagnostics->damping, weight,
                                         layer->bias ? bias : NULL, err));
    ldnq_layer_moments_release(moments);
    if (!layer->product)
        LDNQ_TRY(ldnq_layer_moments_find_positions(moments, err));
    ldnq_statistics_finish(&moments->statistics);
    if (layer->product)
        round_unmet_matrices(fitting);
    return LDNQ_OK;
}

/* ---- a layer that is known ---------------------------------------------------------------- */

static enum ldnq_status skip_batch(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                   struct ldnq_error *err)
{
    (void)exec;
    return ldnq_fitting_report_batch(ctx, batch, err);
}

/* Whether a layer after the current one reads the same input and is still to be fitted. */
static bool is_input_needed(const struct ldnq_layer_fitting *fitting,
                            const struct ldnq_input_readers *readers)
{
    const struct ldnq_checkpoint *checkpoint = fitting->quantizer->options->checkpoint;
    for (size_t i = fitting->index + 1; readers->uses_input && i < readers->end; i++)
        if (!ldnq_checkpoint_has_layer(checkpoint, i))
            return true;
    return false;
}

/* The runner takes the steps that it took when all these layers were fitted. */
enum ldnq_status ldnq_fitting_skip_statistics(struct ldnq_layer_fitting *fitting,
                                              struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    const struct ldnq_layer *layer = &network->layers[fitting->index].layer;
    const struct ldnq_input_readers readers = find_readers(fitting);
    if (readers.uses_input && fitting->index > readers.first)
        return LDNQ_OK;
    if (!is_input_needed(fitting, &readers))
        return ldnq_calib_runner_advance(&fitting->runner, layer->node_index, skip_batch, fitting,
                                         err);
    float *weight = ldnq_arena_alloc(arena, ldnq_layer_elements(layer), sizeof *weight, err);
    if (!weight)
        return LDNQ_NOMEM;
    ldnq_layer_read_weight(layer, weight);
    return sum_input(fitting, weight, arena, err);
}

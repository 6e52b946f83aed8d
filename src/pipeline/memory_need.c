/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/memory_need.h"

#include <math.h>

#include "base/pool.h"
#include "base/size.h"
#include "exec/value_sizes.h"
#include "pipeline/activations.h"
#include "pipeline/calib_runner.h"
#include "pipeline/layer_fitting.h"
#include "pipeline/select.h"
#include "pipeline/shared_input.h"

/* The program and its libraries, and the buffers and the stack of each thread. */
#define PROGRAM_BYTES ((double)(18 << 20))
#define THREAD_BYTES ((double)(2 << 20))
/* Weights, starts and codes of a layer beside its matrices, in floats per element. */
#define LAYER_FLOATS 3.0
/* Samples per batch where whole networks run: of one, and of two. */
#define FLOAT_BATCH 4.0
#define WHOLE_BATCH ((size_t)20)

struct memory_prediction {
    const struct ldnq_memory_input *input;
    struct ldnq_value_sizes values;
    struct ldnq_quantized_network network; /* its layers alone */
    bool compensates, only_means;
    double limit, stored, networks, samples, batch;
};

static size_t count_positions(const struct memory_prediction *prediction,
                              const struct ldnq_layer *layer)
{
    return (size_t)fmin(prediction->samples * ldnq_layer_macs_per_sample(layer) /
                            fmax((double)ldnq_layer_elements(layer), 1),
                        1e15);
}

static struct ldnq_layer_moments_solvers
count_solver_bytes(const struct memory_prediction *prediction, const struct ldnq_layer *layer)
{
    const size_t positions = count_positions(prediction, layer);
    const struct ldnq_quantize_options *options = prediction->input->options;
    /* With a budget or a goal the solver is not chosen yet. */
    const struct ldnq_solver *asked = options->solver ? options->solver : ldnq_solver_find("best");
    const struct ldnq_problem_sizes sizes = {
        .groups = layer->geometry.groups,
        .rows = layer->geometry.rows,
        .cols = layer->geometry.cols,
        .threads = ldnq_pool_threads(options->pool),
        .positions = prediction->compensates && asked->takes_low_rank &&
                             ldnq_is_low_rank(&layer->geometry, positions)
                         ? positions
                         : 0,
        .has_blocks = ldnq_select_block(layer, options) > 0,
    };
    return (struct ldnq_layer_moments_solvers){
        .quick = asked->needs_gram ? ldnq_solver_count_bytes(ldnq_solver_find("gptq"), &sizes) : 0,
        .asked = ldnq_solver_count_bytes(asked, &sizes),
    };
}

/* The matrices of a layer. */
static double count_matrix_bytes(const struct memory_prediction *prediction, size_t index)
{
    const struct ldnq_layer *layer = &prediction->network.layers[index].layer;
    const struct ldnq_quantize_options *options = prediction->input->options;
    const double elements = (double)ldnq_layer_elements(layer);
    const double floats = LAYER_FLOATS * sizeof(float) * elements;
    if (prediction->only_means || ldnq_layer_is_table(layer))
        return floats;
    const struct ldnq_layer_moments_solvers solvers = count_solver_bytes(prediction, layer);
    const struct ldnq_input_readers readers = ldnq_find_input_readers(
        &prediction->network, index, (size_t)fmin(prediction->samples, 1e15));
    const struct ldnq_layer_moments_parts parts = {
        .compensates = prediction->compensates,
        .holds_out = prediction->compensates || solvers.quick > 0,
        .takes_low_rank = prediction->compensates && options->solver &&
                          options->solver->takes_low_rank && !layer->product,
        .uses_input = prediction->compensates && readers.uses_input,
        .is_shared = readers.end > index + 1,
        .sum_heap_bytes = ldnq_sum_tree_limit_heap((size_t)prediction->limit),
    };
    return floats + ldnq_layer_moments_count_bytes(&layer->geometry, &parts, &solvers,
                                                   count_positions(prediction, layer),
                                                   ldnq_pool_threads(options->pool));
}

/* The values of a batch while both networks run from node `first` to `node`: the one that has run
 * holds what it read and what the layer reads. */
static double count_batch_bytes(const struct memory_prediction *prediction, size_t first,
                                size_t node)
{
    const double *live = prediction->values.live;
    double run = live[node];
    for (size_t n = first; n < node; n++)
        run = fmax(run, prediction->values.run[n]);
    return prediction->batch * ((prediction->networks - 1) * (live[first] + live[node]) + run);
}

/* ---- the sum -------------------------------------------------------------------------------- */

/* Bytes in the two arenas, of which the rest is in files. */
static double limit_to_arenas(const struct memory_prediction *prediction, double bytes)
{
    return fmin(bytes, 2 * (double)ldnq_limit_arena((size_t)prediction->limit,
                                                    prediction->input->model_bytes));
}

/* What a layer leaves behind: the weight that it computes with from then on, and its codes. */
static double count_result_bytes(const struct ldnq_layer *layer)
{
    return (sizeof(float) + 1) * (double)ldnq_layer_elements(layer);
}

/* The layer at which most is needed. */
static void find_peak(const struct memory_prediction *prediction,
                      const struct ldnq_selection *selection, struct ldnq_memory_need *need)
{
    const double *live = prediction->values.live;
    double most = -1, results = 0;
    size_t first = 0;
    for (size_t i = 0; i < selection->count; i++) {
        const struct ldnq_layer *layer = &selection->layers[i];
        const double matrices = count_matrix_bytes(prediction, i);
        const double before = limit_to_arenas(prediction, results);
        results += count_result_bytes(layer);
        double values = 0, stored = 0;
        if (!prediction->only_means && !ldnq_layer_is_table(layer)) {
            values = count_batch_bytes(prediction, first, layer->node_index);
            stored = fmin(prediction->stored,
                          prediction->networks * prediction->samples *
                              fmax(first ? live[first] : 0, live[layer->node_index]));
            first = layer->node_index;
        }
        if (matrices + before + values + stored <= most)
            continue;
        most = matrices + before + values + stored;
        need->largest = layer;
        need->layer = (size_t)matrices;
        need->live = (size_t)stored;
        need->floor = (size_t)(matrices + before + values);
    }
}

static enum ldnq_status list_layers(struct memory_prediction *prediction,
                                    const struct ldnq_selection *selection,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_quantized_network *network = &prediction->network;
    network->count = selection->count;
    network->layers = ldnq_arena_alloc(arena, network->count, sizeof *network->layers, err);
    if (!network->layers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < network->count; i++)
        network->layers[i].layer = selection->layers[i];
    return LDNQ_OK;
}

bool ldnq_is_larger_than_memory(size_t max_bytes, size_t model_bytes)
{
    return model_bytes > max_bytes / 4;
}

size_t ldnq_limit_arena(size_t max_bytes, size_t model_bytes)
{
    return max_bytes / (ldnq_is_larger_than_memory(max_bytes, model_bytes) ? 32 : 8);
}

/* What stays over the whole run: the model, and the weights that a normalization was merged into.
 * Weights beyond parts of the limit are in files. */
static double count_model_bytes(const struct memory_prediction *prediction,
                                const struct ldnq_selection *selection)
{
    const struct ldnq_memory_input *input = prediction->input;
    double merged = 0;
    for (size_t i = 0; i < selection->count; i++)
        if (selection->layers[i].node->merged_count > 0)
            merged += sizeof(float) * (double)ldnq_layer_elements(&selection->layers[i]);
    return (double)(input->model_bytes - input->mapped_bytes) +
           limit_to_arenas(prediction, (double)input->mapped_bytes) +
           limit_to_arenas(prediction, merged);
}

/* Whole networks run over a batch to find ranges and means, and two to measure the accuracy; the
 * heap keeps what the former freed. */
static double count_whole_run_bytes(const struct memory_prediction *prediction)
{
    const struct ldnq_graph *graph = prediction->input->graph;
    const double batch = (double)ldnq_limit_batch(graph, WHOLE_BATCH);
    double run = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        run = fmax(run, prediction->values.run[n]);
    return run * (FLOAT_BATCH + 2 * batch);
}

enum ldnq_status ldnq_memory_need_predict(const struct ldnq_memory_input *input,
                                          struct ldnq_arena *arena, struct ldnq_memory_need *need,
                                          struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = input->options;
    struct memory_prediction prediction = {
        .input = input,
        .compensates = options->lambda != 0 && options->cascade == 0,
        .only_means = ldnq_fit_needs_only_input_means(options, input->samples),
        .limit = (double)ldnq_get_max_bytes(options),
    };
    struct ldnq_selection selection;
    double macs = 0;
    prediction.stored = (double)ldnq_limit_stored_values(
        (size_t)prediction.limit,
        ldnq_is_larger_than_memory((size_t)prediction.limit, input->model_bytes));
    LDNQ_TRY(ldnq_select_layers(input->graph, options, arena, &selection, err));
    LDNQ_TRY(ldnq_find_value_sizes(input->graph, arena, &prediction.values, err));
    LDNQ_TRY(list_layers(&prediction, &selection, arena, err));
    for (size_t i = 0; i < selection.count; i++)
        macs += ldnq_layer_macs_per_sample(&selection.layers[i]);
    const size_t count = ldnq_size_min(ldnq_samples_count(input->samples),
                                       ldnq_count_fitted_samples(&options->fit, macs));
    prediction.networks = prediction.compensates ? 2 : 1;
    prediction.samples = (double)(count * ldnq_size_max(1, options->copies));
    prediction.batch = (double)ldnq_calib_runner_choose_batch(input->graph, input->samples, count);
    *need = (struct ldnq_memory_need){ .largest = NULL };
    find_peak(&prediction, &selection, need);
    double results = 0;
    for (size_t i = 0; i < selection.count; i++)
        results += count_result_bytes(&selection.layers[i]);
    const double whole = count_whole_run_bytes(&prediction) + limit_to_arenas(&prediction, results);
    if ((double)(need->floor + need->live) < whole) {
        need->floor = (size_t)whole;
        need->live = 0;
    }
    need->floor += (size_t)(PROGRAM_BYTES + count_model_bytes(&prediction, &selection) +
                            THREAD_BYTES * (double)ldnq_pool_threads(options->pool));
    need->total = need->floor + need->live;
    return LDNQ_OK;
}

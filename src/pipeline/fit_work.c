/* SPDX-License-Identifier: Apache-2.0 */
/* fit_work.c: how far fitting the layers is, in work: multiplications of 32 bits in a product, and
 * what else takes as long. The work of each layer is known before the first one. */
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "exec/value_sizes.h"
#include "pipeline/activations.h"
#include "pipeline/fit_prediction.h"
#include "pipeline/layer_choice.h"
#include "pipeline/layer_fitting.h"
#include "pipeline/quantizer.h"
#include "pipeline/select.h"

/* Samples per batch, about. */
#define BATCH ((size_t)8)

/* Steps of the progress in all. */
#define STEPS ((size_t)10000)

/* Costs, fitted to the processor time of each layer of ResNet-20 and EfficientNet-Lite0, whose
 * multiplications take .03 ns. */
#define ELEMENT_COST 8.0    /* an element that a node without a weight computes */
#define READING_COST 1200.0 /* an element of a sample, from a picture's file */

/* Statistics: of each position, and of the sums of each batch. */
#define COLUMN_COST 57.0
#define CROSS_COST 3.0
#define SUM_COST 25.0
#define SUM_COLUMN_COST 3000.0
/* The part of the samples that layers are fitted to before the choice. */
#define FITTED_PART 0.8

/* The choice of lambda, and between fitted, damped and rounded: in all, and for each damping. */
#define CHOICE_CUBE_COST 3.5
#define CHOICE_COLUMN_SQUARE_COST 2000.0
#define CHOICE_COLUMN_COST 200000.0
#define TRIAL_CUBE_COST 0.5
#define TRIAL_SQUARE_COST 2.0
#define TRIAL_WEIGHT_COST 7000.0
/* The same without matrices of all columns: the products of positions, and what a search of
 * positions costs beside one of as many columns. */
#define LOW_RANK_SQUARE_COST 8.0
#define LOW_RANK_COLUMNS 4.0
/* The same for rounding. */
#define ROUNDING_CUBE_COST 3.0
#define ROUNDING_WEIGHT_COST 6000.0
#define ROUNDING_COLUMN_SQUARE_COST 700.0

/* A solver with up to `most_codes` codes, per weight and column, and per weight. */
static const struct solver_cost {
    const char *name;
    size_t most_codes;
    double square, weight, block_square, block_weight;
} solver_costs[] = {
    { "admm-paper", 256, 0, 0, 0, 0 },       { "gptq", 256, 0, 0, 0, 0 }, /* is a trial once more */
    { "cd", 256, 2, 5000, 6, 10000 },        { "beam", 256, 8, 8000, 16, 15000 },
    { "best", 8, 480, 120000, 640, 210000 }, { "best", 256, 480, 120000, 170, 60000 },
};
static const struct solver_cost other_solver = { "", 256, 480, 100000, 640, 210000 };
/* Per weight and position: what steps of the scales of blocks cost where positions take the place
 * of the Gram matrix. */
#define LOW_RANK_BLOCK_COST 94.0

static const struct solver_cost *find_solver_cost(const char *name, size_t codes)
{
    for (size_t i = 0; i < sizeof solver_costs / sizeof *solver_costs; i++)
        if (strcmp(solver_costs[i].name, name) == 0 && codes <= solver_costs[i].most_codes)
            return &solver_costs[i];
    return &other_solver;
}

static double count_elements(const struct ldnq_value *value)
{
    return ldnq_count_value_bytes(value) / sizeof(float);
}

static double count_node_work(const struct ldnq_node *node)
{
    double work = 0, inner = 1;
    for (size_t i = 0; i < node->output_count; i++)
        work += node->outputs[i] ? ELEMENT_COST * count_elements(node->outputs[i]) : 0;
    const bool multiplies = strcmp(node->op_type, "MatMul") == 0 && node->input_count == 2;
    const struct ldnq_shape *shape = multiplies ? &node->inputs[0]->shape : NULL;
    if (shape && shape->rank > 0 && shape->dim[shape->rank - 1] > 0)
        inner = (double)shape->dim[shape->rank - 1];
    return multiplies ? work / ELEMENT_COST * inner : work;
}

/* The nodes from `first` to before `last`, for one sample. */
static double count_run_work(const struct ldnq_quantizer *quantizer, size_t first, size_t last)
{
    const struct ldnq_quantized_network *network = &quantizer->result->network;
    double work = 0;
    for (size_t n = first; n < last; n++)
        work += count_node_work(quantizer->graph->nodes[n]);
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_layer *layer = &network->layers[i].layer;
        if (layer->node_index >= first && layer->node_index < last)
            work += ldnq_layer_macs_per_sample(layer);
    }
    for (size_t i = 0; first == 0 && i < quantizer->graph->input_count; i++)
        work += READING_COST * count_elements(quantizer->graph->inputs[i]);
    return work;
}

/* The positions that the statistics read, of all samples. */
static double count_read_positions(const struct ldnq_layer_fitting *fitting,
                                   const struct ldnq_layer *layer, double samples)
{
    const double per_column = (double)fitting->quantizer->options->fit.positions_per_column;
    const double elements = (double)ldnq_layer_elements(layer);
    const double all = samples * ldnq_layer_macs_per_sample(layer) / fmax(elements, 1);
    return per_column > 0 ? fmin(all, fmax(per_column * (double)layer->geometry.cols, 512)) : all;
}

/* Whether the layer's positions take the place of matrices of all columns. */
static bool is_low_rank(const struct ldnq_layer_fitting *fitting, const struct ldnq_layer *layer,
                        double positions)
{
    return fitting->runner.reference && fitting->quantizer->options->solver->takes_low_rank &&
           !layer->product && !layer->body &&
           ldnq_is_low_rank(&layer->geometry, (size_t)fmin(positions, 1e15));
}

static double count_statistics_work(const struct ldnq_layer_fitting *fitting,
                                    const struct ldnq_layer *layer, double samples)
{
    const double k = (double)layer->geometry.cols, rows = (double)layer->geometry.rows;
    const double positions = count_read_positions(fitting, layer, samples);
    const double cross = fitting->runner.reference ? rows * k : 0;
    const double batches = (double)fitting->runner.batch_count;
    const double square = is_low_rank(fitting, layer, positions) ? 0 : k * k;
    return (double)layer->geometry.groups *
           (positions * (square / 2 + COLUMN_COST * k + CROSS_COST * cross) +
            (square > 0 ? batches * SUM_COST * (square + cross) : 0) +
            batches * SUM_COLUMN_COST * k);
}

/* What comes before the solver: the choice of lambda, and whether the layer is fitted. */
static double count_choice_work(const struct ldnq_layer_fitting *fitting,
                                const struct ldnq_layer *layer, double positions)
{
    const double k = (double)layer->geometry.cols, rows = (double)layer->geometry.rows;
    if (!fitting->quantizer->options->solver->needs_gram)
        return fitting->runner.reference
                   ? ROUNDING_CUBE_COST * k * k * k + ROUNDING_WEIGHT_COST * rows * k +
                         ROUNDING_COLUMN_SQUARE_COST * k * k
                   : ROUNDING_WEIGHT_COST * rows * k;
    const double trials = (double)ldnq_fitting_count_dampings(
        (size_t)fmin(FITTED_PART * positions, 1e15), layer->geometry.cols);
    if (is_low_rank(fitting, layer, positions))
        return trials * (LOW_RANK_SQUARE_COST * k * positions * positions +
                         TRIAL_SQUARE_COST * rows * k * positions + TRIAL_WEIGHT_COST * rows * k) +
               CHOICE_COLUMN_COST * k;
    return trials * (TRIAL_CUBE_COST * k * k * k + TRIAL_SQUARE_COST * rows * k * k +
                     TRIAL_WEIGHT_COST * rows * k) +
           CHOICE_CUBE_COST * k * k * k + CHOICE_COLUMN_SQUARE_COST * k * k +
           CHOICE_COLUMN_COST * k;
}

static double count_block_square(const struct ldnq_layer_fitting *fitting,
                                 const struct ldnq_layer *layer, const struct solver_cost *cost,
                                 double positions)
{
    const double k = (double)layer->geometry.cols;
    return is_low_rank(fitting, layer, positions)
               ? cost->square + LOW_RANK_BLOCK_COST * positions / k
               : cost->block_square;
}

static double count_solver_work(const struct ldnq_layer_fitting *fitting,
                                const struct ldnq_quantized_layer *quantized, double samples)
{
    const struct ldnq_layer *layer = &quantized->layer;
    const struct ldnq_quantize_options *options = fitting->quantizer->options;
    const double k = (double)layer->geometry.cols, rows = (double)layer->geometry.rows;
    const double elements = (double)ldnq_layer_elements(layer);
    if (fitting->quantizer->means || ldnq_layer_is_table(layer))
        return ROUNDING_WEIGHT_COST * elements;
    const double positions = count_read_positions(fitting, layer, samples);
    const double cols =
        is_low_rank(fitting, layer, positions) ? fmin(LOW_RANK_COLUMNS * positions, k) : k;
    double work = count_choice_work(fitting, layer, positions);
    if (options->solver->needs_gram) {
        const struct solver_cost *cost =
            find_solver_cost(options->solver->name, quantized->codebook->count);
        const bool has_blocks = ldnq_select_block(layer, options) > 0;
        const double square = has_blocks ? k * count_block_square(fitting, layer, cost, positions)
                                         : cols * cost->square;
        work += rows * k * (square + (has_blocks ? cost->block_weight : cost->weight));
    }
    return (double)layer->geometry.groups * work + ELEMENT_COST * elements;
}

static enum ldnq_status report_work(const struct ldnq_layer_fitting *fitting, double work,
                                    struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    const double share = work / fmax(fitting->work[2 * network->count], 1);
    return ldnq_sink_progress(fitting->quantizer->options->sink, "quantize",
                              network->layers[fitting->index].layer.label,
                              (size_t)(fmin(share, 1) * (double)STEPS), STEPS, err);
}

static enum ldnq_status count_all_work(struct ldnq_layer_fitting *fitting, struct ldnq_error *err)
{
    const struct ldnq_quantizer *quantizer = fitting->quantizer;
    const struct ldnq_quantized_network *network = &quantizer->result->network;
    const struct ldnq_calib_runner *runner = &fitting->runner;
    const double samples = (double)(runner->sample_count * runner->copies);
    const double networks = runner->reference ? 2 : 1;
    double *work = ldnq_arena_alloc(quantizer->arena, 2 * network->count + 1, sizeof *work, err);
    size_t first = 0;
    if (!work)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_layer *layer = &network->layers[i].layer;
        double run = 0;
        if (!quantizer->means && !ldnq_layer_is_table(layer)) {
            run = samples * networks * count_run_work(quantizer, first, layer->node_index) +
                  count_statistics_work(fitting, layer, samples);
            first = layer->node_index;
        }
        work[2 * i + 1] = work[2 * i] + run;
        work[2 * i + 2] =
            work[2 * i + 1] + count_solver_work(fitting, &network->layers[i], samples);
    }
    fitting->work = work;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fitting_plan_work(struct ldnq_layer_fitting *fitting, struct ldnq_error *err)
{
    LDNQ_TRY(count_all_work(fitting, err));
    return fitting->quantizer->result->network.count > 0 ? report_work(fitting, 0, err) : LDNQ_OK;
}

/* Counts as the progress does, with runners that do nothing else. */
enum ldnq_status ldnq_predict_fit_work(struct ldnq_graph *graph,
                                       const struct ldnq_selection *selection,
                                       const struct ldnq_quantize_options *options,
                                       const struct ldnq_samples *samples, struct ldnq_arena *arena,
                                       struct ldnq_fit_work *work, struct ldnq_error *err)
{
    struct ldnq_quantization result = { .network = { .count = selection->count } };
    struct ldnq_quantizer quantizer = {
        .graph = graph, .options = options, .arena = arena, .result = &result
    };
    struct ldnq_layer_fitting fitting = { .quantizer = &quantizer };
    double macs = 0;
    result.network.layers =
        ldnq_arena_alloc(arena, selection->count, sizeof *result.network.layers, err);
    if (!result.network.layers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < selection->count; i++) {
        result.network.layers[i].layer = selection->layers[i];
        result.network.layers[i].codebook = ldnq_select_codebook(&selection->layers[i], options);
        macs += ldnq_layer_macs_per_sample(&selection->layers[i]);
    }
    const size_t all = samples ? ldnq_samples_count(samples) : 0;
    const size_t fitted = ldnq_size_min(all, ldnq_count_fitted_samples(&options->fit, macs));
    const bool only_means = samples && ldnq_fit_needs_only_input_means(options, samples);
    const double pass = count_run_work(&quantizer, 0, graph->node_count);
    fitting.runner.sample_count = only_means ? 0 : fitted;
    fitting.runner.copies = ldnq_size_max(options->copies, 1);
    fitting.runner.batch_count =
        ldnq_size_ceil_div(fitting.runner.sample_count * fitting.runner.copies, BATCH);
    if (options->lambda != 0 && !only_means)
        fitting.runner.reference = &fitting.reference;
    LDNQ_TRY(count_all_work(&fitting, err));
    const bool needs_ranges = options->activations.target != NULL;
    const double measured =
        options->held_out ? 2 * (double)ldnq_samples_count(options->held_out) : 0;
    work->pass = pass;
    work->layers = fitting.work[2 * selection->count];
    work->all =
        work->layers + pass * (measured + (needs_ranges || only_means ? (double)fitted : 0));
    return LDNQ_OK;
}

enum ldnq_status ldnq_fitting_report_batch(const struct ldnq_layer_fitting *fitting, size_t batch,
                                           struct ldnq_error *err)
{
    const double *work = fitting->work + 2 * fitting->index;
    const struct ldnq_calib_runner *runner = &fitting->runner;
    const double part = (double)(batch + 1 - runner->first_batch) /
                        (double)(runner->end_batch - runner->first_batch);
    return report_work(fitting, work[0] + part * (work[1] - work[0]), err);
}

enum ldnq_status ldnq_fitting_report_layer(const struct ldnq_layer_fitting *fitting,
                                           struct ldnq_error *err)
{
    return report_work(fitting, fitting->work[2 * fitting->index + 2], err);
}

/* fit_work.c: how far fitting the layers is, in work: multiplications of 32 bits, and what else
 * takes as long. The work of each layer is known before the first one. */
#include <math.h>
#include <string.h>

#include "exec/value_sizes.h"
#include "pipeline/layer_fitting.h"
#include "pipeline/quantizer.h"

/* Steps of the progress in all. */
#define STEPS ((size_t)10000)

/* Costs, measured on ResNet-20 and EfficientNet-Lite0. */
#define ELEMENT_COST 8.0  /* an element that a node without a weight computes */
#define DOUBLE_COST 2.0   /* a multiplication of 64 bits */
#define DAMPINGS 4.0      /* that the error compensation tries */
#define READING_COST 30.0 /* an element of a sample, from its file */

/* The work of a solver per element and column of the weight. */
static const struct solver_cost {
    const char *name;
    double passes;
} solver_costs[] = {
    { "rtn", 1 }, { "nearest", 1 }, { "mse", 3 }, { "gptq", 3 }, { "beam", 8 }, { "best", 140 },
};
#define OTHER_SOLVER 120.0
/* What a pass costs per element beside its columns, in columns. */
#define PASS_COLUMNS 80.0

static double find_solver_passes(const char *name)
{
    for (size_t i = 0; i < sizeof solver_costs / sizeof *solver_costs; i++)
        if (strcmp(solver_costs[i].name, name) == 0)
            return solver_costs[i].passes;
    return OTHER_SOLVER;
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

static double count_statistics_work(const struct ldnq_layer_fitting *fitting,
                                    const struct ldnq_layer *layer, double samples)
{
    const double k = (double)layer->geometry.cols, rows = (double)layer->geometry.rows;
    const double positions = count_read_positions(fitting, layer, samples);
    const double compensation = fitting->runner.reference ? 2 * rows * k : 0;
    return (double)layer->geometry.groups * positions *
           (k * k / 2 + compensation + ELEMENT_COST * k);
}

static double count_solver_work(const struct ldnq_layer_fitting *fitting,
                                const struct ldnq_layer *layer)
{
    const double k = (double)layer->geometry.cols, rows = (double)layer->geometry.rows;
    const double passes = find_solver_passes(fitting->quantizer->options->solver->name);
    const double elements = (double)ldnq_layer_elements(layer);
    if (fitting->quantizer->means || ldnq_layer_is_table(layer))
        return ELEMENT_COST * elements;
    const double compensation =
        fitting->runner.reference ? (DAMPINGS + 1) * (k * k * k / 3 + 2 * rows * k * k) : 0;
    const double solver = k * k * k + passes * rows * k * (k + PASS_COLUMNS);
    return DOUBLE_COST * (double)layer->geometry.groups * (compensation + solver) +
           ELEMENT_COST * elements;
}

enum ldnq_status ldnq_fitting_plan_work(struct ldnq_layer_fitting *fitting, struct ldnq_error *err)
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
        work[2 * i + 2] = work[2 * i + 1] + count_solver_work(fitting, layer);
    }
    fitting->work = work;
    return LDNQ_OK;
}

static enum ldnq_status report_work(const struct ldnq_layer_fitting *fitting, double work,
                                    struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &fitting->quantizer->result->network;
    const double share = work / fmax(fitting->work[2 * network->count], 1);
    return ldnq_sink_progress(fitting->quantizer->options->sink, "quantize",
                              network->layers[fitting->index].layer.node->label,
                              (size_t)(fmin(share, 1) * (double)STEPS), STEPS, err);
}

enum ldnq_status ldnq_fitting_report_batch(const struct ldnq_layer_fitting *fitting, size_t batch,
                                           struct ldnq_error *err)
{
    const double *work = fitting->work + 2 * fitting->index;
    const double part = (double)(batch + 1) / (double)fitting->runner.batch_count;
    return report_work(fitting, work[0] + part * (work[1] - work[0]), err);
}

enum ldnq_status ldnq_fitting_report_layer(const struct ldnq_layer_fitting *fitting,
                                           struct ldnq_error *err)
{
    return report_work(fitting, fitting->work[2 * fitting->index + 2], err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/integer_islands.h"

#include <string.h>

#include "ops/op.h"
#include "pipeline/select.h"
#include "target/target.h"

/* Positions of an input whose size is open: those of a usual picture. */
#define OPEN_POSITIONS (224.0 * 224.0)

struct integer_island {
    double gain; /* what its kernels save minus what its borders cost; picoseconds */
    double weights;
    bool is_kept;
    bool has_planes; /* a layer of it has more than one position */
};

struct island_workspace {
    const struct ldnq_graph *graph;
    const struct ldnq_code_flow *flow;
    const struct ldnq_conversion_costs *costs;
    const struct ldnq_quantize_options *options;
    double *positions;              /* by value: elements per channel of one sample */
    size_t *writers;                /* by value: the node that writes it; SIZE_MAX: none */
    size_t *parents;                /* by node: union-find */
    size_t *counted;                /* by value: 1 + the island that paid for it last; 0: none */
    struct integer_island *islands; /* by node: of the set's root */
};

static bool is_type(const struct ldnq_node *node, const char *type)
{
    return *node->domain == '\0' && strcmp(node->op_type, type) == 0;
}

static bool is_convolution(const struct ldnq_node *node)
{
    return is_type(node, "Conv") && node->input_count > 1 && node->inputs[1] &&
           node->inputs[1]->shape.rank == 4;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static double find_stride(const struct ldnq_node *node)
{
    size_t count = 0;
    double product = 1;
    const int64_t *strides = ldnq_attr_ints(node, "strides", &count);
    for (size_t i = 0; strides && i < count; i++)
        product *= (double)strides[i];
    return product >= 1 ? product : 1;
}

/* With sizes that are not known: by the node that writes the value, whose inputs are done. */
static double estimate_positions(const struct island_workspace *work,
                                 const struct ldnq_node *writer)
{
    double most = 0;
    if (!writer)
        return OPEN_POSITIONS;
    for (size_t i = 0; i < writer->input_count; i++) {
        const struct ldnq_value *input = writer->inputs[i];
        if (input && !input->constant && work->positions[input->index] > most)
            most = work->positions[input->index];
    }
    return most > 0 ? most / find_stride(writer) : OPEN_POSITIONS;
}

static double count_positions(const struct island_workspace *work, const struct ldnq_value *value,
                              const struct ldnq_node *writer)
{
    size_t count;
    if (value->shape.rank > 2 &&
        ldnq_shape_count_range(&value->shape, 2, value->shape.rank, &count))
        return (double)count;
    return value->shape.rank > 2 ? estimate_positions(work, writer) : 1;
}

static double count_elements(const struct island_workspace *work, const struct ldnq_value *value)
{
    const int64_t channels = value->shape.rank > 1 ? value->shape.dim[1] : 1;
    return work->positions[value->index] * (channels > 0 ? (double)channels : 1);
}

/* ---- what surrounds an island -----------------------------------------------------------------
 */

static bool is_on_codes(const struct island_workspace *work, const struct ldnq_node *node)
{
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o] && work->flow->has_codes[node->outputs[o]->index])
            return true;
    return false;
}

/* An activation function that a float convolution computes in its own kernel. */
static bool is_fusable(const struct ldnq_node *node)
{
    static const char *const types[] = { "HardSwish", "HardSigmoid", "Sigmoid", "Tanh",
                                         "LeakyRelu" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (is_type(node, types[i]))
            return true;
    return false;
}

/* Whether the operator computes with channels in blocks, of which this value has a whole one. */
static bool is_in_channel_blocks(const struct island_workspace *work, const struct ldnq_node *node,
                                 const struct ldnq_value *value)
{
    return value->shape.rank == 4 && value->shape.dim[1] >= work->costs->channel_block &&
           (is_convolution(node) || is_type(node, "MaxPool") || is_type(node, "AveragePool") ||
            is_type(node, "GlobalAveragePool"));
}

/* The operator whose kernel writes the value, past what is fused into it. */
static const struct ldnq_node *find_operator_that_writes(const struct island_workspace *work,
                                                         const struct ldnq_value *value)
{
    size_t n = work->writers[value->index];
    while (n != SIZE_MAX &&
           (ldnq_passes_codes(work->graph->nodes[n]) || is_fusable(work->graph->nodes[n]))) {
        const struct ldnq_value *input = work->graph->nodes[n]->inputs[0];
        n = input ? work->writers[input->index] : SIZE_MAX;
    }
    return n == SIZE_MAX ? NULL : work->graph->nodes[n];
}

static double compute_cost_of_quantizing(const struct island_workspace *work,
                                         const struct ldnq_value *value)
{
    const struct ldnq_node *kernel = find_operator_that_writes(work, value);
    const bool is_float_kernel = kernel && !is_on_codes(work, kernel);
    return work->costs->entering + (is_float_kernel && is_in_channel_blocks(work, kernel, value)
                                        ? work->costs->blocked
                                        : 0);
}

static double compute_cost_of_dequantizing(const struct island_workspace *work,
                                           const struct ldnq_value *value,
                                           const struct ldnq_node *reader)
{
    if (reader && is_fusable(reader))
        return work->costs->leaving + work->costs->unfused;
    return work->costs->leaving +
           (reader && is_in_channel_blocks(work, reader, value) ? work->costs->blocked : 0);
}

/* ---- islands ----------------------------------------------------------------------------------
 */

static size_t find_island(struct island_workspace *work, size_t n)
{
    while (work->parents[n] != n) {
        work->parents[n] = work->parents[work->parents[n]];
        n = work->parents[n];
    }
    return n;
}

static void unite_islands(struct island_workspace *work)
{
    for (size_t n = 0; n < work->graph->node_count; n++) {
        const struct ldnq_node *node = work->graph->nodes[n];
        for (size_t i = 0; is_on_codes(work, node) && i < node->input_count; i++) {
            const struct ldnq_value *value = node->inputs[i];
            if (value && work->flow->has_codes[value->index] &&
                work->writers[value->index] != SIZE_MAX)
                work->parents[find_island(work, n)] =
                    find_island(work, work->writers[value->index]);
        }
    }
}

/* Each value is converted once for an island, whatever reads it. */
static bool mark_as_converted(struct island_workspace *work, const struct ldnq_value *value,
                              size_t island)
{
    const bool again = work->counted[value->index] == island + 1;
    work->counted[value->index] = island + 1;
    return again;
}

static void subtract_conversion_costs_of_inputs(struct island_workspace *work, size_t n)
{
    const struct ldnq_node *node = work->graph->nodes[n];
    const bool on_codes = is_on_codes(work, node);
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *value = node->inputs[i];
        if (!value || value->constant || value->dtype != LDNQ_FLOAT ||
            on_codes == work->flow->has_codes[value->index])
            continue;
        const size_t inside = on_codes ? n : work->writers[value->index];
        const size_t island = find_island(work, inside);
        if (mark_as_converted(work, value, island))
            continue;
        work->islands[island].gain -= count_elements(work, value) *
                                      (on_codes ? compute_cost_of_quantizing(work, value)
                                                : compute_cost_of_dequantizing(work, value, node));
    }
}

static void subtract_conversion_costs_of_outputs(struct island_workspace *work)
{
    for (size_t o = 0; o < work->graph->output_count; o++) {
        const struct ldnq_value *value = work->graph->outputs[o];
        if (!work->flow->has_codes[value->index] || work->writers[value->index] == SIZE_MAX)
            continue;
        const size_t island = find_island(work, work->writers[value->index]);
        if (!mark_as_converted(work, value, island))
            work->islands[island].gain -=
                count_elements(work, value) * compute_cost_of_dequantizing(work, value, NULL);
    }
}

static double pad_channels(const struct island_workspace *work, int64_t channels)
{
    const int64_t block = work->costs->channel_block;
    return (double)((channels + block - 1) / block * block);
}

/* What the layer's integer kernel saves. */
static double compute_saving(const struct island_workspace *work, const struct ldnq_layer *layer)
{
    const struct ldnq_shape *weight = &layer->weight->shape;
    const struct ldnq_value *output = layer->node->outputs[0];
    const int64_t groups = ldnq_attr_int(layer->node, "group", 1);
    if (weight->dim[1] == 1 && groups > 1)
        return -work->costs->lost_per_depthwise * count_elements(work, output);
    if (weight->dim[1] < work->costs->least_channels)
        return 0;
    const double window = (double)(weight->dim[2] * weight->dim[3]);
    const double channels =
        groups > 1 ? (double)(weight->dim[0] * weight->dim[1])
                   : pad_channels(work, weight->dim[0]) * pad_channels(work, weight->dim[1]);
    return work->costs->saved_per_product * channels * window * work->positions[output->index];
}

static bool is_layer_of_main_graph(const struct island_workspace *work,
                                   const struct ldnq_layer *layer)
{
    return layer->weight && layer->node_index < work->graph->node_count &&
           work->graph->nodes[layer->node_index] == layer->node && layer->node->outputs[0];
}

static bool is_in_island(const struct island_workspace *work, const struct ldnq_layer *layer)
{
    return is_layer_of_main_graph(work, layer) && is_on_codes(work, layer->node);
}

static void add_savings_of_layers(struct island_workspace *work, const struct ldnq_layer *layers,
                                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_in_island(work, &layers[i]))
            continue;
        struct integer_island *island = &work->islands[find_island(work, layers[i].node_index)];
        if (!is_convolution(layers[i].node) || ldnq_select_is_planned(&layers[i], work->options))
            island->is_kept = true;
        else
            island->gain += compute_saving(work, &layers[i]);
        island->weights += (double)ldnq_tensor_count(layers[i].weight);
        island->has_planes |= work->positions[layers[i].node->outputs[0]->index] > 1;
    }
}

/* ---- all of them ------------------------------------------------------------------------------
 */

static enum ldnq_status init_workspace(struct island_workspace *work,
                                       const struct ldnq_code_flow *flow,
                                       const struct ldnq_quantize_options *options,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = flow->graph;
    const size_t values = graph->value_count, nodes = graph->node_count;
    *work = (struct island_workspace){
        .graph = graph,
        .flow = flow,
        .costs = flow->target->conversion_costs,
        .options = options,
        .positions = ldnq_arena_alloc(arena, values, sizeof *work->positions, err),
        .writers = ldnq_arena_alloc(arena, values, sizeof *work->writers, err),
        .parents = ldnq_arena_alloc(arena, nodes, sizeof *work->parents, err),
        .counted = ldnq_arena_alloc(arena, values, sizeof *work->counted, err),
        .islands = ldnq_arena_alloc(arena, nodes, sizeof *work->islands, err),
    };
    if (!work->positions || !work->writers || !work->parents || !work->counted || !work->islands)
        return LDNQ_NOMEM;
    for (size_t v = 0; v < values; v++) {
        work->writers[v] = SIZE_MAX;
        work->positions[v] = count_positions(work, graph->values[v], NULL);
    }
    for (size_t n = 0; n < nodes; n++)
        for (size_t o = 0; o < graph->nodes[n]->output_count; o++) {
            const struct ldnq_value *value = graph->nodes[n]->outputs[o];
            if (!value)
                continue;
            work->writers[value->index] = n;
            work->positions[value->index] = count_positions(work, value, graph->nodes[n]);
        }
    return LDNQ_OK;
}

static void compute_island_gains(struct island_workspace *work, const struct ldnq_layer *layers,
                                 size_t count)
{
    memset(work->islands, 0, work->graph->node_count * sizeof *work->islands);
    memset(work->counted, 0, work->graph->value_count * sizeof *work->counted);
    for (size_t n = 0; n < work->graph->node_count; n++)
        work->parents[n] = n;
    unite_islands(work);
    for (size_t n = 0; n < work->graph->node_count; n++)
        subtract_conversion_costs_of_inputs(work, n);
    subtract_conversion_costs_of_outputs(work);
    add_savings_of_layers(work, layers, count);
}

static bool is_too_slow(const struct island_workspace *work, const struct integer_island *island)
{
    const struct ldnq_conversion_costs *costs = work->costs;
    if (island->is_kept)
        return false;
    if (island->has_planes)
        return -island->gain >= costs->least_loss;
    return costs->lost_per_single - island->gain >=
           costs->least_loss + costs->least_loss_per_weight * island->weights;
}

static bool refuse_layers(struct island_workspace *work, struct ldnq_layer *layers, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (layers[i].refusal || !is_in_island(work, &layers[i]))
            continue;
        if (!is_too_slow(work, &work->islands[find_island(work, layers[i].node_index)]))
            continue;
        layers[i].refusal = ldnq_converted_in_float;
        any = true;
    }
    return any;
}

static void recompute_code_flow(struct ldnq_code_flow *flow, const struct ldnq_layer *layers,
                                size_t count, const struct ldnq_quantize_options *options)
{
    memset(flow->has_codes, 0, flow->graph->value_count * sizeof *flow->has_codes);
    flow->node_index = 0;
    for (size_t i = 0; i < count; i++)
        ldnq_code_flow_pass_layer(flow, &layers[i], options);
    ldnq_code_flow_advance(flow, flow->graph->node_count);
}

enum ldnq_status ldnq_refuse_integer_islands(struct ldnq_code_flow *flow, struct ldnq_layer *layers,
                                             size_t count,
                                             const struct ldnq_quantize_options *options,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct island_workspace work;
    if (!flow->target || !flow->target->conversion_costs)
        return LDNQ_OK;
    LDNQ_TRY(init_workspace(&work, flow, options, arena, err));
    /* A float neighbor makes conversions dearer, as its channels are in blocks. */
    for (bool changed = true; changed;) {
        recompute_code_flow(flow, layers, count, options);
        compute_island_gains(&work, layers, count);
        changed = refuse_layers(&work, layers, count);
    }
    return LDNQ_OK;
}

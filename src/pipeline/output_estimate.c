/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/output_estimate.h"

#include <math.h>

#include "base/clock.h"
#include "base/simd.h"
#include "exec/exec.h"
#include "metric/output_projection.h"
#include "ops/op.h"
#include "target/placement.h"

/* An automatic estimate may multiply this often; more takes longer than a second. */
#define QUICK_MACS 5e9
/* Each draw makes the gradient of a weight and reads its change, which takes at least as long as so
 * many multiplications per element: with few positions that is most of a draw. */
#define GRADIENT_MACS 4.0
#define MOST_DRAWS 256.0

/* Where on the way to the quantized network the Jacobian is taken: the two nodes of Gauss's rule,
 * and where these disagree the three that Kronrod adds to them. */
#define NODES 2
#define MOST_NODES 5
static const double nodes[MOST_NODES] = { 0.21132486540518712, 0.78867513459481288, 0.5,
                                          0.03708995011372428, 0.96291004988627572 };
static const double node_weights[MOST_NODES] = { 0.5, 0.5, 14.0 / 45, 49.0 / 495, 49.0 / 495 };
/* The weight of Gauss's nodes among all five, in parts of their own. */
#define GAUSS_PART (27.0 / 55)
/* The nodes disagree where half of their difference has more than this part of their mean's power.
 */
#define MOST_DISAGREEMENT 0.25

/* To whom a changed value counts, besides the layers. */
#define OF_ACTIVATIONS SIZE_MAX
#define OF_NORMS (SIZE_MAX - 1)

struct output_estimator {
    const struct ldnq_estimate_inputs *inputs;
    struct ldnq_arena *arena; /* freed with the estimator */
    struct ldnq_output_estimate *estimate;
    struct ldnq_exec *exec;    /* of the quantized graph; NULL without rounded activations */
    struct ldnq_graph *middle; /* the reference, with weights between its own and the quantized */
    size_t count;
    const struct ldnq_value **values; /* values of `middle` */
    size_t *owner;                    /* by value: a layer, OF_ACTIVATIONS or OF_NORMS */
    const struct ldnq_placed_activation **rounded; /* by value; NULL: a changed constant */
    double *terms;  /* (draws, values) u' J d, summed by weight over the quadrature nodes */
    double *first;  /* (draws) the sum over the values at the first node */
    size_t node;    /* the current one */
    size_t draw;    /* of the current node */
    double squares; /* the mean of (u'd)^4 */
};

/* ---- what has changed --------------------------------------------------------------------- */

/* Appends a constant that the graphs have under one index. */
static enum ldnq_status add_changed_value(struct output_estimator *estimator, size_t index,
                                          size_t owner, struct ldnq_error *err)
{
    const struct ldnq_tensor *exact = estimator->inputs->reference->values[index]->constant;
    struct ldnq_value *value = estimator->middle->values[index];
    struct ldnq_tensor *middle;
    LDNQ_TRY(ldnq_tensor_create(estimator->arena, exact->dtype, &exact->shape, &middle, err));
    value->constant = middle;
    estimator->owner[estimator->count] = owner;
    estimator->values[estimator->count++] = value;
    return LDNQ_OK;
}

/* Sets all changed constants to those at `t` on the way to the quantized network. */
static void set_constants(const struct output_estimator *estimator, double t)
{
    for (size_t v = 0; v < estimator->count; v++) {
        const size_t index = estimator->values[v]->index;
        if (estimator->rounded[v])
            continue;
        const struct ldnq_tensor *exact = estimator->inputs->reference->values[index]->constant;
        const float *y = exact->data;
        const float *q = estimator->inputs->graph->values[index]->constant->data;
        float *between = (float *)(uintptr_t)estimator->values[v]->constant->data;
        for (size_t i = 0, count = ldnq_tensor_count(exact); i < count; i++)
            between[i] = y[i] + (q[i] - y[i]) * (float)t;
    }
}

/* Adds an input of a node, a constant, to the changed values. */
static enum ldnq_status add_changed_input(struct output_estimator *estimator, size_t node_index,
                                          const struct ldnq_node *node, size_t input, size_t owner,
                                          struct ldnq_error *err)
{
    const struct ldnq_graph *reference = estimator->inputs->reference;
    if (node_index >= reference->node_count || estimator->inputs->graph->nodes[node_index] != node)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: a layer is in a body, which has no gradients",
                         reference->file);
    return add_changed_value(estimator, reference->nodes[node_index]->inputs[input]->index, owner,
                             err);
}

static size_t find_node_index(const struct ldnq_graph *graph, const struct ldnq_node *node)
{
    size_t n = 0;
    while (n < graph->node_count && graph->nodes[n] != node)
        n++;
    return n;
}

static enum ldnq_status list_changed_values(struct output_estimator *estimator,
                                            struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = estimator->inputs->network;
    const struct ldnq_placement *placement = network->placement;
    const size_t most =
        2 * network->count + network->norm_count + (placement ? placement->count : 0);
    estimator->values = ldnq_arena_alloc(estimator->arena, most, sizeof *estimator->values, err);
    estimator->owner = ldnq_arena_alloc(estimator->arena, most, sizeof *estimator->owner, err);
    estimator->rounded = ldnq_arena_alloc(estimator->arena, most, sizeof *estimator->rounded, err);
    estimator->terms = ldnq_arena_alloc(estimator->arena, most * estimator->estimate->draws,
                                        sizeof *estimator->terms, err);
    if (!estimator->values || !estimator->owner || !estimator->rounded || !estimator->terms)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_layer *layer = &network->layers[i].layer;
        LDNQ_TRY(add_changed_input(estimator, layer->node_index, layer->node, layer->weight_input,
                                   i, err));
        if (layer->bias)
            LDNQ_TRY(add_changed_input(estimator, layer->node_index, layer->node, layer->bias_input,
                                       i, err));
    }
    for (size_t i = 0; i < network->norm_count; i++)
        LDNQ_TRY(add_changed_input(
            estimator, find_node_index(estimator->inputs->graph, network->norms[i].node),
            network->norms[i].node, network->norms[i].input, OF_NORMS, err));
    for (size_t a = 0; placement && a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        const size_t index = activation->dequantized->index;
        if (activation->is_constant) {
            LDNQ_TRY(add_changed_value(estimator, index, OF_ACTIVATIONS, err));
            continue;
        }
        estimator->rounded[estimator->count] = activation;
        estimator->owner[estimator->count] = OF_ACTIVATIONS;
        estimator->values[estimator->count++] = estimator->middle->values[index];
    }
    return LDNQ_OK;
}

/* The executor has to know before its first run what will be read. */
static enum ldnq_status create_executor(struct output_estimator *estimator, struct ldnq_error *err)
{
    const struct ldnq_placement *placement = estimator->inputs->network->placement;
    if (!placement)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_exec_create(estimator->inputs->graph, estimator->inputs->options->pool,
                              &estimator->exec, err));
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        if (activation->is_constant)
            continue;
        if (!activation->value->is_input)
            ldnq_exec_keep_until_reset(estimator->exec, activation->value);
        ldnq_exec_keep_until_reset(estimator->exec, activation->dequantized);
    }
    return LDNQ_OK;
}

/* ---- a draw --------------------------------------------------------------------------------- */

/* Sums that run side by side: each is a chain of additions that wait for one another. */
#define CHAINS ((size_t)16)

/* sum of g (y' - y), y' the constant of the quantized graph. */
LDNQ_MULTIVERSION
static double project_constant_change(const float *g, const float *changed, const float *y,
                                      size_t count)
{
    double chains[CHAINS] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + CHAINS <= count; i += CHAINS)
        for (size_t c = 0; c < CHAINS; c++)
            chains[c] += (double)g[i + c] * ((double)changed[i + c] - (double)y[i + c]);
    for (; i < count; i++)
        sum += (double)g[i] * ((double)changed[i] - (double)y[i]);
    for (size_t c = 0; c < CHAINS; c++)
        sum += chains[c];
    return sum;
}

/* What rounding changes in the quantized network: a layer that makes up for the rounding of its
 * input does so for this one, and values that have codes already are not rounded again. */
static double project_rounding(const struct output_estimator *estimator,
                               const struct ldnq_placed_activation *activation,
                               const struct ldnq_tensor *gradient)
{
    const struct ldnq_tensor *y = ldnq_exec_find_value(estimator->exec, activation->value);
    const struct ldnq_tensor *q = ldnq_exec_find_value(estimator->exec, activation->dequantized);
    return y && q && y->dtype == LDNQ_FLOAT && ldnq_tensor_count(y) == ldnq_tensor_count(gradient)
               ? project_constant_change(gradient->data, q->data, y->data,
                                         ldnq_tensor_count(gradient))
               : 0;
}

static double project_change(const struct output_estimator *estimator,
                             const struct ldnq_projection *projection, size_t i)
{
    const struct ldnq_tensor *gradient = projection->gradients[i];
    const size_t index = estimator->values[i]->index, count = ldnq_tensor_count(gradient);
    if (estimator->rounded[i])
        return project_rounding(estimator, estimator->rounded[i], gradient);
    return project_constant_change(
        gradient->data, estimator->inputs->graph->values[index]->constant->data,
        estimator->inputs->reference->values[index]->constant->data, count);
}

/* The layers that read the rounded value. */
static void add_input_term(const struct output_estimator *estimator, size_t value, double square)
{
    const struct ldnq_quantized_network *network = estimator->inputs->network;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_value *read = network->layers[i].layer.node->inputs[0];
        if (read && read->index == estimator->values[value]->index)
            estimator->estimate->inputs[i] += square;
    }
}

static enum ldnq_status add_draw(void *ctx, const struct ldnq_projection *projection,
                                 struct ldnq_error *err)
{
    struct output_estimator *estimator = ctx;
    if (estimator->exec)
        LDNQ_TRY(ldnq_exec_run(estimator->exec, projection->inputs, err));
    double *terms = estimator->terms + estimator->draw++ * estimator->count;
    for (size_t i = 0; i < estimator->count; i++)
        terms[i] += node_weights[estimator->node] * project_change(estimator, projection, i);
    if (estimator->exec)
        ldnq_exec_reset(estimator->exec);
    return LDNQ_OK;
}

/* Adds the squared terms of one draw to the sums. */
static void add_squares(struct output_estimator *estimator, const double *terms, double *by_layer)
{
    struct ldnq_output_estimate *estimate = estimator->estimate;
    const double draws = (double)estimate->draws;
    const size_t layers = estimator->inputs->network->count;
    double activations = 0, all = 0;
    for (size_t i = 0; i < layers; i++)
        by_layer[i] = 0;
    for (size_t i = 0; i < estimator->count; i++) {
        all += terms[i];
        if (estimator->owner[i] == OF_ACTIVATIONS) {
            activations += terms[i];
            add_input_term(estimator, i, terms[i] * terms[i] / draws);
        }
        if (estimator->owner[i] < layers)
            by_layer[estimator->owner[i]] += terms[i];
    }
    estimate->error += all * all / draws;
    estimator->squares += all * all * all * all / draws;
    estimate->activations += activations * activations / draws;
    for (size_t i = 0; i < layers; i++)
        estimate->layers[i] += by_layer[i] * by_layer[i] / draws;
}

/* ---- the nodes ------------------------------------------------------------------------------ */

static double sum_terms(const struct output_estimator *estimator, size_t draw)
{
    double sum = 0;
    for (size_t i = 0; i < estimator->count; i++)
        sum += estimator->terms[draw * estimator->count + i];
    return sum;
}

static enum ldnq_status add_node(struct output_estimator *estimator, size_t node,
                                 struct ldnq_error *err)
{
    const struct ldnq_estimate_inputs *inputs = estimator->inputs;
    const struct ldnq_projection_options options = {
        .values = estimator->values,
        .value_count = estimator->count,
        .powers = inputs->powers,
        .draws = estimator->estimate->draws,
        .seed = inputs->options->seed,
        .max_bytes = inputs->options->max_bytes,
        .pool = inputs->options->pool,
    };
    set_constants(estimator, nodes[node]);
    estimator->node = node;
    estimator->draw = 0;
    return ldnq_project_outputs(estimator->middle, inputs->samples, &options, add_draw, estimator,
                                err);
}

/* Whether the Jacobian changes so much on the way that two nodes do not say what it does. */
static bool do_nodes_disagree(const struct output_estimator *estimator)
{
    double difference = 0, mean = 0;
    for (size_t d = 0; d < estimator->estimate->draws; d++) {
        const double both = sum_terms(estimator, d), half = 2 * estimator->first[d] - both;
        difference += half * half;
        mean += both * both;
    }
    return difference > MOST_DISAGREEMENT * mean;
}

static enum ldnq_status add_all_nodes(struct output_estimator *estimator, struct ldnq_error *err)
{
    const size_t draws = estimator->estimate->draws;
    LDNQ_TRY(add_node(estimator, 0, err));
    for (size_t d = 0; d < draws; d++)
        estimator->first[d] = sum_terms(estimator, d);
    for (size_t node = 1; node < NODES; node++)
        LDNQ_TRY(add_node(estimator, node, err));
    if (!do_nodes_disagree(estimator))
        return LDNQ_OK;
    for (size_t i = 0; i < draws * estimator->count; i++)
        estimator->terms[i] *= GAUSS_PART;
    for (size_t node = NODES; node < MOST_NODES; node++)
        LDNQ_TRY(add_node(estimator, node, err));
    return LDNQ_OK;
}

/* ---- the estimate --------------------------------------------------------------------------- */

static enum ldnq_status estimate_in_arena(struct output_estimator *estimator,
                                          struct ldnq_error *err)
{
    const struct ldnq_estimate_inputs *inputs = estimator->inputs;
    LDNQ_TRY(ldnq_ops_clone_graph(inputs->reference, estimator->arena, &estimator->middle, err));
    LDNQ_TRY(list_changed_values(estimator, err));
    LDNQ_TRY(create_executor(estimator, err));
    estimator->first = ldnq_arena_alloc(estimator->arena, estimator->estimate->draws,
                                        sizeof *estimator->first, err);
    if (!estimator->first)
        return LDNQ_NOMEM;
    LDNQ_TRY(add_all_nodes(estimator, err));
    double *by_layer =
        ldnq_arena_alloc(estimator->arena, inputs->network->count, sizeof *by_layer, err);
    if (!by_layer)
        return LDNQ_NOMEM;
    for (size_t d = 0; d < estimator->estimate->draws; d++)
        add_squares(estimator, estimator->terms + d * estimator->count, by_layer);
    return LDNQ_OK;
}

static void clear_estimate(struct ldnq_output_estimate *estimate, size_t layers)
{
    estimate->draws = 0;
    estimate->error = estimate->deviation = estimate->activations = NAN;
    for (size_t i = 0; i < layers; i++)
        estimate->layers[i] = estimate->inputs[i] = NAN;
}

size_t ldnq_estimate_choose_draws(const struct ldnq_quantize_options *options,
                                  const struct ldnq_quantization *result)
{
    double macs = 0, elements = 0;
    if (options->estimate_draws != LDNQ_ESTIMATE_AUTO)
        return options->estimate_draws;
    for (size_t i = 0; i < result->network.count; i++) {
        const double weights = (double)ldnq_layer_elements(&result->network.layers[i].layer);
        macs += weights * (result->diagnostics[i].positions_per_sample + GRADIENT_MACS);
        elements += weights;
    }
    /* The changes of all weights and their gradients are in memory at once. */
    const size_t limit = ldnq_get_max_bytes(options);
    if (2 * sizeof(float) * elements > (double)limit)
        return 0;
    const double quick = fmin(QUICK_MACS / fmax(NODES * macs, 1), MOST_DRAWS);
    return quick >= (double)LDNQ_ESTIMATE_DRAWS ? (size_t)quick : 0;
}

enum ldnq_status ldnq_estimate_output_error(const struct ldnq_estimate_inputs *inputs,
                                            struct ldnq_arena *arena,
                                            struct ldnq_output_estimate *estimate,
                                            struct ldnq_error *err)
{
    struct output_estimator estimator = { .inputs = inputs, .estimate = estimate };
    const size_t layers = inputs->network->count;
    const double start = ldnq_now();
    struct ldnq_error reason;
    *estimate = (struct ldnq_output_estimate){ .draws = inputs->draws };
    estimate->layers = ldnq_arena_alloc(arena, layers, sizeof *estimate->layers, err);
    estimate->inputs = ldnq_arena_alloc(arena, layers, sizeof *estimate->inputs, err);
    if (!estimate->layers || !estimate->inputs)
        return LDNQ_NOMEM;
    if (inputs->draws == 0) {
        clear_estimate(estimate, layers);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_arena_create(&estimator.arena, err));
    const enum ldnq_status status = estimate_in_arena(&estimator, &reason);
    ldnq_exec_destroy(estimator.exec);
    ldnq_arena_destroy(estimator.arena);
    estimate->seconds = ldnq_now() - start;
    estimate->deviation = sqrt(fmax(0, estimator.squares - estimate->error * estimate->error) /
                               (double)inputs->draws);
    if (status == LDNQ_UNSUPPORTED) {
        clear_estimate(estimate, layers);
        if (inputs->options->estimate_draws != LDNQ_ESTIMATE_AUTO)
            ldnq_sink_warn(inputs->options->sink, "the output's error is not estimated: %s",
                           ldnq_message_strip(reason.message, inputs->reference->file));
    } else if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    return LDNQ_OK;
}

#include "pipeline/output_estimate.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "metric/output_projection.h"
#include "target/placement.h"

/* An automatic estimate may multiply this often; more takes longer than a second. */
#define QUICK_MACS 5e9
#define MOST_DRAWS 256.0

/* Elements of an activation that are rounded at a time. */
#define ROUNDED ((size_t)1024)

/* To whom a changed value counts, besides the layers. */
#define OF_ACTIVATIONS SIZE_MAX
#define OF_NORMS (SIZE_MAX - 1)

struct output_estimator {
    const struct ldnq_estimate_inputs *inputs;
    struct ldnq_arena *arena; /* freed with the estimator */
    struct ldnq_output_estimate *estimate;
    struct ldnq_graph *middle; /* the reference, with the mean of both weights in each layer */
    size_t count;
    const struct ldnq_value **values; /* of that graph */
    size_t *owner;                    /* by value: a layer, OF_ACTIVATIONS or OF_NORMS */
    const struct ldnq_placed_activation **rounded; /* by value; NULL: a changed constant */
    double *terms;                                 /* scratch, by layer */
    double squares;                                /* the mean of (u'd)^4 */
};

/* ---- what has changed --------------------------------------------------------------------- */

/* Appends a constant that the graphs have under one index, and sets the mean of both. */
static enum ldnq_status add_changed_value(struct output_estimator *estimator, size_t index,
                                          size_t owner, struct ldnq_error *err)
{
    const struct ldnq_tensor *exact = estimator->inputs->reference->values[index]->constant;
    const struct ldnq_tensor *changed = estimator->inputs->graph->values[index]->constant;
    struct ldnq_value *value = estimator->middle->values[index];
    struct ldnq_tensor *middle;
    const float *y = exact->data, *q = changed->data;
    LDNQ_TRY(ldnq_tensor_create(estimator->arena, exact->dtype, &exact->shape, &middle, err));
    value->constant = middle;
    float *mean = middle->data;
    for (size_t i = 0, count = ldnq_tensor_count(exact); i < count; i++)
        mean[i] = y[i] + (q[i] - y[i]) / 2;
    estimator->owner[estimator->count] = owner;
    estimator->values[estimator->count++] = value;
    return LDNQ_OK;
}

/* The input of a node. */
static enum ldnq_status add_constant(struct output_estimator *estimator, size_t node_index,
                                     const struct ldnq_node *node, size_t input, size_t owner,
                                     struct ldnq_error *err)
{
    const struct ldnq_graph *reference = estimator->inputs->reference;
    if (node_index >= reference->node_count || estimator->inputs->graph->nodes[node_index] != node)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s: a layer is in a body", reference->file);
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

static bool is_of_group(const struct ldnq_placement *placement, const struct ldnq_value *value,
                        size_t group)
{
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].dequantized == value)
            return placement->activations[a].group == group;
    return false;
}

/* Whether the value has codes of this scale already: rounding it again changes nothing. */
static bool is_rounded_before(const struct ldnq_placement *placement,
                              const struct ldnq_placed_activation *activation)
{
    const struct ldnq_node *node = activation->value->producer;
    const struct ldnq_operator_rule *rule = node ? ldnq_target_rule(placement->target, node) : NULL;
    if (!rule || (rule->class != LDNQ_PASSES_SCALE && strcmp(node->op_type, "Concat") != 0))
        return false;
    const size_t inputs = rule->class == LDNQ_PASSES_SCALE ? 1 : node->input_count;
    for (size_t i = 0; i < inputs; i++)
        if (!node->inputs[i] || !is_of_group(placement, node->inputs[i], activation->group))
            return false;
    return true;
}

static enum ldnq_status list_changes(struct output_estimator *estimator, struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = estimator->inputs->network;
    const struct ldnq_placement *placement = network->placement;
    const size_t most =
        2 * network->count + network->norm_count + (placement ? placement->count : 0);
    estimator->values = ldnq_arena_alloc(estimator->arena, most, sizeof *estimator->values, err);
    estimator->owner = ldnq_arena_alloc(estimator->arena, most, sizeof *estimator->owner, err);
    estimator->rounded = ldnq_arena_alloc(estimator->arena, most, sizeof *estimator->rounded, err);
    estimator->terms =
        ldnq_arena_alloc(estimator->arena, network->count, sizeof *estimator->terms, err);
    if (!estimator->values || !estimator->owner || !estimator->rounded || !estimator->terms)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_layer *layer = &network->layers[i].layer;
        LDNQ_TRY(
            add_constant(estimator, layer->node_index, layer->node, layer->weight_input, i, err));
        if (layer->bias)
            LDNQ_TRY(
                add_constant(estimator, layer->node_index, layer->node, layer->bias_input, i, err));
    }
    for (size_t i = 0; i < network->norm_count; i++)
        LDNQ_TRY(add_constant(estimator,
                              find_node_index(estimator->inputs->graph, network->norms[i].node),
                              network->norms[i].node, network->norms[i].input, OF_NORMS, err));
    for (size_t a = 0; placement && a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        const size_t index = activation->dequantized->index;
        if (!activation->is_constant && is_rounded_before(placement, activation))
            continue;
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

/* ---- a draw --------------------------------------------------------------------------------- */

/* sum of g (y' - y), y' the constant of the quantized graph. */
static double project_constant_change(const float *g, const float *changed, const float *y,
                                      size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)g[i] * ((double)changed[i] - (double)y[i]);
    return sum;
}

static double project_rounding(const struct ldnq_placed_activation *activation, const float *g,
                               const float *y, size_t count)
{
    float rounded[ROUNDED];
    double sum = 0;
    for (size_t first = 0; first < count; first += ROUNDED) {
        const size_t most = ldnq_size_min(ROUNDED, count - first);
        ldnq_activation_round(activation, y + first, rounded, most);
        sum += project_constant_change(g + first, rounded, y + first, most);
    }
    return sum;
}

static double project_change(const struct output_estimator *estimator,
                             const struct ldnq_projection *projection, size_t i)
{
    const struct ldnq_tensor *gradient = projection->gradients[i];
    const size_t index = estimator->values[i]->index, count = ldnq_tensor_count(gradient);
    if (estimator->rounded[i])
        return project_rounding(estimator->rounded[i], gradient->data, projection->tensors[i]->data,
                                count);
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
    (void)err;
    struct output_estimator *estimator = ctx;
    struct ldnq_output_estimate *estimate = estimator->estimate;
    const double draws = (double)estimate->draws;
    const size_t layers = estimator->inputs->network->count;
    double activations = 0, all = 0;
    for (size_t i = 0; i < layers; i++)
        estimator->terms[i] = 0;
    for (size_t i = 0; i < estimator->count; i++) {
        const double term = project_change(estimator, projection, i);
        all += term;
        if (estimator->owner[i] == OF_ACTIVATIONS) {
            activations += term;
            add_input_term(estimator, i, term * term / draws);
        }
        if (estimator->owner[i] < layers)
            estimator->terms[estimator->owner[i]] += term;
    }
    estimate->error += all * all / draws;
    estimator->squares += all * all * all * all / draws;
    estimate->activations += activations * activations / draws;
    for (size_t i = 0; i < layers; i++)
        estimate->layers[i] += estimator->terms[i] * estimator->terms[i] / draws;
    return LDNQ_OK;
}

/* ---- the estimate --------------------------------------------------------------------------- */

static enum ldnq_status estimate_in_arena(struct output_estimator *estimator,
                                          struct ldnq_error *err)
{
    const struct ldnq_estimate_inputs *inputs = estimator->inputs;
    LDNQ_TRY(ldnq_graph_clone(inputs->reference, estimator->arena, &estimator->middle, err));
    LDNQ_TRY(list_changes(estimator, err));
    const struct ldnq_projection_options options = {
        .values = estimator->values,
        .value_count = estimator->count,
        .powers = inputs->powers,
        .draws = estimator->estimate->draws,
        .seed = inputs->options->seed,
        .max_bytes = inputs->options->max_bytes,
        .pool = inputs->options->pool,
    };
    return ldnq_project_outputs(estimator->middle, inputs->samples, &options, add_draw, estimator,
                                err);
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
    double macs = 0;
    if (options->estimate_draws != LDNQ_ESTIMATE_AUTO)
        return options->estimate_draws;
    for (size_t i = 0; i < result->network.count; i++)
        macs += (double)ldnq_layer_elements(&result->network.layers[i].layer) *
                result->diagnostics[i].positions_per_sample;
    const double quick = fmin(QUICK_MACS / fmax(macs, 1), MOST_DRAWS);
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
    ldnq_arena_destroy(estimator.arena);
    estimate->seconds = ldnq_now() - start;
    estimate->deviation = sqrt(fmax(0, estimator.squares - estimate->error * estimate->error) /
                               (double)inputs->draws);
    if (status == LDNQ_UNSUPPORTED)
        clear_estimate(estimate, layers);
    else if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    return LDNQ_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/measure_layers.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "compare/isolated_body.h"
#include "compare/isolated_run.h"
#include "metric/error_bound.h"
#include "metric/sample_failure.h"

/* More would change the errors of layers by little: each counts all positions of a sample. */
#define MOST_SAMPLES ((size_t)32)

/* A matched layer, and the sums of its errors over the batches. Indices are in the nodes of
 * the graphs. */
struct measured_layer {
    const struct ldnq_matched_layer *match;
    size_t index_a;            /* index of the layer's node, or of the one that runs its body */
    size_t output_a, output_b; /* index of the node that computes the compared value, per model */
    struct ldnq_isolated_run isolated_run;
    struct ldnq_distance isolated, accumulated;
};

struct measurement {
    const struct ldnq_measure_layers_options *options;
    struct ldnq_arena *arena;
    struct ldnq_diff *diff;
    const struct ldnq_graph *graph_a, *graph_b;
    struct ldnq_exec *a;
    struct ldnq_exec *isolated;            /* runs single layers of B */
    struct ldnq_compared_network *network; /* B, and its outputs */
    struct measured_layer *layers;
    size_t count;
    struct measured_layer *body_layers; /* by the nodes that run their bodies; isolated alone */
    size_t body_count;
    size_t sample;                 /* the first of the current batch */
    size_t progress_a, progress_b; /* nodes of the current batch that have run */
};

/* ---- before the first batch ---------------------------------------------------------- */

static size_t find_node_index(const struct ldnq_graph *graph, const struct ldnq_node *node)
{
    for (size_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i] == node)
            return i;
    return LDNQ_NO_NODE;
}

static enum ldnq_status list_layers(struct measurement *m, struct ldnq_error *err)
{
    const struct ldnq_matched_layers *layers = m->options->layers;
    m->layers = ldnq_arena_alloc(m->arena, layers->count, sizeof *m->layers, err);
    m->body_layers = ldnq_arena_alloc(m->arena, layers->count, sizeof *m->body_layers, err);
    if (!m->layers || !m->body_layers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < layers->count; i++) {
        const struct ldnq_matched_layer *match = &layers->items[i];
        if (match->own_layer_a->body) {
            if (ldnq_isolated_body_is_possible(match, m->options->pairs))
                m->body_layers[m->body_count++] =
                    (struct measured_layer){ .match = match,
                                             .index_a = match->own_layer_a->node_index };
            continue;
        }
        if (match->b == LDNQ_NO_NODE)
            continue;
        struct measured_layer *layer = &m->layers[m->count++];
        *layer = (struct measured_layer){
            .match = match,
            .index_a = find_node_index(m->graph_a, m->options->pairs->a->nodes[match->a].node),
            .output_a = find_node_index(m->graph_a, match->output_a->producer),
            .output_b = find_node_index(m->graph_b, match->output_b->producer),
        };
        LDNQ_TRY(
            ldnq_isolated_run_init(&layer->isolated_run, match, m->options->pairs, m->arena, err));
    }
    return LDNQ_OK;
}

static bool has_input_value(const struct ldnq_node *node, const struct ldnq_value *value)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == value)
            return true;
    return false;
}

static void retain_output(struct ldnq_exec *exec, const struct ldnq_value *output,
                          bool is_read_late)
{
    if (is_read_late)
        ldnq_exec_keep_until_reset(exec, output);
    else
        ldnq_exec_make_readable(exec, output);
}

/* Lets the executors keep the values that are compared. A value is alive right after its node
 * has run, and an input right before the layer runs. That is too short where the two networks
 * execute their layers in different orders and one has run past this layer, and for an input
 * upstream of Q/DQ nodes: such values are kept until the end of the batch. */
static void retain_values(struct measurement *m)
{
    size_t reached_a = 0, reached_b = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct measured_layer *layer = &m->layers[i];
        const struct ldnq_isolated_run *run = &layer->isolated_run;
        retain_output(m->a, layer->match->output_a, reached_a > layer->output_a);
        retain_output(m->network->exec, layer->match->output_b, reached_b > layer->output_b);
        ldnq_exec_keep_until_reset(m->isolated, layer->match->output_b);
        for (size_t k = 0; k < run->input_count; k++)
            if (reached_a > layer->index_a ||
                !has_input_value(m->graph_a->nodes[layer->index_a], run->inputs[k].a))
                ldnq_exec_keep_until_reset(m->a, run->inputs[k].a);
        reached_a = ldnq_size_max(reached_a, layer->output_a + 1);
        reached_b = ldnq_size_max(reached_b, layer->output_b + 1);
    }
}

/* ---- one batch ----------------------------------------------------------------------- */

/* Runs the nodes before `end` that have not run yet. */
static enum ldnq_status run_nodes_before(struct ldnq_exec *exec, size_t *progress, size_t end,
                                         struct ldnq_error *err)
{
    if (end <= *progress)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_exec_run_range(exec, *progress, end, err));
    *progress = end;
    return LDNQ_OK;
}

/* Whether both are the same rows of a product, in one axis or in several. */
static bool have_same_rows(const struct ldnq_tensor *y, const struct ldnq_tensor *t)
{
    const int last_y = y->shape.rank - 1, last_t = t->shape.rank - 1;
    return last_y >= 1 && last_t >= 1 && y->shape.dim[last_y] == t->shape.dim[last_t] &&
           ldnq_tensor_count(y) == ldnq_tensor_count(t);
}

static bool is_product(const struct measured_layer *layer)
{
    const char *type = layer->match->layer_b ? layer->match->layer_b->node->op_type : "";
    return strcmp(type, "Gemm") == 0 || strcmp(type, "MatMul") == 0;
}

/* *out becomes what is not masked of a value of the current sample. */
static enum ldnq_status select_unmasked(const struct measurement *m,
                                        const struct ldnq_tensor *value, struct ldnq_arena *arena,
                                        const struct ldnq_tensor **out, struct ldnq_error *err)
{
    return ldnq_samples_select_unmasked(m->options->run->samples, m->sample, value, arena, out,
                                        err);
}

/* Adds what is not masked in the current sample. */
static enum ldnq_status add_distance(const struct measurement *m,
                                     const struct measured_layer *layer, struct ldnq_distance *sums,
                                     const struct ldnq_tensor *y, const struct ldnq_tensor *t,
                                     struct ldnq_error *err)
{
    if (!y || !t)
        return ldnq_distance_add(sums, y, t, m->options->run->pool, err);
    struct ldnq_arena *arena;
    struct ldnq_tensor reshaped = *y;
    const struct ldnq_tensor *y_part, *t_part;
    if (is_product(layer) && have_same_rows(y, t))
        reshaped.shape = t->shape;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = select_unmasked(m, &reshaped, arena, &y_part, err);
    if (status == LDNQ_OK)
        status = select_unmasked(m, t, arena, &t_part, err);
    if (status == LDNQ_OK)
        status = ldnq_distance_add(sums, y_part, t_part, m->options->run->pool, err);
    ldnq_arena_destroy(arena);
    return status;
}

static enum ldnq_status measure_layer(struct measurement *m, struct measured_layer *layer,
                                      struct ldnq_error *err)
{
    const struct ldnq_tensor *isolated;
    LDNQ_TRY(run_nodes_before(m->a, &m->progress_a, layer->index_a, err));
    LDNQ_TRY(ldnq_isolated_run_execute(&layer->isolated_run, m->a, m->isolated, &isolated, err));
    LDNQ_TRY(run_nodes_before(m->a, &m->progress_a, layer->output_a + 1, err));
    LDNQ_TRY(run_nodes_before(m->network->exec, &m->progress_b, layer->output_b + 1, err));
    const struct ldnq_tensor *t = ldnq_exec_find_value(m->a, layer->match->output_a);
    const struct ldnq_tensor *y = ldnq_exec_find_value(m->network->exec, layer->match->output_b);
    LDNQ_TRY(add_distance(m, layer, &layer->accumulated, y, t, err));
    return add_distance(m, layer, &layer->isolated, isolated, t, err);
}

/* Measures the layers of bodies that nodes before `end` run. Values between two nodes are live at
 * one time alone. */
static enum ldnq_status measure_body_layers(struct measurement *m, size_t *done, size_t end,
                                            struct ldnq_error *err)
{
    for (; *done < m->body_count && m->body_layers[*done].index_a < end; (*done)++) {
        struct measured_layer *layer = &m->body_layers[*done];
        LDNQ_TRY(run_nodes_before(m->a, &m->progress_a, layer->index_a, err));
        LDNQ_TRY(ldnq_isolated_body_add(layer->match, m->options->pairs, m->a,
                                        m->options->run->pool, &layer->isolated, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status measure_batch(struct measurement *m, const struct ldnq_sample_batch *read,
                                      size_t samples, struct ldnq_error *err)
{
    ldnq_compared_network_read_inputs(m->network, read->inputs);
    m->progress_a = m->progress_b = 0;
    LDNQ_TRY(ldnq_exec_bind_inputs(m->a, read->inputs, err));
    LDNQ_TRY(ldnq_exec_bind_inputs(m->network->exec, m->network->inputs_b, err));

    size_t bodies = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct measured_layer *layer = &m->layers[i];
        LDNQ_TRY(measure_body_layers(m, &bodies, ldnq_size_max(layer->index_a, layer->output_a + 1),
                                     err));
        LDNQ_TRY(measure_layer(m, &m->layers[i], err));
    }
    LDNQ_TRY(measure_body_layers(m, &bodies, SIZE_MAX, err));

    LDNQ_TRY(run_nodes_before(m->a, &m->progress_a, m->graph_a->node_count, err));
    LDNQ_TRY(run_nodes_before(m->network->exec, &m->progress_b, m->graph_b->node_count, err));
    const struct ldnq_compared_batch batch = {
        .samples = m->options->run->samples,
        .first = m->sample,
        .count = samples,
        .inputs = read->inputs,
        .input_count = m->graph_a->input_count,
        .arena = read->arena,
    };
    return ldnq_compared_network_add_outputs(m->network, m->a, &batch, m->options->run->pool,
                                             m->arena, err);
}

static enum ldnq_status read_and_measure_batch(struct measurement *m, size_t first, size_t count,
                                               struct ldnq_error *err)
{
    struct ldnq_sample_batch batch;
    m->sample = first;
    LDNQ_TRY(ldnq_sample_batch_read(m->options->run->samples, first, count, m->options->run->pool,
                                    &batch, err));
    const enum ldnq_status status = measure_batch(m, &batch, count, err);
    /* The isolated executor first: A's tensors are bound to it. */
    ldnq_exec_reset(m->isolated);
    ldnq_exec_reset(m->a);
    ldnq_exec_reset(m->network->exec);
    ldnq_arena_destroy(batch.arena);
    return ldnq_name_failed_sample(status, m->graph_a, m->options->run->samples, first, count, err);
}

/* ---- the bound ----------------------------------------------------------------------- */

static bool is_matched_layer(const struct ldnq_diff *diff, const char *node)
{
    for (size_t i = 0; i < diff->layer_count; i++)
        if (diff->layers[i].match && strcmp(diff->layers[i].node, node) == 0)
            return true;
    return false;
}

/* A change of the graph's own inputs or outputs. */
static bool is_interface_change(const struct ldnq_diff_change *change)
{
    return strcmp(change->op, "input") == 0 || strcmp(change->op, "output") == 0;
}

/* The theorem holds for networks that differ in their layers alone. Returns what it does not
 * hold for here, or NULL. */
static const char *find_bound_obstacle(const struct measurement *m)
{
    const struct ldnq_diff *diff = m->diff;
    const struct ldnq_matched_layers *layers = m->options->layers;
    const struct ldnq_node_pairs *pairs = m->options->pairs;
    for (size_t i = 0; i < diff->tensor_count; i++)
        if (!diff->tensors[i].is_constant)
            return "activations are quantized";
    for (size_t i = 0; i < layers->count; i++)
        if (layers->items[i].b == LDNQ_NO_NODE)
            return "a layer has no match";
    for (size_t i = 0; i < layers->count; i++)
        if (layers->items[i].own_layer_a->body)
            return "a layer is in a body";
    for (size_t n = 0; n < pairs->a->count; n++)
        if (pairs->match_of_a[n] == LDNQ_NO_NODE && layers->folded_into[n] == LDNQ_NO_NODE)
            return "nodes have no match";
    for (size_t n = 0; n < pairs->b->count; n++)
        if (pairs->match_of_b[n] == LDNQ_NO_NODE)
            return "nodes have no match";
    for (size_t i = 0; i < diff->changed_count; i++)
        if (!is_interface_change(&diff->changed[i]) &&
            !is_matched_layer(diff, diff->changed[i].node))
            return "nodes without a weight differ";
    for (size_t i = 0; i < m->count; i++)
        if (m->layers[i].isolated.failed)
            return "a layer could not be run by itself";
    return NULL;
}

static enum ldnq_status compute_output_bounds(struct measurement *m, struct ldnq_error *err)
{
    struct ldnq_diff *diff = m->diff;
    const struct ldnq_graph *graph = m->graph_b;
    const double samples = (double)diff->layer_samples;
    double *changes = ldnq_arena_alloc(m->arena, graph->node_count, sizeof *changes, err);
    double *powers = ldnq_arena_alloc(m->arena, graph->output_count, sizeof *powers, err);
    double *bounds = ldnq_arena_alloc(m->arena, graph->output_count, sizeof *bounds, err);
    if (!changes || !powers || !bounds)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < m->count; i++)
        changes[m->layers[i].output_b] = sqrt(m->layers[i].isolated.ee / samples);
    const struct ldnq_compared_network *network = m->network;
    for (size_t o = 0; o < m->graph_a->output_count; o++)
        if (network->output_of_a[o] != LDNQ_NO_NODE && !network->sums[o].distance.failed)
            powers[network->output_of_a[o]] = network->sums[o].distance.tt / samples;
    LDNQ_TRY(ldnq_bound_output_errors(graph, changes, powers, bounds, err));
    for (size_t o = 0; o < m->graph_a->output_count; o++)
        if (network->output_of_a[o] != LDNQ_NO_NODE && powers[network->output_of_a[o]] > 0)
            network->bounds[o] = bounds[network->output_of_a[o]];
    for (size_t o = 0; !diff->bound_reason && o < m->graph_a->output_count; o++)
        if (isnan(network->bounds[o]))
            diff->bound_reason = "an operator has no Lipschitz constant";
    return LDNQ_OK;
}

/* ---- all batches --------------------------------------------------------------------- */

static struct ldnq_diff_error summarize_distance(const struct ldnq_distance *sums)
{
    return (struct ldnq_diff_error){ ldnq_distance_compute_sqnr(sums),
                                     ldnq_distance_compute_cosine(sums) };
}

static enum ldnq_status store_errors_in_diff(struct measurement *m, struct ldnq_error *err)
{
    struct ldnq_diff *diff = m->diff;
    for (size_t i = 0; i < m->count; i++) {
        const struct measured_layer *layer = &m->layers[i];
        struct ldnq_diff_layer *shown = &diff->layers[layer->match - m->options->layers->items];
        shown->isolated = summarize_distance(&layer->isolated);
        shown->accumulated = summarize_distance(&layer->accumulated);
    }
    for (size_t i = 0; i < m->body_count; i++) {
        const struct measured_layer *layer = &m->body_layers[i];
        diff->layers[layer->match - m->options->layers->items].isolated =
            summarize_distance(&layer->isolated);
    }
    diff->bound_reason = find_bound_obstacle(m);
    return diff->bound_reason ? LDNQ_OK : compute_output_bounds(m, err);
}

static enum ldnq_status measure_samples(struct measurement *m, struct ldnq_error *err)
{
    const struct ldnq_compared_run *run = m->options->run;
    LDNQ_TRY(ldnq_exec_create(m->graph_a, run->pool, &m->a, err));
    LDNQ_TRY(ldnq_exec_create(m->graph_b, run->pool, &m->network->exec, err));
    LDNQ_TRY(ldnq_exec_create(m->graph_b, run->pool, &m->isolated, err));
    LDNQ_TRY(list_layers(m, err));
    retain_values(m);
    size_t first = 0;
    while (first < ldnq_size_min(run->count, MOST_SAMPLES)) {
        const size_t count = ldnq_size_min(run->batch, run->count - first);
        LDNQ_TRY(read_and_measure_batch(m, first, count, err));
        first += count;
        LDNQ_TRY(ldnq_sink_progress(run->sink, "diff", NULL, first, run->count, err));
    }
    m->diff->layer_samples = first;
    return store_errors_in_diff(m, err);
}

enum ldnq_status ldnq_measure_layers(const struct ldnq_measure_layers_options *options,
                                     struct ldnq_compared_network *network,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct measurement m = {
        .options = options,
        .arena = arena,
        .diff = network->diff,
        .graph_a = network->graph_a,
        .graph_b = network->graph_b,
        .network = network,
    };
    const enum ldnq_status status = measure_samples(&m, err);
    ldnq_exec_destroy(m.isolated);
    ldnq_exec_destroy(m.a);
    ldnq_exec_destroy(network->exec);
    network->exec = NULL;
    return status;
}

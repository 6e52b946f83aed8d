/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/compare.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "compare/compare_weights.h"
#include "compare/graph_changes.h"
#include "compare/matched_layers.h"
#include "compare/measure_layers.h"
#include "compare/quantized_tensors.h"

/* One of the two files. */
struct compared_file {
    struct ldnq_compute_view view;
    const char *refusal; /* why it can't be executed; NULL when it can */
    struct ldnq_quantized_tensor *tensors;
    size_t tensor_count;
    int64_t batch; /* the symbol of the batch dimension; 0 where the batch is fixed */
};

struct comparison {
    struct ldnq_arena *arena;
    struct compared_file a, b;
    struct ldnq_node_pairs pairs;
    struct ldnq_matched_layers layers;
    struct ldnq_diff *diff;
};

/* ---- the files ----------------------------------------------------------------------- */

static enum ldnq_status init_compared_file(struct compared_file *file, struct ldnq_graph *graph,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->input_count && !file->batch; i++)
        if (graph->inputs[i]->shape.rank > 0 && ldnq_is_symbol(graph->inputs[i]->shape.dim[0]))
            file->batch = graph->inputs[i]->shape.dim[0];
    LDNQ_TRY(ldnq_compute_view_init(&file->view, graph, arena, &file->refusal, err));
    return ldnq_quantized_tensors_list(&file->view, arena, &file->tensors, &file->tensor_count,
                                       err);
}

/* The codes that input number `input` of node n is dequantized from; NULL for a float input. */
static const struct ldnq_quantized_tensor *find_weight_codes(const struct compared_file *file,
                                                             size_t n, size_t input)
{
    const struct ldnq_compute_node *item = &file->view.nodes[n];
    return input < item->input_count
               ? ldnq_quantized_tensors_find(file->tensors, file->tensor_count,
                                             item->inputs[input].dequantize)
               : NULL;
}

static size_t find_data_input(const struct ldnq_layer *layer)
{
    return (size_t)layer->op->data_input;
}

static void describe_file(const struct compared_file *file, const struct ldnq_model *model,
                          struct ldnq_diff_file *out)
{
    *out = (struct ldnq_diff_file){
        .path = ldnq_model_path(model),
        .producer = ldnq_model_producer(model),
        .bytes = ldnq_model_bytes(model),
        .data_bytes = ldnq_model_data_bytes(model),
        .opset = ldnq_model_opset(model),
        .ir_version = ldnq_model_ir_version(model),
        .nodes = ldnq_model_node_count(model),
        .qdq_nodes = file->view.qdq_node_count,
    };
    for (size_t i = 0; i < file->view.layer_count; i++) {
        const struct ldnq_layer *layer = &file->view.layers[i];
        if (!ldnq_layer_owns_weight(file->view.layers, file->view.layer_count, i))
            continue;
        const size_t n = ldnq_compute_view_find(&file->view, layer->node);
        out->weights += ldnq_tensor_count(layer->weight);
        out->weight_bytes += ldnq_weight_stored_bytes(
            layer, n == LDNQ_NO_NODE ? NULL : find_weight_codes(file, n, layer->weight_input));
    }
}

/* ---- layers -------------------------------------------------------------------------- */

/* Counts the multiplications of one sample: `batch`, the symbol of the batch dimension, is 1.
 * NaN where other sizes are open. */
static double count_macs(const struct ldnq_layer *layer, int64_t batch)
{
    /* ldnq_layer_count_macs reads the number of positions from the shape of this value. */
    const bool counts_inputs = layer->op->spreads_inputs || layer->op->repeats_weight;
    struct ldnq_value *sized = counts_inputs ? layer->node->inputs[0] : layer->node->outputs[0];
    struct ldnq_value single = *sized;
    struct ldnq_value *values[] = { &single };
    struct ldnq_node node = *layer->node;
    struct ldnq_layer copy = *layer;
    uint64_t macs;
    for (int d = 0; batch && d < single.shape.rank; d++)
        if (single.shape.dim[d] == batch)
            single.shape.dim[d] = 1;
    node.inputs = node.outputs = values;
    copy.node = &node;
    return ldnq_layer_count_macs(&copy, &macs) ? (double)macs : NAN;
}

static enum ldnq_status describe_match(struct comparison *c, const struct ldnq_matched_layer *match,
                                       struct ldnq_diff_layer *out, struct ldnq_error *err)
{
    out->match = match->layer_b ? match->layer_b->label : c->b.view.nodes[match->b].node->label;
    out->pairing = ldnq_node_pairs_reason(&c->pairs, match->a);
    out->folded = match->folded;
    if (match->layer_b) {
        const size_t weight_input = match->layer_b->weight_input;
        out->weight = find_weight_codes(&c->b, match->b, weight_input);
        out->input = find_weight_codes(&c->b, match->b, find_data_input(match->layer_b));
        out->bytes_b = ldnq_weight_stored_bytes(match->layer_b, out->weight);
    }
    if (out->weights)
        out->bits = 8.0 * (double)out->bytes_b / (double)out->weights;
    if (ldnq_weights_are_comparable(match->layer_a, match->layer_b))
        LDNQ_TRY(ldnq_weight_distribution_create(match->layer_a, match->layer_b, c->arena,
                                                 &out->distribution, &out->weight_sqnr, err));
    return LDNQ_OK;
}

static enum ldnq_status describe_layer(struct comparison *c, const struct ldnq_matched_layer *match,
                                       struct ldnq_diff_layer *out, struct ldnq_error *err)
{
    static const struct ldnq_diff_error unknown = { NAN, NAN };
    const struct ldnq_layer *own = match->own_layer_a;
    const struct ldnq_compute_node *a = &c->a.view.nodes[match->a];
    *out = (struct ldnq_diff_layer){
        .node = own->label,
        .op = a->node->op_type,
        .bits = NAN,
        .weight_sqnr = NAN,
        .macs = count_macs(own, c->a.batch),
        .isolated = unknown,
        .accumulated = unknown,
        .output_estimate = NAN,
    };
    if (own->weight) {
        out->shape = ldnq_diff_shape_from(&own->weight->shape);
        out->weights = ldnq_tensor_count(own->weight);
        out->bytes_a =
            ldnq_weight_stored_bytes(own, find_weight_codes(&c->a, match->a, own->weight_input));
    }
    return match->b == LDNQ_NO_NODE ? LDNQ_OK : describe_match(c, match, out, err);
}

static enum ldnq_status describe_layers(struct comparison *c, struct ldnq_error *err)
{
    struct ldnq_diff *diff = c->diff;
    diff->layer_count = c->layers.count;
    diff->layers = ldnq_arena_alloc(c->arena, diff->layer_count, sizeof *diff->layers, err);
    if (!diff->layers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < diff->layer_count; i++) {
        LDNQ_TRY(describe_layer(c, &c->layers.items[i], &diff->layers[i], err));
        diff->paired_layers += diff->layers[i].match != NULL;
    }
    for (size_t n = 0; n < c->a.view.count; n++)
        diff->paired += c->pairs.match_of_a[n] != LDNQ_NO_NODE;
    return LDNQ_OK;
}

/* ---- without samples ----------------------------------------------------------------- */

/* Compares the files without running them. */
static enum ldnq_status compare_structure(struct comparison *c,
                                          const struct ldnq_diff_options *options,
                                          struct ldnq_error *err)
{
    struct ldnq_arena *arena = c->arena;
    struct ldnq_diff *diff = c->diff = ldnq_arena_alloc(arena, 1, sizeof *diff, err);
    if (!diff)
        return LDNQ_NOMEM;

    /* ---- each file by itself ---- */
    LDNQ_TRY(init_compared_file(&c->a, options->graph_a, arena, err));
    LDNQ_TRY(init_compared_file(&c->b, options->graph_b, arena, err));
    describe_file(&c->a, options->model_a, &diff->a);
    describe_file(&c->b, options->model_b, &diff->b);
    diff->tensors = c->b.tensors;
    diff->tensor_count = c->b.tensor_count;

    /* ---- nodes, layers and what differs ---- */
    LDNQ_TRY(ldnq_node_pairs_find(&c->pairs, &c->a.view, &c->b.view, arena, err));
    LDNQ_TRY(ldnq_matched_layers_find(&c->layers, &c->pairs, arena, err));
    LDNQ_TRY(describe_layers(c, err));
    LDNQ_TRY(ldnq_graph_changes_list(&c->pairs, c->layers.folded_into, arena, diff, err));
    const char *refusal = c->a.refusal ? c->a.refusal : c->b.refusal;
    return options->samples && refusal
               ? ldnq_fail(err, LDNQ_UNSUPPORTED,
                           "%s (without samples the structure can be compared all the same)",
                           refusal)
               : LDNQ_OK;
}

/* ---- errors on samples --------------------------------------------------------------- */

static enum ldnq_status init_run(struct ldnq_compared_run *run,
                                 const struct ldnq_diff_options *options,
                                 struct ldnq_compared_network *networks, size_t count,
                                 struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t all = ldnq_samples_count(options->samples);
    *run = (struct ldnq_compared_run){
        .samples = options->samples,
        .count = options->max_samples ? ldnq_size_min(all, options->max_samples) : all,
        .pool = options->pool,
        .sink = options->sink,
    };
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(ldnq_compared_network_init(&networks[i], arena, err));
    return ldnq_compared_run_choose_batch(run, networks, count, err);
}

static enum ldnq_status finish_samples(const struct ldnq_compared_run *run,
                                       enum ldnq_sample_role role, double start,
                                       const struct ldnq_compared_network *network,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_diff *diff = network->diff;
    char *on = ldnq_arena_alloc(arena, LDNQ_SAMPLES_TEXT, 1, err);
    if (!on)
        return LDNQ_NOMEM;
    diff->samples = run->count;
    diff->seconds = ldnq_now() - start;
    ldnq_describe_samples(role, diff->samples, on, LDNQ_SAMPLES_TEXT);
    diff->measured_on = on;
    diff->is_measured_on_fitted = role == LDNQ_SAMPLES_OF_FIT;
    return ldnq_compared_network_store_outputs(network, arena, err);
}

/* The layers of the first samples; both networks run as they are on the others. */
static enum ldnq_status measure_layers_and_outputs(const struct comparison *c,
                                                   const struct ldnq_diff_options *options,
                                                   struct ldnq_error *err)
{
    struct ldnq_compared_network network = { .graph_a = options->graph_a,
                                             .graph_b = options->graph_b,
                                             .diff = c->diff };
    struct ldnq_compared_run run;
    LDNQ_TRY(init_run(&run, options, &network, 1, c->arena, err));
    const struct ldnq_measure_layers_options measuring = { &c->pairs, &c->layers, &run };
    const double start = ldnq_now();
    LDNQ_TRY(ldnq_measure_layers(&measuring, &network, c->arena, err));
    if (c->diff->layer_samples < run.count)
        LDNQ_TRY(ldnq_measure_outputs(&run, c->diff->layer_samples, &network, 1, c->arena, err));
    return finish_samples(&run, options->role, start, &network, c->arena, err);
}

/* ---- the comparison ------------------------------------------------------------------ */

enum ldnq_status ldnq_diff_create(const struct ldnq_diff_options *options, struct ldnq_arena *arena,
                                  struct ldnq_diff **out, struct ldnq_error *err)
{
    struct comparison c = { .arena = arena };
    LDNQ_TRY(compare_structure(&c, options, err));
    *out = c.diff;
    return options->samples ? measure_layers_and_outputs(&c, options, err) : LDNQ_OK;
}

enum ldnq_status ldnq_diff_create_candidates(const struct ldnq_diff_options *options, size_t count,
                                             struct ldnq_arena *arena, struct ldnq_diff **out,
                                             struct ldnq_error *err)
{
    struct ldnq_compared_network *networks = ldnq_arena_alloc(arena, count, sizeof *networks, err);
    struct ldnq_compared_run run;
    if (!networks)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        struct comparison c = { .arena = arena };
        LDNQ_TRY(compare_structure(&c, &options[i], err));
        out[i] = c.diff;
        networks[i] = (struct ldnq_compared_network){ .graph_a = options[0].graph_a,
                                                      .graph_b = options[i].graph_b,
                                                      .diff = c.diff };
    }
    if (!options[0].samples)
        return LDNQ_OK;
    LDNQ_TRY(init_run(&run, options, networks, count, arena, err));
    const double start = ldnq_now();
    LDNQ_TRY(ldnq_measure_outputs(&run, 0, networks, count, arena, err));
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(finish_samples(&run, options[0].role, start, &networks[i], arena, err));
    return LDNQ_OK;
}

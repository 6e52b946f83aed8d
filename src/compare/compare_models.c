/* diff.c: two files compared, from their graphs to what a report shows. */
#include "compare/compare.h"

#include <math.h>
#include <string.h>

#include "compare/matched_layers.h"
#include "compare/graph_changes.h"
#include "compare/measure_errors.h"
#include "compare/quantized_tensors.h"
#include "compare/compare_weights.h"

/* One of the two files. */
struct side {
    struct ldnq_compute_view view;
    const char *refused; /* why it can't be executed; NULL when it can */
    struct ldnq_quantized_tensor *tensors;
    size_t tensor_count;
    int64_t batch; /* the symbol that stands for the samples; 0: none */
};

struct work {
    const struct ldnq_diff_options *options;
    struct ldnq_arena *arena;
    struct side a, b;
    struct ldnq_node_pairs pairs;
    struct ldnq_matched_layers couples;
    struct ldnq_diff *diff;
};

/* ---- the files ----------------------------------------------------------------------------------
 */

static enum ldnq_status look_at(struct side *side, struct ldnq_graph *graph,
                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->input_count && !side->batch; i++)
        if (graph->inputs[i]->shape.rank > 0 && ldnq_is_symbol(graph->inputs[i]->shape.dim[0]))
            side->batch = graph->inputs[i]->shape.dim[0];
    LDNQ_TRY(ldnq_compute_view_init(&side->view, graph, arena, &side->refused, err));
    return ldnq_quantized_tensors_list(&side->view, arena, &side->tensors, &side->tensor_count,
                                       err);
}

static const struct ldnq_quantized_tensor *codes_of(const struct side *side, size_t place,
                                                    size_t input)
{
    const struct ldnq_compute_node *item = &side->view.nodes[place];
    return input < item->input_count
               ? ldnq_quantized_tensors_find(side->tensors, side->tensor_count,
                                             item->inputs[input].dequantize)
               : NULL;
}

/* A weight that several layers read is there once. */
static bool is_first_reader(const struct ldnq_compute_view *view, size_t place)
{
    const struct ldnq_layer *layer = view->nodes[place].layer;
    for (size_t n = 0; n < place; n++)
        if (view->nodes[n].layer && view->nodes[n].layer->weight == layer->weight)
            return false;
    return true;
}

static void describe_file(const struct side *side, const struct ldnq_model *model,
                          struct ldnq_diff_file *file)
{
    *file = (struct ldnq_diff_file){
        .path = ldnq_model_path(model),
        .producer = ldnq_model_producer(model),
        .bytes = ldnq_model_bytes(model),
        .opset = ldnq_model_opset(model),
        .ir_version = ldnq_model_ir_version(model),
        .nodes = side->view.file_node_count,
        .qdq_nodes = side->view.qdq_node_count,
    };
    for (size_t n = 0; n < side->view.count; n++) {
        const struct ldnq_layer *layer = side->view.nodes[n].layer;
        if (!layer || !layer->weight || !is_first_reader(&side->view, n))
            continue;
        file->weights += ldnq_tensor_count(layer->weight);
        file->weight_bytes +=
            ldnq_weight_stored_bytes(layer, codes_of(side, n, layer->weight_input));
    }
}

/* ---- layers
 * --------------------------------------------------------------------------------------- */

/* Of one sample. */
static double macs_of(const struct ldnq_layer *layer, int64_t batch)
{
    struct ldnq_value *side = layer->geometry.layout == LDNQ_WEIGHT_IN_OUT_KERNEL
                                  ? layer->node->inputs[0]
                                  : layer->node->outputs[0];
    struct ldnq_value one = *side;
    struct ldnq_value *values[] = { &one };
    struct ldnq_node node = *layer->node;
    struct ldnq_layer alone = *layer;
    uint64_t macs;
    for (int d = 0; batch && d < one.shape.rank; d++)
        if (one.shape.dim[d] == batch)
            one.shape.dim[d] = 1;
    node.inputs = node.outputs = values;
    alone.node = &node;
    return ldnq_layer_macs(&alone, &macs) ? (double)macs : NAN;
}

static enum ldnq_status describe_partner(struct work *work, const struct ldnq_matched_layer *couple,
                                         struct ldnq_diff_layer *layer, struct ldnq_error *err)
{
    const struct ldnq_compute_node *b = &work->b.view.nodes[couple->b];
    layer->match = b->node->label;
    layer->pairing = ldnq_node_pairs_reason(&work->pairs, couple->a);
    layer->folded = couple->folded;
    if (couple->layer_b) {
        const size_t input = couple->layer_b->weight_input;
        layer->weight = codes_of(&work->b, couple->b, input);
        layer->input = codes_of(&work->b, couple->b, input == 0 ? 1 : 0);
        layer->bytes_b = ldnq_weight_stored_bytes(couple->layer_b, layer->weight);
    }
    if (layer->weights)
        layer->bits = 8.0 * (double)layer->bytes_b / (double)layer->weights;
    if (ldnq_weights_comparable(couple->layer_a, couple->layer_b))
        LDNQ_TRY(ldnq_weight_distribution_create(couple->layer_a, couple->layer_b, work->arena,
                                                 &layer->distribution, &layer->weight_sqnr, err));
    return LDNQ_OK;
}

static enum ldnq_status describe_layer(struct work *work, const struct ldnq_matched_layer *couple,
                                       struct ldnq_diff_layer *layer, struct ldnq_error *err)
{
    static const struct ldnq_diff_error none = { NAN, NAN };
    const struct ldnq_compute_node *a = &work->a.view.nodes[couple->a];
    *layer = (struct ldnq_diff_layer){
        .node = a->node->label,
        .op = a->node->op_type,
        .bits = NAN,
        .weight_sqnr = NAN,
        .macs = macs_of(a->layer, work->a.batch),
        .isolated = none,
        .accumulated = none,
    };
    if (a->layer->weight) {
        layer->shape = ldnq_diff_shape_from(&a->layer->weight->shape);
        layer->weights = ldnq_tensor_count(a->layer->weight);
        layer->bytes_a = ldnq_weight_stored_bytes(
            a->layer, codes_of(&work->a, couple->a, a->layer->weight_input));
    }
    return couple->b == LDNQ_NO_NODE ? LDNQ_OK : describe_partner(work, couple, layer, err);
}

static enum ldnq_status describe_layers(struct work *work, struct ldnq_error *err)
{
    struct ldnq_diff *diff = work->diff;
    diff->layer_count = work->couples.count;
    diff->layers = ldnq_arena_alloc(work->arena, diff->layer_count, sizeof *diff->layers, err);
    if (!diff->layers)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < diff->layer_count; i++) {
        LDNQ_TRY(describe_layer(work, &work->couples.items[i], &diff->layers[i], err));
        diff->paired_layers += diff->layers[i].match != NULL;
    }
    for (size_t n = 0; n < work->a.view.count; n++)
        diff->paired += work->pairs.of_a[n] != LDNQ_NO_NODE;
    return LDNQ_OK;
}

/* ---- all
 * ------------------------------------------------------------------------------------------- */

static enum ldnq_status compare_structure(struct work *work, struct ldnq_error *err)
{
    const struct ldnq_diff_options *options = work->options;
    struct ldnq_diff *diff = work->diff;
    LDNQ_TRY(look_at(&work->a, options->graph_a, work->arena, err));
    LDNQ_TRY(look_at(&work->b, options->graph_b, work->arena, err));
    describe_file(&work->a, options->model_a, &diff->a);
    describe_file(&work->b, options->model_b, &diff->b);
    diff->tensors = work->b.tensors;
    diff->tensor_count = work->b.tensor_count;
    LDNQ_TRY(ldnq_node_pairs_find(&work->pairs, &work->a.view, &work->b.view, work->arena, err));
    LDNQ_TRY(ldnq_matched_layers_find(&work->couples, &work->pairs, work->arena, err));
    LDNQ_TRY(describe_layers(work, err));
    return ldnq_graph_changes_list(&work->pairs, work->couples.folded, work->arena, diff, err);
}

enum ldnq_status ldnq_diff_create(const struct ldnq_diff_options *options, struct ldnq_arena *arena,
                                  struct ldnq_diff **out, struct ldnq_error *err)
{
    struct work work = { .options = options, .arena = arena };
    work.diff = ldnq_arena_alloc(arena, 1, sizeof *work.diff, err);
    if (!work.diff)
        return LDNQ_NOMEM;
    LDNQ_TRY(compare_structure(&work, err));
    *out = work.diff;
    if (!options->samples)
        return LDNQ_OK;
    const char *refused = work.a.refused ? work.a.refused : work.b.refused;
    if (refused)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s (without samples its structure can be "
                         "compared all the same)",
                         refused);
    const struct ldnq_measure_options measuring = {
        .pairs = &work.pairs,
        .couples = &work.couples,
        .samples = options->samples,
        .max_samples = options->max_samples,
        .pool = options->pool,
        .sink = options->sink,
        .diff = work.diff,
    };
    return ldnq_measure_errors(&measuring, arena, err);
}

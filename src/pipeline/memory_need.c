#include "pipeline/memory_need.h"

#include "base/pool.h"
#include "base/size.h"
#include "pipeline/activations.h"
#include "pipeline/holdout.h"
#include "pipeline/layer_moments.h"
#include "pipeline/select.h"

/* The program and its libraries, and OpenBLAS's buffer of each thread. */
#define PROGRAM_BYTES ((double)(24 << 20))
#define THREAD_BYTES ((double)(8 << 20))

/* ---- values --------------------------------------------------------------------------------- */

struct live_bytes {
    double live; /* of one sample, between two nodes */
    double run;  /* the same, and what a node computes from it */
};

static double count_value_bytes(const struct ldnq_value *value)
{
    double bytes = (double)ldnq_dtype_size(value->dtype);
    if (value->constant)
        return 0;
    for (int i = 0; i < value->shape.rank; i++)
        bytes *= value->shape.dim[i] > 0 ? (double)value->shape.dim[i] : 1;
    return bytes;
}

/* The most bytes that live at one time as the nodes run in their order. */
static enum ldnq_status find_live_bytes(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                        struct live_bytes *most, struct ldnq_error *err)
{
    size_t *last_use = ldnq_arena_alloc(arena, graph->value_count, sizeof *last_use, err);
    if (!last_use)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i])
                last_use[graph->nodes[n]->inputs[i]->index] = n;
    for (size_t i = 0; i < graph->output_count; i++)
        last_use[graph->outputs[i]->index] = graph->node_count;
    double live = 0;
    for (size_t i = 0; i < graph->input_count; i++)
        live += count_value_bytes(graph->inputs[i]);
    *most = (struct live_bytes){ live, live };
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        double made = 0, freed = 0;
        for (size_t i = 0; i < node->output_count; i++)
            made += node->outputs[i] ? count_value_bytes(node->outputs[i]) : 0;
        for (size_t i = 0; i < node->input_count; i++) {
            const struct ldnq_value *in = node->inputs[i];
            if (in && last_use[in->index] == n) {
                freed += count_value_bytes(in);
                last_use[in->index] = graph->node_count; /* an input may be listed twice */
            }
        }
        most->run = live + made > most->run ? live + made : most->run;
        live += made - freed;
        most->live = live > most->live ? live : most->live;
    }
    return LDNQ_OK;
}

/* ---- the sum -------------------------------------------------------------------------------- */

static double count_layer_bytes(const struct ldnq_memory_input *input,
                                const struct ldnq_layer *layer)
{
    const struct ldnq_quantize_options *options = input->options;
    const double floats = 4.0 * (double)ldnq_layer_elements(layer) * sizeof(float);
    if (ldnq_needs_only_means(options, input->samples))
        return floats;
    const bool compensates = options->lambda != 0 && options->cascade == 0;
    return floats + ldnq_layer_moments_count_bytes(&layer->geometry, compensates,
                                                   ldnq_pool_threads(options->pool));
}

static double get_smaller(double a, double b)
{
    return a < b ? a : b;
}

enum ldnq_status ldnq_memory_need_predict(const struct ldnq_memory_input *input,
                                          struct ldnq_arena *arena, struct ldnq_memory_need *need,
                                          struct ldnq_error *err)
{
    const struct ldnq_quantize_options *options = input->options;
    struct ldnq_selection selection;
    struct live_bytes values;
    const double limit = (double)ldnq_get_max_bytes(options);
    const double networks = options->lambda != 0 && options->cascade == 0 ? 2 : 1;
    const size_t count = ldnq_samples_count(input->samples);
    const double samples = (double)(count * ldnq_size_max(1, options->copies));
    double layer = 0, weights = 0;
    LDNQ_TRY(ldnq_select_layers(input->graph, options, arena, &selection, err));
    LDNQ_TRY(find_live_bytes(input->graph, arena, &values, err));
    *need = (struct ldnq_memory_need){ .largest = NULL };
    for (size_t i = 0; i < selection.count; i++) {
        const double bytes = count_layer_bytes(input, &selection.layers[i]);
        weights += (double)ldnq_layer_elements(&selection.layers[i]) * (sizeof(float) + 1);
        if (bytes > layer) {
            layer = bytes;
            need->largest = &selection.layers[i];
        }
    }
    /* Weights beyond these parts of the limit are in files (base/mapping.h). */
    const double mapped = get_smaller((double)input->mapped_bytes, limit / 4);
    const double model = (double)(input->model_bytes - input->mapped_bytes) + mapped;
    const double batch = (double)ldnq_holdout_block(count) * values.run * networks;
    const double live = get_smaller(networks * samples * values.live, limit);
    const double floor = PROGRAM_BYTES + THREAD_BYTES * (double)ldnq_pool_threads(options->pool) +
                         model + get_smaller(weights, limit / 4) + batch + layer;
    need->layer = (size_t)layer;
    need->live = (size_t)live;
    need->floor = (size_t)floor;
    need->total = (size_t)(floor + live);
    return LDNQ_OK;
}

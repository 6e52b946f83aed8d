#include "pipeline/ranges.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "exec/exec.h"
#include "ops/op.h"

/* An activation of the graph as the reference network computes it. */
struct observed_value {
    const struct ldnq_value *value; /* of the reference graph */
    struct ldnq_observer *observer;
};

struct range_search {
    struct ldnq_placement *placement;
    const struct ldnq_graph *graph, *reference;
    const struct ldnq_ranges_options *options;
    struct ldnq_arena *arena;
    struct ldnq_exec *exec;
    struct observed_value *observed; /* by activation; no value for constants */
    size_t *activation_of;           /* by value index, plus 1; 0: none */
};

/* ---- how much an error in a channel counts ---------------------------------------------- */

/* Adds the squared norms of the weights that read each channel. true when the node's weight
 * is constant and has `channels` channels. */
static bool add_weight_norms(const struct ldnq_node *node, float *norms, size_t channels)
{
    const struct ldnq_value *weight = node->input_count > 1 ? node->inputs[1] : NULL;
    const struct ldnq_tensor *w = weight ? weight->constant : NULL;
    if (!w || w->dtype != LDNQ_FLOAT || w->shape.rank < 2)
        return false;
    const float *data = w->data;
    const size_t rows = (size_t)w->shape.dim[0], count = ldnq_tensor_count(w);
    if (strcmp(node->op_type, "Conv") == 0) {
        const size_t cols = (size_t)w->shape.dim[1], taps = count / (rows * cols);
        const size_t groups = channels / cols;
        if (groups * cols != channels || rows % groups != 0)
            return false;
        for (size_t i = 0; i < count; i++)
            norms[i / (taps * cols) / (rows / groups) * cols + i / taps % cols] +=
                data[i] * data[i];
        return true;
    }
    const bool is_gemm = strcmp(node->op_type, "Gemm") == 0;
    if (w->shape.rank != 2 || (!is_gemm && strcmp(node->op_type, "MatMul") != 0))
        return false;
    const size_t cols = (size_t)w->shape.dim[1];
    const bool by_rows = !(is_gemm && ldnq_attr_int(node, "transB", 0) != 0);
    if ((by_rows ? rows : cols) != channels)
        return false;
    for (size_t i = 0; i < count; i++)
        norms[by_rows ? i / cols : i % cols] += data[i] * data[i];
    return true;
}

static bool channels_are_last(const struct ldnq_node *node)
{
    return strcmp(node->op_type, "Conv") != 0;
}

/* The importance of the value's channels: what its layers' weights make of an error there.
 * NULL where something else reads it too. */
static enum ldnq_status find_importance(const struct range_search *search,
                                        const struct ldnq_value *read, float **importance,
                                        size_t *channels, size_t *axis, struct ldnq_error *err)
{
    *importance = NULL;
    const int rank = read->shape.rank;
    bool any = false, last = false;
    for (size_t n = 0; n < search->graph->node_count; n++) {
        const struct ldnq_node *node = search->graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] != read)
                continue;
            if (i != 0 || rank < 2 || (any && last != channels_are_last(node)))
                return LDNQ_OK;
            last = channels_are_last(node);
            const int at = last ? rank - 1 : 1;
            if (read->shape.dim[at] < 1 || ldnq_is_symbol(read->shape.dim[at]))
                return LDNQ_OK;
            if (!any) {
                *axis = (size_t)at;
                *channels = (size_t)read->shape.dim[at];
                *importance = ldnq_arena_alloc(search->arena, *channels, sizeof **importance, err);
                if (!*importance)
                    return LDNQ_NOMEM;
            }
            any = true;
            if (!add_weight_norms(node, *importance, *channels)) {
                *importance = NULL;
                return LDNQ_OK;
            }
        }
    }
    return LDNQ_OK;
}

/* ---- observing ------------------------------------------------------------------------------ */

static enum ldnq_status create_activation_observers(struct range_search *search,
                                                    struct ldnq_error *err)
{
    const struct ldnq_placement *placement = search->placement;
    search->observed =
        ldnq_arena_alloc(search->arena, placement->count, sizeof *search->observed, err);
    search->activation_of = ldnq_arena_alloc(search->arena, search->reference->value_count,
                                             sizeof *search->activation_of, err);
    if (!search->observed || !search->activation_of)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_exec_create(search->reference, search->options->pool, &search->exec, err));
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        float *importance = NULL;
        size_t channels = 0, axis = 0;
        if (search->options->rule == LDNQ_RANGE_AUTO)
            LDNQ_TRY(find_importance(search, activation->dequantized, &importance, &channels, &axis,
                                     err));
        LDNQ_TRY(ldnq_observer_create(search->arena, importance, channels, axis,
                                      &search->observed[a].observer, err));
        if (activation->is_constant) {
            ldnq_observer_add(search->observed[a].observer, activation->value->constant);
            continue;
        }
        search->observed[a].value = search->reference->values[activation->value->index];
        search->activation_of[activation->value->index] = a + 1;
        if (!activation->value->is_input)
            ldnq_exec_retain(search->exec, search->observed[a].value, false);
    }
    return LDNQ_OK;
}

static void observe_activation(struct range_search *search, const struct ldnq_value *value)
{
    const size_t a = value ? search->activation_of[value->index] : 0;
    const struct ldnq_tensor *tensor = a ? ldnq_exec_find_value(search->exec, value) : NULL;
    if (tensor && tensor->dtype == LDNQ_FLOAT)
        ldnq_observer_add(search->observed[a - 1].observer, tensor);
}

static enum ldnq_status observe_batch(struct range_search *search,
                                      struct ldnq_tensor *const *inputs, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = search->reference;
    LDNQ_TRY(ldnq_exec_bind_inputs(search->exec, inputs, err));
    for (size_t i = 0; i < graph->input_count; i++)
        observe_activation(search, graph->inputs[i]);
    for (size_t n = 0; n < graph->node_count; n++) {
        LDNQ_TRY(ldnq_exec_run_range(search->exec, n, n + 1, err));
        for (size_t o = 0; o < graph->nodes[n]->output_count; o++)
            observe_activation(search, graph->nodes[n]->outputs[o]);
    }
    ldnq_exec_reset(search->exec);
    return LDNQ_OK;
}

static enum ldnq_status observe_samples(struct range_search *search, struct ldnq_samples *samples,
                                        struct ldnq_error *err)
{
    const size_t all = ldnq_samples_count(samples);
    const size_t most =
        ldnq_samples_choose_batch_size(samples, search->reference, search->options->batch);
    for (size_t first = 0; first < all; first += most) {
        const size_t count = ldnq_size_min(most, all - first);
        struct ldnq_sample_batch batch;
        LDNQ_TRY(ldnq_sample_batch_read(samples, first, count, search->options->pool, &batch, err));
        const enum ldnq_status status = observe_batch(search, batch.inputs, err);
        ldnq_arena_destroy(batch.arena);
        LDNQ_TRY(status);
        LDNQ_TRY(
            ldnq_sink_progress(search->options->sink, "ranges", NULL, first + count, all, err));
    }
    return LDNQ_OK;
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* One range per group: the observers of its activations are joined, and the tightest bounds
 * of all that are not fixed hold; a fixed range wins. */
static void choose_group_range(struct range_search *search, size_t group)
{
    struct ldnq_placement *placement = search->placement;
    const struct ldnq_placed_activation *fixed = NULL;
    struct ldnq_observer *all = NULL;
    double low = -INFINITY, high = INFINITY;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        if (activation->group != group)
            continue;
        if (activation->fixed && !fixed)
            fixed = activation;
        if (!all) {
            all = search->observed[a].observer;
            low = (double)activation->low;
            high = (double)activation->high;
        } else {
            ldnq_observer_merge(all, search->observed[a].observer);
            low = fmin(low, (double)activation->low);
            high = fmax(high, (double)activation->high);
        }
    }
    if (fixed) {
        low = (double)fixed->low;
        high = (double)fixed->high;
    } else if (all)
        ldnq_observer_range(all, search->options->rule, placement->target, placement->dtype, &low,
                            &high);
    const struct ldnq_scale scale =
        ldnq_target_scale(placement->target, placement->dtype, low, high, fixed != NULL);
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].group == group)
            ldnq_activation_set_scale(&placement->activations[a], scale);
}

static enum ldnq_status search_ranges(struct range_search *search, struct ldnq_samples *samples,
                                      struct ldnq_error *err)
{
    LDNQ_TRY(create_activation_observers(search, err));
    LDNQ_TRY(observe_samples(search, samples, err));
    for (size_t group = 0; group < search->placement->group_count; group++)
        choose_group_range(search, group);
    ldnq_placement_unify_near_scales(search->placement);
    return LDNQ_OK;
}

enum ldnq_status ldnq_ranges_find(struct ldnq_placement *placement, const struct ldnq_graph *graph,
                                  const struct ldnq_graph *reference, struct ldnq_samples *samples,
                                  const struct ldnq_ranges_options *options, struct ldnq_error *err)
{
    struct range_search search = {
        .placement = placement, .graph = graph, .reference = reference, .options = options
    };
    LDNQ_TRY(ldnq_arena_create(&search.arena, err));
    const enum ldnq_status status = search_ranges(&search, samples, err);
    ldnq_exec_destroy(search.exec);
    ldnq_arena_destroy(search.arena);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/ranges.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "pipeline/row_readers.h"

struct ldnq_ranges {
    struct ldnq_placement *placement;
    const struct ldnq_graph *graph; /* without pairs while values are added */
    enum ldnq_range_rule rule;
    struct ldnq_arena *arena;
    struct ldnq_observer **observers; /* by activation */
    struct ldnq_scale *scales;        /* by activation */
    struct ldnq_observer *joined;     /* of the group whose range is being chosen */
    /* By value: index of the value's first activation plus 1, or 0. Its others follow that one. */
    size_t *activation_of;
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

static struct ldnq_placed_activation *
find_first_pair(const struct ldnq_placement *placement,
                const struct ldnq_placed_activation *activation)
{
    size_t a = (size_t)(activation - placement->activations);
    while (ldnq_activation_is_second(&placement->activations[a]))
        a--;
    return &placement->activations[a];
}

/* Whether the node reads the activation's codes as its input i. */
static bool reads_codes_of(const struct ldnq_ranges *ranges,
                           const struct ldnq_placed_activation *activation, size_t n, size_t i)
{
    const struct ldnq_placement *placement = ranges->placement;
    const struct ldnq_node *node = ranges->graph->nodes[n];
    return node->inputs[i] == activation->value &&
           ldnq_placement_find_pair(placement, find_first_pair(placement, activation), node, n) ==
               activation &&
           (placement->target->pairs == LDNQ_PAIRS_AT_BOTH ||
            placement->reads_codes[n] >> (i < 31 ? i : 31) & 1);
}

/* The importance of the value's channels: what its layers' weights make of an error there.
 * NULL where something else reads it too. */
static enum ldnq_status find_importance(const struct ldnq_ranges *ranges,
                                        const struct ldnq_placed_activation *activation,
                                        float **importance, size_t *channels, size_t *axis,
                                        struct ldnq_error *err)
{
    const struct ldnq_value *read = activation->value;
    *importance = NULL;
    const int rank = read->shape.rank;
    bool any = false, last = false;
    for (size_t n = 0; n < ranges->graph->node_count; n++) {
        const struct ldnq_node *node = ranges->graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (!reads_codes_of(ranges, activation, n, i))
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
                *importance = ldnq_arena_alloc(ranges->arena, *channels, sizeof **importance, err);
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

static bool is_read_by_rows(const struct ldnq_ranges *ranges,
                            const struct ldnq_placed_activation *activation)
{
    for (size_t n = 0; n < ranges->graph->node_count; n++) {
        const struct ldnq_node *node = ranges->graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++)
            if (reads_codes_of(ranges, activation, n, i) &&
                ldnq_reads_rows_alike(ranges->graph, node, i))
                return true;
    }
    return false;
}

/* ---- observing ------------------------------------------------------------------------------ */

static enum ldnq_status create_activation_observers(struct ldnq_ranges *ranges,
                                                    struct ldnq_error *err)
{
    const struct ldnq_placement *placement = ranges->placement;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        float *importance = NULL;
        size_t channels = 0, axis = 0;
        if (ranges->rule == LDNQ_RANGE_AUTO)
            LDNQ_TRY(find_importance(ranges, activation, &importance, &channels, &axis, err));
        LDNQ_TRY(ldnq_observer_create(ranges->arena, importance, channels, axis,
                                      &ranges->observers[a], err));
        if (is_read_by_rows(ranges, activation))
            ldnq_observer_watch_rows(ranges->observers[a]);
        if (activation->is_constant)
            ldnq_observer_add(ranges->observers[a], activation->value->constant, NULL);
        else if (ranges->activation_of[activation->value->index] == 0)
            ranges->activation_of[activation->value->index] = a + 1;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_ranges_create(struct ldnq_placement *placement,
                                    const struct ldnq_graph *graph, enum ldnq_range_rule rule,
                                    struct ldnq_arena *arena, struct ldnq_ranges **out,
                                    struct ldnq_error *err)
{
    struct ldnq_ranges *ranges = ldnq_arena_alloc(arena, 1, sizeof *ranges, err);
    if (!ranges)
        return LDNQ_NOMEM;
    *ranges = (struct ldnq_ranges){
        .placement = placement, .graph = graph, .rule = rule, .arena = arena
    };
    ranges->observers = ldnq_arena_alloc(arena, placement->count, sizeof *ranges->observers, err);
    ranges->scales = ldnq_arena_alloc(arena, placement->count, sizeof *ranges->scales, err);
    ranges->activation_of =
        ldnq_arena_alloc(arena, graph->value_count, sizeof *ranges->activation_of, err);
    if (!ranges->observers || !ranges->scales || !ranges->activation_of)
        return LDNQ_NOMEM;
    *out = ranges;
    LDNQ_TRY(ldnq_observer_create(arena, NULL, 0, 0, &ranges->joined, err));
    return create_activation_observers(ranges, err);
}

void ldnq_ranges_mark(const struct ldnq_ranges *ranges, bool *visited)
{
    for (size_t i = 0; i < ranges->graph->value_count; i++)
        visited[i] |= ranges->activation_of[i] > 0;
}

/* Fails if a layer reads this activation, which is not finite. Where none does, an infinity may be
 * meant, as in a mask, and the value stays float. */
static enum ldnq_status refuse_not_finite(const struct ldnq_ranges *ranges,
                                          const struct ldnq_placed_activation *activation,
                                          struct ldnq_error *err)
{
    for (size_t n = 0; n < ranges->graph->node_count; n++) {
        const struct ldnq_node *node = ranges->graph->nodes[n];
        const struct ldnq_operator_rule *rule = ldnq_target_rule(ranges->placement->target, node);
        for (size_t i = 0; rule && rule->weight && i < node->input_count; i++)
            if (reads_codes_of(ranges, activation, n, i))
                return ldnq_node_fail(ranges->graph, node, LDNQ_NUMERIC, err,
                                      "its input is not finite on the calibration samples");
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_ranges_add(struct ldnq_ranges *ranges, const struct ldnq_value *value,
                                 const struct ldnq_tensor *tensor, struct ldnq_pool *pool,
                                 struct ldnq_error *err)
{
    const struct ldnq_placement *placement = ranges->placement;
    const size_t first = ranges->activation_of[value->index];
    if (first == 0)
        return LDNQ_OK;
    for (size_t a = first - 1; a < placement->count && placement->activations[a].value == value;
         a++)
        ldnq_observer_add(ranges->observers[a], tensor, pool);
    return ldnq_observer_all_finite(ranges->observers[first - 1])
               ? LDNQ_OK
               : refuse_not_finite(ranges, &placement->activations[first - 1], err);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* One range per group: the observers of its activations are joined, and the tightest bounds
 * of all that are not fixed hold; a fixed range wins. */
static void choose_group_range(struct ldnq_ranges *ranges, size_t group)
{
    struct ldnq_placement *placement = ranges->placement;
    const struct ldnq_placed_activation *fixed = NULL;
    struct ldnq_observer *all = NULL;
    enum ldnq_dtype dtype = placement->dtype;
    double low = -INFINITY, high = INFINITY;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        if (activation->group != group)
            continue;
        if (activation->fixed && !fixed)
            fixed = activation;
        dtype = activation->dtype;
        if (!all) {
            all = ranges->joined;
            ldnq_observer_copy(all, ranges->observers[a]);
            low = (double)activation->low;
            high = (double)activation->high;
        } else {
            ldnq_observer_merge(all, ranges->observers[a]);
            low = fmin(low, (double)activation->low);
            high = fmax(high, (double)activation->high);
        }
    }
    if (fixed) {
        low = (double)fixed->low;
        high = (double)fixed->high;
    } else if (all)
        ldnq_observer_range(all, ranges->rule, placement->target, dtype, &low, &high);
    const struct ldnq_scale scale =
        ldnq_target_scale(placement->target, dtype, low, high, fixed != NULL);
    for (size_t a = 0; a < placement->count; a++)
        if (placement->activations[a].group == group)
            ranges->scales[a] = scale;
}

void ldnq_ranges_choose(struct ldnq_ranges *ranges)
{
    for (size_t group = 0; group < ranges->placement->group_count; group++)
        choose_group_range(ranges, group);
}

/* ---- activations that one scale ruins ------------------------------------------------------- */

/* The relative error that the consumers may see, times 4^bits: 28 dB more than that of values
 * spread evenly over the codes. With 8 bits it is 1 %. */
#define MOST_RELATIVE_ERROR 655.0
/* The part of the slices that may be lost, where the consumers do not say what counts. */
#define MOST_LOST_SLICES 0.5

static bool can_widen(const struct ldnq_ranges *ranges)
{
    return ldnq_target_can_widen(ranges->placement->target, ranges->placement->dtype);
}

/* Whether the target would rather lose accuracy than compute on the value in float. */
static bool must_stay_quantized(const struct ldnq_ranges *ranges)
{
    return ranges->placement->target->every_tensor && !can_widen(ranges);
}

/* Whether the scale is the least that the target takes: next to that all that varies is silence. */
static bool has_least_scale(const struct ldnq_ranges *ranges, size_t a)
{
    const double steps =
        ldexp(1, (int)ldnq_dtype_bits(ranges->placement->activations[a].dtype)) - 1;
    return (double)ranges->scales[a].scale * steps <=
           (double)ranges->placement->target->least_range * (1 + 1e-6);
}

/* Why one scale ruins the activation, in the arena; NULL: it does not, or memory is out. The value
 * is no mask. */
static const char *explain_ruined_activation(const struct ldnq_ranges *ranges, size_t a,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_observer *observer = ranges->observers[a];
    const enum ldnq_dtype dtype = ranges->placement->activations[a].dtype;
    const struct ldnq_scale scale = ranges->scales[a];
    const char *name = ranges->placement->activations[a].value->name;
    if (must_stay_quantized(ranges) || dtype != ranges->placement->dtype ||
        has_least_scale(ranges, a))
        return NULL;
    const double most = ldexp(MOST_RELATIVE_ERROR, -2 * (int)ldnq_dtype_bits(dtype));
    const double of_row = ldnq_observer_median_row_error(observer, (double)scale.scale);
    if (of_row > most)
        return ldnq_arena_printf(arena, err,
                                 "one scale for '%s' (%.3g) costs half of its rows %.2g of their "
                                 "power or more, as rows differ too much",
                                 name, (double)scale.scale, of_row);
    if (!ldnq_observer_has_importance(observer)) {
        const double lost = ldnq_observer_lost_slices(observer, (double)scale.scale);
        return lost <= MOST_LOST_SLICES
                   ? NULL
                   : ldnq_arena_printf(
                         arena, err,
                         "one scale for '%s' (%.3g) is larger than all that varies in "
                         "%.0f %% of its channels",
                         name, (double)scale.scale, 100 * lost);
    }
    const double error = ldnq_observer_relative_error(observer, dtype, scale);
    return error <= most ? NULL
                         : ldnq_arena_printf(
                               arena, err,
                               "one scale for '%s' (%.3g) costs the layers that read it %.2g of "
                               "their input's power, as its channels differ too much",
                               name, (double)scale.scale, error);
}

/* Why 16 bits are too few for a value that has them because one scale of 8 bits ruins it; NULL:
 * they are enough, or memory is out. */
static const char *explain_ruined_wide_activation(const struct ldnq_ranges *ranges, size_t a,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const double scale = (double)ranges->scales[a].scale;
    const double most =
        ldexp(MOST_RELATIVE_ERROR, -2 * (int)ldnq_dtype_bits(ranges->placement->dtype));
    const double of_row = ldnq_observer_median_row_error(ranges->observers[a], scale);
    return of_row <= most
               ? NULL
               : ldnq_arena_printf(arena, err,
                                   "one scale for '%s' (%.3g) costs half of its rows %.2g of their "
                                   "power or more with 16 bits, too",
                                   ranges->placement->activations[a].value->name, scale, of_row);
}

/* Whether codes of the activation have a scale that may be wrong for it. */
static bool may_be_ruined(const struct ldnq_placed_activation *activation)
{
    return !activation->is_constant && !activation->fixed && !ldnq_activation_is_second(activation);
}

static size_t find_masks(const struct ldnq_ranges *ranges, const char **excluded,
                         struct ldnq_error *err)
{
    const struct ldnq_placement *placement = ranges->placement;
    size_t added = 0;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        const char **reason = &excluded[activation->value->index];
        if (*reason || !may_be_ruined(activation) || !ldnq_observer_has_mask(ranges->observers[a]))
            continue;
        *reason = ldnq_arena_printf(ranges->graph->arena, err, "'%s' holds the values of a mask",
                                    activation->value->name);
        added += *reason != NULL;
    }
    return added;
}

/* A Concat of 16 bits whose scale is larger than that of an input's codes of 8 bits needs codes of
 * 16 bits from the node that writes the input: QNN's HTP (emulated, onnxruntime-qnn 2.7.0) converts
 * from 8 bits to a larger scale by codes that are off by a constant. */
static size_t widen_inputs_of_larger_scales(const struct ldnq_ranges *ranges, const char **wide,
                                            struct ldnq_error *err)
{
    const struct ldnq_placement *placement = ranges->placement;
    size_t added = 0;
    for (size_t n = 0; n < ranges->graph->node_count; n++) {
        const struct ldnq_node *node = ranges->graph->nodes[n];
        const struct ldnq_operator_rule *rule = ldnq_target_rule(placement->target, node);
        const size_t output = node->outputs[0] ? ranges->activation_of[node->outputs[0]->index] : 0;
        if (!placement->is_wide[n] || rule->class != LDNQ_UNIFIES_NEAR_SCALES || output == 0)
            continue;
        for (size_t i = 0; i < node->input_count; i++) {
            const size_t index = node->inputs[i]->index, input = ranges->activation_of[index];
            if (input == 0 || wide[index] ||
                placement->activations[input - 1].dtype != placement->dtype ||
                !(ranges->scales[input - 1].scale < ranges->scales[output - 1].scale))
                continue;
            wide[index] = ldnq_arena_printf(
                ranges->graph->arena, err,
                "the scale of '%s' (%.3g) is below that of the 16 bits of %s '%s'",
                node->inputs[i]->name, (double)ranges->scales[input - 1].scale, node->op_type,
                node->label);
            added += wide[index] != NULL;
        }
    }
    return added;
}

enum ldnq_status ldnq_ranges_find_ruined(const struct ldnq_ranges *ranges,
                                         const struct ldnq_ruined_values *ruined, size_t *added,
                                         struct ldnq_error *err)
{
    const struct ldnq_placement *placement = ranges->placement;
    const char **reasons = can_widen(ranges) ? ruined->wide : ruined->excluded;
    /* A mask ruins the scale of its whole group, which is another without it. */
    *added = find_masks(ranges, ruined->excluded, err);
    if (*added > 0)
        return LDNQ_OK;
    for (size_t a = 0; a < placement->count; a++) {
        const struct ldnq_placed_activation *activation = &placement->activations[a];
        const size_t value = activation->value->index;
        if (ruined->excluded[value] || !may_be_ruined(activation))
            continue;
        if (ruined->wide[value] && activation->dtype != placement->dtype) {
            ruined->excluded[value] =
                explain_ruined_wide_activation(ranges, a, ranges->graph->arena, err);
            *added += ruined->excluded[value] != NULL;
        }
        if (reasons[value])
            continue;
        reasons[value] = explain_ruined_activation(ranges, a, ranges->graph->arena, err);
        *added += reasons[value] != NULL;
    }
    if (*added == 0)
        *added = widen_inputs_of_larger_scales(ranges, ruined->wide, err);
    return LDNQ_OK;
}

void ldnq_ranges_apply(const struct ldnq_ranges *ranges)
{
    for (size_t a = 0; a < ranges->placement->count; a++)
        ldnq_activation_set_scale(&ranges->placement->activations[a], ranges->scales[a]);
    ldnq_placement_unify_near_scales(ranges->placement);
}

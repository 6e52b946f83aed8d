/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/layer_moments.h"

#include <string.h>

#include "base/size.h"
#include "linalg/gram.h"

/* ---- the sums ------------------------------------------------------------------------------ */

static void init_tree(struct ldnq_sum_tree *tree, const struct ldnq_layer_moments_parts *parts,
                      const struct ldnq_statistics *s, const bool *present)
{
    tree->ranks = ldnq_pool_ranks(s->pool);
    tree->leaves = parts->leaves;
    tree->heap_bytes = parts->sum_heap_bytes;
    tree->present = present;
}

/* Those matrices that there are. */
static void add_arrays_to_tree(struct ldnq_sum_tree *tree, const struct ldnq_statistics *s,
                               const struct ldnq_compensation *c, double *counts)
{
    const size_t groups = s->geometry.groups, k = s->geometry.cols;
    const size_t rows = groups * c->geometry.rows;
    tree->array_count = tree->packed_count = 0;
    ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ counts, 2, 0 });
    if (k > 0 && s->gram)
        ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ s->gram, groups, k });
    ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ s->mean, groups * k, 0 });
    if (!c->shift)
        return;
    if (c->input.cols) {
        ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ c->input.cross, k * k, 0 });
        ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ c->input.sum, k, 0 });
        if (c->input.square)
            ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ c->input.square, 1, k });
        return;
    }
    if (c->cross)
        ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ c->cross, rows * k, 0 });
    ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ c->shift, rows, 0 });
    ldnq_sum_tree_add_array(tree, (struct ldnq_summed_array){ c->power, rows, 0 });
}

static void add_arrays_to_trees(struct ldnq_layer_moments *moments)
{
    add_arrays_to_tree(&moments->tree, &moments->statistics, &moments->compensation,
                       moments->counts);
    if (moments->held_out_arena)
        add_arrays_to_tree(&moments->held_out_tree, &moments->held_out_statistics,
                           &moments->held_out_compensation, moments->held_out_counts);
}

static enum ldnq_status init_sums(struct ldnq_layer_moments *moments,
                                  const struct ldnq_layer_geometry *geometry, const float *weight,
                                  const struct ldnq_layer_moments_parts *parts,
                                  struct ldnq_pool *pool, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_statistics_init_sums(&moments->statistics, geometry, pool, moments->arena, err));
    if (parts->compensates)
        LDNQ_TRY(ldnq_compensation_init_sums(&moments->compensation, geometry, weight, pool,
                                             moments->arena, err));
    init_tree(&moments->tree, parts, &moments->statistics, parts->has_fitted);
    if (!parts->holds_out)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&moments->held_out_arena, err));
    LDNQ_TRY(ldnq_statistics_init_part(&moments->held_out_statistics, &moments->statistics,
                                       moments->held_out_arena, err));
    init_tree(&moments->held_out_tree, parts, &moments->held_out_statistics, parts->has_held_out);
    return parts->compensates
               ? ldnq_compensation_init_part(&moments->held_out_compensation,
                                             &moments->compensation, moments->held_out_arena, err)
               : LDNQ_OK;
}

static enum ldnq_status allocate_cross(struct ldnq_layer_moments *moments,
                                       struct ldnq_compensation *compensation,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    if (!compensation->shift)
        return LDNQ_OK;
    if (!moments->uses_input)
        return ldnq_compensation_allocate_cross(compensation, arena, err);
    LDNQ_TRY(ldnq_input_error_init(&compensation->input, compensation->geometry.cols,
                                   compensation->pool, arena, err));
    return compensation == &moments->held_out_compensation
               ? ldnq_input_error_add_square(&compensation->input, arena, err)
               : LDNQ_OK;
}

static enum ldnq_status allocate_matrices(struct ldnq_layer_moments *moments,
                                          struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_statistics_allocate_gram(&moments->statistics, moments->arena, err));
    LDNQ_TRY(allocate_cross(moments, &moments->compensation, moments->arena, err));
    if (!moments->held_out_arena)
        return LDNQ_OK;
    LDNQ_TRY(
        ldnq_statistics_allocate_gram(&moments->held_out_statistics, moments->held_out_arena, err));
    return allocate_cross(moments, &moments->held_out_compensation, moments->held_out_arena, err);
}

/* Layers that may have few positions get their matrices with the first call, if at all; on several
 * ranks only all calls say whether they are few. */
enum ldnq_status ldnq_layer_moments_init(struct ldnq_layer_moments *moments,
                                         const struct ldnq_layer_geometry *geometry,
                                         const float *weight, struct ldnq_layer_moments_parts parts,
                                         struct ldnq_pool *pool, struct ldnq_arena *arena,
                                         struct ldnq_error *err)
{
    *moments = (struct ldnq_layer_moments){
        .arena = arena,
        .expected_calls = parts.calls,
        .has_bias = parts.has_bias,
        .uses_input = parts.uses_input,
        .takes_low_rank = parts.takes_low_rank && parts.compensates && !parts.uses_input &&
                          parts.calls > 0 && ldnq_is_low_rank(geometry, 1),
    };
    moments->may_be_low_rank =
        moments->takes_low_rank && ldnq_ranks_count(ldnq_pool_ranks(pool)) == 1;
    LDNQ_TRY(init_sums(moments, geometry, weight, &parts, pool, err));
    if (!moments->may_be_low_rank)
        LDNQ_TRY(allocate_matrices(moments, err));
    add_arrays_to_trees(moments);
    return LDNQ_OK;
}

void ldnq_layer_moments_release(struct ldnq_layer_moments *moments)
{
    ldnq_sum_tree_release(&moments->tree);
    ldnq_sum_tree_release(&moments->held_out_tree);
    ldnq_arena_destroy(moments->held_out_arena);
    moments->held_out_arena = NULL;
}

/* The positions of all calls, where they will be fewer than the columns by the size of the first
 * call; 0: they will not. */
static size_t count_few_positions(const struct ldnq_layer_moments *moments)
{
    const struct ldnq_layer_geometry *geometry = &moments->statistics.geometry;
    size_t all;
    return geometry->groups == 1 && moments->expected_calls > 0 &&
                   ldnq_size_mul(moments->first_positions, moments->expected_calls, &all) &&
                   all < geometry->cols
               ? all
               : 0;
}

/* A rank does not know what others have: it stores what can be few. */
static enum ldnq_status store_few_positions(struct ldnq_layer_moments *moments,
                                            struct ldnq_error *err)
{
    const struct ldnq_layer_geometry *geometry = &moments->statistics.geometry;
    const bool is_alone = ldnq_ranks_count(moments->tree.ranks) == 1;
    const size_t capacity = is_alone                ? count_few_positions(moments)
                            : geometry->groups == 1 ? geometry->cols
                                                    : 0;
    if (capacity == 0 || moments->uses_input ||
        (!is_alone && moments->first_positions >= geometry->cols))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_few_positions_init(&moments->few, geometry->rows, geometry->cols, capacity,
                                     moments->arena, err));
    moments->compensation.few = moments->held_out_compensation.few = &moments->few;
    return LDNQ_OK;
}

static double *select_counts(struct ldnq_layer_moments *moments, bool apart)
{
    return apart ? moments->held_out_counts : moments->counts;
}

static void clear_sums(struct ldnq_statistics *s, struct ldnq_compensation *c, double *counts)
{
    counts[0] = counts[1] = 0;
    s->positions = 0;
    memset(s->mean, 0, s->geometry.cols * sizeof *s->mean);
    memset(c->shift, 0, c->geometry.rows * sizeof *c->shift);
    memset(c->power, 0, c->geometry.rows * sizeof *c->power);
}

/* Makes the matrices that low rank was to avoid, and adds the stored calls again. */
static enum ldnq_status switch_to_full_matrices(struct ldnq_layer_moments *moments,
                                                struct ldnq_error *err)
{
    moments->is_low_rank = false;
    ldnq_sum_tree_release(&moments->tree);
    ldnq_sum_tree_release(&moments->held_out_tree);
    LDNQ_TRY(allocate_matrices(moments, err));
    add_arrays_to_trees(moments);
    clear_sums(&moments->statistics, &moments->compensation, moments->counts);
    if (moments->held_out_arena)
        clear_sums(&moments->held_out_statistics, &moments->held_out_compensation,
                   moments->held_out_counts);
    for (size_t i = 0; i < moments->call_count; i++) {
        const struct ldnq_stored_call *call = &moments->stored_calls[i];
        const bool apart = call->held_out && moments->held_out_arena;
        select_counts(moments, apart)[0] += (double)call->count;
        select_counts(moments, apart)[1] += (double)call->all;
        ldnq_compensation_add_stored(apart ? &moments->held_out_compensation
                                           : &moments->compensation,
                                     apart ? &moments->held_out_statistics : &moments->statistics,
                                     &moments->few, call->row, call->count);
        if (call->ended_leaves)
            LDNQ_TRY(ldnq_layer_moments_end_leaf(moments, call->ended_leaves - 1, err));
    }
    return LDNQ_OK;
}

/* Chooses the form of the moments by the size of the first call, and leaves that of low rank when
 * later calls have more positions. */
static enum ldnq_status prepare_matrices(struct ldnq_layer_moments *moments, size_t positions,
                                         struct ldnq_error *err)
{
    const struct ldnq_few_positions *few = &moments->few;
    const bool is_stored = moments->compensation.few == few;
    const bool is_first = moments->call_count == 0;
    if (!is_first)
        return moments->is_low_rank && !ldnq_few_positions_have_room(few, positions)
                   ? switch_to_full_matrices(moments, err)
                   : LDNQ_OK;
    moments->is_low_rank = moments->may_be_low_rank && is_stored &&
                           ldnq_is_low_rank(&moments->statistics.geometry, few->capacity);
    if (moments->may_be_low_rank && !moments->is_low_rank)
        LDNQ_TRY(allocate_matrices(moments, err));
    add_arrays_to_trees(moments);
    if (!moments->is_low_rank)
        return LDNQ_OK;
    moments->stored_calls = ldnq_arena_alloc(moments->arena, moments->expected_calls,
                                             sizeof *moments->stored_calls, err);
    return moments->stored_calls ? LDNQ_OK : LDNQ_NOMEM;
}

static void record_call(struct ldnq_layer_moments *moments, size_t count, size_t all, bool held_out)
{
    const struct ldnq_few_positions *few = &moments->few;
    const size_t row = held_out ? few->capacity - few->held_out - count : few->fitted;
    if (moments->is_low_rank)
        moments->stored_calls[moments->call_count] =
            (struct ldnq_stored_call){ row, count, all, held_out, 0 };
}

enum ldnq_status ldnq_layer_moments_add(struct ldnq_layer_moments *moments,
                                        const struct ldnq_layer_moments_call *call,
                                        struct ldnq_error *err)
{
    const bool apart = call->held_out && moments->held_out_arena;
    const size_t all =
        call->unmasked ? call->unmasked_count : call->op->count_positions(call->quantized);
    struct ldnq_position_sampling sampling =
        ldnq_sample_positions(call->op, all, call->positions, call->number);
    double *counts = select_counts(moments, apart);
    sampling.unmasked = call->unmasked;
    if (moments->call_count == 0)
        moments->first_positions = sampling.count;
    if (call->exact && moments->call_count == 0)
        LDNQ_TRY(store_few_positions(moments, err));
    LDNQ_TRY(prepare_matrices(moments, sampling.count, err));
    record_call(moments, sampling.count, all, apart);
    moments->call_count++;
    moments->all_positions += all;
    counts[0] += (double)sampling.count;
    counts[1] += (double)all;
    struct ldnq_statistics *statistics =
        apart ? &moments->held_out_statistics : &moments->statistics;
    if (call->exact)
        ldnq_compensation_add(apart ? &moments->held_out_compensation : &moments->compensation,
                              statistics, call->quantized, call->exact, &sampling, apart);
    else
        ldnq_statistics_add(statistics, call->quantized, &sampling);
    return LDNQ_OK;
}

enum ldnq_status ldnq_layer_moments_end_leaf(struct ldnq_layer_moments *moments, size_t leaf,
                                             struct ldnq_error *err)
{
    if (moments->is_low_rank)
        moments->stored_calls[moments->call_count - 1].ended_leaves = leaf + 1;
    LDNQ_TRY(ldnq_sum_tree_end_leaf(&moments->tree, leaf, err));
    return moments->held_out_arena ? ldnq_sum_tree_end_leaf(&moments->held_out_tree, leaf, err)
                                   : LDNQ_OK;
}

/* All ranks know the positions of all ranks, in the order of the calls, or that they are not few.
 */
static enum ldnq_status share_few_positions(struct ldnq_layer_moments *moments,
                                            struct ldnq_error *err)
{
    struct ldnq_ranks *ranks = moments->tree.ranks;
    uint64_t first = moments->first_positions;
    if (ldnq_ranks_count(ranks) == 1 || !moments->compensation.cross)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_ranks_broadcast(ranks, 0, &first, sizeof first, err));
    moments->first_positions = (size_t)first;
    const size_t capacity = count_few_positions(moments);
    const size_t all = moments->statistics.positions + moments->held_out_statistics.positions;
    moments->compensation.few = moments->held_out_compensation.few = NULL;
    if (capacity == 0 || all > capacity) {
        moments->few = (struct ldnq_few_positions){ 0 };
        return LDNQ_OK;
    }
    moments->compensation.few = moments->held_out_compensation.few = &moments->few;
    moments->is_low_rank =
        moments->takes_low_rank && ldnq_is_low_rank(&moments->statistics.geometry, capacity);
    if (moments->is_low_rank) {
        moments->statistics.gram = moments->held_out_statistics.gram = NULL;
        moments->compensation.cross = moments->held_out_compensation.cross = NULL;
    }
    return ldnq_few_positions_share(&moments->few, &moments->statistics.geometry, capacity, ranks,
                                    moments->arena, err);
}

enum ldnq_status ldnq_layer_moments_finish_sums(struct ldnq_layer_moments *moments,
                                                struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_sum_tree_finish(&moments->tree, err));
    if (moments->held_out_arena)
        LDNQ_TRY(ldnq_sum_tree_finish(&moments->held_out_tree, err));
    moments->statistics.positions = (size_t)moments->counts[0];
    moments->held_out_statistics.positions = (size_t)moments->held_out_counts[0];
    moments->all_positions = (size_t)(moments->counts[1] + moments->held_out_counts[1]);
    return share_few_positions(moments, err);
}

static struct ldnq_gram_positions find_rows(const struct ldnq_few_positions *few, size_t first,
                                            size_t count)
{
    return (struct ldnq_gram_positions){
        .columns = few->columns + first * few->cols,
        .count = ldnq_are_few_positions((double)count, (double)few->cols) ? count : 0,
    };
}

static enum ldnq_status make_low_rank_matrices(struct ldnq_layer_moments *moments,
                                               struct ldnq_error *err)
{
    const struct ldnq_few_positions *few = &moments->few;
    const bool is_merged = moments->statistics.positions != few->fitted;
    LDNQ_TRY(ldnq_low_rank_moments_init(&moments->low_rank, few,
                                        is_merged ? LDNQ_ALL_POSITIONS : LDNQ_FITTED_POSITIONS,
                                        moments->has_bias, moments->arena, err));
    return moments->held_out_arena
               ? ldnq_low_rank_moments_init(&moments->held_out_low_rank, few,
                                            LDNQ_HELD_OUT_POSITIONS, moments->has_bias,
                                            moments->held_out_arena, err)
               : LDNQ_OK;
}

enum ldnq_status ldnq_layer_moments_find_positions(struct ldnq_layer_moments *moments,
                                                   struct ldnq_error *err)
{
    const struct ldnq_few_positions *few = &moments->few;
    const size_t all = moments->statistics.positions;
    if (moments->is_low_rank)
        return make_low_rank_matrices(moments, err);
    moments->positions = moments->held_out_positions = (struct ldnq_gram_positions){ .count = 0 };
    if (few->capacity == 0 || moments->compensation.few != few)
        return LDNQ_OK;
    if (all == few->fitted || (all == few->capacity && all == few->fitted + few->held_out))
        moments->positions = find_rows(few, 0, all);
    if (moments->held_out_arena && moments->held_out_statistics.positions == few->held_out)
        moments->held_out_positions = find_rows(few, few->capacity - few->held_out, few->held_out);
    return LDNQ_OK;
}

enum ldnq_status ldnq_layer_moments_finish_calls(struct ldnq_layer_moments *moments,
                                                 struct ldnq_error *err)
{
    struct ldnq_compensation *fitted = &moments->compensation;
    struct ldnq_compensation *held_out = &moments->held_out_compensation;
    const struct ldnq_layer_geometry *geometry = &fitted->geometry;
    const size_t k = geometry->cols;
    if (!moments->uses_input)
        return LDNQ_OK;
    ldnq_compensation_find_shifts(fitted);
    if (!moments->held_out_arena)
        return LDNQ_OK;
    ldnq_compensation_find_shifts(held_out);
    moments->weight_gram =
        ldnq_arena_alloc(moments->held_out_arena, k, k * sizeof *moments->weight_gram, err);
    if (!moments->weight_gram)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_multiply_weight_by_itself(fitted->weight, geometry->rows, k, fitted->pool,
                                            moments->weight_gram, err));
    held_out->total_power = ldnq_input_error_sum_power(&held_out->input, moments->weight_gram);
    return LDNQ_OK;
}

void ldnq_layer_moments_merge(struct ldnq_layer_moments *moments)
{
    if (moments->held_out_arena) {
        ldnq_statistics_merge(&moments->statistics, &moments->held_out_statistics);
        if (moments->compensation.shift)
            ldnq_compensation_merge(&moments->compensation, &moments->held_out_compensation);
    }
    ldnq_layer_moments_release(moments);
}

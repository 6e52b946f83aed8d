/* SPDX-License-Identifier: Apache-2.0 */
/* compensation_strength.c: the lambda and the damping of the error compensation that held-out
 * samples choose, and the memory that this takes. */
#include "pipeline/layer_moments.h"

#include <math.h>

#include "base/ranks.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/gram.h"

static const double dampings[] = { 0.001, 0.01, 0.1, 1 };

/* ---- lambda and damping ------------------------------------------------------------------ */

static double compute_best_lambda(const struct ldnq_held_out_effect *effect)
{
    if (!(effect->x_e > 0) || !(effect->x_xc > 0))
        return 0;
    return effect->x_e < effect->x_xc ? effect->x_e / effect->x_xc : 1;
}

static double compute_error_reduction(const struct ldnq_held_out_effect *effect)
{
    const double lambda = compute_best_lambda(effect);
    return lambda * (2 * effect->x_e - lambda * effect->x_xc);
}

/* Adds the effect of one group's change (M, K). `product` (M, K) is scratch. */
static void add_group_effect(const struct ldnq_layer_moments *moments, size_t group, bool centred,
                             const double *change, double *product,
                             struct ldnq_held_out_effect *effect)
{
    const struct ldnq_statistics *s = &moments->held_out_statistics;
    const struct ldnq_compensation *c = &moments->held_out_compensation;
    const size_t k = s->geometry.cols, m = c->geometry.rows;
    const double positions = (double)s->positions, *sum = s->mean + group * k;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, m, k, k, 1 / positions, change, k, s->gram + group * k * k,
               k, 0, product, k);
    for (size_t row = 0; row < m; row++) {
        const double *x = change + row * k, *cross = c->cross + (group * m + row) * k;
        const double shift = c->shift[group * m + row] / positions;
        double mean = 0;
        for (size_t i = 0; i < k; i++) {
            effect->x_xc += x[i] * product[row * k + i];
            effect->x_e += x[i] * cross[i] / positions;
            mean += x[i] * sum[i] / positions;
        }
        effect->x_xc -= centred ? mean * mean : 0;
        effect->x_e -= centred ? mean * shift : 0;
    }
}

/* E|W (y - y^)|^2 on the held-out samples, for the inputs y of the float layer and y^ of the
 * quantized one; the mean is subtracted first if a bias can compensate it. */
static double measure_upstream_error(const struct ldnq_layer_moments *moments, bool centred)
{
    const struct ldnq_compensation *c = &moments->held_out_compensation;
    const double positions = (double)moments->held_out_statistics.positions;
    double sum = c->total_power / positions;
    for (size_t row = 0; row < c->geometry.groups * c->geometry.rows; row++) {
        const double mean = centred ? c->shift[row] / positions : 0;
        sum += c->power[row] / positions - mean * mean;
    }
    return sum;
}

/* Whether earlier layers change any output of this layer: W (y - y^) is not 0 everywhere. */
static bool has_upstream_error(const struct ldnq_compensation *compensation)
{
    if (compensation->input.cols)
        return !ldnq_input_error_is_zero(&compensation->input);
    const size_t rows = compensation->geometry.groups * compensation->geometry.rows;
    for (size_t row = 0; row < rows; row++)
        if (compensation->power[row] > 0)
            return true;
    return false;
}

/* Layers with more columns try one damping after the other: each needs a matrix of its own. */
#define MOST_COLUMNS_AT_ONCE ((size_t)1536)

struct damping_trial {
    const struct ldnq_layer_moments *moments;
    bool centred;
    size_t slots;                         /* trials that run at the same time */
    double *factor, *change, *product;    /* (slots) matrices */
    struct ldnq_held_out_effect *effects; /* one per damping */
};

static void try_damping(void *argument, size_t i, size_t thread)
{
    struct damping_trial *trial = argument;
    const struct ldnq_layer_moments *moments = trial->moments;
    const struct ldnq_layer_geometry *geometry = &moments->compensation.geometry;
    const size_t k = geometry->cols, block = geometry->rows * k, slot = thread;
    double *change = trial->change + slot * block;
    for (size_t group = 0; group < geometry->groups; group++)
        if (ldnq_compensation_solve(&moments->compensation, &moments->statistics, group,
                                    trial->centred, dampings[i], trial->factor + slot * k * k,
                                    change))
            add_group_effect(moments, group, trial->centred, change, trial->product + slot * block,
                             &trial->effects[i]);
}

#define DAMPINGS (sizeof dampings / sizeof *dampings)

/* The effects of the trials: in the space of the columns. */
static enum ldnq_status try_dampings(struct ldnq_layer_moments *moments, bool centred,
                                     struct ldnq_held_out_effect *effects, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    const struct ldnq_layer_geometry *geometry = &moments->compensation.geometry;
    struct ldnq_statistics *held_out = &moments->held_out_statistics;
    const size_t k = geometry->cols, block = geometry->rows * k;
    struct ldnq_pool *pool = k <= MOST_COLUMNS_AT_ONCE ? moments->compensation.pool : NULL;
    struct damping_trial trial = {
        .moments = moments, .centred = centred, .slots = ldnq_pool_threads(pool), .effects = effects
    };
    trial.factor = ldnq_arena_alloc(arena, trial.slots * k, k * sizeof *trial.factor, err);
    trial.change = ldnq_arena_alloc(arena, trial.slots, block * sizeof *trial.change, err);
    trial.product = ldnq_arena_alloc(arena, trial.slots, block * sizeof *trial.product, err);
    if (!trial.factor || !trial.change || !trial.product)
        return LDNQ_NOMEM;
    /* Fills the lower triangles; with a count of 1 the sums stay sums. */
    for (size_t g = 0; g < geometry->groups; g++)
        ldnq_gram_finish(k, 1, held_out->gram + g * k * k, held_out->mean + g * k);
    const struct ldnq_rank_share own = ldnq_ranks_own_share(moments->tree.ranks, DAMPINGS);
    if (pool)
        ldnq_pool_run_share(pool, DAMPINGS, try_damping, &trial);
    for (size_t i = own.first; !pool && i < own.end; i++)
        try_damping(&trial, i, 0);
    return ldnq_ranks_allgather_units(moments->tree.ranks, effects, DAMPINGS, sizeof *effects, err);
}

static enum ldnq_status measure_by_input(struct ldnq_layer_moments *moments, bool centred,
                                         struct ldnq_held_out_effect *effects,
                                         struct ldnq_error *err)
{
    struct ldnq_statistics *held_out = &moments->held_out_statistics;
    const struct ldnq_input_error_parts parts = {
        .fitted = &moments->compensation.input,
        .held_out = &moments->held_out_compensation.input,
        .fitted_statistics = &moments->statistics,
        .held_out_statistics = held_out,
        .gram = moments->weight_gram,
        .centred = centred,
    };
    ldnq_gram_finish(held_out->geometry.cols, 1, held_out->gram, held_out->mean);
    return ldnq_input_error_measure(&parts, dampings, DAMPINGS, effects, err);
}

static enum ldnq_status choose_compensation_strength(struct ldnq_layer_moments *moments,
                                                     bool centred,
                                                     struct ldnq_compensation_strength *strength,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err)
{
    const struct ldnq_few_positions *few = moments->compensation.few;
    const struct ldnq_few_positions_options options = { centred, moments->compensation.pool };
    struct ldnq_held_out_effect effects[DAMPINGS] = { { 0 } };
    double best_reduction = 0;
    if (ldnq_few_positions_hold_all(few, moments->statistics.positions))
        LDNQ_TRY(ldnq_few_positions_measure(few, &options, dampings, DAMPINGS, effects, err));
    else if (moments->uses_input)
        LDNQ_TRY(measure_by_input(moments, centred, effects, err));
    else
        LDNQ_TRY(try_dampings(moments, centred, effects, arena, err));
    for (size_t i = 0; i < DAMPINGS; i++) {
        if (!(compute_error_reduction(&effects[i]) > best_reduction))
            continue;
        best_reduction = compute_error_reduction(&effects[i]);
        strength->lambda = compute_best_lambda(&effects[i]);
        strength->damping = dampings[i];
    }
    const double error = measure_upstream_error(moments, centred);
    if (error > 0)
        strength->remaining_error = 1 - best_reduction / error;
    return LDNQ_OK;
}

/* The same where the sums are those of the input: the fitted part has H and D, the held-out one
 * E[e e'] and G besides, and a copy for other layers all but G. */
static double count_bytes_by_input(const struct ldnq_layer_geometry *geometry,
                                   const struct ldnq_layer_moments_parts *parts,
                                   const struct ldnq_layer_moments_solvers *solvers)
{
    const double k = (double)geometry->cols, square = sizeof(double) * k * k;
    const double cross = sizeof(double) * (double)geometry->rows * k;
    const double slabs = 4.0 * (double)(LDNQ_GRAM_SLAB * sizeof(float)) * k;
    const double copy = parts->is_shared ? 5 * square : 0;
    const double choice = fmax(2 * square, cross + solvers->quick);
    return copy + slabs + 2 * square + fmax(4 * square + choice, fmax(2 * square, solvers->asked));
}

double ldnq_layer_moments_count_bytes(const struct ldnq_layer_geometry *geometry,
                                      const struct ldnq_layer_moments_parts *parts,
                                      const struct ldnq_layer_moments_solvers *solvers,
                                      size_t positions, size_t threads)
{
    const double k = (double)geometry->cols, rows = (double)geometry->rows;
    const double groups = (double)geometry->groups, count = parts->holds_out ? 2 : 1;
    const double slots = k <= MOST_COLUMNS_AT_ONCE ? (double)threads : 1;
    const bool has_few = geometry->groups == 1 && positions < geometry->cols;
    const double slab =
        (double)(LDNQ_GRAM_SLAB * sizeof(float)) * k * (geometry->groups > 1 ? (double)threads : 1);
    const bool is_low_rank = parts->takes_low_rank && ldnq_is_low_rank(geometry, positions);
    /* The matrices of both parts or of all. */
    const double stored = (double)(sizeof(float) * positions) * 2 * k;
    const double gram = is_low_rank ? stored : sizeof(double) * groups * k * k;
    const double cross =
        parts->compensates && !is_low_rank ? sizeof(double) * groups * rows * k : 0;
    /* The trial of each damping of the compensation has a factor, a change and a product. */
    const double trial =
        has_few ? (double)positions * ((double)positions + rows) : slots * (k * k + 2 * rows * k);
    /* The positions themselves, and their copies without means. */
    const double few =
        has_few && parts->compensates ? 2 * sizeof(float) * (double)positions * (k + rows) : 0;
    if (parts->uses_input && !has_few)
        return count_bytes_by_input(geometry, parts, solvers);
    const double choice = fmax(parts->compensates ? sizeof(double) * trial : 0, solvers->quick);
    /* Packed sums are there before anything is chosen, of one part at a time where they are in
     * files. */
    const double packed = gram / 2 + cross;
    const double tree = is_low_rank ? 0
                                    : (packed > (double)parts->sum_heap_bytes ? 1 : count) *
                                          ldnq_sum_tree_count_bytes(packed, parts->sum_heap_bytes);
    const double held_out = is_low_rank ? 0 : (count - 1) * (gram + cross);
    return (parts->compensates ? 2 : 1) * slab + gram + cross + few +
           fmax(held_out + fmax(choice, tree), solvers->asked);
}

enum ldnq_status ldnq_layer_moments_choose_strength(struct ldnq_layer_moments *moments,
                                                    bool centred,
                                                    struct ldnq_compensation_strength *strength,
                                                    struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    *strength = (struct ldnq_compensation_strength){ 0, LDNQ_COMPENSATION_DAMPING, NAN };
    if (!moments->held_out_arena || moments->statistics.positions == 0 ||
        moments->held_out_statistics.positions == 0 || moments->statistics.geometry.cols == 0)
        return LDNQ_OK;
    /* There is nothing to compensate in the first layer: it needs no factorization of C. */
    if (!has_upstream_error(&moments->compensation) ||
        !has_upstream_error(&moments->held_out_compensation))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status =
        choose_compensation_strength(moments, centred, strength, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

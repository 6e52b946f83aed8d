/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/descent.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"
#include "quant/blocks.h"
#include "quant/gram_product.h"
#include "quant/low_rank_descent.h"
#include "quant/problem.h"
#include "quant/project.h"

/* Relative change of a block's scale that needs no further sweep. */
#define SMALL_CHANGE 1e-4

/* Columns that are tested together for a code that has to change. */
#define TILE 16

struct descent_row {
    double qw, qq; /* q'Hw, q'Hq */
    bool changed;
};

struct descent {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    int8_t *codes;
    float *scales;
    size_t k, row_count, pieces; /* K, G M, pieces of rows */
    bool is_per_row;             /* each row has scales of its own */
    const double *target;        /* (G M, K) H w */
    double *slope;               /* (G M, K) H (a q - w) */
    double *work;                /* (G M, K) */
    struct ldnq_blocks blocks;
    double *product;    /* (G M, K) with blocks */
    double *changes;    /* (G M, S) with blocks */
    double *curvatures; /* (G M, S) with blocks: q_s'H q_s, or NAN where codes have changed */
    double *errors;     /* (G M) */
    struct descent_row *rows;
    double *scratch;               /* (threads, 3, K) */
    double above[256], below[256]; /* limits of a step, by code, from INT8_MIN on */
};

/* ---- a sweep over the columns of a row --------------------------------------------- */

/* Per column of a row: slope * unit is the best step of the code; steps beyond above or
 * below change the code. */
struct step_limits {
    double *unit, *above, *below; /* (K) */
};

static struct step_limits find_thread_limits(const struct descent *d, size_t thread)
{
    double *at = d->scratch + thread * 3 * d->k;
    return (struct step_limits){ at, at + d->k, at + 2 * d->k };
}

/* A step past the midpoint to a neighbouring code changes the code. */
static void set_step_limits(const struct descent *d, const struct step_limits *limits, size_t col,
                            int8_t code)
{
    const size_t at = (size_t)(code - INT8_MIN);
    limits->above[col] = d->above[at];
    limits->below[col] = d->below[at];
}

/* A column without curvature takes no steps, and neither does a code that has to be 0. */
static void set_row_limits(const struct descent *d, size_t row, const struct step_limits *limits)
{
    const double *gram = d->problem->gram + row / d->problem->rows * d->k * d->k;
    const int8_t *codes = d->codes + row * d->k;
    for (size_t i = 0; i < d->k; i++) {
        const double curvature = gram[i * d->k + i];
        const double scale = (double)d->scales[ldnq_scale_index(d->problem, row, i)];
        const bool moves = curvature > 0 && !ldnq_is_held_at_zero(d->problem, row * d->k + i);
        limits->unit[i] = moves ? -1 / (scale * curvature) : 0;
        set_step_limits(d, limits, i, codes[i]);
    }
}

LDNQ_MULTIVERSION
static bool exceeds_any_step_limit(size_t n, const double *slope, const double *unit,
                                   const double *above, const double *below)
{
    int any = 0;
    for (size_t i = 0; i < n; i++) {
        const double step = slope[i] * unit[i];
        any |= (step > above[i]) | (step < below[i]);
    }
    return any != 0;
}

LDNQ_MULTIVERSION
static void add_scaled_gram_row(size_t n, double change, const double *gram_row, double *slope)
{
    for (size_t i = 0; i < n; i++)
        slope[i] += change * gram_row[i];
}

/* Sets one code to the best one, the others fixed. Few codes change, so that each change
 * updates the slope at once: a row of H costs less than a product for all. */
static void change_code(const struct descent *d, size_t row, size_t col, double step,
                        const struct step_limits *limits)
{
    int8_t *code = d->codes + row * d->k + col;
    const double *gram = d->problem->gram + row / d->problem->rows * d->k * d->k;
    const int16_t next = ldnq_codebook_find_nearest(d->problem->codebook, *code + step);
    const double scale = (double)d->scales[ldnq_scale_index(d->problem, row, col)];
    if (next == *code)
        return;
    add_scaled_gram_row(d->k, scale * (next - *code), gram + col * d->k, d->slope + row * d->k);
    *code = (int8_t)next;
    if (d->curvatures)
        d->curvatures[ldnq_scale_index(d->problem, row, col)] = NAN;
    set_step_limits(d, limits, col, *code);
    d->rows[row].changed = true;
}

static void sweep_row_columns(const struct descent *d, size_t row, const struct step_limits *limits)
{
    const double *slope = d->slope + row * d->k;
    d->rows[row].changed = false;
    set_row_limits(d, row, limits);
    for (size_t first = 0; first < d->k; first += TILE) {
        const size_t count = ldnq_size_min(TILE, d->k - first);
        if (!exceeds_any_step_limit(count, slope + first, limits->unit + first,
                                    limits->above + first, limits->below + first))
            continue;
        for (size_t i = first; i < first + count; i++) {
            const double step = slope[i] * limits->unit[i];
            if (step > limits->above[i] || step < limits->below[i])
                change_code(d, row, i, step, limits);
        }
    }
}

static void sweep_rows_of_piece(const struct descent *d, const struct ldnq_piece *piece,
                                size_t thread)
{
    const struct step_limits limits = find_thread_limits(d, thread);
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        sweep_row_columns(d, row, &limits);
}

/* ---- scales -------------------------------------------------------------------------- */

/* Computes q'Hw and q'Hq, from H q = (slope + target) / a. */
static void compute_row_quadratic_terms(const struct descent *d, size_t at)
{
    struct descent_row *row = &d->rows[at];
    const int8_t *q = d->codes + at * d->k;
    const double *slope = d->slope + at * d->k, *target = d->target + at * d->k;
    double qs = 0, qw = 0;
    for (size_t i = 0; i < d->k; i++) {
        qs += q[i] * slope[i];
        qw += q[i] * target[i];
    }
    row->qw = qw;
    row->qq = (qs + qw) / (double)d->scales[at];
}

/* Changes a row's scale; the slope is linear in it. */
static void change_row_scale(const struct descent *d, size_t at, float scale)
{
    const double ratio = (double)scale / (double)d->scales[at];
    double *slope = d->slope + at * d->k;
    const double *target = d->target + at * d->k;
    for (size_t i = 0; i < d->k; i++)
        slope[i] = ratio * (slope[i] + target[i]) - target[i];
    d->scales[at] = scale;
}

/* ---- scales of blocks ---------------------------------------------------------------- */

/* Returns q_s'H q_s of a block. */
static double compute_curvature(const struct descent *d, const double *gram, size_t row, size_t s)
{
    const uint32_t *order = d->blocks.order;
    const int8_t *q = d->codes + row * d->k;
    double curvature = 0;
    for (size_t i = d->blocks.first[s]; i < d->blocks.first[s + 1]; i++) {
        const size_t at = order[i];
        double sum = 0;
        for (size_t j = d->blocks.first[s]; q[at] && j < d->blocks.first[s + 1]; j++)
            sum += gram[at * d->k + order[j]] * q[order[j]];
        curvature += q[at] * sum;
    }
    return curvature;
}

/* The best change of a block's scale while the others are fixed: -(q_s'slope) / (q_s'H q_s), whose
 * divisor is known until a code of the block changes. */
static double find_block_change(const struct descent *d, const double *gram, size_t row, size_t s)
{
    const int8_t *q = d->codes + row * d->k;
    double *curvature = &d->curvatures[row * d->problem->block_count + s], slope = 0;
    if (isnan(*curvature))
        *curvature = compute_curvature(d, gram, row, s);
    for (size_t i = d->blocks.first[s]; i < d->blocks.first[s + 1]; i++) {
        const size_t at = d->blocks.order[i];
        slope += q[at] * d->slope[row * d->k + at];
    }
    return *curvature > 0 ? -slope / *curvature : 0;
}

/* The best step along p = change_s q_s, limited so that no scale shrinks or grows more than
 * tenfold at once, which keeps scales positive. */
static double find_step_length(const struct descent *d, size_t row, const double *p,
                               const double *hp)
{
    const size_t block_count = d->problem->block_count;
    double slope = 0, curvature = 0;
    for (size_t i = 0; i < d->k; i++) {
        slope += p[i] * d->slope[row * d->k + i];
        curvature += p[i] * hp[i];
    }
    double length = curvature > 0 && slope < 0 ? -slope / curvature : 0;
    for (size_t s = row * block_count; s < (row + 1) * block_count; s++) {
        const double most = (d->changes[s] < 0 ? 0.9 : 9) * (double)d->scales[s];
        if (length * fabs(d->changes[s]) > most)
            length = most / fabs(d->changes[s]);
    }
    return length;
}

/* Writes a q - w of a row to `work`. */
static void load_difference(const struct descent *d, size_t row)
{
    for (size_t i = row * d->k; i < (row + 1) * d->k; i++)
        d->work[i] =
            (double)d->scales[ldnq_scale_index(d->problem, row, i - row * d->k)] * d->codes[i] -
            (double)d->problem->weight[i];
}

/* Recomputes the slope of a piece. */
static void recompute_slope(const struct descent *d, const struct ldnq_piece *piece)
{
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        load_difference(d, row);
    ldnq_multiply_by_gram(d->problem, piece->group, piece->rows, d->work + piece->offset * d->k,
                          d->slope + piece->offset * d->k);
}

static double compute_row_error(const struct descent *d, size_t row)
{
    double error = 0;
    load_difference(d, row);
    for (size_t i = row * d->k; i < (row + 1) * d->k; i++)
        error += d->work[i] * d->slope[i];
    return error > 0 ? error : 0;
}

/* One step of steepest descent on the scales of each row, preconditioned by what each block
 * would do alone. Returns whether any scale changed by more than SMALL_CHANGE. */
static bool step_block_scales(const struct descent *d, const struct ldnq_piece *piece)
{
    const size_t k = d->k, block_count = d->problem->block_count, end = piece->offset + piece->rows;
    const double *gram = d->problem->gram + piece->group * k * k;
    for (size_t row = piece->offset; row < end; row++) {
        for (size_t s = 0; s < block_count; s++)
            d->changes[row * block_count + s] = find_block_change(d, gram, row, s);
        for (size_t i = 0; i < k; i++)
            d->work[row * k + i] =
                d->changes[ldnq_scale_index(d->problem, row, i)] * d->codes[row * k + i];
    }
    ldnq_multiply_by_gram(d->problem, piece->group, piece->rows, d->work + piece->offset * k,
                          d->product + piece->offset * k);
    bool is_large = false;
    for (size_t row = piece->offset; row < end; row++) {
        const double *hp = d->product + row * k;
        const double length = find_step_length(d, row, d->work + row * k, hp);
        for (size_t i = 0; i < k; i++)
            d->slope[row * k + i] += length * hp[i];
        for (size_t s = row * block_count; s < (row + 1) * block_count; s++) {
            const double scale = (double)d->scales[s], change = length * d->changes[s];
            is_large = is_large || fabs(change) > SMALL_CHANGE * scale;
            d->scales[s] = ldnq_scale_or_default(scale + change, d->scales[s]);
        }
    }
    return is_large;
}

/* ---- sweeps and scales alternately ------------------------------------------------------ */

static void compute_piece_slope(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    recompute_slope(d, &piece);
}

/* A row with one scale is independent: it converges before the next row starts. */
static void descend_row(const struct descent *d, size_t row, const struct step_limits *limits)
{
    d->rows[row].changed = true;
    for (int sweep = 0; d->rows[row].changed && sweep < LDNQ_DESCENT_SWEEPS; sweep++) {
        if (!d->problem->scale_format) {
            compute_row_quadratic_terms(d, row);
            change_row_scale(
                d, row, ldnq_compute_best_scale(d->rows[row].qw, d->rows[row].qq, d->scales[row]));
        }
        sweep_row_columns(d, row, limits);
    }
}

static void descend_blocks(const struct descent *d, const struct ldnq_piece *piece, size_t thread)
{
    bool goes_on = true;
    for (int sweep = 0; goes_on && sweep < LDNQ_DESCENT_SWEEPS; sweep++) {
        goes_on = !d->problem->scale_format && step_block_scales(d, piece);
        sweep_rows_of_piece(d, piece, thread);
        for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
            goes_on = goes_on || d->rows[row].changed;
    }
}

/* Descends on the rows of a piece, each with scales of its own. */
static void descend_piece(void *ctx, size_t chunk, size_t thread)
{
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    const struct step_limits limits = find_thread_limits(d, thread);
    if (d->problem->block_index) {
        descend_blocks(d, &piece, thread);
        return;
    }
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        descend_row(d, row, &limits);
}

static void compute_quadratic_terms_of_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        compute_row_quadratic_terms(d, row);
}

static void sweep_tensor_piece(void *ctx, size_t chunk, size_t thread)
{
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    for (size_t row = piece.offset; !d->problem->scale_format && row < piece.offset + piece.rows;
         row++)
        change_row_scale(d, row,
                         ldnq_compute_best_scale(d->rows[0].qw, d->rows[0].qq, d->scales[row]));
    sweep_rows_of_piece(d, &piece, thread);
}

/* Descends with one scale for all rows; its sums are gathered in rows[0]. */
static void descend_tensor(struct descent *d)
{
    bool goes_on = d->row_count > 0;
    for (int sweep = 0; goes_on && sweep < LDNQ_DESCENT_SWEEPS; sweep++) {
        goes_on = false;
        ldnq_pool_run(d->pool, d->pieces, compute_quadratic_terms_of_piece, d);
        for (size_t row = 1; row < d->row_count; row++) {
            d->rows[0].qw += d->rows[row].qw;
            d->rows[0].qq += d->rows[row].qq;
        }
        ldnq_pool_run(d->pool, d->pieces, sweep_tensor_piece, d);
        for (size_t row = 0; row < d->row_count; row++)
            goes_on = goes_on || d->rows[row].changed;
    }
}

static enum ldnq_status allocate_blocks(struct descent *d, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_blocks_init(d->problem, &d->blocks, arena, err));
    const size_t scales = d->row_count * d->problem->block_count;
    d->product = ldnq_arena_alloc(arena, d->row_count * d->k, sizeof *d->product, err);
    d->changes = ldnq_arena_alloc(arena, scales, sizeof *d->changes, err);
    d->curvatures = ldnq_arena_alloc(arena, scales, sizeof *d->curvatures, err);
    if (!d->product || !d->changes || !d->curvatures)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < scales; i++)
        d->curvatures[i] = NAN;
    return LDNQ_OK;
}

/* With blocks the slope does not include the rounding of scales to float32: it is computed
 * again. */
static void compute_row_errors_of_piece(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent *d = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(d->problem, chunk);
    if (d->problem->block_index && d->k > 0)
        recompute_slope(d, &piece);
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
        d->errors[row] = compute_row_error(d, row);
}

static void init_limits(struct descent *d)
{
    const struct ldnq_codebook *book = d->problem->codebook;
    for (size_t i = 0; i < book->count; i++) {
        const size_t at = (size_t)(book->codes[i] - INT8_MIN);
        const bool is_last = i + 1 == book->count;
        d->above[at] = is_last ? INFINITY : 0.5 * (book->codes[i + 1] - book->codes[i]);
        d->below[at] = i == 0 ? -INFINITY : -0.5 * (book->codes[i] - book->codes[i - 1]);
    }
}

/* Each rank has the slopes of its own pieces. */
static void descend_rows(struct descent *d)
{
    const size_t scales = ldnq_scales_per_row(d->problem);
    if (d->row_count * d->k > 0) {
        ldnq_run_pieces(d->problem, d->pool, compute_piece_slope, d);
        ldnq_run_pieces(d->problem, d->pool, descend_piece, d);
    }
    ldnq_run_pieces(d->problem, d->pool, compute_row_errors_of_piece, d);
    ldnq_exchange_rows(d->problem, d->pool, d->codes, d->k);
    ldnq_exchange_rows(d->problem, d->pool, d->scales, scales * sizeof *d->scales);
    ldnq_exchange_rows(d->problem, d->pool, d->errors, sizeof *d->errors);
}

static enum ldnq_status allocate_and_run_descent(struct descent *d, struct ldnq_arena *arena,
                                                 struct ldnq_error *err)
{
    const size_t elements = d->row_count * d->k;
    d->slope = ldnq_arena_alloc(arena, elements, sizeof *d->slope, err);
    d->work = ldnq_arena_alloc(arena, elements, sizeof *d->work, err);
    d->rows = ldnq_arena_alloc(arena, d->row_count, sizeof *d->rows, err);
    d->scratch =
        ldnq_arena_alloc(arena, ldnq_pool_threads(d->pool) * 3 * d->k, sizeof *d->scratch, err);
    if (!d->slope || !d->work || !d->rows || !d->scratch)
        return LDNQ_NOMEM;
    init_limits(d);
    if (d->problem->block_index)
        LDNQ_TRY(allocate_blocks(d, arena, err));
    if (d->is_per_row) {
        descend_rows(d);
        return LDNQ_OK;
    }
    if (elements > 0) {
        ldnq_pool_run(d->pool, d->pieces, compute_piece_slope, d);
        descend_tensor(d);
    }
    ldnq_pool_run(d->pool, d->pieces, compute_row_errors_of_piece, d);
    return LDNQ_OK;
}

enum ldnq_status ldnq_run_coordinate_descent(const struct ldnq_layer_problem *problem,
                                             const double *target, struct ldnq_pool *pool,
                                             int8_t *codes, float *scales, double *errors,
                                             struct ldnq_error *err)
{
    struct descent descent = {
        .problem = problem,
        .target = target,
        .pool = pool,
        .codes = codes,
        .scales = scales,
        .k = problem->cols,
        .row_count = problem->groups * problem->rows,
        .pieces = ldnq_piece_count(problem),
        .is_per_row = problem->granularity != LDNQ_PER_TENSOR,
        .errors = errors,
    };
    struct ldnq_arena *arena;
    if (problem->low_rank) {
        const struct ldnq_choice choice = { codes, scales, NULL };
        LDNQ_TRY(ldnq_run_low_rank_descent(problem, pool, codes, scales, err));
        ldnq_compute_total_error(problem, pool, &choice, errors);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = allocate_and_run_descent(&descent, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- W H ----------------------------------------------------------------------------- */

struct descent_target {
    const struct ldnq_layer_problem *problem;
    double *weight, *target;
};

static void compute_piece_target(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct descent_target *t = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(t->problem, chunk);
    const size_t k = t->problem->cols, at = piece.offset * k;
    for (size_t i = at; i < at + piece.rows * k; i++)
        t->weight[i] = (double)t->problem->weight[i];
    ldnq_multiply_by_gram(t->problem, piece.group, piece.rows, t->weight + at, t->target + at);
}

enum ldnq_status ldnq_compute_descent_target(const struct ldnq_layer_problem *problem,
                                             struct ldnq_pool *pool, double *target,
                                             struct ldnq_error *err)
{
    struct descent_target targets = { problem, NULL, target };
    struct ldnq_arena *arena;
    if (problem->low_rank)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const size_t count = problem->groups * problem->rows * problem->cols;
    targets.weight = ldnq_arena_alloc(arena, count, sizeof *targets.weight, err);
    if (targets.weight && problem->granularity == LDNQ_PER_TENSOR)
        ldnq_pool_run(pool, ldnq_piece_count(problem), compute_piece_target, &targets);
    else if (targets.weight)
        ldnq_run_pieces(problem, pool, compute_piece_target, &targets);
    ldnq_arena_destroy(arena);
    return targets.weight ? LDNQ_OK : LDNQ_NOMEM;
}

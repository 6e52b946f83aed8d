/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/descent.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/blocks.h"
#include "quant/gram_product.h"
#include "quant/low_rank_descent.h"
#include "quant/problem.h"
#include "quant/project.h"

/* Relative change of a block's scale that needs no further sweep. */
#define SMALL_CHANGE 1e-4

/* Columns that are tested together for a code that has to change. */
#define TILE 16

/* Rows whose products with the matrix are computed together. */
#define BLOCK_ROWS ((size_t)8)
/* Columns of a block per product. */
#define BLOCK_COLS ((size_t)32)

struct descent_row {
    double qw, qq; /* q'Hw, q'Hq */
    bool changed;
};

/* What a thread knows of BLOCK_ROWS rows with scales of blocks. With q_s the codes of a block, and
 * 0 elsewhere, the products H q_s turn a step of all scales into S K multiplications, for K K. */
struct block_workspace {
    float *products;           /* (BLOCK_ROWS, S, K) H q_s */
    float *panel, *codes;      /* (BLOCK_COLS, K), (BLOCK_ROWS, BLOCK_COLS) */
    double *changes, *product; /* (S) of the scales of a row; (K) of H and a step */
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
    struct block_workspace *block_workspaces; /* one per thread, with blocks */
    double *errors;                           /* (G M) */
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

LDNQ_MULTIVERSION
static void add_scaled_gram_row_to_product(size_t n, double change, const double *gram_row,
                                           float *product)
{
    for (size_t i = 0; i < n; i++)
        product[i] += (float)(change * gram_row[i]);
}

/* Sets one code to the best one, the others fixed. Few codes change, so that each change
 * updates the slope at once: a row of H costs less than a product for all. */
static void change_code(const struct descent *d, size_t row, size_t col, double step,
                        const struct step_limits *limits, float *products)
{
    int8_t *code = d->codes + row * d->k + col;
    const double *gram = d->problem->gram + row / d->problem->rows * d->k * d->k;
    const int16_t next = ldnq_codebook_find_nearest(d->problem->codebook, *code + step);
    const double scale = (double)d->scales[ldnq_scale_index(d->problem, row, col)];
    if (next == *code)
        return;
    add_scaled_gram_row(d->k, scale * (next - *code), gram + col * d->k, d->slope + row * d->k);
    if (products)
        add_scaled_gram_row_to_product(d->k, next - *code, gram + col * d->k,
                                       products + d->problem->block_index[col] * d->k);
    *code = (int8_t)next;
    set_step_limits(d, limits, col, *code);
    d->rows[row].changed = true;
}

/* `products` (S, K) follow the codes of a row with blocks; NULL: there are none. */
static void sweep_row_columns(const struct descent *d, size_t row, const struct step_limits *limits,
                              float *products)
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
                change_code(d, row, i, step, limits, products);
        }
    }
}

static void sweep_rows_of_piece(const struct descent *d, const struct ldnq_piece *piece,
                                size_t thread)
{
    const struct step_limits limits = find_thread_limits(d, thread);
    for (size_t row = piece->offset; row < piece->offset + piece->rows; row++)
        sweep_row_columns(d, row, &limits, NULL);
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

LDNQ_MULTIVERSION
static void convert_to_floats(size_t n, const double *from, float *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)from[i];
}

/* Writes H q_s of all blocks of the rows first .. first+rows-1 of a group. */
static void compute_block_products(const struct descent *d, size_t first, size_t rows,
                                   const struct block_workspace *workspace)
{
    const size_t k = d->k, block_count = d->problem->block_count;
    const double *gram = d->problem->gram + first / d->problem->rows * k * k;
    for (size_t s = 0; s < block_count; s++)
        for (size_t at = d->blocks.first[s]; at < d->blocks.first[s + 1]; at += BLOCK_COLS) {
            const uint32_t *order = d->blocks.order + at;
            const size_t count = ldnq_size_min(BLOCK_COLS, d->blocks.first[s + 1] - at);
            for (size_t i = 0; i < count; i++) {
                convert_to_floats(k, gram + order[i] * k, workspace->panel + i * k);
                for (size_t r = 0; r < rows; r++)
                    workspace->codes[r * BLOCK_COLS + i] = d->codes[(first + r) * k + order[i]];
            }
            ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, k, count, 1, workspace->codes, BLOCK_COLS,
                       workspace->panel, k, at > d->blocks.first[s], workspace->products + s * k,
                       block_count * k);
        }
}

LDNQ_MULTIVERSION
static void add_scaled_product(size_t n, double change, const float *product, double *sum)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += change * (double)product[i];
}

/* Finds the best change of each block's scale while the others are fixed, -(q_s'slope) / (q_s'H
 * q_s), and H times the step to all of them. */
static void find_block_changes(const struct descent *d, size_t row, const float *products,
                               const struct block_workspace *workspace)
{
    const int8_t *q = d->codes + row * d->k;
    memset(workspace->product, 0, d->k * sizeof *workspace->product);
    for (size_t s = 0; s < d->problem->block_count; s++) {
        const float *product = products + s * d->k;
        double slope = 0, curvature = 0;
        for (size_t i = d->blocks.first[s]; i < d->blocks.first[s + 1]; i++) {
            const size_t at = d->blocks.order[i];
            slope += q[at] * d->slope[row * d->k + at];
            curvature += q[at] * (double)product[at];
        }
        workspace->changes[s] = curvature > 0 ? -slope / curvature : 0;
        add_scaled_product(d->k, workspace->changes[s], product, workspace->product);
    }
}

/* The best step along p = change_s q_s, limited so that no scale shrinks or grows more than
 * tenfold at once, which keeps scales positive. */
static double find_step_length(const struct descent *d, size_t row,
                               const struct block_workspace *workspace)
{
    const size_t block_count = d->problem->block_count;
    double slope = 0, curvature = 0;
    for (size_t i = 0; i < d->k; i++) {
        const double p = workspace->changes[d->problem->block_index[i]] * d->codes[row * d->k + i];
        slope += p * d->slope[row * d->k + i];
        curvature += p * workspace->product[i];
    }
    double length = curvature > 0 && slope < 0 ? -slope / curvature : 0;
    for (size_t s = 0; s < block_count; s++) {
        const double change = workspace->changes[s];
        const double most = (change < 0 ? 0.9 : 9) * (double)d->scales[row * block_count + s];
        if (length * fabs(change) > most)
            length = most / fabs(change);
    }
    return length;
}

/* One step of steepest descent on the scales of a row, preconditioned by what each block would do
 * alone. Returns whether any scale changed by more than SMALL_CHANGE. */
static bool step_block_scales(const struct descent *d, size_t row, const float *products,
                              const struct block_workspace *workspace)
{
    const size_t block_count = d->problem->block_count;
    bool is_large = false;
    find_block_changes(d, row, products, workspace);
    const double length = find_step_length(d, row, workspace);
    for (size_t i = 0; i < d->k; i++)
        d->slope[row * d->k + i] += length * workspace->product[i];
    for (size_t s = 0; s < block_count; s++) {
        float *at = &d->scales[row * block_count + s];
        const double scale = (double)*at, change = length * workspace->changes[s];
        is_large = is_large || fabs(change) > SMALL_CHANGE * scale;
        *at = ldnq_scale_or_default(scale + change, *at);
    }
    return is_large;
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
        sweep_row_columns(d, row, limits, NULL);
    }
}

static void descend_row_with_blocks(const struct descent *d, size_t row,
                                    const struct step_limits *limits, float *products,
                                    const struct block_workspace *workspace)
{
    bool goes_on = true;
    for (int sweep = 0; goes_on && sweep < LDNQ_DESCENT_SWEEPS; sweep++) {
        goes_on = products && step_block_scales(d, row, products, workspace);
        sweep_row_columns(d, row, limits, products);
        goes_on = goes_on || d->rows[row].changed;
    }
}

static void descend_blocks(const struct descent *d, const struct ldnq_piece *piece, size_t thread)
{
    const struct step_limits limits = find_thread_limits(d, thread);
    const struct block_workspace *workspace = &d->block_workspaces[thread];
    const size_t end = piece->offset + piece->rows, stride = d->problem->block_count * d->k;
    for (size_t first = piece->offset; first < end; first += BLOCK_ROWS) {
        const size_t rows = ldnq_size_min(BLOCK_ROWS, end - first);
        const bool moves_scales = !d->problem->scale_format;
        if (moves_scales)
            compute_block_products(d, first, rows, workspace);
        for (size_t r = 0; r < rows; r++)
            descend_row_with_blocks(d, first + r, &limits,
                                    moves_scales ? workspace->products + r * stride : NULL,
                                    workspace);
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
    const size_t threads = ldnq_pool_threads(d->pool), s = d->problem->block_count;
    d->block_workspaces = ldnq_arena_alloc(arena, threads, sizeof *d->block_workspaces, err);
    for (size_t t = 0; d->block_workspaces && t < threads; t++) {
        struct block_workspace *workspace = &d->block_workspaces[t];
#define NEW(member, n)                                                                             \
    (workspace->member = ldnq_arena_alloc(arena, n, sizeof *workspace->member, err))
        if (!NEW(products, d->problem->scale_format ? 0 : BLOCK_ROWS * s * d->k) ||
            !NEW(panel, BLOCK_COLS * d->k) || !NEW(codes, BLOCK_ROWS * BLOCK_COLS) ||
            !NEW(changes, s) || !NEW(product, d->k))
            return LDNQ_NOMEM;
#undef NEW
    }
    return d->block_workspaces ? LDNQ_OK : LDNQ_NOMEM;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/input_error.h"

#include <string.h>

#include "base/pool.h"
#include "base/ranks.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "linalg/gram.h"
#include "pipeline/error_compensation.h"
#include "pipeline/stored_changes.h"

/* Edge of the tiles of a sum of products, which one task computes. */
#define TILE ((size_t)96)
/* Rows per chunk of work in products of whole matrices. */
#define ROWS ((size_t)64)
/* Rows of a weight that are widened to double at once. */
#define WEIGHT_ROWS ((size_t)256)

enum ldnq_status ldnq_input_error_init(struct ldnq_input_error *error, size_t cols,
                                       struct ldnq_pool *pool, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    const size_t threads = ldnq_pool_threads(pool);
    *error = (struct ldnq_input_error){ .cols = cols, .pool = pool };
    error->cross = ldnq_arena_alloc(arena, cols, cols * sizeof *error->cross, err);
    error->sum = ldnq_arena_alloc(arena, cols, sizeof *error->sum, err);
    error->scratch = ldnq_arena_alloc(arena, threads, TILE * TILE * sizeof *error->scratch, err);
    return error->cross && error->sum && error->scratch ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_input_error_add_square(struct ldnq_input_error *error,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    error->square = ldnq_arena_alloc(arena, error->cols, error->cols * sizeof *error->square, err);
    return error->square ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- sums over positions -------------------------------------------------------------------- */

/* A product of two slabs (K, LDNQ_GRAM_SLAB) whose tiles are added to `sums`. */
struct tile_task {
    size_t cols, count;
    const float *left, *right;
    bool is_upper; /* tiles below the diagonal are left out */
    double *sums;
    float *scratch;
};

static void add_tile(void *ctx, size_t chunk, size_t thread)
{
    const struct tile_task *task = ctx;
    const size_t k = task->cols, side = ldnq_size_ceil_div(k, TILE);
    const size_t row = chunk / side * TILE, column = chunk % side * TILE;
    if (task->is_upper && column < row)
        return;
    const size_t rows = ldnq_size_min(TILE, k - row), width = ldnq_size_min(TILE, k - column);
    float *product = task->scratch + thread * TILE * TILE;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, width, task->count, 1,
               task->left + row * LDNQ_GRAM_SLAB, LDNQ_GRAM_SLAB,
               task->right + column * LDNQ_GRAM_SLAB, LDNQ_GRAM_SLAB, 0, product, width);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++)
            task->sums[(row + i) * k + column + j] += (double)product[i * width + j];
}

void ldnq_input_error_add(struct ldnq_input_error *error, const float *columns,
                          const float *difference, size_t count)
{
    const size_t side = ldnq_size_ceil_div(error->cols, TILE);
    struct tile_task task = { .cols = error->cols,
                              .count = count,
                              .left = difference,
                              .right = columns,
                              .sums = error->cross,
                              .scratch = error->scratch };
    ldnq_pool_run(error->pool, side * side, add_tile, &task);
    for (size_t i = 0; i < error->cols; i++)
        for (size_t p = 0; p < count; p++)
            error->sum[i] += (double)difference[i * LDNQ_GRAM_SLAB + p];
    if (!error->square)
        return;
    task.right = difference;
    task.is_upper = true;
    task.sums = error->square;
    ldnq_pool_run(error->pool, side * side, add_tile, &task);
}

void ldnq_input_error_merge(struct ldnq_input_error *error, const struct ldnq_input_error *other)
{
    for (size_t i = 0; i < error->cols * error->cols; i++)
        error->cross[i] += other->cross[i];
    for (size_t i = 0; i < error->cols; i++)
        error->sum[i] += other->sum[i];
}

void ldnq_input_error_copy(struct ldnq_input_error *error, const struct ldnq_input_error *from)
{
    const size_t squares = from->cols * from->cols;
    memcpy(error->cross, from->cross, squares * sizeof *error->cross);
    memcpy(error->sum, from->sum, from->cols * sizeof *error->sum);
    if (from->square)
        memcpy(error->square, from->square, squares * sizeof *error->square);
}

bool ldnq_input_error_is_zero(const struct ldnq_input_error *error)
{
    for (size_t i = 0; i < error->cols * error->cols; i++)
        if (error->cross[i] != 0)
            return false;
    return true;
}

/* ---- products with the weight --------------------------------------------------------------- */

struct weight_task {
    const float *weight;
    size_t cols, first, count; /* rows of the weight */
    double *rows;              /* them in double */
    const double *matrix;
    double *out;
};

static void widen_row(void *ctx, size_t row, size_t thread)
{
    (void)thread;
    const struct weight_task *task = ctx;
    const float *from = task->weight + (task->first + row) * task->cols;
    double *to = task->rows + row * task->cols;
    for (size_t i = 0; i < task->cols; i++)
        to[i] = (double)from[i];
}

/* Rows of G from the diagonal on. */
static void add_gram_rows(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct weight_task *task = ctx;
    const size_t k = task->cols, row = chunk * TILE;
    ldnq_dgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, ldnq_size_min(TILE, k - row), k - row, task->count, 1,
               task->rows + row, k, task->rows + row, k, 1, task->out + row * k + row, k);
}

static void multiply_widened_rows(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct weight_task *task = ctx;
    const size_t k = task->cols, row = chunk * ROWS;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, ldnq_size_min(ROWS, task->count - row), k, k, 1,
               task->rows + row * k, k, task->matrix, k, 0, task->out + (task->first + row) * k, k);
}

/* Runs `multiply` over the weight, some rows in double at a time. */
static enum ldnq_status visit_weight(struct weight_task *task, size_t rows, struct ldnq_pool *pool,
                                     ldnq_chunk_fn *multiply, size_t chunk_cols,
                                     struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    task->rows = ldnq_arena_alloc(arena, WEIGHT_ROWS, task->cols * sizeof *task->rows, err);
    for (task->first = 0; task->rows && task->first < rows; task->first += task->count) {
        task->count = ldnq_size_min(WEIGHT_ROWS, rows - task->first);
        ldnq_pool_run(pool, task->count, widen_row, task);
        ldnq_pool_run(pool,
                      chunk_cols ? ldnq_size_ceil_div(task->cols, chunk_cols)
                                 : ldnq_size_ceil_div(task->count, ROWS),
                      multiply, task);
    }
    ldnq_arena_destroy(arena);
    return task->rows ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_multiply_weight_by_itself(const float *weight, size_t rows, size_t cols,
                                                struct ldnq_pool *pool, double *gram,
                                                struct ldnq_error *err)
{
    struct weight_task task = { .weight = weight, .cols = cols, .out = gram };
    memset(gram, 0, cols * cols * sizeof *gram);
    LDNQ_TRY(visit_weight(&task, rows, pool, add_gram_rows, TILE, err));
    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j < i; j++)
            gram[i * cols + j] = gram[j * cols + i];
    return LDNQ_OK;
}

enum ldnq_status ldnq_multiply_rows(const float *weight, size_t rows, size_t cols,
                                    const double *matrix, struct ldnq_pool *pool, double *out,
                                    struct ldnq_error *err)
{
    struct weight_task task = { .weight = weight, .cols = cols, .matrix = matrix, .out = out };
    return visit_weight(&task, rows, pool, multiply_widened_rows, 0, err);
}

double ldnq_input_error_sum_power(const struct ldnq_input_error *error, const double *gram)
{
    const size_t k = error->cols;
    double sum = 0;
    for (size_t i = 0; i < k; i++) {
        const double *g = gram + i * k, *square = error->square + i * k;
        double row = 0;
        for (size_t j = i + 1; j < k; j++)
            row += g[j] * square[j];
        sum += g[i] * square[i] + 2 * row;
    }
    return sum;
}

/* ---- Z -------------------------------------------------------------------------------------- */

struct solve_task {
    const struct ldnq_input_error *error;
    const struct ldnq_statistics *statistics;
    bool centred;
    const double *factor;
    double *z;
};

static void solve_rows_of_z(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct solve_task *task = ctx;
    const size_t k = task->error->cols, first = chunk * ROWS;
    const size_t last = ldnq_size_min(first + ROWS, k);
    const double all = (double)task->statistics->positions, *sum = task->statistics->mean;
    for (size_t i = first; i < last; i++) {
        const double shift = task->centred ? task->error->sum[i] / all : 0;
        for (size_t j = 0; j < k; j++)
            task->z[i * k + j] = (task->error->cross[i * k + j] - shift * sum[j]) / all;
    }
    ldnq_cholesky_solve(k, task->factor, last - first, task->z + first * k);
}

bool ldnq_input_error_solve(const struct ldnq_input_error *error,
                            const struct ldnq_statistics *statistics, bool centred, double damping,
                            double *factor, double *z)
{
    struct solve_task task = { error, statistics, centred, factor, z };
    struct ldnq_change_key key = { .damping = damping };
    /* Ranks that share the rows do so all or none: one does not know what others have stored. */
    struct ldnq_stored_changes *stored =
        ldnq_ranks_count(ldnq_pool_ranks(error->pool)) == 1 ? error->stored : NULL;
    if (stored)
        key = ldnq_make_change_key(error, statistics, centred, damping);
    if (ldnq_stored_changes_read(stored, &key, error->cols, z))
        return true;
    if (!ldnq_compensation_factor(statistics, 0, centred, damping, factor))
        return false;
    ldnq_pool_run_share(error->pool, ldnq_size_ceil_div(error->cols, ROWS), solve_rows_of_z, &task);
    ldnq_ranks_allgather_chunks(ldnq_pool_ranks(error->pool), z, error->cols, ROWS,
                                error->cols * sizeof *z);
    ldnq_stored_changes_add(stored, &key, error->cols, z);
    return true;
}

/* ---- the effect on the held-out part -------------------------------------------------------- */

struct effect_task {
    const struct ldnq_input_error_parts *parts;
    double *z, *product; /* Z and G Z */
    double *rows;        /* (ROWS, K) per thread */
    double *sums;        /* one per chunk */
};

static double sum_products(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Rows of G Z, and their part of <G Z, D>. */
static void add_cross_effect(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct effect_task *task = ctx;
    const size_t k = task->parts->held_out->cols, first = chunk * ROWS;
    const size_t count = ldnq_size_min(ROWS, k - first);
    double *product = task->product + first * k;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, count, k, k, 1, task->parts->gram + first * k, k, task->z, k,
               0, product, k);
    task->sums[chunk] = sum_products(product, task->parts->held_out->cross + first * k, count * k);
}

/* Rows of Z' G Z, and their part of <Z' G Z, C>. */
static void add_square_effect(void *ctx, size_t chunk, size_t thread)
{
    const struct effect_task *task = ctx;
    const size_t k = task->parts->held_out->cols, first = chunk * ROWS;
    const size_t count = ldnq_size_min(ROWS, k - first);
    double *rows = task->rows + thread * ROWS * k;
    ldnq_dgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, count, k, k, 1, task->z + first, k, task->product, k, 0,
               rows, k);
    task->sums[chunk] =
        sum_products(rows, task->parts->held_out_statistics->gram + first * k, count * k);
}

static double run_and_sum(struct effect_task *task, ldnq_chunk_fn *fn)
{
    const struct ldnq_input_error *error = task->parts->held_out;
    const size_t chunks = ldnq_size_ceil_div(error->cols, ROWS);
    double sum = 0;
    ldnq_pool_run(error->pool, chunks, fn, task);
    for (size_t i = 0; i < chunks; i++)
        sum += task->sums[i];
    return sum;
}

/* What the means take away: with v = Z E[y^], v' G v and v' G E[e]. */
static void subtract_means(const struct effect_task *task, struct ldnq_held_out_effect *effect)
{
    const struct ldnq_input_error *held_out = task->parts->held_out;
    const size_t k = held_out->cols;
    const double all = (double)task->parts->held_out_statistics->positions;
    const double *sum = task->parts->held_out_statistics->mean;
    for (size_t i = 0; i < k; i++) {
        /* Row i of G Z E[y^]. */
        const double v = sum_products(task->product + i * k, sum, k) / all;
        effect->x_e -= v * held_out->sum[i] / all;
        effect->x_xc -= v * sum_products(task->z + i * k, sum, k) / all;
    }
}

/* Measures the effects of the dampings that are this rank's own. */
static enum ldnq_status measure_effects(const struct ldnq_input_error_parts *parts,
                                        const double *dampings, struct ldnq_rank_share own,
                                        struct ldnq_held_out_effect *effects,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_input_error *fitted = parts->fitted;
    const size_t k = fitted->cols, threads = ldnq_pool_threads(fitted->pool);
    const double all = (double)parts->held_out_statistics->positions;
    struct effect_task task = { .parts = parts };
    double *factor = ldnq_arena_alloc(arena, k, k * sizeof *factor, err);
    task.z = ldnq_arena_alloc(arena, k, k * sizeof *task.z, err);
    task.rows = ldnq_arena_alloc(arena, threads * ROWS, k * sizeof *task.rows, err);
    task.sums = ldnq_arena_alloc(arena, ldnq_size_ceil_div(k, ROWS), sizeof *task.sums, err);
    if (!factor || !task.z || !task.rows || !task.sums)
        return LDNQ_NOMEM;
    task.product = factor; /* which is read no longer */
    for (size_t i = own.first; i < own.end; i++) {
        if (!ldnq_input_error_solve(fitted, parts->fitted_statistics, parts->centred, dampings[i],
                                    factor, task.z))
            continue;
        effects[i].x_e = run_and_sum(&task, add_cross_effect) / all;
        effects[i].x_xc = run_and_sum(&task, add_square_effect) / all;
        if (parts->centred)
            subtract_means(&task, &effects[i]);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_input_error_measure(const struct ldnq_input_error_parts *parts,
                                          const double *dampings, size_t count,
                                          struct ldnq_held_out_effect *effects,
                                          struct ldnq_error *err)
{
    struct ldnq_pool *pool = parts->fitted->pool;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    struct ldnq_ranks *ranks = ldnq_pool_ranks(pool);
    ldnq_pool_join_ranks(pool, NULL); /* each has work of its own */
    const enum ldnq_status status =
        measure_effects(parts, dampings, ldnq_ranks_own_share(ranks, count), effects, arena, err);
    ldnq_pool_join_ranks(pool, ranks);
    ldnq_arena_destroy(arena);
    LDNQ_TRY(ldnq_ranks_share_first_failure(ranks, status, err));
    return ldnq_ranks_allgather_units(ranks, effects, count, sizeof *effects, err);
}

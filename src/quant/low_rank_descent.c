/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/low_rank_descent.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/ranks.h"
#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/blocks.h"
#include "quant/descent.h"
#include "quant/problem.h"
#include "quant/project.h"
#include "quant/row_loops.h"

#define ROWS ((size_t)64) /* per chunk of work */
#define TILE ((size_t)64) /* columns whose slopes are one product */

/* Relative change of a block's scale that needs no further sweep. */
#define SMALL_CHANGE 1e-4
/* The half step from which a code changes; what is beyond .5 is more than
 * rounding of slopes. */
#define HALF_STEP 0.5001f

struct low_rank_descent {
    const struct ldnq_layer_problem *problem;
    struct ldnq_pool *pool;
    int8_t *codes;
    float *scales;
    size_t k, row_count, positions, block_count; /* K, M, P, S */
    struct ldnq_blocks blocks;
    float *curvature;                     /* (K) H's diagonal; infinite where no code moves */
    float *corners;                       /* (tiles, TILE, TILE) H's diagonal blocks */
    float *errors;                        /* (M, P) (a q - w) Y'; in each chunk the active rows come
                                             first */
    float *outputs;                       /* (M, P) w Y', in the same order; NULL with blocks */
    struct descent_workspace *workspaces; /* one per thread */
    double *qw, *qq;                      /* (M) q'Hw and q'Hq where rows share a scale */
    bool *changed;                        /* (M) */
};

/* A thread's memory. */
struct descent_workspace {
    float slopes[ROWS * TILE], moves[ROWS * TILE];
    float columns[ROWS * TILE]; /* w, a q - w or q of a tile */
    float *product, *step;      /* (ROWS, P) of a block, and of all blocks */
    float *gathered;            /* (TILE, P) columns of a block that are not adjacent */
    double *changes;            /* (ROWS, S) of scales */
    double slope[ROWS], curvature[ROWS];
};

struct descent_chunk {
    size_t first, count; /* all rows of the chunk */
    size_t rows[ROWS];   /* the active ones, in order */
    size_t active;
};

/* ---- products
 * ------------------------------------------------------------------------------
 */

enum loaded { LOAD_WEIGHT, LOAD_DIFFERENCE };

static void load_columns(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                         enum loaded what, size_t first, size_t count, float *to)
{
    for (size_t r = 0; r < chunk->active; r++) {
        const size_t row = chunk->rows[r];
        const float *weight = d->problem->weight + row * d->k + first;
        const int8_t *codes = d->codes + row * d->k + first;
        if (what == LOAD_DIFFERENCE && !d->problem->block_index) {
            ldnq_compute_row_difference(count, (double)d->scales[row], codes, weight,
                                        to + r * TILE);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            const double scale = (double)d->scales[ldnq_scale_index(d->problem, row, first + i)];
            to[r * TILE + i] =
                what == LOAD_WEIGHT ? weight[i] : (float)(scale * codes[i] - (double)weight[i]);
        }
    }
}

/* Writes W Y' or (a q - w) Y' of the active rows. */
static void compute_outputs(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                            enum loaded what, float *columns, float *to)
{
    for (size_t first = 0; first < d->k; first += TILE) {
        const size_t count = ldnq_size_min(TILE, d->k - first);
        load_columns(d, chunk, what, first, count, columns);
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, chunk->active, d->positions, count, 1, columns, TILE,
                   d->problem->low_rank->columns + first * d->positions, d->positions, first > 0,
                   to, d->positions);
    }
}

LDNQ_MULTIVERSION
static void add_scaled(size_t n, float factor, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += factor * x[i];
}

static double dot_product(size_t n, const float *x, const float *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static double get_added(const struct low_rank_descent *d, size_t col)
{
    return d->problem->low_rank->added ? d->problem->low_rank->added[col] : 0;
}

/* ---- codes
 * ----------------------------------------------------------------------------------
 */

LDNQ_MULTIVERSION
static bool exceeds_any_limit(size_t n, const float *slope, const float *limit)
{
    int any = 0;
    for (size_t i = 0; i < n; i++)
        any |= fabsf(slope[i]) > limit[i];
    return any != 0;
}

/* Sets the codes of a tile of a row to the best ones, in order; the slopes of
 * the tile follow each change, and `moves` are the changes of a q. */
static void change_codes(const struct low_rank_descent *d, size_t row, size_t first, size_t count,
                         const float *limits, float *slopes, float *moves)
{
    const float *corner = d->corners + first * TILE;
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(slopes[i]) > limits[i]) ||
            ldnq_is_held_at_zero(d->problem, row * d->k + first + i))
            continue;
        int8_t *code = d->codes + row * d->k + first + i;
        const double scale = (double)d->scales[ldnq_scale_index(d->problem, row, first + i)];
        const double step = -(double)slopes[i] / (scale * (double)d->curvature[first + i]);
        const int16_t next = ldnq_codebook_find_nearest(d->problem->codebook, *code + step);
        if (next == *code)
            continue;
        moves[i] = (float)(scale * (next - *code));
        *code = (int8_t)next;
        d->changed[row] = true;
        add_scaled(count, moves[i], corner + i * TILE, slopes);
    }
}

LDNQ_MULTIVERSION
static void scale_limits(size_t n, float scale, const float *curvature, float *limits)
{
    for (size_t i = 0; i < n; i++)
        limits[i] = HALF_STEP * curvature[i] * scale;
}

/* Sets the slopes from which codes of a tile of a row change. */
static void set_limits(const struct low_rank_descent *d, size_t row, size_t first, size_t count,
                       float *limits)
{
    const float *curvature = d->curvature + first;
    if (!d->problem->block_index) {
        scale_limits(count, d->scales[row], curvature, limits);
        return;
    }
    for (size_t i = 0; i < count; i++)
        limits[i] =
            HALF_STEP * curvature[i] * d->scales[ldnq_scale_index(d->problem, row, first + i)];
}

static void sweep_tile(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                       size_t first, struct descent_workspace *workspace)
{
    const size_t count = ldnq_size_min(TILE, d->k - first), positions = d->positions;
    const float *columns = d->problem->low_rank->columns + first * positions;
    float *errors = d->errors + chunk->first * positions, limits[TILE];
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, chunk->active, count, positions, 1 / (float)positions,
               errors, positions, columns, positions, 0, workspace->slopes, TILE);
    if (d->problem->low_rank->added)
        load_columns(d, chunk, LOAD_DIFFERENCE, first, count, workspace->columns);
    for (size_t r = 0; r < chunk->active; r++) {
        const size_t row = chunk->rows[r];
        float *slopes = workspace->slopes + r * TILE, *moves = workspace->moves + r * TILE;
        set_limits(d, row, first, count, limits);
        if (d->problem->low_rank->added)
            ldnq_add_weighted_difference(count, d->problem->low_rank->added + first,
                                         workspace->columns + r * TILE, slopes);
        if (!exceeds_any_limit(count, slopes, limits))
            continue;
        memset(moves, 0, count * sizeof *moves);
        change_codes(d, row, first, count, limits, slopes, moves);
        for (size_t i = 0; i < count; i++)
            if (moves[i] != 0)
                add_scaled(positions, moves[i], columns + i * positions, errors + r * positions);
    }
}

static void sweep_chunk(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                        struct descent_workspace *workspace)
{
    for (size_t r = 0; r < chunk->active; r++)
        d->changed[chunk->rows[r]] = false;
    for (size_t first = 0; first < d->k; first += TILE)
        sweep_tile(d, chunk, first, workspace);
}

/* ---- one scale
 * ------------------------------------------------------------------------------
 */

/* Computes q'Hw and q'Hq of a row, from q Y' = (errors + outputs) / a. */
static void compute_quadratic_terms(const struct low_rank_descent *d, size_t row,
                                    const float *errors, const float *outputs)
{
    const double scale = (double)d->scales[row], positions = (double)d->positions;
    struct ldnq_output_products products;
    ldnq_sum_output_products(d->positions, errors, outputs, &products);
    d->qw[row] = (products.eo + products.oo) / (scale * positions);
    d->qq[row] = (products.ee + 2 * products.eo + products.oo) / (scale * scale * positions);
    if (d->problem->low_rank->added)
        ldnq_add_weighted_code_products(d->k, d->problem->low_rank->added, d->codes + row * d->k,
                                        d->problem->weight + row * d->k, &d->qw[row], &d->qq[row]);
}

static void change_row_scale(const struct low_rank_descent *d, size_t row, float scale,
                             float *errors, const float *outputs)
{
    ldnq_scale_output_errors(d->positions, (double)scale / (double)d->scales[row], errors, outputs);
    d->scales[row] = scale;
}

static void change_row_scales(const struct low_rank_descent *d, const struct descent_chunk *chunk)
{
    for (size_t r = 0; r < chunk->active; r++) {
        const size_t row = chunk->rows[r], at = (chunk->first + r) * d->positions;
        compute_quadratic_terms(d, row, d->errors + at, d->outputs + at);
        change_row_scale(d, row, ldnq_compute_best_scale(d->qw[row], d->qq[row], d->scales[row]),
                         d->errors + at, d->outputs + at);
    }
}

/* ---- scales of blocks
 * ----------------------------------------------------------------------- */

/* The columns order[at] .. order[at+count-1] of a block as (count, P). */
static const float *find_block_columns(const struct low_rank_descent *d, size_t at, size_t count,
                                       float *gathered)
{
    const uint32_t *order = d->blocks.order + at;
    const float *columns = d->problem->low_rank->columns;
    if (order[count - 1] - order[0] == count - 1)
        return columns + order[0] * d->positions;
    for (size_t i = 0; i < count; i++)
        memcpy(gathered + i * d->positions, columns + order[i] * d->positions,
               d->positions * sizeof *gathered);
    return gathered;
}

/* Writes q Y' of a block to `product`. */
static void multiply_block_codes(const struct low_rank_descent *d,
                                 const struct descent_chunk *chunk, size_t block,
                                 struct descent_workspace *workspace)
{
    const size_t begin = d->blocks.first[block], end = d->blocks.first[block + 1];
    for (size_t at = begin; at < end; at += TILE) {
        const size_t count = ldnq_size_min(TILE, end - at);
        const float *columns = find_block_columns(d, at, count, workspace->gathered);
        for (size_t r = 0; r < chunk->active; r++)
            for (size_t i = 0; i < count; i++)
                workspace->columns[r * TILE + i] =
                    d->codes[chunk->rows[r] * d->k + d->blocks.order[at + i]];
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, chunk->active, d->positions, count, 1,
                   workspace->columns, TILE, columns, d->positions, at > begin, workspace->product,
                   d->positions);
    }
}

/* The best change of a row's scale of the block while the others are fixed,
 * which is added to the row's step. */
static void add_block_change(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                             size_t r, size_t block, struct descent_workspace *workspace)
{
    const size_t row = chunk->rows[r], positions = d->positions;
    const float *product = workspace->product + r * positions;
    const float *errors = d->errors + (chunk->first + r) * positions;
    double slope = dot_product(positions, product, errors) / (double)positions;
    double curvature = dot_product(positions, product, product) / (double)positions, penalty = 0;
    for (size_t at = d->blocks.first[block];
         d->problem->low_rank->added && at < d->blocks.first[block + 1]; at++) {
        const size_t i = d->blocks.order[at];
        const double q = d->codes[row * d->k + i], added = get_added(d, i);
        const double scale = (double)d->scales[row * d->block_count + block];
        slope += added * q * (scale * q - (double)d->problem->weight[row * d->k + i]);
        penalty += added * q * q;
    }
    curvature += penalty;
    const double change = curvature > 0 ? -slope / curvature : 0;
    workspace->changes[r * d->block_count + block] = change;
    workspace->slope[r] += change * slope;
    workspace->curvature[r] += change * change * penalty;
    add_scaled(positions, (float)change, product, workspace->step + r * positions);
}

/* The best step along the changes, limited as in descent.c. */
static double find_step_length(const struct low_rank_descent *d, size_t row, size_t r,
                               const struct descent_workspace *workspace)
{
    const float *step = workspace->step + r * d->positions;
    const double curvature =
        workspace->curvature[r] + dot_product(d->positions, step, step) / (double)d->positions;
    const double *changes = workspace->changes + r * d->block_count;
    double length = curvature > 0 && workspace->slope[r] < 0 ? -workspace->slope[r] / curvature : 0;
    for (size_t s = 0; s < d->block_count; s++) {
        const double most =
            (changes[s] < 0 ? 0.9 : 9) * (double)d->scales[row * d->block_count + s];
        if (length * fabs(changes[s]) > most)
            length = most / fabs(changes[s]);
    }
    return length;
}

/* One step of steepest descent on the scales of each row, preconditioned by
 * what each block would do alone. `moves` (active) says whether a scale changed
 * by more than SMALL_CHANGE. */
static void step_block_scales(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                              struct descent_workspace *workspace, bool *moves)
{
    memset(workspace->step, 0, chunk->active * d->positions * sizeof *workspace->step);
    for (size_t r = 0; r < chunk->active; r++)
        workspace->slope[r] = workspace->curvature[r] = 0;
    for (size_t s = 0; s < d->block_count; s++) {
        multiply_block_codes(d, chunk, s, workspace);
        for (size_t r = 0; r < chunk->active; r++)
            add_block_change(d, chunk, r, s, workspace);
    }
    for (size_t r = 0; r < chunk->active; r++) {
        const size_t row = chunk->rows[r];
        const double length = find_step_length(d, row, r, workspace);
        moves[r] = false;
        add_scaled(d->positions, (float)length, workspace->step + r * d->positions,
                   d->errors + (chunk->first + r) * d->positions);
        for (size_t s = 0; s < d->block_count; s++) {
            float *scale = d->scales + row * d->block_count + s;
            const double change = length * workspace->changes[r * d->block_count + s];
            moves[r] = moves[r] || fabs(change) > SMALL_CHANGE * (double)*scale;
            *scale = ldnq_scale_or_default((double)*scale + change, *scale);
        }
    }
}

/* ---- sweeps and scales alternately
 * ------------------------------------------------------------
 */

static struct descent_chunk make_descent_chunk(const struct low_rank_descent *d, size_t index)
{
    struct descent_chunk chunk = { .first = index * ROWS };
    chunk.count = chunk.active = ldnq_size_min(ROWS, d->row_count - chunk.first);
    for (size_t r = 0; r < chunk.count; r++)
        chunk.rows[r] = chunk.first + r;
    return chunk;
}

static void load_chunk(const struct low_rank_descent *d, const struct descent_chunk *chunk,
                       struct descent_workspace *workspace)
{
    const size_t at = chunk->first * d->positions;
    compute_outputs(d, chunk, LOAD_DIFFERENCE, workspace->columns, d->errors + at);
    if (d->outputs)
        compute_outputs(d, chunk, LOAD_WEIGHT, workspace->columns, d->outputs + at);
}

static void move_row(const struct low_rank_descent *d, float *values, size_t from, size_t to)
{
    if (values && from != to)
        memcpy(values + to * d->positions, values + from * d->positions,
               d->positions * sizeof *values);
}

/* Rows that have converged leave the chunk. */
static void drop_converged_rows(const struct low_rank_descent *d, struct descent_chunk *chunk,
                                const bool *moves)
{
    size_t active = 0;
    for (size_t r = 0; r < chunk->active; r++) {
        if (!moves[r] && !d->changed[chunk->rows[r]])
            continue;
        move_row(d, d->errors, chunk->first + r, chunk->first + active);
        move_row(d, d->outputs, chunk->first + r, chunk->first + active);
        chunk->rows[active++] = chunk->rows[r];
    }
    chunk->active = active;
}

static void descend_chunk(void *ctx, size_t index, size_t thread)
{
    const struct low_rank_descent *d = ctx;
    struct descent_workspace *workspace = &d->workspaces[thread];
    struct descent_chunk chunk = make_descent_chunk(d, index);
    load_chunk(d, &chunk, workspace);
    for (int sweep = 0; chunk.active > 0 && sweep < LDNQ_DESCENT_SWEEPS; sweep++) {
        bool moves[ROWS] = { false };
        if (!d->problem->scale_format && d->outputs)
            change_row_scales(d, &chunk);
        else if (!d->problem->scale_format)
            step_block_scales(d, &chunk, workspace, moves);
        sweep_chunk(d, &chunk, workspace);
        drop_converged_rows(d, &chunk, moves);
    }
}

/* ---- one scale for all rows
 * -------------------------------------------------------------------
 */

static void load_tensor_chunk(void *ctx, size_t index, size_t thread)
{
    const struct low_rank_descent *d = ctx;
    const struct descent_chunk chunk = make_descent_chunk(d, index);
    load_chunk(d, &chunk, &d->workspaces[thread]);
}

static void compute_terms_of_tensor_chunk(void *ctx, size_t index, size_t thread)
{
    (void)thread;
    const struct low_rank_descent *d = ctx;
    const struct descent_chunk chunk = make_descent_chunk(d, index);
    for (size_t row = chunk.first; row < chunk.first + chunk.count; row++)
        compute_quadratic_terms(d, row, d->errors + row * d->positions,
                                d->outputs + row * d->positions);
}

/* The sums of all rows are in qw[0] and qq[0]. */
static void sweep_tensor_chunk(void *ctx, size_t index, size_t thread)
{
    const struct low_rank_descent *d = ctx;
    const struct descent_chunk chunk = make_descent_chunk(d, index);
    for (size_t row = chunk.first; !d->problem->scale_format && row < chunk.first + chunk.count;
         row++)
        change_row_scale(d, row, ldnq_compute_best_scale(d->qw[0], d->qq[0], d->scales[row]),
                         d->errors + row * d->positions, d->outputs + row * d->positions);
    sweep_chunk(d, &chunk, &d->workspaces[thread]);
}

static void descend_tensor(struct low_rank_descent *d, size_t chunks)
{
    bool goes_on = true;
    ldnq_pool_run(d->pool, chunks, load_tensor_chunk, d);
    for (int sweep = 0; goes_on && sweep < LDNQ_DESCENT_SWEEPS; sweep++) {
        goes_on = false;
        ldnq_pool_run(d->pool, chunks, compute_terms_of_tensor_chunk, d);
        for (size_t row = 1; row < d->row_count; row++) {
            d->qw[0] += d->qw[row];
            d->qq[0] += d->qq[row];
        }
        ldnq_pool_run(d->pool, chunks, sweep_tensor_chunk, d);
        for (size_t row = 0; row < d->row_count; row++)
            goes_on = goes_on || d->changed[row];
    }
}

/* ---- setup
 * ------------------------------------------------------------------------------------
 */

static void compute_corner(void *ctx, size_t tile, size_t thread)
{
    (void)thread;
    const struct low_rank_descent *d = ctx;
    const size_t first = tile * TILE, count = ldnq_size_min(TILE, d->k - first);
    const float *columns = d->problem->low_rank->columns + first * d->positions;
    float *corner = d->corners + first * TILE;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, count, count, d->positions, 1 / (float)d->positions,
               columns, d->positions, columns, d->positions, 0, corner, TILE);
    for (size_t i = 0; i < count; i++)
        corner[i * TILE + i] += (float)get_added(d, first + i);
}

static bool allocate_descent_workspaces(struct low_rank_descent *d, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    const size_t threads = ldnq_pool_threads(d->pool), products = d->outputs ? 0 : ROWS;
#define NEW(owner, member, n)                                                                      \
    ((owner)->member = ldnq_arena_alloc(arena, n, sizeof *(owner)->member, err))
    bool has_all = NEW(d, workspaces, threads) != NULL;
    for (size_t t = 0; has_all && t < threads; t++) {
        struct descent_workspace *workspace = &d->workspaces[t];
        has_all = NEW(workspace, product, products * d->positions) &&
                  NEW(workspace, step, products * d->positions) &&
                  NEW(workspace, gathered, products * d->positions) &&
                  NEW(workspace, changes, products * d->block_count);
    }
    return has_all;
}

static bool allocate_descent_arrays(struct low_rank_descent *d, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    const size_t values = d->row_count * d->positions;
    if (!NEW(d, curvature, d->k) ||
        !NEW(d, corners, ldnq_size_ceil_div(d->k, TILE) * TILE * TILE) || !NEW(d, errors, values) ||
        !NEW(d, qw, d->row_count) || !NEW(d, qq, d->row_count) || !NEW(d, changed, d->row_count))
        return false;
    if (!d->problem->block_index && !NEW(d, outputs, values))
        return false;
#undef NEW
    return allocate_descent_workspaces(d, arena, err);
}

static enum ldnq_status allocate_and_descend(struct low_rank_descent *d, struct ldnq_arena *arena,
                                             struct ldnq_error *err)
{
    const size_t chunks = ldnq_size_ceil_div(d->row_count, ROWS);
    if (d->problem->block_index)
        LDNQ_TRY(ldnq_blocks_init(d->problem, &d->blocks, arena, err));
    if (!allocate_descent_arrays(d, arena, err))
        return LDNQ_NOMEM;
    for (size_t i = 0; i < d->k; i++)
        d->curvature[i] = d->problem->diagonal[i] > 0 ? (float)d->problem->diagonal[i] : INFINITY;
    ldnq_pool_run(d->pool, ldnq_size_ceil_div(d->k, TILE), compute_corner, d);
    if (d->problem->granularity == LDNQ_PER_TENSOR) {
        descend_tensor(d, chunks);
        return LDNQ_OK;
    }
    struct ldnq_ranks *ranks = ldnq_pool_ranks(d->pool);
    ldnq_pool_run_share(d->pool, chunks, descend_chunk, d);
    ldnq_ranks_allgather_chunks(ranks, d->codes, d->row_count, ROWS, d->k);
    ldnq_ranks_allgather_chunks(ranks, d->scales, d->row_count, ROWS,
                                d->block_count * sizeof *d->scales);
    return LDNQ_OK;
}

enum ldnq_status ldnq_run_low_rank_descent(const struct ldnq_layer_problem *problem,
                                           struct ldnq_pool *pool, int8_t *codes, float *scales,
                                           struct ldnq_error *err)
{
    struct low_rank_descent descent = {
        .problem = problem,
        .pool = pool,
        .codes = codes,
        .scales = scales,
        .k = problem->cols,
        .row_count = problem->rows,
        .positions = problem->low_rank->count,
        .block_count = ldnq_scales_per_row(problem),
    };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = allocate_and_descend(&descent, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

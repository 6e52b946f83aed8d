/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/beam.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/alloc.h"
#include "base/ranks.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/beam_block.h"
#include "quant/problem.h"
#include "quant/project.h"

#define BLOCK LDNQ_BEAM_BLOCK
#define CHUNK_ROWS 32 /* at most */
#define CHUNK_BRANCHES 128

/* The scale, in units of the row's largest, where the code has to be 0: any other code then costs
 * more than all branches that have it. With the inverse 0 the nearest code is 0. */
#define HELD_SCALE 1e6f

/* A thread's memory for a chunk of rows. B is the number of branches of all its rows. */
struct ldnq_beam_workspace {
    /* (B, K) targets of columns not yet rounded; with a matrix of low rank (B, P) errors of the
     * outputs, and the rows' weights (rows, K) in the units of targets. */
    float *target, *next_target, *weight;
    float block_targets[CHUNK_BRANCHES][BLOCK];
    float *scales, *inverses; /* (rows, K) in units of the row's largest scale */
    double unit[CHUNK_ROWS];  /* the row's largest scale times the factor */
    float errors[CHUNK_BRANCHES][BLOCK];
    float costs[CHUNK_BRANCHES];
    int8_t *codes;    /* (blocks, B, BLOCK) */
    uint8_t *parents; /* (blocks, B) the branch at the block's start */
};

struct beam_search {
    const struct ldnq_beam *beam;
    struct ldnq_code_table table;
    size_t k, width, blocks, rows, per_group; /* rows per chunk, chunks per group */
    size_t positions;                         /* P; 0 unless the matrix is of low rank */
    const double *factors;
    size_t count;
    int8_t *codes;
    const float *scales;
    double *costs;  /* (G M) */
    double *chosen; /* (G M) factors */
};

struct beam_chunk {
    size_t group, row, rows; /* row counts over all groups */
};

/* ---- a chunk of rows --------------------------------------------------------------------- */

static struct beam_chunk find_beam_chunk(const struct beam_search *s, size_t index)
{
    const size_t m = s->beam->problem->rows, group = index / s->per_group;
    const size_t first = index % s->per_group * s->rows;
    return (struct beam_chunk){ group, group * m + first, ldnq_size_min(m - first, s->rows) };
}

/* Loads a row's weight and scales. Its only branch is the empty one: the others cost
 * infinity. */
static void load_weight_row(const struct beam_search *s, const struct beam_chunk *chunk, size_t r,
                            double factor, struct ldnq_beam_workspace *workspace)
{
    const struct ldnq_layer_problem *problem = s->beam->problem;
    const struct ldnq_column *columns = s->beam->columns + chunk->group * s->k;
    const size_t row = chunk->row + r, scales = ldnq_scales_per_row(problem);
    float *weight =
        s->positions ? workspace->weight + r * s->k : workspace->target + r * s->width * s->k;
    double size = 0;
    for (size_t i = row * scales; i < (row + 1) * scales; i++)
        size = fmax(size, (double)s->scales[i]);
    workspace->unit[r] = size * factor;
    for (size_t i = 0; i < s->k; i++) {
        const size_t col = columns[i].col;
        const double scale = (double)s->scales[ldnq_scale_index(problem, row, col)] / size;
        workspace->scales[r * s->k + i] = (float)scale;
        workspace->inverses[r * s->k + i] = (float)(1 / scale);
        if (ldnq_is_held_at_zero(problem, row * s->k + col)) {
            workspace->scales[r * s->k + i] = HELD_SCALE;
            workspace->inverses[r * s->k + i] = 0;
        }
        weight[i] = (float)((double)problem->weight[row * s->k + col] / workspace->unit[r]);
    }
    if (s->positions)
        memset(workspace->target + r * s->width * s->positions, 0,
               s->width * s->positions * sizeof *workspace->target);
    for (size_t b = 1; !s->positions && b < s->width; b++)
        memcpy(weight + b * s->k, weight, s->k * sizeof *weight);
    for (size_t b = 0; b < s->width; b++)
        workspace->costs[r * s->width + b] = b == 0 ? 0 : INFINITY;
}

/* The targets of the columns of a block: those of a matrix of low rank are computed now, from the
 * errors of the outputs. */
static void load_block_targets(const struct beam_search *s, const struct beam_chunk *chunk,
                               size_t first, size_t count, struct ldnq_beam_workspace *workspace)
{
    const size_t branch_count = chunk->rows * s->width;
    for (size_t b = 0; b < branch_count; b++)
        memcpy(workspace->block_targets[b],
               (s->positions ? workspace->weight + b / s->width * s->k
                             : workspace->target + b * s->k) +
                   first,
               count * sizeof(float));
    if (s->positions && first + count < s->k)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, branch_count, count, s->positions, -1,
                   workspace->target, s->positions,
                   s->beam->low_rank.responses + first * s->positions, s->positions, 1,
                   workspace->block_targets[0], BLOCK);
}

static void search_block(const struct beam_search *s, const struct beam_chunk *chunk, size_t block,
                         size_t first, size_t count, struct ldnq_beam_workspace *workspace)
{
    const size_t stored = block * s->rows * s->width;
    const struct ldnq_beam_block columns = {
        .table = &s->table,
        .width = s->width,
        .rows = chunk->rows,
        .count = count,
        .corner = s->beam->corners + (chunk->group * s->blocks + block) * BLOCK * BLOCK,
        .units = s->beam->units + chunk->group * s->k + first,
        .scales = workspace->scales + first,
        .inverses = workspace->inverses + first,
        .stride = s->k,
        .targets = (const float(*)[BLOCK])workspace->block_targets,
        .costs = workspace->costs,
        .errors = workspace->errors,
        .codes = workspace->codes + stored * BLOCK,
        .parents = workspace->parents + stored,
    };
    ldnq_search_beam_block(&columns);
}

static void swap_targets(struct ldnq_beam_workspace *workspace)
{
    float *last = workspace->target;
    workspace->target = workspace->next_target;
    workspace->next_target = last;
}

/* Adds the block's a q - w to the errors of the outputs, for each branch that was kept. */
static void update_output_errors(const struct beam_search *s, const struct beam_chunk *chunk,
                                 size_t block, size_t first, size_t count,
                                 struct ldnq_beam_workspace *workspace)
{
    const size_t branch_count = chunk->rows * s->width, positions = s->positions;
    const size_t stored = block * s->rows * s->width;
    for (size_t b = 0; b < branch_count; b++) {
        const size_t row = b / s->width, parent = row * s->width + workspace->parents[stored + b];
        const float *scales = workspace->scales + row * s->k + first;
        const float *weight = workspace->weight + row * s->k + first;
        const int8_t *codes = workspace->codes + (stored + b) * BLOCK;
        memcpy(workspace->next_target + b * positions, workspace->target + parent * positions,
               positions * sizeof(float));
        for (size_t i = 0; i < count; i++)
            workspace->errors[b][i] = scales[i] * (float)codes[i] - weight[i];
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, branch_count, positions, count, 1, workspace->errors[0],
               BLOCK, s->beam->low_rank.values + first * positions, positions, 1,
               workspace->next_target, positions);
    swap_targets(workspace);
}

/* Updates the targets of the columns before the block, for each branch that was kept. */
static void update_targets(const struct beam_search *s, const struct beam_chunk *chunk,
                           size_t block, size_t first, size_t count,
                           struct ldnq_beam_workspace *workspace)
{
    const size_t branch_count = chunk->rows * s->width;
    const uint8_t *parents = workspace->parents + block * s->rows * s->width;
    for (size_t b = 0; b < branch_count; b++) {
        const size_t parent = b / s->width * s->width + parents[b];
        memcpy(workspace->next_target + b * s->k, workspace->target + parent * s->k,
               first * sizeof(float));
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, branch_count, first, count, -1, workspace->errors[0], BLOCK,
               s->beam->factor + (chunk->group * s->k + first) * s->k, s->k, 1,
               workspace->next_target, s->k);
    swap_targets(workspace);
}

/* Stores the codes of a row's cheapest branch, back through the blocks. */
static void store_best_branch_codes(const struct beam_search *s, const struct beam_chunk *chunk,
                                    size_t r, const struct ldnq_beam_workspace *workspace)
{
    const struct ldnq_column *columns = s->beam->columns + chunk->group * s->k;
    int8_t *codes = s->codes + (chunk->row + r) * s->k;
    size_t at = 0, first = 0;
    for (size_t block = s->blocks; block-- > 0;) {
        const size_t end = s->k - block * BLOCK;
        const size_t stored = (block * s->rows + r) * s->width + at;
        for (size_t i = first; i < end; i++)
            codes[columns[i].col] = workspace->codes[stored * BLOCK + i - first];
        at = workspace->parents[stored];
        first = end;
    }
    ldnq_clear_codes_of_pruned_weights(s->beam->problem, (chunk->row + r) * s->k, s->k, codes);
}

static void search_chunk(void *ctx, size_t index, size_t thread)
{
    const struct beam_search *s = ctx;
    const struct beam_chunk chunk = find_beam_chunk(s, index);
    struct ldnq_beam_workspace *workspace = &s->beam->workspaces[thread];
    for (size_t f = 0; f < s->count; f++) {
        for (size_t r = 0; r < chunk.rows; r++)
            load_weight_row(s, &chunk, r, s->factors[f], workspace);
        for (size_t block = 0; block < s->blocks; block++) {
            const size_t end = s->k - block * BLOCK, count = ldnq_size_min(end, BLOCK);
            load_block_targets(s, &chunk, end - count, count, workspace);
            search_block(s, &chunk, block, end - count, count, workspace);
            if (end > count && s->positions)
                update_output_errors(s, &chunk, block, end - count, count, workspace);
            else if (end > count)
                update_targets(s, &chunk, block, end - count, count, workspace);
        }
        for (size_t r = 0; r < chunk.rows; r++) {
            const double cost =
                (double)workspace->costs[r * s->width] * workspace->unit[r] * workspace->unit[r];
            if (f > 0 && !(cost < s->costs[chunk.row + r]))
                continue;
            s->costs[chunk.row + r] = cost;
            s->chosen[chunk.row + r] = s->factors[f];
            store_best_branch_codes(s, &chunk, r, workspace);
        }
    }
}

/* ---- all rows ------------------------------------------------------------------------------ */

static void apply_scale_factors(const struct beam_search *s, float *scales)
{
    const struct ldnq_layer_problem *problem = s->beam->problem;
    const size_t count = ldnq_scales_per_row(problem);
    for (size_t row = 0; row < problem->groups * problem->rows; row++)
        for (size_t i = row * count; i < (row + 1) * count; i++)
            scales[i] = ldnq_scale_or_default((double)scales[i] * s->chosen[row], scales[i]);
}

/* One scale for all rows: the factor with the least sum of costs applies to all. */
static enum ldnq_status search_tensor(struct beam_search *s, const struct ldnq_beam_search *given,
                                      size_t chunks, struct ldnq_arena *arena,
                                      struct ldnq_error *err)
{
    const size_t rows = s->beam->problem->groups * s->beam->problem->rows;
    int8_t *codes = s->codes, *trial = ldnq_arena_alloc(arena, rows * s->k, 1, err);
    double least = 0, factor = 1;
    if (!trial)
        return LDNQ_NOMEM;
    s->codes = trial;
    s->count = 1;
    for (size_t f = 0; f < given->count; f++) {
        double sum = 0;
        s->factors = given->factors + f;
        ldnq_pool_run(s->beam->pool, chunks, search_chunk, s);
        for (size_t row = 0; row < rows; row++)
            sum += s->costs[row];
        if (f > 0 && !(sum < least))
            continue;
        least = sum;
        factor = given->factors[f];
        memcpy(codes, trial, rows * s->k);
    }
    for (size_t row = 0; row < rows; row++)
        s->chosen[row] = factor;
    return LDNQ_OK;
}

static void search_on_ranks(struct beam_search *s, size_t chunks)
{
    struct ldnq_ranks *ranks = ldnq_pool_ranks(s->beam->pool);
    const size_t rows = s->beam->problem->groups * s->beam->problem->rows;
    size_t *bounds = ldnq_rank_bounds(ranks);
    ldnq_pool_run_share(s->beam->pool, chunks, search_chunk, s);
    for (size_t rank = 0; bounds && rank < ranks->count; rank++) {
        const size_t end = ldnq_ranks_share(ranks, rank, chunks).end;
        bounds[rank + 1] = end < chunks ? find_beam_chunk(s, end).row : rows;
    }
    ldnq_ranks_allgather_rows(ranks, s->codes, bounds, s->k);
    ldnq_ranks_allgather_rows(ranks, s->chosen, bounds, sizeof *s->chosen);
    ldnq_ranks_allgather_rows(ranks, s->costs, bounds, sizeof *s->costs);
    ldnq_free(bounds);
}

static enum ldnq_status allocate_and_search_beam(struct beam_search *s,
                                                 const struct ldnq_beam_search *given,
                                                 float *scales, struct ldnq_arena *arena,
                                                 struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = s->beam->problem;
    const size_t rows = problem->groups * problem->rows, chunks = problem->groups * s->per_group;
    s->costs = ldnq_arena_alloc(arena, rows, sizeof *s->costs, err);
    s->chosen = ldnq_arena_alloc(arena, rows, sizeof *s->chosen, err);
    if (!s->costs || !s->chosen)
        return LDNQ_NOMEM;
    ldnq_code_table_init(&s->table, problem->codebook);
    if (problem->granularity == LDNQ_PER_TENSOR)
        LDNQ_TRY(search_tensor(s, given, chunks, arena, err));
    else
        search_on_ranks(s, chunks);
    apply_scale_factors(s, scales);
    return LDNQ_OK;
}

enum ldnq_status ldnq_beam_find(const struct ldnq_beam *beam, const struct ldnq_beam_search *search,
                                int8_t *codes, float *scales, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = beam->problem;
    struct beam_search s = {
        .beam = beam,
        .k = problem->cols,
        .positions = problem->low_rank ? problem->low_rank->count : 0,
        .width = search->width,
        .factors = search->factors,
        .count = search->count,
        .codes = codes,
        .scales = scales,
        .blocks = ldnq_size_ceil_div(problem->cols, BLOCK),
        .rows = ldnq_size_min(CHUNK_BRANCHES / search->width, CHUNK_ROWS),
    };
    s.per_group = ldnq_size_ceil_div(problem->rows, s.rows);
    struct ldnq_arena *arena;
    if (problem->cols == 0 || problem->groups * problem->rows == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = allocate_and_search_beam(&s, search, scales, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- the factor in float ------------------------------------------------------------------- */

struct factor_conversion {
    const struct ldnq_beam *beam;
    const struct ldnq_inverse *inverse;
};

static void convert_factor_to_float(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    const struct factor_conversion *conversion = ctx;
    const struct ldnq_beam *beam = conversion->beam;
    const size_t k = beam->problem->cols, blocks = ldnq_size_ceil_div(k, BLOCK);
    const double *from = conversion->inverse->factor + group * k * k;
    float *to = beam->factor + group * k * k, *corners = beam->corners;
    for (size_t i = 0; i < k; i++) {
        const size_t block = (k - 1 - i) / BLOCK;
        const size_t end = k - block * BLOCK, first = end > BLOCK ? end - BLOCK : 0;
        float *corner = corners + ((group * blocks + block) * BLOCK + i - first) * BLOCK;
        for (size_t j = 0; j <= i; j++)
            to[i * k + j] = (float)from[i * k + j];
        memcpy(corner, to + i * k + first, (i + 1 - first) * sizeof *corner);
        beam->units[group * k + i] = 1 / to[i * k + i];
    }
}

static bool allocate_workspaces(struct ldnq_beam *beam, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    const size_t threads = ldnq_pool_threads(beam->pool), k = beam->problem->cols;
    const size_t blocks = ldnq_size_ceil_div(k, BLOCK), all = CHUNK_BRANCHES;
    const struct ldnq_low_rank_gram *low_rank = beam->problem->low_rank;
    const size_t targets = low_rank ? low_rank->count : k;
    beam->workspaces = ldnq_arena_alloc(arena, threads, sizeof *beam->workspaces, err);
    for (size_t t = 0; beam->workspaces && t < threads; t++) {
        struct ldnq_beam_workspace *workspace = &beam->workspaces[t];
#define NEW(member, n)                                                                             \
    (workspace->member = ldnq_arena_alloc(arena, n, sizeof *workspace->member, err))
        if (!NEW(target, all * targets) || !NEW(next_target, all * targets) ||
            !NEW(weight, low_rank ? CHUNK_ROWS * k : 0) || !NEW(scales, CHUNK_ROWS * k) ||
            !NEW(inverses, CHUNK_ROWS * k) || !NEW(codes, blocks * all * BLOCK) ||
            !NEW(parents, blocks * all))
            return false;
#undef NEW
    }
    return beam->workspaces != NULL;
}

/* The blocks of both are the same. */
_Static_assert(BLOCK == LDNQ_LOW_RANK_BLOCK, "a block of the search is one of the factor");

static enum ldnq_status use_low_rank_factor(struct ldnq_beam *beam, struct ldnq_arena *arena,
                                            struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_low_rank_factor_init(beam->problem, &beam->low_rank, arena, err));
    beam->columns = beam->low_rank.columns;
    beam->corners = beam->low_rank.corners;
    beam->units = beam->low_rank.units;
    return allocate_workspaces(beam, arena, err) ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_beam_init(struct ldnq_beam *beam, const struct ldnq_layer_problem *problem,
                                struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    const size_t groups = problem->groups, k = problem->cols;
    const size_t blocks = ldnq_size_ceil_div(k, BLOCK);
    struct ldnq_inverse inverse;
    *beam = (struct ldnq_beam){ .problem = problem, .pool = pool };
    if (problem->low_rank)
        return use_low_rank_factor(beam, arena, err);
    LDNQ_TRY(ldnq_inverse_init(problem, pool, &inverse, arena, err));
    beam->columns = inverse.columns;
    beam->factor = ldnq_arena_alloc(arena, groups * k * k, sizeof *beam->factor, err);
    beam->corners = ldnq_arena_alloc(arena, groups * blocks * BLOCK, BLOCK * sizeof(float), err);
    beam->units = ldnq_arena_alloc(arena, groups * k, sizeof *beam->units, err);
    if (!beam->factor || !beam->corners || !beam->units || !allocate_workspaces(beam, arena, err))
        return LDNQ_NOMEM;
    struct factor_conversion conversion = { beam, &inverse };
    ldnq_pool_run(pool, groups, convert_factor_to_float, &conversion);
    return LDNQ_OK;
}

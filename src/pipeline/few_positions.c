/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/few_positions.h"

#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "linalg/gram.h"

#define ROWS LDNQ_CHANGE_ROWS
/* Systems of more positions are factored one after the other: each needs a matrix of its own. */
#define MOST_POSITIONS_AT_ONCE ((size_t)1536)

enum ldnq_status ldnq_few_positions_init(struct ldnq_few_positions *few, size_t rows, size_t cols,
                                         size_t capacity, struct ldnq_arena *arena,
                                         struct ldnq_error *err)
{
    *few = (struct ldnq_few_positions){ .rows = rows, .cols = cols, .capacity = capacity };
    few->columns = ldnq_arena_alloc(arena, capacity, cols * sizeof *few->columns, err);
    few->differences = ldnq_arena_alloc(arena, capacity, rows * sizeof *few->differences, err);
    return few->columns && few->differences ? LDNQ_OK : LDNQ_NOMEM;
}

size_t ldnq_few_positions_reserve(struct ldnq_few_positions *few, size_t count, bool held_out)
{
    if (few->capacity - few->fitted - few->held_out < count) {
        few->capacity = few->fitted = few->held_out = 0;
        return LDNQ_NO_ROW;
    }
    *(held_out ? &few->held_out : &few->fitted) += count;
    return held_out ? few->capacity - few->held_out : few->fitted - count;
}

/* Positions of one part of one rank, from their rows of its own to their rows of all. */
static enum ldnq_status broadcast_rows(struct ldnq_few_positions *all,
                                       const struct ldnq_few_positions *own, size_t from, size_t to,
                                       size_t count, struct ldnq_ranks *ranks, size_t rank,
                                       struct ldnq_error *err)
{
    float *columns = all->columns + to * all->cols,
          *differences = all->differences + to * all->rows;
    const size_t column_bytes = count * all->cols * sizeof *columns;
    const size_t difference_bytes = count * all->rows * sizeof *differences;
    if (count == 0)
        return LDNQ_OK;
    if (rank == ranks->rank) {
        memcpy(columns, own->columns + from * all->cols, column_bytes);
        memcpy(differences, own->differences + from * all->rows, difference_bytes);
    }
    LDNQ_TRY(ldnq_ranks_broadcast(ranks, rank, columns, column_bytes, err));
    return ldnq_ranks_broadcast(ranks, rank, differences, difference_bytes, err);
}

/* A rank's positions in both parts. */
struct rank_positions {
    uint64_t fitted, held_out;
};

enum ldnq_status ldnq_few_positions_share(struct ldnq_few_positions *few,
                                          const struct ldnq_layer_geometry *geometry,
                                          size_t capacity, struct ldnq_ranks *ranks,
                                          struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_few_positions own = *few;
    struct rank_positions *counts = ldnq_arena_alloc(arena, ranks->count, sizeof *counts, err);
    if (!counts)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_few_positions_init(few, geometry->rows, geometry->cols, capacity, arena, err));
    counts[ranks->rank] = (struct rank_positions){ own.fitted, own.held_out };
    LDNQ_TRY(ldnq_ranks_allgather_units(ranks, counts, ranks->count, sizeof *counts, err));
    for (size_t rank = 0; rank < ranks->count; rank++) {
        const size_t fitted = (size_t)counts[rank].fitted, held = (size_t)counts[rank].held_out;
        few->held_out += held;
        LDNQ_TRY(broadcast_rows(few, &own, 0, few->fitted, fitted, ranks, rank, err));
        LDNQ_TRY(broadcast_rows(few, &own, own.capacity - own.held_out, capacity - few->held_out,
                                held, ranks, rank, err));
        few->fitted += fitted;
    }
    return LDNQ_OK;
}

bool ldnq_few_positions_hold_all(const struct ldnq_few_positions *few, size_t positions)
{
    return few && few->fitted > 0 &&
           (positions == few->fitted || positions == few->fitted + few->held_out);
}

/* ---- the system of the positions ---------------------------------------------------------- */

struct position_system {
    size_t fitted, all;  /* positions: the first ones are fitted, the others are held out */
    size_t rows, cols;   /* M, K */
    float *columns;      /* (all, K) Y */
    double *differences; /* (all, M) D */
    double *gram;        /* (all, all) Y Y' */
};

/* Subtracts the mean of `count` rows from each of them. `mean` (width) is scratch. */
static void subtract_mean_of_columns(float *x, size_t count, size_t width, double *mean)
{
    memset(mean, 0, width * sizeof *mean);
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < width; i++)
            mean[i] += (double)x[p * width + i];
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < width; i++)
            x[p * width + i] = (float)((double)x[p * width + i] - mean[i] / (double)count);
}

static void subtract_mean_of_differences(double *x, size_t count, size_t width, double *mean)
{
    memset(mean, 0, width * sizeof *mean);
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < width; i++)
            mean[i] += x[p * width + i];
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < width; i++)
            x[p * width + i] -= mean[i] / (double)count;
}

static void copy_positions(const struct ldnq_few_positions *few, size_t from, size_t count,
                           struct position_system *system, size_t to)
{
    memcpy(system->columns + to * few->cols, few->columns + from * few->cols,
           count * few->cols * sizeof *few->columns);
    for (size_t i = 0; i < count * few->rows; i++)
        system->differences[to * few->rows + i] = (double)few->differences[from * few->rows + i];
}

static void centre_part(struct position_system *system, size_t first, size_t count, double *mean)
{
    if (count == 0)
        return;
    subtract_mean_of_columns(system->columns + first * system->cols, count, system->cols, mean);
    subtract_mean_of_differences(system->differences + first * system->rows, count, system->rows,
                                 mean);
}

/* The first `fitted` of `all` positions are solved for. Both parts lose their own means. */
static enum ldnq_status make_system(const struct ldnq_few_positions *few, size_t fitted, size_t all,
                                    const struct ldnq_few_positions_options *options,
                                    struct ldnq_arena *arena, struct position_system *system,
                                    struct ldnq_error *err)
{
    const size_t k = few->cols, m = few->rows, stored = ldnq_size_min(all, few->fitted);
    const size_t scratch_floats = ldnq_gram_scratch_floats(all, ldnq_pool_threads(options->pool));
    *system = (struct position_system){ .fitted = fitted, .all = all, .rows = m, .cols = k };
    system->columns = ldnq_arena_alloc(arena, all * k, sizeof *system->columns, err);
    system->differences = ldnq_arena_alloc(arena, all * m, sizeof *system->differences, err);
    system->gram = ldnq_arena_alloc(arena, all * all, sizeof *system->gram, err);
    double *sums =
        ldnq_arena_alloc(arena, ldnq_size_max(all, ldnq_size_max(k, m)), sizeof *sums, err);
    float *scratch = ldnq_arena_alloc(arena, scratch_floats, sizeof *scratch, err);
    if (!system->columns || !system->differences || !system->gram || !sums || !scratch)
        return LDNQ_NOMEM;
    copy_positions(few, 0, stored, system, 0);
    copy_positions(few, few->capacity - (all - stored), all - stored, system, stored);
    if (options->centred) {
        centre_part(system, 0, fitted, sums);
        centre_part(system, fitted, all - fitted, sums);
    }
    for (size_t first = 0; first < k; first += LDNQ_GRAM_SLAB)
        ldnq_gram_add(all, system->columns + first, k, ldnq_size_min(LDNQ_GRAM_SLAB, k - first),
                      system->gram, sums, scratch, options->pool);
    ldnq_gram_finish(all, 1, system->gram, sums);
    return LDNQ_OK;
}

/* Factors Y Y' / P + d I of the fitted positions, d a share of C's mean diagonal. */
static bool factor_system(const struct position_system *system, double damping, double *factor)
{
    const size_t n = system->fitted;
    double trace = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            factor[i * n + j] = system->gram[i * system->all + j] / (double)n;
    for (size_t i = 0; i < n; i++)
        trace += factor[i * n + i];
    for (size_t i = 0; i < n; i++)
        factor[i * n + i] += damping * trace / (double)system->cols;
    return trace > 0 && ldnq_cholesky_factor(n, factor, NULL) == LDNQ_OK;
}

/* ---- the effect on held-out positions ------------------------------------------------------ */

struct position_trials {
    const struct position_system *system;
    const double *dampings;
    struct ldnq_held_out_effect *effects;
    double *factors, *solved, *changes; /* one per thread: (fitted, fitted), (held out, fitted),
                                           (held out, M) */
};

static void try_damping_of_system(void *ctx, size_t i, size_t thread)
{
    const struct position_trials *trials = ctx;
    const struct position_system *s = trials->system;
    const size_t n = s->fitted, held_out = s->all - n, m = s->rows;
    const double *exact = s->differences + n * m;
    double *factor = trials->factors + thread * n * n;
    double *solved = trials->solved + thread * held_out * n;
    double *change = trials->changes + thread * held_out * m;
    if (!factor_system(s, trials->dampings[i], factor))
        return;
    for (size_t p = 0; p < held_out; p++)
        for (size_t j = 0; j < n; j++)
            solved[p * n + j] = s->gram[(n + p) * s->all + j] / (double)n;
    ldnq_cholesky_solve(n, factor, held_out, solved);
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, held_out, m, n, 1, solved, n, s->differences, m, 0, change,
               m);
    for (size_t j = 0; j < held_out * m; j++) {
        trials->effects[i].x_e += change[j] * exact[j] / (double)held_out;
        trials->effects[i].x_xc += change[j] * change[j] / (double)held_out;
    }
}

static enum ldnq_status run_trials(struct position_trials *trials, size_t count,
                                   struct ldnq_pool *pool, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    const size_t n = trials->system->fitted, held_out = trials->system->all - n;
    const size_t m = trials->system->rows;
    struct ldnq_ranks *ranks = ldnq_pool_ranks(pool);
    pool = n <= MOST_POSITIONS_AT_ONCE ? pool : NULL;
    const size_t slots = ldnq_pool_threads(pool);
    trials->factors = ldnq_arena_alloc(arena, slots * n, n * sizeof *trials->factors, err);
    trials->solved = ldnq_arena_alloc(arena, slots * held_out, n * sizeof *trials->solved, err);
    trials->changes = ldnq_arena_alloc(arena, slots * held_out, m * sizeof *trials->changes, err);
    if (!trials->factors || !trials->solved || !trials->changes)
        return LDNQ_NOMEM;
    const struct ldnq_rank_share own = ldnq_ranks_own_share(ranks, count);
    if (pool)
        ldnq_pool_run_share(pool, count, try_damping_of_system, trials);
    for (size_t i = own.first; !pool && i < own.end; i++)
        try_damping_of_system(trials, i, 0);
    return ldnq_ranks_allgather_units(ranks, trials->effects, count, sizeof *trials->effects, err);
}

enum ldnq_status ldnq_few_positions_measure(const struct ldnq_few_positions *few,
                                            const struct ldnq_few_positions_options *options,
                                            const double *dampings, size_t count,
                                            struct ldnq_held_out_effect *effects,
                                            struct ldnq_error *err)
{
    struct position_system system;
    struct position_trials trials = { .system = &system, .dampings = dampings, .effects = effects };
    struct ldnq_arena *arena;
    memset(effects, 0, count * sizeof *effects);
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status =
        make_system(few, few->fitted, few->fitted + few->held_out, options, arena, &system, err);
    if (status == LDNQ_OK)
        status = run_trials(&trials, count, options->pool, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- the change ---------------------------------------------------------------------------- */

struct change_task {
    const struct position_system *system;
    const double *factor, *columns; /* Y in double */
    double *solved, *change;        /* (ROWS, fitted) and (ROWS, K), one per thread */
    const struct ldnq_change_reader *reader;
};

static void solve_row_block(void *ctx, size_t chunk, size_t thread)
{
    const struct change_task *task = ctx;
    const struct position_system *s = task->system;
    const size_t n = s->fitted, m = s->rows, k = s->cols, first = chunk * ROWS;
    const size_t rows = ldnq_size_min(ROWS, m - first);
    double *solved = task->solved + thread * ROWS * n, *change = task->change + thread * ROWS * k;
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < n; p++)
            solved[r * n + p] = s->differences[p * m + first + r] / (double)n;
    ldnq_cholesky_solve(n, task->factor, rows, solved);
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, k, n, 1, solved, n, task->columns, k, 0, change, k);
    task->reader->add(task->reader->ctx, first, rows, change);
}

static enum ldnq_status solve_system(const struct position_system *system, double damping,
                                     struct ldnq_pool *pool, struct ldnq_arena *arena,
                                     const struct ldnq_change_reader *reader,
                                     struct ldnq_error *err)
{
    const size_t n = system->fitted, k = system->cols, threads = ldnq_pool_threads(pool);
    double *factor = ldnq_arena_alloc(arena, n * n, sizeof *factor, err);
    double *columns = ldnq_arena_alloc(arena, n * k, sizeof *columns, err);
    double *solved = ldnq_arena_alloc(arena, threads * ROWS, n * sizeof *solved, err);
    double *change = ldnq_arena_alloc(arena, threads * ROWS, k * sizeof *change, err);
    if (!factor || !columns || !solved || !change)
        return LDNQ_NOMEM;
    if (!factor_system(system, damping, factor))
        return LDNQ_OK;
    for (size_t i = 0; i < n * k; i++)
        columns[i] = (double)system->columns[i];
    struct change_task task = { system, factor, columns, solved, change, reader };
    ldnq_pool_run_share(pool, ldnq_size_ceil_div(system->rows, ROWS), solve_row_block, &task);
    return LDNQ_OK;
}

enum ldnq_status ldnq_few_positions_solve(const struct ldnq_few_positions *few, size_t positions,
                                          const struct ldnq_few_positions_options *options,
                                          double damping, const struct ldnq_change_reader *reader,
                                          struct ldnq_error *err)
{
    struct position_system system;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = make_system(few, positions, positions, options, arena, &system, err);
    if (status == LDNQ_OK)
        status = solve_system(&system, damping, options->pool, arena, reader, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/error_compensation.h"

#include "base/pool.h"
#include "base/ranks.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "linalg/gram.h"

/* Rows of the weight per chunk of work. */
#define ROWS LDNQ_CHANGE_ROWS
/* Positions per chunk of work when threads share a slab. */
#define PART (LDNQ_GRAM_SLAB / 8)

enum ldnq_status ldnq_compensation_init_sums(struct ldnq_compensation *compensation,
                                             const struct ldnq_layer_geometry *geometry,
                                             const float *weight, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t groups = geometry->groups, rows = geometry->rows, cols = geometry->cols;
    const size_t threads = ldnq_pool_threads(pool), slabs = groups > 1 ? threads : 1;
    *compensation =
        (struct ldnq_compensation){ .geometry = *geometry, .weight = weight, .pool = pool };
#define NEW(member, n, size)                                                                       \
    (compensation->member = ldnq_arena_alloc(arena, n, (size) * sizeof *compensation->member, err))
    const bool allocated = NEW(shift, groups, rows) && NEW(power, groups, rows) &&
                           NEW(difference, slabs * cols, LDNQ_GRAM_SLAB) &&
                           NEW(output_difference, threads, ROWS * LDNQ_GRAM_SLAB) &&
                           NEW(product, threads * cols, ROWS);
#undef NEW
    return allocated ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_compensation_init_part(struct ldnq_compensation *compensation,
                                             const struct ldnq_compensation *other,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t rows = other->geometry.groups * other->geometry.rows;
    *compensation = *other;
    compensation->cross = NULL;
    compensation->shift = ldnq_arena_alloc(arena, rows, sizeof *compensation->shift, err);
    compensation->power = ldnq_arena_alloc(arena, rows, sizeof *compensation->power, err);
    return compensation->shift && compensation->power ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_compensation_allocate_cross(struct ldnq_compensation *compensation,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer_geometry *geometry = &compensation->geometry;
    compensation->cross = ldnq_arena_alloc(arena, geometry->groups * geometry->rows,
                                           geometry->cols * sizeof *compensation->cross, err);
    return compensation->cross ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_compensation_init(struct ldnq_compensation *compensation,
                                        const struct ldnq_layer_geometry *geometry,
                                        const float *weight, struct ldnq_pool *pool,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_compensation_init_sums(compensation, geometry, weight, pool, arena, err));
    return ldnq_compensation_allocate_cross(compensation, arena, err);
}

struct slab_task {
    const struct ldnq_compensation *compensation;
    struct ldnq_statistics *statistics; /* their slab holds y^ */
    const struct ldnq_op_call *quantized, *exact;
    const struct ldnq_position_sampling *sampling;
    size_t group, first, count;  /* group and positions of the slab */
    float *columns, *difference; /* y^ and y - y^ */
    /* Rows of the slab's first position in compensation->few; NULL: not stored. */
    float *stored_columns, *stored_differences;
};

/* Copies (rows, count) of a slab to (count, rows), `stride` floats between its rows. */
static void store_transposed(const float *from, size_t rows, size_t count, float *to, size_t stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < count; i++)
            to[i * stride + r] = from[r * LDNQ_GRAM_SLAB + i];
}

/* Fills in the columns of the positions at .. at+count-1 of the slab, and their differences. */
static void fill_columns_and_difference(const struct slab_task *slab, size_t at, size_t count)
{
    float *columns = slab->columns + at, *difference = slab->difference + at;
    ldnq_read_sampled_columns(slab->quantized, slab->group, slab->sampling, slab->first + at, count,
                              columns, LDNQ_GRAM_SLAB);
    ldnq_read_sampled_columns(slab->exact, slab->group, slab->sampling, slab->first + at, count,
                              difference, LDNQ_GRAM_SLAB);
    for (size_t k = 0; k < slab->compensation->geometry.cols; k++)
        for (size_t i = 0; i < count; i++)
            difference[k * LDNQ_GRAM_SLAB + i] -= columns[k * LDNQ_GRAM_SLAB + i];
    if (slab->stored_columns)
        store_transposed(columns, slab->compensation->geometry.cols, count,
                         slab->stored_columns + at * slab->compensation->geometry.cols,
                         slab->compensation->geometry.cols);
}

static void add_sums_of_row(const float *x, size_t count, double *shift, double *power)
{
    for (size_t i = 0; i < count; i++) {
        const double value = (double)x[i];
        *shift += value;
        *power += value * value;
    }
}

/* The same for LANES rows side by side: each sum keeps its order, and additions overlap. */
#define LANES 8

static void add_sums_of_rows(const float *x, size_t count, double *shift, double *power)
{
    double sums[LANES], squares[LANES];
    for (size_t l = 0; l < LANES; l++) {
        sums[l] = shift[l];
        squares[l] = power[l];
    }
    for (size_t i = 0; i < count; i++)
        for (size_t l = 0; l < LANES; l++) {
            const double value = (double)x[l * LDNQ_GRAM_SLAB + i];
            sums[l] += value;
            squares[l] += value * value;
        }
    for (size_t l = 0; l < LANES; l++) {
        shift[l] = sums[l];
        power[l] = squares[l];
    }
}

/* Adds the sums of a block of rows, from W (y - y^) of the slab. */
static void add_sums_of_row_block(const struct slab_task *slab, size_t first, size_t thread,
                                  const float *difference)
{
    const struct ldnq_compensation *c = slab->compensation;
    const size_t k = c->geometry.cols, rows = ldnq_size_min(ROWS, c->geometry.rows - first);
    const size_t row = slab->group * c->geometry.rows + first;
    float *product = c->product + thread * ROWS * k;
    if (c->cross)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, k, slab->count, 1, difference, LDNQ_GRAM_SLAB,
                   slab->columns, LDNQ_GRAM_SLAB, 0, product, k);
    for (size_t i = 0; c->cross && i < rows * k; i++)
        c->cross[row * k + i] += (double)product[i];
    size_t r = 0;
    for (; r + LANES <= rows; r += LANES)
        add_sums_of_rows(difference + r * LDNQ_GRAM_SLAB, slab->count, c->shift + row + r,
                         c->power + row + r);
    for (; r < rows; r++)
        add_sums_of_row(difference + r * LDNQ_GRAM_SLAB, slab->count, c->shift + row + r,
                        c->power + row + r);
}

static void add_row_block_product(const struct slab_task *slab, size_t first, size_t thread)
{
    const struct ldnq_compensation *c = slab->compensation;
    const size_t k = c->geometry.cols, rows = ldnq_size_min(ROWS, c->geometry.rows - first);
    const size_t row = slab->group * c->geometry.rows + first;
    float *difference = c->output_difference + thread * ROWS * LDNQ_GRAM_SLAB;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, slab->count, k, 1, c->weight + row * k, k,
               slab->difference, LDNQ_GRAM_SLAB, 0, difference, LDNQ_GRAM_SLAB);
    if (slab->stored_differences)
        store_transposed(difference, rows, slab->count, slab->stored_differences + first,
                         c->geometry.rows);
    add_sums_of_row_block(slab, first, thread, difference);
}

/* ---- one group: threads share a slab ----------------------------------------------------- */

static void fill_columns_task(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct slab_task *slab = ctx;
    fill_columns_and_difference(slab, chunk * PART,
                                ldnq_size_min(PART, slab->count - chunk * PART));
}

static void add_row_block_task(void *ctx, size_t chunk, size_t thread)
{
    add_row_block_product(ctx, chunk * ROWS, thread);
}

/* ---- several groups: one thread per group ---------------------------------------------- */

static void add_group_products(void *ctx, size_t group, size_t thread)
{
    const struct slab_task *all = ctx;
    const struct ldnq_compensation *c = all->compensation;
    struct slab_task slab = *all;
    slab.group = group;
    slab.columns = ldnq_statistics_slab(slab.statistics, thread);
    slab.difference = c->difference + thread * c->geometry.cols * LDNQ_GRAM_SLAB;
    fill_columns_and_difference(&slab, 0, slab.count);
    ldnq_statistics_add_slab(slab.statistics, group, slab.count, thread);
    for (size_t first = 0; first < c->geometry.rows; first += ROWS)
        add_row_block_product(&slab, first, thread);
}

/* The call's positions get their rows in compensation->few. */
static void reserve_rows(const struct ldnq_compensation *compensation, bool held_out, size_t count,
                         struct slab_task *slab)
{
    struct ldnq_few_positions *few = compensation->few;
    const size_t row = few ? ldnq_few_positions_reserve(few, count, held_out) : LDNQ_NO_ROW;
    if (row == LDNQ_NO_ROW)
        return;
    slab->stored_columns = few->columns + row * few->cols;
    slab->stored_differences = few->differences + row * few->rows;
}

static void finish_slab(struct slab_task *slab)
{
    const struct ldnq_layer_geometry *geometry = &slab->compensation->geometry;
    slab->first += slab->count;
    if (!slab->stored_columns)
        return;
    slab->stored_columns += slab->count * geometry->cols;
    slab->stored_differences += slab->count * geometry->rows;
}

void ldnq_compensation_add(struct ldnq_compensation *compensation,
                           struct ldnq_statistics *statistics, const struct ldnq_op_call *quantized,
                           const struct ldnq_op_call *exact,
                           const struct ldnq_position_sampling *sampling, bool held_out)
{
    struct slab_task slab = { .compensation = compensation,
                              .statistics = statistics,
                              .quantized = quantized,
                              .exact = exact,
                              .sampling = sampling,
                              .columns = ldnq_statistics_slab(statistics, 0),
                              .difference = compensation->difference };
    statistics->positions += sampling->count;
    if (compensation->geometry.cols == 0)
        return;
    reserve_rows(compensation, held_out, sampling->count, &slab);
    for (; slab.first < sampling->count; finish_slab(&slab)) {
        slab.count = ldnq_size_min(LDNQ_GRAM_SLAB, sampling->count - slab.first);
        if (compensation->geometry.groups > 1) {
            ldnq_pool_run(compensation->pool, compensation->geometry.groups, add_group_products,
                          &slab);
            continue;
        }
        ldnq_pool_run(compensation->pool, ldnq_size_ceil_div(slab.count, PART), fill_columns_task,
                      &slab);
        ldnq_statistics_add_slab(statistics, 0, slab.count, 0);
        if (compensation->input.cols)
            ldnq_input_error_add(&compensation->input, slab.columns, slab.difference, slab.count);
        else
            ldnq_pool_run(compensation->pool, ldnq_size_ceil_div(compensation->geometry.rows, ROWS),
                          add_row_block_task, &slab);
    }
}

/* ---- positions that were stored ------------------------------------------------------------ */

static void load_transposed(const float *from, size_t rows, size_t count, size_t stride, float *to)
{
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < rows; r++)
            to[r * LDNQ_GRAM_SLAB + i] = from[i * stride + r];
}

static void add_stored_row_block(void *ctx, size_t chunk, size_t thread)
{
    const struct slab_task *slab = ctx;
    const struct ldnq_compensation *c = slab->compensation;
    const size_t first = chunk * ROWS, rows = ldnq_size_min(ROWS, c->geometry.rows - first);
    float *difference = c->output_difference + thread * ROWS * LDNQ_GRAM_SLAB;
    load_transposed(slab->stored_differences + first, rows, slab->count, c->geometry.rows,
                    difference);
    add_sums_of_row_block(slab, first, thread, difference);
}

void ldnq_compensation_add_stored(struct ldnq_compensation *compensation,
                                  struct ldnq_statistics *statistics,
                                  const struct ldnq_few_positions *few, size_t row, size_t count)
{
    const struct ldnq_layer_geometry *geometry = &compensation->geometry;
    struct slab_task slab = { .compensation = compensation,
                              .statistics = statistics,
                              .columns = ldnq_statistics_slab(statistics, 0),
                              .stored_columns = few->columns + row * few->cols,
                              .stored_differences = few->differences + row * few->rows };
    statistics->positions += count;
    for (; slab.first < count; finish_slab(&slab)) {
        slab.count = ldnq_size_min(LDNQ_GRAM_SLAB, count - slab.first);
        load_transposed(slab.stored_columns, geometry->cols, slab.count, geometry->cols,
                        slab.columns);
        ldnq_statistics_add_slab(statistics, 0, slab.count, 0);
        ldnq_pool_run(compensation->pool, ldnq_size_ceil_div(geometry->rows, ROWS),
                      add_stored_row_block, &slab);
    }
}

/* ---- the target ---- */

void ldnq_compensation_merge(struct ldnq_compensation *compensation,
                             const struct ldnq_compensation *other)
{
    const size_t rows = compensation->geometry.groups * compensation->geometry.rows;
    if (compensation->input.cols)
        ldnq_input_error_merge(&compensation->input, &other->input);
    for (size_t i = 0; compensation->cross && i < rows * compensation->geometry.cols; i++)
        compensation->cross[i] += other->cross[i];
    for (size_t i = 0; i < rows; i++) {
        compensation->shift[i] += other->shift[i];
        compensation->power[i] += other->power[i];
    }
}

/* ---- what the moments of the input say of the rows ---- */

static void find_shift_of_row(void *ctx, size_t row, size_t thread)
{
    (void)thread;
    const struct ldnq_compensation *c = ctx;
    const float *weight = c->weight + row * c->geometry.cols;
    double sum = 0;
    for (size_t i = 0; i < c->geometry.cols; i++)
        sum += (double)weight[i] * c->input.sum[i];
    c->shift[row] = sum;
}

void ldnq_compensation_find_shifts(struct ldnq_compensation *compensation)
{
    ldnq_pool_run(compensation->pool, compensation->geometry.rows, find_shift_of_row, compensation);
}

enum ldnq_status ldnq_compensation_find_cross(struct ldnq_compensation *compensation,
                                              struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer_geometry *geometry = &compensation->geometry;
    LDNQ_TRY(ldnq_compensation_allocate_cross(compensation, arena, err));
    return ldnq_multiply_rows(compensation->weight, geometry->rows, geometry->cols,
                              compensation->input.cross, compensation->pool, compensation->cross,
                              err);
}

/* ---- solving ---- */

/* Factors C of a group into the lower triangle of `out`; false when it has no factor. */
bool ldnq_compensation_factor(const struct ldnq_statistics *s, size_t group, bool centred,
                              double damping, double *out)
{
    const size_t k = s->geometry.cols;
    const double all = (double)s->positions;
    const double *gram = s->gram + group * k * k, *sum = s->mean + group * k;
    double trace = 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j <= i; j++)
            out[i * k + j] = gram[j * k + i] / all - (centred ? sum[i] * sum[j] / all / all : 0);
    for (size_t i = 0; i < k; i++)
        trace += out[i * k + i];
    for (size_t i = 0; i < k; i++)
        out[i * k + i] += damping * trace / (double)k;
    return trace > 0 && ldnq_cholesky_factor(k, out, NULL) == LDNQ_OK;
}

/* Solves for the rows first .. first+count-1 of the group's change (count, K). */
static void solve_rows(const struct ldnq_compensation *c, const struct ldnq_statistics *s,
                       size_t group, bool centred, size_t first, size_t count, const double *factor,
                       double *change)
{
    const size_t k = c->geometry.cols, row = group * c->geometry.rows + first;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    for (size_t r = 0; r < count; r++) {
        const double shift = centred ? c->shift[row + r] / all : 0;
        for (size_t i = 0; i < k; i++)
            change[r * k + i] = (c->cross[(row + r) * k + i] - shift * sum[i]) / all;
    }
    ldnq_cholesky_solve(k, factor, count, change);
}

bool ldnq_compensation_solve(const struct ldnq_compensation *c, const struct ldnq_statistics *s,
                             size_t group, bool centred, double damping, double *factor,
                             double *change)
{
    if (!ldnq_compensation_factor(s, group, centred, damping, factor))
        return false;
    solve_rows(c, s, group, centred, 0, c->geometry.rows, factor, change);
    return true;
}

/* ---- applying it ---- */

struct correction_task {
    const struct ldnq_compensation *compensation;
    const struct ldnq_statistics *statistics;
    double lambda, damping;
    float *weight, *bias; /* bias NULL: the layer has none */
    double *factor;       /* (K, K): of the one group, or one per thread */
    double *z;            /* (K, K), where the moments of the input are used; else NULL */
    double *change;       /* (rows of a chunk, K) per thread, twice with `z` */
};

/* `change`: that of the rows first .. first+count-1 of the group. */
static void add_scaled_correction(const struct correction_task *task, size_t group, size_t first,
                                  size_t count, const double *change)
{
    const struct ldnq_compensation *c = task->compensation;
    const struct ldnq_statistics *s = task->statistics;
    const size_t k = c->geometry.cols, row = group * c->geometry.rows + first;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    for (size_t r = 0; r < count; r++) {
        double moved = 0;
        for (size_t i = 0; i < k; i++) {
            const double delta = task->lambda * change[r * k + i];
            task->weight[(row + r) * k + i] += (float)delta;
            moved += delta * sum[i] / all;
        }
        if (task->bias)
            task->bias[row + r] += (float)(task->lambda * c->shift[row + r] / all - moved);
    }
}

static void correct_group(void *ctx, size_t group, size_t thread)
{
    const struct correction_task *task = ctx;
    const size_t k = task->compensation->geometry.cols, m = task->compensation->geometry.rows;
    double *change = task->change + thread * m * k;
    if (ldnq_compensation_solve(task->compensation, task->statistics, group, task->bias != NULL,
                                task->damping, task->factor + thread * k * k, change))
        add_scaled_correction(task, group, 0, m, change);
}

/* W Z of some rows; `widened` is scratch. */
static void change_rows_by_input(const struct correction_task *task, size_t first, size_t count,
                                 double *widened, double *change)
{
    const size_t k = task->compensation->geometry.cols;
    const float *weight = task->compensation->weight + first * k;
    for (size_t i = 0; i < count * k; i++)
        widened[i] = (double)weight[i];
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, count, k, k, 1, widened, k, task->z, k, 0, change, k);
}

static void correct_row_block(void *ctx, size_t chunk, size_t thread)
{
    const struct correction_task *task = ctx;
    const size_t k = task->compensation->geometry.cols, first = chunk * ROWS;
    const size_t count = ldnq_size_min(ROWS, task->compensation->geometry.rows - first);
    double *change = task->change + thread * (task->z ? 2 : 1) * ROWS * k;
    if (task->z)
        change_rows_by_input(task, first, count, change + ROWS * k, change);
    else
        solve_rows(task->compensation, task->statistics, 0, task->bias != NULL, first, count,
                   task->factor, change);
    add_scaled_correction(task, 0, first, count, change);
}

static void add_row_change(void *ctx, size_t first, size_t count, const double *change)
{
    add_scaled_correction(ctx, 0, first, count, change);
}

static enum ldnq_status correct_groups(struct correction_task *task, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    const struct ldnq_compensation *c = task->compensation;
    const size_t k = c->geometry.cols, threads = ldnq_pool_threads(c->pool);
    task->factor = ldnq_arena_alloc(arena, threads * k, k * sizeof *task->factor, err);
    task->change =
        ldnq_arena_alloc(arena, threads * c->geometry.rows, k * sizeof *task->change, err);
    if (!task->factor || !task->change)
        return LDNQ_NOMEM;
    ldnq_pool_run(c->pool, c->geometry.groups, correct_group, task);
    return LDNQ_OK;
}

/* The one group: blocks of rows share its factor. */
static enum ldnq_status correct_row_blocks(struct correction_task *task, struct ldnq_arena *arena,
                                           struct ldnq_error *err)
{
    const struct ldnq_compensation *c = task->compensation;
    const size_t k = c->geometry.cols, blocks = ldnq_size_ceil_div(c->geometry.rows, ROWS);
    const size_t positions = task->statistics->positions;
    const struct ldnq_few_positions_options options = { task->bias != NULL, c->pool };
    const size_t slots = ldnq_pool_threads(c->pool) * (c->input.cols ? 2 : 1);
    const struct ldnq_change_reader reader = { add_row_change, task };
    if (ldnq_few_positions_hold_all(c->few, positions))
        return ldnq_few_positions_solve(c->few, positions, &options, task->damping, &reader, err);
    task->change = ldnq_arena_alloc(arena, slots * ROWS, k * sizeof *task->change, err);
    task->factor = ldnq_arena_alloc(arena, k, k * sizeof *task->factor, err);
    task->z = c->input.cols ? ldnq_arena_alloc(arena, k, k * sizeof *task->z, err) : NULL;
    if (!task->change || !task->factor || (c->input.cols && !task->z))
        return LDNQ_NOMEM;
    const bool found = c->input.cols
                           ? ldnq_input_error_solve(&c->input, task->statistics, task->bias != NULL,
                                                    task->damping, task->factor, task->z)
                           : ldnq_compensation_factor(task->statistics, 0, task->bias != NULL,
                                                      task->damping, task->factor);
    if (found)
        ldnq_pool_run_share(c->pool, blocks, correct_row_block, task);
    return LDNQ_OK;
}

/* Each rank has corrected its blocks of rows. */
static void exchange_corrected_rows(const struct correction_task *task)
{
    const struct ldnq_compensation *c = task->compensation;
    struct ldnq_ranks *ranks = ldnq_pool_ranks(c->pool);
    ldnq_ranks_allgather_chunks(ranks, task->weight, c->geometry.rows, ROWS,
                                c->geometry.cols * sizeof *task->weight);
    if (task->bias)
        ldnq_ranks_allgather_chunks(ranks, task->bias, c->geometry.rows, ROWS, sizeof *task->bias);
}

enum ldnq_status ldnq_compensation_apply(const struct ldnq_compensation *compensation,
                                         const struct ldnq_statistics *statistics, double lambda,
                                         double damping, float *weight, float *bias,
                                         struct ldnq_error *err)
{
    struct correction_task task = { .compensation = compensation,
                                    .statistics = statistics,
                                    .lambda = lambda,
                                    .damping = damping,
                                    .weight = weight,
                                    .bias = bias };
    struct ldnq_arena *arena;
    if (statistics->positions == 0 || compensation->geometry.cols == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const bool has_groups = compensation->geometry.groups > 1;
    const enum ldnq_status status =
        has_groups ? correct_groups(&task, arena, err) : correct_row_blocks(&task, arena, err);
    ldnq_arena_destroy(arena);
    if (status == LDNQ_OK && !has_groups)
        exchange_corrected_rows(&task);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/statistics.h"

#include "base/size.h"
#include "linalg/gram.h"

/* Positions per chunk of work when threads share a slab. */
#define PART (LDNQ_GRAM_SLAB / 8)

enum ldnq_status ldnq_statistics_init_sums(struct ldnq_statistics *statistics,
                                           const struct ldnq_layer_geometry *geometry,
                                           struct ldnq_pool *pool, struct ldnq_arena *arena,
                                           struct ldnq_error *err)
{
    const size_t groups = geometry->groups, cols = geometry->cols;
    const size_t threads = ldnq_pool_threads(pool), slabs = groups > 1 ? threads : 1;
    *statistics = (struct ldnq_statistics){ .geometry = *geometry, .pool = pool };
    statistics->mean = ldnq_arena_alloc(arena, groups * cols, sizeof *statistics->mean, err);
    statistics->columns =
        ldnq_arena_alloc(arena, slabs * cols, LDNQ_GRAM_SLAB * sizeof *statistics->columns, err);
    statistics->scratch = ldnq_arena_alloc(arena, ldnq_gram_scratch_floats(cols, threads),
                                           sizeof *statistics->scratch, err);
    return statistics->mean && statistics->columns && statistics->scratch ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_statistics_init_part(struct ldnq_statistics *statistics,
                                           const struct ldnq_statistics *other,
                                           struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t columns = other->geometry.groups * other->geometry.cols;
    *statistics = *other;
    statistics->gram = NULL;
    statistics->mean = ldnq_arena_alloc(arena, columns, sizeof *statistics->mean, err);
    return statistics->mean ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_statistics_allocate_gram(struct ldnq_statistics *statistics,
                                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t groups = statistics->geometry.groups, cols = statistics->geometry.cols;
    size_t squares, all;
    if (!ldnq_size_mul(cols, cols, &squares) || !ldnq_size_mul(squares, groups, &all))
        return ldnq_fail(err, LDNQ_NOMEM, "%zu inputs are too many to be solved for", cols);
    statistics->gram = ldnq_arena_alloc(arena, all, sizeof *statistics->gram, err);
    return statistics->gram ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_statistics_init(struct ldnq_statistics *statistics,
                                      const struct ldnq_layer_geometry *geometry,
                                      struct ldnq_pool *pool, struct ldnq_arena *arena,
                                      struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_statistics_init_sums(statistics, geometry, pool, arena, err));
    return ldnq_statistics_allocate_gram(statistics, arena, err);
}

struct statistics_task {
    struct ldnq_statistics *statistics;
    const struct ldnq_op_call *call;
    const struct ldnq_position_sampling *sampling;
    size_t first, count; /* positions of the slab */
};

/* ---- one group: threads share a slab ----------------------------------------------------- */

static void fill_columns_task(void *argument, size_t chunk, size_t thread)
{
    (void)thread;
    const struct statistics_task *task = argument;
    size_t first = chunk * PART, count = ldnq_size_min(PART, task->count - first);
    ldnq_read_sampled_columns(task->call, 0, task->sampling, task->first + first, count,
                              task->statistics->columns + first, LDNQ_GRAM_SLAB);
}

static void add_single_group_gram(struct statistics_task *task)
{
    const struct ldnq_statistics *s = task->statistics;
    for (task->first = 0; task->first < task->sampling->count; task->first += LDNQ_GRAM_SLAB) {
        task->count = ldnq_size_min(LDNQ_GRAM_SLAB, task->sampling->count - task->first);
        ldnq_pool_run(s->pool, ldnq_size_ceil_div(task->count, PART), fill_columns_task, task);
        ldnq_statistics_add_slab(task->statistics, 0, task->count, 0);
    }
}

/* ---- several groups: one thread per group ---------------------------------------------- */

static void add_group_gram(void *argument, size_t group, size_t thread)
{
    const struct statistics_task *task = argument;
    float *columns = ldnq_statistics_slab(task->statistics, thread);
    for (size_t first = 0; first < task->sampling->count; first += LDNQ_GRAM_SLAB) {
        size_t count = ldnq_size_min(LDNQ_GRAM_SLAB, task->sampling->count - first);
        ldnq_read_sampled_columns(task->call, group, task->sampling, first, count, columns,
                                  LDNQ_GRAM_SLAB);
        ldnq_statistics_add_slab(task->statistics, group, count, thread);
    }
}

void ldnq_statistics_add_slab(struct ldnq_statistics *s, size_t group, size_t count, size_t thread)
{
    const size_t k = s->geometry.cols;
    const bool is_shared = s->geometry.groups == 1;
    if (!s->gram) {
        ldnq_gram_add_sums(k, ldnq_statistics_slab(s, thread), LDNQ_GRAM_SLAB, count,
                           s->mean + group * k, is_shared ? s->pool : NULL);
        return;
    }
    ldnq_gram_add(k, ldnq_statistics_slab(s, thread), LDNQ_GRAM_SLAB, count,
                  s->gram + group * k * k, s->mean + group * k,
                  s->scratch + (is_shared ? 0 : thread * ldnq_gram_scratch_floats(k, 1)),
                  is_shared ? s->pool : NULL);
}

float *ldnq_statistics_slab(const struct ldnq_statistics *s, size_t thread)
{
    return s->columns + (s->geometry.groups == 1 ? 0 : thread * s->geometry.cols * LDNQ_GRAM_SLAB);
}

void ldnq_statistics_add(struct ldnq_statistics *statistics, const struct ldnq_op_call *call,
                         const struct ldnq_position_sampling *sampling)
{
    struct statistics_task task = { .statistics = statistics, .call = call, .sampling = sampling };
    if (statistics->geometry.groups == 1)
        add_single_group_gram(&task);
    else
        ldnq_pool_run(statistics->pool, statistics->geometry.groups, add_group_gram, &task);
    statistics->positions += sampling->count;
}

void ldnq_statistics_merge(struct ldnq_statistics *s, const struct ldnq_statistics *other)
{
    const size_t columns = s->geometry.groups * s->geometry.cols;
    for (size_t i = 0; s->gram && i < columns * s->geometry.cols; i++)
        s->gram[i] += other->gram[i];
    for (size_t i = 0; i < columns; i++)
        s->mean[i] += other->mean[i];
    s->positions += other->positions;
}

void ldnq_statistics_finish(struct ldnq_statistics *s)
{
    const size_t columns = s->geometry.groups * s->geometry.cols;
    for (size_t i = 0; !s->gram && s->positions > 0 && i < columns; i++)
        s->mean[i] *= 1 / (double)s->positions;
    for (size_t g = 0; s->gram && g < s->geometry.groups; g++)
        ldnq_gram_finish(s->geometry.cols, (double)s->positions,
                         s->gram + g * s->geometry.cols * s->geometry.cols,
                         s->mean + g * s->geometry.cols);
}

void ldnq_statistics_restore_sums(struct ldnq_statistics *s)
{
    const size_t columns = s->geometry.groups * s->geometry.cols;
    for (size_t i = 0; s->gram && i < columns * s->geometry.cols; i++)
        s->gram[i] *= (double)s->positions;
    for (size_t i = 0; i < columns; i++)
        s->mean[i] *= (double)s->positions;
}

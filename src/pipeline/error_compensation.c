#include "pipeline/error_compensation.h"

#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "linalg/gram.h"

/* Rows of the weight that a thread takes at once. */
#define ROWS ((size_t)64)
/* Columns are made in parts, so that more than one thread can. */
#define PART (LDNQ_GRAM_SLAB / 8)

enum ldnq_status ldnq_compensation_init(struct ldnq_compensation *target,
                                        const struct ldnq_layer_geometry *geometry,
                                        const float *weight, struct ldnq_pool *pool,
                                        struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t groups = geometry->groups, rows = geometry->rows, cols = geometry->cols;
    const size_t threads = ldnq_pool_threads(pool), slabs = groups > 1 ? threads : 1;
    *target = (struct ldnq_compensation){ .geometry = *geometry, .weight = weight, .pool = pool };
#define NEW(member, n, size)                                                                       \
    (target->member = ldnq_arena_alloc(arena, n, (size) * sizeof *target->member, err))
    const bool has_all =
        NEW(cross, groups * rows, cols) && NEW(shift, groups, rows) && NEW(power, groups, rows) &&
        NEW(columns, slabs * cols, LDNQ_GRAM_SLAB) && NEW(apart, slabs * cols, LDNQ_GRAM_SLAB) &&
        NEW(outputs_apart, threads, ROWS * LDNQ_GRAM_SLAB) && NEW(product, threads * cols, ROWS);
#undef NEW
    return has_all ? LDNQ_OK : LDNQ_NOMEM;
}

struct job {
    const struct ldnq_compensation *target;
    const struct ldnq_op_call *quantized, *exact;
    size_t group, first, count; /* the slab */
    float *columns, *apart;
};

/* Positions at .. at+count-1 of the slab. */
static void make_columns(const struct job *job, size_t at, size_t count)
{
    float *columns = job->columns + at, *apart = job->apart + at;
    job->quantized->node->op->layer->columns(job->quantized, job->group, job->first + at, count,
                                             columns, LDNQ_GRAM_SLAB);
    job->exact->node->op->layer->columns(job->exact, job->group, job->first + at, count, apart,
                                         LDNQ_GRAM_SLAB);
    for (size_t k = 0; k < job->target->geometry.cols; k++)
        for (size_t i = 0; i < count; i++)
            apart[k * LDNQ_GRAM_SLAB + i] -= columns[k * LDNQ_GRAM_SLAB + i];
}

static void add_rows(const struct job *job, size_t first, size_t thread)
{
    const struct ldnq_compensation *t = job->target;
    const size_t k = t->geometry.cols, rows = ldnq_size_min(ROWS, t->geometry.rows - first);
    const size_t row = job->group * t->geometry.rows + first;
    float *apart = t->outputs_apart + thread * ROWS * LDNQ_GRAM_SLAB;
    float *product = t->product + thread * ROWS * k;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, job->count, k, 1, t->weight + row * k, k, job->apart,
               LDNQ_GRAM_SLAB, 0, apart, LDNQ_GRAM_SLAB);
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, k, job->count, 1, apart, LDNQ_GRAM_SLAB,
               job->columns, LDNQ_GRAM_SLAB, 0, product, k);
    for (size_t i = 0; i < rows * k; i++)
        t->cross[row * k + i] += (double)product[i];
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < job->count; i++) {
            const double value = (double)apart[r * LDNQ_GRAM_SLAB + i];
            t->shift[row + r] += value;
            t->power[row + r] += value * value;
        }
}

/* ---- one group: threads share a slab ----------------------------------------------------- */

static void make_part(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct job *job = ctx;
    make_columns(job, chunk * PART, ldnq_size_min(PART, job->count - chunk * PART));
}

static void add_part(void *ctx, size_t chunk, size_t thread)
{
    add_rows(ctx, chunk * ROWS, thread);
}

/* ---- many groups: a thread takes whole groups ---------------------------------------------- */

static void add_group(void *ctx, size_t group, size_t thread)
{
    const struct job *all = ctx;
    const struct ldnq_compensation *t = all->target;
    const size_t slab = thread * t->geometry.cols * LDNQ_GRAM_SLAB;
    struct job job = *all;
    job.group = group;
    job.columns = t->columns + slab;
    job.apart = t->apart + slab;
    make_columns(&job, 0, job.count);
    for (size_t first = 0; first < t->geometry.rows; first += ROWS)
        add_rows(&job, first, thread);
}

void ldnq_compensation_add(struct ldnq_compensation *target, const struct ldnq_op_call *quantized,
                           const struct ldnq_op_call *exact)
{
    const size_t positions = quantized->node->op->layer->positions(quantized);
    struct job job = { .target = target,
                       .quantized = quantized,
                       .exact = exact,
                       .columns = target->columns,
                       .apart = target->apart };
    if (target->geometry.cols == 0)
        return;
    for (; job.first < positions; job.first += LDNQ_GRAM_SLAB) {
        job.count = ldnq_size_min(LDNQ_GRAM_SLAB, positions - job.first);
        if (target->geometry.groups > 1) {
            ldnq_pool_run(target->pool, target->geometry.groups, add_group, &job);
            continue;
        }
        ldnq_pool_run(target->pool, ldnq_size_ceil_div(job.count, PART), make_part, &job);
        ldnq_pool_run(target->pool, ldnq_size_ceil_div(target->geometry.rows, ROWS), add_part,
                      &job);
    }
}

/* ---- the new centre ----------------------------------------------------------------------------
 */

void ldnq_compensation_merge(struct ldnq_compensation *target,
                             const struct ldnq_compensation *other)
{
    const size_t rows = target->geometry.groups * target->geometry.rows;
    for (size_t i = 0; i < rows * target->geometry.cols; i++)
        target->cross[i] += other->cross[i];
    for (size_t i = 0; i < rows; i++) {
        target->shift[i] += other->shift[i];
        target->power[i] += other->power[i];
    }
}

/* The lower triangle of the damped matrix, factored; false when it has no factor. */
static bool factor_group(const struct ldnq_statistics *s, size_t group, bool centred,
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

bool ldnq_compensation_solve(const struct ldnq_compensation *t, const struct ldnq_statistics *s,
                             size_t group, bool centred, double damping, double *factor,
                             double *step)
{
    const size_t k = t->geometry.cols, row = group * t->geometry.rows;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    if (!factor_group(s, group, centred, damping, factor))
        return false;
    for (size_t r = 0; r < t->geometry.rows; r++) {
        const double shift = centred ? t->shift[row + r] / all : 0;
        for (size_t i = 0; i < k; i++)
            step[r * k + i] = (t->cross[(row + r) * k + i] - shift * sum[i]) / all;
    }
    ldnq_cholesky_solve(k, factor, t->geometry.rows, step);
    return true;
}

static void apply_step(const struct ldnq_compensation *t, const struct ldnq_statistics *s,
                       size_t group, double lambda, const double *step, float *weight, float *bias)
{
    const size_t k = t->geometry.cols, row = group * t->geometry.rows;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    for (size_t r = 0; r < t->geometry.rows; r++) {
        double moved = 0;
        for (size_t i = 0; i < k; i++) {
            const double change = lambda * step[r * k + i];
            weight[(row + r) * k + i] += (float)change;
            moved += change * sum[i] / all;
        }
        if (bias)
            bias[row + r] += (float)(lambda * t->shift[row + r] / all - moved);
    }
}

enum ldnq_status ldnq_compensation_apply(const struct ldnq_compensation *target,
                                         const struct ldnq_statistics *statistics, double lambda,
                                         double damping, float *weight, float *bias,
                                         struct ldnq_error *err)
{
    const size_t k = target->geometry.cols;
    struct ldnq_arena *arena;
    if (statistics->positions == 0 || k == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    double *factor = ldnq_arena_alloc(arena, k * k, sizeof *factor, err);
    double *step = ldnq_arena_alloc(arena, target->geometry.rows * k, sizeof *step, err);
    const bool has_room = factor && step;
    for (size_t group = 0; has_room && group < target->geometry.groups; group++)
        if (ldnq_compensation_solve(target, statistics, group, bias != NULL, damping, factor, step))
            apply_step(target, statistics, group, lambda, step, weight, bias);
    ldnq_arena_destroy(arena);
    return has_room ? LDNQ_OK : LDNQ_NOMEM;
}

#include "pipeline/error_compensation.h"

#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "linalg/gram.h"

/* Rows of the weight per chunk of work. */
#define ROWS ((size_t)64)
/* Positions per chunk of work when threads share a slab. */
#define PART (LDNQ_GRAM_SLAB / 8)

enum ldnq_status ldnq_compensation_init(struct ldnq_compensation *compensation,
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
    const bool allocated = NEW(cross, groups * rows, cols) && NEW(shift, groups, rows) &&
                           NEW(power, groups, rows) &&
                           NEW(difference, slabs * cols, LDNQ_GRAM_SLAB) &&
                           NEW(output_difference, threads, ROWS * LDNQ_GRAM_SLAB) &&
                           NEW(product, threads * cols, ROWS);
#undef NEW
    return allocated ? LDNQ_OK : LDNQ_NOMEM;
}

struct slab_task {
    const struct ldnq_compensation *compensation;
    struct ldnq_statistics *statistics; /* their slab holds y^ */
    const struct ldnq_op_call *quantized, *exact;
    const struct ldnq_position_sampling *sampling;
    size_t group, first, count;  /* group and positions of the slab */
    float *columns, *difference; /* y^ and y - y^ */
};

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
}

static void add_row_block_product(const struct slab_task *slab, size_t first, size_t thread)
{
    const struct ldnq_compensation *c = slab->compensation;
    const size_t k = c->geometry.cols, rows = ldnq_size_min(ROWS, c->geometry.rows - first);
    const size_t row = slab->group * c->geometry.rows + first;
    float *difference = c->output_difference + thread * ROWS * LDNQ_GRAM_SLAB;
    float *product = c->product + thread * ROWS * k;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows, slab->count, k, 1, c->weight + row * k, k,
               slab->difference, LDNQ_GRAM_SLAB, 0, difference, LDNQ_GRAM_SLAB);
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, k, slab->count, 1, difference, LDNQ_GRAM_SLAB,
               slab->columns, LDNQ_GRAM_SLAB, 0, product, k);
    for (size_t i = 0; i < rows * k; i++)
        c->cross[row * k + i] += (double)product[i];
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < slab->count; i++) {
            const double value = (double)difference[r * LDNQ_GRAM_SLAB + i];
            c->shift[row + r] += value;
            c->power[row + r] += value * value;
        }
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

void ldnq_compensation_add(struct ldnq_compensation *compensation,
                           struct ldnq_statistics *statistics, const struct ldnq_op_call *quantized,
                           const struct ldnq_op_call *exact,
                           const struct ldnq_position_sampling *sampling)
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
    for (; slab.first < sampling->count; slab.first += LDNQ_GRAM_SLAB) {
        slab.count = ldnq_size_min(LDNQ_GRAM_SLAB, sampling->count - slab.first);
        if (compensation->geometry.groups > 1) {
            ldnq_pool_run(compensation->pool, compensation->geometry.groups, add_group_products,
                          &slab);
            continue;
        }
        ldnq_pool_run(compensation->pool, ldnq_size_ceil_div(slab.count, PART), fill_columns_task,
                      &slab);
        ldnq_statistics_add_slab(statistics, 0, slab.count, 0);
        ldnq_pool_run(compensation->pool, ldnq_size_ceil_div(compensation->geometry.rows, ROWS),
                      add_row_block_task, &slab);
    }
}

/* ---- the target ---- */

void ldnq_compensation_merge(struct ldnq_compensation *compensation,
                             const struct ldnq_compensation *other)
{
    const size_t rows = compensation->geometry.groups * compensation->geometry.rows;
    for (size_t i = 0; i < rows * compensation->geometry.cols; i++)
        compensation->cross[i] += other->cross[i];
    for (size_t i = 0; i < rows; i++) {
        compensation->shift[i] += other->shift[i];
        compensation->power[i] += other->power[i];
    }
}

/* Factors C of a group into the lower triangle of `out`; false when it has no factor. */
static bool factor_group_covariance(const struct ldnq_statistics *s, size_t group, bool centred,
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

bool ldnq_compensation_solve(const struct ldnq_compensation *c, const struct ldnq_statistics *s,
                             size_t group, bool centred, double damping, double *factor,
                             double *change)
{
    const size_t k = c->geometry.cols, row = group * c->geometry.rows;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    if (!factor_group_covariance(s, group, centred, damping, factor))
        return false;
    for (size_t r = 0; r < c->geometry.rows; r++) {
        const double shift = centred ? c->shift[row + r] / all : 0;
        for (size_t i = 0; i < k; i++)
            change[r * k + i] = (c->cross[(row + r) * k + i] - shift * sum[i]) / all;
    }
    ldnq_cholesky_solve(k, factor, c->geometry.rows, change);
    return true;
}

static void add_scaled_correction(const struct ldnq_compensation *c,
                                  const struct ldnq_statistics *s, size_t group, double lambda,
                                  const double *change, float *weight, float *bias)
{
    const size_t k = c->geometry.cols, row = group * c->geometry.rows;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    for (size_t r = 0; r < c->geometry.rows; r++) {
        double moved = 0;
        for (size_t i = 0; i < k; i++) {
            const double delta = lambda * change[r * k + i];
            weight[(row + r) * k + i] += (float)delta;
            moved += delta * sum[i] / all;
        }
        if (bias)
            bias[row + r] += (float)(lambda * c->shift[row + r] / all - moved);
    }
}

enum ldnq_status ldnq_compensation_apply(const struct ldnq_compensation *compensation,
                                         const struct ldnq_statistics *statistics, double lambda,
                                         double damping, float *weight, float *bias,
                                         struct ldnq_error *err)
{
    const size_t k = compensation->geometry.cols;
    struct ldnq_arena *arena;
    if (statistics->positions == 0 || k == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    double *factor = ldnq_arena_alloc(arena, k * k, sizeof *factor, err);
    double *change = ldnq_arena_alloc(arena, compensation->geometry.rows * k, sizeof *change, err);
    const bool allocated = factor && change;
    for (size_t group = 0; allocated && group < compensation->geometry.groups; group++)
        if (ldnq_compensation_solve(compensation, statistics, group, bias != NULL, damping, factor,
                                    change))
            add_scaled_correction(compensation, statistics, group, lambda, change, weight, bias);
    ldnq_arena_destroy(arena);
    return allocated ? LDNQ_OK : LDNQ_NOMEM;
}

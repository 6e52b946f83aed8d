/* SPDX-License-Identifier: Apache-2.0 */
#include "linalg/gram.h"

#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"

/* H is cut into square tiles, one per unit of work; only tiles on and above the diagonal
 * are computed. */
#define TILE ((size_t)96)
/* Edge of the blocks in which the upper triangle is copied to the lower one. */
#define MIRROR ((size_t)32)

static size_t count_tiles_per_side(size_t k)
{
    return ldnq_size_ceil_div(k, TILE);
}

static size_t count_tiles(size_t k)
{
    size_t side = count_tiles_per_side(k);
    return side * (side + 1) / 2;
}

static size_t count_tile_floats(size_t k)
{
    size_t edge = ldnq_size_min(k, TILE);
    return edge * edge;
}

size_t ldnq_gram_scratch_floats(size_t k, size_t threads)
{
    return threads * count_tile_floats(k);
}

struct gram_job {
    size_t k, ld, count;
    const float *columns;
    double *h, *sum;
    float *scratch;
};

LDNQ_MULTIVERSION
static void add_floats(const float *x, size_t count, double *sums)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += x[i];
}

static void add_gram_tile(const struct gram_job *job, size_t row, size_t column, float *product)
{
    size_t rows = ldnq_size_min(TILE, job->k - row);
    size_t width = ldnq_size_min(TILE, job->k - column);
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, rows, width, job->count, 1.0f,
               job->columns + row * job->ld, job->ld, job->columns + column * job->ld, job->ld,
               0.0f, product, width);
    for (size_t i = 0; i < rows; i++)
        add_floats(product + i * width, width, job->h + (row + i) * job->k + column);
}

/* Rows whose sums run side by side: each is a chain of additions that wait for one another. */
#define CHAINS 8

static void add_sums_of_rows(const float *columns, size_t ld, size_t count, double *sums)
{
    double chain[CHAINS] = { 0 };
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < CHAINS; i++)
            chain[i] += columns[i * ld + p];
    for (size_t i = 0; i < CHAINS; i++)
        sums[i] += chain[i];
}

static void add_column_sums(const struct gram_job *job, size_t row)
{
    const size_t last = ldnq_size_min(row + TILE, job->k);
    size_t i = row;
    for (; i + CHAINS <= last; i += CHAINS)
        add_sums_of_rows(job->columns + i * job->ld, job->ld, job->count, job->sum + i);
    for (; i < last; i++) {
        double sum = 0;
        for (size_t p = 0; p < job->count; p++)
            sum += job->columns[i * job->ld + p];
        job->sum[i] += sum;
    }
}

static void add_tile_and_sums(void *argument, size_t chunk, size_t thread)
{
    const struct gram_job *job = argument;
    size_t side = count_tiles_per_side(job->k), row = 0, left = chunk;
    while (left >= side - row)
        left -= side - row++;
    add_gram_tile(job, row * TILE, (row + left) * TILE,
                  job->scratch + thread * count_tile_floats(job->k));
    if (left == 0)
        add_column_sums(job, row * TILE);
}

void ldnq_gram_add(size_t k, const float *columns, size_t ld, size_t count, double *h, double *sum,
                   float *scratch, struct ldnq_pool *pool)
{
    struct gram_job job = {
        .k = k, .ld = ld, .count = count, .columns = columns, .h = h, .sum = sum, .scratch = scratch
    };
    ldnq_pool_run(pool, count_tiles(k), add_tile_and_sums, &job);
}

static void add_sums_task(void *argument, size_t chunk, size_t thread)
{
    (void)thread;
    add_column_sums(argument, chunk * TILE);
}

void ldnq_gram_add_sums(size_t k, const float *columns, size_t ld, size_t count, double *sum,
                        struct ldnq_pool *pool)
{
    struct gram_job job = { .k = k, .ld = ld, .count = count, .columns = columns, .sum = sum };
    ldnq_pool_run(pool, count_tiles_per_side(k), add_sums_task, &job);
}

void ldnq_gram_finish(size_t k, double count, double *h, double *sum)
{
    const double inverse = count > 0 ? 1 / count : 0;
    for (size_t i = 0; i < k; i++) {
        sum[i] *= inverse;
        for (size_t j = i; j < k; j++)
            h[i * k + j] *= inverse;
    }
    /* Blocks fit the caches, where whole columns of the lower triangle do not. */
    for (size_t row = 0; row < k; row += MIRROR)
        for (size_t column = row; column < k; column += MIRROR)
            for (size_t i = row; i < ldnq_size_min(row + MIRROR, k); i++)
                for (size_t j = ldnq_size_max(column, i + 1); j < ldnq_size_min(column + MIRROR, k);
                     j++)
                    h[j * k + i] = h[i * k + j];
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_kernels.h"

#include <string.h>

#include "base/size.h"
#include "linalg/gemm_tiled.h"
#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_choice.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_depthwise_rows.h"
#include "ops/conv/conv_direct.h"
#include "ops/conv/conv_few_positions.h"
#include "ops/shared/product.h"

/* The im2col columns of a tile should stay in the L2 cache together with its output, the
 * padded tile of a depthwise convolution in the L1 cache. */
#define COLUMN_FLOATS ((size_t)64 << 10)
#define MIN_POSITIONS ((size_t)128)
#define PADDED_FLOATS ((size_t)6 << 10)
/* Floats of a vector of a product: with AVX-512, so that the choice is the same everywhere. */
#define VECTOR ((size_t)16)
/* Multiplications in a chunk of depthwise planes: some microseconds. */
#define MIN_PRODUCTS ((size_t)64 << 10)

static size_t count_cols(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    return g->channels * g->kernel_h * g->kernel_w;
}

static size_t count_positions(const struct ldnq_conv_job *job)
{
    return job->geometry.out_h * job->geometry.out_w;
}

static bool is_depthwise(const struct ldnq_conv_job *job)
{
    return ldnq_conv_choose_implementation(job) == LDNQ_CONV_DEPTHWISE;
}

/* ---- tiles ------------------------------------------------------------------------- */

static size_t choose_depthwise_rows(const struct ldnq_conv_geometry *g, size_t columns)
{
    size_t row_floats = columns * g->stride_w + g->kernel_w * g->dilation_w;
    size_t fitting_rows = PADDED_FLOATS / row_floats, extent = g->kernel_h * g->dilation_h;
    return fitting_rows > extent ? (fitting_rows - extent) / g->stride_h + 1 : 1;
}

/* Vectors of a product's columns, with `rows` output rows per tile. */
static size_t count_product_vectors(const struct ldnq_conv_geometry *g, size_t rows)
{
    size_t rest = g->out_h % rows * g->out_w;
    return g->out_h / rows * ldnq_size_ceil_div(rows * g->out_w, VECTOR) +
           ldnq_size_ceil_div(rest, VECTOR);
}

/* From some rows to twice as many, those whose columns fill vectors best. */
static size_t choose_product_rows(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t positions = COLUMN_FLOATS / ldnq_size_max(1, count_cols(job));
    if (g->out_w > LDNQ_CONV_MAX_COLUMNS)
        return 1; /* a product writes its tile as one run */
    size_t least = ldnq_size_max(1, ldnq_size_max(positions, MIN_POSITIONS) / g->out_w);
    size_t best = ldnq_size_min(least, g->out_h), most = ldnq_size_min(2 * least, g->out_h);
    for (size_t rows = best; rows <= most; rows++)
        if (count_product_vectors(g, rows) < count_product_vectors(g, best))
            best = rows;
    return best;
}

static struct ldnq_conv_tiling plan_tiles(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    struct ldnq_conv_tiling tiling = { .columns = ldnq_size_min(g->out_w, LDNQ_CONV_MAX_COLUMNS) };
    switch (ldnq_conv_choose_implementation(job)) {
    case LDNQ_CONV_DEPTHWISE:
        tiling.rows = choose_depthwise_rows(g, tiling.columns);
        break;
    case LDNQ_CONV_DIRECT:
        tiling.rows = ldnq_conv_direct_choose_rows(job);
        break;
    default:
        tiling.rows = choose_product_rows(job);
        break;
    }
    tiling.rows = ldnq_size_min(ldnq_size_max(tiling.rows, 1), g->out_h);
    tiling.down = ldnq_size_ceil_div(g->out_h, tiling.rows);
    tiling.across = ldnq_size_ceil_div(g->out_w, tiling.columns);
    return tiling;
}

/* ---- scratch -------------------------------------------------------------------------- */

/* Planes per chunk, so that a chunk is worth waking a thread for. */
static size_t choose_planes_per_chunk(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t products = count_positions(job) * g->kernel_h * g->kernel_w * job->outputs;
    return ldnq_size_max(1, MIN_PRODUCTS / ldnq_size_max(1, products));
}

/* Planes whose padded tiles are filled together: as many as fit in the L1 cache. */
static size_t choose_planes_per_fill(const struct ldnq_conv_job *job,
                                     const struct ldnq_conv_tiling *tiling)
{
    struct ldnq_output_tile tile = { .rows = tiling->rows, .columns = tiling->columns };
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(&job->geometry, &tile, NULL);
    size_t most = PADDED_FLOATS / ldnq_size_max(1, ldnq_padded_tile_count_floats(&padded));
    return ldnq_size_max(1, ldnq_size_min(most, choose_planes_per_chunk(job)));
}

/* Floats of scratch per thread: first the im2col columns of a tile, then, at *padded_at,
 * the padded tile of one plane. Depthwise has padded tiles only. False on overflow. */
static bool count_thread_scratch_floats(const struct ldnq_conv_job *job,
                                        const struct ldnq_conv_tiling *tiling, size_t *padded_at,
                                        size_t *floats)
{
    struct ldnq_output_tile tile = { .rows = tiling->rows, .columns = tiling->columns };
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(&job->geometry, &tile, NULL);
    size_t cols = is_depthwise(job) ? 0 : count_cols(job), padded_tiles;
    if (!ldnq_size_mul(cols, tiling->rows * tiling->columns, padded_at) ||
        !ldnq_size_add(*padded_at, 15, padded_at) ||
        !ldnq_size_mul(ldnq_padded_tile_count_floats(&padded),
                       is_depthwise(job) ? choose_planes_per_fill(job, tiling) : 1, &padded_tiles))
        return false;
    *padded_at &= ~(size_t)15;
    if (!ldnq_size_add(*padded_at, padded_tiles, floats) ||
        !ldnq_size_add(*floats, LDNQ_DEPTHWISE_SLACK + 15, floats))
        return false;
    *floats &= ~(size_t)15;
    return true;
}

/* One thread's columns; *padded: its padded tiles. */
static float *find_thread_scratch(const struct ldnq_conv_job *job,
                                  const struct ldnq_conv_tiling *tiling, size_t thread,
                                  float **padded)
{
    size_t padded_at = 0, floats = 0;
    count_thread_scratch_floats(job, tiling, &padded_at, &floats);
    float *scratch = (float *)job->scratch + thread * floats;
    *padded = scratch + padded_at;
    return scratch;
}

/* ---- products ------------------------------------------------------------------------ */

/* im2col of one tile: columns (K, count). */
static const float *fill_tile_columns(const struct ldnq_conv_job *job,
                                      const struct ldnq_conv_tiling *tiling,
                                      const struct ldnq_output_tile *tile, const float *x,
                                      size_t thread)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t count = tile->rows * tile->columns, taps = g->kernel_h * g->kernel_w;
    float *plane, *columns = find_thread_scratch(job, tiling, thread, &plane);
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, tile, plane);
    for (size_t c = 0; c < g->channels; c++) {
        ldnq_padded_tile_fill(g, tile, x + c * g->height * g->width, &padded);
        ldnq_padded_tile_im2col(g, tile, &padded, columns + c * taps * count, count);
    }
    return columns;
}

/* One tile of one group of one image: y (M, count) = weight (M, K) columns (K, count). */
static void multiply_tile_columns(void *argument, size_t chunk, size_t thread)
{
    const struct ldnq_conv_job *job = argument;
    const struct ldnq_conv_geometry *g = &job->geometry;
    struct ldnq_conv_tiling tiling = plan_tiles(job);
    size_t tiles = tiling.down * tiling.across, k = count_cols(job), plane = count_positions(job);
    size_t image_group = chunk / tiles, group = image_group % job->groups;
    struct ldnq_output_tile tile = ldnq_conv_find_tile(&job->geometry, &tiling, chunk % tiles);
    size_t first = tile.y * g->out_w + tile.x, count = tile.rows * tile.columns;
    const float *x = job->x + image_group * g->channels * g->height * g->width;
    float *y = job->y + image_group * job->outputs * plane + first;
    bool pointwise = ldnq_conv_is_pointwise(job);
    const float *columns =
        pointwise ? x + first : fill_tile_columns(job, &tiling, &tile, x, thread);
    struct ldnq_gemm gemm = {
        .m = job->outputs,
        .n = count,
        .k = k,
        .a = job->weight + group * job->outputs * k,
        .a_row = k,
        .a_step = 1,
        .b = columns,
        .b_row = pointwise ? plane : count,
        .b_step = 1,
        .c = y,
        .c_row = plane,
        .alpha = 1.0f,
        .row_bias = job->bias ? job->bias + group * job->outputs : NULL,
        .is_clamped = job->clamp != NULL,
        .low = job->clamp ? job->clamp->low : 0,
        .high = job->clamp ? job->clamp->high : 0,
    };
    ldnq_gemm(&gemm);
}

static void find_image_offsets(const void *ctx, size_t image, size_t offsets[2])
{
    const struct ldnq_conv_job *job = ctx;
    offsets[1] = image * job->geometry.channels * count_positions(job);
}

/* One matrix product per image: y (M, P) = weight (M, C) x (C, P). */
static void multiply_pointwise_tile(const struct ldnq_conv_job *job, struct ldnq_pool *pool)
{
    struct ldnq_product product = {
        .m = job->outputs,
        .n = count_positions(job),
        .k = job->geometry.channels,
        .alpha = 1.0f,
        .batches = job->images,
        .offsets = find_image_offsets,
        .ctx = job,
        .a = job->weight,
        .b = job->x,
        .c = job->y,
        .row_bias = job->bias,
        .clamp = job->clamp,
    };
    ldnq_product_run(&product, pool);
}

static void run_direct(void *argument, size_t chunk, size_t thread)
{
    const struct ldnq_conv_job *job = argument;
    struct ldnq_conv_tiling tiling = plan_tiles(job);
    size_t tiles = tiling.down * tiling.across,
           parts = ldnq_conv_direct_choose_channel_parts(job, tiles);
    size_t part = chunk % parts, index = chunk / parts;
    struct ldnq_output_tile tile = ldnq_conv_find_tile(&job->geometry, &tiling, index % tiles);
    ldnq_conv_direct_compute_tile(
        job, index / tiles, &tile, part * job->outputs / parts, (part + 1) * job->outputs / parts,
        (float *)job->scratch + thread * ldnq_conv_direct_scratch_floats(job));
}

static void run_few_positions(void *argument, size_t chunk, size_t thread)
{
    const struct ldnq_conv_job *job = argument;
    float *scratch = (float *)job->scratch + thread * ldnq_conv_few_positions_scratch_floats(job);
    ldnq_conv_few_positions_compute_chunk(job, chunk, scratch);
}

/* ---- depthwise ------------------------------------------------------------------------ */

/* A chunk of planes, all tiles of each, and all outputs that read them. */
static void run_depthwise(void *argument, size_t chunk, size_t thread)
{
    const struct ldnq_conv_job *job = argument;
    const struct ldnq_conv_geometry *g = &job->geometry;
    struct ldnq_conv_tiling tiling = plan_tiles(job);
    size_t planes = choose_planes_per_chunk(job), tiles = tiling.down * tiling.across;
    const size_t step = choose_planes_per_fill(job, &tiling);
    size_t last = ldnq_size_min((chunk + 1) * planes, job->images * job->groups);
    float *data;
    if (ldnq_conv_depthwise_rows_fit(job)) {
        ldnq_conv_depthwise_compute_rows(job, chunk * planes, last - chunk * planes);
        return;
    }
    find_thread_scratch(job, &tiling, thread, &data);
    for (size_t i = 0; i < tiles; i++) {
        struct ldnq_output_tile tile = ldnq_conv_find_tile(&job->geometry, &tiling, i);
        struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, data);
        size_t pitch = ldnq_padded_tile_count_floats(&padded);
        for (size_t first = chunk * planes; first < last; first += step) {
            size_t count = ldnq_size_min(step, last - first);
            ldnq_padded_tile_fill_planes(g, &tile, job->x + first * g->height * g->width, &padded,
                                         count, pitch);
            /* Unused lanes read beyond the last padded tile: no stale denormals there. */
            memset(data + count * pitch, 0, LDNQ_DEPTHWISE_SLACK * sizeof *data);
            ldnq_conv_depthwise_compute_tile(job, &tile, &padded, pitch, first, count);
        }
    }
}

/* ---- dispatch -------------------------------------------------------------------------------- */

size_t ldnq_conv_scratch_bytes(const struct ldnq_conv_job *job, size_t threads)
{
    size_t bytes, padded_at, floats = 0;
    bool counted = true;
    if (count_positions(job) == 0)
        return 0;
    struct ldnq_conv_tiling tiling = plan_tiles(job);
    switch (ldnq_conv_choose_implementation(job)) {
    case LDNQ_CONV_POINTWISE:
        break;
    case LDNQ_CONV_DIRECT:
        floats = ldnq_conv_direct_scratch_floats(job);
        break;
    case LDNQ_CONV_FEW_POSITIONS:
        floats = ldnq_conv_few_positions_scratch_floats(job);
        break;
    default:
        counted = count_thread_scratch_floats(job, &tiling, &padded_at, &floats);
        break;
    }
    counted = counted && ldnq_size_mul(floats, threads * sizeof(float), &bytes);
    return counted ? bytes : SIZE_MAX;
}

void ldnq_conv_run(const struct ldnq_conv_job *job, struct ldnq_pool *pool)
{
    size_t images = job->images * job->groups;
    if (count_positions(job) == 0 || images == 0)
        return;
    struct ldnq_conv_tiling tiling = plan_tiles(job);
    size_t tiles = tiling.down * tiling.across, chunks = images * tiles;
    ldnq_chunk_fn *run = multiply_tile_columns;
    switch (ldnq_conv_choose_implementation(job)) {
    case LDNQ_CONV_POINTWISE:
        multiply_pointwise_tile(job, pool);
        return;
    case LDNQ_CONV_DEPTHWISE:
        chunks = ldnq_size_ceil_div(images, choose_planes_per_chunk(job));
        run = run_depthwise;
        break;
    case LDNQ_CONV_DIRECT:
        chunks *= ldnq_conv_direct_choose_channel_parts(job, tiles);
        run = run_direct;
        break;
    case LDNQ_CONV_FEW_POSITIONS:
        chunks = ldnq_conv_few_positions_count_chunks(job);
        run = run_few_positions;
        break;
    case LDNQ_CONV_PRODUCT:
        break;
    }
    ldnq_pool_run(pool, chunks, run, (void *)job);
}

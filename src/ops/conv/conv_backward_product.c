/* SPDX-License-Identifier: Apache-2.0 */
/* conv_backward_product.c: gradients of the convolution as matrix products.
 *
 * The C channels of a group are divided into blocks, whose im2col columns are a matrix of
 * a size that suits the cache. A chunk for dx is one block of one image. A chunk for dw is
 * one block and one slice of the images' tiles; the slices are added at the end.
 */
#include "ops/conv/conv_backward.h"

#include <string.h>

#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"

#define BLOCK_COLS ((size_t)320)
#define COLUMN_FLOATS ((size_t)64 << 10)
#define MIN_POSITIONS ((size_t)128)
/* Positions per block of a 1x1 convolution, where x itself is the matrix of columns. */
#define POINTWISE_POSITIONS ((size_t)4096)
#define MAX_SLICES ((size_t)16)
#define SLICE_FLOATS ((size_t)1 << 20)
#define SUM_PIECE ((size_t)4096)

struct grad_product {
    const struct ldnq_conv_grad *grad;
    size_t taps, cols, plane; /* KH*KW; K = C*taps; OH*OW */
    size_t block, blocks;     /* channels per block */
    struct ldnq_conv_tiling tiling;
    size_t tiles, pieces;          /* tiles per plane; tiles of all images */
    size_t slices;                 /* into which the pieces are divided for dw */
    size_t columns_floats, floats; /* scratch per thread: the columns; in total */
    bool pointwise;
};

static size_t round_up_to_16_floats(size_t floats)
{
    return floats > SIZE_MAX - 15 ? SIZE_MAX : (floats + 15) & ~(size_t)15;
}

/* Scratch per thread: im2col columns, then a padded tile. False on overflow. */
static bool count_thread_scratch_floats(struct grad_product *p)
{
    const struct ldnq_conv_geometry *g = &p->grad->job.geometry;
    struct ldnq_output_tile tile = { .rows = p->tiling.rows, .columns = p->tiling.columns };
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, NULL);
    p->columns_floats = p->floats = 0;
    if (p->pointwise)
        return true;
    if (!ldnq_size_mul(p->block * p->taps, p->tiling.rows * p->tiling.columns, &p->columns_floats))
        return false;
    p->columns_floats = round_up_to_16_floats(p->columns_floats);
    return ldnq_size_add(p->columns_floats,
                         round_up_to_16_floats(ldnq_padded_tile_count_floats(&padded)), &p->floats);
}

static bool make_product(const struct ldnq_conv_grad *grad, struct grad_product *p)
{
    const struct ldnq_conv_job *job = &grad->job;
    const struct ldnq_conv_geometry *g = &job->geometry;
    *p = (struct grad_product){ .grad = grad,
                                .taps = g->kernel_h * g->kernel_w,
                                .plane = g->out_h * g->out_w };
    p->cols = g->channels * p->taps;
    p->blocks = ldnq_size_min(ldnq_size_ceil_div(p->cols, BLOCK_COLS), g->channels);
    p->block = ldnq_size_ceil_div(g->channels, p->blocks);
    p->blocks = ldnq_size_ceil_div(g->channels, p->block);
    p->pointwise = p->taps == 1 && g->stride_h == 1 && g->stride_w == 1 && g->out_h == g->height &&
                   g->out_w == g->width && !g->pad_top && !g->pad_left;
    size_t positions = ldnq_size_max(COLUMN_FLOATS / (p->block * p->taps), MIN_POSITIONS);
    p->tiling = ldnq_conv_plan_tiles(g, p->pointwise ? POINTWISE_POSITIONS : positions);
    p->tiles = p->tiling.down * p->tiling.across;
    p->pieces = job->images * p->tiles;
    size_t weights = job->groups * job->outputs * p->cols;
    p->slices = ldnq_size_min(MAX_SLICES, SLICE_FLOATS / weights);
    p->slices = ldnq_size_max(1, ldnq_size_min(p->slices, p->pieces));
    return count_thread_scratch_floats(p);
}

static struct ldnq_padded_tile find_thread_padded_tile(const struct grad_product *p,
                                                       const struct ldnq_output_tile *tile,
                                                       size_t thread, float **columns)
{
    *columns = (float *)p->grad->scratch + thread * p->floats;
    return ldnq_padded_tile_make(&p->grad->job.geometry, tile, *columns + p->columns_floats);
}

/* ---- dx ------------------------------------------------------------------- */

LDNQ_MULTIVERSION
static void add_rows(const float *restrict in, float *restrict out, size_t out_ld, size_t rows,
                     size_t count)
{
    for (size_t row = 0; row < rows; row++, in += count, out += out_ld)
        for (size_t x = 0; x < count; x++)
            out[x] += in[x];
}

/* col2im of one channel, through a padded tile: columns (taps, count) to plane (H, W). */
static void add_columns(const struct ldnq_conv_geometry *g, const struct ldnq_output_tile *tile,
                        const struct ldnq_padded_tile *padded, const float *columns, float *plane)
{
    size_t row_step = ldnq_padded_tile_row_step(padded), count = tile->rows * tile->columns;
    memset(padded->data, 0, ldnq_padded_tile_count_floats(padded) * sizeof *padded->data);
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++, columns += count)
            add_rows(columns,
                     padded->data + (ldnq_padded_tile_row(padded, 0, kh, kw) - padded->data),
                     row_step, tile->rows, tile->columns);
    ldnq_padded_tile_scatter_add(g, tile, padded, plane);
}

/* One block of channels of one group of one image: columns = weight' dy, then col2im. */
static void compute_block_dx(void *argument, size_t chunk, size_t thread)
{
    const struct grad_product *p = argument;
    const struct ldnq_conv_job *job = &p->grad->job;
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t image_group = chunk / p->blocks, first = chunk % p->blocks * p->block;
    size_t channels = ldnq_size_min(p->block, g->channels - first), size = g->height * g->width;
    const float *dy = p->grad->dy + image_group * job->outputs * p->plane;
    const float *w = job->weight + image_group % job->groups * job->outputs * p->cols;
    float *dx = p->grad->dx + (image_group * g->channels + first) * size;
    memset(dx, 0, channels * size * sizeof *dx);
    for (size_t i = 0; i < p->tiles; i++) {
        struct ldnq_output_tile tile = ldnq_conv_find_tile(g, &p->tiling, i);
        size_t at = tile.y * g->out_w + tile.x, count = tile.rows * tile.columns;
        float *columns;
        struct ldnq_padded_tile padded = find_thread_padded_tile(p, &tile, thread, &columns);
        ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, channels * p->taps, count, job->outputs, 1.0f,
                   w + first * p->taps, p->cols, dy + at, p->plane, 0.0f, columns, count);
        for (size_t c = 0; c < channels; c++)
            add_columns(g, &tile, &padded, columns + c * p->taps * count, dx + c * size);
    }
}

size_t ldnq_conv_product_dx_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads)
{
    struct grad_product p;
    size_t floats;
    return make_product(grad, &p) && ldnq_size_mul(p.floats, threads, &floats) ? floats : SIZE_MAX;
}

void ldnq_conv_product_compute_dx(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool)
{
    struct grad_product p;
    make_product(grad, &p);
    ldnq_pool_run(pool, grad->job.images * grad->job.groups * p.blocks, compute_block_dx, &p);
}

/* ---- dw ------------------------------------------------------------- */

struct grad_weights {
    struct grad_product p;
    float *partial; /* (slices, count); dw itself if there is one slice */
    size_t count;   /* G*M*K */
};

/* im2col of one tile of `channels` planes: columns (channels*taps, count). */
static const float *fill_tile_columns(const struct grad_product *p,
                                      const struct ldnq_output_tile *tile, const float *x,
                                      size_t channels, size_t thread)
{
    const struct ldnq_conv_geometry *g = &p->grad->job.geometry;
    size_t count = tile->rows * tile->columns;
    float *columns;
    struct ldnq_padded_tile padded = find_thread_padded_tile(p, tile, thread, &columns);
    for (size_t c = 0; c < channels; c++) {
        ldnq_padded_tile_fill(g, tile, x + c * g->height * g->width, &padded);
        ldnq_padded_tile_im2col(g, tile, &padded, columns + c * p->taps * count, count);
    }
    return columns;
}

/* One slice of one block of channels of one group: dw += dy columns'. */
static void compute_slice_dw(void *argument, size_t chunk, size_t thread)
{
    const struct grad_weights *weights = argument;
    const struct grad_product *p = &weights->p;
    const struct ldnq_conv_job *job = &p->grad->job;
    const struct ldnq_conv_geometry *g = &job->geometry;
    size_t first = chunk % p->blocks * p->block, group = chunk / p->blocks % job->groups;
    size_t slice = chunk / p->blocks / job->groups, last = p->pieces * (slice + 1) / p->slices;
    size_t channels = ldnq_size_min(p->block, g->channels - first);
    float *dw = weights->partial + slice * weights->count + group * job->outputs * p->cols +
                first * p->taps;
    float beta = 0.0f;
    for (size_t piece = p->pieces * slice / p->slices; piece < last; piece++, beta = 1.0f) {
        struct ldnq_output_tile tile = ldnq_conv_find_tile(g, &p->tiling, piece % p->tiles);
        size_t image_group = piece / p->tiles * job->groups + group;
        size_t at = tile.y * g->out_w + tile.x, count = tile.rows * tile.columns;
        const float *x = job->x + (image_group * g->channels + first) * g->height * g->width;
        const float *dy = p->grad->dy + image_group * job->outputs * p->plane + at;
        const float *columns =
            p->pointwise ? x + at : fill_tile_columns(p, &tile, x, channels, thread);
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, job->outputs, channels * p->taps, count, 1.0f, dy,
                   p->plane, columns, p->pointwise ? p->plane : count, beta, dw, p->cols);
    }
}

/* dw = the sum over the slices, in their order. */
static void sum_dw_slices(void *argument, size_t chunk, size_t thread)
{
    const struct grad_weights *weights = argument;
    size_t first = chunk * SUM_PIECE;
    size_t count = ldnq_size_min(SUM_PIECE, weights->count - first);
    float *dw = weights->p.grad->dw + first;
    const float *partial = weights->partial + first;
    (void)thread;
    memcpy(dw, partial, count * sizeof *dw);
    for (size_t slice = 1; slice < weights->p.slices; slice++)
        add_rows(partial + slice * weights->count, dw, 0, 1, count);
}

static size_t count_weights(const struct grad_product *p)
{
    return p->grad->job.groups * p->grad->job.outputs * p->cols;
}

size_t ldnq_conv_product_dw_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads)
{
    struct grad_product p;
    size_t floats, all;
    if (!make_product(grad, &p) || !ldnq_size_mul(p.floats, threads, &floats))
        return SIZE_MAX;
    size_t partial = p.slices > 1 ? p.slices * count_weights(&p) : 0;
    return ldnq_size_add(floats, round_up_to_16_floats(partial), &all) ? all : SIZE_MAX;
}

void ldnq_conv_product_compute_dw(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool)
{
    struct grad_weights weights;
    struct grad_product *p = &weights.p;
    make_product(grad, p);
    weights.count = count_weights(p);
    weights.partial =
        p->slices == 1 ? grad->dw : (float *)grad->scratch + ldnq_pool_threads(pool) * p->floats;
    ldnq_pool_run(pool, p->slices * grad->job.groups * p->blocks, compute_slice_dw, &weights);
    if (p->slices > 1)
        ldnq_pool_run(pool, ldnq_size_ceil_div(weights.count, SUM_PIECE), sum_dw_slices, &weights);
}

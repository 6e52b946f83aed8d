/* SPDX-License-Identifier: Apache-2.0 */
/* conv_backward_depthwise.c: gradients of a convolution with C = 1 channel per group, over
 * padded tiles (padded_tile.h).
 *
 * dw[m][kh][kw] = sum over output rows of the dot product of dy's row with the tap's
 * inputs. With stride 1 the input rows of a tap follow each other in the padded tile at a
 * fixed distance. dy is then copied with the same distance between its rows and zeros in
 * the gaps, and one dot product covers all rows.
 *
 * Numbers  sums are float in 16 lanes over a tile, double over tiles and images
 */
#include "ops/conv/conv_backward.h"

#include <string.h>

#include "base/simd.h"
#include "base/size.h"

#define PADDED_FLOATS ((size_t)6 << 10)
#define LANES 8
#define STEP ((size_t)(2 * LANES))
#define MAX_TAPS 5 /* taps whose sums are computed together */

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

static size_t round_up(size_t floats)
{
    return floats > SIZE_MAX - STEP ? SIZE_MAX : (floats + STEP - 1) & ~(STEP - 1);
}

static struct ldnq_conv_tiling plan_tiles(const struct ldnq_conv_geometry *g)
{
    size_t row_floats = g->out_w * g->stride_w + g->kernel_w * g->dilation_w;
    size_t fitting_rows = PADDED_FLOATS / row_floats, extent = g->kernel_h * g->dilation_h;
    size_t rows = fitting_rows > extent ? (fitting_rows - extent) / g->stride_h + 1 : 1;
    return ldnq_conv_plan_tiles(g, rows * g->out_w);
}

/* One thread's scratch, in floats: the padded tile and the floats that the last vector
 * reads beyond its end, then the copy of dy, then the sums (M, KH*KW) in double. */
struct depthwise_scratch {
    size_t padded, dy, sums;
};

static bool count_floats_of_thread_parts(const struct ldnq_conv_grad *grad,
                                         struct depthwise_scratch *sizes)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    struct ldnq_conv_tiling tiling = plan_tiles(g);
    struct ldnq_output_tile tile = { .rows = tiling.rows, .columns = tiling.columns };
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, NULL);
    size_t sums = grad->job.outputs * g->kernel_h * g->kernel_w * sizeof(double) / sizeof(float);
    return ldnq_size_add(ldnq_padded_tile_count_floats(&padded), padded.phase_width + STEP,
                         &sizes->padded) &&
           ldnq_size_mul(tile.rows, padded.phase_width + STEP, &sizes->dy) &&
           (sizes->padded = round_up(sizes->padded)) != SIZE_MAX &&
           (sizes->dy = round_up(sizes->dy)) != SIZE_MAX &&
           (sizes->sums = round_up(sums)) != SIZE_MAX;
}

static bool count_thread_floats(const struct depthwise_scratch *sizes, size_t *floats)
{
    return ldnq_size_add(sizes->padded, sizes->dy, floats) &&
           ldnq_size_add(*floats, sizes->sums, floats);
}

static size_t count_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads)
{
    struct depthwise_scratch sizes;
    size_t floats, all;
    return count_floats_of_thread_parts(grad, &sizes) && count_thread_floats(&sizes, &floats) &&
                   ldnq_size_mul(floats, threads, &all)
               ? all
               : SIZE_MAX;
}

/* ---- dw -------------------------------------------------------- */

/* The copy of dy that the dot products read: `runs` runs of `width` floats, a multiple of
 * STEP. A tap's inputs for run i start i*pitch floats after those for run 0. */
struct dy_runs {
    const float *dy;
    size_t runs, width;
    size_t pitch;
};

/* Copies one tile of a plane of dy to `out`. */
static struct dy_runs copy_dy(const struct ldnq_conv_geometry *g,
                              const struct ldnq_output_tile *tile,
                              const struct ldnq_padded_tile *padded, const float *dy, float *out)
{
    size_t pitch = ldnq_padded_tile_row_step(padded);
    bool joined = pitch == padded->phase_width;
    size_t row_step = joined ? pitch : round_up(tile->columns);
    struct dy_runs runs = { .dy = out,
                            .runs = joined ? 1 : tile->rows,
                            .pitch = pitch,
                            .width = joined ? round_up(tile->rows * pitch) : row_step };
    memset(out, 0, runs.runs * runs.width * sizeof *out);
    for (size_t row = 0; row < tile->rows; row++)
        memcpy(out + row * row_step, dy + (tile->y + row) * g->out_w + tile->x,
               tile->columns * sizeof *out);
    return runs;
}

/* sums[k] += dot product of dy with the inputs of tap k, which start at input[k]. `taps` is a
 * constant at every call. */
static inline __attribute__((always_inline)) void
sum_together(const struct dy_runs *r, const float *const *input, size_t taps, double *sums)
{
    lanes low[MAX_TAPS] = { 0 }, high[MAX_TAPS] = { 0 };
    for (size_t run = 0; run < r->runs; run++) {
        const float *dy = r->dy + run * r->width;
        for (size_t i = 0; i < r->width; i += STEP) {
            lanes a = *(const lanes *)(dy + i), b = *(const lanes *)(dy + i + LANES);
            for (size_t k = 0; k < taps; k++) {
                const float *x = input[k] + run * r->pitch + i;
                low[k] += a * *(const lanes *)x;
                high[k] += b * *(const lanes *)(x + LANES);
            }
        }
    }
    for (size_t k = 0; k < taps; k++)
        for (size_t i = 0; i < LANES; i++)
            sums[k] += (double)low[k][i] + (double)high[k][i];
}

LDNQ_MULTIVERSION
static void sum_taps(const struct dy_runs *r, const float *const *input, size_t taps, double *sums)
{
    switch (taps) {
    case 5:
        sum_together(r, input, 5, sums);
        break;
    case 4:
        sum_together(r, input, 4, sums);
        break;
    case 3:
        sum_together(r, input, 3, sums);
        break;
    case 2:
        sum_together(r, input, 2, sums);
        break;
    default:
        sum_together(r, input, 1, sums);
        break;
    }
}

static void sum_tile(const struct ldnq_conv_geometry *g, const struct ldnq_padded_tile *padded,
                     const struct dy_runs *runs, double *sums)
{
    const float *input[MAX_TAPS];
    for (size_t kh = 0; kh < g->kernel_h; kh++) {
        for (size_t kw = 0; kw < g->kernel_w; kw += MAX_TAPS) {
            size_t taps = ldnq_size_min(MAX_TAPS, g->kernel_w - kw);
            for (size_t k = 0; k < taps; k++)
                input[k] = ldnq_padded_tile_row(padded, 0, kh, kw + k);
            sum_taps(runs, input, taps, sums + kh * g->kernel_w + kw);
        }
    }
}

/* sums (M, taps) += the weight gradients of one group from one image. */
static void add_image_weight_gradient(const struct ldnq_conv_grad *grad, size_t image_group,
                                      const struct ldnq_conv_tiling *tiling, float *padded_data,
                                      float *dy, double *sums)
{
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    size_t outputs = grad->job.outputs, taps = g->kernel_h * g->kernel_w;
    const float *x = grad->job.x + image_group * g->height * g->width;
    for (size_t i = 0; i < tiling->down * tiling->across; i++) {
        struct ldnq_output_tile tile = ldnq_conv_find_tile(g, tiling, i);
        struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, padded_data);
        ldnq_padded_tile_fill(g, &tile, x, &padded);
        for (size_t m = 0; m < outputs; m++) {
            const float *plane = grad->dy + (image_group * outputs + m) * g->out_h * g->out_w;
            struct dy_runs runs = copy_dy(g, &tile, &padded, plane, dy);
            sum_tile(g, &padded, &runs, sums + m * taps);
        }
    }
}

/* dw (M, taps) of one group, over all images. */
static void compute_group_dw(void *argument, size_t group, size_t thread)
{
    const struct ldnq_conv_grad *grad = argument;
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    struct ldnq_conv_tiling tiling = plan_tiles(g);
    struct depthwise_scratch sizes;
    size_t floats = 0, count = grad->job.outputs * g->kernel_h * g->kernel_w;
    count_floats_of_thread_parts(grad, &sizes);
    count_thread_floats(&sizes, &floats);
    float *scratch = (float *)grad->scratch + thread * floats, *dy = scratch + sizes.padded;
    double *sums = (double *)(void *)(dy + sizes.dy);
    /* The floats beyond the padded tile are multiplied by 0, and must not be NaN. */
    memset(scratch, 0, sizes.padded * sizeof *scratch);
    for (size_t i = 0; i < count; i++)
        sums[i] = 0;
    for (size_t image = 0; image < grad->job.images; image++)
        add_image_weight_gradient(grad, image * grad->job.groups + group, &tiling, scratch, dy,
                                  sums);
    for (size_t i = 0; i < count; i++)
        grad->dw[group * count + i] = (float)sums[i];
}

size_t ldnq_conv_depthwise_dw_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads)
{
    return count_scratch_floats(grad, threads);
}

void ldnq_conv_depthwise_compute_dw(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool)
{
    ldnq_pool_run(pool, grad->job.groups, compute_group_dw, (void *)grad);
}

/* ---- dx -------------------------------------------------------------------- */

LDNQ_MULTIVERSION
static void add_scaled_row(const float *restrict dy, float w, float *restrict out, size_t count)
{
    for (size_t x = 0; x < count; x++)
        out[x] += w * dy[x];
}

/* padded += w dy: the transpose of the forward pass, for one output plane of one tile. */
static void add_tile(const struct ldnq_conv_geometry *g, const struct ldnq_output_tile *tile,
                     const struct ldnq_padded_tile *padded, const float *w, const float *dy)
{
    for (size_t row = 0; row < tile->rows; row++) {
        const float *dy_row = dy + (tile->y + row) * g->out_w + tile->x;
        for (size_t kh = 0; kh < g->kernel_h; kh++)
            for (size_t kw = 0; kw < g->kernel_w; kw++)
                add_scaled_row(dy_row, w[kh * g->kernel_w + kw],
                               padded->data +
                                   (ldnq_padded_tile_row(padded, row, kh, kw) - padded->data),
                               tile->columns);
    }
}

/* dx of one group of one image. */
static void compute_image_dx(void *argument, size_t chunk, size_t thread)
{
    const struct ldnq_conv_grad *grad = argument;
    const struct ldnq_conv_geometry *g = &grad->job.geometry;
    struct ldnq_conv_tiling tiling = plan_tiles(g);
    struct depthwise_scratch sizes;
    size_t floats = 0, outputs = grad->job.outputs, group = chunk % grad->job.groups;
    size_t size = g->height * g->width;
    count_floats_of_thread_parts(grad, &sizes);
    count_thread_floats(&sizes, &floats);
    float *scratch = (float *)grad->scratch + thread * floats, *dx = grad->dx + chunk * size;
    memset(dx, 0, size * sizeof *dx);
    for (size_t i = 0; i < tiling.down * tiling.across; i++) {
        struct ldnq_output_tile tile = ldnq_conv_find_tile(g, &tiling, i);
        struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, scratch);
        memset(scratch, 0, ldnq_padded_tile_count_floats(&padded) * sizeof *scratch);
        for (size_t m = 0; m < outputs; m++)
            add_tile(g, &tile, &padded,
                     grad->job.weight + (group * outputs + m) * g->kernel_h * g->kernel_w,
                     grad->dy + (chunk * outputs + m) * g->out_h * g->out_w);
        ldnq_padded_tile_scatter_add(g, &tile, &padded, dx);
    }
}

size_t ldnq_conv_depthwise_dx_scratch_floats(const struct ldnq_conv_grad *grad, size_t threads)
{
    return count_scratch_floats(grad, threads);
}

void ldnq_conv_depthwise_compute_dx(const struct ldnq_conv_grad *grad, struct ldnq_pool *pool)
{
    ldnq_pool_run(pool, grad->job.images * grad->job.groups, compute_image_dx, (void *)grad);
}

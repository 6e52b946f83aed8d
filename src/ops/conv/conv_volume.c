/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_volume.h"

#include <string.h>

#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"

/* The im2col columns of a tile should stay in the L2 cache. */
#define COLUMN_FLOATS ((size_t)64 << 10)
#define MIN_POSITIONS ((size_t)128)
#define MAX_POSITIONS ((size_t)1024)
/* Rows of columns per chunk of a transposed convolution and of a weight's gradient. */
#define BLOCK_ROWS ((size_t)96)

struct volume_pass {
    const struct ldnq_conv_volume_job *job;
    const float *image, *maps, *bias;
    const struct ldnq_clamp *clamp;
    float *out;
    size_t cols, plane, positions, taps; /* K = C*taps, D*H*W, OD*OH*OW, KD*KH*KW */
    size_t tile, tiles;                  /* positions per tile */
    size_t block, blocks;                /* channels of the image per block */
};

/* Divides the work; with all_channels, one block has all channels of a group. */
static struct volume_pass plan_volume_blocks(const struct ldnq_conv_volume_job *job,
                                             bool all_channels)
{
    const struct ldnq_volume *v = &job->volume;
    struct volume_pass pass = { .job = job,
                                .plane = ldnq_volume_count_plane(v),
                                .positions = ldnq_volume_count_positions(v),
                                .taps = ldnq_volume_count_taps(v) };
    pass.cols = v->channels * pass.taps;
    pass.block = ldnq_size_max(1, BLOCK_ROWS / ldnq_size_max(1, pass.taps));
    pass.block = all_channels ? v->channels : ldnq_size_min(pass.block, v->channels);
    size_t rows = ldnq_size_max(1, pass.block * pass.taps);
    pass.tile = ldnq_size_max(COLUMN_FLOATS / rows, MIN_POSITIONS);
    pass.tile = ldnq_size_min(ldnq_size_min(pass.tile, MAX_POSITIONS), pass.positions);
    pass.blocks = pass.block ? ldnq_size_ceil_div(v->channels, pass.block) : 0;
    pass.tiles = pass.tile ? ldnq_size_ceil_div(pass.positions, pass.tile) : 0;
    return pass;
}

/* Floats of scratch per thread: the columns of one block for one tile. */
static bool count_thread_scratch_floats(const struct volume_pass *pass, size_t *floats)
{
    if (!ldnq_size_mul(pass->block, pass->taps, floats) ||
        !ldnq_size_mul(*floats, pass->tile, floats) || !ldnq_size_add(*floats, 15, floats))
        return false;
    *floats &= ~(size_t)15;
    return true;
}

size_t ldnq_conv_volume_scratch_bytes(const struct ldnq_conv_volume_job *job, size_t threads)
{
    struct volume_pass whole = plan_volume_blocks(job, true),
                       block = plan_volume_blocks(job, false);
    size_t a, b, bytes;
    if (!count_thread_scratch_floats(&whole, &a) || !count_thread_scratch_floats(&block, &b) ||
        !ldnq_size_mul(ldnq_size_max(a, b), threads * sizeof(float), &bytes))
        return SIZE_MAX;
    return bytes;
}

static float *find_thread_scratch(const struct volume_pass *pass, size_t thread)
{
    size_t floats = 0;
    count_thread_scratch_floats(pass, &floats);
    return (float *)pass->job->scratch + thread * floats;
}

/* y = clamp(y + bias); clamp may be NULL. */
LDNQ_MULTIVERSION
static void add_bias_and_clamp(float *y, size_t count, float bias, const struct ldnq_clamp *clamp)
{
    for (size_t i = 0; i < count; i++)
        y[i] += bias;
    if (!clamp)
        return;
    float low = clamp->low, high = clamp->high;
    for (size_t i = 0; i < count; i++) {
        float value = y[i] < low ? low : y[i];
        y[i] = value > high ? high : value;
    }
}

/* ---- forward ------------------------------------------------------------------------- */

/* One tile of one group of one image: y (M, count) = weight (M, K) columns (K, count). */
static void run_forward_tile(void *argument, size_t chunk, size_t thread)
{
    const struct volume_pass *p = argument;
    const struct ldnq_conv_volume_job *job = p->job;
    size_t first = chunk % p->tiles * p->tile, image_group = chunk / p->tiles;
    size_t count = ldnq_size_min(p->tile, p->positions - first);
    size_t channel = image_group % job->groups * job->outputs;
    const float *image = p->image + image_group * job->volume.channels * p->plane;
    float *y = p->out + image_group * job->outputs * p->positions + first;
    float *columns = find_thread_scratch(p, thread);
    ldnq_volume_im2col(&job->volume, image, first, count, columns, count);
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, job->outputs, count, p->cols, 1.0f,
               job->weight + channel * p->cols, p->cols, columns, count, 0.0f, y, p->positions);
    for (size_t m = 0; m < job->outputs && (p->bias || p->clamp); m++)
        add_bias_and_clamp(y + m * p->positions, count, p->bias ? p->bias[channel + m] : 0.0f,
                           p->clamp);
}

void ldnq_conv_volume_run(const struct ldnq_conv_volume_job *job, const float *image,
                          const float *bias, const struct ldnq_clamp *clamp, float *maps,
                          struct ldnq_pool *pool)
{
    struct volume_pass pass = plan_volume_blocks(job, true);
    pass.image = image;
    pass.bias = bias;
    pass.clamp = clamp;
    pass.out = maps;
    ldnq_pool_run(pool, job->images * job->groups * pass.tiles, run_forward_tile, &pass);
}

/* ---- transposed convolution ----------------------------------------------------------------- */

/* One block of channels of one group of one image, over all tiles:
 * columns (rows, count) = weight (M, rows)' maps (M, count), then col2im. */
static void run_transposed_block(void *argument, size_t chunk, size_t thread)
{
    const struct volume_pass *p = argument;
    const struct ldnq_conv_volume_job *job = p->job;
    size_t image_group = chunk / p->blocks, group = image_group % job->groups;
    size_t channel = chunk % p->blocks * p->block;
    struct ldnq_volume part = job->volume;
    part.channels = ldnq_size_min(p->block, job->volume.channels - channel);
    size_t all = job->volume.channels, rows = part.channels * p->taps;
    const float *maps = p->maps + image_group * job->outputs * p->positions;
    const float *weight = job->weight + group * job->outputs * p->cols + channel * p->taps;
    float *image = p->out + (image_group * all + channel) * p->plane;
    float *columns = find_thread_scratch(p, thread);
    memset(image, 0, part.channels * p->plane * sizeof *image);
    for (size_t first = 0; first < p->positions; first += p->tile) {
        size_t count = ldnq_size_min(p->tile, p->positions - first);
        ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, rows, count, job->outputs, 1.0f, weight, p->cols,
                   maps + first, p->positions, 0.0f, columns, count);
        ldnq_volume_col2im(&part, columns, count, first, count, image);
    }
    for (size_t c = 0; c < part.channels && (p->bias || p->clamp); c++)
        add_bias_and_clamp(image + c * p->plane, p->plane,
                           p->bias ? p->bias[group * all + channel + c] : 0.0f, p->clamp);
}

void ldnq_conv_volume_run_transposed(const struct ldnq_conv_volume_job *job, const float *maps,
                                     const float *bias, const struct ldnq_clamp *clamp,
                                     float *image, struct ldnq_pool *pool)
{
    struct volume_pass pass = plan_volume_blocks(job, false);
    pass.maps = maps;
    pass.bias = bias;
    pass.clamp = clamp;
    pass.out = image;
    ldnq_pool_run(pool, job->images * job->groups * pass.blocks, run_transposed_block, &pass);
}

/* ---- the weight's gradient ---------------------------------------------------------------- */

/* One block of channels of one group's weight, summed over all images in their order. */
static void run_weight_block(void *argument, size_t chunk, size_t thread)
{
    const struct volume_pass *p = argument;
    const struct ldnq_conv_volume_job *job = p->job;
    size_t group = chunk / p->blocks, channel = chunk % p->blocks * p->block;
    struct ldnq_volume part = job->volume;
    part.channels = ldnq_size_min(p->block, job->volume.channels - channel);
    size_t rows = part.channels * p->taps;
    float *weight = p->out + group * job->outputs * p->cols + channel * p->taps;
    float *columns = find_thread_scratch(p, thread);
    for (size_t m = 0; m < job->outputs; m++)
        memset(weight + m * p->cols, 0, rows * sizeof *weight);
    for (size_t i = 0; i < job->images; i++) {
        size_t image_group = i * job->groups + group;
        const float *image = p->image + (image_group * job->volume.channels + channel) * p->plane;
        const float *maps = p->maps + image_group * job->outputs * p->positions;
        for (size_t first = 0; first < p->positions; first += p->tile) {
            size_t count = ldnq_size_min(p->tile, p->positions - first);
            ldnq_volume_im2col(&part, image, first, count, columns, count);
            ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, job->outputs, rows, count, 1.0f, maps + first,
                       p->positions, columns, count, 1.0f, weight, p->cols);
        }
    }
}

void ldnq_conv_volume_compute_dw(const struct ldnq_conv_volume_job *job, const float *image,
                                 const float *maps, float *weight, struct ldnq_pool *pool)
{
    struct volume_pass pass = plan_volume_blocks(job, false);
    pass.image = image;
    pass.maps = maps;
    pass.out = weight;
    ldnq_pool_run(pool, job->groups * pass.blocks, run_weight_block, &pass);
}

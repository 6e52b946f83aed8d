/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/augment.h"

#include "base/pool.h"
#include "base/rng.h"

#define LEAST_SIZE 8
#define SHIFT_PART 8

static bool is_channel_count(int64_t count)
{
    return count == 1 || count == 3 || count == 4;
}

/* A size like (N, 3, H, 4) fits both layouts; it is read as channels first, the usual one. */
static bool has_channels_first_layout(const struct ldnq_shape *shape)
{
    return is_channel_count(shape->dim[1]) && shape->dim[2] >= LEAST_SIZE &&
           shape->dim[3] >= LEAST_SIZE;
}

static bool has_channels_last_layout(const struct ldnq_shape *shape)
{
    return is_channel_count(shape->dim[3]) && shape->dim[1] >= LEAST_SIZE &&
           shape->dim[2] >= LEAST_SIZE;
}

bool ldnq_augment_fits(const struct ldnq_tensor *batch)
{
    const struct ldnq_shape *shape = &batch->shape;
    return batch->dtype == LDNQ_FLOAT && shape->rank == 4 &&
           (has_channels_first_layout(shape) || has_channels_last_layout(shape));
}

struct augment_job {
    const float *in;
    float *out;
    size_t planes, height, width, depth; /* axes of one picture */
    uint64_t seed, first;
};

/* Draws a shift in -size/8 .. size/8 pixels. */
static ptrdiff_t draw_random_shift(struct ldnq_rng *rng, size_t size)
{
    const size_t most = size / SHIFT_PART;
    return (ptrdiff_t)ldnq_rng_below(rng, 2 * most + 1) - (ptrdiff_t)most;
}

static size_t clamp_index(ptrdiff_t at, size_t size)
{
    return at < 0 ? 0 : (size_t)at >= size ? size - 1 : (size_t)at;
}

static void augment_picture(void *ctx, size_t picture, size_t thread)
{
    (void)thread;
    const struct augment_job *job = ctx;
    struct ldnq_rng rng = { job->seed };
    rng.state = ldnq_rng_next(&rng) + job->first + picture;
    const bool mirror = ldnq_rng_below(&rng, 2) == 1;
    const ptrdiff_t down = draw_random_shift(&rng, job->height),
                    right = draw_random_shift(&rng, job->width);
    const size_t line = job->width * job->depth, plane = job->height * line;
    for (size_t p = 0; p < job->planes; p++)
        for (size_t y = 0; y < job->height; y++) {
            const size_t offset = (picture * job->planes + p) * plane;
            const float *from =
                job->in + offset + clamp_index((ptrdiff_t)y - down, job->height) * line;
            float *to = job->out + offset + y * line;
            for (size_t x = 0; x < job->width; x++) {
                const size_t at = clamp_index((ptrdiff_t)x - right, job->width);
                const float *pixel = from + (mirror ? job->width - 1 - at : at) * job->depth;
                for (size_t d = 0; d < job->depth; d++)
                    to[x * job->depth + d] = pixel[d];
            }
        }
}

void ldnq_augment_batch(const struct ldnq_tensor *batch, float *out, uint64_t seed, uint64_t first,
                        struct ldnq_pool *pool)
{
    const int64_t *dim = batch->shape.dim;
    const bool planar = has_channels_first_layout(&batch->shape);
    struct augment_job job = {
        .in = batch->data,
        .out = out,
        .seed = seed,
        .first = first,
        .planes = planar ? (size_t)dim[1] : 1,
        .depth = planar ? 1 : (size_t)dim[3],
        .height = (size_t)dim[planar ? 2 : 1],
        .width = (size_t)dim[planar ? 3 : 2],
    };
    ldnq_pool_run(pool, (size_t)dim[0], augment_picture, &job);
}

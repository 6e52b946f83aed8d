/* SPDX-License-Identifier: Apache-2.0 */
/* The convolutions that are summed in registers, for all instruction sets of the processor,
 * against one chain of fmaf per output: implementations that fuse give the same bits. */
#include "test.h"

#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/size.h"
#include "linalg/gemm_tiled.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_depthwise_rows.h"
#include "ops/conv/conv_direct.h"
#include "ops/conv/conv_few_positions.h"

#define GUARD 7777.0f

static const struct ldnq_clamp clamp = { -0.5f, 0.75f };

/* A convolution with its memory; `expected` is y by the plain loop. */
struct conv_memory {
    struct ldnq_conv_job job;
    float *x, *weight, *bias, *y, *expected, *scratch;
    size_t y_count;
    bool is_depthwise;
};

static float *random_floats(size_t count, struct ldnq_rng *rng)
{
    float *values = malloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(2 * ldnq_rng_uniform(rng) - 1);
    return values;
}

/* 0 in the padding. */
static float input_at(const struct ldnq_conv_geometry *g, const float *plane, size_t y, size_t x)
{
    bool is_inside = y >= g->pad_top && x >= g->pad_left && y - g->pad_top < g->height &&
                     x - g->pad_left < g->width;
    return is_inside ? plane[(y - g->pad_top) * g->width + x - g->pad_left] : 0.0f;
}

/* One chain over the taps, with the bias at its start (depthwise) or end, then the clamp. */
static float plain_element(const struct conv_memory *p, const float *planes, const float *w,
                           size_t channel, size_t y, size_t x)
{
    const struct ldnq_conv_geometry *g = &p->job.geometry;
    const float bias = p->job.bias ? p->job.bias[channel] : 0.0f;
    float sum = p->is_depthwise ? bias : 0;
    for (size_t c = 0; c < g->channels; c++)
        for (size_t kh = 0; kh < g->kernel_h; kh++)
            for (size_t kw = 0; kw < g->kernel_w; kw++)
                sum = fmaf(input_at(g, planes + c * g->height * g->width,
                                    y * g->stride_h + kh * g->dilation_h,
                                    x * g->stride_w + kw * g->dilation_w),
                           *w++, sum);
    sum += p->is_depthwise ? 0 : bias;
    return p->job.clamp ? fminf(fmaxf(sum, clamp.low), clamp.high) : sum;
}

static void fill_expected(struct conv_memory *p)
{
    const struct ldnq_conv_job *job = &p->job;
    const struct ldnq_conv_geometry *g = &job->geometry;
    const size_t taps = g->channels * g->kernel_h * g->kernel_w;
    const size_t channels = job->groups * job->outputs;
    float *expected = p->expected;
    for (size_t n = 0; n < job->images; n++)
        for (size_t m = 0; m < channels; m++) {
            size_t image_group = n * job->groups + m / job->outputs;
            const float *planes = p->x + image_group * g->channels * g->height * g->width;
            for (size_t y = 0; y < g->out_h; y++)
                for (size_t x = 0; x < g->out_w; x++)
                    *expected++ = plain_element(p, planes, p->weight + m * taps, m, y, x);
        }
}

static void finish_geometry(struct ldnq_conv_geometry *g, struct ldnq_rng *rng)
{
    size_t high = (g->kernel_h - 1) * g->dilation_h + 1;
    size_t wide = (g->kernel_w - 1) * g->dilation_w + 1;
    /* With padding, a kernel of one tap has an output outside of the input. */
    g->pad_top = high > 1 ? ldnq_rng_below(rng, g->kernel_h + 1) : 0;
    g->pad_left = wide > 1 ? ldnq_rng_below(rng, g->kernel_w + 1) : 0;
    g->height = (g->out_h - 1) * g->stride_h + high - ldnq_size_min(g->pad_top, high - 1);
    g->width = (g->out_w - 1) * g->stride_w + wide - ldnq_size_min(g->pad_left, wide - 1);
}

static struct conv_memory make(struct ldnq_conv_geometry g, size_t groups, size_t outputs,
                               struct ldnq_rng *rng)
{
    struct conv_memory p = {
        .job = { .groups = groups, .outputs = outputs, .images = 1 + ldnq_rng_below(rng, 2) }
    };
    finish_geometry(&g, rng);
    size_t all = groups * outputs;
    p.y_count = p.job.images * all * g.out_h * g.out_w;
    p.x = random_floats(p.job.images * groups * g.channels * g.height * g.width, rng);
    p.weight = random_floats(all * g.channels * g.kernel_h * g.kernel_w, rng);
    p.bias = random_floats(all, rng);
    p.y = malloc((p.y_count + 1) * sizeof *p.y);
    p.expected = malloc((p.y_count + 1) * sizeof *p.expected);
    p.job.geometry = g;
    p.job.x = p.x;
    p.job.weight = p.weight;
    p.job.y = p.y;
    p.job.bias = ldnq_rng_below(rng, 2) ? p.bias : NULL;
    p.job.clamp = ldnq_rng_below(rng, 2) ? &clamp : NULL;
    return p;
}

static struct ldnq_conv_geometry random_geometry(size_t out_h, size_t out_w, size_t channels,
                                                 struct ldnq_rng *rng)
{
    return (struct ldnq_conv_geometry){
        .channels = channels,
        .out_h = out_h,
        .out_w = out_w,
        .kernel_h = 1 + ldnq_rng_below(rng, 3),
        .kernel_w = 1 + ldnq_rng_below(rng, 3),
        .stride_h = 1 + ldnq_rng_below(rng, 3),
        .stride_w = 1 + ldnq_rng_below(rng, 3),
        .dilation_h = 1 + ldnq_rng_below(rng, 2),
        .dilation_w = 1 + ldnq_rng_below(rng, 2),
    };
}

static void destroy(struct conv_memory *p)
{
    free(p->x);
    free(p->weight);
    free(p->bias);
    free(p->y);
    free(p->expected);
    free(p->scratch);
}

static void guard(struct conv_memory *p)
{
    for (size_t i = 0; i <= p->y_count; i++)
        p->y[i] = GUARD;
}

/* An implementation that does not fuse rounds twice per tap. */
static void check_result(const struct conv_memory *p, bool fuses)
{
    const struct ldnq_conv_geometry *g = &p->job.geometry;
    double tolerance = 1e-6 + 3e-7 * (double)(g->channels * g->kernel_h * g->kernel_w);
    assert_true(p->y[p->y_count] == GUARD);
    if (fuses)
        assert_memory_equal(p->y, p->expected, p->y_count * sizeof *p->y);
    for (size_t i = 0; i < p->y_count; i++)
        assert_true(fabs((double)p->y[i] - (double)p->expected[i]) <= tolerance);
}

/* ---- small convolutions -------------------------------------------------------------- */

/* Tiles of up to `rows` rows, with the output channels in two parts. */
static void run_direct(size_t implementation, struct conv_memory *p, size_t rows)
{
    const struct ldnq_conv_job *job = &p->job;
    size_t split = job->outputs / 3;
    for (size_t i = 0; i < job->images * job->groups; i++)
        for (size_t y = 0; y < job->geometry.out_h; y += rows) {
            struct ldnq_output_tile tile = { .y = y, .columns = job->geometry.out_w };
            tile.rows = ldnq_size_min(rows, job->geometry.out_h - y);
            ldnq_conv_direct_compute_tile_with(implementation, job, i, &tile, 0, split, p->scratch);
            ldnq_conv_direct_compute_tile_with(implementation, job, i, &tile, split, job->outputs,
                                               p->scratch);
        }
}

static void check_direct(struct ldnq_conv_geometry g, size_t outputs, struct ldnq_rng *rng)
{
    struct conv_memory p = make(g, 1 + ldnq_rng_below(rng, 2), outputs, rng);
    const size_t implementations = ldnq_conv_direct_count_implementations(),
                 most = ldnq_conv_direct_choose_rows(&p.job);
    p.scratch = aligned_alloc(64, ldnq_conv_direct_scratch_floats(&p.job) * sizeof *p.scratch);
    fill_expected(&p);
    for (size_t implementation = 0; implementation < implementations; implementation++) {
        guard(&p);
        run_direct(implementation, &p, 1 + ldnq_rng_below(rng, most));
        check_result(&p, implementation + 1 < implementations);
    }
    destroy(&p);
}

static void small_convolutions_should_sum_one_chain_for_any_geometry(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 1 };
    for (int round = 0; round < 300; round++) {
        struct ldnq_conv_geometry g =
            random_geometry(1 + ldnq_rng_below(&rng, 12), 1 + ldnq_rng_below(&rng, 36),
                            1 + ldnq_rng_below(&rng, 5), &rng);
        check_direct(g, 1 + ldnq_rng_below(&rng, 14), &rng);
    }
}

/* Rows that share a vector, in even and odd numbers. */
static void short_rows_should_sum_one_chain(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 2 };
    for (size_t round = 0; round < 160; round++) {
        struct ldnq_conv_geometry g =
            random_geometry(1 + round / 10, 1 + round % 10, 1 + ldnq_rng_below(&rng, 5), &rng);
        check_direct(g, 1 + ldnq_rng_below(&rng, 14), &rng);
    }
}

/* More runs of positions than are listed at a time. */
static void large_tiles_should_sum_one_chain(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 3 };
    for (int round = 0; round < 4; round++) {
        check_direct(random_geometry(9, 1000, 1, &rng), 7, &rng);
        check_direct(random_geometry(900, 3, 1, &rng), 7, &rng);
    }
}

/* ---- few positions ------------------------------------------------------------------- */

static void check_few_positions(struct ldnq_conv_geometry g, size_t outputs, struct ldnq_rng *rng)
{
    struct conv_memory p = make(g, 1 + ldnq_rng_below(rng, 2), outputs, rng);
    p.scratch =
        aligned_alloc(64, ldnq_conv_few_positions_scratch_floats(&p.job) * sizeof *p.scratch + 64);
    fill_expected(&p);
    guard(&p);
    for (size_t i = 0; i < ldnq_conv_few_positions_count_chunks(&p.job); i++)
        ldnq_conv_few_positions_compute_chunk(&p.job, i, p.scratch);
    check_result(&p, ldnq_gemm_count_implementations() > 1);
    destroy(&p);
}

/* In one part of up to 384 taps; pointwise ones and those of one position among them. */
static void few_positions_should_sum_one_chain_for_any_geometry(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 7 };
    for (size_t round = 0; round < 200; round++) {
        struct ldnq_conv_geometry g = random_geometry(1 + ldnq_rng_below(&rng, round % 2 ? 7 : 1),
                                                      1 + ldnq_rng_below(&rng, round % 2 ? 20 : 1),
                                                      1 + ldnq_rng_below(&rng, 40), &rng);
        if (round % 4 < 2)
            g.kernel_h = g.kernel_w = g.stride_h = g.stride_w = 1;
        check_few_positions(g, 1 + ldnq_rng_below(&rng, round % 3 ? 70 : 300), &rng);
    }
}

/* ---- depthwise ----------------------------------------------------------------------- */

/* Tiles of up to `rows` rows and all columns, for `planes` planes at a time. */
static void run_depthwise(size_t implementation, struct conv_memory *p, size_t rows, size_t planes)
{
    const struct ldnq_conv_job *job = &p->job;
    const struct ldnq_conv_geometry *g = &job->geometry;
    const size_t count = job->images * job->groups;
    for (size_t y = 0; y < g->out_h; y += rows) {
        struct ldnq_output_tile tile = { .y = y, .columns = g->out_w };
        tile.rows = ldnq_size_min(rows, g->out_h - y);
        struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, p->scratch);
        size_t pitch = ldnq_padded_tile_count_floats(&padded);
        for (size_t first = 0; first < count; first += planes) {
            size_t some = ldnq_size_min(planes, count - first);
            ldnq_padded_tile_fill_planes(g, &tile, p->x + first * g->height * g->width, &padded,
                                         some, pitch);
            ldnq_conv_depthwise_compute_tile_with(implementation, job, &tile, &padded, pitch, first,
                                                  some);
        }
    }
}

static void check_depthwise(struct ldnq_conv_geometry g, struct ldnq_rng *rng)
{
    struct conv_memory p = make(g, 1 + ldnq_rng_below(rng, 4), 1 + ldnq_rng_below(rng, 3), rng);
    const size_t implementations = ldnq_conv_depthwise_count_implementations(),
                 planes = 1 + ldnq_rng_below(rng, 4);
    struct ldnq_output_tile whole = { .rows = g.out_h, .columns = g.out_w };
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(&g, &whole, NULL);
    size_t floats = planes * ldnq_padded_tile_count_floats(&padded) + LDNQ_DEPTHWISE_SLACK;
    p.scratch = malloc(floats * sizeof *p.scratch);
    p.is_depthwise = true;
    fill_expected(&p);
    for (size_t implementation = 0; implementation < implementations; implementation++) {
        guard(&p);
        run_depthwise(implementation, &p, 1 + ldnq_rng_below(rng, g.out_h), planes);
        check_result(&p, implementation + 1 < implementations);
    }
    if (ldnq_conv_depthwise_rows_fit(&p.job)) {
        const size_t all = p.job.images * p.job.groups, some = ldnq_rng_below(rng, all + 1);
        guard(&p);
        ldnq_conv_depthwise_compute_rows(&p.job, 0, some);
        ldnq_conv_depthwise_compute_rows(&p.job, some, all - some);
        check_result(&p, true);
    }
    destroy(&p);
}

static void depthwise_should_sum_one_chain_for_any_geometry(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 4 };
    for (int round = 0; round < 300; round++)
        check_depthwise(
            random_geometry(1 + ldnq_rng_below(&rng, 20), 1 + ldnq_rng_below(&rng, 70), 1, &rng),
            &rng);
}

/* Kernels whose output rows share the loads of input rows, in all numbers of rows. */
static void shared_rows_should_not_change_the_chain(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 5 };
    for (size_t round = 0; round < 200; round++) {
        static const size_t sides[] = { 3, 5, 7 };
        const size_t side = sides[round % 3];
        struct ldnq_conv_geometry g =
            random_geometry(1 + round / 2 % 20, 1 + ldnq_rng_below(&rng, 70), 1, &rng);
        g.kernel_h = g.kernel_w = side;
        g.stride_h = g.stride_w = g.dilation_h = g.dilation_w = 1;
        check_depthwise(g, &rng);
    }
}

/* Paired rows, whole rows in two vectors, rows of several parts; padding may be all of a tap. */
static void permuted_rows_should_not_change_the_chain(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 8 };
    for (size_t round = 0; round < 240; round++) {
        static const size_t widths[] = { 8, 16, 32, 110 };
        struct ldnq_conv_geometry g = random_geometry(
            1 + ldnq_rng_below(&rng, 20), 1 + ldnq_rng_below(&rng, widths[round % 4]), 1, &rng);
        g.kernel_h = g.kernel_w = round / 4 % 2 ? 3 : 5;
        g.stride_h = g.stride_w = 1 + round / 8 % 2;
        g.dilation_h = g.dilation_w = 1;
        check_depthwise(g, &rng);
    }
}

/* ---- unused lanes -------------------------------------------------------------------- */

/* Fills the scratch memory with signaling NaNs, which raise FE_INVALID in any lane. */
static void fill_with_signaling_nans(float *scratch, size_t bytes)
{
    const uint32_t nan = 0x7fa00000;
    for (size_t i = 0; i < bytes / sizeof nan; i++)
        memcpy((char *)scratch + i * sizeof nan, &nan, sizeof nan);
}

static void check_lanes(struct ldnq_conv_geometry g, size_t groups, struct ldnq_rng *rng)
{
    struct conv_memory p = make(g, groups, 1 + ldnq_rng_below(rng, 3), rng);
    size_t bytes = ldnq_conv_scratch_bytes(&p.job, 1);
    p.scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    p.job.scratch = p.scratch;
    fill_with_signaling_nans(p.scratch, bytes);
    feclearexcept(FE_ALL_EXCEPT);
    ldnq_conv_run(&p.job, NULL);
    assert_false(fetestexcept(FE_INVALID));
    destroy(&p);
}

/* Results do not depend on what unused lanes read, but a denormal there costs time. */
static void unused_lanes_should_read_no_stale_memory(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 6 };
    for (size_t round = 0; round < 200; round++) {
        size_t out_h = 1 + ldnq_rng_below(&rng, 20), out_w = 1 + ldnq_rng_below(&rng, 40);
        bool is_depthwise = round % 2;
        struct ldnq_conv_geometry g =
            random_geometry(out_h, out_w, is_depthwise ? 1 : 2 + ldnq_rng_below(&rng, 4), &rng);
        check_lanes(g, is_depthwise ? 2 : 1, &rng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_convolutions_should_sum_one_chain_for_any_geometry),
        cmocka_unit_test(short_rows_should_sum_one_chain),
        cmocka_unit_test(large_tiles_should_sum_one_chain),
        cmocka_unit_test(few_positions_should_sum_one_chain_for_any_geometry),
        cmocka_unit_test(depthwise_should_sum_one_chain_for_any_geometry),
        cmocka_unit_test(shared_rows_should_not_change_the_chain),
        cmocka_unit_test(permuted_rows_should_not_change_the_chain),
        cmocka_unit_test(unused_lanes_should_read_no_stale_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The convolution without columns, in all of the processor's ways, against chains of
 * fmaf: what ways promise is their bits. */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/size.h"
#include "ops/conv_direct.h"

#define GUARD 7777.0f

/* A job with its memory; `wanted` is y by the plain loop. */
struct parts {
    struct ldnq_conv_job job;
    float *x, *weight, *bias, *y, *wanted, *scratch;
    size_t y_count;
    struct ldnq_clamp clamp;
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

/* One chain over the taps, then the bias and the clamp. */
static float plain_element(const struct parts *p, const float *planes, const float *w,
                           size_t channel, size_t y, size_t x)
{
    const struct ldnq_conv_geometry *g = &p->job.geometry;
    float sum = 0;
    for (size_t c = 0; c < g->channels; c++)
        for (size_t kh = 0; kh < g->kernel_h; kh++)
            for (size_t kw = 0; kw < g->kernel_w; kw++)
                sum = fmaf(input_at(g, planes + c * g->height * g->width,
                                    y * g->stride_h + kh * g->dilation_h,
                                    x * g->stride_w + kw * g->dilation_w),
                           *w++, sum);
    sum += p->job.bias ? p->job.bias[channel] : 0.0f;
    return p->job.clamp ? fminf(fmaxf(sum, p->clamp.low), p->clamp.high) : sum;
}

static void fill_wanted(struct parts *p)
{
    const struct ldnq_conv_job *job = &p->job;
    const struct ldnq_conv_geometry *g = &job->geometry;
    const size_t taps = g->channels * g->kernel_h * g->kernel_w;
    const size_t channels = job->groups * job->outputs;
    float *wanted = p->wanted;
    for (size_t n = 0; n < job->images; n++)
        for (size_t m = 0; m < channels; m++) {
            size_t image_group = n * job->groups + m / job->outputs;
            const float *planes = p->x + image_group * g->channels * g->height * g->width;
            for (size_t y = 0; y < g->out_h; y++)
                for (size_t x = 0; x < g->out_w; x++)
                    *wanted++ = plain_element(p, planes, p->weight + m * taps, m, y, x);
        }
}

static void finish_geometry(struct ldnq_conv_geometry *g, struct ldnq_rng *rng)
{
    size_t high = (g->kernel_h - 1) * g->dilation_h + 1;
    size_t wide = (g->kernel_w - 1) * g->dilation_w + 1;
    g->pad_top = ldnq_rng_below(rng, g->kernel_h + 1);
    g->pad_left = ldnq_rng_below(rng, g->kernel_w + 1);
    g->height = (g->out_h - 1) * g->stride_h + high - ldnq_size_min(g->pad_top, high - 1);
    g->width = (g->out_w - 1) * g->stride_w + wide - ldnq_size_min(g->pad_left, wide - 1);
}

static struct parts make(size_t out_h, size_t out_w, size_t channels, size_t outputs,
                         struct ldnq_rng *rng)
{
    struct parts p = { .job = { .groups = 1 + ldnq_rng_below(rng, 2), .outputs = outputs,
                                .images = 1 + ldnq_rng_below(rng, 2) },
                       .clamp = { -0.5f, 0.75f } };
    struct ldnq_conv_geometry *g = &p.job.geometry;
    *g = (struct ldnq_conv_geometry){
        .channels = channels, .out_h = out_h, .out_w = out_w,
        .kernel_h = 1 + ldnq_rng_below(rng, 3), .kernel_w = 1 + ldnq_rng_below(rng, 3),
        .stride_h = 1 + ldnq_rng_below(rng, 3), .stride_w = 1 + ldnq_rng_below(rng, 3),
        .dilation_h = 1 + ldnq_rng_below(rng, 2), .dilation_w = 1 + ldnq_rng_below(rng, 2),
    };
    finish_geometry(g, rng);
    size_t all = p.job.groups * outputs;
    p.y_count = p.job.images * all * out_h * out_w;
    p.x = random_floats(p.job.images * p.job.groups * channels * g->height * g->width, rng);
    p.weight = random_floats(all * channels * g->kernel_h * g->kernel_w, rng);
    p.bias = random_floats(all, rng);
    p.y = malloc((p.y_count + 1) * sizeof *p.y);
    p.wanted = malloc((p.y_count + 1) * sizeof *p.wanted);
    p.scratch = aligned_alloc(64, ldnq_conv_direct_scratch(&p.job) * sizeof *p.scratch);
    p.job.x = p.x;
    p.job.weight = p.weight;
    p.job.y = p.y;
    p.job.bias = ldnq_rng_below(rng, 2) ? p.bias : NULL;
    return p;
}

static void destroy(struct parts *p)
{
    free(p->x);
    free(p->weight);
    free(p->bias);
    free(p->y);
    free(p->wanted);
    free(p->scratch);
}

/* Tiles of up to `rows` lines, with the output channels in two parts. */
static void run_by(size_t way, struct parts *p, size_t rows)
{
    const struct ldnq_conv_job *job = &p->job;
    size_t cut = job->outputs / 3;
    for (size_t i = 0; i <= p->y_count; i++)
        p->y[i] = GUARD;
    for (size_t i = 0; i < job->images * job->groups; i++)
        for (size_t y = 0; y < job->geometry.out_h; y += rows) {
            struct ldnq_tile tile = { .y = y, .columns = job->geometry.out_w };
            tile.rows = ldnq_size_min(rows, job->geometry.out_h - y);
            ldnq_conv_direct_by(way, job, i, &tile, 0, cut, p->scratch);
            ldnq_conv_direct_by(way, job, i, &tile, cut, job->outputs, p->scratch);
        }
    assert_true(p->y[p->y_count] == GUARD);
}

/* What doesn't fuse rounds once more for each of the taps. */
static void check_near(const struct parts *p)
{
    const struct ldnq_conv_geometry *g = &p->job.geometry;
    double tolerance = 1e-6 + 3e-7 * (double)(g->channels * g->kernel_h * g->kernel_w);
    for (size_t i = 0; i < p->y_count; i++)
        assert_true(fabs((double)p->y[i] - (double)p->wanted[i]) <= tolerance);
}

static void check(struct parts *p, struct ldnq_rng *rng)
{
    const size_t ways = ldnq_conv_direct_ways(), most = ldnq_conv_direct_rows(&p->job);
    p->job.clamp = ldnq_rng_below(rng, 2) ? &p->clamp : NULL;
    fill_wanted(p);
    for (size_t way = 0; way < ways; way++) {
        run_by(way, p, 1 + ldnq_rng_below(rng, most));
        if (way + 1 < ways)
            assert_memory_equal(p->y, p->wanted, p->y_count * sizeof *p->y);
        else
            check_near(p);
    }
}

static void ways_should_sum_one_chain_for_any_geometry(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 1 };
    for (int round = 0; round < 300; round++) {
        struct parts p = make(1 + ldnq_rng_below(&rng, 12), 1 + ldnq_rng_below(&rng, 36),
                              1 + ldnq_rng_below(&rng, 5), 1 + ldnq_rng_below(&rng, 14), &rng);
        check(&p, &rng);
        destroy(&p);
    }
}

/* Lines that share a vector, in even and odd numbers. */
static void short_lines_should_sum_one_chain(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 2 };
    for (size_t round = 0; round < 160; round++) {
        struct parts p = make(1 + round / 10, 1 + round % 10, 1 + ldnq_rng_below(&rng, 5),
                              1 + ldnq_rng_below(&rng, 14), &rng);
        check(&p, &rng);
        destroy(&p);
    }
}

/* More positions than are listed at once. */
static void large_tiles_should_sum_one_chain(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 3 };
    struct parts wide = make(9, 1000, 1, 7, &rng), tall = make(900, 3, 1, 7, &rng);
    for (int round = 0; round < 4; round++) {
        check(&wide, &rng);
        check(&tall, &rng);
    }
    destroy(&wide);
    destroy(&tall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_should_sum_one_chain_for_any_geometry),
        cmocka_unit_test(short_lines_should_sum_one_chain),
        cmocka_unit_test(large_tiles_should_sum_one_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

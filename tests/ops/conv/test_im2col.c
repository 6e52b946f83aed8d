/* SPDX-License-Identifier: Apache-2.0 */
/* Against a plain nested loop that looks each element up. */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "ops/conv/im2col.h"

/* Mostly small numbers; pads may be larger than the kernel and the image. */
static struct ldnq_conv_geometry random_geometry(struct ldnq_rng *rng)
{
    struct ldnq_conv_geometry g = {
        .channels = 1 + ldnq_rng_below(rng, 3),
        .height = 1 + ldnq_rng_below(rng, 7),
        .width = 1 + ldnq_rng_below(rng, 9),
        .kernel_h = 1 + ldnq_rng_below(rng, 4),
        .kernel_w = 1 + ldnq_rng_below(rng, 4),
        .stride_h = 1 + ldnq_rng_below(rng, 3),
        .stride_w = 1 + ldnq_rng_below(rng, 4),
        .dilation_h = 1 + ldnq_rng_below(rng, 3),
        .dilation_w = 1 + ldnq_rng_below(rng, 3),
        .pad_top = ldnq_rng_below(rng, 12),
        .pad_left = ldnq_rng_below(rng, 12),
    };
    if (ldnq_rng_below(rng, 4) == 0)
        g.height = g.kernel_h = g.stride_h = 1, g.pad_top = 0;
    size_t below = ldnq_rng_below(rng, 12), right = ldnq_rng_below(rng, 12);
    size_t high = (g.kernel_h - 1) * g.dilation_h, wide = (g.kernel_w - 1) * g.dilation_w;
    size_t h = g.height + g.pad_top + below, w = g.width + g.pad_left + right;
    g.out_h = h > high ? (h - high - 1) / g.stride_h + 1 : 0;
    g.out_w = w > wide ? (w - wide - 1) / g.stride_w + 1 : 0;
    return g;
}

static float plain_element(const struct ldnq_conv_geometry *g, const float *image, size_t k,
                           size_t position)
{
    long kw = (long)(k % g->kernel_w), kh = (long)(k / g->kernel_w % g->kernel_h);
    size_t channel = k / (g->kernel_h * g->kernel_w);
    long y =
        (long)(position / g->out_w * g->stride_h) + kh * (long)g->dilation_h - (long)g->pad_top;
    long x =
        (long)(position % g->out_w * g->stride_w) + kw * (long)g->dilation_w - (long)g->pad_left;
    if (y < 0 || x < 0 || y >= (long)g->height || x >= (long)g->width)
        return 0;
    return image[(channel * g->height + (size_t)y) * g->width + (size_t)x];
}

/* Columns first .. first+count-1 in rows with slack, which must stay as it was. */
static void check_columns(const struct ldnq_conv_geometry *g, const float *image, size_t first,
                          size_t count)
{
    size_t k = g->channels * g->kernel_h * g->kernel_w, ld = count + 2;
    float *columns = malloc(k * ld * sizeof *columns);
    for (size_t i = 0; i < k * ld; i++)
        columns[i] = 12345;
    ldnq_im2col(g, image, first, count, columns, ld);
    for (size_t i = 0; i < k; i++)
        for (size_t p = 0; p < ld; p++) {
            float wanted = p < count ? plain_element(g, image, i, first + p) : 12345;
            if (columns[i * ld + p] != wanted)
                fail_msg("row %zu, column %zu: %g, expected %g", i, p, (double)columns[i * ld + p],
                         (double)wanted);
        }
    free(columns);
}

static void columns_should_equal_the_plain_loop(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 11 };
    for (int round = 0; round < 1500; round++) {
        struct ldnq_conv_geometry g = random_geometry(&rng);
        size_t positions = g.out_h * g.out_w, floats = g.channels * g.height * g.width;
        float *image = malloc(floats * sizeof *image);
        for (size_t i = 0; i < floats; i++)
            image[i] = (float)(1 + i);
        check_columns(&g, image, 0, positions);
        for (int part = 0; part < 3 && positions; part++) {
            size_t first = ldnq_rng_below(&rng, positions);
            check_columns(&g, image, first, ldnq_rng_below(&rng, positions - first + 1));
        }
        free(image);
    }
}

static void valid_range_should_be_where_the_tap_falls_inside(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 12 };
    for (int round = 0; round < 20000; round++) {
        size_t size = ldnq_rng_below(&rng, 8), out = ldnq_rng_below(&rng, 12);
        size_t stride = 1 + ldnq_rng_below(&rng, 4), offset = ldnq_rng_below(&rng, 12);
        size_t pad = ldnq_rng_below(&rng, 12), first, last;
        ldnq_conv_find_valid_range(size, out, stride, offset, pad, &first, &last);
        assert_true(first <= last && last <= out);
        for (size_t x = 0; x < out; x++) {
            long at = (long)(x * stride + offset) - (long)pad;
            assert_int_equal(at >= 0 && at < (long)size, x >= first && x < last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_should_equal_the_plain_loop),
        cmocka_unit_test(valid_range_should_be_where_the_tap_falls_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

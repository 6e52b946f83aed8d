/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "layer.h"
#include "quant/project.h"

#define N 40

static double distance(const double *v, const int8_t *codes, size_t n, double scale)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (v[i] - scale * codes[i]) * (v[i] - scale * codes[i]);
    return sum;
}

/* The least distance over a fine grid of scales, each with its nearest codes
 * and then with the scale that is best for those. */
static double grid_distance(const struct ldnq_codebook *codebook, const double *v, size_t n)
{
    double best = DBL_MAX;
    for (int step = 1; step < 4000; step++) {
        const double scale = step / 1000.0;
        int8_t codes[N];
        double vq = 0, qq = 0;
        for (size_t i = 0; i < n; i++) {
            codes[i] = (int8_t)ldnq_codebook_find_nearest(codebook, v[i] / scale);
            vq += v[i] * codes[i];
            qq += codes[i] * codes[i];
        }
        best = fmin(best, distance(v, codes, n, qq > 0 ? vq / qq : 0));
    }
    return best;
}

static struct ldnq_span span_of(const double *v, size_t n, int8_t *codes)
{
    return (struct ldnq_span){
        .v = v, .v_stride = n, .rows = 1, .length = n, .codes = codes, .weight = 1
    };
}

/* In the mean over many vectors; the search's candidates are a few percent
 * apart, so a single vector may miss its best codes by a few. */
static void search_should_come_within_a_percent_of_a_fine_grid(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 11 };
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        double found = 0, best = 0;
        if ((*c)->count > 16)
            continue;
        for (int trial = 0; trial < 30; trial++) {
            double v[N];
            int8_t codes[N];
            for (size_t i = 0; i < N; i++)
                v[i] = layer_random(&rng);
            struct ldnq_span span = span_of(v, N, codes);
            const double scale = (double)ldnq_project(*c, NULL, &span, 1, 0);
            const double grid = grid_distance(*c, v, N), mine = distance(v, codes, N, scale);
            assert_true(mine <= 1.1 * grid);
            found += mine;
            best += grid;
        }
        assert_true(found <= 1.01 * best);
    }
}

static void scale_should_be_the_best_one_for_the_codes(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 12 };
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        double v[N];
        int8_t codes[N];
        for (size_t i = 0; i < N; i++)
            v[i] = layer_random(&rng);
        struct ldnq_span span = span_of(v, N, codes);
        const double scale = (double)ldnq_project(*c, NULL, &span, 1, 0);
        const double least = distance(v, codes, N, scale);
        assert_true(least <= distance(v, codes, N, 1.001 * scale));
        assert_true(least <= distance(v, codes, N, 0.999 * scale));
    }
}

static void a_point_of_the_set_should_be_its_own_projection(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 13 };
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        double v[N];
        int8_t codes[N];
        for (size_t i = 0; i < N; i++) /* its first N codes hold the outermost */
            v[i] = 0.25 * (*c)->codes[i < (*c)->count ? i : ldnq_rng_below(&rng, (*c)->count)];
        v[N - 1] = 0.25 * (*c)->codes[(*c)->count - 1];
        struct ldnq_span span = span_of(v, N, codes);
        assert_true(ldnq_project(*c, NULL, &span, 1, 0.25f) == 0.25f);
        for (size_t i = 0; i < N; i++)
            assert_true(codes[i] * 0.25 == v[i]);
    }
}

static void a_warm_start_that_sends_all_to_zero_should_search_again(void **state)
{
    (void)state;
    const double v[] = { 1, -1, 1, 0.1 };
    int8_t codes[4];
    struct ldnq_span span = span_of(v, 4, codes);
    const float scale = ldnq_project(ldnq_codebook_find("ternary"), NULL, &span, 1, 1e6f);
    assert_true(scale == 1.0f);
    assert_int_equal(codes[1], -1);
    assert_int_equal(codes[3], 0);
}

static void a_zero_vector_should_have_zero_codes_and_scale_one(void **state)
{
    (void)state;
    const double zero[3] = { 0 }, denormal[3] = { 1e-42, -1e-41, 1e-300 };
    int8_t codes[3] = { 1, 2, 3 };
    const int8_t none[3] = { 0 };
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        struct ldnq_span span = span_of(zero, 3, codes);
        assert_true(ldnq_project(*c, NULL, &span, 1, 0) == 1);
        assert_true(ldnq_project(*c, NULL, &span, 1, 0.5f) == 1);
        assert_memory_equal(codes, none, 3);
        span = span_of(denormal, 3, codes);
        assert_true(ldnq_project(*c, NULL, &span, 1, 0) == 1);
        assert_memory_equal(codes, none, 3);
    }
    assert_true(ldnq_project(ldnq_codebook_find("int8"), NULL, NULL, 0, 0) == 1);
}

static void spans_should_share_one_scale_as_if_they_were_one(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 14 };
    struct ldnq_pool *pool;
    struct ldnq_error err;
    double v[N];
    int8_t whole[N], parts[N];
    for (size_t i = 0; i < N; i++)
        v[i] = layer_random(&rng);
    struct ldnq_span one = span_of(v, N, whole), cut[N];
    for (size_t i = 0; i < N; i++)
        cut[i] = span_of(v + i, 1, parts + i);
    assert_ok(ldnq_pool_create(4, &pool, &err));
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        const float scale = ldnq_project(*c, NULL, &one, 1, 0);
        assert_within(ldnq_project(*c, pool, cut, N, 0), scale, 1e-6f * scale);
        assert_memory_equal(whole, parts, N);
    }
    ldnq_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_should_come_within_a_percent_of_a_fine_grid),
        cmocka_unit_test(scale_should_be_the_best_one_for_the_codes),
        cmocka_unit_test(a_point_of_the_set_should_be_its_own_projection),
        cmocka_unit_test(a_warm_start_that_sends_all_to_zero_should_search_again),
        cmocka_unit_test(a_zero_vector_should_have_zero_codes_and_scale_one),
        cmocka_unit_test(spans_should_share_one_scale_as_if_they_were_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

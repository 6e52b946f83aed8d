/* SPDX-License-Identifier: Apache-2.0 */
/* The search with several beginnings, against plain loops. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "layer.h"
#include "quant/beam.h"
#include "quant/solver.h"

static struct ldnq_error err;

/* A layer without a mean at the codes and scales nearest to its weight. */
static struct layer make(size_t g, size_t m, size_t k, const char *codebook,
                         enum ldnq_granularity granularity, uint64_t seed)
{
    struct layer layer = layer_make(g, m, k, codebook, granularity, seed);
    layer_without_bias(&layer);
    assert_ok(ldnq_start_from_projection(&layer.problem, NULL, &layer.solution, &err));
    return layer;
}

static void search(struct layer *layer, struct ldnq_pool *pool, size_t width, const double *factors,
                   size_t count)
{
    const struct ldnq_beam_search search = { width, factors, count };
    struct ldnq_beam beam;
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_beam_init(&beam, &layer->problem, pool, arena, &err));
    assert_ok(ldnq_beam_find(&beam, &search, layer->solution.codes, layer->solution.scales, &err));
    ldnq_arena_destroy(arena);
}

static void find(struct layer *layer, struct ldnq_pool *pool, size_t width, double factor)
{
    const double factors[] = { factor, 1.5 * factor };
    search(layer, pool, width, factors, 2);
}

static void find_at_the_scales(struct layer *layer, size_t width)
{
    const double same = 1;
    search(layer, NULL, width, &same, 1);
}

/* (a q - w)' (H + 1 % of its mean diagonal) (a q - w) of a row. */
static double damped(const struct layer *layer, size_t row, const int8_t *codes)
{
    const size_t k = layer->problem.cols;
    const double *gram = layer->gram + row / layer->problem.rows * k * k;
    double sum = 0, mean = 0, d[200];
    for (size_t i = 0; i < k; i++) {
        mean += gram[i * k + i] / (double)k;
        d[i] = (double)layer->solution.scales[layer_scale(layer, row, i)] * codes[i] -
               (double)layer->weight[row * k + i];
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            sum += d[i] * d[j] * (gram[i * k + j] + (i == j ? 0.01 * mean : 0));
    return sum;
}

static double least(const struct layer *layer, size_t row)
{
    const size_t k = layer->problem.cols, count = layer->problem.codebook->count;
    size_t all = 1;
    double best = INFINITY;
    int8_t codes[8];
    for (size_t i = 0; i < k; i++)
        all *= count;
    for (size_t n = 0; n < all; n++) {
        for (size_t i = 0, rest = n; i < k; i++, rest /= count)
            codes[i] = (int8_t)layer->problem.codebook->codes[rest % count];
        best = fmin(best, damped(layer, row, codes));
    }
    return best;
}

/* With two codes per column, four columns have 16 branches in all. With uneven codebooks the
 * third nearest code is sometimes the best. A single branch finds at most 96 of 120. */
static void few_columns_should_get_their_best_codes(void **state)
{
    (void)state;
    const char *books[] = { "ternary", "int3", "pot5", "pot9" };
    for (size_t b = 0; b < 4; b++) {
        struct layer layer = make(3, 40, 4, books[b], LDNQ_PER_CHANNEL, b);
        size_t found = 0;
        find_at_the_scales(&layer, 16);
        for (size_t row = 0; row < 120; row++) {
            const double got = damped(&layer, row, layer.solution.codes + row * 4);
            found += got <= least(&layer, row) * (1 + 1e-4);
        }
        assert_true(found >= (b < 3 ? 118 : 108));
        layer_free(&layer);
    }
}

/* GPTQ as gptq.c's head has it: with the inverse of H's part for the inputs to come. */
static void gptq_row(const struct layer *layer, size_t row, int8_t *codes)
{
    const size_t k = layer->problem.cols;
    struct ldnq_inverse inverse;
    struct ldnq_arena *arena;
    double work[200];
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_inverse_init(&layer->problem, NULL, &inverse, arena, &err));
    for (size_t i = 0; i < k; i++)
        work[i] = (double)layer->weight[row * k + inverse.columns[i].col];
    for (size_t i = k; i-- > 0;) {
        const size_t input = inverse.columns[i].col;
        const double scale = (double)layer->solution.scales[layer_scale(layer, row, input)];
        codes[input] = (int8_t)ldnq_codebook_find_nearest(layer->problem.codebook, work[i] / scale);
        const double step = (work[i] - scale * codes[input]) / inverse.factor[i * k + i];
        for (size_t j = 0; j < i; j++)
            work[j] -= step * inverse.factor[i * k + j];
    }
    ldnq_arena_destroy(arena);
}

/* Over several blocks of inputs, and with several scales a row. */
static void one_beginning_should_be_gptq(void **state)
{
    (void)state;
    const char *books[] = { "ternary", "int2", "int4", "pot9" };
    for (size_t b = 0; b < 8; b++) {
        struct layer layer =
            make(1, 9, 101, books[b / 2], b % 2 ? LDNQ_PER_BLOCK : LDNQ_PER_CHANNEL, 10 + b);
        int8_t codes[101];
        size_t same = 0;
        find_at_the_scales(&layer, 1);
        for (size_t row = 0; row < 9; row++) {
            gptq_row(&layer, row, codes);
            same += memcmp(codes, layer.solution.codes + row * 101, 101) == 0;
        }
        /* A float can round to the other side. */
        assert_true(same >= 8);
        layer_free(&layer);
    }
}

static double total(struct layer *layer)
{
    double sum = 0;
    for (size_t row = 0; row < layer->problem.rows; row++)
        sum += damped(layer, row, layer->solution.codes + row * layer->problem.cols);
    return sum;
}

static void more_beginnings_should_be_better(void **state)
{
    (void)state;
    const size_t widths[] = { 1, 4, 8, 16 };
    for (size_t b = 0; b < 3; b++) {
        const char *books[] = { "ternary", "int4", "pot7" };
        struct layer layer = make(1, 60, 130, books[b], LDNQ_PER_CHANNEL, 20 + b);
        double before = INFINITY;
        for (size_t w = 0; w < 4; w++) {
            find_at_the_scales(&layer, widths[w]);
            const double now = total(&layer);
            assert_true(now < before * (w > 0 ? 0.995 : 1));
            before = now;
        }
        layer_free(&layer);
    }
}

/* Of a scale that is half too small and one half as large again the row, or the tensor,
 * takes the better one. */
static void the_better_scale_should_be_taken(void **state)
{
    (void)state;
    for (int granularity = 0; granularity < 3; granularity++) {
        struct layer layer = make(1, 20, 50, "int3", (enum ldnq_granularity)granularity, 30);
        const size_t count = layer_scale_count(&layer);
        float *before = layer_alloc(count, sizeof *before);
        memcpy(before, layer.solution.scales, count * sizeof *before);
        find(&layer, NULL, 4, 0.4);
        for (size_t i = 0; i < count; i++)
            assert_true(layer.solution.scales[i] == (float)(0.4 * 1.5 * (double)before[i]));
        free(before);
        layer_free(&layer);
    }
}

static void any_number_of_threads_should_give_the_same_bits(void **state)
{
    (void)state;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    for (int granularity = 0; granularity < 3; granularity++) {
        struct layer one = make(2, 70, 60, "int3", (enum ldnq_granularity)granularity, 40);
        struct layer many = make(2, 70, 60, "int3", (enum ldnq_granularity)granularity, 40);
        find(&one, NULL, 8, 0.8);
        find(&many, pool, 8, 0.8);
        assert_memory_equal(one.solution.codes, many.solution.codes, 140 * 60);
        assert_memory_equal(one.solution.scales, many.solution.scales,
                            layer_scale_count(&one) * sizeof(float));
        layer_free(&one);
        layer_free(&many);
    }
    ldnq_pool_destroy(pool);
}

/* Weights whose squares no float holds: any codes, but of the codebook. */
static void numbers_beyond_floats_should_do_no_harm(void **state)
{
    (void)state;
    struct layer layer = make(1, 4, 40, "ternary", LDNQ_PER_CHANNEL, 50);
    for (size_t i = 0; i < 160; i++)
        layer.weight[i] = i % 3 ? 3e38f : -3e38f;
    for (size_t row = 0; row < 4; row++)
        layer.solution.scales[row] = 1e-37f;
    find(&layer, NULL, 16, 1);
    for (size_t i = 0; i < 160; i++)
        assert_in_range(layer.solution.codes[i] + 1, 0, 2);
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_columns_should_get_their_best_codes),
        cmocka_unit_test(one_beginning_should_be_gptq),
        cmocka_unit_test(more_beginnings_should_be_better),
        cmocka_unit_test(the_better_scale_should_be_taken),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_bits),
        cmocka_unit_test(numbers_beyond_floats_should_do_no_harm),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

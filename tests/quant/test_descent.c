/* SPDX-License-Identifier: Apache-2.0 */
/* Coordinate descent, and the search over all codes, against plain loops. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "layer.h"
#include "quant/descent.h"
#include "quant/exact.h"
#include "quant/solver.h"
#include "quant/problem.h"

static struct ldnq_error err;

/* A layer without a mean at the codes nearest to its weight. */
static struct layer make(size_t g, size_t m, size_t k, const char *codebook,
                         enum ldnq_granularity granularity, uint64_t seed)
{
    struct layer layer = layer_make(g, m, k, codebook, granularity, seed);
    layer_without_bias(&layer);
    assert_ok(ldnq_start_from_projection(&layer.problem, NULL, &layer.solution, &err));
    return layer;
}

/* (a q - w)' H (a q - w) of one row, with that row's scales. */
static double row_objective(const struct layer *layer, size_t row, const int8_t *codes,
                            const float *scales)
{
    const size_t k = layer->problem.cols;
    const double *gram = layer->gram + row / layer->problem.rows * k * k;
    const float *w = layer->weight + row * k;
    double sum = 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            sum += ((double)scales[layer_scale(layer, 0, i)] * codes[i] - (double)w[i]) *
                   gram[i * k + j] *
                   ((double)scales[layer_scale(layer, 0, j)] * codes[j] - (double)w[j]);
    return sum;
}

static double total(const struct layer *layer)
{
    double sum = 0;
    for (size_t row = 0; row < layer->problem.groups * layer->problem.rows; row++)
        sum += row_objective(layer, row, layer->solution.codes + row * layer->problem.cols,
                             layer->solution.scales + layer_scale(layer, row, 0));
    return sum;
}

static double *descend(struct layer *layer, struct ldnq_pool *pool)
{
    double *errors = layer_alloc(layer->problem.groups * layer->problem.rows, sizeof *errors);
    double *target = layer_alloc(layer->problem.groups * layer->problem.rows * layer->problem.cols,
                                 sizeof *target);
    assert_ok(ldnq_compute_descent_target(&layer->problem, pool, target, &err));
    assert_ok(ldnq_run_coordinate_descent(&layer->problem, target, pool, layer->solution.codes,
                                          layer->solution.scales, errors, &err));
    free(target);
    return errors;
}

static const char *const codebooks[] = { "ternary", "int4", "pot9", "int8" };

static void errors_should_be_the_rows_objectives_and_below_the_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < 12; i++) {
        struct layer layer = make(2, 35, 70, codebooks[i / 3], (enum ldnq_granularity)(i % 3), i);
        const double before = total(&layer);
        double *errors = descend(&layer, NULL);
        for (size_t row = 0; row < 70; row++) {
            const double plain = row_objective(&layer, row, layer.solution.codes + row * 70,
                                               layer.solution.scales + layer_scale(&layer, row, 0));
            assert_true(fabs(errors[row] - plain) <= 1e-9 * (plain + before / 70));
        }
        assert_true(total(&layer) < 0.9 * before);
        free(errors);
        layer_free(&layer);
    }
}

static void check_end(const struct layer *layer, size_t row)
{
    const struct ldnq_codebook *book = layer->problem.codebook;
    const size_t count = layer_scale_count(layer) / 33;
    /* The scales of blocks approach their best one step a sweep. */
    const double least = 1 - (layer->problem.block_index ? 1e-3 : 1e-9);
    int8_t *codes = layer->solution.codes + row * 40;
    float *scales = layer->solution.scales + row * count;
    const double error = row_objective(layer, row, codes, scales);
    for (size_t i = 0; i < 40 * book->count; i++) {
        const int8_t kept = codes[i / book->count];
        codes[i / book->count] = (int8_t)book->codes[i % book->count];
        assert_true(row_objective(layer, row, codes, scales) >= error * (1 - 1e-9));
        codes[i / book->count] = kept;
    }
    for (size_t i = 0; i < 2 * count; i++) {
        const float kept = scales[i / 2];
        scales[i / 2] *= i % 2 ? 0.99f : 1.01f;
        assert_true(row_objective(layer, row, codes, scales) >= error * least);
        scales[i / 2] = kept;
    }
}

/* Where it ends, no single code and no other scale is better. */
static void no_code_alone_should_be_better_at_the_end(void **state)
{
    (void)state;
    for (size_t c = 0; c < 6; c++) {
        struct layer layer =
            make(1, 33, 40, codebooks[c / 2], c % 2 ? LDNQ_PER_BLOCK : LDNQ_PER_CHANNEL, 20 + c);
        free(descend(&layer, NULL));
        for (size_t row = 0; row < 33; row++)
            check_end(&layer, row);
        layer_free(&layer);
    }
}

/* A block may have more columns than one product of the descent takes. */
static void wide_blocks_should_end_as_others(void **state)
{
    (void)state;
    struct layer layer = make(1, 33, 40, "int4", LDNQ_PER_BLOCK, 41);
    for (size_t i = 0; i < 40; i++)
        layer.block_index[i] = i % 10 == 9;
    layer.problem.block_count = 2;
    assert_ok(ldnq_start_from_projection(&layer.problem, NULL, &layer.solution, &err));
    free(descend(&layer, NULL));
    for (size_t row = 0; row < 33; row++)
        check_end(&layer, row);
    layer_free(&layer);
}

static void rows_that_share_a_scale_should_keep_it_shared(void **state)
{
    (void)state;
    struct layer layer = make(3, 40, 20, "int2", LDNQ_PER_TENSOR, 30);
    free(descend(&layer, NULL));
    for (size_t row = 1; row < 120; row++)
        assert_true(layer.solution.scales[row] == layer.solution.scales[0]);
    layer_free(&layer);
}

static void any_number_of_threads_should_give_the_same_bits(void **state)
{
    (void)state;
    for (int granularity = 0; granularity < 3; granularity++) {
        struct layer one = make(2, 70, 60, "int3", (enum ldnq_granularity)granularity, 40);
        struct layer many = make(2, 70, 60, "int3", (enum ldnq_granularity)granularity, 40);
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(3, &pool, &err));
        double *first = descend(&one, NULL), *second = descend(&many, pool);
        assert_memory_equal(first, second, 140 * sizeof *first);
        assert_memory_equal(one.solution.codes, many.solution.codes, 140 * 60);
        assert_memory_equal(one.solution.scales, many.solution.scales,
                            layer_scale_count(&one) * sizeof(float));
        ldnq_pool_destroy(pool);
        free(first);
        free(second);
        layer_free(&one);
        layer_free(&many);
    }
}

static void with_a_gram_of_zeros_nothing_should_change(void **state)
{
    (void)state;
    struct layer layer = make(1, 4, 12, "int4", LDNQ_PER_CHANNEL, 50);
    int8_t codes[48];
    memset(layer.gram, 0, 144 * sizeof *layer.gram);
    memcpy(codes, layer.solution.codes, sizeof codes);
    double *errors = descend(&layer, NULL);
    assert_memory_equal(codes, layer.solution.codes, sizeof codes);
    assert_true(errors[0] == 0);
    assert_ok(ldnq_search_exactly(&layer.problem, 24, NULL, layer.solution.codes,
                                  layer.solution.scales, errors, &err));
    assert_true(errors[0] == 0 && layer.solution.scales[0] > 0);
    free(errors);
    layer_free(&layer);
}

/* ---- the search -------------------------------------------------------------------- */

/* The least objective over all codes of a row, each with its best scale. */
static double least(const struct layer *layer, size_t row)
{
    const size_t k = layer->problem.cols, count = layer->problem.codebook->count;
    const double *gram = layer->gram + row / layer->problem.rows * k * k;
    const float *w = layer->weight + row * k;
    size_t all = 1;
    double best = INFINITY;
    for (size_t i = 0; i < k; i++)
        all *= count;
    for (size_t n = 0; n < all; n++) {
        double qw = 0, qq = 0, ww = 0;
        int16_t q[8];
        for (size_t i = 0, rest = n; i < k; i++, rest /= count)
            q[i] = layer->problem.codebook->codes[rest % count];
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < k; j++) {
                qw += q[i] * gram[i * k + j] * (double)w[j];
                qq += q[i] * gram[i * k + j] * q[j];
                ww += (double)w[i] * gram[i * k + j] * (double)w[j];
            }
        if (qq > 0 && qw > 0 && ww - qw * qw / qq < best)
            best = ww - qw * qw / qq;
    }
    return best;
}

static void search_should_find_the_least_over_all_codes(void **state)
{
    (void)state;
    const char *books[] = { "ternary", "int2", "int3" };
    for (size_t b = 0; b < 3; b++) {
        struct layer layer = make(6, 3, b == 2 ? 5 : 7, books[b], LDNQ_PER_CHANNEL, 60 + b);
        double *errors = descend(&layer, NULL);
        size_t found = 0;
        assert_ok(ldnq_search_exactly(&layer.problem, 24, NULL, layer.solution.codes,
                                      layer.solution.scales, errors, &err));
        for (size_t row = 0; row < 18; row++) {
            const double plain =
                row_objective(&layer, row, layer.solution.codes + row * layer.problem.cols,
                              layer.solution.scales + row);
            assert_true(fabs(errors[row] - plain) <= 1e-9 * plain + 1e-12);
            found += plain <= least(&layer, row) * 1.0001;
        }
        /* Exact for each scale that is tried; those are steps of 3 %. */
        assert_true(found >= 17);
        free(errors);
        layer_free(&layer);
    }
}

static void search_with_a_shared_scale_should_never_be_worse(void **state)
{
    (void)state;
    double before = 0, after = 0;
    for (uint64_t seed = 70; seed < 80; seed++) {
        struct layer layer = make(5, 2, 9, "ternary", LDNQ_PER_TENSOR, seed);
        double *errors = descend(&layer, NULL);
        const double was = total(&layer);
        assert_ok(ldnq_search_exactly(&layer.problem, 24, NULL, layer.solution.codes,
                                      layer.solution.scales, errors, &err));
        assert_true(total(&layer) <= was * (1 + 1e-6));
        before += was;
        after += total(&layer);
        free(errors);
        layer_free(&layer);
    }
    assert_true(after < 0.99 * before);
}

static void memory_that_runs_out_should_be_an_error(void **state)
{
    (void)state;
    const char *solvers[] = { "best", "beam", "cd", "mse" };
    for (size_t i = 0; i < 4; i++) {
        struct layer layer = layer_make(2, 4, 9, "ternary", LDNQ_PER_CHANNEL, 7);
        long through = 0;
        enum ldnq_status status = LDNQ_NOMEM;
        for (; status != LDNQ_OK && through < 300; through++) {
            ldnq_alloc_fail_after(through);
            status = layer_solve(&layer, solvers[i], NULL, &err);
            ldnq_alloc_fail_after(-1);
            assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
        }
        assert_true(status == LDNQ_OK && through > 2);
        layer_free(&layer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_should_be_the_rows_objectives_and_below_the_start),
        cmocka_unit_test(no_code_alone_should_be_better_at_the_end),
        cmocka_unit_test(wide_blocks_should_end_as_others),
        cmocka_unit_test(rows_that_share_a_scale_should_keep_it_shared),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_bits),
        cmocka_unit_test(with_a_gram_of_zeros_nothing_should_change),
        cmocka_unit_test(search_should_find_the_least_over_all_codes),
        cmocka_unit_test(search_with_a_shared_scale_should_never_be_worse),
        cmocka_unit_test(memory_that_runs_out_should_be_an_error),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

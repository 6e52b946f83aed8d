/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "with_blas.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "layer.h"

static struct ldnq_error err;

/* In the geometric mean over seeds: for each codebook and granularity, and by more
 * than a tenth against the paper's over all of them. */
static void it_should_beat_the_papers_solver_and_the_nearest_codes(void **state)
{
    (void)state;
    const char *codebooks[] = { "ternary", "int2", "int4", "pot9" };
    double all = 0;
    for (size_t i = 0; i < 8; i++) {
        double paper = 0, nearest = 0;
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct layer layer = layer_make(1, 20, 60, codebooks[i / 2],
                                            (enum ldnq_granularity)(i % 2), 100 * i + seed);
            assert_ok(layer_solve(&layer, "admm-paper", NULL, &err));
            const double other = layer.solution.error;
            assert_ok(layer_solve(&layer, "admm", NULL, &err));
            assert_true(layer.solution.error <= layer.solution.error_start);
            paper += log(layer.solution.error / other) / 5;
            nearest += log(layer.solution.error / layer.solution.error_start) / 5;
            layer_free(&layer);
        }
        assert_true(exp(paper) < 1 && exp(nearest) < 0.5);
        all += paper / 8;
    }
    assert_true(exp(all) < 0.9);
}

static void check_same(const struct layer *a, const struct layer *b)
{
    const size_t rows = a->problem.groups * a->problem.rows;
    assert_memory_equal(a->solution.codes, b->solution.codes, rows * a->problem.cols);
    assert_memory_equal(a->solution.scales, b->solution.scales, rows * sizeof(float));
    assert_memory_equal(a->solution.bias, b->solution.bias, rows * sizeof(float));
    assert_true(a->solution.error == b->solution.error);
}

static void any_number_of_threads_should_give_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const enum ldnq_granularity granularity = (enum ldnq_granularity)(i % 2);
        const size_t g = i < 2 ? 1 : 40, m = i < 2 ? 90 : 1;
        struct layer one = layer_make(g, m, 30, "ternary", granularity, 5);
        assert_ok(layer_solve(&one, "admm", NULL, &err));
        for (unsigned threads = 2; threads <= 4; threads += 2) {
            struct ldnq_pool *pool;
            struct layer many = layer_make(g, m, 30, "ternary", granularity, 5);
            assert_ok(ldnq_pool_create(threads, &pool, &err));
            assert_ok(layer_solve(&many, "admm", pool, &err));
            check_same(&one, &many);
            ldnq_pool_destroy(pool);
            layer_free(&many);
        }
        layer_free(&one);
    }
}

static void a_gram_of_zeros_should_leave_the_start(void **state)
{
    (void)state;
    for (int granularity = 0; granularity < 2; granularity++) {
        struct layer layer = layer_make(2, 3, 10, "pot9", (enum ldnq_granularity)granularity, 6);
        memset(layer.gram, 0, 200 * sizeof *layer.gram);
        memset(layer.mean, 0, 20 * sizeof *layer.mean);
        assert_ok(layer_solve(&layer, "admm", NULL, &err));
        assert_true(layer.solution.error == 0 && layer.solution.error_start == 0);
        assert_memory_equal(layer.solution.bias, layer.bias, 6 * sizeof(float));
        double far = 0, size = 0;
        for (size_t i = 0; i < 60; i++) {
            const double w = (double)layer.weight[i];
            far += pow(w - (double)layer.solution.scales[i / 10] * layer.solution.codes[i], 2);
            size += w * w;
        }
        assert_true(far < 0.1 * size);
        layer_free(&layer);
    }
}

static void memory_that_runs_out_should_be_an_error(void **state)
{
    (void)state;
    struct layer layer = layer_make(2, 40, 50, "ternary", LDNQ_PER_CHANNEL, 7);
    long through = 0;
    enum ldnq_status status = LDNQ_NOMEM;
    for (; status != LDNQ_OK && through < 100; through++) {
        ldnq_alloc_fail_after(through);
        status = layer_solve(&layer, "admm", NULL, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
    }
    assert_true(status == LDNQ_OK && through > 2);
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_should_beat_the_papers_solver_and_the_nearest_codes),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_bits),
        cmocka_unit_test(a_gram_of_zeros_should_leave_the_start),
        cmocka_unit_test(memory_that_runs_out_should_be_an_error),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

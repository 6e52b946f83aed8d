/* SPDX-License-Identifier: Apache-2.0 */
/* Layers with few positions, by the matrix of low rank and by the whole one. */
#include "test.h"
#include "with_blas.h"

#include "base/pool.h"
#include "layer.h"
#include "quant/beam.h"
#include "quant/problem.h"

static struct ldnq_error err;

/* The same layer with the whole matrix and with that of low rank. */
struct twin {
    struct layer whole, low;
    struct ldnq_low_rank_gram gram;
    float *columns;
    double *added, *diagonal;
};

static void load_positions(struct twin *twin, size_t k, size_t count, struct ldnq_rng *rng)
{
    for (size_t i = 0; i < k; i++) {
        const double size = i % 11 == 3 ? 5 : 1, mean = 0.3 * size;
        double sum = 0;
        for (size_t p = 0; p < count; p++) {
            float *y = twin->columns + i * count + p;
            const double near = i > 0 && i % 5 ? (double)twin->columns[(i - 1) * count + p] : 0;
            *y = i == 2 ? 0 : (float)(0.6 * near + size * layer_random(rng));
            sum += (double)*y / (double)count;
        }
        twin->whole.mean[i] = twin->low.mean[i] = mean;
        for (size_t p = 0; p < count; p++)
            twin->columns[i * count + p] -= i == 2 ? 0 : (float)sum;
    }
}

/* Column 2 is constant. */
static struct twin make_twin(size_t rows, size_t k, size_t count, const char *codebook,
                             enum ldnq_granularity granularity, bool has_added)
{
    struct twin twin = { .whole = layer_empty(1, rows, k, codebook, granularity),
                         .low = layer_empty(1, rows, k, codebook, granularity) };
    struct ldnq_rng rng = { k };
    twin.columns = layer_alloc(count * k, sizeof *twin.columns);
    twin.added = layer_alloc(k, sizeof *twin.added);
    twin.diagonal = layer_alloc(k, sizeof *twin.diagonal);
    for (size_t i = 0; i < rows * k; i++)
        twin.whole.weight[i] = twin.low.weight[i] = (float)(0.1 * layer_random(&rng));
    load_positions(&twin, k, count, &rng);
    for (size_t i = 0; i < k; i++) {
        double *gram = twin.whole.gram + i * k;
        for (size_t j = 0; j < k; j++) {
            for (size_t p = 0; p < count; p++)
                gram[j] += (double)twin.columns[i * count + p] *
                           (double)twin.columns[j * count + p] / (double)count;
            if (i == j)
                twin.added[i] = has_added ? 0.1 * gram[i] : 0;
            gram[j] += i == j ? twin.added[i] : 0;
            twin.diagonal[i] = i == j ? gram[i] : twin.diagonal[i];
            gram[j] += twin.whole.mean[i] * twin.whole.mean[j];
        }
    }
    return twin;
}

static void finish_twin(struct twin *twin, size_t count)
{
    twin->gram = (struct ldnq_low_rank_gram){ twin->columns, count, twin->added };
    twin->low.problem.gram = NULL;
    twin->low.problem.low_rank = &twin->gram;
    twin->low.problem.diagonal = twin->diagonal;
}

static void free_twin(struct twin *twin)
{
    layer_free(&twin->whole);
    layer_free(&twin->low);
    free(twin->columns);
    free(twin->added);
    free(twin->diagonal);
}

static void objective_should_be_that_of_the_whole_matrix(void **state)
{
    (void)state;
    static const size_t shapes[][3] = { { 3, 7, 2 }, { 33, 300, 40 }, { 5, 600, 290 } };
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        const size_t *at = shapes[i / 2];
        struct twin twin = make_twin(at[0], at[1], at[2], "int4", LDNQ_PER_CHANNEL, i % 2);
        const struct ldnq_choice best = { 0 }, present = { .bias = twin.whole.bias };
        finish_twin(&twin, at[2]);
        const double expected = ldnq_compute_total_error_serially(&twin.whole.problem, &best);
        assert_within(ldnq_compute_total_error_serially(&twin.low.problem, &best), expected,
                      1e-5 * expected);
        const double biased = ldnq_compute_total_error_serially(&twin.whole.problem, &present);
        assert_within(ldnq_compute_total_error_serially(&twin.low.problem, &present), biased,
                      1e-5 * biased);
        free_twin(&twin);
    }
}

/* Rounding of floats decides a few codes otherwise. */
static void solvers_should_find_as_good_codes(void **state)
{
    (void)state;
    static const struct {
        const char *solver, *codebook;
        enum ldnq_granularity granularity;
        bool has_zeros;
    } cases[] = {
        { "gptq", "int4", LDNQ_PER_CHANNEL, false },
        { "gptq", "int8", LDNQ_PER_BLOCK, false },
        { "gptq", "int4", LDNQ_PER_TENSOR, true },
        { "cd", "int4", LDNQ_PER_CHANNEL, false },
        { "cd", "int3", LDNQ_PER_BLOCK, false },
        { "cd", "int4", LDNQ_PER_TENSOR, false },
        { "cd", "pot5", LDNQ_PER_CHANNEL, true },
        { "beam", "int4", LDNQ_PER_CHANNEL, false },
        { "beam", "int4", LDNQ_PER_BLOCK, true },
        { "beam", "ternary", LDNQ_PER_CHANNEL, false },
        { "admm", "ternary", LDNQ_PER_CHANNEL, false },
        { "admm", "int4", LDNQ_PER_TENSOR, true },
        { "best", "ternary", LDNQ_PER_CHANNEL, true },
        { "best", "int3", LDNQ_PER_BLOCK, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct twin twin = make_twin(70, 150, 37, cases[i].codebook, cases[i].granularity, i % 2);
        uint8_t *zeros = layer_alloc(70 * 150, 1);
        for (size_t e = 0; e < 70 * 150; e += 3)
            zeros[e] = 1;
        finish_twin(&twin, 37);
        if (cases[i].has_zeros)
            twin.whole.problem.zeros = twin.low.problem.zeros = zeros;
        assert_ok(layer_solve(&twin.whole, cases[i].solver, NULL, &err));
        assert_ok(layer_solve(&twin.low, cases[i].solver, NULL, &err));
        assert_within(twin.low.solution.error, twin.whole.solution.error,
                      0.02 * twin.whole.solution.error);
        assert_within(ldnq_compute_layer_error(&twin.whole.problem, &twin.low.solution),
                      twin.low.solution.error, 1e-4 * twin.low.solution.error);
        for (size_t e = 0; cases[i].has_zeros && e < 70 * 150; e += 3)
            assert_int_equal(twin.low.solution.codes[e], 0);
        free(zeros);
        free_twin(&twin);
    }
}

/* Each target depends on all columns after it: wrong ones would change most codes. */
static void gptq_should_find_the_codes_of_the_whole_matrix(void **state)
{
    (void)state;
    static const size_t shapes[][3] = { { 9, 31, 5 }, { 40, 64, 20 }, { 20, 333, 100 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t *at = shapes[i], count = at[0] * at[1];
        struct twin twin = make_twin(at[0], at[1], at[2], "int4", LDNQ_PER_CHANNEL, true);
        size_t different = 0;
        finish_twin(&twin, at[2]);
        assert_ok(layer_solve(&twin.whole, "gptq", NULL, &err));
        assert_ok(layer_solve(&twin.low, "gptq", NULL, &err));
        for (size_t e = 0; e < count; e++)
            different += twin.low.solution.codes[e] != twin.whole.solution.codes[e];
        assert_true(different <= count / 200);
        free_twin(&twin);
    }
}

static void codes_should_not_depend_on_threads(void **state)
{
    (void)state;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    for (size_t i = 0; i < 3; i++) {
        const enum ldnq_granularity granularity = i == 0   ? LDNQ_PER_CHANNEL
                                                  : i == 1 ? LDNQ_PER_BLOCK
                                                           : LDNQ_PER_TENSOR;
        struct twin twin = make_twin(150, 90, 20, "int4", granularity, true);
        int8_t codes[150 * 90];
        finish_twin(&twin, 20);
        assert_ok(layer_solve(&twin.low, "beam", NULL, &err));
        memcpy(codes, twin.low.solution.codes, sizeof codes);
        assert_ok(layer_solve(&twin.low, "beam", pool, &err));
        assert_memory_equal(codes, twin.low.solution.codes, sizeof codes);
        free_twin(&twin);
    }
    ldnq_pool_destroy(pool);
}

static void rank_should_be_that_of_the_positions(void **state)
{
    (void)state;
    struct twin twin = make_twin(2, 60, 12, "int4", LDNQ_PER_CHANNEL, false);
    size_t varying, rank;
    finish_twin(&twin, 12);
    assert_ok(ldnq_problem_compute_rank(&twin.low.problem, &varying, &rank, &err));
    assert_int_equal(varying, 59);
    assert_int_equal(rank, 11); /* the mean is gone */
    free_twin(&twin);
}

static void others_should_refuse_it(void **state)
{
    (void)state;
    struct twin twin = make_twin(2, 20, 5, "ternary", LDNQ_PER_CHANNEL, false);
    finish_twin(&twin, 5);
    assert_int_equal(layer_solve(&twin.low, "admm-paper", NULL, &err), LDNQ_USAGE);
    free_twin(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objective_should_be_that_of_the_whole_matrix),
        cmocka_unit_test(solvers_should_find_as_good_codes),
        cmocka_unit_test(gptq_should_find_the_codes_of_the_whole_matrix),
        cmocka_unit_test(codes_should_not_depend_on_threads),
        cmocka_unit_test(rank_should_be_that_of_the_positions),
        cmocka_unit_test(others_should_refuse_it),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

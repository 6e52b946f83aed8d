/* SPDX-License-Identifier: Apache-2.0 */
/* Negative scales: which rows get them, that they are the mirrored problem's solution, and what
 * they gain. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "layer.h"

static struct ldnq_error err;

static const char *const solvers[] = { "gptq", "cd", "beam", "admm", "best" };
static const char *const codebooks[] = { "int2", "int3", "int4" };
#define COUNT(list) (sizeof(list) / sizeof *(list))

static struct layer make_signed(size_t g, size_t m, size_t k, const char *codebook,
                                enum ldnq_granularity granularity, uint64_t seed)
{
    struct layer layer = layer_make(g, m, k, codebook, granularity, seed);
    layer.problem.negative_scales = true;
    return layer;
}

/* Whether the largest of `count` weights is positive. */
static bool has_positive_peak(const float *weight, size_t count)
{
    float peak = 0;
    for (size_t i = 0; i < count; i++)
        if (fabsf(weight[i]) > fabsf(peak))
            peak = weight[i];
    return peak > 0;
}

static bool holds(const struct ldnq_codebook *codebook, int8_t code)
{
    return code >= codebook->codes[0] && code <= codebook->codes[codebook->count - 1];
}

static void rows_with_a_positive_peak_should_have_negative_scales(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(solvers); s++)
        for (size_t c = 0; c < COUNT(codebooks); c++)
            for (int tensor = 0; tensor < 2; tensor++) {
                struct layer layer =
                    make_signed(2, 5, 12, codebooks[c], tensor ? LDNQ_PER_TENSOR : LDNQ_PER_CHANNEL,
                                31 * s + c);
                struct ldnq_layer_solution *solution = &layer.solution;
                assert_ok(layer_solve(&layer, solvers[s], NULL, &err));
                for (size_t row = 0; row < 10; row++) {
                    const float *weight = layer.weight + (tensor ? 0 : row * 12);
                    const bool negative = has_positive_peak(weight, tensor ? 120 : 12);
                    assert_int_equal(solution->scales[row] < 0, negative);
                    assert_true(isnormal(solution->scales[row]));
                    assert_true(!tensor || solution->scales[row] == solution->scales[0]);
                }
                for (size_t i = 0; i < 120; i++)
                    assert_true(holds(layer.problem.codebook, solution->codes[i]));
                /* The codes belong to the signed scales: the objective of plain loops is theirs. */
                const double objective =
                    layer_objective(&layer, solution->codes, solution->scales, solution->bias);
                static const int8_t no_codes[120];
                struct layer rest = layer;
                rest.problem.mean = NULL; /* with the best bias Q = 0 is nearer */
                assert_true(objective < layer_objective(&rest, no_codes, solution->scales, NULL));
                assert_true(fabs(ldnq_compute_layer_error(&layer.problem, solution) -
                                 solution->error) <= 1e-12);
                layer_free(&layer);
            }
}

static void negate(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = -values[i];
}

/* The reference mirrors the rows by hand, and knows positive scales alone. */
static void a_signed_solution_should_be_that_of_the_mirrored_rows(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(solvers); s++)
        for (int bias = 0; bias < 2; bias++) {
            struct layer layer = make_signed(2, 5, 12, "int3", LDNQ_PER_CHANNEL, 7 + s);
            struct layer mirrored = layer_make(2, 5, 12, "int3", LDNQ_PER_CHANNEL, 7 + s);
            bool is_mirrored[10];
            for (size_t row = 0; row < 10; row++) {
                is_mirrored[row] = has_positive_peak(layer.weight + row * 12, 12);
                if (!is_mirrored[row])
                    continue;
                negate(mirrored.weight + row * 12, 12);
                negate(mirrored.bias + row, 1);
            }
            if (!bias) {
                layer_without_bias(&layer);
                layer_without_bias(&mirrored);
            }
            assert_ok(layer_solve(&layer, solvers[s], NULL, &err));
            assert_ok(layer_solve(&mirrored, solvers[s], NULL, &err));
            assert_memory_equal(layer.solution.codes, mirrored.solution.codes, 120);
            assert_true(layer.solution.error == mirrored.solution.error);
            for (size_t row = 0; row < 10; row++) {
                const float sign = is_mirrored[row] ? -1.0f : 1.0f;
                assert_true(layer.solution.scales[row] == sign * mirrored.solution.scales[row]);
                assert_true(!bias ||
                            layer.solution.bias[row] == sign * mirrored.solution.bias[row]);
            }
            layer_free(&layer);
            layer_free(&mirrored);
        }
}

/* Of what can't gain, or promises another scale, the sign stays as it is. */
static void other_problems_should_keep_positive_scales(void **state)
{
    (void)state;
    static const struct {
        const char *solver, *codebook;
        enum ldnq_granularity granularity;
    } cases[] = {
        { "gptq", "ternary", LDNQ_PER_CHANNEL }, { "gptq", "pot7", LDNQ_PER_CHANNEL },
        { "gptq", "int8", LDNQ_PER_CHANNEL },    { "gptq", "int4", LDNQ_PER_BLOCK },
        { "rtn", "int4", LDNQ_PER_CHANNEL },     { "mse", "int4", LDNQ_PER_CHANNEL },
        { "nearest", "int4", LDNQ_PER_CHANNEL }, { "admm-paper", "int4", LDNQ_PER_CHANNEL },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct layer layer = make_signed(1, 6, 12, cases[i].codebook, cases[i].granularity, i);
        struct layer plain = layer_make(1, 6, 12, cases[i].codebook, cases[i].granularity, i);
        assert_ok(layer_solve(&layer, cases[i].solver, NULL, &err));
        assert_ok(layer_solve(&plain, cases[i].solver, NULL, &err));
        assert_memory_equal(layer.solution.codes, plain.solution.codes, 72);
        assert_memory_equal(layer.solution.scales, plain.solution.scales,
                            layer_scale_count(&plain) * sizeof(float));
        layer_free(&layer);
        layer_free(&plain);
    }
    struct layer narrow = make_signed(1, 6, 12, "int4", LDNQ_PER_CHANNEL, 3);
    narrow.problem.codebook = ldnq_codebook_find_symmetric(narrow.problem.codebook);
    assert_ok(layer_solve(&narrow, "gptq", NULL, &err));
    for (size_t row = 0; row < 6; row++)
        assert_true(narrow.solution.scales[row] > 0);
    layer_free(&narrow);
}

/* The geometric mean, over random layers, of the error with signs in parts of that without. */
static double measure_gain(const char *solver, const char *codebook)
{
    const size_t layers = 24;
    double sum = 0;
    for (uint64_t seed = 0; seed < layers; seed++) {
        const size_t k = 9 + 12 * (seed % 4);
        struct layer layer = make_signed(1, 16, k, codebook, LDNQ_PER_CHANNEL, seed);
        assert_ok(layer_solve(&layer, solver, NULL, &err));
        const double with = layer.solution.error;
        layer.problem.negative_scales = false;
        assert_ok(layer_solve(&layer, solver, NULL, &err));
        assert_true(with <= 1.25 * layer.solution.error);
        sum += log(with / layer.solution.error);
        layer_free(&layer);
    }
    return exp(sum / (double)layers);
}

static void signs_should_lower_the_error_in_the_mean(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT(codebooks); c++)
        assert_true(measure_gain("beam", codebooks[c]) <= 0.95);
    assert_true(measure_gain("best", "int2") <= 0.95);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct layer layer = make_signed(1, 4, 8, "int4", LDNQ_PER_CHANNEL, 5);
    enum ldnq_status status = LDNQ_NOMEM;
    for (long count = 0; status != LDNQ_OK; count++) {
        ldnq_alloc_fail_after(count);
        status = layer_solve(&layer, "gptq", NULL, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
    }
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_with_a_positive_peak_should_have_negative_scales),
        cmocka_unit_test(a_signed_solution_should_be_that_of_the_mirrored_rows),
        cmocka_unit_test(other_problems_should_keep_positive_scales),
        cmocka_unit_test(signs_should_lower_the_error_in_the_mean),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("scale sign", tests, acquire_blas, release_blas);
}

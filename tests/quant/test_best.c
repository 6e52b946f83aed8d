/* SPDX-License-Identifier: Apache-2.0 */
/* The solvers that combine others. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "layer.h"
#include "quant/problem.h"

static struct ldnq_error err;

static double error_of(struct layer *layer, const char *solver)
{
    assert_ok(layer_solve(layer, solver, NULL, &err));
    return layer->solution.error;
}

static void best_should_be_no_worse_than_each_of_its_parts(void **state)
{
    (void)state;
    const char *codebooks[] = { "ternary", "int2", "int4", "pot9" };
    double over_gptq = 0, beam_over_cd = 0;
    for (size_t i = 0; i < 8; i++) {
        struct layer layer =
            layer_make(2, 20, 60, codebooks[i / 2], (enum ldnq_granularity)(i % 2), 100 + i);
        const double gptq = error_of(&layer, "gptq"), cd = error_of(&layer, "cd"),
                     beam = error_of(&layer, "beam"), admm = error_of(&layer, "admm"),
                     best = error_of(&layer, "best");
        assert_true(cd < gptq && best <= cd * (1 + 1e-6) && best < admm);
        over_gptq += log(best / gptq) / 8;
        beam_over_cd += log(beam / cd) / 8;
        layer_free(&layer);
    }
    assert_true(exp(over_gptq) < 0.8 && exp(beam_over_cd) < 0.95);
}

/* ADMM has one scale for a row: with many codes its start must not take the place of the blocks'
 * own scales. */
static void best_should_be_no_worse_than_beam_in_blocks_of_many_codes(void **state)
{
    (void)state;
    const char *codebooks[] = { "int4", "pot9", "pot11" };
    for (size_t i = 0; i < 9; i++) {
        struct layer layer = layer_make(1, 12, 48, codebooks[i % 3], LDNQ_PER_BLOCK, 300 + i);
        for (size_t k = 0; k < 12 * 48; k++) /* blocks of weights of different sizes */
            layer.weight[k] *= (float)(1 + k % 48 / 4 % 5);
        const double beam = error_of(&layer, "beam"), best = error_of(&layer, "best");
        assert_true(best <= beam * (1 + 1e-6));
        layer_free(&layer);
    }
}

/* As quant.h promises of all solvers: also of what is reported. */
static void error_and_bias_should_be_those_of_the_codes(void **state)
{
    (void)state;
    const char *solvers[] = { "mse", "cd", "beam", "best" };
    for (size_t i = 0; i < 4; i++) {
        struct layer layer = layer_make(3, 5, 9, "int2", LDNQ_PER_CHANNEL, 10 + i);
        const double error = error_of(&layer, solvers[i]);
        const struct ldnq_layer_solution *s = &layer.solution;
        const double plain = layer_objective(&layer, s->codes, s->scales, s->bias);
        assert_true(error <= s->error_start);
        assert_true(fabs(ldnq_compute_layer_error(&layer.problem, s) - error) <= 1e-12 * error);
        float shifted[15];
        for (int way = -1; way <= 1 && i > 0; way += 2) {
            for (size_t row = 0; row < 15; row++)
                shifted[row] = s->bias[row] + 1e-3f * (float)way;
            assert_true(layer_objective(&layer, s->codes, s->scales, shifted) > plain);
        }
        layer_free(&layer);
    }
}

static void inputs_that_never_vary_should_not_decide(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 8, 30, "ternary", LDNQ_PER_CHANNEL, 20);
    struct ldnq_layer_problem reduced;
    struct ldnq_arena *arena;
    const double m = layer.mean[3] = 5;
    for (size_t i = 0; i < 30; i++)
        layer.gram[3 * 30 + i] = layer.gram[i * 30 + 3] = m * layer.mean[i];
    layer.gram[3 * 30 + 3] = m * m * (1 + 1e-9);
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_problem_eliminate_bias(&layer.problem, &reduced, arena, &err));
    for (size_t i = 0; i < 30; i++)
        assert_true(reduced.gram[3 * 30 + i] == 0 && reduced.gram[i * 30 + 3] == 0);
    assert_true(!reduced.mean && reduced.gram[0] > 0);
    assert_true(error_of(&layer, "best") < 0.2);
    ldnq_arena_destroy(arena);
    layer_free(&layer);
}

static void any_number_of_threads_should_give_the_same_bits(void **state)
{
    (void)state;
    struct layer one = layer_make(9, 3, 9, "int3", LDNQ_PER_CHANNEL, 30);
    struct layer many = layer_make(9, 3, 9, "int3", LDNQ_PER_CHANNEL, 30);
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    assert_ok(layer_solve(&one, "best", NULL, &err));
    assert_ok(layer_solve(&many, "best", pool, &err));
    assert_memory_equal(one.solution.codes, many.solution.codes, 243);
    assert_memory_equal(one.solution.scales, many.solution.scales, 27 * sizeof(float));
    assert_memory_equal(one.solution.bias, many.solution.bias, 27 * sizeof(float));
    ldnq_pool_destroy(pool);
    layer_free(&one);
    layer_free(&many);
}

/* K = 9 as in depthwise convolutions: the search finds what the others miss. */
static void few_inputs_should_be_solved_better_than_by_descent(void **state)
{
    (void)state;
    struct layer layer = layer_make(40, 1, 9, "int2", LDNQ_PER_CHANNEL, 40);
    const double gptq = error_of(&layer, "gptq"), best = error_of(&layer, "best");
    assert_true(best < 0.6 * gptq);
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_should_be_no_worse_than_each_of_its_parts),
        cmocka_unit_test(best_should_be_no_worse_than_beam_in_blocks_of_many_codes),
        cmocka_unit_test(error_and_bias_should_be_those_of_the_codes),
        cmocka_unit_test(inputs_that_never_vary_should_not_decide),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_bits),
        cmocka_unit_test(few_inputs_should_be_solved_better_than_by_descent),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

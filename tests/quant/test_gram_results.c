/* SPDX-License-Identifier: Apache-2.0 */
/* Results of Gram matrices that several problems have. */
#include "test.h"
#include "with_blas.h"

#include "layer.h"
#include "quant/gram_results.h"
#include "quant/problem.h"

#define COLS 24

static struct ldnq_error err;

/* Layers with the same input, and weights of their own. */
static struct layer make_reader(size_t rows, struct ldnq_gram_results *results)
{
    struct layer layer = layer_make(1, rows, COLS, "int4", LDNQ_PER_CHANNEL, 7);
    for (size_t i = 0; i < rows * COLS; i++)
        layer.weight[i] += (float)rows / 100;
    struct layer input = layer_make(1, 1, COLS, "int4", LDNQ_PER_CHANNEL, 8);
    memcpy(layer.gram, input.gram, COLS * COLS * sizeof *layer.gram);
    memcpy(layer.mean, input.mean, COLS * sizeof *layer.mean);
    layer_free(&input);
    layer.problem.gram_results = results;
    return layer;
}

static const double *find_factor(const struct layer *layer, struct ldnq_arena *arena)
{
    struct ldnq_inverse inverse;
    assert_ok(ldnq_inverse_init(&layer->problem, NULL, &inverse, arena, &err));
    return inverse.factor;
}

static void assert_same_factor(const double *a, const double *b)
{
    for (size_t i = 0; i < COLS; i++)
        assert_memory_equal(a + i * COLS, b + i * COLS, (i + 1) * sizeof *a);
}

static void equal_matrices_should_have_one_inverse(void **state)
{
    (void)state;
    struct ldnq_gram_results results = { .arena = NULL };
    struct layer one = make_reader(5, &results), two = make_reader(9, &results);
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    const double *first = find_factor(&one, arena);
    assert_ptr_equal(find_factor(&two, arena), first);
    one.problem.gram_results = NULL;
    assert_ptr_not_equal(find_factor(&one, arena), first);
    assert_same_factor(find_factor(&one, arena), first);
    ldnq_arena_destroy(arena);
    ldnq_gram_results_clear(&results);
    layer_free(&one);
    layer_free(&two);
}

/* More of them than are stored. */
static void every_other_matrix_should_have_its_own(void **state)
{
    (void)state;
    struct ldnq_gram_results results = { .arena = NULL };
    struct layer layer = make_reader(5, &results);
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    for (size_t i = 0; i < LDNQ_GRAM_RESULTS + 2; i++) {
        layer.problem.gram_results = &results;
        const double *stored = find_factor(&layer, arena);
        layer.problem.gram_results = NULL;
        assert_same_factor(stored, find_factor(&layer, arena));
        layer.gram[i * (COLS + 1)] *= 1.5;
    }
    layer.problem.gram_results = &results;
    const double *centred = find_factor(&layer, arena);
    layer.problem.mean = NULL;
    assert_ptr_not_equal(find_factor(&layer, arena), centred);
    ldnq_arena_destroy(arena);
    ldnq_gram_results_clear(&results);
    layer_free(&layer);
}

static void solvers_should_find_the_same_bits_with_stored_results(void **state)
{
    (void)state;
    static const char *const solvers[] = { "gptq", "cd", "beam", "best" };
    struct ldnq_solver_options options;
    struct ldnq_gram_results results = { .arena = NULL };
    ldnq_solver_defaults(&options);
    for (size_t i = 0; i < 4; i++) {
        const struct ldnq_solver *solver = ldnq_solver_find(solvers[i]);
        struct layer alone = make_reader(9, NULL), other = make_reader(9, &results);
        assert_ok(ldnq_solve(solver, &alone.problem, &options, NULL, &alone.solution, &err));
        assert_ok(ldnq_solve(solver, &other.problem, &options, NULL, &other.solution, &err));
        assert_memory_equal(alone.solution.codes, other.solution.codes, 9 * COLS);
        assert_memory_equal(alone.solution.scales, other.solution.scales, 9 * sizeof(float));
        layer_free(&alone);
        layer_free(&other);
    }
    assert_true(results.count > 0);
    ldnq_gram_results_clear(&results);
}

static void the_rank_should_be_that_of_the_matrix(void **state)
{
    (void)state;
    struct ldnq_gram_results results = { .arena = NULL };
    struct layer layer = make_reader(5, &results);
    size_t varying, rank;
    for (size_t repeat = 0; repeat < 2; repeat++) {
        assert_ok(ldnq_problem_compute_rank(&layer.problem, &varying, &rank, &err));
        assert_int_equal(varying, COLS);
        assert_int_equal(rank, COLS);
    }
    for (size_t i = 0; i < COLS; i++) /* the first column is constant */
        layer.gram[i] = layer.gram[i * COLS] = layer.mean[0] * layer.mean[i];
    assert_ok(ldnq_problem_compute_rank(&layer.problem, &varying, &rank, &err));
    assert_int_equal(varying, COLS - 1);
    ldnq_gram_results_clear(&results);
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_matrices_should_have_one_inverse),
        cmocka_unit_test(every_other_matrix_should_have_its_own),
        cmocka_unit_test(solvers_should_find_the_same_bits_with_stored_results),
        cmocka_unit_test(the_rank_should_be_that_of_the_matrix),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

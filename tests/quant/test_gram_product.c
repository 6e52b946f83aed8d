/* SPDX-License-Identifier: Apache-2.0 */
/* Products with a Gram matrix from few positions, against those with the matrix. */
#include "test.h"
#include "with_blas.h"

#include "layer.h"
#include "quant/gram_product.h"

static struct ldnq_error err;

/* A layer whose Gram matrix is Y'Y / P + diag(added), without its mean if `centred`. */
struct few_layer {
    struct layer layer;
    struct ldnq_gram_positions positions;
    float *columns;
    double *added;
};

static struct few_layer make_few_layer(size_t rows, size_t k, size_t count, bool has_added)
{
    struct few_layer few = { .layer = layer_empty(1, rows, k, "int4", LDNQ_PER_CHANNEL) };
    struct ldnq_rng rng = { k };
    few.columns = layer_alloc(count * k, sizeof *few.columns);
    few.added = layer_alloc(k, sizeof *few.added);
    for (size_t i = 0; i < rows * k; i++)
        few.layer.weight[i] = (float)(0.1 * layer_random(&rng));
    for (size_t i = 0; i < k; i++)
        few.added[i] = has_added && i != 2 ? 0.1 * ldnq_rng_uniform(&rng) : 0;
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < k; i++)
            few.columns[p * k + i] = i == 2 ? 0.5f : (float)(1 + layer_random(&rng));
    for (size_t i = 0; i < k; i++) {
        for (size_t p = 0; p < count; p++)
            few.layer.mean[i] += (double)few.columns[p * k + i] / (double)count;
        for (size_t j = 0; j < k; j++)
            for (size_t p = 0; p < count; p++)
                few.layer.gram[i * k + j] +=
                    (double)few.columns[p * k + i] * (double)few.columns[p * k + j] / (double)count;
        few.layer.gram[i * k + i] += few.added[i];
    }
    few.positions =
        (struct ldnq_gram_positions){ few.columns, count, has_added ? few.added : NULL, NULL };
    return few;
}

static void free_few_layer(struct few_layer *few)
{
    layer_free(&few->layer);
    free(few->columns);
    free(few->added);
}

static const size_t shapes[][3] = { { 3, 7, 2 }, { 32, 150, 40 }, { 5, 300, 130 } };

static void check_products(const struct ldnq_layer_problem *with,
                           const struct ldnq_layer_problem *without, size_t rows)
{
    const size_t k = with->cols;
    double *x = layer_alloc(rows * k, sizeof *x), *a = layer_alloc(rows * k, sizeof *a),
           *b = layer_alloc(rows * k, sizeof *b), size = 0;
    for (size_t i = 0; i < rows * k; i++)
        x[i] = (double)with->weight[i];
    ldnq_multiply_by_gram(with, 0, rows, x, a);
    ldnq_multiply_by_gram(without, 0, rows, x, b);
    for (size_t i = 0; i < rows * k; i++)
        size = fmax(size, fabs(b[i]));
    for (size_t i = 0; i < rows * k; i++)
        assert_within(a[i], b[i], 1e-12 * size);
    free(x);
    free(a);
    free(b);
}

static void products_should_be_those_with_the_matrix(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * sizeof shapes / sizeof *shapes; i++) {
        const size_t *at = shapes[i / 4];
        struct few_layer few = make_few_layer(at[0], at[1], at[2], i % 2);
        struct ldnq_layer_problem with = few.layer.problem, without = with, reduced[2];
        struct ldnq_arena *arena;
        with.positions = &few.positions;
        if (i % 4 < 2) {
            check_products(&with, &without, at[0]);
        } else { /* the column without variance becomes zeros */
            assert_ok(ldnq_arena_create(&arena, &err));
            assert_ok(ldnq_problem_eliminate_bias(&with, &reduced[0], arena, &err));
            assert_ok(ldnq_problem_eliminate_bias(&without, &reduced[1], arena, &err));
            assert_true(reduced[0].gram[2 * at[1] + 2] == 0);
            check_products(&reduced[0], &reduced[1], at[0]);
            ldnq_arena_destroy(arena);
        }
        free_few_layer(&few);
    }
}

static void objective_should_be_that_of_the_matrix(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * sizeof shapes / sizeof *shapes; i++) {
        const size_t *at = shapes[i / 4];
        struct few_layer few = make_few_layer(at[0], at[1], at[2], i % 2);
        struct ldnq_layer_problem with = few.layer.problem;
        const struct ldnq_choice zero = { 0 };
        if (i % 4 < 2)
            with.mean = NULL;
        const double expected = ldnq_compute_total_error_serially(&with, &zero);
        with.positions = &few.positions;
        assert_within(ldnq_compute_total_error_serially(&with, &zero), expected, 1e-11 * expected);
        free_few_layer(&few);
    }
}

/* Both find codes of the same quality; ties may be decided otherwise. */
static void solvers_should_find_as_good_codes_from_positions(void **state)
{
    (void)state;
    const char *const solvers[] = { "gptq", "cd", "beam", "best" };
    for (size_t i = 0; i < sizeof solvers / sizeof *solvers; i++) {
        struct few_layer with = make_few_layer(20, 90, 25, true);
        struct few_layer without = make_few_layer(20, 90, 25, true);
        with.layer.problem.positions = &with.positions;
        assert_ok(layer_solve(&with.layer, solvers[i], NULL, &err));
        assert_ok(layer_solve(&without.layer, solvers[i], NULL, &err));
        assert_within(with.layer.solution.error, without.layer.solution.error,
                      1e-3 * without.layer.solution.error);
        free_few_layer(&with);
        free_few_layer(&without);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_should_be_those_with_the_matrix),
        cmocka_unit_test(objective_should_be_that_of_the_matrix),
        cmocka_unit_test(solvers_should_find_as_good_codes_from_positions),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

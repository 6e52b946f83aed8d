/* SPDX-License-Identifier: Apache-2.0 */
/* Solutions that the caller measures, and those that share their start. */
#include "test.h"
#include "with_blas.h"

#include "layer.h"
#include "quant/problem.h"

static struct ldnq_error err;

static const size_t shapes[][3] = { { 1, 40, 33 }, { 6, 3, 9 }, { 1, 2, 150 } };
#define SHAPES (sizeof shapes / sizeof *shapes)

/* Calls `check` with each solver, granularity and shape. */
static void each_problem(void (*check)(const struct ldnq_solver *solver, struct layer *layer,
                                       struct layer *other))
{
    for (const struct ldnq_solver *const *s = ldnq_solvers(); *s; s++)
        for (int g = LDNQ_PER_TENSOR; g <= ((*s)->blocks ? LDNQ_PER_BLOCK : LDNQ_PER_CHANNEL); g++)
            for (size_t i = 0; i < 2 * SHAPES; i++) {
                const size_t *at = shapes[i / 2];
                const char *codebook = i % 3 ? "int4" : "pot7";
                struct layer layer = layer_make(at[0], at[1], at[2], codebook, g, i);
                struct layer other = layer_make(at[0], at[1], at[2], codebook, g, i);
                layer.problem.negative_scales = other.problem.negative_scales = true;
                if (i % 2) {
                    layer_without_bias(&layer);
                    layer_without_bias(&other);
                }
                check(*s, &layer, &other);
                layer_free(&layer);
                layer_free(&other);
            }
}

static void check_same_codes(const struct layer *layer, const struct layer *other)
{
    const size_t count = layer->problem.groups * layer->problem.rows * layer->problem.cols;
    assert_memory_equal(layer->solution.codes, other->solution.codes, count);
    assert_memory_equal(layer->solution.scales, other->solution.scales,
                        layer_scale_count(layer) * sizeof(float));
}

static double measure_zero(const struct layer *layer)
{
    const struct ldnq_choice zero = { 0 };
    return ldnq_compute_total_error_serially(&layer->problem, &zero);
}

static void check_trial(const struct ldnq_solver *solver, struct layer *layer, struct layer *trial)
{
    struct ldnq_solver_options options;
    ldnq_solver_defaults(&options);
    assert_ok(ldnq_solve(solver, &layer->problem, &options, NULL, &layer->solution, &err));
    options.is_trial = true;
    assert_ok(ldnq_solve(solver, &trial->problem, &options, NULL, &trial->solution, &err));
    check_same_codes(layer, trial);
    const double zero = measure_zero(layer), expected = zero * layer->solution.error;
    if (solver->improve)
        assert_within(trial->solution.error, expected, 1e-9 * (expected + 1e-3 * zero));
}

static void a_trial_should_find_the_same_codes_and_its_own_objective(void **state)
{
    (void)state;
    each_problem(check_trial);
}

/* The second problem has other samples. */
static void check_shared_start(const struct ldnq_solver *solver, struct layer *layer,
                               struct layer *other)
{
    const size_t k = layer->problem.cols, rows = layer->problem.groups * layer->problem.rows;
    struct ldnq_shared_start shared = { layer_alloc(rows * k, 1),
                                        layer_alloc(layer_scale_count(layer), sizeof(float)),
                                        false };
    struct ldnq_solver_options options;
    ldnq_solver_defaults(&options);
    layer->problem.shared_start = &shared;
    for (int i = 0; i < 2; i++) {
        assert_ok(ldnq_solve(solver, &layer->problem, &options, NULL, &layer->solution, &err));
        assert_true(shared.is_known);
        assert_ok(ldnq_solve(solver, &other->problem, &options, NULL, &other->solution, &err));
        check_same_codes(layer, other);
        assert_true(layer->solution.error_start == other->solution.error_start);
        for (size_t g = 0; g < layer->problem.groups * k; g++) {
            layer->gram[g * k + g % k] *= 1.5;
            other->gram[g * k + g % k] *= 1.5;
        }
    }
    free(shared.codes);
    free(shared.scales);
}

static void a_start_that_is_known_should_change_nothing(void **state)
{
    (void)state;
    each_problem(check_shared_start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trial_should_find_the_same_codes_and_its_own_objective),
        cmocka_unit_test(a_start_that_is_known_should_change_nothing),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

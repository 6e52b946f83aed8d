/* SPDX-License-Identifier: Apache-2.0 */
/* Against a plain triple loop. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "linalg/cholesky.h"

static struct ldnq_error err;

/* A = X'X / 2n + I / 100 from 2n random rows. */
static double *positive_definite(size_t n, uint64_t seed)
{
    struct ldnq_rng rng = { seed };
    double *x = calloc(2 * n * n, sizeof *x), *a = calloc(n * n + 1, sizeof *a);
    for (size_t i = 0; i < 2 * n * n; i++)
        x[i] = 2 * ldnq_rng_uniform(&rng) - 1;
    for (size_t p = 0; p < 2 * n; p++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                a[i * n + j] += x[p * n + i] * x[p * n + j] / (2 * (double)n);
    for (size_t i = 0; i < n; i++)
        a[i * n + i] += 0.01;
    free(x);
    return a;
}

static void naive_factor(size_t n, const double *a, double *l)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= l[i * n + k] * l[j * n + k];
            l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
        }
}

static void factor_should_equal_the_naive_one_and_leave_the_upper_triangle(void **state)
{
    (void)state;
    const size_t sizes[] = { 0, 1, 2, 9, 33, 150 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s];
        double *a = positive_definite(n, s), *l = calloc(n * n + 1, sizeof *l);
        naive_factor(n, a, l);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                a[i * n + j] = 12345;
        assert_ok(ldnq_cholesky_factor(n, a, &err));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                assert_true(fabs(a[i * n + j] - (j > i ? 12345 : l[i * n + j])) < 1e-12);
        free(a);
        free(l);
    }
}

static void solve_should_give_rows_that_times_a_are_the_right_hand_sides(void **state)
{
    (void)state;
    const size_t sizes[][2] = { { 1, 3 }, { 9, 1 }, { 26, 32 }, { 150, 7 }, { 5, 0 } };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s][0], rows = sizes[s][1];
        struct ldnq_rng rng = { 7 };
        double *a = positive_definite(n, s), *factor = malloc(n * n * sizeof *a);
        double *b = malloc((rows * n + 1) * sizeof *b), *x = malloc((rows * n + 1) * sizeof *x);
        for (size_t i = 0; i < rows * n; i++)
            x[i] = b[i] = ldnq_rng_uniform(&rng);
        memcpy(factor, a, n * n * sizeof *a);
        assert_ok(ldnq_cholesky_factor(n, factor, &err));
        ldnq_cholesky_solve(n, factor, rows, x);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t i = 0; i < n; i++)
                    sum += x[r * n + i] * a[i * n + j];
                assert_true(fabs(sum - b[r * n + j]) < 1e-9);
            }
        free(a);
        free(factor);
        free(b);
        free(x);
    }
}

static void the_inverted_factor_times_the_factor_should_be_one(void **state)
{
    (void)state;
    const size_t sizes[] = { 0, 1, 2, 9, 33, 150 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s];
        double *a = positive_definite(n, s), *l = calloc(n * n + 1, sizeof *l);
        naive_factor(n, a, l);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                a[i * n + j] = 12345;
        assert_ok(ldnq_cholesky_factor(n, a, &err));
        ldnq_cholesky_invert(n, a);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t k = j; k <= i; k++)
                    sum += a[i * n + k] * l[k * n + j];
                assert_true(j > i ? a[i * n + j] == 12345 : fabs(sum - (i == j)) < 1e-11);
            }
        free(a);
        free(l);
    }
}

static void rank_should_be_the_number_of_directions(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 7 };
    for (size_t rank = 0; rank <= 30; rank += 5) {
        double x[30 * 30], a[30 * 30] = { 0 };
        for (size_t i = 0; i < rank * 30; i++)
            x[i] = 2 * ldnq_rng_uniform(&rng) - 1;
        for (size_t p = 0; p < rank; p++)
            for (size_t i = 0; i < 30; i++)
                for (size_t j = 0; j <= i; j++) /* the lower triangle alone is read */
                    a[i * 30 + j] += x[p * 30 + i] * x[p * 30 + j];
        size_t found;
        assert_ok(ldnq_cholesky_rank(30, a, 1e-9, &found, &err));
        assert_int_equal(found, rank);
    }
    size_t none = 5;
    assert_ok(ldnq_cholesky_rank(0, NULL, 0, &none, &err));
    assert_int_equal(none, 0);
    assert_fails(ldnq_cholesky_rank((size_t)1 << 31, NULL, 0, &none, &err), LDNQ_NUMERIC,
                 "too large");
}

static void factor_should_refuse_what_is_not_positive_definite(void **state)
{
    (void)state;
    double indefinite[] = { 1, 2, 2, 1 }, zero[] = { 0 }, not_a_number[] = { (double)NAN };
    assert_fails(ldnq_cholesky_factor(2, indefinite, &err), LDNQ_NUMERIC,
                 "not positive definite (pivot 2)");
    assert_fails(ldnq_cholesky_factor(1, zero, &err), LDNQ_NUMERIC, "pivot 1");
    assert_fails(ldnq_cholesky_factor(1, not_a_number, &err), LDNQ_NUMERIC, "pivot 1");
}

static void factor_should_refuse_a_size_that_lapack_can_not_count(void **state)
{
    (void)state;
    double a[] = { 1 };
    assert_fails(ldnq_cholesky_factor((size_t)1 << 31, a, &err), LDNQ_NUMERIC, "too large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factor_should_equal_the_naive_one_and_leave_the_upper_triangle),
        cmocka_unit_test(solve_should_give_rows_that_times_a_are_the_right_hand_sides),
        cmocka_unit_test(the_inverted_factor_times_the_factor_should_be_one),
        cmocka_unit_test(rank_should_be_the_number_of_directions),
        cmocka_unit_test(factor_should_refuse_what_is_not_positive_definite),
        cmocka_unit_test(factor_should_refuse_a_size_that_lapack_can_not_count),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}

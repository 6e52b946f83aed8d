/* SPDX-License-Identifier: Apache-2.0 */
/* The knapsack against all combinations. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "pipeline/knapsack.h"

#define ROWS ((size_t)6)
#define CHOICES ((size_t)4)

static struct ldnq_error err;

struct table {
    double error[ROWS * CHOICES], cost[ROWS * CHOICES];
};

/* Sizes that differ as layers' do, errors that mostly fall as costs rise. */
static struct table random_table(uint64_t seed)
{
    struct table t;
    struct ldnq_rng rng = { seed };
    for (size_t row = 0; row < ROWS; row++) {
        const double size = floor(exp(7 * ldnq_rng_uniform(&rng))) + 1;
        const double weight = exp(4 * ldnq_rng_uniform(&rng));
        for (size_t c = 0; c < CHOICES; c++) {
            t.cost[row * CHOICES + c] = size * (double)(2 + c);
            t.error[row * CHOICES + c] =
                weight * exp(-1.4 * (double)c) * (0.5 + ldnq_rng_uniform(&rng));
        }
    }
    return t;
}

static double sum_of(const double *values, const size_t *chosen)
{
    double sum = 0;
    for (size_t row = 0; row < ROWS; row++)
        sum += values[row * CHOICES + chosen[row]];
    return sum;
}

/* The least sum of errors of all combinations within the budget. */
static double least(const struct table *t, double budget)
{
    double best = INFINITY;
    for (size_t code = 0; code < 4096; code++) {
        size_t chosen[ROWS];
        for (size_t row = 0, left = code; row < ROWS; row++, left /= CHOICES)
            chosen[row] = left % CHOICES;
        if (sum_of(t->cost, chosen) <= budget)
            best = fmin(best, sum_of(t->error, chosen));
    }
    return best;
}

static void sum_should_be_the_least_of_all_combinations(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        const struct table t = random_table(seed);
        const size_t cheap[ROWS] = { 0 }, dear[ROWS] = { 3, 3, 3, 3, 3, 3 };
        const double low = sum_of(t.cost, cheap), high = sum_of(t.cost, dear);
        for (double part = 0; part <= 1; part += 0.125) {
            const double budget = low + part * (high - low);
            size_t chosen[ROWS];
            bool fits;
            assert_ok(
                ldnq_knapsack_solve(ROWS, CHOICES, t.error, t.cost, budget, chosen, &fits, &err));
            assert_true(fits && sum_of(t.cost, chosen) <= budget);
            assert_true(sum_of(t.error, chosen) <= (1 + 1e-12) * least(&t, budget));
        }
    }
}

/* More rows than keep all sums: near the bound that cutting a row in two gives. */
static void many_rows_should_come_near_the_convex_bound(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static double error[MANY * CHOICES], cost[MANY * CHOICES];
    static size_t chosen[MANY];
    bool fits;
    for (size_t i = 0; i < MANY * CHOICES / (ROWS * CHOICES); i++) {
        const struct table t = random_table(i);
        memcpy(error + i * ROWS * CHOICES, t.error, sizeof t.error);
        memcpy(cost + i * ROWS * CHOICES, t.cost, sizeof t.cost);
    }
    double low = 0, high = 0;
    for (size_t row = 0; row < MANY; row++) {
        low += cost[row * CHOICES];
        high += cost[row * CHOICES + 3];
    }
    const double budget = low + 0.4 * (high - low);
    assert_ok(ldnq_knapsack_solve(MANY, CHOICES, error, cost, budget, chosen, &fits, &err));
    /* max over prices p of sum min (error + p cost) - p budget is below every plan. */
    double bound = 0, spent = 0, sum = 0;
    for (double price = 1e-6; price < 10; price *= 1.02) {
        double value = -price * budget;
        for (size_t row = 0; row < MANY; row++) {
            double least = INFINITY;
            for (size_t c = row * CHOICES; c < (row + 1) * CHOICES; c++)
                least = fmin(least, error[c] + price * cost[c]);
            value += least;
        }
        bound = fmax(bound, value);
    }
    for (size_t row = 0; row < MANY; row++) {
        spent += cost[row * CHOICES + chosen[row]];
        sum += error[row * CHOICES + chosen[row]];
    }
    assert_true(fits && spent <= budget && sum < 1.002 * bound);
}

/* One choice for all that fits to the last unit must not be lost to rounding. */
static void a_budget_that_one_choice_fills_should_give_no_worse(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        const struct table t = random_table(seed);
        for (size_t c = 0; c < CHOICES; c++) {
            const size_t same[ROWS] = { c, c, c, c, c, c };
            size_t chosen[ROWS];
            bool fits;
            assert_ok(ldnq_knapsack_solve(ROWS, CHOICES, t.error, t.cost, sum_of(t.cost, same),
                                          chosen, &fits, &err));
            assert_true(fits);
            assert_true(sum_of(t.error, chosen) <= (1 + 1e-12) * sum_of(t.error, same));
        }
    }
}

static void a_budget_below_the_least_should_not_fit(void **state)
{
    (void)state;
    const struct table t = random_table(1);
    const size_t cheap[ROWS] = { 0 };
    size_t chosen[ROWS];
    bool fits = true;
    assert_ok(ldnq_knapsack_solve(ROWS, CHOICES, t.error, t.cost, sum_of(t.cost, cheap) - 1, chosen,
                                  &fits, &err));
    assert_false(fits);
    assert_ok(ldnq_knapsack_solve(0, CHOICES, NULL, NULL, 0, NULL, &fits, &err));
    assert_true(fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_should_be_the_least_of_all_combinations),
        cmocka_unit_test(many_rows_should_come_near_the_convex_bound),
        cmocka_unit_test(a_budget_that_one_choice_fills_should_give_no_worse),
        cmocka_unit_test(a_budget_below_the_least_should_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

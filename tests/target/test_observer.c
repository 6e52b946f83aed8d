/* SPDX-License-Identifier: Apache-2.0 */
/* What observers count and which ranges they choose, against plain loops. */
#include "graph_build.h"

#include <math.h>

#include "target/observer.h"

#define NO_BOUNDS double low = -INFINITY, high = INFINITY

static struct ldnq_arena *arena;

static int set_up(void **state)
{
    (void)state;
    return ldnq_arena_create(&arena, &err);
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    return 0;
}

static struct ldnq_observer *observer_of(const float *importance, size_t channels)
{
    struct ldnq_observer *observer;
    assert_ok(ldnq_observer_create(arena, importance, channels, 1, &observer, &err));
    return observer;
}

/* Sums of twelve uniform numbers: a bell; every 1000th value ten times as large. */
static struct ldnq_tensor *bell(int64_t rows, uint64_t seed, bool outliers)
{
    struct ldnq_tensor *tensor;
    struct ldnq_rng rng = { seed };
    assert_ok(ldnq_tensor_create(arena, LDNQ_FLOAT, &SHAPE(rows, 4, 50), &tensor, &err));
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++) {
        double sum = -6;
        for (int k = 0; k < 12; k++)
            sum += ldnq_rng_uniform(&rng);
        ((float *)tensor->data)[i] = (float)(outliers && i % 1000 == 0 ? 10 * sum : sum);
    }
    return tensor;
}

/* The mean squared error of really rounding the tensor's elements. */
static double true_error(const struct ldnq_tensor *tensor, double low, double high)
{
    const struct ldnq_scale scale =
        ldnq_target_scale(ldnq_target_find("ort"), LDNQ_UINT8, low, high, false);
    const float *x = tensor->data;
    double sum = 0;
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++) {
        const double code =
            fmin(fmax(nearbyint((double)(x[i] / scale.scale)) + scale.zero_point, 0), 255);
        const double y = (code - scale.zero_point) * (double)scale.scale;
        sum += (y - (double)x[i]) * (y - (double)x[i]);
    }
    return sum / (double)ldnq_tensor_count(tensor);
}

static void range_of(struct ldnq_observer *observer, enum ldnq_range_rule rule, double *low,
                     double *high)
{
    ldnq_observer_range(observer, rule, ldnq_target_find("ort"), LDNQ_UINT8, low, high);
}

static void minmax_should_be_the_extremes(void **state)
{
    (void)state;
    struct ldnq_observer *observer = observer_of(NULL, 0);
    struct ldnq_tensor *tensor = bell(20, 1, true);
    const float *x = tensor->data;
    float least = 0, most = 0;
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++) {
        least = fminf(least, x[i]);
        most = fmaxf(most, x[i]);
    }
    ldnq_observer_add(observer, tensor, NULL);
    NO_BOUNDS;
    range_of(observer, LDNQ_RANGE_MINMAX, &low, &high);
    assert_true(low == (double)least && high == (double)most);
}

/* Chunks of 2^15 elements: the extremes are in the last, short one, and a NaN hides nothing. */
static void extremes_should_be_those_of_all_chunks(void **state)
{
    (void)state;
    const size_t last = 3 * 32768 + 7;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    struct ldnq_tensor *tensor = build_tensor(arena, SHAPE(1, (int64_t)last + 1), 9);
    float *x = tensor->data;
    x[last] = -3000;
    x[last - 300] = 2000;
    x[40000] = NAN;
    struct ldnq_observer *alone = observer_of(NULL, 0), *shared = observer_of(NULL, 0);
    ldnq_observer_add(alone, tensor, NULL);
    ldnq_observer_add(shared, tensor, pool);
    for (int i = 0; i < 2; i++) {
        double low, high;
        ldnq_observer_extremes(i == 0 ? alone : shared, &low, &high);
        assert_true(low == -3000 && high == 2000);
        assert_false(ldnq_observer_all_finite(i == 0 ? alone : shared));
    }
    ldnq_pool_destroy(pool);
}

static void mse_should_be_no_worse_than_any_range_on_a_grid(void **state)
{
    (void)state;
    struct ldnq_tensor *tensor = bell(100, 2, true);
    struct ldnq_observer *observer = observer_of(NULL, 0);
    ldnq_observer_add(observer, tensor, NULL);
    NO_BOUNDS;
    range_of(observer, LDNQ_RANGE_MSE, &low, &high);
    const double chosen = true_error(tensor, low, high);
    double least, most, best = INFINITY;
    ldnq_observer_extremes(observer, &least, &most);
    for (int i = 1; i <= 20; i++)
        for (int k = 1; k <= 20; k++)
            best = fmin(best, true_error(tensor, least * i / 20, most * k / 20));
    assert_true(chosen <= best * 1.05);
    assert_true(chosen < true_error(tensor, least, most));
}

static void order_and_batches_should_not_matter(void **state)
{
    (void)state;
    const float importance[] = { 1.0f, 0.1f, 5.0f, 0.7f };
    struct ldnq_tensor *first = bell(30, 3, false), *second = bell(30, 4, true);
    struct ldnq_observer *forth = observer_of(importance, 4), *back = observer_of(importance, 4);
    struct ldnq_observer *joined = observer_of(importance, 4), *part = observer_of(importance, 4);
    ldnq_observer_add(forth, first, NULL);
    ldnq_observer_add(forth, second, NULL);
    ldnq_observer_add(back, second, NULL);
    ldnq_observer_add(back, first, NULL);
    ldnq_observer_add(joined, second, NULL);
    ldnq_observer_add(part, first, NULL);
    ldnq_observer_merge(joined, part);
    for (int rule = LDNQ_RANGE_AUTO; rule <= LDNQ_RANGE_ENTROPY; rule++) {
        double ranges[3][2] = { { -INFINITY, INFINITY },
                                { -INFINITY, INFINITY },
                                { -INFINITY, INFINITY } };
        range_of(forth, (enum ldnq_range_rule)rule, &ranges[0][0], &ranges[0][1]);
        range_of(back, (enum ldnq_range_rule)rule, &ranges[1][0], &ranges[1][1]);
        range_of(joined, (enum ldnq_range_rule)rule, &ranges[2][0], &ranges[2][1]);
        for (int i = 1; i < 3; i++)
            assert_true(ranges[i][0] == ranges[0][0] && ranges[i][1] == ranges[0][1]);
    }
}

static void auto_should_follow_the_channels_that_count(void **state)
{
    (void)state;
    struct ldnq_tensor *tensor = bell(200, 5, false);
    float *x = tensor->data;
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        if (i / 50 % 4 == 3)
            x[i] *= 100; /* a loud channel that nobody reads */
    const float importance[] = { 1.0f, 1.0f, 1.0f, 0.0f };
    struct ldnq_observer *observer = observer_of(importance, 4);
    ldnq_observer_add(observer, tensor, NULL);
    NO_BOUNDS;
    range_of(observer, LDNQ_RANGE_AUTO, &low, &high);
    assert_true(high < 10 && low > -10);
}

static void bounds_of_a_clamp_should_hold(void **state)
{
    (void)state;
    struct ldnq_observer *observer = observer_of(NULL, 0);
    ldnq_observer_add(observer, bell(10, 6, true), NULL);
    double low = 0, high = 2;
    range_of(observer, LDNQ_RANGE_MINMAX, &low, &high);
    assert_true(low == 0 && high == 2);
}

static void percentile_and_entropy_should_leave_outliers_outside(void **state)
{
    (void)state;
    struct ldnq_observer *observer = observer_of(NULL, 0);
    for (uint64_t seed = 10; seed < 20; seed++) {
        struct ldnq_tensor *tensor = bell(100, seed, false);
        ((float *)tensor->data)[0] = 100;
        ldnq_observer_add(observer, tensor, NULL);
    }
    for (int i = 0; i < 2; i++) {
        NO_BOUNDS;
        range_of(observer, i ? LDNQ_RANGE_PERCENTILE : LDNQ_RANGE_ENTROPY, &low, &high);
        assert_true(high < 12 && high > 1);
    }
}

static void relative_error_should_be_that_of_rounding(void **state)
{
    (void)state;
    const struct ldnq_tensor *tensor = bell(200, 5, false);
    struct ldnq_observer *observer = observer_of(NULL, 0);
    double power = 0;
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        power += pow((double)((const float *)tensor->data)[i], 2);
    ldnq_observer_add(observer, tensor, NULL);
    for (double high = 1; high <= 8; high *= 2) { /* from clipping to rounding */
        const struct ldnq_scale scale =
            ldnq_target_scale(ldnq_target_find("ort"), LDNQ_UINT8, -high, high, false);
        const double want =
            true_error(tensor, -high, high) / (power / (double)ldnq_tensor_count(tensor));
        assert_true(fabs(ldnq_observer_relative_error(observer, LDNQ_UINT8, scale) / want - 1) <
                    0.03);
    }
}

/* Channel 2 is a thousand times as large as the other three. */
static void slices_below_a_step_should_be_lost(void **state)
{
    (void)state;
    struct ldnq_tensor *tensor = bell(20, 6, false);
    struct ldnq_observer *observer = observer_of(NULL, 0);
    float *x = tensor->data;
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        x[i] *= i / 50 % 4 == 2 ? 1000 : 1;
    ldnq_observer_add(observer, tensor, NULL);
    assert_true(ldnq_observer_lost_slices(observer, 0.1) == 0);
    assert_true(fabs(ldnq_observer_lost_slices(observer, 30) - 0.75) < 1e-9);
    assert_true(ldnq_observer_lost_slices(observer, 1e5) == 1);
}

static void nothing_seen_should_be_no_range(void **state)
{
    (void)state;
    struct ldnq_tensor *zeros;
    struct ldnq_observer *observer = observer_of(NULL, 0);
    for (int i = 0; i < 2; i++) {
        NO_BOUNDS;
        range_of(observer, LDNQ_RANGE_AUTO, &low, &high);
        assert_true(low == 0 && high == 0);
        assert_ok(ldnq_tensor_create(arena, LDNQ_FLOAT, &SHAPE(2, 4), &zeros, &err));
        ldnq_observer_add(observer, zeros, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minmax_should_be_the_extremes),
        cmocka_unit_test(extremes_should_be_those_of_all_chunks),
        cmocka_unit_test(mse_should_be_no_worse_than_any_range_on_a_grid),
        cmocka_unit_test(order_and_batches_should_not_matter),
        cmocka_unit_test(auto_should_follow_the_channels_that_count),
        cmocka_unit_test(bounds_of_a_clamp_should_hold),
        cmocka_unit_test(percentile_and_entropy_should_leave_outliers_outside),
        cmocka_unit_test(relative_error_should_be_that_of_rounding),
        cmocka_unit_test(slices_below_a_step_should_be_lost),
        cmocka_unit_test(nothing_seen_should_be_no_range),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

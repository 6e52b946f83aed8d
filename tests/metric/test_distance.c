/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between tensors, and metrics of outputs. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "metric/output_metrics.h"

static struct ldnq_error err;

static struct ldnq_tensor tensor(float *data, int64_t rows, int64_t columns)
{
    return (struct ldnq_tensor){ LDNQ_FLOAT, { .rank = 2, .dim = { rows, columns } }, data };
}

static void distance_should_report_sqnr_and_cosine(void **state)
{
    (void)state;
    float t[] = { 3, 4, 0, 0 }, y[] = { 3, 4, 0, 1 };
    const struct ldnq_tensor a = tensor(t, 2, 2), b = tensor(y, 2, 2);
    struct ldnq_distance sums = { 0 };
    assert_ok(ldnq_distance_add(&sums, &b, &a, NULL, &err));
    assert_true(fabs(ldnq_distance_compute_sqnr(&sums) - 10 * log10(25)) < 1e-12);
    assert_true(fabs(ldnq_distance_compute_cosine(&sums) - 25 / sqrt(25 * 26)) < 1e-12);
    assert_true(sums.max_error == 1);
    assert_ok(ldnq_distance_add(&sums, &a, &a, NULL, &err)); /* a second batch */
    assert_true(fabs(ldnq_distance_compute_sqnr(&sums) - 10 * log10(50)) < 1e-12);
}

static void
distance_should_be_exact_for_the_same_and_unknown_for_what_can_not_be_compared(void **state)
{
    (void)state;
    float t[] = { 0, 0 };
    const struct ldnq_tensor a = tensor(t, 1, 2), other = tensor(t, 2, 1);
    struct ldnq_distance same = { 0 }, failed = { 0 }, none = { 0 };
    assert_ok(ldnq_distance_add(&same, &a, &a, NULL, &err));
    assert_true(isinf(ldnq_distance_compute_sqnr(&same)) &&
                ldnq_distance_compute_cosine(&same) == 1);
    assert_ok(ldnq_distance_add(&failed, &a, &a, NULL, &err));
    assert_ok(ldnq_distance_add(&failed, &other, &a, NULL, &err));
    assert_ok(ldnq_distance_add(&failed, &a, &a, NULL, &err));
    assert_true(isnan(ldnq_distance_compute_sqnr(&failed))); /* for good */
    assert_ok(ldnq_distance_add(&none, NULL, &a, NULL, &err));
    assert_true(isnan(ldnq_distance_compute_cosine(&none)));
}

static void distance_should_equal_the_plain_sums_for_any_count(void **state)
{
    (void)state;
    float t[70], y[70];
    for (int i = 0; i < 70; i++) {
        t[i] = sinf((float)(3 * i));
        y[i] = t[i] + 0.1f * cosf((float)(7 * i));
    }
    for (int count = 1; count <= 70; count++) {
        const struct ldnq_tensor a = tensor(t, 1, count), b = tensor(y, 1, count);
        struct ldnq_distance found = { 0 }, sums = { 0 };
        assert_ok(ldnq_distance_add(&found, &b, &a, NULL, &err));
        for (int i = 0; i < count; i++) {
            const double x = (double)t[i], z = (double)y[i];
            sums.tt += x * x;
            sums.yy += z * z;
            sums.ty += x * z;
            sums.ee += (z - x) * (z - x);
            sums.max_error = fmax(sums.max_error, fabs(z - x));
        }
        assert_within(found.tt, sums.tt, 1e-13 * sums.tt);
        assert_within(found.yy, sums.yy, 1e-13 * sums.yy);
        assert_within(found.ty, sums.ty, 1e-13 * sums.tt);
        assert_within(found.ee, sums.ee, 1e-13 * sums.ee);
        assert_true(found.max_error == sums.max_error);
    }
}

static void distance_should_not_depend_on_threads(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    float *t = ldnq_calloc(COUNT, sizeof *t), *y = ldnq_calloc(COUNT, sizeof *y);
    for (int i = 0; i < COUNT; i++) {
        t[i] = sinf((float)i);
        y[i] = t[i] + 1e-3f * cosf((float)(7 * i));
    }
    const struct ldnq_tensor a = tensor(t, 1, COUNT), b = tensor(y, 1, COUNT);
    struct ldnq_distance one = { 0 }, many = { 0 };
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    assert_ok(ldnq_distance_add(&one, &b, &a, NULL, &err));
    assert_ok(ldnq_distance_add(&many, &b, &a, pool, &err));
    assert_true(one.tt == many.tt && one.yy == many.yy && one.ty == many.ty && one.ee == many.ee &&
                one.max_error == many.max_error);
    ldnq_pool_destroy(pool);
    ldnq_free(t);
    ldnq_free(y);
}

static struct ldnq_output_metrics metrics_of(float *t, float *y, int64_t rows, int64_t columns)
{
    const struct ldnq_tensor a = tensor(t, rows, columns), b = tensor(y, rows, columns);
    struct ldnq_output_sums sums = { 0 };
    assert_ok(ldnq_output_sums_add(&sums, &b, &a, (size_t)rows, NULL, &err));
    return ldnq_output_metrics_compute(&sums);
}

static void metrics_should_compare_classes(void **state)
{
    (void)state;
    float t[] = { 1, 2, 3, 0, 5, 1 }, y[] = { 1, 2, 3, 6, 5, 1 };
    const struct ldnq_output_metrics output = metrics_of(t, y, 2, 3);
    assert_true(output.agreement == 0.5);
    assert_true(output.max_error == 6);
    double p[3], q[3], sum_p = 0, sum_q = 0, kl = 0;
    for (int i = 0; i < 3; i++) {
        sum_p += p[i] = exp((double)t[3 + i]);
        sum_q += q[i] = exp((double)y[3 + i]);
    }
    for (int i = 0; i < 3; i++)
        kl += p[i] / sum_p * log(p[i] / sum_p / (q[i] / sum_q));
    assert_true(fabs(output.kl - kl / 2) < 1e-12);
}

static void metrics_should_use_distributions_as_they_are(void **state)
{
    (void)state;
    float t[] = { 0.5f, 0.5f }, y[] = { 0.25f, 0.75f };
    const double kl = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75);
    assert_true(fabs(metrics_of(t, y, 1, 2).kl - kl) < 1e-9);
}

/* One rule for all that print an agreement: a dimension of more than 1 beside the samples'. */
static void metrics_should_compare_classes_only_in_rows_of_scores(void **state)
{
    (void)state;
    float t[] = { 1, 2, 3, 4, 5, 6 };
    const struct ldnq_output_metrics one = metrics_of(t, t, 3, 1);
    assert_true(isnan(one.agreement) && isnan(one.kl) && one.noise_to_signal == 0);
    struct ldnq_tensor boxes = { LDNQ_FLOAT, { .rank = 3, .dim = { 1, 3, 1 } }, t };
    struct ldnq_output_sums sums = { 0 };
    assert_ok(ldnq_output_sums_add(&sums, &boxes, &boxes, 1, NULL, &err));
    assert_true(ldnq_output_metrics_compute(&sums).agreement ==
                1); /* (N, C, 1) is one score a class */
    boxes.shape = (struct ldnq_shape){ .rank = 3, .dim = { 1, 2, 3 } };
    sums = (struct ldnq_output_sums){ 0 };
    assert_ok(ldnq_output_sums_add(&sums, &boxes, &boxes, 1, NULL, &err));
    assert_true(isnan(ldnq_output_metrics_compute(&sums).agreement));
    assert_true(isnan(ldnq_output_metrics_compute(&sums).agreement_interval.low));
    boxes.shape = (struct ldnq_shape){ .rank = 4, .dim = { 2, 1, 1, 3 } };
    assert_int_equal(ldnq_count_classes(&boxes, 2), 3); /* channels last */
    assert_int_equal(ldnq_count_classes(&boxes, 1), 0);
    boxes.shape = (struct ldnq_shape){ .rank = 1, .dim = { 6 } };
    assert_int_equal(ldnq_count_classes(&boxes, 1), 6);
    assert_int_equal(ldnq_count_classes(&boxes, 6), 0); /* one score a sample */
    boxes.shape = (struct ldnq_shape){ .rank = 3, .dim = { 1, 2, 2 } };
    assert_int_equal(ldnq_count_classes(&boxes, 1), 0);
    boxes = (struct ldnq_tensor){ LDNQ_INT64, { .rank = 2, .dim = { 2, 3 } }, t };
    assert_int_equal(ldnq_count_classes(&boxes, 2), 0);
}

/* Both ends solve |p - share| = z sqrt(p (1 - p) / n), which defines Wilson's interval. */
static void share_interval_should_be_wilsons(void **state)
{
    (void)state;
    const double z = 1.959963984540054;
    for (size_t n = 1; n <= 600; n += 1 + n / 7)
        for (size_t hits = 0; hits <= n; hits++) {
            const struct ldnq_interval at = ldnq_compute_share_interval(hits, n);
            const double share = (double)hits / (double)n, ends[] = { at.low, at.high };
            assert_true(at.low >= 0 && at.low <= share && share <= at.high && at.high <= 1);
            for (int i = 0; i < 2; i++) {
                const double spread = sqrt(ends[i] * (1 - ends[i]) / (double)n);
                assert_true(fabs(fabs(ends[i] - share) - z * spread) < 1e-9);
            }
        }
    assert_true(isnan(ldnq_compute_share_interval(0, 0).low));
}

/* 95 of 100 sets of 20 samples have the true share in their interval, on average over shares. */
static void share_interval_should_cover_the_truth(void **state)
{
    (void)state;
    const size_t n = 20;
    double sum = 0;
    for (int i = 1; i < 100; i++) {
        const double p = i / 100.0;
        double probability = pow(1 - p, (double)n); /* of 0 hits */
        for (size_t hits = 0; hits <= n; hits++) {
            const struct ldnq_interval at = ldnq_compute_share_interval(hits, n);
            sum += at.low <= p && p <= at.high ? probability / 99 : 0;
            probability *= (double)(n - hits) / (double)(hits + 1) * p / (1 - p);
        }
    }
    assert_true(sum > 0.94 && sum < 0.965);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_should_report_sqnr_and_cosine),
        cmocka_unit_test(
            distance_should_be_exact_for_the_same_and_unknown_for_what_can_not_be_compared),
        cmocka_unit_test(distance_should_equal_the_plain_sums_for_any_count),
        cmocka_unit_test(distance_should_not_depend_on_threads),
        cmocka_unit_test(metrics_should_compare_classes),
        cmocka_unit_test(metrics_should_use_distributions_as_they_are),
        cmocka_unit_test(metrics_should_compare_classes_only_in_rows_of_scores),
        cmocka_unit_test(share_interval_should_be_wilsons),
        cmocka_unit_test(share_interval_should_cover_the_truth),
    };
    return cmocka_run_group_tests_name("distance", tests, NULL, NULL);
}

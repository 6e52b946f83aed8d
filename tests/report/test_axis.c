/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "report/axis.h"

static void assert_labels(const struct ldnq_axis *axis, const char *want)
{
    char text[256] = "";
    for (size_t i = 0; i < axis->tick_count; i++) {
        strcat(text, i ? " " : "");
        strcat(text, axis->ticks[i].label);
    }
    assert_string_equal(text, want);
}

static void ticks_should_be_at_round_numbers(void **state)
{
    (void)state;
    struct ldnq_axis axis;
    ldnq_axis_init_exact(&axis, -0.31, 0.29, 5);
    assert_labels(&axis, "-0.2 0.0 0.2");
    ldnq_axis_init_exact(&axis, 0, 1, 6);
    assert_labels(&axis, "0.0 0.2 0.4 0.6 0.8 1.0");
    ldnq_axis_init_rounded(&axis, 3.2, 41.7, 6);
    assert_labels(&axis, "0 10 20 30 40 50");
    assert_true(axis.low == 0 && axis.high == 50);
    ldnq_axis_init_rounded(&axis, 0, 2.5e-7, 6);
    assert_labels(&axis, "0 5e-08 1e-07 1.5e-07 2e-07 2.5e-07");
    ldnq_axis_init_integers(&axis, 1, 300, 6);
    assert_labels(&axis, "50 100 150 200 250 300");
    assert_true(axis.low == 0.5 && axis.high == 300.5);
    ldnq_axis_init_integers(&axis, 1, 1, 6);
    assert_labels(&axis, "1");
    ldnq_axis_init_integers(&axis, -1, 1, 8);
    assert_labels(&axis, "-1 0 1");
}

/* 3 * 0.1 is .30000000000000004 where a step is multiplied. */
static void ticks_should_be_the_nearest_doubles(void **state)
{
    (void)state;
    struct ldnq_axis axis;
    ldnq_axis_init_exact(&axis, 0, 1, 12);
    for (size_t i = 0; i < axis.tick_count; i++)
        assert_true(axis.ticks[i].value == strtod(axis.ticks[i].label, NULL));
}

static void log_ticks_should_be_powers_of_ten(void **state)
{
    (void)state;
    struct ldnq_axis axis;
    ldnq_axis_init_log(&axis, 0.013, 0.4, 7);
    assert_labels(&axis, "0.01 0.02 0.05 0.1 0.2 0.5");
    ldnq_axis_init_log(&axis, 2e-7, 0.3, 9);
    assert_labels(&axis, "1e-7 1e-6 1e-5 1e-4 0.001 0.01 0.1 1");
    ldnq_axis_init_log(&axis, 1e-12, 1, 6);
    assert_labels(&axis, "1e-12 1e-9 1e-6 0.001 1");
    ldnq_axis_init_log(&axis, 1, 2e6, 9);
    ldnq_axis_label_counts(&axis);
    assert_labels(&axis, "1 10 100 1k 10k 100k 1M 10M");
    ldnq_axis_init_log(&axis, 0.5, 0.5, 6);
    assert_labels(&axis, "0.5 1");
    assert_true(fabs(ldnq_axis_convert_value_to_fraction(&axis, sqrt(0.5)) - 0.5) < 1e-12);
    assert_true(isnan(ldnq_axis_convert_value_to_fraction(&axis, 0)));
}

static void bytes_should_have_one_unit(void **state)
{
    (void)state;
    struct ldnq_axis axis;
    ldnq_axis_init_rounded(&axis, 0, 2300000, 6);
    ldnq_axis_label_bytes(&axis);
    assert_labels(&axis, "0.0 MB 0.5 MB 1.0 MB 1.5 MB 2.0 MB 2.5 MB");
    ldnq_axis_init_rounded(&axis, 0, 700, 6);
    ldnq_axis_label_bytes(&axis);
    assert_labels(&axis, "0 B 200 B 400 B 600 B 800 B");
}

/* What holds for any axis: few ticks, ascending, within the ends, different labels. */
static void assert_sound(const struct ldnq_axis *axis, size_t least, size_t most)
{
    assert_true(isfinite(axis->low) && isfinite(axis->high) && axis->low < axis->high);
    assert_in_range(axis->tick_count, least, most);
    const double slack = 1e-9 * (axis->high - axis->low);
    for (size_t i = 0; i < axis->tick_count; i++) {
        const struct ldnq_axis_tick *tick = &axis->ticks[i];
        assert_true(tick->value >= axis->low - slack && tick->value <= axis->high + slack);
        assert_true(i == 0 || tick->value > tick[-1].value);
        assert_true(i == 0 || strcmp(tick->label, tick[-1].label) != 0);
        assert_true(fabs(strtod(tick->label, NULL) - tick->value) <=
                    1e-6 * fmax(fabs(axis->low), fabs(axis->high)));
    }
}

static void axis_should_be_sound_for_any_data(void **state)
{
    (void)state;
    static const double odd[] = { 0,     -0.0, 1,      -1,       1e-300,   1e300,
                                  1e308, NAN,  -1e308, INFINITY, -INFINITY };
    const size_t count = sizeof odd / sizeof *odd;
    struct ldnq_rng rng = { 5 };
    struct ldnq_axis axis;
    for (size_t i = 0; i < 4000; i++) {
        double low = odd[i % count], high = odd[i / count % count];
        if (i >= count * count) {
            low = pow(10, 24 * ldnq_rng_uniform(&rng) - 12) * (2 * ldnq_rng_uniform(&rng) - 1);
            high = low + pow(10, 24 * ldnq_rng_uniform(&rng) - 12);
        }
        const size_t most = 3 + i % 8;
        ldnq_axis_init_exact(&axis, low, high, most);
        assert_sound(&axis, 1, most);
        ldnq_axis_init_rounded(&axis, low, high, most);
        assert_sound(&axis, 2, most);
        ldnq_axis_init_log(&axis, fabs(low) + 1e-300, fabs(high) + 1e-300, most);
        assert_sound(&axis, 2, most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_should_be_at_round_numbers),
        cmocka_unit_test(ticks_should_be_the_nearest_doubles),
        cmocka_unit_test(log_ticks_should_be_powers_of_ten),
        cmocka_unit_test(bytes_should_have_one_unit),
        cmocka_unit_test(axis_should_be_sound_for_any_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

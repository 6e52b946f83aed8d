/* SPDX-License-Identifier: Apache-2.0 */
/* Scales and zero points of ranges, against the rules written down plainly. */
#include "test.h"

#include <math.h>

#include "target/placement.h"

static struct ldnq_scale scale_of(const char *target, enum ldnq_dtype dtype, double low,
                                  double high, bool fixed)
{
    return ldnq_target_scale(ldnq_target_find(target), dtype, low, high, fixed);
}

static void uint8_should_cover_the_range(void **state)
{
    (void)state;
    struct ldnq_scale scale = scale_of("ort", LDNQ_UINT8, -1.0, 3.0, false);
    assert_true(fabs(scale.scale - 4.0 / 255) < 1e-7);
    assert_int_equal(scale.zero_point, 64);
}

static void zero_should_always_be_a_code(void **state)
{
    (void)state;
    assert_int_equal(scale_of("ort", LDNQ_UINT8, 2.0, 3.0, false).zero_point, 0);
    assert_int_equal(scale_of("ort", LDNQ_UINT8, -3.0, -2.0, false).zero_point, 255);
    assert_int_equal(scale_of("ort", LDNQ_INT8, 2.0, 3.0, false).zero_point, -128);
}

static void range_of_a_clip_should_not_be_left(void **state)
{
    (void)state;
    for (int i = 1; i < 1000; i++) {
        const double high = i * 0.37;
        const float scale = scale_of("ort", LDNQ_UINT8, 0.0, high, false).scale;
        assert_true((double)(scale * 255.0f) <= high);
        assert_true((double)(scale * 255.0f) > high * (1 - 1e-6));
    }
}

static void symmetric_targets_should_have_the_zero_point_in_the_middle(void **state)
{
    (void)state;
    struct ldnq_scale scale = scale_of("tensorrt", LDNQ_INT8, -1.0, 2.54, false);
    assert_int_equal(scale.zero_point, 0);
    assert_true(fabs(scale.scale - 0.02) < 1e-7);
    assert_int_equal(scale_of("tflite", LDNQ_INT16, -1.0, 2.0, false).zero_point, 0);
    /* Also where nothing but 0 was seen. */
    assert_int_equal(scale_of("tensorrt", LDNQ_INT8, 0.0, 0.0, false).zero_point, 0);
    assert_int_equal(scale_of("tflite", LDNQ_INT16, 0.0, 0.0, false).zero_point, 0);
    assert_int_equal(scale_of("tflite", LDNQ_INT8, 0.0, 0.0, false).zero_point, -128);
}

static void pow2_should_round_scales_up_to_a_power_of_two(void **state)
{
    (void)state;
    struct ldnq_scale scale = scale_of("pow2", LDNQ_INT8, -0.9, 1.0, false);
    assert_true(scale.scale == 1.0f / 64); /* 127 / 128 would not reach 1 */
    assert_int_equal(scale.zero_point, 0);
    scale = scale_of("pow2", LDNQ_INT8, -1.5, 1.0, false);
    assert_true(scale.scale == 1.0f / 64);
    scale = scale_of("pow2", LDNQ_INT8, -2.5, 1.0, false);
    assert_true(scale.scale == 1.0f / 32);
}

static void fixed_ranges_should_be_those_of_the_runtimes(void **state)
{
    (void)state;
    struct ldnq_scale scale = scale_of("tflite", LDNQ_INT8, 0.0, 1.0, true);
    assert_true(scale.scale == 1.0f / 256 && scale.zero_point == -128);
    scale = scale_of("tflite", LDNQ_INT8, -1.0, 1.0, true);
    assert_true(scale.scale == 1.0f / 128 && scale.zero_point == 0);
    scale = scale_of("tflite", LDNQ_INT16, 0.0, 1.0, true);
    assert_true(scale.scale == 1.0f / 32768 && scale.zero_point == 0);
    scale = scale_of("qnn", LDNQ_UINT16, 0.0, 1.0, true);
    assert_true(scale.scale == 1.0f / 65536 && scale.zero_point == 0);
    scale = scale_of("qnn", LDNQ_UINT16, -1.0, 1.0, true);
    assert_true(scale.scale == 1.0f / 32768 && scale.zero_point == 32768);
}

static void range_should_not_fall_below_the_target_s_least(void **state)
{
    (void)state;
    struct ldnq_scale scale = scale_of("qnn", LDNQ_UINT8, 0.0, 1e-9, false);
    assert_true(fabs(scale.scale * 255 - 1e-4) < 1e-8);
    assert_true(scale_of("ort", LDNQ_UINT8, 0.0, 0.0, false).scale > 0);
}

static float find_largest_scale(uint8_t zero_point, float low, float high)
{
    const struct ldnq_tensor zero = { .dtype = LDNQ_UINT4, .data = &zero_point };
    struct ldnq_value value = { .constant = &zero };
    const struct ldnq_placed_activation activation = {
        .dtype = LDNQ_UINT4, .low = low, .high = high, .zero_point = &value
    };
    return ldnq_activation_find_largest_scale(&activation);
}

static void largest_scale_should_keep_codes_within_the_bounds(void **state)
{
    (void)state;
    const float of_relu6 = find_largest_scale(0, 0, 6), of_clip = find_largest_scale(5, -1, 2);
    assert_true(of_relu6 * 15 <= 6 && of_relu6 > 0.3999f);
    assert_true(of_clip * 5 <= 1 && of_clip * 10 <= 2 && of_clip > 0.1999f);
    assert_true(isinf(find_largest_scale(0, 0, INFINITY)));
    assert_true(isinf(find_largest_scale(5, -INFINITY, INFINITY)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uint8_should_cover_the_range),
        cmocka_unit_test(zero_should_always_be_a_code),
        cmocka_unit_test(range_of_a_clip_should_not_be_left),
        cmocka_unit_test(symmetric_targets_should_have_the_zero_point_in_the_middle),
        cmocka_unit_test(pow2_should_round_scales_up_to_a_power_of_two),
        cmocka_unit_test(fixed_ranges_should_be_those_of_the_runtimes),
        cmocka_unit_test(range_should_not_fall_below_the_target_s_least),
        cmocka_unit_test(largest_scale_should_keep_codes_within_the_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

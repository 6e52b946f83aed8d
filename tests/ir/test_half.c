/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "ir/half.h"

static float of_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void every_half_should_widen_to_its_value(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t code = (uint16_t)i;
        float half, bfloat;
        ldnq_halves_to_floats(&code, &half, 1);
        ldnq_bfloats_to_floats(&code, &bfloat, 1);
        double want = ldnq_half_to_double(code), other = ldnq_bfloat_to_double(code);
        assert_true(isnan(want) ? isnan(half) : (double)half == want);
        assert_int_equal(signbit(half) != 0, i >> 15);
        assert_true(isnan(other) ? isnan(bfloat) : (double)bfloat == other);
    }
}

/* Floats of all magnitudes, and those beside the places where rounding turns. */
static void floats_should_round_as_doubles_do(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < (uint64_t)1 << 32; i += 4093) {
        for (uint32_t beside = 0; beside < 3; beside++) {
            uint32_t bits =
                beside == 0 ? (uint32_t)i : ((uint32_t)i & 0xfffff000u) + (beside == 1 ? 0 : 0xfff);
            float v = of_bits(bits);
            uint16_t half, bfloat;
            ldnq_halves_from_floats(&v, &half, 1);
            ldnq_bfloats_from_floats(&v, &bfloat, 1);
            uint16_t want = ldnq_half_from_double((double)v);
            uint16_t other = ldnq_bfloat_from_double((double)v);
            assert_int_equal(half, want);
            assert_int_equal(bfloat, other);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_should_widen_to_its_value),
        cmocka_unit_test(floats_should_round_as_doubles_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

#include "base/rng.h"
#include "quant/project.h"

static void every_codebook_should_be_found_by_its_name(void **state)
{
    (void)state;
    const char *names[] = { "ternary", "pot5", "pot7", "pot9", "pot11",
                            "int2",    "int3", "int4", "int8" };
    const struct ldnq_codebook *const *all = ldnq_codebooks();
    for (size_t i = 0; i < 9; i++) {
        assert_string_equal(all[i]->name, names[i]);
        assert_ptr_equal(ldnq_codebook_find(names[i]), all[i]);
        assert_true(strlen(all[i]->summary) > 0);
    }
    assert_null(all[9]);
    assert_null(ldnq_codebook_find("int5"));
    assert_null(ldnq_codebook_find(""));
}

static void codes_should_ascend_hold_zero_and_fit_the_narrowest_bits(void **state)
{
    (void)state;
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        const int16_t *codes = (*c)->codes;
        const int first = codes[0], last = codes[(*c)->count - 1];
        bool zero = false;
        for (size_t i = 0; i < (*c)->count; i++) {
            assert_true(i == 0 || codes[i] > codes[i - 1]);
            zero |= codes[i] == 0;
        }
        assert_true(zero);
        unsigned bits = 2;
        while (first < -(1 << (bits - 1)) || last > (1 << (bits - 1)) - 1)
            bits *= 2;
        assert_int_equal((*c)->bits, bits);
    }
}

/* The projection's fast pass relies on it. */
static void codebooks_should_be_uniform_or_symmetric(void **state)
{
    (void)state;
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        const size_t n = (*c)->count;
        const int16_t *codes = (*c)->codes;
        if (codes[n - 1] - codes[0] == (int)n - 1)
            continue;
        assert_int_equal(n % 2, 1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(codes[i], -codes[n - 1 - i]);
    }
}

/* Clamped, because next to 1e300 all codes are equally far in double. */
static int16_t naive_nearest(const struct ldnq_codebook *codebook, double value)
{
    int16_t best = 0;
    value = fmin(fmax(value, -1000), 1000);
    for (size_t i = 0; i < codebook->count; i++) {
        const double d = fabs(codebook->codes[i] - value), least = fabs(best - value);
        if (d < least || (d == least && abs(codebook->codes[i]) < abs(best)))
            best = codebook->codes[i];
    }
    return best;
}

static void check_nearest(const struct ldnq_codebook *codebook, double value)
{
    int8_t code = 99;
    struct ldnq_span span = {
        .v = &value, .v_stride = 1, .rows = 1, .length = 1, .codes = &code, .weight = 1
    };
    const int16_t expected = naive_nearest(codebook, value);
    assert_int_equal(ldnq_codebook_find_nearest(codebook, value), expected);
    ldnq_project_codes(codebook, &span, 1);
    assert_int_equal(code, expected);
}

static void nearest_should_be_nearest_and_of_two_the_one_nearer_to_zero(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 3 };
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        for (int i = -600; i <= 600; i++) {
            check_nearest(*c, i / 4.0);
            check_nearest(*c, nextafter(i / 4.0, 1000));
            check_nearest(*c, nextafter(i / 4.0, -1000));
            check_nearest(*c, 300 * (ldnq_rng_uniform(&rng) - 0.5));
        }
        check_nearest(*c, 1e300);
        check_nearest(*c, -1e300);
        check_nearest(*c, 1e-320);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codebook_should_be_found_by_its_name),
        cmocka_unit_test(codes_should_ascend_hold_zero_and_fit_the_narrowest_bits),
        cmocka_unit_test(codebooks_should_be_uniform_or_symmetric),
        cmocka_unit_test(nearest_should_be_nearest_and_of_two_the_one_nearer_to_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

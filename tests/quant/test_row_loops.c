/* SPDX-License-Identifier: Apache-2.0 */
/* Loops over a row, whose sums have parts, against sums one after the other. */
#include "test.h"

#include <math.h>

#include "quant/row_loops.h"

#define MOST ((size_t)37)

static float errors[MOST], outputs[MOST];
static double added[MOST];
static int8_t codes[MOST];

static void fill(void)
{
    for (size_t i = 0; i < MOST; i++) {
        errors[i] = 0.1f * (float)(i % 7) - 0.3f;
        outputs[i] = 0.7f - 0.2f * (float)(i % 5);
        added[i] = 0.5 + (double)(i % 3);
        codes[i] = (int8_t)((int)(i % 15) - 7);
    }
}

static void assert_near(double left, double right)
{
    assert_true(fabs(left - right) <= 1e-12 * (1 + fabs(right)));
}

static void sums_should_be_those_of_plain_loops(void **state)
{
    (void)state;
    fill();
    for (size_t n = 0; n <= MOST; n++) {
        struct ldnq_output_products products;
        double ee = 0, eo = 0, oo = 0, qw = 1, qq = 2, plain_qw = 1, plain_qq = 2;
        for (size_t i = 0; i < n; i++) {
            ee += (double)errors[i] * (double)errors[i];
            eo += (double)errors[i] * (double)outputs[i];
            oo += (double)outputs[i] * (double)outputs[i];
            plain_qw += added[i] * codes[i] * (double)outputs[i];
            plain_qq += added[i] * codes[i] * codes[i];
        }
        ldnq_sum_output_products(n, errors, outputs, &products);
        ldnq_add_weighted_code_products(n, added, codes, outputs, &qw, &qq);
        assert_near(products.ee, ee);
        assert_near(products.eo, eo);
        assert_near(products.oo, oo);
        assert_near(qw, plain_qw);
        assert_near(qq, plain_qq);
    }
}

static void elements_should_be_those_of_plain_loops(void **state)
{
    (void)state;
    float difference[MOST], slopes[MOST], scaled[MOST];
    fill();
    for (size_t i = 0; i < MOST; i++) {
        slopes[i] = (float)i;
        scaled[i] = errors[i];
    }
    ldnq_compute_row_difference(MOST, 0.25, codes, outputs, difference);
    ldnq_add_weighted_difference(MOST, added, difference, slopes);
    ldnq_scale_output_errors(MOST, 1.5, scaled, outputs);
    for (size_t i = 0; i < MOST; i++) {
        const double plain = 0.25 * codes[i] - (double)outputs[i];
        assert_true(fabs((double)difference[i] - plain) <= 1e-6);
        assert_true(fabs((double)slopes[i] - ((double)i + added[i] * plain)) <= 1e-5);
        assert_true(
            fabs((double)scaled[i] - (1.5 * (double)errors[i] + 0.5 * (double)outputs[i])) <= 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_should_be_those_of_plain_loops),
        cmocka_unit_test(elements_should_be_those_of_plain_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>

#include "target/row_powers.h"

#define SAMPLES ((size_t)6)
#define ROWS ((size_t)50)
#define COLS ((size_t)8)

static float rows[SAMPLES * ROWS * COLS];

/* Row r has 2^(r / 4) in all its elements; every fifth one is 0. */
static struct ldnq_tensor make_rows(size_t first, size_t samples)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t row = i / COLS % ROWS;
        rows[i] = row % 5 == 4 ? 0.0f : exp2f((float)row / 4.0f);
    }
    return (struct ldnq_tensor){ .dtype = LDNQ_FLOAT,
                                 .shape = { .rank = 3, .dim = { (int64_t)samples, ROWS, COLS } },
                                 .data = rows + first * ROWS * COLS };
}

static void error_should_be_that_of_the_median_row_that_is_not_zero(void **state)
{
    (void)state;
    struct ldnq_row_powers powers = { .is_watched = true };
    const struct ldnq_tensor tensor = make_rows(0, SAMPLES);
    ldnq_row_powers_add(&powers, &tensor, SIZE_MAX);
    /* Of 40 rows the 20th is row 24 of those counted from 0, or the one before it. */
    const double exact = 0.01 / 12 / pow(2, 24.0 / 2),
                 found = ldnq_row_powers_median_error(&powers, 0.1);
    assert_true(found > exact / 2 && found < exact * 2);
}

static void batches_should_not_change_the_counts(void **state)
{
    (void)state;
    struct ldnq_row_powers together = { .is_watched = true }, alone = { .is_watched = true };
    const struct ldnq_tensor all = make_rows(0, SAMPLES);
    ldnq_row_powers_add(&together, &all, ROWS * COLS / 3);
    for (size_t n = 0; n < SAMPLES; n++) {
        const struct ldnq_tensor one = make_rows(n, 1);
        ldnq_row_powers_add(&alone, &one, ROWS * COLS / 3);
    }
    assert_memory_equal(&together, &alone, sizeof alone);
}

static void nothing_should_be_lost_where_no_row_was_seen(void **state)
{
    (void)state;
    struct ldnq_row_powers powers = { .is_watched = false };
    const struct ldnq_tensor tensor = make_rows(0, SAMPLES);
    ldnq_row_powers_add(&powers, &tensor, SIZE_MAX);
    assert_true(ldnq_row_powers_median_error(&powers, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_should_be_that_of_the_median_row_that_is_not_zero),
        cmocka_unit_test(batches_should_not_change_the_counts),
        cmocka_unit_test(nothing_should_be_lost_where_no_row_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The known values are those of the generator's reference implementation,
 * https://prng.di.unimi.it/splitmix64.c */
#include "test.h"

#include "base/rng.h"

static void next_should_give_the_reference_values(void **state)
{
    (void)state;
    static const uint64_t from_0[] = { 0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u,
                                       0x06c45d188009454fu };
    static const uint64_t from_1234567[] = { 6457827717110365317u, 3203168211198807973u,
                                             9817491932198370423u, 4593380528125082431u,
                                             16408922859458223821u };
    struct ldnq_rng rng = { 0 }, other = { 1234567 };
    for (size_t i = 0; i < 3; i++)
        assert_true(ldnq_rng_next(&rng) == from_0[i]);
    for (size_t i = 0; i < 5; i++)
        assert_true(ldnq_rng_next(&other) == from_1234567[i]);
}

static void below_should_stay_below_and_reach_every_number(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 5 };
    for (size_t bound = 1; bound < 20; bound++) {
        size_t seen[20] = { 0 };
        for (int i = 0; i < 4000; i++) {
            size_t value = ldnq_rng_below(&rng, bound);
            assert_true(value < bound);
            seen[value]++;
        }
        for (size_t i = 0; i < bound; i++)
            assert_in_range(seen[i], 4000 / bound * 6 / 10, 4000 / bound * 14 / 10);
    }
    for (int i = 0; i < 1000; i++)
        assert_true(ldnq_rng_below(&rng, 0xffffffffu) < 0xffffffffu);
}

static void uniform_should_lie_in_its_interval_with_the_right_mean(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 6 };
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double value = ldnq_rng_uniform(&rng);
        assert_true(value >= 0 && value < 1);
        sum += value;
    }
    assert_true(sum > 49500 && sum < 50500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_should_give_the_reference_values),
        cmocka_unit_test(below_should_stay_below_and_reach_every_number),
        cmocka_unit_test(uniform_should_lie_in_its_interval_with_the_right_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

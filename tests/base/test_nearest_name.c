/* SPDX-License-Identifier: Apache-2.0 */
/* The name that a misspelled one may have meant. */
#include "test.h"

#include "ldnq.h"

static const char *const names[] = { "weights", "solver", "skip", "crop", NULL };

static void nearest_should_forgive_one_mistake_in_a_short_name_and_more_in_a_long_one(void **state)
{
    (void)state;
    assert_string_equal(ldnq_nearest_name("weigths", names), "weights");
    assert_string_equal(ldnq_nearest_name("wieghtss", names), "weights");
    assert_string_equal(ldnq_nearest_name("skipp", names), "skip");
    assert_string_equal(ldnq_nearest_name("ski", names), "skip");
    assert_string_equal(ldnq_nearest_name("crap", names), "crop");
    assert_string_equal(ldnq_nearest_name("weights", names), "weights");
}

static void nearest_should_find_nothing_in_what_is_far_from_all(void **state)
{
    (void)state;
    static const char *const none[] = { NULL };
    char longer[200] = "weights";
    assert_null(ldnq_nearest_name("nonsense", names));
    assert_null(ldnq_nearest_name("", names));
    assert_null(ldnq_nearest_name("x", names));
    assert_null(ldnq_nearest_name("skip", none));
    for (size_t i = 7; i + 1 < sizeof longer; i++)
        longer[i] = 's';
    longer[sizeof longer - 1] = '\0';
    assert_null(ldnq_nearest_name(longer, names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearest_should_forgive_one_mistake_in_a_short_name_and_more_in_a_long_one),
        cmocka_unit_test(nearest_should_find_nothing_in_what_is_far_from_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

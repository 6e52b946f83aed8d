#include "test.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_add.h"

static void assert_prints(cJSON *item, const char *want)
{
    char *text = cJSON_PrintUnformatted(item);
    assert_string_equal(text, want);
    cJSON_free(text);
    cJSON_Delete(item);
}

static void numbers_that_are_none_should_be_null(void **state)
{
    (void)state;
    cJSON *item = cJSON_CreateObject();
    assert_true(ldnq_json_add_number(item, "half", 0.5));
    assert_true(ldnq_json_add_number(item, "nan", NAN));
    assert_true(ldnq_json_add_number(item, "above", INFINITY));
    assert_true(ldnq_json_add_number(item, "below", -INFINITY));
    assert_prints(item, "{\"half\":0.5,\"nan\":null,\"above\":null,\"below\":null}");
}

static void text_should_be_utf8_whatever_it_was(void **state)
{
    (void)state;
    cJSON *item = cJSON_CreateObject();
    assert_true(ldnq_json_add_text(item, "a", "\xc3\xa9 \"q\"\x01"));
    assert_true(ldnq_json_add_text(item, "b", "x\xff\xe2\x82y"));
    assert_true(ldnq_json_add_text(item, "c", NULL));
    assert_prints(item, "{\"a\":\"\xc3\xa9 \\\"q\\\"\\u0001\",\"b\":\"x\xef\xbf\xbd\xef\xbf\xbd"
                        "\xef\xbf\xbdy\",\"c\":null}");
}

static void repaired_text_should_need_memory(void **state)
{
    (void)state;
    cJSON *item = cJSON_CreateObject();
    ldnq_alloc_fail_after(0);
    assert_false(ldnq_json_add_text(item, "b", "\xff"));
    ldnq_alloc_fail_after(-1);
    cJSON_Delete(item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_are_none_should_be_null),
        cmocka_unit_test(text_should_be_utf8_whatever_it_was),
        cmocka_unit_test(repaired_text_should_need_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

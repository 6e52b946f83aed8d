/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_add.h"

static void assert_prints(cJSON *item, const char *want)
{
    char *text = ldnq_json_print(item, LDNQ_JSON_LINE);
    assert_string_equal(text, want);
    ldnq_free(text);
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

/* U+009B starts an escape sequence of terminals, U+202E turns the text after it. */
static void what_a_terminal_would_obey_should_be_escaped(void **state)
{
    (void)state;
    cJSON *item = cJSON_CreateObject();
    assert_true(
        cJSON_AddStringToObject(item, "\xff", "\xc2\x9b[2J \xe2\x80\xae\x7f \xf0\x9f\x98\x80"));
    assert_prints(item, "{\"\xef\xbf\xbd\":\"\\u009b[2J \\u202e\\u007f \xf0\x9f\x98\x80\"}");
}

static void indented_json_should_keep_its_lines(void **state)
{
    (void)state;
    cJSON *item = cJSON_CreateObject();
    assert_true(ldnq_json_add_text(item, "a", "b\n"));
    char *text = ldnq_json_print(item, LDNQ_JSON_INDENTED);
    assert_string_equal(text, "{\n\t\"a\":\t\"b\\n\"\n}");
    ldnq_free(text);
    cJSON_Delete(item);
}

static void printing_should_need_memory(void **state)
{
    (void)state;
    cJSON *item = cJSON_CreateObject();
    ldnq_alloc_fail_after(0);
    char *text = ldnq_json_print(item, LDNQ_JSON_LINE);
    ldnq_alloc_fail_after(-1);
    assert_null(text);
    cJSON_Delete(item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_are_none_should_be_null),
        cmocka_unit_test(text_should_be_utf8_whatever_it_was),
        cmocka_unit_test(what_a_terminal_would_obey_should_be_escaped),
        cmocka_unit_test(indented_json_should_keep_its_lines),
        cmocka_unit_test(printing_should_need_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/text.h"

static void items_should_be_joined_by_separators(void **state)
{
    (void)state;
    char data[200];
    struct ldnq_text text;
    ldnq_text_init(&text, data, sizeof data);
    assert_string_equal(data, "");
    ldnq_text_append_item(&text, ", ", "%s", "one");
    ldnq_text_append_item(&text, ", ", "%d", 2);
    ldnq_text_append_item(&text, "; ", "%s", "three");
    ldnq_text_append_omitted_count(&text);
    assert_string_equal(data, "one, 2; three");
    assert_int_equal(text.left_out, 0);
}

/* For each buffer size, what is written is a beginning of the list and the count
 * of what is missing, or a part of that count where not even it has room. */
static void what_does_not_fit_should_be_counted(void **state)
{
    (void)state;
    for (size_t size = 0; size < 400; size++) {
        char data[410];
        memset(data, 'g', sizeof data);
        struct ldnq_text text;
        ldnq_text_init(&text, data, size);
        for (int i = 0; i < 40; i++)
            ldnq_text_append_item(&text, ", ", "item%02d", i);
        ldnq_text_append_omitted_count(&text);
        for (size_t i = size; i < sizeof data; i++)
            assert_int_equal(data[i], 'g');
        if (size == 0)
            continue;
        assert_non_null(memchr(data, '\0', size));
        char wanted[410] = "";
        size_t written = 40 - text.left_out, used = 0;
        for (size_t i = 0; i < written; i++)
            used += (size_t)sprintf(wanted + used, "%sitem%02zu", i ? ", " : "", i);
        if (text.left_out)
            sprintf(wanted + used, " and %zu more", text.left_out);
        wanted[size - 1] = '\0';
        assert_string_equal(data, wanted);
    }
}

static void a_short_item_behind_one_left_out_should_be_left_out_too(void **state)
{
    (void)state;
    char data[64];
    struct ldnq_text text;
    ldnq_text_init(&text, data, sizeof data);
    ldnq_text_append_item(&text, ", ", "a");
    ldnq_text_append_item(&text, ", ", "%s",
                          "an item that is longer than what is left of the buffer");
    ldnq_text_append_item(&text, ", ", "b");
    ldnq_text_append_omitted_count(&text);
    assert_string_equal(data, "a and 2 more");
}

static void flatten_should_leave_printable_text_alone(void **state)
{
    (void)state;
    char text[] = "caf\xc3\xa9 ~ 'x'", control[] = "\x01\x1f\x7f\n\t\r\033";
    ldnq_text_replace_invisible(text);
    ldnq_text_replace_invisible(control);
    assert_string_equal(text, "caf\xc3\xa9 ~ 'x'");
    assert_string_equal(control, "???????");
}

static void flatten_should_replace_what_a_terminal_would_obey(void **state)
{
    (void)state;
    char text[] = "a\xc2\x9b[2Jb\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa8 \xf0\x9f\x98\x80";
    ldnq_text_replace_invisible(text);
    assert_string_equal(text, "a?[2Jb??? \xf0\x9f\x98\x80");
}

static void flatten_should_make_valid_utf8(void **state)
{
    (void)state;
    char text[] = "x\xff\xe2\x82y \xef\xbf\xbd \xe2\x82";
    ldnq_text_replace_invisible(text);
    assert_string_equal(text, "x???y \xef\xbf\xbd ??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_should_be_joined_by_separators),
        cmocka_unit_test(what_does_not_fit_should_be_counted),
        cmocka_unit_test(a_short_item_behind_one_left_out_should_be_left_out_too),
        cmocka_unit_test(flatten_should_leave_printable_text_alone),
        cmocka_unit_test(flatten_should_replace_what_a_terminal_would_obey),
        cmocka_unit_test(flatten_should_make_valid_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

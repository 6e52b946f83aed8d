/* SPDX-License-Identifier: Apache-2.0 */
/* What is UTF-8 and what is not, after the Unicode standard's table 3-7. */
#include "test.h"

#include <string.h>

#include "base/utf8.h"

static void assert_reads(const char *text, const uint32_t *codes)
{
    for (; *codes; codes++)
        assert_int_equal(ldnq_utf8_decode(&text), *codes);
    assert_int_equal(ldnq_utf8_decode(&text), 0);
    assert_int_equal(ldnq_utf8_decode(&text), 0);
}

#define BAD LDNQ_UTF8_REPLACEMENT
#define READS(text, ...) assert_reads(text, (const uint32_t[]){ __VA_ARGS__, 0 })

static void utf8_should_read_code_points_of_any_length(void **state)
{
    (void)state;
    READS("a\x7f", 'a', 0x7f);
    READS("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0xe9, 0x20ac, 0x1f600);
    READS("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 0x80, 0x7ff,
          0x800, 0xffff, 0x10000, 0x10ffff);
}

static void utf8_should_replace_each_byte_of_what_is_none(void **state)
{
    (void)state;
    READS("\xff"
          "a",
          BAD, 'a');
    READS("\xc0\xaf", BAD, BAD);                   /* overlong '/' */
    READS("\xe0\x9f\xbf", BAD, BAD, BAD);          /* overlong */
    READS("\xed\xa0\x80", BAD, BAD, BAD);          /* a surrogate */
    READS("\xf4\x90\x80\x80", BAD, BAD, BAD, BAD); /* above 10ffff */
    READS("\xe2\x82", BAD, BAD);                   /* cut */
    READS("\x80x", BAD, 'x');
    assert_false(ldnq_utf8_is_valid("conv\xe2\x82"));
    assert_true(ldnq_utf8_is_valid("conv\xe2\x82\xac"));
    /* What says so itself is valid. */
    assert_true(ldnq_utf8_is_valid("\xef\xbf\xbd"));
}

static void utf8_should_write_what_it_reads(void **state)
{
    (void)state;
    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        if (code >= 0xd800 && code < 0xe000)
            continue;
        char text[8] = { 0 };
        const char *at = text;
        const size_t size = ldnq_utf8_encode(code, text);
        assert_int_equal(ldnq_utf8_decode(&at), code);
        assert_ptr_equal(at, text + size);
    }
}

static void controls_and_marks_of_direction_should_not_be_visible(void **state)
{
    (void)state;
    static const uint32_t hidden[] = { 1,      0x1f,   0x7f,   0x80,   0x9b,   0x9f,   0x61c,
                                       0x200e, 0x200f, 0x2028, 0x202a, 0x202e, 0x2066, 0x2069 };
    static const uint32_t shown[] = { ' ', '~', 0xa0, 0xe9, 0x200d, 0x2030, 0x4e2d, 0x1f600 };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        assert_false(ldnq_utf8_is_visible(hidden[i]));
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        assert_true(ldnq_utf8_is_visible(shown[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_should_read_code_points_of_any_length),
        cmocka_unit_test(utf8_should_replace_each_byte_of_what_is_none),
        cmocka_unit_test(utf8_should_write_what_it_reads),
        cmocka_unit_test(controls_and_marks_of_direction_should_not_be_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

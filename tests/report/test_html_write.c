/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "report/html_write.h"

static struct ldnq_buffer out;

static void assert_written(const char *want)
{
    ldnq_buffer_append(&out, "", 1);
    assert_string_equal(out.data, want);
    ldnq_buffer_finish(&out);
}

static void text_should_be_escaped(void **state)
{
    (void)state;
    ldnq_html_write_text(&out, "<a href=\"x\">&'</a>");
    assert_written("&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;");
    ldnq_html_write_code(&out, "a<b");
    assert_written("<code>a&lt;b</code>");
    ldnq_html_write_text(&out, NULL);
    assert_written("");
    ldnq_html_write_label(&out, "a>b");
    ldnq_html_write_label(&out, "");
    assert_written("<code>a&gt;b</code>(unnamed)");
}

static void what_is_no_text_should_be_replaced(void **state)
{
    (void)state;
    ldnq_html_write_text(&out, "a\n\x01\x7f\xff\xe2\x82z");
    assert_written("a\xe2\x90\x8a\xe2\x90\x81\xe2\x90\xa1\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    /* A C1 control, a turn of direction, a non-character; letters stay. */
    ldnq_html_write_text(&out, "\xc2\x85\xe2\x80\xae\xef\xbf\xbe\xc3\xa9\xd7\xa9");
    assert_written("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\xd7\xa9");
}

static void assert_number(enum ldnq_html_kind kind, double value, const char *want)
{
    ldnq_html_write_number(&out, kind, value);
    assert_written(want);
}

#define THIN "\xe2\x80\xaf"
#define MINUS "\xe2\x88\x92"

static void numbers_should_be_written_by_their_kind(void **state)
{
    (void)state;
    assert_number(LDNQ_HTML_COUNT, 0, "0");
    assert_number(LDNQ_HTML_COUNT, 1234567, "1,234,567");
    assert_number(LDNQ_HTML_COUNT, -128, MINUS "128");
    assert_number(LDNQ_HTML_COUNT, -1234, MINUS "1,234");
    assert_number(LDNQ_HTML_LARGE, 999, "999");
    assert_number(LDNQ_HTML_LARGE, 25557032, "25.6" THIN "M");
    assert_number(LDNQ_HTML_LARGE, 999499, "999" THIN "k");
    assert_number(LDNQ_HTML_LARGE, 999500, "1.00" THIN "M");
    assert_number(LDNQ_HTML_LARGE, 1e30, "1000000000000000" THIN "P");
    assert_number(LDNQ_HTML_BYTES, 0, "0" THIN "B");
    assert_number(LDNQ_HTML_BYTES, 1234, "1.23" THIN "kB");
    assert_number(LDNQ_HTML_BYTES, 99960, "100" THIN "kB");
    assert_number(LDNQ_HTML_SQNR, 23.456, "23.5");
    assert_number(LDNQ_HTML_SQNR, -2.34, MINUS "2.3");
    assert_number(LDNQ_HTML_BITS, 4.125, "4.12");
    assert_number(LDNQ_HTML_COSINE, 0.99987654, "0.99988");
    assert_number(LDNQ_HTML_GENERAL, 0.000123456, "0.000123");
    assert_number(LDNQ_HTML_GENERAL, 1.5e-7, "1.5e" MINUS "7");
    assert_number(LDNQ_HTML_GENERAL, 1.5e30, "1.5e30");
    assert_number(LDNQ_HTML_GENERAL, -2e100, MINUS "2e100");
}

static void numbers_that_are_none_should_have_words(void **state)
{
    (void)state;
    for (int kind = LDNQ_HTML_COUNT; kind <= LDNQ_HTML_GENERAL; kind++)
        assert_number((enum ldnq_html_kind)kind, NAN, "\xe2\x80\x93");
    assert_number(LDNQ_HTML_SQNR, INFINITY, "exact");
    assert_number(LDNQ_HTML_SQNR, -INFINITY, MINUS "\xe2\x88\x9e");
    assert_number(LDNQ_HTML_COUNT, INFINITY, "\xe2\x88\x9e");
    /* Longer than one would think, and whole. */
    ldnq_html_write_number(&out, LDNQ_HTML_COUNT, 1e308);
    assert_int_equal(out.size, 309 + 102);
    ldnq_buffer_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_should_be_escaped),
        cmocka_unit_test(what_is_no_text_should_be_replaced),
        cmocka_unit_test(numbers_should_be_written_by_their_kind),
        cmocka_unit_test(numbers_that_are_none_should_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

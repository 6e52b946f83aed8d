/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/utf8.h"

static struct ldnq_error err;

struct seen {
    struct ldnq_progress progress;
    char detail[4096], warning[4096];
    int calls, cancels;
};

static int keep_progress(void *ctx, const struct ldnq_progress *progress)
{
    struct seen *seen = ctx;
    seen->progress = *progress;
    snprintf(seen->detail, sizeof seen->detail, "%s", progress->detail ? progress->detail : "");
    seen->calls++;
    return seen->cancels;
}

static void keep_warning(void *ctx, const char *message)
{
    struct seen *seen = ctx;
    snprintf(seen->warning, sizeof seen->warning, "%s", message);
    seen->calls++;
}

static void sink_should_hand_on_what_it_is_given(void **state)
{
    (void)state;
    struct seen seen = { 0 };
    struct ldnq_sink sink = { &seen, keep_progress, keep_warning };
    assert_ok(ldnq_sink_progress(&sink, "quantize", "conv1", 3, 8, &err));
    assert_string_equal(seen.progress.stage, "quantize");
    assert_string_equal(seen.detail, "conv1");
    assert_int_equal(seen.progress.done, 3);
    assert_int_equal(seen.progress.total, 8);
    assert_ok(ldnq_sink_progress(&sink, "read", NULL, 0, 0, &err));
    assert_null(seen.progress.detail);
    ldnq_sink_warn(&sink, "%s: %d samples are not used", "d", 5);
    assert_string_equal(seen.warning, "d: 5 samples are not used");
    assert_int_equal(seen.calls, 3);
}

static void progress_should_return_what_the_sink_decides(void **state)
{
    (void)state;
    struct seen seen = { .cancels = 1 };
    struct ldnq_sink sink = { &seen, keep_progress, NULL };
    assert_fails(ldnq_sink_progress(&sink, "quantize", NULL, 1, 2, &err), LDNQ_CANCELED,
                 "canceled");
    assert_int_equal(ldnq_sink_progress(&sink, "quantize", NULL, 2, 2, NULL), LDNQ_CANCELED);
}

static void a_detail_should_be_valid_text_whatever_its_name_contains(void **state)
{
    (void)state;
    static char text[2000];
    struct seen seen = { 0 };
    struct ldnq_sink sink = { &seen, keep_progress, NULL };
    assert_ok(ldnq_sink_progress(&sink, "quantize", "a\n\xff\033[2Jb", 0, 1, &err));
    assert_string_equal(seen.detail, "a???[2Jb");
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\u00fc", 2);
    assert_ok(ldnq_sink_progress(&sink, "quantize", text, 0, 1, &err));
    assert_true(ldnq_utf8_is_valid(seen.detail));
}

static void a_warning_should_be_one_line_whatever_its_names_contain(void **state)
{
    (void)state;
    struct seen seen = { 0 };
    struct ldnq_sink sink = { &seen, NULL, keep_warning };
    ldnq_sink_warn(&sink, "node '%s'", "a\n\033[2Jb");
    assert_string_equal(seen.warning, "node 'a??[2Jb'");
}

static void a_long_warning_should_be_cut(void **state)
{
    (void)state;
    static char text[10000];
    memset(text, 'x', sizeof text - 1);
    struct seen seen = { 0 };
    struct ldnq_sink sink = { &seen, NULL, keep_warning };
    ldnq_sink_warn(&sink, "%s", text);
    assert_int_equal(strlen(seen.warning), 2047);
}

static void a_sink_without_members_and_no_sink_should_be_silent(void **state)
{
    (void)state;
    struct ldnq_sink none = { 0 };
    assert_ok(ldnq_sink_progress(&none, "stage", NULL, 1, 2, &err));
    ldnq_sink_warn(&none, "nothing");
    assert_ok(ldnq_sink_progress(NULL, "stage", NULL, 1, 2, &err));
    ldnq_sink_warn(NULL, "nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sink_should_hand_on_what_it_is_given),
        cmocka_unit_test(progress_should_return_what_the_sink_decides),
        cmocka_unit_test(a_detail_should_be_valid_text_whatever_its_name_contains),
        cmocka_unit_test(a_warning_should_be_one_line_whatever_its_names_contain),
        cmocka_unit_test(a_long_warning_should_be_cut),
        cmocka_unit_test(a_sink_without_members_and_no_sink_should_be_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* What lies behind the message must stay as it was. */
static struct {
    struct ldnq_error err;
    char behind[64];
} guarded;

static int set_up(void **state)
{
    (void)state;
    memset(&guarded, 'g', sizeof guarded);
    return 0;
}

static void assert_behind_is_untouched(void)
{
    for (size_t i = 0; i < sizeof guarded.behind; i++)
        assert_int_equal(guarded.behind[i], 'g');
}

static char *long_text(size_t length)
{
    char *text = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + i % 26);
    text[length] = '\0';
    return text;
}

static void fail_should_set_and_return_the_status(void **state)
{
    (void)state;
    assert_int_equal(ldnq_fail(&guarded.err, LDNQ_DATA, "%s: %d", "x.png", 3), LDNQ_DATA);
    assert_int_equal(guarded.err.status, LDNQ_DATA);
    assert_string_equal(guarded.err.message, "x.png: 3");
}

static void fail_should_put_question_marks_for_control_characters(void **state)
{
    (void)state;
    ldnq_fail(&guarded.err, LDNQ_IO,
              "a\nb\tc\033[31md\re\x7f"
              "f\x01 g\xc3\xa9");
    assert_string_equal(guarded.err.message, "a?b?c?[31md?e?f? g\xc3\xa9");
    ldnq_fail_within(&guarded.err, LDNQ_IO, "name\nwith\nlines");
    assert_string_equal(guarded.err.message, "name?with?lines: a?b?c?[31md?e?f? g\xc3\xa9");
}

static void fail_should_cut_what_does_not_fit(void **state)
{
    (void)state;
    char *text = long_text(3 * LDNQ_ERROR_SIZE);
    ldnq_fail(&guarded.err, LDNQ_IO, "%s", text);
    assert_int_equal(strlen(guarded.err.message), LDNQ_ERROR_SIZE - 1);
    assert_memory_equal(guarded.err.message, text, LDNQ_ERROR_SIZE - 1);
    assert_behind_is_untouched();
    free(text);
}

static void within_should_put_the_context_in_front(void **state)
{
    (void)state;
    ldnq_fail(&guarded.err, LDNQ_IO, "disk full");
    assert_int_equal(ldnq_fail_within(&guarded.err, LDNQ_DATA, "file '%s'", "m"), LDNQ_DATA);
    assert_int_equal(guarded.err.status, LDNQ_DATA);
    assert_string_equal(guarded.err.message, "file 'm': disk full");
}

static void within_should_never_overrun(void **state)
{
    (void)state;
    static const size_t messages[] = { 0,
                                       1,
                                       7000,
                                       LDNQ_ERROR_SIZE - 1030,
                                       LDNQ_ERROR_SIZE - 3,
                                       LDNQ_ERROR_SIZE - 2,
                                       LDNQ_ERROR_SIZE - 1 };
    static const size_t contexts[] = { 0, 1, 1000, 1022, 1023, 1024, 20000 };
    for (size_t m = 0; m < sizeof messages / sizeof *messages; m++) {
        for (size_t c = 0; c < sizeof contexts / sizeof *contexts; c++) {
            char *message = long_text(messages[m]), *context = long_text(contexts[c]);
            ldnq_fail(&guarded.err, LDNQ_IO, "%s", message);
            ldnq_fail_within(&guarded.err, LDNQ_IO, "%s", context);
            size_t length = strlen(guarded.err.message);
            size_t front = contexts[c] < 1023 ? contexts[c] : 1023;
            size_t whole = front + 2 + messages[m];
            assert_int_equal(length, whole < LDNQ_ERROR_SIZE ? whole : LDNQ_ERROR_SIZE - 1);
            assert_memory_equal(guarded.err.message, context, front);
            assert_memory_equal(guarded.err.message + front, ": ", 2);
            assert_memory_equal(guarded.err.message + front + 2, message, length - front - 2);
            assert_behind_is_untouched();
            free(message);
            free(context);
        }
    }
}

static void contexts_should_pile_up_without_overrunning(void **state)
{
    (void)state;
    char *context = long_text(900);
    ldnq_fail(&guarded.err, LDNQ_IO, "reason");
    for (int i = 0; i < 20; i++)
        ldnq_fail_within(&guarded.err, LDNQ_IO, "%s", context);
    assert_int_equal(strlen(guarded.err.message), LDNQ_ERROR_SIZE - 1);
    assert_behind_is_untouched();
    free(context);
}

static void a_message_should_be_valid_text_where_it_was_cut(void **state)
{
    (void)state;
    char text[LDNQ_ERROR_SIZE + 3] = "";
    for (size_t i = 0; i + 1 < sizeof text / 2; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 3);
    ldnq_fail(&guarded.err, LDNQ_IO, "%s", text);
    assert_true(ldnq_utf8_is_valid(guarded.err.message));
    ldnq_fail_within(&guarded.err, LDNQ_IO, "ab");
    assert_true(ldnq_utf8_is_valid(guarded.err.message));
    assert_behind_is_untouched();
}

static void strip_should_leave_what_follows_the_context(void **state)
{
    (void)state;
    assert_string_equal(ldnq_message_strip("m.onnx: node 'a'", "m.onnx"), "node 'a'");
    assert_string_equal(ldnq_message_strip("m.onnx: node 'a'", "m.on"), "m.onnx: node 'a'");
    assert_string_equal(ldnq_message_strip("out of memory", "m.onnx"), "out of memory");
    ldnq_fail(&guarded.err, LDNQ_MODEL, "%s: reason", "m\xc2\x9b\n.onnx");
    assert_string_equal(ldnq_message_strip(guarded.err.message, "m\xc2\x9b\n.onnx"), "reason");
}

static void a_null_error_should_be_accepted(void **state)
{
    (void)state;
    assert_int_equal(ldnq_fail(NULL, LDNQ_MODEL, "%s", "x"), LDNQ_MODEL);
    assert_int_equal(ldnq_fail_within(NULL, LDNQ_NUMERIC, "%s", "x"), LDNQ_NUMERIC);
}

static void every_status_should_have_a_name_of_its_own(void **state)
{
    (void)state;
    static const enum ldnq_status all[] = {
        LDNQ_OK,          LDNQ_USAGE, LDNQ_IO,      LDNQ_MODEL,
        LDNQ_UNSUPPORTED, LDNQ_DATA,  LDNQ_NUMERIC, LDNQ_NOMEM
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_string_not_equal(ldnq_status_name(all[i]), "unknown");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ldnq_status_name(all[i]), ldnq_status_name(all[j]));
    }
    assert_string_equal(ldnq_status_name((enum ldnq_status)1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fail_should_set_and_return_the_status, set_up),
        cmocka_unit_test_setup(fail_should_put_question_marks_for_control_characters, set_up),
        cmocka_unit_test_setup(fail_should_cut_what_does_not_fit, set_up),
        cmocka_unit_test_setup(within_should_put_the_context_in_front, set_up),
        cmocka_unit_test_setup(within_should_never_overrun, set_up),
        cmocka_unit_test_setup(contexts_should_pile_up_without_overrunning, set_up),
        cmocka_unit_test_setup(a_message_should_be_valid_text_where_it_was_cut, set_up),
        cmocka_unit_test_setup(strip_should_leave_what_follows_the_context, set_up),
        cmocka_unit_test(a_null_error_should_be_accepted),
        cmocka_unit_test(every_status_should_have_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

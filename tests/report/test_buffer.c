/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "report/buffer.h"

static void buffer_should_hold_all_pieces(void **state)
{
    (void)state;
    struct ldnq_buffer buffer = { 0 };
    for (int i = 0; i < 5000; i++)
        ldnq_buffer_append_format(&buffer, "%04d,", i);
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 25000);
    assert_memory_equal(buffer.data + 5 * 4321, "4321,", 5);
    ldnq_buffer_finish(&buffer);
}

static void a_long_format_should_be_whole(void **state)
{
    (void)state;
    struct ldnq_buffer buffer = { 0 };
    ldnq_buffer_append_format(&buffer, "<%*d>", 10000, 7);
    assert_int_equal(buffer.size, 10002);
    assert_memory_equal(buffer.data + 10000, "7>", 2);
    ldnq_buffer_finish(&buffer);
}

/* The vectors of RFC 4648. */
static void base64_should_be_that_of_the_rfc(void **state)
{
    (void)state;
    static const char *const want[] = { "",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
    for (size_t size = 0; size <= 6; size++) {
        struct ldnq_buffer buffer = { 0 };
        ldnq_buffer_append_base64(&buffer, "foobar", size);
        ldnq_buffer_append(&buffer, "", 1);
        assert_string_equal(buffer.data, want[size]);
        ldnq_buffer_finish(&buffer);
    }
}

static void buffer_should_remember_that_memory_was_out(void **state)
{
    (void)state;
    struct ldnq_buffer buffer = { 0 };
    ldnq_alloc_fail_after(1);
    for (int i = 0; i < 2000; i++)
        ldnq_buffer_append_text(&buffer, "abcdef");
    ldnq_alloc_fail_after(-1);
    assert_true(buffer.failed);
    const size_t size = buffer.size;
    ldnq_buffer_append_text(&buffer, "x");
    assert_int_equal(buffer.size, size);
    ldnq_buffer_finish(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_should_hold_all_pieces),
        cmocka_unit_test(a_long_format_should_be_whole),
        cmocka_unit_test(base64_should_be_that_of_the_rfc),
        cmocka_unit_test(buffer_should_remember_that_memory_was_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

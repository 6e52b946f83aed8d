/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/file_format.h"

static const char *describe(const char *text)
{
    return ldnq_describe_format(text, strlen(text));
}

static void formats_should_be_recognized_by_their_first_bytes(void **state)
{
    (void)state;
    char tar[300] = "model.onnx";
    memcpy(tar + 257, "ustar", 5);
    assert_non_null(strstr(ldnq_describe_format(tar, sizeof tar), "tar archive"));
    assert_null(ldnq_describe_format(tar, 261));
    assert_non_null(strstr(describe("version https://git-lfs.github.com/spec/v1"), "Git LFS"));
    assert_non_null(strstr(describe("\xef\xbb\xbf\r\n<!doctype HTML>"), "web page"));
    assert_non_null(strstr(describe("<?xml version=\"1.0\"?><Error>"), "XML"));
    assert_non_null(strstr(describe("\x1f\x8b\x08"), "gzip"));
    assert_non_null(strstr(describe("....TFL3"), "TensorFlow Lite"));
    assert_string_equal(describe("version 2"), "is text");
    assert_string_equal(describe("{\n\t\"ir_version\": 8\r\n}"), "is text");
    assert_string_equal(describe("d\xc3\xa9j\xc3\xa0 vu"), "is text");
    assert_string_equal(describe("cut within d\xc3"), "is text");
}

static void what_is_not_known_should_have_no_description(void **state)
{
    (void)state;
    assert_null(ldnq_describe_format("", 0));
    assert_null(describe("   "));
    assert_null(describe("\xef\xbb\xbf"));
    assert_null(describe("\x08\x08\x12\x07"));
    assert_null(describe("text with \x01 a control character"));
    assert_null(ldnq_describe_format("zero\0byte", 9));
    assert_null(describe("d\xe9j\xe0 vu in another encoding"));
}

/* In a buffer of its own, so that a sanitizer sees a read past the end. */
static void every_length_should_be_safe(void **state)
{
    (void)state;
    static const char *const texts[] = { "PK\3\4......data.pkl", "<html>", "....ORTM",
                                         "version https://git-lfs" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t size = 0; size <= strlen(texts[i]); size++) {
            char *cut = malloc(size + 1);
            memcpy(cut, texts[i], size);
            ldnq_describe_format(cut, size);
            free(cut);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_should_be_recognized_by_their_first_bytes),
        cmocka_unit_test(what_is_not_known_should_have_no_description),
        cmocka_unit_test(every_length_should_be_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_diff.c: two models are compared on random samples, with the page.
 *
 * Input  length of the first model (4 bytes, little-endian), the first model, the second model,
 *        which is the first one where nothing is left for it
 */
#include "fuzz.h"

#include <string.h>

#include "base/utf8.h"

static void compare(const struct ldnq_onnx *first, const struct ldnq_onnx *second,
                    const struct ldnq_dataset *dataset, const struct ldnq_options *options)
{
    struct ldnq_error err;
    struct ldnq_result *result;
    size_t size;
    const enum ldnq_status status = ldnq_diff(first, second, dataset, options, &result, &err);
    fuzz_report(status, &err);
    if (status != LDNQ_OK)
        return;
    fuzz_check_json(result);
    const char *page = ldnq_result_bytes(result, "html", &size);
    FUZZ_CHECK(page, "there is no page");
    char *text = malloc(size + 1);
    if (text) {
        memcpy(text, page, size);
        text[size] = '\0';
        FUZZ_CHECK(!memchr(text, '\0', size), "the page holds a NUL");
        FUZZ_CHECK(ldnq_utf8_is_valid(text), "the page is not UTF-8");
    }
    free(text);
    ldnq_result_destroy(result);
}

static void compare_bytes(const uint8_t *first, size_t first_size, const uint8_t *second,
                          size_t second_size, const struct ldnq_options *options)
{
    struct ldnq_error err;
    struct ldnq_arena *arena;
    struct ldnq_onnx *a = NULL, *b = NULL;
    if (ldnq_arena_create(&arena, &err) != LDNQ_OK)
        return;
    struct ldnq_dataset *dataset = fuzz_make_dataset(first, first_size, 3, arena);
    if (ldnq_onnx_from_bytes(first, first_size, "a.onnx", &a, &err) == LDNQ_OK &&
        ldnq_onnx_from_bytes(second, second_size, "b.onnx", &b, &err) == LDNQ_OK)
        compare(a, b, dataset, options);
    ldnq_onnx_destroy(b);
    ldnq_onnx_destroy(a);
    ldnq_dataset_destroy(dataset);
    ldnq_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ldnq_error err;
    struct ldnq_options *options;
    fuzz_init();
    if (size < 4 || ldnq_options_create(&options, &err) != LDNQ_OK)
        return 0;
    size_t first = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24;
    first = first < size - 4 ? first : size - 4;
    const uint8_t *second = data + 4 + first;
    size_t second_size = size - 4 - first;
    if (!second_size) {
        second = data + 4;
        second_size = first;
    }
    ldnq_options_set(options, "page", "1", &err);
    ldnq_options_set(options, "threads", "1", &err);
    compare_bytes(data + 4, first, second, second_size, options);
    ldnq_options_destroy(options);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Read back by libpng. */
#include "test.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "report/png_write.h"

static struct ldnq_error err;

/* What libpng reads from the bytes is what went in. */
static void assert_decodes(const struct ldnq_buffer *file, const uint8_t *pixels, size_t width,
                           size_t height)
{
    png_image image = { .version = PNG_IMAGE_VERSION };
    assert_true(png_image_begin_read_from_memory(&image, file->data, file->size));
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    image.format = PNG_FORMAT_RGBA;
    uint8_t *back = malloc(width * height * 4);
    assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
    assert_memory_equal(back, pixels, width * height * 4);
    free(back);
}

/* Random pixels of `colours` different ones, 0: any. */
static uint8_t *make_pixels(size_t count, uint32_t colours)
{
    uint8_t *pixels = malloc(count * 4);
    struct ldnq_rng rng = { 1 };
    for (size_t i = 0; i < count; i++) {
        uint32_t value = (uint32_t)(4294967296.0 * ldnq_rng_uniform(&rng));
        if (colours)
            value = (i < colours ? (uint32_t)i : value % colours) * 0x01030507u;
        memcpy(pixels + 4 * i, &value, 4);
    }
    return pixels;
}

static size_t assert_comes_back(size_t width, size_t height, uint32_t colours)
{
    uint8_t *pixels = make_pixels(width * height, colours);
    struct ldnq_buffer file = { 0 }, again = { 0 };
    assert_ok(ldnq_png_encode(pixels, width, height, &file, &err));
    assert_decodes(&file, pixels, width, height);
    assert_ok(ldnq_png_encode(pixels, width, height, &again, &err));
    assert_int_equal(file.size, again.size);
    assert_memory_equal(file.data, again.data, file.size);
    const size_t size = file.size;
    ldnq_buffer_finish(&file);
    ldnq_buffer_finish(&again);
    free(pixels);
    return size;
}

static void png_should_decode_to_the_same_pixels(void **state)
{
    (void)state;
    static const uint32_t colours[] = { 1, 2, 3, 4, 5, 16, 17, 255, 256, 257, 0 };
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++) {
        assert_comes_back(37, 23, colours[i]);
        assert_comes_back(640, 3, colours[i]);
    }
    assert_comes_back(1, 1, 1);
    assert_comes_back(1, 1000, 0);
}

static void few_colours_should_make_a_small_file(void **state)
{
    (void)state;
    const size_t palette = assert_comes_back(100, 100, 256);
    assert_true(palette < 100 * 100 + 2000);
    assert_true(assert_comes_back(100, 100, 257) > 2 * palette);
    assert_true(assert_comes_back(100, 100, 16) < 100 * 100 / 2 + 1000);
}

static void png_should_refuse_sizes_that_none_has(void **state)
{
    (void)state;
    struct ldnq_buffer file = { 0 };
    const uint8_t pixel[4] = { 0 };
    assert_fails(ldnq_png_encode(pixel, 0, 1, &file, &err), LDNQ_USAGE, "0 x 1");
    assert_fails(ldnq_png_encode(pixel, 1, SIZE_MAX, &file, &err), LDNQ_USAGE, "pixels");
    assert_int_equal(file.size, 0);
}

static void png_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    static const uint32_t colours[] = { 9, 0 };
    for (size_t i = 0; i < 2; i++) {
        uint8_t *pixels = make_pixels(200 * 100, colours[i]);
        enum ldnq_status status = LDNQ_NOMEM;
        long allowed = 0;
        for (; status == LDNQ_NOMEM && allowed < 1000; allowed++) {
            struct ldnq_buffer file = { 0 };
            ldnq_alloc_fail_after(allowed);
            status = ldnq_png_encode(pixels, 200, 100, &file, &err);
            ldnq_alloc_fail_after(-1);
            if (status != LDNQ_OK)
                assert_non_null(strstr(err.message, "out of memory"));
            ldnq_buffer_finish(&file);
        }
        assert_int_equal(status, LDNQ_OK);
        assert_true(allowed > 5);
        free(pixels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_should_decode_to_the_same_pixels),
        cmocka_unit_test(few_colours_should_make_a_small_file),
        cmocka_unit_test(png_should_refuse_sizes_that_none_has),
        cmocka_unit_test(png_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

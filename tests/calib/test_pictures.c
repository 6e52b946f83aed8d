/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"
#include "picture_files.h"

#include "calib/picture.h"

static struct ldnq_picture read_picture(struct fixture *fixture, const char *path, size_t channels)
{
    struct ldnq_picture picture;
    assert_ok(ldnq_picture_read(path, channels, fixture->arena, &picture, &err));
    assert_int_equal(picture.channels, channels);
    return picture;
}

static void expect_pixels(struct fixture *fixture, const char *path, size_t channels,
                          const unsigned char *pixels, size_t size)
{
    struct ldnq_picture picture = read_picture(fixture, path, channels);
    assert_int_equal(picture.width * picture.height * channels, size);
    assert_memory_equal(picture.pixels, pixels, size);
}

static unsigned char *noise(struct fixture *fixture, size_t size)
{
    unsigned char *bytes = ldnq_arena_alloc(fixture->arena, size, 1, &err);
    uint32_t random = 7;
    for (size_t i = 0; i < size; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(random >> 24);
    }
    return bytes;
}

static void png_grey_and_rgb_should_be_read_as_they_are(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *pixels = noise(fixture, 5 * 7 * 3);
    expect_pixels(fixture, put_png(fixture, "g.png", 5, 7, 1, pixels), 1, pixels, 35);
    expect_pixels(fixture, put_png(fixture, "c.png", 5, 7, 3, pixels), 3, pixels, 105);
}

static void png_interlaced_should_equal_plain(void **state)
{
    struct fixture *fixture = *state;
    struct png_kind kind = { .depth = 8, .color = PNG_COLOR_TYPE_RGB, .interlaced = true };
    unsigned char *pixels = noise(fixture, 13 * 11 * 3);
    expect_pixels(fixture, put_png_kind(fixture, "c.png", 13, 11, &kind, pixels, 39), 3, pixels,
                  429);
}

static void png_alpha_should_be_dropped(void **state)
{
    struct fixture *fixture = *state;
    expect_pixels(fixture,
                  put_png(fixture, "a.png", 2, 1, 4, (const unsigned char *)"\1\2\3\0\4\5\6\x80"),
                  3, (const unsigned char *)"\1\2\3\4\5\6", 6);
    expect_pixels(fixture,
                  put_png(fixture, "ga.png", 2, 1, 2, (const unsigned char *)"\x10\0\x20\xff"), 1,
                  (const unsigned char *)"\x10\x20", 2);
}

static void png_palette_should_become_its_colors(void **state)
{
    struct fixture *fixture = *state;
    struct png_kind kind = {
        .depth = 2,
        .color = PNG_COLOR_TYPE_PALETTE,
        .colors = 3,
        .palette = { { 255, 0, 0 }, { 0, 255, 0 }, { 1, 2, 3 } },
    };
    const unsigned char row = 0x18; /* 0 1 2 0 */
    const unsigned char *wanted = (const unsigned char *)"\xff\0\0\0\xff\0\1\2\3\xff\0\0";
    expect_pixels(fixture, put_png_kind(fixture, "p.png", 4, 1, &kind, &row, 1), 3, wanted, 12);
    kind.transparent = 2;
    kind.alpha[0] = 0;
    kind.alpha[1] = 128;
    expect_pixels(fixture, put_png_kind(fixture, "t.png", 4, 1, &kind, &row, 1), 3, wanted, 12);
}

static void png_grey_below_8_bits_should_span_0_to_255(void **state)
{
    struct fixture *fixture = *state;
    struct png_kind kind = { .depth = 1, .color = PNG_COLOR_TYPE_GRAY };
    const unsigned char bits = 0x90, nibbles[] = { 0x0f, 0x80 };
    expect_pixels(fixture, put_png_kind(fixture, "1.png", 4, 1, &kind, &bits, 1), 1,
                  (const unsigned char *)"\xff\0\0\xff", 4);
    kind.depth = 4;
    expect_pixels(fixture, put_png_kind(fixture, "4.png", 3, 1, &kind, nibbles, 2), 1,
                  (const unsigned char *)"\0\xff\x88", 3);
}

static void png_16_bits_should_be_scaled_to_8(void **state)
{
    struct fixture *fixture = *state;
    struct png_kind kind = { .depth = 16, .color = PNG_COLOR_TYPE_GRAY };
    const unsigned char rows[] = { 0, 0, 0xff, 0xff, 0x80, 0x80, 0x12, 0x34 };
    expect_pixels(fixture, put_png_kind(fixture, "16.png", 4, 1, &kind, rows, 8), 1,
                  (const unsigned char *)"\0\xff\x80\x12", 4);
}

static void grey_should_be_the_luma_of_rgb(void **state)
{
    struct fixture *fixture = *state;
    const unsigned char colors[] = { 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 10, 20, 30 };
    const unsigned char luma[] = { 76, 150, 29, 255, 18 };
    expect_pixels(fixture, put_png(fixture, "c.png", 5, 1, 3, colors), 1, luma, 5);
}

static void rgb_should_be_grey_three_times(void **state)
{
    struct fixture *fixture = *state;
    expect_pixels(fixture, put_png(fixture, "g.png", 2, 1, 1, (const unsigned char *)"\5\6"), 3,
                  (const unsigned char *)"\5\5\5\6\6\6", 6);
}

static void jpeg_should_be_read_close_to_what_was_written(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *pixels = ldnq_arena_alloc(fixture->arena, 24 * 16, 3, &err);
    for (size_t i = 0; i < 24 * 16; i++) {
        pixels[3 * i] = (unsigned char)(i % 24 * 10);
        pixels[3 * i + 1] = (unsigned char)(i / 24 * 15);
        pixels[3 * i + 2] = 100;
    }
    struct ldnq_picture picture =
        read_picture(fixture, put_jpeg(fixture, "c.jpg", 24, 16, 3, pixels), 3);
    assert_true(picture.width == 24 && picture.height == 16);
    for (size_t i = 0; i < 24 * 16 * 3; i++)
        assert_in_range(picture.pixels[i] + 16 - pixels[i], 0, 32);
    unsigned char grey[64];
    memset(grey, 77, sizeof grey);
    expect_pixels(fixture, put_jpeg(fixture, "g.jpg", 8, 8, 1, grey), 1, grey, 64);
}

/* libjpeg writes the inks of CMYK as Adobe does, as what is left of the paper. */
static void jpeg_of_cmyk_should_become_rgb(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_picture picture;
    unsigned char inks[256];
    for (size_t i = 0; i < 64; i++)
        memcpy(inks + 4 * i, (unsigned char[]){ 255, 128, 0, 128 }, 4);
    const char *path = put_jpeg(fixture, "k.jpg", 8, 8, 4, inks);
    assert_ok(ldnq_picture_read(path, 3, fixture->arena, &picture, &err));
    assert_int_equal(picture.channels, 3);
    assert_in_range(picture.pixels[0], 125, 131);
    assert_in_range(picture.pixels[1], 61, 67);
    assert_in_range(picture.pixels[2], 0, 3);
}

static void content_should_tell_png_from_jpeg_and_not_the_name(void **state)
{
    struct fixture *fixture = *state;
    unsigned char grey[64] = { 0 };
    expect_pixels(fixture, put_jpeg(fixture, "x.png", 8, 8, 1, grey), 1, grey, 64);
}

static void what_is_no_picture_should_be_named(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_picture picture;
    assert_fails(
        ldnq_picture_read(put_text(fixture, "x.png", "no"), 1, fixture->arena, &picture, &err),
        LDNQ_DATA, "x.png: is neither PNG, JPEG, WebP nor TIFF");
    assert_fails(
        ldnq_picture_read(put_text(fixture, "e.png", ""), 1, fixture->arena, &picture, &err),
        LDNQ_DATA, "e.png: is empty");
}

/* 1,000,000 x 1,000 pixels in 60 bytes. */
static void png_should_refuse_a_size_that_its_bytes_cannot_hold(void **state)
{
    struct fixture *fixture = *state;
    struct ldnq_picture picture;
    size_t size;
    unsigned char *bytes = get_file(fixture, put_flat_png(fixture, "x.png", 8, 8, 1), &size);
    static const unsigned char header[] = { 'I', 'H', 'D',  'R', 0, 0x0f, 0x42, 0x40, 0,
                                            0,   3,   0xe8, 8,   0, 0,    0,    0 };
    memcpy(bytes + 12, header, sizeof header);
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < sizeof header; i++) {
        crc ^= header[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    for (int i = 0; i < 4; i++)
        bytes[29 + i] = (unsigned char)(~crc >> (24 - 8 * i));
    const char *path = put_file(fixture, "x.png", bytes, size);
    assert_fails(ldnq_picture_read(path, 1, fixture->arena, &picture, &err), LDNQ_DATA,
                 "x.png: is a damaged PNG: it is too short for its size");
}

static enum ldnq_status attempt(struct fixture *fixture, const char *path)
{
    struct ldnq_arena *arena;
    struct ldnq_picture picture;
    (void)fixture;
    LDNQ_TRY(ldnq_arena_create(&arena, &err));
    enum ldnq_status status = ldnq_picture_read(path, 3, arena, &picture, &err);
    ldnq_arena_destroy(arena);
    return status;
}

static void png_should_refuse_every_truncation(void **state)
{
    struct fixture *fixture = *state;
    const char *path = put_png(fixture, "x.png", 16, 12, 3, noise(fixture, 576));
    refuse_truncations(fixture, path, attempt, 1);
    survive_changes(fixture, path, attempt, 300);
}

static void png_of_every_kind_should_survive_changes(void **state)
{
    struct fixture *fixture = *state;
    struct png_kind kind = { .depth = 16, .color = PNG_COLOR_TYPE_RGB_ALPHA, .interlaced = true };
    const char *path = put_png_kind(fixture, "a.png", 4, 4, &kind, noise(fixture, 128), 32);
    survive_changes(fixture, path, attempt, 200);
    struct png_kind palette = { .depth = 1, .color = PNG_COLOR_TYPE_PALETTE, .colors = 2 };
    path = put_png_kind(fixture, "p.png", 30, 30, &palette, noise(fixture, 120), 4);
    survive_changes(fixture, path, attempt, 200);
}

static void jpeg_should_refuse_every_truncation(void **state)
{
    struct fixture *fixture = *state;
    const char *path = put_jpeg(fixture, "x.jpg", 16, 12, 3, noise(fixture, 576));
    refuse_truncations(fixture, path, attempt, 1);
    survive_changes(fixture, path, attempt, 300);
}

static void pictures_should_survive_lack_of_memory(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *pixels = noise(fixture, 64 * 64 * 3);
    survive_lack_of_memory(fixture, put_png(fixture, "x.png", 64, 64, 1, pixels), attempt);
    survive_lack_of_memory(fixture, put_jpeg(fixture, "x.jpg", 64, 64, 1, pixels), attempt);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(png_grey_and_rgb_should_be_read_as_they_are),
        TEST(png_interlaced_should_equal_plain),
        TEST(png_alpha_should_be_dropped),
        TEST(png_palette_should_become_its_colors),
        TEST(png_grey_below_8_bits_should_span_0_to_255),
        TEST(png_16_bits_should_be_scaled_to_8),
        TEST(grey_should_be_the_luma_of_rgb),
        TEST(rgb_should_be_grey_three_times),
        TEST(jpeg_should_be_read_close_to_what_was_written),
        TEST(jpeg_of_cmyk_should_become_rgb),
        TEST(content_should_tell_png_from_jpeg_and_not_the_name),
        TEST(what_is_no_picture_should_be_named),
        TEST(png_should_refuse_a_size_that_its_bytes_cannot_hold),
        TEST(png_should_refuse_every_truncation),
        TEST(png_of_every_kind_should_survive_changes),
        TEST(jpeg_should_refuse_every_truncation),
        TEST(pictures_should_survive_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

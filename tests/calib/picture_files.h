/* SPDX-License-Identifier: Apache-2.0 */
/* picture_files.h: PNG and JPEG files made for a test. */
#ifndef TESTS_CALIB_PICTURE_FILES_H
#define TESTS_CALIB_PICTURE_FILES_H

#include "fixture.h"

#include <jpeglib.h>
#include <png.h>

struct png_kind {
    int depth, color;
    bool interlaced;
    int colors; /* of the palette */
    png_color palette[4];
    int transparent; /* how many of them have an alpha */
    png_byte alpha[4];
};

/* rows: as PNG packs them, `stride` bytes a row. */
MAYBE_UNUSED static char *put_png_kind(struct fixture *fixture, const char *name, size_t width,
                                       size_t height, const struct png_kind *kind,
                                       const unsigned char *rows, size_t stride)
{
    char *path = path_of(fixture, name);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png)))
        fail_msg("%s can't be written", path);
    png_init_io(png, stream);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, kind->depth, kind->color,
                 kind->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    if (kind->colors)
        png_set_PLTE(png, info, kind->palette, kind->colors);
    if (kind->transparent)
        png_set_tRNS(png, info, kind->alpha, kind->transparent, NULL);
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_write_row(png, rows + y * stride);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(stream);
    return path;
}

/* 8 bits, channels 1 to 4: grey, grey + alpha, RGB, RGB + alpha. */
MAYBE_UNUSED static char *put_png(struct fixture *fixture, const char *name, size_t width,
                                  size_t height, size_t channels, const unsigned char *pixels)
{
    static const int colors[] = { PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                  PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA };
    struct png_kind kind = { .depth = 8, .color = colors[channels - 1] };
    return put_png_kind(fixture, name, width, height, &kind, pixels, width * channels);
}

/* All of one grey value. */
MAYBE_UNUSED static char *put_flat_png(struct fixture *fixture, const char *name, size_t width,
                                       size_t height, unsigned char value)
{
    unsigned char *pixels = ldnq_arena_alloc(fixture->arena, width, height, &err);
    memset(pixels, value, width * height);
    return put_png(fixture, name, width, height, 1, pixels);
}

MAYBE_UNUSED static char *put_jpeg(struct fixture *fixture, const char *name, size_t width,
                                   size_t height, int channels, const unsigned char *pixels)
{
    static const J_COLOR_SPACE spaces[] = { JCS_GRAYSCALE, JCS_UNKNOWN, JCS_RGB, JCS_CMYK };
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr manager;
    char *path = path_of(fixture, name);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    info.err = jpeg_std_error(&manager);
    jpeg_create_compress(&info);
    jpeg_stdio_dest(&info, stream);
    info.image_width = (JDIMENSION)width;
    info.image_height = (JDIMENSION)height;
    info.input_components = channels;
    info.in_color_space = spaces[channels - 1];
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 100, TRUE);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        JSAMPROW row = (JSAMPROW)(pixels + info.next_scanline * width * (size_t)channels);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    fclose(stream);
    return path;
}

#endif

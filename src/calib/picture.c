/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/picture.h"

#include <string.h>

#include "base/file.h"
#include "base/file_format.h"
#include "base/size.h"
#include "calib/picture_libraries.h"

/* ---- formats ------------------------------------------------------------------------------ */

static bool is_png(const unsigned char *bytes, size_t size)
{
    return size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0;
}

static bool is_jpeg(const unsigned char *bytes, size_t size)
{
    return size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0;
}

static bool is_webp(const unsigned char *bytes, size_t size)
{
    return size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

/* Files beyond 4 GiB have the number 43. */
static bool is_tiff(const unsigned char *bytes, size_t size)
{
    return size >= 4 && (memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0 ||
                         memcmp(bytes, "II+\0", 4) == 0 || memcmp(bytes, "MM\0+", 4) == 0);
}

#ifndef LDNQ_HAS_WEBP
#define ldnq_webp_decode NULL
#endif
#ifndef LDNQ_HAS_TIFF
#define ldnq_tiff_decode NULL
#endif

static const struct picture_format {
    const char *library;
    bool (*detect)(const unsigned char *bytes, size_t size);
    enum ldnq_status (*decode)(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                               struct ldnq_picture *out, struct ldnq_error *err);
} formats[] = {
    { "libpng", is_png, ldnq_png_decode },
    { "libjpeg", is_jpeg, ldnq_jpeg_decode },
    { "libwebp", is_webp, ldnq_webp_decode },
    { "libtiff", is_tiff, ldnq_tiff_decode },
};

static const struct picture_format *find_format(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].detect(bytes, size))
            return &formats[i];
    return NULL;
}

bool ldnq_is_picture_data(const unsigned char *bytes, size_t size, const char **library)
{
    const struct picture_format *format = find_format(bytes, size);
    *library = format && !format->decode ? format->library : NULL;
    return format != NULL;
}

/* Pixels that a picture may have however small the file is, and for each byte of it. */
#define FREE_PIXELS ((size_t)1 << 24)
#define MOST_PIXELS_PER_BYTE ((size_t)4096)

enum ldnq_status ldnq_picture_check_size(const struct ldnq_picture_file *file,
                                         const struct ldnq_picture *picture, struct ldnq_error *err)
{
    size_t pixels;
    if (!ldnq_size_mul(picture->width, picture->height, &pixels) ||
        (pixels > FREE_PIXELS && pixels / MOST_PIXELS_PER_BYTE > file->size))
        return ldnq_fail(err, LDNQ_DATA, "%s: is too short for its size in pixels", file->path);
    return LDNQ_OK;
}
enum ldnq_status ldnq_picture_create(const char *path, struct ldnq_arena *arena,
                                     struct ldnq_picture *picture, struct ldnq_error *err)
{
    size_t pixels;
    if (!ldnq_size_mul(picture->width, picture->height, &pixels) ||
        pixels > LDNQ_PICTURE_MAX_PIXELS)
        return ldnq_fail(err, LDNQ_DATA, "%s: %zu x %zu pixels are more than ldnq takes", path,
                         picture->width, picture->height);
    picture->pixels = ldnq_arena_alloc(arena, pixels, picture->channels, err);
    return picture->pixels ? LDNQ_OK : ldnq_fail_within(err, LDNQ_NOMEM, "%s", path);
}

static enum ldnq_status decode_by_format(const struct ldnq_picture_file *file,
                                         struct ldnq_arena *arena, struct ldnq_picture *out,
                                         struct ldnq_error *err)
{
    const struct picture_format *known = find_format(file->bytes, file->size);
    if (known && known->decode)
        return known->decode(file, arena, out, err);
    if (known)
        return ldnq_fail(err, LDNQ_DATA, "%s: ldnq was built without %s", file->path,
                         known->library);
    const char *format = ldnq_describe_text_format(file->bytes, file->size);
    return ldnq_fail(err, LDNQ_DATA, "%s: %s", file->path,
                     format       ? format
                     : file->size ? LDNQ_NO_PICTURE
                                  : "is empty");
}

static void convert_grey_to_rgb(const unsigned char *grey, unsigned char *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        memset(rgb + 3 * i, grey[i], 3);
}

/* Weights 0.299, 0.587, 0.114 in 16-bit fixed point, rounded as in Pillow's mode "L". */
static void convert_rgb_to_grey(const unsigned char *rgb, unsigned char *grey, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++, rgb += 3)
        grey[i] =
            (unsigned char)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static enum ldnq_status convert_channels(const char *path, size_t channels,
                                         struct ldnq_arena *arena, struct ldnq_picture *picture,
                                         struct ldnq_error *err)
{
    if (picture->channels == channels)
        return LDNQ_OK;
    struct ldnq_picture from = *picture;
    picture->channels = channels;
    LDNQ_TRY(ldnq_picture_create(path, arena, picture, err));
    (channels == 1 ? convert_rgb_to_grey : convert_grey_to_rgb)(from.pixels, picture->pixels,
                                                                from.width * from.height);
    return LDNQ_OK;
}

enum ldnq_status ldnq_picture_read(const char *path, size_t channels, struct ldnq_arena *arena,
                                   struct ldnq_picture *out, struct ldnq_error *err)
{
    void *bytes;
    *out = (struct ldnq_picture){ 0 };
    struct ldnq_picture_file file = { .path = path };
    LDNQ_TRY(ldnq_file_read(path, arena, &bytes, &file.size, err));
    file.bytes = bytes;
    LDNQ_TRY(decode_by_format(&file, arena, out, err));
    return convert_channels(path, channels, arena, out, err);
}

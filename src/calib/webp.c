/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/picture.h"

#include <string.h>
#include <webp/decode.h>

static enum ldnq_status report_webp_error(const struct ldnq_picture_file *file,
                                          VP8StatusCode status, struct ldnq_error *err)
{
    if (status == VP8_STATUS_OUT_OF_MEMORY)
        return ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", file->path);
    return ldnq_fail(err, LDNQ_DATA, "%s: is a damaged WebP%s", file->path,
                     status == VP8_STATUS_NOT_ENOUGH_DATA ? ": it is truncated" : "");
}

#define FIRST_CHUNK 12
#define CHUNK_HEADER 8

/* Finds the orientation in the file's chunk "EXIF"; 0 without one. */
static unsigned find_orientation(const struct ldnq_picture_file *file)
{
    size_t at = FIRST_CHUNK;
    while (at + CHUNK_HEADER <= file->size) {
        const unsigned char *chunk = file->bytes + at, *data = chunk + CHUNK_HEADER;
        const size_t size = (size_t)chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 |
                            (size_t)chunk[7] << 24;
        if (size > file->size - at - CHUNK_HEADER)
            return 0;
        if (memcmp(chunk, "EXIF", 4) == 0) {
            /* Some programs write the header of a JPEG's EXIF data too. */
            const size_t start = size >= 6 && memcmp(data, "Exif", 5) == 0 ? 6 : 0;
            return ldnq_exif_find_orientation(data + start, size - start);
        }
        at += CHUNK_HEADER + size + size % 2;
    }
    return 0;
}

enum ldnq_status ldnq_webp_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return ldnq_fail(err, LDNQ_DATA, "%s: this libwebp is not the one of the build",
                         file->path);
    VP8StatusCode status = WebPGetFeatures(file->bytes, file->size, &config.input);
    if (status != VP8_STATUS_OK)
        return report_webp_error(file, status, err);
    if (config.input.has_animation)
        return ldnq_fail(err, LDNQ_DATA, "%s: is an animation: save one picture of it", file->path);
    *out = (struct ldnq_picture){ .width = (size_t)config.input.width,
                                  .height = (size_t)config.input.height,
                                  .channels = 3,
                                  .orientation = find_orientation(file) };
    LDNQ_TRY(ldnq_picture_check_size(file, out, err));
    LDNQ_TRY(ldnq_picture_create(file->path, arena, out, err));
    const size_t row = out->width * out->channels;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA =
        (WebPRGBABuffer){ .rgba = out->pixels, .stride = (int)row, .size = row * out->height };
    status = WebPDecode(file->bytes, file->size, &config);
    WebPFreeDecBuffer(&config.output);
    return status == VP8_STATUS_OK ? LDNQ_OK : report_webp_error(file, status, err);
}

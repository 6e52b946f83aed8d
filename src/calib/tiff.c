/* SPDX-License-Identifier: Apache-2.0 */
/* tiff.c: the first page of a TIFF file. */
#include "calib/picture.h"

#include <stdio.h>
#include <string.h>
#include <tiffio.h>

#include "base/size.h"

/* The most that libtiff allocates at a time: a strip may be the whole picture, of 16-bit CMYK. */
#define MOST_MEMORY ((tmsize_t)(LDNQ_PICTURE_MAX_PIXELS * 8))

struct tiff_decoder {
    const struct ldnq_picture_file *file;
    size_t at;
    char reason[128]; /* the first error that libtiff reported */
};

/* ---- libtiff's callbacks ------------------------------------------------------------------ */

static int report_tiff_error(TIFF *tiff, void *decoder, const char *module, const char *format,
                             va_list arguments)
{
    struct tiff_decoder *d = decoder;
    (void)tiff;
    (void)module;
    if (!*d->reason)
        vsnprintf(d->reason, sizeof d->reason, format, arguments);
    return 1;
}

static int ignore_tiff_warning(TIFF *tiff, void *decoder, const char *module, const char *format,
                               va_list arguments)
{
    (void)tiff, (void)decoder, (void)module, (void)format, (void)arguments;
    return 1;
}

static tmsize_t read_for_libtiff(thandle_t handle, void *to, tmsize_t size)
{
    struct tiff_decoder *d = handle;
    const size_t left = d->at < d->file->size ? d->file->size - d->at : 0;
    const size_t count = ldnq_size_min(left, (size_t)size);
    if (count)
        memcpy(to, d->file->bytes + d->at, count);
    d->at += count;
    return (tmsize_t)count;
}

static tmsize_t refuse_to_write(thandle_t handle, void *from, tmsize_t size)
{
    (void)handle, (void)from, (void)size;
    return -1;
}

static toff_t seek_for_libtiff(thandle_t handle, toff_t offset, int whence)
{
    struct tiff_decoder *d = handle;
    const toff_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? d->at : d->file->size;
    d->at = (size_t)(from + offset);
    return d->at;
}

static int close_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t get_file_size(thandle_t handle)
{
    const struct tiff_decoder *d = handle;
    return d->file->size;
}

/* ---- decoding ----------------------------------------------------------------------------- */

static TIFF *open_tiff(struct tiff_decoder *decoder)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return NULL;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, MOST_MEMORY);
    TIFFOpenOptionsSetErrorHandlerExtR(options, report_tiff_error, decoder);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_tiff_warning, decoder);
    TIFF *tiff =
        TIFFClientOpenExt(decoder->file->path, "rm", decoder, read_for_libtiff, refuse_to_write,
                          seek_for_libtiff, close_nothing, get_file_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

/* Turning is the caller's choice, and alpha is dropped rather than multiplied with the colors. */
static void ignore_orientation_and_alpha(TIFF *tiff)
{
    uint16_t count = 0, *kinds = NULL, unspecified[16] = { EXTRASAMPLE_UNSPECIFIED };
    TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds) && count > 0 &&
        count <= sizeof unspecified / sizeof *unspecified)
        TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, count, unspecified);
}

static enum ldnq_status read_tiff_header(TIFF *tiff, const struct ldnq_picture_file *file,
                                         struct ldnq_picture *out, struct ldnq_error *err)
{
    uint32_t width = 0, height = 0;
    uint16_t orientation = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetField(tiff, TIFFTAG_ORIENTATION, &orientation);
    *out = (struct ldnq_picture){ .width = width,
                                  .height = height,
                                  .channels = 3,
                                  .orientation = orientation <= 8 ? orientation : 0 };
    if (width == 0 || height == 0)
        return ldnq_fail(err, LDNQ_DATA, "%s: is a damaged TIFF: it has no pixels", file->path);
    return ldnq_picture_check_size(file, out, err);
}

static enum ldnq_status read_tiff_pixels(TIFF *tiff, struct tiff_decoder *decoder,
                                         struct ldnq_arena *arena, struct ldnq_picture *out,
                                         struct ldnq_error *err)
{
    const size_t pixels = out->width * out->height;
    const char *path = decoder->file->path;
    char reason[1024] = "";
    if (!TIFFRGBAImageOK(tiff, reason))
        return ldnq_fail(err, LDNQ_DATA, "%s: is a TIFF of an unsupported kind: %.200s", path,
                         reason);
    LDNQ_TRY(ldnq_picture_create(path, arena, out, err));
    uint32_t *raster = ldnq_arena_alloc(arena, pixels, sizeof *raster, err);
    if (!raster)
        return ldnq_fail_within(err, LDNQ_NOMEM, "%s", path);
    ignore_orientation_and_alpha(tiff);
    if (!TIFFReadRGBAImageOriented(tiff, (uint32_t)out->width, (uint32_t)out->height, raster,
                                   ORIENTATION_TOPLEFT, 1))
        return ldnq_fail(err, LDNQ_DATA, "%s: is a damaged TIFF: %s", path, decoder->reason);
    for (size_t i = 0; i < pixels; i++) {
        out->pixels[3 * i] = (unsigned char)TIFFGetR(raster[i]);
        out->pixels[3 * i + 1] = (unsigned char)TIFFGetG(raster[i]);
        out->pixels[3 * i + 2] = (unsigned char)TIFFGetB(raster[i]);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_tiff_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err)
{
    struct tiff_decoder decoder = { .file = file };
    TIFF *tiff = open_tiff(&decoder);
    if (!tiff)
        return ldnq_fail(err, LDNQ_DATA, "%s: is a damaged TIFF: %s", file->path, decoder.reason);
    enum ldnq_status status = read_tiff_header(tiff, file, out, err);
    if (status == LDNQ_OK)
        status = read_tiff_pixels(tiff, &decoder, arena, out, err);
    TIFFClose(tiff);
    return status;
}

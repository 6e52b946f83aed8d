/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
/* after stdio.h, which they need */
#include <jerror.h>
#include <jpeglib.h>

struct jpeg_decoder {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr manager;
    jmp_buf escape;
    const struct ldnq_picture_file *file;
    struct ldnq_arena *arena;
    struct ldnq_picture *out;
    struct ldnq_error *err;
    bool has_ink;        /* CMYK */
    unsigned char *inks; /* a row of it */
};

static void jump_to_decode_guarded(j_common_ptr info)
{
    struct jpeg_decoder *decoder = info->client_data;
    longjmp(decoder->escape, 1);
}

/* libjpeg fills in missing pixels and warns. Here damaged pixels are an error; other
 * damage is common in real files and ignored. */
static void reject_damage_warning(j_common_ptr info, int level)
{
    int code = info->err->msg_code;
    bool harmless = code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR ||
                    code == JWRN_ADOBE_XFORM || code == JWRN_BOGUS_ICC;
    if (level < 0 && !harmless)
        jump_to_decode_guarded(info);
}

static void suppress_message(j_common_ptr info)
{
    (void)info;
}

static enum ldnq_status report_error(struct jpeg_decoder *decoder)
{
    char reason[JMSG_LENGTH_MAX];
    bool memory = decoder->manager.msg_code == JERR_OUT_OF_MEMORY;
    decoder->manager.format_message((j_common_ptr)&decoder->info, reason);
    return ldnq_fail(decoder->err, memory ? LDNQ_NOMEM : LDNQ_DATA, "%s: %s: %s",
                     decoder->file->path, memory ? "out of memory" : "is a damaged JPEG", reason);
}

#define EXIF_START 6 /* "Exif", 0, 0 */
/* 0: the file has no orientation. */
static unsigned find_orientation(const struct jpeg_marker_struct *marker)
{
    while (marker && (marker->marker != JPEG_APP0 + 1 || marker->data_length < EXIF_START ||
                      memcmp(marker->data, "Exif", 5) != 0))
        marker = marker->next;
    return marker ? ldnq_exif_find_orientation(marker->data + EXIF_START,
                                               marker->data_length - EXIF_START)
                  : 0;
}

static enum ldnq_status read_jpeg_header(struct jpeg_decoder *decoder)
{
    struct jpeg_decompress_struct *info = &decoder->info;
    jpeg_mem_src(info, decoder->file->bytes, decoder->file->size);
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(info, TRUE);
    decoder->out->orientation = find_orientation(info->marker_list);
    bool grey = info->jpeg_color_space == JCS_GRAYSCALE;
    decoder->has_ink = info->num_components == 4;
    info->out_color_space = decoder->has_ink ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    decoder->out->width = info->image_width;
    decoder->out->height = info->image_height;
    decoder->out->channels = grey ? 1 : 3;
    return LDNQ_OK;
}

/* a * b / 255, rounded. */
static unsigned multiply_shares(unsigned a, unsigned b)
{
    const unsigned product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

/* Converts the row of inks as Pillow does. Adobe's files store what is left of the paper. */
static void convert_ink_to_rgb(const struct jpeg_decoder *decoder, unsigned char *rgb)
{
    const unsigned flip = decoder->info.saw_Adobe_marker ? 255 : 0;
    const unsigned char *ink = decoder->inks;
    for (size_t x = 0; x < decoder->out->width; x++, ink += 4, rgb += 3) {
        const unsigned light = 255 - (ink[3] ^ flip);
        for (size_t c = 0; c < 3; c++)
            rgb[c] = (unsigned char)(light - multiply_shares(ink[c] ^ flip, light));
    }
}

static void read_jpeg_pixels(struct jpeg_decoder *decoder)
{
    struct jpeg_decompress_struct *info = &decoder->info;
    struct ldnq_picture *out = decoder->out;
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        unsigned char *to = out->pixels + info->output_scanline * out->width * out->channels;
        JSAMPROW row = decoder->has_ink ? decoder->inks : to;
        jpeg_read_scanlines(info, &row, 1);
        if (decoder->has_ink)
            convert_ink_to_rgb(decoder, to);
    }
    jpeg_finish_decompress(info);
}

/* Has no local variable, whose value longjmp could leave undefined. */
static enum ldnq_status decode_guarded(struct jpeg_decoder *decoder)
{
    if (setjmp(decoder->escape))
        return report_error(decoder);
    jpeg_create_decompress(&decoder->info); /* keeps err and client_data */
    LDNQ_TRY(read_jpeg_header(decoder));
    LDNQ_TRY(ldnq_picture_create(decoder->file->path, decoder->arena, decoder->out, decoder->err));
    if (decoder->has_ink) {
        decoder->inks = ldnq_arena_alloc(decoder->arena, decoder->out->width, 4, decoder->err);
        if (!decoder->inks)
            return LDNQ_NOMEM;
    }
    read_jpeg_pixels(decoder);
    return LDNQ_OK;
}

enum ldnq_status ldnq_jpeg_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err)
{
    struct jpeg_decoder decoder = { .file = file, .arena = arena, .out = out, .err = err };
    decoder.info.err = jpeg_std_error(&decoder.manager);
    decoder.info.client_data = &decoder;
    decoder.manager.error_exit = jump_to_decode_guarded;
    decoder.manager.emit_message = reject_damage_warning;
    decoder.manager.output_message = suppress_message;
    enum ldnq_status status = decode_guarded(&decoder);
    jpeg_destroy_decompress(&decoder.info);
    return status;
}

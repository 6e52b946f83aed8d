/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/picture.h"

#include <png.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

struct png_decoder {
    png_structp png;
    png_infop info;
    const struct ldnq_picture_file *file;
    size_t at;
    struct ldnq_arena *arena;
    struct ldnq_picture *out;
    struct ldnq_error *err;
    enum ldnq_status status; /* the failure of our own callbacks, with its message set */
    bool out_of_memory;      /* an allocation of libpng failed */
    char reason[128];
};

/* libpng's error handler: jumps back to the setjmp in decode_guarded. */
static void jump_to_decode_guarded(png_structp png, png_const_charp reason)
{
    struct png_decoder *decoder = png_get_error_ptr(png);
    snprintf(decoder->reason, sizeof decoder->reason, "%s", reason);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp warning)
{
    (void)png;
    (void)warning;
}

static png_voidp allocate_for_libpng(png_structp png, png_alloc_size_t size)
{
    struct png_decoder *decoder = png_get_mem_ptr(png);
    void *memory = ldnq_malloc(size);
    decoder->out_of_memory |= !memory;
    return memory;
}

static void free_for_libpng(png_structp png, png_voidp memory)
{
    (void)png;
    ldnq_free(memory);
}

static void read_bytes_for_libpng(png_structp png, png_bytep to, size_t size)
{
    struct png_decoder *decoder = png_get_io_ptr(png);
    if (size > decoder->file->size - decoder->at)
        png_error(png, "it is truncated");
    memcpy(to, decoder->file->bytes + decoder->at, size);
    decoder->at += size;
}

/* Deflate compresses by at most 1032 to 1: a header that claims more pixels than the
 * file can hold is refused before memory is allocated for them. */
static void refuse_impossible_size(struct png_decoder *decoder)
{
    size_t row = png_get_rowbytes(decoder->png, decoder->info);
    if (row * decoder->out->height / 1032 > decoder->file->size)
        png_error(decoder->png, "it is too short for its size in pixels");
}

static void read_png_header(struct png_decoder *decoder)
{
    png_structp png = decoder->png;
    struct ldnq_picture *out = decoder->out;
    png_read_info(png, decoder->info);
    out->width = png_get_image_width(png, decoder->info);
    out->height = png_get_image_height(png, decoder->info);
    refuse_impossible_size(decoder);
    if (png_get_color_type(png, decoder->info) == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (png_get_bit_depth(png, decoder->info) < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, decoder->info);
    out->channels = png_get_channels(png, decoder->info);
}

static void read_png_pixels(struct png_decoder *decoder)
{
    struct ldnq_picture *out = decoder->out;
    size_t row = out->width * out->channels;
    if (png_get_rowbytes(decoder->png, decoder->info) != row)
        png_error(decoder->png, "its rows have an unexpected size");
    decoder->status = ldnq_picture_create(decoder->file->path, decoder->arena, out, decoder->err);
    png_bytepp rows = NULL;
    if (decoder->status == LDNQ_OK) {
        rows = ldnq_arena_alloc(decoder->arena, out->height, sizeof *rows, decoder->err);
        decoder->status = rows ? LDNQ_OK : LDNQ_NOMEM;
    }
    if (decoder->status != LDNQ_OK)
        return;
    for (size_t y = 0; y < out->height; y++)
        rows[y] = out->pixels + y * row;
    png_read_image(decoder->png, rows);
    png_read_end(decoder->png, NULL);
}

/* Has no local variable, whose value longjmp could leave undefined. */
static enum ldnq_status decode_guarded(struct png_decoder *decoder)
{
    if (setjmp(png_jmpbuf(decoder->png))) {
        if (decoder->out_of_memory)
            return ldnq_fail(decoder->err, LDNQ_NOMEM, "%s: out of memory", decoder->file->path);
        return ldnq_fail(decoder->err, LDNQ_DATA, "%s: is a damaged PNG: %s", decoder->file->path,
                         decoder->reason);
    }
    read_png_header(decoder);
    read_png_pixels(decoder);
    return decoder->status;
}

enum ldnq_status ldnq_png_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                 struct ldnq_picture *out, struct ldnq_error *err)
{
    struct png_decoder decoder = { .file = file, .arena = arena, .out = out, .err = err };
    decoder.png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &decoder, jump_to_decode_guarded,
                                 ignore_warning, &decoder, allocate_for_libpng, free_for_libpng);
    if (decoder.png)
        decoder.info = png_create_info_struct(decoder.png);
    enum ldnq_status status;
    if (decoder.info) {
        png_set_read_fn(decoder.png, &decoder, read_bytes_for_libpng);
        status = decode_guarded(&decoder);
    } else {
        status = ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", file->path);
    }
    png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
    return status;
}

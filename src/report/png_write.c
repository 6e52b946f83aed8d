/* SPDX-License-Identifier: Apache-2.0 */
#include "report/png_write.h"

#include <png.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

#define MOST_COLOURS 256
/* Size of the hash table of colours: a power of two above MOST_COLOURS. */
#define SLOTS 1024

struct png_encoder {
    png_structp png;
    png_infop info;
    const uint8_t *pixels;
    size_t width, height;
    struct ldnq_buffer *out;
    uint8_t *indices; /* (height, width) into the palette; NULL without one */
    size_t colour_count;
    uint32_t colours[MOST_COLOURS]; /* ascending alpha, so that tRNS is short */
    uint16_t slots[SLOTS];          /* 1 + index in `colours`; 0 is free */
    bool out_of_memory;
    char reason[128];
};

/* ---- the palette --------------------------------------------------------------------- */

/* Alpha is the highest byte, so that numbers sort by it. */
static uint32_t read_pixel_colour(const uint8_t *pixel)
{
    return (uint32_t)pixel[3] << 24 | (uint32_t)pixel[0] << 16 | (uint32_t)pixel[1] << 8 | pixel[2];
}

/* The slot that holds the colour, or the free slot to store it in. */
static uint16_t *find_colour_slot(struct png_encoder *encoder, uint32_t colour)
{
    size_t at = (colour * 2654435761u) >> 22;
    while (encoder->slots[at] && encoder->colours[encoder->slots[at] - 1] != colour)
        at = (at + 1) % SLOTS;
    return &encoder->slots[at];
}

static bool add_palette_colour(struct png_encoder *encoder, uint32_t colour)
{
    uint16_t *slot = find_colour_slot(encoder, colour);
    if (*slot)
        return true;
    if (encoder->colour_count == MOST_COLOURS)
        return false;
    encoder->colours[encoder->colour_count++] = colour;
    *slot = (uint16_t)encoder->colour_count;
    return true;
}

static void sort_palette_colours(struct png_encoder *encoder)
{
    for (size_t i = 1; i < encoder->colour_count; i++) {
        const uint32_t colour = encoder->colours[i];
        size_t at = i;
        for (; at > 0 && encoder->colours[at - 1] > colour; at--)
            encoder->colours[at] = encoder->colours[at - 1];
        encoder->colours[at] = colour;
    }
    memset(encoder->slots, 0, sizeof encoder->slots);
    for (size_t i = 0; i < encoder->colour_count; i++)
        *find_colour_slot(encoder, encoder->colours[i]) = (uint16_t)(i + 1);
}

/* Collects the picture's colours; false when there are too many. */
static bool collect_colours(struct png_encoder *encoder)
{
    const size_t count = encoder->width * encoder->height;
    uint32_t last = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t colour = read_pixel_colour(encoder->pixels + 4 * i);
        if ((i == 0 || colour != last) && !add_palette_colour(encoder, colour))
            return false;
        last = colour;
    }
    sort_palette_colours(encoder);
    return true;
}

/* Stores each pixel's index in the palette; false when memory is out. */
static bool store_palette_indices(struct png_encoder *encoder)
{
    const size_t count = encoder->width * encoder->height;
    encoder->indices = ldnq_malloc(count);
    if (!encoder->indices)
        return false;
    for (size_t i = 0; i < count; i++)
        encoder->indices[i] =
            (uint8_t)(*find_colour_slot(encoder, read_pixel_colour(encoder->pixels + 4 * i)) - 1);
    return true;
}

/* ---- libpng -------------------------------------------------------------------------- */

/* libpng's handler of errors: jumps back to the setjmp in write_compressed_rows. */
static void jump_to_write_rows(png_structp png, png_const_charp reason)
{
    struct png_encoder *encoder = png_get_error_ptr(png);
    snprintf(encoder->reason, sizeof encoder->reason, "%s", reason);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp warning)
{
    (void)png;
    (void)warning;
}

static png_voidp allocate_for_libpng(png_structp png, png_alloc_size_t size)
{
    struct png_encoder *encoder = png_get_mem_ptr(png);
    void *memory = ldnq_malloc(size);
    encoder->out_of_memory |= !memory;
    return memory;
}

static void free_for_libpng(png_structp png, png_voidp memory)
{
    (void)png;
    ldnq_free(memory);
}

static void append_bytes(png_structp png, png_bytep bytes, size_t size)
{
    struct png_encoder *encoder = png_get_io_ptr(png);
    ldnq_buffer_append(encoder->out, bytes, size);
    if (encoder->out->failed) {
        encoder->out_of_memory = true;
        png_error(png, "out of memory");
    }
}

static void ignore_flush(png_structp png)
{
    (void)png;
}

static void write_palette(struct png_encoder *encoder)
{
    png_color colours[MOST_COLOURS];
    png_byte alphas[MOST_COLOURS];
    int translucent = 0;
    for (size_t i = 0; i < encoder->colour_count; i++) {
        const uint32_t c = encoder->colours[i];
        colours[i] = (png_color){ (png_byte)(c >> 16), (png_byte)(c >> 8), (png_byte)c };
        alphas[i] = (png_byte)(c >> 24);
        translucent += alphas[i] < 255;
    }
    png_set_PLTE(encoder->png, encoder->info, colours, (int)encoder->colour_count);
    if (translucent)
        png_set_tRNS(encoder->png, encoder->info, alphas, translucent, NULL);
}

static void write_header(struct png_encoder *encoder)
{
    const bool has_palette = encoder->indices != NULL;
    /* Two and four bits per index make files smaller. Other depths make charts of lines larger as
     * often as smaller. */
    const int depth = !has_palette || encoder->colour_count > 16 ? 8
                      : encoder->colour_count > 4                ? 4
                                                                 : 2;
    png_set_IHDR(encoder->png, encoder->info, (png_uint_32)encoder->width,
                 (png_uint_32)encoder->height, depth,
                 has_palette ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_RGB_ALPHA,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (has_palette)
        write_palette(encoder);
    png_set_compression_level(encoder->png, 9);
    png_set_filter(encoder->png, PNG_FILTER_TYPE_BASE,
                   has_palette ? PNG_FILTER_NONE : PNG_ALL_FILTERS);
    png_write_info(encoder->png, encoder->info);
    png_set_packing(encoder->png);
}

/* A function of its own, without variables that the jump could leave undefined. */
static enum ldnq_status write_compressed_rows(struct png_encoder *encoder, struct ldnq_error *err)
{
    if (setjmp(png_jmpbuf(encoder->png))) {
        if (encoder->out_of_memory)
            return ldnq_fail(err, LDNQ_NOMEM, "out of memory for a picture");
        return ldnq_fail(err, LDNQ_USAGE, "a picture can't be written: %s", encoder->reason);
    }
    write_header(encoder);
    const uint8_t *from = encoder->indices ? encoder->indices : encoder->pixels;
    const size_t row = encoder->width * (encoder->indices ? 1 : 4);
    for (size_t y = 0; y < encoder->height; y++)
        png_write_row(encoder->png, from + y * row);
    png_write_end(encoder->png, encoder->info);
    return LDNQ_OK;
}

static enum ldnq_status create_png_structs(struct png_encoder *encoder, struct ldnq_error *err)
{
    if (collect_colours(encoder) && !store_palette_indices(encoder))
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory for a picture");
    encoder->png =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, encoder, jump_to_write_rows,
                                  ignore_warning, encoder, allocate_for_libpng, free_for_libpng);
    if (encoder->png)
        encoder->info = png_create_info_struct(encoder->png);
    if (!encoder->info)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory for a picture");
    png_set_write_fn(encoder->png, encoder, append_bytes, ignore_flush);
    return LDNQ_OK;
}

enum ldnq_status ldnq_png_encode(const uint8_t *pixels, size_t width, size_t height,
                                 struct ldnq_buffer *out, struct ldnq_error *err)
{
    if (width == 0 || height == 0 || width > PNG_USER_WIDTH_MAX || height > PNG_USER_HEIGHT_MAX)
        return ldnq_fail(err, LDNQ_USAGE, "a PNG can't have %zu x %zu pixels", width, height);
    struct png_encoder encoder = { .pixels = pixels, .width = width, .height = height, .out = out };
    enum ldnq_status status = create_png_structs(&encoder, err);
    if (status == LDNQ_OK)
        status = write_compressed_rows(&encoder, err);
    png_destroy_write_struct(&encoder.png, &encoder.info);
    ldnq_free(encoder.indices);
    return status;
}

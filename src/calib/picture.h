/* picture.h: PNG and JPEG files as 8-bit grey or RGB.
 *
 * Shapes  pixels (H,W,C), C 1 or 3
 * Owns    nothing; pixels belong to the arena
 * Errors  IO, DATA (damaged, or an unsupported kind), NOMEM; messages begin with the
 *         path
 * Threads safe
 */
#ifndef LDNQ_CALIB_PICTURE_H
#define LDNQ_CALIB_PICTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

/* More pixels than any camera has; a damaged header can claim any number. */
#define LDNQ_PICTURE_MAX_PIXELS ((size_t)1 << 28)

struct ldnq_picture {
    size_t width, height, channels;
    unsigned orientation; /* of EXIF, 1 to 8; 0: the file has none */
    unsigned char *pixels;
};

/* The bytes of a file in memory, and its path for messages. */
struct ldnq_picture_file {
    const char *path;
    const unsigned char *bytes;
    size_t size;
};

#define LDNQ_PICTURE_MAGIC_SIZE 8
bool ldnq_is_png_data(const unsigned char *bytes, size_t size);
bool ldnq_is_jpeg_data(const unsigned char *bytes, size_t size);

/* Decode to grey or RGB, whichever is stored; alpha is dropped, 16 bits are scaled to 8, CMYK is
 * converted as in Pillow. */
enum ldnq_status ldnq_png_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                 struct ldnq_picture *out, struct ldnq_error *err);
enum ldnq_status ldnq_jpeg_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err);

/* Allocates pixels for width, height and channels. */
enum ldnq_status ldnq_picture_create(const char *path, struct ldnq_arena *arena,
                                     struct ldnq_picture *picture, struct ldnq_error *err);

/* Turns the picture as its orientation says. Errors: NOMEM. */
enum ldnq_status ldnq_picture_turn(const char *path, struct ldnq_picture *picture,
                                   struct ldnq_arena *arena, struct ldnq_error *err);

/* Reads a PNG or JPEG file, recognized by its content, and converts it to grey
 * (channels 1: ITU-R 601 luma) or RGB (channels 3). */
enum ldnq_status ldnq_picture_read(const char *path, size_t channels, struct ldnq_arena *arena,
                                   struct ldnq_picture *out, struct ldnq_error *err);

#endif

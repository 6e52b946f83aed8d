/* SPDX-License-Identifier: Apache-2.0 */
/* picture.h: PNG, JPEG, WebP and TIFF files as 8-bit grey or RGB.
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

/* What a message says of another file. */
#define LDNQ_NO_PICTURE "is neither PNG, JPEG, WebP nor TIFF"

/* Whether the bytes, the first LDNQ_FORMAT_PREFIX of a file, begin a picture of one of these
 * formats. *library becomes what this build lacks to decode it; NULL: nothing. */
bool ldnq_is_picture_data(const unsigned char *bytes, size_t size, const char **library);

/* Decode to grey or RGB, whichever is stored; alpha is dropped, 16 bits are scaled to 8, CMYK is
 * converted as in Pillow. WebP and TIFF become RGB. */
enum ldnq_status ldnq_png_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                 struct ldnq_picture *out, struct ldnq_error *err);
enum ldnq_status ldnq_jpeg_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err);
enum ldnq_status ldnq_webp_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err);
enum ldnq_status ldnq_tiff_decode(const struct ldnq_picture_file *file, struct ldnq_arena *arena,
                                  struct ldnq_picture *out, struct ldnq_error *err);

/* Finds the orientation in the first directory of EXIF data, a TIFF file of its own, without the
 * header that a JPEG has before it; 0: there is none. */
unsigned ldnq_exif_find_orientation(const unsigned char *tiff, size_t size);

/* Refuses a size that no file of so few bytes can have, before memory is allocated for it, where
 * the format has no limit of its own. A picture of one color may take next to nothing. Errors:
 * DATA. */
enum ldnq_status ldnq_picture_check_size(const struct ldnq_picture_file *file,
                                         const struct ldnq_picture *picture,
                                         struct ldnq_error *err);

/* Allocates pixels for width, height and channels. */
enum ldnq_status ldnq_picture_create(const char *path, struct ldnq_arena *arena,
                                     struct ldnq_picture *picture, struct ldnq_error *err);

/* Turns the picture as its orientation says. Errors: NOMEM. */
enum ldnq_status ldnq_picture_turn(const char *path, struct ldnq_picture *picture,
                                   struct ldnq_arena *arena, struct ldnq_error *err);

/* Reads a file, recognized by its content, and converts it to grey
 * (channels 1: ITU-R 601 luma) or RGB (channels 3). */
enum ldnq_status ldnq_picture_read(const char *path, size_t channels, struct ldnq_arena *arena,
                                   struct ldnq_picture *out, struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a picture as its EXIF orientation says. */
#include "calib/picture.h"

#include <string.h>

/* Orientations 2 to 8: whether axes are swapped, and which of the result's axes run backwards. */
static const struct orientation {
    bool is_transposed, is_mirrored, is_upside_down;
} orientations[9] = {
    [2] = { false, true, false }, [3] = { false, true, true }, [4] = { false, false, true },
    [5] = { true, false, false }, [6] = { true, true, false }, [7] = { true, true, true },
    [8] = { true, false, true },
};

enum ldnq_status ldnq_picture_turn(const char *path, struct ldnq_picture *picture,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_picture from = *picture;
    if (from.orientation < 2 || from.orientation > 8)
        return LDNQ_OK;
    const struct orientation turn = orientations[from.orientation];
    picture->width = turn.is_transposed ? from.height : from.width;
    picture->height = turn.is_transposed ? from.width : from.height;
    picture->orientation = 1;
    LDNQ_TRY(ldnq_picture_create(path, arena, picture, err));
    unsigned char *to = picture->pixels;
    for (size_t y = 0; y < picture->height; y++)
        for (size_t x = 0; x < picture->width; x++, to += from.channels) {
            const size_t u = turn.is_mirrored ? picture->width - 1 - x : x;
            const size_t v = turn.is_upside_down ? picture->height - 1 - y : y;
            const size_t column = turn.is_transposed ? v : u, row = turn.is_transposed ? u : v;
            memcpy(to, from.pixels + (row * from.width + column) * from.channels, from.channels);
        }
    return LDNQ_OK;
}

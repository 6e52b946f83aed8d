/* SPDX-License-Identifier: Apache-2.0 */
/* exif.c: the orientation in EXIF data. */
#include "calib/picture.h"

/* Reads a number of 2 or 4 bytes. */
static unsigned long read_number(const unsigned char *bytes, size_t size, bool is_big)
{
    unsigned long number = 0;
    for (size_t i = 0; i < size; i++)
        number = number << 8 | bytes[is_big ? i : size - 1 - i];
    return number;
}

#define ORIENTATION_TAG 0x112

unsigned ldnq_exif_find_orientation(const unsigned char *tiff, size_t size)
{
    if (size < 8)
        return 0;
    const bool is_big = tiff[0] == 'M';
    const size_t first = read_number(tiff + 4, 4, is_big);
    if (first > size - 2)
        return 0;
    const size_t entries = read_number(tiff + first, 2, is_big);
    for (size_t i = 0; i < entries && first + 2 + (i + 1) * 12 <= size; i++) {
        const unsigned char *entry = tiff + first + 2 + i * 12;
        if (read_number(entry, 2, is_big) == ORIENTATION_TAG) {
            const unsigned long value = read_number(entry + 8, 2, is_big);
            return value >= 1 && value <= 8 ? (unsigned)value : 0;
        }
    }
    return 0;
}

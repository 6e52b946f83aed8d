/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/quant.h"

#include <math.h>
#include <string.h>

#define CODES_4(n) (n), (n) + 1, (n) + 2, (n) + 3
#define CODES_16(n) CODES_4(n), CODES_4((n) + 4), CODES_4((n) + 8), CODES_4((n) + 12)
#define CODES_64(n) CODES_16(n), CODES_16((n) + 16), CODES_16((n) + 32), CODES_16((n) + 48)

static const int16_t ternary[] = { -1, 0, 1 };
static const int16_t pot5[] = { -2, -1, 0, 1, 2 };
static const int16_t pot7[] = { -4, -2, -1, 0, 1, 2, 4 };
static const int16_t pot9[] = { -8, -4, -2, -1, 0, 1, 2, 4, 8 };
static const int16_t pot11[] = { -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16 };
static const int16_t int2[] = { CODES_4(-2) };
static const int16_t int3[] = { CODES_4(-4), CODES_4(0) };
static const int16_t int4[] = { CODES_16(-8) };
static const int16_t int8[] = { CODES_64(-128), CODES_64(-64), CODES_64(0), CODES_64(64) };

#define CODEBOOK(name_, bits_, summary_)                                                           \
    { .name = #name_,                                                                              \
      .summary = summary_,                                                                         \
      .count = sizeof name_ / sizeof *name_,                                                       \
      .codes = name_,                                                                              \
      .bits = bits_ }

static const struct ldnq_codebook table[] = {
    CODEBOOK(ternary, 2, "-1 0 1"),
    CODEBOOK(pot5, 4, "0 and powers of two up to 2, of either sign"),
    CODEBOOK(pot7, 4, "0 and powers of two up to 4, of either sign"),
    CODEBOOK(pot9, 8, "0 and powers of two up to 8, of either sign"),
    CODEBOOK(pot11, 8, "0 and powers of two up to 16, of either sign"),
    CODEBOOK(int2, 2, "-2 to 1"),
    CODEBOOK(int3, 4, "-4 to 3"),
    CODEBOOK(int4, 4, "-8 to 7"),
    CODEBOOK(int8, 8, "-128 to 127"),
};

#define TABLE_COUNT (sizeof table / sizeof *table)

#define SYMMETRIC(name_, bits_, summary_)                                                          \
    { .name = #name_,                                                                              \
      .summary = summary_,                                                                         \
      .count = sizeof name_ / sizeof *name_ - 1,                                                   \
      .codes = name_ + 1,                                                                          \
      .bits = bits_ }

static const struct ldnq_codebook symmetric[] = {
    SYMMETRIC(int2, 2, "-1 to 1"),
    SYMMETRIC(int3, 4, "-3 to 3"),
    SYMMETRIC(int4, 4, "-7 to 7"),
    SYMMETRIC(int8, 8, "-127 to 127"),
};

const struct ldnq_codebook *ldnq_codebook_find(const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const struct ldnq_codebook *const *ldnq_codebooks(void)
{
    static const struct ldnq_codebook *const all[TABLE_COUNT + 1] = {
        &table[0], &table[1], &table[2], &table[3], &table[4],
        &table[5], &table[6], &table[7], &table[8],
    };
    return all;
}

const struct ldnq_codebook *ldnq_codebook_find_symmetric(const struct ldnq_codebook *codebook)
{
    for (size_t i = 0; i < sizeof symmetric / sizeof *symmetric; i++)
        if (strcmp(symmetric[i].name, codebook->name) == 0)
            return &symmetric[i];
    return codebook;
}

/* Bisects for the first code that is not below value. It or the code before it is the
 * nearest. */
/* Rounds half toward zero, then clamps. The sum with 0.5 may round up: then the difference is
 * above 0.5. */
static int16_t round_to_codes_without_gaps(int lowest, int highest, double value)
{
    const double bound = INT16_MAX;
    double size = fabs(value);
    size = size < bound ? size : bound;
    int code = (int)(size + 0.5);
    code -= code - size >= 0.5;
    code = value < 0 ? -code : code;
    return (int16_t)(code < lowest ? lowest : code > highest ? highest : code);
}

int16_t ldnq_codebook_find_nearest(const struct ldnq_codebook *codebook, double value)
{
    const int16_t *codes = codebook->codes;
    const int lowest = codes[0], highest = codes[codebook->count - 1];
    if (highest - lowest == (int)codebook->count - 1)
        return round_to_codes_without_gaps(lowest, highest, value);
    size_t low = 0, high = codebook->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (codes[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return codes[0];
    double below = value - codes[low - 1], above = codes[low] - value;
    if (below != above)
        return below < above ? codes[low - 1] : codes[low];
    return codes[low - 1] >= 0 ? codes[low - 1] : codes[low];
}

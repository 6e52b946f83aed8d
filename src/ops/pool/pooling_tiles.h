/* SPDX-License-Identifier: Apache-2.0 */
/* pooling_tiles.h: a pooling of float planes over padded tiles (padded_tile.h), where each
 * output reads all taps of its window, and whole vectors of outputs are merged at a time.
 *
 * LDNQ_POOLING_TILE(name, START, MERGE) defines a ldnq_pooling_tile_fn. Each output is START
 * merged with its taps in the order (kh, kw); MERGE(acc, v, bits) is a statement on vectors
 * of floats, `bits` the integer vector type of their comparisons. What fills the padding
 * must not change START when it is merged.
 */
#ifndef LDNQ_OPS_POOLING_TILES_H
#define LDNQ_OPS_POOLING_TILES_H

#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"
#include "ops/pool/pooling.h"

#define LDNQ_POOLING_TILE_TAPS 256
#define LDNQ_POOLING_TILE_SIDE 1024 /* most output rows, and most columns */

struct ldnq_pooling_window {
    size_t taps;
    int32_t offsets[LDNQ_POOLING_TILE_TAPS]; /* floats from the first tap's inputs to each tap's */
    size_t in_row, out_row;                  /* floats between output rows in the tile and in y */
};

/* Computes `rows` output rows of `columns`; `in` are the inputs of the first tap. */
typedef void ldnq_pooling_tile_fn(const struct ldnq_pooling_window *window, const float *in,
                                  float *y, size_t rows, size_t columns);

/* Whether a pooling is over at most two axes, and one output row's tile is small enough. */
bool ldnq_pooling_fits_tiles(const struct ldnq_pooling *pooling);
/* Pools planes first .. last-1 of pooling->x into pooling->y; `fill` is in the padding. */
void ldnq_pooling_run_tiles(const struct ldnq_pooling *pooling, size_t first, size_t last,
                            ldnq_pooling_tile_fn *run, float fill);

LDNQ_LANES(pooling_tile_4, 4)
LDNQ_LANES(pooling_tile_8, 8)
LDNQ_LANES(pooling_tile_16, 16)

/* Rows whose outputs are merged side by side, so that no merge waits for the one before. */
#define LDNQ_POOLING_TILE_ROWS 4

/* One vector in each of `rows` output rows; `rows` is a constant at every call. */
#define LDNQ_POOLING_TILE_VECTOR(name, LANES, START, MERGE)                                        \
    static inline __attribute__((always_inline)) void name(                                        \
        const struct ldnq_pooling_window *window, const float *in, float *y, size_t rows)          \
    {                                                                                              \
        LANES acc[LDNQ_POOLING_TILE_ROWS];                                                         \
        for (size_t i = 0; i < rows; i++)                                                          \
            acc[i] = (LANES){ 0 } + (START);                                                       \
        for (size_t tap = 0; tap < window->taps; tap++) {                                          \
            const float *x = in + window->offsets[tap];                                            \
            for (size_t i = 0; i < rows; i++) {                                                    \
                const LANES v = *(const LANES *)(const void *)(x + i * window->in_row);            \
                MERGE(acc[i], v, LANES##_bits);                                                    \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < rows; i++)                                                          \
            *(LANES *)(void *)(y + i * window->out_row) = acc[i];                                  \
    }

#define LDNQ_POOLING_TILE(name, START, MERGE)                                                      \
    LDNQ_POOLING_TILE_VECTOR(name##_4, pooling_tile_4, START, MERGE)                               \
    LDNQ_POOLING_TILE_VECTOR(name##_8, pooling_tile_8, START, MERGE)                               \
    LDNQ_POOLING_TILE_VECTOR(name##_16, pooling_tile_16, START, MERGE)                             \
    /* The last vector of a row ends at its last column, and computes some columns again. */       \
    static inline __attribute__((always_inline)) void name##_rows(                                 \
        const struct ldnq_pooling_window *window, const float *in, float *y, size_t rows,          \
        size_t columns)                                                                            \
    {                                                                                              \
        size_t x = 0;                                                                              \
        for (; x + 16 <= columns; x += 16)                                                         \
            name##_16(window, in + x, y + x, rows);                                                \
        size_t rest = columns - x;                                                                 \
        if (rest > 0 && columns >= 16)                                                             \
            name##_16(window, in + columns - 16, y + columns - 16, rows);                          \
        else if (rest >= 8) {                                                                      \
            name##_8(window, in, y, rows);                                                         \
            name##_8(window, in + columns - 8, y + columns - 8, rows);                             \
        } else if (rest >= 4) {                                                                    \
            name##_4(window, in, y, rows);                                                         \
            name##_4(window, in + columns - 4, y + columns - 4, rows);                             \
        }                                                                                          \
    }                                                                                              \
    LDNQ_MULTIVERSION                                                                              \
    static void name(const struct ldnq_pooling_window *window, const float *in, float *y,          \
                     size_t rows, size_t columns)                                                  \
    {                                                                                              \
        const size_t most = LDNQ_POOLING_TILE_ROWS;                                                \
        for (size_t at = 0; rows >= most && at < rows; at += most) {                               \
            const size_t row = ldnq_size_min(at, rows - most);                                     \
            name##_rows(window, in + row * window->in_row, y + row * window->out_row, most,        \
                        columns);                                                                  \
        }                                                                                          \
        for (size_t row = 0; rows < most && row < rows; row++)                                     \
            name##_rows(window, in + row * window->in_row, y + row * window->out_row, 1, columns); \
    }

#endif

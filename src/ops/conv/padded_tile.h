/* SPDX-License-Identifier: Apache-2.0 */
/* padded_tile.h: a copy of the input elements that one tile of a convolution's output
 * reads, with zeros (or another number) for the padding and without horizontal strides.
 *
 * The inputs of one kernel tap (kh, kw) for one output row are contiguous in it: output
 * column x reads ldnq_padded_tile_row(padded, row, kh, kw)[x]. With a horizontal stride
 * s, an input row is stored as s phases: columns 0, s, 2s, ..., then 1, s+1, 2s+1, ...
 *
 * Shapes  plane (H, W), one channel of one image; output plane (OH, OW);
 *         padded tile (input rows, phases, phase_width)
 * Owns    nothing; the caller provides `data`
 * Threads safe
 */
#ifndef LDNQ_OPS_PADDED_TILE_H
#define LDNQ_OPS_PADDED_TILE_H

#include <stdbool.h>

#include "ops/conv/im2col.h"

/* A rectangle of the output plane: rows y .. y+rows-1, columns x .. x+columns-1, at
 * least one of each. */
struct ldnq_output_tile {
    size_t y, rows, x, columns;
};

/* How an output plane (OH, OW) is divided into tiles: whole rows, or parts of one row
 * where a row is longer than LDNQ_CONV_MAX_COLUMNS. */
struct ldnq_conv_tiling {
    size_t rows, columns; /* size of a full tile; tiles at the bottom and right may be smaller */
    size_t down, across;  /* tiles in a plane */
};
#define LDNQ_CONV_MAX_COLUMNS ((size_t)1024)

/* A tiling with about `positions` output positions per tile. */
struct ldnq_conv_tiling ldnq_conv_plan_tiles(const struct ldnq_conv_geometry *geometry,
                                             size_t positions);
/* Tile `index` of a plane, counted row by row. */
struct ldnq_output_tile ldnq_conv_find_tile(const struct ldnq_conv_geometry *geometry,
                                            const struct ldnq_conv_tiling *tiling, size_t index);

struct ldnq_padded_tile {
    size_t rows;                /* input rows, padding included */
    size_t phases, phase_width; /* phases of an input row; floats per phase */
    size_t stride_w, stride_h, dilation_w, dilation_h;
    float *data;
    float fill; /* in the padding: 0 unless the caller changes it */
};

/* Computes the sizes for a tile. `data` has room for ldnq_padded_tile_count_floats; NULL to
 * compute the sizes only. */
struct ldnq_padded_tile ldnq_padded_tile_make(const struct ldnq_conv_geometry *geometry,
                                              const struct ldnq_output_tile *tile, float *data);
/* Floats of one padded tile; SIZE_MAX on overflow. */
size_t ldnq_padded_tile_count_floats(const struct ldnq_padded_tile *padded);
/* Fills the padded tile from one plane (H, W). */
void ldnq_padded_tile_fill(const struct ldnq_conv_geometry *geometry,
                           const struct ldnq_output_tile *tile, const float *plane,
                           const struct ldnq_padded_tile *padded);
/* Fills `count` padded tiles from `count` consecutive planes (count, H, W). The padded
 * tile of plane i starts at padded->data + i*pitch. */
void ldnq_padded_tile_fill_planes(const struct ldnq_conv_geometry *geometry,
                                  const struct ldnq_output_tile *tile, const float *planes,
                                  const struct ldnq_padded_tile *padded, size_t count,
                                  size_t pitch);

/* The transpose of ldnq_padded_tile_fill, for gradients: adds every element to the
 * element of the plane (H, W) that fill copies there; drops the elements of the padding. */
void ldnq_padded_tile_scatter_add(const struct ldnq_conv_geometry *geometry,
                                  const struct ldnq_output_tile *tile,
                                  const struct ldnq_padded_tile *padded, float *plane);

/* The inputs of tap (kh, kw) for row `row` of the output tile: tile->columns floats. */
static inline const float *ldnq_padded_tile_row(const struct ldnq_padded_tile *padded, size_t row,
                                                size_t kh, size_t kw)
{
    size_t input_row = row * padded->stride_h + kh * padded->dilation_h;
    size_t shift = kw * padded->dilation_w;
    return padded->data +
           (input_row * padded->phases + shift % padded->stride_w) * padded->phase_width +
           shift / padded->stride_w;
}

/* Floats from the inputs of one output row to those of the next, for the same tap. */
static inline size_t ldnq_padded_tile_row_step(const struct ldnq_padded_tile *padded)
{
    return padded->stride_h * padded->phases * padded->phase_width;
}

/* im2col of one channel: columns (KH*KW, rows*columns of the output tile), row k at
 * columns + k*ld. */
void ldnq_padded_tile_im2col(const struct ldnq_conv_geometry *geometry,
                             const struct ldnq_output_tile *tile,
                             const struct ldnq_padded_tile *padded, float *columns, size_t ld);

#endif

/* padded_tile.h: the part of one input plane that a tile of a convolution's output
 * reads, with its padding in place and its strides undone.
 *
 * Every tap of every output line of the tile is then a plain run of floats:
 * column x of the line of tap (kh, kw) of output row y is
 * ldnq_padded_tile_row(...)[x]. With a horizontal stride s, the padded tile holds the s
 * phases of a line one behind the other.
 *
 * Shapes  padded tile (rows needed, phases, width of a phase)
 * Threads safe; nothing is allocated
 */
#ifndef LDNQ_OPS_PADDED_TILE_H
#define LDNQ_OPS_PADDED_TILE_H

#include <stdbool.h>

#include "ops/conv/im2col.h"

/* Output rows y .. y+rows-1, columns x .. x+columns-1; rows and columns > 0. */
struct ldnq_output_tile {
    size_t y, rows, x, columns;
};

/* How an output plane (OH, OW) is divided into tiles: whole rows, or parts of one row
 * where a row is longer than LDNQ_CONV_MAX_COLUMNS. */
struct ldnq_conv_tiling {
    size_t rows, columns; /* of a full tile; tiles at the bottom and right may be smaller */
    size_t down, across;  /* tiles in a plane */
};
#define LDNQ_CONV_MAX_COLUMNS ((size_t)1024)

/* A tiling with about `positions` output positions per tile. */
struct ldnq_conv_tiling ldnq_conv_plan_tiles(const struct ldnq_conv_geometry *geometry,
                                             size_t positions);
/* Tile `index` of a plane, counted row by row. */
struct ldnq_output_tile ldnq_conv_tile_at(const struct ldnq_conv_geometry *geometry,
                                          const struct ldnq_conv_tiling *tiling, size_t index);

struct ldnq_padded_tile {
    size_t rows, phases, phase; /* input lines; phases of a line; floats of one */
    size_t stride_w, stride_h, dilation_w, dilation_h;
    float *data;
};

/* Sizes for a tile; data is the caller's, ldnq_padded_tile_floats of it. */
struct ldnq_padded_tile ldnq_padded_tile_make(const struct ldnq_conv_geometry *geometry,
                                              const struct ldnq_output_tile *tile, float *data);
/* SIZE_MAX when they can't be counted. */
size_t ldnq_padded_tile_floats(const struct ldnq_padded_tile *padded);
/* Reads one plane (H, W). */
void ldnq_padded_tile_fill(const struct ldnq_conv_geometry *geometry,
                           const struct ldnq_output_tile *tile, const float *plane,
                           const struct ldnq_padded_tile *padded);
/* Reads `count` planes that stand one behind the other into padded tiles that start
 * `apart` floats from each other. */
void ldnq_padded_tile_fill_planes(const struct ldnq_conv_geometry *geometry,
                                  const struct ldnq_output_tile *tile, const float *planes,
                                  const struct ldnq_padded_tile *padded, size_t count,
                                  size_t apart);

/* The way back, for gradients: adds every element of the padded tile to the element of
 * the plane that it would have been read from; those of the padding are dropped. */
void ldnq_padded_tile_scatter_add(const struct ldnq_conv_geometry *geometry,
                                  const struct ldnq_output_tile *tile,
                                  const struct ldnq_padded_tile *padded, float *plane);

/* The inputs of tap (kh, kw) for the tile's output row `row`. */
static inline const float *ldnq_padded_tile_row(const struct ldnq_padded_tile *padded, size_t row,
                                                size_t kh, size_t kw)
{
    size_t line = row * padded->stride_h + kh * padded->dilation_h;
    size_t shift = kw * padded->dilation_w;
    return padded->data + (line * padded->phases + shift % padded->stride_w) * padded->phase +
           shift / padded->stride_w;
}

/* The tile's im2col columns of one plane: KH*KW rows of rows*columns floats,
 * row k at columns + k*ld. */
void ldnq_padded_tile_im2col(const struct ldnq_conv_geometry *geometry,
                             const struct ldnq_output_tile *tile,
                             const struct ldnq_padded_tile *padded, float *columns, size_t ld);

#endif

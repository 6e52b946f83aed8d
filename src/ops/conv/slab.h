/* slab.h: the part of one input plane that a tile of a convolution's output
 * reads, with its padding in place and its strides undone.
 *
 * Every tap of every output line of the tile is then a plain run of floats:
 * column x of the line of tap (kh, kw) of output row y is
 * ldnq_slab_line(...)[x]. With a horizontal stride s, the slab holds the s
 * phases of a line one behind the other.
 *
 * Shapes  slab (rows needed, phases, width of a phase)
 * Threads safe; nothing is allocated
 */
#ifndef LDNQ_OPS_SLAB_H
#define LDNQ_OPS_SLAB_H

#include <stdbool.h>

#include "ops/conv/im2col.h"

/* Output rows y .. y+rows-1, columns x .. x+columns-1; rows and columns > 0. */
struct ldnq_tile {
    size_t y, rows, x, columns;
};

struct ldnq_slab {
    size_t rows, phases, phase; /* input lines; phases of a line; floats of one */
    size_t stride_w, stride_h, dilation_w, dilation_h;
    float *data;
};

/* Sizes for a tile; data is the caller's, ldnq_slab_floats of it. */
struct ldnq_slab ldnq_slab_of(const struct ldnq_conv_geometry *geometry,
                              const struct ldnq_tile *tile, float *data);
/* SIZE_MAX when they can't be counted. */
size_t ldnq_slab_floats(const struct ldnq_slab *slab);
/* Reads one plane (H, W). */
void ldnq_slab_fill(const struct ldnq_conv_geometry *geometry, const struct ldnq_tile *tile,
                    const float *plane, const struct ldnq_slab *slab);
/* Reads `count` planes that stand one behind the other into slabs that start
 * `apart` floats from each other. */
void ldnq_slab_fill_all(const struct ldnq_conv_geometry *geometry, const struct ldnq_tile *tile,
                        const float *planes, const struct ldnq_slab *slab, size_t count,
                        size_t apart);

/* The way back, for gradients: adds every element of the slab to the element of
 * the plane that it would have been read from; those of the padding are dropped. */
void ldnq_slab_add_to(const struct ldnq_conv_geometry *geometry, const struct ldnq_tile *tile,
                      const struct ldnq_slab *slab, float *plane);

/* The inputs of tap (kh, kw) for the tile's output row `row`. */
static inline const float *ldnq_slab_line(const struct ldnq_slab *slab, size_t row, size_t kh,
                                          size_t kw)
{
    size_t line = row * slab->stride_h + kh * slab->dilation_h;
    size_t shift = kw * slab->dilation_w;
    return slab->data + (line * slab->phases + shift % slab->stride_w) * slab->phase +
           shift / slab->stride_w;
}

/* The tile's im2col columns of one plane: KH*KW rows of rows*columns floats,
 * row k at columns + k*ld. */
void ldnq_slab_columns(const struct ldnq_conv_geometry *geometry, const struct ldnq_tile *tile,
                       const struct ldnq_slab *slab, float *columns, size_t ld);

#endif

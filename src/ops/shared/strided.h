/* strided.h: copies an N-d region from one layout to another: what Transpose,
 * Slice, Concat, Expand, Tile and their like have in common.
 */
#ifndef LDNQ_OPS_STRIDED_H
#define LDNQ_OPS_STRIDED_H

#include "ops/op.h"

/* Twice the rank: Tile takes two axes for each of its input's. */
#define LDNQ_STRIDED_AXES (2 * LDNQ_MAX_RANK)

/* Strides count elements; they may be negative (Slice with a negative step) or, in
 * `from`, zero (broadcasting). */
struct ldnq_strided {
    int rank;
    size_t extent[LDNQ_STRIDED_AXES];
    ptrdiff_t from[LDNQ_STRIDED_AXES], to[LDNQ_STRIDED_AXES];
};

void ldnq_strided_add_axis(struct ldnq_strided *region, size_t extent, ptrdiff_t from,
                           ptrdiff_t to);

/* Copies elements of `size` bytes. No element of dst may be named twice. */
void ldnq_strided_copy(const struct ldnq_op_call *call, const struct ldnq_strided *region,
                       size_t size, const void *src, void *dst);

/* Row-major strides of a shape without symbols. */
void ldnq_row_major_strides(const struct ldnq_shape *shape, ptrdiff_t strides[LDNQ_MAX_RANK]);

#endif

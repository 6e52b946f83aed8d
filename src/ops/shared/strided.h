/* SPDX-License-Identifier: Apache-2.0 */
/* strided.h: copies an N-d region from one layout to another. Transpose, Slice, Concat,
 * Expand, Tile and similar operators are one such copy per tensor.
 */
#ifndef LDNQ_OPS_STRIDED_H
#define LDNQ_OPS_STRIDED_H

#include "ops/op.h"

/* Tile has two axes for each axis of its input. */
#define LDNQ_STRIDED_AXES (2 * LDNQ_MAX_RANK)

/* The element with index (i0, i1, ...) is copied from src[sum of i * from] to
 * dst[sum of i * to]. Strides count elements. They may be negative (Slice with a negative
 * step); strides of the source may be 0 (broadcasting). */
struct ldnq_strided {
    int rank;
    size_t extent[LDNQ_STRIDED_AXES];
    ptrdiff_t from[LDNQ_STRIDED_AXES], to[LDNQ_STRIDED_AXES];
};

/* Appends an inner axis. */
void ldnq_strided_add_axis(struct ldnq_strided *region, size_t extent, ptrdiff_t from,
                           ptrdiff_t to);

/* Copies elements of `size` bytes (1, 2, 4, 8 or 16). Two indices must not have the same
 * target in dst. */
void ldnq_strided_copy(const struct ldnq_op_call *call, const struct ldnq_strided *region,
                       size_t size, const void *src, void *dst);

/* Row-major strides of a shape without symbols. */
void ldnq_row_major_strides(const struct ldnq_shape *shape, ptrdiff_t strides[LDNQ_MAX_RANK]);

#endif

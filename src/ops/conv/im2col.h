/* SPDX-License-Identifier: Apache-2.0 */
/* im2col.h: the columns that turn a two-dimensional convolution into a product.
 *
 * Shapes  image (C, H, W), the channels of one group; columns (K, count) with
 *         K = C*KH*KW in the order of ONNX's weight (M, C, KH, KW): one column per
 *         output position, positions counted row by row over (OH, OW)
 * Use     any range of positions, for the layer statistics. The forward pass works on
 *         rectangles of the output and goes through padded_tile.h instead, which
 *         copies the input once for all taps.
 * Owns    nothing
 * Threads safe
 */
#ifndef LDNQ_OPS_IM2COL_H
#define LDNQ_OPS_IM2COL_H

#include <stddef.h>

/* Sizes of a convolution of one group: output (oh, ow) and tap (kh, kw) read the input at
 * (oh*stride_h + kh*dilation_h - pad_top, ow*stride_w + kw*dilation_w - pad_left). */
struct ldnq_conv_geometry {
    size_t channels, height, width; /* C of one group, H, W */
    size_t kernel_h, kernel_w;      /* KH, KW */
    size_t stride_h, stride_w;
    size_t dilation_h, dilation_w;
    size_t pad_top, pad_left;
    size_t out_h, out_w; /* OH, OW */
};

/* The range first .. last-1 of output columns x, among `out`, for which input column
 * x*stride + offset - pad exists in a row of `size`; `offset` is kw*dilation. */
void ldnq_conv_find_valid_range(size_t size, size_t out, size_t stride, size_t offset, size_t pad,
                                size_t *first, size_t *last);

/* Writes the columns of positions first .. first+count-1; row k starts at columns + k*ld. */
void ldnq_im2col(const struct ldnq_conv_geometry *geometry, const float *image, size_t first,
                 size_t count, float *columns, size_t ld);

#endif

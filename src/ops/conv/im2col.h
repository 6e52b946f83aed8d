/* im2col.h: the columns that turn a two-dimensional convolution into a product.
 *
 * Shapes  image (C, H, W), the channels of one group; columns (K, count) with
 *         K = C * KH * KW in the order of ONNX's weights, one column an output
 *         position; positions run over (OH, OW) row by row.
 * Use     for any run of positions, as the statistics take them; the forward pass
 *         works on rectangles of the output, whose input padded_tile.h lays out once for
 *         all taps.
 * Threads safe; nothing is allocated.
 */
#ifndef LDNQ_OPS_IM2COL_H
#define LDNQ_OPS_IM2COL_H

#include <stddef.h>

struct ldnq_conv_geometry {
    size_t channels, height, width; /* of one group's input */
    size_t kernel_h, kernel_w;
    size_t stride_h, stride_w;
    size_t dilation_h, dilation_w;
    size_t pad_top, pad_left;
    size_t out_h, out_w;
};

/* Output columns first <= x < last whose tap `kernel` (times dilation) falls
 * inside an input line of `size`. */
void ldnq_conv_valid_range(size_t size, size_t out, size_t stride, size_t offset, size_t pad,
                           size_t *first, size_t *last);

/* Columns for positions first .. first+count-1; row k starts at columns + k*ld. */
void ldnq_im2col(const struct ldnq_conv_geometry *geometry, const float *image, size_t first,
                 size_t count, float *columns, size_t ld);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* volume.h: im2col, col2im and the im2col of the transposed convolution, over one to three
 * spatial axes. It is the general form, for the third axis, transposed convolutions and
 * their gradients; conv_kernels.h has faster ones for two axes.
 *
 * Shapes  image (C, D, H, W), the channels of one group; maps (M, OD, OH, OW);
 *         columns (K, count) with K = C*KD*KH*KW in the order of ONNX's weight, one
 *         column per output position; positions counted row by row over (OD, OH, OW).
 *         Missing axes have size 1.
 * Owns    nothing
 * Threads safe
 */
#ifndef LDNQ_OPS_VOLUME_H
#define LDNQ_OPS_VOLUME_H

#include <stddef.h>

#define LDNQ_VOLUME_AXES 3

/* Tap k of output o is element o*stride + k*dilation - pad of the image. `in` and `out` are
 * the sizes of the image and of the output. */
struct ldnq_volume_axis {
    size_t in, out, kernel, stride, dilation, pad;
};

struct ldnq_volume {
    size_t channels;
    struct ldnq_volume_axis axis[LDNQ_VOLUME_AXES]; /* D, H, W */
};

/* Elements of one channel D*H*W, taps of one channel KD*KH*KW, positions OD*OH*OW. */
size_t ldnq_volume_count_plane(const struct ldnq_volume *volume);
size_t ldnq_volume_count_taps(const struct ldnq_volume *volume);
size_t ldnq_volume_count_positions(const struct ldnq_volume *volume);

/* im2col for positions first .. first+count-1; row k starts at columns + k*ld. */
void ldnq_volume_im2col(const struct ldnq_volume *volume, const float *image, size_t first,
                        size_t count, float *columns, size_t ld);

/* col2im, the transpose of im2col: adds each element of the columns to the element of the
 * image that im2col copies there. */
void ldnq_volume_col2im(const struct ldnq_volume *volume, const float *columns, size_t ld,
                        size_t first, size_t count, float *image);

/* im2col of the transposed convolution, whose output is the image: the column of image
 * element i (first <= i < first+count) holds, for each of `rows` maps and each tap, the
 * element of the map that reaches i through the tap, or 0. Row r*taps+t starts at
 * columns + (r*taps+t)*ld. */
void ldnq_volume_im2col_transposed(const struct ldnq_volume *volume, const float *maps, size_t rows,
                                   size_t first, size_t count, float *columns, size_t ld);

#endif

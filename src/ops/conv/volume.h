/* volume.h: a convolution over one to three axes as a product, for every place
 * where 2-D's faster ways do not go: the third axis, transposed convolutions, and
 * gradients.
 *
 * Shapes  image (C, D, H, W), the channels of one group; columns (K, count) with
 *         K = C * KD * KH * KW in the order of ONNX's weights, one column a position;
 *         positions run over (OD, OH, OW). Missing axes have one element.
 * Threads safe; nothing is allocated.
 */
#ifndef LDNQ_OPS_VOLUME_H
#define LDNQ_OPS_VOLUME_H

#include <stddef.h>

#define LDNQ_VOLUME_AXES 3

/* Position o's tap k is element o * stride + k * dilation - pad of the image. */
struct ldnq_volume_axis {
    size_t in, out, kernel, stride, dilation, pad;
};

struct ldnq_volume {
    size_t channels;
    struct ldnq_volume_axis axis[LDNQ_VOLUME_AXES]; /* D, H, W */
};

/* Elements of one channel, taps of one channel, positions. */
size_t ldnq_volume_plane(const struct ldnq_volume *volume);
size_t ldnq_volume_taps(const struct ldnq_volume *volume);
size_t ldnq_volume_positions(const struct ldnq_volume *volume);

/* Columns for positions first .. first+count-1; row k starts at columns + k*ld. */
void ldnq_volume_columns(const struct ldnq_volume *volume, const float *image, size_t first,
                         size_t count, float *columns, size_t ld);

/* The transposed map: adds each element of the columns to the element of the image
 * that it would have been taken from. */
void ldnq_volume_add(const struct ldnq_volume *volume, const float *columns, size_t ld,
                     size_t first, size_t count, float *image);

/* The columns of the transposed convolution: for elements first .. first+count-1 of
 * a channel of the image, what each tap of each of `rows` maps of positions gives it.
 * Row r*taps+t starts at columns + (r*taps+t)*ld. */
void ldnq_volume_gather(const struct ldnq_volume *volume, const float *maps, size_t rows,
                        size_t first, size_t count, float *columns, size_t ld);

#endif

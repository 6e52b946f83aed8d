/* SPDX-License-Identifier: Apache-2.0 */
/* conv_depthwise.h: the depthwise convolution (C = 1 channel per group), summed in
 * registers over a padded tile (padded_tile.h). Bias and clamp are applied in registers.
 *
 * Shapes  as in conv_kernels.h with C = 1; M outputs per input plane
 * Threads safe on distinct input planes
 */
#ifndef LDNQ_OPS_CONV_DEPTHWISE_H
#define LDNQ_OPS_CONV_DEPTHWISE_H

#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_kernels.h"

/* Most taps KH*KW of a kernel; larger kernels use another implementation. */
#define LDNQ_DEPTHWISE_TAPS ((size_t)256)
/* Floats beyond the end of the last padded tile that unused lanes read. The caller sets them
 * to 0, since stale memory there may hold denormals, whose products are slow. */
#define LDNQ_DEPTHWISE_SLACK ((size_t)16)

/* Computes one tile of all M outputs of input planes first .. first+count-1, counted as
 * image * groups + group. The padded tile of plane first+i starts at padded->data + i*pitch.
 * The tiles of a plane must be computed in their order: the last vector of a row may
 * store beyond the row's end, and the next tile overwrites that. */
void ldnq_conv_depthwise_compute_tile(const struct ldnq_conv_job *job,
                                      const struct ldnq_output_tile *tile,
                                      const struct ldnq_padded_tile *padded, size_t pitch,
                                      size_t first, size_t count);

/* ---- for tests ------------------------------------------------------------------- */

/* How many implementations the processor has, the fastest first; ldnq_conv_depthwise_compute_tile
 * runs implementation 0. All but the last fuse a product and a sum, and give the same
 * bits. */
size_t ldnq_conv_depthwise_count_implementations(void);
void ldnq_conv_depthwise_compute_tile_with(size_t implementation, const struct ldnq_conv_job *job,
                                           const struct ldnq_output_tile *tile,
                                           const struct ldnq_padded_tile *padded, size_t pitch,
                                           size_t first, size_t count);

#endif

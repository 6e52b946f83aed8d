/* SPDX-License-Identifier: Apache-2.0 */
/* conv_direct.h: a convolution summed in registers, without im2col columns in memory.
 *
 * The padded tiles (padded_tile.h) of all C channels of a group are stored one after the
 * other. Each of the K = C*KH*KW taps is then one offset into them, the same for every
 * output position. A block of output channels and of runs of output positions is summed
 * in registers over all taps: with AVX-512 (32 registers of 16 floats) 6 channels and 4
 * runs of 16 positions, otherwise 4 channels and 3 runs. With AVX-512, two output rows of
 * at most 8 columns share a run, one in each half of the vector.
 *
 * Shapes  as in conv_kernels.h
 * Owns    nothing; `scratch` has ldnq_conv_direct_scratch_floats floats per thread
 * Threads safe on distinct tiles or distinct output channels
 */
#ifndef LDNQ_OPS_CONV_DIRECT_H
#define LDNQ_OPS_CONV_DIRECT_H

#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_kernels.h"

/* Whether a tile's padded tiles are small enough for this to be the fastest
 * implementation. */
bool ldnq_conv_direct_fits(const struct ldnq_conv_job *job);
/* Output rows per tile; a tile has whole rows. */
size_t ldnq_conv_direct_choose_rows(const struct ldnq_conv_job *job);
/* Floats of scratch per thread, a multiple of 16. */
size_t ldnq_conv_direct_scratch_floats(const struct ldnq_conv_job *job);
/* Into how many parts the output channels are divided, each a chunk for the pool: 1
 * unless a single tile would otherwise leave the other threads idle. */
size_t ldnq_conv_direct_choose_channel_parts(const struct ldnq_conv_job *job, size_t tiles);
/* Computes output channels first .. last-1 of one tile of one group of one image, with
 * image_group = image * groups + group. */
void ldnq_conv_direct_compute_tile(const struct ldnq_conv_job *job, size_t image_group,
                                   const struct ldnq_output_tile *tile, size_t first, size_t last,
                                   float *scratch);

/* ---- for tests ------------------------------------------------------------------- */

/* How many implementations the processor has, the fastest first; ldnq_conv_direct_compute_tile
 * runs implementation 0. All but the last fuse a product and a sum, and give the same
 * bits. */
size_t ldnq_conv_direct_count_implementations(void);
void ldnq_conv_direct_compute_tile_with(size_t implementation, const struct ldnq_conv_job *job,
                                        size_t image_group, const struct ldnq_output_tile *tile,
                                        size_t first, size_t last, float *scratch);

#endif

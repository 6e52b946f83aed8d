/* SPDX-License-Identifier: Apache-2.0 */
/* conv_few_positions.h: a convolution with few output positions, as the product
 *
 *   y' (N*P, M) = columns' (N*P, K) weight' (K, M)
 *
 * whose vectors hold output channels. Products in conv_kernels.c hold positions, of which a
 * deep layer has too few for whole vectors. The sums are the same, to the bit. Packing the
 * transposed weights costs a third of a cycle per weight, for a block of images at a time.
 *
 * Shapes  as in conv_kernels.h; P = OH*OW
 * Owns    nothing; `scratch` has ldnq_conv_few_positions_scratch_floats floats
 * Threads safe on distinct chunks
 */
#ifndef LDNQ_OPS_CONV_FEW_POSITIONS_H
#define LDNQ_OPS_CONV_FEW_POSITIONS_H

#include "ops/conv/conv_kernels.h"

/* Rows of the product that share a packed weight. */
size_t ldnq_conv_few_positions_count_rows(const struct ldnq_conv_job *job);
/* Floats of scratch per thread, a multiple of 16; SIZE_MAX on overflow. */
size_t ldnq_conv_few_positions_scratch_floats(const struct ldnq_conv_job *job);
size_t ldnq_conv_few_positions_count_chunks(const struct ldnq_conv_job *job);
/* A chunk is some images and some output channels of one group. */
void ldnq_conv_few_positions_compute_chunk(const struct ldnq_conv_job *job, size_t chunk,
                                           float *scratch);

#endif

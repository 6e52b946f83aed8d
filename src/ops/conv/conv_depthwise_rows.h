/* SPDX-License-Identifier: Apache-2.0 */
/* conv_depthwise_rows.h: the depthwise convolution with small kernels, whose inputs are read from
 * x itself: to fill padded tiles (padded_tile.h) takes as long as the sums. Two vectors have the
 * inputs that a vector of outputs reads from one input row; those of a kernel tap are a permutation
 * of their elements. What they lack because it is padding is 0.
 *
 * Shapes  as in conv_kernels.h with C = 1; M outputs per input plane
 * Numbers the bits of ldnq_conv_depthwise_compute_tile
 * Threads safe on distinct input planes
 */
#ifndef LDNQ_OPS_CONV_DEPTHWISE_ROWS_H
#define LDNQ_OPS_CONV_DEPTHWISE_ROWS_H

#include "ops/conv/conv_kernels.h"

/* Whether the processor (AVX-512) and the geometry suit: kernels of 3x3 and 5x5 without dilation,
 * strides of 1 and 2, rows of at most some 200 outputs. */
bool ldnq_conv_depthwise_rows_fit(const struct ldnq_conv_job *job);

/* Computes all M outputs of input planes first .. first+count-1, counted as
 * image * groups + group. */
void ldnq_conv_depthwise_compute_rows(const struct ldnq_conv_job *job, size_t first, size_t count);

#endif

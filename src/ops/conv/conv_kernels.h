/* SPDX-License-Identifier: Apache-2.0 */
/* conv_kernels.h: the two-dimensional convolution, on plain arrays.
 *
 * Computes y = clamp(x * weight + bias), where * is the convolution of ONNX's Conv
 * Shapes   x (N, G*C, H, W), weight (G*M, C, KH, KW), bias (G*M) or NULL,
 *          y (N, G*M, OH, OW); C and M are per group
 * Owns     nothing; `scratch` has ldnq_conv_scratch_bytes bytes, 64-byte aligned
 * Threads  one pool call; the tiles depend on the sizes alone, and so do the results
 *
 * One of five implementations runs, by the sizes (conv_choice.h):
 *   depthwise      C = 1 and few outputs: sums in registers (conv_depthwise.h)
 *   pointwise      1x1, stride 1: a matrix product with x itself
 *   direct         sums in registers (conv_direct.h)
 *   few positions  the transposed product (conv_few_positions.h)
 *   product        everything else: im2col, then a matrix product
 */
#ifndef LDNQ_OPS_CONV_KERNELS_H
#define LDNQ_OPS_CONV_KERNELS_H

#include "ops/conv/im2col.h"
#include "ops/shared/sliding_window.h"

struct ldnq_conv_job {
    struct ldnq_conv_geometry geometry;
    size_t groups, outputs, images; /* G, M per group, N */
    const float *x, *weight, *bias; /* bias may be NULL */
    float *y;
    void *scratch;
    const struct ldnq_clamp *clamp; /* NULL: none */
};

/* Bytes of scratch for a pool of `threads`; SIZE_MAX on overflow. */
size_t ldnq_conv_scratch_bytes(const struct ldnq_conv_job *job, size_t threads);
void ldnq_conv_run(const struct ldnq_conv_job *job, struct ldnq_pool *pool);

#endif

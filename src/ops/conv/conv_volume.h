/* SPDX-License-Identifier: Apache-2.0 */
/* conv_volume.h: convolution over one to three axes, transposed convolution, and the
 * gradient of the weight, on plain arrays. Conv over three axes and ConvTranspose run all
 * three, forward and backward: the gradient of a convolution's input is a transposed
 * convolution, and the other way round.
 *
 * Shapes  image (N, G*C, D, H, W), weight (G*M, C, KD, KH, KW), maps (N, G*M, OD, OH, OW);
 *         C and M are per group. Conv maps the image to the maps, ConvTranspose the maps
 *         to the image.
 * Owns    nothing; `scratch` has ldnq_conv_volume_scratch_bytes bytes, 64-byte aligned
 * Threads one pool call each; chunks depend on the sizes alone, and so do the results
 */
#ifndef LDNQ_OPS_CONV_VOLUME_H
#define LDNQ_OPS_CONV_VOLUME_H

#include "ops/conv/volume.h"
#include "ops/op.h"

struct ldnq_conv_volume_job {
    struct ldnq_volume volume;      /* one group's volume; volume.channels is C */
    size_t groups, outputs, images; /* G, M per group, N */
    const float *weight;
    void *scratch;
};

/* Bytes of scratch for any of the three functions below; SIZE_MAX on overflow. */
size_t ldnq_conv_volume_scratch_bytes(const struct ldnq_conv_volume_job *job, size_t threads);

/* maps = clamp(weight im2col(image) + bias), bias (G*M); bias and clamp may be NULL. */
void ldnq_conv_volume_run(const struct ldnq_conv_volume_job *job, const float *image,
                          const float *bias, const struct ldnq_clamp *clamp, float *maps,
                          struct ldnq_pool *pool);
/* image = clamp(col2im(weight' maps) + bias), bias (G*C); bias and clamp may be NULL. */
void ldnq_conv_volume_run_transposed(const struct ldnq_conv_volume_job *job, const float *maps,
                                     const float *bias, const struct ldnq_clamp *clamp,
                                     float *image, struct ldnq_pool *pool);
/* dweight = sum over images of maps im2col(image)', where `maps` or `image` is a gradient. */
void ldnq_conv_volume_compute_dw(const struct ldnq_conv_volume_job *job, const float *image,
                                 const float *maps, float *weight, struct ldnq_pool *pool);

#endif

/* conv_volume.h: a convolution over one to three axes, the map transposed to it, and
 * the gradient of its weight, on plain arrays: what Conv over three axes and
 * ConvTranspose run forward and backward.
 *
 * Shapes  image (N, G*C, D, H, W), weight (G*M, C, KD, KH, KW), maps (N, G*M, positions);
 *         C and M are per group. ConvTranspose's input are the maps, its output the
 *         image.
 * Threads one pool call each; the pieces do not depend on the threads
 */
#ifndef LDNQ_OPS_CONV_VOLUME_H
#define LDNQ_OPS_CONV_VOLUME_H

#include "ops/conv/volume.h"
#include "ops/op.h"

struct ldnq_volume_job {
    struct ldnq_volume volume; /* of one group */
    size_t groups, outputs, images;
    const float *weight;
    void *scratch;
};

/* Bytes of scratch that any of the three takes; SIZE_MAX when they can't be counted. */
size_t ldnq_volume_scratch(const struct ldnq_volume_job *job, size_t threads);

/* maps = clamp(weight * columns of the image + bias); bias and clamp may be NULL. */
void ldnq_volume_convolve(const struct ldnq_volume_job *job, const float *image, const float *bias,
                          const struct ldnq_clamp *clamp, float *maps, struct ldnq_pool *pool);
/* The transposed map: image = weight' * maps, added where columns meet, + bias (G*C). */
void ldnq_volume_spread(const struct ldnq_volume_job *job, const float *maps, const float *bias,
                        const struct ldnq_clamp *clamp, float *image, struct ldnq_pool *pool);
/* weight = sum over images of maps * columns'. */
void ldnq_volume_weight(const struct ldnq_volume_job *job, const float *image, const float *maps,
                        float *weight, struct ldnq_pool *pool);

#endif

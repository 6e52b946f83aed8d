/* conv_kernels.h: the loops of Conv, on plain arrays.
 *
 * Shapes  x (N, G*C, H, W), weight (G*M, C, KH, KW), bias (G*M) or NULL,
 *         y (N, G*M, OH, OW); C and M are per group
 * Threads one pool call; tiles do not depend on the threads
 */
#ifndef LDNQ_OPS_CONV_KERNELS_H
#define LDNQ_OPS_CONV_KERNELS_H

#include "ops/conv/im2col.h"
#include "ops/shared/sliding_window.h"

struct ldnq_conv_job {
    struct ldnq_conv_geometry geometry;
    size_t groups, outputs, images;
    const float *x, *weight, *bias;
    float *y;
    void *scratch;
    const struct ldnq_clamp *clamp;
};

/* Bytes of scratch; SIZE_MAX when they can't be counted. */
size_t ldnq_conv_scratch(const struct ldnq_conv_job *job, size_t threads);
void ldnq_conv_run(const struct ldnq_conv_job *job, struct ldnq_pool *pool);

#endif

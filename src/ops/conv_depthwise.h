/* conv_depthwise.h: convolutions with a few outputs for each single input plane,
 * summed in registers over a slab, with bias and clamp on the way out.
 *
 * Threads safe on distinct planes of y
 */
#ifndef LDNQ_OPS_CONV_DEPTHWISE_H
#define LDNQ_OPS_CONV_DEPTHWISE_H

#include "linalg/slab.h"
#include "ops/conv_kernels.h"

/* Taps of a kernel; those with more go another way. */
#define LDNQ_DEPTHWISE_TAPS ((size_t)256)
/* Floats behind a slab that are read and thrown away. */
#define LDNQ_DEPTHWISE_SLACK ((size_t)8)

/* One output plane's part of a tile. Tiles of a plane must come in their order, as
 * the ends of lines are written over by the next one. */
void ldnq_conv_depthwise_tile(const struct ldnq_conv_job *job, const struct ldnq_tile *tile,
                              const struct ldnq_slab *slab, size_t channel, float *y);

#endif

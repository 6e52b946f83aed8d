/* conv_depthwise.h: convolutions with a few outputs for each single input plane,
 * summed in registers over a padded tile, with bias and clamp on the way out.
 *
 * Threads safe on distinct planes of y
 */
#ifndef LDNQ_OPS_CONV_DEPTHWISE_H
#define LDNQ_OPS_CONV_DEPTHWISE_H

#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_kernels.h"

/* Taps of a kernel; those with more go another way. */
#define LDNQ_DEPTHWISE_TAPS ((size_t)256)
/* Floats behind a padded tile that are read and thrown away. */
#define LDNQ_DEPTHWISE_SLACK ((size_t)16)

/* A tile's part of all outputs of planes first .. first+count-1 (image * groups +
 * group), whose padded tiles start `apart` floats from each other. Tiles of a plane must come
 * in their order, as the ends of lines are written over by the next one. */
void ldnq_conv_depthwise_tile(const struct ldnq_conv_job *job, const struct ldnq_output_tile *tile,
                              const struct ldnq_padded_tile *padded, size_t apart, size_t first,
                              size_t count);

/* ---- for tests ------------------------------------------------------------------- */

/* The ways that the processor has, best first; ldnq_conv_depthwise_tile takes way 0.
 * All but the last one fuse products and sums, and agree to the bit. */
size_t ldnq_conv_depthwise_implementations(void);
void ldnq_conv_depthwise_tile_with(size_t implementation, const struct ldnq_conv_job *job,
                                   const struct ldnq_output_tile *tile,
                                   const struct ldnq_padded_tile *padded, size_t apart,
                                   size_t first, size_t count);

#endif

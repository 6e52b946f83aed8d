/* conv_direct.h: a convolution without columns in memory.
 *
 * Slabs (ops/conv/padded_tile.h) of all channels of a group stand side by side; every tap
 * is then a fixed offset, the same for all output positions. A block of some
 * output channels and some runs of positions is summed in registers over all taps:
 * six channels and four runs of sixteen positions where there are 32 registers
 * as long (AVX-512), else four and three. Lines of up to eight positions share such a
 * run, two and two.
 */
#ifndef LDNQ_OPS_CONV_DIRECT_H
#define LDNQ_OPS_CONV_DIRECT_H

#include "ops/conv/padded_tile.h"
#include "ops/conv/conv_kernels.h"

/* Whether a tile's padded tiles stay small enough for this to be the faster way. */
bool ldnq_conv_is_direct(const struct ldnq_conv_job *job);
/* Output lines of a tile; columns are all of a line. */
size_t ldnq_conv_direct_rows(const struct ldnq_conv_job *job);
/* Floats of scratch a thread, a multiple of 16. */
size_t ldnq_conv_direct_scratch(const struct ldnq_conv_job *job);
/* Parts of the output channels to work out as chunks of their own: more than one
 * where nothing else is left to share. */
size_t ldnq_conv_direct_parts(const struct ldnq_conv_job *job, size_t tiles);
/* One tile of one group of one image (image * groups + group), output channels
 * first .. last-1. */
void ldnq_conv_direct_tile(const struct ldnq_conv_job *job, size_t image_group,
                           const struct ldnq_output_tile *tile, size_t first, size_t last,
                           float *scratch);

/* ---- for tests ------------------------------------------------------------------- */

/* The ways that the processor has, best first; ldnq_conv_direct_tile takes way 0.
 * All but the last one fuse products and sums, and agree to the bit. */
size_t ldnq_conv_direct_implementations(void);
void ldnq_conv_direct_tile_with(size_t implementation, const struct ldnq_conv_job *job,
                                size_t image_group, const struct ldnq_output_tile *tile,
                                size_t first, size_t last, float *scratch);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* position_sampling.h: a part of the positions of a layer's call, evenly spread over its
 * samples and their pixels.
 *
 * Neighbouring pixels are alike, so that the moments of a layer's input need fewer positions
 * than pictures have. Positions are read in runs of adjacent ones, at an even distance.
 */
#ifndef LDNQ_PIPELINE_POSITION_SAMPLING_H
#define LDNQ_PIPELINE_POSITION_SAMPLING_H

#include "ops/op.h"
#include "ops/op_layer.h"

struct ldnq_position_sampling {
    const struct ldnq_op_layer *op; /* reads the columns */
    size_t count;                   /* positions that are read */
    size_t run, stride, offset;     /* position p of them is offset + p / run * stride + p % run */
    const size_t *unmasked; /* where not all positions count: position p is unmasked[of that] */
};

/* Of a layer's call, at most about `most` (rounded up to whole runs) of `all` positions; 0: all of
 * them. Calls with different numbers start at different positions. */
struct ldnq_position_sampling ldnq_sample_positions(const struct ldnq_op_layer *op, size_t all,
                                                    size_t most, size_t call_number);

/* Writes positions first .. first+count-1 of the sampling to `columns` (K, count), as the
 * `columns` of ops/op_layer.h do. */
void ldnq_read_sampled_columns(const struct ldnq_op_call *call, size_t group,
                               const struct ldnq_position_sampling *sampling, size_t first,
                               size_t count, float *columns, size_t ld);

#endif

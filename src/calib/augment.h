/* SPDX-License-Identifier: Apache-2.0 */
/* augment.h: mirror and shift pictures at random, so that fine-tuning sees more than
 * the few samples there are. No labels are needed: the float network's output is the
 * target.
 *
 * A batch of pictures is float32 of rank 4, (N, C, H, W) or (N, H, W, C), with 1, 3 or
 * 4 channels and H and W of at least 8. Each is mirrored left to right with probability
 * 1/2, and shifted by up to an eighth of its size along both axes. Pixels shifted in at
 * an edge repeat the edge: zero would be a colour that depends on how the pictures were
 * normalized.
 */
#ifndef LDNQ_CALIB_AUGMENT_H
#define LDNQ_CALIB_AUGMENT_H

#include "base/pool.h"
#include "ir/ir.h"

struct ldnq_pool;

bool ldnq_augment_fits(const struct ldnq_tensor *batch);

/* `out` has the batch's size. The change of picture i of the batch depends only on
 * `seed` and first + i. */
void ldnq_augment_batch(const struct ldnq_tensor *batch, float *out, uint64_t seed, uint64_t first,
                        struct ldnq_pool *pool);

#endif

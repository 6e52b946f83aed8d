/* augment.h: pictures mirrored and shifted at random, to learn from more than the few
 * that are there. Labels are not needed: the float network says what is right.
 *
 * A batch of pictures is float32 of rank 4, (N, C, H, W) or (N, H, W, C), with 1, 3 or
 * 4 channels and H and W of at least 8. Each is mirrored left to right with
 * probability 1/2, and shifted by up to an eighth of its size along both axes. What
 * comes in at the edge repeats the edge: zero would be a colour of its own, which
 * depends on how the pictures were normalized.
 */
#ifndef LDNQ_CALIB_AUGMENT_H
#define LDNQ_CALIB_AUGMENT_H

#include "ir/ir.h"

struct ldnq_pool;

bool ldnq_augment_fits(const struct ldnq_tensor *batch);

/* `out` has the batch's size. What happens to a picture depends on `seed` and on its
 * number, first + its place in the batch, alone. */
void ldnq_augment(const struct ldnq_tensor *batch, float *out, uint64_t seed, uint64_t first,
                  struct ldnq_pool *pool);

#endif

/* holdout.h: which samples are not learned from, so that they can tell what helps.
 *
 * Samples come in blocks of up to ten, which are also the twin's batches: one block of
 * so many is held out. All stages hold out the same. The samples' order should be
 * random (ldnq_samples_options.shuffle): files are often sorted by class.
 */
#ifndef LDNQ_PIPELINE_HOLDOUT_H
#define LDNQ_PIPELINE_HOLDOUT_H

#include "base/size.h"

#define LDNQ_HOLD_OUT_OF 5
#define LDNQ_MOST_BLOCK ((size_t)10)

/* Samples of a block; few samples make small blocks. */
static inline size_t ldnq_holdout_block(size_t samples)
{
    return ldnq_size_max(1, ldnq_size_min(LDNQ_MOST_BLOCK, samples / LDNQ_MOST_BLOCK));
}

static inline bool ldnq_is_held_out(size_t sample, size_t samples)
{
    return sample / ldnq_holdout_block(samples) % LDNQ_HOLD_OUT_OF == LDNQ_HOLD_OUT_OF - 1;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* holdout.h: the validation split of the calibration samples.
 *
 * Samples come in blocks of up to ten, which are also the batches of the calibration
 * runner. Of every LDNQ_HOLD_OUT_OF blocks the last one is held out: nothing is fitted on
 * it, and it decides what helps. All stages hold out the same samples. Their order should be
 * random (ldnq_samples_options.shuffle), as files are often sorted by class.
 */
#ifndef LDNQ_PIPELINE_HOLDOUT_H
#define LDNQ_PIPELINE_HOLDOUT_H

#include "base/size.h"

#define LDNQ_HOLD_OUT_OF 5
#define LDNQ_MOST_BLOCK ((size_t)10)

/* Samples per block; few samples make small blocks. */
static inline size_t ldnq_holdout_block(size_t samples)
{
    return ldnq_size_max(1, ldnq_size_min(LDNQ_MOST_BLOCK, samples / LDNQ_MOST_BLOCK));
}

static inline bool ldnq_is_held_out(size_t sample, size_t samples)
{
    return sample / ldnq_holdout_block(samples) % LDNQ_HOLD_OUT_OF == LDNQ_HOLD_OUT_OF - 1;
}

#endif

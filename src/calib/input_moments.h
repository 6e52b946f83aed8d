/* SPDX-License-Identifier: Apache-2.0 */
/* input_moments.h: mean and deviation of what the samples put into each input.
 *
 * A forgotten preprocessing raises no error, but shows in these figures.
 */
#ifndef LDNQ_CALIB_INPUT_MOMENTS_H
#define LDNQ_CALIB_INPUT_MOMENTS_H

#include "calib/calib.h"

#define LDNQ_MOST_INPUT_CHANNELS 4

struct ldnq_input_moments {
    /* 1, 3 or 4 for pictures: float32 (C,H,W) or (H,W,C) of 8 pixels or more; else 1 for all values
     * together. 0: the input is no float, or has no values. */
    size_t channels;
    bool is_image;
    double mean[LDNQ_MOST_INPUT_CHANNELS], deviation[LDNQ_MOST_INPUT_CHANNELS];
};

/* Writes the moments of each input, over the first samples (at most 32), to moments (inputs).
 * Errors: those of ldnq_samples_read. */
enum ldnq_status ldnq_samples_measure_inputs(struct ldnq_samples *samples, struct ldnq_pool *pool,
                                             struct ldnq_input_moments *moments,
                                             struct ldnq_error *err);

#endif

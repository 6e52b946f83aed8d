/* SPDX-License-Identifier: Apache-2.0 */
/* changed_samples.h: collects the samples whose largest score is of another class in B, with a
 * small picture of their input, or its first values. */
#ifndef LDNQ_COMPARE_CHANGED_SAMPLES_H
#define LDNQ_COMPARE_CHANGED_SAMPLES_H

#include "calib/calib.h"
#include "compare/comparison.h"

/* One batch that both networks have run. */
struct ldnq_compared_batch {
    struct ldnq_samples *samples;
    size_t first, count;               /* its samples in the set */
    struct ldnq_tensor *const *inputs; /* of A */
    size_t input_count;
    struct ldnq_arena *arena;        /* ends with the batch */
    const char *output;              /* name in A */
    const struct ldnq_tensor *t, *y; /* this output of A and of B */
};

/* Adds to diff->changed_samples, which gets its memory from the arena at the first; counts also
 * those beyond LDNQ_DIFF_MOST_SAMPLES. Outputs without classes change nothing. Errors: NOMEM. */
enum ldnq_status ldnq_changed_samples_add(const struct ldnq_compared_batch *batch,
                                          struct ldnq_arena *arena, struct ldnq_diff *diff,
                                          struct ldnq_error *err);

#endif

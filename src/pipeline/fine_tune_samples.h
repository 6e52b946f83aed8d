/* SPDX-License-Identifier: Apache-2.0 */
/* fine_tune_samples.h: batches of calibration samples for fine-tuning, and the held-out ones.
 *
 * The samples are split as in holdout.h. The others are drawn in an order that is shuffled
 * anew after each pass over them, and that depends on the seed alone.
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_SAMPLES_H
#define LDNQ_PIPELINE_FINE_TUNE_SAMPLES_H

#include "base/rng.h"
#include "calib/calib.h"

struct ldnq_fine_tune_samples {
    struct ldnq_samples *samples;
    const struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    bool augment;
    uint64_t seed;
    size_t *training, *held_out; /* indices of samples */
    size_t training_count, held_out_count;
    size_t max_batch; /* samples that one run of the graph can have, up to `batch` */
    struct ldnq_rng rng;
    size_t next;    /* index of the next sample in `training` */
    uint64_t drawn; /* samples so far */
    size_t current; /* the first sample of what was read last */
};

/* `batch` is the wanted size of a run. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_samples_init(struct ldnq_fine_tune_samples *set,
                                             struct ldnq_samples *samples,
                                             const struct ldnq_graph *graph, size_t batch,
                                             bool augment, uint64_t seed, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err);

/* Reads the next `count` training samples (at most max_batch) as the graph's inputs, in the
 * arena. Errors: those of ldnq_samples_read. */
enum ldnq_status ldnq_fine_tune_samples_draw(struct ldnq_fine_tune_samples *set, size_t count,
                                             struct ldnq_arena *arena, struct ldnq_tensor ***inputs,
                                             struct ldnq_error *err);
/* Reads the held-out samples first .. first+count-1, without augmentation. Errors: as above. */
enum ldnq_status ldnq_fine_tune_samples_read_held_out(struct ldnq_fine_tune_samples *set,
                                                      size_t first, size_t count,
                                                      struct ldnq_arena *arena,
                                                      struct ldnq_tensor ***inputs,
                                                      struct ldnq_error *err);

#endif

/* tune_data.h: batches of calibration samples for learning, and those held out.
 *
 * Every fifth sample is held out. The others come in an order that is shuffled anew
 * each time all have been seen; it depends on the seed alone.
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_SAMPLES_H
#define LDNQ_PIPELINE_FINE_TUNE_SAMPLES_H

#include "calib/calib.h"

#include "base/rng.h"

struct ldnq_fine_tune_samples {
    struct ldnq_samples *samples;
    const struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    bool augment;
    uint64_t seed;
    size_t *learned, *held; /* numbers of samples */
    size_t learned_count, held_count;
    size_t most; /* samples that one run of the graph takes */
    struct ldnq_rng rng;
    size_t next;    /* in `learned` */
    uint64_t drawn; /* samples so far */
};

/* `want` samples in a run where the graph takes several. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_samples_init(struct ldnq_fine_tune_samples *data,
                                             struct ldnq_samples *samples,
                                             const struct ldnq_graph *graph, size_t want,
                                             bool augment, uint64_t seed, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err);

/* The next `count` samples to learn from (at most `most`) as the graph's inputs, in the
 * arena. Errors: those of ldnq_samples_read. */
enum ldnq_status ldnq_fine_tune_samples_draw(struct ldnq_fine_tune_samples *data, size_t count,
                                             struct ldnq_arena *arena, struct ldnq_tensor ***inputs,
                                             struct ldnq_error *err);
/* Held-out samples first .. first+count-1, as they are. */
enum ldnq_status ldnq_fine_tune_samples_read_held_out(struct ldnq_fine_tune_samples *data,
                                                      size_t first, size_t count,
                                                      struct ldnq_arena *arena,
                                                      struct ldnq_tensor ***inputs,
                                                      struct ldnq_error *err);

#endif

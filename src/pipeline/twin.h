/* twin.h: a network that is walked front to back over all calibration samples,
 * a batch at a time, while its layers change behind the walk.
 *
 * Between two layers the twin keeps, for each batch, only the values that cross
 * the place where it stands (calib/store.h).
 */
#ifndef LDNQ_PIPELINE_TWIN_H
#define LDNQ_PIPELINE_TWIN_H

#include "calib/calib.h"
#include "exec/exec.h"

#include "calib/store.h"

struct ldnq_twin {
    const struct ldnq_graph *graph;
    struct ldnq_exec *exec;
    struct ldnq_samples *samples;
    struct ldnq_store *store;
    struct ldnq_pool *pool;
    const struct ldnq_value **frontier; /* what the current generation holds */
    const struct ldnq_value **next_frontier;
    const struct ldnq_tensor **tensors;
    struct ldnq_twin *partner; /* walks along, over a graph with the same nodes; or NULL */
    size_t place;              /* nodes in front of it have run */
    size_t batch_size;
    size_t batch_count; /* of all copies */
    size_t copies;      /* of each sample: itself, and mirrored and shifted ones */
    uint64_t seed;      /* of the latter */
    size_t next_count;  /* in next_frontier */
};

/* The batch's first sample in the set. */
size_t ldnq_twin_sample(const struct ldnq_twin *twin, size_t batch);

/* Called for each batch when the inputs of node `place` are there. */
typedef enum ldnq_status ldnq_twin_fn(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                      struct ldnq_error *err);

/* Errors: NOMEM. finish accepts a zeroed twin. */
enum ldnq_status ldnq_twin_init(struct ldnq_twin *twin, const struct ldnq_graph *graph,
                                struct ldnq_samples *samples, size_t copies, uint64_t seed,
                                size_t max_bytes, struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err);
void ldnq_twin_finish(struct ldnq_twin *twin);

/* Walks all batches on to `place` (never back), the partner with them: its executor
 * stands at the same batch when visit is called. Errors: those of the samples and
 * of the executor, IO, and what visit returns. */
enum ldnq_status ldnq_twin_walk(struct ldnq_twin *twin, size_t place, ldnq_twin_fn *visit,
                                void *ctx, struct ldnq_error *err);

#endif

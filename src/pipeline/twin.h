/* twin.h: a network that is walked front to back over all calibration samples,
 * a batch at a time, while its layers change behind the walk.
 *
 * Between two layers the twin keeps, for each batch, only the values that cross
 * the place where it stands (calib/store.h).
 */
#ifndef LDNQ_PIPELINE_TWIN_H
#define LDNQ_PIPELINE_TWIN_H

#include <ldnq/calib.h>
#include <ldnq/exec.h>

#include "calib/store.h"

/* Samples that are run at once. Fixed, so that results don't depend on memory. */
#define LDNQ_TWIN_BATCH ((size_t)10)

struct ldnq_twin {
    const struct ldnq_graph *graph;
    struct ldnq_exec *exec;
    struct ldnq_samples *samples;
    struct ldnq_store *store;
    struct ldnq_pool *pool;
    const struct ldnq_value **frontier;     /* what the current generation holds */
    const struct ldnq_value **next_frontier;
    const struct ldnq_tensor **tensors;
    size_t place;   /* nodes in front of it have run */
    size_t batch_size, batch_count;
};

/* Called for each batch when the inputs of node `place` are there. */
typedef enum ldnq_status ldnq_twin_fn(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                      struct ldnq_error *err);

/* Errors: NOMEM. finish accepts a zeroed twin. */
enum ldnq_status ldnq_twin_init(struct ldnq_twin *twin, const struct ldnq_graph *graph,
                                struct ldnq_samples *samples, size_t max_bytes,
                                struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err);
void ldnq_twin_finish(struct ldnq_twin *twin);

/* Walks all batches on to `place` (never back). Errors: those of the samples and
 * of the executor, IO, and what visit returns. */
enum ldnq_status ldnq_twin_walk(struct ldnq_twin *twin, size_t place, ldnq_twin_fn *visit,
                                void *ctx, struct ldnq_error *err);

#endif

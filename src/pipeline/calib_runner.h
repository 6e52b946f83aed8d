/* runner.h: a network that is walked front to back over all calibration samples,
 * a batch at a time, while its layers change behind the walk.
 *
 * Between two layers the runner keeps, for each batch, only the values that cross
 * the node_index where it stands (pipeline/activation_store.h).
 */
#ifndef LDNQ_PIPELINE_CALIB_RUNNER_H
#define LDNQ_PIPELINE_CALIB_RUNNER_H

#include "calib/calib.h"
#include "exec/exec.h"

#include "pipeline/activation_store.h"

struct ldnq_calib_runner {
    const struct ldnq_graph *graph;
    struct ldnq_exec *exec;
    struct ldnq_samples *samples;
    struct ldnq_activation_store *store;
    struct ldnq_pool *pool;
    const struct ldnq_value **live; /* what the current generation holds */
    const struct ldnq_value **next_live;
    const struct ldnq_tensor **tensors;
    struct ldnq_calib_runner
        *reference;    /* walks along, over a graph with the same nodes; or NULL */
    size_t node_index; /* nodes in front of it have run */
    size_t batch_size;
    size_t batch_count;     /* of all copies */
    size_t copies;          /* of each sample: itself, and mirrored and shifted ones */
    uint64_t seed;          /* of the latter */
    size_t next_live_count; /* in next_live */
};

/* The batch's first sample in the set. */
size_t ldnq_calib_runner_first_sample(const struct ldnq_calib_runner *runner, size_t batch);

/* Called for each batch when the inputs of node `node_index` are there. */
typedef enum ldnq_status ldnq_calib_runner_fn(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                              struct ldnq_error *err);

/* Errors: NOMEM. finish accepts a zeroed runner. */
enum ldnq_status ldnq_calib_runner_init(struct ldnq_calib_runner *runner,
                                        const struct ldnq_graph *graph,
                                        struct ldnq_samples *samples, size_t copies, uint64_t seed,
                                        size_t max_bytes, struct ldnq_pool *pool,
                                        struct ldnq_arena *arena, struct ldnq_error *err);
void ldnq_calib_runner_finish(struct ldnq_calib_runner *runner);

/* Walks all batches on to `node_index` (never back), the reference with them: its executor
 * stands at the same batch when visit is called. Errors: those of the samples and
 * of the executor, IO, and what visit returns. */
enum ldnq_status ldnq_calib_runner_advance(struct ldnq_calib_runner *runner, size_t node_index,
                                           ldnq_calib_runner_fn *visit, void *ctx,
                                           struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* calib_runner.h: runs a network over all calibration samples, a batch at a time, up to
 * layer after layer, while the layers that it has passed are changed.
 *
 * Between two layers the runner stores, for each batch, only the live values: those that
 * were computed and that later nodes read (activation_store.h). Where these would be written to a
 * file, it may leave the stored ones as they are and run from them again.
 * Ranks   each has the batches of its leaves (sum_tree.h): it runs them and stores their values.
 *         advance() fails on all ranks where it fails on one
 * Numbers the batch size depends on the samples and the graph alone, not on the memory or
 *         the threads, and so do the results
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
    /* A second runner that advances together with this one, over a graph with the same nodes
     * (the float network); or NULL. */
    struct ldnq_calib_runner *reference;
    size_t node_index;  /* the stored values are those live before this node */
    bool reruns;        /* the present advance stores nothing */
    size_t rerun_count; /* the last advances that stored nothing */
    size_t batch_size;
    size_t batch_count;            /* over all copies of the samples, and all ranks */
    size_t leaf_count;             /* leaves of sums over the batches */
    size_t first_batch, end_batch; /* the batches of this rank */
    size_t sample_count;
    size_t copies; /* copies of each sample: the first as it is, others mirrored and shifted */
    uint64_t seed; /* seed of the mirroring and shifting */
    const struct ldnq_value **live;      /* live before node_index; the store has their tensors */
    const struct ldnq_value **next_live; /* live before the node that the runner advances to */
    size_t next_live_count;
    const struct ldnq_tensor **tensors; /* scratch, by live value */
};

struct ldnq_calib_runner_options {
    size_t samples; /* the most samples, the first of the set */
    size_t copies;  /* at least 1 */
    uint64_t seed;
    size_t max_bytes; /* limit of live values in memory; the others go to a file */
    struct ldnq_pool *pool;
};

/* The batch size for the first `count` samples. */
size_t ldnq_calib_runner_choose_batch(const struct ldnq_graph *graph,
                                      const struct ldnq_samples *samples, size_t count);

/* Errors: NOMEM. finish accepts a zeroed runner. */
enum ldnq_status ldnq_calib_runner_init(struct ldnq_calib_runner *runner,
                                        const struct ldnq_graph *graph,
                                        struct ldnq_samples *samples,
                                        const struct ldnq_calib_runner_options *options,
                                        struct ldnq_arena *arena, struct ldnq_error *err);
void ldnq_calib_runner_finish(struct ldnq_calib_runner *runner);

/* Returns the index, in the sample set, of the batch's first sample. */
size_t ldnq_calib_runner_first_sample(const struct ldnq_calib_runner *runner, size_t batch);

/* Called for each batch of this rank when the inputs of the node are live, in `exec` and in the
 * reference's executor. */
typedef enum ldnq_status ldnq_calib_runner_fn(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                              struct ldnq_error *err);

/* Runs all batches of this rank up to the node, which must not be before the current one, and calls
 * `visit` for each. Errors: those of the samples and the executor, IO, and those of visit. */
enum ldnq_status ldnq_calib_runner_advance(struct ldnq_calib_runner *runner, size_t node_index,
                                           ldnq_calib_runner_fn *visit, void *ctx,
                                           struct ldnq_error *err);

#endif

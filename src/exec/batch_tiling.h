/* SPDX-License-Identifier: Apache-2.0 */
/* batch_tiling.h: runs a range of nodes on one tile of the batch at a time.
 *
 * Consecutive nodes that treat each sample independently (LDNQ_OP_PER_SAMPLE) form a
 * tiling: all of them run on a few samples, then on the next few, each thread on samples of its
 * own. The values between them stay in that thread's cache, so a sample costs no more in a large
 * batch than in a small one, and threads do not wait for each other at each node.
 * Values that are used after the range are assembled from the tiles. The result is the
 * same to the bit as without tiling.
 */
#ifndef LDNQ_EXEC_BATCH_TILING_H
#define LDNQ_EXEC_BATCH_TILING_H

#include "exec/exec_state.h"

/* By node: the tiling that starts there. */
struct ldnq_batch_tiling {
    size_t last;         /* the tiling ends with node last-1; 0: no tiling starts here */
    size_t sample_bytes; /* bytes per sample of the range's largest value */
};

/* Finds all tilings by the symbolic shapes of the graph's values. Errors: NOMEM. */
enum ldnq_status ldnq_batch_tiling_init(struct ldnq_exec *exec, struct ldnq_error *err);

void ldnq_batch_tiling_finish(struct ldnq_exec *exec);
/* As the functions of the executor, for the memory of tiles. */
void ldnq_batch_tiling_release_unused(struct ldnq_exec *exec);
size_t ldnq_batch_tiling_peak_bytes(const struct ldnq_exec *exec);

/* Whether a tiling starts at the node and the batch is cut into more than one tile. */
bool ldnq_batch_tiling_applies(const struct ldnq_exec *exec, size_t first);
/* Runs the tiling. Afterwards slots hold full batches, also after a failure.
 * Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_batch_tiling_run(struct ldnq_exec *exec, size_t first,
                                       struct ldnq_error *err);

#endif

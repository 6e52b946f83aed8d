/* batch_tiling.h: nodes in a row that work on each sample apart (LDNQ_OP_SAMPLES), run from
 * the first to the last for a few samples at a time.
 *
 * What lies between them then stays in a cache, so that a sample costs no more in
 * a large batch than in a small one. Each sample's bits are the same.
 */
#ifndef LDNQ_EXEC_BATCH_TILING_H
#define LDNQ_EXEC_BATCH_TILING_H

#include "exec/exec_state.h"

/* By node. */
struct ldnq_stretch {
    size_t end;   /* behind the last node of the stretch that starts here; 0 for none */
    size_t bytes; /* of one sample of the largest value */
};

/* Finds all stretches, by the shapes that the graph's values have. Errors: NOMEM. */
enum ldnq_status ldnq_stretch_init(struct ldnq_exec *exec, struct ldnq_error *err);

/* Whether one starts at the node and there are more samples than run at a time. */
bool ldnq_stretch_applies(const struct ldnq_exec *exec, size_t place);
/* Runs it; values that others read are there as a whole afterwards. */
enum ldnq_status ldnq_stretch_run(struct ldnq_exec *exec, size_t place, struct ldnq_error *err);

#endif

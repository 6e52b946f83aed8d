/* SPDX-License-Identifier: Apache-2.0 */
/* isolated_run.h: runs one layer of B on the inputs of the matching layer of A.
 *
 * The error that B's layer makes on A's inputs is its own. An executor of B's graph is used,
 * which runs only the nodes between the layer's inputs and its output: the layer, and the Q/DQ
 * nodes of its inputs.
 *
 * Owns    nothing: arrays live in the arena
 */
#ifndef LDNQ_COMPARE_ISOLATED_RUN_H
#define LDNQ_COMPARE_ISOLATED_RUN_H

#include "compare/matched_layers.h"
#include "exec/exec.h"

/* A value of B that is bound to a tensor of A. */
struct ldnq_isolated_input {
    const struct ldnq_value *a, *b;
};

struct ldnq_isolated_run {
    const struct ldnq_matched_layer *match;
    struct ldnq_isolated_input *inputs;
    size_t input_count;
    size_t *nodes; /* ascending indices, in B's graph, of the nodes to run */
    size_t node_count;
    bool is_possible; /* the nodes read bound inputs and constants only */
};

/* The match must have a layer in B. Errors: NOMEM. */
enum ldnq_status ldnq_isolated_run_init(struct ldnq_isolated_run *run,
                                        const struct ldnq_matched_layer *match,
                                        const struct ldnq_node_pairs *pairs,
                                        struct ldnq_arena *arena, struct ldnq_error *err);

/* Runs the nodes on values of A's executor, which must hold the inputs. *output is valid until
 * the next run of `isolated`; NULL where the layer can't be run by itself. Errors: those of
 * ldnq_exec_run_range. */
enum ldnq_status ldnq_isolated_run_execute(const struct ldnq_isolated_run *run,
                                           const struct ldnq_exec *a, struct ldnq_exec *isolated,
                                           const struct ldnq_tensor **output,
                                           struct ldnq_error *err);

#endif

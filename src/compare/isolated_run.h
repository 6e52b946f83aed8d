/* lane.h: what it takes to run B's layer on A's input. */
#ifndef LDNQ_COMPARE_ISOLATED_RUN_H
#define LDNQ_COMPARE_ISOLATED_RUN_H

#include "exec/exec.h"

#include "compare/matched_layers.h"
#include "metric/distance.h"

/* A value of B that is lent a tensor of A. */
struct ldnq_isolated_input {
    const struct ldnq_value *a, *b;
};

/* A couple on its way through both networks. Places are in the graphs' node lists. */
struct ldnq_isolated_run {
    const struct ldnq_matched_layer *couple;
    size_t start_a;      /* A's layer */
    size_t end_a, end_b; /* the nodes that make what is compared */
    struct ldnq_isolated_input *roots;
    size_t root_count;
    size_t *steps; /* of B, from the roots to what is compared, ascending */
    size_t step_count;
    bool isolates; /* all that the steps read is lent or constant */
    struct ldnq_distance isolated, accumulated;
};

/* Errors: NOMEM. */
enum ldnq_status ldnq_isolated_run_init(struct ldnq_isolated_run *lane,
                                        const struct ldnq_matched_layer *couple,
                                        const struct ldnq_node_pairs *pairs,
                                        struct ldnq_arena *arena, struct ldnq_error *err);

/* Runs B's layer on what A's executor holds, and leaves it in `apart`. false where that is
 * not to be had. */
enum ldnq_status ldnq_isolated_run_execute(const struct ldnq_isolated_run *lane,
                                           const struct ldnq_exec *a, struct ldnq_exec *apart,
                                           bool *done, struct ldnq_error *err);

#endif

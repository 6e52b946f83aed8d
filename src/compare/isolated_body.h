/* SPDX-License-Identifier: Apache-2.0 */
/* isolated_body.h: runs a layer in a body of A on A's inputs, with A's constants and with those of
 * its match in B. Activations have no codes in bodies, so that constants are all that differs.
 *
 * Owns    nothing
 */
#ifndef LDNQ_COMPARE_ISOLATED_BODY_H
#define LDNQ_COMPARE_ISOLATED_BODY_H

#include "base/pool.h"
#include "compare/matched_layers.h"
#include "exec/exec.h"
#include "metric/distance.h"

/* Whether the constants of both nodes can take each other's place. */
bool ldnq_isolated_body_is_possible(const struct ldnq_matched_layer *match,
                                    const struct ldnq_node_pairs *pairs);

/* Adds the distance of both outputs for each run of the layer in the current batch; a branch that
 * is not taken has none. All nodes of the main graph before the one that runs the body have run.
 * Errors: those of ldnq_exec_watch_body. */
enum ldnq_status ldnq_isolated_body_add(const struct ldnq_matched_layer *match,
                                        const struct ldnq_node_pairs *pairs, struct ldnq_exec *a,
                                        struct ldnq_pool *pool, struct ldnq_distance *sums,
                                        struct ldnq_error *err);

#endif

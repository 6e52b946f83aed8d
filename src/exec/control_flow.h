/* SPDX-License-Identifier: Apache-2.0 */
/* control_flow.h: runs If, Loop and Scan.
 *
 * Owns    one executor per body, created once. A body's inputs are bound, its outputs
 *         are copied out, so that values of the body live no longer than one iteration.
 * Errors  MODEL (a body whose results don't fit together), NOMEM, errors of the body
 */
#ifndef LDNQ_EXEC_CONTROL_FLOW_H
#define LDNQ_EXEC_CONTROL_FLOW_H

#include "exec/exec_state.h"

/* Creates the executors of all bodies. finish frees them, also after a failed init. */
enum ldnq_status ldnq_control_flow_init(struct ldnq_exec *exec, struct ldnq_error *err);
void ldnq_control_flow_finish(struct ldnq_exec *exec);

/* Runs an If, Loop or Scan node. Its inputs are in exec->in; its outputs are stored in
 * exec->slots. */
enum ldnq_status ldnq_control_flow_run(struct ldnq_exec *exec, size_t node_index,
                                       struct ldnq_error *err);

/* For tests: the iterations that a run may take, 2^24 otherwise. */
void ldnq_control_flow_set_limit(int64_t iterations);

#endif

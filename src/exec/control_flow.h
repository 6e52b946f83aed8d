/* control_flow.h: runs If, Loop and Scan: their bodies by executors of their own.
 *
 * Owns    an executor for each body, made once. What goes in is lent to it, what
 *         comes out is copied, so that its values live no longer than its run.
 * Errors  MODEL (a body that does not fit the data), NOMEM, the body's own
 */
#ifndef LDNQ_EXEC_CONTROL_FLOW_H
#define LDNQ_EXEC_CONTROL_FLOW_H

#include "exec/exec_state.h"

/* Executors for the bodies of all nodes; all of them are freed by finish. */
enum ldnq_status ldnq_control_init(struct ldnq_exec *exec, struct ldnq_error *err);
void ldnq_control_finish(struct ldnq_exec *exec);

/* Runs the node at `place`, whose inputs are in exec->in, and puts its outputs. */
enum ldnq_status ldnq_control_run(struct ldnq_exec *exec, size_t place, struct ldnq_error *err);

#endif

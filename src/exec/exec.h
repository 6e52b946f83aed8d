/* exec.h: runs a graph on float data.
 *
 * Shapes  are worked out from the data at every node, so one executor serves
 *         any batch. Values are freed when their last reader has run.
 * Owns    everything it makes; a value's tensor is valid until the value is
 *         freed, or until reset.
 * Threads one call at a time for an executor; work inside runs on its pool.
 */
#ifndef LDNQ_EXEC_H
#define LDNQ_EXEC_H

#include "ir/ir.h"

struct ldnq_exec;

/* The graph must be bound (passes/passes.h prepares it) and outlive the
 * executor; constants may be replaced while it lives, nodes may not.
 * Errors: UNSUPPORTED (a node without operator), NOMEM. */
enum ldnq_status ldnq_exec_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  struct ldnq_exec **out, struct ldnq_error *err);
void ldnq_exec_destroy(struct ldnq_exec *exec);

/* Runs the whole graph; inputs[i] belongs to graph->inputs[i] and is only read.
 * Results: ldnq_exec_value of graph->outputs, valid until the next run.
 * Errors: DATA (an input whose type or shape does not fit: both are named),
 * MODEL, NOMEM. */
enum ldnq_status ldnq_exec_run(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                               struct ldnq_error *err);

/* NULL when the value is not held now. Constants are always held. */
const struct ldnq_tensor *ldnq_exec_value(const struct ldnq_exec *exec,
                                          const struct ldnq_value *value);

/* ---- piece by piece, for walking a network layer by layer ---------------------- */

/* Frees all values. */
void ldnq_exec_reset(struct ldnq_exec *exec);
/* What ldnq_exec_run does before the first node: checks the inputs, frees all values and lends
 * the inputs. Errors: DATA, as there. */
enum ldnq_status ldnq_exec_bind_inputs(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                                       struct ldnq_error *err);
/* Lends a value's tensor, which must stay until the value is freed or reset. */
void ldnq_exec_bind(struct ldnq_exec *exec, const struct ldnq_value *value,
                    const struct ldnq_tensor *tensor);
/* Runs nodes first .. last-1 (places in graph->nodes). */
enum ldnq_status ldnq_exec_run_range(struct ldnq_exec *exec, size_t first, size_t last,
                                     struct ldnq_error *err);
/* The values that must be at hand before node `place` so that the rest of the
 * graph can run: at most value_count of them into `values`; returns how many. */
size_t ldnq_exec_frontier(const struct ldnq_exec *exec, size_t place,
                          const struct ldnq_value **values);
/* Before any run: lets a value be had once its node has run, also where a Relu or Clip behind
 * it would run inside that node. It stays until its last reader has run or, with `keep`,
 * until the next reset. */
void ldnq_exec_retain(struct ldnq_exec *exec, const struct ldnq_value *value, bool keep);
/* The most bytes that values took at any time so far. */
size_t ldnq_exec_peak_bytes(const struct ldnq_exec *exec);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* exec.h: runs a graph on data.
 *
 * Shapes  are inferred from the data at every node, so one executor serves any batch
 *         size
 * Owns    the values that it computes: each is freed after its last use, and all of
 *         them by reset. A bound tensor stays the caller's.
 * Threads one call at a time per executor; a node's work runs on the pool
 */
#ifndef LDNQ_EXEC_H
#define LDNQ_EXEC_H

#include "base/pool.h"
#include "ir/ir.h"

struct ldnq_exec;
struct ldnq_op_call; /* ops/op.h */

/* The graph must have been prepared (passes/passes.h) and must outlive the executor.
 * Constants may be replaced during its lifetime, nodes may not.
 * Errors: UNSUPPORTED (a node without an operator), NOMEM. */
enum ldnq_status ldnq_exec_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  struct ldnq_exec **out, struct ldnq_error *err);
/* Accepts NULL. */
void ldnq_exec_destroy(struct ldnq_exec *exec);

/* Runs the whole graph. inputs[i] is the tensor of graph->inputs[i] and is only read.
 * Results: ldnq_exec_find_value of graph->outputs, valid until the next run or reset.
 * Errors: DATA (an input whose type or shape differs from the graph's: both are named; a node's
 * input that it can't compute with, such as an index out of range), MODEL (shapes that do not
 * fit), NOMEM. */
enum ldnq_status ldnq_exec_run(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                               struct ldnq_error *err);

/* NULL unless the value is live now. Constants are always live. */
const struct ldnq_tensor *ldnq_exec_find_value(const struct ldnq_exec *exec,
                                               const struct ldnq_value *value);

/* ---- a range of nodes at a time --------------------------------------------------- */

/* Frees all values. */
void ldnq_exec_reset(struct ldnq_exec *exec);
/* Checks the inputs, frees all values, and binds the inputs. Errors: as ldnq_exec_run. */
enum ldnq_status ldnq_exec_bind_inputs(struct ldnq_exec *exec, struct ldnq_tensor *const *inputs,
                                       struct ldnq_error *err);
/* Makes `tensor` the data of `value`. The tensor must stay valid until the value's last
 * use or reset. */
void ldnq_exec_bind(struct ldnq_exec *exec, const struct ldnq_value *value,
                    const struct ldnq_tensor *tensor);
/* Runs the nodes first .. last-1 of graph->nodes. Errors: DATA, MODEL, NOMEM. */
enum ldnq_status ldnq_exec_run_range(struct ldnq_exec *exec, size_t first, size_t last,
                                     struct ldnq_error *err);
/* Called for each run of a node in a body, its inputs live and its shapes inferred. */
typedef enum ldnq_status ldnq_exec_watch_fn(void *ctx, const struct ldnq_op_call *call,
                                            struct ldnq_error *err);

/* Runs a node with bodies, and frees what it computed: the live values stay. Calls `watch` for the
 * node `inner` of a body, once per run. Errors: DATA, MODEL, NOMEM, and those of watch. */
enum ldnq_status ldnq_exec_watch_body(struct ldnq_exec *exec, size_t node_index,
                                      const struct ldnq_node *inner, ldnq_exec_watch_fn *watch,
                                      void *ctx, struct ldnq_error *err);
/* Stores in `values` (graph->value_count of them at most) the values that are live
 * before node `node_index`: those that the nodes from there on read and do not compute.
 * Returns their number. */
size_t ldnq_exec_live_values(const struct ldnq_exec *exec, size_t node_index,
                             const struct ldnq_value **values);
/* To be called before any run: makes a value readable after its node has run, even
 * where its only reader would otherwise be fused into that node. The value stays live
 * until its last use; without a use, until the next reset. */
void ldnq_exec_make_readable(struct ldnq_exec *exec, const struct ldnq_value *value);
/* The same, and the value stays live until the next reset. */
void ldnq_exec_keep_until_reset(struct ldnq_exec *exec, const struct ldnq_value *value);
/* Frees the memory that no value uses now; later runs allocate it again. */
void ldnq_exec_release_unused(struct ldnq_exec *exec);
/* The most bytes that values and scratch have taken at any time so far. */
size_t ldnq_exec_peak_bytes(const struct ldnq_exec *exec);

#endif

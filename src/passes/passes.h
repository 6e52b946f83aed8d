/* SPDX-License-Identifier: Apache-2.0 */
/* passes.h: prepares an imported graph for execution.
 *
 * All passes work in place; new tensors live in the graph's arena. Each leaves a graph
 * that ldnq_graph_verify accepts.
 */
#ifndef LDNQ_PASSES_H
#define LDNQ_PASSES_H

#include "ir/ir.h"

/* Sets the symbol `name` to a size in the shapes of all graph inputs; INPUT:AXIS ("x:2")
 * selects the symbol at that axis, which may have no name.
 * Errors: USAGE (no open dimension of that name: the message lists the open ones; a size
 * below 1). */
enum ldnq_status ldnq_pass_bind_dim(struct ldnq_graph *graph, const char *name, int64_t size,
                                    struct ldnq_error *err);

/* Infers types and shapes, symbols included, and computes constants: nodes whose inputs are
 * constant, and shape arithmetic that only moves symbols. Large results are left to run
 * time. Outputs of a node that has no operator or that fails get unknown type and shape.
 * Bodies of If, Loop and Scan are folded as well; an If with a constant condition is
 * replaced by the branch that it takes.
 * Errors, with all nodes that can't be executed and why: UNSUPPORTED, MODEL (inputs that
 * don't fit a node); NOMEM. */
enum ldnq_status ldnq_pass_fold_constants(struct ldnq_graph *graph, struct ldnq_error *err);

/* Removes dead nodes, replaces sequences of known tensors (sequences.h), binds operators, and
 * folds. Errors: UNSUPPORTED or MODEL, with all nodes that can't be executed and why; NOMEM. After
 * UNSUPPORTED or MODEL the graph stays usable: what can be inferred about the other nodes has been.
 */
enum ldnq_status ldnq_pass_bind_and_fold(struct ldnq_graph *graph, struct ldnq_error *err);

/* Lets the graph compute in float32 what the file has in float16 or bfloat16, bodies included:
 * constants are converted, and values know the type of the file (`half`), those of nodes when they
 * are folded. Inputs keep their type, and a Cast follows them; outputs become float32. Comes before
 * all other passes. Errors: NOMEM. */
enum ldnq_status ldnq_pass_widen_halves(struct ldnq_graph *graph, struct ldnq_error *err);

/* Puts layers whose inputs are constant, and what follows them, back into the graph after folding:
 * their weights are in the file. Errors: NOMEM. */
enum ldnq_status ldnq_pass_unfold_layers(struct ldnq_graph *graph, struct ldnq_error *err);

/* Moves each Gather of matrices of a constant (E, K, M) directly before the MatMul that alone reads
 * them, so that the data of the product exists when the lookup runs, and marks it (feeds_product).
 */
void ldnq_pass_move_lookups(struct ldnq_graph *graph);

/* Merges a BatchNormalization into the convolution or Gemm before it when nothing else
 * reads the value between the two:
 *   y = s conv(x) + (shift - s mean),  s = scale / sqrt(var + epsilon)
 * A BatchNormalization stays when the merged numbers would not be finite. node->merged
 * lists the merged nodes. Errors: NOMEM. */
enum ldnq_status ldnq_pass_merge_batchnorms(struct ldnq_graph *graph, struct ldnq_error *err);

/* Merges a zero Pad into the convolution after it. The Pad stays for its other readers;
 * the nodes of the file are not changed. Errors: NOMEM. */
enum ldnq_status ldnq_pass_merge_pads(struct ldnq_graph *graph, struct ldnq_error *err);

/* Removes nodes on which no graph output depends. Errors: NOMEM. */
enum ldnq_status ldnq_pass_remove_dead_nodes(struct ldnq_graph *graph, struct ldnq_error *err);

/* Binds operators and runs all passes in order.
 * Errors: UNSUPPORTED or MODEL, with all nodes that can't be executed; NOMEM. */
enum ldnq_status ldnq_passes_run(struct ldnq_graph *graph, struct ldnq_error *err);

/* The same, after ldnq_pass_widen_halves(). */
enum ldnq_status ldnq_passes_widen_and_run(struct ldnq_graph *graph, struct ldnq_error *err);

#endif

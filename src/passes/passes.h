/* passes.h: what makes a graph as it was read ready to be executed.
 *
 * All work in place; new tensors live in the graph's arena. A pass leaves a
 * graph that ldnq_graph_verify accepts.
 */
#ifndef LDNQ_PASSES_H
#define LDNQ_PASSES_H

#include "ir/ir.h"

/* Gives the symbol `name` a size in all shapes of the graph's inputs; INPUT:AXIS
 * ("x:2") stands for the symbol at that place, which may have no name.
 * Errors: USAGE (no open dimension of that name: the message lists those that are
 * still open; a size below 1). */
enum ldnq_status ldnq_pass_bind_dim(struct ldnq_graph *graph, const char *name, int64_t size,
                                    struct ldnq_error *err);

/* Works out types and shapes, symbols included, and computes ahead of data what
 * can be: nodes with constant inputs, and shape arithmetic in which symbols only
 * pass through. Large results are left to run time. Nodes without operator, and those that fail,
 * make values of unknown type and shape. Bodies of If, Loop and Scan are looked into;
 * the branch that an If with a known condition takes stands in its place afterwards.
 * Errors, with the list of all nodes that can't be executed and why: UNSUPPORTED,
 * MODEL (inputs that don't fit a node); NOMEM. */
enum ldnq_status ldnq_pass_fold(struct ldnq_graph *graph, struct ldnq_error *err);

/* Binds operators, takes out what nothing reads, and folds. Errors: UNSUPPORTED or
 * MODEL with the list of all nodes that can't be executed and why; what can be known
 * of the others is known even then. */
enum ldnq_status ldnq_pass_bind_and_fold(struct ldnq_graph *graph, struct ldnq_error *err);

/* Merges a BatchNormalization into the convolution, or the Gemm whose bias counts,
 * in front of it, where nothing else reads what lies between: y = s*(conv(x)) +
 * (B - s*mean), s = scale / sqrt(var + epsilon). One whose numbers would not be
 * finite stays. The merged node is kept in node->merged. */
enum ldnq_status ldnq_pass_batchnorm(struct ldnq_graph *graph, struct ldnq_error *err);

/* Lets a convolution do the zero padding of a Pad in front of it. The Pad stays
 * for others who read it; the file's nodes are not changed. */
enum ldnq_status ldnq_pass_pad(struct ldnq_graph *graph, struct ldnq_error *err);

/* Takes out nodes whose outputs nothing reads. */
enum ldnq_status ldnq_pass_dead(struct ldnq_graph *graph, struct ldnq_error *err);

/* Binds operators and runs all passes in their order.
 * Errors: UNSUPPORTED with the list of all nodes that can't be executed; MODEL. */
enum ldnq_status ldnq_passes_run(struct ldnq_graph *graph, struct ldnq_error *err);

#endif

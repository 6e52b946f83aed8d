/* SPDX-License-Identifier: Apache-2.0 */
/* grad.h: gradients of a loss with respect to a graph's values, by reverse-mode
 * differentiation.
 *
 * The forward pass saves only the tensors that some operator's backward reads. With a
 * ceiling on memory it saves checkpoints instead and recomputes the nodes between two
 * checkpoints during the backward pass (exec/grad_plan.h). Gradients are the same to the
 * bit for any ceiling and any number of threads.
 *
 * Gradients flow through float32 values, and through the integer codes between a
 * QuantizeLinear and a DequantizeLinear as if they had not been rounded
 * (straight-through estimator). All other integers are constants to the gradient.
 *
 * Shapes  a gradient is float32 in the shape of its value
 * Owns    everything it creates; a gradient is valid until the next run
 * Threads one call at a time per object; a node's work runs on the pool
 */
#ifndef LDNQ_GRAD_H
#define LDNQ_GRAD_H

#include "base/pool.h"
#include "ir/ir.h"

struct ldnq_grad;

struct ldnq_grad_options {
    /* The nodes first .. last-1 of graph->nodes run; last 0 stands for all. */
    size_t first, last;
    /* The values from which the loss is computed; none: the graph's outputs. */
    const struct ldnq_value *const *targets;
    size_t target_count;
    /* The values whose gradients are computed: constants, inputs, or outputs of nodes.
     * The gradient of a value on which no target depends is zero. */
    const struct ldnq_value *const *requested;
    size_t requested_count;
    /* Ceiling for values and gradients together, in bytes; 0: none. Feeds and scratch of
     * the operators are not counted. Where even the smallest plan needs more, that plan is
     * used. Each new set of feed shapes costs one more forward pass, to find the sizes. */
    size_t max_bytes;
};

/* A tensor from outside: a graph input, or a value that is live before node `first`. */
struct ldnq_grad_feed {
    const struct ldnq_value *value;
    const struct ldnq_tensor *tensor;
};

/* Computes the loss from the targets' tensors, and its gradient with respect to each:
 * gradients[i] has the shape of values[i] and is zero at the call. */
typedef enum ldnq_status ldnq_loss_fn(void *ctx, const struct ldnq_tensor *const *values,
                                      struct ldnq_tensor *gradients, double *loss,
                                      struct ldnq_error *err);

/* The graph must have been prepared (passes/passes.h) and must outlive the object.
 * Constants may be replaced during its lifetime, nodes may not. The options' lists are
 * copied.
 * Errors: UNSUPPORTED (all nodes between the requested values and the targets that
 * gradients can't pass, with the reasons), USAGE (a target that depends on no requested
 * value), NOMEM. */
enum ldnq_status ldnq_grad_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  const struct ldnq_grad_options *options, struct ldnq_grad **out,
                                  struct ldnq_error *err);
/* Accepts NULL. */
void ldnq_grad_destroy(struct ldnq_grad *grad);

/* Runs forward, loss and backward. Feeds are only read.
 * Errors: MODEL (also a value that is not fed), DATA (an input of the wrong type or
 * shape), USAGE (a feed that replaces a value gradients flow through), NUMERIC, NOMEM,
 * and the errors of `loss`. */
enum ldnq_status ldnq_grad_run(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                               size_t feed_count, ldnq_loss_fn *loss, void *ctx, double *value,
                               struct ldnq_error *err);

/* The gradient of requested[i] in the last run. */
const struct ldnq_tensor *ldnq_grad_find_gradient(const struct ldnq_grad *grad, size_t i);
/* The most bytes that values and gradients have taken at any time so far. */
size_t ldnq_grad_peak_bytes(const struct ldnq_grad *grad);

#endif

/* grad.h: gradients of a loss on a graph's values, by reverse accumulation.
 *
 * The forward pass keeps what the operators' backward reads (ops/op.h), and no
 * more; past max_bytes it keeps only the values that cross a few cuts of the
 * graph, and runs the stretch between two cuts again when the backward pass gets
 * there (Chen, Xu, Zhang, Guestrin: "Training Deep Nets with Sublinear Memory
 * Cost", 2016). Gradients are the same to the bit for any ceiling and any number
 * of threads.
 *
 * Gradients flow through float32 values alone, and through the integer codes that a
 * QuantizeLinear makes for a DequantizeLinear, as if they had not been rounded. Other
 * integers are constant as far as gradients go.
 *
 * Shapes  a gradient is float32 in the shape of its value
 * Owns    everything it makes; a gradient is valid until the next run
 * Threads one call at a time for an object; work inside runs on its pool
 */
#ifndef LDNQ_GRAD_H
#define LDNQ_GRAD_H

#include "ir/ir.h"

struct ldnq_grad;

struct ldnq_grad_options {
    /* Nodes first .. last-1 (places in graph->nodes) are run; last 0: all. */
    size_t first, last;
    /* The values that the loss is computed from; none: the graph's outputs. */
    const struct ldnq_value *const *targets;
    size_t target_count;
    /* The values whose gradients are requested: constants, inputs, or what a node
     * makes; zero where a value changes no target. */
    const struct ldnq_value *const *requested;
    size_t requested_count;
    /* Ceiling for values and gradients together, in bytes; 0: none. What is fed and
     * the operators' scratch come on top. Where even the smallest plan takes more,
     * that plan is used. For each new shape of the feeds, sizes are found by a forward
     * pass in front. */
    size_t max_bytes;
};

/* A value that is given from outside: a graph input, or one that crosses into the
 * stretch first .. last-1 (ldnq_exec_frontier). */
struct ldnq_grad_feed {
    const struct ldnq_value *value;
    const struct ldnq_tensor *tensor;
};

/* Computes the loss from the targets and fills in its gradients, which come
 * zeroed: gradients[i] has the shape of values[i]. */
typedef enum ldnq_status ldnq_loss_fn(void *ctx, const struct ldnq_tensor *const *values,
                                      struct ldnq_tensor *gradients, double *loss,
                                      struct ldnq_error *err);

/* The graph must be bound and outlive the object; constants may be replaced while
 * it lives, nodes may not. The options' lists are copied.
 * Errors: UNSUPPORTED (the list of all nodes between the requested values and the
 * targets that gradients can't pass, with why), USAGE (a target that no requested
 * value reaches), NOMEM. */
enum ldnq_status ldnq_grad_create(const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  const struct ldnq_grad_options *options, struct ldnq_grad **out,
                                  struct ldnq_error *err);
void ldnq_grad_destroy(struct ldnq_grad *grad);

/* Forward, loss, backward. Feeds are only read, and must stay until it returns.
 * Errors: MODEL (also a value that is not fed), DATA (an input that does not fit),
 * USAGE (a value that a gradient passes is fed), NUMERIC, NOMEM, and what `loss`
 * returns. */
enum ldnq_status ldnq_grad_run(struct ldnq_grad *grad, const struct ldnq_grad_feed *feeds,
                               size_t feed_count, ldnq_loss_fn *loss, void *ctx, double *value,
                               struct ldnq_error *err);

/* The last run's gradient of requested[i]. */
const struct ldnq_tensor *ldnq_grad_of(const struct ldnq_grad *grad, size_t i);
/* The most bytes that values and gradients took at any time so far. */
size_t ldnq_grad_peak_bytes(const struct ldnq_grad *grad);

#endif

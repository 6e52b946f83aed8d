/* grad_reach.h: which values and nodes of a graph a gradient passes: those that a
 * requested value changes and that change a target.
 */
#ifndef LDNQ_EXEC_GRAD_REACH_H
#define LDNQ_EXEC_GRAD_REACH_H

#include "exec/grad.h"

#include "ops/op.h"

struct ldnq_grad_reach {
    /* By value. A value may carry a gradient when its elements are float32, or codes
     * of an operator that says so (LDNQ_OP_CODES). */
    bool *carries; /* on a way from a requested value to a target */
    bool *requested, *target;
    bool *active; /* by node: gradients pass it */
};

/* Whether a gradient may flow from node's outputs to its input i; and whether its
 * backward reads the data of that input, or of that output. */
bool ldnq_grad_flows(const struct ldnq_node *node, size_t i);
bool ldnq_grad_reads_in(const struct ldnq_node *node, size_t i);
bool ldnq_grad_reads_out(const struct ldnq_node *node, size_t i);

/* Whether the value holds codes that stand for the floats behind them. */
bool ldnq_grad_is_codes(const struct ldnq_value *value);

/* Of the stretch options->first .. last-1; lives in the arena.
 * Errors: UNSUPPORTED (with the list of all nodes that gradients can't pass), USAGE,
 * NOMEM. */
enum ldnq_status ldnq_grad_reach_init(struct ldnq_grad_reach *reach, const struct ldnq_graph *graph,
                                      const struct ldnq_grad_options *options,
                                      struct ldnq_arena *arena, struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* control.h: how the inputs and outputs of If, Loop and Scan map to those of their bodies.
 *
 * node->inputs are the inputs that the file lists, followed by the captured values: those
 * that the bodies read from the graph around them (the last node->capture_count). Code that
 * follows a node's inputs thus follows captures too.
 *
 *        node inputs                              body inputs
 * If     cond, captures                           none
 * Loop   M, cond, carried..., captures            iteration, cond, carried...
 * Scan   carried..., scanned..., captures         carried..., slices of scanned...
 *
 *        body outputs                             node outputs
 * If     results...                               results...
 * Loop   cond, carried..., slices...              carried..., stacked slices...
 * Scan   carried..., slices...                    carried..., stacked slices...
 */
#ifndef LDNQ_OPS_CONTROL_H
#define LDNQ_OPS_CONTROL_H

#include "ops/op.h"

enum ldnq_control_kind { LDNQ_CONTROL_IF, LDNQ_CONTROL_LOOP, LDNQ_CONTROL_SCAN };

/* The attributes of a node (call->attrs). */
struct ldnq_control {
    enum ldnq_control_kind kind;
    size_t body_count;
    struct ldnq_graph *bodies[2]; /* If: then_branch, else_branch */
    size_t first;                 /* index of the first carried value in the node's inputs */
    size_t carried;               /* number of carried values */
    size_t scanned;               /* number of inputs that Scan cuts into slices */
    size_t body_first;            /* index of the first carried value in the body's inputs */
    size_t body_out;              /* the same in the body's outputs */
    size_t stacked;               /* number of outputs that stack one slice per iteration */
    /* Per scanned input and per stacked output: the axis of the slices, and whether they
     * are in reverse order. NULL: all 0. */
    const int64_t *in_axes, *out_axes, *in_reversed, *out_reversed;
};

/* Element i of an optional list of integers. */
static inline int64_t ldnq_control_option(const int64_t *list, size_t i)
{
    return list ? list[i] : 0;
}

/* Dtype and shape of a value that is either a or b. Dimensions that differ become new
 * symbols; if the ranks differ, the rank is unknown. Errors: MODEL (dtypes), NOMEM. */
enum ldnq_status ldnq_control_merge(struct ldnq_graph *graph, const struct ldnq_tensor *a,
                                    const struct ldnq_tensor *b, struct ldnq_tensor *out,
                                    struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* lint.h: what in a QDQ model keeps a target from running it on integers.
 *
 * Works on files of any tool: the graph as imported and folded (ldnq_pass_bind_and_fold), in
 * which a weight that was dequantized is a constant that knows the node it was folded from.
 */
#ifndef LDNQ_TARGET_LINT_H
#define LDNQ_TARGET_LINT_H

#include "target/target.h"

enum ldnq_severity {
    LDNQ_NOTE,   /* computes in float there, as it does in the float model */
    LDNQ_SLOWER, /* costs more than the float model */
    LDNQ_BROKEN, /* the target refuses it, or computes something else */
};

struct ldnq_finding {
    const struct ldnq_node *node; /* NULL: the whole model */
    const char *rule;             /* a short name that stays: "bias-scale" */
    enum ldnq_severity severity;
    const char *message; /* what is so, with the values */
    const char *advice;  /* what to change */
    const char *cost;    /* what it costs to leave it so */
};

struct ldnq_lint {
    size_t count;
    struct ldnq_finding *findings; /* in the order of the nodes */
    size_t integer_nodes;          /* nodes that the target computes on codes */
    size_t float_nodes;            /* nodes that it computes in float but could compute on codes */
};

/* Checks the rules of the target's record. The result lives in the arena.
 * Errors: NOMEM. */
enum ldnq_status ldnq_lint_run(const struct ldnq_graph *graph, const struct ldnq_target *target,
                               int opset, struct ldnq_arena *arena, struct ldnq_lint **out,
                               struct ldnq_error *err);

/* "note", "slower", "broken". */
const char *ldnq_severity_name(enum ldnq_severity severity);

#endif

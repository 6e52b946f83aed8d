/* control.h: how the inputs of If, Loop and Scan are those of their bodies.
 *
 * Behind the inputs that the file lists stand the values that the bodies read from
 * around them (node->captures), so that whoever follows inputs follows those too.
 */
#ifndef LDNQ_OPS_CONTROL_H
#define LDNQ_OPS_CONTROL_H

#include "ops/op.h"

enum ldnq_control_kind { LDNQ_CONTROL_IF, LDNQ_CONTROL_LOOP, LDNQ_CONTROL_SCAN };

/* What read makes of a node. */
struct ldnq_control {
    enum ldnq_control_kind kind;
    size_t body_count;
    struct ldnq_graph *bodies[2]; /* of If: then, else */
    /* The node's inputs: `carried` of them from `first` on, then, of Scan, those that
     * are cut into slices, then captures. In the body's list `carried` start at
     * `body_first`, and outputs at `body_out`. */
    size_t first, carried, scanned, body_first, body_out;
    size_t stacked; /* outputs behind the carried ones that are put together */
    /* By scanned input and by stacked output; NULL for zeros. */
    const int64_t *in_axes, *out_axes, *in_reversed, *out_reversed;
};

static inline int64_t ldnq_control_option(const int64_t *list, size_t i)
{
    return list ? list[i] : 0;
}

/* What is known of a value that is one or the other: sizes that differ become
 * symbols of their own, ranks that differ unknown. Errors: MODEL (types), NOMEM. */
enum ldnq_status ldnq_control_merge(struct ldnq_graph *graph, const struct ldnq_tensor *a,
                                    const struct ldnq_tensor *b, struct ldnq_tensor *out,
                                    struct ldnq_error *err);

#endif

/* moments.h: all that is summed over a layer's input before it is solved: the
 * statistics, and with a float twin the target, in two parts.
 *
 * The held-out part decides how far the layer is to make up for the error in front of
 * it: W* is fitted on the other part, and lambda is what takes W to the least error
 * on the held-out one,
 *
 *     lambda = <X, E[W (y - y^) y^']> / <X, X C>   within 0 and 1,   X = W* - W at 1
 *
 * so that a correction which fits the samples and not the world is not made; it also
 * chooses the damping of C. Then
 * both parts are joined, and W* is fitted on all.
 */
#ifndef LDNQ_PIPELINE_LAYER_MOMENTS_H
#define LDNQ_PIPELINE_LAYER_MOMENTS_H

#include "pipeline/error_compensation.h"

struct ldnq_layer_moments {
    struct ldnq_statistics statistics, held_statistics; /* the first in the end of all */
    struct ldnq_compensation target, held_target;
    struct ldnq_arena *held; /* memory of the held-out part; NULL without a target */
};

/* Without `aims` there is no target, and nothing is held out. Memory is the arena's,
 * but for the held-out part's. Errors: NOMEM. release() ends it. */
enum ldnq_status ldnq_layer_moments_init(struct ldnq_layer_moments *moments,
                                         const struct ldnq_layer_geometry *geometry,
                                         const float *weight, bool aims, struct ldnq_pool *pool,
                                         struct ldnq_arena *arena, struct ldnq_error *err);
void ldnq_layer_moments_release(struct ldnq_layer_moments *moments);

/* Adds a call; `exact` is that of the float network, NULL without a target. */
void ldnq_layer_moments_add(struct ldnq_layer_moments *moments, bool hold_out,
                            const struct ldnq_op_call *quantized, const struct ldnq_op_call *exact);

/* Joins the parts: afterwards `statistics` and `target` are sums of all. */
void ldnq_layer_moments_merge(struct ldnq_layer_moments *moments);

/* Of a target whose lambda is given. */
#define LDNQ_COMPENSATION_DAMPING 0.01

struct ldnq_compensation_strength {
    double lambda, damping;
    /* Of the error that the layers in front make of the layer's float output, what was
     * left on the held-out part, before its own quantization: 1 at lambda 0. NaN when
     * that error is 0, or nothing was held out. */
    double left;
};

/* The damping and lambda that do most for the held-out part's error, before join();
 * lambda is 0 when either part is empty. Errors: NOMEM. */
enum ldnq_status ldnq_layer_moments_choose(struct ldnq_layer_moments *moments, bool centred,
                                           struct ldnq_compensation_strength *aim,
                                           struct ldnq_error *err);

#endif

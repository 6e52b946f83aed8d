/* target.h: what a layer should reproduce when the layers in front of it err.
 *
 * With y the layer's input in the float network and y^ in the quantized one, both at
 * the same positions, a layer that makes up for a part of the error in front of it has
 *
 *     W* = W + lambda E[W (y - y^) y^'] C^-1,   C = cov(y^) + damping * mean diagonal
 *
 * in place of W as its quadratic's centre (centred moments where it has a bias), and
 * the float output's mean as its own: bias b + (W - W*) E[y^] + E[W (y - y^)].
 * Solvers need not know: weight and bias of their problem are these.
 *
 * Shapes  weight and cross (G, M, K), bias and shift (G, M), row-major
 * Numbers products of up to LDNQ_GRAM_SLAB positions are summed in float, slabs in
 *         double, in an order that does not depend on the threads
 */
#ifndef LDNQ_PIPELINE_ERROR_COMPENSATION_H
#define LDNQ_PIPELINE_ERROR_COMPENSATION_H

#include "pipeline/statistics.h"

struct ldnq_compensation {
    struct ldnq_layer_geometry geometry;
    const float *weight; /* the float network's */
    double *cross;       /* sums of W (y - y^) y^' */
    double *shift;       /* sums of W (y - y^) */
    double *power;       /* sums of its square, (G, M) */
    struct ldnq_pool *pool;
    float *columns, *apart; /* y^ and y - y^ of a slab; one a thread when there are groups */
    float *outputs_apart, *product; /* of a block of rows, one a thread */
};

/* All memory is the arena's; weight is kept. Errors: NOMEM. */
enum ldnq_status ldnq_compensation_init(struct ldnq_compensation *target,
                                        const struct ldnq_layer_geometry *geometry,
                                        const float *weight, struct ldnq_pool *pool,
                                        struct ldnq_arena *arena, struct ldnq_error *err);

/* Adds a call of the layer (after infer), in both networks for the same samples. */
void ldnq_compensation_add(struct ldnq_compensation *target, const struct ldnq_op_call *quantized,
                           const struct ldnq_op_call *exact);

/* Adds what another one has summed. */
void ldnq_compensation_merge(struct ldnq_compensation *target,
                             const struct ldnq_compensation *other);

/* W* - W of a group at lambda = 1, into step (M, K), from sums that are not finished;
 * factor (K, K) is scratch. False when the group's matrix can't be factored. */
bool ldnq_compensation_solve(const struct ldnq_compensation *target,
                             const struct ldnq_statistics *statistics, size_t group, bool centred,
                             double damping, double *factor, double *step);

/* W* and its bias in place of `weight` and `bias` (NULL: the layer has none), from sums
 * that are not finished. A group whose matrix can't be factored stays as it is.
 * Errors: NOMEM. */
enum ldnq_status ldnq_compensation_apply(const struct ldnq_compensation *target,
                                         const struct ldnq_statistics *statistics, double lambda,
                                         double damping, float *weight, float *bias,
                                         struct ldnq_error *err);

#endif

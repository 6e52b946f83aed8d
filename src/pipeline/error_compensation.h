/* SPDX-License-Identifier: Apache-2.0 */
/* error_compensation.h: the target of a layer whose input already has errors.
 *
 * With y the columns of the layer's input in the float network and y^ those in the
 * quantized one, at the same positions, a layer that compensates a part lambda of the error
 * of its input has the target
 *
 *     W* = W + lambda E[W (y - y^) y^'] C^-1,   C = cov(y^) + damping * mean diagonal
 *
 * in place of W, and, with a bias, the mean of the float output as its own:
 * b* = b + (W - W*) E[y^] + lambda E[W (y - y^)]. Without a bias the moments are not centred.
 * Solvers do not know about this: W* and b* are the weight and bias of their problem.
 *
 * Shapes  weight and cross (G, M, K), bias, shift and power (G, M), row-major
 * Numbers products over up to LDNQ_GRAM_SLAB positions are summed in float, slabs in double,
 *         in an order that does not depend on the threads
 */
#ifndef LDNQ_PIPELINE_ERROR_COMPENSATION_H
#define LDNQ_PIPELINE_ERROR_COMPENSATION_H

#include "pipeline/few_positions.h"
#include "pipeline/input_error.h"
#include "pipeline/statistics.h"

struct ldnq_compensation {
    struct ldnq_layer_geometry geometry;
    const float *weight;            /* weight of the float network */
    double *cross;                  /* sums of W (y - y^) y^'; NULL: made from `few` or `input` */
    double *shift;                  /* sums of W (y - y^) */
    double *power;                  /* sums of the square of W (y - y^) */
    struct ldnq_input_error input;  /* moments of the input; cols 0: not used. Then power is 0 */
    double total_power;             /* the sum of power over all rows, by `input`; else 0 */
    struct ldnq_few_positions *few; /* the positions themselves; NULL: not stored */
    struct ldnq_pool *pool;
    float *difference;                  /* y - y^ of a slab; one per thread with groups */
    float *output_difference, *product; /* scratch for a block of rows; one per thread */
};

/* Keeps `weight`. All memory is the arena's. Errors: NOMEM. */
enum ldnq_status ldnq_compensation_init(struct ldnq_compensation *compensation,
                                        const struct ldnq_layer_geometry *geometry,
                                        const float *weight, struct ldnq_pool *pool,
                                        struct ldnq_arena *arena, struct ldnq_error *err);

/* The same without `cross`, and cross for what is added from then on. Errors: NOMEM. */
enum ldnq_status ldnq_compensation_init_sums(struct ldnq_compensation *compensation,
                                             const struct ldnq_layer_geometry *geometry,
                                             const float *weight, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err);
/* The same for another part of the samples, with the scratch memory of `other`, which lives as
 * long.
 */
enum ldnq_status ldnq_compensation_init_part(struct ldnq_compensation *compensation,
                                             const struct ldnq_compensation *other,
                                             struct ldnq_arena *arena, struct ldnq_error *err);
enum ldnq_status ldnq_compensation_allocate_cross(struct ldnq_compensation *compensation,
                                                  struct ldnq_arena *arena, struct ldnq_error *err);

/* Adds one call of the layer (after infer), in both networks for the same samples, at the
 * positions of `sampling`; the moments of y^ to the statistics. `held_out`: the part of
 * compensation->few that the positions belong to. */
void ldnq_compensation_add(struct ldnq_compensation *compensation,
                           struct ldnq_statistics *statistics, const struct ldnq_op_call *quantized,
                           const struct ldnq_op_call *exact,
                           const struct ldnq_position_sampling *sampling, bool held_out);

/* Adds `count` positions that `few` has stored from `row` on, as one call that
 * ldnq_compensation_add would not store. One group. */
void ldnq_compensation_add_stored(struct ldnq_compensation *compensation,
                                  struct ldnq_statistics *statistics,
                                  const struct ldnq_few_positions *few, size_t row, size_t count);

/* Adds the sums of `other`. */
void ldnq_compensation_merge(struct ldnq_compensation *compensation,
                             const struct ldnq_compensation *other);

/* Computes `shift` from the moments of the input, when all calls were added. */
void ldnq_compensation_find_shifts(struct ldnq_compensation *compensation);
/* Computes `cross` from the moments of the input. Errors: NOMEM. */
enum ldnq_status ldnq_compensation_find_cross(struct ldnq_compensation *compensation,
                                              struct ldnq_arena *arena, struct ldnq_error *err);

/* Factors C of a group into the lower triangle of `factor` (K, K); false when it has no factor. */
bool ldnq_compensation_factor(const struct ldnq_statistics *statistics, size_t group, bool centred,
                              double damping, double *factor);

/* Computes W* - W of a group at lambda = 1 into `change` (M, K), from statistics that are
 * not finished; `factor` (K, K) is scratch. False when the group's C can't be factored. */
bool ldnq_compensation_solve(const struct ldnq_compensation *compensation,
                             const struct ldnq_statistics *statistics, size_t group, bool centred,
                             double damping, double *factor, double *change);

/* Replaces `weight` and `bias` (NULL without one) by W* and b*, from statistics that are not
 * finished. A group whose C can't be factored stays as it is. Errors: NOMEM. */
enum ldnq_status ldnq_compensation_apply(const struct ldnq_compensation *compensation,
                                         const struct ldnq_statistics *statistics, double lambda,
                                         double damping, float *weight, float *bias,
                                         struct ldnq_error *err);

#endif

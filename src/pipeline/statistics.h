/* SPDX-License-Identifier: Apache-2.0 */
/* statistics.h: the moments of a layer's input, which define the quadratic that solvers
 * minimize.
 *
 * Shapes  gram (G, K, K) = E[y y'] and mean (G, K) = E[y] over all positions that were added;
 *         y are the columns of ops/op_layer.h
 * Numbers as in linalg/gram.h: the same bits for any number of threads
 */
#ifndef LDNQ_PIPELINE_STATISTICS_H
#define LDNQ_PIPELINE_STATISTICS_H

#include "ops/op_layer.h"
#include "pipeline/position_sampling.h"

struct ldnq_statistics {
    struct ldnq_layer_geometry geometry;
    double *gram, *mean; /* gram NULL: sums of y alone */
    size_t positions;
    struct ldnq_pool *pool;
    float *columns, *scratch; /* columns of one slab; one per thread with groups */
};

/* All memory is the arena's. Errors: NOMEM. */
enum ldnq_status ldnq_statistics_init(struct ldnq_statistics *statistics,
                                      const struct ldnq_layer_geometry *geometry,
                                      struct ldnq_pool *pool, struct ldnq_arena *arena,
                                      struct ldnq_error *err);
/* The same for the sums of y alone, and the Gram matrix for what is added from then on. Errors:
 * NOMEM.
 */
enum ldnq_status ldnq_statistics_init_sums(struct ldnq_statistics *statistics,
                                           const struct ldnq_layer_geometry *geometry,
                                           struct ldnq_pool *pool, struct ldnq_arena *arena,
                                           struct ldnq_error *err);
/* The same for another part of the samples, with the slab of `other`, which lives as long. */
enum ldnq_status ldnq_statistics_init_part(struct ldnq_statistics *statistics,
                                           const struct ldnq_statistics *other,
                                           struct ldnq_arena *arena, struct ldnq_error *err);
enum ldnq_status ldnq_statistics_allocate_gram(struct ldnq_statistics *statistics,
                                               struct ldnq_arena *arena, struct ldnq_error *err);
/* Adds the columns of one call (after infer) of a layer, at the positions of `sampling`. */
void ldnq_statistics_add(struct ldnq_statistics *statistics, const struct ldnq_op_call *call,
                         const struct ldnq_position_sampling *sampling);
/* Returns the columns (K, LDNQ_GRAM_SLAB) that a caller fills to add them: with one group all
 * threads share them, with more each has its own. */
float *ldnq_statistics_slab(const struct ldnq_statistics *statistics, size_t thread);
/* Adds the first `count` columns of the slab to a group; `positions` is left to the caller. With
 * one group it is called outside of the pool's tasks. */
void ldnq_statistics_add_slab(struct ldnq_statistics *statistics, size_t group, size_t count,
                              size_t thread);
/* Adds the sums of `other`, which must be of the same layer. */
void ldnq_statistics_merge(struct ldnq_statistics *statistics, const struct ldnq_statistics *other);
/* Divides sums into means. Before, they are sums and only the upper triangle of the gram is
 * filled in. */
void ldnq_statistics_finish(struct ldnq_statistics *statistics);
/* Multiplies means into sums again. */
void ldnq_statistics_restore_sums(struct ldnq_statistics *statistics);

#endif

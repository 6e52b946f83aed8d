/* SPDX-License-Identifier: Apache-2.0 */
/* input_error.h: error compensation of layers with many rows, by moments of their input alone.
 *
 * With e = y - y^ the error of a layer's input (error_compensation.h), E[W e y^'] = W D with
 * D = E[e y^'], and the change of the layer at lambda = 1 is W Z with Z = D C^-1. What it does to
 * the held-out error needs no row either:
 *
 *     <X, E> = <G Z, D>,   <X, X C> = <Z' G Z, C>,   E|W e|^2 = <G, E[e e']>,   G = W' W
 *
 * with D, C and E[e e'] of the held-out part. A position takes K^2 multiplications where rows take
 * 2 M K, the sums take K^2 numbers where rows take M K, and layers with the same input share them.
 *
 * Shapes  one group; cross, square, G and Z (K, K), sum (K), weights (M, K), row-major
 * Owns    nothing; all memory is the arena's
 * Errors  NOMEM, those of ranks.h
 * Threads between ldnq_blas_acquire and ldnq_blas_release; results do not depend on their number
 */
#ifndef LDNQ_PIPELINE_INPUT_ERROR_H
#define LDNQ_PIPELINE_INPUT_ERROR_H

#include "pipeline/few_positions.h"
#include "pipeline/statistics.h"

struct ldnq_input_error {
    size_t cols;    /* 0: the layer's rows have sums of their own */
    double *cross;  /* sums of e y^' */
    double *sum;    /* sums of e */
    double *square; /* upper triangle of the sums of e e'; NULL in the part that is fitted */
    float *scratch;
    struct ldnq_pool *pool;
    struct ldnq_stored_changes *stored; /* of layers with the same input; NULL: there are none */
};

enum ldnq_status ldnq_input_error_init(struct ldnq_input_error *error, size_t cols,
                                       struct ldnq_pool *pool, struct ldnq_arena *arena,
                                       struct ldnq_error *err);
/* Allocates `square`, for the part that is held out. */
enum ldnq_status ldnq_input_error_add_square(struct ldnq_input_error *error,
                                             struct ldnq_arena *arena, struct ldnq_error *err);
/* Adds `count` positions: columns y^ and their e, (K, LDNQ_GRAM_SLAB) both. */
void ldnq_input_error_add(struct ldnq_input_error *error, const float *columns,
                          const float *difference, size_t count);
/* Adds `cross` and `sum` of another part. */
void ldnq_input_error_merge(struct ldnq_input_error *error, const struct ldnq_input_error *other);
/* Replaces all sums by those of `from`, which is of the same size and part. */
void ldnq_input_error_copy(struct ldnq_input_error *error, const struct ldnq_input_error *from);
/* Whether earlier layers change the input at all. */
bool ldnq_input_error_is_zero(const struct ldnq_input_error *error);

/* Computes G of a weight with `rows` rows. */
enum ldnq_status ldnq_multiply_weight_by_itself(const float *weight, size_t rows, size_t cols,
                                                struct ldnq_pool *pool, double *gram,
                                                struct ldnq_error *err);
/* Computes W `matrix` into `out` (M, K). */
enum ldnq_status ldnq_multiply_rows(const float *weight, size_t rows, size_t cols,
                                    const double *matrix, struct ldnq_pool *pool, double *out,
                                    struct ldnq_error *err);

/* Computes the sum of |W e|^2 over all positions of a held-out part. */
double ldnq_input_error_sum_power(const struct ldnq_input_error *error, const double *gram);

/* Computes Z from statistics that are not finished, each rank some rows; `factor` (K, K) is
 * scratch. False when C can't be factored. */
bool ldnq_input_error_solve(const struct ldnq_input_error *error,
                            const struct ldnq_statistics *statistics, bool centred, double damping,
                            double *factor, double *z);

/* Both parts of a layer's input; the statistics are sums, the held-out ones with both triangles. */
struct ldnq_input_error_parts {
    const struct ldnq_input_error *fitted, *held_out;
    const struct ldnq_statistics *fitted_statistics, *held_out_statistics;
    const double *gram; /* G */
    bool centred;
};

/* Computes, each rank some of the dampings, what the change that is fitted to the one part does to
 * the other one, for each damping: 0 where C can't be factored. */
enum ldnq_status ldnq_input_error_measure(const struct ldnq_input_error_parts *parts,
                                          const double *dampings, size_t count,
                                          struct ldnq_held_out_effect *effects,
                                          struct ldnq_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* compare_weights.h: compares a layer's weight with that of the matching layer.
 *
 * Both are read as (rows, cols) matrices, whatever layout they have in memory.
 */
#ifndef LDNQ_COMPARE_COMPARE_WEIGHTS_H
#define LDNQ_COMPARE_COMPARE_WEIGHTS_H

#include "compare/comparison.h"
#include "layer/layer.h"

/* Whether both layers have float weights of one size. */
bool ldnq_weights_are_comparable(const struct ldnq_layer *a, const struct ldnq_layer *b);

/* 0 to 1: the mean over rows of |cosine| between a's and b's row, which scales, signs and a
 * folded BatchNormalization don't change. Up to 64 x 64 elements are sampled. NaN when the
 * weights can't be compared. */
double ldnq_compare_weights(const struct ldnq_layer *a, const struct ldnq_layer *b);

/* SQNR of b's weight with a's as the reference, and the distribution of both. The weights must
 * be comparable. Errors: NOMEM. */
enum ldnq_status ldnq_weight_distribution_create(const struct ldnq_layer *a,
                                                 const struct ldnq_layer *b,
                                                 struct ldnq_arena *arena,
                                                 struct ldnq_weight_distribution **distribution,
                                                 double *sqnr, struct ldnq_error *err);

#endif

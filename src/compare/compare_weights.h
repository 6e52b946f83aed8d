/* spread.h: a layer's weight beside its partner's. */
#ifndef LDNQ_COMPARE_COMPARE_WEIGHTS_H
#define LDNQ_COMPARE_COMPARE_WEIGHTS_H

#include "layer/layer.h"
#include "compare/comparison.h"

/* Whether both are float matrices of one size, however they lie in memory. */
bool ldnq_weights_comparable(const struct ldnq_layer *a, const struct ldnq_layer *b);

/* How alike two layers' weights are, 0 to 1: the mean over channels of the size of the cosine
 * between their rows, so that scales, signs and a folded BatchNormalization don't matter.
 * Looks at up to 64 x 64 elements. NAN when they can't be compared. */
double ldnq_weight_similarity(const struct ldnq_layer *a, const struct ldnq_layer *b);

/* SQNR of b's weight against a's, and how both are spread, for two that match.
 * Errors: NOMEM. */
enum ldnq_status ldnq_weight_distribution_create(const struct ldnq_layer *a,
                                                 const struct ldnq_layer *b,
                                                 struct ldnq_arena *arena,
                                                 struct ldnq_weight_distribution **spread,
                                                 double *sqnr, struct ldnq_error *err);

#endif

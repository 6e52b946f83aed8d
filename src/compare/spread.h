/* spread.h: a layer's weight beside its partner's. */
#ifndef LDNQ_COMPARE_SPREAD_H
#define LDNQ_COMPARE_SPREAD_H

#include "pipeline/pipeline.h"
#include "compare/comparison.h"

/* Whether both are float matrices of one size, however they lie in memory. */
bool ldnq_weights_match(const struct ldnq_layer *a, const struct ldnq_layer *b);

/* SQNR of b's weight against a's, and how both are spread, for two that match.
 * Errors: NOMEM. */
enum ldnq_status ldnq_spread_init(const struct ldnq_layer *a, const struct ldnq_layer *b,
                                  struct ldnq_arena *arena,
                                  struct ldnq_weight_distribution **spread, double *sqnr,
                                  struct ldnq_error *err);

#endif

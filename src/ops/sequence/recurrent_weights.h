/* recurrent_weights.h: gradients of recurrent weights, from all steps at once. */
#ifndef LDNQ_OPS_RECURRENT_WEIGHTS_H
#define LDNQ_OPS_RECURRENT_WEIGHTS_H

#include "ops/sequence/recurrent.h"

/* c (m, n) = a' b of `rows` rows: a's of lda floats, of which m count, b's of n. */
void ldnq_recurrent_outer(const struct ldnq_recurrent *r, size_t m, size_t n, size_t rows,
                          const float *a, size_t lda, const float *b, float *c);

/* For the kinds whose gates all read h_prev through r and have the recurrent bias
 * outside. */
void ldnq_recurrent_weights(const struct ldnq_recurrent *r, const float *dz, const float *h_prev,
                            const float *extra, float *dr);
size_t ldnq_recurrent_no_own_bias(const struct ldnq_recurrent *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* recurrent_weights.h: gradients of the recurrent weight r, from all steps together. */
#ifndef LDNQ_OPS_RECURRENT_WEIGHTS_H
#define LDNQ_OPS_RECURRENT_WEIGHTS_H

#include "ops/sequence/recurrent.h"

/* c (m, n) = a' b with a (rows, m), rows lda floats apart, and b (rows, n). */
void ldnq_recurrent_multiply_outer(const struct ldnq_recurrent *r, size_t m, size_t n, size_t rows,
                                   const float *a, size_t lda, const float *b, float *c);

/* `weights` and `find_inner_bias` of LSTM and RNN, whose gates all add h_prev r' and the
 * recurrent bias to z. */
void ldnq_recurrent_add_weight_gradients(const struct ldnq_recurrent *r, const float *dz,
                                         const float *h_prev, const float *extra, float *dr);
size_t ldnq_recurrent_find_no_inner_bias(const struct ldnq_recurrent *r);

#endif

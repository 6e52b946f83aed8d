/* SPDX-License-Identifier: Apache-2.0 */
/* adam.h: Adam on one array of parameters.
 *
 * Source  Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
 *         algorithm 1, with its beta1 = .9 and beta2 = .999. Its epsilon is smaller,
 *         as gradients of a relative loss to single weights are.
 * Owns    nothing; the arrays are the arena's.
 */
#ifndef LDNQ_PIPELINE_ADAM_H
#define LDNQ_PIPELINE_ADAM_H

#include "base/arena.h"

struct ldnq_adam {
    size_t count;
    float *value, *gradient; /* the caller adds to the gradient */
    float *mean, *square;
};

/* Allocates values, gradient and moments, all zeros. Errors: NOMEM. */
enum ldnq_status ldnq_adam_init(struct ldnq_adam *adam, size_t count, struct ldnq_arena *arena,
                                struct ldnq_error *err);
/* Does step number `step`, counted from 1, and clears the gradient. */
void ldnq_adam_step(struct ldnq_adam *adam, size_t step, double rate);

#endif

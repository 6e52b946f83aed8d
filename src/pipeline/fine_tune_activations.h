/* SPDX-License-Identifier: Apache-2.0 */
/* fine_tune_activations.h: scales of quantized activations as parameters of fine-tuning.
 *
 * Scale   s = s0 (1 + p), one p per group of activations; zero points stay
 * Fixed   scales of codes of 8 bits and more, which steps move at random, as their rounding is a
 *         small part of the loss; those that are powers of two or that the operator prescribes
 * Bounds  codes stay within the bounds of an absorbed Relu or Clip
 * Source  Esser et al., "Learned Step Size Quantization", ICLR 2020; QuantizeLinear and
 *         DequantizeLinear compute the gradients
 * Owns    nothing; all arrays are the arena's
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_ACTIVATIONS_H
#define LDNQ_PIPELINE_FINE_TUNE_ACTIVATIONS_H

#include "pipeline/adam.h"
#include "pipeline/quantizer.h"

struct ldnq_fine_tune_activations {
    struct ldnq_placement *placement;
    size_t count;          /* activations whose scales get gradients; 0: none is trained */
    size_t *activations;   /* (count) their indices in the placement */
    struct ldnq_adam adam; /* p, by group */
    float *first;          /* by group: s0 */
    float *largest;        /* by group: the largest scale that bounds permit; 0: it is fixed */
    float *best;           /* by activation of the placement: its scale in the best state */
};

/* `placement` may be NULL. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_activations_init(struct ldnq_fine_tune_activations *tuned,
                                                 struct ldnq_placement *placement,
                                                 struct ldnq_arena *arena, struct ldnq_error *err);
/* The constant whose gradient activation number i < count needs. */
const struct ldnq_value *
ldnq_fine_tune_activations_find_scale(const struct ldnq_fine_tune_activations *tuned, size_t i);
void ldnq_fine_tune_activations_add_gradient(struct ldnq_fine_tune_activations *tuned, size_t i,
                                             const struct ldnq_tensor *gradient);
void ldnq_fine_tune_activations_step(struct ldnq_fine_tune_activations *tuned, size_t step,
                                     double rate);
void ldnq_fine_tune_activations_save_best(struct ldnq_fine_tune_activations *tuned);
/* Makes the graph compute with the saved best. */
void ldnq_fine_tune_activations_apply_best(struct ldnq_fine_tune_activations *tuned);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* fine_tune_quantized.h: parameters of a fitted layer that fine-tuning changes.
 *
 * Scales  a = a0 (1 + s), so that one rate serves scales of any size
 * Bias    b = b0 + t * the deviation of the row's output
 * Codes   q = the code nearest to a latent u, in units of the scale. The gradient passes the
 *         rounding unchanged (straight-through estimator); u stays in the range of the codes
 *         and starts between q and the float weight
 * Owns    nothing; all arrays live in the arena, in matrix order
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_QUANTIZED_H
#define LDNQ_PIPELINE_FINE_TUNE_QUANTIZED_H

#include "layer/quantized_layer.h"
#include "pipeline/adam.h"

struct ldnq_fine_tune_quantized {
    struct ldnq_quantized_layer *result;
    const struct ldnq_codebook *codebook;
    /* The layer that has the parameters of codes and scales: itself, or the one that it shares
     * them with. */
    struct ldnq_fine_tune_quantized *owner;
    size_t rows, elements, scale_count;
    bool one_scale;                       /* all scales are equal, and stay so */
    double *sums;                         /* (scale_count) scratch */
    struct ldnq_adam scale, bias, latent; /* s, t and u; count 0: fixed */
    const float *first_scale, *first_bias, *deviation;
    /* The current state, which the graph computes with, and the best so far. */
    int8_t *codes, *best_codes;
    float *scales, *best_scales;
    struct ldnq_tensor *bias_now, *bias_best;
};

/* Starts from the layer as it is. `deviation` (rows) is kept. The arena may be destroyed after
 * apply_best(). Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_quantized_init(struct ldnq_fine_tune_quantized *layer,
                                               struct ldnq_quantized_layer *result,
                                               const float *deviation,
                                               struct ldnq_fine_tune_quantized *owner,
                                               bool one_scale, bool update_codes,
                                               struct ldnq_arena *arena, struct ldnq_error *err);
/* Adds the gradients of the loss for weight and bias (NULL without one). */
void ldnq_fine_tune_quantized_add_gradient(struct ldnq_fine_tune_quantized *layer,
                                           const struct ldnq_tensor *weight,
                                           const struct ldnq_tensor *bias);
/* Does one step of Adam on all parameters, and updates the graph's constants. */
void ldnq_fine_tune_quantized_step(struct ldnq_fine_tune_quantized *layer, size_t step,
                                   double scale_rate, double bias_rate, double code_rate);
void ldnq_fine_tune_quantized_save_best(struct ldnq_fine_tune_quantized *layer);
/* Copies the saved best into the layer's result and into the graph; `arena` is the result's.
 * Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_quantized_apply_best(struct ldnq_fine_tune_quantized *layer,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err);

#endif

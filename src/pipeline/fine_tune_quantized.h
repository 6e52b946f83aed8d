/* tune_layer.h: what is learned of a placed layer when the network is tuned as a whole.
 *
 * Scales  a = a0 (1 + s), so that one rate serves scales of any size
 * Bias    b = b0 + t * deviation of the channel's output
 * Codes   q = the code nearest to a latent u, in units of the scale; the gradient
 *         passes the rounding as if it were not there (straight-through), and u
 *         stays in the range of codes. u starts between q and the float weight.
 * Owns    nothing; all arrays are the arena's, in matrix order.
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_QUANTIZED_H
#define LDNQ_PIPELINE_FINE_TUNE_QUANTIZED_H

#include "pipeline/pipeline.h"

#include "pipeline/adam.h"

struct ldnq_fine_tune_quantized {
    struct ldnq_quantized_layer *result;
    const struct ldnq_codebook *codebook;
    struct ldnq_fine_tune_quantized
        *owner; /* of codes and scales: itself, or the one it shares them with */
    size_t rows, elements, scale_count;
    bool one_scale;                       /* all are the same, and stay so */
    double *sums;                         /* (scale_count) scratch */
    struct ldnq_adam scale, bias, latent; /* count 0: not learned */
    const float *first_scale, *first_bias, *deviation;
    /* What the graph computes with now, and the best so far. */
    int8_t *codes, *best_codes;
    float *scales, *best_scales;
    struct ldnq_tensor *bias_now, *bias_best;
};

/* Takes the layer as it is placed. The arena can go after ldnq_fine_tune_quantized_apply_best.
 * Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_quantized_init(struct ldnq_fine_tune_quantized *layer,
                                               struct ldnq_quantized_layer *result,
                                               const float *deviation,
                                               struct ldnq_fine_tune_quantized *owner,
                                               bool one_scale, bool update_codes,
                                               struct ldnq_arena *arena, struct ldnq_error *err);
/* Adds the loss's gradients to weight and bias (NULL without one). */
void ldnq_fine_tune_quantized_add_gradient(struct ldnq_fine_tune_quantized *layer,
                                           const struct ldnq_tensor *weight,
                                           const struct ldnq_tensor *bias);
/* One step of all that is learned, and its effect on the graph's constants. */
void ldnq_fine_tune_quantized_step(struct ldnq_fine_tune_quantized *layer, size_t step,
                                   double scale_rate, double bias_rate, double code_rate);
void ldnq_fine_tune_quantized_save_best(struct ldnq_fine_tune_quantized *layer);
/* The best so far becomes the layer's result, in the arrays that this has; `arena` is
 * the result's. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_quantized_apply_best(struct ldnq_fine_tune_quantized *layer,
                                                     struct ldnq_arena *arena,
                                                     struct ldnq_error *err);

#endif

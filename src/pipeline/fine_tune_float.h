/* tune_float.h: what is learned of a layer that is still float while those in front of it
 * have their codes.
 *
 * Weight  w = w0 + s * the root mean square of its output channel's weights
 * Bias    b = b0 + t * the norm of those: what the output would vary by if the inputs
 *         varied by 1
 * Owns    nothing; all arrays are the arenas', in the tensors' own order
 * Source  the paper's weights update: after a layer is quantized, the remaining ones
 *         are tuned by back-propagation
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_FLOAT_H
#define LDNQ_PIPELINE_FINE_TUNE_FLOAT_H

#include "pipeline/pipeline.h"

#include "pipeline/adam.h"

struct ldnq_fine_tune_float {
    struct ldnq_layer *layer;
    size_t rows, elements;
    struct ldnq_adam weight, bias; /* bias has count 0 where there is none */
    float *norms;                  /* (rows) */
    const float *first_weight, *first_bias;
    struct ldnq_tensor *weight_now, *weight_best, *bias_now, *bias_best;
    /* What the layer has afterwards, and outlives this. */
    struct ldnq_tensor *weight_after, *bias_after;
};

/* The graph computes with the layer's `now` from here on. The results are allocated in
 * `lasting`, unless the layer's tensors are results of an earlier time: `after` says so.
 * Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_float_init(struct ldnq_fine_tune_float *tuned,
                                           struct ldnq_layer *layer, bool after,
                                           struct ldnq_arena *arena, struct ldnq_arena *lasting,
                                           struct ldnq_error *err);
/* Adds the loss's gradients to weight and bias (NULL without one). */
void ldnq_fine_tune_float_add_gradient(struct ldnq_fine_tune_float *tuned,
                                       const struct ldnq_tensor *weight,
                                       const struct ldnq_tensor *bias);
void ldnq_fine_tune_float_step(struct ldnq_fine_tune_float *tuned, size_t step, double rate);
void ldnq_fine_tune_float_save_best(struct ldnq_fine_tune_float *tuned);
/* The best so far becomes what the layer has. */
void ldnq_fine_tune_float_apply_best(struct ldnq_fine_tune_float *tuned);

#endif

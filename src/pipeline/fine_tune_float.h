/* SPDX-License-Identifier: Apache-2.0 */
/* fine_tune_float.h: parameters of a layer that is still float while earlier layers have their
 * codes.
 *
 * Weight  w = w0 + s * the root mean square of its row
 * Bias    b = b0 + t * the norm of its row: the deviation of the output for inputs that vary
 *         by 1
 * Owns    nothing; all arrays live in the arenas, in the tensors' own layout
 * Source  the paper's weights update: after a layer is quantized, the remaining layers are
 *         tuned by back-propagation
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_FLOAT_H
#define LDNQ_PIPELINE_FINE_TUNE_FLOAT_H

#include "layer/layer.h"
#include "pipeline/adam.h"

struct ldnq_fine_tune_float {
    struct ldnq_layer *layer;
    size_t rows, elements;
    struct ldnq_adam weight, bias; /* s and t; bias has count 0 for a layer without one */
    float *norms;                  /* (rows) */
    const float *first_weight, *first_bias;
    struct ldnq_tensor *weight_now, *weight_best, *bias_now, *bias_best;
    /* The tensors that the layer has afterwards. */
    struct ldnq_tensor *weight_after, *bias_after;
};

/* Makes the graph compute with the `now` tensors. The `after` tensors are allocated in
 * `lasting`; with reuse_after they are the layer's own, from an earlier cascade.
 * Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_float_init(struct ldnq_fine_tune_float *tuned,
                                           struct ldnq_layer *layer, bool reuse_after,
                                           struct ldnq_arena *arena, struct ldnq_arena *lasting,
                                           struct ldnq_error *err);
/* Adds the gradients of the loss for weight and bias (NULL without one). */
void ldnq_fine_tune_float_add_gradient(struct ldnq_fine_tune_float *tuned,
                                       const struct ldnq_tensor *weight,
                                       const struct ldnq_tensor *bias);
/* Does one step of Adam, and updates the `now` tensors. */
void ldnq_fine_tune_float_step(struct ldnq_fine_tune_float *tuned, size_t step, double rate);
void ldnq_fine_tune_float_save_best(struct ldnq_fine_tune_float *tuned);
/* Makes the saved best the layer's weight and bias. */
void ldnq_fine_tune_float_apply_best(struct ldnq_fine_tune_float *tuned);

#endif

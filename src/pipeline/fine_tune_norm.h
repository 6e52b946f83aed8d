/* SPDX-License-Identifier: Apache-2.0 */
/* fine_tune_norm.h: scales and biases of normalizations as parameters of fine-tuning.
 *
 * Scale   g = g0 (1 + s)
 * Bias    b = b0 + t * |g0|: normalized values vary by 1
 * Nodes   BatchNormalization (where it was not folded), LayerNormalization,
 *         InstanceNormalization, GroupNormalization and RMSNormalization, with float constants
 *         that can be changed in the file
 * Owns    nothing; all arrays are the arenas'
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_NORM_H
#define LDNQ_PIPELINE_FINE_TUNE_NORM_H

#include "pipeline/adam.h"
#include "pipeline/quantizer.h"

/* One scale or bias. */
struct ldnq_fine_tune_norm {
    struct ldnq_changed_norm result; /* its tensor holds the best values so far */
    struct ldnq_adam adam;
    const float *first;
    float *unit; /* the change for a parameter of 1 */
    struct ldnq_tensor *now;
};

/* Lists all norms of the quantizer's graph, which then computes with their `now`. A constant
 * that several nodes read is copied for each. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_norms_init(struct ldnq_quantizer *quantizer,
                                           struct ldnq_arena *arena,
                                           struct ldnq_fine_tune_norm **norms, size_t *count,
                                           struct ldnq_error *err);
void ldnq_fine_tune_norm_add_gradient(struct ldnq_fine_tune_norm *norm,
                                      const struct ldnq_tensor *gradient);
void ldnq_fine_tune_norm_step(struct ldnq_fine_tune_norm *norm, size_t step, double rate);
void ldnq_fine_tune_norm_save_best(struct ldnq_fine_tune_norm *norm);
/* Makes the graph compute with the saved best, and lists the norms that changed in the
 * quantizer's result. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_norms_apply_best(struct ldnq_quantizer *quantizer,
                                                 struct ldnq_fine_tune_norm *norms, size_t count,
                                                 struct ldnq_error *err);

#endif

/* tune_norm.h: what is learned of normalizations: their scales and biases.
 *
 * Scale   g = g0 (1 + s)
 * Bias    b = b0 + t * |g0|, as what is normalized varies by 1
 * Of      BatchNormalization (where it was not folded), LayerNormalization,
 *         InstanceNormalization, GroupNormalization and RMSNormalization, where they are
 *         float constants that the file can be given anew
 * Owns    nothing; all arrays are the arenas'
 */
#ifndef LDNQ_PIPELINE_FINE_TUNE_NORM_H
#define LDNQ_PIPELINE_FINE_TUNE_NORM_H

#include "pipeline/adam.h"
#include "pipeline/quantizer.h"

/* One scale or bias. */
struct ldnq_fine_tune_norm {
    struct ldnq_changed_norm result; /* its tensor is the best so far */
    struct ldnq_adam adam;
    const float *first;
    float *unit; /* what 1 of the parameter is */
    struct ldnq_tensor *now;
};

/* All of the run's graph, which computes with their `now` from here on; what is read by
 * several nodes becomes each one's own. Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_norms_init(struct ldnq_quantizer *quantizer,
                                           struct ldnq_arena *arena,
                                           struct ldnq_fine_tune_norm **norms, size_t *count,
                                           struct ldnq_error *err);
void ldnq_fine_tune_norm_add_gradient(struct ldnq_fine_tune_norm *norm,
                                      const struct ldnq_tensor *gradient);
void ldnq_fine_tune_norm_step(struct ldnq_fine_tune_norm *norm, size_t step, double rate);
void ldnq_fine_tune_norm_save_best(struct ldnq_fine_tune_norm *norm);
/* The graph has the best so far; those that changed are listed in the run's result.
 * Errors: NOMEM. */
enum ldnq_status ldnq_fine_tune_norms_apply_best(struct ldnq_quantizer *quantizer,
                                                 struct ldnq_fine_tune_norm *norms, size_t count,
                                                 struct ldnq_error *err);

#endif

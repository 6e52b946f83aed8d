/* SPDX-License-Identifier: Apache-2.0 */
/* fit_prediction.h: how long a quantization will take, before it begins. */
#ifndef LDNQ_PIPELINE_FIT_PREDICTION_H
#define LDNQ_PIPELINE_FIT_PREDICTION_H

#include "pipeline/select.h"

/* In multiplications of 32 bits. */
struct ldnq_fit_work {
    double all;    /* of fitting the layers and of measuring the result */
    double layers; /* of fitting the layers */
    double pass;   /* of running the network for one sample */
};

/* Predicts the work of quantizing the selected layers. It is what the progress of the run counts,
 * so that it is about as exact: within a factor of two where the solver takes most of the time.
 * Errors: NOMEM. */
enum ldnq_status ldnq_predict_fit_work(struct ldnq_graph *graph,
                                       const struct ldnq_selection *selection,
                                       const struct ldnq_quantize_options *options,
                                       const struct ldnq_samples *samples, struct ldnq_arena *arena,
                                       struct ldnq_fit_work *work, struct ldnq_error *err);

#endif

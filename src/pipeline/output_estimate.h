/* SPDX-License-Identifier: Apache-2.0 */
/* output_estimate.h: predict the error of a network's outputs from the change that quantization
 * makes in each layer and in each activation.
 *
 * Computes E[(sum over l of u' J_l d_l)^2]: d_l is the change of the output of layer l on its
 *          float input, J_l the derivative of the network's outputs by it, u as in
 *          output_projection.h. u' J_l d_l is the inner product of the weight's change with the
 *          weight's gradient, so that a backward pass per draw yields the terms of all layers.
 *          An activation with a Q/DQ pair has such a term as well, d its rounding
 * Source   the paper bounds the error of the outputs by a linear combination of the layers'
 *          errors. This is that combination with measured coefficients in place of products of
 *          norms, the mean of those at two or five points between the float network and the
 *          quantized one: along the way the network is not linear, and its ends say little of the
 *          middle
 */
#ifndef LDNQ_PIPELINE_OUTPUT_ESTIMATE_H
#define LDNQ_PIPELINE_OUTPUT_ESTIMATE_H

#include "calib/calib.h"
#include "layer/quantized_layer.h"
#include "pipeline/pipeline.h"

/* A quantized graph, and the float one with the same nodes. */
struct ldnq_estimate_inputs {
    const struct ldnq_graph *graph, *reference;
    const struct ldnq_quantized_network *network;
    const double *powers; /* by output: the mean over the samples of |t|^2, or 0 */
    struct ldnq_samples *samples;
    const struct ldnq_quantize_options *options; /* seed, max_bytes, pool */
    size_t draws;
};

/* The draws that the options ask for, after the layers were fitted. */
size_t ldnq_estimate_choose_draws(const struct ldnq_quantize_options *options,
                                  const struct ldnq_quantization *result);

/* Fills the estimate; its layers are in the arena. Errors: NOMEM, those of the samples and of
 * the executor. */
enum ldnq_status ldnq_estimate_output_error(const struct ldnq_estimate_inputs *inputs,
                                            struct ldnq_arena *arena,
                                            struct ldnq_output_estimate *estimate,
                                            struct ldnq_error *err);

#endif

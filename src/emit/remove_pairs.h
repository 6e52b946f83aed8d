/* SPDX-License-Identifier: Apache-2.0 */
/* remove_pairs.h: turn a quantized network back into one that computes in float.
 *
 * Weights and biases that come from a DequantizeLinear become float initializers. QuantizeLinear
 * and DequantizeLinear of an activation go. Where their codes begin at 0 they may stand for a Relu
 * or Clip after a layer, and become a Clip to their range. Codes that are gathered before they are
 * dequantized stay, and so do operators that compute with codes themselves.
 */
#ifndef LDNQ_EMIT_REMOVE_PAIRS_H
#define LDNQ_EMIT_REMOVE_PAIRS_H

#include "onnx/onnx.h"

/* Changes the model that the graph was imported from; the graph has been folded. *changed: the
 * model has to be imported again. Errors: UNSUPPORTED (a model of opset 10 that can't become one
 * of 11, whose Clip is needed), NOMEM. */
enum ldnq_status ldnq_emit_remove_pairs(struct ldnq_model *model, const struct ldnq_graph *graph,
                                        bool *changed, struct ldnq_error *err);

#endif

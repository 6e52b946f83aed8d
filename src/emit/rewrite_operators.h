/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite_operators.h: rewrite operators of a loaded model into equal ones for which a target
 * has integer kernels.
 *
 *   Conv, Add of a constant per channel     a Conv with a bias
 *   MatMul, Add of a constant vector        a Gemm, between two Reshapes for more than two axes
 *   ReduceMean over all spatial axes        GlobalAveragePool, and Flatten without keepdims
 *   ConvTranspose whose windows do not      a 1x1 Conv, Reshape and Transpose
 *   overlap, in a plane of known size
 *   BatchNormalization without a layer      a depthwise 1x1 Conv
 *   before it
 *
 * The results differ by the rounding of float32 alone. The target's record says which of them it
 * wants (struct ldnq_target, rewrites).
 */
#ifndef LDNQ_EMIT_REWRITE_OPERATORS_H
#define LDNQ_EMIT_REWRITE_OPERATORS_H

#include "onnx/onnx.h"
#include "target/target.h"

/* Rewrites the model that the graph was imported from; the passes have run on the graph.
 * *changed: the model has to be imported again. Errors: NOMEM. */
enum ldnq_status ldnq_emit_rewrite_operators(struct ldnq_model *model,
                                             const struct ldnq_graph *graph,
                                             const struct ldnq_target *target, bool *changed,
                                             struct ldnq_error *err);

#endif

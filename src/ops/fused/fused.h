/* SPDX-License-Identifier: Apache-2.0 */
/* fused.h: an operator of ai.onnx and the activation that ONNX Runtime's optimizer has fused into
 * it.
 *
 * A record of com.microsoft calls the functions of the operator that it contains, with the inputs
 * and attributes that this one knows. What the activation adds is here.
 */
#ifndef LDNQ_OPS_FUSED_H
#define LDNQ_OPS_FUSED_H

#include "ops/op_layer.h"
#include "ops/sequence/recurrent_activation.h"

struct ldnq_fused_attrs {
    const struct ldnq_op *op; /* the operator inside */
    const void *inner;        /* its attributes */
    bool has_activation, is_clip;
    struct ldnq_activation activation;
    float low, high; /* bounds of a Clip */
};

/* Reads the attributes of `op`, and the activation with its parameters. */
enum ldnq_status ldnq_fused_read_attrs(const struct ldnq_op *op, const struct ldnq_node *node,
                                       const float *parameters, size_t parameter_count,
                                       struct ldnq_arena *arena, const void **attrs,
                                       struct ldnq_error *err);
enum ldnq_status ldnq_fused_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err);
size_t ldnq_fused_scratch_bytes(const struct ldnq_op_call *call);
size_t ldnq_fused_count_operations(const struct ldnq_op_call *call);
/* Runs the operator inside, adds the tensor of input `sum`, if there is one, and applies the
 * activation. */
enum ldnq_status ldnq_fused_forward(const struct ldnq_op_call *call, size_t sum,
                                    struct ldnq_error *err);

/* The layers of the operator inside: its first one, and the one after it. */
extern const struct ldnq_op_layer ldnq_fused_layer, ldnq_fused_layers;

#endif

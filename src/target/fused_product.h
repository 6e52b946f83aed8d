/* SPDX-License-Identifier: Apache-2.0 */
/* fused_product.h: which layers a target computes in one kernel that reads float activations and
 * the codes of the weight, such as ONNX Runtime's MatMulNBits. */
#ifndef LDNQ_TARGET_FUSED_PRODUCT_H
#define LDNQ_TARGET_FUSED_PRODUCT_H

#include "ops/op_layer.h"
#include "target/target.h"

/* Whether there is such a kernel, which is right, for this MatMul or Gemm if its weight is stored
 * as (K, M) in a type of that many bits. */
bool ldnq_target_has_product(const struct ldnq_target *target, const struct ldnq_node *node,
                             const struct ldnq_layer_geometry *geometry, unsigned bits);

#endif

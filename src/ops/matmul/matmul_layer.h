/* SPDX-License-Identifier: Apache-2.0 */
/* matmul_layer.h: the weight of a MatMul, on either side, as a layer.
 *
 * Shapes  right: data (..., N, K), weight (..., K, M); left: weight (..., M, K), data (..., K, N).
 *         The matrices of a weight with leading axes are its groups; those of the data that meet
 *         one of them are its positions, N of each
 */
#ifndef LDNQ_OPS_MATMUL_LAYER_H
#define LDNQ_OPS_MATMUL_LAYER_H

#include "ops/op_layer.h"

extern const struct ldnq_op_layer ldnq_matmul_layer;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* target_tflite.c: LiteRT (TensorFlow Lite), after a conversion of the QDQ file.
 *
 * Source: the TensorFlow Lite 8-bit quantization specification and ai-edge-quantizer's
 * common_utils. Every tensor is int8 asymmetric, or int16 with zero point 0; weights int8
 * symmetric from -127 to 127 per channel; bias int32 at input scale times weight scale.
 * Sigmoid and Softmax have scale 1/256 and zero point -128, Tanh 1/128 and 0. Concat, pools
 * and copies have one scale for inputs and outputs. Kernels for int16 activations have biases
 * of 64 bits, which DequantizeLinear does not take: they are int32 here.
 */
#include "ops/op.h"
#include "target/operator_rules.h"

static const struct ldnq_operator_rule rules[] = {
    LAYER("Conv", 1),
    LAYER("ConvTranspose", 1),
    LAYER("Gemm", 1),
    LAYER("MatMul", 3),
    COMPUTES("Add", 3),
    COMPUTES("Sub", 3),
    COMPUTES("Mul", 3),
    COMPUTES("Relu", 1),
    COMPUTES("LeakyRelu", 1),
    COMPUTES("PRelu", 3),
    COMPUTES("HardSwish", 1),
    COMPUTES("ReduceMean", 1),
    RANGED("Sigmoid", 0.0f, 1.0f, 0),
    RANGED("Softmax", 0.0f, 1.0f, 0),
    RANGED("Tanh", -1.0f, 1.0f, 0),
    UNIFIES("Concat", ~0u),
    UNIFIES("Max", ~0u),
    UNIFIES("Min", ~0u),
    UNIFIES("AveragePool", 1),
    UNIFIES("GlobalAveragePool", 1),
    MOVES("MaxPool"),
    MOVES("Reshape"),
    MOVES("Transpose"),
    MOVES("Squeeze"),
    MOVES("Unsqueeze"),
    MOVES("Flatten"),
    MOVES("Expand"),
    MOVES("Tile"),
    MOVES("Slice"),
    MOVES("Gather"),
    MOVES("Split"),
    MOVES("Resize"),
    MOVES("Pad"),
    MOVES("DepthToSpace"),
    MOVES("SpaceToDepth"),
    { .op_type = NULL },
};

const struct ldnq_target ldnq_target_tflite = {
    .name = "tflite",
    .summary = "LiteRT (TensorFlow Lite): every tensor int8, int32 biases",
    .opset_min = 13,
    .pairs = LDNQ_PAIRS_AT_BOTH,
    .activation = LDNQ_INT8,
    .activation_types = LDNQ_DTYPE_BIT(LDNQ_INT8) | LDNQ_DTYPE_BIT(LDNQ_INT16),
    .wide_activation = LDNQ_INT16,
    .symmetric_16 = true,
    .every_tensor = true,
    .bias = LDNQ_BIAS_INT32,
    .residual = LDNQ_RESIDUAL_BOTH,
    .per_channel = true,
    .narrow_weights = true,
    .symmetric_weights = true,
    .weight_bits = 1u << 8 | 1u << 4,
    .absorbs_clamps = true,
    .rules = rules,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* target_qnn.c: Qualcomm QNN (HTP), through ONNX Runtime's execution provider.
 *
 * Source: onnxruntime-qnn, execution_providers/qnn/quant_config.py and
 * core/providers/qnn/builder; Qualcomm's HTP guidelines. Every tensor has a pair, graph
 * inputs and outputs included; uint8 or uint16 asymmetric; weights int8 symmetric per
 * channel, of MatMul per tensor; bias int32 at input scale times weight scale; ranges are at
 * least 1e-4 wide. With 16 bits Sigmoid and Softmax have scale 1/65536 and zero point 0,
 * Tanh 1/32768 and 32768. Scales around a Concat become one where they are near.
 * What is left to the runtime: it converts the second operand of a product of two 16-bit
 * activations to 8 bits, and gains from int4 only in 1x1 convolutions and in products with more
 * than 32 outputs.
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
    COMPUTES("Div", 3),
    COMPUTES("Relu", 1),
    COMPUTES("Clip", 1),
    COMPUTES("LeakyRelu", 1),
    COMPUTES("PRelu", 3),
    COMPUTES("HardSwish", 1),
    COMPUTES("HardSigmoid", 1),
    COMPUTES("Gelu", 1),
    COMPUTES("Elu", 1),
    COMPUTES("AveragePool", 1),
    COMPUTES("GlobalAveragePool", 1),
    COMPUTES("ReduceMean", 1),
    UNIFIES_NEAR("Concat", ~0u),
    COMPUTES("Where", 6),
    RANGED("Sigmoid", 0.0f, 1.0f, LDNQ_DTYPE_BIT(LDNQ_UINT16)),
    RANGED("Softmax", 0.0f, 1.0f, LDNQ_DTYPE_BIT(LDNQ_UINT16)),
    RANGED("Tanh", -1.0f, 1.0f, LDNQ_DTYPE_BIT(LDNQ_UINT16)),
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
    MOVES("MaxPool"),
    MOVES("DepthToSpace"),
    MOVES("SpaceToDepth"),
    MOVES("Pad"),
    { .op_type = NULL },
};

const struct ldnq_target ldnq_target_qnn = {
    .name = "qnn",
    .summary = "Qualcomm QNN: every tensor uint8 or uint16, int8 weights, int32 biases",
    .opset_min = 13,
    .pairs = LDNQ_PAIRS_AT_BOTH,
    .activation = LDNQ_UINT8,
    .activation_types = LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_UINT16),
    .wide_activation = LDNQ_UINT16,
    .every_tensor = true,
    .static_shapes = true,
    .bias = LDNQ_BIAS_INT32,
    .residual = LDNQ_RESIDUAL_BOTH,
    .per_channel = true,
    .matmul_per_tensor = true,
    .symmetric_weights = true,
    .unsigned_weights = true,
    .weight_bits = 1u << 8 | 1u << 4,
    .least_range = 1e-4f,
    .absorbs_clamps = true,
    .rules = rules,
};

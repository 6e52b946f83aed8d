/* SPDX-License-Identifier: Apache-2.0 */
/* target_tensorrt.c: NVIDIA TensorRT 10 and 11.
 *
 * Source: NVIDIA's documentation of quantized types ("Working with quantized types") and
 * Model-Optimizer's modelopt/onnx/quantization. int8 with zero point 0 for activations and
 * weights; pairs only on the inputs of layers and pools; in a residual Add the operand that
 * the convolution writes has none, so that the Add is fused into it; operators that only
 * copy, and activation functions, have none; the bias stays float without Q/DQ. A convolution
 * with fewer than 16 input or output channels (other than 8), and a product with fewer than 16
 * rows or columns, stay float.
 */
#include "ops/op.h"
#include "target/operator_rules.h"

static const struct ldnq_operator_rule rules[] = {
    LAYER("Conv", 1),
    LAYER("ConvTranspose", 1),
    LAYER("Gemm", 1),
    LAYER("MatMul", 3),
    COMPUTES("AveragePool", 1),
    COMPUTES("GlobalAveragePool", 1),
    COMPUTES("Add", 3),
    CARRIES_NO_PAIR("Concat", ~0u),
    CARRIES_NO_PAIR("Gather", 1),
    CARRIES_NO_PAIR("Reshape", 1),
    CARRIES_NO_PAIR("Flatten", 1),
    CARRIES_NO_PAIR("Squeeze", 1),
    CARRIES_NO_PAIR("Unsqueeze", 1),
    CARRIES_NO_PAIR("Slice", 1),
    CARRIES_NO_PAIR("Split", 1),
    CARRIES_NO_PAIR("Transpose", 1),
    NO_PAIR("Relu"),
    NO_PAIR("Clip"),
    NO_PAIR("Sigmoid"),
    NO_PAIR("Softmax"),
    { .op_type = NULL },
};

const struct ldnq_target ldnq_target_tensorrt = {
    .name = "tensorrt",
    .summary = "NVIDIA TensorRT: symmetric int8, float biases",
    .opset_min = 13,
    .pairs = LDNQ_PAIRS_AT_INPUTS,
    .activation = LDNQ_INT8,
    .activation_types = LDNQ_DTYPE_BIT(LDNQ_INT8),
    .symmetric = true,
    .bias = LDNQ_BIAS_FLOAT,
    .residual = LDNQ_RESIDUAL_SHORTCUT,
    .absorbs_clamps = true,
    .per_channel = true,
    .symmetric_weights = true,
    .least_channels = 16,
    .channel_multiple = 8,
    .weight_bits = 1u << 8,
    .rules = rules,
};

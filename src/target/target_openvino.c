/* SPDX-License-Identifier: Apache-2.0 */
/* target_openvino.c: OpenVINO on a CPU and its NPU.
 *
 * Source: openvinotoolkit/nncf, the hardware setups of CPU and NPU and the ONNX metatype
 * groups. A pair is on what a quantized operator reads, after a Relu and not before it;
 * weights are symmetric from -127 to 127 per channel; the bias stays float. All inputs of a
 * Concat have one scale.
 */
#include "ops/op.h"
#include "target/operator_rules.h"

#define BYTES (LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8))
#define HALVES (LDNQ_DTYPE_BIT(LDNQ_UINT16) | LDNQ_DTYPE_BIT(LDNQ_INT16))
/* For its NPU, and to see what 4 bits cost: the CPU computes on their values in float. */
#define NIBBLES (LDNQ_DTYPE_BIT(LDNQ_UINT4) | LDNQ_DTYPE_BIT(LDNQ_INT4))

static const struct ldnq_operator_rule rules[] = {
    LAYER("Conv", 1),
    LAYER("ConvTranspose", 1),
    LAYER("Gemm", 1),
    LAYER("MatMul", 3),
    { .op_type = "AveragePool",
      .class = LDNQ_RUNS_QUANTIZED,
      .data_inputs = 1,
      .carries_codes = true },
    COMPUTES("GlobalAveragePool", 1),
    COMPUTES("Add", 3),
    COMPUTES("Mul", 3),
    { .op_type = "Concat",
      .class = LDNQ_UNIFIES_SCALES,
      .data_inputs = ~0u,
      .carries_codes = true },
    CARRIES("MaxPool", 1),
    CARRIES("ReduceMax", 1),
    CARRIES("Reshape", 1),
    CARRIES("Flatten", 1),
    CARRIES("Transpose", 1),
    CARRIES("Squeeze", 1),
    CARRIES("Unsqueeze", 1),
    CARRIES("Expand", 1),
    CARRIES("Tile", 1),
    CARRIES("Split", 1),
    CARRIES("Slice", 1),
    CARRIES("Pad", 1),
    CARRIES("Gather", 1),
    CARRIES("GatherElements", 1),
    CARRIES("DepthToSpace", 1),
    CARRIES("SpaceToDepth", 1),
    CARRIES("Resize", 1),
    { .op_type = NULL },
};

const struct ldnq_target ldnq_target_openvino = {
    .name = "openvino",
    .summary = "OpenVINO on a CPU or NPU: uint8 activations, int8 weights, float biases",
    .opset_min = 13,
    .pairs = LDNQ_PAIRS_AT_INPUTS,
    .activation = LDNQ_UINT8,
    .activation_types = BYTES | HALVES | NIBBLES,
    .bias = LDNQ_BIAS_FLOAT,
    .residual = LDNQ_RESIDUAL_BOTH,
    .absorbs_clamps = true,
    .falls_back = true,
    .gathers_codes = true,
    .per_channel = true,
    .negative_scales = true,
    .narrow_weights = true,
    .symmetric_weights = true,
    .weight_bits = 1u << 8,
    .rules = rules,
};

/* target_openvino.c: OpenVINO on a CPU and its NPU.
 *
 * Source: openvinotoolkit/nncf, the hardware setups of CPU and NPU and the ONNX metatype
 * groups. A pair is on what a quantized operator reads, after a Relu and not before it;
 * weights are symmetric from -127 to 127 per channel; the bias stays float. All inputs of a
 * Concat have one scale.
 */
#include "target/target.h"

#include "ops/op.h"

#define BYTES (LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8))
#define HALVES (LDNQ_DTYPE_BIT(LDNQ_UINT16) | LDNQ_DTYPE_BIT(LDNQ_INT16))
/* For its NPU, and to see what 4 bits cost: the CPU computes on their values in float. */
#define NIBBLES (LDNQ_DTYPE_BIT(LDNQ_UINT4) | LDNQ_DTYPE_BIT(LDNQ_INT4))

static const struct ldnq_operator_rule rules[] = {
    { .op_type = "Conv", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "ConvTranspose", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "Gemm", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "MatMul", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3, .weight = true },
    { .op_type = "AveragePool", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1 },
    { .op_type = "GlobalAveragePool", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1 },
    { .op_type = "Add", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3 },
    { .op_type = "Mul", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3 },
    { .op_type = "Concat", .class = LDNQ_UNIFIES_SCALES, .data_inputs = ~0u },
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
    .per_channel = true,
    .narrow_weights = true,
    .symmetric_weights = true,
    .weight_bits = 1u << 8,
    .rules = rules,
};

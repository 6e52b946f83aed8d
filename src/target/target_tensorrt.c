/* target_tensorrt.c: NVIDIA TensorRT 10 and 11.
 *
 * Source: NVIDIA's documentation of quantized types ("Working with quantized types") and
 * Model-Optimizer's modelopt/onnx/quantization. int8 with zero point 0 for activations and
 * weights; pairs only on the inputs of layers and pools; in a residual Add the operand that
 * the convolution writes has none, so that the Add is fused into it; operators that only
 * copy have none; the bias stays float without Q/DQ. Convolutions with fewer than 16 input
 * or output channels are not worth a pair there; `ldnq` places it all the same, as the
 * builder decides.
 */
#include "target/target.h"

#include "ops/op.h"

static const struct ldnq_operator_rule rules[] = {
    { .op_type = "Conv", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "ConvTranspose", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "Gemm", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "MatMul", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3, .weight = true },
    { .op_type = "AveragePool", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1 },
    { .op_type = "GlobalAveragePool", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1 },
    { .op_type = "Add", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3 },
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
    .quantizes_graph_inputs = true,
    .bias = LDNQ_BIAS_FLOAT,
    .residual = LDNQ_RESIDUAL_SHORTCUT,
    .absorbs_clamps = true,
    .per_channel = true,
    .narrow_weights = true,
    .weight_bits = 1u << 8,
    .rules = rules,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* target_ort.c: ONNX Runtime on a CPU (x64 and ARM).
 *
 * Sources: onnxruntime, core/optimizer/qdq_transformer/selectors_actions
 * (qdq_selectors.cc, qdq_selector_action_transformer.cc) for which operators are fused and
 * what they need; python/tools/quantization for the bias. Seen with 1.32:
 * - Conv needs a QuantizeLinear after it; Gemm and MatMul may also write float32.
 * - Relu and Clip between an operator and its QuantizeLinear are dropped where the range
 *   of the codes implies them.
 * - An operator whose output codes are its input codes runs on them between a
 *   DequantizeLinear and a QuantizeLinear of one scale.
 * - 16-bit activations have no integer kernels.
 * - QLinearSoftmax along the last axis takes 4 times as long as DequantizeLinear, Softmax and
 *   QuantizeLinear (274 and 65 us for 6 x 128 x 128); along another axis it takes .4 of the
 *   time.
 * - QLinearConv of one input channel per group takes 1 to 4 times as long as the float kernel
 *   (88 channels of 3 x 96, 5 x 5: 58 and 16 us). Between integer kernels the conversions that it
 *   saves pay for that (EfficientNet-Lite0 4.7 ms, 6.2 without); after a Hardswish they do not
 *   (MobileNetV3 2.28 ms, 1.83 without), nor where float operators read the result (the Mul of a
 *   squeeze-and-excitation block: 176 and 48 us, and as many conversions).
 * - HardSwish is a part of the float Conv, and a HardSigmoid and a Mul after an integer kernel.
 *   Four layers C -> C with it, time of int8 / float: 1x1 with 16, 24, 32, 64, 128, 256 channels
 *   1.38, .70, .96, .72, .50, .39; 3x3 with 4, 8, 16, 32 channels 1.98, 1.28, .66, .39.
 * - A convolution between float operators pays for the QuantizeLinear and two Transposes around
 *   it only if it is wide. 1x1 between a Mul and a HardSigmoid, 56 x 56, us in float / with codes:
 *   16 to 16 channels 53 / 65, 16 to 48 118 / 126, 32 to 16 79 / 83, 32 to 32 123 / 112, 72 to 24
 *   240 / 163; between depthwise convolutions in float, which have channels in blocks of 16: 61 /
 *   103, 127 / 184, 90 / 133, 148 / 183, 291 / 279. `conversion_costs` is fitted to 40 of them.
 *   With one position it is the number of nodes: squeeze and excitation of 16, 96, 240, 576
 * channels 24, 18, 24 and 55 us in float, 52, 41, 47 and 57 with codes (each node timed).
 * - A weight (K, M) of 2, 4 or 8 bits in a MatMul or plain Gemm of float activations becomes
 *   MatMulNBits: with a scale per tensor, per channel, or per block of 2^k >= 16 along K, of
 *   which the last may be shorter. It is not replaced if a QuantizeLinear reads the output, or
 *   a Relu or Clip does that one other node reads, or if another node reads the codes or
 *   scales. 2-bit weights are wrong where M % 4 != 0, and stay float with blocks above 256.
 * - Weights of other layers below 8 bits are dequantized on every run: EfficientNet-Lite0 with
 *   int4 takes 2.9 times as long as float. With session.disable_quant_qdq = 1 they are
 *   dequantized when the model is loaded, and it takes as long as float.
 */
#include "target/target.h"

#include "ops/op.h"

#define BYTES (LDNQ_DTYPE_BIT(LDNQ_UINT8) | LDNQ_DTYPE_BIT(LDNQ_INT8))

static const struct ldnq_operator_rule rules[] = {
    { .op_type = "Conv", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .weight = true },
    { .op_type = "Gemm",
      .class = LDNQ_RUNS_QUANTIZED,
      .data_inputs = 1,
      .weight = true,
      .float_output = true },
    { .op_type = "MatMul",
      .class = LDNQ_RUNS_QUANTIZED,
      .data_inputs = 3,
      .weight = true,
      .float_output = true },
    { .op_type = "Add", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3 },
    /* With one input from float it is often a part of what is fused in float (Gelu). */
    { .op_type = "Mul", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 3, .needs_all_codes = true },
    { .op_type = "AveragePool", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1, .shrinks = true },
    { .op_type = "GlobalAveragePool",
      .class = LDNQ_RUNS_QUANTIZED,
      .data_inputs = 1,
      .shrinks = true },
    { .op_type = "LeakyRelu", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 1 },
    { .op_type = "Sigmoid",
      .class = LDNQ_RUNS_QUANTIZED,
      .data_inputs = 1,
      .activations = BYTES,
      .low = 0.0f,
      .high = 1.0f },
    { .op_type = "Softmax",
      .class = LDNQ_RUNS_QUANTIZED,
      .data_inputs = 1,
      .slow_on_last_axis = true,
      .since = 13,
      .activations = BYTES,
      .low = 0.0f,
      .high = 1.0f },
    { .op_type = "Concat", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = ~0u },
    { .op_type = "Where", .class = LDNQ_RUNS_QUANTIZED, .data_inputs = 6 },
    { .op_type = "Reshape", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Transpose", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Squeeze", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Unsqueeze", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Flatten", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Expand", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Tile", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Slice", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Gather", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "GatherElements", .class = LDNQ_PASSES_SCALE, .data_inputs = 1 },
    { .op_type = "Split", .class = LDNQ_PASSES_SCALE, .data_inputs = 1, .since = 13 },
    { .op_type = "Resize",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .activations = BYTES,
      .nearest_only = true },
    { .op_type = "Pad",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .since = 11,
      .activations = BYTES,
      .on_codes = true },
    { .op_type = "DepthToSpace",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .activations = BYTES,
      .on_codes = true },
    { .op_type = "SpaceToDepth",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .activations = BYTES,
      .on_codes = true },
    { .op_type = "MaxPool",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .shrinks = true,
      .since = 12,
      .activations = BYTES },
    { .op_type = "ReduceMax",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .shrinks = true,
      .since = 12,
      .activations = BYTES },
    { .op_type = "ReduceMin",
      .class = LDNQ_PASSES_SCALE,
      .data_inputs = 1,
      .shrinks = true,
      .since = 12,
      .activations = BYTES },
    { .op_type = NULL },
};

static const struct ldnq_conversion_costs conversion_costs = {
    .saved_per_product = 13,
    .channel_block = 16,
    .least_channels = 9,
    .lost_per_depthwise = 250,
    .entering = 100,
    .leaving = 200,
    .blocked = 200,
    .unfused = 200,
    .least_loss = 5e5,
    .lost_per_single = 15e6,
    .least_loss_per_weight = 3000,
};

/* Each kind of kernel timed in networks, one thread: 1x1 convolutions 16 -> 32 at 120 x 160 and
 * 64 -> 64 at 30 x 40 take 203 and 92 us in float and 105 and 40 us on codes; 3x3 from 3 channels
 * of 240 x 320 248 and 497 us (it copies windows); 3x3 of one channel per group, 16 at 120 x 160,
 * 122 and 256 us. Weights in codes beside float activations take 3.1 ns each in EfficientNet-Lite0.
 */
static const struct ldnq_kernel_costs kernel_costs = {
    .channel_block = 16,
    .picoseconds = {
        [LDNQ_CONVOLUTION_IN_FLOAT] = 20,
        [LDNQ_CONVOLUTION_ON_CODES] = 7,
        [LDNQ_WINDOWS_OF_CODES] = 500,
        [LDNQ_DEPTHWISE_IN_FLOAT] = 43,
        [LDNQ_DEPTHWISE_ON_CODES] = 42,
        [LDNQ_PRODUCT_IN_FLOAT] = 20,
        [LDNQ_PRODUCT_ON_CODES] = 6,
        [LDNQ_PRODUCT_OF_NARROW_WEIGHT] = 12,
        [LDNQ_ELEMENTS_IN_FLOAT] = 300,
        [LDNQ_ELEMENTS_ON_CODES] = 300,
        [LDNQ_ELEMENTS_QUANTIZED] = 100,
        [LDNQ_ELEMENTS_DEQUANTIZED] = 200,
        [LDNQ_WEIGHTS_DEQUANTIZED] = 3000,
        [LDNQ_KERNELS] = 1e6,
    },
    .measured_on = "ONNX Runtime 1.32 on one core of an AMD Zen 4 with AVX-512",
    .factor = 1.3,
};

const struct ldnq_target ldnq_target_ort = {
    .name = "ort",
    .summary = "ONNX Runtime on a CPU: uint8 activations, int8 weights, int32 biases",
    .opset_min = 13,
    .pairs = LDNQ_PAIRS_AT_BOTH,
    .activation = LDNQ_UINT8,
    .activation_types = BYTES,
    .bias = LDNQ_BIAS_INT32,
    .residual = LDNQ_RESIDUAL_BOTH,
    .per_channel = true,
    .negative_scales = true,
    .unsigned_weights = true,
    .weight_bits = 1u << 8,
    .floats_depthwise_after_float = true,
    .fused_in_float = "HardSwish",
    .most_fused_columns = 16,
    .most_fused_channels = 8,
    .conversion_costs = &conversion_costs,
    .kernel_costs = &kernel_costs,
    .absorbs_clamps = true,
    .drops_unread_codes = true,
    .falls_back = true,
    .gathers_codes = true,
    .product_bits = 1u << 2 | 1u << 4 | 1u << 8,
    .product_rows_of_2_bits = 4,
    .product_block_of_2_bits = 256,
    .product_block = 32,
    .separates_products = true,
    .dequantize_once = "the session option session.disable_quant_qdq = 1",
    .rewrites_int8 = true,
    .rewrites =
        LDNQ_REWRITES_BIAS | LDNQ_REWRITES_MEAN | LDNQ_REWRITES_CONV_TRANSPOSE | LDNQ_REWRITES_NORM,
    .rules = rules,
};

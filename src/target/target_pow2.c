/* SPDX-License-Identifier: Apache-2.0 */
/* target_pow2.c: integer kernels that shift: ESP-DL, Vitis AI's XINT8.
 *
 * Sources: espressif/esp-ppq, quantizer/EspdlQuantizer.py; the XINT8 rules of Vitis AI. int8
 * with zero point 0 and scales that are powers of two, for activations and weights, one per
 * tensor; every tensor has a Q/DQ pair, except between a layer and its Relu; the bias is int32
 * with the scale input scale * weight scale. Both operands of an Add have one scale; those of a
 * Concat have that of its output.
 * Vitis AI's tools change the network too (HardSigmoid for Sigmoid, corrected averages, bounds
 * of shifts), and ESP-DL's write its own format: both read this file as their input.
 */
#include "ops/op.h"
#include "target/operator_rules.h"

static const struct ldnq_operator_rule rules[] = {
    LAYER("Conv", 1),
    LAYER("ConvTranspose", 1),
    LAYER("Gemm", 1),
    LAYER("MatMul", 3),
    COMPUTES("Mul", 3),
    COMPUTES("Relu", 1),
    COMPUTES("LeakyRelu", 1),
    COMPUTES("PRelu", 3),
    COMPUTES("Sigmoid", 1),
    COMPUTES("HardSigmoid", 1),
    COMPUTES("HardSwish", 1),
    COMPUTES("Tanh", 1),
    COMPUTES("AveragePool", 1),
    COMPUTES("GlobalAveragePool", 1),
    UNIFIES_INPUTS("Add", 3),
    UNIFIES_INPUTS("Sub", 3),
    UNIFIES("Concat", ~0u),
    MOVES("MaxPool"),
    MOVES("Reshape"),
    MOVES("Transpose"),
    MOVES("Squeeze"),
    MOVES("Unsqueeze"),
    MOVES("Flatten"),
    MOVES("Slice"),
    MOVES("Split"),
    MOVES("Resize"),
    MOVES("Pad"),
    { .op_type = NULL },
};

const struct ldnq_target ldnq_target_pow2 = {
    .name = "pow2",
    .summary = "kernels that shift (ESP-DL, Vitis AI XINT8): int8, scales are powers of two",
    .opset_min = 13,
    .pairs = LDNQ_PAIRS_AT_BOTH,
    .activation = LDNQ_INT8,
    .activation_types = LDNQ_DTYPE_BIT(LDNQ_INT8) | LDNQ_DTYPE_BIT(LDNQ_INT16),
    .wide_activation = LDNQ_INT16,
    .symmetric = true,
    .power_of_two = true,
    .every_tensor = true,
    .static_shapes = true,
    .bias = LDNQ_BIAS_INT32,
    .residual = LDNQ_RESIDUAL_BOTH,
    .per_channel = false,
    .symmetric_weights = true,
    .weight_bits = 1u << 8,
    .absorbs_clamps = true,
    .rules = rules,
};

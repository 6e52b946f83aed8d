/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "onnx/opset_convert.h"

/* The changes of an operator that have no step are new element types, optional inputs
 * and outputs, attributes whose default is the old meaning, or a clearer text. Notes on
 * the less obvious ones:
 *
 * AveragePool, MaxPool  22 says what runtimes do with windows that start in the
 *     padding; the formulas for auto_pad were corrected without a change there.
 * ConvTranspose  11 corrects which side auto_pad=SAME_UPPER pads by the odd element.
 * Erf  13 drops integers, which runtimes never computed.
 * OneHot  11 gives a meaning to negative indices, which were not allowed.
 * QuantizeLinear  23 renames a type parameter.
 */
#define KEEPS(type_, reviewed_) { .type = type_, .reviewed = reviewed_ }
#define STEP(opset_, name_) { .opset = opset_, .convert = ldnq_convert_##name_ }
#define CHECKED(opset_, name_)                                                                     \
    { .opset = opset_, .check = ldnq_check_##name_, .convert = ldnq_convert_##name_ }
#define REFUSED(opset_, name_) { .opset = opset_, .check = ldnq_check_##name_ }
#define BECOMES(opset_, name_, type_)                                                              \
    { .opset = opset_, .convert = ldnq_convert_##name_, .becomes = type_ }

/* Sorted by name. */
static const struct ldnq_opset_op ops[] = {
    KEEPS("Abs", 13),
    KEEPS("Acos", 22),
    KEEPS("Acosh", 22),
    KEEPS("Add", 14),
    KEEPS("AffineGrid", 20),
    KEEPS("And", 7),
    KEEPS("ArgMax", 13),
    KEEPS("ArgMin", 13),
    KEEPS("Asin", 22),
    KEEPS("Asinh", 22),
    KEEPS("Atan", 22),
    KEEPS("Atanh", 22),
    KEEPS("Attention", 24),
    KEEPS("AveragePool", 22),
    { "BatchNormalization",
      15,
      { CHECKED(9, batch_normalization_9), CHECKED(14, batch_normalization_14) } },
    KEEPS("Bernoulli", 22),
    KEEPS("BitShift", 11),
    KEEPS("BitwiseAnd", 18),
    KEEPS("BitwiseNot", 18),
    KEEPS("BitwiseOr", 18),
    KEEPS("BitwiseXor", 18),
    KEEPS("BlackmanWindow", 17),
    KEEPS("Cast", 25),
    KEEPS("CastLike", 25),
    KEEPS("Ceil", 13),
    KEEPS("Celu", 12),
    KEEPS("CenterCropPad", 18),
    { "Clip", 13, { CHECKED(11, clip_11) } },
    KEEPS("Col2Im", 18),
    KEEPS("Compress", 11),
    KEEPS("Concat", 13),
    KEEPS("ConcatFromSequence", 11),
    KEEPS("Constant", 25),
    KEEPS("ConstantOfShape", 25),
    KEEPS("Conv", 22),
    KEEPS("ConvInteger", 10),
    KEEPS("ConvTranspose", 22),
    KEEPS("Cos", 22),
    KEEPS("Cosh", 22),
    KEEPS("CumSum", 14),
    { "DFT", 20, { STEP(20, dft_20) } },
    KEEPS("DeformConv", 22),
    KEEPS("DepthToSpace", 13),
    KEEPS("DequantizeLinear", 25),
    KEEPS("Det", 22),
    KEEPS("Div", 14),
    { "Dropout", 22, { CHECKED(12, dropout_12) } },
    KEEPS("DynamicQuantizeLinear", 11),
    KEEPS("Einsum", 12),
    KEEPS("Elu", 22),
    KEEPS("Equal", 19),
    KEEPS("Erf", 13),
    KEEPS("Exp", 13),
    KEEPS("Expand", 13),
    KEEPS("EyeLike", 22),
    KEEPS("Flatten", 25),
    KEEPS("Floor", 13),
    KEEPS("GRU", 22),
    KEEPS("Gather", 13),
    KEEPS("GatherElements", 13),
    KEEPS("GatherND", 13),
    KEEPS("Gelu", 20),
    KEEPS("Gemm", 13),
    KEEPS("GlobalAveragePool", 22),
    KEEPS("GlobalLpPool", 22),
    KEEPS("GlobalMaxPool", 22),
    KEEPS("Greater", 13),
    KEEPS("GreaterOrEqual", 16),
    { "GridSample", 22, { STEP(20, grid_sample_20) } },
    { "GroupNormalization", 21, { STEP(21, group_normalization_21) } },
    KEEPS("HammingWindow", 17),
    KEEPS("HannWindow", 17),
    KEEPS("HardSigmoid", 22),
    KEEPS("HardSwish", 22),
    { "Hardmax", 13, { STEP(13, softmax_13) } },
    KEEPS("Identity", 25),
    KEEPS("If", 25),
    KEEPS("ImageDecoder", 20),
    KEEPS("InstanceNormalization", 22),
    KEEPS("IsInf", 20),
    KEEPS("IsNaN", 20),
    KEEPS("LRN", 13),
    KEEPS("LSTM", 22),
    KEEPS("LayerNormalization", 17),
    KEEPS("LeakyRelu", 16),
    KEEPS("Less", 13),
    KEEPS("LessOrEqual", 16),
    KEEPS("Log", 13),
    { "LogSoftmax", 13, { STEP(13, softmax_13) } },
    KEEPS("Loop", 25),
    KEEPS("LpNormalization", 22),
    KEEPS("LpPool", 22),
    KEEPS("MatMul", 13),
    KEEPS("MatMulInteger", 10),
    KEEPS("Max", 13),
    KEEPS("MaxPool", 22),
    KEEPS("MaxRoiPool", 22),
    KEEPS("MaxUnpool", 22),
    KEEPS("Mean", 13),
    KEEPS("MeanVarianceNormalization", 13),
    KEEPS("MelWeightMatrix", 17),
    KEEPS("Min", 13),
    KEEPS("Mish", 22),
    KEEPS("Mod", 13),
    KEEPS("Mul", 14),
    KEEPS("Multinomial", 22),
    KEEPS("Neg", 13),
    KEEPS("NegativeLogLikelihoodLoss", 22),
    KEEPS("NonMaxSuppression", 11),
    KEEPS("NonZero", 13),
    KEEPS("Not", 1),
    KEEPS("OneHot", 11),
    KEEPS("Optional", 15),
    KEEPS("OptionalGetElement", 18),
    KEEPS("OptionalHasElement", 18),
    KEEPS("Or", 7),
    KEEPS("PRelu", 16),
    { "Pad", 25, { CHECKED(11, pad_11) } },
    KEEPS("Pow", 15),
    KEEPS("QLinearConv", 10),
    KEEPS("QLinearMatMul", 21),
    KEEPS("QuantizeLinear", 25),
    KEEPS("RMSNormalization", 23),
    KEEPS("RNN", 22),
    KEEPS("RandomNormal", 22),
    KEEPS("RandomNormalLike", 22),
    KEEPS("RandomUniform", 22),
    KEEPS("RandomUniformLike", 22),
    KEEPS("Range", 11),
    KEEPS("Reciprocal", 13),
    { "ReduceL1", 18, { STEP(18, axes_to_input) } },
    { "ReduceL2", 18, { STEP(18, axes_to_input) } },
    { "ReduceLogSum", 18, { STEP(18, axes_to_input) } },
    { "ReduceLogSumExp", 18, { STEP(18, axes_to_input) } },
    { "ReduceMax", 20, { STEP(18, axes_to_input) } },
    { "ReduceMean", 18, { STEP(18, axes_to_input) } },
    { "ReduceMin", 20, { STEP(18, axes_to_input) } },
    { "ReduceProd", 18, { STEP(18, axes_to_input) } },
    { "ReduceSum", 13, { STEP(13, axes_to_input) } },
    { "ReduceSumSquare", 18, { STEP(18, axes_to_input) } },
    KEEPS("RegexFullMatch", 20),
    KEEPS("Relu", 14),
    KEEPS("Reshape", 25),
    { "Resize", 19, { CHECKED(11, resize_11), CHECKED(13, resize_13) } },
    KEEPS("ReverseSequence", 10),
    { "RoiAlign", 22, { STEP(16, roi_align_16) } },
    KEEPS("RotaryEmbedding", 23),
    KEEPS("Round", 22),
    KEEPS("STFT", 17),
    { "Scan", 25, { REFUSED(9, scan_9) } },
    { "Scatter", 11, { BECOMES(11, scatter_11, "ScatterElements") } },
    KEEPS("ScatterElements", 18),
    KEEPS("ScatterND", 18),
    KEEPS("Selu", 22),
    KEEPS("SequenceAt", 11),
    KEEPS("SequenceConstruct", 11),
    KEEPS("SequenceEmpty", 11),
    KEEPS("SequenceErase", 11),
    KEEPS("SequenceInsert", 11),
    KEEPS("SequenceLength", 11),
    KEEPS("SequenceMap", 17),
    KEEPS("Shape", 25),
    KEEPS("Shrink", 9),
    KEEPS("Sigmoid", 13),
    KEEPS("Sign", 13),
    KEEPS("Sin", 22),
    KEEPS("Sinh", 22),
    KEEPS("Size", 25),
    { "Slice", 13, { STEP(10, slice_10) } },
    { "Softmax", 13, { STEP(13, softmax_13) } },
    KEEPS("SoftmaxCrossEntropyLoss", 13),
    KEEPS("Softplus", 22),
    KEEPS("Softsign", 22),
    KEEPS("SpaceToDepth", 13),
    { "Split", 18, { STEP(13, split_13), STEP(18, split_18) } },
    KEEPS("SplitToSequence", 24),
    KEEPS("Sqrt", 13),
    { "Squeeze", 25, { STEP(13, axes_to_input) } },
    KEEPS("StringConcat", 20),
    KEEPS("StringNormalizer", 10),
    KEEPS("StringSplit", 20),
    KEEPS("Sub", 14),
    KEEPS("Sum", 13),
    KEEPS("Swish", 24),
    KEEPS("Tan", 22),
    KEEPS("Tanh", 13),
    KEEPS("TensorScatter", 24),
    KEEPS("TfIdfVectorizer", 9),
    KEEPS("ThresholdedRelu", 22),
    KEEPS("Tile", 13),
    { "TopK", 24, { STEP(10, top_k_10) } },
    KEEPS("Transpose", 25),
    KEEPS("Trilu", 14),
    KEEPS("Unique", 11),
    { "Unsqueeze", 25, { STEP(13, axes_to_input) } },
    { "Upsample", 10, { STEP(9, upsample_9), BECOMES(10, upsample_10, "Resize") } },
    KEEPS("Where", 16),
    KEEPS("Xor", 7),
};

static const size_t op_count = sizeof ops / sizeof *ops;

const struct ldnq_opset_op *ldnq_opset_find(const char *type)
{
    size_t first = 0, last = op_count;
    while (first < last) {
        size_t middle = (first + last) / 2;
        int order = strcmp(type, ops[middle].type);
        if (order == 0)
            return &ops[middle];
        if (order < 0)
            last = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

const struct ldnq_opset_step *ldnq_opset_step(const struct ldnq_opset_op *op, int opset)
{
    for (size_t i = 0; i < LDNQ_OPSET_STEPS; i++)
        if (op->steps[i].opset == opset)
            return &op->steps[i];
    return NULL;
}

void ldnq_opset_table(ldnq_opset_row_fn *row, void *ctx)
{
    for (size_t i = 0; i < op_count; i++) {
        row(ctx, ops[i].type, ops[i].reviewed, "reviewed");
        for (size_t k = 0; k < LDNQ_OPSET_STEPS; k++) {
            const struct ldnq_opset_step *step = &ops[i].steps[k];
            if (step->opset)
                row(ctx, ops[i].type, step->opset,
                    !step->convert ? "refuse"
                    : step->check  ? "check"
                                   : "convert");
        }
    }
}

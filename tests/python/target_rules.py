# SPDX-License-Identifier: Apache-2.0
"""The rules of each target: what must hold in the file that quantize writes, a change that breaks
it, and the name under which lint reports that. The tests are in test_target_rules.py."""

import math

import numpy as np

import target_networks as networks

# What a target for which every tensor has codes computes or moves on integers.
ON_CODES = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Concat", "MaxPool", "AveragePool",
            "GlobalAveragePool", "Reshape", "Flatten", "Transpose", "Split", "Slice", "Resize",
            "Pad", "Sigmoid", "Tanh"}
MOVES = {"MaxPool", "Reshape", "Flatten", "Transpose", "Split", "Slice", "Resize", "Pad"}


class Rule:
    """`holds` asserts; `breaks` changes a file so that it no longer does, which lint reports under
    the name `finding`."""

    def __init__(self, name, target, build, holds, breaks, finding, activations="auto"):
        self.name, self.target, self.build, self.activations = name, target, build, activations
        self.holds, self.breaks, self.finding = holds, breaks, finding

    def __str__(self):
        return f"{self.target}-{self.name}-{self.finding}"


def first_pair(w):
    return w.pairs()[0]


def activations_are(dtype, zero=None):
    def holds(w):
        assert w.pairs()
        for pair in w.pairs():
            assert w.values[pair.input[2]].dtype == dtype
            assert zero is None or w.scale(pair)[1] == zero
    return holds


def set_zero(zero):
    return lambda w: w.set_pair(first_pair(w), zero=zero)


def scales_are_positive_constants(w):
    for pair in w.all("QuantizeLinear", "DequantizeLinear"):
        scales = w.values[pair.input[1]]
        assert (scales > 0).all() and np.isfinite(scales).all()


def compute_a_scale(w):
    pair = first_pair(w)
    made = networks.helper.make_node("ReduceMax", [w.graph.input[0].name], ["computed"], keepdims=0)
    w.graph.node.insert(0, made)
    pair.input[1] = w.readers(pair.output[0])[0].input[1] = "computed"


def scales_are_powers_of_two(w):
    for pair in w.pairs():
        assert math.frexp(w.scale(pair)[0])[0] == 0.5


def scales_of_weights_are_powers_of_two(w):
    for layer in w.layers():
        assert math.frexp(w.scale(w.weight(layer))[0])[0] == 0.5


def weights_are(dtype=np.int8, per_channel=True, least=-128):
    def holds(w):
        assert w.layers()
        for layer in w.layers():
            pair = w.weight(layer)
            codes, scales, zeros = (w.values[name] for name in pair.input)
            assert codes.dtype == dtype and codes.min() >= least and not zeros.any()
            assert scales.ndim == zeros.ndim == (1 if per_channel else 0)
    return holds


def weights_of_products_have_one_scale(w):
    assert w.layers("MatMul")
    for layer in w.layers("MatMul"):
        assert w.values[w.weight(layer).input[1]].ndim == 0


def change_weight(position, change):
    def breaks(w):
        pair = w.weight(w.layers()[0])
        pair.input[position] = w.own(change(w.values[pair.input[position]]))
    return breaks


def store_weight_as_uint8(w):
    pair = w.weight(w.layers()[0])
    pair.input[0] = w.own((w.values[pair.input[0]].astype(np.int32) + 128).astype(np.uint8))
    pair.input[2] = w.own(np.full_like(w.values[pair.input[2]], 128, np.uint8))


def give_a_product_scales_per_channel(w):
    pair = w.weight(w.layers("MatMul")[0])
    channels = w.values[pair.input[0]].shape[1]
    pair.input[1] = w.own(np.full(channels, w.values[pair.input[1]], np.float32))
    pair.input[2] = w.own(np.zeros(channels, np.int8))


def give_a_convolution_scales_per_channel(w):
    pair = w.weight(w.layers("Conv")[0])
    channels = w.values[pair.input[0]].shape[0]
    pair.input[1] = w.own(np.full(channels, w.values[pair.input[1]], np.float32))
    pair.input[2] = w.own(np.zeros(channels, np.int8))
    pair.attribute.append(networks.helper.make_attribute("axis", 0))


def biases_are_float(w):
    layers = [layer for layer in w.layers("Conv", "Gemm") if len(layer.input) > 2]
    assert layers
    for layer in layers:
        assert w.values[layer.input[2]].dtype == np.float32


def quantize_a_bias(w):
    w.integer_bias(w.layers("Conv")[0])


def biases_are_int32(w):
    layers = [layer for layer in w.layers("Conv", "Gemm") if len(layer.input) > 2]
    assert layers
    for layer in layers:
        bias = w.producer(layer.input[2])
        assert bias.op_type == "DequantizeLinear" and w.values[bias.input[0]].dtype == np.int32
        assert not w.values[bias.input[2]].any()
        np.testing.assert_array_equal(
            w.values[bias.input[1]],
            w.values[w.pair_before(layer).input[1]] * w.values[w.weight(layer).input[1]])


def double_the_scale_of_a_bias(w):
    bias = w.producer(w.layers("Conv")[0].input[2])
    bias.input[1] = w.own(2 * w.values[bias.input[1]])


def make_a_bias_float(w):
    w.float_bias(w.layers("Conv")[0])


def is_for_shifts(w):
    """pow2 has a float Softmax."""
    return all(math.frexp(w.scale(pair)[0])[0] == 0.5 for pair in w.pairs())


def every_tensor_has_codes(w):
    on_codes = ON_CODES | (set() if is_for_shifts(w) else {"Softmax"})
    for n in w.all(*on_codes):
        positions = [0] if n.op_type not in ("Add", "Mul", "Concat", "MatMul") else \
            range(len(n.input))
        for i in positions:
            assert w.pair_before(n, i) is not None, (n.op_type, n.name)
        for o in range(len(n.output)):
            assert w.pair_after(n, o) is not None, (n.op_type, n.name)
    for name in w.outputs:
        made_by = w.producer(name).op_type
        assert made_by == "DequantizeLinear" or (made_by == "Softmax" and is_for_shifts(w))


def drop_the_output_s_pair(w):
    w.drop_pair(w.producer(w.producer(w.outputs[0]).input[0]))


def drop_a_pair_before(op_type, position=0):
    def breaks(w):
        n = w.first(op_type)
        pair = w.pair_before(n, position)
        exact = w.producer(pair.input[0]).input[0]
        n.input[position] = exact
    return breaks


def moves_keep_the_scale(w):
    moved = [n for n in w.all(*MOVES) if w.pair_before(n) is not None]
    assert moved
    for n in moved:
        for o in range(len(n.output)):
            assert w.have_same_scale(w.pair_before(n), w.pair_after(n, o)), n.op_type


def scale_after(op_type, factor, output=0):
    def breaks(w):
        pair = w.pair_after(w.first(op_type), output)
        w.set_pair(pair, scale=np.float32(factor * w.scale(pair)[0]))
    return breaks


def scale_before(op_type, position, factor):
    def breaks(w):
        n = w.first(op_type)
        pair = w.producer(w.pair_before(n, position).input[0])
        w.set_pair(pair, scale=np.float32(factor * w.scale(pair)[0]))
    return breaks


def one_scale_before(op_type, after_too):
    def holds(w):
        assert w.all(op_type)
        for n in w.all(op_type):
            pairs = [w.pair_before(n, i) for i in range(len(n.input))]
            assert w.have_same_scale(*pairs, *([w.pair_after(n)] if after_too else []))
    return holds


def output_range_is(op_type, scale, zero):
    def holds(w):
        assert w.all(op_type)
        for n in w.all(op_type):
            assert w.scale(w.pair_after(n)) == (scale, zero)
    return holds


def ranges_are_wide_enough(w):
    for pair in w.pairs():
        steps = 2 ** (8 * w.values[pair.input[2]].dtype.itemsize) - 1
        assert w.scale(pair)[0] * steps >= 1e-4 * (1 - 1e-6)


def no_pair_between_a_layer_and_its_clamp(w):
    for n in w.all("Relu", "Clip"):
        assert w.pair_before(n) is None


def add_a_pair_before(op_type, position, zero, scale=0.125):
    return lambda w: w.add_pair(w.first(op_type), position, scale, zero)


def no_pair_on_copies(w):
    for n in w.all("Concat", "Gather", "Reshape", "Flatten", "Relu", "Clip", "Sigmoid", "Softmax",
                   "Split", "Slice", "Transpose"):
        assert all(w.pair_before(n, i) is None for i in range(len(n.input)))


def pairs_are_before_layers(w):
    for pair in w.pairs():
        for reader in w.readers(w.readers(pair.output[0])[0].output[0]):
            assert reader.op_type in ("Conv", "Gemm", "MatMul", "Add", "AveragePool",
                                      "GlobalAveragePool")


def add_has_its_pair_on_the_shortcut(w):
    add = w.first("Add")
    made_by = [w.producer(name).op_type for name in add.input]
    assert sorted(made_by) == ["Conv", "DequantizeLinear"]


def add_a_pair_to_the_layer_of_the_add(w):
    add = w.first("Add")
    position = [w.producer(name).op_type for name in add.input].index("Conv")
    w.add_pair(add, position, 0.125, np.int8(0))


def concat_has_one_pair_after_it(w):
    concat = w.first("Concat")
    assert all(w.pair_before(concat, i) is None for i in range(2))
    assert w.pair_after(concat) is not None


def add_pairs_of_two_scales_to_the_concat(w):
    w.add_pair(w.first("Concat"), 0, 0.125, np.int8(0))
    w.add_pair(w.first("Concat"), 1, 0.25, np.int8(0))


def small_convolutions_stay_float(w):
    is_float = {n.name: w.weight(n) is None and w.pair_before(n) is None for n in w.all("Conv")}
    assert is_float == {"three": True, "to_twelve": True, "from_twelve": True, "sixteen": False}


def quantize_a_small_convolution(w):
    layer = next(n for n in w.all("Conv") if n.name == "three")
    w.add_pair(layer, 0, 0.05, np.int8(0))
    layer = next(n for n in w.all("Conv") if n.name == "three")
    codes = np.ones((8, 3, 3, 3), np.int8)
    inputs = [w.own(codes), w.own(np.float32(0.01)), w.own(np.int8(0))]
    at = list(w.graph.node).index(layer)
    layer.input[1] = "small_weight"
    w.graph.node.insert(at, networks.node_of("DequantizeLinear", inputs, "small_weight"))


def depthwise_convolutions_follow_codes(w):
    codes = {n.name: w.weight(n) is not None and w.pair_before(n) is not None
             for n in w.all("Conv")}
    assert not codes["after_elu"] and codes["after_relu"]


def quantize_a_depthwise_convolution(w):
    layer = next(n for n in w.all("Conv") if n.name == "after_elu")
    w.add_pair(layer, 0, 0.05, np.uint8(0))
    layer = next(n for n in w.all("Conv") if n.name == "after_elu")
    inputs = [w.own(np.ones((16, 1, 3, 3), np.int8)), w.own(np.float32(0.01)), w.own(np.int8(0))]
    at = list(w.graph.node).index(layer)
    layer.input[1] = "depthwise_weight"
    w.graph.node.insert(at, networks.node_of("DequantizeLinear", inputs, "depthwise_weight"))


def layers_faster_in_float_stay_float(w):
    codes = {n.name for n in w.all("Conv") if w.weight(n) is not None}
    assert codes == {"wide", "project", "last"}


def quantize_a_narrow_convolution(w):
    find = lambda: next(n for n in w.all("Conv") if n.name == "narrow")
    w.add_pair(w.first("HardSwish"), 0, 0.05, np.uint8(0))
    inputs = [w.own(np.ones((32, 8, 1, 1), np.int8)), w.own(np.float32(0.01)), w.own(np.int8(0))]
    find().input[1] = "narrow_weight"
    w.graph.node.insert(0, networks.node_of("DequantizeLinear", inputs, "narrow_weight"))


def opset_is_at_least(least):
    def holds(w):
        assert w.opset >= least
    return holds


def lower_the_opset(w):
    for entry in w.proto.opset_import:
        entry.version = 12


RESIDUAL, BRANCHES, EQUAL = networks.residual_block, networks.two_branches, \
    networks.two_equal_branches
DEPTHWISE, RESIZED, ATTENTION = networks.depthwise_separable, networks.resized, networks.attention
GATES, DETECTOR, SCALED = networks.activations, networks.detector, networks.scaled_input


def rules_of_every_tensor(target, zero):
    """What qnn, tflite and pow2 share."""
    last = change_weight(2, lambda zeros: np.full_like(zeros, 3))
    return [
        Rule("every tensor has codes", target, RESIDUAL, every_tensor_has_codes,
             drop_the_output_s_pair, "output-pair"),
        Rule("both operands have codes", target, RESIDUAL, every_tensor_has_codes,
             drop_a_pair_before("Add", 1), "input-pair"),
        Rule("every product has codes", target, ATTENTION, every_tensor_has_codes,
             drop_a_pair_before("MatMul", 0), "weights-only"),
        Rule("operators before the first layer have codes", target, SCALED,
             every_tensor_has_codes, drop_a_pair_before("Transpose"), "move-pair"),
        Rule("zero points of weights are 0", target, RESIDUAL,
             weights_are(per_channel=target != "pow2"), last, "weight-symmetric"),
        Rule("bias has the scale of the products", target, DEPTHWISE, biases_are_int32,
             double_the_scale_of_a_bias, "bias-scale"),
        Rule("bias is int32", target, RESIDUAL, biases_are_int32, make_a_bias_float, "bias-int32"),
        Rule("MaxPool and Flatten keep the scale", target, RESIDUAL, moves_keep_the_scale,
             scale_after("MaxPool", 2), "same-scale"),
        Rule("Resize, Pad and Slice keep the scale", target, RESIZED, moves_keep_the_scale,
             scale_after("Resize", 2), "same-scale"),
        Rule("Split, Transpose and Reshape keep the scale", target, ATTENTION,
             moves_keep_the_scale, scale_after("Transpose", 2), "same-scale"),
        Rule("all outputs of Split keep the scale", target, ATTENTION, moves_keep_the_scale,
             scale_after("Split", 2, output=2), "same-scale"),
        Rule("no pair between a layer and its Relu", target, RESIDUAL,
             no_pair_between_a_layer_and_its_clamp, add_a_pair_before("Relu", 0, zero),
             "clamp-pair"),
        Rule("scales are constants", target, RESIDUAL, scales_are_positive_constants,
             compute_a_scale, "constant-scale"),
        Rule("opset", target, RESIDUAL, opset_is_at_least(13), lower_the_opset, "opset"),
    ]


def repeat_a_pair(w):
    pair = w.pair_after(w.first("Conv"))
    dequantize = w.readers(pair.output[0])[0]
    reader = w.readers(dequantize.output[0])[0]
    position = list(reader.input).index(dequantize.output[0])
    w.add_pair(reader, position, w.scale(pair)[0], w.values[pair.input[2]])


def no_pair_reads_a_pair(w):
    for pair in w.pairs():
        made_by = w.producer(pair.input[0])
        assert made_by is None or made_by.op_type != "DequantizeLinear"


def biases_fit_32_bits(w):
    for layer in w.layers("Conv", "Gemm"):
        codes = w.values[w.producer(layer.input[2]).input[0]].astype(np.int64)
        assert (np.abs(codes) <= 2**30).all()


def cut_a_bias(w):
    bias = w.producer(w.first("Conv").input[2])
    codes = w.values[bias.input[0]].copy()
    codes[3] = np.iinfo(np.int32).max
    bias.input[0] = w.own(codes)


RULES = [
    Rule("biases fit 32 bits", "ort", networks.switched_off_channels, biases_fit_32_bits,
         cut_a_bias, "bias-saturated"),
    Rule("depthwise convolutions follow codes", "ort", networks.depthwise_after_float,
         depthwise_convolutions_follow_codes, quantize_a_depthwise_convolution, "small-layer"),
    Rule("layers faster in float stay float", "ort", networks.squeezed,
         layers_faster_in_float_stay_float, quantize_a_narrow_convolution, "small-layer"),
    Rule("no pair follows a pair", "ort", RESIDUAL, no_pair_reads_a_pair, repeat_a_pair,
         "double-pair"),
    # ---- tensorrt
    Rule("activations are int8 with zero point 0", "tensorrt", RESIDUAL,
         activations_are(np.int8, 0), set_zero(np.int8(3)), "symmetric"),
    Rule("activations are int8", "tensorrt", RESIDUAL, activations_are(np.int8, 0),
         set_zero(np.uint8(0)), "activation-type"),
    Rule("scales are positive", "tensorrt", RESIDUAL, scales_are_positive_constants,
         lambda w: w.set_pair(first_pair(w), scale=0), "positive-scale"),
    Rule("scales are constants", "tensorrt", RESIDUAL, scales_are_positive_constants,
         compute_a_scale, "constant-scale"),
    Rule("scales of weights are positive", "tensorrt", RESIDUAL, scales_are_positive_constants,
         change_weight(1, lambda s: -s), "positive-scale"),
    Rule("zero points of weights are 0", "tensorrt", RESIDUAL, weights_are(),
         change_weight(2, lambda zeros: np.full_like(zeros, 3)), "weight-symmetric"),
    Rule("weights are int8", "tensorrt", RESIDUAL, weights_are(), store_weight_as_uint8,
         "weight-type"),
    Rule("biases are float", "tensorrt", RESIDUAL, biases_are_float, quantize_a_bias,
         "bias-float"),
    Rule("pairs are only before layers", "tensorrt", RESIDUAL, pairs_are_before_layers,
         add_a_pair_before("Relu", 0, np.int8(0)), "clamp-pair"),
    Rule("copies have no pair", "tensorrt", ATTENTION, no_pair_on_copies,
         add_a_pair_before("Transpose", 0, np.int8(0)), "copy-pair"),
    Rule("activation functions have no pair", "tensorrt", GATES, no_pair_on_copies,
         add_a_pair_before("Softmax", 0, np.int8(0)), "copy-pair"),
    Rule("a residual Add has its pair on the shortcut", "tensorrt", RESIDUAL,
         add_has_its_pair_on_the_shortcut, add_a_pair_to_the_layer_of_the_add, "residual-pair"),
    Rule("Concat has one scale", "tensorrt", BRANCHES, concat_has_one_pair_after_it,
         add_pairs_of_two_scales_to_the_concat, "one-scale"),
    Rule("small convolutions stay float", "tensorrt", networks.small_layers,
         small_convolutions_stay_float, quantize_a_small_convolution, "small-layer"),
    Rule("opset", "tensorrt", RESIDUAL, opset_is_at_least(13), lower_the_opset, "opset"),
    # ---- openvino
    Rule("biases are float", "openvino", RESIDUAL, biases_are_float, quantize_a_bias,
         "bias-float"),
    Rule("weights are -127 to 127", "openvino", RESIDUAL, weights_are(least=-127),
         change_weight(0, lambda codes: np.where(codes == codes.min(), -128, codes)
                       .astype(np.int8)), "weight-narrow"),
    Rule("Concat has one scale", "openvino", BRANCHES, one_scale_before("Concat", False),
         scale_before("Concat", 0, 2), "one-scale"),
    Rule("no pair between a layer and its Relu", "openvino", RESIDUAL,
         no_pair_between_a_layer_and_its_clamp, add_a_pair_before("Relu", 0, np.uint8(0)),
         "clamp-pair"),
    # ---- qnn
    *rules_of_every_tensor("qnn", np.uint8(0)),
    Rule("activations are uint8", "qnn", RESIDUAL, activations_are(np.uint8),
         set_zero(np.int8(0)), "activation-type"),
    Rule("activations are uint16", "qnn", RESIDUAL, activations_are(np.uint16),
         set_zero(np.int16(0)), "activation-type", "uint16"),
    Rule("weights of MatMul have one scale", "qnn", ATTENTION,
         weights_of_products_have_one_scale, give_a_product_scales_per_channel, "weight-per-tensor"),
    Rule("ranges are at least 1e-4 wide", "qnn", networks.silent, ranges_are_wide_enough,
         lambda w: w.set_pair(w.pair_after(w.first("Conv")), scale=1e-9), "least-range"),
    Rule("Softmax has scale 1/65536", "qnn", ATTENTION, output_range_is("Softmax", 2**-16, 0),
         scale_after("Softmax", 1.5), "fixed-range", "uint16"),
    Rule("Sigmoid has scale 1/65536", "qnn", GATES, output_range_is("Sigmoid", 2**-16, 0),
         scale_after("Sigmoid", 1.5), "fixed-range", "uint16"),
    Rule("Tanh has scale 1/32768 and zero point 32768", "qnn", GATES,
         output_range_is("Tanh", 2**-15, 32768), scale_after("Tanh", 1.5), "fixed-range",
         "uint16"),
    Rule("scales of a Concat are one if they are near", "qnn", EQUAL,
         one_scale_before("Concat", True), scale_before("Concat", 0, 1.02), "near-scale"),
    # ---- tflite
    *rules_of_every_tensor("tflite", np.int8(0)),
    Rule("activations are int8", "tflite", RESIDUAL, activations_are(np.int8),
         set_zero(np.uint8(0)), "activation-type"),
    Rule("activations of 16 bits have zero point 0", "tflite", RESIDUAL,
         activations_are(np.int16, 0), set_zero(np.int16(3)), "symmetric", "int16"),
    Rule("weights are -127 to 127 per channel", "tflite", RESIDUAL, weights_are(least=-127),
         change_weight(0, lambda codes: np.where(codes == codes.min(), -128, codes)
                       .astype(np.int8)), "weight-narrow"),
    Rule("weights are int8", "tflite", RESIDUAL, weights_are(least=-127), store_weight_as_uint8,
         "weight-type"),
    Rule("inputs of a Concat have the scale of its output", "tflite", BRANCHES,
         one_scale_before("Concat", True), scale_before("Concat", 0, 2), "one-scale"),
    Rule("the output of a Concat has the scale of its inputs", "tflite", BRANCHES,
         one_scale_before("Concat", True), scale_after("Concat", 2), "one-scale"),
    Rule("scores are requantized beside boxes", "tflite", DETECTOR,
         one_scale_before("Concat", True), scale_before("Concat", 1, 2), "one-scale"),
    Rule("AveragePool keeps the scale", "tflite", RESIZED, one_scale_before("AveragePool", True),
         scale_after("AveragePool", 2), "one-scale"),
    Rule("Softmax has scale 1/256 and zero point -128", "tflite", ATTENTION,
         output_range_is("Softmax", 1 / 256, -128), scale_after("Softmax", 1.5), "fixed-range"),
    Rule("Sigmoid has scale 1/256 and zero point -128", "tflite", DETECTOR,
         output_range_is("Sigmoid", 1 / 256, -128), scale_after("Sigmoid", 1.5), "fixed-range"),
    Rule("Tanh has scale 1/128 and zero point 0", "tflite", GATES,
         output_range_is("Tanh", 1 / 128, 0), scale_after("Tanh", 1.5), "fixed-range"),
    Rule("Softmax has scale 1/32768 with 16 bits", "tflite", ATTENTION,
         output_range_is("Softmax", 2**-15, 0), scale_after("Softmax", 1.5), "fixed-range",
         "int16"),
    # ---- pow2
    *rules_of_every_tensor("pow2", np.int8(0)),
    Rule("activations are int8 with zero point 0", "pow2", RESIDUAL, activations_are(np.int8, 0),
         set_zero(np.int8(3)), "symmetric"),
    Rule("scales are powers of two", "pow2", RESIDUAL, scales_are_powers_of_two,
         scale_after("Add", 1.5), "power-of-two"),
    Rule("scales of 16 bits are powers of two", "pow2", RESIDUAL, scales_are_powers_of_two,
         scale_after("Add", 1.5), "power-of-two", "int16"),
    Rule("scales of weights are powers of two", "pow2", RESIDUAL,
         scales_of_weights_are_powers_of_two, change_weight(1, lambda s: np.float32(1.5 * s)),
         "weight-power-of-two"),
    Rule("weights have one scale", "pow2", RESIDUAL, weights_are(per_channel=False),
         give_a_convolution_scales_per_channel, "weight-per-tensor"),
    Rule("operands of an Add have one scale", "pow2", RESIDUAL, one_scale_before("Add", False),
         scale_before("Add", 1, 2), "one-scale"),
    Rule("inputs of a Concat have the scale of its output", "pow2", BRANCHES,
         one_scale_before("Concat", True), scale_before("Concat", 0, 2), "one-scale"),
]

# SPDX-License-Identifier: Apache-2.0
"""Small networks for the tests of --target, and how a written file is read and broken.

Each function gives (model, shape of a sample). Layers have 16 channels or more, so that no target
leaves them in float for their size.
"""

import copy

import numpy as np
import onnx
from onnx import helper, numpy_helper

from small_models import chain, conv, node
from support import weights

SAME = [1] * 4


def residual_block():
    """A bottleneck whose shortcut comes from a Relu, then pools and a Gemm."""
    nodes = [conv("x w0 b0", "a", pads=SAME), node("Relu", "a", "b"),
             conv("b w1 b1", "c", pads=SAME), node("Clip", "c low high", "d"),
             conv("d w2 b2", "e", pads=SAME), node("Add", "b e", "f"), node("Relu", "f", "g"),
             node("MaxPool", "g", "h", kernel_shape=[2, 2], strides=[2, 2]),
             node("GlobalAveragePool", "h", "i"), node("Flatten", "i", "j"),
             node("Gemm", "j w3 b3", "y", transB=1)]
    values = {"w0": weights(16, 16, 3, 3, spread=0.1), "b0": weights(16),
              "w1": weights(24, 16, 3, 3, spread=0.2), "b1": weights(24),
              "w2": weights(16, 24, 3, 3, spread=0.1), "b2": weights(16),
              "w3": weights(20, 16), "b3": weights(20),
              "low": np.float32(0), "high": np.float32(6)}
    return chain(nodes, (16, 8, 8), (20,), values), (16, 8, 8)


def two_branches(loud=4.0):
    """A Concat of two convolutions, one `loud` times louder than the other."""
    nodes = [conv("x w0 b0", "a", pads=SAME), conv("x w1 b1", "b"),
             node("Concat", "a b", "c", axis=1), conv("c w2", "y", pads=SAME)]
    values = {"w0": weights(16, 16, 3, 3, spread=0.1), "b0": weights(16),
              "w1": loud * weights(16, 16, 1, 1), "b1": weights(16),
              "w2": weights(16, 32, 3, 3, spread=0.1)}
    return chain(nodes, (16, 8, 8), (16, 8, 8), values), (16, 8, 8)


def two_equal_branches():
    """A Concat of convolutions whose ranges differ by some percent."""
    nodes = [conv("x w0 b0", "a", pads=SAME), conv("x w1 b1", "b", pads=SAME),
             node("Concat", "a b", "c", axis=1), conv("c w2", "y", pads=SAME)]
    kernel = weights(16, 16, 3, 3, spread=0.1)
    values = {"w0": kernel, "b0": weights(16), "w1": 1.03 * kernel, "b1": weights(16),
              "w2": weights(16, 32, 3, 3, spread=0.1)}
    return chain(nodes, (16, 8, 8), (16, 8, 8), values), (16, 8, 8)


def depthwise_separable():
    nodes = [conv("x w0 b0", "a"), node("Clip", "a low high", "b"),
             conv("b w1 b1", "c", group=16, pads=SAME), node("Relu", "c", "d"),
             conv("d w2 b2", "y")]
    values = {"w0": weights(16, 16, 1, 1), "b0": weights(16), "w1": weights(16, 1, 3, 3),
              "b1": weights(16), "w2": weights(24, 16, 1, 1), "b2": weights(24),
              "low": np.float32(0), "high": np.float32(6)}
    return chain(nodes, (16, 8, 8), (24, 8, 8), values), (16, 8, 8)


def depthwise_after_float():
    """A depthwise convolution whose input no integer kernel computes, and one after a Relu."""
    nodes = [conv("x w0 b0", "a"), node("Elu", "a", "b"),
             conv("b w1 b1", "c", group=16, pads=SAME, name="after_elu"), node("Elu", "c", "d"),
             conv("d w2 b2", "e"), node("Relu", "e", "f"),
             conv("f w3 b3", "y", group=24, pads=SAME, name="after_relu")]
    values = {"w0": weights(16, 16, 1, 1), "b0": weights(16), "w1": weights(16, 1, 3, 3),
              "b1": weights(16), "w2": weights(24, 16, 1, 1), "b2": weights(24),
              "w3": weights(24, 1, 3, 3), "b3": weights(24)}
    return chain(nodes, (16, 8, 8), (24, 8, 8), values), (16, 8, 8)


def squeezed():
    """A depthwise convolution in a block of squeeze and excitation, and a narrow one before a
    HardSwish. Two of the names are those of layers that are faster in float; so is the gate."""
    nodes = [conv("x w0 b0", "a", name="wide"), node("Relu", "a", "b"),
             conv("b w1 b1", "c", group=24, pads=SAME, name="squeezed_depthwise"),
             node("Relu", "c", "d"), node("GlobalAveragePool", "d", "m"),
             conv("m w2 b2", "e", name="gate"), node("HardSigmoid", "e", "g"),
             node("Mul", "d g", "f"), conv("f w3 b3", "h", name="project"),
             conv("h w4 b4", "i", name="narrow"), node("HardSwish", "i", "j"),
             conv("j w5 b5", "y", name="last")]
    values = {"w0": weights(24, 32, 1, 1), "b0": weights(24), "w1": weights(24, 1, 3, 3),
              "b1": weights(24), "w2": weights(24, 24, 1, 1), "b2": weights(24),
              "w3": weights(8, 24, 1, 1), "b3": weights(8), "w4": weights(32, 8, 1, 1),
              "b4": weights(32), "w5": weights(8, 32, 1, 1), "b5": weights(8)}
    return chain(nodes, (32, 8, 8), (8, 8, 8), values, opset=14), (32, 8, 8)


def resized():
    """Resize, Pad, MaxPool, AveragePool and Slice between convolutions."""
    resize = helper.make_node("Resize", ["b", "", "factors"], ["c"], mode="nearest",
                                   coordinate_transformation_mode="asymmetric",
                                   nearest_mode="floor")
    nodes = [conv("x w0 b0", "b", pads=SAME), resize, node("Pad", "c pads", "d"),
             node("MaxPool", "d", "m", kernel_shape=[3, 3], strides=[1, 1]),
             node("AveragePool", "m", "e", kernel_shape=[3, 3], strides=[1, 1]),
             node("Slice", "e from to axes", "f"), conv("f w1 b1", "y")]
    values = {"w0": weights(16, 16, 3, 3, spread=0.1), "b0": weights(16),
              "w1": weights(16, 16, 1, 1), "b1": weights(16),
              "factors": np.array([1, 1, 2, 2], np.float32),
              "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "from": np.array([1]),
              "to": np.array([13]), "axes": np.array([2])}
    return chain(nodes, (16, 8, 8), (16, 12, 14), values), (16, 8, 8)


def attention():
    """Two products of activations around a Softmax, with Reshape, Split and Transpose."""
    split = helper.make_node("Split", ["b"], ["q", "k", "v"], axis=2)
    nodes = [node("MatMul", "x w0", "a"), node("Add", "a b0", "b"), split,
             node("Transpose", "k", "t", perm=[0, 2, 1]), node("MatMul", "q t", "s"),
             node("Mul", "s factor", "u"), node("Softmax", "u", "p", axis=2),
             node("MatMul", "p v", "o"), node("MatMul", "o w1", "z"), node("Add", "z x", "r"),
             node("Reshape", "r shape", "y")]
    values = {"w0": weights(32, 96), "b0": weights(96), "w1": weights(32, 32),
              "factor": np.float32(0.2), "shape": np.array([0, 16 * 32])}
    return chain(nodes, (16, 32), (512,), values), (16, 32)


def masked_attention():
    """Scores with a causal mask of the least float, as torch exports it."""
    mask = np.triu(np.full((16, 16), np.finfo(np.float32).min, np.float32), 1)
    nodes = [node("MatMul", "x w0", "q"), node("MatMul", "x w1", "k"), node("MatMul", "x w2", "v"),
             node("Transpose", "k", "t", perm=[0, 2, 1]), node("MatMul", "q t", "s"),
             node("Add", "s mask", "u"), node("Softmax", "u", "p", axis=2),
             node("MatMul", "p v", "o"), node("MatMul", "o w3", "y")]
    values = {"w0": weights(32, 32, spread=0.1), "w1": weights(32, 32, seed=2, spread=0.1),
              "w2": weights(32, 32, seed=3), "w3": weights(32, 32, seed=4), "mask": mask}
    return chain(nodes, (16, 32), (16, 32), values), (16, 32)


def activations():
    """Sigmoid, Tanh, HardSwish-like gates and a Softmax, as outputs and between layers."""
    nodes = [conv("x w0 b0", "a", pads=SAME), node("Sigmoid", "a", "g"), node("Mul", "a g", "b"),
             conv("b w1 b1", "c", pads=SAME), node("Tanh", "c", "d"),
             conv("d w2 b2", "e"), node("GlobalAveragePool", "e", "f"),
             node("Flatten", "f", "h"), node("Softmax", "h", "y", axis=1)]
    values = {"w0": weights(16, 16, 3, 3, spread=0.1), "b0": weights(16),
              "w1": weights(16, 16, 3, 3, spread=0.1), "b1": weights(16),
              "w2": weights(16, 16, 1, 1), "b2": weights(16)}
    return chain(nodes, (16, 8, 8), (16,), values), (16, 8, 8)


def detector():
    """Boxes beside scores: a Concat whose inputs have other ranges, one of them fixed."""
    nodes = [conv("x w0 b0", "a", pads=SAME), node("Relu", "a", "b"), conv("b w1 b1", "boxes"),
             conv("b w2 b2", "c"), node("Sigmoid", "c", "scores"),
             node("Concat", "boxes scores", "d", axis=1), node("Reshape", "d shape", "e"),
             node("Transpose", "e", "y", perm=[0, 2, 1])]
    values = {"w0": weights(16, 16, 3, 3, spread=0.1), "b0": weights(16),
              "w1": 20 * weights(16, 16, 1, 1), "b1": 50 * weights(16),
              "w2": weights(16, 16, 1, 1), "b2": weights(16), "shape": np.array([0, 32, 64])}
    return chain(nodes, (16, 8, 8), (64, 32), values), (16, 8, 8)


def small_layers():
    """A convolution of 3 channels, one of 12, one of 8 and one of 16."""
    nodes = [conv("x w0 b0", "a", pads=SAME, name="three"), node("Relu", "a", "b"),
             conv("b w1 b1", "c", name="to_twelve"), conv("c w2 b2", "d", name="from_twelve"),
             conv("d w3 b3", "y", name="sixteen")]
    values = {"w0": weights(8, 3, 3, 3), "b0": weights(8), "w1": weights(12, 8, 1, 1),
              "b1": weights(12), "w2": weights(16, 12, 1, 1), "b2": weights(16),
              "w3": weights(8, 16, 1, 1), "b3": weights(8)}
    return chain(nodes, (3, 8, 8), (8, 8, 8), values), (3, 8, 8)


def switched_off_channels():
    """A convolution with a channel of tiny weights, and one of none, whose biases count."""
    kernel, bias = weights(16, 16, 3, 3, spread=0.1), weights(16)
    kernel[3] *= 1e-9
    kernel[5] = 0
    bias[[3, 5]] = 5, -3
    nodes = [conv("x w0 b0", "a", pads=SAME), conv("a w1 b1", "y")]
    values = {"w0": kernel, "b0": bias, "w1": weights(16, 16, 1, 1), "b1": weights(16)}
    return chain(nodes, (16, 8, 8), (16, 8, 8), values), (16, 8, 8)


def silent():
    """A convolution whose output hardly differs from 0."""
    nodes = [conv("x w0 b0", "a", pads=SAME), conv("a w1 b1", "y")]
    values = {"w0": 1e-8 * weights(16, 16, 3, 3), "b0": np.zeros(16, np.float32),
              "w1": weights(16, 16, 1, 1), "b1": weights(16)}
    return chain(nodes, (16, 8, 8), (16, 8, 8), values), (16, 8, 8)


def scaled_input():
    """Operators before the first layer, and a Softmax of its output."""
    nodes = [node("Mul", "x factor", "a"), node("Transpose", "a", "b", perm=[0, 2, 1]),
             node("MatMul", "b w0", "c"), node("Softmax", "c", "y", axis=2)]
    values = {"factor": np.float32(0.5), "w0": weights(24, 32)}
    return chain(nodes, (24, 16), (16, 32), values), (24, 16)


ALL = [residual_block, two_branches, two_equal_branches, depthwise_separable, resized, attention,
       activations, detector, scaled_input, switched_off_channels]


class Written:
    """A QDQ file: its nodes by what they write and read, its pairs and its weights; with ways to
    break its rules."""

    def __init__(self, path):
        self.path = path
        self.proto = onnx.load(path)
        self.graph = self.proto.graph
        self.values = {i.name: numpy_helper.to_array(i) for i in self.graph.initializer}
        self.outputs = [output.name for output in self.graph.output]

    def clone(self, path):
        """To be changed and saved elsewhere."""
        other = copy.copy(self)
        other.path, other.values = path, dict(self.values)
        other.proto = copy.deepcopy(self.proto)
        other.graph = other.proto.graph
        return other

    def save(self):
        onnx.save(self.proto, self.path)
        return self.path

    # ---- reading

    @property
    def opset(self):
        return next(o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx"))

    def all(self, *op_types):
        return [n for n in self.graph.node if n.op_type in op_types]

    def first(self, op_type):
        return self.all(op_type)[0]

    def producer(self, name):
        return next((n for n in self.graph.node if name in n.output), None)

    def readers(self, name):
        return [n for n in self.graph.node if name in n.input]

    def pair_before(self, target, position=0):
        """The DequantizeLinear that writes an input; None where it is float."""
        made_by = self.producer(target.input[position])
        return made_by if made_by is not None and made_by.op_type == "DequantizeLinear" else None

    def pair_after(self, target, output=0):
        """The QuantizeLinear after an output, past a Relu or Clip; None where there is none."""
        for reader in self.readers(target.output[output]):
            if reader.op_type in ("Relu", "Clip"):
                return self.pair_after(reader)
            if reader.op_type == "QuantizeLinear":
                return reader
        return None

    def scale(self, pair):
        """(scale, zero point) of a Q or DQ node."""
        return float(self.values[pair.input[1]]), int(self.values[pair.input[2]])

    def have_same_scale(self, *pairs):
        return len({self.scale(pair) for pair in pairs}) == 1

    def pairs(self):
        """The QuantizeLinear nodes, one for each activation that is computed."""
        return self.all("QuantizeLinear")

    def weight(self, layer):
        """The DequantizeLinear of a constant weight; None where it is float, or no weight."""
        pair = self.producer(layer.input[1])
        while pair is not None and pair.op_type == "Transpose":
            pair = self.producer(pair.input[0])
        if pair is None or pair.op_type != "DequantizeLinear" or pair.input[0] not in self.values:
            return None
        return pair

    def layers(self, *op_types):
        return [n for n in self.all(*(op_types or ("Conv", "ConvTranspose", "Gemm", "MatMul")))
                if self.weight(n) is not None]

    # ---- changing

    def own(self, array, name="changed"):
        """The name of a new initializer."""
        name = f"{name}_{len(self.values)}"
        self.values[name] = np.asarray(array)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def set_pair(self, pair, scale=None, zero=None):
        """Gives both nodes of a pair another scale or zero point of their own."""
        both = [pair]
        if pair.op_type == "QuantizeLinear":
            both += self.readers(pair.output[0])
        elif self.producer(pair.input[0]) is not None:
            both.append(self.producer(pair.input[0]))
        for each in both:
            if scale is not None:
                each.input[1] = self.own(np.asarray(scale, np.float32))
            if zero is not None:
                each.input[2] = self.own(zero)

    def add_pair(self, reader, position, scale, zero):
        """Between an input of a node and what writes it."""
        value = reader.input[position]
        inputs = [self.own(np.float32(scale)), self.own(zero)]
        codes, out = f"{value}_codes_{position}", f"{value}_out_{position}"
        at = list(self.graph.node).index(reader)
        self.graph.node.insert(at, node_of("DequantizeLinear", [codes, *inputs], out))
        self.graph.node.insert(at, node_of("QuantizeLinear", [value, *inputs], codes))
        next(n for n in self.graph.node if n == reader).input[position] = out

    def drop_pair(self, pair):
        """Of a QuantizeLinear: its readers read the float value."""
        exact, dequantize = pair.input[0], self.readers(pair.output[0])[0]
        self.graph.node.remove(pair)
        self.graph.node.remove(dequantize)
        for reader in self.readers(dequantize.output[0]):
            for i, name in enumerate(reader.input):
                if name == dequantize.output[0]:
                    reader.input[i] = exact
        if dequantize.output[0] in self.outputs:
            self.producer(exact).output[0] = dequantize.output[0]

    def float_bias(self, layer):
        pair = self.producer(layer.input[2])
        layer.input[2] = self.own(self.values[pair.input[0]].astype(np.float32) *
                                  self.values[pair.input[1]])

    def integer_bias(self, layer, scale=0.001):
        bias = self.values[layer.input[2]]
        inputs = [self.own(np.round(bias / scale).astype(np.int32)), self.own(np.float32(scale)),
                  self.own(np.int32(0))]
        at = list(self.graph.node).index(layer)
        layer.input[2] = f"{layer.input[2]}_dequantized"
        self.graph.node.insert(at, node_of("DequantizeLinear", inputs, layer.input[2]))


def node_of(op_type, inputs, output):
    return helper.make_node(op_type, inputs, [output])

# SPDX-License-Identifier: Apache-2.0
"""Writes a transformer encoder with random weights, as PyTorch's TorchScript
exporter spells one out at opset 17: 12 layers, width 384, 6 heads, 128 tokens,
GELU. Weights are drawn so that activations stay near 1."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS, WIDTH, HEADS, TOKENS, HIDDEN, WORDS = 12, 384, 6, 128, 1536, 1000


class Builder:
    def __init__(self):
        self.nodes, self.constants, self.rng = [], [], numpy.random.default_rng(0)

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.asarray(array), name))
        return name

    def normal(self, *shape, scale=1.0):
        return self.constant((scale * self.rng.standard_normal(shape)).astype(numpy.float32))

    def __call__(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def scalar(self, number):
        return self.constant(numpy.float32(number))

    def linear(self, x, inputs, outputs):
        product = self("MatMul", x, self.normal(inputs, outputs, scale=inputs ** -0.5))
        return self("Add", self.normal(outputs, scale=0.1), product)

    def normalization(self, x):
        scale = self.constant(numpy.ones(WIDTH, numpy.float32))
        return self("LayerNormalization", x, scale, self.normal(WIDTH, scale=0.1), axis=-1)

    def heads(self, x, perm):
        shape = self.constant(numpy.array([0, TOKENS, HEADS, WIDTH // HEADS], numpy.int64))
        return self("Transpose", self("Reshape", x, shape), perm=perm)

    def attention(self, x):
        query = self.heads(self.linear(x, WIDTH, WIDTH), [0, 2, 1, 3])
        key = self.heads(self.linear(x, WIDTH, WIDTH), [0, 2, 3, 1])
        value = self.heads(self.linear(x, WIDTH, WIDTH), [0, 2, 1, 3])
        scores = self("Div", self("MatMul", query, key), self.scalar((WIDTH // HEADS) ** 0.5))
        mixed = self("MatMul", self("Softmax", scores, axis=-1), value)
        shape = self.constant(numpy.array([0, TOKENS, WIDTH], numpy.int64))
        joined = self("Reshape", self("Transpose", mixed, perm=[0, 2, 1, 3]), shape)
        return self.linear(joined, WIDTH, WIDTH)

    def gelu(self, x):
        erf = self("Erf", self("Div", x, self.scalar(2 ** 0.5)))
        return self("Mul", self("Mul", x, self("Add", erf, self.scalar(1))), self.scalar(0.5))

    def layer(self, x):
        x = self("Add", x, self.attention(self.normalization(x)))
        hidden = self.gelu(self.linear(self.normalization(x), WIDTH, HIDDEN))
        return self("Add", x, self.linear(hidden, HIDDEN, WIDTH))


def write(path):
    build = Builder()
    x = build("Gather", build.normal(WORDS, WIDTH), "tokens")
    x = build("Add", x, build.normal(TOKENS, WIDTH))
    for _ in range(LAYERS):
        x = build.layer(x)
    x = build.normalization(x)
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", TOKENS])
    states = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", TOKENS, WIDTH])
    graph = helper.make_graph(build.nodes, "encoder", [tokens], [states], build.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)

# SPDX-License-Identifier: Apache-2.0
"""What the tests of `ldnq diff` share: other tools' files, other names, values laid bare."""

import logging
import types

import numpy as np
import onnx
import support
from onnx import shape_inference
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static


class Samples(CalibrationDataReader):
    def __init__(self, name, shape):
        rng = np.random.default_rng(4)
        self.feeds = iter({name: rng.standard_normal((1, *shape)).astype(np.float32)}
                          for _ in range(2))

    def get_next(self):
        return next(self.feeds, None)


def ort_quantized(source, shape, out, per_channel):
    """ONNX Runtime's own int8 file; None where the opset has no scales a channel."""
    proto = onnx.load(source)
    opset = next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    if per_channel and opset < 13:
        return None
    logging.disable(logging.WARNING)
    quantize_static(str(source), str(out), Samples(proto.graph.input[0].name, shape),
                    quant_format=QuantFormat.QDQ, per_channel=per_channel)
    logging.disable(logging.NOTSET)
    return out


def numpy_sqnr(t, y):
    t, y = np.asarray(t, np.float64), np.asarray(y, np.float64)
    return 10 * np.log10((t**2).sum() / ((y - t) ** 2).sum())


def renamed(proto):
    """(proto, original_names): no name of a node or a value is what it was, but for the
    network's inputs and outputs."""
    graph = proto.graph
    kept = {v.name for v in (*graph.input, *graph.output)} - {t.name for t in graph.initializer}
    names = {}

    def new(name):
        if not name or name in kept:
            return name
        return names.setdefault(name, f"t{7919 * len(names) % 10007}")

    del graph.value_info[:]
    originals = {}
    for i, node in enumerate(graph.node):
        label = node.name or f"{node.op_type}#{i}"
        node.name = f"n{104729 * i % 99991}"
        originals[node.name] = label
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = new(tensor.name)
    for value in graph.input:
        value.name = new(value.name)
    return types.SimpleNamespace(proto=proto, original_names=originals)


def shuffled(other, seed):
    """Another order in which the nodes can run."""
    graph, rng = other.proto.graph, np.random.default_rng(seed)
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {""}
    left, order = list(graph.node), []
    while left:
        ready = [n for n in left if known.issuperset(n.input)]
        node = ready[rng.integers(len(ready))]
        left.remove(node)
        order.append(node)
        known.update(node.output)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in order]
    del graph.node[:]
    graph.node.extend(copies)
    return other


def gathered(path, label):
    return next(n for n in onnx.load(path).graph.node if n.name == label)


def expose(path, x):
    """{value: array} of all float values that the network makes from x."""
    proto = shape_inference.infer_shapes(onnx.load(path))
    made = {name for node in proto.graph.node for name in node.output}
    hidden = made - {output.name for output in proto.graph.output}
    for value in proto.graph.value_info:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name in hidden:
            proto.graph.output.append(value)
    values = support.ort_run(proto.SerializeToString(), {proto.graph.input[0].name: x},
                             optimized=False)
    return {**values, proto.graph.input[0].name: x}


def copy_of(path, node, x):
    """What the node of the file gives for x in the place of its data, behind the
    QuantizeLinear and DequantizeLinear that its input goes through."""
    proto = onnx.load(path)
    maker = {name: n for n in proto.graph.node for name in n.output}
    chain, name = [node], node.input[0]
    while name in maker and maker[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        chain.append(maker[name])
        name = maker[name].input[0]
    for other in node.input[1:]:
        while other in maker:
            chain.append(maker[other])
            other = maker[other].input[0]
    nodes = [n for n in proto.graph.node if n in chain]
    alone = support.model(nodes, {name: x.shape}, {node.output[0]: None}, {},
                          opset=proto.opset_import[0].version, opsets=[
                              (o.domain, o.version) for o in proto.opset_import[1:]])
    read = {name for n in nodes for name in n.input}
    alone.graph.initializer.extend(t for t in proto.graph.initializer if t.name in read)
    [y] = support.ort_run(alone.SerializeToString(), {name: x}, optimized=False).values()
    return y

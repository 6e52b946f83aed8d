# SPDX-License-Identifier: Apache-2.0
"""What ONNX Runtime makes of a QDQ file: which kernels compute on codes, which on floats, and
where it converts between them."""

import onnx
import onnxruntime

CODES, FLOATS, OTHER = "codes", "floats", "other"
WRITE_FLOATS = {"DequantizeLinear", "MatMulIntegerToFloat"}
WRITE_OTHER = {"Shape", "Size", "NonZero", "Equal", "Less", "Greater", "And", "Or", "Not", "ArgMax",
               "Range", "IsNaN", "GreaterOrEqual", "LessOrEqual"}
# Without arithmetic, or with that of shapes alone.
MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile", "Slice",
         "Gather", "Split", "Identity", "Cast", "ReorderInput", "ReorderOutput"}
TYPES = {onnx.TensorProto.FLOAT: FLOATS, onnx.TensorProto.UINT8: CODES,
         onnx.TensorProto.INT8: CODES}


class Optimized:
    def __init__(self, model, folder):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(folder / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.graph = onnx.load(options.optimized_model_filepath).graph
        self.kinds = {t.name: TYPES.get(t.data_type, OTHER) for t in self.graph.initializer}
        self.kinds |= {i.name: TYPES.get(i.type.tensor_type.elem_type, OTHER)
                       for i in self.graph.input}
        self.makers = {}
        for node in self.graph.node:
            kind = self.kind_of(node)
            for name in node.output:
                self.kinds[name], self.makers[name] = kind, node

    def kind_of(self, node):
        """Of the outputs: what comes out of most operators is what goes in."""
        if node.op_type == "QGemm":
            return CODES if len(node.input) > 7 else FLOATS
        if node.op_type in WRITE_FLOATS:
            return FLOATS
        if node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear"):
            return CODES
        if node.op_type in WRITE_OTHER:
            return OTHER
        if node.op_type == "Cast":
            return TYPES.get(next(a.i for a in node.attribute if a.name == "to"), OTHER)
        data = node.input[1] if node.op_type == "Where" else next(iter(node.input), "")
        return self.kinds.get(data, OTHER)

    def computes_on_floats(self, node):
        return (self.kinds[node.output[0]] == FLOATS and node.op_type not in MOVES and
                node.op_type not in {*WRITE_FLOATS, "QGemm"})

    def float_kernels(self):
        return {n.op_type for n in self.graph.node if self.computes_on_floats(n)}

    def readers(self, name):
        """The nodes that read the value, also behind nodes that move it."""
        for node in self.graph.node:
            if name in node.input:
                if node.op_type in MOVES:
                    for output in node.output:
                        yield from self.readers(output)
                else:
                    yield node

    def conversions_between_integers(self):
        """DequantizeLinear nodes whose values only integer kernels read."""
        found = []
        for node in self.graph.node:
            if node.op_type != "DequantizeLinear" or node.input[0] not in self.makers:
                continue
            readers = list(self.readers(node.output[0]))
            if readers and all(r.op_type == "QuantizeLinear" for r in readers):
                found.append(node.name)
        return found

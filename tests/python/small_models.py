# SPDX-License-Identifier: Apache-2.0
"""Small models, one for each way in which a weight or its layer may lie in a file.

Each function gives (model, shape of a sample or of one an input, number of weights
that are quantized in it).
"""

import numpy as np
from onnx import TensorProto, helper

import support
from support import model, weights


def conv(inputs, output, **attributes):
    return helper.make_node("Conv", inputs.split(), [output], **attributes)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def chain(nodes, shape, out, initializers, **more):
    return model(nodes, {"x": ["N", *shape]}, {"y": ["N", *out]}, initializers, **more)


def weight_shared_by_two_convs():
    nodes = [conv("x w", "a", name="first", pads=[1] * 4), node("Relu", "a", "b"),
             conv("b w", "y", name="second", pads=[1] * 4)]
    return chain(nodes, (4, 6, 6), (4, 6, 6), {"w": weights(4, 4, 3, 3)}), (4, 6, 6), 1


def weight_read_by_matmul_and_gather():
    nodes = [node("Gather", "w i", "row"), node("Add", "x row", "a"), node("MatMul", "a w", "y")]
    values = {"w": weights(6, 6), "i": np.array(2)}
    return chain(nodes, (6,), (6,), values), (6,), 1


def weight_read_by_gemm_and_by_matmul():
    nodes = [node("Gemm", "x w", "a", transB=1), node("Relu", "a", "b"), node("MatMul", "b w", "y")]
    return chain(nodes, (6,), (6,), {"w": weights(6, 6)}), (6,), 2


def weight_that_is_a_graph_output():
    proto = chain([conv("x w", "y")], (2, 5, 5), (3, 3, 3), {"w": weights(3, 2, 3, 3)})
    proto.graph.output.append(support.info("w", [3, 2, 3, 3]))
    return proto, (2, 5, 5), 1


def weight_behind_identity():
    nodes = [node("Identity", "w", "v"), conv("x v", "y")]
    return chain(nodes, (2, 5, 5), (3, 3, 3), {"w": weights(3, 2, 3, 3)}), (2, 5, 5), 1


def weight_in_a_constant_node():
    value = support.tensor("v", weights(3, 2, 3, 3))
    nodes = [helper.make_node("Constant", [], ["w"], value=value), conv("x w", "y")]
    return chain(nodes, (2, 5, 5), (3, 3, 3), {}), (2, 5, 5), 1


def weight_behind_transpose():
    nodes = [node("Transpose", "w", "v", perm=[1, 0]), node("MatMul", "x v", "y")]
    return chain(nodes, (6,), (4,), {"w": weights(4, 6)}), (6,), 1


def weight_behind_reshape():
    nodes = [node("Reshape", "w s", "v"), node("Gemm", "x v", "y", transB=1)]
    values = {"w": weights(2, 2, 6), "s": np.array([4, 6])}
    return chain(nodes, (6,), (4,), values), (6,), 1


def weight_cast_from_float16():
    nodes = [node("Cast", "w", "v", to=TensorProto.FLOAT), conv("x v", "y")]
    values = {"w": weights(3, 2, 3, 3).astype(np.float16)}
    return chain(nodes, (2, 5, 5), (3, 3, 3), values), (2, 5, 5), 1


def weight_behind_a_whole_chain():
    nodes = [node("Cast", "w", "c", to=TensorProto.FLOAT), node("Identity", "c", "i"),
             node("Reshape", "i s", "r"), node("Transpose", "r", "t", perm=[1, 0]),
             node("MatMul", "x t", "y")]
    values = {"w": weights(2, 2, 6).astype(np.float16), "s": np.array([4, 6])}
    return chain(nodes, (6,), (4,), values), (6,), 1


def names_that_are_missing():
    nodes = [conv("x w", "a"), node("Relu", "a", "b"), conv("b v", "y")]
    values = {"w": weights(3, 2, 3, 3), "v": weights(4, 3, 1, 1, seed=2)}
    return chain(nodes, (2, 5, 5), (4, 3, 3), values), (2, 5, 5), 2


def names_that_are_taken_twice():
    nodes = [conv("x w", "a", name="c"), node("Relu", "a", "b", name="c"),
             conv("b v", "y", name="c")]
    values = {"w": weights(3, 2, 3, 3), "v": weights(4, 3, 1, 1, seed=2)}
    return chain(nodes, (2, 5, 5), (4, 3, 3), values), (2, 5, 5), 2


def names_that_ours_would_take():
    nodes = [conv("x w", "w_dequantized", name="w_DequantizeLinear"),
             node("Mul", "w_dequantized w_scale", "w_quantized"),
             node("Add", "w_quantized b_corrected", "y")]
    values = {"w": weights(3, 2, 3, 3), "w_scale": np.float32(2), "b_corrected": np.float32(1)}
    return chain(nodes, (2, 5, 5), (3, 3, 3), values), (2, 5, 5), 1


def initializers_among_the_inputs():
    proto = chain([conv("x w b", "y")], (2, 5, 5), (3, 3, 3),
                  {"w": weights(3, 2, 3, 3), "b": weights(3)}, opset=8, ir_version=3)
    proto.graph.input.extend([support.info("w", [3, 2, 3, 3]), support.info("b", [3])])
    return proto, (2, 5, 5), 1


def norm(channels, seed=7):
    rng = np.random.default_rng(seed)
    return {"g": rng.uniform(-2, 2, channels), "h": rng.normal(size=channels),
            "m": rng.normal(size=channels), "v": rng.uniform(0.2, 3, channels)}


def normalized(nodes, out, values, **more):
    floats = {name: np.asarray(value, np.float32) for name, value in values.items()}
    return chain(nodes, (4, 6, 6), out, floats, **more), (4, 6, 6)


def batchnorm_behind_conv():
    nodes = [conv("x w", "a"), node("BatchNormalization", "a g h m v", "y", epsilon=1e-3)]
    return *normalized(nodes, (5, 4, 4), {"w": weights(5, 4, 3, 3), **norm(5)}, opset=15), 1


def batchnorm_behind_conv_with_bias_in_opset_9():
    nodes = [conv("x w b", "a"), node("BatchNormalization", "a g h m v", "n"),
             node("Relu", "n", "y")]
    values = {"w": weights(5, 4, 3, 3), "b": weights(5, seed=3), **norm(5)}
    return *normalized(nodes, (5, 4, 4), values, opset=9), 1


def batchnorm_behind_grouped_conv():
    nodes = [conv("x w b", "a", group=2, strides=[2, 1]),
             node("BatchNormalization", "a g h m v", "y")]
    values = {"w": weights(6, 2, 3, 3), "b": weights(6, seed=3), **norm(6)}
    return *normalized(nodes, (6, 2, 4), values), 1


def batchnorm_behind_depthwise_conv():
    nodes = [conv("x w", "a", group=4, pads=[1] * 4), node("BatchNormalization", "a g h m v", "y")]
    return *normalized(nodes, (4, 6, 6), {"w": weights(4, 1, 3, 3), **norm(4)}), 1


def batchnorms_behind_one_shared_weight():
    nodes = [conv("x w", "a", pads=[1] * 4), node("BatchNormalization", "a g h m v", "b"),
             conv("b w", "c", pads=[1] * 4), node("BatchNormalization", "c h m g v", "y")]
    return *normalized(nodes, (4, 6, 6), {"w": weights(4, 4, 3, 3), **norm(4)}), 2


def batchnorm_behind_gemm():
    nodes = [node("Gemm", "x w b", "a", transB=1, beta=0.5),
             node("BatchNormalization", "a g h m v", "y")]
    floats = {"w": weights(5, 7), "b": weights(5, seed=3), **norm(5)}
    values = {name: np.asarray(value, np.float32) for name, value in floats.items()}
    return chain(nodes, (7,), (5,), values), (7,), 1


def batchnorm_whose_conv_is_read_twice():
    nodes = [conv("x w", "a"), node("BatchNormalization", "a g h m v", "n"),
             node("Add", "n a", "y")]
    return *normalized(nodes, (5, 4, 4), {"w": weights(5, 4, 3, 3), **norm(5)}), 1


def gemm(c=None, rows=None, **attributes):
    """x (N,6) or, transposed, (6,rows)."""
    values = {"w": weights(4, 6) if attributes.get("transB") else weights(6, 4)}
    if c is not None:
        values["c"] = np.asarray(c, np.float32)
    nodes = [node("Gemm", "x w c" if c is not None else "x w", "y", **attributes)]
    if attributes.get("transA"):
        return model(nodes, {"x": [6, rows]}, {"y": [rows, 4]}, values), (6, rows), 1
    return chain(nodes, (6,), (4,), values), (6,), 1


def matmul_on_three_axes():
    return chain([node("MatMul", "x w", "y")], (3, 6), (3, 4), {"w": weights(6, 4)}), (3, 6), 1


def convolution(shape, weight, bias=True, **attributes):
    values = {"w": weights(*weight)}
    if bias:
        values["b"] = weights(weight[0], seed=3)
    nodes = [conv("x w b" if bias else "x w", "y", **attributes)]
    proto = chain(nodes, shape, [None] * len(shape), values)
    return proto, shape, 1


def transposed_convolution(shape, weight, bias=True, **attributes):
    values = {"w": weights(*weight)}
    if bias:
        values["b"] = weights(weight[1], seed=3)
    nodes = [node("ConvTranspose", "x w b" if bias else "x w", "y", **attributes)]
    return chain(nodes, shape, [None] * len(shape), values), shape, 1


def batchnorm_behind_transposed_conv():
    nodes = [node("ConvTranspose", "x w", "a", strides=[2, 2]),
             node("BatchNormalization", "a g h m v", "y")]
    return *normalized(nodes, (5, 13, 13), {"w": weights(4, 5, 3, 3), **norm(5)}), 1


def bias_shared_by_two_layers():
    nodes = [conv("x w b", "a", pads=[1] * 4), conv("a v b", "c", pads=[1] * 4),
             node("Add", "c b", "y")]
    values = {"w": weights(6, 6, 3, 3), "v": weights(6, 6, 3, 3, seed=2), "b": weights(6, seed=3)}
    return chain(nodes, (6, 6, 6), (6, 6, 6), values), (6, 6, 6), 2


def bias_that_is_computed():
    nodes = [node("ReduceMean", "x", "m", axes=[0, 2, 3], keepdims=0), conv("x w m", "y")]
    return chain(nodes, (3, 5, 5), (3, 3, 3), {"w": weights(3, 3, 3, 3)}), (3, 5, 5), 1


def value_info_of_everything():
    proto, shape, count = batchnorm_behind_conv()
    proto.graph.value_info.extend([support.info("a", ["N", 5, 4, 4]), support.info("g", [5]),
                                   support.info("w", [5, 4, 3, 3])])
    return proto, shape, count


def activations_with_qdq():
    nodes = [node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"),
             conv("xd w b", "a"), node("QuantizeLinear", "a s z", "aq"),
             node("DequantizeLinear", "aq s z", "y")]
    values = {"s": np.float32(0.05), "z": np.uint8(128), "w": weights(3, 2, 3, 3),
              "b": weights(3)}
    return chain(nodes, (2, 5, 5), (3, 3, 3), values), (2, 5, 5), 1


def weight_that_is_zero():
    nodes = [conv("x w b", "a"), conv("a v", "y")]
    values = {"w": np.zeros((3, 2, 3, 3), np.float32), "b": weights(3),
              "v": np.float32([[[[0]], [[0]], [[0]]], [[[1]], [[0]], [[-2]]]])}
    return chain(nodes, (2, 5, 5), (2, 3, 3), values), (2, 5, 5), 2


def two_inputs():
    nodes = [conv("x w", "a"), node("Flatten", "a", "f"), node("Concat", "f side", "c", axis=1),
             node("Gemm", "c v", "y", transB=1)]
    proto = model(nodes, {"x": ["N", 2, 4, 4], "side": ["N", 3]}, {"y": ["N", 4]},
                  {"w": weights(3, 2, 3, 3), "v": weights(4, 15)})
    return proto, {"x": (2, 4, 4), "side": (3,)}, 2


def branches_that_meet():
    nodes = [conv("x w", "a", pads=[1] * 4), conv("x v", "b"), node("Add", "a b", "c"),
             node("Sigmoid", "c", "g"), node("Mul", "c g", "d"), conv("d u", "y", name="last")]
    values = {"w": weights(3, 2, 3, 3), "v": weights(3, 2, 1, 1, seed=2),
              "u": weights(2, 3, 1, 1, seed=4)}
    return chain(nodes, (2, 5, 5), (2, 5, 5), values), (2, 5, 5), 3


ALL = {function.__name__: function for function in (
    weight_shared_by_two_convs, weight_read_by_matmul_and_gather,
    weight_read_by_gemm_and_by_matmul, weight_that_is_a_graph_output, weight_behind_identity,
    weight_in_a_constant_node, weight_behind_transpose, weight_behind_reshape,
    weight_cast_from_float16, weight_behind_a_whole_chain, names_that_are_missing,
    names_that_are_taken_twice, names_that_ours_would_take, initializers_among_the_inputs,
    batchnorm_behind_conv, batchnorm_behind_conv_with_bias_in_opset_9,
    batchnorm_behind_grouped_conv, batchnorm_behind_depthwise_conv,
    batchnorms_behind_one_shared_weight, batchnorm_behind_gemm,
    batchnorm_behind_transposed_conv, batchnorm_whose_conv_is_read_twice, matmul_on_three_axes, bias_shared_by_two_layers,
    bias_that_is_computed, value_info_of_everything, activations_with_qdq,
    weight_that_is_zero, two_inputs, branches_that_meet)}
ALL |= {
    "gemm_plain": gemm,
    "gemm_transB": lambda: gemm(transB=1),
    "gemm_alpha_beta": lambda: gemm(weights(4, seed=3), alpha=0.7, beta=-1.5, transB=1),
    "gemm_negative_alpha": lambda: gemm(weights(4, seed=3), alpha=-2.0),
    "gemm_beta_zero": lambda: gemm(weights(4, seed=3), beta=0.0),
    "gemm_transA": lambda: gemm(weights(4, seed=3), rows=5, transA=1),
    "gemm_transA_transB": lambda: gemm(rows=5, transA=1, transB=1, alpha=0.5),
    "gemm_c_row": lambda: gemm(weights(1, 4, seed=3), transB=1),
    "gemm_c_scalar": lambda: gemm(0.75, transB=1),
    "gemm_c_one": lambda: gemm([0.75], transB=1),
    "gemm_c_column": lambda: gemm(weights(5, 1, seed=3), rows=5, transA=1),
    "gemm_c_whole": lambda: gemm(weights(5, 4, seed=3), rows=5, transA=1, transB=1),
    "conv_1d": lambda: convolution((3, 12), (4, 3, 5), strides=[2], pads=[2, 1]),
    "conv_grouped": lambda: convolution((6, 7, 7), (9, 2, 3, 3), group=3),
    "conv_depthwise": lambda: convolution((4, 7, 7), (8, 1, 3, 3), group=4, bias=False),
    "conv_dilated": lambda: convolution((3, 9, 9), (4, 3, 3, 3), dilations=[2, 3]),
    "conv_asymmetric_pads": lambda: convolution((3, 7, 6), (4, 3, 3, 3), pads=[0, 2, 1, 0]),
    "conv_same_upper": lambda: convolution((3, 7, 6), (4, 3, 4, 3), auto_pad="SAME_UPPER",
                                           strides=[2, 2]),
    "conv_same_lower": lambda: convolution((3, 7, 6), (4, 3, 4, 3), auto_pad="SAME_LOWER"),
    "conv_valid": lambda: convolution((3, 7, 6), (4, 3, 3, 3), auto_pad="VALID"),
    "conv_1x1_strided": lambda: convolution((5, 7, 7), (4, 5, 1, 1), strides=[2, 3]),
    "conv_3d": lambda: convolution((2, 5, 6, 7), (4, 2, 2, 3, 3), strides=[1, 2, 1],
                                   pads=[1, 0, 1, 0, 1, 1]),
    "conv_3d_grouped": lambda: convolution((4, 4, 5, 5), (4, 2, 3, 3, 3), group=2, bias=False),
    "transposed_1d": lambda: transposed_convolution((3, 7), (3, 4, 5), strides=[3], pads=[1, 2]),
    "transposed_2d": lambda: transposed_convolution((3, 5, 6), (3, 4, 3, 4), strides=[2, 3],
                                                    output_padding=[1, 0]),
    "transposed_dilated": lambda: transposed_convolution((3, 6, 6), (3, 2, 3, 3), bias=False,
                                                         dilations=[2, 1]),
    "transposed_same": lambda: transposed_convolution((3, 5, 5), (3, 4, 3, 3), strides=[2, 2],
                                                      auto_pad="SAME_UPPER"),
    "transposed_3d": lambda: transposed_convolution((2, 3, 4, 4), (2, 3, 2, 3, 2),
                                                    strides=[2, 1, 2]),
    "conv_single_weight": lambda: convolution((1, 3, 3), (1, 1, 1, 1)),
}


# ---- for tests of their own


def rich():
    """Everything around the graph that a file may carry; one layer to quantize."""
    proto, shape, count = convolution((2, 5, 5), (3, 2, 3, 3))
    proto.doc_string, proto.graph.doc_string = "model", "graph"
    proto.producer_name, proto.model_version, proto.domain = "somebody", 7, "org.somewhere"
    proto.graph.node[0].doc_string = "layer"
    proto.graph.input[0].doc_string = "input"
    proto.metadata_props.add(key="author", value="ü")
    proto.graph.initializer.append(support.tensor("unused", np.arange(3)))
    proto.graph.value_info.append(support.info("nothing", [4]))
    proto.opset_import.append(helper.make_opsetid("com.here", 3))
    proto.functions.append(helper.make_function(
        "com.here", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 13)]))
    return proto, shape, count


def if_with_outer_weight():
    branches = [helper.make_graph([helper.make_node(op, ["a", "w"], [f"{op}_out"])], op, [],
                                  [support.info(f"{op}_out", None)]) for op in ("MatMul", "Add")]
    nodes = [node("MatMul", "x w", "a", name="outer"),
             helper.make_node("If", ["flag"], ["y"], name="branch", then_branch=branches[0],
                              else_branch=branches[1])]
    proto = chain(nodes, (6,), (6,), {"w": weights(6, 6), "flag": np.array(True)})
    return proto, (6,), 1

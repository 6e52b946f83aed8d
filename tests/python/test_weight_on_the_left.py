"""A MatMul or Gemm whose weight is its left operand stays float, and is named with the reason."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(1)
REASON = "left operand"


def save(path, nodes, shape, **constants):
    graph = helper.make_graph(nodes, "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return path


def weight(*shape):
    return RNG.normal(0, .3, shape).astype(np.float32)


def token_mixing(path):
    """Mixes tokens on the left and channels on the right."""
    return save(path, [helper.make_node("MatMul", ["w", "x"], ["a"], "left"),
                       helper.make_node("MatMul", ["a", "v"], ["y"], "right")], ["N", 6, 8],
                w=weight(6, 6), v=weight(8, 8))


def gemm(path):
    return save(path, [helper.make_node("Gemm", ["w", "x"], ["a"], "left"),
                       helper.make_node("MatMul", ["a", "v"], ["y"], "right")], [6, 8],
                w=weight(6, 6), v=weight(8, 8))


@pytest.mark.parametrize("make, shape", [(token_mixing, (20, 6, 8)), (gemm, (20, 6, 8))])
def test_weight_on_the_left_should_be_named(make, shape, tmp_path):
    model = make(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", weight(*shape))
    command = ["quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npy",
               "--weights", "int8", "--target", "weights", "--solver", "nearest"]
    result = support.answer(*command)
    assert [layer["node"] for layer in result["layers"]] == ["right"]
    [kept] = result["not_quantized"]
    assert kept["node"] == "left" and REASON in kept["reason"]
    assert "'left'" in support.succeed(*command).stdout
    listed = {layer["node"]: layer for layer in support.answer("inspect", model)["layers"]}
    assert REASON in str(listed["left"])


def test_model_with_such_weights_alone_should_be_refused_with_the_reason(tmp_path):
    model = save(tmp_path / "m.onnx", [helper.make_node("MatMul", ["w", "x"], ["y"], "left")],
                 ["N", 6, 8], w=weight(6, 6))
    np.save(tmp_path / "x.npy", weight(20, 6, 8))
    done = support.ldnq("quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npy")
    assert done.returncode == support.USAGE
    assert REASON in done.stderr and "run time" not in done.stderr

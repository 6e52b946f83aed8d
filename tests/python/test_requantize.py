# SPDX-License-Identifier: Apache-2.0
"""`ldnq quantize --requantize` takes a quantized file apart and quantizes all of it anew."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import support
from support import assert_same_outputs, ldnq, ort_run, succeed, weights

CHANNELS = 8


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A float network, ONNX Runtime's file of it, which has no Relu any more, and samples."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    folder = tmp_path_factory.mktemp("network")
    nodes = [helper.make_node("Conv", ["x", "v"], ["a"], name="first", pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["b"], name="relu"),
             helper.make_node("Conv", ["b", "w"], ["c"], name="second", pads=[1, 1, 1, 1]),
             helper.make_node("Add", ["b", "c"], ["y"], name="add")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CHANNELS, 6, 6])],
        [numpy_helper.from_array(weights(CHANNELS, 4, 3, 3), "v"),
         numpy_helper.from_array(weights(CHANNELS, CHANNELS, 3, 3), "w")])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]),
              folder / "f.onnx")
    samples = np.random.default_rng(3).standard_normal((40, 4, 6, 6)).astype(np.float32)
    np.save(folder / "x.npy", samples)

    class Reader(CalibrationDataReader):
        feeds = iter([{"x": sample[None]} for sample in samples])

        def get_next(self):
            return next(self.feeds, None)

    quantize_static(folder / "f.onnx", folder / "q.onnx", Reader())
    return folder, samples


def count(path, op):
    return sum(node.op_type == op for node in onnx.load(path).graph.node)


def quantize(network, source, out, *options):
    return succeed("quantize", network[0] / source, "--calib", network[0] / "x.npy", "-o", out,
                   "--solver", "nearest", *options)


def noise(network, path):
    """Energy of the error of a file's output, relative to the float network."""
    feeds = {"x": network[1]}
    want = ort_run(network[0] / "f.onnx", feeds)["y"]
    return ((ort_run(path, feeds)["y"] - want) ** 2).sum() / (want ** 2).sum()


def test_weights_alone_should_replace_what_another_tool_wrote(network, tmp_path):
    assert count(network[0] / "q.onnx", "Relu") == 0
    quantize(network, "q.onnx", tmp_path / "o.onnx", "--requantize", "--target", "weights",
             "--weights", "int8")
    assert count(tmp_path / "o.onnx", "QuantizeLinear") == 0
    assert count(tmp_path / "o.onnx", "DequantizeLinear") == 2
    # The Relu that the range of the codes stood for.
    assert count(tmp_path / "o.onnx", "Clip") == 1
    assert_same_outputs(tmp_path / "o.onnx", {"x": network[1]}, tmp_path)
    assert noise(network, tmp_path / "o.onnx") < 2 * noise(network, network[0] / "q.onnx")


def test_a_file_of_ours_should_get_the_same_nodes_again(network, tmp_path):
    options = "--target", "ort", "--weights", "int8"
    quantize(network, "f.onnx", tmp_path / "once.onnx", *options)
    succeed("quantize", tmp_path / "once.onnx", "--calib", network[0] / "x.npy", "-o",
            tmp_path / "twice.onnx", "--solver", "nearest", "--requantize", *options)
    for op in "QuantizeLinear", "DequantizeLinear", "Conv", "Clip", "Relu", "Add":
        assert count(tmp_path / "twice.onnx", op) == count(tmp_path / "once.onnx", op), op
    assert noise(network, tmp_path / "twice.onnx") < 3 * noise(network, tmp_path / "once.onnx")
    assert "requantize=1" in str(onnx.load(tmp_path / "twice.onnx").metadata_props)


def test_without_it_codes_should_stay(network, tmp_path):
    done = ldnq("quantize", network[0] / "q.onnx", "--calib", network[0] / "x.npy", "-o",
                tmp_path / "o.onnx", "--target", "weights", "--weights", "int8")
    assert done.returncode != 0 and "quantized already" in done.stderr
    assert not (tmp_path / "o.onnx").exists()


def test_operators_that_compute_with_codes_should_be_named(tmp_path):
    """They stay; what is float beside them is quantized."""
    arrays = {"a": np.float32(.05), "z": np.uint8(128), "w": np.eye(6, dtype=np.int8),
              "s": np.float32(.01), "o": np.int8(0), "v": support.weights(6, 4)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "a", "z"], ["q"]),
             helper.make_node("QLinearMatMul", ["q", "a", "z", "w", "s", "o", "a", "z"], ["p"]),
             helper.make_node("DequantizeLinear", ["p", "a", "z"], ["d"]),
             helper.make_node("MatMul", ["d", "v"], ["y"], "last")]
    onnx.save(support.model(nodes, {"x": ["N", 6]}, {"y": ["N", 4]}, arrays, opset=17),
              tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", 6, count=20)
    result = support.answer("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                            calib, "--requantize", "--target", "weights", "--weights", "int8")
    assert [layer["node"] for layer in result["layers"]] == ["last"]
    assert any("compute with codes: QLinearMatMul. They stay" in w for w in result["warnings"])


def test_a_float_model_should_be_said_to_have_no_codes(network, tmp_path):
    done = quantize(network, "f.onnx", tmp_path / "o.onnx", "--requantize", "--target", "weights",
                    "--weights", "int8")
    assert "no codes to take apart" in done.stderr
    quantize(network, "f.onnx", tmp_path / "p.onnx", "--target", "weights", "--weights", "int8")
    made = [onnx.load(tmp_path / name).graph for name in ("o.onnx", "p.onnx")]
    assert made[0] == made[1]

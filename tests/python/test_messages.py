# SPDX-License-Identifier: Apache-2.0
"""Messages say what is at fault: the operator once, with its number; the sample and the value."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import support
from support import DATA, MODEL, UNSUPPORTED, weights


def save(folder, nodes, inputs, initializers):
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("foreign", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def refused(status, *arguments):
    done = support.ldnq(*arguments)
    assert done.returncode == status, done.stderr
    return done.stderr


# ---- operators


@pytest.fixture
def foreign(tmp_path):
    """Four nodes of one foreign operator, one of another, and one in a body."""
    nodes = [helper.make_node("Sparkle", ["x"], ["v0"], name="s0", domain="foreign")]
    nodes += [helper.make_node("Sparkle", [f"v{i}"], [f"v{i + 1}"], name=f"s{i + 1}",
                               domain="foreign") for i in range(3)]
    nodes += [helper.make_node("Shine", ["v3"], ["g"], name="shine", domain="foreign"),
              helper.make_node("MatMul", ["g", "w"], ["y"], name="fc")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    np.save(tmp_path / "x.npy", weights(8, 4))
    return save(tmp_path, nodes, [x], {"w": weights(4, 4)})


def test_an_unsupported_operator_should_be_listed_once_with_its_count(foreign, tmp_path):
    data = tmp_path / "x.npy"
    for line in (["quantize", foreign, "--calib", data, "-o", tmp_path / "q.onnx"],
                 ["run", foreign, "--input", data, "--output", tmp_path / "out"]):
        said = refused(UNSUPPORTED, *line)
        assert said.count("Sparkle") == 1 and said.count("Shine") == 1
        assert "node 's0' and 3 more (foreign.Sparkle, opset 1)" in said
        assert "node 'shine' (foreign.Shine, opset 1)" in said


def test_nodes_with_the_same_refused_attribute_should_be_listed_once(tmp_path):
    nodes = [helper.make_node("Dropout", [f"v{i}" if i else "x", "half", "yes"], [f"v{i + 1}"],
                              name=f"drop{i}") for i in range(3)]
    nodes.append(helper.make_node("MatMul", ["v3", "w"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    path = save(tmp_path, nodes, [x], {"w": weights(4, 4), "half": np.float32(.5),
                                       "yes": np.array(True)})
    np.save(tmp_path / "x.npy", weights(2, 4))
    said = refused(UNSUPPORTED, "run", path, "--input", tmp_path / "x.npy", "--output",
                   tmp_path / "out")
    # The outputs of the first are unknown, so that the others are not reached.
    assert said.count("Dropout") == 1 and "export the model for inference" in said


# ---- samples


@pytest.fixture
def lookup(tmp_path):
    """Rows of a table of 40, and samples of which number 7 asks for row 41."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"], name="lookup"),
             helper.make_node("MatMul", ["rows", "w"], ["y"], name="fc")]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 6])
    samples = np.random.default_rng(1).integers(0, 40, size=(20, 6))
    samples[7, 3] = 41
    np.save(tmp_path / "bad.npy", samples)
    return save(tmp_path, nodes, [ids], {"table": weights(40, 24), "w": weights(24, 5)})


@pytest.mark.parametrize("options", [["--weights", "int8", "--solver", "rtn"],
                                     ["--weights", "int4", "--solver", "admm"],
                                     ["--target", "ort", "--weights", "int8"]],
                         ids=["rtn", "admm", "ort"])
def test_an_index_out_of_range_should_name_sample_and_value(options, lookup, tmp_path):
    bad = tmp_path / "bad.npy"
    said = refused(DATA, "quantize", lookup, "--calib", bad, "-o", tmp_path / "q.onnx", *options)
    assert "'lookup'" in said and "index 41" in said and "40 elements" in said
    assert f"sample {bad}[7]" in said
    assert not (tmp_path / "q.onnx").exists()


def test_an_index_out_of_range_should_be_a_data_error_of_every_command(lookup, tmp_path):
    bad = tmp_path / "bad.npy"
    assert f"sample {bad}[7]" in refused(DATA, "diff", lookup, lookup, "--data", bad)
    said = refused(DATA, "run", lookup, "--input", bad, "--output", tmp_path / "out")
    assert "index 41" in said and str(bad) in said


def test_an_index_out_of_range_in_the_model_should_be_the_models_fault(tmp_path):
    nodes = [helper.make_node("Gather", ["table", "at"], ["row"], name="lookup"),
             helper.make_node("MatMul", ["x", "row"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    path = save(tmp_path, nodes, [x], {"table": weights(3, 4, 5), "at": np.int64(3)})
    np.save(tmp_path / "x.npy", weights(2, 4))
    said = refused(MODEL, "run", path, "--input", tmp_path / "x.npy", "--output", tmp_path / "out")
    assert "index 3" in said and "sample" not in said


# ---- files


@pytest.mark.parametrize("contents, words", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "git lfs pull"),
    (b"<!DOCTYPE html><html></html>", "web page"), (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
    (b"PK\x03\x04\0\0\0\0archive/data.pkl", "PyTorch"), (b"\x18\0\0\0ORTM\0\0", ".ort"),
    (b"\x20\0\0\0TFL3\0\0", "TensorFlow Lite"), (b"\x80\x05\x95", "pickle"),
    (b"P\0\0\0\0\0\0\0{\"__metadata__\":{}}", "safetensors"), (b"", "empty"),
    (b"ir_version: 8\ngraph {\n}\n", "is text"), (b'{"a": [1, 2]}', "is text"),
], ids=["lfs", "html", "gzip", "torch", "ort", "tflite", "pickle", "safetensors", "empty",
        "textproto", "json"])
def test_what_is_no_model_should_be_named_as_what_it_is(contents, words, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(contents)
    said = refused(MODEL, "inspect", path)
    assert words in said and said.startswith(f"ldnq: {path}: ")


# ---- what belongs to quantization


def test_copies_of_floats_should_not_count_as_quantizations(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Identity", ["h"], ["i"]),
             helper.make_node("Dropout", ["i"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    path = save(tmp_path, nodes, [x], {"w": weights(4, 4)})
    assert support.answer("diff", path, path)["a"]["qdq_nodes"] == 0


def test_copies_of_codes_should_count_as_quantizations(tmp_path):
    nodes = [helper.make_node("Identity", ["codes"], ["copied"]),
             helper.make_node("DequantizeLinear", ["copied", "scale"], ["w"]),
             helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
             helper.make_node("Identity", ["q"], ["p"]),
             helper.make_node("DequantizeLinear", ["p", "scale", "zero"], ["d"]),
             helper.make_node("MatMul", ["d", "w"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    path = save(tmp_path, nodes, [x], {"codes": np.ones((4, 4), np.int8), "scale": np.float32(.5),
                                       "zero": np.int8(0)})
    assert support.answer("diff", path, path)["a"]["qdq_nodes"] == 5


# ---- what a file stores


def test_a_weight_behind_a_cast_should_count_as_it_is_stored(tmp_path):
    half = weights(4, 6).astype(np.float16)
    nodes = [helper.make_node("Cast", ["half"], ["w"], to=TensorProto.FLOAT),
             helper.make_node("MatMul", ["x", "w"], ["h"]),
             helper.make_node("Cast", ["codes"], ["float"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["float", "scale"], ["v"]),
             helper.make_node("MatMul", ["h", "v"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    path = save(tmp_path, nodes, [x], {"half": half, "codes": np.ones((6, 3), np.int8),
                                       "scale": np.float32(.5)})
    first, second = support.answer("inspect", path)["layers"]
    assert (first["type"], first["bytes"]) == ("float16", 4 * 6 * 2)
    assert (second["type"], second["bytes"]) == ("int8", 6 * 3)
    first, second = support.answer("diff", path, path)["layers"]
    assert (first["bits"], second["bits"]) == (16, 8)


def test_float8_weights_should_have_eight_bits(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["codes", "scale"], ["w"]),
         helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("codes", TensorProto.FLOAT8E4M3FN, [8, 16], bytes(range(128)), raw=True),
         numpy_helper.from_array(np.float32(.5), "scale")])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9),
              path)
    tensor, = support.answer("inspect", path)["tensors"]
    assert (tensor["type"], tensor["bytes"]) == ("float8e4m3fn", 8 * 16 + 4)


# ---- newer opsets


@pytest.mark.parametrize("opset", [26, 27])
def test_operators_that_have_not_changed_should_be_read_from_newer_opsets(opset, tmp_path):
    nodes = [helper.make_node("Range", ["zero", "four", "one"], ["r"]),
             helper.make_node("Add", ["x", "r"], ["s"]),
             helper.make_node("Gemm", ["s", "w"], ["y"], name="fc")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    path = save(tmp_path, nodes, [x], {"w": weights(4, 8), "zero": np.float32(0),
                                       "four": np.float32(4), "one": np.float32(1)})
    model = onnx.load(path)
    model.opset_import[0].version, model.ir_version = opset, 13
    onnx.save(model, path)
    data = weights(6, 4)
    np.save(tmp_path / "x.npy", data)
    support.succeed("run", path, "--input", tmp_path / "x.npy", "--output", tmp_path / "out")
    expected = (data + np.arange(4, dtype=np.float32)) @ numpy_helper.to_array(
        next(t for t in model.graph.initializer if t.name == "w"))
    np.testing.assert_allclose(np.load(tmp_path / "out" / "y.npy"), expected, rtol=1e-5, atol=1e-5)
    support.succeed("quantize", path, "--calib", tmp_path / "x.npy", "-o", tmp_path / "q.onnx",
                    "--target", "weights", "--weights", "int8")
    assert onnx.load(tmp_path / "q.onnx").opset_import[0].version == opset


# ---- inputs with a default value


def test_an_input_that_becomes_codes_should_be_named(tmp_path):
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc")]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
              for name, shape in (("x", ["N", 4]), ("w", [4, 8]), ("b", [8]))]
    path = save(tmp_path, nodes, inputs, {"w": weights(4, 8), "b": weights(8)})
    np.save(tmp_path / "x.npy", weights(6, 4))
    done = support.succeed("quantize", path, "--calib", tmp_path / "x.npy", "-o",
                           tmp_path / "q.onnx", "--target", "weights", "--weights", "int8")
    left = {value.name for value in onnx.load(tmp_path / "q.onnx").graph.input}
    assert "x" in left and "w" not in left
    for name in ("w", "b"):
        assert (f"'{name}' is no longer an input" in done.stderr) == (name not in left)


# ---- sizes


@pytest.mark.parametrize("width, is_larger", [(4, True), (64, False)])
def test_a_file_that_became_larger_should_be_told(width, is_larger, tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])
    source = save(tmp_path, nodes, [x], {"w": weights(width, width)})
    np.save(tmp_path / "x.npy", weights(8, width))
    line = ["quantize", source, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npy", "--target",
            "ort", "--weights", "int8", "--solver", "rtn"]
    said = support.answer(*line)
    (size, before) = (path.stat().st_size for path in (tmp_path / "q.onnx", source))
    assert (size > before) == is_larger
    told = [text for text in said["warnings"] if "larger than the float model" in text]
    assert len(told) == is_larger
    if is_larger:
        assert f"has {size} bytes" in told[0] and f"has {before}:" in told[0]
        assert f"ldnq: warning: {told[0]}" in support.succeed(*line, "--quiet").stderr

# SPDX-License-Identifier: Apache-2.0
"""--calib none: weights are rounded, and nothing is said that only samples tell."""

import json

import numpy as np
import onnx
import pytest
import support
from onnx import helper, numpy_helper

CODES = {"int8": 127, "int4": 7}


@pytest.fixture
def model(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1] * 4),
             helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["g"]),
             helper.make_node("Flatten", ["g"], ["f"]),
             helper.make_node("MatMul", ["f", "v"], ["y"], "last")]
    proto = support.model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 5]},
                          {"w": support.weights(8, 3, 3, 3), "b": support.weights(8),
                           "v": support.weights(8, 5)}, opset=17)
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def quantize(model, *options):
    return support.answer("quantize", model, "-o", model.parent / "q.onnx", "--calib", "none",
                          *options)


def dequantized(path, name):
    constants = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    node = next(node for node in onnx.load(path).graph.node
                if node.op_type == "DequantizeLinear" and node.input[0].startswith(name))
    codes, scale = constants[node.input[0]].astype(float), constants[node.input[1]]
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[next(a.i for a in node.attribute if a.name == "axis")] = -1
    return codes * scale.reshape(shape), scale.ravel()


@pytest.mark.parametrize("weights", CODES)
def test_weights_should_be_rounded_with_the_scale_of_least_error(weights, model):
    quantize(model, "--target", "weights", "--weights", weights)
    rounded, scales = dequantized(model.parent / "q.onnx", "w")
    for row, scale, found in zip(support.weights(8, 3, 3, 3).reshape(8, -1), scales,
                                 rounded.reshape(8, -1)):
        most = CODES[weights]

        def error(step, row=row, most=most):
            return np.sum((np.clip(np.round(row / step), -most - 1, most) * step - row) ** 2)

        # With 8 bits the error has a minimum for nearly every step, so that no search finds the least.
        largest = np.abs(row).max() / most
        best = min(error(step) for step in largest * np.linspace(.5, 1.1, 400))
        assert np.sum((found - row) ** 2) <= (error(largest) if most > 7 else 1.03 * best) * 1.0001
    graph = onnx.load(model.parent / "q.onnx").graph
    bias = next(node for node in graph.node if node.op_type == "Conv").input[2]
    assert (next(numpy_helper.to_array(t) for t in graph.initializer if t.name == bias)
            == support.weights(8)).all()


@pytest.mark.parametrize("target", ["weights", "ort", "openvino"])
def test_nothing_should_be_said_that_samples_tell(target, model):
    result = quantize(model, "--target", target, "--weights", "int8")
    assert result["samples"] == result["held_out_samples"] == 0
    assert result["accuracy"]["sqnr"] is None and result["accuracy"]["measured_on"] is None
    assert result["output_estimate"]["error"] is None and result["activations"] is None
    assert {layer["fit"] for layer in result["layers"]} == {"rounded"}
    assert all(layer["error"] is None for layer in result["layers"])
    assert result["metadata"]["ldnq.data"] == "none"
    assert any("no accuracy is known" in text for text in result["warnings"])
    done = support.succeed("quantize", model, "-o", model.parent / "q.onnx", "--calib", "none",
                           "--target", target, "--weights", "int8")
    assert "SQNR" not in done.stdout and "held-out" not in done.stdout
    support.check(model.parent / "q.onnx")
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    want, got = (support.ort_run(path, {"x": x})["y"] for path in (model, model.parent / "q.onnx"))
    assert np.abs(got - want).max() < .05 * np.abs(want).max()


@pytest.mark.parametrize("options", [("--min-sqnr", "20"), ("--budget", "4bits"),
                                     ("--distill", "10"), ("--cascade", "5"),
                                     ("--activations", "int8"), ("--solver", "gptq")], ids=" ".join)
def test_what_needs_samples_should_be_refused(options, model):
    done = support.ldnq("quantize", model, "-o", model.parent / "q.onnx", "--calib", "none",
                        *options)
    assert done.returncode == support.USAGE and "samples" in done.stderr
    assert not (model.parent / "q.onnx").exists()


def test_none_should_exclude_samples(model):
    done = support.ldnq("quantize", model, "-o", model.parent / "q.onnx", "--calib", "none",
                        "--calib", "x.npy")
    assert done.returncode == support.USAGE and "joined with no others" in done.stderr
    done = support.ldnq("diff", model, model, "--data", "none")
    assert done.returncode == support.USAGE


def test_json_and_log_should_fit_their_schemas(model):
    schema = pytest.importorskip("jsonschema")
    result = quantize(model, "--target", "weights", "--weights", "int4", "--log",
                      model.parent / "log")
    folder = support.ROOT / "src" / "api"
    schema.validate(result, json.loads((folder / "quantize.schema.json").read_text()))
    events = json.loads((folder / "events.schema.json").read_text())
    for line in (model.parent / "log").read_text().splitlines():
        schema.validate(json.loads(line), events)


@pytest.mark.parametrize("target, weights", [("pow2", "int8"), ("tensorrt", "int4"),
                                             ("tflite", "int8"), ("openvino", "int8"),
                                             ("qnn", "int4")])
def test_weights_should_follow_the_rules_of_the_target(target, weights, model):
    """Where activations stay float, too: scales that are powers of two, or positive ..."""
    quantize(model, "--target", target, "--weights", weights, "--storage", "int8")
    told = json.loads(support.ldnq("lint", model.parent / "q.onnx", "--target", target,
                                   "--json").stdout)
    assert [finding for finding in told["findings"] if finding["rule"].startswith("weight-")] == []
    scales = np.concatenate([dequantized(model.parent / "q.onnx", name)[1] for name in "wv"])
    assert (scales > 0).all() or target == "openvino"
    assert target != "pow2" or (np.log2(scales) == np.round(np.log2(scales))).all()

# SPDX-License-Identifier: Apache-2.0
"""--target: files that a runtime computes on integers, against ONNX Runtime's optimized graph
and its outputs, and the rules of the other targets against the written graph."""

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from quantized import DIGIT_FILES
import support
from small_models import chain, conv, node
from support import DIGITS, weights

QUICK = ["--weights", "int8", "--solver", "gptq", "--effort", "fast"]
# What must not be left between two quantized kernels.
FLOAT_KERNELS = {"Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul", "Add", "MaxPool",
                 "AveragePool", "Concat"}


def residual():
    """Convolutions with Relu and Clip, a residual Add, a Concat, a MaxPool and a Gemm."""
    nodes = [conv("x w0 b0", "a", pads=[1] * 4), node("Relu", "a", "b"),
             conv("b w1 b1", "c", pads=[1] * 4), node("Clip", "c low high", "d"),
             node("Add", "b d", "e"), node("Relu", "e", "f"),
             conv("f w2", "g", pads=[1] * 4), node("Concat", "f g", "h", axis=1),
             node("MaxPool", "h", "i", kernel_shape=[2, 2], strides=[2, 2]),
             node("GlobalAveragePool", "i", "j"), node("Flatten", "j", "k"),
             node("Gemm", "k w3 b3", "y")]
    values = {"w0": weights(8, 3, 3, 3), "b0": weights(8), "w1": weights(8, 8, 3, 3, spread=0.2),
              "b1": weights(8), "w2": weights(8, 8, 3, 3, spread=0.2), "w3": weights(16, 5),
              "b3": weights(5), "low": np.float32(0), "high": np.float32(6)}
    return chain(nodes, (3, 8, 8), (5,), values), (3, 8, 8)


def perceptron():
    """MatMul with a bias in an Add, a Gemm with transB, a product of two activations."""
    nodes = [node("MatMul", "x w0", "a"), node("Add", "a b0", "b"), node("Relu", "b", "c"),
             node("Gemm", "c w1 b1", "d", transB=1), node("Transpose", "d", "e", perm=[1, 0]),
             node("MatMul", "e d", "f"), node("MatMul", "d f", "y")]
    values = {"w0": weights(18, 20), "b0": weights(20), "w1": weights(16, 20), "b1": weights(16)}
    return chain(nodes, (18,), (16,), values), (18,)


def prepare(build, folder, count=64):
    proto, shape = build()
    source = support.save(proto, folder / "net.onnx")
    calib = folder / "calib.npy"
    x = np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)
    np.save(calib, x)
    return source, calib, x[:16]


def optimized_ops(path, folder):
    """How often ONNX Runtime runs each operator of the file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node)


def quantize(source, calib, out, *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, *QUICK, *options)


def initializers(proto):
    return {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}


def producers(proto):
    return {output: n for n in proto.graph.node for output in n.output}


@pytest.mark.parametrize("build", [residual, perceptron])
def test_ort_should_run_every_kernel_on_integers(build, tmp_path):
    source, calib, _ = prepare(build, tmp_path)
    out = tmp_path / "q.onnx"
    result = quantize(source, calib, out, "--target", "ort")
    assert result["activations"]["target"] == "ort"
    assert result["activations"]["float_nodes"] == []
    support.check(out)
    ops = optimized_ops(out, tmp_path)
    assert not FLOAT_KERNELS & set(ops), ops


@pytest.mark.parametrize("source", DIGIT_FILES, ids=lambda path: path.stem)
def test_ort_should_run_exported_networks_on_integers(source, tmp_path):
    out = tmp_path / "q.onnx"
    kept = quantize(source, DIGITS / "calib", out, "--target", "ort")["not_quantized"]
    support.check(out)
    # The first convolution reads one channel, from the float input.
    assert [layer["reason"] for layer in kept] == [
        "the target computes it faster in float, as its input is float"]
    ops = optimized_ops(out, tmp_path)
    assert {op: ops[op] for op in ops if op in FLOAT_KERNELS} == {"Conv": 1}
    scores = support.answer("eval", source, out, "--data", DIGITS / "eval")["models"]
    assert scores[1]["top1"] >= scores[0]["top1"] - 0.5


def test_a_network_of_one_channel_should_be_quantized_rather_than_refused(tmp_path):
    def one_channel():
        return chain([conv("x w0 b0", "y")], (1, 8, 8), (4, 6, 6),
                     {"w0": weights(4, 1, 3, 3), "b0": weights(4)}), (1, 8, 8)
    source, calib, _ = prepare(one_channel, tmp_path)
    said = quantize(source, calib, tmp_path / "q.onnx", "--target", "ort")
    assert len(said["layers"]) == 1 and said["not_quantized"] == []


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt", "qnn", "tflite", "pow2"])
@pytest.mark.parametrize("build", [residual, perceptron])
def test_outputs_should_be_those_of_onnx_runtime(build, target, tmp_path):
    """Whatever the runtime fuses: equal up to a step of the last quantizer, which is far below
    the size of the outputs."""
    source, calib, x = prepare(build, tmp_path)
    out = tmp_path / "q.onnx"
    pairs = quantize(source, calib, out, "--target", target)["activations"]["pairs"]
    ours = support.run(out, {"x": x}, tmp_path / "run")["y"]
    scale = np.abs(ours).max()
    step = max(pair["scale"] for pair in pairs)
    for level in (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
                  onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(out), options,
                                               providers=["CPUExecutionProvider"])
        theirs = session.run(None, {"x": x})[0]
        assert np.abs(theirs - ours).max() <= max(step, 0.02 * scale)
        assert np.abs(theirs - ours).mean() <= 0.005 * scale


def test_bias_of_ort_should_be_int32_with_the_scale_of_the_products(tmp_path):
    source, calib, _ = prepare(residual, tmp_path)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "ort")
    proto = onnx.load(out)
    values, made_by = initializers(proto), producers(proto)
    layers = [n for n in proto.graph.node if n.op_type in ("Conv", "Gemm") and len(n.input) > 2]
    assert len(layers) == 3
    for layer in layers:
        x, w, b = (made_by[name] for name in layer.input)
        assert values[b.input[0]].dtype == np.int32
        np.testing.assert_array_equal(values[b.input[1]], values[x.input[1]] * values[w.input[1]])
        assert not values[b.input[2]].any() and not values[w.input[2]].any()


def test_tensorrt_should_keep_to_its_rules(tmp_path):
    """Zero points 0, float biases, both operands of an Add after clamps, no pair on copies. (The
    operand that a convolution itself writes: tests/target/test_placement.c.)"""
    source, calib, _ = prepare(residual, tmp_path)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "tensorrt")
    proto = onnx.load(out)
    values, made_by = initializers(proto), producers(proto)
    for pair in (n for n in proto.graph.node if n.op_type == "QuantizeLinear"):
        assert values[pair.input[2]].dtype == np.int8 and values[pair.input[2]] == 0
        assert made_by.get(pair.input[0]) is None or made_by[pair.input[0]].op_type != "MaxPool"
    for layer in (n for n in proto.graph.node if n.op_type in ("Conv", "Gemm")):
        if len(layer.input) > 2:
            assert values[layer.input[2]].dtype == np.float32
    add = next(n for n in proto.graph.node if n.op_type == "Add")
    assert [made_by[name].op_type for name in add.input] == ["DequantizeLinear"] * 2


def test_openvino_should_give_inputs_of_a_concat_one_scale(tmp_path):
    source, calib, _ = prepare(residual, tmp_path)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "openvino")
    proto = onnx.load(out)
    values, made_by = initializers(proto), producers(proto)
    concat = next(n for n in proto.graph.node if n.op_type == "Concat")
    scales = {float(values[made_by[name].input[1]]) for name in concat.input}
    assert len(scales) == 1


@pytest.mark.parametrize("rule", ["minmax", "percentile", "entropy"])
def test_ranges_should_be_chosen_by_the_rule(rule, tmp_path):
    """A loud value in one sample widens minmax; the others leave it outside. (mse and auto weigh
    it against the rounding of all others: tests/target/test_observer.c.)"""
    source, calib, _ = prepare(residual, tmp_path)
    x = np.load(calib)
    x[3, 0, 0, 0] = 100
    np.save(calib, x)
    out = tmp_path / "q.onnx"
    pairs = quantize(source, calib, out, "--target", "ort", "--ranges", rule)["activations"]["pairs"]
    scale = next(pair["scale"] for pair in pairs if pair["name"] == "x")
    assert (scale * 255 > 100) == (rule == "minmax")


@pytest.mark.parametrize("options, words", [
    (["--target", "weights", "--activations", "uint8"], "target"),
    (["--target", "tensorrt", "--activations", "uint8"], "int8"),
    (["--target", "ort", "--activations", "uint16"], "uint8"),
    (["--target", "qnn", "--activations", "int8"], "uint16"),
    (["--target", "pow2", "--granularity", "channel"], "granularity to tensor"),
    (["--target", "tflite", "--granularity", "block"], "granularity to channel"),
])
def test_what_a_target_lacks_should_be_refused_before_the_work(options, words, tmp_path):
    source, calib, _ = prepare(residual, tmp_path)
    out = tmp_path / "q.onnx"
    done = support.ldnq("quantize", source, "-o", out, "--calib", calib, *options)
    assert done.returncode == support.USAGE and words in done.stderr
    assert done.stderr.count("\n") == 1 and not out.exists()


def test_more_bits_should_be_more_exact(tmp_path):
    source, calib, x = prepare(residual, tmp_path)
    exact = support.run(source, {"x": x}, tmp_path / "float")["y"]
    errors = {}
    for dtype in ("uint4", "uint8", "uint16"):
        out = tmp_path / f"{dtype}.onnx"
        quantize(source, calib, out, "--target", "openvino", "--activations", dtype)
        support.check(out)
        theirs = support.assert_same_outputs(out, {"x": x}, tmp_path / dtype)["y"]
        errors[dtype] = np.square(theirs - exact).mean()
    assert errors["uint16"] < errors["uint8"] < errors["uint4"]


def test_none_should_leave_activations_float(tmp_path):
    source, calib, _ = prepare(residual, tmp_path)
    out = tmp_path / "q.onnx"
    result = quantize(source, calib, out, "--target", "ort", "--activations", "none")
    assert result["activations"] is None
    assert not [n for n in onnx.load(out).graph.node if n.op_type == "QuantizeLinear"]


def loud_channel(loudness):
    """A channel that is louder than the others, and read by weights that are as much smaller."""
    w0, w1 = weights(8, 3, 3, 3).copy(), weights(8, 8, 3, 3, spread=0.2).copy()
    w0[2] *= loudness
    w1[:, 2] /= loudness
    nodes = [conv("x w0", "a", pads=[1] * 4), node("Relu", "a", "loud"),
             conv("loud w1", "c", pads=[1] * 4), node("Relu", "c", "d"),
             conv("d w2", "e", pads=[1] * 4), node("GlobalAveragePool", "e", "f"),
             node("Flatten", "f", "y")]
    values = {"w0": w0, "w1": w1, "w2": weights(8, 8, 3, 3, spread=0.2)}
    return chain(nodes, (3, 8, 8), (8,), values), (3, 8, 8)


def boxes_and_scores(loudness):
    """Coordinates in pixels and probabilities in one tensor."""
    nodes = [conv("x w0", "a", pads=[1] * 4), node("Relu", "a", "b"),
             conv("b w1", "box", pads=[1] * 4), conv("b w2", "score", pads=[1] * 4),
             node("Concat", "box score", "loud", axis=1),
             node("MaxPool", "loud", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
             conv("pooled w3", "e"), node("GlobalAveragePool", "e", "f"), node("Flatten", "f", "y")]
    values = {"w0": weights(8, 3, 3, 3), "w1": weights(2, 8, 3, 3) * np.float32(loudness),
              "w2": weights(12, 8, 3, 3), "w3": weights(6, 14, 1, 1)}
    return chain(nodes, (3, 8, 8), (6,), values), (3, 8, 8)


@pytest.mark.parametrize("build", [loud_channel, boxes_and_scores])
def test_a_value_that_one_scale_ruins_should_stay_float(build, tmp_path):
    source, calib, _ = prepare(lambda: build(1000), tmp_path)
    out = tmp_path / "q.onnx"
    page = tmp_path / "report.html"
    done = support.succeed("quantize", source, "-o", out, "--calib", calib, *QUICK, "--target",
                           "ort", "--json", "--report", page)
    activations = json.loads(done.stdout)["activations"]
    assert "one scale for 'loud'" in done.stderr and "stays float" in done.stderr
    assert "loud" not in {pair["name"] for pair in activations["pairs"]}
    assert any("one scale for 'loud'" in node["reason"] for node in activations["float_nodes"])
    assert activations["pairs"]
    section = page.read_text(encoding="utf-8").partition('<section id="float">')[2]
    assert "one scale for" in section.partition("</section>")[0]
    support.check(out)


@pytest.mark.parametrize("build", [loud_channel, boxes_and_scores])
def test_a_value_that_one_scale_suits_should_have_codes(build, tmp_path):
    source, calib, _ = prepare(lambda: build(3), tmp_path)
    out = tmp_path / "q.onnx"
    activations = quantize(source, calib, out, "--target", "ort")["activations"]
    assert "loud" in {pair["name"] for pair in activations["pairs"]}
    assert activations["float_nodes"] == []


def logarithm():
    """Powers of a spectrum, as a speech recognizer reads them: small ones matter as much."""
    nodes = [conv("x w0", "a"), node("Mul", "a a", "b"), node("Flatten", "b", "c"),
             node("MatMul", "c w1", "d"), node("Add", "d small", "e"), node("Log", "e", "y")]
    loud = np.exp(np.linspace(-8, 4, 12)).astype(np.float32)
    values = {"w0": weights(12, 1, 1, 1) * loud.reshape(12, 1, 1, 1),
              "w1": np.abs(weights(12 * 4, 6)), "small": np.float32(1e-9)}
    values["w1"][12:, :3] = 0
    return chain(nodes, (1, 2, 2), (6,), values), (1, 2, 2)


@pytest.mark.parametrize("options, warns", [([], True), (["--activations", "none"], False)])
def test_activations_that_cost_the_output_should_be_a_warning(options, warns, tmp_path):
    """A layer that is asked for by name has codes, though float would be faster."""
    source, calib, _ = prepare(logarithm, tmp_path)
    done = support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, *QUICK,
                           "--target", "ort", "--layer", "*=int8", *options)
    assert ("SQNR" in done.stderr and "activations none" in done.stderr) == warns, done.stderr

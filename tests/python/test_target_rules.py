# SPDX-License-Identifier: Apache-2.0
"""The rules of each target, on the graphs that quantize writes for it: every rule is a test that
fails when the rule is broken, and a finding of lint that names it."""

import numpy as np
import pytest

import support
import target_networks as networks
from small_models import node as make_node
from quantized import DIGIT_FILES
from support import DIGITS
from target_networks import Written
from target_rules import (BRANCHES, RESIDUAL, RULES, biases_are_int32,
                          scales_of_weights_are_powers_of_two)

QUICK = ["--weights", "int8", "--solver", "gptq", "--effort", "fast"]
SIXTEEN = {"qnn": "uint16", "tflite": "int16", "pow2": "int16"}


def write(build, target, folder, *options):
    proto, shape = build()
    source = support.save(proto, folder / "net.onnx")
    x = np.random.default_rng(1).normal(size=(32, *shape)).astype(np.float32)
    np.save(folder / "calib.npy", x)
    out = folder / "q.onnx"
    support.answer("quantize", source, "-o", out, "--calib", folder / "calib.npy", *QUICK,
                   "--target", target, *options)
    return Written(out)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A written file, made once for each network, target and type."""
    made = {}

    def get(build, target, activations="auto"):
        key = build.__name__, target, activations
        if key not in made:
            made[key] = write(build, target, tmp_path_factory.mktemp("written"), "--activations",
                              activations)
        return made[key]

    return get


def lint(path, target):
    return support.answer("lint", path, "--target", target, "--fail-on", "never")


def above_note(result):
    return [f for f in result["findings"] if f["severity"] != "note"]


# ---- the rules


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule(rule, files):
    rule.holds(files(rule.build, rule.target, rule.activations))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_broken_rule_should_be_found(rule, files, tmp_path):
    broken = files(rule.build, rule.target, rule.activations).clone(tmp_path / "broken.onnx")
    rule.breaks(broken)
    found = {f["rule"]: f for f in lint(broken.save(), rule.target)["findings"]}
    assert rule.finding in found, found
    assert found[rule.finding]["advice"] and found[rule.finding]["cost"]
    if rule.finding != "opset":
        with pytest.raises((AssertionError, KeyError, AttributeError)):
            rule.holds(Written(broken.path))


# ---- files as they are written


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt", "qnn", "tflite", "pow2"])
@pytest.mark.parametrize("build", networks.ALL, ids=lambda build: build.__name__)
def test_written_file_should_keep_all_rules(build, target, files):
    result = lint(files(build, target).path, target)
    assert not above_note(result), above_note(result)
    assert result["integer_nodes"] >= 1
    if target in SIXTEEN:
        assert result["float_nodes"] == 0
        wide = lint(files(build, target, SIXTEEN[target]).path, target)
        assert not above_note(wide) and wide["float_nodes"] == 0


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "qnn", "tflite", "pow2"])
@pytest.mark.parametrize("source", DIGIT_FILES, ids=lambda path: path.stem)
def test_exported_networks_should_keep_all_rules(source, target, tmp_path):
    out = tmp_path / "q.onnx"
    support.answer("quantize", source, "-o", out, "--calib", DIGITS / "calib", *QUICK,
                   "--target", target)
    support.check(out)
    assert not above_note(lint(out, target))
    scores = support.answer("eval", source, out, "--data", DIGITS / "eval")["models"]
    assert scores[1]["top1"] >= scores[0]["top1"] - (1.5 if target == "pow2" else 0.5)


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "qnn", "tflite", "pow2"])
def test_resnet_20_should_keep_all_rules(target, real_data, tmp_path):
    folder = real_data("resnet20-cifar10")
    out = tmp_path / "q.onnx"
    support.answer("quantize", folder / "resnet20-ts.onnx", "-o", out, "--calib",
                   folder / "calib", *support.preprocessing(*support.CIFAR), *QUICK, "--target",
                   target)
    result = lint(out, target)
    assert not above_note(result)
    # Its first convolution reads 3 channels, and its last layer has 10 rows.
    assert result["float_nodes"] == (2 if target == "tensorrt" else 0)


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "qnn", "tflite", "pow2"])
@pytest.mark.parametrize("build", networks.ALL, ids=lambda build: build.__name__)
def test_outputs_should_be_those_of_onnx_runtime(build, target, files, tmp_path):
    """Up to one step of the last quantizer: a value halfway between two codes may fall to either
    side."""
    w = files(build, target)
    x = np.load(w.path.parent / "calib.npy")[:8]
    ours = support.run(w.path, {"x": x}, tmp_path)["y"]
    theirs = support.ort_run(w.path, {"x": x}, optimized=False)["y"]
    last = w.producer("y")
    step = w.scale(last)[0] if last.op_type == "DequantizeLinear" else 0
    size = np.abs(ours).max()
    assert np.abs(theirs - ours).max() <= max(1.001 * step, 0.02 * size)
    assert np.abs(theirs - ours).mean() <= 0.002 * size


@pytest.mark.parametrize("target, found", [("openvino", set()), ("tensorrt", {"copy-pair"}),
                                           ("ort", {"output-pair", "weights-only"})])
def test_pair_before_a_copy_should_count_where_the_runtime_carries_codes(target, found, files,
                                                                         tmp_path):
    """As NNCF writes files for OpenVINO."""
    w = files(RESIDUAL, target).clone(tmp_path / "moved.onnx")
    before = lint(files(RESIDUAL, target).path, target)
    pair = w.producer(w.pair_before(w.first("Gemm")).input[0])
    scale, zero = w.scale(pair)[0], w.values[pair.input[2]]
    w.drop_pair(pair)
    if w.pair_before(w.first("Flatten")) is None:
        w.add_pair(w.first("Flatten"), 0, scale, zero)
    after = lint(w.save(), target)
    assert {f["rule"] for f in above_note(after)} <= found
    assert (after["integer_nodes"] == before["integer_nodes"]) == (target != "ort")


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt", "qnn", "tflite", "pow2"])
def test_split_without_its_first_output_should_be_written(target, tmp_path):
    def build():
        split = networks.helper.make_node("Split", ["a"], ["", "b"], axis=1)
        nodes = [networks.conv("x w0 b0", "a"), split, networks.conv("b w1", "y")]
        values = {"w0": support.weights(32, 16, 1, 1), "b0": support.weights(32),
                  "w1": support.weights(16, 16, 1, 1)}
        return networks.chain(nodes, (16, 8, 8), (16, 8, 8), values), (16, 8, 8)

    w = write(build, target, tmp_path)
    assert w.layers() and not above_note(lint(w.path, target))


@pytest.mark.parametrize("value", [np.finfo(np.float32).min, -np.inf, -1e9])
@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt", "qnn", "tflite", "pow2"])
def test_scores_with_a_mask_should_stay_float(target, value, tmp_path):
    """At the scale of the mask all scores are equal."""
    def build():
        proto, shape = networks.masked_attention()
        mask = next(i for i in proto.graph.initializer if i.name == "mask")
        array = networks.numpy_helper.to_array(mask)
        changed = np.where(array < 0, np.float32(value), np.float32(0))
        mask.CopyFrom(networks.numpy_helper.from_array(changed, "mask"))
        return proto, shape

    w = write(build, target, tmp_path)
    x = np.load(tmp_path / "calib.npy")[:8]
    exact = support.run(tmp_path / "net.onnx", {"x": x}, tmp_path / "exact")["y"]
    error = support.run(w.path, {"x": x}, tmp_path / "run")["y"] - exact
    assert np.square(error).mean() < (0.02 if target == "pow2" else 0.01) * np.square(exact).mean()


def test_gemm_with_factors_should_stay_float(tmp_path):
    def build():
        nodes = [make_node("Gemm", "x w0", "a", alpha=0.5), make_node("Relu", "a", "b"),
                 make_node("Gemm", "b w1", "y")]
        values = {"w0": support.weights(32, 24), "w1": support.weights(24, 16)}
        return networks.chain(nodes, (32,), (16,), values), (32,)

    for target in ("tensorrt", "qnn", "tflite", "pow2"):
        (tmp_path / target).mkdir()
        w = write(build, target, tmp_path / target)
        assert [w.weight(n) is None for n in w.all("Gemm")] == [True, False]
        assert not above_note(lint(w.path, target))


@pytest.mark.parametrize("target, least", [("qnn", -8), ("tflite", -7)])
def test_weights_of_four_bits_should_keep_all_rules(target, least, tmp_path):
    w = write(RESIDUAL, target, tmp_path, "--weights", "int4", "--storage", "int4")
    for layer in w.layers():
        codes = w.values[w.weight(layer).input[0]].astype(int)
        assert w.opset >= 21 and codes.min() >= least and codes.max() <= 7
    assert not above_note(lint(w.path, target))


@pytest.mark.parametrize("target, optimized", [
    ("ort", False), ("ort", True), ("qnn", True), ("tflite", True), ("pow2", True),
    # ONNX Runtime's optimizer turns a float bias into codes, and cuts them.
    ("openvino", False), ("tensorrt", False),
])
def test_bias_of_a_switched_off_channel_should_fit_32_bits(target, optimized, files, tmp_path):
    """Its weights have a scale at which the code of the bias is beyond 2^31."""
    w = files(networks.switched_off_channels, target)
    x = np.load(w.path.parent / "calib.npy")[:8]
    exact = support.run(w.path.parent / "net.onnx", {"x": x}, tmp_path / "exact")["y"]
    error = support.ort_run(w.path, {"x": x}, optimized)["y"] - exact
    assert np.square(error).mean() < 1e-3 * np.square(exact).mean()


def test_far_scales_of_a_concat_should_stay_apart(files):
    w = files(BRANCHES, "qnn")
    concat = w.first("Concat")
    assert not w.have_same_scale(w.pair_before(concat, 0), w.pair_before(concat, 1))


@pytest.mark.parametrize("solver", ["auto", "rtn", "mse", "nearest", "gptq", "cd", "beam", "admm",
                                    "best"])
def test_powers_of_two_should_come_from_every_solver(solver, tmp_path):
    w = write(RESIDUAL, "pow2", tmp_path, "--solver", solver)
    scales_of_weights_are_powers_of_two(w)
    biases_are_int32(w)


def test_powers_of_two_should_survive_fine_tuning(tmp_path):
    w = write(RESIDUAL, "pow2", tmp_path, "--distill", 4, "--refine")
    scales_of_weights_are_powers_of_two(w)
    biases_are_int32(w)
    assert not above_note(lint(w.path, "pow2"))


def test_fitted_powers_of_two_should_be_nearer_than_rounded_ones(files, tmp_path):
    """The codes are found again at the rounded scale: better than those of plain rounding."""
    (tmp_path / "rtn").mkdir()
    fitted, rounded = files(RESIDUAL, "pow2"), write(RESIDUAL, "pow2", tmp_path / "rtn",
                                                     "--solver", "rtn", "--lambda", 0)
    x = np.load(fitted.path.parent / "calib.npy")
    exact = support.run(fitted.path.parent / "net.onnx", {"x": x}, tmp_path / "exact")["y"]
    errors = [np.square(support.run(w.path, {"x": x}, tmp_path / "run")["y"] - exact).mean()
              for w in (fitted, rounded)]
    assert errors[0] < 0.8 * errors[1]

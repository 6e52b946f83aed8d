# SPDX-License-Identifier: Apache-2.0
"""The theorem's bound on the output's error, against bounds worked out here."""

import numpy as np
import pytest

import quantized
import small_models as small
import support
from support import DIGITS, save, weights

PLAIN = [*quantized.BASELINE, "--weights", "int2"]
POINTS = {"w": weights(6, 8), "v": weights(8, 8, seed=2), "u": weights(8, 3, seed=3)}
COUNT = 4  # too few to hold any out: what is measured is what was fitted, as the bound is


def run_quantize(nodes, values, tmp_path, shape=(6,), out=(3,), **more):
    source = save(small.chain(nodes, shape, out, values, **more), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", *shape, count=COUNT)
    said = quantized.quantize(source, tmp_path / "q.onnx", calib, *PLAIN)
    x = np.load(calib)
    return said, x, support.ort_run(source, {"x": x})["y"]


def dequantized(tmp_path):
    """Of each layer, as (K, M)."""
    return [q.weight.astype(np.float64).T for q in support.quantized_weights(tmp_path / "q.onnx")]


def rms(x):
    return np.sqrt((x.astype(np.float64)**2).sum() / len(x))


def test_chain_should_multiply_the_norms_of_what_is_behind(tmp_path):
    nodes = [small.node("MatMul", "x w", "a"), small.node("Relu", "a", "b"),
             small.node("MatMul", "b v", "c"), small.node("Relu", "c", "d"),
             small.node("MatMul", "d u", "y")]
    said, x, y = run_quantize(nodes, POINTS, tmp_path)
    value, bound = x.astype(np.float64), 0
    for mine, name, layer in zip(dequantized(tmp_path), "wvu", said["layers"]):
        change = rms(value @ mine - value @ POINTS[name])
        assert layer["change"] == pytest.approx(change, rel=1e-3)
        bound = bound * np.linalg.norm(POINTS[name].astype(np.float64)) + change
        value = np.maximum(value @ mine, 0)
    assert said["accuracy"]["noise_to_signal_bound"] == pytest.approx((bound / rms(y))**2, rel=1e-3)
    assert said["accuracy"]["noise_to_signal"] <= said["accuracy"]["noise_to_signal_bound"]


def test_branches_should_add_up_and_factors_should_count(tmp_path):
    nodes = [small.node("MatMul", "x w", "a"), small.node("Mul", "a k", "b"),
             small.node("MatMul", "a v", "c"), small.node("Add", "b c", "d"),
             small.node("Concat", "d a", "e", axis=1), small.node("MatMul", "e t", "y")]
    factor = np.array([0.5, -3, 1, 0, 2, 1, 1, 1], np.float32)
    values = {"w": POINTS["w"], "v": POINTS["v"], "k": factor, "t": weights(16, 3, seed=4)}
    said, _, y = run_quantize(nodes, values, tmp_path)
    first, second, third = (layer["change"] for layer in said["layers"])
    norm = {name: np.linalg.norm(value.astype(np.float64)) for name, value in values.items()}
    sums = 3 * first + (norm["v"] * first + second)
    bound = norm["t"] * np.hypot(sums, first) + third
    assert said["accuracy"]["noise_to_signal_bound"] == pytest.approx((bound / rms(y))**2, rel=1e-3)
    assert said["accuracy"]["noise_to_signal"] <= said["accuracy"]["noise_to_signal_bound"]


def test_convolutions_should_count_how_often_an_element_is_read(tmp_path):
    nodes = [small.conv("x w", "a", pads=[1] * 4),
             small.conv("a v", "b", strides=[2, 2], group=2), small.node("Flatten", "b", "y")]
    values = {"w": weights(4, 2, 3, 3), "v": weights(6, 2, 3, 3, seed=2)}
    said, _, y = run_quantize(nodes, values, tmp_path, (2, 7, 7), (54,))
    first, second = (layer["change"] for layer in said["layers"])
    norm = max(np.linalg.norm(part.astype(np.float64)) for part in np.split(values["v"], 2))
    bound = norm * np.sqrt(2 * 2) * first + second
    assert said["accuracy"]["noise_to_signal_bound"] == pytest.approx((bound / rms(y))**2, rel=1e-3)
    assert said["accuracy"]["noise_to_signal"] <= said["accuracy"]["noise_to_signal_bound"]


def test_real_network_should_have_a_bound_that_holds(tmp_path):
    for options in PLAIN, ["--weights", "int4"]:
        said = quantized.quantize(DIGITS / "digits-ts.onnx", tmp_path / "q.onnx", DIGITS / "calib",
                                  *options)
        assert 0 < said["accuracy"]["noise_to_signal"] <= said["accuracy"]["noise_to_signal_bound"]


@pytest.mark.parametrize("nodes", [
    [small.node("MatMul", "x w", "a"), small.node("Mul", "a a", "b"), small.node("MatMul", "b u", "y")],
    [small.node("MatMul", "x w", "a"), small.node("Exp", "a", "b"), small.node("MatMul", "b u", "y")],
])
def test_operators_without_a_constant_should_leave_it_open(nodes, tmp_path):
    said, _, _ = run_quantize(nodes, POINTS, tmp_path)
    assert said["accuracy"]["noise_to_signal_bound"] is None and said["accuracy"]["noise_to_signal"] > 0


def test_rounded_activations_should_leave_it_open(tmp_path):
    """The theorem counts what the layers change, and nothing else."""
    said = quantized.quantize(DIGITS / "digits-ts.onnx", tmp_path / "q.onnx", DIGITS / "calib",
                              "--target", "ort", "--weights", "int8", "--solver", "nearest")
    assert said["activations"] and said["accuracy"]["noise_to_signal_bound"] is None


def test_layers_that_learned_should_leave_it_open(tmp_path):
    for option in "--distill", "--cascade":
        said = quantized.quantize(DIGITS / "digits-ts.onnx", tmp_path / "q.onnx", DIGITS / "calib",
                                  *PLAIN, option, 2)
        assert said["accuracy"]["noise_to_signal_bound"] is None

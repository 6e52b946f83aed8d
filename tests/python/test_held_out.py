# SPDX-License-Identifier: Apache-2.0
"""Layers and networks are never worse than plain rounding on samples that were not fitted."""

import json

import numpy as np
import pytest

import small_models as small
import support

ROUNDING = ["--lambda", "0", "--effort", "fast"]
# Of a choice by a few held-out samples, in dB.
CHANCE = 0.75
WEIGHTS = "int8", "int4", "ternary"


def sqnr(model, quantized, x):
    want, got = (np.concatenate([y.ravel() for y in support.ort_run(path, {"x": x}).values()])
                 for path in (model, quantized))
    want = want.astype(np.float64)
    return 10 * np.log10((want**2).sum() / ((got - want)**2).sum())


def quantize(model, samples, folder, weights, *options):
    out = folder / "q.onnx"
    support.succeed("quantize", model, "-o", out, "--calib", samples, "--target", "weights",
                    "--weights", weights, "--threads", "1", "--log", folder / "log.jsonl", *options)
    return out


def compare(model, samples, fresh, folder, weights, *options):
    """SQNR of the fitted network, and of the better one of two roundings."""
    fitted = sqnr(model, quantize(model, samples, folder, weights, *options), fresh)
    return fitted, max(sqnr(model, quantize(model, samples, folder, weights, "--solver", solver,
                                            *ROUNDING), fresh) for solver in ("rtn", "mse"))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("solver", ["auto", "gptq", "beam"])
def test_few_samples_of_many_inputs_should_not_be_fitted_by_chance(weights, solver, tmp_path):
    """A classifier of 192 inputs, 24 samples: what a keyword detector has."""
    rng = np.random.default_rng(11)
    values = {"w": support.weights(192, 24), "a": support.weights(24, seed=4),
              "v": support.weights(24, 8, seed=2), "b": support.weights(8, seed=3)}
    nodes = [small.node("Gemm", "x w a", "h"), small.node("Relu", "h", "r"),
             small.node("Gemm", "r v b", "y")]
    model = support.save(small.chain(nodes, (192,), (8,), values), tmp_path / "m.onnx")
    x = rng.standard_normal((1024, 192)).astype(np.float32)
    np.save(tmp_path / "x.npy", x[:24])
    options = [] if solver == "auto" else ["--solver", solver]
    fitted, rounded = compare(model, tmp_path / "x.npy", x[24:], tmp_path, weights, *options)
    assert fitted > rounded - CHANCE
    layers = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(layer["fit"] in ("fitted", "damped", "rounded") for layer in layers
               if "held_out_rounded" in layer)


def mel_spectrogram(folder, has_head=False):
    """A DFT as two MatMul, squares, sums over bands, Log; and a layer that reads it."""
    length, bins, bands = 64, 33, 12
    angle = 2 * np.pi * np.outer(np.arange(length), np.arange(bins)) / length
    window = np.hanning(length)[:, None]
    band = np.maximum(0, 1 - np.abs(np.arange(bins)[:, None] - np.linspace(2, 30, bands)) / 3)
    values = {"c": (window * np.cos(angle)).astype(np.float32),
              "s": (window * np.sin(angle)).astype(np.float32),
              "m": band.astype(np.float32), "e": np.float32([1e-5])}
    nodes = [small.node("MatMul", "x c", "re"), small.node("MatMul", "x s", "im"),
             small.node("Mul", "re re", "re2"), small.node("Mul", "im im", "im2"),
             small.node("Add", "re2 im2", "p"), small.node("MatMul", "p m", "b"),
             small.node("Add", "b e", "be"), small.node("Log", "be", "l" if has_head else "y")]
    if has_head:
        values["h"] = np.random.default_rng(3).normal(size=(bands, 8)).astype(np.float32)
        nodes.append(small.node("MatMul", "l h", "y"))
    return support.save(small.chain(nodes, (length,), (8 if has_head else bands,), values),
                        folder / "mel.onnx")


def loud_and_quiet(count, seed):
    rng = np.random.default_rng(seed)
    loudness = 10 ** rng.uniform(-2, 0, (count, 1))
    time = np.arange(64)
    tone = np.sin(rng.uniform(.1, 1.5, (count, 1)) * time + rng.uniform(0, 6, (count, 1)))
    return (loudness * (tone + 0.1 * rng.standard_normal((count, 64)))).astype(np.float32)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("solver", ["auto", "gptq"])
def test_loud_samples_before_a_logarithm_should_not_decide_alone(weights, solver, tmp_path):
    model = mel_spectrogram(tmp_path)
    np.save(tmp_path / "x.npy", loud_and_quiet(40, 1))
    options = [] if solver == "auto" else ["--solver", solver]
    fitted, rounded = compare(model, tmp_path / "x.npy", loud_and_quiet(300, 2), tmp_path, weights,
                              *options)
    assert fitted > rounded - CHANCE


def test_a_network_that_is_rounded_should_be_named_so(tmp_path):
    model = mel_spectrogram(tmp_path)
    np.save(tmp_path / "x.npy", loud_and_quiet(40, 1))
    command = ["quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npy",
               "--target", "weights", "--weights", "ternary", "--solver", "gptq"]
    said = support.answer(*command)
    assert said["is_rounded"] and {layer["fit"] for layer in said["layers"]} == {"rounded"}
    fitted = said["fitted_noise_to_signal"]  # null where the fitted network computes NaN
    assert fitted is None or fitted > 0.6 * said["rounded_noise_to_signal"]
    assert "all layers are rounded" in support.succeed(*command).stdout
    assert "are rounded" not in support.succeed(*command[:-2], "--solver", "mse").stdout


def test_fits_that_make_an_input_infinite_should_be_rounded(tmp_path):
    """A sum of squares becomes negative by a fit: its logarithm is no number, which ended the run."""
    model = mel_spectrogram(tmp_path, has_head=True)
    for count, seed, weights in [(40, 1, "int2"), (24, 2, "ternary"), (12, 1, "ternary")]:
        np.save(tmp_path / "x.npy", loud_and_quiet(count, seed))
        command = ["quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npy",
                   "--target", "weights", "--weights", weights, "--solver", "gptq",
                   "--checkpoint", tmp_path / f"{count}"]
        said = support.answer(*command)
        if any("is not finite" in warning for warning in said["warnings"]):
            break  # which of them does depends on the last bits
    else:
        pytest.fail("no fit made an input infinite")
    fits = [layer["fit"] for layer in said["layers"]]
    assert fits[:-1] == ["rounded"] * (len(fits) - 1), fits
    want = (tmp_path / "q.onnx").read_bytes()
    support.succeed(*command, "--resume")
    assert (tmp_path / "q.onnx").read_bytes() == want

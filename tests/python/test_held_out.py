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

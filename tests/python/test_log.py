# SPDX-License-Identifier: Apache-2.0
"""What is told of a quantization layer by layer: --log, --verbose, and the warning of too few
samples."""

import copy
import json
import re

import numpy as np
import pytest

import quantized
import small_models as small
import support
from support import DIGITS, save

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
LINE = ["quantize", MODEL, *support.TERNARY,
        "--calib", CALIB, "--max-samples", 20, "--effort", "fast", "-o"]
FAST = ["--max-samples", 20, "--effort", "fast"]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logged")
    said = quantized.quantize(MODEL, folder / "q.onnx", CALIB, *FAST, "--log",
                              folder / "log.jsonl")
    return said, lines_of(folder / "log.jsonl")


def test_log_should_have_a_line_a_layer_and_one_for_the_run(logged):
    said, lines = copy.deepcopy(logged)
    assert [line["event"] for line in lines] == ["layer"] * len(said["layers"]) + ["run"]
    for layer, line in zip(said["layers"], lines):
        # The estimate needs all layers: it comes after the line of the last one.
        estimate = layer.pop("output_estimate")
        assert estimate > 0 and "output_estimate" not in line
        assert {key: line[key] for key in layer} == layer
        assert 0 < line["rank"] <= line["varying"] <= line["inputs"]
        assert line["solver"] == "best" and line["seconds"] > 0
    run = lines[-1]
    assert run["samples"] == 20 and run["bytes_after"] == said["bytes_after"]
    assert sum(line["seconds"] for line in lines[:-1]) <= run["seconds"]


def test_log_should_hold_the_layers_of_a_run_that_failed(tmp_path):
    nodes = [small.node("MatMul", "x w1", "h", name="one"), small.node("Log", "h", "l"),
             small.node("MatMul", "l w2", "y", name="two")]
    ones = np.ones((4, 4), np.float32)
    save(small.chain(nodes, (4,), (4,), {"w1": ones, "w2": ones}), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.full((8, 4), -1, np.float32))  # whose logarithm is NaN
    done = support.ldnq("quantize", tmp_path / "m.onnx", *support.TERNARY,
                        "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "x.npy", "--log", tmp_path / "log.jsonl")
    assert done.returncode == support.NUMERIC and "'two'" in done.stderr
    assert [line["node"] for line in lines_of(tmp_path / "log.jsonl")] == ["one"]


def test_log_that_can_not_be_written_should_be_refused_before_the_work(tmp_path):
    done = support.ldnq(*LINE, tmp_path / "q.onnx", "--log",
                        tmp_path / "none" / "log.jsonl")
    assert done.returncode == support.IO and "log.jsonl: can't be written" in done.stderr
    assert not (tmp_path / "q.onnx").exists()


def test_a_full_disk_should_be_told(tmp_path):
    done = support.ldnq(*LINE, tmp_path / "q.onnx", "--log", "/dev/full")
    assert done.returncode == support.IO and "/dev/full: can't be written" in done.stderr


def test_verbose_should_show_iterations_and_layers_on_standard_error(tmp_path):
    done = support.succeed(*LINE, tmp_path / "q.onnx", "-v", "--json")
    layers = json.loads(done.stdout)["layers"]
    said = re.findall(r"objective (\S+) -> (\S+), (\d+) positions, rank (\d+) of (\d+)",
                      done.stderr)
    assert len(said) == len(layers)
    for (start, end, positions, rank, inputs), layer in zip(said, layers):
        assert float(start) == pytest.approx(layer["error_start"], rel=1e-3)
        assert float(end) == pytest.approx(layer["error"], rel=1e-3)
        assert int(positions) == layer["positions"] and int(rank) <= int(inputs)
    tables = re.split(r"  iter +objective.*\n", done.stderr)[1:]
    assert len(tables) == len(layers)
    for table in tables:
        rows = re.findall(r"^ *(\d+) +(\S+) +(\S+) +(\S+) +(\d+) +(\d+)$", table, re.M)
        objectives = [float(row[1]) for row in rows]
        assert int(rows[0][0]) == 1 and len(rows) > 3
        assert objectives == sorted(objectives, reverse=True)  # the best so far


def test_log_and_verbose_should_leave_the_result_alone(tmp_path, logged):
    quantized.quantize(MODEL, tmp_path / "a.onnx", CALIB, *FAST)
    quantized.quantize(MODEL, tmp_path / "b.onnx", CALIB, *FAST, "-v", "--log",
                       tmp_path / "log.jsonl")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("count, few", [(9, True), (200, False)])
def test_too_few_samples_should_be_a_warning_with_the_rank(count, few, tmp_path):
    rng = np.random.default_rng(1)
    weights = {"w": support.weights(5, 40), "b": np.zeros(5, np.float32)}
    gemm = small.node("Gemm", "x w b", "y", name="fc", transB=1)
    save(small.chain([gemm], (40,), (5,), weights), tmp_path / "m.onnx")
    x = rng.standard_normal((count, 40)).astype(np.float32)
    x[:, 7] = 3  # never varies, whatever their number
    np.save(tmp_path / "calib.npy", x)
    done = support.succeed("quantize", tmp_path / "m.onnx", *support.TERNARY,
                           "-o", tmp_path / "q.onnx",
                           "--calib", tmp_path / "calib.npy", "--log", tmp_path / "log.jsonl")
    layer = lines_of(tmp_path / "log.jsonl")[0]
    # One sample is held out, and the mean takes one direction.
    assert layer["varying"] == 39 and layer["rank"] == (count - 2 if few else 39)
    warned = f"'fc' they reach {count - 2} of the 39 directions" in done.stderr
    assert warned == few and ("warning" in done.stderr) == few


def sample_errors(folder, count):
    """Of a file that was made from `count` samples: what it said, and per sample |y - t|^2, |t|^2."""
    feeds = support.random_feeds(MODEL)
    (name, x), = feeds.items()
    x = np.random.default_rng(3).standard_normal((count, *x.shape[1:])).astype(np.float32)
    np.save(folder / "x.npy", x)
    said = quantized.quantize(MODEL, folder / "q.onnx", folder / "x.npy", "--effort", "fast")
    (want,), (got,) = (support.ort_run(path, {name: x}).values()
                       for path in (MODEL, folder / "q.onnx"))
    return said, ((got - want)**2).sum(axis=1), (want**2).sum(axis=1)


def test_accuracy_should_be_that_of_the_held_out_samples(tmp_path):
    said, error, power = sample_errors(tmp_path, 10)
    assert (said["samples"], said["held_out_samples"]) == (10, 2)
    assert said["layers"][0]["positions"] % 8 == 0
    pairs = [(error[[i, k]].sum() / power[[i, k]].sum()) for i in range(10) for k in range(i)]
    assert min(abs(pair / said["accuracy"]["noise_to_signal"] - 1) for pair in pairs) < 1e-4


def test_accuracy_should_be_that_of_all_samples_where_none_are_held_out(tmp_path):
    said, error, power = sample_errors(tmp_path, 4)
    assert said["held_out_samples"] == 0 and said["accuracy"]["role"] == "fitted"
    assert said["accuracy"]["noise_to_signal"] == pytest.approx(error.sum() / power.sum(), rel=1e-3)


def test_accuracy_should_be_in_the_summary(tmp_path):
    feeds = support.random_feeds(MODEL)
    (name, x), = feeds.items()
    x = np.random.default_rng(3).standard_normal((4, *x.shape[1:])).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", tmp_path / "x.npy", "--effort", "fast")
    done = support.succeed("quantize", MODEL, *support.TERNARY,
                           "-o", tmp_path / "q.onnx", "--calib",
                           tmp_path / "x.npy", "--effort", "fast")
    assert re.search(rf"output: SQNR {said['accuracy']['sqnr']:.1f} dB.* on the 4 samples that were fitted: too few "
                     "to hold any out", done.stdout)

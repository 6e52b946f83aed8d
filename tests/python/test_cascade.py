# SPDX-License-Identifier: Apache-2.0
"""--cascade: after each layer those behind it learn to make up for it."""

import json
import math

import numpy as np
import pytest

import quantized
import small_models as small
import support
from support import DIGITS, save

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
# Rounding leaves the most to make up for.
PLAIN = ["--solver", "rtn", "--weights", "int2", "--augment", 1, "--lambda", 0]
CASCADE = [*PLAIN, "--cascade", 20]


def figure(said):
    return said["accuracy"]["noise_to_signal"]


@pytest.fixture(scope="module")
def cascaded(tmp_path_factory):
    out = tmp_path_factory.mktemp("cascade") / "q.onnx"
    return out, quantized.quantize(MODEL, out, CALIB, *CASCADE, "--log", out.parent / "log.jsonl")


def test_output_should_be_nearer_than_without(cascaded, tmp_path):
    plain = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *PLAIN)
    assert figure(cascaded[1]) < 0.7 * figure(plain)


def test_no_step_should_leave_the_held_out_samples_worse(cascaded):
    layers = cascaded[1]["layers"]
    pairs = [(layer["cascade_error_start"], layer["cascade_error"]) for layer in layers[:-1]]
    assert all(0 < error <= start for start, error in pairs)
    assert any(error < 0.9 * start for start, error in pairs)
    assert layers[-1]["cascade_error"] is None
    lines = map(json.loads, (cascaded[0].parent / "log.jsonl").read_text().splitlines())
    logged = [line["cascade_error"] for line in lines if line["event"] == "layer"]
    assert logged == [layer["cascade_error"] for layer in layers]


def test_file_should_be_valid_and_say_how_it_was_made(cascaded, tmp_path):
    quantized.assert_valid(MODEL, cascaded[0], support.random_feeds(MODEL), tmp_path, "int2")
    said = support.metadata(cascaded[0])["ldnq.options"]
    assert " cascade=20 " in said and " lambda=0 " in said


@pytest.mark.parametrize("options", [["--threads", 1], ["--max-mem", "1M"]])
def test_same_bytes_for_any_thread_count_and_ceiling(cascaded, tmp_path, options):
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *CASCADE, *options)
    assert (tmp_path / "q.onnx").read_bytes() == cascaded[0].read_bytes()


def test_it_should_go_with_learning_at_the_end(cascaded, tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *CASCADE, "--distill", 20)
    assert said["distillation"]["error"] <= said["distillation"]["error_start"]
    assert math.isclose(said["distillation"]["error_start"], figure(cascaded[1]),
                        rel_tol=0.5)


def test_shared_weights_should_stay_shared(tmp_path):
    proto, shape, _ = small.weight_shared_by_two_convs()
    source = save(proto, tmp_path / "net.onnx")
    calib = support.save_samples(tmp_path / "x.npy", *shape)
    quantized.quantize(source, tmp_path / "q.onnx", calib, *CASCADE)
    quantized.assert_valid(source, tmp_path / "q.onnx", support.random_feeds(source), tmp_path,
                           "int2")
    assert len(support.quantized_weights(tmp_path / "q.onnx")) == 1


def test_too_few_samples_should_be_said_once_and_change_nothing(tmp_path):
    samples = np.random.default_rng(3).normal(size=(6, 4, 6, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", samples)
    source = save(small.weight_shared_by_two_convs()[0], tmp_path / "net.onnx")
    line = ["quantize", source, *support.TERNARY, "--calib", tmp_path / "x.npy", *PLAIN]
    done = support.succeed(*line, "-o", tmp_path / "a.onnx", "--cascade", 5)
    assert done.stderr.count("no cascade: it takes at least 10 samples") == 1
    support.succeed(*line, "-o", tmp_path / "b.onnx")
    first, second = (support.quantized_weights(tmp_path / f)[0] for f in ("a.onnx", "b.onnx"))
    assert (first.codes == second.codes).all() and (first.scales == second.scales).all()


def test_network_without_a_gradient_should_be_said_once(tmp_path):
    nodes = [small.node("MatMul", "x w", "h"), small.node("MatMul", "h v", "g"),
             small.node("MatMul", "g v", "k"), small.node("ArgMax", "k", "i", axis=1),
             small.node("Cast", "i", "y", to=1)]
    values = {"w": support.weights(6, 5), "v": support.weights(5, 5)}
    source = save(small.chain(nodes, (6,), (1,), values), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", 6)
    done = support.succeed("quantize", source, *support.TERNARY,
                           "-o", tmp_path / "q.onnx", "--calib", calib,
                           "--cascade", 5)
    assert done.stderr.count("no cascade: ") == 1
    support.check(tmp_path / "q.onnx")


def test_lambda_should_be_refused_beside_it(tmp_path):
    done = support.ldnq("quantize", MODEL, *support.TERNARY,
                        "-o", tmp_path / "q.onnx", "--calib", CALIB,
                        "--cascade", 5, "--lambda", 0.5)
    assert done.returncode == support.USAGE and "--lambda can't" in done.stderr
    assert "leave it out" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Distillation: all layers learned together, towards the float network's outputs."""


import numpy as np
import onnx
import pytest

import quantized
import small_models as small
import support
from support import DIGITS, save

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
# From rounding, as the better solvers leave next to nothing to learn here.
LEARN = ["--solver", "rtn", "--lambda", 0, "--augment", 2, "--distill", 40, "--refine"]


def top1(path):
    return support.answer("eval", path, "--data", DIGITS / "eval")["models"][0]["top1"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    out = tmp_path_factory.mktemp("learned") / "q.onnx"
    return out, quantized.quantize(MODEL, out, CALIB, *LEARN)


def test_distillation_should_bring_the_output_nearer(learned, tmp_path):
    out, answer = learned
    said = answer["distillation"]
    assert said["steps"] == 40 and said["held_out"] == (answer["samples"] - answer["held_out_samples"]) // 5
    assert said["error"] < 0.8 * said["error_start"]
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *LEARN[:6])
    assert top1(out) >= top1(tmp_path / "q.onnx")


def test_distilled_file_should_be_valid_and_say_how_it_was_made(learned, tmp_path):
    out, _ = learned
    quantized.assert_valid(MODEL, out, support.random_feeds(MODEL), tmp_path)
    assert " distill=40 refine=on augment=2 seed=" in support.metadata(out)["ldnq.options"]


@pytest.mark.parametrize("options", [["--threads", 1], ["--max-mem", "1M"]])
def test_same_bytes_for_any_thread_count_and_ceiling(learned, tmp_path, options):
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *LEARN, *options)
    assert (tmp_path / "q.onnx").read_bytes() == learned[0].read_bytes()


def test_seed_should_matter_to_what_is_learned(learned, tmp_path):
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *LEARN, "--seed", 5)
    assert (tmp_path / "q.onnx").read_bytes() != learned[0].read_bytes()


def test_scales_alone_should_leave_the_codes(tmp_path):
    for name, steps in ("a.onnx", 1), ("b.onnx", 20):
        quantized.quantize(MODEL, tmp_path / name, CALIB, "--lambda", 0, "--distill", steps)
    before, after = (support.quantized_weights(tmp_path / f) for f in ("a.onnx", "b.onnx"))
    assert len(before) == len(after) > 0
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a.codes, b.codes)
    assert any(not np.array_equal(a.scales, b.scales) for a, b in zip(before, after))


def normalized_network():
    nodes = [small.node("MatMul", "x w", "a"), small.node("LayerNormalization", "a g b", "n"),
             small.node("Relu", "n", "r"), small.node("MatMul", "r v", "c"),
             small.node("LayerNormalization", "c g b", "m"), small.node("Relu", "m", "s"),
             small.node("MatMul", "s u", "y")]
    values = {"w": support.weights(12, 16), "v": support.weights(16, 16, seed=2),
              "u": support.weights(16, 4, seed=3), "g": 1 + support.weights(16, seed=4),
              "b": support.weights(16, seed=5)}
    return small.chain(nodes, (12,), (4,), values, opset=17)


def test_normalizations_should_learn_too_each_for_itself(tmp_path):
    source = save(normalized_network(), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", 12, count=100)
    out = tmp_path / "q.onnx"
    line = ["--solver", "rtn", "--weights", "int2", "--lambda", 0]
    said = quantized.quantize(source, out, calib, *line, "--distill", 200)
    assert said["distillation"]["error"] < 0.9 * said["distillation"]["error_start"]
    quantized.assert_valid(source, out, support.random_feeds(source), tmp_path, "int2")
    graph = onnx.load(out).graph
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    first, second = ([arrays[name] for name in node.input[1:]] for node in graph.node
                     if node.op_type == "LayerNormalization")
    for mine, other in zip(first, second):
        assert (mine != other).any()
    assert "g" not in arrays and "b" not in arrays
    # Without learning they stay as they are.
    quantized.quantize(source, out, calib, *line)
    assert {"g", "b"} <= {t.name for t in onnx.load(out).graph.initializer}


def test_network_without_a_gradient_should_be_kept_as_placed(tmp_path):
    nodes = [small.node("MatMul", "x w", "h"), small.node("ArgMax", "h", "i", axis=1),
             small.node("Cast", "i", "y", to=1)]
    save(small.chain(nodes, (6,), (1,), {"w": support.weights(6, 5)}), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", 6)
    done = support.succeed("quantize", tmp_path / "m.onnx", *support.TERNARY,
                           "-o", tmp_path / "q.onnx", "--calib",
                           calib, "--distill", 5)
    assert "not fine-tuned" in done.stderr
    support.check(tmp_path / "q.onnx")


@pytest.mark.parametrize("effort, copies", [("fast", 1), ("balanced", 2), ("high", 8)])
def test_effort_should_decide_what_the_line_leaves_open(effort, copies, tmp_path):
    out = tmp_path / "q.onnx"
    said = quantized.quantize(MODEL, out, CALIB, "--effort", effort)
    assert said["solver"] == "best" and said["distillation"] is None
    assert f" augment={copies} " in support.metadata(out)["ldnq.options"] + " "
    said = quantized.quantize(MODEL, out, CALIB, "--effort", effort, "--solver", "cd",
                              "--augment", 3)
    assert said["solver"] == "cd" and " augment=3 " in support.metadata(out)["ldnq.options"]


def test_augmented_samples_should_be_more_to_fit_on(tmp_path):
    once, more = (quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, "--augment", n)
                  for n in (1, 3))
    assert once["samples"] == more["samples"]
    for a, b in zip(once["layers"], more["layers"]):
        assert b["positions"] == 3 * a["positions"]
    assert once["layers"][0]["scale_max"] != more["layers"][0]["scale_max"]


def test_lambda_should_bring_the_output_nearer(tmp_path):
    """The error of the output, told by learning that takes no step worth keeping."""
    def error(*options):
        said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, "--distill", 1, *options)
        return said["distillation"]["error_start"]
    assert error() < 0.8 * error("--lambda", 0)


def test_lambda_should_be_told_layer_by_layer(tmp_path):
    layers = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB)["layers"]
    assert layers[0]["lambda"] == 0  # there is no error in front of it
    assert all(0 <= layer["lambda"] <= 1 for layer in layers)
    assert sum(layer["lambda"] for layer in layers) > 1
    assert layers[0]["held_out_left"] is None
    for layer in layers[1:]:
        assert 0 < layer["held_out_left"] <= 1
        assert (layer["held_out_left"] < 1) == (layer["lambda"] > 0)
    for given in (0, 0.25):
        layers = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, "--lambda", given)["layers"]
        assert {layer["lambda"] for layer in layers} == {given}


def test_time_limit_should_end_the_learning_with_what_is_best_by_then(tmp_path):
    """How many steps fit depends on the machine; tests/pipeline/test_fine_tune.c sets the clock."""
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, "--distill", 1000000,
                              "--time-limit", 3)
    learned = said["distillation"]
    assert learned is None or learned["steps"] < 1000000
    assert learned is None or learned["error"] <= learned["error_start"]
    support.check(tmp_path / "q.onnx")


def test_layers_that_are_late_should_be_solved_all_the_same(tmp_path):
    done = support.succeed("quantize", MODEL, *support.TERNARY,
                           "-o", tmp_path / "q.onnx", "--calib", CALIB,
                           "--time-limit", 1e-6)
    assert "solved by gptq" in done.stderr
    support.check(tmp_path / "q.onnx")
    assert top1(tmp_path / "q.onnx") > 50

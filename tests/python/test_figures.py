# SPDX-License-Identifier: Apache-2.0
"""Figures of accuracy and size: what they are measured on, what they are called, and whether they
hold on samples that the program has not seen."""

import json
import re

import numpy as np
import onnx
import pytest

import small_models as small
import support
from support import DIGITS, save

MODEL, CALIB, EVAL = DIGITS / "digits-ts.onnx", DIGITS / "calib", DIGITS / "eval"
WEIGHTS = ["--target", "weights", "--weights"]
# Energy ratios without their name, and what the fitted samples once were called.
OLD_WORDS = re.compile(r"relative error|error of the (network's )?output", re.IGNORECASE)


def quantize(source, out, calib, *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, *options)


def summary(source, out, calib, *options):
    return support.succeed("quantize", source, "-o", out, "--calib", calib, *options).stdout


def initializers(path):
    return {tensor.name: tensor.SerializeToString()
            for tensor in onnx.load(path).graph.initializer}


@pytest.fixture(scope="module")
def perceptron(tmp_path_factory):
    """Two layers that a few samples can't determine, and ten classes."""
    folder = tmp_path_factory.mktemp("perceptron")
    nodes = [small.node("Gemm", "x w b", "a", transB=1), small.node("Relu", "a", "r"),
             small.node("Gemm", "r v", "y", transB=1)]
    values = {"w": support.weights(48, 64), "b": np.zeros(48, np.float32),
              "v": support.weights(10, 48, seed=2)}
    return save(small.chain(nodes, (64,), (10,), values), folder / "m.onnx")


def draw(path, count, seed):
    return support.save_samples(path, 64, count=count, seed=seed)


# ---- agreement -----------------------------------------------------------------------------------


def truth_on_evaluation_images(out):
    return 100 * support.answer("diff", MODEL, out, "--data", EVAL)["outputs"][0]["agreement"]


@pytest.mark.parametrize("weights, solver, count", [
    ("int2", "rtn", 100), ("ternary", "gptq", 40), ("int3", "mse", 60)])
def test_agreement_should_be_within_its_interval_of_the_truth(weights, solver, count, tmp_path):
    """Of 95 in 100 intervals; 600 images that nothing was fitted to are the truth."""
    held = []
    for seed in range(6):
        out = tmp_path / "q.onnx"
        said = quantize(MODEL, out, CALIB, *WEIGHTS, weights, "--solver", solver, "--lambda", 0,
                        "--effort", "fast", "--max-samples", count, "--seed", seed,
                        "--estimate", 0)["accuracy"]
        assert said["role"] == "held-out" and said["agreement_low"] <= said["agreement"]
        low, high = support.wilson_interval(round(said["agreement"] * said["samples"] / 100),
                                            said["samples"])
        assert said["agreement_low"] == pytest.approx(100 * low, abs=1e-9)
        assert said["agreement_high"] == pytest.approx(100 * high, abs=1e-9)
        held.append(said["agreement_low"] <= truth_on_evaluation_images(out)
                    <= said["agreement_high"])
    assert sum(held) >= 5


def test_sqnr_should_be_that_of_unseen_samples(perceptron, tmp_path):
    """40 samples, 64 inputs: the paper's solver fits chance, so that the fitted ones show less."""
    ratios, fitted = [], []
    unseen = draw(tmp_path / "unseen.npy", 2000, seed=99)
    for seed in range(4):
        calib, out = draw(tmp_path / "x.npy", 40, seed=seed), tmp_path / "q.onnx"
        said = quantize(perceptron, out, calib, *WEIGHTS, "int4", "--solver", "admm-paper")
        for data, found in (unseen, ratios), (calib, fitted):
            real = support.answer("diff", perceptron, out, "--data", data)["outputs"][0]
            found.append(said["accuracy"]["sqnr"] - real["error"]["sqnr_db"])
    assert abs(np.mean(ratios)) < 1.5
    assert np.mean(fitted) < -0.5


@pytest.mark.parametrize("solver, count, held_out", [
    ("admm-paper", 10, 2), ("admm-paper", 4, 0), ("gptq", 10, 2)])
def test_held_out_samples_should_change_no_code(solver, count, held_out, perceptron, tmp_path):
    """A changed sample changes codes and biases, or it is held out and changes the figures. Other
    solvers than the paper's may find that no sample says anything, and round."""
    x = np.load(draw(tmp_path / "x.npy", count, seed=7))
    line = [*WEIGHTS, "int4", "--solver", solver]
    first = quantize(perceptron, tmp_path / "q.onnx", tmp_path / "x.npy", *line)
    before, same, measured = initializers(tmp_path / "q.onnx"), 0, 0
    for i in range(count):
        changed = x.copy()
        changed[i] *= 1.02
        np.save(tmp_path / "y.npy", changed)
        said = quantize(perceptron, tmp_path / "r.onnx", tmp_path / "y.npy", *line)
        if initializers(tmp_path / "r.onnx") == before:
            same += 1
            measured += (said["accuracy"]["noise_to_signal"]
                         != first["accuracy"]["noise_to_signal"])
    assert measured == held_out == first["held_out_samples"]
    assert same == held_out or solver != "admm-paper"


def test_page_should_show_the_figures_of_the_summary(perceptron, tmp_path):
    calib, page = draw(tmp_path / "x.npy", 60, seed=3), tmp_path / "page.html"
    said = quantize(perceptron, tmp_path / "q.onnx", calib, *WEIGHTS, "int2", "--solver", "gptq",
                    "--report", page)["accuracy"]
    text = page.read_text()
    assert f"measured on {said['measured_on']}." in text
    assert said["measured_on"] == "8 held-out samples" and said["samples"] == 8
    assert f"{said['agreement']:.1f}<small>%" in text and f">{said['sqnr']:.1f}<" in text
    assert f"{said['agreement_low']:.1f} to {said['agreement_high']:.1f}\N{NO-BREAK SPACE}%" in text
    assert not OLD_WORDS.search(text)


def test_summary_and_log_should_say_what_was_measured(perceptron, tmp_path):
    calib, log = draw(tmp_path / "x.npy", 60, seed=3), tmp_path / "log.jsonl"
    text = summary(perceptron, tmp_path / "q.onnx", calib, *WEIGHTS, "int2", "--solver", "gptq",
                   "--log", log)
    said = json.loads(log.read_text().splitlines()[-1])["accuracy"]
    assert (f"output: SQNR {said['sqnr']:.1f} dB, top-1 agreement {said['agreement']:.1f} % "
            f"(95 % interval {said['agreement_low']:.1f} to {said['agreement_high']:.1f}), "
            "on 8 held-out samples\n") in text
    assert "worst layer on the samples that it was fitted to: SQNR" in text
    assert not OLD_WORDS.search(text)


def test_too_few_samples_should_be_said(perceptron, tmp_path):
    words = "on the 4 samples that were fitted: too few to hold any out, so that unseen ones"
    calib, page = draw(tmp_path / "x.npy", 4, seed=3), tmp_path / "page.html"
    text = summary(perceptron, tmp_path / "q.onnx", calib, *WEIGHTS, "int8", "--solver", "nearest",
                   "--report", page)
    assert words in text and words in page.read_text()


def test_goal_should_be_measured_on_its_own_samples(perceptron, tmp_path):
    """Of all of them, though the samples for calibration hold out some too."""
    calib, goal = draw(tmp_path / "x.npy", 60, seed=3), draw(tmp_path / "g.npy", 200, seed=4)
    said = quantize(perceptron, tmp_path / "q.onnx", calib, *WEIGHTS, "int4,int8", "--solver",
                    "gptq", "--min-sqnr", 20, "--goal-data", goal)
    figures = said["accuracy"]
    assert figures["role"] == "data" and figures["measured_on"] == "200 samples"
    step = said["goal"]["steps"][said["goal"]["chosen"]]
    for name in ("sqnr", "noise_to_signal", "agreement", "agreement_low", "agreement_high"):
        assert figures[name] == step[name]
    real = support.answer("diff", perceptron, tmp_path / "q.onnx", "--data", goal)["outputs"][0]
    assert figures["sqnr"] == pytest.approx(real["error"]["sqnr_db"], abs=1e-3)
    assert figures["agreement"] == pytest.approx(100 * real["agreement"])


def test_worst_of_several_outputs_should_be_named(tmp_path):
    nodes = [small.node("MatMul", "x w", "y"), small.node("MatMul", "x v", "z")]
    values = {"w": support.weights(64, 10), "v": support.weights(64, 3, seed=2)}
    proto = support.model(nodes, {"x": ["N", 64]}, {"y": ["N", 10], "z": ["N", 3]}, values)
    source, calib = save(proto, tmp_path / "m.onnx"), draw(tmp_path / "x.npy", 40, seed=1)
    line = [*WEIGHTS, "int2", "--solver", "rtn", "--only", "MatMul#1"]
    said = quantize(source, tmp_path / "q.onnx", calib, *line)["accuracy"]
    assert said["outputs"] == 2 and said["worst_output"] == "z"
    assert f"worst of 2 outputs, 'z': SQNR {said['sqnr']:.1f} dB" in summary(
        source, tmp_path / "q.onnx", calib, *line)


def test_classes_of_folders_should_not_count_without_a_drop(tmp_path):
    """Folders may be there for other reasons than the network's classes."""
    said = quantize(MODEL, tmp_path / "q.onnx", EVAL, "--max-samples", 40, *WEIGHTS, "int8",
                    "--solver", "nearest")
    assert said["accuracy"]["top1"] is None and said["accuracy"]["agreement"] is not None


@pytest.mark.parametrize("out, outputs", [((3, 5, 5), "maps"), ((1,), "one score")])
def test_networks_that_are_no_classifiers_should_have_no_agreement(out, outputs, tmp_path):
    nodes = [small.conv("x w", "y")] if outputs == "maps" else [
        small.conv("x w", "a"), small.node("Flatten", "a", "f"), small.node("MatMul", "f v", "y")]
    values = {"w": support.weights(3, 2, 3, 3)}
    if outputs != "maps":
        values["v"] = support.weights(75, 1, seed=2)
    source = save(small.chain(nodes, (2, 7, 7), out, values), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", 2, 7, 7, count=30)
    line = [*WEIGHTS, "int4", "--solver", "gptq"]
    said = quantize(source, tmp_path / "q.onnx", calib, *line, "--report", tmp_path / "p.html")
    assert said["accuracy"]["agreement"] is None and said["accuracy"]["sqnr"] > 0
    text = summary(source, tmp_path / "q.onnx", calib, *line)
    assert "output: SQNR" in text and "agreement" not in text
    assert "Top-1 agreement</dt>" not in (tmp_path / "p.html").read_text()
    found = support.answer("diff", source, tmp_path / "q.onnx", "--data", calib)["outputs"][0]
    assert found["agreement"] is None and found["agreement_low"] is None
    np.savez(tmp_path / "l.npz", x=np.load(calib), labels=np.zeros(30, np.int64))
    done = support.ldnq("eval", source, "--data", tmp_path / "l.npz")
    assert done.returncode == support.UNSUPPORTED and "not one score per class" in done.stderr


def test_bound_should_be_shown_below_one_alone(tmp_path):
    """A single layer has a bound that says something; a deep network has not."""
    nodes = [small.node("MatMul", "x w", "y")]
    source = save(small.chain(nodes, (6,), (4,), {"w": support.weights(6, 4)}), tmp_path / "m.onnx")
    calib, page = support.save_samples(tmp_path / "x.npy", 6), tmp_path / "p.html"
    for model, data, useful in (source, calib, True), (MODEL, CALIB, False):
        text = summary(model, tmp_path / "q.onnx", data, *WEIGHTS, "int8", "--solver", "nearest",
                       "--report", page)
        assert "bound" not in text.replace(str(tmp_path), "")
        assert ("Its bound</th>" in page.read_text()) == useful
        assert "<dfn>The bound</dfn>" in page.read_text()
        done = support.succeed("diff", model, tmp_path / "q.onnx", "--data", data)
        assert ("at most" in done.stdout) == useful


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def external(tmp_path_factory):
    """Two layers in a data file; what stays float stays there."""
    folder = tmp_path_factory.mktemp("external")
    nodes = [small.node("MatMul", "x w", "a", name="first"),
             small.node("MatMul", "a v", "y", name="second")]
    values = {"w": support.weights(64, 64), "v": support.weights(64, 64, seed=2)}
    onnx.save_model(small.chain(nodes, (64,), (64,), values), folder / "m.onnx",
                    save_as_external_data=True, location="m.data", size_threshold=0)
    draw(folder / "x.npy", 24, seed=1)
    return folder


def test_sizes_should_count_the_data_file(external, tmp_path):
    source, out, page = external / "m.onnx", tmp_path / "q.onnx", tmp_path / "p.html"
    line = [source, out, external / "x.npy", *WEIGHTS, "int8", "--solver", "rtn", "--only", "first"]
    said = quantize(*line, "--report", page)
    (data,) = tmp_path.glob("q.onnx.*.data")
    before = source.stat().st_size, (external / "m.data").stat().st_size
    after = out.stat().st_size, data.stat().st_size
    assert after[1] >= 64 * 64 * 4  # the layer that stays float
    assert (said["bytes_before"], said["data_bytes_before"]) == (sum(before), before[1])
    assert (said["bytes_after"], said["data_bytes_after"]) == (sum(after), after[1])
    smaller = f"{sum(before)} -> {sum(after)} bytes ({sum(before) / sum(after):.2f} times smaller)"
    named = f", of which {before[1]} -> {after[1]} in data files"
    assert smaller + named in summary(*line)
    assert page.read_text().count("in data files)") == 2
    assert f"{sum(before) / sum(after):.2f}" in page.read_text()

    inspected = support.answer("inspect", out)
    assert (inspected["bytes"], inspected["data_bytes"]) == (sum(after), after[1])
    assert (f"{sum(after)} bytes, of which {after[1]} in data files"
            in support.succeed("inspect", out).stdout)

    found = support.answer("diff", source, out)
    for side, sizes in (found["a"], before), (found["b"], after):
        assert (side["bytes"], side["data_bytes"]) == (sum(sizes), sizes[1])
    assert (f"{sum(after)} bytes ({after[1]} of them in data files)"
            in support.succeed("diff", source, out).stdout)


def test_sizes_without_data_files_should_not_name_them(perceptron, tmp_path):
    calib = draw(tmp_path / "x.npy", 20, seed=1)
    text = summary(perceptron, tmp_path / "q.onnx", calib, *WEIGHTS, "int8", "--solver", "rtn")
    said = support.answer("inspect", tmp_path / "q.onnx")
    assert "data files" not in text and said["data_bytes"] == 0
    assert f"-> {(tmp_path / 'q.onnx').stat().st_size} bytes" in text

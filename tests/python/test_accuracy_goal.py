# SPDX-License-Identifier: Apache-2.0
"""Accuracy goals: --max-drop, --min-agreement, --min-sqnr; what is written, from what samples, and
that the plan writes it again."""

import json
import shutil

import pytest

import quantized
import support
from support import DIGITS

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
EVAL = DIGITS / "eval"
FAST = ["--effort", "fast", "--solver", "rtn", "--lambda", 0]
WEIGHTS = [*FAST, "--target", "weights", "--weights", "int2,int4,int8"]
LINE = ["quantize", MODEL, "--calib", CALIB, *WEIGHTS, "-o"]


def chosen(said):
    return said["goal"]["steps"][said["goal"]["chosen"]]


def measured(path, data):
    """What `ldnq diff` measures of the file."""
    return json.loads(support.succeed("diff", MODEL, path, "--data", data, "--json").stdout)


@pytest.fixture(scope="module")
def reached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("goal")
    said = quantized.quantize(MODEL, folder / "q.onnx", CALIB, *WEIGHTS, "--min-sqnr", 22,
                              "--plan", folder / "plan.json", "--report", folder / "page.html")
    return said, folder


def test_goal_should_be_met_by_the_smallest_file_that_was_tried(reached):
    said, _ = reached
    assert chosen(said)["meets"] and chosen(said)["sqnr"] >= 22
    for step in said["goal"]["steps"]:
        assert step["meets"] == (step["sqnr"] >= 22)
        assert not step["meets"] or step["bytes"] >= chosen(said)["bytes"]
    assert not said["goal"]["steps"][0]["meets"]  # all layers on the lowest rung
    assert len({layer["weights"] for layer in said["layers"]}) > 1


def test_plan_should_write_the_same_file_again(reached, tmp_path):
    said, folder = reached
    fast = [*FAST, "--target", "weights"]
    quantized.quantize(MODEL, tmp_path / "again.onnx", CALIB, *fast, "--plan", folder / "plan.json")
    assert (tmp_path / "again.onnx").read_bytes() == (folder / "q.onnx").read_bytes()
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["held_out"] is True and plan["goal"]["steps"] == said["goal"]["steps"]


def test_goal_should_be_measured_on_samples_that_are_not_fitted(reached, tmp_path):
    """The same file measured on all samples, a few of them, and none of the fitted ones."""
    said, folder = reached
    held_out, fitted = said["goal"]["samples"], said["samples"]
    assert said["goal"]["held_out"] and held_out == 20 and fitted == 80
    # Other samples than the fitted ones: the eval set, given as goal-data.
    other = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *WEIGHTS, "--min-sqnr", 22,
                               "--goal-data", EVAL)
    assert not other["goal"]["held_out"] and other["samples"] == 100
    assert other["goal"]["samples"] == len(list(EVAL.rglob("*.png")))
    got = measured(tmp_path / "q.onnx", EVAL)["outputs"][0]["error"]["sqnr_db"]
    assert chosen(other)["sqnr"] == pytest.approx(got, abs=1e-3)


def test_drop_should_be_that_of_eval(tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *WEIGHTS, "--max-drop", 1,
                              "--goal-data", EVAL)
    scores = json.loads(support.succeed("eval", MODEL, tmp_path / "q.onnx", "--data", EVAL,
                                        "--json").stdout)
    before, after = (model["top1"] for model in scores["models"])
    assert chosen(said)["reference_top1"] == pytest.approx(before)
    assert chosen(said)["top1"] == pytest.approx(after)
    assert before - after <= 1 + 1e-9
    assert chosen(said)["agreement"] == pytest.approx(scores["agreement"])


def test_several_goals_should_all_be_met(tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *WEIGHTS, "--min-sqnr", 20,
                              "--min-agreement", 100)
    assert chosen(said)["sqnr"] >= 20 and chosen(said)["agreement"] == 100


def test_layers_should_go_up_to_float_where_no_codebook_is_enough(tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--target", "ort",
                              "--weights", "int8", "--min-sqnr", 42, "--plan", tmp_path / "p.json")
    floats = {layer["node"] for layer in said["not_quantized"]}
    assert floats and len(floats) == chosen(said)["float_layers"]
    plan = json.loads((tmp_path / "p.json").read_text())
    assert {e["node"] for e in plan["layers"] if e["weights"] == "float"} == floats
    quantized.quantize(MODEL, tmp_path / "again.onnx", CALIB, *FAST, "--target", "ort", "--plan",
                       tmp_path / "p.json")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()


def test_layers_faster_in_float_should_be_float_in_the_plan(tmp_path):
    """The first convolution of digits, of one channel, is not for a goal to quantize."""
    ort = [*FAST, "--target", "ort", "--max-samples", 20, "--plan", tmp_path / "p.json"]
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *ort, "--weights", "int8",
                              "--min-sqnr", 20)
    (stem,) = said["not_quantized"]
    assert "faster in float" in stem["reason"] and chosen(said)["float_layers"] == 1
    plan = json.loads((tmp_path / "p.json").read_text())
    assert [e["node"] for e in plan["layers"] if e["weights"] == "float"] == [stem["node"]]
    quantized.quantize(MODEL, tmp_path / "again.onnx", CALIB, *ort)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()


def test_layer_that_is_named_should_stay_as_it_is(reached, tmp_path):
    node = reached[0]["layers"][1]["node"]
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *WEIGHTS, "--min-sqnr", 6,
                              "--layer", f"{node}=ternary")
    assert {layer["node"]: layer["weights"] for layer in said["layers"]}[node] == "ternary"


def test_goal_out_of_reach_should_write_nothing(tmp_path):
    for name in ("q.onnx", "plan.json", "page.html"):
        (tmp_path / name).write_text("before")
    done = support.ldnq(*LINE, tmp_path / "q.onnx", "--min-sqnr", 300, "--quiet", "--plan",
                        tmp_path / "plan.json", "--report", tmp_path / "page.html")
    assert done.returncode == 9 and len(done.stderr.strip().splitlines()) == 1
    assert "the goal was not reached, and nothing is written" in done.stderr
    assert "(goal 300)" in done.stderr and "lower the goal" in done.stderr
    for name in ("q.onnx", "plan.json", "page.html"):
        assert (tmp_path / name).read_text() == "before"


@pytest.mark.parametrize("options, status, words", [
    (["--max-drop", 1], support.DATA, "has no classes"),
    (["--min-sqnr", 20, "--budget", "3bits"], support.USAGE, "exclude each other"),
    (["--goal-data", EVAL, "--weights", "int4"], support.USAGE, "goes with max-drop"),
    (["--min-agreement", 101], support.USAGE, "--min-agreement"),
    (["--min-sqnr", 20, "--max-samples", 4], support.DATA, "takes at least 5"),
    (["--min-sqnr", 20, "--goal-data", "/none"], support.IO, "/none"),
])
def test_what_can_not_be_done_should_be_told(options, status, words, tmp_path):
    done = support.ldnq(*LINE, tmp_path / "q.onnx", *options)
    assert done.returncode == status and words in done.stderr
    assert not (tmp_path / "q.onnx").exists()


def test_labels_should_be_read_from_calib_where_it_has_them(tmp_path):
    shutil.copytree(EVAL, tmp_path / "labelled")
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", tmp_path / "labelled", *WEIGHTS,
                              "--max-drop", 5)
    assert said["goal"]["held_out"] and chosen(said)["drop"] <= 5


def test_result_should_not_depend_on_the_threads(reached, tmp_path):
    said, folder = reached
    other = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *WEIGHTS, "--min-sqnr", 22,
                               "--threads", 1)
    assert other["goal"]["steps"] == said["goal"]["steps"]
    assert (tmp_path / "q.onnx").read_bytes() == (folder / "q.onnx").read_bytes()


def test_page_and_summary_should_show_the_way(reached, tmp_path):
    page = (reached[1] / "page.html").read_text()
    assert "The way to the goal" in page and "SQNR in dB" in page
    done = support.succeed(*LINE, tmp_path / "q.onnx", "--min-sqnr", 22)
    assert "where 22 was asked for" in done.stdout
    assert "on 20 held-out samples" in done.stdout
    assert "measured on 20 held-out samples" in page

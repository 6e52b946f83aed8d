# SPDX-License-Identifier: Apache-2.0
"""--layer PATTERN=CODEBOOK: the codebook of single layers, for people who know."""

import json

import pytest

import quantized
import support
from support import DIGITS

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
FAST = ["--max-samples", 20, "--effort", "fast", "--lambda", 0, "--solver", "rtn", "--target",
        "weights", "--weights", "int4"]
LINE = ["quantize", MODEL, "--calib", CALIB, *FAST, "-o"]


def codes_of(said):
    return {layer["node"]: layer["weights"] for layer in said["layers"]}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    said = quantized.quantize(MODEL, tmp_path_factory.mktemp("all") / "q.onnx", CALIB, *FAST)
    return [layer["node"] for layer in said["layers"]]


def test_named_layers_and_patterns_should_get_their_codebook(nodes, tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--layer",
                              f"{nodes[1]}=ternary", "--layer", "*=int8")
    codes = codes_of(said)
    assert codes.pop(nodes[1]) == "ternary"
    assert set(codes.values()) == {"int8"}
    assert f"layer={nodes[1]}=ternary" in said["metadata"]["ldnq.options"]


def test_first_rule_should_count(nodes, tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--layer", "*=int8",
                              "--layer", f"{nodes[0]}=ternary")
    assert set(codes_of(said).values()) == {"int8"}


def test_float_should_leave_a_layer_as_it_is(nodes, tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--layer",
                              f"{nodes[0]}=float")
    assert set(codes_of(said)) == set(nodes) - {nodes[0]}
    assert {"node": nodes[0], "op": "Conv", "reason": "left float by its codebook"} in \
        said["not_quantized"]
    skipped = tmp_path / "skipped.onnx"
    other = quantized.quantize(MODEL, skipped, CALIB, *FAST, "--skip", nodes[0])
    assert other["bytes_after"] == pytest.approx(said["bytes_after"], abs=200)


def test_rule_should_come_before_the_plan(nodes, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"layers": [{"node": n, "weights": "int8"} for n in nodes[:-1]] +
                                [{"node": nodes[-1], "weights": "float"}]}))
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--plan", plan, "--layer",
                              f"{nodes[0]}=int2")
    codes = codes_of(said)
    assert codes[nodes[0]] == "int2" and codes[nodes[1]] == "int8" and nodes[-1] not in codes


def test_wrong_rules_should_be_refused_before_the_work(nodes, tmp_path):
    misspelled = nodes[0][:-1] + "w"
    for rule, message in [
            (f"{misspelled}=int8", f"layer '{misspelled}' matches no layer; did you mean "
             f"'{nodes[0]}'?"),
            ("nothing-like-it-*=int8", "matches no layer; inspect lists them"),
            (f"{nodes[0]}", "is not PATTERN=CODEBOOK"),
            ("=int8", "is not PATTERN=CODEBOOK"),
            ("*=int5", "codebook 'int5' is not known; there are ternary"),
            ("*=float", "no layer to quantize")]:
        done = support.ldnq(*LINE, tmp_path / "q.onnx", "--layer", rule)
        assert done.returncode == support.USAGE and message in done.stderr
    done = support.ldnq(*LINE[:-2], "int2,int4", "-o", tmp_path / "q.onnx", "--layer", "*=int8",
                        "--budget", "3bits")
    assert done.returncode == support.USAGE and "not layer" in done.stderr
    assert not (tmp_path / "q.onnx").exists()

# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: --budget chooses each layer's codebook, --plan keeps the choice in a file."""

import json

import pytest
from onnx import TensorProto

import quantized
import support
from support import DIGITS

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
WIDTHS = {TensorProto.INT2: 2, TensorProto.INT4: 4, TensorProto.INT8: 8}
FAST = ["--max-samples", 40, "--effort", "fast"]
LINE = ["quantize", MODEL, *support.WEIGHTS_ALONE, "--calib", CALIB, *FAST, "-o"]


def codes_of(said):
    return {layer["node"]: layer["weights"] for layer in said["layers"]}


def elements(said):
    return {layer["node"]: layer["groups"] * layer["outputs"] * layer["inputs"]
            for layer in said["layers"]}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned")
    said = quantized.quantize(MODEL, folder / "q.onnx", CALIB, *FAST, "--budget", "3.5bits",
                              "--plan", folder / "plan.json", "--opset", 25)
    return folder, said, json.loads((folder / "plan.json").read_text())


def test_budget_should_mix_codebooks_within_its_mean(planned):
    _, said, plan = planned
    bits = {"int2": 2, "int3": 3, "int4": 4, "int8": 8}
    sizes = elements(said)
    mean = sum(sizes[node] * bits[book] for node, book in codes_of(said).items()) / sum(
        sizes.values())
    assert said["weights"] == said["storage"] == "mixed" and len(set(codes_of(said).values())) > 1
    assert 3.3 < mean <= 3.5 and said["bits"] == pytest.approx(mean)
    assert {entry["node"]: entry["weights"] for entry in plan["layers"]} == codes_of(said)
    for entry in plan["layers"]:
        errors = [entry["errors"][book] for book in bits]
        assert errors == sorted(errors, reverse=True)
    chosen = sum(entry["errors"][entry["weights"]] for entry in plan["layers"])
    same = sum(entry["errors"]["int3"] for entry in plan["layers"])
    assert plan["error"] == pytest.approx(chosen) and chosen < same


def test_mixed_file_should_be_valid_with_each_layers_own_type(planned, tmp_path):
    folder, said, _ = planned
    support.check(folder / "q.onnx")
    support.assert_same_outputs(folder / "q.onnx", support.random_feeds(MODEL), tmp_path)
    stored = {"int2": TensorProto.INT2, "int3": TensorProto.INT4, "int4": TensorProto.INT4,
              "int8": TensorProto.INT8}
    made = support.quantized_weights(folder / "q.onnx")
    assert [q.dtype for q in made] == [stored[book] for book in codes_of(said).values()]
    notes = support.metadata(folder / "q.onnx")
    for node, book in codes_of(said).items():
        assert f"codebook={book} " in notes[f"ldnq.layer.{node}"]


def test_plan_should_give_the_same_bytes_again(planned, tmp_path):
    folder, _, _ = planned
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--plan", folder / "plan.json",
                       "--opset", 25)
    assert (tmp_path / "q.onnx").read_bytes() == (folder / "q.onnx").read_bytes()


@pytest.mark.parametrize("options", [["--threads", 1], ["--max-mem", "1M"]])
def test_plan_should_not_depend_on_threads_or_memory(planned, tmp_path, options):
    folder, _, _ = planned
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--budget", "3.5bits", "--plan",
                       tmp_path / "plan.json", *options)
    assert (tmp_path / "plan.json").read_bytes() == (folder / "plan.json").read_bytes()


@pytest.mark.parametrize("budget", ["12K", "10x"])
def test_file_should_be_as_small_as_the_budget_says(budget, tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--budget", budget,
                              "--opset", 25)
    weights = sum(elements(said).values())
    most = 12 * 1024 if budget == "12K" else 4 * weights / 10
    made = support.quantized_weights(tmp_path / "q.onnx")
    stored = sum(q.codes.size * WIDTHS[q.dtype] / 8 + 4 * q.scales.size for q in made)
    assert 0.9 * most < stored <= most


def test_plan_by_hand_should_choose_by_pattern_and_leave_the_rest_to_weights(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"layers": [{"node": "/classifier/*", "weights": "int8"}]}))
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--plan", plan,
                              "--weights", "pot5")
    assert {node: book for node, book in codes_of(said).items() if book != "pot5"} == {
        "/classifier/Gemm": "int8"}


def test_budget_should_choose_among_the_codebooks_of_the_line(tmp_path):
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *FAST, "--budget", "2.5bits",
                              "--weights", "ternary,int8")
    assert set(codes_of(said).values()) == {"ternary", "int8"} and said["bits"] <= 2.5
    done = support.succeed(*LINE, tmp_path / "q.onnx", "--budget", "2.5bits", "--weights",
                           "ternary,int8")
    assert f"; {said['bits']:.2f} bits per weight" in done.stdout and "ternary in " in done.stdout


def test_budget_should_leave_float_what_the_target_computes_faster_so(tmp_path):
    """The first convolution of digits, of one channel: the budget does not count it."""
    ort = ["--target", "ort", "--weights", "int8", "--solver", "rtn", "--lambda", 0,
           "--max-samples", 20, "--plan", tmp_path / "p.json"]
    said = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *ort, "--budget", "8bits")
    (stem,) = said["not_quantized"]
    assert "faster in float" in stem["reason"]
    listed = {entry["node"]: entry for entry in said["plan"]["layers"]}
    assert listed.pop(stem["node"]) == {"node": stem["node"], "weights": "float"}
    assert {entry["weights"] for entry in listed.values()} == {"int8"}
    assert said["plan"]["error"] == pytest.approx(sum(e["errors"]["int8"] for e in listed.values()))
    quantized.quantize(MODEL, tmp_path / "again.onnx", CALIB, *ort)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()


def test_budget_in_bytes_should_be_that_of_the_quantized_layers(tmp_path):
    """Of 4-bit codes none is refused; with 8 bits for all but the stem the rest fits."""
    ort = ["--target", "ort", "--weights", "int4,int8", "--solver", "rtn", "--lambda", 0,
           "--max-samples", 20]
    whole = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *ort, "--budget", "100K")
    sizes = elements(whole)
    scales = sum(layer["groups"] * layer["outputs"] for layer in whole["layers"])
    need = sum(sizes.values()) + 4 * scales
    assert len(whole["not_quantized"]) == 1 and set(codes_of(whole).values()) == {"int8"}
    same = quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *ort, "--budget", need + 100)
    assert codes_of(same) == codes_of(whole)


@pytest.mark.parametrize("options, status, words", [
    (["--budget", "1bits"], support.USAGE, "1 bits is too small: the least is 2"),
    (["--budget", "8x", "--opset", "keep"], support.USAGE, "the most is 3.8"),
    (["--budget", "8x", "--opset", "keep"], support.USAGE, "opset 25 has narrower types"),
    (["--budget", "30x"], support.USAGE, "the most is 13.86"),
    (["--budget", "1K", "--opset", 25], support.USAGE, "take at least"),
    (["--budget", "3.5 bits"], support.USAGE, "--budget takes SIZE, mean bits per weight (3bits)"),
    (["--budget", "0x"], support.USAGE, "--budget takes"),
    (["--budget", "3bits", "--weights", "int4,int5"], support.USAGE, "--weights 'int5'"),
    (["--weights", "int2,int4"], support.USAGE, "--weights 'int2,int4' is a list, which needs a budget"),
    (["--plan", "/none/plan.json"], support.IO, "/none/plan.json"),
    (["--budget", "3bits", "--plan", "/none/plan.json"], support.IO,
     "/none/plan.json: can't be written"),
])
def test_what_can_not_be_done_should_be_told(options, status, words, tmp_path):
    done = support.ldnq(*LINE, tmp_path / "q.onnx", *options)
    assert done.returncode == status and words in done.stderr
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize("text, status, words", [
    ("{", support.DATA, "is no plan"), ("[]", support.DATA, "is no plan"),
    ('{"layers": [{"node": "x"}]}', support.DATA, 'layers[0] needs "node" and "weights"'),
    ('{"layers": [{"node": "x", "weights": 4}]}', support.DATA, "layers[0] needs"),
    ('{"layers": [{"node": "*", "weights": "int4"}, {"node": "x", "weights": "int5"}]}',
     support.USAGE, "layers[1]: weights 'int5' is not known; there are ternary"),
    ('{"layers": [{"node": "x", "weights": "int4"}]}', support.USAGE, "'x' matches no layer"),
])
def test_plan_that_is_none_should_be_refused_by_its_place(text, status, words, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    done = support.ldnq(*LINE, tmp_path / "q.onnx", "--plan", tmp_path / "plan.json")
    assert done.returncode == status and words in done.stderr


def test_time_that_a_budget_took_should_be_missing_to_the_layers(tmp_path):
    done = support.succeed(*LINE, tmp_path / "q.onnx", "--budget", "3bits", "--time-limit", 0.01,
                           "--json")
    assert {layer["solver"] for layer in json.loads(done.stdout)["layers"]} == {"gptq"}
    assert "solved by gptq" in done.stderr

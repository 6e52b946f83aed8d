# SPDX-License-Identifier: Apache-2.0
"""W and R of LSTM, GRU and RNN are two layers of one node: by gate row, each fitted to its own
input, R to the states of the calibration run."""

import json

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
HIDDEN, INPUTS, STEPS = 12, 10, 9


def samples(rng, count, width=INPUTS):
    """Sequences of correlated features."""
    x = rng.normal(0, 1, (count, STEPS, 3)) @ rng.normal(0, 1, (3, width))
    return (x + rng.normal(0, .1, x.shape)).astype(np.float32)


def build(path, op, rng, directions=1, lengths=None, last_alone=False, batch_first=False,
          **attributes):
    """x (N, steps, inputs) -> the node, which has its samples on its second axis."""
    def array(*shape, spread=.4):
        return rng.normal(0, spread, shape).astype(np.float32)

    width = GATES[op] * HIDDEN
    constants = {"W": array(directions, width, INPUTS), "R": array(directions, width, HIDDEN),
                 "B": array(directions, 2 * width, spread=.1)}
    given = "x" if batch_first else "t"
    inputs = [given, "W", "R", "B"]
    nodes = [] if batch_first else [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2])]
    if lengths is not None:
        inputs.append("lengths")
        constants["lengths"] = np.array(lengths, np.int32)
    outputs = ["", "h"] if last_alone else ["s"]
    if directions == 2:
        attributes["direction"] = "bidirectional"
    nodes.append(helper.make_node(op, inputs, outputs, "cell", hidden_size=HIDDEN,
                                  layout=int(batch_first), **attributes))
    perm = [1, 0, 2] if last_alone else [2, 0, 1, 3]
    nodes.append(helper.make_node("Transpose", outputs[-1:], ["y"],
                                  **({} if batch_first else {"perm": perm})))
    if batch_first:
        nodes[-1] = helper.make_node("Identity", outputs[-1:], ["y"])
    rank = 3 if last_alone else 4
    batch = len(lengths) if lengths is not None else "N"
    proto = support.model(nodes, {"x": [batch, STEPS, INPUTS]},
                          {"y": [f"axis{i}" for i in range(rank)]}, constants, opset=21,
                          ir_version=10)
    return support.save(proto, path)


CASES = {
    "lstm": ("LSTM", {}),
    "lstm both ways": ("LSTM", {"directions": 2}),
    "lstm backwards": ("LSTM", {"direction": "reverse"}),
    "lstm last state": ("LSTM", {"last_alone": True}),
    "gru reset after": ("GRU", {"linear_before_reset": 1}),
    "gru reset before": ("GRU", {"linear_before_reset": 0}),
    "gru both ways": ("GRU", {"directions": 2, "linear_before_reset": 0}),
    "rnn": ("RNN", {}),
}


def quantize(source, x, folder, *options):
    np.save(folder / "x.npy", x)
    out = folder / "q.onnx"
    answer = support.answer("quantize", source, "-o", out, "--calib", folder / "x.npy",
                            "--target", "weights", *options)
    return out, answer


def sqnr(source, out, x):
    [exact], [rounded] = (support.ort_run(path, {"x": x}).values() for path in (source, out))
    return 10 * np.log10(np.sum(exact**2) / np.sum((exact - rounded)**2))


def assert_no_float_weight(out):
    kept = [t.name for t in onnx.load(out).graph.initializer
            if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 2 * 8 * HIDDEN]
    assert not kept


@pytest.mark.parametrize("case", CASES)
def test_both_weights_should_be_quantized(case, tmp_path):
    rng = np.random.default_rng(3)
    op, more = CASES[case]
    source = build(tmp_path / "m.onnx", op, rng, **more)
    x = samples(rng, 64)
    out, answer = quantize(source, x, tmp_path, "--weights", "int8", "--solver", "nearest")
    assert [layer["node"] for layer in answer["layers"]] == ["cell.W", "cell.R"]
    assert [layer["inputs"] for layer in answer["layers"]] == [INPUTS, HIDDEN]
    assert not answer["not_quantized"]
    support.check(out)
    support.assert_same_outputs(out, {"x": x[:4]}, tmp_path / "run")
    assert_no_float_weight(out)
    assert sqnr(source, out, x) > 35
    layers = support.answer("diff", source, out)["layers"]
    assert [layer["other"] for layer in layers] == ["cell.W", "cell.R"]
    assert [layer["shape"][2] for layer in layers] == [INPUTS, HIDDEN]
    assert all(layer["weight_error"]["sqnr_db"] > 35 for layer in layers)
    listed = support.answer("inspect", out)["layers"]
    assert [layer["type"] for layer in listed] == ["int8", "int8"]
    assert len([key for key in support.metadata(out) if key.startswith("ldnq.layer.cell")]) == 2


@pytest.mark.parametrize("case", CASES)
def test_weights_should_be_fitted_to_inputs_and_states(case, tmp_path):
    """With 4 bits, codes of correlated features make up for each other."""
    rng = np.random.default_rng(4)
    op, more = CASES[case]
    source = build(tmp_path / "m.onnx", op, rng, **more)
    x = samples(rng, 256)
    x, unseen = x[:192], x[192:]
    found = {}
    for solver in ("rtn", "gptq"):
        folder = tmp_path / solver
        folder.mkdir()
        out, _ = quantize(source, x, folder, "--weights", "int4", "--solver", solver)
        support.assert_same_outputs(out, {"x": unseen[:3]}, folder / "run")
        found[solver] = sqnr(source, out, unseen)
    assert found["gptq"] > found["rtn"] + 2, found


def codebooks(answer):
    return {layer["node"]: layer["weights"] for layer in answer["layers"]}


def test_both_weights_should_have_labels_of_their_own(tmp_path):
    rng = np.random.default_rng(5)
    source = build(tmp_path / "m.onnx", "LSTM", rng)
    x, plan = samples(rng, 32), tmp_path / "plan.json"
    setting = ("--solver", "rtn", "--weights")

    # A rule, or an exception, may name the node or one of its weights.
    found = {rule: codebooks(quantize(source, x, tmp_path, *setting, "int4", "--layer", rule)[1])
             for rule in ("cell.R=int8", "*.W=int8", "cell=int8")}
    assert found == {"cell.R=int8": {"cell.W": "int4", "cell.R": "int8"},
                     "*.W=int8": {"cell.W": "int8", "cell.R": "int4"},
                     "cell=int8": {"cell.W": "int8", "cell.R": "int8"}}
    _, answer = quantize(source, x, tmp_path, *setting, "int4", "--skip", "cell.W")
    assert codebooks(answer) == {"cell.R": "int4"}
    assert [layer["node"] for layer in answer["not_quantized"]] == ["cell.W"]

    # Budgets and goals choose for each of them, and their plans say so.
    for search in (("--budget", "6bits"), ("--min-sqnr", 24)):
        out, answer = quantize(source, x, tmp_path, *setting, "int4,int8", *search, "--plan", plan)
        written, chosen = out.read_bytes(), codebooks(answer)
        assert sorted(chosen.values()) == ["int4", "int8"]
        entries = json.loads(plan.read_text())["layers"]
        assert {entry["node"]: entry["weights"] for entry in entries} == chosen
        if search[0] == "--min-sqnr":
            out, _ = quantize(source, x, tmp_path, "--solver", "rtn", "--plan", plan)
            assert out.read_bytes() == written

    # Plans of older versions name the node alone, and its first entry counts for both.
    plan.write_text(json.dumps({"layers": [{"node": "cell", "weights": "int8"},
                                           {"node": "cell", "weights": "int4"}]}))
    _, answer = quantize(source, x, tmp_path, *setting, "int4", "--plan", plan)
    assert codebooks(answer) == {"cell.W": "int8", "cell.R": "int8"}

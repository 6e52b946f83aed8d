# SPDX-License-Identifier: Apache-2.0
"""Names that are not UTF-8 or that a terminal would obey: JSON stays valid, text harmless."""

import json
import subprocess
import unicodedata

import numpy as np
import pytest

import small_models as small
import support
from support import save

# Each stands for the bytes in the file: protobuf's Python refuses to write such names.
NAMES = {"NAME0": b"\xff\xe2\x82.w", "NAME1": "\u009b2J".encode() + b"m",
         "NAME2": "\u202ea".encode() + b"x", "NAME3": "\u2028b".encode() + b"y"}
FAST = ["--effort", "fast", "--max-samples", 8]
HIDDEN = {"Cc", "Cf", "Zl", "Zp"}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A model of two layers with odd names throughout, and samples for it."""
    folder = tmp_path_factory.mktemp("odd")
    nodes = [small.node("MatMul", "NAME1 NAME2w", "NAME3h", name="NAME0"),
             small.node("MatMul", "NAME3h w2", "NAME0y", name="NAME1")]
    weights = {"NAME2w": support.weights(4, 4), "w2": support.weights(4, 4)}
    proto = small.chain(nodes, (4,), (4,), weights)
    proto.graph.input[0].name, proto.graph.output[0].name = "NAME1", "NAME0y"
    proto.producer_name = "NAME1"
    raw = proto.SerializeToString()
    for name, odd_bytes in NAMES.items():
        assert len(odd_bytes) == len(name)
        raw = raw.replace(name.encode(), odd_bytes)
    (folder / "m.onnx").write_bytes(raw)
    np.save(folder / "x.npy", np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32))
    return folder


def assert_harmless(text):
    assert not [c for c in text if unicodedata.category(c) in HIDDEN and c not in "\n\t\r"]


def outcome(*arguments, status=support.OK):
    """What is printed, which must be UTF-8 without anything that a terminal obeys."""
    done = subprocess.run([support.LDNQ, *map(str, arguments)], capture_output=True, timeout=300,
                          check=False)
    printed, complaints = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    assert done.returncode == status, complaints
    assert_harmless(printed)
    assert_harmless(complaints)
    return printed if status == support.OK else complaints


def quantize(odd, out, *options):
    return outcome("quantize", odd / "m.onnx", "-o", out, "--calib", odd / "x.npy", *FAST, *options)


def assert_names(layers):
    assert [layer["node"] for layer in layers] == ["\ufffd\ufffd\ufffd.w", "\u009b2Jm"]


def test_quantize_should_print_valid_json_and_log(odd, tmp_path):
    said = json.loads(quantize(odd, tmp_path / "q.onnx", "--json", "--log", tmp_path / "log"))
    assert_names(said["layers"])
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert_harmless(log)
    assert_names([json.loads(line) for line in log.splitlines()][:2])


def test_quantize_should_print_harmless_text(odd, tmp_path):
    quantize(odd, tmp_path / "q.onnx", "--verbose")


def test_plan_should_be_valid_json(odd, tmp_path):
    plan = tmp_path / "plan.json"
    quantize(odd, tmp_path / "q.onnx", "--budget", "4bits", "--plan", plan)
    assert_names(json.loads(plan.read_text(encoding="utf-8"))["layers"])


def test_inspect_should_print_valid_json_and_harmless_text(odd):
    assert_names(json.loads(outcome("inspect", odd / "m.onnx", "--json"))["layers"])
    outcome("inspect", odd / "m.onnx")


def test_run_should_name_files_that_its_json_can_name(odd, tmp_path):
    line = ["run", odd / "m.onnx", "--input", odd / "x.npy", "--output", tmp_path / "out"]
    output, = json.loads(outcome(*line, "--json"))["outputs"]
    assert output["name"] == "\ufffd\ufffd\ufffd.wy"
    assert np.load(output["file"]).shape == (8, 4)
    outcome(*line)


def test_diff_should_write_valid_json_and_page(odd, tmp_path):
    quantize(odd, tmp_path / "q.onnx")
    line = ["diff", odd / "m.onnx", tmp_path / "q.onnx", "--data", odd / "x.npy"]
    said = json.loads(outcome(*line, "--json"))
    assert_names(said["layers"])
    outcome(*line, "--html", tmp_path / "page.html")
    assert_harmless((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_eval_should_print_valid_json_and_harmless_text(odd, tmp_path):
    labels = np.arange(8) % 4
    np.savez(tmp_path / "x.npz", **{"\u009b2Jm": np.load(odd / "x.npy"), "labels": labels})
    # With a name that a .npz file can't hold, an only array is the only input's.
    np.savez(tmp_path / "only.npz", x=np.load(odd / "x.npy"), labels=labels)
    for data in ("x.npz", "only.npz"):
        line = ["eval", odd / "m.onnx", "--data", tmp_path / data]
        assert json.loads(outcome(*line, "--json"))["models"][0]["samples"] == 8
        outcome(*line)


def test_lint_should_print_valid_json_and_harmless_text(odd, tmp_path):
    quantize(odd, tmp_path / "q.onnx", "--target", "tflite", "--weights", "int8")
    for target in ("ort", "tflite"):
        line = ["lint", tmp_path / "q.onnx", "--target", target]
        said = json.loads(outcome(*line, "--json"))
        assert not [f for f in said["findings"] if "NAME" in json.dumps(f)]
        outcome(*line)


def test_a_report_should_be_valid_text(odd, tmp_path):
    quantize(odd, tmp_path / "q.onnx", "--report", tmp_path / "page.html")
    assert_harmless((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_errors_should_name_the_node_as_valid_text(odd, tmp_path):
    raw = (odd / "m.onnx").read_bytes().replace(b"MatMul", b"NatMul")
    (tmp_path / "bad.onnx").write_bytes(raw)
    line = ["run", tmp_path / "bad.onnx", "--input", odd / "x.npy", "--output", tmp_path / "out"]
    assert "'???.w'" in outcome(*line, status=support.UNSUPPORTED)

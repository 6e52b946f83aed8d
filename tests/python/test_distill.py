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
LEARN = ["--weights", "ternary", "--distill", 40, "--refine", "--augment"]


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def top1(path):
    return support.answer("eval", path, "--data", DIGITS / "eval")["models"][0]["top1"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    out = tmp_path_factory.mktemp("learned") / "q.onnx"
    return out, quantized.quantize(MODEL, out, CALIB, *LEARN)


def test_distillation_should_bring_the_output_nearer(learned, tmp_path):
    out, answer = learned
    said = answer["distillation"]
    assert said["steps"] == 40 and said["held_out"] == answer["samples"] // 5
    assert said["error"] < 0.8 * said["error_start"]
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, "--weights", "ternary")
    assert top1(out) >= top1(tmp_path / "q.onnx")


def test_distilled_file_should_be_valid_and_say_how_it_was_made(learned, tmp_path):
    out, _ = learned
    quantized.assert_valid(MODEL, out, support.random_feeds(MODEL), tmp_path)
    assert " distill=40 refine=1 augment=1 seed=" in metadata(out)["ldnq.options"]


@pytest.mark.parametrize("options", [["--threads", 1], ["--max-mem", "1M"]])
def test_same_bytes_for_any_thread_count_and_ceiling(learned, tmp_path, options):
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *LEARN, *options)
    assert (tmp_path / "q.onnx").read_bytes() == learned[0].read_bytes()


def test_seed_should_matter_to_what_is_learned(learned, tmp_path):
    quantized.quantize(MODEL, tmp_path / "q.onnx", CALIB, *LEARN, "--seed", 5)
    assert (tmp_path / "q.onnx").read_bytes() != learned[0].read_bytes()


def test_scales_alone_should_leave_the_codes(tmp_path):
    quantized.quantize(MODEL, tmp_path / "a.onnx", CALIB, "--weights", "ternary")
    quantized.quantize(MODEL, tmp_path / "b.onnx", CALIB, "--weights", "ternary",
                       "--distill", 20)
    before, after = (support.quantized_weights(tmp_path / f) for f in ("a.onnx", "b.onnx"))
    assert len(before) == len(after) > 0
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a.codes, b.codes)
    assert any(not np.array_equal(a.scales, b.scales) for a, b in zip(before, after))


def test_network_without_a_gradient_should_be_kept_as_placed(tmp_path):
    nodes = [small.node("MatMul", "x w", "h"), small.node("ArgMax", "h", "i", axis=1),
             small.node("Cast", "i", "y", to=1)]
    save(small.chain(nodes, (6,), (1,), {"w": support.weights(6, 5)}), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "x.npy", 6)
    done = support.succeed("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                           calib, "--distill", 5)
    assert "not distilled" in done.stderr
    support.check(tmp_path / "q.onnx")

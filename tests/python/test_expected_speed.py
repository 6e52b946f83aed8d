# SPDX-License-Identifier: Apache-2.0
"""The speed that `diff` and the report expect of a quantized file: a prediction by costs of kernels,
which these tests hold to the formula. How well it fits measured networks is in src/docs/choosing.md;
no test measures time."""

import numpy as np
import onnx
import pytest

import small_models as small
import support

CHANNELS, SIDE, KERNEL = 32, 16, 3
TAPS = SIDE * SIDE * KERNEL * KERNEL
PRODUCTS = TAPS * CHANNELS * CHANNELS
ELEMENTS = CHANNELS * SIDE * SIDE
CALL = 1e6  # picoseconds of a kernel's call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A convolution, with any batch."""
    folder = tmp_path_factory.mktemp("speed")
    shape = (CHANNELS, SIDE, SIDE)
    weight = support.weights(CHANNELS, CHANNELS, KERNEL, KERNEL)
    onnx.save(small.chain([small.conv("x w", "y", pads=[1] * 4)], shape, shape, {"w": weight}),
              folder / "float.onnx")
    np.save(folder / "x.npy", np.random.default_rng(0).random((4, *shape), np.float32))
    return folder


def quantized(folder, target):
    path = folder / f"{target}.onnx"
    support.succeed("quantize", folder / "float.onnx", "-o", path, "--calib", folder / "x.npy",
                    "--target", target, "--weights", "int8", "--solver", "rtn", "-q")
    return path


def speed(folder, file):
    return support.answer("diff", folder / "float.onnx", file)["speed"]


def test_integer_kernels_should_be_weighed_against_the_conversions_around_them(folder):
    found = speed(folder, quantized(folder, "ort"))
    in_float = 20 * PRODUCTS + CALL
    on_codes = 100 * ELEMENTS + 7 * PRODUCTS + 500 * TAPS + 200 * ELEMENTS + 3 * CALL
    assert found["target"] == "ort" and "ONNX Runtime" in found["measured_on"]
    assert found["times_faster"] == pytest.approx(in_float / on_codes, rel=1e-3)
    assert 1 < found["factor"] < 1.5


def test_weights_alone_should_be_expected_to_be_slower(folder):
    found = speed(folder, quantized(folder, "weights"))
    weights = PRODUCTS // (SIDE * SIDE)
    want = (20 * PRODUCTS + CALL) / (20 * PRODUCTS + CALL + 3000 * weights)
    assert found["target"] == "ort"
    assert found["times_faster"] == pytest.approx(want, rel=1e-3)


def test_a_model_should_be_as_fast_as_itself(folder):
    assert speed(folder, folder / "float.onnx")["times_faster"] == 1


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "qnn", "tflite"])
def test_a_runtime_that_was_not_measured_should_have_no_figure(target, folder):
    found = speed(folder, quantized(folder, target))
    assert found == {"target": target, "times_faster": None, "factor": None, "measured_on": None}


def test_open_sizes_should_have_no_figure_until_they_are_set(tmp_path):
    proto = small.chain([small.conv("x w", "y")], ("H", "W"), ("h", "w"), {})
    proto.graph.input[0].CopyFrom(support.info("x", ["N", 3, "H", "W"]))
    proto.graph.output[0].CopyFrom(support.info("y", ["N", 4, "h", "w"]))
    proto.graph.initializer.append(support.tensor("w", support.weights(4, 3, 3, 3)))
    onnx.save(proto, tmp_path / "open.onnx")
    line = ["diff", tmp_path / "open.onnx", tmp_path / "open.onnx"]
    assert support.answer(*line)["speed"]["times_faster"] is None
    assert support.answer(*line, "--dim", "H=9", "--dim", "W=9")["speed"]["times_faster"] == 1


@pytest.mark.parametrize("target, words", [
    ("ort", ["\u00d7<small>faster</small>", "give or take a factor of 1.3",
             "kernels of ONNX Runtime 1.32"]),
    ("weights", ["\u00d7<small>slower</small>", "session.disable_quant_qdq"]),
    ("openvino", ["<b>not known</b>", "no kernel of openvino was timed",
                  "100\u00a0% of the multiplications are between codes of 8 bits"]),
])
def test_the_page_should_say_what_is_expected_and_by_what(target, words, folder):
    file = quantized(folder, target)
    support.succeed("diff", folder / "float.onnx", file, "--html", folder / "r.html", "-q")
    page = (folder / "r.html").read_text()
    tile = page.partition("<dt>Expected speed</dt>")[2].partition("</div>")[0]
    for word in words:
        assert word in tile

# SPDX-License-Identifier: Apache-2.0
"""A forgotten --mean shows: the inputs' mean and deviation are told, with a warning for pictures
that do not look normalized, and none for inputs of another form."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

RNG = np.random.default_rng(9)
WARNING = "mostly take values near 0 and 1"


def network(path, shape, *first, dtype=TensorProto.FLOAT, **constants):
    """`first` is a chain of operators from x, then a Gemm over all values."""
    size = int(np.prod(shape[1:]))
    nodes, value = [], "x"
    for i, (op, inputs, attributes) in enumerate(first):
        nodes.append(helper.make_node(op, [value, *inputs], [f"v{i}"], f"n{i}", **attributes))
        value = f"v{i}"
    nodes += [helper.make_node("Flatten", [value], ["f"], "flat"),
              helper.make_node("Gemm", ["f", "w"], ["y"], "gemm")]
    constants["w"] = RNG.normal(0, size ** -.5, (size, 5)).astype(np.float32)
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", dtype, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return path


def quantize(model, calib, *options):
    return support.answer("quantize", model, "-o", model.parent / "q.onnx", "--calib", calib,
                          "--target", "weights", "--weights", "int8", "--solver", "nearest",
                          *options)


def is_warned(result):
    return any(WARNING in text for text in result["warnings"])


@pytest.fixture
def pictures(tmp_path):
    """Smooth colours, and their pixels (N,3,H,W) from 0 to 255."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[0:16, 0:16]
    pixels = np.stack([120 + 20 * c + 60 * np.sin(x / (3 + c) + i) * np.cos(y / 4)
                       for i in range(12) for c in range(3)]).reshape(12, 3, 16, 16)
    pixels = pixels.clip(0, 255).astype(np.uint8)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{i:02}.png")
    return folder, pixels


@pytest.mark.parametrize("options, warned", [
    ([], True), (["--mean", ".485,.456,.406", "--std", ".229,.224,.225"], False),
    (["--mean", ".5", "--std", ".5"], False), (["--mean", "0"], False), (["--scale", "1"], False),
    (["--scale", "1/255"], False),
    (["--mean", "123,116,103", "--std", "58,57,57"], True)])  # for pixels to 255, at 1/255
def test_pictures_should_be_told_and_judged(options, warned, pictures, tmp_path):
    folder, pixels = pictures
    model = network(tmp_path / "m.onnx", ["N", 3, 16, 16])
    result = quantize(model, folder, *options)
    assert is_warned(result) == warned
    given = dict(zip(options[::2], options[1::2]))
    scale = 1.0 if given.get("--scale") == "1" else 1 / 255
    mean, std = (np.array([float(v) for v in given.get(name, default).split(",")])
                 for name, default in (("--mean", "0"), ("--std", "1")))
    x = (pixels * scale - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
    [figures] = result["inputs"]
    assert figures["name"] == "x"
    np.testing.assert_allclose(figures["mean"], x.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(figures["deviation"], x.std((0, 2, 3)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("normalize", [("Sub", ["half"], {}), ("Div", ["half"], {})])
def test_networks_that_normalize_should_not_be_warned_of(normalize, pictures, tmp_path):
    model = network(tmp_path / "m.onnx", ["N", 3, 16, 16], normalize,
                    half=np.array(.5, np.float32))
    assert not is_warned(quantize(model, pictures[0]))


@pytest.mark.parametrize("name, x, warned", [
    ("pixels to 255", RNG.integers(0, 256, (12, 3, 8, 8)).astype(np.float32), True),
    ("gray pixels to 255", RNG.integers(0, 256, (12, 1, 8, 8)).astype(np.float32), True),
    ("channels last", RNG.integers(0, 256, (12, 8, 8, 3)).astype(np.float32), True),
    ("pixels to 1", RNG.random((12, 3, 8, 8), np.float32), False),
    ("normalized", RNG.normal(size=(12, 3, 8, 8)).astype(np.float32), False),
    ("mask", (RNG.random((12, 64)) > .5).astype(np.float32), False),
    ("audio", RNG.normal(0, .02, (12, 400)).astype(np.float32), False),
    ("features", RNG.normal(300, 90, (12, 40)).astype(np.float32), False)])
def test_arrays_should_be_warned_of_as_pictures_alone(name, x, warned, tmp_path):
    np.save(tmp_path / "x.npy", x)
    model = network(tmp_path / "m.onnx", ["N", *x.shape[1:]])
    result = quantize(model, tmp_path / "x.npy")
    assert is_warned(result) == warned, name
    [figures] = result["inputs"]
    assert len(figures["mean"]) == (1 if x.ndim < 4 else min(x.shape[1], x.shape[3]))


def test_ids_should_have_no_figures(tmp_path):
    np.save(tmp_path / "x.npy", RNG.integers(0, 30, (12, 7)))
    model = network(tmp_path / "m.onnx", ["N", 7], ("Cast", [], {"to": TensorProto.FLOAT}),
                    dtype=TensorProto.INT64)
    assert quantize(model, tmp_path / "x.npy")["inputs"] == []


def test_summary_should_tell_the_figures(pictures, tmp_path):
    model = network(tmp_path / "m.onnx", ["N", 3, 16, 16])
    done = support.succeed("quantize", model, "-o", tmp_path / "q.onnx", "--calib", pictures[0],
                           "--target", "weights", "--weights", "int8", "--mean", ".5", "--std",
                           ".25")
    [line] = [line for line in done.stdout.splitlines() if line.startswith("input ")]
    assert line.startswith("input 'x': mean ") and ", deviation " in line and len(line) < 80

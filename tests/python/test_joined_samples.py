# SPDX-License-Identifier: Apache-2.0
"""--calib and --data, given more than once, are one set: all samples, in their order."""

import shutil

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

RNG = np.random.default_rng(3)
QUANTIZE = ("--target", "weights", "--weights", "int4", "--solver", "gptq")


@pytest.fixture
def two_inputs(tmp_path):
    """y = a w + b v, and arrays for both inputs."""
    w, v = (RNG.normal(size=(6, 4)).astype(np.float32) for _ in range(2))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
             for name, size in (("a", 6), ("b", 6), ("y", 4))]
    nodes = [helper.make_node("MatMul", ["a", "w"], ["p"], "first"),
             helper.make_node("MatMul", ["b", "v"], ["q"], "second"),
             helper.make_node("Add", ["p", "q"], ["y"])]
    graph = helper.make_graph(nodes, "g", infos[:2], infos[2:],
                              [numpy_helper.from_array(w, "w"), numpy_helper.from_array(v, "v")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              tmp_path / "m.onnx")
    return {name: RNG.normal(size=(60, 6)).astype(np.float32) for name in "ab"}


def codes(path):
    return {tensor.name: numpy_helper.to_array(tensor).tobytes()
            for tensor in onnx.load(path).graph.initializer}


def test_npz_of_several_inputs_should_be_joined_in_order(two_inputs, tmp_path):
    parts = []
    for i, (first, last) in enumerate(((0, 10), (10, 45), (45, 60))):
        np.savez(tmp_path / f"{i}.npz", **{k: x[first:last] for k, x in two_inputs.items()})
        parts += ["--calib", tmp_path / f"{i}.npz"]
    np.savez(tmp_path / "all.npz", **two_inputs)
    model = tmp_path / "m.onnx"
    joined = support.answer("quantize", model, "-o", tmp_path / "j.onnx", *parts, *QUANTIZE)
    whole = support.answer("quantize", model, "-o", tmp_path / "w.onnx", "--calib",
                           tmp_path / "all.npz", *QUANTIZE)
    assert joined["samples"] == whole["samples"] == 60
    assert joined["metadata"]["ldnq.data"] == whole["metadata"]["ldnq.data"]
    assert codes(tmp_path / "j.onnx") == codes(tmp_path / "w.onnx")
    swapped = support.answer("quantize", model, "-o", tmp_path / "s.onnx", *parts[2:], *parts[:2],
                             *QUANTIZE)
    assert swapped["samples"] == 60
    assert swapped["metadata"]["ldnq.data"] != whole["metadata"]["ldnq.data"]


def split(folder, tmp_path, count):
    """The pictures of a folder, in two folders."""
    parts = [tmp_path / "p0", tmp_path / "p1"]
    for i, path in enumerate(sorted(folder.glob("*.png"))):
        part = parts[i >= count]
        part.mkdir(exist_ok=True)
        shutil.copy(path, part / path.name)
    return parts


def test_folders_of_pictures_should_be_joined(tmp_path):
    first, second = split(support.DIGITS / "calib", tmp_path, 40)
    model, data = support.DIGITS / "digits-ts.onnx", []
    for paths in ([first, second], [support.DIGITS / "calib"]):
        options = [word for path in paths for word in ("--calib", path)]
        out = tmp_path / "q.onnx"
        data.append(support.answer("quantize", model, "-o", out, *options, *QUANTIZE, "--mean",
                                   ".3"))
        data.append(codes(out))
    assert data[0]["samples"] == data[2]["samples"] == 100
    assert data[1] == data[3]
    difference = [support.answer("diff", model, tmp_path / "q.onnx", *options)["outputs"]
                  for options in (["--data", first, "--data", second],
                                  ["--data", support.DIGITS / "calib"])]
    assert difference[0] == difference[1]


def test_pictures_and_arrays_should_not_be_joined(tmp_path):
    np.save(tmp_path / "x.npy", RNG.normal(size=(5, 1, 8, 8)).astype(np.float32))
    done = support.ldnq("quantize", support.DIGITS / "digits-ts.onnx", "-o", tmp_path / "q.onnx",
                        "--calib", support.DIGITS / "calib", "--calib", tmp_path / "x.npy")
    assert done.returncode == support.DATA and done.stderr.count("\n") == 1
    assert "x.npy: holds arrays where " in done.stderr and "can't be joined" in done.stderr
    assert not (tmp_path / "q.onnx").exists()


def test_the_file_that_does_not_fit_should_be_named(two_inputs, tmp_path):
    np.savez(tmp_path / "0.npz", **two_inputs)
    np.savez(tmp_path / "1.npz", a=two_inputs["a"], b=two_inputs["b"][:, :5])
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "0.npz", "--calib", tmp_path / "1.npz")
    assert done.returncode == support.DATA and "1.npz[b]" in done.stderr
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "0.npz", "--calib", tmp_path / "none.npz")
    assert done.returncode == support.IO and "none.npz" in done.stderr


def class_folders(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        pixels = RNG.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / "x.png")
    return root


def test_classes_should_be_the_same_in_all_folders(tmp_path):
    digits = [str(i) for i in range(10)]
    a, b = (class_folders(tmp_path / name, digits) for name in "ab")
    c = class_folders(tmp_path / "c", digits[1:])
    model = support.DIGITS / "digits-ts.onnx"
    [score] = support.answer("eval", model, "--data", a, "--data", b)["models"]
    assert score["samples"] == 20
    done = support.ldnq("eval", model, "--data", a, "--data", c)
    assert done.returncode == support.DATA and "class folders" in done.stderr


def test_an_output_should_not_replace_a_joined_sample(two_inputs, tmp_path):
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", **two_inputs)
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "1.npz", "--calib",
                        tmp_path / "0.npz", "--calib", tmp_path / "1.npz")
    assert done.returncode == support.USAGE and "1.npz" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Samples run together only where the network computes each of them on its own.

The reference is the same network with a declared batch of 1, whose codes must be the same bits."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(5)
C = 8


def weight(*shape):
    return RNG.normal(0, shape[0] ** -.5, shape).astype(np.float32)


def save(path, nodes, inputs, outputs, **constants):
    infos = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
              for name, shape in values.items()] for values in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *infos,
                              [numpy_helper.from_array(value, name)
                               for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


W, V = weight(C, C), weight(C, C)


def product(x, y, name, w="w"):
    return helper.make_node("MatMul", [x, w], [y], name)


def per_sample(path, batch):
    """Each sample on its own."""
    return save(path, [product("x", "a", "first"), helper.make_node("Relu", ["a"], ["b"]),
                       product("b", "y", "last", "v")],
                {"x": [batch, 4, C]}, {"y": [batch, 4, C]}, w=W, v=V)


def attention(path, batch):
    """A Reshape folds the samples into the axis that the attention runs over."""
    return save(path, [product("x", "q", "first"),
                       helper.make_node("Reshape", ["q", "one"], ["r"]),
                       helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
                       helper.make_node("MatMul", ["r", "t"], ["s"]),
                       helper.make_node("Softmax", ["s"], ["p"], axis=-1),
                       helper.make_node("MatMul", ["p", "r"], ["o"]),
                       product("o", "y", "last", "v")],
                {"x": [batch, 4, C]}, {"y": [1, None, C]}, w=W, v=V,
                one=np.array([1, -1, C], np.int64))


def folded_back(path, batch):
    """As attention, with the samples in the first axis again."""
    path = attention(path, batch)
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Reshape", ["z", "back"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 4, C], np.int64), "back"))
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, C]))
    onnx.save(model, path)
    return path


def fixed_reshape(path, batch):
    return save(path, [product("x", "a", "first"), helper.make_node("Reshape", ["a", "s"], ["r"]),
                       product("r", "y", "last", "v")],
                {"x": [batch, 4, C]}, {"y": [4, C]}, w=W, v=V, s=np.array([4, C], np.int64))


def time_first(path, batch):
    """What comes later depends on what came before."""
    return save(path, [product("x", "a", "first"), helper.make_node("CumSum", ["a", "zero"], ["c"]),
                       product("c", "y", "last", "v")],
                {"x": [batch, 4, C]}, {"y": [batch, 4, C]}, w=W, v=V, zero=np.array(0, np.int64))


def weakly_mixed(path, batch):
    """The mean over the batch is added, at a size that rounding might have."""
    return save(path, [product("x", "a", "first"),
                       helper.make_node("ReduceMean", ["a"], ["m"], axes=[0], keepdims=1),
                       helper.make_node("Mul", ["m", "small"], ["n"]),
                       helper.make_node("Sub", ["a", "n"], ["d"]), product("d", "y", "last", "v")],
                {"x": [batch, 4, C]}, {"y": [batch, 4, C]}, w=W, v=V,
                small=np.array(1e-5, np.float32))


MIXED = [attention, folded_back, fixed_reshape, time_first, weakly_mixed]


@pytest.fixture
def calib(tmp_path):
    np.save(tmp_path / "x.npy", RNG.normal(size=(50, 4, C)).astype(np.float32))
    return tmp_path / "x.npy"


def codes(path):
    return {tensor.name: numpy_helper.to_array(tensor).tobytes()
            for tensor in onnx.load(path).graph.initializer}


def quantize(source, calib, out, *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, "--target", "weights",
                          "--weights", "int4", "--solver", "gptq", *options)


@pytest.mark.parametrize("make", MIXED)
def test_samples_that_mix_should_run_one_at_a_time(make, calib, tmp_path):
    result = quantize(make(tmp_path / "open.onnx", "N"), calib, tmp_path / "open-q.onnx")
    assert result["one_at_a_time"]
    assert any(result["one_at_a_time"] in text for text in result["warnings"])
    alone = quantize(make(tmp_path / "one.onnx", 1), calib, tmp_path / "one-q.onnx")
    assert alone["one_at_a_time"] is None
    assert codes(tmp_path / "open-q.onnx") == codes(tmp_path / "one-q.onnx")
    done = support.succeed("quantize", tmp_path / "open.onnx", "-o", tmp_path / "q.onnx",
                           "--calib", calib, "--target", "weights", "--weights", "int4")
    assert "50 samples one at a time" in done.stdout


@pytest.mark.parametrize("make", MIXED)
def test_diff_of_samples_that_mix_should_run_them_one_at_a_time(make, calib, tmp_path):
    figures = []
    for batch in ("N", 1):
        source, out = make(tmp_path / "x.onnx", batch), tmp_path / "q.onnx"
        quantize(source, calib, out, "--solver", "rtn")
        outputs = support.answer("diff", source, out, "--data", calib)["outputs"]
        figures.append([(output["error"], output["max_error"]) for output in outputs])
    assert figures[0] == figures[1]


@pytest.mark.parametrize("target", ["weights", "ort"])
def test_independent_samples_should_run_together(target, calib, tmp_path):
    source = per_sample(tmp_path / "x.onnx", "N")
    result = quantize(source, calib, tmp_path / "q.onnx", "--target", target)
    assert result["one_at_a_time"] is None and support.warnings(result) == []
    done = support.succeed("diff", source, tmp_path / "q.onnx", "--data", calib)
    assert "one at a time" not in done.stderr


@pytest.mark.parametrize("op, is_mixed", [("Relu", False), ("CumSum", True)])
def test_eval_should_say_that_samples_mix(op, is_mixed, tmp_path):
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(30, C)), labels=np.arange(30) % C)
    source = save(tmp_path / "x.onnx", [product("x", "a", "first"),
                                        helper.make_node(op, ["a", "zero"][:1 + is_mixed], ["b"]),
                                        product("b", "y", "last", "v")],
                  {"x": ["N", C]}, {"y": ["N", C]}, w=W, v=V, zero=np.array(0, np.int64))
    done = support.succeed("eval", source, "--data", tmp_path / "x.npz")
    assert ("samples run one at a time" in done.stderr) == is_mixed


@pytest.mark.parametrize("options", [["--weights", "int8", "--solver", "nearest"],
                                     ["--weights", "ternary", "--solver", "gptq"]])
def test_networks_with_codes_should_keep_their_batch(options, tmp_path):
    source, out = support.DIGITS / "digits-ts.onnx", tmp_path / "q.onnx"
    support.succeed("quantize", source, "-o", out, "--calib", support.DIGITS / "calib", "--target",
                    "ort", "--max-samples", 20, *options)
    done = support.succeed("eval", source, out, "--data", support.DIGITS / "eval")
    assert "one at a time" not in done.stderr


# ---- arrays whose first axis is not the batch


def test_rows_should_be_grouped_by_a_fixed_batch(tmp_path):
    source = per_sample(tmp_path / "x.onnx", 4)
    x = RNG.normal(size=(16, 4, C)).astype(np.float32)
    np.save(tmp_path / "rows.npy", x)
    np.save(tmp_path / "stack.npy", x.reshape(4, 4, 4, C))
    for name in ("rows", "stack"):
        result = quantize(source, tmp_path / f"{name}.npy", tmp_path / f"{name}-q.onnx")
        assert result["samples"] == 4
    assert codes(tmp_path / "rows-q.onnx") == codes(tmp_path / "stack-q.onnx")
    np.save(tmp_path / "rows.npy", x[:15])
    done = support.ldnq("quantize", source, "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "rows.npy")
    assert done.returncode == support.DATA
    assert "15 rows where input 'x' takes 4 at a time" in done.stderr


def test_folder_of_a_data_set_should_be_one_sample(tmp_path):
    """ONNX's layout: the first axis of x is time, that of the state is not."""
    nodes = [product("x", "a", "first"), helper.make_node("Add", ["a", "h"], ["b"]),
             helper.make_node("CumSum", ["b", "zero"], ["c"]), product("c", "y", "last", "v")]
    both = save(tmp_path / "both.onnx", nodes, {"x": ["T", C], "h": [1, C]}, {"y": ["T", C]},
                w=W, v=V, zero=np.array(0, np.int64))
    nodes[1] = helper.make_node("Relu", ["a"], ["b"])
    one = save(tmp_path / "one.onnx", nodes, {"x": ["T", C]}, {"y": ["T", C]}, w=W, v=V,
               zero=np.array(0, np.int64))
    for i in range(6):
        for name, arrays in (("both", (weight(7, C), weight(1, C))), ("one", (weight(7, C),))):
            folder = tmp_path / name / f"test_data_set_{i}"
            folder.mkdir(parents=True)
            for k, array in enumerate(arrays):
                data = numpy_helper.from_array(array).SerializeToString()
                (folder / f"input_{k}.pb").write_bytes(data)
    for source, name in ((both, "both"), (one, "one")):
        result = quantize(source, tmp_path / name, tmp_path / "q.onnx")
        assert result["samples"] == 6
        assert result["layers"][0]["positions"] % 7 == 0

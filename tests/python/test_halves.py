# SPDX-License-Identifier: Apache-2.0
"""Models in float16 and bfloat16: computed in float32, written back in the types of the file."""

import contextlib
import io
import warnings

import ml_dtypes
import numpy as np
import onnx
import pytest
import support
import torch
from onnx import TensorProto, helper, numpy_helper
from support import save

HALF, BFLOAT, FLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT
NUMPY = {HALF: np.float16, BFLOAT: ml_dtypes.bfloat16, FLOAT: np.float32}
RNG = np.random.default_rng(3)


def tensor(name, array, dtype):
    return numpy_helper.from_array(np.asarray(array).astype(NUMPY[dtype]), name)


def model(nodes, initializers, shape, out, dtype, into=None, **more):
    """The nodes as "Op inputs > output, name"; into: the type of input and output."""
    made = []
    for text in nodes:
        what, name = text.split(",")
        op, *inputs = what.split(">")[0].split()
        attributes = {"to": dtype if op == "Cast" and name.strip() != "up" else FLOAT}
        made.append(helper.make_node(op, [i if i != "-" else "" for i in inputs],
                                     [what.split(">")[1].strip()], name.strip(),
                                     **(attributes if op == "Cast" else {})))
    graph = helper.make_graph(
        made, "g", [helper.make_tensor_value_info("x", into or dtype, ["n", *shape])],
        [helper.make_tensor_value_info("y", into or dtype, ["n", *out])], initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", more.get("opset", 17))])


def dense(dtype, spread=0.3, **more):
    """Two layers with something between them."""
    return model(["MatMul x w > a,first", "Relu a > b,", "Gemm b v c > y,second"],
                 [tensor("w", RNG.normal(size=(24, 16)) * spread, dtype),
                  tensor("v", RNG.normal(size=(16, 6)) * spread, dtype),
                  tensor("c", RNG.normal(size=6), dtype)], [24], [6], dtype, **more)


@pytest.fixture
def calib(tmp_path):
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 24)).astype(np.float32))
    return tmp_path / "x.npy"


def quantize(source, out, calib, weights="int8", target="weights", *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, "--weights", weights,
                          "--target", target, "--solver", "gptq", *options)


def scale_types(path):
    graph = onnx.load(path).graph
    types = {t.name: t.data_type for t in graph.initializer}
    return [types[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"]


def assert_same_as_runtime(path, x, folder, error=4e-3):
    feeds = {"x": x}
    ours, theirs = support.run(path, feeds, folder), support.ort_run(path, feeds)
    support.assert_close(ours, theirs, error)
    return theirs


# ---- what is written


@pytest.mark.parametrize("weights, opset", [("int8", 19), ("int4", 21)])
@pytest.mark.parametrize("target", ["weights", "ort"])
@pytest.mark.parametrize("into", [None, FLOAT])
def test_float16_should_be_written_with_float16_scales(weights, opset, target, into, tmp_path,
                                                       calib):
    proto = dense(HALF)
    if into:
        proto = dense(HALF, into=FLOAT)
        proto.graph.node[0].input[0], proto.graph.node[2].output[0] = "h", "z"
        proto.graph.node.insert(0, helper.make_node("Cast", ["x"], ["h"], to=HALF))
        proto.graph.node.append(helper.make_node("Cast", ["z"], ["y"], to=FLOAT))
    source, out = save(proto, tmp_path / "m.onnx"), tmp_path / "q.onnx"
    said = quantize(source, out, calib, weights, target)
    support.check(out)
    assert not said["not_quantized"] and said["opset"] == opset
    assert scale_types(out) == [HALF, HALF]
    assert not support.has_quantized_activations(out)
    # Its kernel of codes and floats rounds activations to 8 bits.
    theirs = assert_same_as_runtime(out, np.load(calib).astype(NUMPY[into or HALF]), tmp_path / "r",
                                    2e-2 if target == "ort" else 4e-3)
    assert theirs["y"].dtype == NUMPY[into or HALF]
    layers = support.answer("diff", source, out, "--data", calib)["layers"]
    assert [layer["isolated"]["sqnr_db"] > (35 if weights == "int8" else 12)
            for layer in layers] == [True, True]
    assert [layer["bytes_a"] for layer in layers] == [2 * 24 * 16, 2 * 16 * 6]


def test_bfloat16_should_be_written_with_bfloat16_scales(tmp_path, calib):
    source, out = save(dense(BFLOAT), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    said = quantize(source, out, calib)
    support.check(out)
    assert scale_types(out) == [BFLOAT, BFLOAT] and said["opset"] == 19
    assert said["accuracy"]["sqnr"] > 35
    # A file of arrays has no bfloat16.
    ours = support.run(out, {"x": np.load(calib)}, tmp_path / "r")["y"]
    exact = support.run(source, {"x": np.load(calib)}, tmp_path / "f")["y"]
    assert ours.dtype == np.float32 and np.abs(ours - exact).max() < .05 * np.abs(exact).max()


def test_one_layer_of_each_type_should_keep_it(tmp_path, calib):
    proto = model(["MatMul x w > a,first", "Cast a > h,down", "MatMul h v > z,second",
                   "Cast z > y,up"],
                  [tensor("w", RNG.normal(size=(24, 16)), FLOAT),
                   tensor("v", RNG.normal(size=(16, 6)), HALF)], [24], [6], HALF, into=FLOAT)
    out = tmp_path / "q.onnx"
    said = quantize(save(proto, tmp_path / "m.onnx"), out, calib)
    support.check(out)
    assert not said["not_quantized"] and scale_types(out) == [FLOAT, HALF]
    assert_same_as_runtime(out, np.load(calib), tmp_path / "r")


def test_float16_that_is_cast_to_float32_should_need_no_new_opset(tmp_path, calib):
    proto = model(["Cast h > w,up", "MatMul x w > y,first"],
                  [tensor("h", RNG.normal(size=(24, 16)), HALF)], [24], [16], HALF, into=FLOAT)
    out = tmp_path / "q.onnx"
    assert quantize(save(proto, tmp_path / "m.onnx"), out, calib)["opset"] == 17
    assert scale_types(out) == [FLOAT]
    assert_same_as_runtime(out, np.load(calib), tmp_path / "r", 1e-5)


def test_tables_of_halves_should_be_gathered_in_codes(tmp_path):
    ids = RNG.integers(0, 300, size=(40, 5))
    np.savez(tmp_path / "ids.npz", x=ids)
    for weights in ("int8", "int4"):
        proto = model(["Gather table x > e,embed", "MatMul e v > y,head"],
                      [tensor("table", RNG.normal(size=(300, 64)), HALF),
                       tensor("v", RNG.normal(size=(64, 4)), HALF)], [5], [5, 4], HALF)
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
        source, out = save(proto, tmp_path / "m.onnx"), tmp_path / "q.onnx"
        said = quantize(source, out, tmp_path / "ids.npz", weights)
        support.check(out)
        assert not said["not_quantized"]
        assert_same_as_runtime(out, ids, tmp_path / "r")


def test_a_table_that_two_layers_read_should_count_once(tmp_path):
    np.savez(tmp_path / "ids.npz", x=RNG.integers(0, 300, size=(40, 5)))
    proto = model(["Gather table x > e,embed", "Transpose table > t,", "MatMul e t > y,head"],
                  [tensor("table", RNG.normal(size=(300, 64)), HALF)], [5], [5, 300], HALF)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    source, out = save(proto, tmp_path / "m.onnx"), tmp_path / "q.onnx"
    quantize(source, out, tmp_path / "ids.npz")
    assert support.answer("inspect", source)["totals"]["bytes"] == 2 * 300 * 64
    assert support.answer("inspect", out)["totals"]["bytes"] == 300 * 64 + 2 * 300
    assert support.answer("diff", source, out)["b"]["weight_bytes"] == 300 * 64 + 2 * 300


# ---- numbers that float16 hardly has


@pytest.mark.parametrize("spread", [1e-5, 1e-6, 2e4])
def test_weights_at_the_limits_of_float16_should_keep_their_scale(spread, tmp_path, calib):
    """Scales would be 0 or infinite; one row is far smaller than the others, and one is 0."""
    w = np.clip(RNG.normal(size=(24, 16)) * spread, -65504, 65504)
    w[:, 3] *= 1e-2 if spread > 1 else 1
    w[:, 5] = 0
    w[2, 7] = 65504 if spread > 1 else w[2, 7]
    proto = model(["MatMul x w > y,only"], [tensor("w", w, HALF)], [24], [16], HALF)
    x = RNG.normal(size=(40, 24)).astype(np.float32) * (1e-3 if spread > 1 else 1e2)
    np.save(calib, x)
    out = tmp_path / "q.onnx"
    said = quantize(save(proto, tmp_path / "m.onnx"), out, calib)
    codes = support.quantized_weights(out)[0]
    assert (codes.scales != 0).all() and np.isfinite(codes.scales.astype(np.float32)).all()
    theirs = assert_same_as_runtime(out, x.astype(np.float16), tmp_path / "r")
    assert np.isfinite(theirs["y"].astype(np.float32)).all()
    # Weights of some 1e-6 are few steps of float16, which are scales too.
    assert said["accuracy"]["exact"] if spread == 1e-6 else said["accuracy"]["sqnr"] > 30


def test_samples_beyond_float16_should_be_refused(tmp_path, calib):
    x = np.load(calib)
    x[3, 5] = 1e5
    np.save(calib, x)
    done = support.ldnq("quantize", save(dense(HALF), tmp_path / "m.onnx"), "-o",
                        tmp_path / "q.onnx", "--calib", calib, "--weights", "int8")
    assert done.returncode == 6 and "100000 does not fit float16" in done.stderr


# ---- what is refused, and said


def test_targets_of_integers_alone_should_refuse_halves_before_the_work(tmp_path, calib):
    done = support.ldnq("quantize", save(dense(HALF), tmp_path / "m.onnx"), "-o",
                        tmp_path / "q.onnx", "--calib", calib, "--weights", "int8", "--target",
                        "qnn")
    assert done.returncode == 2 and "float16" in done.stderr and "float32" in done.stderr


def test_weights_alone_should_be_said_for_an_integer_target(tmp_path, calib):
    done = support.succeed("quantize", save(dense(HALF), tmp_path / "m.onnx"), "-o",
                           tmp_path / "q.onnx", "--calib", calib, "--weights", "int8", "--target",
                           "ort")
    assert "2 layers are in float16: the weights alone are quantized" in done.stderr


def test_an_opset_that_is_kept_should_be_refused(tmp_path, calib):
    done = support.ldnq("quantize", save(dense(HALF), tmp_path / "m.onnx"), "-o",
                        tmp_path / "q.onnx", "--calib", calib, "--weights", "int8",
                        "--opset", "keep")
    assert done.returncode == 2 and "bfloat16 weights need opset 19" in done.stderr


def test_an_output_that_no_array_file_holds_should_be_refused_before_the_work(tmp_path):
    proto = model(["Cast x > y,down"], [], [4], [4], TensorProto.FLOAT8E4M3FN, into=FLOAT,
                  opset=19)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    done = support.ldnq("run", save(proto, tmp_path / "m.onnx"), "--input", tmp_path / "x.npy",
                        "--output", tmp_path / "o")
    assert done.returncode == 5 and "output 'y' is float8e4m3fn" in done.stderr
    assert not (tmp_path / "o").exists()


def test_inspect_should_count_halves(tmp_path):
    seen = support.answer("inspect", save(dense(HALF), tmp_path / "m.onnx"))["layers"]
    assert [(layer["type"], layer["bytes"], layer["quantizable"]) for layer in seen] == [
        ("float16", 2 * 24 * 16, True), ("float16", 2 * 16 * 6, True)]


# ---- exporters


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16)
        self.up = torch.nn.ConvTranspose2d(16, 8, 2, 2)
        self.scale, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, 10)

    def forward(self, x):
        y = torch.nn.functional.gelu(self.up(torch.relu(self.norm(self.conv(x)))))
        return self.head(self.scale(y.mean((2, 3)))).softmax(-1)


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_exports_of_halves_should_be_quantized_whole(dynamo, tmp_path):
    torch.manual_seed(0)
    net, x = Net().half().eval(), torch.randn(40, 3, 8, 8).half()
    options = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "external_data": False} if dynamo \
        else {"dynamic_axes": {"x": {0: "n"}}, "opset_version": 17}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), \
            contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x[:2],), tmp_path / "m.onnx", input_names=["x"], dynamo=dynamo,
                          verbose=False, **options)
    np.save(tmp_path / "x.npy", x.numpy())
    out = tmp_path / "q.onnx"
    said = quantize(tmp_path / "m.onnx", out, tmp_path / "x.npy")
    support.check(out)
    assert not said["not_quantized"] and len(said["layers"]) == 3
    assert set(scale_types(out)) == {HALF}
    assert_same_as_runtime(out, x.numpy(), tmp_path / "r")
    np.savez(tmp_path / "x.npz", x=x.numpy(), labels=np.zeros(40, int))
    seen = support.answer("eval", tmp_path / "m.onnx", out, "--data", tmp_path / "x.npz")
    assert [model["samples"] for model in seen["models"]] == [40, 40]


# ---- float8


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_weights_in_float8_should_be_dequantized_and_counted(dtype, tmp_path):
    kind = ml_dtypes.float8_e4m3fn if dtype == TensorProto.FLOAT8E4M3FN else ml_dtypes.float8_e5m2
    proto = model(["DequantizeLinear w s > d,", "MatMul x d > y,only"], [
        numpy_helper.from_array(RNG.normal(size=(24, 16)).astype(kind), "w"),
        tensor("s", .5, FLOAT)], [24], [16], FLOAT, opset=19)
    path = save(proto, tmp_path / "m.onnx")
    assert_same_as_runtime(path, RNG.normal(size=(5, 24)).astype(np.float32), tmp_path / "r", 1e-5)
    seen = support.answer("inspect", path)["layers"][0]
    assert seen["bytes"] == 24 * 16 + 4 and seen["type"].startswith("float8")


def test_infinities_of_float64_should_be_found(tmp_path, calib):
    """T5 in float16 asks for them before it clamps, and torch asks in float64."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
             helper.make_node("Cast", ["a"], ["wide"], to=TensorProto.DOUBLE),
             helper.make_node("IsInf", ["wide"], ["infinite"]),
             helper.make_node("IsNaN", ["wide"], ["undefined"]),
             helper.make_node("Or", ["infinite", "undefined"], ["bad"]),
             helper.make_node("Where", ["bad", "zero", "a"], ["y"])]
    weight = RNG.normal(size=(24, 6))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", HALF, ["n", 24])],
        [helper.make_tensor_value_info("y", HALF, ["n", 6])],
        [tensor("w", weight, HALF), tensor("zero", 0.0, HALF)])
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    source, out = save(proto, tmp_path / "m.onnx"), tmp_path / "q.onnx"
    assert not quantize(source, out, calib)["not_quantized"]
    x = np.load(calib).astype(np.float16)
    x[0, 0], x[1, 1] = np.inf, np.nan
    assert (assert_same_as_runtime(out, x, tmp_path / "r")["y"][:2] == 0).all()

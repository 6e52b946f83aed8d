# SPDX-License-Identifier: Apache-2.0
"""Small files whose attributes ask for work that would not end: it is bounded by inputs and
outputs, or refused with the node and the number of operations."""

import numpy as np
import pytest
import support
from onnx import TensorProto, helper
from support import UNSUPPORTED, info, save

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
HUGE = 2**24
SECONDS = 20


def node(kind, inputs, outputs, **attrs):
    return helper.make_node(kind, inputs, outputs, **attrs)


def filled(name, shape):
    """A tensor of ones that takes no room in the file, and its shape."""
    one = helper.make_tensor("v", FLOAT, [1], [1.0])
    return node("ConstantOfShape", [f"{name}_shape"], [name], value=one), {
        f"{name}_shape": np.int64(shape)}


def build(folder, nodes, x, outputs=("y",), constants=None):
    """The model's path; x: an array like the input. The other outputs are indices."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    results = [info(name, None, INT64 if i else kind) for i, name in enumerate(outputs)]
    graph = helper.make_graph(nodes, "g", [info("x", x.shape, kind)], results,
                              [support.tensor(n, a) for n, a in (constants or {}).items()])
    opset = [helper.make_opsetid("", 21)]
    return save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "m.onnx")


def run_quickly(model, x, outputs=("y",)):
    """What the program printed, and the outputs that it wrote."""
    folder = model.parent
    np.save(folder / "x.npy", x)
    done = support.ldnq("run", model, "--input", folder / "x.npy", "--output", folder / "out",
                        timeout=SECONDS)
    if done.returncode:
        return done, []
    return done, [np.load(folder / "out" / f"{name}.npy") for name in outputs]


# ---- windows larger than the input


def pool_by_window(x, kind, kernel, stride, begin, outputs, padded):
    """One axis: loops over the outputs, and reads what each window covers of the input."""
    rows = []
    for o in range(outputs):
        low = o * stride - begin
        inside = x[max(low, 0):max(low + kernel, 0)].astype(np.float64)
        if kind == "MaxPool":
            rows.append(inside.max())
        elif kind == "LpPool":
            rows.append(np.sqrt((inside**2).sum()))
        else:
            rows.append(inside.sum() / (kernel if padded else len(inside)))
    return np.array(rows)


@pytest.mark.parametrize("kind, dtype, more", [
    ("MaxPool", FLOAT, {}), ("MaxPool", UINT8, {}), ("LpPool", FLOAT, {}),
    ("AveragePool", FLOAT, {}), ("AveragePool", FLOAT, {"count_include_pad": 1})])
@pytest.mark.parametrize("kernel, stride, pads", [(HUGE, 1, [HUGE - 3, HUGE - 3]),
                                                  (2**29, 2**27, [2**29 - 1, 2**29 - 1]),
                                                  (9, 2, [6, 6])])
def test_a_window_should_cost_no_more_than_what_it_reads(kind, dtype, more, kernel, stride, pads,
                                                         tmp_path):
    x = np.random.default_rng(3).integers(1, 100, 7)
    x = x.astype(np.uint8 if dtype == UINT8 else np.float32)
    outputs = (7 + sum(pads) - kernel) // stride + 1
    pool = node(kind, ["x"], ["y"], kernel_shape=[kernel], strides=[stride], pads=pads, **more)
    done, results = run_quickly(build(tmp_path, [pool], x.reshape(1, 1, 7)), x.reshape(1, 1, 7))
    assert done.returncode == support.OK, done.stderr
    y = results[0]
    if outputs > 64:  # the windows that read all of the input are in the middle
        assert y.size == outputs
        outputs = 64
    expected = pool_by_window(x, kind, kernel, stride, pads[0], outputs, bool(more))
    np.testing.assert_allclose(y.ravel()[:outputs], expected, rtol=1e-6)


def test_outputs_that_can_not_be_stored_should_not_be_counted_one_by_one(tmp_path):
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[2**30] * 4)
    x = np.ones((1, 1, 2, 28), np.float32)
    done, _ = run_quickly(build(tmp_path, [pool], x), x)
    assert done.returncode == support.NOMEM, done.stderr


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("pad", ["SAME_UPPER", "SAME_LOWER"])
def test_a_huge_window_should_see_the_whole_input(kind, pad, tmp_path):
    x = np.random.default_rng(4).uniform(0.5, 1, (1, 2, 3, 5, 4)).astype(np.float32)
    outputs = ["y", "at"] if kind == "MaxPool" else ["y"]
    pool = node(kind, ["x"], outputs, kernel_shape=[HUGE] * 3, auto_pad=pad)
    done, results = run_quickly(build(tmp_path, [pool], x, outputs), x, outputs)
    assert done.returncode == support.OK, done.stderr
    planes = x.reshape(2, -1)
    expected = {"MaxPool": planes.max(1), "AveragePool": planes.mean(1),
                "LpPool": np.sqrt((planes**2).sum(1))}[kind]
    for plane in range(2):
        np.testing.assert_allclose(results[0][0, plane], expected[plane], rtol=1e-5)
        if kind == "MaxPool":
            assert (results[1][0, plane] == planes[plane].argmax() + 60 * plane).all()


# ---- what is bounded by the product of inputs and outputs alone


def big(kind, inputs, shapes, constants=None, outputs=("y",), **attrs):
    nodes, names = [], {}
    for name, shape in shapes.items():
        made, shape_of = filled(name, shape)
        nodes.append(made)
        names.update(shape_of)
    return nodes + [node(kind, inputs, list(outputs), **attrs)], {**names, **(constants or {})}


BOXES = {"r": np.float32([[0, 0, 3, 3]]), "image": np.int64([0])}
REFUSED = {
    "MaxPool": big("MaxPool", ["b"], {"b": [1, 1, 1024, 1024]}, kernel_shape=[1023, 1023],
                   auto_pad="SAME_UPPER"),
    "AveragePool": big("AveragePool", ["b"], {"b": [1, 1, 1024, 1024]}, kernel_shape=[HUGE, HUGE],
                       auto_pad="SAME_LOWER"),
    "LpPool": big("LpPool", ["b"], {"b": [1, 1, 1024, 1024]}, kernel_shape=[1023, 1023],
                  auto_pad="SAME_UPPER"),
    "LRN": big("LRN", ["b"], {"b": [1, 1 << 18, 2, 8]}, size=2**60),
    "RoiAlign": big("RoiAlign", ["x", "r", "image"], {}, BOXES, sampling_ratio=32768,
                    output_height=64, output_width=64),
    "Conv": big("Conv", ["b", "w"], {"b": [1, 1, 4096, 4096], "w": [1, 1, 2047, 2047]},
                auto_pad="SAME_UPPER"),
    "ConvTranspose": big("ConvTranspose", ["b", "w"],
                         {"b": [1, 1, 2048, 2048], "w": [1, 1, 2049, 2049]}, pads=[2047] * 4),
    "TopK": big("TopK", ["b", "k"], {"b": [2**20]}, {"k": np.int64([2**20])}, ["y", "at"]),
    "LSTM": big("LSTM", ["b", "w", "r"], {"b": [2**20, 1, 2], "w": [1, 2**14, 2],
                                          "r": [1, 2**14, 2**12]}, hidden_size=2**12),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_too_many_operations_should_be_refused_with_node_and_number(kind, tmp_path):
    nodes, constants = REFUSED[kind]
    x = np.ones((1, 1, 4, 4), np.float32)
    model = build(tmp_path, nodes, x, constants=constants)
    assert model.stat().st_size < 1000
    done, _ = run_quickly(model, x)
    assert done.returncode == UNSUPPORTED, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"({kind}," in done.stderr and "is not in 0 .. 2.75e+11" in done.stderr


def test_a_loop_should_be_refused_for_what_all_of_its_iterations_take(tmp_path):
    """2^22 iterations are permitted, and so is a sum of 2^20 elements."""
    fill, shape = filled("ones", [2**20])
    go = info("go", [], TensorProto.BOOL)
    body = helper.make_graph([node("Add", ["ones", "s"], ["more"]),
                              node("ReduceMax", ["more"], ["t"], keepdims=0)], "body",
                             [info("i", [], INT64), go, info("s", [])], [go, info("t", [])])
    x = np.ones(1, np.float32)
    model = build(tmp_path, [fill, node("Loop", ["m", "", "zero"], ["y"], body=body)], x,
                  constants={**shape, "m": np.int64(2**22), "zero": np.float32(0)})
    done, _ = run_quickly(model, x)
    assert done.returncode == UNSUPPORTED, done.stderr
    assert "(Loop," in done.stderr and "iterations of its body take 4.4e+12" in done.stderr


@pytest.mark.parametrize("kind, inputs, attrs", [
    ("Softmax", ["z"], {"axis": 1}), ("Transpose", ["z"], {}), ("Tile", ["z", "twice"], {}),
    ("LayerNormalization", ["z", "none"], {"axis": 1}), ("LpNormalization", ["z"], {"axis": 0})])
def test_an_axis_beside_one_without_elements_should_cost_nothing(kind, inputs, attrs, tmp_path):
    fill, shape = filled("z", [2**60, 0])
    constants = {"twice": np.int64([1, 2]), "none": np.zeros(0, np.float32)}
    used = {name: array for name, array in constants.items() if name in inputs}
    x = np.ones(1, np.float32)
    done, results = run_quickly(build(tmp_path, [fill, node(kind, inputs, ["y"], **attrs)], x,
                                      constants={**shape, **used}), x)
    assert done.returncode == support.OK, done.stderr
    assert results[0].size == 0


def test_a_resize_of_an_axis_without_bound_should_name_the_axis(tmp_path):
    graph = helper.make_graph([node("Resize", ["x", "", "s"], ["y"], mode="linear")], "g",
                              [info("x", [2**60, 0], FLOAT)], [info("y", None, FLOAT)],
                              [support.tensor("s", np.float32([2, 1]))])
    path = save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)],
                                  ir_version=10), tmp_path / "m.onnx")
    done = support.ldnq("inspect", path)
    assert f"axis 0 of its input has {2**60} elements" in done.stderr, done.stderr
    assert "scale of 2" not in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Operators that can't be executed: the layers upstream are fitted, the rest is left as it is."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper

OPTIONS = ("--target", "weights", "--weights", "int8", "--solver", "gptq")


def product(x, y, name, w):
    return helper.make_node("MatMul", [x, w], [y], name)


def model(path, foreign, outputs):
    """Two products and a Relu, nodes of another domain, and what `foreign` makes of them."""
    nodes = [product("x", "a", "first", "w"), helper.make_node("Relu", ["a"], ["r"]),
             product("r", "b", "second", "v"), *foreign]
    proto = support.model(nodes, {"x": ["N", 6]}, dict.fromkeys(outputs, ["N", None]),
                          {"w": support.weights(6, 8), "v": support.weights(8, 8),
                           "u": support.weights(8, 4)}, opset=17, opsets=[("TRT", 1)])
    onnx.save(proto, path)
    return path


def plugin(inputs, outputs, name="nms"):
    return helper.make_node("EfficientNMS_TRT", inputs, outputs, name, domain="TRT", score=0.25)


@pytest.fixture
def calib(tmp_path):
    return support.save_samples(tmp_path / "x.npy", 6, count=30)


def quantize(tmp_path, source, calib, *options):
    return support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib,
                          *(options or OPTIONS))


def told(result):
    return [text for text in result["warnings"] if "can't be executed" in text]


def test_layers_upstream_should_be_fitted(tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["b", "r"], ["num", "boxes"])], ["num", "boxes"])
    result = quantize(tmp_path, source, calib)
    assert [layer["node"] for layer in result["layers"]] == ["first", "second"]
    assert told(result) == ["node 'nms' (TRT.EfficientNMS_TRT) can't be executed: it is written as "
                            "it is, and outputs 'num', 'boxes' are not measured"]
    assert result["accuracy"]["sqnr"] > 30
    written = onnx.load(tmp_path / "q.onnx").graph
    last = next(node for node in written.node if node.domain == "TRT")
    assert last == plugin(["b", "r"], ["num", "boxes"])
    assert [output.name for output in written.output] == ["num", "boxes"]
    # As if the values that the plugin reads were the outputs.
    plain = model(tmp_path / "plain.onnx", [], ["b", "r"])
    support.answer("quantize", plain, "-o", tmp_path / "p.onnx", "--calib", calib, *OPTIONS)
    ours = {t.name: t.raw_data for t in written.initializer}
    for tensor in onnx.load(tmp_path / "p.onnx").graph.initializer:
        assert ours[tensor.name] == tensor.raw_data


def test_layers_downstream_should_stay_float_and_be_named(tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["b"], ["c"]), product("c", "y", "third", "u")],
                   ["y", "r"])
    result = quantize(tmp_path, source, calib)
    assert [layer["node"] for layer in result["layers"]] == ["first", "second"]
    assert told(result)[0].endswith("outputs 'y' are not measured; layers that depend on it stay "
                                    "float: 'third'")
    written = {t.name: numpy_helper.to_array(t)
               for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert (written["u"] == support.weights(8, 4)).all()


def test_a_branch_should_not_cost_the_others(tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["r"], ["c"])], ["b", "c"])
    result = quantize(tmp_path, source, calib)
    assert len(result["layers"]) == 2 and "outputs 'c' are" in told(result)[0]


def test_a_node_that_no_output_needs_should_not_count(tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["r"], ["c"])], ["b"])
    assert told(quantize(tmp_path, source, calib)) == []
    x = np.load(calib)
    assert support.run(source, {"x": x}, tmp_path)["b"].shape == (30, 8)


def test_an_input_that_only_it_reads_should_need_no_samples(tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["b", "scale"], ["c"])], ["c"])
    proto = onnx.load(source)
    proto.graph.input.append(support.info("scale", [1, 2]))
    onnx.save(proto, source)
    assert len(quantize(tmp_path, source, calib)["layers"]) == 2


@pytest.mark.parametrize("target", ["ort", "tflite", "qnn", "openvino"])
def test_quantized_activations_should_reach_it_by_the_same_names(target, tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["b", "r"], ["c"])], ["c"])
    result = quantize(tmp_path, source, calib, "--target", target, "--weights", "int8")
    assert len(result["layers"]) == 2
    written = onnx.load(tmp_path / "q.onnx").graph
    last = next(node for node in written.node if node.domain == "TRT")
    computed = {name for node in written.node for name in node.output}
    assert set(last.input) <= computed


def test_diff_should_compare_what_is_upstream(tmp_path, calib):
    source = model(tmp_path / "m.onnx", [plugin(["b"], ["c"])], ["c"])
    quantize(tmp_path, source, calib)
    diff = support.answer("diff", source, tmp_path / "q.onnx", "--data", calib)
    assert [layer["node"] for layer in diff["layers"]] == ["first", "second"]
    assert [output["name"] for output in diff["outputs"]] == ["b"]
    assert diff["outputs"][0]["error"]["sqnr_db"] > 30


def test_nothing_upstream_should_be_refused(tmp_path, calib):
    nodes = [plugin(["x"], ["c"], "first"), product("c", "y", "last", "w")]
    proto = support.model(nodes, {"x": ["N", 6]}, {"y": ["N", 8]}, {"w": support.weights(6, 8)},
                          opset=17, opsets=[("TRT", 1)])
    onnx.save(proto, tmp_path / "m.onnx")
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                        calib, *OPTIONS)
    assert done.returncode == support.UNSUPPORTED and "TRT.EfficientNMS_TRT" in done.stderr


# ---- sequences of tensors


def sequences(path, nodes, opset=17, **constants):
    """A product, nodes that end in z (N,8), and a product of it."""
    proto = support.model([product("x", "h", "first", "w"), *nodes,
                           product("z", "y", "last", "v")],
                          {"x": ["N", 6]}, {"y": ["N", 4]},
                          {"w": support.weights(6, 16), "v": support.weights(8, 4),
                           **{k: np.array(v, np.int64) for k, v in constants.items()}}, opset=opset)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    return path


def at(sequence, index, output):
    return helper.make_node("SequenceAt", [sequence, index], [output])


def split(*inputs, **attributes):
    return helper.make_node("SplitToSequence", list(inputs), ["s"], **attributes)


def add(*inputs):
    return helper.make_node("Add", list(inputs), ["z"])


def join(**attributes):
    return helper.make_node("ConcatFromSequence", ["s"], ["z"], **attributes)


def construct(*inputs):
    return helper.make_node("SequenceConstruct", list(inputs), ["s"])


HALVES = [helper.make_node("Split", ["h"], ["p", "q"], axis=1)]
FORMS = {
    "equal": ([split("h", "size", axis=1), at("s", "i0", "p"), at("s", "i1", "q"), add("p", "q")],
              {"size": 8, "i0": 0, "i1": 1}),
    "sizes": ([split("h", "sizes", axis=-1), at("s", "i0", "p"), at("s", "i1", "q"),
               add("p", "q")], {"sizes": [8, 8], "i0": 0, "i1": -1}),
    "middle": ([split("h", "sizes", axis=1), at("s", "i0", "z")], {"sizes": [3, 8, 5], "i0": 1}),
    "unbind": ([helper.make_node("Reshape", ["h", "shape"], ["r"]), split("r", axis=1, keepdims=0),
                at("s", "i0", "p"), at("s", "i1", "q"), add("p", "q")],
               {"shape": [0, 2, 8], "i0": 0, "i1": -1}),
    "ones": ([helper.make_node("Reshape", ["h", "shape"], ["r"]), split("r", axis=1),
              at("s", "i0", "p"), helper.make_node("Squeeze", ["p", "i1"], ["z"])],
             {"shape": [0, 2, 8], "i0": 1, "i1": [1]}),
    "construct": ([*HALVES, construct("p", "q"), at("s", "i0", "z")], {"i0": -1}),
    "concat": ([*HALVES, construct("q", "p"), join(axis=1),], {}),
    "stack": ([*HALVES, construct("q", "p"),
               helper.make_node("ConcatFromSequence", ["s"], ["t"], axis=1, new_axis=1),
               helper.make_node("ReduceSum", ["t", "i0"], ["z"], keepdims=0)], {"i0": [1]}),
    "split and concat": ([split("h", "sizes", axis=1),
                          helper.make_node("ConcatFromSequence", ["s"], ["t"], axis=1),
                          helper.make_node("Slice", ["t", "from", "to", "i0"], ["z"])],
                         {"sizes": [3, 8, 5], "from": [4], "to": [12], "i0": [1]}),
    "length": ([*HALVES, construct("p", "q"), helper.make_node("SequenceLength", ["s"], ["n"]),
                helper.make_node("Mul", ["n", "four"], ["to"]),
                helper.make_node("Slice", ["h", "from", "to", "axes"], ["z"])],
               {"four": [4], "from": [0], "axes": [1]}),
}


@pytest.mark.parametrize("form", FORMS)
def test_sequences_should_be_executed_and_quantized(form, tmp_path, calib):
    nodes, constants = FORMS[form]
    if form == "concat":
        nodes = [*nodes[:-1], helper.make_node("ConcatFromSequence", ["s"], ["t"], axis=1),
                 helper.make_node("Split", ["t"], ["z", "rest"], axis=1)]
    source = sequences(tmp_path / "m.onnx", nodes, **constants)
    x = np.load(calib)[:5]
    support.assert_close(support.run(source, {"x": x}, tmp_path), support.ort_run(source, {"x": x}))
    for options in (OPTIONS, ("--target", "weights", "--weights", "int4", "--solver", "gptq"),
                    ("--target", "ort", "--weights", "int8")):
        result = quantize(tmp_path, source, calib, *options)
        assert [layer["node"] for layer in result["layers"]] == ["first", "last"]
        support.check(tmp_path / "q.onnx")
        support.assert_close(support.run(tmp_path / "q.onnx", {"x": x}, tmp_path),
                             support.ort_run(tmp_path / "q.onnx", {"x": x}), 1e-2)


def test_pieces_of_one_should_come_without_their_axis_where_torch_wants_that(tmp_path, calib):
    """ONNX knows keepdims only without a size; torch writes both, and ONNX Runtime obeys."""
    nodes = [helper.make_node("Reshape", ["h", "shape"], ["r"]),
             split("r", "one", axis=1, keepdims=0), at("s", "one", "z")]
    source = sequences(tmp_path / "m.onnx", nodes, shape=[0, 2, 8], one=1)
    x = np.load(calib)[:5]
    support.assert_close(support.run(source, {"x": x}, tmp_path), support.ort_run(source, {"x": x}))


# ---- sequences around a loop

JOINED = [(1, 0), (1, 1), (1, 2), (1, -1), (1, -2), (0, 0), (0, 1), (0, -1), (0, -2)]


def collecting(path, after=()):
    """As torch scripts a loop over x.unbind(1) that appends to a list: read by each form of
    stack and cat, and by `after`."""
    body = helper.make_graph(
        [at("s", "i", "xi"), helper.make_node("Add", ["xi", "before"], ["t"]),
         product("t", "u", "inside", "m"), helper.make_node("Tanh", ["u"], ["state"]),
         helper.make_node("SequenceInsert", ["list", "state"], ["longer"]),
         helper.make_node("Identity", ["go"], ["go_on"])], "body",
        [support.info("i", [], onnx.TensorProto.INT64),
         support.info("go", [], onnx.TensorProto.BOOL), support.info("before", ["N", 4]),
         helper.make_tensor_sequence_value_info("list", 1, ["N", 4])],
        [support.info("go_on", [], onnx.TensorProto.BOOL), support.info("state", ["N", 4]),
         helper.make_tensor_sequence_value_info("longer", 1, ["N", 4])],
        [support.tensor("m", support.weights(4, 4, seed=3))])
    nodes = [helper.make_node("Reshape", ["h", "shape"], ["r"]),
             split("r", axis=1, keepdims=0),
             helper.make_node("SequenceLength", ["s"], ["n"]),
             helper.make_node("Gather", ["r", "zero"], ["g"], axis=1),
             helper.make_node("SequenceEmpty", [], ["e"]),
             helper.make_node("Loop", ["n", "", "g", "e"], ["g4", "list_all"], "loop", body=body),
             *(helper.make_node("ConcatFromSequence", ["list_all"], [f"joined{i}"], axis=axis,
                                new_axis=new) for i, (new, axis) in enumerate(JOINED)),
             helper.make_node("Slice", ["joined6", "from", "to", "axes"], ["z"]), *after]
    sequences(path, nodes, shape=[0, 4, 4], one=1, zero=0, axes=[1], to=[8], **{"from": [0]})
    proto = onnx.load(path)
    proto.graph.output.extend(support.info(f"joined{i}", [f"joined{i}_{k}" for k in range(2 + new)])
                              for i, (new, _) in enumerate(JOINED))
    return support.save(proto, path)


def test_list_that_a_loop_appends_to_should_be_executed_and_quantized(tmp_path, calib):
    source = collecting(tmp_path / "m.onnx")
    x = np.load(calib)[:5]
    support.assert_close(support.run(source, {"x": x}, tmp_path), support.ort_run(source, {"x": x}))
    result = quantize(tmp_path, source, calib, "--target", "weights", "--weights", "int8",
                      "--solver", "gptq")
    assert [layer["node"] for layer in result["layers"]] == ["first", "loop/body/inside", "last"]
    support.check(tmp_path / "q.onnx")
    found = support.run(tmp_path / "q.onnx", {"x": x}, tmp_path)
    support.assert_close(found, support.ort_run(tmp_path / "q.onnx", {"x": x}))


def test_list_of_a_loop_that_is_read_otherwise_should_be_named(tmp_path, calib):
    source = collecting(tmp_path / "m.onnx", [at("list_all", "one", "a")])
    np.save(tmp_path / "x.npy", np.load(calib)[:5])
    proto = onnx.load(source)
    proto.graph.output.append(support.info("a", None))
    done = support.ldnq("run", support.save(proto, source), "--input", tmp_path / "x.npy",
                        "--output", tmp_path / "out")
    assert done.returncode == support.UNSUPPORTED and "SequenceInsert" in done.stderr

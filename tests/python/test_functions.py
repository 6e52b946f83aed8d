# SPDX-License-Identifier: Apache-2.0
"""Functions of the model: computed as ONNX Runtime does; inlined where they have layers."""

import numpy as np
import onnx
import pytest
import support
from onnx import helper
from support import MODEL, UNSUPPORTED, info, save, tensor, weights

DOMAIN = "com.example"
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]


def reference(name, kind, ref):
    attr = onnx.AttributeProto(name=name, type=kind, ref_attr_name=ref)
    return attr


def with_refs(node, **refs):
    """refs: {attribute: (kind, name of the function's attribute)}"""
    for name, (kind, ref) in refs.items():
        node.attribute.append(reference(name, kind, ref))
    return node


def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opsets=OPSETS):
    return helper.make_function(DOMAIN, name, inputs, outputs, nodes, opsets, list(attributes),
                                list(defaults))


def build(nodes, inputs, outputs, initializers, functions, opset=17):
    proto = support.model(nodes, inputs, outputs, initializers, opset=opset,
                          opsets=[(DOMAIN, 1)], functions=functions)
    onnx.checker.check_model(proto)
    return proto


def call(kind, inputs, outputs, **attrs):
    return helper.make_node(kind, inputs, outputs, domain=DOMAIN, **attrs)


def simple():
    """Called twice, with and without its attributes, the same names inside."""
    body = [
        with_refs(helper.make_node("LeakyRelu", ["x"], ["t"]),
                  alpha=(onnx.AttributeProto.FLOAT, "slope")),
        with_refs(helper.make_node("Softmax", ["t"], ["s"]),
                  axis=(onnx.AttributeProto.INT, "along")),
        helper.make_node("Add", ["s", "t"], ["y"]),
    ]
    act = function("Act", ["x"], ["y"], body, ["along"],
                   [helper.make_attribute("slope", 0.25)])
    nodes = [call("Act", ["x"], ["a"], slope=0.5), call("Act", ["a"], ["y"], along=0)]
    return build(nodes, {"x": [3, 4]}, {"y": [3, 4]}, {}, [act])


def nested():
    """Attributes handed on, functions in functions, unsorted names, a Constant."""
    inner = function("Inner", ["v"], ["r"], [
        with_refs(helper.make_node("Elu", ["v"], ["t"]), alpha=(onnx.AttributeProto.FLOAT, "a")),
        helper.make_node("Constant", [], ["c"], value=tensor("c", np.float32(2))),
        helper.make_node("Mul", ["t", "c"], ["r"])], ["a"])
    outer = function("Outer", ["v"], ["r", "t"], [
        with_refs(call("Inner", ["v"], ["t"]), a=(onnx.AttributeProto.FLOAT, "b")),
        call("Inner", ["t"], ["r"], a=3.0)], ["b"])
    return build([call("Outer", ["x"], ["y", "z"], b=0.5, name="first")], {"x": [2, 3]},
                 {"y": [2, 3], "z": [2, 3]}, {}, [outer, inner])


def optional_inputs():
    """Left out at the end and in between; a Clip inside that lacks what is not given."""
    clip = function("Bound", ["x", "low", "high"], ["y"],
                    [helper.make_node("Clip", ["x", "low", "high"], ["y"])])
    nodes = [call("Bound", ["x", "", "one"], ["a"]), call("Bound", ["a"], ["b"]),
             call("Bound", ["b", "none"], ["y"])]
    return build(nodes, {"x": [5]}, {"y": [5]},
                 {"one": np.float32(0.5), "none": np.float32(-0.25)}, [clip])


def passed_through():
    """Outputs that are inputs, and that nobody wants."""
    both = function("Both", ["p", "q"], ["q", "s", "p", "d"],
                    [helper.make_node("Sub", ["p", "q"], ["s"]),
                     helper.make_node("Neg", ["p"], ["d"])])
    return build([call("Both", ["x", "x2"], ["y", "z", "w"])], {"x": [4], "x2": [4]},
                 {"y": [4], "z": [4], "w": [4]}, {}, [both])


def own_opset():
    """The body is of another opset than the graph, which the checker does not like."""
    old = function("Old", ["x"], ["y"], [helper.make_node("Softmax", ["x"], ["y"], axis=1)],
                   opsets=[helper.make_opsetid("", 11)])
    return unchecked([call("Old", ["x"], ["y"])], [old])


def with_branch():
    """A subgraph in a function reads the function's input, and an attribute of the call."""
    def branch(op, *refs):
        node = helper.make_node(op, ["x"], ["r"])
        for name, ref in refs:
            node.attribute.append(reference(name, onnx.AttributeProto.FLOAT, ref))
        return helper.make_graph([node], op, [], [info("r", None)])
    body = [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "limit"], ["is"]),
            helper.make_node("If", ["is"], ["y"],
                             then_branch=branch("LeakyRelu", ("alpha", "slope")),
                             else_branch=branch("Neg"))]
    fun = function("Choose", ["x", "limit"], ["y"], body, ["slope"])
    return build([call("Choose", ["x", "zero"], ["y"], slope=0.125)], {"x": [6]}, {"y": [6]},
                 {"zero": np.float32(0)}, [fun])


CASES = [simple, nested, optional_inputs, own_opset, with_branch]


@pytest.mark.parametrize("make", CASES)
def test_functions_should_compute_what_onnx_runtime_does(make, tmp_path):
    path = save(make(), tmp_path / "m.onnx")
    for seed in range(3):
        feeds = support.random_feeds(path, seed=seed)
        support.assert_same_outputs(path, feeds, tmp_path / str(seed))


def test_outputs_that_are_inputs_should_be_those(tmp_path):
    """ONNX Runtime loads no such function."""
    path = save(passed_through(), tmp_path / "m.onnx")
    feeds = {"x": np.float32([1, 2, 3, 4]), "x2": np.float32([5, 7, 9, 0])}
    out = support.run(path, feeds, tmp_path)
    assert out["y"].tolist() == [5, 7, 9, 0] and out["w"].tolist() == [1, 2, 3, 4]
    assert out["z"].tolist() == [-4, -5, -6, 4]


def test_a_function_should_not_stand_in_for_an_operator_of_onnx(tmp_path):
    shadow = helper.make_function("", "Relu", ["x"], ["y"],
                                  [helper.make_node("Neg", ["x"], ["y"])],
                                  [helper.make_opsetid("", 17)])
    proto = support.model([helper.make_node("Relu", ["x"], ["y"])], {"x": [4]}, {"y": [4]}, {},
                          opset=17, functions=[shadow])
    path = save(proto, tmp_path / "m.onnx")
    out = support.assert_same_outputs(path, {"x": np.float32([1, -2, 3, -4])}, tmp_path)
    assert out["y"].tolist() == [1, 0, 3, 0]


# ---- what can't be


def refused(proto, status, *words, folder):
    path = save(proto, folder / "m.onnx")
    np.save(folder / "x.npy", np.ones((2, 3), np.float32))
    done = support.ldnq("run", path, "--input", f"x={folder / 'x.npy'}", "--output",
                        folder / "out")
    assert done.returncode == status, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def unchecked(nodes, functions):
    return support.model(nodes, {"x": [2, 3]}, {"y": [2, 3]}, {}, opset=17,
                         opsets=[(DOMAIN, 1)], functions=functions)


def test_functions_that_call_themselves_should_be_refused(tmp_path):
    ping = function("Ping", ["x"], ["y"], [call("Pong", ["x"], ["y"])])
    pong = function("Pong", ["x"], ["y"], [call("Ping", ["x"], ["y"])])
    refused(unchecked([call("Ping", ["x"], ["y"])], [ping, pong]), MODEL,
            "calls function 'Ping' from within", folder=tmp_path)


def test_functions_that_grow_without_end_should_be_refused(tmp_path):
    functions = [function(f"F{i}", ["x"], ["y"], [call(f"F{i + 1}", ["x"], ["t"]),
                                                  call(f"F{i + 1}", ["t"], ["y"])])
                 for i in range(28)]
    functions.append(function("F28", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])]))
    refused(unchecked([call("F0", ["x"], ["y"])], functions), UNSUPPORTED, "more than",
            folder=tmp_path)


def test_calls_with_too_many_inputs_should_be_refused(tmp_path):
    one = function("One", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])])
    refused(unchecked([call("One", ["x", "x"], ["y"])], [one]), MODEL, "2 inputs", "'One'",
            folder=tmp_path)


# ---- quantizing


def network():
    """A MatMul, a function with a MatMul whose weight it is handed, and another MatMul."""
    dense = function("Dense", ["x", "w"], ["y"],
                     [helper.make_node("MatMul", ["x", "w"], ["m"]),
                      helper.make_node("Relu", ["m"], ["y"])])
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["a"], name="before"),
             call("Dense", ["a", "w2"], ["b"], name="dense"),
             helper.make_node("MatMul", ["b", "w3"], ["y"], name="behind")]
    return build(nodes, {"x": ["N", 8]}, {"y": ["N", 4]},
                 {"w1": weights(8, 12), "w2": weights(12, 12, seed=2),
                  "w3": weights(12, 4, seed=3)}, [dense])


def test_layers_in_functions_should_be_quantized_where_they_are_called(tmp_path):
    source, out = save(network(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    calib = support.save_samples(tmp_path / "calib.npy", 8)
    layers = {layer["node"]: layer for layer in support.answer("inspect", source)["layers"]}
    assert "dense/MatMul#0" in layers and all(item["quantizable"] for item in layers.values())
    said = support.answer("quantize", source, "-o", out, "--calib", calib, "--weights", "int8",
                          "--target", "weights", "--solver", "gptq")
    assert not said["not_quantized"] and len(said["layers"]) == 3
    support.check(out)
    feeds = {"x": np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)}
    support.assert_same_outputs(out, feeds, tmp_path)
    after = onnx.load(out)
    assert not after.functions
    assert not {t.name for t in after.graph.initializer} & {"w1", "w2", "w3"}
    paired = support.answer("diff", source, out)["layers"]
    assert [layer["other"] for layer in paired] == [layer["node"] for layer in paired]


def test_calls_should_have_names_and_weights_of_their_own(tmp_path):
    """Two calls, one in a branch; attributes, an input handed on as an output, a left out bias."""
    inner = function("Scale", ["v"], ["r"], [with_refs(
        helper.make_node("LeakyRelu", ["v"], ["r"]), alpha=(onnx.AttributeProto.FLOAT, "slope"))],
        [], [helper.make_attribute("slope", 0.25)])
    dense = function("Dense", ["x", "w", "b"], ["y", "same"], [
        helper.make_node("Gemm", ["x", "w", "b"], ["t"], name="fc"),
        with_refs(call("Scale", ["t"], ["y"]), slope=(onnx.AttributeProto.FLOAT, "s")),
        helper.make_node("Identity", ["x"], ["same"])], ["s"])
    then = helper.make_graph([call("Dense", ["h", "w2"], ["z"], name="a", s=0.5)], "then", [],
                             [info("z", [None, 12])])
    other = helper.make_graph([helper.make_node("Neg", ["h"], ["n"])], "other", [],
                              [info("n", [None, 12])])
    nodes = [call("Dense", ["x", "w1", "b1"], ["h", "same"], name="a"),
             helper.make_node("ReduceMean", ["same"], ["mean"], keepdims=0),
             helper.make_node("Greater", ["mean", "zero"], ["c"]),
             helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)]
    proto = build(nodes, {"x": ["N", 8]}, {"y": ["N", 12]},
                  {"w1": weights(8, 12), "b1": weights(12), "w2": weights(12, 12, seed=2),
                   "zero": np.float32(0)}, [dense, inner])
    source, out = save(proto, tmp_path / "m.onnx"), tmp_path / "q.onnx"
    calib = support.save_samples(tmp_path / "calib.npy", 8)
    said = support.answer("quantize", source, "-o", out, "--calib", calib, "--weights", "int8",
                          "--target", "weights", "--solver", "gptq")
    assert len(said["layers"]) == 2 and not said["not_quantized"]
    support.check(out)
    for sign in (1, -1):
        feeds = {"x": sign * np.abs(weights(5, 8))}
        support.assert_same_outputs(out, feeds, tmp_path / str(sign))


def test_functions_without_layers_should_stay(tmp_path):
    proto = simple()
    proto.graph.node.append(helper.make_node("MatMul", ["y", "w"], ["z"]))
    proto.graph.output[0].CopyFrom(info("z", [3, 2]))
    proto.graph.initializer.append(tensor("w", weights(4, 2)))
    calib = support.save_samples(tmp_path / "calib.npy", 4)
    np.save(calib, np.load(calib)[:24].reshape(8, 3, 4))
    support.succeed("quantize", save(proto, tmp_path / "m.onnx"), "-o", tmp_path / "q.onnx",
                    "--calib", calib, "--weights", "int8", "--target", "weights")
    assert [f.name for f in onnx.load(tmp_path / "q.onnx").functions] == ["Act"]


def test_a_normalization_in_a_function_should_stay_out_of_the_layer_in_front(tmp_path):
    norm = function("Norm", ["x", "s", "b", "m", "v"], ["y"],
                    [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])])
    nodes = [helper.make_node("Conv", ["x", "w", "c"], ["a"], name="conv"),
             call("Norm", ["a", "s", "b", "m", "v"], ["y"])]
    proto = build(nodes, {"x": ["N", 3, 6, 6]}, {"y": ["N", 4, 4, 4]},
                  {"w": weights(4, 3, 3, 3), "c": weights(4), "s": weights(4, seed=2),
                   "b": weights(4, seed=3), "m": weights(4, seed=4),
                   "v": np.abs(weights(4, seed=5)) + 0.5}, [norm])
    source = save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "calib.npy", 3, 6, 6)
    support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib)
    support.check(tmp_path / "q.onnx")
    support.assert_same_outputs(tmp_path / "q.onnx", support.random_feeds(source), tmp_path)
    assert [n.op_type for n in onnx.load(tmp_path / "q.onnx").graph.node][-1] == "Norm"



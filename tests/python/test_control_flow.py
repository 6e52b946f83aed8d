# SPDX-License-Identifier: Apache-2.0
"""If, Loop and Scan against ONNX Runtime: made by hand, and by scripting torch modules."""

import resource
import warnings

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper
from support import MODEL, UNSUPPORTED, info, save, tensor, weights

INT64, BOOL, FLOAT = TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT


def node(kind, inputs, outputs, **attrs):
    return helper.make_node(kind, inputs, outputs, **attrs)


def graph(nodes, inputs, outputs, initializers=()):
    """inputs and outputs: names, or (name, type, shape)."""
    def value(entry):
        return info(entry, None) if isinstance(entry, str) else info(entry[0], entry[2], entry[1])
    return helper.make_graph(nodes, "body", [value(v) for v in inputs],
                             [value(v) for v in outputs], list(initializers))


def build(nodes, inputs, outputs, initializers=None):
    """inputs and outputs: {name: (type, shape)}."""
    return helper.make_model(
        helper.make_graph(nodes, "crafted", [info(n, s, t) for n, (t, s) in inputs.items()],
                          [info(n, s, t) for n, (t, s) in outputs.items()],
                          [tensor(n, a) for n, a in (initializers or {}).items()]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def same(proto, feeds, folder):
    path = save(proto, folder / "m.onnx")
    feeds = {name: np.asarray(data) for name, data in feeds.items()}
    return support.assert_same_outputs(path, feeds, folder)


X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


# ---- If


def branches(**more):
    then = graph([node("Mul", ["x", "k"], ["t"]), node("Relu", ["t"], ["r"]),
                  node("Identity", ["k"], ["k2"])], [], ["r", "k2"])
    other = graph([node("Neg", ["x"], ["t"]), node("Concat", ["t", "x"], ["r"], axis=0)], [],
                  ["r", "l"], [tensor("l", np.float32([1, 2]))])
    return node("If", ["c"], ["y", "z"], then_branch=then, else_branch=other, **more)


@pytest.mark.parametrize("condition", [True, False])
def test_if_should_run_the_branch_that_its_condition_says(condition, tmp_path):
    proto = build([branches()], {"x": (FLOAT, [3, 4]), "c": (BOOL, [])},
                  {"y": (FLOAT, None), "z": (FLOAT, None)}, {"k": np.float32([3])})
    same(proto, {"x": X, "c": np.array(condition)}, tmp_path)


@pytest.mark.parametrize("rows", [3, 5])
def test_if_with_a_condition_that_folds_should_become_its_branch(rows, tmp_path):
    """The condition hangs on a size."""
    then = graph([node("Exp", ["x"], ["e"]), node("Neg", ["e"], ["e2"]),
                  node("Identity", ["x"], ["x2"])], [],
                 ["e", "e2", "x2", "one"],
                 [tensor("one", np.float32([1]))])
    other = graph([node("Sqrt", ["two"], ["s"]), node("Neg", ["s"], ["s2"]),
                   node("Identity", ["x"], ["x3"])], [],
                  ["s", "s2", "two", "x3"],
                  [tensor("two", np.float32([2]))])
    nodes = [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "zero"], ["rows"]),
             node("Equal", ["rows", "three"], ["c"]),
             node("If", ["c"], ["a", "b", "d", "e"], then_branch=then, else_branch=other),
             node("Add", ["a", "d"], ["y"])]
    proto = build(nodes, {"x": (FLOAT, [rows, 4])},
                  {n: (FLOAT, None) for n in ("y", "b", "d", "e")},
                  {"zero": np.int64(0), "three": np.int64(3)})
    same(proto, {"x": np.resize(X, (rows, 4))}, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_outputs_of_a_branch_may_be_doubled_or_captured(known, tmp_path):
    """ONNX Runtime loads no such branch."""
    then = graph([node("Neg", ["x"], ["e"])], [], ["e", "e", "x", "k"])
    inputs = {"x": (FLOAT, [3, 4])} if known else {"x": (FLOAT, [3, 4]), "c": (BOOL, [])}
    feeds = {"x": X} if known else {"x": X, "c": np.array(True)}
    proto = build([node("If", ["c"], ["a", "b", "d", "e"], then_branch=then, else_branch=then)],
                  inputs, {n: (FLOAT, None) for n in "abde"},
                  {"k": np.float32([7]), **({"c": np.array(True)} if known else {})})
    out = support.run(save(proto, tmp_path / "m.onnx"), feeds, tmp_path)
    for name, expected in zip("abde", (-X, -X, X, np.float32([7]))):
        assert np.array_equal(out[name], expected)


def test_ifs_should_nest_and_read_through_several_graphs(tmp_path):
    inner = node("If", ["d"], ["i"],
                 then_branch=graph([node("Add", ["x", "t"], ["r"])], [], ["r"]),
                 else_branch=graph([node("Mul", ["w", "t"], ["r"])], [], ["r"]))
    then = graph([node("Abs", ["x"], ["t"]), inner], [], ["i"])
    other = graph([node("Identity", ["x"], ["o"])], [], ["o"])
    nodes = [node("Neg", ["x"], ["w"]),
             node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    for i, (c, d) in enumerate([(0, 0), (1, 0), (1, 1)]):
        for known in (False, True):
            inputs = {"x": (FLOAT, [3, 4]), "d": (BOOL, [])}
            feeds = {"x": X, "d": np.array(bool(d))}
            if not known:
                inputs["c"], feeds["c"] = (BOOL, []), np.array(bool(c))
            proto = build(nodes, inputs, {"y": (FLOAT, None)},
                          {"c": np.array(bool(c))} if known else {})
            same(proto, feeds, tmp_path / f"{i}{known}")


# ---- Loop


def loop(body_nodes, carried, scanned, inputs, outputs, keep="go", initializers=()):
    body = graph([*body_nodes], [("i", INT64, []), ("go", BOOL, []), *carried],
                 [(keep, BOOL, []), *scanned], initializers)
    return node("Loop", inputs, outputs, body=body)


@pytest.mark.parametrize("trips", [0, 1, 5])
@pytest.mark.parametrize("known", [True, False])
def test_loop_should_carry_and_stack(trips, known, tmp_path):
    nodes = [loop([node("Add", ["s", "x"], ["sum"]), node("Cast", ["i"], ["f"], to=FLOAT),
                   node("Mul", ["sum", "f"], ["row"])], ["s"],
                  ["sum", ("row", FLOAT, [3, 4])], ["m", "", "x"], ["y", "rows"])]
    inputs = {"x": (FLOAT, [3, 4])} if known else {"x": (FLOAT, [3, 4]), "m": (INT64, [])}
    feeds = {"x": X} if known else {"x": X, "m": np.int64(trips)}
    proto = build(nodes, inputs, {"y": (FLOAT, None), "rows": (FLOAT, None)},
                  {"m": np.int64(trips)} if known else {})
    out = same(proto, feeds, tmp_path)
    assert out["rows"].shape == (trips, 3, 4)


def test_loop_should_run_once_per_sample_of_an_open_batch(tmp_path):
    """As EmbeddingBag is exported: bags are stacked, and what they become has the batch's shape."""
    batch = [node("Shape", ["x"], ["n"], end=1), node("Squeeze", ["n"], ["m"])]
    nodes = [*batch, loop([node("Gather", ["x", "i"], ["row"])], [], [("row", FLOAT, [4])],
                          ["m", "yes"], ["rows"]),
             node("Transpose", ["rows"], ["turned"]), node("Shape", ["rows"], ["k"], end=1),
             node("Concat", ["rest", "k"], ["to"], axis=0), node("Reshape", ["turned", "to"], ["y"])]
    proto = build(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, None)},
                  {"yes": np.bool_(True), "rest": np.array([-1])})
    proto.graph.node[2].attribute[0].g.node.append(
        node("Constant", [], ["always"], value=tensor("", np.bool_(True))))
    proto.graph.node[2].attribute[0].g.output[0].name = "always"
    assert same(proto, {"x": X}, tmp_path)["y"].shape == (4, 3)


def test_loop_should_carry_values_whose_shape_changes(tmp_path):
    nodes = [loop([node("Concat", ["s", "x"], ["grown"], axis=0),
                   node("Shape", ["grown"], ["size"]), node("ReduceSum", ["grown"], ["sum"],
                                                            keepdims=0)],
                  ["s"], ["grown", ("size", INT64, [2]), "sum"], ["m", "", "x"], ["y", "sizes", "sums"])]
    proto = build(nodes, {"x": (FLOAT, ["n", 4]), "m": (INT64, [])},
                  {"y": (FLOAT, None), "sizes": (INT64, None), "sums": (FLOAT, None)})
    out = same(proto, {"x": X, "m": np.int64(3)}, tmp_path)
    assert out["sizes"].tolist() == [[6, 4], [9, 4], [12, 4]]


def test_loop_should_end_when_its_condition_says_so(tmp_path):
    """Two that are carried change places; one output is read by nobody."""
    nodes = [loop([node("Add", ["a", "b"], ["next"]), node("Less", ["next", "hundred"], ["on"]),
                   node("Identity", ["b"], ["b2"]), node("Identity", ["a"], ["a2"])],
                  ["a", "b"], ["b2", "next", "a2"], ["", "yes", "one", "one"], ["z", "y", "all"],
                  keep="on")]
    proto = build(nodes, {"one": (FLOAT, [])}, {"y": (FLOAT, None), "all": (FLOAT, None)},
                  {"hundred": np.float32(100), "yes": np.array(True)})
    out = same(proto, {"one": np.float32(1)}, tmp_path)
    assert out["y"] == 144


def test_loops_should_nest(tmp_path):
    inner = loop([node("Mul", ["p", "half"], ["q"]), node("Add", ["q", "s"], ["r"])], ["p"],
                 ["r", "q"], ["k", "", "s"], ["t", "qs"])
    nodes = [loop([node("Add", ["i", "one"], ["k"]), inner,
                   node("ReduceSum", ["qs"], ["u"], keepdims=0)], ["s"], ["t", "u"],
                  ["m", "", "x"], ["y", "us"])]
    proto = build(nodes, {"x": (FLOAT, [3, 4]), "m": (INT64, [1])},
                  {"y": (FLOAT, None), "us": (FLOAT, None)},
                  {"half": np.float32(0.5), "one": np.int64(1)})
    same(proto, {"x": X, "m": np.int64([4])}, tmp_path)


# ---- Scan


def test_scan_should_cut_and_stack_along_axes_and_backwards(tmp_path):
    body = graph([node("Add", ["s", "v"], ["t"]), node("Mul", ["v", "w"], ["p"])],
                 ["s", "v", "w"], ["t", "p"])
    nodes = [node("Scan", ["z", "x", "x2"], ["sum", "products"], body=body, num_scan_inputs=2,
                  scan_input_axes=[1, -1], scan_input_directions=[0, 1], scan_output_axes=[-1],
                  scan_output_directions=[1])]
    proto = build(nodes, {"z": (FLOAT, [3]), "x": (FLOAT, [3, 4]), "x2": (FLOAT, [3, 4])},
                  {"sum": (FLOAT, None), "products": (FLOAT, None)})
    same(proto, {"z": X[:, 0], "x": X, "x2": X[::-1].copy()}, tmp_path)


# ---- scripted modules


def scripted(kind):
    torch = pytest.importorskip("torch")

    class Branch(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            if x.sum() > 0:
                y = self.a(x)
            else:
                y = self.b(x) * 2.0
            return y + x

    class Repeat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(4, 4)

        def forward(self, x):
            y = x
            for i in range(x.size(0)):
                y = torch.relu(self.a(y)) + float(i)
            return y

    class Until(torch.nn.Module):
        def forward(self, x):
            y = x
            while bool(y.abs().max() < 50.0):
                y = y * 1.5
            return y

    modules = {"branch": Branch, "repeat": Repeat, "until": Until}
    torch.manual_seed(0)
    return torch, torch.jit.script(modules[kind]().eval())


@pytest.mark.parametrize("kind", ["branch", "repeat", "until"])
def test_scripted_modules_should_run_as_onnx_runtime_runs_them(kind, tmp_path):
    torch, module = scripted(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.from_numpy(X),), str(tmp_path / "m.onnx"), dynamo=False,
                          opset_version=17, input_names=["x"], dynamic_axes={"x": {0: "N"}})
    for i, data in enumerate((X, -X, X[:1])):
        support.assert_same_outputs(tmp_path / "m.onnx", {"x": data}, tmp_path / str(i))


# ---- quantizing

ROWS = "r", FLOAT, ["N", 8]


def network():
    """A layer, an If and a Loop with layers in them that also read its weight, a layer."""
    then = graph([node("MatMul", ["a", "w2"], ["r"], name="inside")], [], [ROWS],
                 [tensor("w2", weights(8, 8, seed=2))])
    other = graph([node("MatMul", ["a", "w1"], ["r"])], [], [ROWS])
    nodes = [node("MatMul", ["x", "w1"], ["a"], name="before"),
             node("ReduceMean", ["a"], ["mean"], keepdims=0),
             node("Greater", ["mean", "zero"], ["c"]),
             node("If", ["c"], ["b"], then_branch=then, else_branch=other, name="choose"),
             loop([node("MatMul", ["s", "w1"], ["t"]), node("Tanh", ["t"], ["u"])],
                  [("s", FLOAT, ["N", 8])], [("u", FLOAT, ["N", 8])],
                  ["two", "", "b"], ["d"]),
             node("MatMul", ["d", "w3"], ["y"], name="behind")]
    return build(nodes, {"x": (FLOAT, ["N", 8])}, {"y": (FLOAT, ["N", 4])},
                 {"w1": weights(8, 8), "w3": weights(8, 4, seed=3), "zero": np.float32(0),
                  "two": np.int64(2)})


def test_layers_in_bodies_should_share_the_codes_of_a_weight_that_a_layer_outside_reads(tmp_path):
    source = save(network(), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "calib.npy", 8)
    layers = support.answer("inspect", source)["layers"]
    assert len(layers) == 5 and all(layer["quantizable"] for layer in layers)
    support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, "--weights",
                    "int8", "--target", "weights")
    support.check(tmp_path / "q.onnx")
    for sign in (1, -1):
        feeds = {"x": sign * np.abs(np.resize(X, (5, 8)))}
        support.assert_same_outputs(tmp_path / "q.onnx", feeds, tmp_path / str(sign))
    # w1 once, w3; that of the branch is in the branch.
    assert len(support.quantized_weights(tmp_path / "q.onnx")) == 2


def test_a_weight_that_bodies_share_should_count_once(tmp_path):
    branch = graph([node("MatMul", ["a", "w"], ["r"])], [], [ROWS])
    nodes = [node("Relu", ["x"], ["a"]),
             node("If", ["c"], ["b"], then_branch=branch, else_branch=branch, name="choose"),
             node("MatMul", ["b", "w"], ["d"]), node("MatMul", ["d", "w"], ["y"])]
    source = save(build(nodes, {"x": (FLOAT, ["N", 8]), "c": (BOOL, [])},
                        {"y": (FLOAT, ["N", 8])}, {"w": weights(8, 8)}), tmp_path / "m.onnx")
    totals = support.answer("inspect", source)["totals"]
    assert (totals["quantizable"], totals["weights"], totals["bytes"]) == (4, 64, 256)
    file = support.answer("diff", source, source)["a"]
    assert (file["weights"], file["weight_bytes"]) == (64, 256)


def test_weights_of_bodies_should_count_in_both_reports(tmp_path):
    source = save(network(), tmp_path / "m.onnx")
    file = support.answer("diff", source, source)["a"]
    elements = 8 * 8 + 8 * 8 + 8 * 4
    assert (file["weights"], file["weight_bytes"]) == (elements, 4 * elements)
    assert support.answer("inspect", source)["totals"]["bytes"] == 4 * elements


# ---- what can't be


def refused(proto, feeds, status, *words, folder):
    path = save(proto, folder / "m.onnx")
    inputs = []
    for name, array in feeds.items():
        np.save(folder / f"{name}.npy", array)
        inputs += ["--input", f"{name}={folder / name}.npy"]
    done = support.ldnq("run", path, *inputs, "--output", folder / "out")
    assert done.returncode == status, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_all_that_is_not_supported_in_bodies_should_be_named_at_once(tmp_path):
    then = graph([node("Sparkle", ["x"], ["a"]), node("Relu", ["a"], ["r"])], [], ["r"])
    other = graph([node("Cast", ["x"], ["h"], to=TensorProto.DOUBLE),
                   node("Conv", ["h", "h"], ["g"]),
                   node("Glitter", ["g"], ["r"])], [], ["r"])
    nodes = [node("If", ["c"], ["y"], then_branch=then, else_branch=other),
             node("Shine", ["x"], ["z"])]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [info("x", [3, 4]), info("c", [], BOOL)],
                          [info("y", None), info("z", None)]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    refused(proto, {"x": X, "c": np.array(True)}, UNSUPPORTED, "(Sparkle", "(Glitter", "(Shine",
            "(Conv", "else_branch", "float64", folder=tmp_path)


def test_stacked_outputs_that_differ_should_be_refused(tmp_path):
    nodes = [loop([node("Concat", ["s", "x"], ["grown"], axis=0)], ["s"], ["grown", "grown"],
                  ["m", "", "x"], ["y", "all"])]
    proto = build(nodes, {"x": (FLOAT, [3, 4]), "m": (INT64, [])},
                  {"y": (FLOAT, None), "all": (FLOAT, None)})
    refused(proto, {"x": X, "m": np.int64(2)}, MODEL, "iteration 1", folder=tmp_path)


def test_graphs_that_are_nested_too_deep_should_be_refused(tmp_path):
    body = graph([node("Relu", ["x"], ["r"])], [], ["r"])
    for _ in range(31):
        body = graph([node("If", ["c"], ["r"], then_branch=body,
                           else_branch=graph([node("Neg", ["x"], ["r"])], [], ["r"]))], [], ["r"])
    proto = helper.make_model(
        helper.make_graph([node("If", ["c"], ["y"], then_branch=body, else_branch=body)], "g",
                          [info("x", [3, 4]), info("c", [], BOOL)], [info("y", None)]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    refused(proto, {"x": X, "c": np.array(True)}, MODEL, "deep", folder=tmp_path)


def counting(trips, depth, condition="go"):
    """`depth` nested Loops of `trips` iterations each."""
    inner = [node("Relu", ["s"], ["t"])]
    for _ in range(depth - 1):
        inner = [loop(inner, ["s"], ["t"], ["m", "", "s"], ["t"])]
    own = [node("Less", ["i", "m"], ["on"])] if condition == "on" else []
    nodes = [loop([*inner, *own], ["s"], ["t"], ["m", "", "x"], ["y"], keep=condition)]
    return build(nodes, {"x": (FLOAT, [3, 4])}, {"y": (FLOAT, None)}, {"m": np.int64(trips)})


@pytest.mark.parametrize("trips, depth, condition",
                         [(2**60, 1, "go"), (2**60, 1, "on"), (2**13, 2, "go"), (2**20, 3, "go")])
def test_loops_that_would_not_end_should_be_refused(trips, depth, condition, tmp_path):
    refused(counting(trips, depth, condition), {"x": X}, UNSUPPORTED, "16777216 times",
            folder=tmp_path)


def test_values_beyond_the_memory_should_be_refused_before_the_work(tmp_path):
    nodes = [node("Concat", [f"c{i}" if i else "x"] * 2, [f"c{i + 1}"], axis=1) for i in range(40)]
    proto = build(nodes, {"x": (FLOAT, ["n", 4])}, {"c40": (FLOAT, None)})
    refused(proto, {"x": X}, support.NOMEM, "out of memory", folder=tmp_path)


def test_values_of_unknown_size_beyond_the_memory_should_name_node_and_value(tmp_path):
    """The first axis has no size before the inputs are read."""
    nodes = [node("Concat", [f"c{i}" if i else "x"] * 2, [f"c{i + 1}"], axis=0) for i in range(34)]
    path = save(build(nodes, {"x": (FLOAT, ["n", 4])}, {"c34": (FLOAT, None)}), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", X)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    done = support.ldnq("run", path, "--input", tmp_path / "x.npy", "--output", tmp_path / "out",
                        "--threads", 1, preexec_fn=limit)
    assert done.returncode == support.NOMEM, done.stderr
    assert "node 'Concat#" in done.stderr and "output 'c2" in done.stderr, done.stderr
    assert "out of memory: " in done.stderr and " bytes " in done.stderr

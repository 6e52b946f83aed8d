# SPDX-License-Identifier: Apache-2.0
"""Types and shapes before data come, against onnx.shape_inference.

What both know must be the same, and ldnq must know no less: in the node cases that
it supports, in a network, and in models with control flow and open dimensions.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import support
import test_ops_random
import test_ops_sampling
import test_ops_sequence
import test_random_structure
from onnx import helper, shape_inference
from support import info

CASES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"

NAMES = {"float": "float32", "double": "float64"}

# Cases where onnx knows more, and why that is no fault.
WEAKER = {
    # onnx takes over what the body declares of its output, which nobody has checked.
    "test_loop11",
    # A list of sizes of which one is computed from floats has no sizes here.
    "test_affine_grid_3d_align_corners_expanded",
}


def program():
    for build in (os.environ.get("LDNQ_BUILD_ASAN"), os.environ.get("LDNQ_BUILD"),
                  support.ROOT / "build"):
        if build and (path := Path(build) / "tests" / "passes" / "value_shapes").exists():
            return path
    raise FileNotFoundError("value_shapes is not built: meson setup build && ninja -C build")


def ours(paths):
    """{path: ({name: (type, shape)}, reason)}; shapes None or lists of sizes and symbols."""
    done = subprocess.run([program(), *paths], capture_output=True, text=True, check=True)
    assert not done.stderr
    found, values = {}, {}
    for line in done.stdout.splitlines():
        if line.startswith("model "):
            values = {}
            found[line[6:]] = [values, None]
        elif line.startswith("refused "):
            found[list(found)[-1]][1] = line[8:]
        else:
            name, dtype, shape = line.split("\t")
            dims = [d if d[0] == "s" else int(d) for d in shape.split(",") if d and d != "?"]
            values[name] = dtype, None if shape == "?" else dims
    return found


def theirs(path):
    """{name: (type, shape)} of what shape inference finds, without declared outputs."""
    model = onnx.load(path)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in [*graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.elem_type:
            continue
        # Some exporters write -1 for a size that is open.
        dims = [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
                for d in tensor.shape.dim]
        dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        found[value.name] = NAMES.get(dtype, dtype), dims if tensor.HasField("shape") else None
    return found


def differences(values, inferred):
    for name, (dtype, shape) in inferred.items():
        if name not in values or values[name][0] == "undefined":
            continue
        own_dtype, own = values[name]
        if own_dtype != dtype:
            yield f"{name} is {own_dtype}, not {dtype}"
        if shape is None:
            continue
        if own is None:
            yield f"{name} has no rank where onnx says {shape}"
        elif len(own) != len(shape) or any(
                d is not None and d != mine for d, mine in zip(shape, own)):
            yield f"{name} is {own}, not {shape}"


def test_node_cases_should_be_known_as_well_as_onnx_knows_them():
    if not CASES.is_dir():
        pytest.skip("this onnx package carries no node cases")
    paths = sorted(str(path / "model.onnx") for path in CASES.iterdir())
    found = {path: values for path, (values, reason) in ours(paths).items() if not reason}
    assert len(found) > 900
    wrong = {}
    for path, values in found.items():
        if list_ := list(differences(values, theirs(path))):
            wrong[Path(path).parent.name] = list_
    assert {name: why for name, why in wrong.items() if name not in WEAKER} == {}
    assert set(wrong) == set(WEAKER)


DRAWS = 10
# Where onnx's inference knows a size that is not what runs: with ceil_mode it counts windows
# that would start behind the input, and with auto_pad it adds the output_padding on top.
MISTAKEN = {"pooling", "pooling_with_indices", "transposed_convolution"}
FILES = (test_ops_random, test_random_structure, test_ops_sequence, test_ops_sampling)
DRAWN = [(file, name) for file in FILES for name in sorted(file.GENERATORS)]


def unlike(values, outputs):
    """Where what ran has another type or shape than was known."""
    for name, array in outputs.items():
        dtype, shape = values[name]
        if dtype != array.dtype.name:
            yield f"{name} is {dtype}, and ran as {array.dtype}"
        if shape is not None and (len(shape) != array.ndim or any(
                d != size for d, size in zip(shape, array.shape) if isinstance(d, int))):
            yield f"{name} is {shape}, and ran as {list(array.shape)}"


@pytest.mark.parametrize(("file", "name"), DRAWN, ids=[name for _, name in DRAWN])
def test_random_nodes_should_be_known_as_onnx_knows_them_and_as_they_run(tmp_path, file, name):
    rng = np.random.default_rng(DRAWN.index((file, name)))
    cases, wrong, mistaken = {}, {}, 0
    for i in range(DRAWS):
        case, outputs = test_ops_random.draw(rng, file.GENERATORS[name])
        model = test_ops_random.with_types(case.model(), outputs)
        path = support.save(model, tmp_path / f"{i}.onnx")
        cases[str(path)] = {o.name: a for o, a in zip(model.graph.output, outputs, strict=True)}
    for path, (values, reason) in ours(cases).items():
        inferred = theirs(path)
        right = {value: what for value, what in inferred.items()
                 if not list(unlike({value: what}, {value: cases[path][value]}))}
        mistaken += len(right) < len(inferred)
        wrong[path] = [*([reason] if reason else []), *differences(values, right),
                       *unlike(values, cases[path])]
    assert not {path: why for path, why in wrong.items() if why}
    assert not mistaken or name in MISTAKEN


def test_what_runs_should_have_the_shapes_that_were_known(tmp_path):
    """The digits network with an open batch: each size is met, a symbol by one size."""
    path = next(support.DIGITS.glob("*.onnx"))
    values, reason = ours([str(path)])[str(path)]
    assert reason is None
    assert list(differences(values, theirs(path))) == []
    model = onnx.load(path)
    names = [o for node in model.graph.node for o in node.output if o in values]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    feeds = support.random_feeds(path, batch=3)
    results = support.ort_run(model.SerializeToString(), feeds, optimized=False)
    bound = {}
    for name, array in results.items():
        assert len(values[name][1]) == array.ndim
        for size, known in zip(array.shape, values[name][1]):
            assert size == (bound.setdefault(known, size) if isinstance(known, str) else known)
    assert names and 3 in bound.values()


def branch(op):
    return helper.make_graph([helper.make_node(op[0], op[1], ["r"], **op[2])], "b", [],
                             [info("r", None)])


def test_branches_should_agree_on_what_is_known(tmp_path):
    """Sizes that differ are open, ranks that differ unknown."""
    nodes = [
        helper.make_node("If", ["c"], ["same"], then_branch=branch(("Relu", ["x"], {})),
                         else_branch=branch(("Neg", ["x"], {}))),
        helper.make_node("If", ["c"], ["size"], then_branch=branch(("Relu", ["x"], {})),
                         else_branch=branch(("Concat", ["x", "x"], {"axis": 1}))),
        helper.make_node("If", ["c"], ["rank"], then_branch=branch(("Relu", ["x"], {})),
                         else_branch=branch(("ReduceSum", ["x"], {"keepdims": 0}))),
    ]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [info("x", ["n", 4]), info("c", [], onnx.TensorProto.BOOL)],
                          [info(n, None) for n in ("same", "size", "rank")]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = support.save(proto, tmp_path / "m.onnx")
    values, reason = ours([str(path)])[str(path)]
    assert reason is None
    n = values["x"][1][0]
    assert values["same"] == ("float32", [n, 4])
    assert values["size"][1][0] == n and isinstance(values["size"][1][1], str)
    assert values["rank"] == ("float32", None)


def test_loops_should_open_only_what_they_change(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Concat", ["s", "x"], ["grown"], axis=0),
         helper.make_node("Relu", ["k"], ["kept"])], "b",
        [info("i", [], onnx.TensorProto.INT64), info("go", [], onnx.TensorProto.BOOL),
         info("s", None), info("k", None)],
        [info("go", [], onnx.TensorProto.BOOL), info("grown", None), info("kept", None),
         info("kept2", None)])
    body.node.append(helper.make_node("Neg", ["k"], ["kept2"]))
    proto = helper.make_model(
        helper.make_graph([helper.make_node("Loop", ["m", "", "x", "x"], ["y", "z", "all"],
                                            body=body)], "g", [info("x", [3, 4])],
                          [info(n, None) for n in ("y", "z", "all")],
                          [support.tensor("m", np.array(5, np.int64))]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = support.save(proto, tmp_path / "m.onnx")
    values, reason = ours([str(path)])[str(path)]
    assert reason is None
    assert isinstance(values["y"][1][0], str) and values["y"][1][1] == 4
    assert values["z"] == ("float32", [3, 4])
    assert values["all"] == ("float32", [5, 3, 4])


@pytest.mark.parametrize("name", ["None", "?", "unk", ""])
def test_placeholders_should_be_no_names_of_dimensions(name, tmp_path):
    """Some exporters write one for every open dimension; ONNX Runtime takes any sizes then."""
    proto = support.model([helper.make_node("MatMul", ["x", "w"], ["y"])],
                          {"x": [name, name, 8]}, {"y": [name, name, 4]},
                          {"w": support.weights(8, 4)})
    support.assert_same_outputs(support.save(proto, tmp_path / "m.onnx"),
                                {"x": support.weights(1, 6, 8)}, tmp_path / "r")

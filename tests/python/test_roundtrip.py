# SPDX-License-Identifier: Apache-2.0
"""What is loaded and saved unchanged is the same model, whatever is in it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LDNQ_BUILD", ROOT / "build"))
TOOL = BUILD / "tests" / "onnx" / "raise_opset"
NODE_CASES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
SHARED = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not TOOL.exists(), reason=f"{TOOL} is not built")


def save(source, target):
    return subprocess.run(
        [TOOL, source, target, "0"], capture_output=True, text=True, timeout=120
    )


def parse(path):
    model = onnx.ModelProto()
    model.ParseFromString(Path(path).read_bytes())
    return model


def assert_same(source, target):
    done = save(source, target)
    assert done.returncode == 0, done.stderr
    assert parse(source) == parse(target)


# ---- files of others


def test_node_cases_come_back(tmp_path):
    cases = sorted(NODE_CASES.glob("*/model.onnx"))
    if not cases:
        pytest.skip("this onnx package carries no node cases")
    assert len(cases) > 1500
    for case in cases:
        assert_same(case, tmp_path / "out.onnx")


@pytest.mark.parametrize(
    "path", sorted(SHARED.glob("**/*.onnx")) or [None], ids=lambda p: p.name if p else "none"
)
def test_real_models_come_back(path, tmp_path):
    if path is None:
        pytest.skip(f"{SHARED} is not there")
    assert_same(path, tmp_path / "out.onnx")
    assert path.read_bytes() == (tmp_path / "out.onnx").read_bytes()


# ---- made here


def rich_model():
    """A subgraph, a function, a foreign domain, every map, training, annotations."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"])],
        "body",
        [],
        [value("inner", TensorProto.FLOAT, [2])],
    )
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body),
        helper.make_node("Double", ["y"], ["z"], domain="com.here"),
        helper.make_node("Mystery", ["z"], ["q"], domain="com.foreign", blob=b"\0\1\2"),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [value("x", TensorProto.FLOAT, ["N"]), value("c", TensorProto.BOOL, [])],
        [value("q", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")],
        doc_string="documented",
        value_info=[value("y", TensorProto.FLOAT, [None])],
    )
    graph.quantization_annotation.add(tensor_name="w").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="s"
    )
    graph.sparse_initializer.add().CopyFrom(
        helper.make_sparse_tensor(
            helper.make_tensor("sparse", TensorProto.FLOAT, [1], [5.0]),
            helper.make_tensor("i", TensorProto.INT64, [1], [2]),
            [4],
        )
    )
    graph.metadata_props.add(key="graph", value="yes")
    double = helper.make_function(
        "com.here",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    model = helper.make_model(
        graph,
        functions=[double],
        opset_imports=[helper.make_opsetid(d, v) for d, v in [("", 20), ("com.here", 1), ("com.foreign", 3)]],
    )
    model.metadata_props.add(key="k", value="ü")
    model.training_info.add().algorithm.name = "step"
    return model


def test_all_that_onnx_has_comes_back(tmp_path):
    onnx.save(rich_model(), tmp_path / "m.onnx")
    assert_same(tmp_path / "m.onnx", tmp_path / "out.onnx")


@pytest.mark.parametrize("dtype", [t for t in TensorProto.DataType.values() if t])
def test_every_element_type_comes_back(dtype, tmp_path):
    if dtype == TensorProto.STRING:
        tensor = helper.make_tensor("t", dtype, [2], [b"a", b"\xff\0"])
    elif dtype in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        tensor = helper.make_tensor("t", dtype, [2], [1 + 2j, 3j])
    else:
        tensor = helper.make_tensor("t", dtype, [3], [1, 0, 1])
    graph = helper.make_graph([], "g", [], [], [tensor])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert_same(tmp_path / "m.onnx", tmp_path / "out.onnx")


def test_fields_of_a_newer_onnx_come_back(tmp_path):
    model = rich_model().SerializeToString()
    future = bytes([0xFA, 0x3E, 5]) + b"later"  # field 1007, five bytes
    (tmp_path / "m.onnx").write_bytes(model + future)
    done = save(tmp_path / "m.onnx", tmp_path / "out.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.onnx").read_bytes().endswith(future)


def test_external_data_move_along(tmp_path):
    weights = {"big": np.random.default_rng(1).normal(size=(40, 40)), "small": np.arange(4)}
    tensors = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    graph = helper.make_graph([], "g", [], [], tensors)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    onnx.save(
        helper.make_model(graph),
        tmp_path / "in" / "m.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="weights.bin",
    )
    done = save(tmp_path / "in" / "m.onnx", tmp_path / "out" / "q.onnx")
    assert done.returncode == 0, done.stderr
    model, data = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert model == "q.onnx" and re.fullmatch(r"q\.onnx\.[0-9a-f]{16}\.data", data)
    model = onnx.load(tmp_path / "out" / "q.onnx")
    for tensor in model.graph.initializer:
        expected = weights[tensor.name].astype(np.float32)
        assert np.array_equal(numpy_helper.to_array(tensor), expected)

# SPDX-License-Identifier: Apache-2.0
"""Raising the opset keeps what a model computes, or refuses by name.

Small models in an old opset are raised by the program, checked by onnx, and run
before and after. The last part walks ONNX's own history of operators, so that a
change that nobody has thought about fails.
"""

import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
import numpy as np  # noqa: E402
from onnx import TensorProto, defs, helper, numpy_helper  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LDNQ_BUILD", ROOT / "build"))
TOOL = BUILD / "tests" / "onnx" / "raise_opset"
SHARED = ROOT.parent / "shared" / "data"
FIRST, LATEST = 7, 25
UNSUPPORTED = 5

pytestmark = pytest.mark.skipif(not TOOL.exists(), reason=f"{TOOL} is not built")
ort.set_default_logger_severity(4)


# ---- helpers


def rng():
    return np.random.default_rng(7)


def info(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(opset, nodes, inputs, outputs=("y",), consts=None, infos=(), functions=(), ir=None):
    """inputs: {name: array}; the outputs are declared without a shape."""
    consts = consts or {}
    graph = helper.make_graph(
        nodes,
        "g",
        [info(n, a.shape, helper.np_dtype_to_tensor_dtype(a.dtype)) for n, a in inputs.items()],
        [o if not isinstance(o, str) else info(o, None) for o in outputs],
        [numpy_helper.from_array(a, n) for n, a in consts.items()],
        value_info=list(infos),
    )
    imports = [helper.make_opsetid("", opset)] + [
        helper.make_opsetid(f.domain, 1) for f in functions
    ]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    made.ir_version = ir or max(4, helper.OP_SET_ID_VERSION_MAP["ai.onnx", opset])
    if functions:
        made.ir_version = max(8, made.ir_version)
    return made


def convert(made, opset, folder):
    onnx.save(made, folder / "in.onnx")
    return subprocess.run(
        [TOOL, folder / "in.onnx", folder / "out.onnx", str(opset)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def with_output_shapes(made, feeds):
    """The checker wants the ranks of outputs, which these models leave open."""
    made = onnx.shape_inference.infer_shapes(made)
    open_ones = [o for o in made.graph.output if not o.type.tensor_type.HasField("shape")]
    results = dict(zip([o.name for o in made.graph.output], run(made, feeds) if open_ones else []))
    for output in open_ones:
        kind = output.type.tensor_type.elem_type
        output.CopyFrom(info(output.name, [None] * results[output.name].ndim, kind))
    return made


def raised(made, opset, folder, feeds=None):
    done = convert(made, opset, folder)
    assert done.returncode == 0, done.stderr
    out = onnx.load(folder / "out.onnx")
    onnx.checker.check_model(with_output_shapes(out, feeds), full_check=True)
    assert {i.version for i in out.opset_import if i.domain == ""} == {opset}
    assert out.ir_version >= helper.OP_SET_ID_VERSION_MAP["ai.onnx", opset]
    return out


def run(made, feeds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def assert_keeps(made, feeds, opset, folder):
    out = raised(made, opset, folder, feeds)
    for before, after in zip(run(made, feeds), run(out, feeds), strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-6, atol=1e-7)
    return out


def assert_refused(made, opset, folder, *texts):
    done = convert(made, opset, folder)
    assert done.returncode == UNSUPPORTED, (done.returncode, done.stderr)
    for text in texts:
        assert text in done.stderr
    assert not (folder / "out.onnx").exists()


def types(made):
    return [n.op_type for n in made.graph.node]


N = helper.make_node
X = rng().normal(size=(2, 3, 4, 6)).astype(np.float32)


# ---- operators whose signature or meaning changed

CASES = {
    "axes of ReduceMean": (11, [N("ReduceMean", ["x"], ["y"], axes=[1, -1], keepdims=0)], [18, 25]),
    "no axes of ReduceMax": (7, [N("ReduceMax", ["x"], ["y"])], [13, 20]),
    "axes of ReduceSum": (7, [N("ReduceSum", ["x"], ["y"], axes=[2])], [13, 25]),
    "no axes of ReduceSum": (11, [N("ReduceSum", ["x"], ["y"], keepdims=0)], [13]),
    "Clip both": (7, [N("Clip", ["x"], ["y"], min=-0.5, max=0.25)], [11, 12, 13, 25]),
    "Clip max": (6 + 1, [N("Clip", ["x"], ["y"], max=0.25)], [11, 25]),
    "Clip none": (7, [N("Clip", ["x"], ["y"])], [11, 25]),
    "Dropout": (7, [N("Dropout", ["x"], ["y"], ratio=0.3)], [10, 12, 25]),
    "Dropout with a mask": (10, [N("Dropout", ["x"], ["y", "mask"])], [12, 25]),
    "Pad": (7, [N("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 3, 1])], [11, 18, 25]),
    "Pad with a value": (
        9,
        [N("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 3, 1], value=1.5)],
        [11, 25],
    ),
    "Pad reflect": (
        9,
        [N("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 3, 1], mode="reflect", value=1.5)],
        [11, 25],
    ),
    "Slice": (7, [N("Slice", ["x"], ["y"], starts=[1, -4], ends=[3, -1], axes=[1, 3])], [10, 25]),
    "Slice without axes": (9, [N("Slice", ["x"], ["y"], starts=[0, 1], ends=[9, 2])], [10, 13]),
    "Split": (7, [N("Split", ["x"], ["y", "z"], axis=3, split=[2, 4])], [13, 18, 25]),
    "Split in equal parts": (11, [N("Split", ["x"], ["y", "z"], axis=2)], [13, 18, 25]),
    "Squeeze": (
        7,
        [N("ReduceMin", ["x"], ["m"], axes=[1, 2]), N("Squeeze", ["m"], ["y"], axes=[1, 2])],
        [11, 13, 25],
    ),
    "Squeeze all": (7, [N("ReduceMin", ["x"], ["m"]), N("Squeeze", ["m"], ["y"])], [13, 25]),
    "Unsqueeze": (7, [N("Unsqueeze", ["x"], ["y"], axes=[0, 2])], [13, 25]),
    "TopK": (7, [N("TopK", ["x"], ["y", "i"], k=2, axis=3)], [10, 11, 25]),
    "Upsample nearest": (7, [N("Upsample", ["x"], ["y"], scales=[1.0, 1, 2, 3])], [9, 10, 11, 13, 25]),
    "Upsample linear": (
        7,
        [N("Upsample", ["x"], ["y"], scales=[1.0, 1, 2, 1.5], mode="linear")],
        [9, 10, 11, 25],
    ),
    "RoiAlign": (
        10,
        [N("RoiAlign", ["x", "rois", "batch"], ["y"], output_height=2, output_width=2, sampling_ratio=2)],
        [16, 21],  # ONNX Runtime has no RoiAlign(22)
    ),
    "BatchNormalization": (
        7,
        [N("BatchNormalization", ["x", "c", "d", "c", "e"], ["y"], epsilon=1e-3)],
        [9, 14, 15, 25],
    ),
    "DFT": (17, [N("Unsqueeze", ["x", "last"], ["u"]), N("DFT", ["u"], ["y"], axis=2)], [20]),
    "DFT default axis": (17, [N("Unsqueeze", ["x", "last"], ["u"]), N("DFT", ["u"], ["y"])], [20]),
    "GridSample": (16, [N("GridSample", ["x", "grid"], ["y"], mode="bilinear")], [20, 25]),
    "GridSample cubic": (16, [N("GridSample", ["x", "grid"], ["y"], mode="bicubic")], [20]),
    "GridSample default": (16, [N("GridSample", ["x", "grid"], ["y"])], [20, 22]),
    "Scatter": (9, [N("Scatter", ["x", "at", "new"], ["y"], axis=1)], [11, 13, 25]),
    "MaxPool": (7, [N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], [8, 12, 22]),
    "AveragePool": (
        10,
        [N("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])],
        [11, 19, 22],
    ),
    "PRelu": (7, [N("PRelu", ["x", "slope"], ["y"])], [9, 16, 25]),
    "Gemm": (
        7,
        [N("Flatten", ["x"], ["f"], axis=3), N("Gemm", ["f", "w", "b"], ["y"], alpha=0.5)],
        [9, 11, 13, 25],
    ),
    "Cast": (7, [N("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)], [9, 13, 19, 25]),
}
CONSTS = {
    "rois": np.array([[0, 0, 3, 3], [1, 0, 4, 2.5]], np.float32),
    "batch": np.array([0, 1], np.int64),
    "c": np.array([0.5, 1, 2], np.float32),
    "d": np.array([0, 1, -1], np.float32),
    "e": np.array([1, 2, 0.5], np.float32),
    "last": np.array([4], np.int64),
    "grid": rng().uniform(-1.2, 1.2, size=(2, 5, 3, 2)).astype(np.float32),
    "at": np.zeros((2, 1, 4, 6), np.int64),
    "new": np.full((2, 1, 4, 6), 9, np.float32),
    "slope": np.array([[[0.1]], [[0.2]], [[0.3]]], np.float32),
    "w": rng().normal(size=(6, 4)).astype(np.float32),
    "b": rng().normal(size=4).astype(np.float32),
}


def case_model(nodes, opset):
    read = {i for n in nodes for i in n.input}
    outputs = [o for o in ("y", "z", "i") if any(o in n.output for n in nodes)]
    declared = [info(o, None, TensorProto.INT64) if o == "i" else o for o in outputs]
    if any(n.op_type == "Cast" for n in nodes):
        declared = [info("y", None, TensorProto.DOUBLE)]
    consts = {k: v for k, v in CONSTS.items() if k in read}
    return model(opset, nodes, {"x": X}, declared, consts)


@pytest.mark.parametrize(
    "name,target", [(n, t) for n, (_, _, targets) in CASES.items() for t in targets]
)
def test_raise_should_keep_the_outputs(name, target, tmp_path):
    opset, nodes, _ = CASES[name]
    assert_keeps(case_model(nodes, opset), {"x": X}, target, tmp_path)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("target", [12, 13, 25])
def test_softmax_should_stay_over_a_matrix(op, axis, target, tmp_path):
    attrs = {} if axis is None else {"axis": axis}
    made = model(11, [N(op, ["x"], ["y"], **attrs)], {"x": X})
    out = assert_keeps(made, {"x": X}, target, tmp_path)
    simple = target < 13 or axis == 3
    assert types(out) == ([op] if simple else ["Shape", "Flatten", op, "Reshape"])


@pytest.mark.parametrize("axis", [-1, -2])
def test_softmax_should_know_negative_axes(axis, tmp_path):
    made = model(11, [N("Relu", ["x"], ["r"]), N("Softmax", ["r"], ["y"], axis=axis)], {"x": X})
    assert_keeps(made, {"x": X}, 13, tmp_path)


@pytest.mark.parametrize("how", ["input", "output", "identity", "gemm", "reshape", "unknown"])
def test_softmax_should_find_its_rank(how, tmp_path):
    x = X.reshape(12, 12)
    nodes = [N("Relu", ["x"], ["r"]), N("Softmax", ["r"], ["y"])]
    outputs = [info("y", None)]
    consts = {}
    if how == "input":
        nodes = [N("Softmax", ["x"], ["y"])]
    elif how == "output":
        outputs = [info("y", ["N", 12])]
    elif how == "identity":
        nodes = [nodes[0], N("Softmax", ["r"], ["s"]), N("Identity", ["s"], ["y"])]
        outputs = [info("y", ["N", 12])]
    elif how == "gemm":
        consts = {"w": np.eye(12, dtype=np.float32), "b": np.ones(12, np.float32)}
        nodes[0] = N("Gemm", ["x", "w", "b"], ["r"])
    elif how == "reshape":
        consts = {"s": np.array([-1, 12], np.int64)}
        nodes[0] = N("Reshape", ["x", "s"], ["r"])
    out = assert_keeps(model(9, nodes, {"x": x}, outputs, consts), {"x": x}, 13, tmp_path)
    assert ("Flatten" in types(out)) == (how == "unknown")


@pytest.mark.parametrize("scales", [[1, 1, 2, 2.5], [1, 1, 0.5, 0.4], [1, 1, 1, 1]])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("target", [11, 13, 25])
def test_resize_should_keep_its_rounding(scales, mode, target, tmp_path):
    x = rng().normal(size=(1, 2, 7, 9)).astype(np.float32)
    consts = {"s": np.array(scales, np.float32)}
    made = model(10, [N("Resize", ["x", "s"], ["y"], mode=mode)], {"x": x}, consts=consts)
    assert_keeps(made, {"x": x}, target, tmp_path)


def test_resize_by_sizes_should_lose_its_empty_scales(tmp_path):
    consts = {
        "roi": np.zeros(0, np.float32),
        "s": np.zeros(0, np.float32),
        "n": np.array([2, 3, 8, 9], np.int64),
    }
    made = model(11, [N("Resize", ["x", "roi", "s", "n"], ["y"])], {"x": X}, consts=consts)
    out = assert_keeps(made, {"x": X}, 13, tmp_path)
    assert list(out.graph.node[0].input) == ["x", "roi", "", "n"]


def test_group_normalization_should_get_a_scale_a_channel(tmp_path):
    x = rng().normal(size=(2, 6, 4, 4)).astype(np.float32)
    consts = {"s": np.array([1, 2, 0.5], np.float32), "b": np.array([0, 1, -1], np.float32)}
    node = N("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=3)
    made = model(18, [node], {"x": x}, [info("y", None)], consts)
    assert_keeps(made, {"x": x}, 21, tmp_path)


@pytest.mark.parametrize("target", [12, 25])  # ONNX Runtime has Clip(11) for float32 alone
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_clip_should_have_limits_of_its_type(dtype, target, tmp_path):
    x = X.astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    clip = N("Clip", ["x"], ["y"], min=-0.5, max=0.25)
    made = model(9, [clip], {"x": x}, [info("y", None, kind)])
    out = raised(made, target, tmp_path, {"x": x})
    np.testing.assert_array_equal(
        run(out, {"x": x})[0], np.clip(x, dtype(-0.5), dtype(0.25))
    )
    assert types(out) == ["Cast", "Cast", "Clip"]


def test_clip_of_an_undeclared_type_should_follow_its_input(tmp_path):
    nodes = [
        N("Cast", ["x"], ["h"], to=TensorProto.DOUBLE),
        N("Clip", ["h"], ["k"], max=0.25),
        N("Cast", ["k"], ["y"], to=TensorProto.FLOAT),
    ]
    made = model(9, nodes, {"x": X})
    assert_refused(made, 13, tmp_path, "(Clip): the element type of its input is not declared")
    out = raised(made, 15, tmp_path, {"x": X})
    np.testing.assert_allclose(run(out, {"x": X})[0], np.minimum(X, 0.25))


# ---- what is refused


def test_what_can_not_be_kept_should_be_refused_by_name(tmp_path):
    pool = dict(kernel_shape=[1, 1])
    nodes = [
        N("BatchNormalization", ["x", "x", "x", "x", "x"], ["a"], name="flat", spatial=0),
        N("Dropout", ["a"], ["b", "mask"], name="drop"),
        N("Invention", ["b"], ["y"]),
        N("MaxPool", ["x"], ["p"], **pool),
    ]
    made = model(7, nodes, {"x": X}, ["y", "mask"])
    assert_refused(
        made,
        21,
        tmp_path,
        "can't be raised from opset 7 to 21: ",
        "node 'flat' (BatchNormalization): spatial=0",
        "node 'drop' (Dropout): its mask is used",
        "node 'Invention#2' (Invention): is not an operator",
    )


def test_training_should_be_refused(tmp_path):
    outs = ["y", "m", "v", "sm", "sv"]
    node = N("BatchNormalization", ["x", "c", "d", "c", "e"], outs, name="bn")
    made = model(9, [node], {"x": X}, ["y"], {k: CONSTS[k] for k in "cde"})
    assert_refused(made, 14, tmp_path, "node 'bn' (BatchNormalization): it is in training mode")
    assert convert(made, 13, tmp_path).returncode == 0


def test_unclear_rounding_should_be_refused(tmp_path):
    node = N("Resize", ["x", "s"], ["y"], name="up")
    mixed = model(10, [node], {"x": X}, consts={"s": np.array([1, 1, 2, 0.5], np.float32)})
    assert_refused(mixed, 11, tmp_path, "node 'up' (Resize): it scales up and down at once")
    fed = model(10, [node], {"x": X, "s": np.ones(4, np.float32)})
    assert_refused(fed, 11, tmp_path, "its scales are not constant")


def test_a_mode_that_is_gone_should_be_refused(tmp_path):
    consts = {"roi": np.zeros(0, np.float32), "s": np.array([1, 1, 2, 2], np.float32)}
    mode = "tf_half_pixel_for_nn"
    node = N("Resize", ["x", "roi", "s"], ["y"], coordinate_transformation_mode=mode)
    assert_refused(model(11, [node], {"x": X}, consts=consts), 13, tmp_path, mode)


def test_the_scan_of_opset_8_should_be_refused(tmp_path):
    body = helper.make_graph(
        [N("Identity", ["a"], ["b"]), N("Identity", ["s"], ["t"])],
        "body",
        [info("s", [2]), info("a", [2])],
        [info("t", [2]), info("b", [2])],
    )
    node = N("Scan", ["", "s0", "x"], ["s1", "y"], num_scan_inputs=1, body=body)
    made = model(8, [node], {"s0": X, "x": X})
    assert_refused(made, 9, tmp_path, "(Scan): the Scan of opset 8")


@pytest.mark.parametrize("opset,status", [(26, 2), (6, 0)])
def test_other_opsets(opset, status, tmp_path):
    made = model(13, [N("Relu", ["x"], ["y"])], {"x": X})
    assert convert(made, opset, tmp_path).returncode == status


# ---- the whole model


def test_subgraphs_should_be_raised_too(tmp_path):
    def branch(name, axes):
        nodes = [N("Unsqueeze", ["x"], [name + "u"], axes=axes), N("Softmax", [name + "u"], [name])]
        return helper.make_graph(nodes, name, [], [info(name, None)])

    node = N("If", ["c"], ["y"], then_branch=branch("a", [0]), else_branch=branch("b", [1]))
    for chosen in (True, False):
        feeds = {"x": X, "c": np.array(chosen)}
        made = model(11, [node], feeds)
        out = assert_keeps(made, feeds, 21, tmp_path)
        for attr in out.graph.node[0].attribute:
            assert len(attr.g.initializer) == 1
            assert "Flatten" in [n.op_type for n in attr.g.node]


def function(opset, nodes, **more):
    return helper.make_function(
        "here", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", opset)], **more
    )


def test_functions_should_be_raised_too(tmp_path):
    nodes = [N("ReduceSum", ["a"], ["t"], axes=[2]), N("Clip", ["t"], ["b"], min=0.0)]
    made = model(9, [N("F", ["x"], ["y"], domain="here")], {"x": X}, functions=[function(9, nodes)])
    out = assert_keeps(made, {"x": X}, 21, tmp_path)
    assert {i.version for i in out.functions[0].opset_import} == {21}
    assert [n.op_type for n in out.functions[0].node] == ["Constant", "ReduceSum", "Constant", "Clip"]


def test_attributes_that_are_parameters_should_be_refused(tmp_path):
    node = N("ReduceSum", ["a"], ["b"])
    attr = node.attribute.add(name="axes", type=onnx.AttributeProto.INTS, ref_attr_name="where")
    assert attr.ref_attr_name
    call = N("F", ["x"], ["y"], domain="here", where=[1])
    made = model(11, [call], {"x": X}, functions=[function(11, [node], attributes=["where"])])
    assert_refused(made, 13, tmp_path, "(ReduceSum): its meaning changes, and its attributes are")


def test_initializers_should_stop_being_inputs(tmp_path):
    nodes = [N("Conv", ["x", "k"], ["c"]), N("Unsqueeze", ["c"], ["y"], axes=[0])]
    made = model(8, nodes, {"x": X}, consts={"k": np.ones((2, 3, 1, 1), np.float32)}, ir=3)
    made.graph.input.add().CopyFrom(info("k", [2, 3, 1, 1]))
    out = assert_keeps(made, {"x": X}, 13, tmp_path)
    assert [i.name for i in out.graph.input] == ["x"]
    assert out.ir_version == 7


def test_new_names_should_not_clash(tmp_path):
    nodes = [N("Identity", ["x"], ["y_axes"]), N("Unsqueeze", ["y_axes"], ["y"], axes=[0])]
    out = assert_keeps(model(11, nodes, {"x": X}), {"x": X}, 13, tmp_path)
    assert out.graph.initializer[0].name == "y_axes_1"


REAL = {
    "resnet20-ts.onnx": [21, 25],
    "resnet20-dynamo.onnx": [21, 25],
    "efficientnet-lite0-ts.onnx": [21],
    "mnist.onnx": [10, 13, 21, 25],
    "ultraface-rfb-320.onnx": [10, 13, 21, 25],
    "ppocr-cls-v2.onnx": [13, 21, 25],
}


@pytest.mark.parametrize("name,target", [(n, t) for n, ts in REAL.items() for t in ts])
def test_real_models_should_keep_their_outputs(name, target, tmp_path):
    paths = list(SHARED.glob(f"**/{name}"))
    if not paths:
        pytest.skip(f"{SHARED} has no {name}")
    made = onnx.load(paths[0])
    weights = {t.name for t in made.graph.initializer}
    feeds = {}
    for value in made.graph.input:
        if value.name not in weights:
            sizes = [d.dim_value if d.dim_value > 0 else 0 for d in value.type.tensor_type.shape.dim]
            fallback = [1, 3, 48, 192]
            shape = [s or f for s, f in zip(sizes, fallback)]
            feeds[value.name] = rng().normal(size=shape).astype(np.float32)
    out = raised(made, target, tmp_path, feeds)
    for before, after in zip(run(made, feeds), run(out, feeds), strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)


# ---- ONNX's own history


def history():
    by_name = defaultdict(list)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= LATEST:
            by_name[schema.name].append(schema)
    return {n: sorted(s, key=lambda s: s.since_version) for n, s in by_name.items()}


def table():
    done = subprocess.run([TOOL, "--table"], capture_output=True, text=True, check=True)
    reviewed, steps = {}, {}
    for line in done.stdout.splitlines():
        name, opset, kind = line.split()
        if kind == "reviewed":
            reviewed[name] = int(opset)
        else:
            steps[name, int(opset)] = kind
    return reviewed, steps


def signature(schema):
    def required(parameters):
        return [p.name for p in parameters if p.option == defs.OpSchema.FormalParameterOption.Single]

    attributes = {
        name: (a.type, a.required, a.default_value.SerializeToString())
        for name, a in schema.attributes.items()
    }
    return len(required(schema.inputs)), len(schema.inputs), len(schema.outputs), attributes


def breaks(old, new):
    """Whether a node that is right under `old` may mean something else under `new`."""
    needed, _, outputs, attributes = signature(old)
    needed_now, _, outputs_now, attributes_now = signature(new)
    return (
        (new.deprecated and not old.deprecated)
        or needed_now > needed
        or outputs_now < outputs
        or any(attributes_now.get(n) != a for n, a in attributes.items() if n != "value" or not a[1])
        or any(a[1] and n not in attributes for n, a in attributes_now.items())
    )


# Steps for changes that the signature does not show, and breaks that are none.
QUIET = {
    ("GroupNormalization", 21): "scale and bias had one element a group",
    ("Resize", 13): "a mode was dropped; empty scales were",
    ("RoiAlign", 16): "the default of a new attribute is not the old meaning",
    ("Split", 18): "one of split and num_outputs must be there",
}


def changes():
    for name, schemas in history().items():
        old = [s for s in schemas if s.since_version <= FIRST][-1:]
        later = old + [s for s in schemas if s.since_version > FIRST]
        for before, after in zip(later, later[1:]):
            yield name, after.since_version, before, after


def test_every_operator_should_be_in_the_table():
    reviewed, _ = table()
    missing = set(history()) - set(reviewed)
    assert not missing
    assert not set(reviewed) - set(history())
    late = {n: s[-1].since_version for n, s in history().items()}
    assert {n: v for n, v in late.items() if reviewed[n] < v} == {}


def test_every_breaking_change_should_have_a_step():
    _, steps = table()
    breaking = {(n, v) for n, v, before, after in changes() if breaks(before, after)}
    assert breaking - set(steps) == set()
    assert set(steps) - breaking == set(QUIET)


def test_the_comparison_should_see_the_known_changes():
    breaking = {(n, v) for n, v, before, after in changes() if breaks(before, after)}
    for known in [("Clip", 11), ("Pad", 11), ("Softmax", 13), ("Scatter", 11), ("Upsample", 10)]:
        assert known in breaking
    assert ("Relu", 13) not in breaking

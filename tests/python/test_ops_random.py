# SPDX-License-Identifier: Apache-2.0
"""Operators on random shapes and attributes give what ONNX Runtime gives.

Each generator draws a node and its inputs from a fixed seed; what ONNX Runtime
refuses is drawn again. node_case then runs them all, as they are and after the
passes.
"""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
import node_case  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

DRAWS = 40
F, I64 = np.float32, np.int64
GENERATORS = {}


def generator(function):
    GENERATORS[function.__name__] = function
    return function


class Case:
    """One node; arrays given as `constants` become initializers."""

    def __init__(self, op, inputs, opset=17, constants=(), outputs=1, **attributes):
        self.op, self.inputs, self.opset = op, inputs, opset
        self.constants, self.outputs, self.attributes = set(constants), outputs, attributes

    def model(self):
        names = ["" if a is None else f"x{i}" for i, a in enumerate(self.inputs)]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, **self.attributes)
        values, initializers = [], []
        for i, array in enumerate(self.inputs):
            if array is None:
                continue
            if i in self.constants:
                initializers.append(numpy_helper.from_array(array, names[i]))
            else:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                values.append(helper.make_tensor_value_info(names[i], kind, array.shape))
        infos = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
                 for name in outputs]
        for info in infos:
            info.ClearField("type")
        graph = helper.make_graph([node], "random", values, infos, initializers)
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def fed(self):
        return {f"x{i}": a for i, a in enumerate(self.inputs)
                if a is not None and i not in self.constants}


# ---- drawing


def shape(rng, least=0, most=4, zero=0.05, largest=7):
    sizes = rng.integers(1, largest + 1, rng.integers(least, most + 1))
    return [0 if rng.random() < zero else int(size) for size in sizes]


def floats(rng, sizes):
    return rng.normal(0, 2, sizes).astype(F)


def wholes(rng, sizes):
    """Small whole numbers: sums of their products are exact in any order, so that what
    cancels shows no rounding, which differs from one way of summing to the next."""
    return rng.integers(-8, 9, sizes).astype(F)


def axis_of(rng, rank):
    return int(rng.integers(-rank, rank))


def broadcasting(rng, sizes):
    """A shape that broadcasts with `sizes`."""
    kept = sizes[rng.integers(0, len(sizes) + 1):]
    return [1 if rng.random() < 0.4 else size for size in kept]


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


def list_of(rng, count, low, high):
    return [int(n) for n in rng.integers(low, high, count)]


def window(rng, axes, ceil_mode):
    attributes = {"kernel_shape": list_of(rng, axes, 1, 4), "strides": list_of(rng, axes, 1, 4)}
    mode = pick(rng, "NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    attributes["auto_pad"] = mode
    if mode == "NOTSET":
        # A pad must be smaller than the kernel.
        begin = [int(rng.integers(0, k)) for k in attributes["kernel_shape"]]
        end = [int(rng.integers(0, k)) for k in attributes["kernel_shape"]]
        attributes["pads"] = begin + end
        if ceil_mode:
            attributes["ceil_mode"] = int(rng.integers(0, 2))
    return attributes


# ---- operators


@generator
def arithmetic(rng):
    a = shape(rng)
    b = broadcasting(rng, a)
    dtype = pick(rng, F, F, np.int32, I64)
    arrays = [rng.integers(1, 9, s).astype(dtype) for s in (a, b)]
    return Case(pick(rng, "Add", "Sub", "Mul", "Div"), arrays[:: pick(rng, 1, -1)])


@generator
def comparison(rng):
    a = shape(rng)
    arrays = [rng.integers(0, 3, s).astype(pick(rng, F)) for s in (a, broadcasting(rng, a))]
    op = pick(rng, "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
    return Case(op, arrays[:: pick(rng, 1, -1)])


@generator
def variadic(rng):
    a = shape(rng)
    count = rng.integers(1, 5)
    arrays = [floats(rng, broadcasting(rng, a)) for _ in range(count)]
    return Case(pick(rng, "Max", "Min", "Sum", "Mean"), arrays)


@generator
def where(rng):
    a = shape(rng)
    condition = rng.random(broadcasting(rng, a)) < 0.5
    return Case("Where", [condition, floats(rng, a), floats(rng, broadcasting(rng, a))])


@generator
def unary(rng):
    op = pick(rng, "Abs", "Neg", "Exp", "Sqrt", "Log", "Reciprocal", "Floor", "Ceil", "Round",
              "Sign", "Erf", "Tanh", "Sigmoid", "Softplus", "Softsign", "HardSwish", "Relu",
              "Elu", "Selu", "Celu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu")
    x = floats(rng, shape(rng))
    return Case(op, [np.abs(x) + F(0.1) if op in ("Sqrt", "Log") else x])


@generator
def clip(rng):
    bounds = [F(-0.5) if rng.random() < 0.7 else None, F(0.7) if rng.random() < 0.7 else None]
    x = floats(rng, shape(rng))
    return Case("Clip", [x, *(None if b is None else np.array(b) for b in bounds)])


@generator
def reduction(rng):
    op = pick(rng, "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
              "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
    x = floats(rng, shape(rng, least=1, most=5, zero=0))
    axes = [int(a) - pick(rng, 0, x.ndim)
            for a in rng.permutation(x.ndim)[: rng.integers(1, x.ndim + 1)]]
    keep = int(rng.integers(0, 2))
    if rng.random() < 0.5:
        return Case(op, [x, np.array(axes, I64)], opset=18, constants=[1], keepdims=keep)
    if op == "ReduceSum":
        return Case(op, [x, np.array(axes, I64)], opset=13, constants=[1], keepdims=keep)
    return Case(op, [x], opset=13, axes=axes, keepdims=keep)


@generator
def large_reduction(rng):
    x = floats(rng, [int(n) for n in rng.integers(20, 60, 3)])
    axes = [int(a) for a in rng.permutation(3)[: rng.integers(1, 4)]]
    return Case(pick(rng, "ReduceMean", "ReduceMax", "ReduceL2"), [x], opset=13, axes=axes)


@generator
def argument(rng):
    x = rng.integers(0, 4, shape(rng, least=1, zero=0)).astype(F)
    return Case(pick(rng, "ArgMax", "ArgMin"), [x], axis=axis_of(rng, x.ndim),
                keepdims=int(rng.integers(0, 2)), select_last_index=int(rng.integers(0, 2)))


@generator
def softmax(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    return Case(pick(rng, "Softmax", "LogSoftmax"), [x], opset=pick(rng, 11, 13),
                axis=axis_of(rng, x.ndim))


@generator
def reshape(rng):
    x = floats(rng, shape(rng, zero=0.1))
    target = [int(n) for n in rng.permutation(list(x.shape) + [1] * rng.integers(0, 3))]
    zero = int(0 in target)
    if target and not zero and rng.random() < 0.5:
        target[rng.integers(len(target))] = -1
    return Case("Reshape", [x, np.array(target, I64)], constants=pick(rng, [], [1]),
                allowzero=zero)


@generator
def transpose(rng):
    x = floats(rng, shape(rng, most=5))
    if rng.random() < 0.2:
        x = floats(rng, [int(n) for n in rng.integers(30, 80, 3)])
    return Case("Transpose", [x], perm=[int(n) for n in rng.permutation(x.ndim)])


@generator
def slices(rng):
    x = floats(rng, shape(rng, least=1))
    axes = [int(a) - pick(rng, 0, x.ndim)
            for a in rng.permutation(x.ndim)[: rng.integers(1, x.ndim + 1)]]
    count = len(axes)
    steps = [pick(rng, -3, -2, -1, 1, 1, 2, 5) for _ in range(count)]
    starts = [pick(rng, *range(-9, 10), -(2**63), 2**63 - 1) for _ in range(count)]
    # An end of 2^63 - 1 walking backwards is the front for ONNX Runtime alone.
    ends = [pick(rng, *range(-9, 10), -(2**63) if step < 0 else 2**63 - 1) for step in steps]
    lists = [np.array(values, I64) for values in (starts, ends, axes, steps)]
    return Case("Slice", [x, *lists], constants=pick(rng, [], [1, 2, 3, 4]))


@generator
def pad(rng):
    x = floats(rng, shape(rng, least=1, zero=0, largest=5))
    mode = pick(rng, "constant", "reflect", "edge")
    low = -1 if mode == "constant" else 0
    high = [min(3, size - 1) if mode == "reflect" else 3 for size in x.shape] * 2
    pads = [int(rng.integers(low, h + 1)) for h in high]
    inputs = [x, np.array(pads, I64)]
    if mode == "constant" and rng.random() < 0.5:
        inputs.append(np.array(F(1.5)))
    return Case("Pad", inputs, constants=pick(rng, [], [1]), mode=mode)


@generator
def concat(rng):
    first = shape(rng, least=1)
    axis = axis_of(rng, len(first))
    arrays = []
    for _ in range(rng.integers(1, 5)):
        sizes = list(first)
        sizes[axis] = int(rng.integers(0, 6))
        arrays.append(floats(rng, sizes))
    return Case("Concat", arrays, axis=axis)


@generator
def split(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = axis_of(rng, x.ndim)
    parts = int(rng.integers(1, 4))
    cuts = sorted(rng.integers(0, x.shape[axis] + 1, parts - 1))
    sizes = np.diff([0, *cuts, x.shape[axis]]).astype(I64)
    return Case("Split", [x, sizes], constants=[1], outputs=parts, axis=axis)


@generator
def gather(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = axis_of(rng, x.ndim)
    size = x.shape[axis]
    indices = rng.integers(-size, size, shape(rng, most=2)).astype(pick(rng, np.int32, I64))
    return Case("Gather", [x, indices], axis=axis)


@generator
def gather_elements(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = axis_of(rng, x.ndim)
    sizes = list(x.shape)
    sizes[axis] = int(rng.integers(0, 6))
    indices = rng.integers(-x.shape[axis], x.shape[axis], sizes)
    return Case("GatherElements", [x, indices], axis=axis)


@generator
def expand(rng):
    sizes = shape(rng, least=1)
    return Case("Expand", [floats(rng, broadcasting(rng, sizes)), np.array(sizes, I64)])


@generator
def tile(rng):
    x = floats(rng, shape(rng, least=1))
    return Case("Tile", [x, rng.integers(0, 4, x.ndim).astype(I64)])


@generator
def squeezing(rng):
    x = floats(rng, shape(rng))
    if rng.random() < 0.5:
        axes = sorted(int(a) for a in rng.permutation(x.ndim + 2)[:2])
        return Case("Unsqueeze", [x, np.array(axes, I64)], constants=[1])
    ones = [i for i, size in enumerate(x.shape) if size == 1]
    return Case("Squeeze", [x, np.array(ones, I64)] if ones else [x], constants=[1])


@generator
def casting(rng):
    kinds = [F, np.float64, np.float16, np.int8, np.uint8, np.int16, np.uint16, np.int32, I64,
             np.bool_]
    x = rng.integers(0, 100, shape(rng)).astype(pick(rng, *kinds))
    to = helper.np_dtype_to_tensor_dtype(np.dtype(pick(rng, *kinds)))
    return Case("Cast", [x], to=to)


@generator
def pooling(rng):
    axes = int(rng.integers(1, 4))
    # Lines long enough for blocks of sixteen outputs, for what is left of them, and for several
    # tiles.
    longest = pick(rng, 12, 80, 80, 450 if axes == 2 else 80)
    x = floats(rng, [2, 3, *list_of(rng, axes - 1, 5, 12), int(rng.integers(5, longest))])
    attributes = window(rng, axes, ceil_mode=True)
    if rng.random() < 0.5:
        # ONNX Runtime leaves dilations out of what SAME pads.
        if attributes["auto_pad"] in ("NOTSET", "VALID"):
            attributes["dilations"] = list_of(rng, axes, 1, 3)
        return Case("MaxPool", [x], **attributes)
    if rng.random() < 0.3:
        # One window covers a whole plane, of more planes than are summed side by side.
        x = floats(rng, [2, 9, *list_of(rng, axes, 1, 8)])
        return Case("AveragePool", [x], kernel_shape=x.shape[2:])
    return Case("AveragePool", [x], count_include_pad=int(rng.integers(0, 2)), **attributes)


@generator
def convolution(rng):
    axes = int(rng.integers(1, 4))
    groups = int(pick(rng, 1, 1, 2, 4))
    inputs, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    attributes = window(rng, axes, ceil_mode=False)
    x = wholes(rng, [2, inputs, *list_of(rng, axes, 6, 12)])
    w = wholes(rng, [outputs, inputs // groups, *attributes["kernel_shape"]])
    if attributes["auto_pad"] in ("NOTSET", "VALID"):
        attributes["dilations"] = list_of(rng, axes, 1, 3)
    bias = [wholes(rng, [outputs])] if rng.random() < 0.5 else []
    return Case("Conv", [x, w, *bias], group=groups, **attributes)


@generator
def gemm(rng):
    m, k, n = (int(size) for size in rng.integers(1, 9, 3))
    left, right = int(rng.integers(0, 2)), int(rng.integers(0, 2))
    a, b = wholes(rng, (k, m) if left else (m, k)), wholes(rng, (n, k) if right else (k, n))
    c = pick(rng, [], [wholes(rng, n)], [wholes(rng, (m, 1))], [wholes(rng, ())])
    return Case("Gemm", [a, b, *c], transA=left, transB=right, alpha=0.7, beta=1.3)


@generator
def matmul(rng):
    m, k, n = (int(size) for size in rng.integers(1, 9, 3))
    batch = shape(rng, most=2, zero=0)
    a, b = wholes(rng, [*batch, m, k]), wholes(rng, [*broadcasting(rng, batch), k, n])
    return Case("MatMul", pick(rng, [a, b], [a[..., 0, :] if m == 1 else a, b[..., 0]]))


@generator
def normalization(rng):
    x = floats(rng, shape(rng, least=3, zero=0))
    c = x.shape[1]
    parameters = [floats(rng, c), floats(rng, c)]
    # Of few elements the deviation may be nothing, and ONNX Runtime's only noise.
    if np.prod(x.shape[2:]) > 5:
        return Case("InstanceNormalization", [x, *parameters])
    return Case("BatchNormalization", [x, *parameters, floats(rng, c), np.abs(floats(rng, c))])


@generator
def layer_normalization(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = axis_of(rng, x.ndim)
    sizes = x.shape[axis:]
    return Case("LayerNormalization", [x, floats(rng, sizes), floats(rng, sizes)], axis=axis)


@generator
def resize(rng):
    x = floats(rng, [1, 2, int(rng.integers(3, 9)), int(rng.integers(3, 9))])
    mode = pick(rng, "nearest", "linear", "cubic")
    scales = np.array([1, 1, *rng.choice([0.5, 0.75, 1, 1.5, 2, 3], 2)], F)
    coordinate = pick(rng, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinate}
    if mode == "nearest":
        attributes["nearest_mode"] = pick(rng, "round_prefer_floor", "round_prefer_ceil", "floor",
                                          "ceil")
    if rng.random() < 0.5:
        return Case("Resize", [x, None, scales], constants=[2], **attributes)
    sizes = np.array([1, 2, *rng.integers(2, 14, 2)], I64)
    return Case("Resize", [x, None, None, sizes], constants=[3], **attributes)


@generator
def resize_out_of_a_region(rng):
    """To other sizes, as ONNX Runtime looks at no region where they stay."""
    x = floats(rng, [1, 2, *rng.integers(3, 9, 2)])
    sizes = np.array([1, 2, *(x.shape[2:] + rng.integers(1, 9, 2))], I64)
    sizes[2] = pick(rng, 1, 2, sizes[2])
    region = np.array([0, 0, *rng.uniform(-0.2, 0.5, 2), 1, 1, *rng.uniform(0.4, 1.3, 2)], F)
    return Case("Resize", [x, region, None, sizes], constants=[3], extrapolation_value=2.5,
                mode=pick(rng, "nearest", "linear", "cubic"),
                coordinate_transformation_mode="tf_crop_and_resize")


@generator
def blocks(rng):
    b = int(rng.integers(1, 4))
    n, c, h, w = (int(size) for size in rng.integers(1, 4, 4))
    if rng.random() < 0.5:
        return Case("SpaceToDepth", [floats(rng, [n, c, h * b, w * b])], blocksize=b)
    return Case("DepthToSpace", [floats(rng, [n, c * b * b, h, w])], blocksize=b,
                mode=pick(rng, "DCR", "CRD"))


@generator
def quantizing(rng):
    x = floats(rng, shape(rng, least=1, zero=0)) * F(20)
    kind = pick(rng, np.int8, np.uint8)
    if rng.random() < 0.5:
        axis = axis_of(rng, x.ndim)
        count, attributes = (x.shape[axis],), {"axis": axis}
    else:
        count, attributes = (), {}
    scale = np.asarray(rng.uniform(0.1, 1, count), F)
    zero = np.asarray(rng.integers(0, 9, count)).astype(kind)
    if rng.random() < 0.5:
        return Case("QuantizeLinear", [x, scale, zero], opset=13, **attributes)
    codes = np.clip(np.rint(x), 0, 127).astype(kind)
    return Case("DequantizeLinear", [codes, scale, zero], opset=13, **attributes)


@generator
def blocked(rng):
    x = floats(rng, [int(size) for size in rng.integers(2, 9, 3)]) * F(20)
    axis, block = int(rng.integers(0, 3)), int(rng.integers(2, 5))
    sizes = [-(-size // block) if i == axis else size for i, size in enumerate(x.shape)]
    scale = rng.uniform(0.1, 1, sizes).astype(F)
    zero = rng.integers(0, 9, sizes).astype(np.int8)
    codes = np.clip(np.rint(x), -128, 127).astype(np.int8)
    op = pick(rng, "QuantizeLinear", "DequantizeLinear")
    first = x if op == "QuantizeLinear" else codes
    return Case(op, [first, scale, zero], opset=21, axis=axis, block_size=block)


@generator
def selection(rng):
    x = rng.permutation(int(np.prod(sizes := shape(rng, least=1, zero=0)))).reshape(sizes)
    axis = axis_of(rng, x.ndim)
    k = np.array([rng.integers(0, x.shape[axis] + 1)], I64)
    return Case("TopK", [x.astype(F), k], outputs=2, axis=axis, largest=int(rng.integers(0, 2)))


@generator
def cumulation(rng):
    x = floats(rng, shape(rng, least=1))
    return Case("CumSum", [x, np.array(axis_of(rng, x.ndim), I64)],
                exclusive=int(rng.integers(0, 2)), reverse=int(rng.integers(0, 2)))


# ---- the test


def expected(case):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(case.model().SerializeToString(), options,
                                   providers=["CPUExecutionProvider"])
    return session.run(None, case.fed())


def draw(rng, generate):
    """A case that ONNX Runtime takes, and its outputs."""
    for _ in range(50):
        case = generate(rng)
        try:
            return case, expected(case)
        except Exception:  # noqa: BLE001, whatever it dislikes
            continue
    raise AssertionError("ONNX Runtime takes none of them")


def with_types(model, outputs):
    """ONNX Runtime tells the outputs' types, which ldnq's reader wants."""
    for info, array in zip(model.graph.output, outputs, strict=True):
        info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return model


def check(tmp_path, name, generate, seed):
    rng = np.random.default_rng(seed)
    dirs = []
    for i in range(DRAWS):
        case, outputs = draw(rng, generate)
        model = with_types(case.model(), outputs)
        folder = tmp_path / f"{name}_{i}"
        dirs.append(node_case.write(folder, model, case.fed().values(), outputs))
    results = node_case.run(dirs, relative=2e-5)
    wrong = {case: told for case, told in results.items() if told[0] != "pass"}
    assert not wrong


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_random_nodes_should_give_what_onnx_runtime_gives(tmp_path, name):
    check(tmp_path, name, GENERATORS[name], sorted(GENERATORS).index(name))

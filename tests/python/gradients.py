# SPDX-License-Identifier: Apache-2.0
"""Gradients of small graphs against finite differences in double.

A case is one node or a few, with data for its inputs:

    Case("mul broadcast", node("Mul", "a b", "y"), {"a": normal(2, 3), "b": normal(3)})

The loss is the sum over the float outputs of <seed, output> with random seeds.
`grad_case` (tests/exec) computes its gradients by the requested values (all float32
inputs unless `requested` says less); the reference takes central differences of the
same graph computed in double: by ONNX's ReferenceEvaluator, or by `reference`,
a function of {name: array} that gives the list of outputs, where the evaluator
computes in float32 after all (`check_in_double` finds that out) or is wrong.

What is checked: every element of the gradients up to ELEMENTS of them, a random
choice of them and random directions beyond; the same bits on one thread as on two;
with `apart`, the same bits where only one of several inputs is requested, and, where
there are several outputs, each output's gradient left out in turn.

Differences know no kinks: choose inputs further than STEP from places where the
function bends (`away`, `distinct`, `positive`).
"""

import itertools
import re
import subprocess
from dataclasses import dataclass, field, replace
from typing import Callable, Optional

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from support import BUILD

GRAD_CASE = BUILD / "tests" / "exec" / "grad_case"
STEP = 1e-5
ELEMENTS = 160
DIRECTIONS = 4


@dataclass
class Case:
    name: str
    nodes: object  # one NodeProto or a list
    inputs: dict  # {name: array}: the graph's inputs
    initializers: dict = field(default_factory=dict)  # {name: array or TensorProto}
    requested: Optional[list] = None  # inputs and initializers; None: all float32 inputs
    outputs: Optional[list] = None  # of the graph; None: those of the last node
    seeded: Optional[list] = None  # outputs that the loss counts; None: all float ones
    opset: int = 22
    reference: Optional[Callable] = None
    relative: float = 2e-5  # of the largest element of a gradient
    apart: bool = True
    opsets: tuple = ()  # (domain, version) of further domains

    def __post_init__(self):
        if not isinstance(self.nodes, (list, tuple)):
            self.nodes = [self.nodes]
        if self.requested is None:
            self.requested = [k for k, v in self.inputs.items() if v.dtype == np.float32]
        if self.outputs is None:
            self.outputs = [name for name in self.nodes[-1].output if name]


def node(op_type, inputs, outputs="y", **attributes):
    """Names in one string; "_" stands for an input or output that is left out."""
    def split(names):
        return ["" if name == "_" else name for name in names.split()]

    return helper.make_node(op_type, split(inputs), split(outputs), **attributes)


# ---- data


def normal(*shape, seed=0, spread=1.0, centre=0.0):
    draw = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return np.asarray(centre + spread * draw, np.float32)


def positive(*shape, seed=0, low=0.3, high=2.0):
    return np.asarray(np.random.default_rng([seed, *shape]).uniform(low, high, shape), np.float32)


def away(*shape, kinks=(0.0,), by=0.05, seed=0, spread=1.0):
    """Normal, moved so that no element is nearer than `by` to a kink."""
    x = normal(*shape, seed=seed, spread=spread)
    for kink in kinks:
        x = np.where(np.abs(x - kink) < by, kink + np.where(x < kink, -by, by), x)
    return x.astype(np.float32)


def distinct(*shape, seed=0, gap=0.1):
    """In random order, no two nearer than `gap`: for maxima, sorting, TopK."""
    count = int(np.prod(shape))
    order = np.random.default_rng([seed, *shape]).permutation(count)
    return (gap * (order - count / 2 + 0.25)).reshape(shape).astype(np.float32)


# ---- models


def model_of(case, outputs):
    """`outputs` are arrays, for their types."""
    def info(name, array):
        dtype = np.float32 if array.dtype == np.float64 else array.dtype
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)

    def shaped(name, array):
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    graph = helper.make_graph(
        case.nodes, "case", [shaped(*item) for item in case.inputs.items()],
        [info(*item) for item in zip(case.outputs, outputs)],
        [array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
         for name, array in case.initializers.items()])
    opsets = [helper.make_opsetid("", case.opset)]
    opsets += [helper.make_opsetid(*pair) for pair in case.opsets]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def double_tensor(tensor):
    if tensor.data_type == TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def double_graph(graph):
    """In place: all that is float32 becomes double."""
    for tensor in graph.initializer:
        double_tensor(tensor)
    for value in itertools.chain(graph.input, graph.output, graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for each in graph.node:
        for attribute in each.attribute:
            if attribute.type == AttributeProto.TENSOR:
                double_tensor(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                double_graph(attribute.g)
            elif attribute.name in ("to", "dtype", "output_dtype") and attribute.i == 1:
                attribute.i = TensorProto.DOUBLE
        if each.op_type == "Constant" and each.attribute[0].name in ("value_float",
                                                                     "value_floats"):
            array = np.asarray(helper.get_attribute_value(each.attribute[0]), np.float64)
            each.attribute[0].CopyFrom(helper.make_attribute(
                "value", numpy_helper.from_array(array)))


def evaluator(case):
    """{name: double array} -> list of outputs."""
    if case.reference:
        return case.reference
    outputs = [np.zeros((), np.float32)] * len(case.outputs)
    proto = model_of(case, outputs)
    double_graph(proto.graph)
    reference = ReferenceEvaluator(proto)
    fixed = {tensor.name for tensor in proto.graph.initializer}
    for tensor in list(proto.graph.initializer):
        if tensor.name in case.requested:
            # Named as an input too, it can be fed.
            proto.graph.input.append(helper.make_tensor_value_info(
                tensor.name, tensor.data_type, list(tensor.dims)))
            proto.graph.initializer.remove(tensor)
            fixed.remove(tensor.name)
            reference = ReferenceEvaluator(proto)
    return lambda feeds: reference.run(None, {k: v for k, v in feeds.items() if k not in fixed})


def array_of(entry):
    return numpy_helper.to_array(entry) if isinstance(entry, TensorProto) else entry


def double_feeds(case):
    feeds = {k: array_of(v) for k, v in {**case.initializers, **case.inputs}.items()}
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feeds.items()}


# ---- the driver


def run_driver(folders, threads=2, max_bytes=0, passes=False):
    """{folder's name: line behind it}, the status put in front ("ok peak=...")."""
    command = [str(GRAD_CASE), "--threads", str(threads), "--max-bytes", str(max_bytes)]
    command += ["--passes"] * passes + [str(folder) for folder in folders]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600, check=False)
    assert done.returncode == 0, f"grad_case ended with {done.returncode}\n{done.stdout}{done.stderr}"
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(\w+) (\S+?):? (.*)", line)
        found[match[2]] = f"{match[1]} {match[3]}"
    return found


def write_case(folder, proto, inputs, seeds, requested):
    """seeds: by output, None where the loss does not count it."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, folder / "model.onnx")
    for kind, arrays in ("input", inputs), ("seed", seeds):
        for i, array in enumerate(arrays):
            if array is not None:
                path = folder / f"{kind}_{i}.pb"
                path.write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())
    (folder / "requested.txt").write_text("\n".join(requested))


def read_gradients(folder, requested):
    return {name: np.load(folder / f"gradient_{i}.npy") for i, name in enumerate(requested)}


def compute(folder, proto, inputs, seeds, requested, **options):
    """{name: gradient} and the peak in bytes."""
    write_case(folder, proto, inputs, seeds, requested)
    line = run_driver([folder], **options)[folder.name]
    assert line.startswith("ok "), line
    return read_gradients(folder, requested), int(re.search(r"peak=(\d+)", line)[1])


# ---- the check


def difference(evaluate, feeds, seeds, name, direction):
    """Of the loss along a direction of one value."""
    def loss(sign):
        moved = {**feeds, name: feeds[name] + sign * STEP * direction}
        return sum(np.vdot(seed, output) for seed, output in zip(seeds, evaluate(moved))
                   if seed is not None)

    return (loss(1) - loss(-1)) / (2 * STEP)


def check_in_double(evaluate, feeds, names, outputs):
    """A reference that rounds to float32 on its way would be useless for differences."""
    for array in outputs:
        assert array.dtype != np.float32, "the reference computes in float32: give the case one"


def check_gradient(case, evaluate, feeds, seeds, name, got):
    """Element by element, or a choice of them, and along directions."""
    want = feeds[name]
    assert got.shape == want.shape and got.dtype == np.float32, (name, got.shape, want.shape)
    assert np.isfinite(got).all(), f"{case.name}: gradient of {name} is not finite"
    rng = np.random.default_rng(1)
    chosen = np.arange(want.size)
    if want.size > ELEMENTS:
        chosen = rng.choice(want.size, ELEMENTS // 4, replace=False)
    expected = np.empty(len(chosen))
    for place, i in enumerate(chosen):
        unit = np.zeros(want.size)
        unit[i] = 1
        expected[place] = difference(evaluate, feeds, seeds, name, unit.reshape(want.shape))
    found = got.reshape(-1)[chosen].astype(np.float64)
    scale = max(np.abs(expected).max(initial=0), np.abs(got).max(initial=0), 1e-3)
    error = np.abs(found - expected).max(initial=0) / scale
    assert error <= case.relative, (
        f"{case.name}: gradient of {name} is off by {error:.3g} of {scale:.3g}:\n"
        f"{found}\nwhere differences give\n{expected}")
    for _ in range(DIRECTIONS if want.size > ELEMENTS else 0):
        direction = rng.standard_normal(want.shape)
        along = difference(evaluate, feeds, seeds, name, direction)
        error = abs(np.vdot(got, direction) - along) / (scale * np.sqrt(want.size))
        assert error <= case.relative, f"{case.name}: gradient of {name} along a direction"


def variants(case, seeds):
    """(what is requested, seeds) of the partial runs."""
    if case.apart and len(case.requested) > 1:
        for name in case.requested:
            yield [name], seeds
    counted = [i for i, seed in enumerate(seeds) if seed is not None]
    if case.apart and len(counted) > 1:
        for left_out in counted:
            yield case.requested, [None if i == left_out else s for i, s in enumerate(seeds)]


def check(case, folder):
    evaluate, feeds = evaluator(case), double_feeds(case)
    outputs = [np.asarray(output) for output in evaluate(feeds)]
    check_in_double(evaluate, feeds, case.requested, outputs)
    rng = np.random.default_rng(7)
    counted = case.seeded or [name for name, array in zip(case.outputs, outputs)
                              if array.dtype == np.float64]
    seeds = [rng.standard_normal(array.shape).astype(np.float32) if name in counted else None
             for name, array in zip(case.outputs, outputs)]
    proto, inputs = model_of(case, outputs), list(case.inputs.values())
    whole, _ = compute(folder / "whole", proto, inputs, seeds, case.requested)
    for name, gradient in whole.items():
        check_gradient(case, evaluate, feeds, seeds, name, gradient)
    alone, _ = compute(folder / "alone", proto, inputs, seeds, case.requested, threads=1)
    for name in case.requested:
        assert alone[name].tobytes() == whole[name].tobytes(), f"{case.name}: {name}: threads"
    for k, (requested, left) in enumerate(variants(case, seeds)):
        part, _ = compute(folder / f"part{k}", proto, inputs, left, requested)
        for name in requested:
            if left is seeds:
                assert part[name].tobytes() == whole[name].tobytes(), (
                    f"{case.name}: {name} requested alone has another gradient")
            else:
                check_gradient(case, evaluate, feeds, left, name, part[name])


def with_opsets(case, *opsets):
    """The same case at several opsets."""
    return [replace(case, name=f"{case.name} opset {opset}", opset=opset) for opset in opsets]

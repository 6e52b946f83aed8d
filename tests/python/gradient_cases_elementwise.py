# SPDX-License-Identifier: Apache-2.0
"""Operators of one element, arithmetic that broadcasts, Reduce, and all that moves
elements about."""

import math

import numpy as np
from onnx import TensorProto

from gradients import Case, away, distinct, node, normal, positive


def ints(*values):
    return np.array(values, np.int64)


def named(shape):
    return "x".join(map(str, shape)) or "scalar"


# Large enough for several pieces of work; rank 0; nothing.
SHAPES = [(3, 5), (), (0, 3), (20000,)]


def unary(op, draw, label="", opset=22, relative=2e-5, shapes=SHAPES, reference=None,
          **attributes):
    return [Case(f"{op}{label} {named(shape)}", node(op, "x", **attributes), {"x": draw(*shape)},
                 opset=opset, relative=relative, reference=reference) for shape in shapes]


def spread(*shape):
    """Over the bends of activations, none of which is near."""
    return away(*shape, kinks=(0.0, 1.0, -1.0, 3.0, -3.0, 2.5, -2.5, 0.7, 6.0), spread=3.0)


def on_x(function):
    return lambda feeds: [function(feeds["x"])]


def logistic(x):
    return 1 / (1 + np.exp(-x))


# ReferenceEvaluator's is of float32.
erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def shrunk_relu(alpha):
    return on_x(lambda x: np.where(x > alpha, x, 0.0))


UNARY = [
    *unary("LeakyRelu", spread), *unary("LeakyRelu", spread, " steep", alpha=1.5),
    *unary("LeakyRelu", spread, " falling", alpha=-0.3),
    *unary("Elu", spread, reference=on_x(lambda x: np.where(x < 0, np.expm1(x), x))),
    *unary("Elu", spread, " 0.4", alpha=0.4,
           reference=on_x(lambda x: np.where(x < 0, float(np.float32(0.4)) * np.expm1(x), x))),
    *unary("Selu", spread, reference=on_x(
        lambda x: 1.05070102214813232421875 *
        np.where(x > 0, x, 1.67326319217681884765625 * np.expm1(x)))),
    *unary("Selu", spread, " 2 0.5", alpha=2.0, gamma=0.5, reference=on_x(
        lambda x: 0.5 * np.where(x > 0, x, 2.0 * np.expm1(x)))),
    *unary("Celu", spread, reference=on_x(lambda x: np.where(x > 0, x, np.expm1(x)))),
    *unary("Celu", spread, " 2", alpha=2.0,
           reference=on_x(lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2)))),
    *unary("HardSigmoid", spread, reference=on_x(
        lambda x: np.clip(float(np.float32(0.2)) * x + 0.5, 0, 1))),
    *unary("HardSigmoid", lambda *s: away(*s, kinks=(-1.0, 3.0), spread=3.0), " 0.25 0.25",
           alpha=0.25, beta=0.25),
    *unary("HardSwish", spread, reference=on_x(lambda x: x * np.clip(x / 6 + 0.5, 0, 1))),
    *unary("Swish", spread, opset=24, reference=on_x(lambda x: x * logistic(x))),
    *unary("Swish", spread, " 1.5", opset=24, alpha=1.5,
           reference=on_x(lambda x: x * logistic(1.5 * x))),
    *unary("ThresholdedRelu", spread, reference=shrunk_relu(1.0)),
    *unary("ThresholdedRelu", spread, " below 0", alpha=-1.0, reference=shrunk_relu(-1.0)),
    *unary("Sigmoid", spread, reference=on_x(logistic)), *unary("Tanh", spread),
    *unary("Softplus", spread, reference=on_x(lambda x: np.logaddexp(0, x))),
    *unary("Softsign", spread, reference=on_x(lambda x: x / (1 + np.abs(x)))),
    *unary("Mish", spread, reference=on_x(lambda x: x * np.tanh(np.logaddexp(0, x)))),
    *unary("Erf", normal, reference=on_x(erf)), *unary("Gelu", spread, reference=on_x(gelu)),
    *unary("Gelu", spread, " none", approximate="none", reference=on_x(gelu)),
    *unary("Gelu", spread, " tanh", approximate="tanh"),
    *unary("Exp", normal), *unary("Log", positive), *unary("Sqrt", positive),
    *unary("Reciprocal", lambda *s: away(*s, by=0.3)), *unary("Abs", away), *unary("Neg", normal),
    *(Case(f"{op} is flat", [node(op, "x", "f"), node("Mul", "f x")], {"x": away(4, 3, kinks=(
        -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0))})
      for op in ("Floor", "Ceil", "Round", "Sign")),
]

CLIP = [
    *unary("Clip", spread, " between", opset=7, min=-1.0, max=2.5,
           reference=on_x(lambda x: np.clip(x, -1, 2.5))),
    *unary("Clip", spread, " from", opset=10, min=-1.0,
           reference=on_x(lambda x: np.maximum(x, -1))),
    *(Case(f"Clip by inputs {names}", node("Clip", names), {"x": spread(4, 30)},
           {"low": np.array(-1, np.float32), "high": np.array(2.5, np.float32)}, opset=opset)
      for names, opset in (("x low high", 11), ("x _ high", 12), ("x low", 13), ("x", 22))),
    Case("Clip crossed", node("Clip", "x low high"), {"x": spread(4, 3)},
         {"low": np.array(1, np.float32), "high": np.array(-1, np.float32)},
         reference=on_x(lambda x: np.full_like(x, -1))),
    Case("Clip to 0 and 6", node("Clip", "x low high"), {"x": spread(40, 30)},
         {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}),
    Case("Clip by computed bounds", [node("Abs", "l", "low"), node("Clip", "x low")],
         {"x": spread(4, 3), "l": np.array(-1, np.float32)}, requested=["x"]),
]

# ---- arithmetic

PAIRS = [
    ((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)), ((3, 1), (1, 4)), ((2, 3), ()), ((), (2, 3)),
    ((2, 3, 4), (3, 1)), ((1, 3, 1), (2, 3, 4)), ((4, 1, 3, 1), (5, 1, 2)), ((300, 70), (70,)),
    ((), ()), ((0, 3), (3,)), ((40, 30, 20), (30, 1)),
]


def binary(op, first, second, label="", pairs=PAIRS, **fields):
    return [Case(f"{op}{label} {named(a)} and {named(b)}", node(op, "a b"),
                 {"a": first(*a), "b": second(*b, seed=1)}, **fields) for a, b in pairs]


def steep(*shape, seed=0):
    return away(*shape, by=0.4, seed=seed)


ARITHMETIC = [
    *binary("Div", normal, steep, relative=5e-5),
    *binary("Pow", positive, normal, relative=5e-5),
    *(Case(f"Pow by {np.dtype(dtype).name} {power}", node("Pow", "x p"), {"x": away(30, 7, by=0.2)},
           {"p": np.array(power, dtype)}, relative=5e-5)
      for power, dtype in ((2, np.float32), (3, np.float32), (1, np.float32), (0, np.float32),
                           (-2, np.float32), (3, np.int64), (-1, np.int32), (2, np.int64),
                           (3, np.uint32), (2, np.uint64))),
    Case("Pow by whole powers", node("Pow", "x p"), {"x": away(3, 4, by=0.2)},
         {"p": ints(0, 1, 2, 3)}),
    Case("Pow of 0", node("Pow", "x p"), {"x": np.zeros(3, np.float32)},
         {"p": np.array([0, 1, 2], np.float32)}),
    Case("Pow of 0 by its exponent", node("Pow", "x p"),
         {"x": np.zeros(3, np.float32), "p": np.array([0.5, 1, 2], np.float32)}, requested=["p"]),
    Case("Mod with fmod", node("Mod", "a b", fmod=1),
         {"a": np.array([[5.3, -4.1, 0.4], [2.2, -7.7, 3.1]], np.float32),
          "b": np.array([3, -2, 1.5], np.float32)}, requested=["a"],
         reference=lambda feeds: [np.fmod(feeds["a"], feeds["b"])]),
    Case("Mod of a row", node("Mod", "a b", fmod=1),
         {"a": np.array([5.3, -4.1], np.float32), "b": np.array([[3], [-2.5]], np.float32)},
         requested=["a"], reference=lambda feeds: [np.fmod(feeds["a"], feeds["b"])]),
    *binary("PRelu", away, normal, pairs=[
        ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 3, 4), (3, 1)), ((), ()), ((300, 70), (1,)),
        ((0, 3), (3,))], reference=lambda feeds: [
            np.where(feeds["a"] < 0, feeds["a"] * feeds["b"], feeds["a"])]),
    *(Case(f"Where {named(c)}, {named(a)} and {named(b)}", node("Where", "c a b"),
           {"c": normal(*c, seed=2) > 0, "a": normal(*a), "b": normal(*b, seed=1)})
      for c, a, b in (((2, 3), (2, 3), (2, 3)), ((3,), (2, 3), ()), ((2, 1), (3,), (4, 1, 1)),
                      ((), (2, 3), (3,)), ((), (), ()), ((0, 3), (3,), ()),
                      ((300, 70), (70,), (300, 1)))),
]

THREE = {"a": normal(2, 3, 4), "b": normal(3, 1, seed=1), "c": normal(4, seed=2)}
CLOSE = {"a": distinct(2, 3, 4), "b": distinct(3, 1, seed=1) + np.float32(0.03),
         "c": distinct(4, seed=2) - np.float32(0.04)}

VARIADIC = [
    *(Case(f"{op} of {count}", node(op, " ".join("abc"[:count])),
           {k: (CLOSE if op in ("Max", "Min") else THREE)[k] for k in "abc"[:count]}, opset=opset)
      for op in ("Max", "Min", "Sum", "Mean") for count, opset in ((1, 8), (2, 12), (3, 22))),
    *(Case(f"{op} of equal shapes", node(op, "a b"),
           {"a": distinct(300, 70), "b": distinct(300, 70, seed=5) + np.float32(0.04)})
      for op in ("Max", "Min")),
    *(Case(f"{op} of scalars", node(op, "a b"), {"a": normal(), "b": normal(seed=9)})
      for op in ("Max", "Min", "Sum", "Mean")),
    *(Case(f"{op} of nothing", node(op, "a b"), {"a": normal(0, 3), "b": normal(3)})
      for op in ("Max", "Min", "Sum", "Mean")),
    # Half of the gradient to each: a central difference finds the same at the kink.
    *(Case(f"{op} of equals", node(op, "a b"), {"a": normal(2, 3), "b": normal(2, 3)})
      for op in ("Max", "Min")),
    Case("Max with itself", node("Max", "a a"), {"a": normal(2, 3)}),
]

# ---- Reduce

REDUCTIONS = {
    "ReduceSum": normal, "ReduceMean": normal, "ReduceMax": distinct, "ReduceMin": distinct,
    "ReduceProd": lambda *s: away(*s, by=0.5), "ReduceL1": away, "ReduceL2": normal,
    "ReduceLogSum": positive, "ReduceSumSquare": normal, "ReduceLogSumExp": normal,
}
AXES = [((2, 3, 4), [1], 1), ((2, 3, 4), [-1, 0], 0), ((2, 3, 4), [0], 0), ((2, 2), [0], 0),
        ((2, 3, 4), None, 1), ((2, 3, 4), None, 0), ((5,), [-1], 0), ((3, 1, 2), [1, 2], 1),
        ((6, 300, 4), [0, 2], 1)]


def log_sum_exp(feeds, axes, keep):
    x = feeds["x"]
    axes = None if axes is None else tuple(axes)
    return [np.log(np.sum(np.exp(x), axis=axes, keepdims=bool(keep)))]


def reduction(op, draw, shape, axes, keep, opset):
    by_input = opset >= (13 if op == "ReduceSum" else 18)
    along = "all" if axes is None else ",".join(map(str, axes))
    name = f"{op} {named(shape)} along {along} keepdims={keep} opset {opset}"
    reference = None
    if op == "ReduceLogSumExp":
        def reference(feeds):
            return log_sum_exp(feeds, axes, keep)
    if by_input:
        return Case(name, node(op, "x" if axes is None else "x axes", keepdims=keep),
                    {"x": draw(*shape)}, {} if axes is None else {"axes": ints(*axes)},
                    opset=opset, relative=5e-5, reference=reference)
    more = {} if axes is None else {"axes": axes}
    return Case(name, node(op, "x", keepdims=keep, **more), {"x": draw(*shape)}, opset=opset,
                relative=5e-5, reference=reference)


def extremes(*shape):
    return (100 * normal(*shape)).astype(np.float32)


REDUCE = [
    *(reduction(op, draw, shape, axes, keep, opset) for op, draw in REDUCTIONS.items()
      for k, (shape, axes, keep) in enumerate(AXES) for opset in ((12, 20) if k < 2 else (20,))),
    *(Case(f"{op} of a scalar", node(op, "x"), {"x": draw()}, opset=20,
           reference=(lambda feeds: [feeds["x"]]) if op == "ReduceLogSumExp" else None)
      for op, draw in REDUCTIONS.items()),
    *(Case(f"{op} without axes is left alone", node(op, "x", noop_with_empty_axes=1),
           {"x": draw(2, 3)}, opset=20, reference=on_x(function))
      for op, draw, function in (("ReduceSum", normal, lambda x: x), ("ReduceL1", away, np.abs),
                                 ("ReduceMax", normal, lambda x: x),
                                 ("ReduceSumSquare", normal, np.square),
                                 ("ReduceMean", normal, lambda x: x))),
    *(Case(f"{op} of nothing", node(op, "x axes"), {"x": normal(2, 0, 3)}, {"axes": ints(1)},
           opset=20) for op in ("ReduceSum", "ReduceSumSquare", "ReduceL1")),
    # One zero, two zeros, none.
    Case("ReduceProd with zeros", node("ReduceProd", "x axes", keepdims=0), {"x": np.array(
        [[2, 0, -1.5], [0, 0, 3], [1, 2, 0.5]], np.float32)}, {"axes": ints(1)}, opset=20),
    Case("ReduceMax of equals", node("ReduceMax", "x axes", keepdims=0),
         {"x": np.array([[2, 2, 1], [3, 1, 2]], np.float32)}, {"axes": ints(1)}, opset=20),
    Case("ReduceLogSumExp far out", node("ReduceLogSumExp", "x axes"), {"x": extremes(3, 20)},
         {"axes": ints(1)}, opset=20, reference=lambda feeds: [
             np.logaddexp.reduce(feeds["x"], axis=1, keepdims=True)]),
    Case("ReduceSum by computed axes", [node("Identity", "a", "axes"), node("ReduceSum", "x axes")],
         {"x": normal(2, 3), "a": ints(1)}),
]

# ---- elements moved about

X = {"x": normal(2, 3, 4)}


def moved(name, op, shape, opset=22, inputs="x", more=None, **attributes):
    return Case(f"{op} {name}", node(op, inputs, **attributes), {"x": normal(*shape)}, more or {},
                opset=opset)


def slices(name, shape, starts, ends, axes=None, steps=None):
    names, more = ["x", "starts", "ends"], {"starts": ints(*starts), "ends": ints(*ends)}
    if axes is not None or steps is not None:
        names.append("axes" if axes is not None else "_")
    if axes is not None:
        more["axes"] = np.array(axes, np.int32) if name == "of int32" else ints(*axes)
    if steps is not None:
        names.append("steps")
        more["steps"] = np.array(steps, np.int32) if name == "of int32" else ints(*steps)
    if name == "of int32":
        more = {k: v.astype(np.int32) for k, v in more.items()}
    return Case(f"Slice {name}", node("Slice", " ".join(names)), {"x": normal(*shape)}, more)


MOVES = [
    moved("backwards", "Transpose", (2, 3, 4)), moved("scalar", "Transpose", ()),
    moved("nothing", "Transpose", (0, 3)),
    *(moved(named(perm), "Transpose", shape, perm=perm) for shape, perm in (
        ((2, 3, 4), (1, 0, 2)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4, 5), (0, 2, 3, 1)),
        ((100, 70), (1, 0)), ((2, 3, 4, 2, 3), (4, 1, 3, 0, 2)), ((3, 40, 50), (0, 2, 1)))),
    *(Case(f"Concat along {axis} of {count}", node("Concat", " ".join("abc"[:count]), axis=axis),
           {k: normal(*shape, seed=1) for k, shape in zip("abc"[:count], shapes)})
      for axis, count, shapes in (
          (0, 3, [(2, 3), (1, 3), (4, 3)]), (1, 2, [(2, 3, 4), (2, 1, 4)]),
          (-1, 2, [(2, 3), (2, 0)]), (0, 1, [(3,)]), (-2, 2, [(200, 30), (100, 30)]))),
    Case("Concat of one value", node("Concat", "x x", axis=0), X),
    Case("Split equally", node("Split", "x", "a b", axis=-1), X, opset=13),
    Case("Split by attribute", node("Split", "x", "a b", axis=1, split=[1, 2]), X, opset=11),
    Case("Split by sizes", node("Split", "x sizes", "a b c", axis=2), X, {"sizes": ints(1, 0, 3)}),
    Case("Split unevenly", node("Split", "x", "a b", axis=1, num_outputs=2), X),
    Case("Split with a part unused", [node("Split", "x", "a b c", axis=1, num_outputs=3),
                                      node("Mul", "a c")], X),
    slices("of an axis", (4, 5), [1], [3], [1]), slices("all", (4, 5), [0, 0], [9, 9]),
    slices("with steps", (7, 8), [0, 1], [7, 8], [0, 1], [3, 2]),
    slices("backwards", (7, 8), [-1, 6], [-99, 1], [0, 1], [-1, -2]),
    slices("from the end", (4, 5), [-3], [-1], [-1]), slices("nothing", (4, 5), [3], [1], [0]),
    slices("a long step", (4, 5), [2], [5], [1], [1 << 40]),
    slices("of int32", (4, 5), [1], [9], [-2], [2]), slices("of nothing", (0, 5), [1], [3], [1]),
    slices("large", (200, 300), [10, 5], [190, 299], [0, 1], [1, 3]),
    moved("by attributes", "Slice", (4, 5, 2), 9, starts=[1, -2], ends=[3, 9], axes=[1, 0]),
    Case("Slice by computed bounds", [node("Identity", "s", "t"), node("Slice", "x t e")],
         {"x": normal(4, 5), "s": ints(1)}, {"e": ints(3)}),
    *(moved(f"{name} along {axis}", "Gather", shape, inputs="x i", more={"i": indices}, axis=axis)
      for name, shape, axis, indices in (
          ("rows", (5, 3), 0, ints(1, 1, -1, 0)), ("columns", (5, 3), 1, ints(2, 0, 2)),
          ("one", (5, 3), 0, np.array(-2, np.int64)), ("blocks", (2, 4, 3), -2, ints(3, -1, 3, 0)),
          ("matrix", (5, 3), -1, np.array([[0, 2], [-3, 1]], np.int32)),
          ("embedding", (50, 600), 0, np.arange(400) % 37),
          ("of a list", (6,), 0, ints(5, 5, 5)), ("empty rows", (5, 0), 0, ints(1, 2)))),
    Case("Gather none", node("Gather", "x i"), {"x": normal(5, 3)}, {"i": ints()},
         reference=on_x(lambda x: x[:0])),
    Case("Gather by a fed index", node("Gather", "x i"), {"x": normal(5, 3), "i": ints(4, 0, 4)}),
    *(Case(f"GatherElements {name} along {axis}", node("GatherElements", "x i", axis=axis),
           {"x": normal(*shape)}, {"i": indices}, reference=on_x(
               lambda x, i=indices, axis=axis: gathered_elements(x, i, axis)))
      for name, shape, axis, indices in (
          ("whole", (3, 3), 1, np.array([[0, 0, 2], [-1, 1, 1], [2, 2, 2]], np.int64)),
          ("part", (3, 4), 0, np.array([[0, 2], [-1, 2]], np.int32)),
          ("middle", (2, 3, 4), -2, np.arange(2 * 5 * 3).reshape(2, 5, 3) % 3),
          ("many", (60, 70), 0, np.arange(500 * 70).reshape(500, 70) % 60),
          ("none", (2, 3), 0, np.zeros((0, 3), np.int64)))),
    *(moved(f"{named(shape)} to {named(to)}", "Expand", shape, inputs="x s", more={"s": ints(*to)})
      for shape, to in (((3, 1), (3, 4)), ((1,), (2, 3)), ((), (2, 2)), ((2, 1, 4), (3, 1)),
                        ((1, 3), (0, 3)), ((1, 70), (300, 70)), ((2, 3), (1,)))),
    *(moved(f"{named(shape)} by {named(repeats)}", "Tile", shape, inputs="x r",
            more={"r": ints(*repeats)})
      for shape, repeats in (((2, 3), (2, 1)), ((2, 3), (1, 3)), ((2, 3), (2, 2)),
                             ((2, 1, 3), (3, 2, 2)), ((3,), (0,)), ((), ()), ((0, 2), (2, 2)),
                             ((40, 30), (5, 4)))),
    *(moved(f"{mode} blocks {named(shape)}", "DepthToSpace", shape, blocksize=2, mode=mode)
      for mode in ("DCR", "CRD") for shape in ((2, 8, 2, 3), (1, 4, 1, 1), (0, 4, 2, 2))),
    moved("blocks", "SpaceToDepth", (2, 3, 4, 6), blocksize=2),
    moved("blocks of 3", "SpaceToDepth", (1, 2, 3, 6), blocksize=3),
    *(moved(f"upper={upper} from {k}", "Trilu", (2, 3, 4), inputs="x k",
            more={"k": np.array(k, np.int64)}, upper=upper)
      for upper in (0, 1) for k in (0, 1, -2, 9)),
    moved("of itself", "Trilu", (3, 3)), moved("of nothing", "Trilu", (0, 3)),
    *(Case(f"CumSum along {axis} exclusive={exclusive} reverse={reverse}",
           node("CumSum", "x a", exclusive=exclusive, reverse=reverse), X,
           {"a": np.array(axis, np.int32)}, reference=on_x(
               lambda x, axis=axis, exclusive=exclusive, reverse=reverse:
               running_sum(x, axis, exclusive, reverse)))
      for axis in (0, -1, 1) for exclusive in (0, 1) for reverse in (0, 1)),
    *(Case(f"TopK {k} along {axis} largest={largest} {named(shape)}",
           node("TopK", "x k", "y i", axis=axis, largest=largest), {"x": distinct(*shape)},
           {"k": ints(k)}, outputs=["y"])
      for shape, axis, largest, k in (
          ((3, 5), -1, 1, 2), ((3, 5), 0, 0, 3), ((2, 4, 3), 1, 1, 2), ((4,), 0, 1, 4),
          ((3, 5), 1, 1, 0), ((0, 5), 1, 1, 2), ((40, 60), -1, 0, 7))),
    Case("TopK by attribute", node("TopK", "x", "y i", k=2), {"x": distinct(3, 5)}, opset=9,
         outputs=["y"], reference=on_x(lambda x: -np.sort(-x, axis=-1)[:, :2])),
    Case("TopK without indices", node("TopK", "x k", "y"), {"x": distinct(3, 5)}, {"k": ints(2)},
         reference=on_x(lambda x: -np.sort(-x, axis=-1)[:, :2])),
    *(Case(f"OneHot along {axis}", node("OneHot", "i d v", axis=axis),
           {"i": np.array([[0, 2, -1], [9, -4, 1]], np.int64), "v": normal(2)},
           {"d": ints(3)}, requested=["v"], reference=lambda feeds, axis=axis: [
               one_hot(feeds["i"], 3, axis, feeds["v"])]) for axis in (-1, 0, 1)),
    Case("Cast to float", node("Cast", "x", to=TensorProto.FLOAT), X),
    Case("Cast through integers", [node("Cast", "x", "i", to=TensorProto.INT64),
                                   node("Cast", "i", "f", to=TensorProto.FLOAT),
                                   node("Mul", "f x")], {"x": away(3, 4, kinks=range(-3, 4))}),
    Case("CastLike", node("CastLike", "x l"), {**X, "l": normal(2)}, requested=["x"],
         reference=on_x(lambda x: x)),
    *(Case(f"view {each.op_type}", each, X, more) for each, more in (
        (node("Identity", "x"), {}), (node("Reshape", "x s"), {"s": ints(4, -1)}),
        (node("Flatten", "x", axis=2), {}), (node("Unsqueeze", "x a"), {"a": ints(0, -1)}),
        (node("Dropout", "x"), {}))),
    Case("view Squeeze", node("Squeeze", "x a"), {"x": normal(2, 1, 3)}, {"a": ints(-2)}),
]


def gathered_elements(x, indices, axis):
    """The indices may be smaller than the data on the other axes."""
    axis %= x.ndim
    x = x[tuple(slice(None if k == axis else extent) for k, extent in enumerate(indices.shape))]
    return np.take_along_axis(x, indices, axis)


def running_sum(x, axis, exclusive, reverse):
    x = np.flip(x, axis) if reverse else x
    y = np.cumsum(x, axis) - (x if exclusive else 0)
    return np.flip(y, axis) if reverse else y


def one_hot(indices, depth, axis, values):
    places = np.arange(-depth, depth)
    hot = np.where((indices[..., None] == places[:depth]) | (indices[..., None] == places[depth:]),
                   values[1], values[0])
    return np.moveaxis(hot, -1, axis)


# ---- Pad


def padded(x, mode, pads):
    """By numpy, of pads that cut as well."""
    half = len(pads) // 2
    for axis, (begin, end) in enumerate(zip(pads[:half], pads[half:])):
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(max(-begin, 0), x.shape[axis] - max(-end, 0))
        x = x[tuple(cut)]
    return np.pad(x, [(max(b, 0), max(e, 0)) for b, e in zip(pads[:half], pads[half:])],
                  mode=mode)


PADS = [
    ((2, 3), (0, 1, 0, 2)), ((2, 3), (1, 0, 1, 0)), ((2, 3, 4, 5), (0, 0, 1, 2, 0, 0, 1, 1)),
    ((3, 4), (1, 1, 1, 1)), ((3, 2, 4), (0, 1, 2, 0, 0, 3)), ((4,), (2, 3)),
]

PAD = [
    *(Case(f"Pad {mode} {named(shape)} by {named(pads)}", node("Pad", "x p", mode=mode),
           {"x": normal(*shape)}, {"p": ints(*pads)}, reference=on_x(
               lambda x, mode=mode, pads=pads: padded(x, mode, pads)))
      for mode in ("constant", "reflect", "edge", "wrap") for shape, pads in PADS),
    *(Case(f"Pad constant {named(shape)} by {named(pads)} with a value", node("Pad", "x p c"),
           {"x": normal(*shape), "c": normal()}, {"p": ints(*pads)})
      for shape, pads in (*PADS, ((30, 40, 50), (0, 1, 1, 0, 2, 2)), ((0, 2), (1, 0, 2, 0)),
                          ((2, 0), (1, 1, 1, 1)))),
    Case("Pad scalar", node("Pad", "x p"), {"x": normal()}, {"p": ints()},
         reference=on_x(lambda x: x)),
    Case("Pad that cuts", node("Pad", "x p c"), {"x": normal(4, 5), "c": normal()},
         {"p": ints(-1, 2, 1, -2)}, reference=lambda feeds: [np.pad(
             feeds["x"][1:, :-2], [(0, 1), (2, 0)], constant_values=feeds["c"])]),
    Case("Pad of chosen axes", node("Pad", "x p _ a", mode="reflect"), {"x": normal(3, 4, 5)},
         {"p": ints(1, 2, 2, 0), "a": ints(-1, 0)}, reference=on_x(
             lambda x: np.pad(x, [(2, 0), (0, 0), (1, 2)], mode="reflect"))),
    *(Case(f"Pad {mode} by attribute", node("Pad", "x", mode=mode, pads=[0, 1, 0, 2]),
           {"x": normal(2, 4)}, opset=10, reference=on_x(
               lambda x, mode=mode: np.pad(x, [(0, 0), (1, 2)], mode=mode)))
      for mode in ("constant", "reflect", "edge")),
]

CASES = UNARY + CLIP + ARITHMETIC + VARIADIC + REDUCE + MOVES + PAD

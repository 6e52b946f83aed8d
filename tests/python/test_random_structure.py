# SPDX-License-Identifier: Apache-2.0
"""Operators that move, window or contract: random cases against ONNX Runtime.

As test_ops_random.py, whose drawing and checking this uses.
"""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from test_ops_random import (  # noqa: E402
    F,
    I64,
    Case,
    axis_of,
    check,
    floats,
    list_of,
    pick,
    shape,
    wholes,
    window,
)

GENERATORS = {}


def generator(function):
    GENERATORS[function.__name__] = function
    return function


# ---- windows


@generator
def transposed_convolution(rng):
    axes = int(rng.integers(1, 4))
    groups = int(pick(rng, 1, 1, 2, 3))
    inputs, outputs = groups * int(rng.integers(1, 4)), int(rng.integers(1, 4))
    attributes = window(rng, axes, ceil_mode=False)
    attributes["dilations"] = list_of(rng, axes, 1, 3)
    if rng.random() < 0.5:
        strides = attributes["strides"]
        attributes["output_padding"] = [int(rng.integers(0, s)) for s in strides]
    x = wholes(rng, [2, inputs, *list_of(rng, axes, 2, 7)])
    w = wholes(rng, [inputs, outputs, *attributes["kernel_shape"]])
    if rng.random() < 0.3:
        reach = zip(x.shape[2:], attributes["strides"], attributes["kernel_shape"], strict=True)
        attributes["output_shape"] = [(n - 1) * s + k + int(rng.integers(-1, 2))
                                      for n, s, k in reach]
        attributes.pop("pads", None)
    bias = [wholes(rng, [outputs * groups])] if rng.random() < 0.5 else []
    return Case("ConvTranspose", [x, w, *bias], group=groups, **attributes)


@generator
def pooling_with_indices(rng):
    axes = int(rng.integers(1, 4))
    x = floats(rng, [2, 3, *list_of(rng, axes, 5, 9)])
    attributes = window(rng, axes, ceil_mode=True)
    if attributes["auto_pad"] in ("NOTSET", "VALID"):
        attributes["dilations"] = list_of(rng, axes, 1, 3)
    if rng.random() < 0.5:
        x = rng.integers(0, 4, x.shape).astype(pick(rng, F, np.int8, np.uint8))
    return Case("MaxPool", [x], outputs=2, storage_order=int(rng.integers(0, 2)), **attributes)


@generator
def unpooling(rng):
    axes = int(rng.integers(1, 4))
    kernel, strides = list_of(rng, axes, 2, 4), list_of(rng, axes, 2, 4)
    sizes = [2, 2, *list_of(rng, axes, 2, 5)]
    pads = list_of(rng, 2 * axes, 0, 2)
    whole = [(n - 1) * s + k - a - b for n, s, k, a, b in
             zip(sizes[2:], strides, kernel, pads[:axes], pads[axes:], strict=True)]
    count = 4 * int(np.prod(whole))
    # Each place at most once: which of two stays is nowhere said.
    indices = rng.permutation(count)[: int(np.prod(sizes))].reshape(sizes)
    return Case("MaxUnpool", [floats(rng, sizes), indices.astype(I64)], kernel_shape=kernel,
                strides=strides, pads=pads)


@generator
def norm_pooling(rng):
    axes = int(rng.integers(1, 4))
    x = floats(rng, [2, 3, *list_of(rng, axes, 5, 9)])
    p = int(rng.integers(1, 4))
    if rng.random() < 0.2:
        return Case("GlobalLpPool", [x], p=p)
    attributes = window(rng, axes, ceil_mode=False)
    if attributes["auto_pad"] in ("NOTSET", "VALID"):
        attributes["dilations"] = list_of(rng, axes, 1, 3)
    else:
        # Where windows don't meet, SAME shifts them in ONNX Runtime's LpPool alone.
        attributes["strides"] = [int(rng.integers(1, k + 1)) for k in attributes["kernel_shape"]]
    return Case("LpPool", [x], opset=18, p=p, **attributes)


# ---- contractions


@generator
def einsum(rng):
    sizes = {letter: int(size) for letter, size in zip("abcdeX", rng.integers(1, 5, 6))}
    leading = list_of(rng, int(rng.integers(0, 3)), 1, 4)
    dots = rng.random() < 0.4
    terms, arrays = [], []
    for _ in range(rng.integers(1, 4)):
        term = list(rng.choice(list(sizes), rng.integers(1, 4), replace=bool(rng.random() < 0.3)))
        dims = [sizes[letter] for letter in term]
        if dots and rng.random() < 0.8:
            at = int(rng.integers(0, len(term) + 1))
            term.insert(at, "...")
            dims[at:at] = [1 if rng.random() < 0.2 else n
                           for n in leading[rng.integers(0, len(leading) + 1):]]
        terms.append("".join(term))
        arrays.append(wholes(rng, dims))
    equation = pick(rng, ",", " , ").join(terms)
    if rng.random() < 0.8:
        letters = sorted(set("".join(terms)) - {"."})
        out = list(rng.permutation(letters)[: rng.integers(0, len(letters) + 1)])
        if "..." in equation:
            out.insert(int(rng.integers(0, len(out) + 1)), "...")
        equation += "->" + "".join(out)
    return Case("Einsum", arrays, equation=equation)


@generator
def large_einsum(rng):
    b, i, j, k = (int(size) for size in rng.integers(2, 40, 4))
    x, y = wholes(rng, [b, i, k]), wholes(rng, [b, j, k])
    turned = np.ascontiguousarray(y.transpose(2, 0, 1))
    return pick(rng, Case("Einsum", [x, y], equation="bik,bjk->bij"),
                Case("Einsum", [x, turned], equation="bik,kbj->jbi"),
                Case("Einsum", [x, y], equation="bik,bjk->k"),
                Case("Einsum", [x, y], equation="bik,bjk->bijk"),
                Case("Einsum", [x, y, turned], equation="bik,bjk,kbj->ib"))


# ---- indices


def tuples(rng, sizes, lead, depth):
    """Indices into the first `depth` axes of `sizes`, some from the end."""
    parts = [rng.integers(-n, n, lead) for n in sizes[:depth]]
    return np.stack(parts, -1).astype(I64)


@generator
def gather_nd(rng):
    sizes = shape(rng, least=1, zero=0)
    batch = int(rng.integers(0, len(sizes)))
    depth = int(rng.integers(1, len(sizes) - batch + 1))
    lead = [*sizes[:batch], *shape(rng, most=2)]
    indices = tuples(rng, sizes[batch:], lead, depth)
    if len(sizes) - depth - batch + len(lead) > 6:
        lead, indices = lead[:1], indices[:1]
    return Case("GatherND", [floats(rng, sizes), indices], opset=13, batch_dims=batch)


@generator
def scatter_nd(rng):
    sizes = shape(rng, least=1, zero=0)
    depth = int(rng.integers(1, len(sizes) + 1))
    reduction = pick(rng, "none", "add", "mul", "max", "min")
    lead = shape(rng, least=1, most=2, zero=0, largest=4)
    indices = tuples(rng, sizes, lead, depth)
    if reduction == "none":  # which of two goes over the other is nowhere said
        places = np.prod(sizes[:depth])
        lead = [int(min(places, lead[0]))]
        chosen = np.unravel_index(rng.permutation(places)[: lead[0]], sizes[:depth])
        indices = np.stack(chosen, -1).astype(I64)
    updates = wholes(rng, [*lead, *sizes[depth:]])
    return Case("ScatterND", [wholes(rng, sizes), indices, updates], opset=18,
                reduction=reduction)


@generator
def scatter_elements(rng):
    sizes = shape(rng, least=1, zero=0)
    axis = axis_of(rng, len(sizes))
    reduction = pick(rng, "none", "add", "mul", "max", "min")
    part = [int(rng.integers(1, n + 1)) for n in sizes]
    indices = rng.integers(-sizes[axis], sizes[axis], part)
    if reduction == "none":
        part[axis] = 1
        indices = indices.take([0], axis)
    indices = indices.astype(pick(rng, np.int32, I64))
    dtype = pick(rng, F, np.int32, I64)
    inputs = [wholes(rng, sizes).astype(dtype), indices, wholes(rng, part).astype(dtype)]
    if reduction == "none" and rng.random() < 0.3:
        return Case("Scatter", inputs, opset=9, axis=axis % len(sizes))
    return Case("ScatterElements", inputs, opset=18, axis=axis, reduction=reduction)


# ---- element by element


@generator
def trigonometry(rng):
    op = pick(rng, "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh",
              "Atanh")
    x = rng.uniform(-0.95, 0.95, shape(rng)).astype(F)
    return Case(op, [x + F(2.5) if op == "Acosh" else x])


@generator
def not_numbers(rng):
    x = rng.choice(np.array([1, -2, np.nan, np.inf, -np.inf], F), shape(rng))
    if rng.random() < 0.4:
        return Case("IsNaN", [x])
    return Case("IsInf", [x], detect_negative=int(rng.integers(0, 2)),
                detect_positive=int(rng.integers(0, 2)))


@generator
def bits(rng):
    sizes = shape(rng)
    if rng.random() < 0.4:
        dtype = pick(rng, np.uint8, np.uint32, np.uint64)
        most = np.iinfo(dtype).bits
        return Case("BitShift", [rng.integers(0, 256, sizes).astype(dtype),
                                 rng.integers(0, most, sizes).astype(dtype)],
                    direction=pick(rng, "LEFT", "RIGHT"))
    dtype = pick(rng, np.int8, np.uint16, np.int32, I64, np.uint8)
    arrays = [rng.integers(-(2**62), 2**62, sizes).astype(dtype) for _ in range(2)]
    if rng.random() < 0.25:
        return Case("BitwiseNot", arrays[:1], opset=18)
    return Case(pick(rng, "BitwiseAnd", "BitwiseOr", "BitwiseXor"), arrays, opset=18)


@generator
def shrinking(rng):
    return Case("Shrink", [floats(rng, shape(rng))], lambd=0.7, bias=pick(rng, 0.0, 0.25))


# ---- lines


@generator
def root_mean_square(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = axis_of(rng, x.ndim)
    return Case("RMSNormalization", [x, floats(rng, x.shape[axis:])], opset=23, axis=axis,
                epsilon=1e-3)


@generator
def hard_maximum(rng):
    x = rng.integers(0, 4, shape(rng, least=1, zero=0)).astype(F)
    return Case("Hardmax", [x], opset=pick(rng, 11, 13), axis=axis_of(rng, x.ndim))


@generator
def reversing(rng):
    x = floats(rng, shape(rng, least=2, zero=0))
    batch = int(rng.integers(0, 2))
    lengths = rng.integers(1, x.shape[1 - batch] + 1, x.shape[batch])
    return Case("ReverseSequence", [x, lengths.astype(I64)], batch_axis=batch,
                time_axis=1 - batch)


@generator
def compressing(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = axis_of(rng, x.ndim)
    attributes = {"axis": axis} if rng.random() < 0.7 else {}
    size = x.shape[axis] if attributes else x.size
    chosen = rng.random(int(rng.integers(1, size + 1))) < 0.6
    return Case("Compress", [x, chosen], **attributes)


@generator
def losses(rng):
    n, classes = int(rng.integers(1, 5)), int(rng.integers(2, 6))
    rest = list_of(rng, int(rng.integers(0, 3)), 1, 5)
    target = rng.integers(0, classes, [n, *rest]).astype(pick(rng, np.int32, I64))
    inputs = [floats(rng, [n, classes, *rest]), target]
    if rng.random() < 0.5:
        inputs.append(rng.uniform(0.2, 2, classes).astype(F))
    attributes = {"reduction": pick(rng, "none", "sum", "mean")}
    if rng.random() < 0.5:
        attributes["ignore_index"] = int(rng.integers(-1, classes))
        if target.size < 3 or (target == attributes["ignore_index"]).all():
            del attributes["ignore_index"]
    if rng.random() < 0.5:
        return Case("NegativeLogLikelihoodLoss", inputs, opset=13, **attributes)
    return Case("SoftmaxCrossEntropyLoss", inputs, opset=13, outputs=int(rng.integers(1, 3)),
                **attributes)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_random_nodes_should_give_what_onnx_runtime_gives(tmp_path, name):
    check(tmp_path, name, GENERATORS[name], sorted(GENERATORS).index(name))

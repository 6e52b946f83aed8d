# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions, contractions, indices, and what moves or bends elements.

The references that ONNX's evaluator computes wrong, or in float32, are written here.
"""

import numpy as np

from gradients import Case, away, node, normal, positive

# ---- transposed convolutions


def scattered(x, w, b=None, strides=None, pads=None, dilations=None, output_padding=None, group=1):
    """ConvTranspose over any number of axes, one tap after the other."""
    axes = x.ndim - 2
    strides, dilations = strides or [1] * axes, dilations or [1] * axes
    pads, extra = pads or [0] * 2 * axes, output_padding or [0] * axes
    outputs = w.shape[1] * group
    whole = [(n - 1) * s + (k - 1) * d + 1 + e for n, s, k, d, e in
             zip(x.shape[2:], strides, w.shape[2:], dilations, extra)]
    y = np.zeros((x.shape[0], outputs, *whole), x.dtype)
    x_groups, w_groups = np.split(x, group, 1), np.split(w, group, 0)
    for tap in np.ndindex(*w.shape[2:]):
        place = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in
                      zip(tap, dilations, x.shape[2:], strides))
        parts = [np.einsum("nc...,cm->nm...", xg, wg[(..., *tap)])
                 for xg, wg in zip(x_groups, w_groups)]
        y[(slice(None), slice(None), *place)] += np.concatenate(parts, 1)
    cut = tuple(slice(a, n - b) for a, b, n in zip(pads[:axes], pads[axes:], whole))
    y = y[(slice(None), slice(None), *cut)]
    return y if b is None else y + b.reshape(1, -1, *[1] * axes)


def transposed(name, x, w, bias=True, **attributes):
    inputs = {"x": normal(*x), "w": normal(*w, seed=1)}
    if bias:
        inputs["b"] = normal(w[1] * attributes.get("group", 1), seed=2)
    return Case(f"ConvTranspose {name}", node("ConvTranspose", " ".join(inputs), **attributes),
                inputs, reference=lambda feeds: [scattered(*feeds.values(), **attributes)])


CONVOLUTIONS = [
    transposed("1-D", (2, 3, 5), (3, 2, 4), strides=[3], pads=[1, 2]),
    transposed("2-D", (2, 3, 4, 5), (3, 2, 3, 2), strides=[2, 1], pads=[1, 0, 1, 1],
               output_padding=[1, 0]),
    transposed("of groups", (1, 4, 3, 3), (4, 3, 2, 2), bias=False, group=2, dilations=[2, 1]),
    transposed("3-D", (1, 2, 3, 3, 2), (2, 3, 2, 2, 3), strides=[1, 2, 2]),
    transposed("of many blocks", (2, 6, 12, 12), (6, 30, 4, 4), strides=[2, 2],
               pads=[1, 1, 1, 1]),
]

# ---- contractions


def einsum(equation, *shapes):
    names = "abcd"[: len(shapes)]
    inputs = {n: normal(*s, seed=i) for i, (n, s) in enumerate(zip(names, shapes))}
    plain = equation.replace(" ", "")
    return Case(f"Einsum {plain}", node("Einsum", " ".join(names), equation=equation), inputs,
                reference=lambda feeds: [np.asarray(np.einsum(plain, *feeds.values()))])


CONTRACTIONS = [
    einsum("ij,jk->ik", (3, 4), (4, 5)), einsum("bij,bkj->bik", (2, 3, 4), (2, 5, 4)),
    einsum("bik,kbj->jbi", (2, 3, 4), (4, 2, 5)), einsum("i,i->", (6,), (6,)),
    einsum("i,j->ij", (3,), (4,)), einsum("ij->", (3, 4)), einsum("ij->ji", (3, 4)),
    einsum("ii->i", (4, 4)), einsum("ii", (4, 4)), einsum("iij,jk->ik", (3, 3, 2), (2, 4)),
    einsum("...ij,...jk->...ik", (2, 3, 4), (5, 2, 4, 2)), einsum("...ij->...", (2, 3, 4)),
    einsum("...i,...i->...", (1, 3, 4), (2, 1, 4)), einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    einsum("abc,cd,a -> db", (2, 3, 4), (4, 5), (2,)), einsum("ij,kl->ik", (2, 3), (4, 5)),
    einsum("bhid,bhjd->bhij", (2, 2, 9, 5), (2, 2, 7, 5)),
]

# ---- indices


def ints(*values):
    return np.array(values, np.int64)


def scatter_nd(reduction):
    return Case(f"ScatterND {reduction}", node("ScatterND", "x i u", reduction=reduction),
                {"x": normal(4, 3), "u": normal(2, 3, seed=1)}, {"i": ints([3], [1])})


def scatter_elements(reduction, indices, axis):
    return Case(f"ScatterElements {reduction} {axis}",
                node("ScatterElements", "x i u", axis=axis, reduction=reduction),
                {"x": normal(3, 4), "u": normal(*indices.shape, seed=1)}, {"i": indices})


INDICES = [
    Case("GatherND", node("GatherND", "x i"), {"x": normal(3, 4, 2)},
         {"i": ints([0, 1], [2, -1], [0, 1])}),
    Case("GatherND of batches", node("GatherND", "x i", batch_dims=1), {"x": normal(2, 3, 4)},
         {"i": ints([[1], [1]], [[0], [2]])}),
    scatter_nd("none"), scatter_nd("add"),
    Case("ScatterND onto one place", node("ScatterND", "x i u", reduction="add"),
         {"x": normal(4), "u": normal(3, seed=1)}, {"i": ints([3], [1], [3])}),
    scatter_elements("none", ints([0, 2, 1, 0], [1, 0, 2, 2]), 0),
    scatter_elements("add", ints([3, 3], [-1, 0], [1, 1]), 1),
    Case("Compress", node("Compress", "x c", axis=1), {"x": normal(3, 4)},
         {"c": np.array([True, False, True])}),
    Case("Compress of all", node("Compress", "x c"), {"x": normal(3, 4)},
         {"c": np.array([False, True, False, False, True])}),
    Case("ReverseSequence", node("ReverseSequence", "x n", batch_axis=1, time_axis=0),
         {"x": normal(4, 3, 2)}, {"n": ints(1, 4, 3)}),
    Case("ReverseSequence of batches", node("ReverseSequence", "x n", batch_axis=0, time_axis=1),
         {"x": normal(3, 4)}, {"n": ints(1, 4, 3)}),
    Case("MaxUnpool", node("MaxUnpool", "x i", kernel_shape=[2, 2], strides=[2, 2]),
         {"x": normal(1, 2, 2, 2)},
         {"i": ints(5, 7, 13, 15, 16, 19, 25, 30).reshape(1, 2, 2, 2)},
         reference=lambda feeds: [unpooled(feeds["x"], feeds["i"])]),
]


def unpooled(x, indices):
    y = np.zeros(32, x.dtype)
    y[indices.ravel()] = x.ravel()
    return y.reshape(1, 2, 4, 4)


# ---- element by element, and over lines


def norm(p):
    return Case(f"GlobalLpPool {p}", node("GlobalLpPool", "x", p=p), {"x": away(2, 3, 4, 5)},
                reference=lambda feeds: [
                    (np.abs(feeds["x"]) ** p).sum((2, 3), keepdims=True) ** (1 / p)])


def mean_square(x, scale, axis):
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x / np.sqrt((x * x).mean(axes, keepdims=True) + 1e-5) * scale


def rms(name, shape, scale, axis):
    return Case(f"RMSNormalization {name}", node("RMSNormalization", "x s", axis=axis),
                {"x": normal(*shape), "s": normal(*scale, seed=1)}, opset=23,
                reference=lambda feeds: [mean_square(feeds["x"], feeds["s"], axis)])


def inside(name, *shape):
    return Case(name, node(name, "x"), {"x": positive(*shape, low=-0.9, high=0.9)})


ELEMENTS = [
    *(inside(name, 3, 4) for name in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
                                      "Asinh", "Atanh")),
    Case("Acosh", node("Acosh", "x"), {"x": positive(3, 4, low=1.2, high=3)}),
    Case("Shrink", node("Shrink", "x", lambd=0.5, bias=0.2),
         {"x": away(5, 6, kinks=(-0.5, 0.5))}),
    rms("last", (3, 5), (5,), -1), rms("of two axes", (2, 3, 4), (3, 4), 1),
    rms("of one scale", (2, 3, 4), (4,), 1),
    *(norm(p) for p in (1, 2, 3)),
]

CASES = [*CONVOLUTIONS, *CONTRACTIONS, *INDICES, *ELEMENTS]

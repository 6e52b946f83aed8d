# SPDX-License-Identifier: Apache-2.0
"""Convolutions, products, normalizations, poolings, Resize, Softmax, and the pairs of
QuantizeLinear and DequantizeLinear.

References are torch in double where ONNX's evaluator computes in float32 or is not
to be had; for the estimator of the pairs, whose gradients are no differences, see
test_straight_through.py.
"""

import numpy as np
import onnxruntime
import torch
from torch.nn import functional

from gradients import Case, away, distinct, model_of, node, normal, positive


def torch_of(function):
    """A function of tensors as a reference: its inputs by name, in double."""
    def reference(feeds):
        tensors = {name: torch.tensor(np.asarray(array)) for name, array in feeds.items()}
        result = function(**tensors)
        return [part.numpy() for part in (result if isinstance(result, tuple) else (result,))]

    return reference


# ---- Conv


def pads_of(auto_pad, pads, size, kernel, stride, dilation):
    """(begin, end) by axis."""
    axes = len(kernel)
    if auto_pad in ("NOTSET", "VALID"):
        pads = pads if auto_pad == "NOTSET" else [0] * (2 * axes)
        return list(zip(pads[:axes], pads[axes:]))
    found = []
    for i in range(axes):
        out = -(-size[i] // stride[i])
        total = max(0, (out - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - size[i])
        less = total // 2
        found.append((less, total - less) if auto_pad == "SAME_UPPER" else (total - less, less))
    return found


def conv(name, x, w, bias=True, group=1, strides=None, dilations=None, pads=None,
         auto_pad="NOTSET"):
    axes = len(x) - 2
    strides, dilations = strides or [1] * axes, dilations or [1] * axes
    pairs = pads_of(auto_pad, pads or [0] * (2 * axes), x[2:], w[2:], strides, dilations)
    flat = [pad for pair in reversed(pairs) for pad in pair]
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]

    def reference(x, w, b=None):
        return run(functional.pad(x, flat), w, b, strides, 0, dilations, group)

    inputs = {"x": normal(*x), "w": normal(*w, seed=1, spread=0.5)}
    if bias:
        inputs["b"] = normal(w[0], seed=2)
    attributes = {"pads": pads or [0] * (2 * axes)}
    if auto_pad != "NOTSET":
        attributes = {"auto_pad": auto_pad}
    return Case(f"Conv {name}", node("Conv", "x w b" if bias else "x w", strides=strides,
                                     dilations=dilations, group=group, **attributes), inputs,
                reference=torch_of(reference))


CONVS = [
    conv("1x1", (2, 3, 4, 5), (4, 3, 1, 1)),
    conv("over three axes", (2, 3, 4, 5, 4), (4, 3, 2, 3, 2), strides=[2, 1, 1],
         pads=[1, 1, 0, 0, 1, 1]),
    conv("over three axes, of groups", (1, 4, 5, 4, 6), (6, 2, 2, 2, 3), bias=False, group=2,
         dilations=[2, 1, 2]),
    conv("1x1 wide", (2, 40, 3, 4), (30, 40, 1, 1)),
    conv("1x1 strided", (2, 3, 5, 6), (4, 3, 1, 1), strides=[2, 2]),
    conv("1x1 padded", (1, 3, 4, 4), (2, 3, 1, 1), pads=[1, 0, 1, 2]),
    conv("3x3", (2, 3, 6, 5), (4, 3, 3, 3), pads=[1, 1, 1, 1]),
    conv("3x3 without bias", (2, 3, 6, 5), (4, 3, 3, 3), bias=False),
    conv("3x3 strided", (3, 4, 7, 8), (5, 4, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    conv("3x3 strided by 3 and 2, odd padding", (2, 3, 9, 8), (4, 3, 3, 2), pads=[0, 1, 2, 3],
         strides=[3, 2]),
    conv("dilated", (2, 3, 9, 9), (4, 3, 3, 3), dilations=[2, 3], pads=[2, 1, 0, 3]),
    conv("dilated and strided", (2, 2, 11, 9), (3, 2, 3, 3), dilations=[2, 2], strides=[2, 3],
         pads=[1, 2, 1, 0]),
    conv("padded by more than its kernel", (1, 2, 4, 4), (3, 2, 2, 2), pads=[3, 2, 2, 4]),
    conv("grouped", (2, 6, 5, 5), (4, 3, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv("grouped and strided", (2, 6, 5, 5), (9, 2, 3, 3), group=3, pads=[1, 1, 1, 1],
         strides=[2, 2]),
    conv("depthwise", (2, 5, 6, 7), (5, 1, 3, 3), group=5, pads=[1, 1, 1, 1]),
    conv("depthwise 5x5", (2, 3, 9, 8), (3, 1, 5, 5), group=3, pads=[2, 2, 2, 2]),
    conv("depthwise strided", (2, 4, 9, 8), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1],
         strides=[2, 2]),
    conv("depthwise 7 wide, strided and dilated", (1, 3, 5, 30), (3, 1, 2, 7), group=3,
         pads=[0, 3, 1, 2], strides=[1, 3], dilations=[2, 2]),
    conv("depthwise with a multiplier", (2, 3, 5, 5), (6, 1, 3, 3), group=3, pads=[1, 1, 0, 0]),
    conv("depthwise with a multiplier, strided", (2, 3, 5, 5), (9, 1, 3, 3), group=3,
         strides=[2, 1]),
    conv("depthwise padded by more than its kernel", (1, 2, 4, 4), (2, 1, 2, 2), group=2,
         pads=[3, 2, 2, 4]),
    conv("same upper", (2, 3, 7, 6), (4, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("same lower", (2, 3, 7, 6), (4, 3, 4, 4), auto_pad="SAME_LOWER"),
    conv("valid", (2, 3, 7, 6), (4, 3, 4, 4), auto_pad="VALID", strides=[1, 2]),
    conv("over one axis", (2, 3, 12), (4, 3, 5), pads=[2, 2]),
    conv("over one axis, strided", (2, 4, 13), (6, 2, 4), group=2, pads=[1, 2], strides=[3]),
    conv("over one axis, depthwise", (2, 3, 40), (3, 1, 9), group=3, pads=[8, 0]),
    conv("over a long axis", (1, 2, 2500), (3, 2, 5), pads=[2, 2], strides=[2]),
    conv("over a long axis, depthwise", (1, 2, 2500), (2, 1, 5), group=2, pads=[2, 2]),
    conv("with blocks of channels", (2, 80, 5, 5), (6, 80, 3, 3), pads=[1, 1, 1, 1]),
    conv("with blocks of channels, strided", (2, 80, 6, 6), (6, 80, 3, 3), pads=[1, 1, 1, 1],
         strides=[2, 2]),
    conv("with many tiles", (2, 4, 60, 50), (3, 4, 3, 3), pads=[1, 1, 1, 1], strides=[2, 1]),
    conv("of a large depthwise plane", (1, 2, 120, 110), (2, 1, 3, 3), group=2,
         pads=[1, 1, 1, 1]),
    conv("of no image", (0, 3, 6, 5), (4, 3, 3, 3), pads=[1, 1, 1, 1]),
    conv("of no image, depthwise", (0, 3, 6, 5), (3, 1, 3, 3), group=3),
]

# ---- products


def gemm(name, c, alpha=1.0, beta=1.0, trans_a=0, trans_b=0, n=4, k=3, m=5):
    inputs = {"a": normal(*((k, n) if trans_a else (n, k))),
              "b": normal(*((m, k) if trans_b else (k, m)), seed=1)}
    if c is not None:
        inputs["c"] = normal(*c, seed=2)

    def reference(a, b, c=0.0):
        return alpha * (a.T if trans_a else a) @ (b.T if trans_b else b) + beta * c

    return Case(f"Gemm {name}", node("Gemm", "a b c" if c is not None else "a b", alpha=alpha,
                                     beta=beta, transA=trans_a, transB=trans_b), inputs,
                reference=torch_of(reference))


GEMMS = [
    gemm("plain", None),
    *(gemm(f"transposed {a} {b}", (5,), trans_a=a, trans_b=b) for a in (0, 1) for b in (0, 1)),
    gemm("with factors", (4, 5), alpha=0.7, beta=-1.5, trans_b=1),
    gemm("with factors, turned", (4, 1), alpha=0.7, beta=0.5, trans_a=1, trans_b=1),
    gemm("with beta 0", (1, 5), beta=0.0),
    gemm("with alpha 0", (1, 5), alpha=0.0),
    gemm("of a scalar", ()),
    gemm("in blocks", (300,), n=140, k=20, m=300),
    gemm("in blocks, turned", (140, 1), n=140, k=300, m=20, trans_a=1, trans_b=1),
    gemm("of no rows", (5,), n=0),
    gemm("of nothing to sum", (5,), k=0),
]

MATMULS = [
    ((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)),
    ((2, 1, 2, 3), (3, 3, 4)), ((2, 3, 1, 3), (1, 3, 3, 2)), ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)), ((2, 5, 2, 3), (3,)), ((0, 2, 3), (0, 3, 4)), ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 4)), ((4, 150, 20), (20, 270)), ((1, 1, 2, 3), (5, 3, 4)),
]

# ---- normalizations


def batch_norm(name, x, opset=15, **attributes):
    channels = (x[1] if len(x) > 1 else 1,)
    epsilon = attributes.get("epsilon", 1e-5)

    def reference(x, s, b, m, v):
        shape = [-1] + [1] * (x.ndim - 2)
        s, b, m, v = (t.reshape(shape) for t in (s, b, m, v))
        return (x - m) / (v + epsilon).sqrt() * s + b

    return Case(f"BatchNormalization {name}", node("BatchNormalization", "x s b m v", **attributes),
                {"x": normal(*x), "s": normal(*channels, seed=1), "b": normal(*channels, seed=2),
                 "m": normal(*channels, seed=3), "v": positive(*channels, seed=4)},
                opset=opset, reference=torch_of(reference))


def batch_norm_in_training(name, x, outputs="y m2 v2", momentum=0.8, **options):
    channels = x[1]

    def reference(x, s, b, m, v):
        axes, shape = [0, *range(2, x.ndim)], [-1] + [1] * (x.ndim - 2)
        mean, variance = x.mean(axes), x.var(axes, unbiased=False)
        s, b, mu, var = (t.reshape(shape) for t in (s, b, mean, variance))
        return ((x - mu) / (var + 1e-5).sqrt() * s + b, m * momentum + mean * (1 - momentum),
                v * momentum + variance * (1 - momentum))[:len(outputs.split())]

    return Case(f"BatchNormalization in training {name}",
                node("BatchNormalization", "x s b m v", outputs, training_mode=1,
                     momentum=momentum),
                {"x": normal(*x, spread=2.0), "s": normal(channels, seed=1),
                 "b": normal(channels, seed=2), "m": normal(channels, seed=3),
                 "v": positive(channels, seed=4)}, opset=15, reference=torch_of(reference), **options)


def layer_norm(name, x, axis=-1, bias=True, outputs="y", epsilon=1e-5, **options):
    shape = x[axis:] if axis != 0 else x

    def reference(x, s, b=0.0):
        axes = list(range(axis % x.ndim, x.ndim))
        mean = x.mean(axes, keepdim=True)
        inverse = 1 / (((x - mean) ** 2).mean(axes, keepdim=True) + epsilon).sqrt()
        return ((x - mean) * inverse * s + b, mean, inverse)[:len(outputs.split())]

    inputs = {"x": normal(*x, spread=2.0, centre=0.5), "s": normal(*shape, seed=1)}
    if bias:
        inputs["b"] = normal(*shape, seed=2)
    return Case(f"LayerNormalization {name}",
                node("LayerNormalization", "x s b" if bias else "x s", outputs, axis=axis,
                     epsilon=epsilon), inputs, reference=torch_of(reference), **options)


def group_norm(name, x, groups, opset):
    scales = groups if opset < 21 else x[1]

    def reference(x, s, b):
        if opset < 21:
            s, b = (t.repeat_interleave(x.shape[1] // groups) for t in (s, b))
        return functional.group_norm(x, groups, s, b, 1e-5)

    return Case(f"GroupNormalization {name} opset {opset}",
                node("GroupNormalization", "x s b", num_groups=groups),
                {"x": normal(*x, centre=0.5), "s": normal(scales, seed=1),
                 "b": normal(scales, seed=2)}, opset=opset, reference=torch_of(reference))


def instance_norm(name, x):
    def reference(x, s, b):
        return functional.group_norm(x, x.shape[1], s, b, 1e-3)

    return Case(f"InstanceNormalization {name}",
                node("InstanceNormalization", "x s b", epsilon=1e-3),
                {"x": normal(*x, centre=0.5), "s": normal(x[1], seed=1), "b": normal(x[1], seed=2)},
                reference=torch_of(reference))


def lp_norm(name, x, p, axis):
    def reference(x):
        return x / (x.abs().sum(axis, keepdim=True) if p == 1 else
                    (x * x).sum(axis, keepdim=True).sqrt())

    return Case(f"LpNormalization {name} p {p}", node("LpNormalization", "x", p=p, axis=axis),
                {"x": away(*x)}, reference=torch_of(reference))


def lrn(name, x, size, alpha=0.3, beta=0.75, bias=1.5):
    def reference(x):
        before, total = (size - 1) // 2, torch.zeros_like(x)
        for c in range(x.shape[1]):
            near = x[:, max(0, c - before):c + size // 2 + 1]
            total[:, c] = (near * near).sum(1)
        return x / (bias + alpha / size * total) ** beta

    return Case(f"LRN {name}", node("LRN", "x", size=size, alpha=alpha, beta=beta, bias=bias),
                {"x": normal(*x)}, reference=torch_of(reference))


NORMALIZATIONS = [
    *(batch_norm(f"opset {opset}", (2, 3, 4, 5), opset) for opset in (7, 9, 15)),
    batch_norm("of rows", (6, 3), epsilon=0.1),
    batch_norm_in_training("of planes", (3, 4, 5, 3)),
    batch_norm_in_training("of rows", (8, 3), outputs="y"),
    batch_norm("of one axis", (6,)),
    batch_norm("of no image", (0, 3, 4)),
    batch_norm("of large planes", (3, 2, 90, 80)),
    layer_norm("of the last axis", (4, 7)),
    layer_norm("of two axes", (3, 4, 5), axis=-2),
    layer_norm("of all axes", (3, 4), axis=0),
    layer_norm("without bias", (2, 3, 6), bias=False),
    layer_norm("with all outputs", (4, 7), outputs="y mean inverse"),
    layer_norm("with all outputs of two axes", (2, 3, 5), axis=1, outputs="y mean inverse",
               epsilon=0.1),
    layer_norm("of many columns and rows", (70, 130)),
    layer_norm("of no rows", (0, 7)),
    *(group_norm(name, x, groups, opset) for opset in (18, 21) for name, x, groups in (
        ("of two", (2, 6, 3, 4), 3), ("of one", (2, 4, 5), 4), ("of all", (3, 4, 2, 2), 1),
        ("of planes of one", (2, 6), 2), ("of no image", (0, 4, 5), 2))),
    instance_norm("over two axes", (2, 3, 4, 5)),
    instance_norm("over one axis", (3, 2, 7)),
    instance_norm("of no image", (0, 2, 7)),
    *(lp_norm(name, x, p, axis) for p in (1, 2) for name, x, axis in (
        ("last axis", (3, 4), -1), ("first axis", (3, 4), 0), ("middle axis", (2, 5, 3), 1),
        ("empty", (0, 4), 1))),
    Case("LpNormalization of zeros", node("LpNormalization", "x"),
         {"x": np.zeros((2, 3), np.float32)},
         reference=lambda feeds: [feeds["x"] * 1.0]),
    lrn("of three", (2, 5, 3, 2), 3),
    lrn("of two", (2, 5, 4), 2, beta=0.5),
    lrn("of four", (1, 6, 2), 4, alpha=2.0),
    lrn("wider than its input", (2, 3, 2), 9),
    lrn("of no image", (0, 3, 2), 3),
]

# ---- poolings


def windows(x, kernel, stride, dilation, begin, shape):
    """All taps of all outputs: their input elements, and whether they are inside."""
    axes = len(kernel)
    index, inside = [], []
    for i in range(axes):
        at = (np.arange(shape[i])[:, None] * stride[i] - begin[i]
              + np.arange(kernel[i])[None] * dilation[i])
        inside.append((at >= 0) & (at < x.shape[2 + i]))
        index.append(np.clip(at, 0, x.shape[2 + i] - 1))
    return index, inside


def pool(op, name, x, kernel, strides=None, dilations=None, pads=None, auto_pad="NOTSET",
         ceil_mode=0, include_pad=0, p=2):
    axes = len(kernel)
    stride, dilation = strides or [1] * axes, dilations or [1] * axes
    pairs = pads_of(auto_pad, pads or [0] * (2 * axes), x[2:], kernel, stride, dilation)
    shape = []
    for i, (begin, end) in enumerate(pairs):
        span = x[2 + i] + begin + end - (kernel[i] - 1) * dilation[i] - 1
        out = (-(-span // stride[i]) if ceil_mode else span // stride[i]) + 1
        shape.append(out - 1 if ceil_mode and (out - 1) * stride[i] >= x[2 + i] + begin else out)

    def reference(feeds):
        data = feeds["x"]
        taps, inside = windows(data, kernel, stride, dilation, [b for b, _ in pairs], shape)
        y = np.zeros(data.shape[:2] + tuple(shape))
        for place in np.ndindex(*shape):
            grid = np.ix_(*(taps[i][place[i]][inside[i][place[i]]] for i in range(axes)))
            values = data[(slice(None), slice(None)) + grid]
            values = values.reshape(values.shape[:2] + (int(np.prod(values.shape[2:])),))
            count = values.shape[2]
            if include_pad:
                count = np.prod([
                    np.sum(place[i] * stride[i] + np.arange(kernel[i]) * dilation[i]
                           < x[2 + i] + pairs[i][0] + pairs[i][1]) for i in range(axes)])
            y[(slice(None), slice(None)) + place] = {
                "MaxPool": lambda v=values: v.max(2),
                "AveragePool": lambda v=values, n=count: v.sum(2) / n,
                "LpPool": lambda v=values: (np.abs(v) ** p).sum(2) ** (1 / p)}[op]()
        return [y]

    attributes = {"pads": pads or [0] * (2 * axes)}
    if auto_pad != "NOTSET":
        attributes = {"auto_pad": auto_pad}
    if op == "LpPool":
        attributes["p"] = p
    if op == "AveragePool":
        attributes["count_include_pad"] = include_pad
    return Case(f"{op} {name}", node(op, "x", kernel_shape=kernel, strides=stride,
                                     dilations=dilation, ceil_mode=ceil_mode, **attributes),
                {"x": distinct(*x)}, reference=reference)


POOLS = [case for op in ("MaxPool", "AveragePool") for case in (
    pool(op, "plain", (2, 3, 6, 6), [2, 2], strides=[2, 2]),
    pool(op, "overlapping", (2, 2, 7, 6), [3, 3], strides=[2, 1], pads=[1, 1, 1, 1]),
    pool(op, "with odd padding", (1, 2, 6, 5), [3, 2], strides=[2, 2], pads=[0, 1, 2, 0]),
    pool(op, "dilated", (1, 2, 9, 8), [3, 2], dilations=[2, 3], pads=[1, 0, 1, 1]),
    pool(op, "with ceil_mode", (2, 2, 6, 7), [3, 3], strides=[2, 2], ceil_mode=1),
    pool(op, "with ceil_mode and padding", (2, 2, 6, 8), [3, 3], strides=[2, 3], ceil_mode=1,
         pads=[1, 1, 1, 1]),
    pool(op, "same upper", (1, 2, 7, 5), [4, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    pool(op, "same lower", (1, 2, 7, 5), [4, 3], strides=[2, 1], auto_pad="SAME_LOWER"),
    pool(op, "over one axis", (2, 3, 11), [3], strides=[3], pads=[1, 1]),
    pool(op, "over three axes", (1, 2, 4, 5, 4), [2, 3, 2], strides=[2, 1, 2]),
    pool(op, "20 wide", (1, 2, 40), [20], strides=[4], pads=[3, 5]),
    pool(op, "of no image", (0, 3, 6, 6), [2, 2], strides=[2, 2]),
)] + [
    pool("LpPool", "of 2", (2, 3, 6, 5), [2, 3], strides=[2, 1], pads=[1, 0, 0, 1]),
    pool("LpPool", "of 3, dilated", (1, 2, 9, 8), [3, 2], dilations=[2, 3], p=3),
    pool("LpPool", "over one axis", (2, 3, 11), [4], strides=[3], p=4),
    pool("LpPool", "over three axes", (1, 2, 4, 5, 4), [2, 3, 2], strides=[2, 1, 2]),
    pool("AveragePool", "with its pads", (2, 2, 6, 5), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
         include_pad=1),
    pool("AveragePool", "with its pads and ceil_mode", (2, 2, 6, 8), [3, 3], strides=[2, 3],
         ceil_mode=1, pads=[1, 1, 1, 1], include_pad=1),
    *(Case(f"{op} over {len(x) - 2} axes of {x[0]}", node(op, "x"), {"x": distinct(*x)},
           reference=lambda feeds, f=f: [f(feeds["x"], tuple(range(2, feeds["x"].ndim)))])
      for op, f in (("GlobalAveragePool", lambda x, axes: x.mean(axes, keepdims=True)),
                    ("GlobalMaxPool", lambda x, axes: x.max(axes, keepdims=True)))
      for x in ((2, 3, 4, 5), (1, 2, 7), (3, 2, 2, 2, 2), (0, 3, 4, 4))),
]

# ---- Resize: linear in x, whose matrix comes from ONNX's evaluator


def resize(name, x, scales=None, sizes=None, region=None, opset=19, op="Resize", **attributes):
    linear = {}
    names = {"Resize": "x _ scales" if scales else "x _ _ sizes", "Upsample": "x scales"}[op]
    if opset == 10:
        names = "x scales"
    initializers = {"scales": np.asarray(scales, np.float32)} if scales else {
        "sizes": np.asarray(sizes, np.int64)}
    if region:
        names = names.replace("_", "region", 1)
        initializers["region"] = np.asarray(region, np.float32)
        attributes["coordinate_transformation_mode"] = "tf_crop_and_resize"
    case = Case(f"{op} {name}", node(op, names, **attributes), {"x": normal(*x)}, initializers,
                opset=opset)

    def reference(feeds):
        if not linear:
            linear["map"] = matrix_of(case)
        matrix, shape = linear["map"]
        return [(matrix @ feeds["x"].reshape(-1)).reshape(shape)]

    case.reference = reference
    return case


def matrix_of(case):
    """By ONNX Runtime, one unit vector after the other."""
    proto = model_of(case, [np.zeros((), np.float32)])
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = case.inputs["x"]
    columns = []
    for i in range(x.size):
        unit = np.zeros(x.size, np.float32)
        unit[i] = 1
        columns.append(session.run(None, {"x": unit.reshape(x.shape)})[0])
    return np.stack([c.reshape(-1) for c in columns], 1).astype(np.float64), columns[0].shape


RESIZES = [
    *(resize(f"{mode} {way}", x, scales=scales, mode=mode)
      for mode in ("nearest", "linear", "cubic")
      for way, x, scales in (("up", (1, 2, 3, 4), [1, 1, 2, 2.5]),
                             ("down", (1, 1, 6, 7), [1, 1, 0.5, 0.6]),
                             ("one axis", (2, 1, 1, 5), [1, 1, 1, 1.7]),
                             ("not at all", (1, 2, 3, 2), [1, 1, 1, 1]))),
    resize("nearest to sizes", (1, 2, 4, 3), sizes=[1, 2, 7, 5], mode="nearest",
           nearest_mode="floor", coordinate_transformation_mode="asymmetric"),
    resize("linear to sizes, corners", (1, 2, 4, 3), sizes=[1, 2, 7, 5], mode="linear",
           coordinate_transformation_mode="align_corners"),
    resize("cubic to sizes, excluding", (1, 1, 4, 5), sizes=[1, 1, 7, 3], mode="cubic",
           exclude_outside=1, cubic_coeff_a=-0.5),
    resize("linear antialias", (1, 1, 8, 9), scales=[1, 1, 0.5, 0.4], mode="linear", antialias=1),
    *(resize(f"{mode} out of a region", (2, 1, 6, 7), sizes=[2, 1, 5, 9], mode=mode,
             region=[0, 0, 0.23, -0.31, 1, 1, 0.71, 0.83]) for mode in ("nearest", "linear", "cubic")),
    resize("opset 10", (1, 2, 3, 4), scales=[1, 1, 2, 2], opset=10, mode="nearest"),
    resize("linear", (1, 2, 3, 4), scales=[1, 1, 2, 2], opset=9, op="Upsample", mode="linear"),
]

# ---- Softmax


def softmax(op, name, x, axis, opset):
    def reference(feeds):
        data = feeds["x"]
        if data.size == 0:
            return [data * 1.0]
        rows = data.reshape(int(np.prod(data.shape[:axis])), -1) if opset < 13 else data
        at = 1 if opset < 13 else axis
        powers = np.exp(rows - rows.max(at, keepdims=True))
        y = powers / powers.sum(at, keepdims=True)
        return [(y if op == "Softmax" else np.log(y)).reshape(data.shape)]

    return Case(f"{op} {name} opset {opset}", node(op, "x", axis=axis), {"x": normal(*x)},
                opset=opset, reference=reference)


SOFTMAXES = [softmax(op, name, x, axis, opset) for op in ("Softmax", "LogSoftmax")
             for opset in (11, 13) for name, x, axis in (
                 ("last axis", (4, 7), 1), ("middle axis", (2, 5, 3), 1),
                 ("first axis", (5, 2, 3), 0), ("empty", (0, 5), 1),
                 ("side by side", (2, 3, 300), 1), ("of many rows", (300, 150), 1))]

# ---- DequantizeLinear, by its scale


def dequantize(name, shape, scale, zero=True, dtype=np.int8, **attributes):
    bounds = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    low, high = max(bounds.min, -30000), min(bounds.max, 30000)
    codes = rng.integers(low, high + 1, shape).astype(dtype)
    zeros = rng.integers(low // 4, high // 4 + 1, scale).astype(dtype) * (dtype != np.int32)
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)

    def reference(feeds):
        def spread(values):
            if block:
                return np.repeat(values, block, axis).take(range(shape[axis]), axis)
            return values if values.ndim == 0 or values.size == 1 else values.reshape(
                [-1 if i == axis % len(shape) else 1 for i in range(len(shape))])

        z = feeds["z"].astype(np.float64) if zero else np.zeros(scale)
        return [(codes.astype(np.float64) - spread(z)) * spread(feeds["s"])]

    initializers = {"q": codes, "s": positive(*scale)}
    if zero:
        initializers["z"] = zeros.astype(dtype)
    return Case(f"DequantizeLinear {name}",
                [node("DequantizeLinear", "q s z" if zero else "q s", "d", **attributes),
                 node("Add", "d x", "y")], {"x": normal(1)}, initializers, requested=["s", "x"],
                reference=lambda feeds: [reference(feeds)[0] + feeds["x"]])


DEQUANTIZATIONS = [
    dequantize("per tensor", (4, 6), ()),
    dequantize("per tensor without zero", (4, 6), (1,), zero=False),
    dequantize("of uint8 along axis 0", (4, 3, 2), (4,), dtype=np.uint8, axis=0),
    dequantize("along axis 1", (4, 3, 2), (3,)),
    dequantize("of int16 along the last axis", (4, 3, 5), (5,), dtype=np.int16, axis=-1),
    dequantize("of uint16", (40,), (), dtype=np.uint16, axis=0),
    dequantize("of int32", (4, 3), (3,), zero=False, dtype=np.int32),
    dequantize("in blocks along axis 0", (7, 3), (3, 3), axis=0, block_size=3),
    dequantize("in blocks along the last axis", (3, 8), (3, 2), axis=1, block_size=4),
    dequantize("in blocks along a middle axis", (2, 5, 3), (2, 3, 3), axis=1, block_size=2),
    dequantize("of many per tensor", (300, 200), ()),
    dequantize("of nothing", (0, 3), (3,)),
]

CASES = (CONVS + GEMMS
         + [Case(f"MatMul {a} {b}", node("MatMul", "a b"),
                 {"a": normal(*a), "b": normal(*b, seed=1)},
                 reference=lambda feeds: [np.matmul(feeds["a"], feeds["b"])])
            for a, b in MATMULS]
         + NORMALIZATIONS + POOLS + RESIZES + SOFTMAXES + DEQUANTIZATIONS)

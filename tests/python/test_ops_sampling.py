# SPDX-License-Identifier: Apache-2.0
"""Operators that sample images, and lay them out, on random shapes and attributes give
what ONNX Runtime gives."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from test_ops_random import (  # noqa: E402
    F, I64, Case, check, floats, list_of, pick, shape)

GENERATORS = {}


def generator(function):
    GENERATORS[function.__name__] = function
    return function


def grid_sample(rng, opset, axes, modes):
    sizes, outputs = list_of(rng, axes, 1, 7), list_of(rng, axes, 1, 6)
    n, c = list_of(rng, 2, 1, 4)
    grid = rng.uniform(-1.6, 1.6, [n, *outputs, axes]).astype(F)
    return Case("GridSample", [floats(rng, [n, c, *sizes]), grid], opset=opset,
                mode=pick(rng, *modes), align_corners=int(rng.integers(0, 2)),
                padding_mode=pick(rng, "zeros", "border", "reflection"))


@generator
def grid_sample_of_planes(rng):
    if rng.random() < 0.5:
        return grid_sample(rng, 16, 2, ["bilinear", "nearest", "bicubic"])
    return grid_sample(rng, 20, 2, ["linear", "nearest", "cubic"])


@generator
def grid_sample_of_volumes(rng):
    return grid_sample(rng, 22, 3, ["linear", "nearest"])


@generator
def affine_grid(rng):
    axes = int(rng.integers(2, 4))
    size = np.array([*list_of(rng, 2, 1, 4), *list_of(rng, axes, 2, 6)], I64)
    return Case("AffineGrid", [floats(rng, [size[0], axes, axes + 1]), size], opset=20,
                constants=pick(rng, [], [1]), align_corners=int(rng.integers(0, 2)))


@generator
def center_crop_pad(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axes = sorted(rng.permutation(x.ndim)[:rng.integers(1, x.ndim + 1)].tolist())
    if rng.random() < 0.3:
        return Case("CenterCropPad", [x, np.array(list_of(rng, x.ndim, 1, 9), I64)], opset=18)
    return Case("CenterCropPad", [x, np.array(list_of(rng, len(axes), 1, 9), I64)], opset=18,
                constants=pick(rng, [], [1]), axes=[a - x.ndim * (rng.random() < 0.5) for a in axes])


@generator
def col2im(rng):
    """ONNX Runtime loses its way where windows over one or three axes are dilated."""
    axes = int(rng.integers(1, 4))
    block, image = list_of(rng, axes, 1, 4), list_of(rng, axes, 4, 9)
    strides, dilations, pads = (list_of(rng, count, low, high) for count, low, high in
                                ((axes, 1, 3), (axes, 1, 3 if axes == 2 else 2), (2 * axes, 0, 3)))
    positions = [(i + pads[k] + pads[axes + k] - d * (b - 1) - 1) // s + 1 for k, (i, b, s, d) in
                 enumerate(zip(image, block, strides, dilations))]
    n, c = list_of(rng, 2, 1, 4)
    x = floats(rng, [n, c * int(np.prod(block)), int(np.prod(np.maximum(positions, 0)))])
    return Case("Col2Im", [x, np.array(image, I64), np.array(block, I64)], opset=18,
                constants=pick(rng, [], [1, 2]), strides=strides, dilations=dilations, pads=pads)


@generator
def eye_like(rng):
    x = floats(rng, list_of(rng, 2, 1, 7)).astype(pick(rng, F, np.int32, I64))
    dtype = pick(rng, {}, {"dtype": 1}, {"dtype": 6}, {"dtype": 7}, {"dtype": 11})
    return Case("EyeLike", [x], k=int(rng.integers(-8, 9)), **dtype)


@generator
def tensor_scatter(rng):
    cache = floats(rng, shape(rng, least=2, zero=0))
    axis = int(rng.integers(1, cache.ndim))
    sizes, length = list(cache.shape), cache.shape[axis]
    sizes[axis] = int(rng.integers(1, length + 1))
    circular = rng.random() < 0.5
    most = 3 * length if circular else length - sizes[axis] + 1
    starts = np.array(list_of(rng, cache.shape[0], 0, most), I64)
    return Case("TensorScatter", [cache, floats(rng, sizes), *([starts] * (rng.random() < 0.8))],
                opset=24, axis=axis - cache.ndim * (rng.random() < 0.5),
                mode="circular" if circular else "linear")


@generator
def non_max_suppression(rng):
    n, c, b = list_of(rng, 3, 1, 9)
    boxes = rng.uniform(0, 4, [n, b, 4]).astype(F)
    scores = rng.choice(np.arange(12) / 12, [n, c, b]).astype(F)
    numbers = [np.array([rng.integers(0, 6)], I64), np.array([rng.uniform(0, 0.6)], F),
               np.array([rng.uniform(0, 0.5)], F)]
    return Case("NonMaxSuppression", [boxes, scores, *numbers[:rng.integers(1, 4)]],
                opset=pick(rng, 10, 11), center_point_box=int(rng.integers(0, 2)))


@generator
def windows(rng):
    size = np.array(rng.integers(2, 40), pick(rng, np.int32, I64))
    return Case(pick(rng, "HannWindow", "HammingWindow", "BlackmanWindow"), [size],
                constants=pick(rng, [], [0]), periodic=int(rng.integers(0, 2)))


@generator
def roi_align(rng):
    n, c, h, w = list_of(rng, 4, 1, 7)
    regions = int(rng.integers(1, 5))
    corner = rng.uniform(-2, 8, [regions, 2])
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, 9, [regions, 2])], 1).astype(F)
    attributes = {"output_height": int(rng.integers(1, 5)), "output_width": int(rng.integers(1, 5)),
                  "sampling_ratio": int(rng.integers(0, 4)), "mode": pick(rng, "avg", "max"),
                  "spatial_scale": pick(rng, 1.0, 0.5)}
    opset = pick(rng, 10, 16, 22)
    if opset > 10:
        attributes["coordinate_transformation_mode"] = pick(rng, "half_pixel", "output_half_pixel")
    return Case("RoiAlign", [floats(rng, [n, c, h, w]), boxes, rng.integers(0, n, regions)],
                opset=opset, **attributes)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_random_samples_should_be_what_onnx_runtime_gives(tmp_path, name):
    check(tmp_path, name, GENERATORS[name], sorted(GENERATORS).index(name))

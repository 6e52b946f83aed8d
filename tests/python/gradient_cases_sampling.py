# SPDX-License-Identifier: Apache-2.0
"""What samples images and lays them out; references are torch's, and linear maps."""

import numpy as np
import torch
from torch.nn import functional

from gradients import Case, node, normal
from gradient_cases_layers import matrix_of, torch_of

# ---- GridSample


def places(n, sizes, inside=False, seed=5):
    rng = np.random.default_rng(seed)
    most = 0.6 if inside else 1.4
    return rng.uniform(-most, most, (n, *sizes, len(sizes))).astype(np.float32)


def grid_sample(name, x, sizes, mode="linear", padding="zeros", corners=0):
    modes = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}

    def reference(x, grid):
        return functional.grid_sample(x, grid, modes[mode], padding, bool(corners))

    grid = places(x[0], sizes, inside=mode == "cubic" and padding == "zeros")
    return Case(f"GridSample {mode} {padding} {name}",
                node("GridSample", "x grid", mode=mode, padding_mode=padding,
                     align_corners=corners),
                {"x": normal(*x), "grid": grid}, reference=torch_of(reference))


SAMPLES = [
    *(grid_sample(f"corners {corners}", (2, 3, 5, 4), (3, 6), mode, padding, corners)
      for mode in ("linear", "nearest", "cubic") for padding in ("zeros", "border", "reflection")
      for corners in (0, 1)),
    grid_sample("of volumes", (2, 2, 3, 4, 5), (2, 3, 2)),
    grid_sample("of volumes", (1, 2, 3, 4, 5), (2, 3, 2), padding="reflection"),
]

# ---- AffineGrid


def affine_grid(size, corners):
    axes = len(size) - 2

    def reference(theta, **_):
        return functional.affine_grid(theta, list(size), bool(corners))

    return Case(f"AffineGrid over {axes} axes, corners {corners}",
                node("AffineGrid", "theta size", align_corners=corners),
                {"theta": normal(size[0], axes, axes + 1)}, {"size": np.array(size)},
                reference=torch_of(reference))


GRIDS = [affine_grid(size, corners) for size in ((2, 3, 4, 5), (2, 1, 3, 2, 4))
         for corners in (0, 1)]

# ---- CenterCropPad, Col2Im, TensorScatter


def center_crop_pad(x, sizes, **attributes):
    return Case(f"CenterCropPad {x} to {sizes}", node("CenterCropPad", "x s", **attributes),
                {"x": normal(*x)}, {"s": np.array(sizes)})


def col2im(name, x, image, block, **attributes):
    def reference(x, **_):
        options = {{"strides": "stride", "dilations": "dilation"}.get(k, k): v
                   for k, v in attributes.items()}
        if "pads" in options:
            options["padding"] = options.pop("pads")[:2]
        return functional.fold(x, image, block, **options)

    return Case(f"Col2Im {name}", node("Col2Im", "x i b", **attributes), {"x": normal(*x)},
                {"i": np.array(image), "b": np.array(block)}, reference=torch_of(reference))


def tensor_scatter(name, cache, update, starts=None, axis=-2, mode="linear"):
    def reference(feeds):
        out = feeds["c"].copy()
        moved, new = np.moveaxis(out, axis, 1), np.moveaxis(feeds["u"], axis, 1)
        for n, start in enumerate(starts or [0] * len(out)):
            moved[n, (start + np.arange(new.shape[1])) % moved.shape[1]] = new[n]
        return [out]

    return Case(f"TensorScatter {name}",
                node("TensorScatter", "c u s" if starts else "c u", axis=axis, mode=mode),
                {"c": normal(*cache), "u": normal(*update, seed=1)},
                {"s": np.array(starts)} if starts else {}, opset=24, reference=reference)


def roi_align(name, x, boxes, images, **attributes):
    """Linear in x: by ONNX Runtime's matrix."""
    case = Case(f"RoiAlign {name}", node("RoiAlign", "x r i", output_height=2, output_width=3,
                                         **attributes),
                {"x": normal(*x)}, {"r": np.array(boxes, np.float32), "i": np.array(images)},
                opset=16)
    linear = []

    def reference(feeds):
        if not linear:
            linear.extend(matrix_of(case))
        return [(linear[0] @ feeds["x"].reshape(-1)).reshape(linear[1])]

    case.reference = reference
    return case


CASES = SAMPLES + GRIDS + [
    center_crop_pad((2, 5, 4), [3, 3, 7]),
    center_crop_pad((6, 3, 5), [9, 2], axes=[-1, 0]),
    col2im("plain", (2, 6, 12), [4, 4], [1, 2]),
    col2im("of everything", (1, 12, 9), [6, 7], [2, 3], strides=[2, 2], dilations=[2, 1],
           pads=[1, 0, 1, 0]),
    tensor_scatter("from the start", (2, 3, 5, 2), (2, 3, 2, 2)),
    tensor_scatter("from places", (3, 5, 2), (3, 2, 2), [3, 0, 1]),
    tensor_scatter("around", (2, 2, 5, 2), (2, 2, 3, 2), [4, 11], mode="circular"),
    roi_align("of points", (2, 2, 5, 6), [[0.3, 0.2, 4.1, 3.9], [-1.5, 2, 3, 7], [1, 1, 2, 2]],
              [1, 0, 1], sampling_ratio=2),
    roi_align("of as many points as it needs", (1, 2, 5, 6), [[0.3, 0.2, 4.1, 4.9]], [0],
              coordinate_transformation_mode="output_half_pixel", spatial_scale=1.25),
    tensor_scatter("along another axis", (2, 4, 3), (2, 4, 1), [2, 1], axis=2),
]

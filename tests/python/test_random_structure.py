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


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_random_nodes_should_give_what_onnx_runtime_gives(tmp_path, name):
    check(tmp_path, name, GENERATORS[name], sorted(GENERATORS).index(name))

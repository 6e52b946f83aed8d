# SPDX-License-Identifier: Apache-2.0
"""Gradients where differences don't reach: far out, at the ends of a function's domain,
at bends. What is expected are limits, or what PyTorch settled on."""

import numpy as np
import pytest

import gradients
from gradients import node

INF = np.inf
# Operator, attributes, opset: input -> slope there.
SLOPES = [
    ("Relu", {}, 22, {0: 0, -INF: 0, INF: 1}),
    ("Abs", {}, 22, {0: 0, -INF: -1, INF: 1}),
    ("Sqrt", {}, 22, {0: INF, INF: 0}),
    ("Log", {}, 22, {0: INF, INF: 0, 1e-30: 1e30}),
    ("Reciprocal", {}, 22, {1e30: 0, -INF: 0, 2: -0.25}),
    ("Exp", {}, 22, {-INF: 0, -200: 0, 200: INF}),
    ("Sigmoid", {}, 22, {-INF: 0, INF: 0, -200: 0, 200: 0, -80: np.exp(-80.0)}),
    ("Tanh", {}, 22, {-INF: 0, INF: 0, 50: 0}),
    ("Softplus", {}, 22, {-INF: 0, INF: 1, -200: 0, 200: 1, -80: np.exp(-80.0)}),
    ("Softsign", {}, 22, {-INF: 0, INF: 0, 1e30: 0, 0: 1}),
    ("Erf", {}, 22, {-INF: 0, INF: 0, 1e30: 0}),
    ("Gelu", {}, 22, {-1e30: 0, 1e30: 1, -100: 0, 100: 1, 0: 0.5}),
    ("Gelu", {"approximate": "tanh"}, 22,
     {-INF: 0, INF: 1, -1e30: 0, 1e30: 1, -100: 0, 100: 1, 0: 0.5}),
    ("Mish", {}, 22, {-INF: 0, INF: 1, -1e30: 0, 1e30: 1, -200: 0, 200: 1}),
    ("Swish", {}, 24, {-INF: 0, INF: 1, -1e30: 0, 1e30: 1, -200: 0, 200: 1, 0: 0.5}),
    ("HardSwish", {}, 22, {-INF: 0, INF: 1, -3: 0, 3: 1}),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.5}, 22, {-INF: 0, INF: 0, 0: 0.5, -1: 0, 1: 0}),
    ("Elu", {}, 22, {-INF: 0, INF: 1, -200: 0, 0: 1}),
    ("Celu", {"alpha": 0.5}, 22, {-INF: 0, INF: 1, -200: 0, 0: 1}),
    ("LeakyRelu", {"alpha": 0.25}, 22, {-INF: 0.25, INF: 1}),
    # A bound itself lets nothing through.
    ("Clip", {"min": 0.0, "max": 6.0}, 7, {0: 0, 6: 0, 3: 1, -1: 0, 7: 0, -INF: 0, INF: 0}),
]


def gradient(tmp_path, op, x, initializers=None, opset=22, inputs="x", seed=None, **attributes):
    x = np.asarray(x, np.float32)
    case = gradients.Case("limit", node(op, inputs, **attributes), {"x": x}, initializers or {},
                          opset=opset)
    seed = np.ones_like(x) if seed is None else np.asarray(seed, np.float32)
    proto = gradients.model_of(case, [seed])
    found, _ = gradients.compute(tmp_path / "case", proto, [x], [seed], ["x"])
    return found["x"]


@pytest.mark.parametrize("op, attributes, opset, slopes", SLOPES,
                         ids=lambda value: value if isinstance(value, str) else "")
def test_slopes_should_be_their_limits(tmp_path, op, attributes, opset, slopes):
    found = gradient(tmp_path, op, list(slopes), opset=opset, **attributes)
    np.testing.assert_allclose(found, np.array(list(slopes.values()), np.float32), rtol=1e-5,
                               atol=1e-37)


def test_pow_of_0_should_have_the_slopes_of_its_exponent(tmp_path):
    power = np.array([0, 0.5, 1, 2, -1], np.float32)
    found = gradient(tmp_path, "Pow", np.zeros(5), {"p": power}, inputs="x p")
    np.testing.assert_array_equal(found, np.array([0, INF, 1, 0, -INF], np.float32))


def test_l2_norm_of_zeros_should_have_no_slope(tmp_path):
    found = gradient(tmp_path, "ReduceL2", np.zeros((2, 3)), opset=20, seed=[[1]])
    np.testing.assert_array_equal(found, np.zeros((2, 3)))


def test_log_sum_exp_should_stand_infinities_and_large_numbers(tmp_path):
    rows = [[-INF, -INF, -INF], [-INF, 1, 1], [1e30, 0, 0], [200, 200, -200]]
    found = gradient(tmp_path, "ReduceLogSumExp", rows, {"a": np.array([1])}, opset=20,
                     inputs="x a", seed=np.ones((4, 1)))
    np.testing.assert_allclose(
        found, [[0, 0, 0], [0, 0.5, 0.5], [1, 0, 0], [0.5, 0.5, 0]], rtol=1e-6)


def test_a_nan_should_not_take_part_in_an_extreme(tmp_path):
    found = gradient(tmp_path, "ReduceMax", [[1, 2, np.nan], [1, 3, 3]], {"a": np.array([1])},
                     opset=20, inputs="x a", seed=np.ones((2, 1)))
    np.testing.assert_array_equal(found, [[0, 0, 0], [0, 0.5, 0.5]])

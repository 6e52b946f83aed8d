# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear with DequantizeLinear behind it as a clipped straight-through estimator
with learned steps, against torch's autograd in double: dx = dy inside of the range of
codes and 0 beyond it; the scale gets round(v) - v inside, v = x / scale, and the last
code minus the zero point beyond (Esser et al., "Learned Step Size Quantization")."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import gradients
from gradients import node, normal, positive

TYPES = {"int8": (TensorProto.INT8, -128, 127), "uint8": (TensorProto.UINT8, 0, 255),
         "int16": (TensorProto.INT16, -32768, 32767), "int4": (TensorProto.INT4, -8, 7),
         "uint4": (TensorProto.UINT4, 0, 15), "uint16": (TensorProto.UINT16, 0, 65535)}


class Step(torch.autograd.Function):
    """One tensor with a scale and zero point for each element."""

    @staticmethod
    def forward(ctx, x, scale, zero, low, high):
        v = x / scale
        ctx.save_for_backward(v, zero)
        ctx.ends = low, high
        return (torch.clamp(torch.round(v) + zero, low, high) - zero) * scale

    @staticmethod
    def backward(ctx, dy):
        v, zero = ctx.saved_tensors
        low, high = ctx.ends[0] - zero, ctx.ends[1] - zero
        inside = (v >= low) & (v <= high)
        slope = torch.where(inside, torch.round(v) - v, torch.where(v > high, high, low))
        return torch.where(inside, dy, 0.0), dy * slope, None, None, None


def spread(values, shape, axis, block):
    """Scales as a tensor that broadcasts to x."""
    if block:
        long = torch.repeat_interleave(values, block, axis)
        return long.narrow(axis, 0, shape[axis])
    if values.numel() == 1:
        return values.reshape(())
    return values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])


def quantities(shape, scale, dtype, zeroed):
    """Scales so small that codes of every type are clipped at both ends."""
    _, low, high = TYPES[dtype]
    zero = (high + low + 1) // 2 + ((high - low) // 8 if zeroed else 0)
    zeros = np.full(scale, zero if zeroed or low == 0 else 0)
    x = normal(*shape, spread=1.5)
    return x, positive(*scale, low=0.8, high=1.6) * np.float32(2.2 / (high - low)), zeros


def expected(x, scale, zeros, ends, axis, block, seed):
    x, scale = (torch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, scale))
    zero = torch.tensor(zeros.astype(np.float64))
    y = Step.apply(x, spread(scale, x.shape, axis, block).expand(x.shape),
                   spread(zero, x.shape, axis, block).expand(x.shape), *ends)
    y.backward(torch.tensor(seed.astype(np.float64)))
    return x.grad.numpy(), scale.grad.numpy()


def model(x, scale, zeros, dtype, attributes):
    zero = helper.make_tensor("z", TYPES[dtype][0], zeros.shape, zeros.reshape(-1).tolist())
    graph = helper.make_graph(
        [node("QuantizeLinear", "x s z", "q", **attributes),
         node("DequantizeLinear", "q s z", "y", **attributes)], "pair",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(scale, "s"), zero])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


CASES = [
    # x, scale, axis, block
    ((6, 7), (), 1, 0), ((6, 7), (1,), 1, 0), ((5, 3, 4), (5,), 0, 0), ((2, 3, 40), (3,), 1, 0),
    ((2, 3, 5), (5,), -1, 0), ((7, 4), (3, 4), 0, 3), ((3, 8), (3, 2), 1, 4),
    ((2, 5, 3), (2, 3, 3), 1, 2), ((200, 300), (), 1, 0), ((200, 300), (200,), 0, 0),
    ((), (), 1, 0), ((0, 3), (3,), 1, 0), ((0, 3), (), 1, 0), ((2, 0), (2, 0), 1, 4),
]


@pytest.mark.parametrize("zeroed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape, scales, axis, block", CASES)
def test_pairs_should_be_clipped_straight_through_estimators(tmp_path, shape, scales, axis, block,
                                                             dtype, zeroed):
    x, scale, zeros = quantities(shape, scales, dtype, zeroed)
    attributes = {"axis": axis, **({"block_size": block} if block else {})}
    seed = normal(*shape, seed=9)
    proto = model(x, scale, zeros, dtype, attributes)
    got, _ = gradients.compute(tmp_path / "pair", proto, [x], [seed], ["x", "s"])
    alone, _ = gradients.compute(tmp_path / "alone", proto, [x], [seed], ["s"], threads=1)
    dx, ds = expected(x, scale, zeros, TYPES[dtype][1:], axis, block, seed)
    assert x.size < 20 or 0.02 < np.mean(dx == 0) < 0.98
    np.testing.assert_allclose(got["x"], dx, rtol=1e-6, atol=0)
    # v has the relative error of a float division; sums have many terms of its size.
    ends = max(abs(end) for end in TYPES[dtype][1:]) * 2
    np.testing.assert_allclose(got["s"], ds, rtol=1e-5,
                               atol=3e-7 * ends * max(1.0, np.sqrt(x.size)))
    assert alone["s"].tobytes() == got["s"].tobytes()


def test_the_ends_of_the_range_should_pass_gradients(tmp_path):
    """Codes -8 and 7 exactly are not clipped; half a step beyond is."""
    x = np.array([-8, 7, -8.25, 7.25, 6.75, -7.75], np.float32)
    proto = model(x, np.float32([1]).reshape(()), np.zeros(()), "int4", {})
    got, _ = gradients.compute(tmp_path / "pair", proto, [x], [np.ones(6, np.float32)], ["x", "s"])
    np.testing.assert_array_equal(got["x"], [1, 1, 0, 0, 1, 1])
    assert got["s"] == 0 + 0 - 8 + 7 + 0.25 - 0.25


def test_integers_that_are_quantized_should_be_refused(tmp_path):
    x = np.arange(4, dtype=np.int32)
    graph = helper.make_graph(
        [node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "q s", "y")], "pair",
        [helper.make_tensor_value_info("x", TensorProto.INT32, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
        [numpy_helper.from_array(np.float32(0.5), "s")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
    gradients.write_case(tmp_path / "pair", proto, [x], [np.ones(4, np.float32)], ["s"])
    line = gradients.run_driver([tmp_path / "pair"])["pair"]
    assert "gradients of int32 are not supported" in line

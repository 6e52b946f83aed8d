# SPDX-License-Identifier: Apache-2.0
"""Operators that are replaced for a target: the float network computes the same, by ONNX
Runtime, and what does not fit stays as it is."""

from collections import Counter
import subprocess

import numpy as np
import onnx
from onnx import helper
import pytest

from small_models import chain, conv, node
import support
from support import BUILD, weights

TOOL = BUILD / "tests" / "emit" / "rewrite_operators"


def positive(*shape):
    return np.abs(weights(*shape)) + 0.5


def norm(x, y):
    return node("BatchNormalization", f"{x} scale shift mean var", y)


NORM = {"scale": weights(6), "shift": weights(6, seed=2), "mean": weights(6, seed=3),
        "var": positive(6)}
CONV = {"w": weights(6, 3, 3, 3)}
PIXELS = (3, 8, 8)
WINDOWS = {"Transpose": 3, "Reshape": 2}  # from channels to the plane


def conv_and_added_channels():
    nodes = [conv("x w", "a"), node("Add", "a b", "y")]
    return chain(nodes, PIXELS, (6, 6, 6), {**CONV, "b": weights(6, 1, 1)}), {"Conv": 1}


def conv_with_a_bias_and_added_channels():
    nodes = [conv("x w c", "a"), node("Add", "b a", "d"), node("Relu", "d", "y")]
    values = {**CONV, "b": weights(1, 6, 1, 1), "c": weights(6, seed=4)}
    return chain(nodes, PIXELS, (6, 6, 6), values), {"Conv": 1, "Relu": 1}


def conv_and_added_number():
    nodes = [conv("x w", "a"), node("Add", "a b", "y")]
    return chain(nodes, PIXELS, (6, 6, 6), {**CONV, "b": np.float32(0.7)}), {"Conv": 1}


def conv_and_added_columns():
    nodes = [conv("x w", "a"), node("Add", "a b", "y")]
    return chain(nodes, PIXELS, (6, 6, 6), {**CONV, "b": weights(6)}), {"Conv": 1, "Add": 1}


def conv_that_is_read_twice():
    nodes = [conv("x w", "a"), node("Add", "a b", "c"), node("Mul", "a c", "y")]
    return (chain(nodes, PIXELS, (6, 6, 6), {**CONV, "b": weights(6, 1, 1)}),
            {"Conv": 1, "Add": 1, "Mul": 1})


def product_of_rows():
    nodes = [node("MatMul", "x w", "a"), node("Add", "b a", "y")]
    return chain(nodes, (5,), (4,), {"w": weights(5, 4), "b": weights(4)}), {"Gemm": 1}


def product_of_tokens():
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "c"), node("Relu", "c", "y")]
    return (chain(nodes, (7, 5), (7, 4), {"w": weights(5, 4), "b": weights(1, 1, 4)}),
            {"Reshape": 2, "Gemm": 1, "Relu": 1})


def product_of_two_unknown_axes():
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "y")]
    return (chain(nodes, ("T", 5), ("T", 4), {"w": weights(5, 4), "b": weights(4)}),
            {"MatMul": 1, "Add": 1})


def product_and_a_larger_sum():
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "y")]
    return (chain(nodes, (5,), ("M", 4), {"w": weights(5, 4), "b": weights(3, 1, 4)}),
            {"MatMul": 1, "Add": 1})


def mean_that_keeps_axes():
    nodes = [node("ReduceMean", "x", "y", axes=[-1, 2], keepdims=1)]
    return chain(nodes, PIXELS, (3, 1, 1), {}), {"GlobalAveragePool": 1}


def mean_without_axes():
    nodes = [node("ReduceMean", "x axes", "y", keepdims=0)]
    return (chain(nodes, PIXELS, (3,), {"axes": np.array([2, 3])}, opset=18),
            {"GlobalAveragePool": 1, "Flatten": 1})


def mean_over_channels():
    nodes = [node("ReduceMean", "x", "y", axes=[1, 2], keepdims=0)]
    return chain(nodes, PIXELS, (8,), {}), {"ReduceMean": 1}


def transposed_windows():
    nodes = [node("ConvTranspose", "x w b", "y", kernel_shape=[2, 2], strides=[2, 2])]
    return (chain(nodes, PIXELS, (5, 16, 16), {"w": weights(3, 5, 2, 2), "b": weights(5)}),
            {"Conv": 1, **WINDOWS})


def transposed_windows_with_norm_and_relu():
    nodes = [node("ConvTranspose", "x w", "a", strides=[3, 3]), norm("a", "b"),
             node("Relu", "b", "c"), conv("c v", "y")]
    return (chain(nodes, PIXELS, (2, 24, 24), {"w": weights(3, 6, 3, 3), "v": weights(2, 6, 1, 1),
                                               **NORM}),
            {"Conv": 2, "Relu": 1, **WINDOWS})


def transposed_windows_that_overlap():
    nodes = [node("ConvTranspose", "x w", "y", strides=[2, 2], kernel_shape=[3, 3])]
    return chain(nodes, PIXELS, (5, 17, 17), {"w": weights(3, 5, 3, 3)}), {"ConvTranspose": 1}


def transposed_windows_of_any_plane():
    nodes = [node("ConvTranspose", "x w", "y", strides=[2, 2])]
    return (chain(nodes, (3, "H", "W"), (5, "H2", "W2"), {"w": weights(3, 5, 2, 2)}),
            {"ConvTranspose": 1})


def transposed_windows_with_pads():
    nodes = [node("ConvTranspose", "x w", "y", strides=[2, 2], pads=[1, 1, 1, 1])]
    return chain(nodes, PIXELS, (5, 14, 14), {"w": weights(3, 5, 2, 2)}), {"ConvTranspose": 1}


def transposed_windows_in_groups():
    nodes = [node("ConvTranspose", "x w", "y", strides=[2, 2], group=3)]
    return chain(nodes, PIXELS, (6, 16, 16), {"w": weights(3, 2, 2, 2)}), {"ConvTranspose": 1}


def norm_after_a_sum():
    nodes = [conv("x w", "a"), node("Mul", "a a", "b"), norm("b", "c"), node("Relu", "c", "y")]
    return chain(nodes, PIXELS, (6, 6, 6), {**CONV, **NORM}), {"Conv": 2, "Mul": 1, "Relu": 1}


def norm_of_features():
    nodes = [node("Relu", "x", "a"), norm("a", "y")]
    return chain(nodes, (6,), (6,), NORM), {"Relu": 1, "BatchNormalization": 1}


CASES = [conv_and_added_channels, conv_with_a_bias_and_added_channels, conv_and_added_number,
         conv_and_added_columns, conv_that_is_read_twice, product_of_rows, product_of_tokens,
         product_of_two_unknown_axes, product_and_a_larger_sum, mean_that_keeps_axes,
         mean_without_axes, mean_over_channels, transposed_windows,
         transposed_windows_with_norm_and_relu, transposed_windows_that_overlap,
         transposed_windows_of_any_plane, transposed_windows_with_pads, transposed_windows_in_groups, norm_after_a_sum,
         norm_of_features]


@pytest.mark.parametrize("build", CASES)
def test_rewritten_network_should_compute_the_same(build, tmp_path):
    proto, operators = build()
    source, out = support.save(proto, tmp_path / "in.onnx"), tmp_path / "out.onnx"
    subprocess.run([TOOL, source, out, "ort"], check=True)
    support.check(out)
    assert Counter(n.op_type for n in onnx.load(out).graph.node) == Counter(operators)
    feeds = support.random_feeds(source, batch=3)
    support.assert_close(support.ort_run(out, feeds), support.ort_run(source, feeds), 1e-5)


def test_targets_without_rewrites_should_leave_the_model(tmp_path):
    proto, _ = conv_and_added_channels()
    source, out = support.save(proto, tmp_path / "in.onnx"), tmp_path / "out.onnx"
    subprocess.run([TOOL, source, out, "weights"], check=True)
    assert onnx.load(out).graph == onnx.load(source).graph


def test_names_should_stay_unique(tmp_path):
    """A file that uses the names of new nodes and tensors already."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["fc_product"], name="fc"),
             helper.make_node("Add", ["fc_product", "fc_bias"], ["fc_rows"], name="fc_rows_Reshape"),
             helper.make_node("Relu", ["fc_rows"], ["y"], name="fc_shape")]
    proto = chain(nodes, (7, 5), (7, 4), {"w": weights(5, 4), "fc_bias": weights(4)})
    source, out = support.save(proto, tmp_path / "in.onnx"), tmp_path / "out.onnx"
    subprocess.run([TOOL, source, out, "ort"], check=True)
    support.check(out)
    feeds = support.random_feeds(source, batch=2)
    support.assert_close(support.ort_run(out, feeds), support.ort_run(source, feeds), 1e-5)

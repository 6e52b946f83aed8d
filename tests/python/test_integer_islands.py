# SPDX-License-Identifier: Apache-2.0
"""Convolutions between float operators stay float for ONNX Runtime where the conversions around them
take longer than their integer kernels save, and only there."""

import pytest

import support
from small_models import conv, node
from support import save, weights

REASON = "the target computes it faster in float, as codes would be converted before and after it"
WIDE, NARROW = 64, 16


def gate(value, out):
    """An operator without integer kernels."""
    return node("Elu", value, out)


def islands(size, batch="N"):
    """A narrow convolution, and a narrow one that reads codes of a wide one. Each island ends at an
    Elu."""
    nodes = [gate("x", "a"), conv("a w0 b0", "b", name="narrow"), gate("b", "c"),
             conv("c w1 b1", "d", name="wide"), node("Relu", "d", "e"),
             conv("e w2 b2", "f", name="after_wide"), gate("f", "y")]
    shapes = [(NARROW, NARROW), (WIDE, NARROW), (NARROW, WIDE)]
    values = {f"w{i}": weights(*shape, 1, 1, seed=i) for i, shape in enumerate(shapes)}
    values |= {f"b{i}": weights(shape[0]) for i, shape in enumerate(shapes)}
    return support.model(nodes, {"x": [batch, NARROW, *size]}, {"y": [batch, NARROW, *size]}, values)


def quantize(proto, tmp_path, *options, size=(20, 20), target="ort"):
    source = save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", NARROW, *size, count=1)
    return support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, "--target",
                          target, "--weights", "int8", "--solver", "rtn", *options)


def float_layers(said):
    return {layer["node"]: layer["reason"] for layer in said["not_quantized"]}


@pytest.mark.parametrize("size", [(20, 20), ("H", "W")], ids=["known sizes", "open sizes"])
def test_island_should_stay_float_where_conversions_take_longer(size, tmp_path):
    said = quantize(islands(size), tmp_path)
    assert float_layers(said) == {"narrow": REASON}
    assert {layer["node"] for layer in said["layers"]} == {"wide", "after_wide"}


def test_small_losses_should_keep_the_smaller_codes(tmp_path):
    assert float_layers(quantize(islands((4, 4)), tmp_path, size=(4, 4))) == {}


@pytest.mark.parametrize("channels, stays", [(16, True), (128, False)])
def test_one_position_should_stay_float_while_that_is_small(channels, stays, tmp_path):
    """Squeeze and excitation: its time is that of its nodes, its size that of its weights."""
    nodes = [gate("x", "a"), node("GlobalAveragePool", "a", "b"),
             conv("b w0 b0", "c", name="squeeze"), node("Relu", "c", "d"),
             conv("d w1 b1", "e", name="excite"), node("HardSigmoid", "e", "f"),
             node("Mul", "a f", "g"), conv("g w2 b2", "y", name="wide")]
    shapes = [(channels // 2, channels), (channels, channels // 2), (WIDE, channels)]
    values = {f"w{i}": weights(*shape, 1, 1, seed=i) for i, shape in enumerate(shapes)}
    values |= {f"b{i}": weights(shape[0]) for i, shape in enumerate(shapes)}
    source = save(support.model(nodes, {"x": ["N", channels, 4, 4]}, {"y": ["N", WIDE, 4, 4]},
                                values), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", channels, 4, 4, count=1)
    said = support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, "--target",
                          "ort", "--weights", "int8", "--solver", "rtn")
    assert float_layers(said) == ({"squeeze": REASON, "excite": REASON} if stays else {})


def test_layer_that_is_named_should_keep_its_island(tmp_path):
    said = quantize(islands((20, 20)), tmp_path, "--layer", "narrow=int8")
    assert float_layers(said) == {}


def test_layers_should_be_quantized_rather_than_none(tmp_path):
    nodes = [gate("x", "a"), conv("a w b", "c"), gate("c", "y")]
    shape = ["N", NARROW, 20, 20]
    proto = support.model(nodes, {"x": shape}, {"y": shape},
                          {"w": weights(NARROW, NARROW, 1, 1), "b": weights(NARROW)})
    assert float_layers(quantize(proto, tmp_path)) == {}


def test_other_targets_should_not_compare(tmp_path):
    assert float_layers(quantize(islands((20, 20)), tmp_path, target="openvino")) == {}

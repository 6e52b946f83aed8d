# SPDX-License-Identifier: Apache-2.0
"""Operators with the sizes that exported networks give them, as models of one node.

A case is a family, a name, and a function that makes the model and its input."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20


class Case:
    """One node over one float input of a fixed shape; the other inputs are constants.
    `tolerance`: how far outputs may differ, relative to the largest."""

    tolerance = 1e-4

    def __init__(self, family, name, shape, kind, constants=(), nodes=None, **attributes):
        self.family, self.name, self.shape = family, name, shape
        self.kind, self.constants, self.nodes = kind, constants, nodes
        self.attributes = attributes

    def input(self):
        return numpy.random.default_rng(1).standard_normal(self.shape).astype(numpy.float32)

    def write(self, path):
        rng = numpy.random.default_rng(0)
        constants = [numpy_helper.from_array(c(rng) if callable(c) else c, f"c{i}")
                     for i, c in enumerate(self.constants)]
        names = [c.name for c in constants]
        nodes = (self.nodes(names) if self.nodes else
                 [helper.make_node(self.kind, ["x", *names], ["y"], **self.attributes)])
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "case", [given], [made], constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                    ir_version=9), path)


def normal(*shape, scale=1.0):
    return lambda rng: (scale * rng.standard_normal(shape)).astype(numpy.float32)


# ---- convolutions


def conv(family, channels, size, outputs, kernel, stride=1, pad=None, dilation=1, group=1, batch=1,
         transposed=False):
    """`size` and `kernel` are one number for a square, or one number per axis."""
    size = (size, size) if isinstance(size, int) else size
    each = [(v,) * len(size) if isinstance(v, int) else v for v in (kernel, stride, dilation)]
    kernel, stride, dilation = each
    if pad is None:
        pad = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation))
    pad = (pad,) * len(size) if isinstance(pad, int) else pad
    parts = [f"{batch}x{channels}x{'x'.join(map(str, size))}", f"{outputs}",
             "k" + "x".join(map(str, kernel))]
    parts += ["s" + "x".join(map(str, stride))] if max(stride) > 1 else []
    parts += ["d" + "x".join(map(str, dilation))] if max(dilation) > 1 else []
    parts += [f"g{group}"] if group > 1 else []
    shape = ((channels, outputs // group) if transposed else (outputs, channels // group))
    inputs = channels // group * int(numpy.prod(kernel))
    return Case(family, " ".join(parts), (batch, channels, *size),
                "ConvTranspose" if transposed else "Conv",
                [normal(*shape, *kernel, scale=inputs ** -.5), normal(outputs)],
                strides=stride, pads=(*pad, *pad), dilations=dilation, group=group)


def dense():
    """3x3 and larger, square, of classifiers, detectors and encoders."""
    for channels, size, outputs in [
            (3, 224, 64), (64, 56, 64), (128, 28, 128), (256, 14, 256), (512, 7, 512),  # ResNet
            (16, 32, 16), (32, 16, 32), (64, 8, 64),  # ResNet-20
            (64, 112, 128), (128, 56, 256), (512, 14, 512),  # VGG
            (128, 56, 32), (128, 14, 32), (128, 7, 32),  # DenseNet
            (16, 55, 64), (32, 27, 128), (48, 13, 192), (64, 13, 256),  # SqueezeNet
            (3, 160, 16), (16, 160, 16), (32, 80, 32), (64, 40, 64), (128, 20, 128), (64, 20, 64),
            (256, 20, 64), (64, 80, 64), (128, 40, 64), (80, 80, 80),  # YOLO
            (1, 28, 8), (8, 12, 16), (1, 28, 32), (32, 26, 64), (3, 32, 32), (32, 32, 32),
            (64, 32, 64), (3, 12, 10), (10, 5, 16), (16, 3, 32), (3, 24, 28), (28, 11, 48),
            (64, 128, 64), (64, 64, 64), (3, 128, 32), (32, 128, 3), (1, 96, 64), (64, 96, 32),
            (24, 60, 24), (64, 30, 12), (256, 8, 256), (512, 4, 512), (96, 14, 208),
            (192, 28, 96)]:
        yield conv("dense", channels, size, outputs, 3)
    for channels, size, outputs, kernel in [
            (1, 28, 6, 5), (6, 14, 16, 5), (16, 10, 120, 5), (64, 27, 192, 5), (16, 28, 32, 5),
            (48, 35, 64, 5), (1, 224, 64, 5), (3, 64, 64, 9), (64, 32, 32, 5), (32, 64, 3, 9),
            (96, 27, 256, 5), (32, 14, 128, 5), (64, 56, 64, 2), (8, 20, 8, 7)]:
        yield conv("dense", channels, size, outputs, kernel)


def strided():
    for channels, size, outputs, kernel, stride in [
            (3, 224, 64, 7, 2), (3, 224, 32, 3, 2), (3, 224, 16, 3, 2), (3, 224, 24, 3, 2),
            (64, 56, 128, 3, 2), (128, 28, 256, 3, 2), (256, 14, 512, 3, 2), (16, 32, 32, 3, 2),
            (32, 16, 64, 3, 2), (3, 320, 16, 3, 2), (16, 160, 32, 3, 2), (32, 80, 64, 3, 2),
            (64, 40, 128, 3, 2), (128, 20, 256, 3, 2), (3, 640, 16, 3, 2), (3, 320, 16, 6, 2),
            (3, 227, 96, 11, 4), (3, 224, 96, 4, 4), (96, 56, 192, 2, 2), (192, 28, 384, 2, 2),
            (3, 224, 192, 16, 16), (3, 32, 192, 4, 4), (3, 224, 384, 32, 32), (3, 128, 32, 5, 2),
            (1, 80, 16, 3, 2), (1, 64, 32, 3, 2), (64, 112, 64, 3, 2), (288, 35, 384, 3, 2),
            (32, 240, 16, 3, 2), (3, 160, 32, 3, 2), (4, 84, 32, 8, 4), (32, 20, 64, 4, 2)]:
        yield conv("strided", channels, size, outputs, kernel, stride)
    for channels, size, outputs in [(64, 56, 128), (256, 56, 512), (512, 28, 1024),
            (1024, 14, 2048),
                                    (16, 32, 32), (128, 28, 256)]:
        yield conv("strided", channels, size, outputs, 1, 2)


def pointwise():
    for channels, size, outputs in [
            (64, 56, 256), (256, 56, 64), (256, 56, 128), (512, 28, 128), (128, 28, 512),
            (1024, 14, 256), (256, 14, 1024), (2048, 7, 512), (512, 7, 2048),  # ResNet-50
            (32, 112, 16), (16, 112, 96), (96, 56, 24), (24, 56, 144), (144, 56, 24),
            (144, 28, 40), (40, 28, 240), (240, 28, 40), (240, 14, 80), (80, 14, 480),
            (480, 14, 112), (112, 14, 672), (672, 14, 112), (672, 7, 192), (192, 7, 1152),
            (1152, 7, 192), (1152, 7, 320), (320, 7, 1280),  # EfficientNet-Lite0
            (32, 112, 64), (64, 56, 128), (512, 14, 512), (1024, 7, 1024),  # MobileNetV1
            (16, 56, 72), (72, 28, 24), (88, 28, 24), (96, 14, 40), (576, 7, 96),  # V3
            (96, 55, 16), (128, 27, 32), (512, 13, 64), (512, 13, 1000),  # SqueezeNet
            (58, 28, 58), (116, 14, 116), (232, 7, 232), (464, 7, 1024),  # ShuffleNet
            (48, 80, 32), (64, 40, 64), (192, 20, 128), (384, 20, 128), (80, 80, 80), (64, 80, 64),
            (256, 20, 255), (96, 1, 24), (24, 1, 96), (576, 1, 144), (1280, 1, 1000),
            (64, 14, 4), (16, 40, 1), (128, 56, 21), (64, 128, 1), (480, 28, 192)]:
        yield conv("pointwise", channels, size, outputs, 1)
    for channels, length, outputs in [(384, 128, 1536), (80, 300, 512), (256, 100, 256)]:
        yield conv("pointwise", channels, (length,), outputs, 1)


def depthwise():
    for channels, size, kernel, stride in [
            (32, 112, 3, 1), (96, 112, 3, 2), (144, 56, 3, 1), (144, 56, 5, 2), (240, 28, 5, 1),
            (240, 28, 3, 2), (480, 14, 3, 1), (480, 14, 5, 1), (672, 14, 5, 1), (672, 14, 5, 2),
            (1152, 7, 5, 1), (1152, 7, 3, 1), (64, 112, 3, 2), (128, 56, 3, 1), (256, 28, 3, 1),
            (512, 14, 3, 1), (512, 14, 3, 2), (1024, 7, 3, 1), (16, 112, 3, 2), (72, 56, 3, 2),
            (88, 28, 3, 1), (96, 28, 5, 2), (120, 14, 5, 1), (288, 14, 5, 2), (576, 7, 5, 1),
            (58, 28, 3, 1), (116, 28, 3, 2), (232, 7, 3, 1), (96, 56, 7, 1), (192, 28, 7, 1),
            (384, 14, 7, 1), (768, 7, 7, 1), (16, 160, 3, 1), (64, 40, 3, 1), (32, 60, 3, 2),
            (48, 20, 3, 1), (64, 56, 9, 1), (32, 24, 31, 1)]:
        yield conv("depthwise", channels, size, channels, kernel, stride, group=channels)
    for channels, length, kernel, dilation in [(256, 100, 31, 1), (144, 300, 15, 1),
            (64, 500, 3, 2),
                                               (512, 100, 3, 4), (1536, 64, 4, 1)]:
        yield conv("depthwise", channels, (length,), channels, kernel, dilation=dilation,
                   group=channels)
    yield conv("depthwise", 8, 48, 32, 3, group=8)
    yield conv("depthwise", 512, 14, 512, 3, dilation=2, group=512)
    yield conv("depthwise", 960, (33, 33), 960, 3, dilation=4, group=960)


def grouped():
    for channels, size, outputs, kernel, stride, group in [
            (128, 56, 128, 3, 1, 32), (256, 28, 256, 3, 1, 32), (512, 14, 512, 3, 1, 32),
            (256, 56, 256, 3, 2, 32), (96, 27, 256, 5, 1, 2), (384, 13, 256, 3, 1, 2),
            (48, 56, 48, 3, 1, 2), (104, 28, 104, 3, 1, 13), (208, 14, 208, 3, 1, 26),
            (240, 28, 240, 1, 1, 3), (24, 56, 60, 1, 1, 3), (480, 14, 480, 1, 1, 3),
            (64, 56, 64, 3, 1, 8), (64, 14, 64, 1, 1, 4), (32, 32, 64, 3, 1, 4)]:
        yield conv("grouped", channels, size, outputs, kernel, stride, group=group)
    yield conv("grouped", 768, (49,), 768, 128, group=16, pad=64)


def dilated():
    for channels, size, outputs, dilation in [
            (256, 28, 256, 2), (512, 14, 512, 2), (512, 28, 256, 12), (320, 33, 256, 6),
            (256, 14, 256, 4), (64, 64, 64, 2), (32, 64, 32, 4), (128, 48, 128, 2),
            (21, 60, 21, 16)]:
        yield conv("dilated", channels, size, outputs, 3, dilation=dilation)
    for channels, length, outputs, kernel, dilation in [
            (64, 512, 64, 3, 2), (64, 512, 64, 3, 16), (128, 256, 128, 2, 8),
            (256, 100, 512, 3, 4),
            (512, 200, 512, 3, 3), (32, 2000, 64, 2, 64), (24, 60, 24, 3, 4)]:
        yield conv("dilated", channels, (length,), outputs, kernel, dilation=dilation)


def lines():
    """Along one axis: audio, text, sensors, and kernels of 1 by n in pictures."""
    for channels, length, outputs, kernel, stride in [
            (1, 16000, 64, 10, 5), (512, 1600, 512, 3, 2), (80, 300, 384, 3, 1),
            (384, 300, 384, 3, 2),
            (1, 512, 258, 256, 128), (129, 4, 128, 3, 1), (128, 8, 64, 3, 2), (64, 4, 64, 3, 1),
            (64, 2, 128, 3, 1), (9, 128, 64, 3, 1), (64, 126, 64, 3, 1), (1, 187, 32, 5, 1),
            (12, 1000, 64, 16, 1), (64, 512, 64, 7, 1), (512, 128, 256, 5, 1),
            (256, 512, 512, 5, 1),
            (192, 100, 192, 5, 1), (256, 200, 1024, 9, 1), (1, 4096, 16, 64, 8),
            (4, 200, 320, 26, 1),
            (768, 64, 768, 3, 1), (300, 40, 100, 3, 1), (300, 40, 100, 5, 1), (128, 50, 100, 4, 1),
            (80, 200, 512, 7, 1), (32, 8000, 1, 7, 1), (22, 1125, 40, 25, 1),
            (100, 15, 25, 15, 1)]:
        yield conv("line", channels, (length,), outputs, kernel, stride)
    for channels, size, outputs, kernel, stride in [
            (1, (76, 32), 24, (3, 3), 1), (24, (74, 30), 24, (1, 3), 1), (24, (74, 28),
            24, (3, 1), 1),
            (48, (36, 14), 48, (1, 3), 1), (48, (36, 12), 48, (3, 1), 1), (72, (17, 5),
            72, (1, 3), 1),
            (96, (15, 3), 96, (3, 1), 1), (96, (13, 1), 96, (3, 1), 1),  # openWakeWord
            (256, (512, 1), 512, (5, 1), 1), (64, (1, 400), 64, (1, 5), 1), (40, (22, 250),
            40, (22, 1), 1),
            (1, (64, 128), 8, (1, 64), 1), (128, (17, 17), 128, (1, 7), 1), (128, (17, 17),
            128, (7, 1), 1),
            (192, (17, 17), 192, (7, 1), 1), (384, (8, 8), 384, (1, 3), 1), (384, (8, 8),
            384, (3, 1), 1),
            (16, (32, 100), 16, (1, 9), 1), (1, (49, 10), 64, (10, 4), (2, 2)), (64, (25, 5),
            64, (3, 3), 1),
            (1, (40, 101), 45, (3, 3), 1), (45, (40, 101), 45, (3, 3), 1), (256, (4, 26),
            256, (3, 3), 1),
            (512, (2, 27), 512, (2, 2), 1), (120, (1, 80), 120, (1, 5), 1)]:
        pad = 0 if outputs in (24, 72, 96) or size[0] == kernel[0] else None
        yield conv("line", channels, size, outputs, kernel, stride, pad)


def transposed():
    for channels, size, outputs, kernel, stride, pad in [
            (64, 64, 32, 2, 2, 0), (32, 128, 16, 2, 2, 0), (512, 16, 256, 2, 2, 0),
            (128, 32, 64, 2, 2, 0),
            (256, 8, 128, 4, 2, 1), (128, 16, 64, 4, 2, 1), (64, 32, 3, 4, 2, 1),
            (100, 1, 512, 4, 1, 0),
            (24, 40, 24, 2, 2, 0), (24, 80, 1, 2, 2, 0), (56, 32, 1, 9, 3, 4),
            (21, 16, 21, 4, 2, 1),
            (128, 7, 64, 3, 2, 1), (64, 14, 32, 3, 2, 1)]:
        yield conv("transposed", channels, size, outputs, kernel, stride, pad, transposed=True)
    for channels, length, outputs, kernel, stride in [(512, 32, 256, 16, 8),
            (256, 256, 128, 16, 8),
                                                      (128, 512, 64, 4, 2), (32, 4000, 16, 4, 2)]:
        yield conv("transposed", channels, (length,), outputs, kernel, stride, stride // 2,
                   transposed=True)


def batches():
    """Batches of 50, or of windows."""
    for channels, size, outputs, kernel, stride, group in [
            (1, 8, 16, 3, 1, 1), (16, 8, 32, 3, 1, 1), (32, 4, 32, 3, 1, 1), (1, 28, 8, 5, 1, 1),
            (16, 32, 16, 3, 1, 1), (32, 16, 32, 3, 1, 1), (64, 8, 64, 3, 1, 1),
            (16, 32, 32, 3, 2, 1),
            (32, 16, 64, 3, 2, 1), (3, 32, 16, 3, 1, 1), (112, 14, 672, 1, 1, 1),
            (672, 14, 672, 5, 1, 672),
            (192, 7, 1152, 1, 1, 1), (1152, 7, 1152, 3, 1, 1152), (16, 28, 72, 1, 1, 1),
            (72, 28, 72, 3, 2, 72), (512, 7, 512, 3, 1, 1), (128, 14, 128, 3, 1, 32),
            (3, 24, 28, 3, 1, 1),
            (48, 4, 64, 2, 1, 1), (96, 1, 24, 1, 1, 1), (24, 28, 24, 3, 1, 24)]:
        yield conv("batch", channels, size, outputs, kernel, stride, group=group, batch=50)
    for channels, length, outputs, kernel in [(256, 64, 512, 5), (9, 128, 64, 3), (64, 126, 64, 3),
                                              (1, 187, 32, 5), (32, 90, 32, 5)]:
        yield conv("batch", channels, (length,), outputs, kernel, batch=50)
    yield conv("batch", 256, (64, 1), 512, (5, 1), batch=8)


def convolutions():
    for family in (dense, strided, pointwise, depthwise, grouped, dilated, lines, transposed,
            batches):
        yield from family()


# ---- others


def one(family, kind, shape, constants=(), **attributes):
    words = [f"{k}={v}".replace(" ", "") for k, v in attributes.items()
             if k not in ("pads", "transB")]
    shapes = ["x".join(map(str, c.shape)) for c in constants if hasattr(c, "shape")]
    return Case(family, " ".join([kind, "x".join(map(str, shape)), *shapes, *words]), shape, kind,
                constants, **attributes)


def constant(*shape, scale=1.0):
    return normal(*shape, scale=scale)(numpy.random.default_rng(0))


def normalizations():
    for shape in [(1, 12, 128, 128), (1, 6, 128, 128), (8, 12, 64, 64), (1, 1000), (50, 10),
                  (1, 8, 400, 400), (1, 3, 197, 197), (1, 8400, 80), (1, 64, 7, 7)]:
        yield one("softmax", "Softmax", shape, axis=-1)
    yield one("softmax", "Softmax", (1, 16, 4, 8400), axis=1)
    yield one("softmax", "Softmax", (1, 21, 64, 64), axis=1)
    yield one("softmax", "LogSoftmax", (1, 100, 1000), axis=-1)
    for shape in [(1, 128, 384), (1, 128, 768), (1, 197, 192), (50, 64, 64), (1, 3136, 96)]:
        yield one("norm", "LayerNormalization", shape, (constant(shape[-1]), constant(shape[-1])),
                axis=-1)
    yield one("norm", "InstanceNormalization", (1, 64, 64, 64), (constant(64), constant(64)))
    yield one("norm", "BatchNormalization", (1, 64, 56, 56), (
        constant(64), constant(64), constant(64), numpy.abs(constant(64)) + 1))
    yield one("norm", "GroupNormalization", (1, 64, 56, 56), (constant(8), constant(8)),
            num_groups=8)


def pools():
    for channels, size, kernel, stride in [(64, 112, 3, 2), (192, 28, 3, 1), (64, 56, 2, 2),
            (64, 55, 3, 2),
                                           (256, 20, 5, 1), (16, 32, 2, 2), (480, 28, 3, 2),
                                           (128, 40, 2, 2)]:
        for kind in ("MaxPool", "AveragePool"):
            yield one("pool", kind, (1, channels, size, size), kernel_shape=(kernel, kernel),
                      strides=(stride, stride),
                              pads=(kernel // 2,) * 4 if kernel % 2 else (0,) * 4)
    yield one("pool", "AveragePool", (1, 576, 7, 7), kernel_shape=(7, 7))
    yield one("pool", "MaxPool", (1, 64, 500), kernel_shape=(4,), strides=(4,))
    yield one("pool", "GlobalAveragePool", (1, 1280, 7, 7))
    yield one("pool", "GlobalAveragePool", (1, 96, 56, 56))
    yield one("pool", "ReduceMean", (1, 96, 56, 56), (numpy.array([2, 3]),))
    yield one("pool", "ReduceMean", (1, 128, 384), (numpy.array([-1]),))
    yield one("pool", "ReduceMax", (1, 256, 400), (numpy.array([-1]),))
    yield one("pool", "GlobalMaxPool", (1, 512, 64))


def elementwise():
    for kind in ("Relu", "Sigmoid", "Tanh", "Erf", "Gelu", "HardSwish", "Exp", "Elu", "Softplus"):
        yield one("elementwise", kind, (1, 128, 1536))
    yield one("elementwise", "LeakyRelu", (1, 64, 56, 56))
    yield one("elementwise", "PRelu", (1, 64, 56, 56), (constant(64, 1, 1),))
    yield one("elementwise", "Clip", (1, 64, 56, 56), (numpy.float32(0), numpy.float32(6)))
    yield one("elementwise", "Pow", (1, 128, 384), (numpy.float32(2),))
    for kind in ("Add", "Mul"):
        yield one("broadcast", kind, (1, 64, 56, 56), (constant(1, 64, 56, 56),))
        yield one("broadcast", kind, (1, 64, 56, 56), (constant(1, 64, 1, 1),))
        yield one("broadcast", kind, (1, 128, 384), (constant(384),))
        yield one("broadcast", kind, (1, 128, 384), (constant(128, 1),))
        yield one("broadcast", kind, (1, 128, 384), (numpy.float32(3),))
    yield one("broadcast", "Add", (1, 12, 128, 128), (constant(1, 1, 1, 128),))
    yield one("broadcast", "Div", (1, 12, 128, 128), (numpy.float32(8),))
    yield one("broadcast", "Sub", (1, 128, 384), (constant(1, 128, 1),))


def products():
    for rows, inner, columns in [(128, 384, 384), (128, 384, 1536), (128, 1536, 384),
            (128, 768, 768),
                                 (128, 768, 3072), (197, 192, 576), (1, 1280, 1000), (1, 512, 512),
                                 (64, 64, 256), (50, 400, 120), (16, 768, 768), (8, 384, 384)]:
        yield one("product", "MatMul", (1, rows, inner), (constant(inner, columns),))
        if rows != 197:
            yield one("product", "Gemm", (rows, inner), (constant(columns, inner),
                    constant(columns)), transB=1)
    for shape, other in [((1, 12, 128, 64), (1, 12, 64, 128)), ((1, 12, 128, 128),
            (1, 12, 128, 64)),
                         ((1, 3, 197, 64), (1, 3, 64, 197)), ((1, 6, 128, 128), (1, 6, 128, 64))]:
        yield one("product", "MatMul", shape, (constant(*other),))


def movements():
    for shape, perm in [((1, 56, 56, 64), (0, 3, 1, 2)), ((1, 64, 56, 56), (0, 2, 3, 1)),
                        ((1, 3, 224, 224), (0, 2, 3, 1)), ((1, 224, 224, 3), (0, 3, 1, 2)),
                        ((1, 128, 6, 64), (0, 2, 1, 3)), ((1, 6, 128, 64), (0, 1, 3, 2)),
                        ((1, 128, 6, 64), (0, 2, 3, 1)), ((128, 384), (1, 0)),
                        ((1, 2, 58, 28, 28), (0, 2, 1, 3, 4)),
                        ((1, 84, 8400), (0, 2, 1)), ((1, 8, 8, 7, 7, 96), (0, 1, 3, 2, 4, 5))]:
        yield one("movement", "Transpose", shape, perm=perm)
    data = numpy.arange(1000) * 37 % 8000
    yield one("movement", "ScatterND", (8400, 16), (
        data[:, None], constant(1000, 16)))
    yield one("movement", "ScatterElements", (1000, 64), (
        numpy.arange(64000).reshape(1000, 64) * 7 % 1000, constant(1000, 64)), axis=0)
    yield one("movement", "Gather", (8400, 84), (data,), axis=0)
    yield one("movement", "Slice", (1, 64, 80, 80), (numpy.array([0]), numpy.array([80]),
            numpy.array([3]),
                                                   numpy.array([2])))
    yield one("movement", "Resize", (1, 64, 40, 40), (numpy.float32([]),
            numpy.float32([1, 1, 2, 2])),
              mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    yield one("movement", "Resize", (1, 64, 40, 40), (numpy.float32([]),
            numpy.float32([1, 1, 2, 2])),
              mode="linear")
    yield one("movement", "Pad", (1, 64, 56, 56), (numpy.array([0, 0, 1, 1, 0, 0, 1, 1]),))
    yield one("movement", "Concat", (1, 64, 40, 40), (constant(1, 64, 40, 40),), axis=1)
    yield one("movement", "DepthToSpace", (1, 64, 64, 64), blocksize=2)
    yield one("movement", "SpaceToDepth", (1, 3, 224, 224), blocksize=2)
    yield one("movement", "Expand", (1, 64, 1, 1), (numpy.array([1, 64, 56, 56]),))


def quantized():
    scale, zero = numpy.float32(.05), numpy.uint8(128)

    def chain(count, kind=None, constants=(), **attributes):
        def nodes(names):
            made, at = [], "x"
            for i in range(count):
                out = f"q{i}", f"d{i}", f"o{i}"
                made.append(helper.make_node("QuantizeLinear", [at, names[0], names[1]], [out[0]]))
                made.append(helper.make_node("DequantizeLinear", [out[0], names[0], names[1]],
                        [out[1]]))
                made.append(helper.make_node(kind or "Relu", [out[1], *names[2:]], [out[2]],
                        **attributes))
                at = out[2]
            made[-1].output[0] = "y"
            return made
        return nodes, [scale, zero, *constants]

    for name, shape, kind, constants, attributes in [
            ("pairs and Relu", (1, 64, 56, 56), None, [], {}),
            ("pairs and Conv", (1, 64, 28, 28), "Conv", [constant(64, 64, 3, 3, scale=.04)],
            {"pads": [1] * 4}),
            ("pairs and MatMul", (1, 128, 384), "MatMul", [constant(384, 384, scale=.05)], {})]:
        nodes, given = chain(4, kind, constants, **attributes)
        case = Case("quantized", f"{name} {'x'.join(map(str, shape))}", shape, None, given, nodes)
        case.tolerance = .1  # a sum in another order may round to another code
        yield case


def others():
    for family in (normalizations, pools, elementwise, products, movements, quantized):
        yield from family()

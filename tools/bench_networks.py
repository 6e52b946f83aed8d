# SPDX-License-Identifier: Apache-2.0
"""The networks that tools/bench_targets.py measures, and their samples.

Those with labelled images, and others' exports, are not part of the repository: LDNQ_DATA (or
../shared/data). The rest is exported here by PyTorch, with random weights: their accuracy says
nothing, their time and their signal-to-noise ratio do."""

import csv
import os
import pathlib
import sys

import numpy
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("LDNQ_DATA", ROOT.parent / "shared" / "data")).resolve()


class Pictures:
    """A network with folders of images and their labels."""

    def __init__(self, name, folder, model, mean, std):
        self.name, self.folder, self.model = name, DATA / folder, DATA / folder / model
        self.mean, self.std = numpy.float32(mean), numpy.float32(std)

    def prepare(self, folder):
        pass

    def files(self, split):
        return sorted(p for p in (self.folder / split).rglob("*")
                      if p.suffix in (".png", ".jpg", ".JPEG", ".jpeg"))

    def samples(self, split):
        pixels = [numpy.asarray(Image.open(f).convert("RGB"), numpy.float32)
                  for f in self.files(split)]
        scaled = (numpy.stack(pixels) / 255 - self.mean) / self.std
        return {"input": scaled.transpose(0, 3, 1, 2).astype(numpy.float32)}

    def labels(self):
        """By labels.csv, else by the folders in alphabetical order."""
        table = self.folder / "eval" / "labels.csv"
        files = self.files("eval")
        if table.exists():
            with table.open() as rows:
                known = {row[0]: int(row[1]) for row in csv.reader(rows) if row[1].isdigit()}
            return numpy.array([known[f.name] for f in files])
        classes = sorted({f.parent.name for f in files})
        return numpy.array([classes.index(f.parent.name) for f in files])

    def options(self, _):
        triple = [",".join(f"{v:g}" for v in part.tolist()) for part in (self.mean, self.std)]
        return ["--calib", self.folder / "calib", "--mean", triple[0], "--std", triple[1]]


class Noise:
    """A network whose samples are noise. `make` writes the model."""

    def __init__(self, name, input_name, shape, model=None, make=None, words=0):
        self.name, self.input_name, self.shape, self.words = name, input_name, shape, words
        self.model, self.make = model, make

    def prepare(self, folder):
        if self.make:
            self.model = folder / f"{self.name.replace(' ', '-')}.onnx"
            self.make(self.model)
        numpy.savez(folder / f"{self.name.replace(' ', '-')}.npz", **self.samples("calib"))
        self.calib = folder / f"{self.name.replace(' ', '-')}.npz"

    def samples(self, split):
        rng = numpy.random.default_rng(len(split))
        count = 16 if split == "calib" else 8
        if self.words:
            return {self.input_name: rng.integers(0, self.words, (count, *self.shape))}
        drawn = rng.standard_normal((count, *self.shape)) * rng.uniform(.5, 2, (count, 1, 1, 1))
        return {self.input_name: drawn.astype(numpy.float32)}

    def labels(self):
        return None

    def options(self, _):
        return ["--calib", self.calib]


def export(module, shape, path, dynamo):
    """By either of PyTorch's exporters, with any batch."""
    import torch
    import zoo
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        for part in module.modules():
            zoo.settle(part)
        image = torch.randn(2, *shape)
        if dynamo:
            torch.onnx.export(module.eval(), image, path, dynamo=True, verbose=False,
                              external_data=False, input_names=["image"],
                              dynamic_shapes=({0: torch.export.Dim("batch")},))
        else:
            torch.onnx.export(module.eval(), image, path, dynamo=False, opset_version=17,
                              input_names=["image"], output_names=["out"],
                              dynamic_axes={"image": {0: "batch"}, "out": {0: "batch"}})


def yolo(path, dynamo=False):
    import zoo_images
    export(zoo_images.Yolo(32, 20, 16, 320), (3, 320, 320), path, dynamo)


def unet(path, dynamo=False):
    import zoo_images
    from torch import nn
    from zoo import conv_bn
    net = zoo_images.unet_transposed()
    net.down = nn.ModuleList([conv_bn(3, 16), conv_bn(16, 32), conv_bn(32, 64)])
    net.ups = nn.ModuleList([nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)])
    net.join = nn.ModuleList([conv_bn(64, 32), conv_bn(32, 16)])
    net.head = nn.Conv2d(16, 4, 1)
    export(net, (3, 128, 128), path, dynamo)


def vit(path):
    import zoo_attention
    export(zoo_attention.VisionTransformer(192, 8), (3, 32, 32), path, False)


def encoder(path):
    import bench_transformer
    bench_transformer.write(path)


def mobile(path):
    import zoo_convolutional
    export(zoo_convolutional.mobilenet_v3(), (3, 224, 224), path, False)


CIFAR = (.485, .456, .406), (.229, .224, .225)
HALF = (.498,) * 3, (.502,) * 3


def all_networks():
    sys.path.append(str(ROOT / "tests" / "python"))
    wild = DATA / "wild"
    return [
        Pictures("ResNet-20", "resnet20-cifar10", "resnet20-ts.onnx", *CIFAR),
        Pictures("ResNet-20 dynamo", "resnet20-cifar10", "resnet20-dynamo.onnx", *CIFAR),
        Pictures("EfficientNet-Lite0", "efficientnet-lite0", "efficientnet-lite0-ts.onnx", *HALF),
        Pictures("EfficientNet-Lite0 dynamo", "efficientnet-lite0",
                 "efficientnet-lite0-dynamo.onnx", *HALF),
        Noise("ultraface", "input", (3, 240, 320), wild / "ultraface-rfb-320.onnx"),
        Noise("ppocr-cls", "x", (3, 48, 192), wild / "ppocr-cls-v2.onnx"),
        Noise("mnist", "Input3", (1, 28, 28), wild / "mnist.onnx"),
        Noise("encoder", "tokens", (128,), make=encoder, words=1000),
        Noise("vision transformer", "image", (3, 32, 32), make=vit),
        Noise("YOLO head", "image", (3, 320, 320), make=yolo),
        Noise("YOLO head dynamo", "image", (3, 320, 320), make=lambda p: yolo(p, True)),
        Noise("U-Net", "image", (3, 128, 128), make=unet),
        Noise("U-Net dynamo", "image", (3, 128, 128), make=lambda p: unet(p, True)),
        Noise("MobileNetV3", "image", (3, 224, 224), make=mobile),
    ]

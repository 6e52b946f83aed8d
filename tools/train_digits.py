#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train the small digit classifier in testdata/digits and write its files anew.

Writes below --out:
  digits-ts.onnx      from PyTorch's TorchScript exporter, opset 13
  digits-dynamo.onnx  from PyTorch's dynamo exporter, its default opset
  calib/*.png         100 of the training images, flat
  eval/CLASS/*.png    600 held-out images, never trained on

The same versions of the packages on the same kind of CPU give the same files.
Takes less than a minute on one core.
"""

import argparse
import logging
import math
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

SEED = 7
EVAL_COUNT = 600
CALIB_COUNT = 100
BATCH = 64
TS_OPSET = 13


class ConvBN(nn.Sequential):
    """A convolution that keeps H and W at stride 1, and its BatchNorm."""

    def __init__(self, c_in, c_out, kernel=3, stride=1, groups=1):
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(c_out),
        )


class DigitNet(nn.Module):
    """One of each thing a quantizer must get right: a residual add, a stride,
    a depthwise and a pointwise convolution, pooling, a Gemm."""

    def __init__(self):
        super().__init__()
        self.stem = ConvBN(1, 24)
        self.res1 = ConvBN(24, 24)
        self.res2 = ConvBN(24, 24)
        self.down = ConvBN(24, 48, stride=2)
        self.depthwise = ConvBN(48, 48, groups=48)
        self.pointwise = ConvBN(48, 64, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x):                               # (N, 1, 8, 8)
        x = F.relu(self.stem(x))                        # (N, 24, 8, 8)
        x = F.relu(x + self.res2(F.relu(self.res1(x))))
        x = F.relu(self.down(x))                        # (N, 48, 4, 4)
        x = F.relu(self.depthwise(x))
        x = F.relu(self.pointwise(x))                   # (N, 64, 4, 4)
        return self.classifier(torch.flatten(self.pool(x), 1))


def load_images():
    """The images as the PNG files hold them, so that training sees what a reader sees."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)  # scikit-learn has 0..16
    return pixels, digits.target


def split_indices(count):
    """Training, calibration (a part of training) and evaluation indices."""
    order = np.random.RandomState(SEED).permutation(count)  # this stream is frozen by numpy
    evaluation, training = order[:EVAL_COUNT], order[EVAL_COUNT:]
    return training, training[:CALIB_COUNT], evaluation


def to_input(pixels):
    """uint8 (N, 8, 8) -> float32 (N, 1, 8, 8): the whole preprocessing."""
    return pixels[:, None].astype(np.float32) / 255


def augment(x):
    """Turn, scale and shift each image a little, as another hand would have."""
    n = len(x)
    angle = (torch.rand(n) - 0.5) * 2 * math.radians(12)
    scale = 1 + (torch.rand(n) - 0.5) * 0.2
    shift = (torch.rand(n, 2) - 0.5) * 0.3  # the image is 2 wide: up to 0.6 of a pixel
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1),
                         torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False),
                         align_corners=False)


def train(x, target, epochs):
    """Weight decay and soft targets keep the weights even in size, and the logits
    small: the network then has no few weights on which everything hangs."""
    model = DigitNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(x))
        total = 0.0
        for batch in order[:len(x) // BATCH * BATCH].split(BATCH):
            loss = F.cross_entropy(model(augment(x[batch])), target[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1:3d}  loss {total / (len(x) // BATCH):.4f}")
    return model.eval()


def export_torchscript(model, example, path):
    torch.onnx.export(model, (example,), path, dynamo=False, opset_version=TS_OPSET,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})


def export_dynamo(model, example, path):
    torch.onnx.export(model, (example,), path, dynamo=True, external_data=False, verbose=False,
                      input_names=["input"], output_names=["logits"],
                      dynamic_shapes={"x": {0: torch.export.Dim("N")}})
    strip_traces(path)


def strip_traces(path):
    """Drop the stack traces of the export: they hold paths of this machine."""
    model = onnx.load(path)
    graph = model.graph
    for item in [*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        kept = [p for p in item.metadata_props if "stack_trace" not in p.key]
        del item.metadata_props[:]
        item.metadata_props.extend(kept)
    onnx.save(model, path)


def write_pngs(folder, pixels, indices):
    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        Image.fromarray(pixels[index]).save(folder / f"{index:05d}.png", optimize=True)


def read_class_folders(folder):
    paths = sorted(folder.glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    return pixels, np.array([int(path.parent.name) for path in paths])


def check_and_score(path, pixels, target):
    """Top-1 accuracy of the file in ONNX Runtime."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    if "BatchNormalization" in operators:
        raise SystemExit(f"{path}: the exporter left a BatchNormalization unfolded")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"input": to_input(pixels)})[0]
    right = int((logits.argmax(1) == target).sum())
    print(f"{path.name}: opset {model.opset_import[0].version}, {path.stat().st_size} bytes, "
          f"{right}/{len(target)} right ({100 * right / len(target):.2f} %)")
    print("  " + " ".join(operators))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR",
                        help="folder to write to, made if missing (in this repository: "
                             "testdata/digits); files of the same name are replaced")
    parser.add_argument("--epochs", type=int, default=60, metavar="COUNT",
                        help="passes over the training images (default: %(default)s)")
    return parser.parse_args()


def main():
    args = parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # sums split over threads would depend on the core count
    torch.use_deterministic_algorithms(True)
    # The exporters warn about themselves (one is old) and about packages not needed here.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)

    pixels, target = load_images()
    training, calibration, evaluation = split_indices(len(pixels))
    write_pngs(args.out / "calib", pixels, calibration)
    for digit in range(10):
        write_pngs(args.out / "eval" / str(digit), pixels, evaluation[target[evaluation] == digit])

    x = torch.from_numpy(to_input(pixels))
    model = train(x[training], torch.from_numpy(target)[training], args.epochs)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")

    example = x[training[:2]]  # a batch of 1 would be exported as a constant
    export_torchscript(model, example, args.out / "digits-ts.onnx")
    export_dynamo(model, example, args.out / "digits-dynamo.onnx")

    held_out = read_class_folders(args.out / "eval")
    for name in ("digits-ts.onnx", "digits-dynamo.onnx"):
        check_and_score(args.out / name, *held_out)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A small network and its fake-quantized twin, as PyTorch exports them."""

import warnings

import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, stride=2)
        self.head = nn.Linear(8 * 9, 5)

    def prepare(self, x):
        return x

    def weight(self, layer):
        return layer.weight

    def forward(self, x):
        x = torch.relu(self.apply_to(self.first, x, nn.functional.conv2d, padding=1))
        x = torch.relu(self.apply_to(self.second, x, nn.functional.conv2d, stride=2))
        return self.apply_to(self.head, x.flatten(1), nn.functional.linear)

    def apply_to(self, layer, x, function, **more):
        return function(self.prepare(x), self.weight(layer), layer.bias, **more)


class Fake(Plain):
    """Activations of 8 bits, weights of 8 bits a channel."""

    def prepare(self, x):
        return torch.fake_quantize_per_tensor_affine(x, 0.03, 100, 0, 255)

    def weight(self, layer):
        # As a list, or the exporter would write down how it is computed.
        scale = torch.tensor((layer.weight.detach().abs().flatten(1).amax(1) / 127).tolist())
        return torch.fake_quantize_per_channel_affine(
            layer.weight, scale, torch.zeros_like(scale, dtype=torch.int32), 0, -128, 127)


def export_pair(folder):
    """(float file, fake-quantized file, samples)."""
    torch.manual_seed(3)
    plain, fake = Plain().eval(), Fake().eval()
    fake.load_state_dict(plain.state_dict())
    x = torch.randn(12, 3, 8, 8)
    for module, name in ((plain, "plain"), (fake, "fake")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, x[:1], str(folder / f"{name}.onnx"), dynamo=False,
                              opset_version=13, input_names=["x"], dynamic_axes={"x": {0: "N"}})
    return folder / "plain.onnx", folder / "fake.onnx", x.numpy()

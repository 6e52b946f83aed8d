# SPDX-License-Identifier: Apache-2.0
"""The zoo: small networks of the kinds that people export, with random weights.

A family's file (zoo_*.py) writes its modules in plain torch.nn and names each as a
species: how it is built, and what it is given.
"""

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

EXPORTERS = "ts11", "ts13", "ts17", "dynamo"  # TorchScript at an opset; dynamo at its default
SPECIES = {}


@dataclasses.dataclass(frozen=True)
class Species:
    name: str
    build: Callable[[], nn.Module]
    layers: int  # nodes that multiply by a constant weight, and can be quantized
    inputs: dict  # {name: function of (rng, batch, more)}, in the order of forward's arguments
    open_batch: bool  # exported with a batch of any size; else of one sample
    exporters: tuple  # of EXPORTERS; "-half" is in float16
    axes: dict  # {name of an input: {axis: name}}, of any size as well
    float_share: float  # most of its weights that may stay float: small tables, fixed places
    selects: bool  # its outputs have rows that its values select

    @property
    def seed(self):
        return zlib.crc32(self.name.encode())

    def module(self):
        """The same weights each time, and none that inference would not notice."""
        torch.manual_seed(self.seed)
        made = self.build()
        with torch.no_grad():
            for part in made.modules():
                settle(part)
        return made.eval()

    def feeds(self, batch, seed=0, half=False, more=0):
        """{name: array}, the batch along axis 0. `more`: how much longer open axes are."""
        rng = np.random.default_rng([self.seed, seed])
        made = {name: draw(rng, batch, more if name in self.axes else 0)
                for name, draw in self.inputs.items()}
        return {name: array.astype(np.float16) if half and array.dtype == np.float32 else array
                for name, array in made.items()}


def species(name, build, layers, open_batch=True, exporters=EXPORTERS, axes=None, float_share=0.05,
            selects=False, **inputs):
    assert name not in SPECIES
    SPECIES[name] = Species(name, build, layers, inputs, open_batch, exporters, axes or {},
                            float_share, selects)


def floats(*shape):
    """Not centred, as activations are not."""
    return lambda rng, batch, more: (
        rng.standard_normal((batch, shape[0] + more, *shape[1:])) + 0.3).astype(np.float32)


def ids(length, vocabulary):
    return lambda rng, batch, more: rng.integers(0, vocabulary, (batch, length + more))


def mask(length, dtype=bool):
    """True where there is text: at least two tokens of each row."""
    return lambda rng, batch, more: (
        np.arange(length + more) < rng.integers(2, length + more + 1, (batch, 1))).astype(dtype)


def ones(length):
    """A mask that hides nothing."""
    return lambda rng, batch, more: np.ones((batch, length + more), np.int64)


def settle(part):
    """Weights that keep activations at about their size, and statistics as training
    leaves them: torch's own are zeros and ones where errors would hide."""
    if isinstance(part, (nn.modules.conv._ConvNd, nn.Linear)):
        transposed = getattr(part, "transposed", False)
        inputs = part.weight[:, 0].numel() if transposed else part.weight[0].numel()
        part.weight.normal_(0, (1.5 / inputs) ** 0.5)
        if part.bias is not None:
            part.bias.normal_(0, 0.1)
    elif isinstance(part, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)):
        if part.weight is not None:
            part.weight.uniform_(0.6, 1.4)
            part.bias.normal_(0, 0.1)
        if getattr(part, "running_mean", None) is not None:
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.6, 1.4)
    elif isinstance(part, nn.MultiheadAttention):
        part.in_proj_bias.normal_(0, 0.1)
    elif isinstance(part, nn.PReLU):
        part.weight.uniform_(0.05, 0.4)


# ---- what several families are made of


class Apply(nn.Module):
    """A function as a part of nn.Sequential."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Add(nn.Module):
    """The sum of what its parts make of the input."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        total = self.parts[0](x)
        for part in self.parts[1:]:
            total = total + part(x)
        return total


class Cat(nn.Module):
    """What its parts make of the input, side by side along the channels."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return torch.cat([part(x) for part in self.parts], dim=1)


class SqueezeExcite(nn.Module):
    """Scales each channel by what the means of all of them say."""

    def __init__(self, channels, inside, activation, gate, dims=2):
        super().__init__()
        conv, pool = ((nn.Conv1d, nn.AdaptiveAvgPool1d) if dims == 1 else
                      (nn.Conv2d, nn.AdaptiveAvgPool2d))
        self.ways = nn.Sequential(pool(1), conv(channels, inside, 1), activation(),
                                  conv(inside, channels, 1), gate())

    def forward(self, x):
        return x * self.ways(x)


def conv_bn(inputs, outputs, kernel=3, stride=1, activation=nn.ReLU, **more):
    """Convolution that keeps the size at stride 1, its normalization, an activation."""
    more.setdefault("padding", kernel // 2 * more.get("dilation", 1))
    parts = [nn.Conv2d(inputs, outputs, kernel, stride, bias=False, **more),
             nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([activation()] if activation else []))


def classifier(channels, classes=10):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))

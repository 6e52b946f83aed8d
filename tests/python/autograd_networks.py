# SPDX-License-Identifier: Apache-2.0
"""Networks for comparing whole gradients with PyTorch's, with random weights; and ONNX
files of convolutional networks as functions of torch."""

import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional


def conv_norm(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.short = (nn.Identity() if stride == 1 and inputs == outputs
                      else conv_norm(inputs, outputs, 1, stride))
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x))) + self.short(x))


class ResNet20(nn.Module):
    """He and others, 2016, for CIFAR-10."""

    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        widths = [16] * 4 + [32] * 3 + [64] * 3
        self.stem = nn.Sequential(*conv_norm(3, 16, 3), nn.ReLU())
        self.blocks = nn.Sequential(*(
            BasicBlock(a, b, 1 + (a != b)) for a, b in zip(widths, widths[1:])))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expand):
        super().__init__()
        hidden = inputs * expand
        self.adds = stride == 1 and inputs == outputs
        self.expand = nn.Sequential(*conv_norm(inputs, hidden, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(*conv_norm(hidden, hidden, kernel, stride, hidden),
                                       nn.ReLU6())
        self.project = conv_norm(hidden, outputs, 1)

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """Lite0's kinds of blocks, one or two of each, on small pictures."""

    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        kinds = [(16, 16, 3, 1, 1), (16, 24, 3, 2, 6), (24, 24, 3, 1, 6), (24, 40, 5, 2, 6),
                 (40, 40, 5, 1, 6), (40, 80, 3, 2, 6), (80, 80, 3, 1, 6)]
        self.stem = nn.Sequential(*conv_norm(3, 16, 3, 2), nn.ReLU6())
        self.blocks = nn.Sequential(*(InvertedResidual(*kind) for kind in kinds))
        self.top = nn.Sequential(*conv_norm(80, 160, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(160, 20)

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.top(self.blocks(self.stem(x)))), 1))


class EncoderBlock(nn.Module):
    """A transformer encoder's block, norms in front, on a sequence of embeddings."""

    shape = (12, 32)

    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, width = x.shape
        split = self.qkv(self.norm_attention(x)).reshape(
            batch, length, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm_mlp(x))


KINKS = {nn.ReLU: (0,), nn.ReLU6: (0, 6)}


def nearest_kink(network, x):
    """How near any activation comes to a place where its function bends."""
    found = [float("inf")]

    def look(module, inputs):
        found.extend((inputs[0] - kink).abs().min().item() for kink in KINKS[type(module)])

    hooks = [module.register_forward_pre_hook(look) for module in network.modules()
             if type(module) in KINKS]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return min(found)


def batch_away_from_kinks(network, shape, count, by, seed=0):
    """Normal samples at each of which the network has the same activations switched on in
    float32, with its norms folded, and in double."""
    draw = torch.Generator().manual_seed(seed)
    chosen = []
    while len(chosen) < count:
        x = torch.randn((1, *shape), generator=draw)
        if nearest_kink(network, x) > by:
            chosen.append(x)
    return torch.cat(chosen)


def lively(network, seed=3):
    """Weights at random, and norms that are not the identity."""
    torch.manual_seed(seed)
    built = network().eval()
    for module in built.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return built


# ---- files


def conv(a, x, w, b=None):
    top, left, bottom, right = a.get("pads", [0] * 4)
    return functional.conv2d(functional.pad(x, (left, right, top, bottom)), w, b,
                             a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))


def taken(a, x, starts, ends, axes, steps):
    for start, end, axis, step in zip(*(each.tolist() for each in (starts, ends, axes, steps))):
        x = x.index_select(axis, torch.arange(*slice(start, end, step).indices(x.shape[axis])))
    return x


def padded(a, x, pads, value):
    front, back = pads.chunk(2)
    pairs = [int(size) for pair in zip(front.flip(0), back.flip(0)) for size in pair]
    return functional.pad(x, pairs, value=float(value))


OPERATORS = {
    "Conv": conv, "Slice": taken, "Pad": padded,
    "Relu": lambda a, x: torch.relu(x),
    "Clip": lambda a, x, low, high: x.clamp(float(low), float(high)),
    "Add": lambda a, x, y: x + y,
    "AveragePool": lambda a, x: functional.avg_pool2d(x, a["kernel_shape"], a["strides"]),
    "ReduceMean": lambda a, x, axes: x.mean(axes.tolist(), keepdim=True),
    "Reshape": lambda a, x, shape: x.reshape(shape.tolist()),
    "Gemm": lambda a, x, w, b: functional.linear(x, w if a["transB"] else w.T, b),
}


def in_double(tensor):
    value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    return value.double().requires_grad_() if value.is_floating_point() else value


def run_in_torch(proto, x):
    """(output, {name: initializer}) of a file, in double."""
    values = {tensor.name: in_double(tensor) for tensor in proto.graph.initializer}
    leaves = dict(values)
    values[proto.graph.input[0].name] = x
    for node in proto.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](
            attributes, *(values[name] for name in node.input))
    return values[proto.graph.output[0].name], leaves

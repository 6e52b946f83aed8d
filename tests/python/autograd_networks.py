"""Networks for comparing whole gradients with PyTorch's, with random weights."""

import torch
from torch import nn


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

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))) + self.short(x))


class ResNet20(nn.Module):
    """He and others, 2016, for CIFAR-10."""

    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        widths = [16] * 4 + [32] * 3 + [64] * 3
        self.stem = conv_norm(3, 16, 3)
        self.blocks = nn.Sequential(*(
            BasicBlock(a, b, 1 + (a != b)) for a, b in zip(widths, widths[1:])))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(torch.relu(self.stem(x)))
        return self.head(x.mean((2, 3)))


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

    shape = (3, 64, 64)

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

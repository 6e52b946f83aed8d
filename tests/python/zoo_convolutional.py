# SPDX-License-Identifier: Apache-2.0
"""The zoo's classifiers of pictures that are made of convolutions."""

import torch
import torch.nn.functional as F
from torch import nn
from zoo import Add, Cat, SqueezeExcite, classifier, conv_bn, floats, species


# ---- straight ones


def plain():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 32), nn.ReLU(), nn.Dropout(),
        nn.Linear(32, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), nn.Conv2d(16, 24, 5), nn.Tanh(),
        nn.Flatten(), nn.Linear(24, 20), nn.Tanh(), nn.Linear(20, 10), nn.LogSoftmax(dim=1))


def vgg():
    layers, inputs = [], 3
    for outputs in (8, "pool", 16, 16, "pool", 24, 24, "pool"):
        if outputs == "pool":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
                       nn.ReLU(inplace=True)]
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 48),
                         nn.ReLU(True), nn.Dropout(0.5), nn.Linear(48, 10))


species("plain-cnn", plain, 4, image=floats(1, 28, 28))
species("lenet", lenet, 5, image=floats(1, 28, 28))
species("vgg", vgg, 7, image=floats(3, 32, 32))


# ---- residual ones


class Residual(nn.Module):
    """ReLU of the sum of some layers and of what they were given, projected if need be."""

    def __init__(self, inputs, outputs, stride, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.shortcut = (nn.Identity() if stride == 1 and inputs == outputs else
                         conv_bn(inputs, outputs, 1, stride, None))

    def forward(self, x):
        return F.relu(self.layers(x) + self.shortcut(x))


def basic(inputs, outputs, stride=1):
    return Residual(inputs, outputs, stride, conv_bn(inputs, outputs, 3, stride),
                    conv_bn(outputs, outputs, 3, 1, None))


def bottleneck(inputs, outputs, stride=1, groups=1, dilation=1):
    inside = outputs // 2
    return Residual(inputs, outputs, stride, conv_bn(inputs, inside, 1),
                    conv_bn(inside, inside, 3, stride, groups=groups, dilation=dilation),
                    conv_bn(inside, outputs, 1, 1, None))


def stem(channels):
    return nn.Sequential(conv_bn(3, channels, 7, 2), nn.MaxPool2d(3, 2, padding=1))


def resnet():
    return nn.Sequential(stem(8), basic(8, 8), basic(8, 16, 2), basic(16, 16), classifier(16))


def resnet_bottleneck():
    return nn.Sequential(stem(8), bottleneck(8, 32), bottleneck(32, 32), bottleneck(32, 48, 2),
                         classifier(48))


def resnext():
    """Groups and dilation in one."""
    return nn.Sequential(stem(16), bottleneck(16, 32, groups=4), bottleneck(32, 48, 2, groups=8),
                         bottleneck(48, 48, groups=3, dilation=2), classifier(48))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 2 * growth, 1, bias=False),
            nn.BatchNorm2d(2 * growth), nn.ReLU(),
            nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


def densenet():
    return nn.Sequential(
        stem(8), DenseLayer(8, 6), DenseLayer(14, 6), nn.BatchNorm2d(20), nn.ReLU(),
        nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2, 2), DenseLayer(10, 6), DenseLayer(16, 6),
        nn.BatchNorm2d(22), nn.ReLU(), classifier(22))


species("resnet-basic", resnet, 9, image=floats(3, 32, 32))
species("resnet-bottleneck", resnet_bottleneck, 13, image=floats(3, 32, 32))
species("resnext", resnext, 13, image=floats(3, 32, 32))
species("densenet", densenet, 11, image=floats(3, 32, 32))


# ---- those for phones


class Skip(nn.Sequential):
    """Its layers' output and what they were given."""

    def forward(self, x):
        return x + super().forward(x)


def inverted(inputs, outputs, wide, stride, kernel, activation, middle=()):
    layers = [conv_bn(inputs, wide, 1, 1, activation),
              conv_bn(wide, wide, kernel, stride, activation, groups=wide), *middle,
              conv_bn(wide, outputs, 1, 1, None)]
    return (Skip if stride == 1 and inputs == outputs else nn.Sequential)(*layers)


def separable(inputs, outputs, stride):
    return nn.Sequential(conv_bn(inputs, inputs, 3, stride, groups=inputs),
                         conv_bn(inputs, outputs, 1))


def mobilenet_v1():
    return nn.Sequential(conv_bn(3, 8, 3, 2), separable(8, 16, 1), separable(16, 24, 2),
                         separable(24, 24, 1), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(24, 10),
                         nn.Softmax(dim=1))


def mobilenet_v2():
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, nn.ReLU6), inverted(8, 8, 24, 1, 3, nn.ReLU6),
        inverted(8, 16, 24, 2, 3, nn.ReLU6), inverted(16, 16, 48, 1, 3, nn.ReLU6),
        conv_bn(16, 40, 1, 1, nn.ReLU6), classifier(40))


def mobilenet_v3():
    def squeeze(channels):
        return [SqueezeExcite(channels, 8, nn.ReLU, nn.Hardsigmoid)]

    return nn.Sequential(
        conv_bn(3, 8, 3, 2, nn.Hardswish), inverted(8, 8, 16, 1, 3, nn.ReLU, squeeze(16)),
        inverted(8, 16, 32, 2, 5, nn.Hardswish, squeeze(32)),
        inverted(16, 16, 48, 1, 5, nn.Hardswish), conv_bn(16, 40, 1, 1, nn.Hardswish),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 32), nn.Hardswish(), nn.Dropout(),
        nn.Linear(32, 10))


def efficientnet():
    def squeeze(channels):
        return [SqueezeExcite(channels, 6, nn.SiLU, nn.Sigmoid)]

    return nn.Sequential(
        conv_bn(3, 8, 3, 2, nn.SiLU), inverted(8, 16, 24, 2, 5, nn.SiLU, squeeze(24)),
        inverted(16, 16, 48, 1, 3, nn.SiLU, squeeze(48)), conv_bn(16, 40, 1, 1, nn.SiLU),
        classifier(40))


class Shuffle(nn.Module):
    """Deals the channels out, so that each group gets of all."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        n, c, h, w = x.shape
        dealt = x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).contiguous()
        return dealt.view(n, c, h, w)


class ShuffleUnit(nn.Module):
    """Half of the channels go past the layers."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(conv_bn(half, half, 1),
                                    conv_bn(half, half, 3, 1, None, groups=half),
                                    conv_bn(half, half, 1))
        self.shuffle = Shuffle(2)

    def forward(self, x):
        past, through = x.chunk(2, dim=1)
        return self.shuffle(torch.cat([past, self.layers(through)], 1))


def shufflenet():
    down = Cat(separable(8, 12, 2), nn.Sequential(conv_bn(8, 8, 1), separable(8, 12, 2)))
    return nn.Sequential(conv_bn(3, 8, 3, 2), down, Shuffle(2), ShuffleUnit(24), ShuffleUnit(24),
                         conv_bn(24, 32, 1, groups=4), classifier(32))


def fire(inputs, squeezed, expanded):
    return nn.Sequential(
        nn.Conv2d(inputs, squeezed, 1), nn.ReLU(),
        Cat(nn.Sequential(nn.Conv2d(squeezed, expanded, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(squeezed, expanded, 3, padding=1), nn.ReLU())))


def squeezenet():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), fire(16, 4, 12),
        fire(24, 6, 16), nn.MaxPool2d(3, 2, ceil_mode=True), fire(32, 8, 16), nn.Dropout(),
        nn.Conv2d(32, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())


species("mobilenet-v1", mobilenet_v1, 8, image=floats(3, 32, 32))
species("mobilenet-v2", mobilenet_v2, 12, image=floats(3, 32, 32))
species("mobilenet-v3", mobilenet_v3, 17, image=floats(3, 32, 32))
species("efficientnet", efficientnet, 13, image=floats(3, 32, 32))
species("shufflenet", shufflenet, 14, image=floats(3, 32, 32), open_batch=False)
species("squeezenet", squeezenet, 11, image=floats(3, 48, 48))


# ---- those with branches


def inception(inputs, one, three, five, pooled):
    return Cat(conv_bn(inputs, one, 1),
               nn.Sequential(conv_bn(inputs, 8, 1), conv_bn(8, three, 3)),
               nn.Sequential(conv_bn(inputs, 4, 1), conv_bn(4, five, 5)),
               nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv_bn(inputs, pooled, 1)))


def factored(inputs, outputs):
    """1x7 and 7x1 for 7x7."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, (1, 7), padding=(0, 3)), nn.ReLU(),
                         nn.Conv2d(outputs, outputs, (7, 1), padding=(3, 0)), nn.ReLU())


def googlenet():
    return nn.Sequential(
        nn.Conv2d(3, 12, 7, 2, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.LocalResponseNorm(5), inception(12, 8, 12, 6, 6), inception(32, 8, 16, 8, 8),
        factored(40, 24), classifier(24))


class RepVggBlock(nn.Module):
    """As it is trained: 3x3, 1x1 and identity, each with its normalization."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        ways = [conv_bn(inputs, outputs, kernel, stride, None) for kernel in (3, 1)]
        if inputs == outputs and stride == 1:
            ways.append(nn.BatchNorm2d(inputs))
        self.ways = Add(*ways)

    def forward(self, x):
        return F.relu(self.ways(x))


def repvgg():
    return nn.Sequential(RepVggBlock(3, 12, 2), RepVggBlock(12, 12), RepVggBlock(12, 20, 2),
                         RepVggBlock(20, 20), classifier(20))


species("googlenet", googlenet, 16, image=floats(3, 48, 48))
species("repvgg", repvgg, 9, image=floats(3, 32, 32))


# ---- other normalizations, activations, paddings


class ConvNextBlock(nn.Module):
    """Channels last between the depthwise convolution and the way back."""

    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(F.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelsFirstNorm(nn.Module):
    """Normalizes over the channels, written out."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels) + 0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(channels))

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        unit = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * unit + self.bias[:, None, None]


class ConvNext(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 4, 4), ChannelsFirstNorm(12), ConvNextBlock(12), ConvNextBlock(12),
            ChannelsFirstNorm(12), nn.Conv2d(12, 24, 2, 2), ConvNextBlock(24))
        self.norm = nn.LayerNorm(24, eps=1e-6)
        self.head = nn.Linear(24, 10)

    def forward(self, image):
        return self.head(self.norm(self.features(image).mean([-2, -1])))


def group_norm():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.GroupNorm(4, 16), nn.ReLU(),
        nn.Conv2d(16, 24, 3, 2, padding=1, bias=False), nn.GroupNorm(8, 24), nn.SiLU(),
        nn.Conv2d(24, 24, 3, padding=1), nn.GroupNorm(1, 24, affine=False), nn.ReLU(),
        classifier(24))


ACTIVATIONS = [
    nn.PReLU(8), nn.PReLU(), nn.ELU(0.7), nn.SELU(), nn.Mish(), nn.SiLU(), nn.GELU(),
    nn.GELU(approximate="tanh"), nn.LeakyReLU(0.1), nn.Softplus(), nn.Softsign(), nn.Tanhshrink(),
    nn.Hardtanh(-0.7, 0.9), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.LogSigmoid(),
    nn.Hardshrink(0.3), nn.Softshrink(0.2), nn.Sigmoid(), nn.Tanh(), nn.GLU(dim=1),
]


def activations():
    """Each behind a convolution of its own, of which GLU halves the channels."""
    return Cat(*(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), each) for each in ACTIVATIONS))


def paddings():
    """Depthwise and full convolutions behind every way of padding."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2, padding_mode="reflect"), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, padding_mode="replicate"), nn.Conv2d(8, 12, 1),
        nn.ReLU(), nn.Conv2d(12, 12, 3, padding=(2, 1), groups=12, padding_mode="circular"),
        nn.Conv2d(12, 12, 1), nn.ReLU(), nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(12, 12, 3),
        nn.ReLU(), nn.ConstantPad2d(1, 0.5), nn.Conv2d(12, 8, 4, padding="same"), nn.ReLU(),
        classifier(8))


class Pools(nn.Module):
    """Adaptive pools to 1, to 2x2 and to 1x4, of averages and of maxima, side by side."""

    def __init__(self):
        super().__init__()
        self.layer = conv_bn(3, 8)
        self.pools = nn.ModuleList([
            nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d((1, 4)),
            nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d(2), nn.LPPool2d(2, 8, 4)])
        self.head = nn.Linear(8 * (1 + 4 + 4 + 1 + 4 + 9), 10)

    def forward(self, image):
        y = self.layer(image)
        return self.head(torch.cat([torch.flatten(pool(y), 1) for pool in self.pools], 1))


def volume():
    """Of a film or a scan."""
    return nn.Sequential(
        nn.Conv3d(1, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(6, 8, (3, 1, 3), stride=(2, 1, 1), padding=(1, 0, 1), groups=2), nn.ReLU(),
        nn.AvgPool3d(2), nn.Conv3d(8, 12, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(12, 5))


species("convnext", ConvNext, 12, image=floats(3, 32, 32))
species("group-norm", group_norm, 4, image=floats(3, 24, 24))
species("activations", activations, 22, image=floats(3, 12, 12))
species("padding-modes", paddings, 8, image=floats(3, 20, 20))
species("adaptive-pools", Pools, 2, image=floats(3, 16, 16))
species("conv3d", volume, 4, volume=floats(1, 8, 16, 16))


# ---- several inputs and outputs


class TwoInputs(nn.Module):
    """A picture and numbers about it."""

    def __init__(self):
        super().__init__()
        self.see = nn.Sequential(conv_bn(3, 8, 3, 2), conv_bn(8, 12, 3, 2), nn.AdaptiveAvgPool2d(1))
        self.know = nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 12))
        self.head = nn.Linear(12 + 12 + 144, 4)

    def forward(self, image, facts):
        seen, known = self.see(image).flatten(1), self.know(facts)
        products = (seen.unsqueeze(2) @ known.unsqueeze(1)).flatten(1)
        both = torch.cat([seen, known, products], 1)
        return self.head(F.relu(both))


class Pyramid(nn.Module):
    """A map at each of three sizes, the small ones added to the larger."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([conv_bn(a, b, 3, 2) for a, b in ((3, 8), (8, 12), (12, 16))])
        self.side = nn.ModuleList([nn.Conv2d(c, 8, 1) for c in (8, 12, 16)])
        self.smooth = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)])

    def forward(self, image):
        maps = []
        for down in self.down:
            image = down(image)
            maps.append(image)
        sides = [side(each) for side, each in zip(self.side, maps)]
        for i in (1, 0):
            sides[i] = sides[i] + F.interpolate(sides[i + 1], scale_factor=2, mode="nearest")
        return tuple(smooth(each) for smooth, each in zip(self.smooth, sides))


class TransposedWeights(nn.Module):
    """Matrices as parameters, read the other way round, from the left, and in a stack."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(24, 20) / 4)
        self.second = nn.Parameter(torch.randn(24, 16) / 5)
        self.left = nn.Parameter(torch.randn(6, 5) / 3)
        self.stack = nn.Parameter(torch.randn(6, 16, 8) / 4)
        self.offset = nn.Parameter(torch.randn(16) / 10)

    def forward(self, x):  # (N,5,20)
        y = torch.relu(x @ self.first.t())
        y = torch.relu(torch.matmul(y, self.second) + self.offset)
        y = torch.relu(torch.matmul(self.left, y))  # (N,6,16)
        return torch.matmul(y.unsqueeze(2), self.stack)


species("two-inputs", TwoInputs, 5, image=floats(3, 24, 24), facts=floats(7))
species("pyramid-outputs", Pyramid, 9, image=floats(3, 32, 32))
species("transposed-weights", TransposedWeights, 4, x=floats(5, 20))

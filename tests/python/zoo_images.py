# SPDX-License-Identifier: Apache-2.0
"""The zoo's networks that make pictures or maps of pictures."""

import torch
import torch.nn.functional as F
from torch import nn
from zoo import Apply, Cat, conv_bn, floats, species


# ---- down and up again


def autoencoder():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), nn.Linear(24, 784), nn.ReLU(),
        Apply(lambda x: x.view(-1, 16, 7, 7)),
        nn.ConvTranspose2d(16, 8, 3, 2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, padding=1), nn.Sigmoid())


def generator():
    """As of a GAN: from a vector to a picture, normalized between the layers."""
    return nn.Sequential(
        nn.Unflatten(1, (16, 1, 1)),
        nn.ConvTranspose2d(16, 24, 4, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.ConvTranspose2d(24, 12, 4, 2, padding=1, groups=2, bias=False), nn.BatchNorm2d(12),
        nn.ReLU(), nn.ConvTranspose2d(12, 3, 3, 2, padding=2, output_padding=1, dilation=2),
        nn.Tanh())


class UNet(nn.Module):
    """Three sizes; `up` makes the way back up, the maps of the way down are put beside."""

    def __init__(self, ups, ways):
        super().__init__()
        self.down = nn.ModuleList([conv_bn(3, 8), conv_bn(8, 16), conv_bn(16, 24)])
        self.ups = nn.ModuleList(ups)
        self.join = nn.ModuleList([conv_bn(ways[0] + 16, 16), conv_bn(ways[1] + 8, 8)])
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, image):
        large = self.down[0](image)
        middle = self.down[1](F.max_pool2d(large, 2))
        y = self.down[2](F.max_pool2d(middle, 2))
        y = self.join[0](torch.cat([self.ups[0](y), middle], 1))
        y = self.join[1](torch.cat([self.ups[1](y), large], 1))
        return self.head(y)


def unet_transposed():
    return UNet([nn.ConvTranspose2d(24, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)], (16, 8))


def unet_resized():
    return UNet([nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                 nn.Upsample(scale_factor=2, mode="nearest")], (24, 16))


class UNetOfAnySize(UNet):
    """Sizes of the way up are read off the maps, as segmentation code does."""

    def forward(self, image):
        large = self.down[0](image)
        middle = self.down[1](F.max_pool2d(large, 2))
        y = self.down[2](F.max_pool2d(middle, 2))
        for join, beside in zip(self.join, (middle, large)):
            y = F.interpolate(y, size=beside.shape[2:], mode="bilinear", align_corners=False)
            y = join(torch.cat([y, beside], 1))
        return torch.softmax(self.head(y), dim=1)


species("autoencoder", autoencoder, 6, image=floats(1, 28, 28))
species("generator", generator, 3, code=floats(16))
species("unet-transposed", unet_transposed, 8, image=floats(3, 24, 24))
species("unet-resized", unet_resized, 6, image=floats(3, 24, 24))
species("unet-any-size", lambda: UNetOfAnySize([], (24, 16)), 6, image=floats(3, 26, 22))


# ---- super-resolution, style


class SuperResolution(nn.Module):
    """Sub-pixel convolution over an enlarged input."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(),
            nn.Conv2d(12, 9, 3, padding=1), nn.PixelShuffle(3))

    def forward(self, image):
        return self.layers(image) + F.interpolate(image, scale_factor=3, mode="bicubic",
                                                  align_corners=False)


def unshuffle():
    """Works at a quarter of the size: pixels to channels and back."""
    return nn.Sequential(
        nn.PixelUnshuffle(2), nn.Conv2d(12, 16, 3, padding=1), nn.PReLU(16),
        nn.Conv2d(16, 16, 3, padding=1), nn.PReLU(16), nn.Conv2d(16, 12, 3, padding=1),
        nn.PixelShuffle(2), Apply(lambda x: torch.clamp(x, -2.0, 2.0)))


class StyleResidual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True), nn.ReLU(), nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True))

    def forward(self, x):
        return x + self.layers(x)


def style_transfer():
    return nn.Sequential(
        nn.ReflectionPad2d(4), nn.Conv2d(3, 8, 9), nn.InstanceNorm2d(8, affine=True), nn.ReLU(),
        nn.ReflectionPad2d(1), nn.Conv2d(8, 12, 3, 2), nn.InstanceNorm2d(12, affine=True),
        nn.ReLU(), StyleResidual(12), nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ReflectionPad2d(1), nn.Conv2d(12, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(),
        nn.ReflectionPad2d(4), nn.Conv2d(8, 3, 9))


species("super-resolution", SuperResolution, 3, image=floats(1, 14, 14))
species("pixel-unshuffle", unshuffle, 3, image=floats(3, 16, 16))
species("style-transfer", style_transfer, 6, image=floats(3, 24, 24))


# ---- segmentation, detection


class Fcn(nn.Module):
    """Scores of two depths, added and enlarged to the input's size."""

    def __init__(self):
        super().__init__()
        self.shallow = nn.Sequential(conv_bn(3, 8, 3, 2), conv_bn(8, 12, 3, 2))
        self.deep = nn.Sequential(conv_bn(12, 16, 3, 2), conv_bn(16, 16, 3, dilation=2))
        self.scores = nn.ModuleList([nn.Conv2d(12, 5, 1), nn.Conv2d(16, 5, 1)])

    def forward(self, image):
        shallow = self.shallow(image)
        deep = self.scores[1](self.deep(shallow))
        deep = F.interpolate(deep, scale_factor=2.0, mode="bilinear", align_corners=False)
        both = self.scores[0](shallow) + deep
        return F.interpolate(both, size=(32, 32), mode="bilinear", align_corners=False)


class Aspp(nn.Module):
    """Several dilations and the whole picture's mean side by side, and the class of each
    pixel beside the scores."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 12, 3, 2)
        self.ways = Cat(conv_bn(12, 8, 1), *(conv_bn(12, 8, 3, dilation=d) for d in (2, 3, 5)))
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn(12, 8, 1))
        self.head = nn.Sequential(conv_bn(40, 16, 1), nn.Dropout(), nn.Conv2d(16, 6, 1))

    def forward(self, image):
        y = self.stem(image)
        ways = self.ways(y)
        whole = self.whole(y).expand(-1, -1, *ways.shape[2:])
        scores = self.head(torch.cat([ways, whole], 1))
        return scores, scores.argmax(dim=1)


class Detector(nn.Module):
    """Boxes on anchors at two sizes and their classes, in two lists."""

    def __init__(self, classes=3, anchors=2):
        super().__init__()
        self.classes, self.boxes = classes, 4
        self.stem = nn.Sequential(conv_bn(3, 8, 3, 2), conv_bn(8, 12, 3, 2))
        self.down = conv_bn(12, 16, 3, 2)
        self.heads = nn.ModuleList([nn.Conv2d(c, anchors * (classes + 4), 3, padding=1)
                                    for c in (12, 16)])
        for i, size in enumerate((8, 4)):
            rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
            places = torch.stack([columns, rows], -1).reshape(-1, 1, 2).repeat(1, anchors, 1)
            self.register_buffer(f"places{i}", places.reshape(-1, 2).float())

    def decode(self, found, places, step):
        n = found.shape[0]
        flat = found.permute(0, 2, 3, 1).reshape(n, -1, self.classes + 4)
        centre, size, scores = flat.split([2, 2, self.classes], dim=2)
        centre = (centre.sigmoid() * 2 - 0.5 + places) * step
        size = size.clamp(max=2).exp() * step
        return torch.cat([centre - size / 2, centre + size / 2], 2), scores.sigmoid()

    def forward(self, image):
        near = self.stem(image)
        maps = near, self.down(near)
        parts = [self.decode(head(each), getattr(self, f"places{i}"), 4 * 2**i)
                 for i, (head, each) in enumerate(zip(self.heads, maps))]
        return torch.cat([box for box, _ in parts], 1), torch.cat([score for _, score in parts], 1)


species("fcn", Fcn, 6, image=floats(3, 32, 32))
species("aspp", Aspp, 8, image=floats(3, 32, 32))
species("detector", Detector, 5, image=floats(3, 32, 32))


# ---- a detector of one stage


def conv_silu(inputs, outputs, kernel=1, stride=1):
    return conv_bn(inputs, outputs, kernel, stride, nn.SiLU)


class Bottleneck(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(conv_silu(channels, channels, 3),
                                    conv_silu(channels, channels, 3))

    def forward(self, x):
        return x + self.layers(x)


class C2f(nn.Module):
    """Half of the channels through bottlenecks, each of whose outputs is concatenated."""

    def __init__(self, inputs, outputs, count=1):
        super().__init__()
        half = outputs // 2
        self.first, self.last = conv_silu(inputs, outputs), conv_silu((2 + count) * half, outputs)
        self.blocks = nn.ModuleList([Bottleneck(half) for _ in range(count)])

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Sppf(nn.Module):
    """Three maximum pools in a row, all of them concatenated."""

    def __init__(self, channels):
        super().__init__()
        self.first = conv_silu(channels, channels // 2)
        self.last = conv_silu(2 * channels, channels)

    def forward(self, x):
        maps = [self.first(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, 1, 2))
        return self.last(torch.cat(maps, 1))


class Yolo(nn.Module):
    """Boxes from distributions over 8 distances, in pixels, and classes, in one tensor."""

    def __init__(self, width=16, classes=5, bins=8, size=32):
        super().__init__()
        self.bins, self.classes = bins, classes
        self.stem = nn.Sequential(conv_silu(3, width // 2, 3, 2), conv_silu(width // 2, width, 3, 2),
                                  C2f(width, width), conv_silu(width, 2 * width, 3, 2))
        self.near = C2f(2 * width, 2 * width)
        self.down = nn.Sequential(conv_silu(2 * width, 4 * width, 3, 2), C2f(4 * width, 4 * width),
                                  Sppf(4 * width))
        self.join = C2f(6 * width, 2 * width)
        channels = (2 * width, 4 * width)
        self.boxes = nn.ModuleList([nn.Sequential(conv_silu(c, width, 3),
                                                  nn.Conv2d(width, 4 * bins, 1)) for c in channels])
        self.scores = nn.ModuleList([nn.Sequential(conv_silu(c, width, 3),
                                                   nn.Conv2d(width, classes, 1)) for c in channels])
        places, strides = [], []
        for stride in (8, 16):
            steps = torch.arange(size // stride) + 0.5
            rows, columns = torch.meshgrid(steps, steps, indexing="ij")
            places.append(torch.stack([columns, rows]).reshape(2, -1))
            strides.append(torch.full((1, places[-1].shape[1]), float(stride)))
        self.register_buffer("places", torch.cat(places, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1))
        self.register_buffer("distances", torch.arange(bins).float().reshape(1, bins, 1, 1))

    def forward(self, image):
        near = self.near(self.stem(image))
        far = self.down(near)
        near = self.join(torch.cat([F.interpolate(far, scale_factor=2.0), near], 1))
        found = [torch.cat([box(each), score(each)], 1).flatten(2)
                 for box, score, each in zip(self.boxes, self.scores, (near, far))]
        boxes, scores = torch.cat(found, 2).split([4 * self.bins, self.classes], 1)
        n, _, count = boxes.shape
        shares = boxes.view(n, 4, self.bins, count).transpose(1, 2).softmax(1)
        sides = F.conv2d(shares, self.distances).view(n, 4, count)
        low, high = sides.chunk(2, 1)
        low, high = self.places - low, self.places + high
        boxes = torch.cat([(low + high) / 2, high - low], 1) * self.strides
        return torch.cat([boxes, scores.sigmoid()], 1)


def contrasts(*shape):
    """Noise of another strength in each sample: its boxes would be alike otherwise."""
    return lambda rng, batch, more: (floats(*shape)(rng, batch, more) *
                                     rng.uniform(0, 4, (batch, 1, 1, 1))).astype("float32")


species("yolo", Yolo, 31, image=contrasts(3, 32, 32))

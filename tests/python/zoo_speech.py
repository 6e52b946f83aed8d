# SPDX-License-Identifier: Apache-2.0
"""The zoo's networks of speech that are made of other families: a recognizer with an encoder and
a decoder, a separator; and a detector that ends with the choice of its boxes."""

import torch
import torch.nn.functional as F
from torch import nn
from zoo import floats, ids, species
from zoo_attention import Block, SelfAttention
from zoo_images import Detector
from zoo_language import HALVES, attend, causal_bias, split_heads


class CrossBlock(nn.Module):
    """Attention to the past, then to the encoder's output."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.attend = SelfAttention(width, heads)
        self.q, self.v, self.out = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(),
                                   nn.Linear(2 * width, width))

    def forward(self, x, memory, bias):
        x = x + self.attend(self.norms[0](x), bias)
        q = split_heads(self.q(self.norms[1](x)), self.heads)
        k, v = (split_heads(part(memory), self.heads) for part in (self.k, self.v))
        x = x + self.out(attend(q, k, v, scale=q.shape[-1]**-0.5))
        return x + self.think(self.norms[2](x))


class Whisper(nn.Module):
    """Convolutions over a spectrogram, an encoder with sines, a decoder with a tied table."""

    def __init__(self, bins=8, vocabulary=128, width=32, heads=4, frames=12):
        super().__init__()
        self.see = nn.Sequential(nn.Conv1d(bins, width, 3, padding=1), nn.GELU(),
                                 nn.Conv1d(width, width, 3, stride=2, padding=1), nn.GELU())
        angle = torch.arange(frames)[:, None] / 100 ** (torch.arange(0, width, 2) / width)
        self.register_buffer("sines", torch.cat([angle.sin(), angle.cos()], 1), persistent=False)
        self.encode, self.norm = Block(width, heads), nn.LayerNorm(width)
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(128, width) / 2)
        self.decode, self.last = CrossBlock(width, heads), nn.LayerNorm(width)

    def forward(self, input_features, decoder_input_ids):
        memory = self.see(input_features).transpose(1, 2) + self.sines
        memory = self.norm(self.encode(memory))
        length = decoder_input_ids.shape[1]
        x = self.words(decoder_input_ids) + self.places[torch.arange(length)[None]]
        bias = causal_bias(torch.ones_like(decoder_input_ids), length, x.dtype)
        return self.last(self.decode(x, memory, bias)) @ self.words.weight.t()


class Separable(nn.Module):
    """A pointwise, a dilated depthwise and two pointwise convolutions, normalized over channels
    and time."""

    def __init__(self, width, inside, dilation):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv1d(width, inside, 1), nn.PReLU(), nn.GroupNorm(1, inside))
        self.along = nn.Sequential(
            nn.Conv1d(inside, inside, 3, padding=dilation, dilation=dilation, groups=inside),
            nn.PReLU(), nn.GroupNorm(1, inside))
        self.out, self.skip = nn.Conv1d(inside, width, 1), nn.Conv1d(inside, width, 1)

    def forward(self, x):
        y = self.along(self.enter(x))
        return x + self.out(y), self.skip(y)


class ConvTasNet(nn.Module):
    """A mask for each speaker over a learned transform of the sound."""

    def __init__(self, filters=32, width=24, inside=32, speakers=2):
        super().__init__()
        self.speakers = speakers
        self.analyse = nn.Conv1d(1, filters, 16, 8, bias=False)
        self.narrow = nn.Sequential(nn.GroupNorm(1, filters), nn.Conv1d(filters, width, 1))
        self.blocks = nn.ModuleList([Separable(width, inside, d) for d in (1, 2, 4)])
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(width, speakers * filters, 1), nn.Sigmoid())
        self.synthesize = nn.ConvTranspose1d(filters, 1, 16, 8, bias=False)

    def forward(self, sound):
        wave = F.relu(self.analyse(sound))
        x, total = self.narrow(wave), 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        masks = self.mask(total).unflatten(1, (self.speakers, -1))
        parts = (masks * wave[:, None]).flatten(0, 1)
        return self.synthesize(parts).unflatten(0, (-1, self.speakers)).squeeze(2)


species("whisper", Whisper, 17, exporters=HALVES, axes={"decoder_input_ids": {1: "length"}},
        input_features=floats(8, 24), decoder_input_ids=ids(7, 128))
species("conv-tasnet", ConvTasNet, 15, exporters=HALVES, sound=floats(1, 256))


class Suppression(torch.autograd.Function):
    """NonMaxSuppression as tools write it into a graph: torch only needs its shape."""

    @staticmethod
    def forward(ctx, boxes, scores, most, overlap, least):
        return torch.zeros(5, 3, dtype=torch.int64)

    @staticmethod
    def symbolic(g, boxes, scores, most, overlap, least):
        return g.op("NonMaxSuppression", boxes, scores, most, overlap, least)


class SuppressedDetector(nn.Module):
    """The boxes and scores of what is left over, of all images."""

    def __init__(self):
        super().__init__()
        self.detect = Detector()

    def choose(self, boxes, scores):
        most, overlap = torch.tensor([4]), torch.tensor([0.5])
        least = torch.tensor([0.3])
        if torch.compiler.is_exporting():
            return torch.onnx.ops.symbolic(
                "NonMaxSuppression", (boxes, scores, most, overlap, least), dtype=torch.int64,
                shape=(torch.sym_int(boxes.shape[0]), 3), version=11)
        return Suppression.apply(boxes.float(), scores.float(), most, overlap, least)

    def forward(self, image):
        boxes, scores = self.detect(image)
        image_of, class_of, box_of = self.choose(boxes, scores.transpose(1, 2)).unbind(1)
        return boxes[image_of, box_of], scores[image_of, box_of, class_of], class_of


species("detector-nms", SuppressedDetector, 5, exporters=("ts17", "dynamo"),
        selects=True, image=floats(3, 32, 32))

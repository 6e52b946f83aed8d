# SPDX-License-Identifier: Apache-2.0
"""The zoo's networks of attention, and the mixer that does without."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from zoo import EXPORTERS, Apply, conv_bn, floats, ids, mask, species


# ---- attention by hand


class SelfAttention(nn.Module):
    """Q, K and V from one layer; `bias` is added to the scores."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, bias=None):
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if bias is not None:
            scores = scores + bias
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    """Normalized in front of each half."""

    def __init__(self, width, heads, activation=nn.GELU):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend = SelfAttention(width, heads)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), activation(),
                                   nn.Linear(2 * width, width))

    def forward(self, x, bias=None):
        x = x + self.attend(self.norms[0](x), bias)
        return x + self.think(self.norms[1](x))


class Handwritten(nn.Module):
    """An encoder of vectors, with sines for their places."""

    def __init__(self, width=16, length=10):
        super().__init__()
        self.start = nn.Linear(6, width)
        angle = torch.arange(length)[:, None] / 100 ** (torch.arange(0, width, 2) / width)
        self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1))
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 2, nn.ReLU))
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        return self.head(self.blocks(self.start(x) + self.places).mean(1))


class VisionTransformer(nn.Module):
    def __init__(self, width=24, patch=8):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) / 2)
        self.places = nn.Parameter(torch.randn(1, 17, width) / 2)
        self.blocks = nn.Sequential(Block(width, 3), Block(width, 3))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, image):
        y = self.patches(image).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(y.shape[0], -1, -1), y], 1) + self.places
        return self.head(self.norm(self.blocks(y))[:, 0])


class Gpt(nn.Module):
    """Sees the past alone; the embedding is the output layer too."""

    def __init__(self, vocabulary=37, width=20, length=12):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, 4, lambda: nn.GELU(approximate="tanh"))
                                     for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("past", torch.tril(torch.ones(length, length)).bool())

    def forward(self, tokens):
        t = tokens.shape[1]
        x = self.embed(tokens) + self.places(torch.arange(t))
        bias = torch.zeros(t, t).masked_fill(~self.past[:t, :t], float("-inf"))
        for block in self.blocks:
            x = block(x, bias)
        return self.head(self.norm(x))


species("encoder-by-hand", Handwritten, 10, x=floats(10, 6))
species("vit", VisionTransformer, 10, exporters=(*EXPORTERS, "ts17-half"), image=floats(3, 32, 32))
species("gpt-tied", Gpt, 10, tokens=ids(12, 37))


# ---- torch's own attention


class TorchEncoder(nn.Module):
    def __init__(self, width=16, norm_first=False):
        super().__init__()
        self.embed = nn.Embedding(30, width)
        layer = nn.TransformerEncoderLayer(width, 4, 32, batch_first=True, norm_first=norm_first,
                                           activation="gelu" if norm_first else "relu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, tokens):
        return self.head(self.layers(self.embed(tokens)).mean(1))


class Masked(nn.Module):
    """Two kinds of tokens, and padding that nobody may look at: BERT's inputs."""

    def __init__(self, width=16):
        super().__init__()
        self.embed, self.kinds = nn.Embedding(30, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        self.block = nn.TransformerEncoderLayer(width, 2, 24, batch_first=True, activation="gelu")
        self.pool = nn.Linear(width, width)
        self.head = nn.Linear(width, 4)

    def forward(self, tokens, kinds, mask):
        x = self.norm(self.embed(tokens) + self.kinds(kinds))
        x = self.block(x, src_key_padding_mask=~mask)
        return self.head(torch.tanh(self.pool(x[:, 0]))), x * mask.unsqueeze(-1)


class CrossAttention(nn.Module):
    """A decoder over the memory of an encoder, steps along the first axis inside."""

    def __init__(self, width=12):
        super().__init__()
        self.start = nn.Linear(5, width)
        self.layer = nn.TransformerDecoderLayer(width, 3, 20)
        self.head = nn.Linear(width, 6)

    def forward(self, target, memory):
        target = self.start(target).transpose(0, 1)
        ahead = torch.triu(torch.ones(target.shape[0], target.shape[0]), diagonal=1).bool()
        y = self.layer(target, memory.transpose(0, 1), tgt_mask=ahead)
        return self.head(y.transpose(0, 1))


class FusedAttention(nn.Module):
    """scaled_dot_product_attention, causal."""

    def __init__(self, width=16, heads=4):
        super().__init__()
        self.heads = heads
        self.start = nn.Linear(7, width)
        self.ways = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(4)])

    def forward(self, x):
        x = torch.relu(self.start(x))
        n, t, c = x.shape
        q, k, v = (way(x).view(n, t, self.heads, c // self.heads).transpose(1, 2)
                   for way in self.ways[:3])
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.ways[3](y.transpose(1, 2).reshape(n, t, c))


species("encoder-torch", TorchEncoder, 9, float_share=0.13, tokens=ids(9, 30))
species("encoder-torch-prenorm", lambda: TorchEncoder(norm_first=True), 9, open_batch=False,
        float_share=0.13, tokens=ids(9, 30))
species("encoder-masked", Masked, 6, float_share=0.2, tokens=ids(8, 30), kinds=ids(8, 2),
        mask=mask(8))
species("decoder-cross", CrossAttention, 9, open_batch=False, target=floats(6, 5),
        memory=floats(9, 12))
species("attention-fused", FusedAttention, 5, x=floats(6, 7))


# ---- others


class Einsums(nn.Module):
    """Attention and projections all written as einsum."""

    def __init__(self, width=12, heads=3):
        super().__init__()
        inside = width // heads
        self.weights = nn.ParameterList([torch.randn(width, heads, inside) / 3 for _ in range(3)])
        self.out = nn.Parameter(torch.randn(heads, inside, width) / 3)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        q, k, v = (torch.einsum("ntc,chd->nhtd", x, w) for w in self.weights)
        scores = torch.einsum("nhtd,nhsd->nhts", q, k).softmax(-1)
        return self.head(x + torch.einsum("nhts,nhsd,hdc->ntc", scores, v, self.out))


class WindowBlock(nn.Module):
    """Attention inside of windows, which are shifted every other time: rolled, masked."""

    def __init__(self, width, heads, size, window, shift):
        super().__init__()
        self.size, self.window, self.shift = size, window, shift
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend = SelfAttention(width, heads)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(),
                                   nn.Linear(2 * width, width))
        self.relative = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window),
                                            indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None, :] + window - 1
        self.register_buffer("index", apart[0] * (2 * window - 1) + apart[1])
        self.register_buffer("mask", self.make_mask() if shift else None)

    def make_mask(self):
        """-100 between places that the roll has put side by side."""
        region = torch.zeros(1, self.size, self.size, 1)
        cuts = slice(-self.window), slice(-self.window, -self.shift), slice(-self.shift, None)
        for i, rows in enumerate(cuts):
            for j, columns in enumerate(cuts):
                region[:, rows, columns] = 3 * i + j
        region = self.split(region).squeeze(-1)
        return torch.where(region[:, None] == region[:, :, None], 0.0, -100.0)

    def split(self, x):  # (N,S,S,C) to (N windows, places, C)
        n, s, w, c = x.shape[0], self.size // self.window, self.window, x.shape[-1]
        return x.view(n, s, w, s, w, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, c)

    def join(self, x, n):
        s, w, c = self.size // self.window, self.window, x.shape[-1]
        return x.view(n, s, s, w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(n, s * w, s * w, c)

    def forward(self, x):
        n, moved = x.shape[0], self.norms[0](x)
        if self.shift:
            moved = torch.roll(moved, (-self.shift, -self.shift), dims=(1, 2))
        bias = self.relative[self.index].permute(2, 0, 1)
        if self.mask is not None:
            bias = (bias + self.mask[:, None]).repeat(n, 1, 1, 1)
        y = self.join(self.attend(self.split(moved), bias), n)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), dims=(1, 2))
        x = x + y
        return x + self.think(self.norms[1](x))


class Merge(nn.Module):
    """Four neighbours become one place."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.narrow = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.narrow(self.norm(torch.cat(parts, -1)))


def swin():
    return nn.Sequential(
        nn.Conv2d(3, 12, 4, 4), Apply(lambda x: x.permute(0, 2, 3, 1)),
        WindowBlock(12, 3, 8, 4, 0), WindowBlock(12, 3, 8, 4, 2), Merge(12),
        WindowBlock(24, 4, 4, 4, 0), nn.LayerNorm(24), Apply(lambda x: x.mean((1, 2))),
        nn.Linear(24, 10))


class MixerBlock(nn.Module):
    def __init__(self, places, width):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.across = nn.Sequential(nn.Linear(places, 24), nn.GELU(), nn.Linear(24, places))
        self.within = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x):
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norms[1](x))


def mixer():
    return nn.Sequential(
        nn.Conv2d(3, 16, 8, 8), nn.Flatten(2), Apply(lambda x: x.transpose(1, 2)),
        MixerBlock(16, 16), MixerBlock(16, 16), nn.LayerNorm(16), Apply(lambda x: x.mean(1)),
        nn.Linear(16, 10))


class RootMeanSquare(nn.Module):
    """nn.RMSNorm, written out."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Rotary(nn.Module):
    """A decoder block as large language models have it now: rotated queries and keys,
    fewer of them, gated layers."""

    def __init__(self, norm, width=16, heads=4, shared=2, length=8):
        super().__init__()
        self.heads, self.shared, self.inside = heads, shared, width // heads
        self.embed = nn.Embedding(33, width)
        self.norms = nn.ModuleList([norm(width), norm(width)])
        for each in self.norms:
            nn.init.uniform_(each.weight, 0.6, 1.4)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * shared * self.inside, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, 24, bias=False) for _ in range(2))
        self.down = nn.Linear(24, width, bias=False)
        self.head = nn.Linear(width, 33, bias=False)
        angle = torch.arange(length)[:, None] / 100 ** (torch.arange(0, self.inside, 2) / 4)
        self.register_buffer("cos", torch.cat([angle.cos()] * 2, 1))
        self.register_buffer("sin", torch.cat([angle.sin()] * 2, 1))
        self.register_buffer("ahead", torch.full((length, length), float("-inf")).triu(1))

    def rotate(self, x):
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat([-second, first], -1) * self.sin

    def attend(self, x):
        n, t, c = x.shape
        q = self.q(x).view(n, t, self.heads, self.inside).transpose(1, 2)
        kv = self.kv(x).view(n, t, 2 * self.shared, self.inside).transpose(1, 2)
        k, v = kv.repeat_interleave(self.heads // self.shared, dim=1).chunk(2, dim=1)
        scores = self.rotate(q) @ self.rotate(k).transpose(2, 3) * self.inside**-0.5
        y = torch.softmax(scores + self.ahead[:t, :t], -1) @ v
        return self.out(y.transpose(1, 2).reshape(n, t, c))

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + self.attend(self.norms[0](x))
        y = self.norms[1](x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.head(x)


class Conformer(nn.Module):
    """Attention and a convolution along time, as speech recognizers have it."""

    def __init__(self, width=16):
        super().__init__()
        self.start = nn.Sequential(conv_bn(1, 4, 3, 2), nn.Flatten(1, 2))
        self.enter = nn.Linear(24, width)
        self.think = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 32), nn.SiLU(),
                                   nn.Linear(32, width))
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True)
        self.along = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1), nn.GLU(dim=1),
            nn.Conv1d(width, width, 5, padding=2, groups=width), nn.BatchNorm1d(width), nn.SiLU(),
            nn.Conv1d(width, width, 1))
        self.head = nn.Linear(width, 8)

    def forward(self, spectrogram):  # (N,1,bins,time)
        x = self.enter(self.start(spectrogram).transpose(1, 2))
        x = x + 0.5 * self.think(x)
        y = self.norm(x)
        x = x + self.attend(y, y, y, need_weights=False)[0]
        x = x + self.along(x.transpose(1, 2)).transpose(1, 2)
        return self.head(x)


species("attention-einsum", Einsums, 4, float_share=0.23, x=floats(7, 12))
# The biases of its windows: dynamo writes those of each block, with the mask added.
species("swin", swin, 15, exporters=(*EXPORTERS, "ts17-half"), float_share=0.36,
        image=floats(3, 32, 32))
species("mlp-mixer", mixer, 10, image=floats(3, 32, 32))
species("rotary-decoder", lambda: Rotary(RootMeanSquare), 7, float_share=0.22,
        tokens=ids(8, 33))
species("rotary-decoder-fused-norm", lambda: Rotary(nn.RMSNorm), 7, open_batch=False,
        float_share=0.22, tokens=ids(8, 33))
species("conformer", Conformer, 10, spectrogram=floats(1, 12, 20))

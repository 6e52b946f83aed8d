# SPDX-License-Identifier: Apache-2.0
"""The zoo's language models as people export them: with a cache, an encoder beside a decoder,
experts, and recurrent ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops.scan import scan
from zoo import floats, ids, mask, ones, species
from zoo_attention import RootMeanSquare

HALVES = ("ts17", "dynamo", "ts17-half")


def split_heads(x, heads):  # (N,T,C) to (N,heads,T,C/heads)
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q, k, v, bias=0.0, scale=1.0):
    scores = q @ k.transpose(-2, -1) * scale + bias
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def causal_bias(mask, length, dtype):
    """(N,1,length,all) of 0 and the type's least number, for the last `length` of all places."""
    count = mask.shape[1]
    places = torch.arange(count)
    hidden = (places > places[count - length:, None]) | (mask[:, None, None, :] == 0)
    return torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)


# ---- decoders with a cache


class CachedAttention(nn.Module):
    """Queries of the new tokens over keys and values of the past ones as well; fewer heads of
    these, if told."""

    def __init__(self, width, heads, shared, bias):
        super().__init__()
        self.heads, self.shared = heads, shared
        inside = width // heads
        self.q = nn.Linear(width, width, bias=bias)
        self.k, self.v = (nn.Linear(width, shared * inside, bias=bias) for _ in range(2))
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x, bias, past, rotate):
        q = split_heads(self.q(x), self.heads)
        k, v = (split_heads(part(x), self.shared) for part in (self.k, self.v))
        q, k = rotate(q), rotate(k)
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        times = self.heads // self.shared
        wide = [part if times == 1 else
                part[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2) for part in (k, v)]
        return self.out(attend(q, *wide, bias, q.shape[-1]**-0.5)), (k, v)


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attend = CachedAttention(width, heads, heads, bias=True)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(approximate="tanh"),
                                   nn.Linear(2 * width, width))

    def forward(self, x, bias, past):
        y, present = self.attend(self.norms[0](x), bias, past, lambda part: part)
        x = x + y
        return x + self.think(self.norms[1](x)), present


class CachedGpt(nn.Module):
    """The table of words is the output layer too."""

    def __init__(self, vocabulary=128, width=32, heads=4, layers=2, length=128):
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([GptBlock(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.words.weight

    def forward(self, input_ids, attention_mask, *past):
        length = input_ids.shape[1]
        places = attention_mask.cumsum(-1)[:, -length:] - 1
        x = self.words(input_ids) + self.places(places)
        bias, presents = causal_bias(attention_mask, length, x.dtype), []
        for i, block in enumerate(self.blocks):
            x, present = block(x, bias, past[2 * i : 2 * i + 2])
            presents += present
        return self.head(self.norm(x)), *presents


class LlamaBlock(nn.Module):
    def __init__(self, width, heads, shared, inside):
        super().__init__()
        self.norms = nn.ModuleList([RootMeanSquare(width), RootMeanSquare(width)])
        self.attend = CachedAttention(width, heads, shared, bias=False)
        self.gate, self.up = (nn.Linear(width, inside, bias=False) for _ in range(2))
        self.down = nn.Linear(inside, width, bias=False)

    def forward(self, x, bias, past, rotate):
        y, present = self.attend(self.norms[0](x), bias, past, rotate)
        x = x + y
        y = self.norms[1](x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), present


class CachedLlama(nn.Module):
    """Rotated by angles that are computed from the places, in float32."""

    def __init__(self, vocabulary=128, width=32, heads=4, shared=2, inside=48):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.block = LlamaBlock(width, heads, shared, inside)
        self.norm = RootMeanSquare(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        half = width // heads // 2
        self.frequencies = (100.0 ** (-torch.arange(half) / half))[None, :, None]

    def rotation(self, places, dtype):
        angles = (self.frequencies @ places[:, None, :].float()).transpose(1, 2)
        angles = torch.cat([angles, angles], -1)[:, None]
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)

        def rotate(x):
            first, second = x.chunk(2, -1)
            return x * cos + torch.cat([-second, first], -1) * sin

        return rotate

    def forward(self, input_ids, attention_mask, position_ids, *past):
        x = self.words(input_ids)
        bias = causal_bias(attention_mask, input_ids.shape[1], x.dtype)
        x, present = self.block(x, bias, past, self.rotation(position_ids, x.dtype))
        return self.head(self.norm(x)), *present


def past(layers, heads, inside, length=5):
    """The cache, by the names that exporters give its parts."""
    shape = floats(heads, length, inside)
    return {f"past_key_values.{i}.{part}": lambda rng, batch, more: shape(rng, batch, 0)
            for i in range(layers) for part in ("key", "value")}


def places(length, start):
    return lambda rng, batch, more: np.tile(np.arange(start, start + length + more), (batch, 1))


def cache_axes(layers, *names):
    """Tokens, of any number, follow a past of any length."""
    return {**{name: {1: "new"} for name in names}, "attention_mask": {1: "all"},
            **{name: {2: "past"} for name in past(layers, 1, 1)}}



species("gpt-cache", CachedGpt, 15, exporters=HALVES, axes=cache_axes(2, "input_ids"),
        input_ids=ids(6, 128), attention_mask=ones(11), **past(2, 4, 8))
species("llama-cache", CachedLlama, 10, exporters=(*HALVES, "dynamo-half"), axes=cache_axes(1, "input_ids", "position_ids"),
        input_ids=ids(6, 128), attention_mask=ones(11), position_ids=places(6, 5),
        **past(1, 2, 8))


# ---- an encoder and a decoder, of one file each


class Relative(nn.Module):
    """A bias for each head by the distance of two places, in buckets that widen."""

    def __init__(self, heads, both_ways, buckets=16, farthest=32):
        super().__init__()
        self.both_ways, self.buckets, self.farthest = both_ways, buckets, farthest
        self.table = nn.Embedding(buckets, heads)

    def forward(self, length):
        places = torch.arange(length)
        apart = places[None, :] - places[:, None]
        count, start = self.buckets, 0
        if self.both_ways:
            count //= 2
            start = (apart > 0).long() * count
            apart = apart.abs()
        else:
            apart = -torch.min(apart, torch.zeros_like(apart))
        exact = count // 2
        wide = torch.log(apart.float() / exact) / math.log(self.farthest / exact) * (count - exact)
        wide = torch.min(exact + wide.long(), torch.full_like(apart, count - 1))
        bucket = start + torch.where(apart < exact, apart, wide)
        return self.table(bucket).permute(2, 0, 1)[None]


class T5Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.norm = heads, RootMeanSquare(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x, bias, memory=None):
        y = self.norm(x)
        read = y if memory is None else memory
        q, k, v = (split_heads(part(given), self.heads)
                   for part, given in ((self.q, y), (self.k, read), (self.v, read)))
        return x + self.out(attend(q, k, v, bias))


class GatedGelu(nn.Module):
    def __init__(self, width, inside):
        super().__init__()
        self.norm = RootMeanSquare(width)
        self.gate, self.up = (nn.Linear(width, inside, bias=False) for _ in range(2))
        self.down = nn.Linear(inside, width, bias=False)

    def forward(self, x):
        y = self.norm(x)
        return x + self.down(F.gelu(self.gate(y), approximate="tanh") * self.up(y))


class T5Encoder(nn.Module):
    def __init__(self, vocabulary=128, width=32, heads=4):
        super().__init__()
        self.words, self.relative = nn.Embedding(vocabulary, width), Relative(heads, both_ways=True)
        self.attends = nn.ModuleList([T5Attention(width, heads) for _ in range(2)])
        self.thinks = nn.ModuleList([GatedGelu(width, 48) for _ in range(2)])
        self.norm = RootMeanSquare(width)

    def forward(self, input_ids, attention_mask):
        x = self.words(input_ids)
        hidden = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        bias = self.relative(input_ids.shape[1]) + hidden
        for attention, think in zip(self.attends, self.thinks):
            x = think(attention(x, bias))
        return self.norm(x)


class T5Decoder(nn.Module):
    """Its words are the output layer too, scaled."""

    def __init__(self, vocabulary=128, width=32, heads=4):
        super().__init__()
        self.words, self.relative = nn.Embedding(vocabulary, width), Relative(heads, both_ways=False)
        self.attend, self.cross = T5Attention(width, heads), T5Attention(width, heads)
        self.think, self.norm = GatedGelu(width, 48), RootMeanSquare(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.words.weight

    def forward(self, decoder_input_ids, encoder_hidden_states, encoder_attention_mask):
        x, length = self.words(decoder_input_ids), decoder_input_ids.shape[1]
        bias = self.relative(length) + causal_bias(torch.ones_like(decoder_input_ids), length,
                                                   x.dtype)
        mask = encoder_attention_mask[:, None, None, :].to(x.dtype)
        x = self.attend(x, bias)
        x = self.cross(x, (1.0 - mask) * torch.finfo(x.dtype).min, encoder_hidden_states)
        return self.head(self.norm(self.think(x)) * x.shape[-1]**-0.5)


species("t5-encoder", T5Encoder, 15, exporters=HALVES,
        axes={"input_ids": {1: "length"}, "attention_mask": {1: "length"}},
        input_ids=ids(9, 128), attention_mask=mask(9, np.int64))
species("t5-decoder", T5Decoder, 13, exporters=HALVES,
        axes={"decoder_input_ids": {1: "length"}, "encoder_hidden_states": {1: "memory"},
              "encoder_attention_mask": {1: "memory"}},
        decoder_input_ids=ids(7, 128), encoder_hidden_states=floats(9, 32),
        encoder_attention_mask=ones(9))


# ---- experts


class LoopedExperts(nn.Module):
    """The tokens of each expert are picked, and what it makes of them is added to their places."""

    def __init__(self, width, inside, count):
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(width, inside, bias=False), nn.SiLU(),
                                                    nn.Linear(inside, width, bias=False))
                                      for _ in range(count)])

    def forward(self, x):
        flat = x.flatten(0, 1)
        share, chosen = torch.topk(self.router(flat).softmax(-1), 2)
        share = share / share.sum(-1, keepdim=True)
        total = torch.zeros_like(flat)
        for i, expert in enumerate(self.experts):
            own = (share * (chosen == i)).sum(-1, keepdim=True)
            total = total + own * expert(flat)
        return x + total.view_as(x)


class GatheredExperts(nn.Module):
    """The matrices of the expert of each token are looked up."""

    def __init__(self, width, inside, count):
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.up = nn.Parameter(torch.randn(count, width, inside) / width**0.5)
        self.down = nn.Parameter(torch.randn(count, inside, width) / inside**0.5)

    def forward(self, x):
        flat = x.flatten(0, 1)
        share, chosen = self.router(flat).softmax(-1).max(-1)
        y = F.silu(torch.bmm(flat[:, None], self.up[chosen]))
        y = torch.bmm(y, self.down[chosen])[:, 0] * share[:, None]
        return x + y.view_as(x)


class StackedExperts(nn.Module):
    """All experts compute all tokens in one product, and the router weighs them."""

    def __init__(self, width, inside, count):
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.up = nn.Parameter(torch.randn(count, width, inside) / width**0.5)
        self.down = nn.Parameter(torch.randn(count, inside, width) / inside**0.5)

    def forward(self, x):
        flat = x.flatten(0, 1)
        y = torch.matmul(F.silu(torch.matmul(flat, self.up)), self.down)  # (E,tokens,C)
        share = self.router(flat).softmax(-1).t()[..., None]
        return x + (share * y).sum(0).view_as(x)


class Experts(nn.Module):
    def __init__(self, vocabulary=128, width=32):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.layers = nn.Sequential(*(
            nn.Sequential(RootMeanSquare(width), kind(width, 24, 3))
            for kind in (LoopedExperts, GatheredExperts, StackedExperts)))
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        return self.head(self.layers(self.words(tokens)))


species("experts", Experts, 15, exporters=HALVES, tokens=ids(8, 128))


# ---- recurrent ones


class RecurrentLm(nn.Module):
    def __init__(self, layer, vocabulary=128, width=32):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.layer = layer(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, vocabulary)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        return self.head(self.layer(self.words(tokens))[0])


class Cell(nn.Module):
    """What a state-space layer does with one step: its matrices come from the token."""

    def __init__(self, inside, states, rank):
        super().__init__()
        self.states, self.rank = states, rank
        self.mix = nn.Linear(inside, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, inside)
        self.logs = nn.Parameter(torch.log(1.0 + torch.arange(states)).repeat(inside, 1))
        self.direct = nn.Parameter(torch.ones(inside))

    def forward(self, x):  # (N,T,inside)
        rank, b, c = self.mix(x).split([self.rank, self.states, self.states], -1)
        step = F.softplus(self.step(rank))[..., None]
        decay = torch.exp(step * -torch.exp(self.logs.to(x.dtype)))
        return self.scan(decay, step * b[:, :, None] * x[..., None], c) + self.direct * x


class UnrolledCell(Cell):
    def scan(self, decay, given, c):
        state, out = torch.zeros_like(given[:, 0]), []
        for i in range(given.shape[1]):
            state = decay[:, i] * state + given[:, i]
            out.append((state @ c[:, i, :, None])[..., 0])
        return torch.stack(out, 1)


class CumulativeCell(Cell):
    """In closed form: sums of what is given over the product of what has decayed."""

    def scan(self, decay, given, c):
        past = torch.exp(torch.cumsum(torch.log(decay), 1))
        return (past * torch.cumsum(given / past, 1) @ c[..., None])[..., 0]


@torch.jit.script
def scan_step_by_step(decay: torch.Tensor, given: torch.Tensor, c: torch.Tensor):
    state = torch.zeros_like(given[:, 0])
    out = []
    for i in range(given.shape[1]):
        state = decay[:, i] * state + given[:, i]
        out.append(torch.matmul(state, c[:, i].unsqueeze(-1)).squeeze(-1))
    return torch.stack(out, 1)


class LoopedCell(Cell):
    """A Loop in the file, of as many steps as there are tokens."""

    def scan(self, decay, given, c):
        return scan_step_by_step(decay, given, c)


class ScannedCell(Cell):
    """A Scan in the file."""

    def scan(self, decay, given, c):
        def step(state, slices):
            decay, given, c = slices
            state = decay * state + given
            return state, (state @ c[..., None])[..., 0]

        parts = [part.transpose(0, 1) for part in (decay, given, c)]
        return scan(step, torch.zeros_like(given[:, 0]), parts)[1].transpose(0, 1)


class MambaBlock(nn.Module):
    def __init__(self, width, cell):
        super().__init__()
        inside = 2 * width
        self.norm = RootMeanSquare(width)
        self.enter = nn.Linear(width, 2 * inside, bias=False)
        self.along = nn.Conv1d(inside, inside, 4, groups=inside, padding=3)
        self.cell = cell(inside, 4, 4)
        self.out = nn.Linear(inside, width, bias=False)

    def forward(self, x):
        y, gate = self.enter(self.norm(x)).chunk(2, -1)
        y = F.silu(self.along(y.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        return x + self.out(self.cell(y) * F.silu(gate))


class Mamba(nn.Module):
    def __init__(self, cell, vocabulary=128, width=32):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.block = MambaBlock(width, cell)
        self.norm = RootMeanSquare(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        return self.head(self.norm(self.block(self.words(tokens))))


species("lstm-lm", lambda: RecurrentLm(nn.LSTM), 6, exporters=HALVES, tokens=ids(8, 128))
species("gru-lm", lambda: RecurrentLm(nn.GRU), 6, exporters=HALVES, tokens=ids(8, 128))
species("mamba-unrolled", lambda: Mamba(UnrolledCell), 7, exporters=("ts17", "ts17-half"),
        tokens=ids(6, 128))
species("mamba-cumulative", lambda: Mamba(CumulativeCell), 7, exporters=("ts17",),
        tokens=ids(6, 128))
species("mamba-loop", lambda: Mamba(LoopedCell), 7, exporters=("ts17", "ts17-half"),
        tokens=ids(6, 128))
species("mamba-scan", lambda: Mamba(ScannedCell), 7, exporters=("dynamo",), tokens=ids(6, 128))

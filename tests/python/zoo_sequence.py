# SPDX-License-Identifier: Apache-2.0
"""The zoo's networks for sound and text that walk along it: convolutions in one
dimension, and recurrent ones."""

import torch
import torch.nn.functional as F
from torch import nn
from zoo import Apply, SqueezeExcite, floats, ids, mask, species


# ---- convolutions in one dimension


def audio():
    """Raw samples in, strided and dilated layers."""
    return nn.Sequential(
        nn.Conv1d(1, 8, 16, 4, padding=6), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(4),
        nn.Conv1d(8, 12, 3, padding=2, dilation=2), nn.BatchNorm1d(12), nn.ReLU(), nn.AvgPool1d(2),
        nn.Conv1d(12, 16, 3, padding=4, dilation=4, groups=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), nn.Linear(16, 6))


class Gated(nn.Module):
    """Sees only the past: padded on the left, tanh times sigmoid."""

    def __init__(self, channels, dilation):
        super().__init__()
        self.dilation = dilation
        self.filter = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.gate = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.out = nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, 10, 1)

    def forward(self, x):
        padded = F.pad(x, (self.dilation, 0))
        y = torch.tanh(self.filter(padded)) * torch.sigmoid(self.gate(padded))
        return x + self.out(y), self.skip(y)


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Conv1d(1, 8, 1)
        self.layers = nn.ModuleList([Gated(8, d) for d in (1, 2, 4, 8)])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(10, 10, 1), nn.ReLU(), nn.Conv1d(10, 6, 1))

    def forward(self, sound):
        x, total = self.start(sound), 0
        for layer in self.layers:
            x, skip = layer(x)
            total = total + skip
        return self.head(total)


class Temporal(nn.Module):
    """Padded on both sides, the future cut off again."""

    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        self.cut = 2 * dilation
        self.first = nn.utils.parametrizations.weight_norm(
            nn.Conv1d(inputs, outputs, 3, padding=self.cut, dilation=dilation))
        self.second = nn.Conv1d(outputs, outputs, 3, padding=self.cut, dilation=dilation)
        self.beside = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = F.relu(self.first(x)[:, :, : -self.cut])
        y = F.relu(self.second(y)[:, :, : -self.cut])
        return F.relu(y + self.beside(x))


def tcn():
    """The answer is read off the last step."""
    return nn.Sequential(Temporal(4, 12, 1), Temporal(12, 12, 2), Temporal(12, 16, 4),
                         Apply(lambda x: x[:, :, -1]), nn.Linear(16, 3))


class Squeezed(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, channels, 7, padding=3, bias=False), nn.BatchNorm1d(channels),
            nn.ReLU(), nn.Conv1d(channels, channels, 7, padding=3, bias=False),
            nn.BatchNorm1d(channels), SqueezeExcite(channels, 4, nn.ReLU, nn.Sigmoid, dims=1))

    def forward(self, x):
        return F.relu(x + self.layers(x))


def heartbeat():
    """As for an ECG of two leads."""
    return nn.Sequential(nn.Conv1d(2, 12, 15, 2, padding=7), nn.BatchNorm1d(12), nn.ReLU(),
                         Squeezed(12), nn.MaxPool1d(2), Squeezed(12), nn.AdaptiveMaxPool1d(1),
                         nn.Flatten(), nn.Linear(12, 4))


class Vocoder(nn.Module):
    """Sound out of a spectrogram."""

    def __init__(self):
        super().__init__()
        self.up = nn.ModuleList([nn.ConvTranspose1d(10, 12, 8, 4, padding=2),
                                 nn.ConvTranspose1d(12, 8, 4, 2, padding=1)])
        self.mix = nn.ModuleList([nn.Conv1d(c, c, 3, padding=d, dilation=d)
                                  for c, d in ((12, 1), (8, 3))])
        self.head = nn.Conv1d(8, 1, 7, padding=3)

    def forward(self, spectrogram):
        x = spectrogram
        for up, mix in zip(self.up, self.mix):
            x = up(F.leaky_relu(x, 0.1))
            x = x + mix(F.leaky_relu(x, 0.1))
        return torch.tanh(self.head(F.leaky_relu(x)))


species("audio-conv", audio, 4, sound=floats(1, 512))
species("wavenet", WaveNet, 18, sound=floats(1, 64))
species("tcn", tcn, 9, series=floats(4, 40))
species("squeeze-excite-1d", heartbeat, 10, leads=floats(2, 120))
species("vocoder", Vocoder, 5, spectrogram=floats(10, 12))


# ---- recurrent ones


class Tagger(nn.Module):
    """A class for each word, read from both sides."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 12)
        self.lstm = nn.LSTM(12, 10, batch_first=True, bidirectional=True)
        self.head = nn.Linear(20, 7)

    def forward(self, tokens):
        return F.log_softmax(self.head(self.lstm(self.embed(tokens))[0]), dim=-1)


class StatefulLstm(nn.Module):
    """Two layers; the state is the caller's, as for a stream."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 9, num_layers=2, batch_first=True)
        self.head = nn.Linear(9, 4)

    def forward(self, x, h, c):  # the state's axes: batch, layer, unit
        y, (h, c) = self.lstm(x, (h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous()))
        return self.head(y), h.transpose(0, 1), c.transpose(0, 1)


class GruClassifier(nn.Module):
    """Of the last state of the upper layer, both ways."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 8, padding_idx=0)
        self.gru = nn.GRU(8, 11, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(22, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, tokens):
        state = self.gru(self.embed(tokens))[1]
        return self.head(torch.cat([state[-2], state[-1]], dim=1))


class PlainRnn(nn.Module):
    """tanh and ReLU units."""

    def __init__(self):
        super().__init__()
        self.first = nn.RNN(5, 12, batch_first=True)
        self.second = nn.RNN(12, 10, batch_first=True, nonlinearity="relu", bias=False)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.second(self.first(x)[0])[0][:, -1])


class Reader(nn.Module):
    """Convolutions over a line of text, then recurrent along it, letters out."""

    def __init__(self):
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d((2, 1)))
        self.read = nn.GRU(48, 14)
        self.head = nn.Linear(14, 11)

    def forward(self, line):
        y = self.see(line)
        y = y.flatten(1, 2).permute(2, 0, 1)  # step, sample, feature
        return self.head(self.read(y)[0]).permute(1, 0, 2)


class CellLoop(nn.Module):
    """A GRU written out step by step from its cell."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        state = torch.zeros(x.shape[0], 8)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


class BagOfWords(nn.Module):
    """The mean of the embeddings of what the mask leaves."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.head = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 5))

    def forward(self, tokens, mask):
        weight = mask.unsqueeze(-1).float()
        mean = (self.embed(tokens) * weight).sum(1) / weight.sum(1).clamp(min=1e-6)
        return self.head(F.normalize(mean, dim=-1))


species("lstm-tagger", Tagger, 3, float_share=0.26, tokens=ids(9, 40))
species("lstm-stateful", StatefulLstm, 5, x=floats(7, 6), h=floats(2, 9), c=floats(2, 9))
species("gru-classifier", GruClassifier, 6, float_share=0.12, tokens=ids(8, 30))
species("plain-rnn", PlainRnn, 5, x=floats(6, 5))
species("text-reader", Reader, 5, line=floats(1, 16, 40))
species("gru-cell-loop", CellLoop, 11, x=floats(5, 4))
species("bag-of-words", BagOfWords, 2, float_share=0.62, tokens=ids(10, 50), mask=mask(10))

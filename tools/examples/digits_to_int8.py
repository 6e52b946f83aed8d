# SPDX-License-Identifier: Apache-2.0
"""From PyTorch to a checked int8 file, cell by cell: train, quantize, compare, run.

Editors that know `# %%` show it as a notebook. It needs the packages ldnq, torch, onnxscript,
scikit-learn and onnxruntime, and takes some 20 seconds.

    python digits_to_int8.py [FOLDER]      the files are written there; by default here
"""

# %% [markdown]
# ## 1. A network
# Handwritten digits of 8 x 8 pixels, a small convolutional network, a few seconds of training.
# With a network of your own, start at the next cell.

# %%
import pathlib
import sys

import numpy as np
import onnxruntime
import torch
from sklearn.datasets import load_digits
from torch import nn

import ldnq

torch.manual_seed(0)
folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
train, test = order[600:], order[:600]

net = nn.Sequential(
    nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
    nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
    nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
for epoch in range(5):
    for batch in train[torch.randperm(len(train))].split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
net.eval()

# %% [markdown]
# ## 2. Quantize
# The module goes in as it is; `example_inputs` is what it is called with. 200 of the training
# images, without their labels, are enough.

# %%
q = ldnq.quantize(net, images[train[:200]].numpy(), example_inputs=images[:2],
                  target="ort", weights="int8", progress=False)
q.save(folder / "digits-int8.onnx")
print(q)

# %% [markdown]
# ## 3. Is it good enough?
# On images that nothing was fitted to. `diff` also writes the page on which to decide.

# %%
judge = images[test].numpy()
d = ldnq.diff(net, q, judge, example_inputs=images[:2], progress=False)
d.html(folder / "digits-report.html")
print(f"agreement with the float network: {d.agreement:.2f} %, SQNR {d.sqnr:.1f} dB")

# %% [markdown]
# ## 4. Does the runtime compute the same?

# %%
session = onnxruntime.InferenceSession(q.model, providers=["CPUExecutionProvider"])
scores, = session.run(None, {session.get_inputs()[0].name: judge})
reference, = ldnq.run(q, judge).values()
distance = np.abs(scores - reference).max() / np.abs(reference).max()
accuracy = 100 * (scores.argmax(axis=1) == labels[test].numpy()).mean()
print(f"ONNX Runtime: top-1 {accuracy:.2f} %, within {100 * distance:.2f} % of ldnq run")
findings = ldnq.lint(q, target="ort")
print(findings)

# %%
if d.agreement < 99 or distance > 0.05 or findings.counts["broken"]:
    sys.exit("digits-int8.onnx should not be deployed")

# SPDX-License-Identifier: Apache-2.0
"""A transformer of PyTorch as a file with weights of 4 bits, checked in ONNX Runtime."""
import torch
import ldnq

layer = torch.nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
model = torch.nn.Sequential(torch.nn.Embedding(1000, 128),
                            torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
                            torch.nn.Linear(128, 1000))
texts = torch.randint(0, 1000, (64, 24))  # yours: a DataLoader of tokens
q = ldnq.quantize(model, calibration=texts, example_inputs=texts[:1], weights="int4")
print(q, ldnq.check(q, texts), sep="\n\n")
q.save("transformer-int4.onnx")

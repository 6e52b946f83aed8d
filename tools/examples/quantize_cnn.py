# SPDX-License-Identifier: Apache-2.0
"""A convolutional network of PyTorch as an int8 file, checked in ONNX Runtime."""
import torch
import ldnq

model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 3), torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(32, 64, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(), torch.nn.Linear(64, 10))
images = torch.randn(64, 3, 32, 32)  # yours: a DataLoader
q = ldnq.quantize(model, calibration=images, example_inputs=images[:1], weights="int8")
print(q, ldnq.check(q, images), sep="\n\n")
q.save("cnn-int8.onnx")

# SPDX-License-Identifier: Apache-2.0
"""Gradients of whole networks against PyTorch's autograd in double, and that neither
a ceiling nor the number of threads changes a bit of them."""

import copy

import numpy as np
import onnx
import pytest
import torch

import gradients
from autograd_networks import (EfficientNetLite, EncoderBlock, ResNet20, batch_away_from_kinks,
                               lively, run_in_torch)

RELATIVE = 5e-6  # of a gradient's norm
# Rounding in float32 moves an activation's input by less than that.
AWAY = 2e-6
# With millions of activations some are always nearer than that.
NEAR_KINKS = 5e-3

NETWORKS = {"resnet20": ResNet20, "efficientnet-lite": EfficientNetLite, "encoder": EncoderBlock}


torch.set_num_threads(1)  # these are small, and other tests may run beside


class Network:
    """A torch network, its file, a batch, and what autograd makes of them."""

    def __init__(self, kind, folder, batch=3):
        network = lively(kind)
        rng = np.random.default_rng(0)
        self.x = batch_away_from_kinks(network, kind.shape, batch, AWAY).numpy()
        self.file = folder / "net.onnx"
        torch.onnx.export(network, (torch.from_numpy(self.x[:2]),), self.file, dynamo=False,
                          opset_version=17, input_names=["x"], output_names=["y"],
                          training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
                          dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
        self.proto = onnx.load(self.file)
        double = copy.deepcopy(network).double()
        x = torch.from_numpy(self.x).double().requires_grad_()
        y = double(x)
        self.seed = rng.standard_normal(y.shape).astype(np.float32)
        (y * torch.from_numpy(self.seed).double()).sum().backward()
        self.expected = {name: p.grad.numpy() for name, p in double.named_parameters()}
        self.expected["x"] = x.grad.numpy()
        self.requested = list(self.expected)

    def compute(self, folder, requested=None, **options):
        return gradients.compute(folder, self.proto, [self.x], [self.seed],
                                 requested or self.requested, **options)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    return Network(NETWORKS[request.param], tmp_path_factory.mktemp(request.param))


def off(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def test_gradients_should_be_those_of_autograd(network, tmp_path):
    initializers = {tensor.name for tensor in network.proto.graph.initializer}
    assert set(network.requested) - {"x"} <= initializers
    found, _ = network.compute(tmp_path)
    errors = {name: off(found[name], want) for name, want in network.expected.items()}
    print("largest:", max(errors.values()))
    assert max(errors.values()) <= RELATIVE, errors


def folded_biases(proto):
    """{name of the bias that a convolution has once its BatchNormalization is folded
    into it: name of the parameter whose gradient it has}."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    found = {}
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization":
            conv = makers[node.input[0]]
            found[f"{conv.name}.bias"] = node.input[2]
    return found


def test_gradients_should_be_those_of_autograd_behind_all_passes(network, tmp_path):
    folded = folded_biases(network.proto)
    norms = {name for node in network.proto.graph.node if node.op_type == "BatchNormalization"
             for name in node.input[1:]}
    convs = {node.input[1] for node in network.proto.graph.node if node.op_type == "Conv"}
    # Weights behind a folded Transpose are no longer read.
    turned = {node.input[0] for node in network.proto.graph.node if node.op_type == "Transpose"}
    plain = [name for name in network.requested if name not in norms | convs | turned]
    assert "x" in plain and len(plain) > 2
    found, _ = network.compute(tmp_path, plain + list(folded), passes=True)
    errors = {name: off(gradient, network.expected[folded.get(name, name)])
              for name, gradient in found.items()}
    print("largest:", max(errors.values()))
    assert max(errors.values()) <= RELATIVE, errors


def test_gradients_should_be_the_same_bits_for_any_number_of_threads(network, tmp_path):
    serial, _ = network.compute(tmp_path / "1", threads=1)
    for threads in 2, 3:
        found, _ = network.compute(tmp_path / str(threads), threads=threads)
        for name in network.requested:
            assert found[name].tobytes() == serial[name].tobytes(), (threads, name)


def test_gradients_should_be_the_same_bits_under_a_ceiling(network, tmp_path):
    whole, peak = network.compute(tmp_path / "whole")
    for percent in 80, 60:
        limit = peak * percent // 100
        found, lower = network.compute(tmp_path / str(percent), max_bytes=limit)
        assert lower <= limit, f"{lower} bytes under a ceiling of {limit}"
        for name in network.requested:
            assert found[name].tobytes() == whole[name].tobytes(), (percent, name)


def test_gradients_should_take_less_where_only_the_input_is_wanted(network, tmp_path):
    whole, peak = network.compute(tmp_path / "whole")
    found, lower = network.compute(tmp_path / "input", ["x"])
    assert lower < peak
    assert found["x"].tobytes() == whole["x"].tobytes()


@pytest.mark.parametrize("name", ["resnet20-cifar10/resnet20", "efficientnet-lite0/"
                                  "efficientnet-lite0"])
def test_gradients_of_real_networks_should_be_those_of_autograd(name, real_data, tmp_path):
    dynamo, script = (onnx.load(real_data(f"{name}-{kind}.onnx")) for kind in ("dynamo", "ts"))
    given = dynamo.graph.input[0]
    side = given.type.tensor_type.shape.dim[2].dim_value
    x = np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)
    inputs = torch.from_numpy(x).double().requires_grad_()
    y, leaves = run_in_torch(dynamo, inputs)
    seed = np.random.default_rng(1).standard_normal(tuple(y.shape)).astype(np.float32)
    (y * torch.from_numpy(seed).double()).sum().backward()
    expected = {k: v.grad.numpy() for k, v in leaves.items() if v.grad is not None}
    expected[given.name] = inputs.grad.numpy()
    for passes in False, True:
        found, _ = gradients.compute(tmp_path / f"dynamo{passes}", dynamo, [x], [seed],
                                     list(expected), passes=passes)
        for each, want in expected.items():
            assert off(found[each], want) <= NEAR_KINKS, (passes, each)
        theirs = script.graph.input[0].name
        found, _ = gradients.compute(tmp_path / f"ts{passes}", script, [x], [seed], [theirs],
                                     passes=passes)
        assert off(found[theirs], expected[given.name]) <= NEAR_KINKS, passes

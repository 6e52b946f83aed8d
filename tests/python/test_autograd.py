"""Gradients of whole networks against PyTorch's autograd in double, and that neither
a ceiling nor the number of threads changes a bit of them."""

import copy

import numpy as np
import onnx
import pytest
import torch

import gradients
from autograd_networks import EfficientNetLite, EncoderBlock, ResNet20, lively

# Of a gradient's norm. Torch's own float32 gradients are off by a third of that: a
# Relu whose input is next to zero may be on the other side of it in double.
RELATIVE = 1e-4

NETWORKS = {"resnet20": ResNet20, "efficientnet-lite": EfficientNetLite, "encoder": EncoderBlock}


class Network:
    """A torch network, its file, a batch, and what autograd makes of them."""

    def __init__(self, kind, folder, batch=3):
        network = lively(kind)
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((batch, *kind.shape)).astype(np.float32)
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
        self.wanted = list(self.expected)

    def compute(self, folder, wanted=None, **options):
        return gradients.compute(folder, self.proto, [self.x], [self.seed],
                                 wanted or self.wanted, **options)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    return Network(NETWORKS[request.param], tmp_path_factory.mktemp(request.param))


def off(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def test_gradients_should_be_those_of_autograd(network, tmp_path):
    initializers = {tensor.name for tensor in network.proto.graph.initializer}
    assert set(network.wanted) - {"x"} <= initializers
    found, _ = network.compute(tmp_path)
    errors = {name: off(found[name], want) for name, want in network.expected.items()}
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
    plain = [name for name in network.wanted if name not in norms | convs | turned]
    assert "x" in plain and len(plain) > 2
    found, _ = network.compute(tmp_path, plain + list(folded), passes=True)
    for name, gradient in found.items():
        want = network.expected[folded.get(name, name)]
        assert off(gradient, want) <= RELATIVE, name


def test_gradients_should_be_the_same_bits_for_any_number_of_threads(network, tmp_path):
    serial, _ = network.compute(tmp_path / "1", threads=1)
    for threads in 2, 3:
        found, _ = network.compute(tmp_path / str(threads), threads=threads)
        for name in network.wanted:
            assert found[name].tobytes() == serial[name].tobytes(), (threads, name)


def test_gradients_should_be_the_same_bits_under_a_ceiling(network, tmp_path):
    whole, peak = network.compute(tmp_path / "whole")
    for percent in 80, 60:
        limit = peak * percent // 100
        found, lower = network.compute(tmp_path / str(percent), max_bytes=limit)
        assert lower <= limit, f"{lower} bytes under a ceiling of {limit}"
        for name in network.wanted:
            assert found[name].tobytes() == whole[name].tobytes(), (percent, name)


def test_gradients_should_take_less_where_only_the_input_is_wanted(network, tmp_path):
    whole, peak = network.compute(tmp_path / "whole")
    found, lower = network.compute(tmp_path / "input", ["x"])
    assert lower < peak
    assert found["x"].tobytes() == whole["x"].tobytes()


@pytest.mark.parametrize("name", ["resnet20-cifar10/resnet20-ts.onnx",
                                  "resnet20-cifar10/resnet20-dynamo.onnx",
                                  "efficientnet-lite0/efficientnet-lite0-ts.onnx",
                                  "efficientnet-lite0/efficientnet-lite0-dynamo.onnx"])
def test_gradients_of_real_networks_should_be_those_of_differences(name, real_data, tmp_path):
    """Along the gradient itself, in float32: steps that are large against rounding."""
    proto = onnx.load(real_data(name))
    given = proto.graph.input[0]
    side = given.type.tensor_type.shape.dim[2].dim_value
    x = np.random.default_rng(0).standard_normal((2, 3, side, side)).astype(np.float32)
    y = gradients.outputs_of(proto, x)
    seed = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    for passes in False, True:
        found, _ = gradients.compute(tmp_path / str(passes), proto, [x], [seed], [given.name],
                                     passes=passes)
        gradient = found[given.name]
        step = 2e-3 * gradient / np.linalg.norm(gradient) * np.linalg.norm(x)
        moved = [np.vdot(seed, gradients.outputs_of(proto, x + sign * step).astype(float))
                 for sign in (1, -1)]
        along = (moved[0] - moved[1]) / 2
        assert abs(np.vdot(gradient, step) - along) <= 0.02 * abs(along)

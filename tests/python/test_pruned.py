# SPDX-License-Identifier: Apache-2.0
"""Zeros of a pruned weight have the code 0, whatever solver and codebook: a pattern of 2 in 4 and
what a runtime saves by it stay."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(11)
SOLVERS = ["rtn", "mse", "nearest", "gptq", "cd", "beam", "best", "admm", "admm-paper"]
CODEBOOKS = ["ternary", "pot5", "pot9", "int2", "int3", "int4", "int8"]
K, M = 32, 12


def prune(weight, share=.5):
    """Zero where the value is small: within groups of four along the first axis for a half."""
    small = np.abs(weight)
    if share == .5:
        parts = small.reshape(weight.shape[0] // 4, 4, -1)
        order = parts.argsort(1).argsort(1)
        return np.where((order >= 2).reshape(weight.shape), weight, 0).astype(np.float32)
    return np.where(small > np.quantile(small, share), weight, 0).astype(np.float32)


def save(path, w, v, conv):
    """x -> Conv 3x3 -> Relu -> Gemm."""
    nodes = [helper.make_node("Conv", ["x", "c"], ["a"], "conv", pads=[1] * 4),
             helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("GlobalAveragePool", ["b"], ["p"]),
             helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("Gemm", ["f", "w", "bias"], ["g"], "gemm"),
             helper.make_node("Relu", ["g"], ["r"]),
             helper.make_node("MatMul", ["r", "v"], ["y"], "matmul")]
    constants = {"c": conv, "w": w, "v": v, "bias": np.zeros(K, np.float32)}
    graph = helper.make_graph(nodes, "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT,
                                                             ["N", 4, 6, 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", M])],
                              [numpy_helper.from_array(t, k) for k, t in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned")
    # Correlated inputs: solvers that know them move far from the weight.
    mix = RNG.normal(size=(4, 4))
    x = np.einsum("nchw,cd->ndhw", RNG.normal(size=(40, 4, 6, 6)), mix).astype(np.float32)
    np.save(folder / "x.npy", x)
    weights = {"conv": prune(RNG.normal(size=(16, 4, 3, 3)), .3),
               "gemm": prune(RNG.normal(size=(16, K))), "matmul": prune(RNG.normal(size=(K, M)))}
    save(folder / "m.onnx", weights["gemm"], weights["matmul"], weights["conv"])
    return folder / "m.onnx", folder / "x.npy", weights


def float_weights(path):
    """{layer: what its DequantizeLinear gives}, as ONNX Runtime computes it."""
    model = onnx.load(path)
    layers = {node.name: node.input[1] for node in model.graph.node
              if node.op_type in ("Conv", "Gemm", "MatMul")}
    del model.graph.output[:]
    for name in layers.values():
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    feeds = {"x": np.zeros((1, 4, 6, 6), np.float32)}
    outputs = support.ort_run(model.SerializeToString(), feeds, optimized=False)
    return {layer: outputs[name] for layer, name in layers.items()}


def quantize(network, out, codebook, solver, *options):
    model, calib, _ = network
    return support.answer("quantize", model, "-o", out, "--calib", calib, "--target", "weights",
                          "--storage", "int8", "--weights", codebook, "--solver", solver, *options)


def assert_zeros_kept(network, out, result):
    found = float_weights(out)
    for layer in result["layers"]:
        weight = network[2][layer["node"]]
        assert not found[layer["node"]][weight == 0].any(), layer["node"]
        assert found[layer["node"]].any()
        assert layer["zeros_kept"] == pytest.approx((weight == 0).mean())


@pytest.mark.parametrize("codebook", CODEBOOKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_zeros_should_have_the_code_0(codebook, solver, network, tmp_path):
    result = quantize(network, tmp_path / "q.onnx", codebook, solver)
    assert_zeros_kept(network, tmp_path / "q.onnx", result)


@pytest.mark.parametrize("options", [
    ("--granularity", "tensor"), ("--granularity", "block", "--block-size", "16"),
    ("--distill", "20", "--refine"), ("--cascade", "3"), ("--lambda", "1")])
@pytest.mark.parametrize("solver", ["best", "beam", "gptq"])
def test_zeros_should_stay_with_every_option(options, solver, network, tmp_path):
    result = quantize(network, tmp_path / "q.onnx", "int3", solver, *options)
    assert_zeros_kept(network, tmp_path / "q.onnx", result)


@pytest.mark.parametrize("target", ["ort", "pow2"])
@pytest.mark.parametrize("solver", ["best", "nearest"])
def test_zeros_should_stay_for_targets(target, solver, network, tmp_path):
    model, calib, _ = network
    out = tmp_path / "q.onnx"
    result = support.answer("quantize", model, "-o", out, "--calib", calib, "--target", target,
                            "--weights", "int8", "--solver", solver)
    assert_zeros_kept(network, out, result)


def test_better_solvers_should_stay_better(network, tmp_path):
    """With the zeros held, the objective still falls from rounding to search."""
    errors = {solver: quantize(network, tmp_path / "q.onnx", "int3", solver, "--lambda", "0")
              for solver in ("nearest", "gptq", "best")}
    for i in range(3):
        by = {solver: result["layers"][i]["error"] for solver, result in errors.items()}
        assert by["best"] <= by["nearest"] * (1 + 1e-9), by


def test_summary_and_inspect_should_tell_the_zeros(network, tmp_path):
    model, calib, weights = network
    done = support.succeed("quantize", model, "-o", tmp_path / "q.onnx", "--calib", calib,
                           "--weights", "int4", "--target", "weights")
    assert "of the weights of 3 pruned layers; their codes are 0" in done.stdout
    for path in (model, tmp_path / "q.onnx"):
        listed = {layer["node"]: layer for layer in support.answer("inspect", path)["layers"]}
        for name, weight in weights.items():
            assert listed[name]["zeros"] >= (weight == 0).mean() - 1e-9


def test_a_few_zeros_should_be_weights_as_others(network, tmp_path):
    model, calib, weights = network
    few = {name: prune(RNG.normal(size=w.shape), .05) for name, w in weights.items()}
    save(tmp_path / "m.onnx", few["gemm"], few["matmul"], few["conv"])
    result = quantize((tmp_path / "m.onnx", calib, few), tmp_path / "q.onnx", "int4", "gptq")
    assert [layer["zeros_kept"] for layer in result["layers"]] == [0, 0, 0]

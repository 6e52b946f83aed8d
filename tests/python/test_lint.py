# SPDX-License-Identifier: Apache-2.0
"""ldnq lint: files of ONNX Runtime's quantize_static and of ours, and files broken on purpose, whose
findings ONNX Runtime's optimized graph confirms."""

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType,
                                      quantize as onnx_quantize, quantize_static)
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

import support
import target_networks as networks
from small_models import chain, conv, node
from support import weights
from target_networks import residual_block
from test_targets import FLOAT_KERNELS, optimized_ops, perceptron, prepare, quantize, residual

GATE = 9


def lint(path, *options):
    return support.answer("lint", path, "--fail-on", "never", *options)


def rules(result, *severities):
    return {f["rule"] for f in result["findings"] if not severities or f["severity"] in severities}


class Samples(CalibrationDataReader):
    def __init__(self, x):
        self.samples = iter([{"x": x[i:i + 1]} for i in range(len(x))])

    def get_next(self):
        return next(self.samples, None)


def by_onnx_runtime(folder, build=residual, per_channel=True, weight=QuantType.QInt8,
                    activation=QuantType.QUInt8):
    source, _, x = prepare(build, folder)
    out = folder / "static.onnx"
    logging.disable(logging.WARNING)
    quantize_static(source, out, Samples(x), quant_format=QuantFormat.QDQ,
                    per_channel=per_channel, weight_type=weight, activation_type=activation)
    logging.disable(logging.NOTSET)
    return out


def by_us(folder, target="ort", build=residual):
    source, calib, _ = prepare(build, folder)
    out = folder / "q.onnx"
    quantize(source, calib, out, "--target", target)
    return out


def edit(path, change):
    """Applies `change` to the model's graph."""
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)
    return path


def first(proto, op):
    return next(n for n in proto.graph.node if n.op_type == op)


def producer(proto, name):
    return next(n for n in proto.graph.node if name in n.output)


def replace(proto, name, tensor):
    old = next(i for i in proto.graph.initializer if i.name == name)
    proto.graph.initializer.remove(old)
    proto.graph.initializer.append(tensor)


def read(proto, name):
    return numpy_helper.to_array(next(i for i in proto.graph.initializer if i.name == name))


# ---- files that are right


@pytest.mark.parametrize("build, target", [
    (residual, "ort"), (residual, "openvino"), (residual_block, "tensorrt"),
    (perceptron, "ort"), (perceptron, "openvino"), (perceptron, "tensorrt"),
])
def test_our_files_should_keep_the_rules_of_their_target(build, target, tmp_path):
    result = lint(by_us(tmp_path, target, build), "--target", target)
    assert not rules(result, "slower", "broken"), result["findings"]
    assert result["float_nodes"] <= (target != "ort") and result["integer_nodes"] > 3
    assert result["unchecked"] is None


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weight, activation", [
    (QuantType.QInt8, QuantType.QUInt8), (QuantType.QUInt8, QuantType.QUInt8),
    (QuantType.QInt8, QuantType.QInt8),
])
def test_files_of_onnx_runtime_should_be_what_it_runs(per_channel, weight, activation, tmp_path):
    path = by_onnx_runtime(tmp_path, residual, per_channel, weight, activation)
    result = lint(path)
    floats = FLOAT_KERNELS & set(optimized_ops(path, tmp_path))
    # Its MaxPool runs under the same name on codes as on floats.
    assert not (floats - {"MaxPool"}) or rules(result, "slower")
    assert not rules(result, "broken") and "weights-only" not in rules(result)
    # int8 codes with several readers stop the convolutions, the Add and the Concat.
    assert "shared-int8" in rules(result) if activation == QuantType.QInt8 else not floats - {"MaxPool"}
    assert result["float_nodes"] == (5 if activation == QuantType.QInt8 else 0), result["findings"]


@pytest.mark.parametrize("activation, weight, per_channel", [
    (QuantType.QUInt8, QuantType.QUInt8, False), (QuantType.QUInt8, QuantType.QInt8, True),
    (QuantType.QUInt16, QuantType.QUInt8, False),
])
@pytest.mark.parametrize("build", networks.ALL, ids=lambda build: build.__name__)
def test_files_of_onnx_runtime_for_qnn_should_keep_its_rules(build, activation, weight,
                                                             per_channel, tmp_path):
    """16 bits come in operators of com.microsoft, which are executed too. near-scale is a rule of
    ours alone."""
    source, _, x = prepare(build, tmp_path, 16)
    out = tmp_path / "qnn.onnx"
    symmetric = {"weight_symmetric": True} if per_channel else {}
    logging.disable(logging.WARNING)
    config = get_qnn_qdq_config(str(source), Samples(x), activation_type=activation,
                                weight_type=weight, per_channel=per_channel, **symmetric)
    onnx_quantize(str(source), str(out), config)
    logging.disable(logging.NOTSET)
    result = lint(out, "--target", "qnn")
    assert rules(result, "slower", "broken") <= {"near-scale"}, result["findings"]
    assert result["unchecked"] is None and result["float_nodes"] == 0
    ours = support.run(out, {"x": x}, tmp_path / "run")["y"]
    theirs = support.ort_run(out, {"x": x}, optimized=False)["y"]
    assert np.abs(ours - theirs).max() <= 0.01 * np.abs(theirs).max()


def test_files_of_integer_operators_should_be_for_onnx_runtime_alone(tmp_path):
    """Their types end at the operators of com.microsoft, which no rule may be held against."""
    path = by_onnx_runtime(tmp_path)
    optimized_ops(path, tmp_path)
    result = lint(tmp_path / "optimized.onnx")
    assert result["integer_nodes"] >= 6 and "QGemm" in result["unchecked"]
    assert not rules(result, "slower", "broken"), result["findings"]
    assert "operator-format" in rules(lint(tmp_path / "optimized.onnx", "--target", "tensorrt"),
                                      "broken")


# ---- files that are broken on purpose


def double_bias_scale(proto):
    scale = producer(proto, first(proto, "Conv").input[2]).input[1]
    replace(proto, scale, numpy_helper.from_array(2 * read(proto, scale), scale))


def remove_pair_after_conv(proto):
    """The last Conv's, whose output a Concat reads."""
    concat = first(proto, "Concat")
    dequantize = producer(proto, concat.input[1])
    concat.input[1] = producer(proto, dequantize.input[0]).input[0]


def remove_zero_point_of_gemm(proto):
    dequantize = producer(proto, first(proto, "Gemm").input[1])
    del dequantize.input[2]


def store_conv_weight_as_int4(proto):
    dequantize = producer(proto, first(proto, "Conv").input[1])
    for name in (dequantize.input[0], dequantize.input[2]):
        codes = np.clip(read(proto, name), -8, 7)
        replace(proto, name, helper.make_tensor(name, TensorProto.INT4, codes.shape,
                                                codes.astype(int).ravel().tolist()))
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = 21
    proto.ir_version = 10


@pytest.mark.parametrize("change, rule, kernel", [
    (double_bias_scale, "bias-scale", {"Conv", "FusedConv"}),
    (remove_pair_after_conv, "output-pair", {"Conv", "FusedConv"}),
    (remove_zero_point_of_gemm, "weight-zero-point", {"Gemm"}),
    (store_conv_weight_as_int4, "weight-bits", {"Conv", "FusedConv"}),
])
def test_breakage_should_be_found_and_be_float_in_onnx_runtime(change, rule, kernel, tmp_path):
    path = by_us(tmp_path)
    assert not kernel & set(optimized_ops(path, tmp_path))
    before = lint(path)
    edit(path, change)
    result = lint(path)
    assert rule in rules(result, "slower"), result["findings"]
    assert result["float_nodes"] > before["float_nodes"]
    assert kernel & set(optimized_ops(path, tmp_path))


def test_opset_should_matter_where_scales_are_per_channel(tmp_path):
    """With one scale per tensor ONNX Runtime runs opset 12 on integers; tensorrt does not."""
    values = {"s": np.float32(0.05), "z": np.uint8(128), "ws": np.float32(0.01),
              "wz": np.int8(0), "w": np.ones((4, 3, 3, 3), np.int8)}
    nodes = [node("QuantizeLinear", "x s z", "a"), node("DequantizeLinear", "a s z", "b"),
             node("DequantizeLinear", "w ws wz", "c"), conv("b c", "d", pads=[1] * 4),
             node("QuantizeLinear", "d s z", "e"), node("DequantizeLinear", "e s z", "y")]
    path = support.save(chain(nodes, (3, 8, 8), (4, 8, 8), values, opset=12), tmp_path / "m.onnx")
    assert lint(path)["findings"] == [] and "QLinearConv" in optimized_ops(path, tmp_path)
    assert "opset" in rules(lint(path, "--target", "qnn"), "broken")
    values |= {"ws": np.full(4, 0.01, np.float32), "wz": np.zeros(4, np.int8)}
    nodes[2] = node("DequantizeLinear", "w ws wz", "c", axis=0)
    support.save(chain(nodes, (3, 8, 8), (4, 8, 8), values, opset=12), path)
    assert "opset" in rules(lint(path), "broken")
    with pytest.raises(Exception, match="DequantizeLinear"):
        optimized_ops(path, tmp_path)


# ---- weights alone


def test_weights_alone_should_be_slower_in_a_convolution(tmp_path):
    result = lint(by_us(tmp_path, "weights"))
    slower = [f for f in result["findings"] if f["rule"] == "weights-only"]
    assert {f["op"] for f in slower if f["severity"] == "slower"} >= {"Conv"}


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_in_blocks_should_be_slower_only_after_a_transpose(transposed, tmp_path):
    codes, scales = weights(8, 64).astype(np.int8), np.full((8, 2), 0.1, np.float32)
    nodes = [node("DequantizeLinear", "w s", "v", axis=int(transposed), block_size=32)]
    if transposed:
        nodes.append(node("Transpose", "v", "t", perm=[1, 0]))
    nodes.append(node("MatMul", "x t" if transposed else "x v", "y"))
    values = {"w": codes if transposed else codes.T.copy(),
              "s": scales if transposed else scales.T.copy()}
    path = support.save(chain(nodes, (64,), (8,), values, opset=21), tmp_path / "m.onnx")
    result = lint(path)
    assert rules(result, "slower") == ({"weights-only"} if transposed else set())
    assert ("MatMulNBits" in optimized_ops(path, tmp_path)) == (not transposed)


def test_weights_alone_should_run_in_one_kernel_where_onnx_runtime_has_it(tmp_path):
    """Not a Gemm with transB, nor a MatMul of a transposed weight that becomes one."""
    path = by_us(tmp_path, "weights", perceptron)
    assert rules(lint(path), "slower") == {"weights-only"}
    ops = optimized_ops(path, tmp_path)
    assert ops["DequantizeLinear"] == 2 and "MatMulNBits" not in ops


def product(folder, dtype, rows, opset, *after, shared=False, transposed=False):
    """A MatMul of codes with one scale, and the operators after it."""
    shape = (rows, 64) if transposed else (64, rows)
    codes = np.resize(np.arange(-2, 2, dtype=np.int8), shape)
    packed = codes if dtype == TensorProto.INT8 else helper.make_tensor(
        "w", dtype, shape, codes.astype(np.int32).ravel())
    nodes = [node("DequantizeLinear", "w s", "v")]
    if transposed:
        nodes.append(node("Transpose", "v", "t", perm=[1, 0]))
    nodes.append(node("MatMul", "x t" if transposed else "x v", "a0"))
    for i, kind in enumerate(after):
        nodes.append(node(kind, f"a{i}", f"a{i + 1}"))
    values = {"w": packed, "s": np.float32(0.1)}
    if shared:
        nodes += [node("DequantizeLinear", "w s", "again"), node("MatMul", "x again", "b"),
                  node("Add", f"a{len(after)} b", "a9")]
    nodes[-1].output[0] = "y"
    return support.save(chain(nodes, (64,), (rows,), values, opset=opset, ir_version=13),
                        folder / "m.onnx")


@pytest.mark.parametrize("options, severity", [
    ((TensorProto.INT8, 8, 21), "note"), ((TensorProto.INT4, 6, 21), "note"),
    ((TensorProto.INT2, 8, 25), "note"), ((TensorProto.INT8, 8, 21, "Sigmoid", "Neg"), "note"),
    ((TensorProto.INT8, 8, 21, "Relu"), "note"),  # as the output of the graph
    ((TensorProto.INT8, 8, 21, "Relu", "Neg"), "slower"),
    ((TensorProto.INT2, 6, 25), "broken")])
def test_a_product_should_be_judged_as_onnx_runtime_runs_it(options, severity, tmp_path):
    path = product(tmp_path, *options)
    assert {f["severity"] for f in lint(path)["findings"] if f["op"] == "MatMul"} == {severity}
    assert ("MatMulNBits" in optimized_ops(path, tmp_path)) == (severity != "slower")
    feeds = support.random_feeds(path)
    ours, theirs = support.run(path, feeds, tmp_path / "run")["y"], support.ort_run(path, feeds)["y"]
    assert (np.abs(ours - theirs).max() > 0.1 * np.abs(ours).max()) == (severity == "broken")


@pytest.mark.parametrize("dtype, opset, severity", [
    (TensorProto.INT8, 21, "note"), (TensorProto.INT8, 17, "slower"),
    (TensorProto.INT4, 21, "slower")])
def test_a_transposed_product_should_be_judged_as_onnx_runtime_runs_it(dtype, opset, severity,
                                                                       tmp_path):
    path = product(tmp_path, dtype, 8, opset, transposed=True)
    assert {f["severity"] for f in lint(path)["findings"] if f["op"] == "MatMul"} == {severity}
    assert ("MatMulNBits" in optimized_ops(path, tmp_path)) == (severity == "note")


def test_products_that_share_codes_should_be_slower(tmp_path):
    path = product(tmp_path, TensorProto.INT4, 8, 21, shared=True)
    (first, second) = (f for f in lint(path)["findings"] if f["op"] == "MatMul")
    assert first["severity"] == second["severity"] == "slower" and "same codes" in first["message"]
    assert "MatMulNBits" not in optimized_ops(path, tmp_path)


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt", "qnn", "tflite", "pow2"])
def test_outputs_that_are_left_out_should_be_no_fault(target, tmp_path):
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
             helper.make_node("Split", ["d"], ["", "a"], axis=1),
             node("QuantizeLinear", "a s z", "b"), node("DequantizeLinear", "b s z", "y")]
    values = {"s": np.float32(0.25), "z": np.int8(0)}
    path = support.save(chain(nodes, (8,), (4,), values), tmp_path / "m.onnx")
    types = {"activation-type"} if target == "qnn" else set()
    assert rules(lint(path, "--target", target), "slower", "broken") <= types | {"copy-pair"}


# ---- the command


def test_exit_code_should_follow_the_gate(tmp_path):
    path = edit(by_us(tmp_path), double_bias_scale)
    for target, gate, code in [("ort", None, 0), ("ort", "slower", GATE), ("ort", "never", 0),
                               ("tensorrt", None, GATE), ("tensorrt", "never", 0)]:
        options = ["--fail-on", gate] if gate else []
        done = support.ldnq("lint", path, "--target", target, *options)
        assert done.returncode == code, (target, gate, done.stderr)
        assert done.stderr.count("\n") == (code != 0)


def test_lines_should_fold_nodes_and_end_with_the_sum(tmp_path):
    path = by_us(tmp_path)
    lines = support.succeed("lint", path, "--target", "tensorrt", "--fail-on",
                            "never").stdout.splitlines()
    assert sum("activation-type" in line for line in lines) == 1
    folded = next(line for line in lines if "activation-type" in line)
    assert folded.startswith("broken") and folded.count(", ") >= 2 and " more: " in folded
    result = lint(path)
    total = result["integer_nodes"] + result["float_nodes"]
    assert f"{result['integer_nodes']} of {total} nodes that ort can compute on integers do" in \
        support.succeed("lint", path).stdout


def test_default_should_be_that_of_quantize(tmp_path):
    assert lint(by_us(tmp_path))["target"] == "ort"
    for command in ("lint", "quantize"):
        entry = support.succeed(command, "--help").stdout.split("  --target RUNTIME ")[1]
        assert entry.split("\n  -")[0].rstrip().endswith("[ort]")


def test_help_should_have_examples():
    assert "ldnq lint net-int8.onnx" in support.succeed("lint", "--help").stdout.split("examples:")[1]

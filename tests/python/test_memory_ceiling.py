# SPDX-License-Identifier: Apache-2.0
"""The option max-mem: what quantizing takes does not grow with the samples, is predicted, and does
not grow with the weights where they are in a file of their own."""

import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from support import LDNQ, wait_until_it_waits

WEIGHTS = ["--target", "weights", "--weights", "int4", "--threads", 1]
PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, done.stderr)
"""


def measure_quantize(model, calib, out, *options):
    """The peak of the process and what it predicted, in MB."""
    line = [LDNQ, "quantize", model, "--calib", calib, "-o", out, *WEIGHTS, *options]
    done = subprocess.run([sys.executable, "-c", PEAK, *map(str, line)], capture_output=True,
                          text=True, check=True)
    predicted = re.search(r"needs about (\d+) MB", done.stdout)
    assert predicted, done.stdout
    return float(done.stdout.split()[0]), float(predicted[1])


def save_convolutions(path):
    """Three layers whose values take 1 MiB each for a sample."""
    rng = np.random.default_rng(4)
    nodes, values, source = [], [], "x"
    for i, channels in enumerate([1, 16, 16]):
        weight = rng.normal(size=(16, channels, 1, 1)).astype(np.float32) / 4
        values.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [source, f"w{i}"], [f"c{i}"]))
        source = f"c{i}"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 128, 128])],
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["N", 16, 128, 128])], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)


@pytest.mark.parametrize("options", [["--solver", "gptq"],
                                     ["--solver", "nearest", "--effort", "fast"]],
                         ids=["compensated", "means"])
def test_the_peak_should_not_grow_with_the_samples(tmp_path, options):
    save_convolutions(tmp_path / "m.onnx")
    rng = np.random.default_rng(5)
    peaks = {}
    for count in (25, 100):  # which would be batches of 2 and of 10
        calib = tmp_path / f"{count}.npy"
        np.save(calib, rng.normal(size=(count, 1, 128, 128)).astype(np.float32))
        peaks[count], predicted = measure_quantize(tmp_path / "m.onnx", calib, tmp_path / "q.onnx",
                                                   "--max-mem", "8M", *options)
        assert abs(peaks[count] - predicted) <= .3 * predicted + 2
    assert peaks[100] <= 1.1 * peaks[25], peaks


def test_the_memory_of_the_solver_should_be_predicted(tmp_path):
    """Beam search takes 25 bytes per weight: more than the matrices of a layer with many rows."""
    rng = np.random.default_rng(8)
    weight = onnx.numpy_helper.from_array(rng.normal(size=(192, 4000)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 192])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4000])], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              tmp_path / "m.onnx")
    np.save(tmp_path / "c.npy", rng.normal(size=(500, 192)).astype(np.float32))
    peak, predicted = measure_quantize(tmp_path / "m.onnx", tmp_path / "c.npy", tmp_path / "q.onnx",
                                       "--max-mem", "16M", "--solver", "beam", "--lambda", 0)
    assert abs(peak - predicted) <= .3 * predicted + 2, (peak, predicted)


def save_layers_with_external_data(path, layers, size, dtype=np.float32):
    rng = np.random.default_rng(6)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes, values, source = [], [], "x"
    with open(path.with_suffix(".data"), "wb") as file:
        for i in range(layers):
            weight = (rng.normal(size=(size, size)) / size**.5).astype(dtype)
            tensor = TensorProto(name=f"w{i}", data_type=kind, dims=[size, size],
                                 data_location=TensorProto.EXTERNAL)
            for key, value in [("location", path.with_suffix(".data").name),
                               ("offset", file.tell()), ("length", weight.nbytes)]:
                tensor.external_data.add(key=key, value=str(value))
            file.write(weight.tobytes())
            values.append(tensor)
            nodes.append(helper.make_node("MatMul", [source, f"w{i}"], [f"m{i}"]))
            source = f"m{i}"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["N", size])],
        [helper.make_tensor_value_info(source, kind, ["N", size])], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_in_a_file_of_their_own_should_not_be_in_memory(tmp_path, dtype):
    """Halves are in memory neither as such nor as the floats that layers are fitted to; nor are
    the codes, which go into a data file as the weights were in one. That holds to the end, when
    the network is compared with a rounded one, and written."""
    calib = tmp_path / "c.npy"
    np.save(calib, np.random.default_rng(7).normal(size=(8, 1024)).astype(dtype))
    peaks = []
    for layers in (2, 10):  # as floats, weights of 8 and 40 MiB
        model = tmp_path / f"{layers}.onnx"
        save_layers_with_external_data(model, layers, 1024, dtype)
        peak, predicted = measure_quantize(model, calib, tmp_path / "q.onnx", "--max-mem", "8M",
                                           "--solver", "nearest", "--lambda", 0)
        assert abs(peak - predicted) <= .3 * predicted + 2
        peaks.append(peak)
    assert peaks[1] <= peaks[0] + 4, peaks
    quantized = onnx.load(tmp_path / "q.onnx", load_external_data=False)
    assert all(len(tensor.raw_data) < 1024 for tensor in quantized.graph.initializer)
    onnx.checker.check_model(str(tmp_path / "q.onnx"))


def save_gated_layers(folder):
    """Two layers with one input, whose sums they share, and one whose columns are three times as
    many as its positions, which has no Gram matrix."""
    rng = np.random.default_rng(3)
    weights = {"gate": (352, 1536), "up": (352, 1536), "down": (1536, 16)}
    values = [onnx.numpy_helper.from_array(
        (rng.normal(size=shape) / shape[0]**.5).astype(np.float32), name)
        for name, shape in weights.items()]
    nodes = [helper.make_node("MatMul", ["x", "gate"], ["g"]),
             helper.make_node("MatMul", ["x", "up"], ["u"]),
             helper.make_node("Sigmoid", ["g"], ["s"]),
             helper.make_node("Mul", ["s", "u"], ["m"]),
             helper.make_node("MatMul", ["m", "down"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32, 352])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 32, 16])], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              folder / "m.onnx")
    samples = rng.normal(size=(16, 32, 352)) * np.exp(-np.arange(352) / 80)
    np.save(folder / "c.npy", samples.astype(np.float32))
    return folder / "m.onnx", folder / "c.npy"


def test_a_ceiling_should_not_change_a_byte_of_large_layers(tmp_path):
    """Under 16M their sums are in files, under 256M they are not."""
    model, calib = save_gated_layers(tmp_path)
    made = []
    for options in (["--max-mem", "16M"], ["--max-mem", "256M", "--threads", 2], []):
        peak, predicted = measure_quantize(model, calib, tmp_path / "q.onnx", "--solver", "gptq",
                                           "--estimate", 0, *options)
        assert abs(peak - predicted) <= .3 * predicted + 2, options
        made.append((tmp_path / "q.onnx").read_bytes())
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("change", ["cut", "write"])
def test_a_data_file_that_changes_should_end_the_run(tmp_path, change):
    model, calib, out = tmp_path / "m.onnx", tmp_path / "c.npy", tmp_path / "q.onnx"
    np.save(calib, np.random.default_rng(7).normal(size=(8, 256)).astype(np.float32))
    save_layers_with_external_data(model, 24, 256)
    line = [LDNQ, "quantize", model, "--calib", calib, "-o", out, *WEIGHTS, "--solver", "rtn",
            "--lambda", 0, "--max-mem", "8M", "--log", tmp_path / "log"]
    os.mkfifo(tmp_path / "log")  # the run opens it before the first layer
    with subprocess.Popen(list(map(str, line)), stderr=subprocess.PIPE, text=True) as process:
        wait_until_it_waits(process)
        with open(model.with_suffix(".data"), "r+b") as file:
            if change == "cut":
                file.truncate(4096)
            else:
                file.write(b"12345678")
        (tmp_path / "log").read_text(encoding="utf-8")
        messages = process.stderr.read()
    assert process.returncode == 3, messages
    assert ("became shorter" if change == "cut" else "m.data: was written to") in messages
    assert not out.exists()

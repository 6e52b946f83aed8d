# SPDX-License-Identifier: Apache-2.0
"""What `ldnq quantize MODEL -o OUT --calib PATH` does with no other option: a file of 8-bit codes
that ONNX Runtime computes on integers, made in little time and memory."""

import hashlib
import re
import resource
import shutil

import numpy as np
import onnxruntime
import pytest
import support
from quantized import DIGIT_FILES
from small_models import chain, conv, node
from support import DIGITS, weights
from test_targets import FLOAT_KERNELS, optimized_ops

EFFORTS = ["fast", "balanced", "high"]


def deep():
    """Convolutions of all kinds, with more pixels than the layers are fitted to."""
    nodes = [conv("x w0 b0", "a", pads=[1] * 4), node("Relu", "a", "b"),
             conv("b w1 b1", "c", pads=[1] * 4, group=16), node("Relu", "c", "d"),
             conv("d w2 b2", "e", strides=[2, 2]), node("Relu", "e", "f"),
             node("GlobalAveragePool", "f", "g"), node("Flatten", "g", "h"),
             node("Gemm", "h w3 b3", "y")]
    values = {"w0": weights(16, 3, 3, 3), "b0": weights(16), "w1": weights(16, 1, 3, 3),
              "b1": weights(16), "w2": weights(24, 16, 1, 1, spread=0.3), "b2": weights(24),
              "w3": weights(24, 10), "b3": weights(10)}
    return chain(nodes, (3, 32, 32), (10,), values)


@pytest.fixture(name="network", scope="module")
def make_network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    source = support.save(deep(), folder / "net.onnx")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(96, 3, 32, 32)).astype(np.float32)
    np.save(folder / "calib.npy", x[:64])
    return source, folder / "calib.npy", x[64:]


def runtime_outputs(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def sqnr(exact, found):
    return 10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum())


@pytest.mark.parametrize("source", DIGIT_FILES, ids=lambda path: path.stem)
def test_no_option_should_make_a_file_of_integer_kernels(source, tmp_path):
    out = tmp_path / "q.onnx"
    result = support.answer("quantize", source, "-o", out, "--calib", DIGITS / "calib")
    assert result["activations"]["target"] == "ort" and result["solver"] == "nearest"
    assert {layer["weights"] for layer in result["layers"]} == {"int8"}
    support.check(out)
    # The first convolution reads one channel: float is faster.
    ops = optimized_ops(out, tmp_path)
    assert {op: ops[op] for op in ops if op in FLOAT_KERNELS} == {"Conv": 1}
    scores = support.answer("eval", source, out, "--data", DIGITS / "eval")["models"]
    assert scores[1]["top1"] >= scores[0]["top1"] - 0.5


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_should_be_near_the_float_outputs(effort, network, tmp_path):
    source, calib, x = network
    out = tmp_path / "q.onnx"
    support.succeed("quantize", source, "-o", out, "--calib", calib, "--effort", effort)
    assert sqnr(runtime_outputs(source, x), runtime_outputs(out, x)) > 30


@pytest.mark.parametrize("effort", EFFORTS)
def test_bytes_should_not_depend_on_threads_or_memory(effort, network, tmp_path):
    source, calib, _ = network
    hashes = set()
    for i, options in enumerate([("--threads", 1), ("--threads", 3), ("--max-mem", "64K")]):
        out = tmp_path / f"{i}.onnx"
        support.succeed("quantize", source, "-o", out, "--calib", calib, "--effort", effort,
                        *options)
        hashes.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_fitting_should_use_fewer_positions_than_there_are(network, tmp_path):
    source, calib, _ = network
    positions = {}
    for effort in EFFORTS:
        log = tmp_path / f"{effort}.jsonl"
        support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, "--effort",
                        effort, "--augment", 1, "--log", log)
        found = re.findall(r'"positions":\s*(\d+)', log.read_text())
        positions[effort] = int(found[0])
    assert positions["fast"] == positions["high"] == (64 - 8) * 32 * 32
    assert 512 <= positions["balanced"] < 64 * 32 * 32 / 10


def test_solver_auto_should_read_a_part_of_the_positions(network, tmp_path):
    """Of the first convolution, which has 27 inputs."""
    source, calib, _ = network
    positions = {}
    for name, options in {"auto": [], "named": ["--solver", "gptq"],
                          "high": ["--effort", "high"]}.items():
        log = tmp_path / f"{name}.jsonl"
        support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, "--target",
                        "weights", "--weights", "int4", "--augment", 1,
                        *options, "--log", log)
        positions[name] = int(re.findall(r'"positions":\s*(\d+)', log.read_text())[0])
    assert 40 * 27 <= positions["auto"] < 2 * 40 * 27
    assert positions["named"] == positions["high"] == (64 - 8) * 32 * 32


@pytest.mark.parametrize("pictures, copies", [(20, 2), (100, 1)])
def test_solver_auto_should_read_many_pictures_once(pictures, copies, tmp_path):
    out, few = tmp_path / "q.onnx", tmp_path / "calib"
    few.mkdir()
    for path in sorted((DIGITS / "calib").rglob("*.png"))[:pictures]:
        shutil.copy(path, few)
    support.succeed("quantize", DIGIT_FILES[0], "-o", out, "--calib", few, "--target", "weights",
                    "--weights", "int4")
    said = support.metadata(out)["ldnq.options"]
    assert f" augment={copies} " in said and " effort=balanced " in said


def test_memory_should_not_grow_with_the_samples(tmp_path):
    """Of 16 times as many samples, more than the layers are fitted to; a page is 4 KB."""
    source = support.save(deep(), tmp_path / "net.onnx")
    peaks = []
    for count in (256, 4096):
        np.save(tmp_path / "x.npy", np.zeros((count, 3, 32, 32), np.float32) + 0.5)
        peaks.append(support.peak_megabytes("quantize", source, "-o", tmp_path / "q.onnx", "--calib",
                                    tmp_path / "x.npy", "--effort", "fast", "--quiet"))
    assert peaks[1] <= peaks[0] * 1.1 + resource.getpagesize() / 2**20

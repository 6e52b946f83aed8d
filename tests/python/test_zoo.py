# SPDX-License-Identifier: Apache-2.0
"""Networks of the kinds that people export, by both of torch's exporters: run as ONNX
Runtime runs them, and quantized to a file that it runs as `ldnq run` does.

tests/python/zoo_*.py are the networks, with random weights; zoo_export.py exports them.
"""

import concurrent.futures
import multiprocessing
import time

import numpy as np
import onnx
import onnxruntime
import pytest
import support
import test_shape_inference
import zoo_export
from onnx import numpy_helper
from zoo import SPECIES

# What torch itself can't export, by a part of its answer.
UNFLATTEN = "'aten::unflatten' to ONNX opset version 11"
TRIU = "'aten::triu' to ONNX opset version"
FUSED = "'aten::scaled_dot_product_attention' to ONNX opset version"
NOT_EXPORTED = {
    ("generator", "ts11"): UNFLATTEN,
    ("encoder-torch", "ts11"): UNFLATTEN,
    ("encoder-torch", "ts13"): FUSED,
    ("encoder-torch-prenorm", "ts11"): UNFLATTEN,
    ("encoder-torch-prenorm", "ts13"): FUSED,
    ("encoder-masked", "ts11"): UNFLATTEN,
    ("encoder-masked", "ts13"): FUSED,
    ("decoder-cross", "ts11"): TRIU,
    ("decoder-cross", "ts13"): TRIU,
    ("attention-fused", "ts11"): FUSED,
    ("attention-fused", "ts13"): FUSED,
    ("attention-einsum", "ts11"): "'aten::einsum' to ONNX opset version 11",
    ("rotary-decoder-fused-norm", "ts11"): "'aten::rms_norm' to ONNX opset version",
    ("rotary-decoder-fused-norm", "ts13"): "'aten::rms_norm' to ONNX opset version",
    ("rotary-decoder-fused-norm", "ts17"): "'aten::rms_norm' to ONNX opset version",
    ("conformer", "ts11"): UNFLATTEN,
    ("conformer", "ts13"): FUSED,
}
# Dynamo writes a recurrent layer without an operator of its own step by step.
UNROLLED = {("plain-rnn", "dynamo"): 15}
# Products of three values that are quantized: `quantize_static` has 11.
LEAST_SQNR = {"mamba-unrolled": 12, "mamba-cumulative": 12, "mamba-loop": 12,
              "mamba-scan": 12}
VARIANTS = [(kind.name, exporter) for kind in SPECIES.values() for exporter in kind.exporters]

SECONDS = {}  # of each stage, printed at the end


class Timed:
    def __init__(self, stage):
        self.stage = stage

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, *_):
        SECONDS[self.stage] = SECONDS.get(self.stage, 0) + time.monotonic() - self.start


@pytest.fixture(scope="module")
def exports(request, tmp_path_factory):
    """{(name, exporter): (its path, future of torch's answer)}, of the tests that were
    asked for. Two processes make them while the first ones are tested."""
    folder, made = tmp_path_factory.mktemp("zoo"), {}
    wanted = {item.callspec.params["variant"]: None for item in request.session.items
              if item.module is request.module and "variant" in getattr(item, "fixturenames", [])}
    with concurrent.futures.ProcessPoolExecutor(
            2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for variant in wanted:
            path = folder / f"{variant[0]}-{variant[1]}.onnx"
            made[variant] = path, pool.submit(zoo_export.export, *variant, str(path))
        yield made
        pool.shutdown(cancel_futures=True)
    print("\n" + ", ".join(f"{stage}: {seconds:.0f} s" for stage, seconds in SECONDS.items()))


@pytest.fixture
def exported(exports, variant):
    """The file of a variant; None where torch can't make it, as is listed above."""
    path, answer = exports[variant]
    with Timed("waiting for exports"):
        why, seconds = answer.result()
    SECONDS["exports (processor)"] = SECONDS.get("exports (processor)", 0) + seconds
    reason = NOT_EXPORTED.get(variant)
    assert (reason is None) == (why == "") and (reason or "") in why, why
    return path if not why else None


def assert_depends_on_its_samples(outputs):
    """Else a network that says the same of everything would show no error."""
    for name, output in outputs.items():
        spread = np.abs(output - output.mean(0)).max() / max(np.abs(output).max(), 1e-30)
        assert spread > 0.02, f"{name}: {spread}"


def least_sqnr(exact, found):
    """In dB, of the output with the least."""
    values = [(exact[name].astype(np.float64), found[name]) for name in exact
              if exact[name].dtype.kind == "f"]
    return min(10 * np.log10(np.square(value).sum() / max(np.square(value - other).sum(), 1e-30))
               for value, other in values)


def assert_shapes_are_known(path):
    values, reason = test_shape_inference.ours([str(path)])[str(path)]
    assert reason is None
    with Timed("shape inference by onnx"):
        inferred = test_shape_inference.theirs(path)
    assert list(test_shape_inference.differences(values, inferred)) == []


def is_half(variant):
    return variant[1].endswith("-half")


def assert_same_outputs(path, feeds, folder, half):
    """`ldnq run` and ONNX Runtime give the same; its optimizer can't do all models of float16."""
    if not half:
        return support.assert_same_outputs(path, feeds, folder)
    theirs = support.ort_run(path, feeds, optimized=False)
    assert least_sqnr(theirs, support.run(path, feeds, folder)) > 45
    return theirs


def count_floats_of_matrices(path):
    """Elements of constants in float with two axes or more, but for the scales of codes."""
    graphs, count = [onnx.load(path).graph], 0
    while graphs:
        graph = graphs.pop()
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        graphs += [attribute.g for attribute in attributes if attribute.HasField("g")]
        constants = [*graph.initializer, *(each.t for each in attributes if each.HasField("t"))]
        for constant in map(numpy_helper.to_array, constants):
            is_matrix = sum(size > 1 for size in constant.shape) > 1
            count += constant.size if is_matrix and constant.dtype.kind == "f" else 0
    return count


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_export_should_run_as_in_onnx_runtime_and_so_should_its_int4(variant, exported, tmp_path):
    if exported is None:
        return
    assert_shapes_are_known(exported)
    kind, half = SPECIES[variant[0]], is_half(variant)
    feeds = kind.feeds(3 if kind.open_batch else 1, half=half)
    with Timed("run"):
        outputs = assert_same_outputs(exported, feeds, tmp_path, half)
    if kind.open_batch and not kind.selects:
        assert_depends_on_its_samples(outputs)
    np.savez(tmp_path / "calib.npz", **kind.feeds(6, seed=1, half=half))
    out = tmp_path / "q.onnx"
    with Timed("quantize"):
        said = support.answer("quantize", exported, *support.TERNARY,
                              "-o", out, "--calib", tmp_path / "calib.npz",
                              "--weights", "int4")
    assert len(said["layers"]) == UNROLLED.get(variant, kind.layers)
    with Timed("check and run the quantized"):
        support.check(out)
        quantized = assert_same_outputs(out, feeds, tmp_path / "q", half)
        if kind.axes:
            assert_same_outputs(out, kind.feeds(2, half=half, more=3), tmp_path / "more", half)
    if not kind.selects:
        assert least_sqnr(outputs, quantized) > 5
    share = count_floats_of_matrices(out) / count_floats_of_matrices(exported)
    assert share <= kind.float_share
    for weight in support.quantized_weights(out):
        assert weight.codes.min() >= -8 and weight.codes.max() <= 7


# ---- int8 for ONNX Runtime


def session_outputs(path, feeds, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v[1] in ("ts17", "dynamo")],
                         ids="-".join)
def test_default_file_should_be_what_onnx_runtime_computes(variant, exported, tmp_path):
    """Optimized or not. One code that is rounded the other way changes what follows it: by
    40 dB below the outputs at most. What the codes cost is below them by far more."""
    if exported is None:
        return
    kind = SPECIES[variant[0]]
    feeds = kind.feeds(3 if kind.open_batch else 1)
    np.savez(tmp_path / "calib.npz", **kind.feeds(8, seed=1))
    out = tmp_path / "q.onnx"
    with Timed("quantize to int8"):
        said = support.answer("quantize", exported, "-o", out, "--calib", tmp_path / "calib.npz")
    assert said["activations"]["target"] == "ort"
    with Timed("check and run int8"):
        support.check(out)
        ours = support.run(out, feeds, tmp_path / "run")
        levels = onnxruntime.GraphOptimizationLevel
        exact = session_outputs(exported, feeds, levels.ORT_ENABLE_ALL)
        for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL):
            found = session_outputs(out, feeds, level)
            assert least_sqnr(found, ours) > 40
            assert kind.selects or least_sqnr(exact, found) > LEAST_SQNR.get(kind.name, 15)

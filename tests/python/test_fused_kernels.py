# SPDX-License-Identifier: Apache-2.0
"""Files for ONNX Runtime: which kernels of whole networks it runs on integers, why others are in
float, and that it computes what `ldnq run` does.

The networks are those of the zoo; the table lists all that each of them computes in float.
"""

import numpy as np
import onnxruntime
import pytest

from optimized import Optimized
import support
from zoo import SPECIES
import zoo_export

# What ONNX Runtime has no integer kernel of, or only a slower one.
ATTENTION = {"LayerNormalization", "SkipLayerNormalization", "Softmax", "Add", "Div", "Mul"}
# The end of a detector, which nothing multiplies by weights: codes would cost accuracy.
BOXES = {"Sub", "Add", "Mul", "Div", "Concat", "Sigmoid", "Exp", "Clip"}
FLOAT_KERNELS = {
    ("resnet-basic", "ts17"): set(),
    ("resnet-basic", "dynamo"): set(),
    ("densenet", "ts17"): set(),
    ("mobilenet-v2", "ts17"): set(),
    # Layers that float computes faster: narrow ones before a HardSwish, depthwise ones beside float
    # operators. No integer kernel reads the sums between them.
    ("mobilenet-v3", "ts17"): {"HardSigmoid", "Mul", "GlobalAveragePool", "Conv", "Add"},
    ("shufflenet", "ts17"): set(),
    ("unet-transposed", "ts17"): set(),
    ("unet-transposed", "dynamo"): set(),
    ("unet-resized", "ts17"): {"Resize"},
    ("audio-conv", "ts17"): set(),
    ("squeeze-excite-1d", "ts17"): set(),
    ("detector", "ts17"): BOXES,
    ("yolo", "ts17"): {"Sub", "Add", "Mul", "Div", "Concat", "Sigmoid"},
    ("yolo", "dynamo"): {"Sub", "Add", "Mul", "Div", "Concat", "Sigmoid"},
    ("encoder-by-hand", "ts17"): ATTENTION | {"Gelu", "ReduceMean"},
    ("encoder-by-hand", "dynamo"): ATTENTION | {"Gelu", "ReduceMean"},
    ("encoder-torch", "ts17"): ATTENTION | {"ReduceMean"},
    ("vit", "ts17"): ATTENTION | {"Gelu", "Concat"},
}
# What the fused kernel computes, as the float network spells it out.
PARTS = {"Gelu": {"Gelu", "Erf"}, "SkipLayerNormalization": {"LayerNormalization"}}
# Whole networks are a step or two of a quantizer off where a sum falls between two codes.
LARGEST, MEAN = 0.02, 5e-4


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(model, its file for ONNX Runtime, what `ldnq quantize` says) of a variant."""
    folder, made = tmp_path_factory.mktemp("fused"), {}

    def make(variant):
        if variant not in made:
            name, exporter = variant
            source, out = (folder / f"{name}-{exporter}{end}.onnx" for end in ("", "-int8"))
            why, _ = zoo_export.export(name, exporter, str(source))
            assert why == ""
            kind = SPECIES[name]
            np.savez(folder / "calib.npz", **kind.feeds(16, seed=1))
            said = support.answer(
                "quantize", source, "-o", out, "--calib", folder / "calib.npz", "--target", "ort",
                "--weights", "int8", "--solver", "rtn", "--ranges", "minmax")
            made[variant] = source, out, said
        return made[variant]
    return make


def feeds_of(name):
    kind = SPECIES[name]
    return kind.feeds(4 if kind.open_batch else 1)


@pytest.mark.parametrize("variant", FLOAT_KERNELS, ids="-".join)
def test_float_kernels_should_be_those_that_the_summary_explains(variant, written, tmp_path):
    _, out, said = written(variant)
    support.check(out)
    optimized = Optimized(out, tmp_path)
    found = optimized.float_kernels()
    assert found <= FLOAT_KERNELS[variant]
    reasons = {node["op"] for node in said["activations"]["float_nodes"]}
    assert all(node["reason"] for node in said["activations"]["float_nodes"])
    for kernel in found:
        assert PARTS.get(kernel, {kernel}) & reasons, kernel
    assert optimized.conversions_between_integers() == []


def test_summary_should_name_the_types_in_float_by_reason(tmp_path):
    source = tmp_path / "net.onnx"
    assert zoo_export.export("encoder-torch", "ts17", str(source))[0] == ""
    np.savez(tmp_path / "calib.npz", **SPECIES["encoder-torch"].feeds(4))
    said = support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib",
                           tmp_path / "calib.npz", "--target", "ort", "--weights", "int8",
                           "--solver", "rtn").stdout
    lines = [line for line in said.splitlines() if line.startswith("  in float: ")]
    assert ("  in float: LayerNormalization (4), ReduceMean: the target has no integer kernel of "
            "it") in lines
    assert "  in float: Softmax (2): the float kernel is faster along the last axis" in lines
    assert len(lines) == len({line.split(": ")[2] for line in lines})


@pytest.mark.parametrize("variant", FLOAT_KERNELS, ids="-".join)
def test_onnx_runtime_should_compute_what_the_file_says(variant, written, tmp_path):
    source, out, _ = written(variant)
    feeds = feeds_of(variant[0])
    ours = support.run(out, feeds, tmp_path)
    exact = support.ort_run(source, feeds)
    for level in (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
                  onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = level, 3
        session = onnxruntime.InferenceSession(str(out), options,
                                               providers=["CPUExecutionProvider"])
        for output, theirs in zip(session.get_outputs(), session.run(None, feeds)):
            error = np.abs(ours[output.name] - theirs) / np.abs(exact[output.name]).max()
            assert error.max() <= LARGEST and error.mean() <= MEAN


@pytest.mark.parametrize("variant", FLOAT_KERNELS, ids="-".join)
def test_lint_should_find_nothing_slower_than_float(variant, written):
    findings = support.answer("lint", written(variant)[1], "--target", "ort")["findings"]
    assert [f for f in findings if f["severity"] != "note"] == []


@pytest.mark.parametrize("name, least", [("yolo", 8), ("encoder-by-hand", 25),
                                         ("unet-transposed", 25), ("resnet-basic", 15)])
def test_outputs_should_stay_near_the_float_network(name, least, written):
    """Boxes and scores in one tensor, residual sums before a normalization: what 8 bits would
    ruin is not rounded to 8 bits. Signal over error in dB, of each output channel. (Scores of the
    detector with the scale of its boxes: 0 dB.)"""
    source, out, _ = written((name, "ts17"))
    feeds = feeds_of(name)
    for name, exact in support.ort_run(source, feeds).items():
        axes = tuple(a for a in range(exact.ndim) if a != 1)
        error = np.square(support.ort_run(out, feeds)[name] - exact).mean(axes)
        centred = exact - exact.mean(axes, keepdims=True)
        ratio = 10 * np.log10(np.square(centred).mean(axes) / np.maximum(error, 1e-20))
        assert np.median(ratio) >= least

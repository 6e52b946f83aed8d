# SPDX-License-Identifier: Apache-2.0
"""Scales along the inputs: --granularity block, against the file's own arithmetic and ONNX
Runtime."""

import onnx
import pytest
from quantized import BASELINE, opset_of
import support
from small_models import chain, conv, node
from support import weights

def convolutions():
    """40 channels fill a block of 32 and a quarter of the next."""
    nodes = [conv("x w0 b0", "a", pads=[1] * 4), node("Relu", "a", "b"),
             conv("b w1 b1", "c"), node("Relu", "c", "d"),
             node("ConvTranspose", "d w2 b2", "e", strides=[2, 2]), node("Relu", "e", "f"),
             conv("f w3", "y", group=36)]
    values = {"w0": weights(40, 3, 3, 3), "b0": weights(40), "w1": weights(48, 40, 3, 3, spread=0.1),
              "b1": weights(48), "w2": weights(48, 36, 2, 2, spread=0.1), "b2": weights(36),
              "w3": weights(36, 1, 3, 3)}
    return chain(nodes, (3, 8, 8), (36, 10, 10), values), (3, 8, 8)


def products():
    nodes = [node("MatMul", "x w0", "a"), node("Relu", "a", "b"),
             node("Gemm", "b w1 b1", "c", transB=1), node("Relu", "c", "d"),
             node("Gemm", "d w2 b2", "y")]
    values = {"w0": weights(70, 64), "w1": weights(40, 64), "b1": weights(40),
              "w2": weights(40, 5), "b2": weights(5)}
    return chain(nodes, (70,), (5,), values), (70,)


SHAPES = {convolutions: {16: [None, (48, 3, 3, 3), (3, 36, 2, 2), None],
                         32: [None, (48, 2, 3, 3), (2, 36, 2, 2), None]},
          products: {16: [(64, 5), (40, 4), (5, 3)], 32: [(64, 3), (40, 2), (5, 2)],
                     64: [(64, 2), None, None]}}


def prepare(build, folder, count=40):
    proto, shape = build()
    source = support.save(proto, folder / "net.onnx")
    samples = support.save_samples(folder / "samples.npy", *shape, count=count)
    return source, samples, support.random_feeds(source)


def quantize(source, samples, out, *options):
    return support.answer("quantize", source, *support.TERNARY,
                          "-o", out, "--calib", samples, "--granularity", "block",
                          *options)


@pytest.mark.parametrize("codebook", ["int4", "int2", "pot9"])
@pytest.mark.parametrize("build, size", [(b, s) for b in SHAPES for s in SHAPES[b]])
def test_blocks_should_be_as_onnx_has_them(tmp_path, build, size, codebook):
    source, samples, feeds = prepare(build, tmp_path)
    out = tmp_path / "out.onnx"
    report = quantize(source, samples, out, "--weights", codebook, "--block-size", size)
    support.check(out)
    support.assert_same_outputs(out, feeds, tmp_path)
    assert opset_of(onnx.load(out)) == (25 if codebook == "int2" else 21)
    made = support.quantized_weights(out)
    assert len(made) == len(SHAPES[build][size])
    for q, shape, layer in zip(made, SHAPES[build][size], report["layers"]):
        assert q.scales.shape == (shape or (layer["groups"] * layer["outputs"],))
        assert q.block_size == layer["block_size"] == (size if shape else 0)
        assert (q.scales > 0).all() or not shape


def errors(source, samples, out, *options):
    return [layer["error"] for layer in quantize(source, samples, out, *BASELINE,
                                                 *options)["layers"]]


@pytest.mark.parametrize("build", SHAPES)
def test_smaller_blocks_should_fit_better(tmp_path, build):
    source, samples, _ = prepare(build, tmp_path, 200)
    out = tmp_path / "out.onnx"
    small = errors(source, samples, out, "--block-size", 16)
    large = errors(source, samples, out, "--block-size", 512)
    for layer, (a, b) in enumerate(zip(small, large)):
        assert a < b or (build is convolutions and layer in (0, 3) and a <= 1.2 * b)
    # Blocks that nothing fills are one scale a channel.
    channel = support.answer("quantize", source, *support.TERNARY,
                             "-o", out, "--calib", samples, *BASELINE)
    assert large == [layer["error"] for layer in channel["layers"]]


@pytest.mark.parametrize("solver", ["rtn", "mse", "gptq", "cd", "best"])
def test_every_solver_that_has_blocks_should_be_no_worse_than_rounding(tmp_path, solver):
    source, samples, feeds = prepare(products, tmp_path)
    out = tmp_path / "out.onnx"
    options = ["--solver", solver, "--weights", "int3", "--block-size", 16]
    mine = errors(source, samples, out, *options)
    support.assert_same_outputs(out, feeds, tmp_path)
    rounded = errors(source, samples, out, "--solver", "rtn", "--weights", "int3", "--block-size", 16)
    assert mine[0] <= rounded[0]
    assert solver == "rtn" or mine[0] < rounded[0]


def test_learning_should_keep_the_blocks(tmp_path):
    source, samples, feeds = prepare(products, tmp_path, 100)
    out, plain = tmp_path / "out.onnx", tmp_path / "plain.onnx"
    # From rounding: `best` leaves nothing to learn here.
    options = ["--block-size", 16, "--solver", "rtn"]
    report = quantize(source, samples, out, *options, "--distill", 40, "--refine")
    assert report["distillation"]["error"] < report["distillation"]["error_start"]
    quantize(source, samples, plain, *options)
    support.assert_same_outputs(out, feeds, tmp_path)
    learned, first = (support.quantized_weights(path)[0].scales for path in (out, plain))
    assert learned.shape == first.shape == (64, 5) and (learned != first).any()


def test_a_budget_should_count_the_scales_of_blocks(tmp_path):
    source, samples, _ = prepare(products, tmp_path)
    codes = 70 * 64 + 64 * 40 + 40 * 5
    for size, scales in ((16, 64 * 5 + 40 * 4 + 5 * 3), (64, 64 * 2 + 40 + 5)):
        done = support.ldnq("quantize", source, *support.TERNARY,
                            "-o", tmp_path / "out.onnx", "--calib", samples,
                            "--granularity", "block", "--block-size", size, "--weights",
                            "int2,int4", "--opset", 25, "--budget", "1K")
        assert done.returncode == support.USAGE
        assert f"take at least {codes // 4 + 4 * scales}" in done.stderr


@pytest.mark.parametrize("options, words", [
    (["--granularity", "block", "--block-size", "24"], "--block-size 24 is no power of two"),
    (["--granularity", "block", "--block-size", "8"],
         "--block-size takes N, a whole number from 16 on, not '8'"),
    (["--block-size", "32"], "--block-size goes with granularity block"),
    (["--granularity", "block", "--solver", "admm"], "--solver 'admm' has one scale per channel"),
    (["--granularity", "block", "--solver", "admm-paper"], "--solver 'admm-paper' has one"),
])
def test_what_can_not_be_should_be_refused(tmp_path, options, words):
    source, samples, _ = prepare(products, tmp_path)
    out = tmp_path / "out.onnx"
    done = support.ldnq("quantize", source, *support.TERNARY,
                        "-o", out, "--calib", samples, *options)
    assert done.returncode == support.USAGE and words in done.stderr
    assert not out.exists()

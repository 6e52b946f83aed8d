# SPDX-License-Identifier: Apache-2.0
"""`ldnq quantize`: what it writes is valid, runs in ONNX Runtime, and is what it promises."""

import random
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import small_models as small
import support
from quantized import (BASELINE, CODES, DIGIT_FILES, assert_valid, bits_needed, inspect, opset_of,
                       prepare, quantize)
from support import CIFAR, DIGITS, USAGE, model, save, weights


# ---- codebooks, granularities, storages, solvers on the digits


@pytest.fixture(scope="module")
def digit_feeds():
    paths = [path for path, _ in support.class_folders(DIGITS / "eval")[::60]]
    return {"input": support.pictures(paths, 1)}


def storages(codebook):
    return ["auto", *(f"int{b}" for b in (2, 4, 8) if b >= bits_needed(codebook))]


@pytest.mark.parametrize("source", DIGIT_FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("codebook, storage",
                         [(c, s) for c in CODES for s in storages(c)])
def test_every_codebook_should_give_a_valid_file(source, granularity, codebook, storage, tmp_path,
                                                 digit_feeds):
    out = tmp_path / "q.onnx"
    said = quantize(source, out, DIGITS / "calib", "--weights", codebook, "--granularity",
                    granularity, "--storage", storage)
    made, _ = assert_valid(source, out, digit_feeds, tmp_path, codebook, granularity, storage)
    assert len(made) == len(said["layers"]) == 7
    for q, layer in zip(made, said["layers"]):
        assert layer["scale_min"] == pytest.approx(np.abs(q.scales).min(), rel=1e-6)
        assert layer["scale_max"] == pytest.approx(np.abs(q.scales).max(), rel=1e-6)
        assert layer["error"] <= layer["error_start"]
    assert said["opset"] == opset_of(onnx.load(out))
    assert said["bytes_after"] == out.stat().st_size


@pytest.mark.parametrize("codebook, storage", [
    (c, s) for c in CODES for s in ("int2", "int4") if int(s[3:]) < bits_needed(c)])
def test_storage_that_codes_do_not_fit_should_be_refused(codebook, storage, tmp_path):
    done = support.ldnq("quantize", DIGIT_FILES[0], *support.TERNARY,
                        "-o", tmp_path / "q.onnx", "--calib",
                        DIGITS / "calib", "--weights", codebook, "--storage", storage)
    assert done.returncode == USAGE and codebook in done.stderr and storage in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset, codebook, dtype", [
    (13, "ternary", TensorProto.INT8), (21, "ternary", TensorProto.INT4),
    (25, "ternary", TensorProto.INT2), (21, "int4", TensorProto.INT4),
    (25, "int4", TensorProto.INT4), (25, "int8", TensorProto.INT8)])
def test_opset_should_be_raised_as_asked_and_decide_the_storage(opset, codebook, dtype, tmp_path,
                                                                digit_feeds):
    out = tmp_path / "q.onnx"
    quantize(DIGIT_FILES[0], out, DIGITS / "calib", "--weights", codebook, "--opset", opset)
    support.check(out)
    support.assert_same_outputs(out, digit_feeds, tmp_path)
    assert opset_of(onnx.load(out)) == opset
    assert {q.dtype for q in support.quantized_weights(out)} == {dtype}


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("codebook", CODES)
def test_rtn_should_round_each_weight_to_the_nearest_code(codebook, granularity, tmp_path):
    out = tmp_path / "q.onnx"
    quantize(DIGIT_FILES[0], out, DIGITS / "calib", "--weights", codebook, "--granularity",
             granularity, *BASELINE, "--solver", "rtn")
    floats = {t.name: numpy_helper.to_array(t) for t in onnx.load(DIGIT_FILES[0]).graph.initializer}
    codes = np.array(sorted(CODES[codebook]))
    made = support.quantized_weights(out)
    assert len(made) == 7
    for q in made:
        weight = floats[q.node.input[0].removesuffix("_quantized")].astype(float)
        axes = None if q.axis is None else tuple(i for i in range(weight.ndim) if i != q.axis)
        scale = np.abs(weight).max(axis=axes) / codes[-1]
        np.testing.assert_allclose(q.scales, scale, rtol=1e-6)
        unit = scale if q.axis is None else scale.reshape([-1] + [1] * (weight.ndim - 1))
        distance = np.abs((weight / unit)[..., None] - codes)
        chosen = np.abs(weight / unit - q.codes)
        assert (chosen <= distance.min(-1) + 1e-5).all()


# ---- accuracy


def top1(models, data, *options):
    return [m["top1"] for m in support.answer("eval", *models, "--data", data, *options)["models"]]


@pytest.mark.parametrize("source", DIGIT_FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_int8_should_be_nearly_lossless(source, granularity, tmp_path):
    quantize(source, tmp_path / "q.onnx", DIGITS / "calib", "--weights", "int8", "--granularity",
             granularity)
    result = support.answer("eval", source, tmp_path / "q.onnx", "--data", DIGITS / "eval")
    assert result["agreement"] >= 99.5


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_ternary_admm_should_be_far_above_rounding(granularity, tmp_path):
    for solver in ("rtn", "admm-paper"):
        quantize(DIGIT_FILES[0], tmp_path / f"{solver}.onnx", DIGITS / "calib", "--granularity",
                 granularity, *BASELINE, "--solver", solver)
    rtn, admm = top1([tmp_path / "rtn.onnx", tmp_path / "admm-paper.onnx"], DIGITS / "eval")
    assert admm >= 90 and admm >= rtn + 20


def test_order_of_samples_should_not_decide_accuracy(tmp_path):
    files = sorted((DIGITS / "calib").iterdir())
    models = [tmp_path / f"{seed}.onnx" for seed in range(3)]
    for seed, out in enumerate(models):
        folder = tmp_path / str(seed)
        folder.mkdir()
        random.Random(seed).shuffle(files)
        for i, path in enumerate(files):
            shutil.copy(path, folder / f"{i:03}.png")
        quantize(DIGIT_FILES[0], out, folder)
    results = top1(models, DIGITS / "eval")
    assert max(results) - min(results) <= 1.5


def test_fewer_bits_should_lose_more(tmp_path):
    errors = []
    for codebook in ("int8", "int4", "int3", "int2"):
        said = quantize(DIGIT_FILES[0], tmp_path / "q.onnx", DIGITS / "calib", "--weights",
                        codebook)
        errors.append(said["layers"][0]["error"])  # its input is the same in all
    assert errors == sorted(errors) and errors[0] < 1e-4


def test_resnet20_ternary_should_reach_what_the_paper_has_it_reach(real_data, tmp_path):
    data = real_data("resnet20-cifar10")
    options = support.preprocessing(*CIFAR)
    models = [tmp_path / "rtn.onnx", tmp_path / "tensor.onnx", tmp_path / "channel.onnx"]
    paper = [*BASELINE, "--solver", "admm-paper"]
    more = [[*BASELINE, "--solver", "rtn", "--granularity", "tensor"],
            [*paper, "--granularity", "tensor"], paper]
    for out, each in zip(models, more):
        assert support.peak_megabytes("quantize", data / "resnet20-ts.onnx", *support.TERNARY,
                                      "-o", out, "--quiet",
                              "--calib", data / "calib", *options, *each) < 600
    assert all(len(support.quantized_weights(out)) == 20 for out in models)
    rtn, tensor, channel = top1(models, data / "eval", "--max-samples", 800, *options)
    assert rtn < 30 and tensor > 55 and channel > 70


# ---- the same bytes


def bytes_of(tmp_path, name, *options, source=DIGIT_FILES[0], calib=DIGITS / "calib"):
    out = tmp_path / f"{name}.onnx"
    quantize(source, out, calib, *options)
    return out.read_bytes()


@pytest.mark.parametrize("source, options", [
    (DIGIT_FILES[0], ["--granularity", "tensor"]), (DIGIT_FILES[1], ["--granularity", "channel"]),
    (DIGIT_FILES[0], ["--weights", "int4", "--storage", "int4"]),
    (DIGIT_FILES[1], ["--weights", "pot7", "--solver", "rtn"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) else value.stem)
def test_threads_memory_and_repetition_should_not_change_a_byte(source, options, tmp_path):
    one = bytes_of(tmp_path, "one", "--threads", 1, *options, source=source)
    assert one == bytes_of(tmp_path, "again", "--threads", 1, *options, source=source)
    for name, more in {"two": ["--threads", 2], "five": ["--threads", 5],
                       "spilled": ["--max-mem", "1K"], "half": ["--max-mem", "600K"],
                       "both": ["--max-mem", "1K", "--threads", 1]}.items():
        assert one == bytes_of(tmp_path, name, *more, *options, source=source), name


def test_threads_should_not_change_a_byte_on_a_real_network(real_data, tmp_path):
    data = real_data("resnet20-cifar10")
    made = [bytes_of(tmp_path, str(n), "--threads", n, "--max-samples", 60,
                     *support.preprocessing(*CIFAR), source=data / "resnet20-dynamo.onnx",
                     calib=data / "calib") for n in (1, 2)]
    assert made[0] == made[1]


def test_seed_should_choose_the_samples(tmp_path):
    drawn = [bytes_of(tmp_path, str(i), "--max-samples", 20, "--seed", seed)
             for i, seed in enumerate((1, 1, 2))]
    assert drawn[0] == drawn[1] != drawn[2]


# ---- metadata


def test_metadata_should_tell_how_the_file_was_made(tmp_path):
    said = quantize(DIGIT_FILES[0], tmp_path / "q.onnx", DIGITS / "calib", "--weights", "pot5",
                    "--mean", ".1", "--std", ".5", "--skip", "*stem*", "--max-samples", 30,
                    "--seed", 4, "--opset", 14)
    notes = support.metadata(tmp_path / "q.onnx")
    version = support.succeed("--version").stdout.split()[1]
    assert notes["ldnq.version"] == version
    options = notes["ldnq.options"].split()
    for wanted in ("weights=pot5", "granularity=channel", "solver=best", "storage=auto",
                   "mean=.1", "std=.5", "max-samples=30", "seed=4", "skip=*stem*", "opset=14"):
        assert wanted in options
    assert any(option.startswith("scale=0.00392156") for option in options)
    layers = {key: value for key, value in notes.items() if key.startswith("ldnq.layer.")}
    assert list(layers) == ["ldnq.layer." + layer["node"] for layer in said["layers"]]
    for layer, note in zip(said["layers"], layers.values()):
        fields = dict(word.split("=") for word in note.split())
        assert fields["codebook"] == "pot5" and fields["storage"] == "int8"
        low, high = map(float, fields["scale"].split(".."))
        assert (low, high) == pytest.approx((layer["scale_min"], layer["scale_max"]), rel=1e-6)
        assert float(fields["error"]) == pytest.approx(layer["error"], rel=1e-4)


def test_hashes_should_follow_contents_and_not_names(tmp_path):
    def hashes(source, calib):
        quantize(source, tmp_path / "q.onnx", calib, "--solver", "rtn")
        notes = support.metadata(tmp_path / "q.onnx")
        return notes["ldnq.model"], notes["ldnq.data"]

    first = hashes(DIGIT_FILES[0], DIGITS / "calib")
    shutil.copytree(DIGITS / "calib", tmp_path / "elsewhere")
    shutil.copy(DIGIT_FILES[0], tmp_path / "m.onnx")
    assert hashes(tmp_path / "m.onnx", tmp_path / "elsewhere") == first
    proto = onnx.load(tmp_path / "m.onnx")
    proto.doc_string += "x"
    onnx.save(proto, tmp_path / "m.onnx")
    next(iter(sorted((tmp_path / "elsewhere").iterdir()))).unlink()
    other = hashes(tmp_path / "m.onnx", tmp_path / "elsewhere")
    assert other[0] != first[0] and other[1] != first[1] and "samples=99" in other[1]


def test_quantizing_twice_should_say_that_nothing_is_left(tmp_path):
    quantize(DIGIT_FILES[0], tmp_path / "q.onnx", DIGITS / "calib")
    done = support.ldnq("quantize", tmp_path / "q.onnx", *support.TERNARY,
                        "-o", tmp_path / "r.onnx", "--calib",
                        DIGITS / "calib")
    assert done.returncode == USAGE and done.stderr.count("\n") == 1
    assert "quantized already" in done.stderr and not (tmp_path / "r.onnx").exists()


def test_the_input_file_should_not_be_the_output_file(tmp_path):
    """Whoever names it twice by mistake keeps the float model."""
    shutil.copy(DIGIT_FILES[0], tmp_path / "m.onnx")
    done = support.ldnq("quantize", tmp_path / "m.onnx", *support.TERNARY,
                        "-o", tmp_path / "m.onnx", "--calib",
                        DIGITS / "calib")
    assert done.returncode == support.USAGE and done.stderr.count("\n") == 1
    assert (tmp_path / "m.onnx").read_bytes() == DIGIT_FILES[0].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


# ---- small models


def close(out, source, feeds):
    """Relative error of the outputs against the float model's, in ONNX Runtime."""
    want, got = support.ort_run(support.loadable(source), feeds), support.ort_run(out, feeds)
    assert list(want) == list(got)
    return max(np.linalg.norm(got[n] - want[n]) / np.linalg.norm(want[n]) for n in want)


@pytest.mark.parametrize("codebook, granularity, storage", [
    ("int8", "channel", "auto"), ("int8", "tensor", "auto"),
    ("ternary", "channel", "int2"), ("pot5", "tensor", "int4")])
@pytest.mark.parametrize("build", small.ALL.values(), ids=small.ALL)
def test_small_models_should_be_quantized_right(build, codebook, granularity, storage, tmp_path):
    source, calib, feeds, count = prepare(build, tmp_path)
    out = tmp_path / "q.onnx"
    quantize(source, out, calib, "--weights", codebook, "--granularity", granularity,
             "--storage", storage)
    made, _ = assert_valid(source, out, feeds, tmp_path, codebook, granularity, storage)
    assert len(made) == count
    if codebook == "int8":  # a weight turned or put in the wrong place would be far off
        assert close(out, source, feeds) < 0.03


def test_a_shared_weight_should_be_stored_once(tmp_path):
    source, calib, _, _ = prepare(small.weight_shared_by_two_convs, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib)
    (shared,) = support.quantized_weights(tmp_path / "q.onnx")
    assert [reader.name for reader in shared.readers] == ["first", "second"]
    assert "w" not in {t.name for t in onnx.load(tmp_path / "q.onnx").graph.initializer}


def test_a_shared_weight_should_stay_for_the_layer_that_is_skipped(tmp_path):
    source, calib, feeds, _ = prepare(small.weight_shared_by_two_convs, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib, "--skip", "first")
    (made,), _ = assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    assert [reader.name for reader in made.readers] == ["second"]
    first = next(n for n in onnx.load(tmp_path / "q.onnx").graph.node if n.name == "first")
    assert first.input[1] == "w"


@pytest.mark.parametrize("build", [
    small.weight_read_by_matmul_and_gather, small.weight_that_is_a_graph_output])
def test_a_weight_with_another_reader_should_stay_as_it_was(build, tmp_path):
    source, calib, _, _ = prepare(build, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib)
    before, after = ({t.name: t for t in onnx.load(path).graph.initializer}
                     for path in (source, tmp_path / "q.onnx"))
    assert after["w"] == before["w"]


@pytest.mark.parametrize("build", [
    small.weight_behind_identity, small.weight_in_a_constant_node, small.weight_behind_transpose,
    small.weight_behind_reshape, small.weight_cast_from_float16, small.weight_behind_a_whole_chain])
def test_what_made_the_float_weight_should_be_gone(build, tmp_path):
    source, calib, _, _ = prepare(build, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib)
    graph = onnx.load(tmp_path / "q.onnx").graph
    layer = {"Conv", "MatMul", "Gemm"}
    assert {n.op_type for n in graph.node} <= {"DequantizeLinear", "Transpose", *layer}
    assert len(graph.initializer) == 2


@pytest.mark.parametrize("build, left", [
    (small.batchnorm_behind_conv, 0), (small.batchnorm_behind_conv_with_bias_in_opset_9, 0),
    (small.batchnorm_behind_grouped_conv, 0), (small.batchnorm_behind_depthwise_conv, 0),
    (small.batchnorms_behind_one_shared_weight, 0), (small.batchnorm_behind_gemm, 0),
    (small.batchnorm_behind_transposed_conv, 0), (small.batchnorm_whose_conv_is_read_twice, 1)])
def test_batchnorm_should_go_where_it_can(build, left, tmp_path):
    source, calib, _, _ = prepare(build, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib)
    graph = onnx.load(tmp_path / "q.onnx").graph
    assert sum(n.op_type == "BatchNormalization" for n in graph.node) == left
    if not left:
        assert not {"g", "h", "m", "v"} & {t.name for t in graph.initializer}


def test_batchnorm_should_stay_behind_a_layer_that_is_skipped(tmp_path):
    nodes = [small.conv("x w", "a", name="normed"),
             small.node("BatchNormalization", "a g h m v", "n"),
             small.conv("n u", "y", name="other")]
    values = {"w": weights(5, 4, 3, 3), "u": weights(3, 5, 1, 1), **small.norm(5)}
    build = lambda: (*small.normalized(nodes, (3, 4, 4), values), 1)
    source, calib, feeds, _ = prepare(build, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib, "--only", "other")
    (made,), _ = assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    graph = onnx.load(tmp_path / "q.onnx").graph
    assert [n.op_type for n in graph.node] == ["Conv", "BatchNormalization", "DequantizeLinear",
                                               "Conv"]
    before = {t.name: t for t in onnx.load(source).graph.initializer}
    assert all(t == before[t.name] for t in graph.initializer if t.name in "wghmv")


def test_opset_of_an_old_model_should_be_raised_only_as_needed(tmp_path):
    source, calib, feeds, _ = prepare(small.initializers_among_the_inputs, tmp_path)
    for granularity, storage, opset in (("tensor", "int8", 10), ("channel", "int8", 13),
                                        ("tensor", "int4", 21), ("tensor", "int2", 25),
                                        ("tensor", "auto", 25)):
        out = tmp_path / f"{storage}-{granularity}.onnx"
        quantize(source, out, calib, "--weights", "ternary", "--granularity", granularity,
                 "--storage", storage)
        support.check(out)
        support.assert_same_outputs(out, feeds, tmp_path)
        assert opset_of(onnx.load(out)) == opset
        assert [i.name for i in onnx.load(out).graph.input] == ["x"]


# ---- the error that is told


def one_layer(kind):
    builders = {
        "matmul": small.matmul_on_three_axes,
        "gemm": lambda: small.gemm(weights(4, seed=3), alpha=0.7, beta=-1.5, transB=1),
        "conv": lambda: small.convolution((6, 7, 7), (9, 2, 3, 3), group=3, pads=[1, 0, 2, 1]),
        "conv without bias": lambda: small.convolution((3, 7, 7), (4, 3, 3, 3), bias=False),
        "conv over three axes": lambda: small.convolution((2, 5, 6, 4), (3, 2, 3, 2, 3)),
        "transposed conv": lambda: small.transposed_convolution((3, 5, 6), (3, 4, 3, 4),
                                                                strides=[2, 3], pads=[1, 0, 2, 1]),
        "batchnorm": small.batchnorm_behind_conv,
    }
    return builders[kind]


@pytest.mark.parametrize("codebook", ["ternary", "pot7", "int3"])
@pytest.mark.parametrize("solver", ["rtn", "admm-paper", "best"])
@pytest.mark.parametrize("kind", ["matmul", "gemm", "conv", "conv without bias",
                                  "conv over three axes", "transposed conv", "batchnorm"])
def test_error_should_be_the_outputs_own(kind, solver, codebook, tmp_path):
    """E|q-y|^2 over that of a layer with weight zero and, where there is one, the best bias."""
    source, calib, _, _ = prepare(one_layer(kind), tmp_path)
    # So few samples are all fitted, and the error is that on the fitted ones.
    feeds = {"x": np.load(calib)[:4]}
    np.save(calib, feeds["x"])
    said = quantize(source, tmp_path / "q.onnx", calib, "--weights", codebook, *BASELINE,
                    "--solver", solver)
    (want,), (got,) = (support.ort_run(path, feeds).values()
                       for path in (source, tmp_path / "q.onnx"))
    axis = 1 if want.ndim > 3 else want.ndim - 1
    want, got = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1).astype(float)
                 for a in (want, got))
    has_bias = kind not in ("matmul", "conv without bias")
    base = want - want.mean(1, keepdims=True) if has_bias else want
    error = ((got - want) ** 2).sum() / (base**2).sum()
    (layer,) = said["layers"]
    assert layer["error"] == pytest.approx(error, rel=1e-3)
    assert layer["error"] <= layer["error_start"]
    assert layer["positions"] == want.shape[1]


# ---- networks as they come


@pytest.mark.parametrize("codebook, granularity", [("ternary", "channel"), ("int8", "tensor")])
@pytest.mark.parametrize("name, shape, layers", [
    ("mnist", (1, 1, 28, 28), 3), ("ultraface-rfb-320", (1, 3, 240, 320), None),
    ("ppocr-cls-v2", (1, 3, 48, 192), None)])
def test_wild_networks_should_be_quantized(name, shape, layers, codebook, granularity, real_data,
                                           tmp_path):
    source = real_data(f"wild/{name}.onnx")
    calib = support.save_samples(tmp_path / "calib.npy", *shape[1:], count=3)
    said = quantize(source, tmp_path / "q.onnx", calib, "--weights", codebook, "--granularity",
                    granularity)
    assert len(said["layers"]) == len(inspect(source)) and layers in (None, len(said["layers"]))
    feeds = {support.session(source).get_inputs()[0].name: np.load(calib)[:1]}
    assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path, codebook, granularity)
    if name == "ppocr-cls-v2":
        ops = {n.op_type for n in onnx.load(tmp_path / "q.onnx").graph.node}
        assert "BatchNormalization" not in ops


def test_efficientnet_should_be_quantized(real_data, tmp_path):
    data = real_data("efficientnet-lite0")
    source, out = data / "efficientnet-lite0-ts.onnx", tmp_path / "q.onnx"
    quantize(source, out, data / "calib", "--max-samples", 4, "--weights", "int8", "--solver",
             "rtn", *support.preprocessing(*support.IMAGENET))
    feeds = {"input": support.pictures(sorted((data / "calib").rglob("*.png"))[:2], 3,
                                       *support.IMAGENET)}
    assert_valid(source, out, feeds, tmp_path, "int8")

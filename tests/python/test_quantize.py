"""`ldnq quantize`: what it writes is valid, runs in ONNX Runtime, and is what it promises."""

import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import small_models as small
import support
from support import CIFAR, DIGITS, UNSUPPORTED, USAGE, model, save, weights

CODES = {
    "ternary": {-1, 0, 1},
    "pot5": {0, *(s * 2**i for s in (-1, 1) for i in range(2))},
    "pot7": {0, *(s * 2**i for s in (-1, 1) for i in range(3))},
    "pot9": {0, *(s * 2**i for s in (-1, 1) for i in range(4))},
    "pot11": {0, *(s * 2**i for s in (-1, 1) for i in range(5))},
    "int2": set(range(-2, 2)),
    "int3": set(range(-4, 4)),
    "int4": set(range(-8, 8)),
    "int8": set(range(-128, 128)),
}
OPSET_OF_BITS = {2: 25, 4: 21, 8: 10}
DTYPE_OF_BITS = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.INT8}
DIGIT_FILES = [DIGITS / "digits-ts.onnx", DIGITS / "digits-dynamo.onnx"]


def bits_needed(codebook):
    low, high = min(CODES[codebook]), max(CODES[codebook])
    return next(b for b in (2, 4, 8) if -(2 ** (b - 1)) <= low and high < 2 ** (b - 1))


def expected_storage(opset, codebook, granularity, storage):
    """(bits, opset) after include/ldnq/emit.h."""
    opset = max(opset, 13 if granularity == "channel" else 10)
    if storage != "auto":
        bits = int(storage[3:])
        return bits, max(opset, OPSET_OF_BITS[bits])
    fits = [b for b in (2, 4, 8) if b >= bits_needed(codebook) and OPSET_OF_BITS[b] <= opset]
    return fits[0], opset


def opset_of(proto):
    return next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))


def quantize(source, out, calib, *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, *options)


def assert_valid(source, out, feeds, folder, codebook="ternary", granularity="channel",
                 storage="auto"):
    """All that a written file promises. Returns its quantized weights and outputs."""
    support.check(out)
    outputs = support.assert_same_outputs(out, feeds, folder)
    bits, opset = expected_storage(opset_of(onnx.load(source)), codebook, granularity, storage)
    assert opset_of(onnx.load(out)) == opset
    made = [q for q in support.quantized_weights(out)
            if re.search(r"_quantized(_\d+)?$", q.node.input[0])]
    for q in made:
        assert q.dtype == DTYPE_OF_BITS[bits]
        assert set(np.unique(q.codes)) <= CODES[codebook]
        assert (q.scales > 0).all() and q.scales.dtype == np.float32
        # Outputs lie along the first axis (see src/emit for the ones that did not), but for
        # ConvTranspose.
        axis = 1 if q.readers[0].op_type == "ConvTranspose" else 0
        assert q.axis == (axis if granularity == "channel" else None)
        assert q.scales.shape == ((q.codes.shape[axis],) if granularity == "channel" else ())
    return made, outputs


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
        assert layer["scale_min"] == pytest.approx(q.scales.min(), rel=1e-6)
        assert layer["scale_max"] == pytest.approx(q.scales.max(), rel=1e-6)
        assert layer["error"] <= layer["error_start"]
    assert said["opset"] == opset_of(onnx.load(out))
    assert said["bytes_after"] == out.stat().st_size


@pytest.mark.parametrize("codebook, storage", [
    (c, s) for c in CODES for s in ("int2", "int4") if int(s[3:]) < bits_needed(c)])
def test_storage_that_codes_do_not_fit_should_be_refused(codebook, storage, tmp_path):
    done = support.ldnq("quantize", DIGIT_FILES[0], "-o", tmp_path / "q.onnx", "--calib",
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
             granularity, "--solver", "rtn")
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
                 granularity, "--solver", solver)
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


def peak_megabytes(*arguments):
    """Of memory, while the program runs; /proc keeps the highest."""
    peak = 0
    with subprocess.Popen([support.LDNQ, *map(str, arguments)]) as child:
        while child.poll() is None:
            status = Path(f"/proc/{child.pid}/status").read_text(encoding="utf-8")
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            peak = max(peak, int(found[1]) / 1024 if found else 0)
            time.sleep(0.02)
    assert child.returncode == support.OK
    return peak


def test_resnet20_ternary_should_reach_what_the_paper_has_it_reach(real_data, tmp_path):
    data = real_data("resnet20-cifar10")
    options = support.preprocessing(*CIFAR)
    models = [tmp_path / "rtn.onnx", tmp_path / "tensor.onnx", tmp_path / "channel.onnx"]
    more = [["--solver", "rtn", "--granularity", "tensor"], ["--granularity", "tensor"], []]
    for out, each in zip(models, more):
        assert peak_megabytes("quantize", data / "resnet20-ts.onnx", "-o", out, "--quiet",
                              "--calib", data / "calib", *options, *each) < 600
    assert all(len(support.quantized_weights(out)) == 20 for out in models)
    rtn, tensor, channel = top1(models, data / "eval", "--max-samples", 800, *options)
    assert rtn < 30 and tensor > 55 and channel > 70


# ---- the same bytes


def bytes_of(tmp_path, name, *options, source=DIGIT_FILES[0], calib=DIGITS / "calib"):
    out = tmp_path / f"{name}.onnx"
    quantize(source, out, calib, *options)
    return out.read_bytes()


@pytest.mark.parametrize("source", DIGIT_FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("options", [
    ["--granularity", "tensor"], ["--granularity", "channel"],
    ["--weights", "int4", "--storage", "int4"], ["--weights", "pot7", "--solver", "rtn"],
], ids=" ".join)
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
    for wanted in ("weights=pot5", "granularity=channel", "solver=admm-paper", "storage=auto",
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
    done = support.ldnq("quantize", tmp_path / "q.onnx", "-o", tmp_path / "r.onnx", "--calib",
                        DIGITS / "calib")
    assert done.returncode == USAGE and done.stderr.count("\n") == 1
    assert "quantized already" in done.stderr and not (tmp_path / "r.onnx").exists()


def test_the_input_file_may_be_the_output_file(tmp_path, digit_feeds):
    shutil.copy(DIGIT_FILES[0], tmp_path / "m.onnx")
    quantize(tmp_path / "m.onnx", tmp_path / "m.onnx", DIGITS / "calib")
    assert_valid(DIGIT_FILES[0], tmp_path / "m.onnx", digit_feeds, tmp_path / "run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "run"]


# ---- small models


def prepare(build, tmp_path):
    """(file, calibration data, feeds, number of weights) of a small model."""
    proto, shape, count = build()
    source = save(proto, tmp_path / "m.onnx")
    support.check(source)
    if isinstance(shape, dict):
        rng = np.random.default_rng(5)
        arrays = {name: rng.normal(0.5, 1, (24, *dims)).astype(np.float32)
                  for name, dims in shape.items()}
        np.savez(tmp_path / "calib.npz", **arrays)
        return source, tmp_path / "calib.npz", {n: a[:2] for n, a in arrays.items()}, count
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    data = np.load(calib)
    first = proto.graph.input[0].type.tensor_type.shape.dim
    return source, calib, {"x": data[:2] if len(first) == data.ndim else data[0]}, count


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
    for granularity, storage, opset in (("tensor", "auto", 10), ("channel", "auto", 13),
                                        ("tensor", "int4", 21), ("tensor", "int2", 25)):
        out = tmp_path / f"{opset}.onnx"
        quantize(source, out, calib, "--granularity", granularity, "--storage", storage)
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
@pytest.mark.parametrize("solver", ["rtn", "admm-paper"])
@pytest.mark.parametrize("kind", ["matmul", "gemm", "conv", "conv without bias",
                                  "conv over three axes", "transposed conv", "batchnorm"])
def test_error_should_be_the_outputs_own(kind, solver, codebook, tmp_path):
    """E|q-y|^2 over that of a layer with weight zero and, where there is one, the best bias."""
    source, calib, _, _ = prepare(one_layer(kind), tmp_path)
    said = quantize(source, tmp_path / "q.onnx", calib, "--weights", codebook, "--solver", solver)
    feeds = {"x": np.load(calib)}
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


# ---- what is left alone


def inspect(source):
    return {layer["node"]: layer for layer in support.answer("inspect", source)["layers"]}


def test_a_weight_that_is_quantized_already_should_be_left_alone(tmp_path):
    nodes = [small.node("DequantizeLinear", "c s", "d"), small.conv("x d", "a", name="old"),
             small.conv("a v", "y", name="new")]
    values = {"c": np.arange(-27, 27, dtype=np.int8).reshape(3, 2, 3, 3), "s": np.float32(0.1),
              "v": weights(2, 3, 1, 1)}
    build = lambda: (small.chain(nodes, (2, 5, 5), (2, 3, 3), values), (2, 5, 5), 1)
    source, calib, feeds, _ = prepare(build, tmp_path)
    seen = inspect(source)
    assert not seen["old"]["quantizable"] and "quantized already" in seen["old"]["reason"]
    assert seen["new"]["quantizable"]
    quantize(source, tmp_path / "q.onnx", calib)
    made, _ = assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    assert [q.readers[0].name for q in made] == ["new"]
    before, after = onnx.load(source).graph, onnx.load(tmp_path / "q.onnx").graph
    assert before.initializer[0] in after.initializer and before.node[0] in after.node


def test_inspect_should_say_why_a_layer_is_not_quantized(tmp_path):
    nodes = [small.conv("x w", "a", name="fine"), small.node("Flatten", "a", "f"),
             small.node("MatMul", "f r", "b", name="row"),
             small.node("Transpose", "f", "t", perm=[1, 0]),
             small.node("MatMul", "f t", "y", name="data")]
    proto = model(nodes, {"x": [3, 2, 3, 3]}, {"y": [3, 3], "b": [3]},
                  {"w": weights(4, 2, 3, 3), "r": weights(4)})
    seen = inspect(save(proto, tmp_path / "m.onnx"))
    assert seen["fine"]["quantizable"] and "reason" not in seen["fine"]
    assert "axes" in seen["row"]["reason"] and "run time" in seen["data"]["reason"]


def test_a_grouped_transposed_conv_should_stay_float(tmp_path):
    nodes = [small.node("ConvTranspose", "x w", "a", name="up", group=2),
             small.conv("a v", "y", name="fine")]
    values = {"w": weights(4, 3, 2, 2), "v": weights(2, 6, 3, 3)}
    build = lambda: (small.chain(nodes, (4, 5, 5), (2, 4, 4), values), (4, 5, 5), 1)
    source, calib, feeds, _ = prepare(build, tmp_path)
    assert "groups share" in inspect(source)["up"]["reason"]
    quantize(source, tmp_path / "q.onnx", calib)
    made, _ = assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    assert [q.readers[0].name for q in made] == ["fine"]


def looked_up_and_recurrent():
    """An embedding, an LSTM and a linear layer."""
    nodes = [small.node("Gather", "table i", "e", name="embedding"),
             small.node("LSTM", "e w r", "s", name="recurrent", hidden_size=4),
             small.node("Squeeze", "s one", "t"), small.node("MatMul", "t h", "y", name="head")]
    return model(nodes, {"x": ["n", 3]}, {"y": ["n", 3, 2]}, {
        "table": weights(9, 5), "w": weights(1, 16, 5), "r": weights(1, 16, 4),
        "h": weights(4, 2), "one": np.array([1], np.int64)})


def test_weights_that_stay_should_be_named_with_the_reason(tmp_path):
    proto = looked_up_and_recurrent()
    proto.graph.node.insert(0, small.node("Cast", "x", "i", to=TensorProto.INT64))
    source = save(proto, tmp_path / "m.onnx")
    np.save(tmp_path / "calib.npy", np.arange(18).reshape(6, 3).astype(np.float32) % 9)
    arguments = [source, tmp_path / "q.onnx", tmp_path / "calib.npy"]
    said = quantize(*arguments)
    assert [layer["node"] for layer in said["layers"]] == ["head"]
    reasons = {kept["node"]: kept["reason"] for kept in said["not_quantized"]}
    assert list(reasons) == ["embedding", "recurrent"]
    assert "looked up" in reasons["embedding"] and "recurrent" in reasons["recurrent"]
    assert {n: seen["reason"] for n, seen in inspect(source).items() if n != "head"} == reasons
    printed = support.succeed("quantize", source, "-o", arguments[1], "--calib", arguments[2])
    for name, reason in reasons.items():
        assert f"'{name}': {reason}" in printed.stdout
    said = quantize(DIGIT_FILES[0], arguments[1], DIGITS / "calib", "--skip", "*/stem/*")
    assert [kept["reason"] for kept in said["not_quantized"]] == ["left out by --skip or --only"]


def test_skip_and_only_should_choose_by_name_and_by_pattern(tmp_path):
    def chosen(*options):
        said = quantize(DIGIT_FILES[0], tmp_path / "q.onnx", DIGITS / "calib", "--solver", "rtn",
                        *options)
        return [layer["node"].split("/")[1] for layer in said["layers"]]

    every = chosen()
    assert every == ["stem", "res1", "res2", "down", "depthwise", "pointwise", "classifier"]
    assert chosen("--skip", "/stem/stem.0/Conv") == every[1:]
    assert chosen("--skip", "*/res*", "--skip", "*/stem/*") == every[3:]
    assert chosen("--only", "*/Gemm", "--only", "/stem/stem.0/Conv") == ["stem", "classifier"]
    assert chosen("--only", "/re*", "--skip", "*res2*") == ["res1"]


def test_a_skipped_layer_should_not_change(tmp_path):
    quantize(DIGIT_FILES[0], tmp_path / "q.onnx", DIGITS / "calib", "--skip", "*stem*")
    before, after = onnx.load(DIGIT_FILES[0]).graph, onnx.load(tmp_path / "q.onnx").graph
    stem = next(n for n in before.node if "stem" in n.name and n.op_type == "Conv")
    assert stem in after.node
    kept = {t.name: t for t in after.initializer}
    assert all(kept[t.name] == t for t in before.initializer if t.name in stem.input)


@pytest.mark.parametrize("used", [True, False])
def test_names_of_duplicates_should_choose_one_node_each(used, tmp_path):
    source, calib, feeds, _ = prepare(small.names_that_are_taken_twice, tmp_path)
    labels = list(inspect(source))
    assert len(set(labels)) == 2
    quantize(source, tmp_path / "q.onnx", calib, "--only" if used else "--skip", labels[1])
    (made,), _ = assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    assert made.readers[0].output[0] == ("y" if used else "a")


# ---- what is not understood survives


def test_what_surrounds_the_graph_should_survive(tmp_path):
    source, calib, feeds, _ = prepare(small.rich, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib)
    assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    before, after = onnx.load(source), onnx.load(tmp_path / "q.onnx")
    for field in ("doc_string", "producer_name", "model_version", "domain", "functions",
                  "opset_import", "ir_version"):
        assert getattr(after, field) == getattr(before, field), field
    assert after.graph.doc_string == "graph" and after.graph.name == before.graph.name
    assert after.graph.input == before.graph.input and after.graph.output == before.graph.output
    assert before.metadata_props[0] in after.metadata_props
    assert before.graph.initializer[-1] in after.graph.initializer
    layer = after.graph.node[-1]
    assert layer.doc_string == "layer" and layer.attribute == before.graph.node[0].attribute


def test_fields_of_a_newer_onnx_should_survive(tmp_path):
    source, calib, feeds, _ = prepare(lambda: small.convolution((2, 5, 5), (3, 2, 3, 3)), tmp_path)
    future = bytes([0xFA, 0x3E, 5]) + b"later"  # field 1007, five bytes
    source.write_bytes(source.read_bytes() + future)
    quantize(source, tmp_path / "q.onnx", calib)
    assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
    assert future in (tmp_path / "q.onnx").read_bytes()


def test_a_subgraph_that_reads_the_weight_should_survive_or_be_refused_by_name(tmp_path):
    source, calib, feeds, _ = prepare(small.if_with_outer_weight, tmp_path)
    done = support.ldnq("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib)
    if done.returncode == 0:
        assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path)
        before, after = onnx.load(source).graph, onnx.load(tmp_path / "q.onnx").graph
        assert before.node[-1] in after.node and before.initializer[0] in after.initializer
    else:
        assert done.returncode == UNSUPPORTED
        assert "'branch'" in done.stderr and "If" in done.stderr
        assert not (tmp_path / "q.onnx").exists()


def refused_by_name(proto, shape, words, tmp_path):
    save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                        calib)
    assert done.returncode == UNSUPPORTED and all(word in done.stderr for word in words)
    assert done.stderr.count("\n") == 1 and not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize("op, domain", [("Nothing", ""), ("Sparkle", "com.elsewhere")])
def test_unknown_operators_should_be_refused_by_name(op, domain, tmp_path):
    nodes = [small.conv("x w", "a", name="known"),
             helper.make_node(op, ["a"], ["y"], name="unknown", domain=domain)]
    opsets = [(domain, 1)] if domain else []
    proto = small.chain(nodes, (2, 5, 5), (3, 3, 3), {"w": weights(3, 2, 3, 3)}, opsets=opsets)
    refused_by_name(proto, (2, 5, 5), ["'unknown'", op], tmp_path)


def quantized(proto, shape, tmp_path):
    """The model, quantized and checked, and its samples."""
    source, out = tmp_path / "m.onnx", tmp_path / "q.onnx"
    onnx.save(proto, source)
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    quantize(source, out, calib)
    assert_valid(source, out, {"x": np.load(calib)[:2]}, tmp_path)
    return onnx.load(out)


def dequantized(proto):
    return [node.input[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"]


def test_a_convolution_in_space_should_be_quantized(tmp_path):
    proto, shape, _ = small.convolution((2, 4, 5, 6), (3, 2, 2, 3, 2), name="volume")
    assert len(dequantized(quantized(proto, shape, tmp_path))) == 1


def test_batchnorm_in_training_should_be_refused_by_name(tmp_path):
    nodes = [small.conv("x w", "a"),
             helper.make_node("BatchNormalization", list("aghmv"), ["y", "mean", "var"],
                              name="learning", training_mode=1)]
    proto, shape = small.normalized(nodes, (5, 4, 4), {"w": weights(5, 4, 3, 3), **small.norm(5)},
                                    opset=15)
    refused_by_name(proto, shape, ["'learning'"], tmp_path)


def test_a_call_of_the_models_own_function_should_stay_behind_a_quantized_layer(tmp_path):
    proto, shape, _ = small.rich()
    proto.graph.node[0].output[0] = "a"
    proto.graph.node.append(helper.make_node("Twice", ["a"], ["y"], "caller", domain="com.here"))
    made = quantized(proto, shape, tmp_path)
    assert dequantized(made) and made.functions == proto.functions
    assert [node.name for node in made.graph.node if node.op_type == "Twice"] == ["caller"]


@pytest.mark.parametrize("where", ["same folder", "other folder"])
def test_external_data_should_move_along(where, tmp_path):
    proto, shape, _ = small.convolution((8, 9, 9), (16, 8, 3, 3))
    proto.graph.initializer.append(support.tensor("more", weights(16, 16, 3, 3, seed=8)))
    proto.graph.node[0].output[0] = "a"
    proto.graph.node.append(small.conv("a more", "y", name="left"))
    source = tmp_path / "m.onnx"
    onnx.save(proto, source, save_as_external_data=True, size_threshold=0, location="m.bin")
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    folder = tmp_path if where == "same folder" else tmp_path / "other"
    folder.mkdir(exist_ok=True)
    out = folder / "q.onnx"
    quantize(source, out, calib, "--skip", "left")
    if where == "other folder":
        assert sorted(p.name for p in folder.iterdir()) == ["q.onnx", "q.onnx.data"]
        (tmp_path / "m.bin").unlink()
        support.check(out)
        support.assert_same_outputs(out, {"x": np.load(calib)[:2]}, tmp_path)
    else:
        assert_valid(source, out, {"x": np.load(calib)[:2]}, tmp_path)


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

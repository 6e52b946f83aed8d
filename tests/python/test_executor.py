# SPDX-License-Identifier: Apache-2.0
"""`ldnq run` and `ldnq eval` against ONNX Runtime, on the project's and on real networks."""

import functools
import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import small_models as small
import support
from support import CIFAR, DIGITS, IMAGENET, SHARED, UNSUPPORTED

RESNET = SHARED / "resnet20-cifar10"
EFFICIENTNET = SHARED / "efficientnet-lite0"
EXPORTS = [
    (DIGITS / "digits-ts.onnx", 1, 8),
    (DIGITS / "digits-dynamo.onnx", 1, 8),
    (RESNET / "resnet20-ts.onnx", 3, 32),
    (RESNET / "resnet20-dynamo.onnx", 3, 32),
    (EFFICIENTNET / "efficientnet-lite0-ts.onnx", 3, 224),
    (EFFICIENTNET / "efficientnet-lite0-dynamo.onnx", 3, 224),
]
EXPORT_NAMES = [path.stem for path, _, _ in EXPORTS]


def need(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not in {path.parent}")
    return path


def random(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def eval_files(folder):
    """[(path, class)], of class folders or of labels.csv."""
    data = need(folder / "eval")
    if not (data / "labels.csv").exists():
        return support.class_folders(data)
    lines = (data / "labels.csv").read_text().split()[1:]
    return [(data / name, int(label)) for name, label in (line.split(",") for line in lines)]


def normalization(path):
    return {RESNET: CIFAR, EFFICIENTNET: IMAGENET}.get(path.parent, ((0,), (1,)))


# ---- run


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("path, channels, size", EXPORTS, ids=EXPORT_NAMES)
def test_run_should_equal_onnx_runtime_on_random_input(path, channels, size, batch, tmp_path):
    feeds = {"input": random(batch, channels, size, size)}
    support.assert_same_outputs(need(path), feeds, tmp_path)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("path, channels, size", EXPORTS, ids=EXPORT_NAMES)
def test_run_should_equal_onnx_runtime_on_real_input(path, channels, size, batch, tmp_path):
    files = eval_files(need(path).parent)
    paths = [file for file, _ in files[:: len(files) // batch]][:batch]
    feeds = {"input": support.pictures(paths, channels, *normalization(path))}
    support.assert_same_outputs(path, feeds, tmp_path)


def test_run_should_equal_onnx_runtime_on_mnist(real_data, tmp_path):
    image = np.zeros((1, 1, 28, 28), np.float32)
    image[..., 4:24, 12:16] = 255  # a stroke, as the digit one has it
    path = real_data("wild/mnist.onnx")
    for data in (image, random(1, 1, 28, 28)):
        support.assert_same_outputs(path, {"Input3": data}, tmp_path)


def test_run_should_equal_onnx_runtime_on_ultraface(real_data, tmp_path):
    path = real_data("wild/ultraface-rfb-320.onnx")
    outputs = support.assert_same_outputs(path, {"input": random(1, 3, 240, 320)}, tmp_path)
    assert list(outputs) == ["scores", "boxes"]


@pytest.mark.parametrize("shape, dims", [
    ((1, 3, 48, 192), []),
    ((2, 3, 48, 192), []),
    ((3, 3, 64, 100), []),
    ((2, 3, 48, 192), ["x:2=48", "x:3=192"]),
    ((3, 3, 48, 192), ["x:0=3", "x:2=48", "x:3=192"]),
])
def test_run_should_bind_open_sizes_by_data_or_by_dim(real_data, tmp_path, shape, dims):
    path = real_data("wild/ppocr-cls-v2.onnx")
    options = [word for dim in dims for word in ("--dim", dim)]
    support.assert_same_outputs(path, {"x": random(*shape)}, tmp_path, *options)


def test_run_should_refuse_data_that_differ_from_dim(real_data, tmp_path):
    np.save(tmp_path / "x.npy", random(1, 3, 48, 100))
    done = support.ldnq("run", real_data("wild/ppocr-cls-v2.onnx"), "--dim", "x:3=192",
                        "--input", tmp_path / "x.npy", "--output", tmp_path / "out")
    assert done.returncode == support.DATA
    assert "'x'" in done.stderr and "192" in done.stderr and "(1,3,48,100)" in done.stderr


@pytest.mark.parametrize("command", ["run", "quantize", "eval"])
def test_foreign_operators_should_be_refused_all_in_one_line(real_data, tmp_path, command):
    path = real_data("wild/superresolution-with-custom-ops.onnx")
    np.save(tmp_path / "in.npy", np.zeros(1, np.uint8))
    options = {
        "run": ["--input", tmp_path / "in.npy", "--output", tmp_path / "out"],
        "quantize": ["--calib", tmp_path / "in.npy", "-o", tmp_path / "q.onnx"],
        "eval": ["--data", DIGITS / "eval"],
    }[command]
    done = support.ldnq(command, path, *options)
    assert done.returncode == UNSUPPORTED
    assert done.stderr.count("\n") == 1
    for word in ("pre_process_0", "DecodeImage", "EncodeImage", "com.microsoft.extensions"):
        assert word in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npy"]


def test_run_should_not_depend_on_threads(tmp_path):
    feeds = {"input": random(7, 1, 8, 8)}
    one, two = (support.run(DIGITS / "digits-ts.onnx", feeds, tmp_path / n, "--threads", n)
                for n in ("1", "2"))
    np.testing.assert_array_equal(one["logits"], two["logits"])


# ---- eval


def link_with_labels(folder, paths, labels):
    """The pictures under other classes, by labels.csv."""
    folder.mkdir()
    lines = ["file,class"]
    for i, (path, label) in enumerate(zip(paths, labels)):
        os.symlink(path, folder / f"{i:04}.png")
        lines.append(f"{i:04}.png,{label}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@functools.cache
def ort_scores(path, paths, channels):
    there, scores = support.session(path), []
    for first in range(0, len(paths), 50):
        data = support.pictures(paths[first : first + 50], channels, *normalization(path))
        scores.append(there.run(None, {"input": data})[0])
    return np.concatenate(scores)


def evaluated(path, data):
    options = support.preprocessing(*normalization(path))
    return support.answer("eval", path, "--data", data, *options)["models"][0]


# The second export of the large network is left to a quarter of the pictures.
@pytest.mark.parametrize("path, channels, step", [
    (path, channels, 4 if path.stem == "efficientnet-lite0-dynamo" else 1)
    for path, channels, _ in EXPORTS
], ids=EXPORT_NAMES)
def test_eval_should_predict_as_onnx_runtime_does_image_by_image(path, channels, step, tmp_path):
    paths = tuple(file for file, _ in eval_files(need(path).parent)[::step])
    # With ONNX Runtime's own predictions as labels one that differs is an error.
    predictions = ort_scores(path, paths, channels).argmax(1)
    result = evaluated(path, link_with_labels(tmp_path / "data", paths, predictions))
    assert (result["samples"], result["top1"]) == (len(paths), 100)


@pytest.mark.parametrize("path, channels", [
    (path, channels) for path, channels, _ in EXPORTS if path.stem.endswith("-ts")
], ids=lambda value: getattr(value, "stem", None))
def test_eval_should_count_top1_and_top5_as_onnx_runtimes_scores_do(path, channels):
    paths, labels = zip(*eval_files(need(path).parent))
    order = np.argsort(-ort_scores(path, paths, channels), axis=1, kind="stable")
    hits = order[:, :5] == np.array(labels)[:, None]
    result = evaluated(path, path.parent / "eval")
    assert result["top1"] == pytest.approx(100 * hits[:, 0].mean(), abs=1e-9)
    assert result["top5"] == pytest.approx(100 * hits.any(1).mean(), abs=1e-9)


def test_agreement_should_be_the_share_of_equal_predictions(tmp_path):
    first = DIGITS / "digits-ts.onnx"
    proto = onnx.load(first)
    bias = next(t for t in proto.graph.initializer if list(t.dims) == [10])
    values = numpy_helper.to_array(bias).copy()
    values[3] += 4.0  # now many images look like a three
    bias.CopyFrom(support.tensor(bias.name, values))
    other = support.save(proto, tmp_path / "other.onnx")
    paths = tuple(path for path, _ in eval_files(DIGITS))
    a, b = (ort_scores(m, paths, 1).argmax(1) for m in (first, other))
    assert 0.1 < (a == b).mean() < 0.95
    result = support.answer("eval", first, other, "--data", DIGITS / "eval")
    assert result["agreement"] == pytest.approx(100 * (a == b).mean(), abs=1e-9)


# ---- inspect


def ort_macs(path, feeds, folder):
    """By output name: multiplications, from the sizes that ONNX Runtime sees."""
    proto = onnx.load(path)
    weights = {t.name: list(t.dims) for t in proto.graph.initializer}
    layers = [n for n in proto.graph.node if n.op_type in ("Conv", "Gemm")]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n.output[0]) for n in layers)
    outputs = support.ort_run(support.save(proto, folder / "all.onnx"), feeds)
    inputs = {n.output[0]: int(np.prod(weights[n.input[1]][1:])) for n in layers}
    return [outputs[name].size * k for name, k in inputs.items()]


@pytest.mark.parametrize("path, channels, size", EXPORTS, ids=EXPORT_NAMES)
def test_inspect_should_know_shape_and_macs_of_every_layer(path, channels, size, tmp_path):
    seen = support.answer("inspect", need(path))
    assert seen["executable"] and all(layer["quantizable"] for layer in seen["layers"])
    expected = ort_macs(path, {"input": random(1, channels, size, size)}, tmp_path)
    assert [layer["macs"] for layer in seen["layers"]] == expected
    assert all(layer["parameters"] == np.prod(layer["shape"]) for layer in seen["layers"])


def test_inspect_should_count_a_shared_weight_once(tmp_path):
    nodes = [small.node("MatMul", "x w", "a"), small.node("MatMul", "a w", "y")]
    proto = small.chain(nodes, (6,), (6,), {"w": small.weights(6, 6)})
    source = support.save(proto, tmp_path / "m.onnx")
    assert "2 of 2 layers can be quantized: 36 weights, 72 MACs" in (
        support.succeed("inspect", source).stdout)


@pytest.mark.parametrize("op, reference", [("ReduceMax", np.max), ("ReduceMin", np.min)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_nan_should_win_wherever_it_stands(op, reference, axis, tmp_path):
    x = np.array([[1, np.nan, 2], [np.nan, 4, 3], [5, 6, 4]], np.float32)
    proto = support.model([small.node(op, "x", "y", axes=[axis], keepdims=0)],
                          {"x": [3, 3]}, {"y": [3]}, {})
    source = support.save(proto, tmp_path / "m.onnx")
    (got,) = support.run(source, {"x": x}, tmp_path).values()
    np.testing.assert_array_equal(got, reference(x, axis=axis))

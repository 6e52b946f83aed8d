# SPDX-License-Identifier: Apache-2.0
"""`ldnq diff`: what it says of two files against what numpy and ONNX Runtime say, and that
it finds each node again whichever tool wrote the other file."""

import json
import re

import diffed_torch
import jsonschema
import numpy as np
import onnx
import pytest
import support
from diffed import copy_of, expose, gathered, numpy_sqnr, ort_quantized, renamed, shuffled
from onnx import helper, numpy_helper
from support import CIFAR, DIGITS, IMAGENET, OK, SHARED, UNSUPPORTED, USAGE, preprocessing

GATE = 9
FLOAT_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# file, (channels, height, width)
NETWORKS = {
    "digits-ts": (DIGITS / "digits-ts.onnx", (1, 8, 8)),
    "digits-dynamo": (DIGITS / "digits-dynamo.onnx", (1, 8, 8)),
    "resnet20": (SHARED / "resnet20-cifar10" / "resnet20-ts.onnx", (3, 32, 32)),
    "resnet20-dynamo": (SHARED / "resnet20-cifar10" / "resnet20-dynamo.onnx", (3, 32, 32)),
    "efficientnet": (SHARED / "efficientnet-lite0" / "efficientnet-lite0-ts.onnx", (3, 224, 224)),
    "ultraface": (SHARED / "wild" / "ultraface-rfb-320.onnx", (3, 240, 320)),
    "ppocr-cls": (SHARED / "wild" / "ppocr-cls-v2.onnx", (3, 48, 192)),
}


def diff(a, b, *options):
    return support.answer("diff", a, b, *options)


def network(name):
    path, shape = NETWORKS[name]
    if not path.exists():
        pytest.skip(f"{path.name} is not there (LDNQ_DATA)")
    return path, shape


def our_quantized(source, shape, folder, *options):
    calib = support.save_samples(folder / "calib.npy", *shape, count=2)
    out = folder / "ours.onnx"
    support.succeed("quantize", source, *support.TERNARY,
                    "-o", out, "--calib", calib, "--solver", "rtn",
                    "--effort", "fast", "--lambda", 0, *options)
    return out


def assert_all_layers_are_paired(found, source):
    nodes = [n for n in onnx.load(source).graph.node if n.op_type in FLOAT_LAYERS]
    assert len(found["layers"]) == len(nodes)
    assert [layer["node"] for layer in found["layers"] if not layer["other"]] == []
    assert found["paired_layers"] == len(nodes)
    for layer in found["layers"]:
        assert layer["weight_error"]["sqnr_db"] > 0 or layer["weight_error"]["exact"]


# ---- pairing


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_should_be_paired_with_onnx_runtimes(name, per_channel, tmp_path):
    source, shape = network(name)
    quantized = ort_quantized(source, shape, tmp_path / "q.onnx", per_channel)
    if quantized is None:
        pytest.skip("ONNX Runtime has no scales a channel at this opset")
    found = diff(source, quantized)
    assert_all_layers_are_paired(found, source)
    assert any(not tensor["constant"] for tensor in found["tensors"])


@pytest.mark.parametrize("codebook", ["int8", "int3"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_should_be_paired_with_ours(name, codebook, tmp_path):
    source, shape = network(name)
    quantized = our_quantized(source, shape, tmp_path, "--weights", codebook)
    found = diff(source, quantized)
    assert_all_layers_are_paired(found, source)
    assert all(tensor["constant"] for tensor in found["tensors"])


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_order_should_not_matter(name, tmp_path):
    """The other file has no name in common, and its nodes stand in another order."""
    source, shape = network(name)
    quantized = our_quantized(source, shape, tmp_path, "--weights", "int4")
    other = shuffled(renamed(onnx.load(quantized)), seed=3)
    expected = {layer["node"]: layer["other"] for layer in diff(source, quantized)["layers"]}
    found = diff(source, support.save(other.proto, tmp_path / "renamed.onnx"))
    assert_all_layers_are_paired(found, source)
    name_of = other.original_names
    assert {r["node"]: name_of[r["other"]] for r in found["layers"]} == expected
    assert not found["added"]


def test_errors_should_not_depend_on_the_order_of_the_nodes(tmp_path):
    """ResNet-like: branches that may run one after the other or by turns."""
    source = tmp_path / "m.onnx"
    w = {f"w{i}": support.weights(4, 4, 3, 3, seed=i) for i in range(6)}
    conv = lambda x, i: helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1] * 4, name=f"n{i}")
    nodes = [conv("x", 0), conv("c0", 1), conv("c1", 2), conv("x", 3), conv("c3", 4), conv("c4", 5),
             helper.make_node("Add", ["c2", "c5"], ["y"], name="sum")]
    support.save(support.model(nodes, {"x": ["N", 4, 6, 6]}, {"y": ["N", 4, 6, 6]}, w), source)
    data = support.save_samples(tmp_path / "x.npy", 4, 6, 6)
    out = our_quantized(source, (4, 6, 6), tmp_path, "--weights", "int3")
    expected = diff(source, out, "--data", data)["layers"]
    for seed in range(6):
        other = shuffled(renamed(onnx.load(out)), seed)
        found = diff(source, support.save(other.proto, tmp_path / "o.onnx"), "--data", data)["layers"]
        for layer, right in zip(found, expected, strict=True):
            assert other.original_names[layer["other"]] == right["other"]
            for key in ("isolated", "accumulated"):
                assert layer[key]["sqnr_db"] == pytest.approx(right[key]["sqnr_db"], abs=1e-6)


def test_nodes_that_do_nothing_should_not_be_in_the_way(tmp_path):
    w = support.weights(3, 3, 1, 1)
    conv = lambda x: helper.make_node("Conv", [x, "w"], ["y"], name="conv")
    a = small([conv("x")], {"w": w}, ["N", 3, 6, 6])
    b = small([helper.make_node("Identity", ["x"], ["i"]),
               helper.make_node("Dropout", ["i"], ["d"]), conv("d")], {"w": w}, ["N", 3, 6, 6])
    data = support.save_samples(tmp_path / "x.npy", 3, 6, 6)
    found = diff(support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx"),
                 "--data", data)
    assert not (found["added"] or found["changed"]) and found["b"]["qdq_nodes"] == 0
    assert found["layers"][0]["isolated"]["exact"]


def test_numbers_in_names_that_are_off_by_one_should_not_mislead(tmp_path):
    proto = onnx.load(DIGITS / "digits-ts.onnx")
    shifted = {}
    for op in ("Conv", "Relu"):
        nodes = [node for node in proto.graph.node if node.op_type == op]
        names = [node.name for node in nodes]
        shifted.update(zip(names, names[1:] + names[:1]))
        for node in nodes:
            node.name = shifted[node.name]
            node.output[0] = {"Conv": node.output[0], "Relu": f"{node.name}_out"}[op]
    values = {node.output[0] for node in proto.graph.node} | {"input"}
    relus = iter([node for node in proto.graph.node if node.op_type == "Relu"])
    old = {node.output[0] for node in onnx.load(DIGITS / "digits-ts.onnx").graph.node}
    lost = {name: next(relus).output[0] for node in onnx.load(DIGITS / "digits-ts.onnx").graph.node
            for name in node.output if name in old - values}
    for node in proto.graph.node:
        node.input[:] = [lost.get(name, name) for name in node.input]
    del proto.graph.value_info[:]
    found = diff(DIGITS / "digits-ts.onnx", support.save(proto, tmp_path / "m.onnx"))
    for layer in found["layers"]:
        assert layer["other"] == shifted.get(layer["node"], layer["node"])
        assert layer["weight_error"]["exact"]
    assert not (found["removed"] or found["added"] or found["changed"])


def test_a_file_should_be_exactly_itself(tmp_path):
    path, shape = NETWORKS["digits-ts"]
    data = support.save_samples(tmp_path / "x.npy", *shape)
    found = diff(path, path, "--data", data)
    assert not (found["removed"] or found["added"] or found["changed"] or found["tensors"])
    for layer in found["layers"]:
        for error in (layer["weight_error"], layer["isolated"], layer["accumulated"]):
            assert error["exact"] and error["sqnr_db"] is None
        assert layer["pairing"] == "name" and layer["bits"] == 32
    output = found["outputs"][0]
    assert output["error"]["exact"] and output["agreement"] == 1 and output["kl"] == 0
    assert output["noise_to_signal"] == 0 and output["max_error"] == 0
    assert output["noise_to_signal_bound"] == 0


def test_fake_quantized_exports_of_pytorch_should_be_paired(tmp_path):
    a, b, x = diffed_torch.export_pair(tmp_path)
    np.save(tmp_path / "x.npy", x)
    found = diff(a, b, "--data", tmp_path / "x.npy")
    assert found["paired_layers"] == len(found["layers"]) == 3
    assert sum(not tensor["constant"] for tensor in found["tensors"]) == 3
    for layer in found["layers"]:
        assert layer["weight_tensor"] is not None and layer["input_tensor"] is not None
        assert 20 < layer["weight_error"]["sqnr_db"] < 60
        assert layer["isolated"]["sqnr_db"] > 20
        # The file has the float weight, which becomes codes as it runs.
        tensor = found["tensors"][layer["weight_tensor"]]
        assert 4 * layer["weights"] < tensor["bytes"] == layer["bytes_b"] < 5 * layer["weights"]
    assert found["bound_reason"].startswith("activations are quantized")


# ---- structure


def small(nodes, initializers, out, opset=13):
    return support.model(nodes, {"x": ["N", 3, 6, 6]}, {"y": out}, initializers, opset=opset)


def test_a_folded_normalization_should_be_told_and_counted(tmp_path):
    norm = {n: support.weights(4, seed=i) for i, n in enumerate(("s", "b", "m"))}
    norm["v"] = np.abs(support.weights(4, seed=7)) + 0.5
    w = support.weights(4, 3, 3, 3)
    a = small([helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
               helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], name="bn")],
              {"w": w, **norm}, ["N", 4, 4, 4])
    factor = norm["s"] / np.sqrt(norm["v"] + 1e-5)
    folded = w * factor[:, None, None, None]
    coarse = np.round(folded * 8) / 8
    b = small([helper.make_node("Conv", ["x", "w2", "b2"], ["z"], name="other")],
              {"w2": coarse.astype(np.float32),
               "b2": (norm["b"] - norm["m"] * factor).astype(np.float32)}, ["N", 4, 4, 4])
    b.graph.node[0].output[0] = "y"
    data = support.save_samples(tmp_path / "x.npy", 3, 6, 6)
    found = diff(support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx"),
                 "--data", data)
    [layer] = found["layers"]
    assert layer["folded"] == "bn" and layer["other"] == "other"
    assert found["removed"] == [{"node": "bn", "op": "BatchNormalization",
                                 "text": "folded into 'conv'"}]
    assert layer["weight_error"]["sqnr_db"] == pytest.approx(numpy_sqnr(folded, coarse), abs=1e-3)
    # The layer is all there is: its error is the output's.
    assert layer["isolated"] == layer["accumulated"] == found["outputs"][0]["error"]
    # ... and the other way round nothing is known of the normalization but that it is new.
    back = diff(tmp_path / "b.onnx", tmp_path / "a.onnx", "--data", data)
    assert [note["node"] for note in back["added"]] == ["bn"]
    assert back["layers"][0]["accumulated"]["sqnr_db"] > 5


def test_a_product_with_its_sum_should_be_a_gemm(tmp_path):
    w, bias = support.weights(12, 5), support.weights(5, seed=2)
    ends = {"x": ["N", 12]}, {"y": ["N", 5]}
    a = support.model([helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
                       helper.make_node("Add", ["p", "b"], ["y"], name="sum")], *ends,
                      {"w": w, "b": bias})
    b = support.model([helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc", transB=1)], *ends,
                      {"w": np.ascontiguousarray(w.T), "b": bias})
    data = support.save_samples(tmp_path / "x.npy", 12)
    found = diff(support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx"),
                 "--data", data)
    [layer] = found["layers"]
    assert layer["folded"] == "sum" and layer["weight_error"]["exact"]
    assert layer["isolated"]["exact"] or layer["isolated"]["sqnr_db"] > 120
    assert found["changed"][0]["text"] == "operator -> Gemm"


def test_rows_of_a_product_may_be_in_one_axis_or_in_several(tmp_path):
    """A linear layer over a sequence becomes a Gemm for ort, between two Reshapes."""
    values = {"w": support.weights(12, 12), "b": support.weights(12, seed=2),
              "v": support.weights(12, 5, seed=3)}
    nodes = [helper.make_node("Softmax", ["x"], ["s"]),
             helper.make_node("MatMul", ["s", "w"], ["p"], name="product"),
             helper.make_node("Add", ["p", "b"], ["q"], name="sum"),
             helper.make_node("Tanh", ["q"], ["t"]),
             helper.make_node("MatMul", ["t", "v"], ["y"], name="head")]
    a = support.save(support.model(nodes, {"x": ["N", 7, 12]}, {"y": ["N", 7, 5]}, values),
                     tmp_path / "a.onnx")
    data = support.save_samples(tmp_path / "x.npy", 7, 12)
    b = tmp_path / "b.onnx"
    support.succeed("quantize", a, "-o", b, "--calib", data, "--target", "ort", "--weights", "int8",
                    "--solver", "nearest")
    assert any(n.op_type == "Gemm" for n in onnx.load(b).graph.node)
    product, head = diff(a, b, "--data", data)["layers"]
    for layer in (product, head):
        assert layer["isolated"]["sqnr_db"] > 25 and layer["accumulated"]["sqnr_db"] > 25


def test_changes_should_be_named_with_their_values(tmp_path):
    nodes = lambda pads, alpha: [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=pads),
        helper.make_node("LeakyRelu", ["c"], ["l"], name="leaky", alpha=alpha),
        helper.make_node("Clip", ["l", "low"], ["y"], name="clip")]
    w = support.weights(4, 3, 3, 3)
    a = small(nodes([0] * 4, 0.1), {"w": w, "low": np.float32(0)}, ["N", 4, "h", "w"])
    b = small(nodes([1] * 4, 0.2), {"w": w, "low": np.float32(-1)}, ["N", 4, "h", "w"])
    found = diff(support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx"))
    said = {(note["node"], note["text"]) for note in found["changed"]}
    assert ("conv", "pads: 0,0,0,0 -> 1,1,1,1") in said
    assert ("conv", "type and shape: float32 (N,4,4,4) -> float32 (N,4,6,6)") in said or any(
        node == "conv" and text.startswith("type and shape: float32") for node, text in said)
    assert ("leaky", "alpha: 0.1 -> 0.2") in said
    assert ("clip", "input 1: 0 -> -1") in said


def test_attributes_at_their_defaults_should_be_no_change(tmp_path):
    w = support.weights(4, 3, 3, 3)
    plain = small([helper.make_node("Conv", ["x", "w"], ["y"], name="c")], {"w": w}, ["N", 4, 4, 4])
    said = small([helper.make_node("Conv", ["x", "w"], ["y"], name="c", group=1, pads=[0] * 4,
                                   dilations=[1, 1], strides=[1, 1], kernel_shape=[3, 3],
                                   auto_pad="NOTSET")], {"w": w}, ["N", 4, 4, 4])
    a, b = support.save(plain, tmp_path / "a.onnx"), support.save(said, tmp_path / "b.onnx")
    assert diff(a, b)["changed"] == diff(b, a)["changed"] == []


def test_what_a_newer_opset_writes_in_another_way_should_be_no_change(tmp_path):
    """Axes are an attribute up to opset 17, and an input from 18."""
    ends = {"x": ["N", 3, 6, 6]}, {"y": ["N", 3, 1, 1]}
    a = support.model([helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], name="mean")], *ends,
                      {}, opset=13)
    b = support.model([helper.make_node("ReduceMean", ["x", "axes"], ["y"], name="mean")], *ends,
                      {"axes": np.array([2, 3])}, opset=18)
    a, b = support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx")
    found = diff(a, b)
    assert found["changed"] == diff(b, a)["changed"] == [] and found["paired_nodes"] == 1
    assert (found["a"]["opset"], found["b"]["opset"]) == (13, 18)


def test_nodes_of_one_file_alone_should_be_listed(tmp_path):
    w = support.weights(3, 3, 1, 1)
    conv = helper.make_node("Conv", ["x", "w"], ["c"], name="conv")
    a = small([conv, helper.make_node("Sigmoid", ["c"], ["s"], name="gone"),
               helper.make_node("Relu", ["s"], ["y"], name="r")], {"w": w}, ["N", 3, 6, 6])
    b = small([conv, helper.make_node("Relu", ["c"], ["t"], name="r"),
               helper.make_node("Tanh", ["t"], ["y"], name="new")], {"w": w}, ["N", 3, 6, 6])
    found = diff(support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx"))
    assert [note["node"] for note in found["removed"]] == ["gone"]
    assert [note["node"] for note in found["added"]] == ["new"]


def test_codes_should_be_counted_as_they_stand_in_the_file(tmp_path):
    source = DIGITS / "digits-ts.onnx"
    calib = ["--calib", DIGITS / "calib", "--solver", "rtn", "--effort", "fast", "--lambda", 0]
    out = tmp_path / "q.onnx"
    support.succeed("quantize", source, *support.TERNARY,
                    "-o", out, *calib, "--weights", "int3", "--storage", "int4")
    found = diff(source, out)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(out).graph.initializer}
    assert len(found["tensors"]) == len(found["layers"]) == 7
    for layer in found["layers"]:
        tensor = found["tensors"][layer["weight_tensor"]]
        codes = stored[tensor["name"]].astype(int)
        scales = stored[tensor["name"].replace("_quantized", "_scale")]
        values, counts = np.unique(codes, return_counts=True)
        parts = counts / codes.size
        assert tensor["type"] == "int4" and tensor["shape"] == list(codes.shape)
        assert tensor["codes_used"] == len(values)
        assert (tensor["code_min"], tensor["code_max"]) == (values[0], values[-1])
        assert tensor["entropy"] == pytest.approx(-(parts * np.log2(parts)).sum(), abs=1e-9)
        assert (tensor["scale_min"], tensor["scale_max"]) == pytest.approx(
            (scales.min(), scales.max()))
        assert tensor["bytes"] == (codes.size + 1) // 2 + 4 * scales.size
        assert layer["bits"] == pytest.approx(8 * tensor["bytes"] / codes.size)
        histogram = tensor["histogram"]
        assert {histogram["first"] + i: n for i, n in enumerate(histogram["counts"]) if n} == dict(
            zip(values.tolist(), counts.tolist()))
    sizes = sum(t["bytes"] for t in found["tensors"])
    assert found["b"]["weight_bytes"] == sizes and found["b"]["bytes"] == out.stat().st_size


# ---- numbers


def test_errors_of_layers_should_be_those_that_onnx_runtime_gives(tmp_path):
    """Each layer of the quantized file alone in a model, on the float network's input."""
    source = DIGITS / "digits-ts.onnx"
    quantized = ort_quantized(source, (1, 8, 8), tmp_path / "q.onnx", per_channel=False)
    data = support.save_samples(tmp_path / "x.npy", 1, 8, 8)
    found = diff(source, quantized, "--data", data)
    x = np.load(data)
    float_values, other_values = expose(source, x), expose(quantized, x)
    for layer in found["layers"]:
        a, b = (gathered(path, layer[key]) for path, key in ((source, "node"), (quantized, "other")))
        alone = copy_of(quantized, b, float_values[a.input[0]])
        target = float_values[a.output[0]]
        assert layer["isolated"]["sqnr_db"] == pytest.approx(numpy_sqnr(target, alone), abs=0.02)
        here = other_values[b.output[0]]
        assert layer["accumulated"]["sqnr_db"] == pytest.approx(numpy_sqnr(target, here), abs=0.02)
        cosine = (target * here).sum() / np.sqrt((target**2).sum() * (here**2).sum())
        assert layer["accumulated"]["cosine"] == pytest.approx(cosine, abs=1e-5)


def test_outputs_should_be_compared_as_numpy_does(tmp_path):
    source, out = DIGITS / "digits-ts.onnx", tmp_path / "q.onnx"
    support.succeed("quantize", source, *support.TERNARY,
                    "-o", out, "--calib", DIGITS / "calib", "--solver", "rtn",
                    "--effort", "fast", "--lambda", 0)
    data = support.save_samples(tmp_path / "x.npy", 1, 8, 8, count=50)
    [output] = diff(source, out, "--data", data)["outputs"]
    [t], [y] = (support.ort_run(path, {"input": np.load(data)}).values() for path in (source, out))
    softmax = [np.exp(z - z.max(1, keepdims=True)) for z in (t, y)]
    p, q = (z / z.sum(1, keepdims=True) for z in softmax)
    assert output["agreement"] == pytest.approx((t.argmax(1) == y.argmax(1)).mean())
    assert 0 < output["agreement"] < 1
    low, high = support.wilson_interval(int((t.argmax(1) == y.argmax(1)).sum()), len(t))
    assert output["agreement_low"] == pytest.approx(low)
    assert output["agreement_high"] == pytest.approx(high)
    assert output["kl"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    assert output["max_error"] == pytest.approx(np.abs(y - t).max(), rel=1e-4)
    assert output["noise_to_signal"] == pytest.approx(((y - t) ** 2).sum() / (t**2).sum(), rel=1e-4)
    assert output["error"]["sqnr_db"] == pytest.approx(numpy_sqnr(t, y), abs=1e-3)


def test_the_bound_should_hold_and_follow_from_the_layers(tmp_path):
    """Two Gemms: |y' - y| <= d2 + |W2'| d1, in the root mean square over samples."""
    w1, w2 = support.weights(8, 6), support.weights(5, 8, seed=2)
    nodes = [helper.make_node("Gemm", ["x", "w1"], ["a"], name="one", transB=1),
             helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("Gemm", ["r", "w2"], ["y"], name="two", transB=1)]
    build = lambda u, v: support.model(nodes, {"x": ["N", 6]}, {"y": ["N", 5]}, {"w1": u, "w2": v})
    v1, v2 = ((np.round(w * 8) / 8).astype(np.float32) for w in (w1, w2))
    a = support.save(build(w1, w2), tmp_path / "a.onnx")
    b = support.save(build(v1, v2), tmp_path / "b.onnx")
    data = support.save_samples(tmp_path / "x.npy", 6)
    found = diff(a, b, "--data", data)
    x = np.load(data).astype(np.float64)
    r = np.maximum(x @ w1.T, 0)
    d1, d2 = (np.sqrt((((v - w) @ z.T) ** 2).sum(0).mean())
              for w, v, z in ((w1, v1, x), (w2, v2, r)))
    power = ((r @ w2.T) ** 2).sum(1).mean()
    bound = (d2 + np.linalg.norm(v2) * d1) ** 2 / power
    [output] = found["outputs"]
    assert found["bound_reason"] is None
    assert output["noise_to_signal_bound"] == pytest.approx(bound, rel=1e-3)
    assert output["noise_to_signal"] < output["noise_to_signal_bound"]


def test_threads_should_not_change_a_figure(tmp_path):
    source, shape = NETWORKS["digits-dynamo"]
    quantized = ort_quantized(source, shape, tmp_path / "q.onnx", per_channel=False)
    data = support.save_samples(tmp_path / "x.npy", *shape)
    one, two = (diff(source, quantized, "--data", data, "--threads", n) for n in (1, 3))
    assert one.pop("seconds") > 0 and two.pop("seconds") > 0
    assert one == two


def test_the_real_networks_should_take_little_time_and_memory(tmp_path):
    """100 images and 1 GB are the bar; time is left to tools/bench."""
    source, shape = network("efficientnet")
    quantized = ort_quantized(source, shape, tmp_path / "q.onnx", per_channel=True)
    data = SHARED / "efficientnet-lite0" / "calib"
    found = diff(source, quantized, "--data", data, "--max-samples", 24, *preprocessing(*IMAGENET))
    assert found["samples"] == 24 and found["paired_layers"] == 50
    assert all(layer["isolated"]["sqnr_db"] > 5 for layer in found["layers"])


def test_foreign_operators_should_only_stop_the_numbers(tmp_path):
    path = SHARED / "wild" / "superresolution-with-custom-ops.onnx"
    if not path.exists():
        pytest.skip("no shared data")
    found = diff(path, path)
    assert found["paired_layers"] == len(found["layers"]) > 0
    data = support.save_samples(tmp_path / "x.npy", 4)
    refused = support.ldnq("diff", path, path, "--data", data)
    assert refused.returncode in (UNSUPPORTED, support.DATA)


def test_samples_should_have_to_fit_both(tmp_path):
    w = support.weights(4, 3, 3, 3)
    conv = [helper.make_node("Conv", ["x", "w"], ["y"], name="c")]
    a = small(conv, {"w": w}, ["N", 4, 4, 4])
    b = support.model(conv, {"x": ["N", 3, 7, 7]}, {"y": ["N", 4, 5, 5]}, {"w": w})
    a, b = support.save(a, tmp_path / "a.onnx"), support.save(b, tmp_path / "b.onnx")
    refused = support.ldnq("diff", a, b, "--data",
                           support.save_samples(tmp_path / "x.npy", 3, 6, 6))
    assert refused.returncode == support.DATA
    assert re.search(r"b\.onnx: input 'x' is .*\(N,3,7,7\).*3,6,6", refused.stderr)


# ---- the terminal, and gates


ROW = r"^((?:  | \d|\d\d)\d) \S"


@pytest.mark.parametrize("options", [[], ["--data"], ["--sort", "size", "--top", 3]])
def test_the_table_should_fit_eighty_columns(options, tmp_path):
    source, shape = NETWORKS["digits-ts"]
    quantized = ort_quantized(source, shape, tmp_path / "q.onnx", per_channel=True)
    if options == ["--data"]:
        options = ["--data", support.save_samples(tmp_path / "x.npy", *shape)]
    said = support.succeed("diff", source, quantized, *options).stdout.splitlines()
    table = [line for line in said if re.match(ROW, line)]
    assert len(table) == (3 if "--top" in options else 7)
    assert max(len(line) for line in said if str(tmp_path) not in line and "'" not in line) <= 80


def test_the_worst_layer_should_come_first(tmp_path):
    source, shape = NETWORKS["digits-ts"]
    quantized = our_quantized(source, shape, tmp_path, "--weights", "int2")
    data = support.save_samples(tmp_path / "x.npy", *shape)
    layers = diff(source, quantized, "--data", data)["layers"]
    orders = {"worst": lambda i: layers[i]["isolated"]["sqnr_db"],
              "accumulated": lambda i: layers[i]["accumulated"]["sqnr_db"],
              "weight": lambda i: layers[i]["weight_error"]["sqnr_db"],
              "bits": lambda i: layers[i]["bits"], "size": lambda i: -layers[i]["bytes_b"],
              "order": lambda i: i}
    for word, key in orders.items():
        said = support.succeed("diff", source, quantized, "--data", data, "--sort", word).stdout
        shown = [int(row) - 1 for row in re.findall(ROW, said, re.M)]
        assert shown == sorted(range(len(layers)), key=lambda i: (key(i), i)), word
    refused = support.ldnq("diff", source, quantized, "--sort", "colour")
    assert refused.returncode == USAGE and "worst, order" in refused.stderr


def test_layers_without_a_figure_should_come_last(tmp_path):
    """A product of two activations has no weight to be compared; it stands first here."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
             helper.make_node("MatMul", ["x", "t"], ["p"], name="scores"),
             helper.make_node("MatMul", ["p", "w"], ["h"], name="one"),
             helper.make_node("MatMul", ["h", "v"], ["y"], name="two")]
    build = lambda w, v: support.model(nodes, {"x": ["N", 4, 6]}, {"y": ["N", 4, 5]},
                                       {"w": w, "v": v})
    w, v = support.weights(4, 5), support.weights(5, 5, seed=2)
    a = support.save(build(w, v), tmp_path / "a.onnx")
    b = support.save(build(w * np.float32(1.1), v * np.float32(1.01)), tmp_path / "b.onnx")
    assert diff(a, b)["layers"][0]["weight_error"] == {"sqnr_db": None, "exact": False}
    said = support.succeed("diff", a, b, "--sort", "weight").stdout
    assert [int(row) for row in re.findall(ROW, said, re.M)] == [2, 3, 1]


def test_gates_should_have_an_exit_code_and_say_by_how_much(tmp_path):
    source, shape = NETWORKS["digits-ts"]
    quantized = our_quantized(source, shape, tmp_path, "--weights", "int2")
    data = ["--data", DIGITS / "eval"]
    size = quantized.stat().st_size
    [output] = diff(source, quantized, *data)["outputs"]
    sqnr, agreement = output["error"]["sqnr_db"], 100 * output["agreement"]

    def outcome(*gates):
        return support.ldnq("diff", source, quantized, *data, "-q", *gates)

    passed = ["--fail-below-sqnr", sqnr - 0.1, "--fail-below-agreement", agreement - 0.1,
              "--fail-size-above", size]
    assert outcome(*passed).returncode == OK
    failed = ["--fail-below-sqnr", sqnr + 0.1, "--fail-below-agreement", agreement + 0.1,
              "--fail-size-above", size - 1]
    for i, reason in enumerate((f"SQNR of {sqnr:.2f} dB", f"agrees in {agreement:.2f}%",
                                f"{size} bytes, above {size - 1}")):
        done = outcome(*failed[2 * i:2 * i + 2])
        assert done.returncode == GATE and reason in done.stderr and done.stdout == ""
    done = outcome(*failed)
    assert done.returncode == GATE and len(done.stderr.splitlines()) == 1
    assert done.stderr.count("; ") == 2
    said = support.ldnq("diff", source, quantized, *data, "--json", *failed[:2], *passed[2:])
    told = json.loads(said.stdout)
    assert said.returncode == GATE and told["verdict"]["level"] == "bad"
    assert [(gate["figure"], gate["passes"]) for gate in told["gates"]] == [
        ("SQNR", False), ("agreement", True), ("file size", True)]
    told = diff(source, quantized, *data, *passed)
    changed = told["changed_samples"]
    assert len(changed) == min(24, round((1 - agreement / 100) * told["samples"])) > 0
    assert all(sample["class_a"] != sample["class_b"] for sample in changed)
    assert all(sample["name"].endswith(".png") for sample in changed)
    assert told["verdict"]["level"] == "good" and all(gate["passes"] for gate in told["gates"])
    for gate in ("--fail-below-sqnr", "--fail-below-agreement"):
        refused = support.ldnq("diff", source, quantized, gate, 3)
        assert refused.returncode == USAGE and "--data" in refused.stderr


def test_the_first_32_samples_should_measure_layers_and_all_of_them_outputs(tmp_path):
    """The layer is all there is, so that the same samples would give the same error."""
    w = support.weights(4, 3, 3, 3)
    conv = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    files = [support.save(small(conv, {"w": values.astype(np.float32)}, ["N", 4, 4, 4]),
                          tmp_path / f"{i}.onnx") for i, values in enumerate((w, np.round(w * 8) / 8))]
    page = tmp_path / "page.html"
    for count, measured in ((40, 32), (30, 30)):
        data = support.save_samples(tmp_path / "x.npy", 3, 6, 6, count=count)
        found = diff(*files, "--data", data)
        assert (found["samples"], found["layer_samples"]) == (count, measured)
        assert found["measured_on"] == f"{count} samples"
        [layer], [output] = found["layers"], found["outputs"]
        assert layer["isolated"] == layer["accumulated"]
        assert (layer["isolated"] == output["error"]) == (count == measured)
        assert layer["isolated"]["sqnr_db"] == pytest.approx(output["error"]["sqnr_db"], abs=1)
        y, t = (expose(file, np.load(data))["y"] for file in reversed(files))
        assert output["error"]["sqnr_db"] == pytest.approx(numpy_sqnr(t, y), abs=1e-3)
        said = support.succeed("diff", *files, "--data", data, "--html", page).stdout
        for text in (said, page.read_text()):
            assert ("first 32 samples" in text) == (count > measured)


def test_several_files_should_be_compared_side_by_side(tmp_path):
    source = DIGITS / "digits-ts.onnx"
    files = []
    for name in ("int8", "int2"):
        made = our_quantized(source, (1, 8, 8), tmp_path, "--weights", name)
        files.append(made.rename(tmp_path / f"{name}.onnx"))
    line = ["diff", source, *files, "--data", DIGITS / "eval"]
    told = support.answer(*line)
    schema = json.loads((support.ROOT / "src/report/candidates.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(told)
    for candidate, file in zip(told["candidates"], files, strict=True):
        alone = diff(source, file, "--data", DIGITS / "eval")
        [output] = alone["outputs"]
        assert (candidate["path"], candidate["bytes"]) == (str(file), alone["b"]["bytes"])
        assert candidate["verdict"] == alone["verdict"]
        for key in ("agreement", "agreement_low", "agreement_high"):
            assert candidate[key] == output[key]
        assert candidate["sqnr_db"] == output["error"]["sqnr_db"]
    limit = 100 * max(candidate["agreement"] for candidate in told["candidates"])
    done = support.ldnq(*line, "--fail-below-agreement", limit)
    words = [candidate["verdict"]["words"] for candidate in told["candidates"]]
    assert done.returncode == GATE and str(files[1]) in done.stderr
    assert [row.partition("  ")[0] for row in done.stdout.splitlines()][1:] == [
        "float", "Ready to ship", "Do not ship"] and words[0] == "Ready to ship"


def test_a_gate_on_what_can_not_be_measured_should_not_pass(tmp_path):
    """An output of integers has no SQNR."""
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1, name="n")]
    proto = support.model(nodes, {"x": ["N", 4]}, {}, {})
    proto.graph.output.append(support.info("y", ["N", 1], onnx.TensorProto.INT64))
    path = support.save(proto, tmp_path / "m.onnx")
    data = ["--data", support.save_samples(tmp_path / "x.npy", 4)]
    for gate in ("--fail-below-sqnr", "--fail-below-agreement"):
        assert support.ldnq("diff", path, path, *data, gate, 1).returncode == GATE


def test_inspect_should_tell_codes_and_sizes_of_a_quantized_file(tmp_path):
    out = tmp_path / "q.onnx"
    support.succeed("quantize", DIGITS / "digits-ts.onnx", *support.TERNARY,
                    "-o", out, "--calib", DIGITS / "calib",
                    "--solver", "rtn", "--effort", "fast", "--lambda", 0, "--weights", "int3")
    plain, seen = (support.answer("inspect", path) for path in (DIGITS / "digits-ts.onnx", out))
    assert plain["tensors"] == [] and all(layer["tensor"] is None for layer in plain["layers"])
    assert all(layer["bytes"] == 4 * layer["parameters"] for layer in plain["layers"])
    told = diff(DIGITS / "digits-ts.onnx", out)
    assert seen["tensors"] == told["tensors"]
    for layer, pair in zip(seen["layers"], told["layers"], strict=True):
        assert (layer["tensor"], layer["bytes"]) == (pair["weight_tensor"], pair["bytes_b"])
        assert layer["reason"] == "its weight is quantized already"
    table = support.succeed("inspect", out).stdout
    assert len(re.findall(r"^\w+ +\S+ +int4 ", table, re.M)) == 7
    assert "in codes: 7 weights and biases" in table and "0 activations" in table


# ---- quantize's own page


def test_quantize_should_write_the_page_of_its_run(tmp_path):
    page, out = tmp_path / "report.html", tmp_path / "q.onnx"
    common = ["quantize", DIGITS / "digits-ts.onnx", *support.TERNARY,
              "--calib", DIGITS / "calib", "--weights", "int3"]
    support.succeed(*common, "-o", out, "--report", page)
    text = page.read_text(encoding="utf-8")
    for layer in diff(DIGITS / "digits-ts.onnx", out)["layers"]:
        assert layer["node"] in text
    assert "Convergence of all layers" in text and "data:image/png;base64," in text
    support.succeed(*common, "-o", tmp_path / "plain.onnx")
    assert out.read_bytes() == (tmp_path / "plain.onnx").read_bytes()
    refused = support.ldnq(*common, "-o", out, "--report", tmp_path / "none" / "report.html")
    assert refused.returncode == support.IO and "none" in refused.stderr

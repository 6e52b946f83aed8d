# SPDX-License-Identifier: Apache-2.0
"""`ldnq quantize` leaves alone what it does not quantize, and what it does not understand."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import small_models as small
import support
import target_networks
from quantized import DIGIT_FILES, assert_valid, inspect, prepare, quantize
from support import DIGITS, UNSUPPORTED, model, save, weights


# ---- what is left alone


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
    assert "no matrix" in seen["row"]["reason"] and "run time" in seen["data"]["reason"]


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
    assert [layer["node"] for layer in said["layers"]] == ["recurrent.W", "recurrent.R", "head"]
    reasons = {kept["node"]: kept["reason"] for kept in said["not_quantized"]}
    assert list(reasons) == ["embedding"] and "fewer than 8 elements" in reasons["embedding"]
    assert inspect(source)["embedding"]["reason"] == reasons["embedding"]
    printed = support.succeed("quantize", source, *support.TERNARY,
                              "-o", arguments[1], "--calib", arguments[2])
    for name, reason in reasons.items():
        assert f"'{name}': {reason}" in printed.stdout
    said = quantize(DIGIT_FILES[0], arguments[1], DIGITS / "calib", "--skip", "*/stem/*")
    assert [kept["reason"] for kept in said["not_quantized"]] == ["left out by skip or only"]


def test_float_nodes_should_have_the_reason_of_the_choice_of_layers(tmp_path):
    proto, shape = target_networks.depthwise_after_float()
    source, calib = save(proto, tmp_path / "m.onnx"), tmp_path / "c.npy"
    np.save(calib, np.random.default_rng(0).standard_normal((6, *shape)).astype(np.float32))
    said = support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib,
                          "--target", "ort", "--weights", "int8", "--solver", "rtn",
                          "--skip", "after_relu")
    kept = {each["node"]: each["reason"] for each in said["not_quantized"]}
    floats = {each["node"]: each["reason"] for each in said["activations"]["float_nodes"]}
    assert set(kept) == {"after_relu", "after_elu"} <= set(floats)
    assert kept == {node: floats[node] for node in kept}
    assert "faster in float" in kept["after_elu"] and "skip" in kept["after_relu"]


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
    quantize(source, tmp_path / "q.onnx", calib, "--opset", "keep")
    assert_valid(source, tmp_path / "q.onnx", feeds, tmp_path, storage="int8")
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


def test_a_subgraph_that_reads_the_weight_should_read_its_codes(tmp_path):
    source, calib, feeds, _ = prepare(small.if_with_outer_weight, tmp_path)
    quantize(source, tmp_path / "q.onnx", calib)
    support.assert_same_outputs(tmp_path / "q.onnx", feeds, tmp_path / "run")
    branch = onnx.load(tmp_path / "q.onnx").graph.node[-1]
    product = next(a.g for a in branch.attribute if a.name == "then_branch").node[-1]
    assert product.op_type == "MatMul" and product.input[1] != "w"


def refused_by_name(proto, shape, words, tmp_path):
    save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    done = support.ldnq("quantize", tmp_path / "m.onnx", *support.TERNARY,
                        "-o", tmp_path / "q.onnx", "--calib",
                        calib)
    assert done.returncode == UNSUPPORTED and all(word in done.stderr for word in words)
    # What attends to its batch is warned of first.
    errors = [line for line in done.stderr.splitlines() if ": warning: " not in line]
    assert len(errors) == 1 and not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize("op, domain", [("Nothing", ""), ("Sparkle", "com.elsewhere")])
def test_an_unknown_operator_should_be_kept_and_named(op, domain, tmp_path):
    nodes = [small.conv("x w", "a", name="known"),
             helper.make_node(op, ["a"], ["y"], name="unknown", domain=domain)]
    opsets = [(domain, 1)] if domain else []
    proto = small.chain(nodes, (2, 5, 5), (3, 3, 3), {"w": weights(3, 2, 3, 3)}, opsets=opsets)
    source = save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "calib.npy", 2, 5, 5)
    done = support.succeed("quantize", source, *support.TERNARY, "-o", tmp_path / "q.onnx",
                           "--calib", calib)
    assert "'unknown'" in done.stderr and op in done.stderr
    after = onnx.load(tmp_path / "q.onnx").graph
    assert proto.graph.node[-1] in after.node
    assert [node.op_type for node in after.node] == ["DequantizeLinear", "Conv", op]


def quantized(proto, shape, tmp_path):
    """The model, quantized and checked, and its samples."""
    source, out = tmp_path / "m.onnx", tmp_path / "q.onnx"
    onnx.save(proto, source)
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    quantize(source, out, calib, "--opset", "keep")
    assert_valid(source, out, {"x": np.load(calib)[:2]}, tmp_path, storage="int8")
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
        model, data = sorted(p.name for p in folder.iterdir())
        assert model == "q.onnx" and re.fullmatch(r"q\.onnx\.[0-9a-f]{16}\.data", data)
        (tmp_path / "m.bin").unlink()
        support.check(out)
        support.assert_same_outputs(out, {"x": np.load(calib)[:2]}, tmp_path)
    else:
        assert_valid(source, out, {"x": np.load(calib)[:2]}, tmp_path)

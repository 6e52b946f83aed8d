# SPDX-License-Identifier: Apache-2.0
"""Layers in the bodies of If, Loop and Scan: fitted to the runs that take them, and written back
into their bodies.

The model of If is a detector of speech with a branch for each sampling rate.
"""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper
from support import info, save, weights

node, RNG = helper.make_node, np.random.default_rng(0)
SHARED = "shared"


def tensor(name, array):
    return support.tensor(name, np.asarray(array))


def branch(rate, length):
    names = [f"{name}{rate}" for name in ("len", "s", "u", "c", "r", "m", "q", "y")]
    size, s, u, c, r, m, q, y = names
    nodes = [node("Constant", [], [size], value=tensor("", np.array([length]))),
             node("Slice", ["x", "zero", size, "one"], [s]),
             node("Unsqueeze", [s, "one"], [u]),
             node("Conv", [u, f"cw{rate}", f"cb{rate}"], [c], name="conv", strides=[4], pads=[2, 2]),
             node("Relu", [c], [r]), node("ReduceMean", [r, "two"], [m], keepdims=0),
             node("MatMul", [m, SHARED], [q], name="mm"),
             node("Gemm", [q, f"fw{rate}", f"fb{rate}"], [y], name="fc", transB=1)]
    return helper.make_graph(nodes, rate, [], [info(y, None)], [
        tensor(f"cw{rate}", weights(16, 1, 5, seed=length)),
        tensor(f"cb{rate}", weights(16, seed=length + 1)),
        tensor(f"fw{rate}", weights(8, 12, seed=length + 2)),
        tensor(f"fb{rate}", weights(8, seed=length + 3))])


def detector(condition=None):
    """condition: that of the branch for 16 kHz, where it is constant."""
    nodes = [node("Equal", ["sr", "k16"], ["is16"]),
             node("If", ["is16" if condition is None else "fixed"], ["v"], name="If_0",
                  then_branch=branch("16k", 64), else_branch=branch("8k", 32)),
             node("MatMul", ["v", "out"], ["y"], name="head")]
    values = [tensor("k16", np.int64(16000)), tensor("zero", [0]), tensor("one", [1]),
              tensor("two", [2]), tensor(SHARED, weights(16, 12)), tensor("out", weights(8, 4)),
              tensor("fixed", np.bool_(condition))]
    graph = helper.make_graph(nodes if condition is None else nodes[1:], "g", [
        info("x", ["n", 64]), *([] if condition is not None else [info("sr", [], TensorProto.INT64)])],
        [info("y", ["n", 4])], values)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def looped(kind="Loop"):
    """h = tanh(h W + x), four times."""
    nodes = [node("MatMul", ["hin", "lw"], ["a"], name="rec"), node("Add", ["a", "x0"], ["b"]),
             node("Tanh", ["b"], ["hout"])]
    values = [tensor("w0", weights(24, 24)), tensor("w1", weights(24, 6, seed=2))]
    if kind == "Loop":
        body = helper.make_graph(
            [*nodes, node("Identity", ["cin"], ["cout"])], "body",
            [info("i", [], TensorProto.INT64), info("cin", [], TensorProto.BOOL), info("hin", None)],
            [info("cout", [], TensorProto.BOOL), info("hout", None)],
            [tensor("lw", weights(24, 24, seed=3))])
        loop = node("Loop", ["n", "", "x0"], ["hl"], name="loop", body=body)
        values.append(tensor("n", np.int64(4)))
    else:
        body = helper.make_graph(nodes, "body", [info("hin", None), info("slice", None)],
                                 [info("hout", None)], [tensor("lw", weights(24, 24, seed=3))])
        loop = node("Scan", ["x0", "four"], ["hl"], name="loop", body=body, num_scan_inputs=1)
        values.append(tensor("four", np.zeros((4, 1), np.float32)))
    graph = helper.make_graph(
        [node("MatMul", ["x", "w0"], ["x0"], name="in"), loop,
         node("MatMul", ["hl", "w1"], ["y"], name="head")], "g",
        [info("x", ["n", 24])], [info("y", ["n", 6])], values)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def recordings(folder, rates, count=40):
    for i in range(count):
        place = folder / "calib" / f"test_data_set_{i}"
        place.mkdir(parents=True, exist_ok=True)
        x = RNG.normal(size=(1, 64)).astype(np.float32)
        sr = np.int64(rates[i % len(rates)])
        (place / "input_0.pb").write_bytes(tensor("x", x).SerializeToString())
        (place / "input_1.pb").write_bytes(tensor("sr", sr).SerializeToString())
    return folder / "calib"


def quantize(source, out, calib, *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, "--weights", "int8",
                          "--target", "weights", "--solver", "gptq", *options)


def bodies(path):
    graph = onnx.load(path).graph
    return {attribute.name: attribute.g for item in graph.node for attribute in item.attribute
            if attribute.HasField("g")}


def assert_same(path, folder, feeds):
    support.check(path)
    support.assert_close(support.run(path, feeds, folder), support.ort_run(path, feeds), 1e-5)


def assert_detector(path, folder):
    for rate in (16000, 8000):
        assert_same(path, folder / str(rate), {"x": RNG.normal(size=(2, 64)).astype(np.float32),
                                               "sr": np.array(rate)})


# ---- If


@pytest.mark.parametrize("solver", ["gptq", "nearest"])
def test_layers_of_both_branches_should_be_fitted_and_written_back(solver, tmp_path):
    source, out = save(detector(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    said = quantize(source, out, recordings(tmp_path, [16000, 8000]), "--solver", solver)
    assert not said["not_quantized"] and len(said["layers"]) == 7
    assert all(layer["positions"] > 0 for layer in said["layers"])
    assert said["accuracy"]["sqnr"] > 38
    for name, body in bodies(out).items():
        kinds = [item.op_type for item in body.node]
        # The weight that both branches read is dequantized once, in the main graph.
        assert kinds.count("DequantizeLinear") == 2, name
        assert not body.initializer
    main = onnx.load(out).graph
    assert [item.op_type for item in main.node].count("DequantizeLinear") == 2
    assert not any(t.name == SHARED for t in main.initializer)
    names = [t.name for t in main.initializer]
    assert len(set(names)) == len(names)
    assert_detector(out, tmp_path)


def test_a_branch_that_no_sample_takes_should_be_rounded_and_named(tmp_path):
    source, out = save(detector(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    calib = recordings(tmp_path, [16000])
    said = quantize(source, out, calib)
    left = {layer["node"] for layer in said["layers"] if layer["positions"] == 0}
    assert left == {f"If_0/else_branch/{name}" for name in ("conv", "mm", "fc")}
    warning = next(text for text in said["warnings"] if "no sample runs" in text)
    assert "3 layers are rounded" in warning and "'If_0/else_branch/conv'" in warning
    assert_detector(out, tmp_path)


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_that_is_always_taken_should_be_fitted(taken, tmp_path):
    source, out = save(detector(taken), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 64)).astype(np.float32))
    said = quantize(source, out, tmp_path / "x.npy")
    assert len(said["layers"]) == 4 and not said["not_quantized"]
    assert_same(out, tmp_path / "r", {"x": RNG.normal(size=(2, 64)).astype(np.float32)})
    body = bodies(out)["then_branch" if taken else "else_branch"]
    assert [item.op_type for item in body.node].count("DequantizeLinear") == 3


def test_an_integer_target_should_get_the_codes_of_weights_in_bodies(tmp_path):
    source, out = save(detector(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    said = quantize(source, out, recordings(tmp_path, [16000, 8000]), "--target", "ort")
    assert not said["not_quantized"] and len(said["layers"]) == 7
    support.check(out)
    for rate in (16000, 8000):
        feeds = {"x": RNG.normal(size=(2, 64)).astype(np.float32), "sr": np.array(rate)}
        ours = support.run(out, feeds, tmp_path / str(rate))
        support.assert_close(ours, support.ort_run(out, feeds, optimized=False), 2e-2)


def test_inspect_and_diff_should_list_the_layers_of_branches(tmp_path):
    source, out = save(detector(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    calib = recordings(tmp_path, [16000, 8000])
    quantize(source, out, calib)
    seen = support.answer("inspect", source)["layers"]
    assert len(seen) == 7 and all(layer["quantizable"] for layer in seen)
    seen = {layer["node"]: layer for layer in support.answer("inspect", out)["layers"]}
    assert {layer["type"] for layer in seen.values()} == {"int8"}
    assert seen["If_0/then_branch/fc"]["bytes"] == 8 * 12 + 4 * 8  # codes and scales
    said = support.answer("diff", source, out, "--data", calib)
    assert len(said["layers"]) == 7 and not said["removed"] and not said["added"]
    for layer in said["layers"]:
        assert layer["other"] == layer["node"] and layer["weight_error"]["sqnr_db"] > 38
        measured = layer["accumulated"]["sqnr_db"]
        assert measured > 38 if layer["node"] == "head" else measured is None
        assert layer["isolated"]["sqnr_db"] > 38
    assert said["bound_reason"] == "a layer is in a body"


def test_the_isolated_error_should_be_that_of_the_runs_that_take_the_branch(tmp_path):
    source, out = save(detector(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    quantize(source, out, recordings(tmp_path, [16000, 8000]))
    calib = recordings(tmp_path / "judge", [16000], 32)  # which all measure layers
    said = {layer["node"]: layer["isolated"]
            for layer in support.answer("diff", source, out, "--data", calib)["layers"]}
    assert all(said[f"If_0/else_branch/{name}"]["sqnr_db"] is None for name in ("conv", "mm", "fc"))
    # The first layer's input is the model's: numpy computes both outputs.
    x = np.concatenate([numpy_helper.to_array(onnx.load_tensor(path))
                        for path in calib.glob("*/input_0.pb")])
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load(out).graph.initializer}
    codes, scales, bias = (arrays[f"If_0/then_branch/{name}"]
                           for name in ("cw16k_quantized", "cw16k_scale", "cb16k_corrected"))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (2, 2))), 5, 1)[:, ::4]
    exact = windows @ weights(16, 1, 5, seed=64)[:, 0].T + weights(16, seed=65)
    found = windows @ (codes * scales.reshape(-1, 1, 1))[:, 0].T + bias
    sqnr = 10 * np.log10(np.sum(exact**2) / np.sum((exact - found)**2))
    assert said["If_0/then_branch/conv"]["sqnr_db"] == pytest.approx(sqnr, abs=.01)


# ---- Loop and Scan


@pytest.mark.parametrize("kind", ["Loop", "Scan"])
def test_a_layer_in_a_loop_should_be_dequantized_outside_of_it(kind, tmp_path):
    source, out = save(looped(kind), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 24)).astype(np.float32))
    said = quantize(source, out, tmp_path / "x.npy")
    positions = {layer["node"]: layer["positions"] for layer in said["layers"]}
    isolated = {layer["node"]: layer["isolated"]["sqnr_db"] for layer in support.answer(
        "diff", source, out, "--data", tmp_path / "x.npy")["layers"]}
    assert isolated["loop/body/rec"] > 38
    assert positions["loop/body/rec"] == 4 * positions["in"]
    assert not said["not_quantized"] and said["accuracy"]["sqnr"] > 35
    body = bodies(out)["body"]
    assert "DequantizeLinear" not in [item.op_type for item in body.node]
    assert not body.initializer
    assert_same(out, tmp_path / "r", {"x": RNG.normal(size=(2, 24)).astype(np.float32)})
    said = support.answer("diff", source, out)
    assert len(said["layers"]) == 3 and not said["changed"]


# ---- tables and merged nodes


def decoder(own_table, float_reader=False):
    """Each of four steps looks up a row, which depends on the state; the table may be that of the
    main graph, which looks up a row of it too."""
    nodes = [node("Gather", ["table", "ids"], ["row"], name="lookup"),
             node("Add", ["hin", "row"], ["a"]), node("MatMul", ["a", "lw"], ["b"], name="rec"),
             node("Tanh", ["b"], ["hout"]), node("Identity", ["cin"], ["cout"])]
    table = tensor("table", weights(300, 32))
    body = helper.make_graph(
        nodes, "body",
        [info("i", [], TensorProto.INT64), info("cin", [], TensorProto.BOOL), info("hin", None)],
        [info("cout", [], TensorProto.BOOL), info("hout", None)],
        [tensor("lw", weights(32, 32, seed=3)), *([table] if own_table else [])])
    main = [node("Loop", ["n", "", "x"], ["h"], name="loop", body=body),
            node("MatMul", ["h", "w1"], ["y"], name="head")]
    outputs = [info("y", ["n", 6])]
    if not own_table:
        main.append(node("Gather", ["table", "ids"], ["rows"], name="first"))
        outputs.append(info("rows", ["n", 32]))
    if float_reader:
        main.append(node("ReduceMean", ["table"], ["mean"]))
        outputs.append(info("mean", [1, 1]))
    values = [tensor("n", np.int64(4)), tensor("w1", weights(32, 6, seed=2)),
              *([] if own_table else [table])]
    graph = helper.make_graph(main, "g", [info("x", ["n", 32]), info("ids", ["n"], TensorProto.INT64)],
                              outputs, values)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def sentences(count):
    return {"x": RNG.normal(size=(count, 32)).astype(np.float32),
            "ids": RNG.integers(0, 300, count)}


def quantize_decoder(folder, *options, **model):
    source, out = save(decoder(**model), folder / "m.onnx"), folder / "q.onnx"
    np.savez(folder / "x.npz", **sentences(40))
    return source, out, quantize(source, out, folder / "x.npz", *options)


@pytest.mark.parametrize("codebook, options", [
    ("int8", ()), ("int4", ()), ("int4", ("--granularity", "block", "--block-size", 16))])
def test_a_table_in_a_body_should_be_looked_up_in_codes(codebook, options, tmp_path):
    source, out, said = quantize_decoder(tmp_path, "--weights", codebook, *options, own_table=True)
    assert not said["not_quantized"] and len(said["layers"]) == 3
    assert not bodies(out)["body"].initializer
    assert_same(out, tmp_path / "r", sentences(2))
    tables = [layer for layer in support.answer("inspect", out)["layers"]
              if layer["node"] == "loop/body/lookup"]
    assert [table["type"] for table in tables] == [codebook]
    paired = {layer["node"]: layer for layer in support.answer("diff", source, out)["layers"]}
    assert paired["loop/body/lookup"]["weight_error"]["sqnr_db"] > (38 if codebook == "int8" else 15)


def test_an_estimate_that_was_asked_for_should_say_why_it_is_not_made(tmp_path):
    source = save(looped(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 24)).astype(np.float32))
    for options, said in ((("--estimate", 4), 1), ((), 0)):
        answer = quantize(source, tmp_path / "q.onnx", tmp_path / "x.npy", *options)
        assert answer["output_estimate"]["error"] is None
        assert sum("not estimated: a layer is in a body" in w for w in answer["warnings"]) == said


def test_a_table_in_a_body_should_need_no_samples(tmp_path):
    source, calib = save(decoder(own_table=True), tmp_path / "m.onnx"), tmp_path / "x.npz"
    np.savez(calib, **sentences(40))
    done = support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib,
                           "--target", "weights", "--weights", "int8", "--solver", "gptq")
    assert "no sample runs" not in done.stderr


def test_a_table_of_the_graph_and_a_body_should_be_stored_once(tmp_path):
    _, out, said = quantize_decoder(tmp_path, own_table=False)
    assert not said["not_quantized"] and len(said["layers"]) == 4
    tables = [t for t in onnx.load(out).graph.initializer if t.dims and t.dims[0] == 300]
    assert sorted(t.data_type for t in tables) == [TensorProto.FLOAT, TensorProto.INT8]
    assert all(t.data_type == TensorProto.INT8 or t.dims[1] == 1 for t in tables)  # scales
    assert_same(out, tmp_path / "r", sentences(2))


def test_a_table_that_something_else_reads_should_stay_in_the_body_too(tmp_path):
    _, _, said = quantize_decoder(tmp_path, own_table=False, float_reader=True)
    kept = {layer["node"]: layer["reason"] for layer in said["not_quantized"]}
    assert set(kept) == {"first", "loop/body/lookup"}
    assert all("stays float" in reason for reason in kept.values())


def test_a_normalization_in_a_branch_that_is_always_taken_should_be_merged(tmp_path):
    model = detector(condition=True)
    for attribute in model.graph.node[0].attribute:
        graph, rate = attribute.g, attribute.g.name
        names = [f"{name}{rate}" for name in ("bs", "bb", "bm", "bv")]
        for i, name in enumerate(names):
            graph.initializer.append(tensor(name, np.abs(weights(16, seed=i)) + .5))
        at = next(i for i, item in enumerate(graph.node) if item.name == "conv")
        graph.node[at].output[0] = f"raw{rate}"
        graph.node.insert(at + 1, node("BatchNormalization", [f"raw{rate}", *names], [f"c{rate}"],
                                       name="norm"))
    source, out = save(model, tmp_path / "m.onnx"), tmp_path / "q.onnx"
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 64)).astype(np.float32))
    said = quantize(source, out, tmp_path / "x.npy")
    assert not said["not_quantized"] and len(said["layers"]) == 4
    assert "BatchNormalization" not in [n.op_type for n in bodies(out)["then_branch"].node]
    feeds = {"x": RNG.normal(size=(2, 64)).astype(np.float32)}
    assert_same(out, tmp_path / "r", feeds)
    support.assert_close(support.ort_run(out, feeds), support.ort_run(source, feeds), .02)


# ---- what leaves them as they are


def test_fine_tuning_should_leave_bodies(tmp_path):
    source, out = save(looped(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 24)).astype(np.float32))
    said = quantize(source, out, tmp_path / "x.npy", "--distill", 10)
    kept = {layer["node"]: layer["reason"] for layer in said["not_quantized"]}
    assert "fine-tuning has no gradients" in kept["loop/body/rec"]


# ---- budgets and goals


@pytest.mark.parametrize("options", [["--budget", "5bits"], ["--min-sqnr", 20]])
def test_budgets_and_goals_should_choose_for_layers_in_bodies(options, tmp_path):
    source, out = save(looped(), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    np.save(tmp_path / "x.npy", RNG.normal(size=(40, 24)).astype(np.float32))
    said = support.answer("quantize", source, "-o", out, "--calib", tmp_path / "x.npy",
                          "--target", "weights", *options)
    assert "loop/body/rec" in [layer["node"] for layer in said["layers"]]
    assert said["accuracy"]["sqnr"] > (20 if "--min-sqnr" in options else 10)
    assert_same(out, tmp_path / "r", {"x": RNG.normal(size=(2, 24)).astype(np.float32)})

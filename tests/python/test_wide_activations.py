# SPDX-License-Identifier: Apache-2.0
"""Values that one scale of 8 bits ruins: where the target has kernels of 16 bits they get these, and
all other codes keep 8; elsewhere they stay float."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import support
import target_networks as networks
from small_models import chain, conv, node
from support import DIGITS, weights
from target_networks import Written

OPTIONS = ["--weights", "int8", "--solver", "gptq", "--effort", "fast"]
WIDE = {"qnn": np.uint16, "tflite": np.int16, "pow2": np.int16}
# What the file had before single values could have 16 bits, and what it has to have: dB.
SQNR = {"qnn": (12, 27), "tflite": (20, 27), "pow2": (3, 15)}


def boxes_beside_scores(opset=13):
    """Boxes in pixels and scores in one tensor, each read by rows of their own."""
    nodes = [conv("x w0 b0", "a", pads=[1] * 4), node("Relu", "a", "b"),
             conv("b w1", "box", pads=[1] * 4), conv("b w2", "score", pads=[1] * 4),
             node("Concat", "box score", "loud", axis=1), conv("loud w3 b3", "c"),
             node("Relu", "c", "d"), conv("d w4 b4", "y")]
    rows = np.zeros((32, 32, 1, 1), np.float32)
    rows[:16, :16] = weights(16, 16, 1, 1) / 1000
    rows[16:, 16:] = weights(16, 16, 1, 1)
    values = {"w0": weights(16, 16, 3, 3, spread=0.1), "b0": weights(16),
              "w1": weights(16, 16, 3, 3, spread=0.1) * np.float32(1000),
              "w2": weights(16, 16, 3, 3, spread=0.1), "w3": rows, "b3": weights(32),
              "w4": weights(16, 32, 1, 1), "b4": weights(16)}
    return chain(nodes, (16, 8, 8), (16, 8, 8), values, opset=opset)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A written file and what the program said of it, made once for each target and opset."""
    folder, known = tmp_path_factory.mktemp("wide"), {}
    calib = support.save_samples(folder / "calib.npy", 16, 8, 8, count=64)

    def get(target, opset=13, *options):
        key = target, opset, options
        if key not in known:
            source = support.save(boxes_beside_scores(opset), folder / f"{len(known)}.onnx")
            out, page = (folder / f"{len(known)}{end}" for end in ("-q.onnx", ".html"))
            done = support.succeed("quantize", source, "-o", out, "--calib", calib, *OPTIONS,
                                   "--target", target, "--json", "--report", page, *options)
            known[key] = source, out, json.loads(done.stdout), done.stderr, page.read_text()
        return known[key]

    return get


def outputs(path, x, optimizes=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimizes:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def fresh_samples():
    return np.random.default_rng(7).normal(size=(16, 16, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("target", WIDE)
def test_a_ruined_value_should_have_16_bits_where_the_target_has_them(target, made):
    source, out, said, warnings, page = made(target)
    x = fresh_samples()
    exact, found = outputs(source, x), outputs(out, x)
    before, least = SQNR[target]
    sqnr = 10 * np.log10((exact**2).sum() / ((exact - found)**2).sum())
    assert sqnr >= least > before
    pairs = {pair["name"]: pair for pair in said["activations"]["pairs"]}
    name = np.dtype(WIDE[target]).name
    assert pairs["loud"]["type"] == name and "one scale for 'loud'" in pairs["loud"]["reason"]
    assert pairs["x"]["type"] == said["activations"]["type"] and pairs["x"]["reason"] is None
    assert said["activations"]["float_nodes"] == []
    assert f"it has 16 bits ({name})" in warnings
    section = page.partition('<section id="wide">')[2].partition("</section>")[0]
    assert "loud" in section and name in section and "one scale for" in section


def test_no_codes_of_8_bits_should_be_converted_to_a_larger_scale_of_16(made):
    """For a Concat of qnn, whose inputs have scales of their own: the HTP does that wrongly."""
    pairs = {pair["name"]: pair for pair in made("qnn")[2]["activations"]["pairs"]}
    assert pairs["score"]["type"] == "uint16" and "Concat" in pairs["score"]["reason"]
    w = Written(made("qnn")[1])
    for second in w.all("QuantizeLinear"):
        first = w.producer(second.input[0])
        if first is not None and first.op_type == "DequantizeLinear" \
                and w.values[second.input[2]].dtype == np.uint16:
            assert w.scale(second)[0] < w.scale(first)[0]


@pytest.mark.parametrize("target", WIDE)
def test_the_runtime_should_compute_what_run_computes(target, made, tmp_path):
    out, x = made(target)[1], fresh_samples()
    ours = support.run(out, {"x": x}, tmp_path)["y"]
    assert np.abs(outputs(out, x, optimizes=False) - ours).max() <= 1e-6 * np.abs(ours).max()
    # What the optimizer fuses rounds once instead of twice.
    assert np.abs(outputs(out, x) - ours).max() <= 0.02 * np.abs(ours).max()


@pytest.mark.parametrize("target", WIDE)
def test_a_kernel_should_have_one_type(target, made):
    w = Written(made(target)[1])
    types = {}
    for layer in w.all("Conv", "Concat"):
        count = len(layer.input) if layer.op_type == "Concat" else 1
        around = [w.pair_before(layer, i) for i in range(count)] + [w.pair_after(layer)]
        found = {w.values[pair.input[2]].dtype for pair in around}
        assert len(found) == 1, layer.name
        types[layer.name or layer.output[0]] = found.pop().itemsize
    assert sorted(types.values()).count(1) >= 2 and 2 in types.values()
    findings = support.answer("lint", made(target)[1], "--target", target)["findings"]
    assert [f["rule"] for f in findings if f["rule"] != "static-shapes"] == []


@pytest.mark.parametrize("target", WIDE)
def test_lint_should_find_a_kernel_of_two_types(target, made, tmp_path):
    """A layer of 16 bits that reads the value from its pair of 8 bits."""
    broken = Written(made(target)[1]).clone(tmp_path / "broken.onnx")
    converted = next(n for n in broken.all("QuantizeLinear")
                     if broken.producer(n.input[0]) is not None
                     and broken.producer(n.input[0]).op_type == "DequantizeLinear"
                     and broken.values[n.input[2]].dtype == WIDE[target])
    again = broken.readers(converted.output[0])[0]
    for reader in broken.readers(again.output[0]):
        for i, name in enumerate(reader.input):
            if name == again.output[0]:
                reader.input[i] = converted.input[0]
    found = support.answer("lint", broken.save(), "--target", target, "--fail-on", "never")
    assert "one-type" in {f["rule"] for f in found["findings"] if f["severity"] == "broken"}


@pytest.mark.parametrize("opset, domain", [(13, "com.microsoft"), (21, "")])
def test_pairs_of_16_bits_should_be_those_that_the_opset_has(opset, domain, made):
    """Before opset 21 ONNX has no codes of 16 bits; ONNX Runtime has operators of its own."""
    out = made("qnn", opset)[1]
    w = Written(out)
    assert w.opset == opset
    for pair in w.all("QuantizeLinear", "DequantizeLinear"):
        wide = w.values[pair.input[2]].dtype == np.uint16
        assert pair.domain == (domain if wide else "")
    if opset == 21:
        onnx.checker.check_model(str(out), full_check=True)


@pytest.mark.parametrize("target", ["ort", "tensorrt", "openvino"])
def test_a_ruined_value_should_stay_float_elsewhere(target, made):
    _, out, said, warnings, page = made(target)
    assert "it stays float" in warnings and "16 bits" not in warnings
    assert {pair["type"] for pair in said["activations"]["pairs"]} == {said["activations"]["type"]}
    assert any("one scale for 'loud'" in each["reason"]
               for each in said["activations"]["float_nodes"])
    assert '<section id="wide">' not in page
    assert all(w.dtype != np.uint16 and w.dtype != np.int16 for w in Written(out).values.values())


@pytest.mark.parametrize("target", WIDE)
@pytest.mark.parametrize("build", [networks.residual_block, networks.depthwise_separable])
def test_a_network_without_ruined_values_should_have_8_bits(build, target, tmp_path):
    proto, shape = build()
    source = support.save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", *shape, count=16)
    said = support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib, *OPTIONS,
                          "--target", target)
    assert {pair["type"] for pair in said["activations"]["pairs"]} == {said["activations"]["type"]}


def test_what_has_one_scale_with_a_mask_should_not_count_as_ruined(tmp_path):
    """The mask stays float, and so does the Concat; the other input gets a scale of its own."""
    nodes = [conv("x w0", "a"), node("Relu", "a", "quiet"), conv("x w1", "b"),
             node("Add", "b mask", "masked"), node("Concat", "quiet masked", "c", axis=1),
             node("Softmax", "c", "d", axis=1), conv("quiet w2", "e"), node("Add", "d e", "y")]
    hidden = np.zeros((16, 1, 1), np.float32)
    hidden[3] = -1e9
    values = {"w0": weights(16, 16, 1, 1), "w1": weights(16, 16, 1, 1),
              "w2": weights(32, 16, 1, 1), "mask": hidden}
    source = support.save(chain(nodes, (16, 4, 4), (32, 4, 4), values), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", 16, 4, 4, count=16)
    said = support.answer("quantize", source, "--calib", calib, "-o", tmp_path / "q.onnx", *OPTIONS,
                          "--target", "tflite")
    pairs = {pair["name"]: pair["type"] for pair in said["activations"]["pairs"]}
    assert pairs["quiet"] == "int8" and "masked" not in pairs
    assert all("mask" in warning for warning in said["warnings"] if "float" in warning)


# ---- 16 bits that somebody asks for


@pytest.fixture(scope="module")
def reached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("goal")
    options = ["--effort", "fast", "--solver", "rtn", "--lambda", 0, "--target", "qnn"]
    said = support.answer("quantize", DIGITS / "digits-ts.onnx", "-o", folder / "q.onnx", "--calib",
                          DIGITS / "calib", *options, "--weights", "int8", "--min-sqnr", 41,
                          "--plan", folder / "plan.json")
    return said, folder, options


def test_a_goal_should_give_16_bits_to_the_inputs_of_single_layers(reached):
    said, folder, _ = reached
    steps = said["goal"]["steps"]
    chosen = steps[said["goal"]["chosen"]]
    assert not steps[0]["meets"] and steps[0]["wide_layers"] == 0
    assert chosen["meets"] and 0 < chosen["wide_layers"] < len(said["layers"])
    assert all(step["float_layers"] == 0 for step in steps)
    plan = json.loads((folder / "plan.json").read_text())
    wide = [layer for layer in plan["layers"] if layer.get("activations") == "uint16"]
    assert len(wide) == chosen["wide_layers"]
    asked = [pair for pair in said["activations"]["pairs"] if pair["reason"]]
    assert asked and all(pair["type"] == "uint16" for pair in asked)
    assert all("plan" in pair["reason"] for pair in asked) and support.warnings(said) == []
    support.check(folder / "q.onnx")


def test_the_plan_should_write_the_same_file_again(reached, tmp_path):
    _, folder, options = reached
    support.answer("quantize", DIGITS / "digits-ts.onnx", "-o", tmp_path / "q.onnx", "--calib",
                   DIGITS / "calib", *options, "--plan", folder / "plan.json")
    assert (tmp_path / "q.onnx").read_bytes() == (folder / "q.onnx").read_bytes()


def two_layers(folder):
    nodes = [conv("x w0", "a", name="first"), node("Relu", "a", "b"),
             conv("b w1", "y", name="second")]
    proto = chain(nodes, (16, 6, 6), (16, 6, 6), {"w0": weights(16, 16, 1, 1),
                                                  "w1": weights(16, 16, 1, 1)})
    calib = support.save_samples(folder / "c.npy", 16, 6, 6, count=16)
    return proto, ["--calib", calib, "-o", folder / "q.onnx", *OPTIONS]


def test_a_layer_that_is_named_should_have_an_input_of_16_bits(tmp_path):
    """Also where the file leaves the domain of ONNX out, as PyTorch's exporter does."""
    proto, options = two_layers(tmp_path)
    for entry in proto.opset_import:
        entry.ClearField("domain")
    source = support.save(proto, tmp_path / "m.onnx")
    said = support.answer("quantize", source, *options, "--target", "tflite", "--layer",
                          "second=int8,int16")
    types = [pair["type"] for pair in said["activations"]["pairs"]]
    assert types == ["int8", "int16", "int16", "int16"]  # x, x again, b, y
    assert [layer["weights"] for layer in said["layers"]] == ["int8", "int8"]


@pytest.mark.parametrize("target, rule, words", [
    ("ort", "second=int8,uint16", "qnn, tflite and pow2"),
    ("qnn", "second=int8,int16", "uint16"),
    ("qnn", "second=float,uint16", "no activation type"),
    ("qnn", "second=int8,", "uint16"),
])
def test_a_type_that_the_target_has_not_should_be_refused(target, rule, words, tmp_path):
    proto, options = two_layers(tmp_path)
    source = support.save(proto, tmp_path / "m.onnx")
    done = support.ldnq("quantize", source, *options, "--target", target, "--layer", rule)
    assert done.returncode == support.USAGE and words in done.stderr
    assert not (tmp_path / "q.onnx").exists()


# ---- rows that differ


def loud_and_quiet_rows(shape, seed):
    rng = np.random.default_rng(seed)
    loudness = np.exp(1.6 * rng.standard_normal((*shape[:-1], 1)))
    return (rng.standard_normal(shape) * loudness).astype(np.float32)


@pytest.mark.parametrize("target, least", [("ort", 30), ("openvino", 30), ("qnn", 25)])
def test_a_value_whose_quiet_rows_a_product_needs_should_not_have_8_bits(target, least, tmp_path):
    """A normalization makes all rows count the same, as after the scan of a state-space layer; the
    loudest rows have nearly all of the power."""
    nodes = [node("MatMul", "x w0", "h", name="first"),
             node("LayerNormalization", "h gain", "n", axis=-1),
             node("MatMul", "n w1", "y", name="last")]
    values = {"w0": weights(16, 16), "gain": np.ones(16, np.float32), "w1": weights(16, 8)}
    source = support.save(chain(nodes, (12, 16), (12, 8), values, opset=17), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", loud_and_quiet_rows((48, 12, 16), 3))
    out = tmp_path / "q.onnx"
    done = support.succeed("quantize", source, "-o", out, "--calib", tmp_path / "x.npy", *OPTIONS,
                           "--target", target)
    assert "one scale for 'x'" in done.stderr and "rows differ too much" in done.stderr
    x = loud_and_quiet_rows((32, 12, 16), 4)
    exact, found = outputs(source, x), outputs(out, x, optimizes=False)
    assert 10 * np.log10((exact**2).sum() / ((exact - found)**2).sum()) > least


@pytest.mark.parametrize("target", WIDE)
def test_sizes_of_a_normalization_in_parts_should_not_have_8_bits(target, tmp_path):
    """x / sqrt(mean(x^2) + e), as exporters write RMSNorm: a quiet row is divided by its size, of
    which 8 bits for all rows leave nothing, and here 16 too little."""
    nodes = [node("Pow", "x two", "square"), node("ReduceMean", "square", "mean", axes=[-1]),
             node("Add", "mean least", "sum"), node("Sqrt", "sum", "size"),
             node("Div", "x size", "n"), node("MatMul", "n w", "y", name="last")]
    values = {"two": np.float32(2), "least": np.float32(1e-5), "w": weights(16, 8)}
    source = support.save(chain(nodes, (12, 16), (12, 8), values, opset=17), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", loud_and_quiet_rows((48, 12, 16), 3))
    out = tmp_path / "q.onnx"
    said = support.answer("quantize", source, "-o", out, "--calib", tmp_path / "x.npy", *OPTIONS,
                          "--target", target)
    pairs = {pair["name"]: pair["type"] for pair in said["activations"]["pairs"]}
    assert not {"square", "mean", "sum"} & set(pairs) and pairs["y"] == said["activations"]["type"]
    assert any("'mean'" in text and "16 bits, too" in text for text in said["warnings"])
    x = loud_and_quiet_rows((32, 12, 16), 4)
    exact, found = outputs(source, x), outputs(out, x)
    assert 10 * np.log10((exact**2).sum() / ((exact - found)**2).sum()) > 25

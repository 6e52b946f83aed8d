# SPDX-License-Identifier: Apache-2.0
"""Weights below 8 bits: what ONNX Runtime's optimizer makes of them (MatMulNBits or not), what it
then computes, the type of the codes, blocks, warnings and refusals.

MatMulNBits rounds activations to 8 bits per block at its default accuracy level, 4. At level 1 it
computes in float32: there its results must be those of `ldnq run`."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import support
from small_models import chain, conv, node
from support import weights

QUICK = ["--solver", "gptq", "--effort", "fast", "--lambda", 0]
CODEBOOK = {"int8": "int8", "int4": "int4", "int2": "ternary"}
K = 70  # no multiple of any block
FLOAT_LEVEL = {"session.qdq_matmulnbits_accuracy_level": "1"}


# ---- written graphs: the same product in four forms


def matmul(rows):
    return [node("MatMul", "x w", "y", name="layer")], {"w": weights(K, rows)}


def matmul_and_add(rows):
    return [node("MatMul", "x w", "m", name="layer"), node("Add", "m b", "y")], {
        "w": weights(K, rows), "b": weights(rows, seed=2)}


def gemm(rows):
    return [node("Gemm", "x w b", "y", name="layer")], {"w": weights(K, rows),
                                                        "b": weights(rows, seed=2)}


def gemm_transposed(rows):
    return [node("Gemm", "x w b", "y", name="layer", transB=1)], {"w": weights(rows, K),
                                                                  "b": weights(rows, seed=2)}


FORMS = [matmul, matmul_and_add, gemm, gemm_transposed]


def prepare(form, rows, folder, opset=17):
    nodes, values = form(rows)
    source = support.save(chain(nodes, (K,), (rows,), values, opset=opset), folder / "m.onnx")
    calib = support.save_samples(folder / "c.npy", K, count=100)
    x = np.load(calib)[:5]
    x[1] *= 100  # rounding to 8 bits would show
    return source, calib, {"x": x}


def quantize(source, calib, out, *options):
    return support.answer("quantize", source, "-o", out, "--calib", calib, *QUICK, *options)


def ort(path, feeds, folder, entries=()):
    """(outputs, how often each operator is in the optimized graph)"""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    for name, value in dict(entries).items():
        options.add_session_config_entry(name, value)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    made = dict(zip(names, session.run(names, feeds)))
    graph = onnx.load(options.optimized_model_filepath).graph
    return made, Counter(n.op_type for n in graph.node)


def assert_same(path, feeds, folder, entries=()):
    """ONNX Runtime, optimized and not, computes what `ldnq run` does; the optimized operators."""
    ours = support.run(path, feeds, folder / "run")
    made, operators = ort(path, feeds, folder, entries)
    support.assert_close(ours, made, 2e-6)
    support.assert_close(ours, support.ort_run(path, feeds, optimized=False), 2e-6)
    return operators


STORED = [("int8", 13), ("int8", 17), ("int8", 21), ("int8", 25), ("int4", 21), ("int4", 25),
          ("int2", 25)]


# ---- target weights: any runtime computes what the file says


@pytest.mark.parametrize("storage, opset", STORED)
@pytest.mark.parametrize("granularity", ["tensor", "channel", "block"])
@pytest.mark.parametrize("form", FORMS)
def test_float_activations_should_stay_float_in_onnx_runtime(form, granularity, storage, opset,
                                                             tmp_path):
    if granularity == "block" and opset < 21:
        pytest.skip("blocks need opset 21")
    for rows in (1, 6, 8):
        source, calib, feeds = prepare(form, rows, tmp_path, opset=min(opset, 21))
        out = tmp_path / "q.onnx"
        said = quantize(source, calib, out, "--target", "weights", "--weights", CODEBOOK[storage],
                        "--granularity", granularity, "--storage", storage, "--opset", opset)
        assert said["opset"] == opset and said["storage"] == storage
        support.check(out)
        assert "MatMulNBits" not in assert_same(out, feeds, tmp_path), rows


# ---- target ort: one kernel reads the codes


@pytest.mark.parametrize("storage, opset", STORED)
@pytest.mark.parametrize("granularity", ["tensor", "channel", "block"])
@pytest.mark.parametrize("form", FORMS)
def test_products_should_run_in_one_kernel_where_it_is_right(form, granularity, storage, opset,
                                                             tmp_path):
    if granularity == "block" and opset < 21:
        pytest.skip("blocks need opset 21")
    for rows in (1, 6, 8):
        source, calib, feeds = prepare(form, rows, tmp_path, opset=min(opset, 21))
        out = tmp_path / "q.onnx"
        said = quantize(source, calib, out, "--target", "ort", "--activations", "none", "--weights",
                        CODEBOOK[storage], "--granularity", granularity, "--storage", storage,
                        "--opset", opset)
        support.check(out)
        assert said["activations"] is None
        operators = assert_same(out, feeds, tmp_path, FLOAT_LEVEL)
        # Its packing of 2-bit codes is wrong for other M.
        is_right = storage != "int2" or rows % 4 == 0
        assert operators["MatMulNBits"] == is_right, (rows, operators)
        assert bool(support.warnings(said)) != is_right
        # At the default level activations are rounded to 8 bits.
        rounded, _ = ort(out, feeds, tmp_path)
        support.assert_close(rounded, support.run(out, feeds, tmp_path / "run"), 0.02)


def perceptron(clamp, bias):
    """Three products with a clamp, or nothing, after each but the last."""
    nodes, values = [], {"low": np.float32(0), "high": np.float32(2)}
    for i, (inputs, outputs) in enumerate(((40, 64), (64, 48), (48, 8))):
        values[f"w{i}"] = weights(inputs, outputs, seed=i)
        nodes.append(node("MatMul", f"x{i} w{i}", f"m{i}", name=f"n{i}"))
        if bias:
            values[f"b{i}"] = weights(outputs, seed=i + 9)
            nodes.append(node("Add", f"m{i} b{i}", f"a{i}"))
        made = nodes[-1].output[0]
        if i < 2 and not clamp:
            nodes[-1].output[0] = f"x{i + 1}"
        elif i < 2:
            bounds = " low high" if clamp == "Clip" else ""
            nodes.append(node(clamp, made + bounds, f"x{i + 1}"))
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    return chain(nodes, (40,), (8,), {k: v for k, v in values.items() if clamp == "Clip" or
                                      k not in ("low", "high")})


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("clamp", ["Relu", "Clip"])
def test_a_clamp_after_a_product_should_not_keep_it_from_the_kernel(clamp, bias, tmp_path):
    source = support.save(perceptron(clamp, bias), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", 40, count=100)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "ort", "--weights", "int4")
    support.check(out)
    operators = assert_same(out, {"x": np.load(calib)[:4]}, tmp_path, FLOAT_LEVEL)
    assert operators["MatMulNBits"] == 3
    assert not {"MatMul", "Gemm", "FusedGemm"} & set(operators)


@pytest.mark.parametrize("clamp", [None, "Relu", "Clip"])
def test_a_pair_after_a_product_should_not_keep_it_from_the_kernel(clamp, tmp_path):
    """Of a plan that mixes both kinds of kernels; the integer one is in the middle."""
    source = support.save(perceptron(clamp, True), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", 40, count=100)
    (tmp_path / "plan.json").write_text(
        '{"layers": [{"node": "n0", "weights": "int4"}, {"node": "n1", "weights": "int8"},'
        ' {"node": "n2", "weights": "int4"}]}')
    out = tmp_path / "q.onnx"
    said = quantize(source, calib, out, "--target", "ort", "--weights", "int8", "--plan",
                    tmp_path / "plan.json")
    assert said["activations"]["pairs"] and said["storage"] == "mixed"
    support.check(out)
    feeds = {"x": np.load(calib)[:4]}
    made, operators = ort(out, feeds, tmp_path, FLOAT_LEVEL)
    assert operators["MatMulNBits"] == 2
    assert not {"MatMul", "Gemm", "FusedGemm"} & set(operators), operators
    support.assert_close(made, support.run(out, feeds, tmp_path / "run"), 0.02)
    support.assert_same_outputs(out, feeds, tmp_path)


@pytest.mark.parametrize("block, k", [(16, 40), (32, 100), (64, 200), (128, 300), (256, 600)])
@pytest.mark.parametrize("storage", ["int8", "int4", "int2"])
def test_blocks_of_each_size_should_run_in_one_kernel(storage, block, k, tmp_path):
    source = support.save(chain([node("MatMul", "x w", "y")], (k,), (8,), {"w": weights(k, 8)}),
                          tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", k, count=8)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "ort", "--weights", CODEBOOK[storage], "--storage",
             storage, "--granularity", "block", "--block-size", block)
    operators = assert_same(out, {"x": np.load(calib)}, tmp_path, FLOAT_LEVEL)
    assert operators == {"MatMulNBits": 1}


def test_layers_that_share_a_weight_should_each_have_the_kernel(tmp_path):
    nodes = [node("MatMul", "x w", "a", name="first"), node("Sigmoid", "a", "b"),
             node("MatMul", "b w", "c", name="second"),
             node("Gemm", "c v", "d", name="third", transB=1),
             node("Gemm", "d v", "e", name="fourth", transB=1),
             node("Gemm", "e v", "y", name="scaled", transB=1, alpha=0.5)]
    source = support.save(chain(nodes, (40,), (40,), {"w": weights(40, 40), "v": weights(40, 40)}),
                          tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", 40, count=100)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "ort", "--weights", "int4")
    support.check(out)
    operators = assert_same(out, {"x": np.load(calib)[:4]}, tmp_path, FLOAT_LEVEL)
    assert operators["MatMulNBits"] == 4
    names = [t.name for t in onnx.load(out).graph.initializer]
    assert sum("_quantized" in name for name in names) == 5


@pytest.mark.parametrize("codebook, layers, kernels", [("int4", 7, 7), ("int4", 8, 0),
                                                       ("ternary", 8, 8)])
def test_a_shared_weight_should_not_grow_beyond_the_float_one(codebook, layers, kernels, tmp_path):
    nodes = [node("MatMul", f"v{i} w", f"v{i + 1}", name=f"n{i}") for i in range(layers)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    source = support.save(chain(nodes, (32,), (32,), {"w": weights(32, 32)}), tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", 32, count=100)
    out = tmp_path / "q.onnx"
    quantize(source, calib, out, "--target", "ort", "--weights", codebook)
    operators = assert_same(out, {"x": np.load(calib)[:4]}, tmp_path, FLOAT_LEVEL)
    assert operators["MatMulNBits"] == kernels
    made = [t for t in onnx.load(out).graph.initializer if t.name.startswith("w_quantized")]
    assert len(made) == max(1, kernels)


# ---- defaults of the target


def network(kernel=3):
    nodes = [conv("x w0", "a", name="conv", pads=[kernel // 2] * 4), node("Flatten", "a", "b"),
             node("MatMul", "b w1", "c", name="wide"), node("Sigmoid", "c", "d"),
             node("MatMul", "d w2", "y", name="narrow")]
    values = {"w0": weights(4, 3, kernel, kernel), "w1": weights(4 * 36, 32), "w2": weights(32, 8)}
    return chain(nodes, (3, 6, 6), (8,), values)


def quantize_network(folder, *options):
    source = support.save(network(), folder / "m.onnx")
    calib = support.save_samples(folder / "c.npy", 3, 6, 6, count=200)
    out = folder / "q.onnx"
    said = quantize(source, calib, out, *options)
    support.check(out)
    return said, out, {"x": np.load(calib)[:4]}


def test_products_below_8_bits_should_have_blocks_of_32_where_their_inputs_are_more(tmp_path):
    said, out, feeds = quantize_network(tmp_path, "--target", "ort", "--weights", "int4")
    assert said["granularity"] == "mixed" and said["storage"] == "int4" and said["opset"] == 21
    assert {layer["node"]: layer["block_size"] for layer in said["layers"]} == {
        "conv": 0, "wide": 32, "narrow": 0}
    assert assert_same(out, feeds, tmp_path, FLOAT_LEVEL)["MatMulNBits"] == 2


@pytest.mark.parametrize("options", [
    ["--target", "weights", "--weights", "int4"],
    ["--target", "ort", "--weights", "int4", "--granularity", "channel"],
    ["--target", "ort", "--weights", "int4", "--solver", "admm"],  # has no blocks
    ["--target", "ort", "--weights", "int4", "--storage", "int8"],
    ["--target", "ort", "--weights", "int8"]])
def test_all_other_weights_should_have_a_scale_per_channel(options, tmp_path):
    said, _, _ = quantize_network(tmp_path, *options)
    assert said["granularity"] == "channel"
    assert not any(layer["block_size"] for layer in said["layers"])


@pytest.mark.parametrize("options", [["--storage", "int8"], ["--activations", "uint8"],
                                     ["--opset", "keep"]])
def test_codes_in_whole_bytes_should_run_on_integers(options, tmp_path):
    said, out, feeds = quantize_network(tmp_path, "--target", "ort", "--weights", "int4", *options)
    assert said["storage"] == "int8" and said["opset"] < 21 and said["activations"]["pairs"]
    assert not support.warnings(said)
    _, operators = ort(out, feeds, tmp_path)
    assert operators["QLinearConv"] == 1 and operators["MatMulNBits"] == 0
    assert not {"Conv", "MatMul", "FusedMatMul"} & set(operators)


def test_a_budget_should_count_the_scales_of_blocks(tmp_path):
    said, out, feeds = quantize_network(tmp_path, "--target", "ort", "--budget", "4000", "--weights",
                                        "int4,int8")
    assert {layer["weights"] for layer in said["layers"]} <= {"int4", "int8"}
    support.assert_same_outputs(out, feeds, tmp_path)
    made = support.quantized_weights(out)
    bits = {TensorProto.INT4: 4, TensorProto.INT8: 8}
    kept = [q for q in made if q.dtype in bits and "_quantized" in q.node.input[0]]
    assert sum(q.codes.size * bits[q.dtype] / 8 + 4 * q.scales.size for q in kept) <= 4000


def test_a_product_whose_input_codes_would_ruin_should_stay_exact(tmp_path):
    """MatMulNBits would round that input to 8 bits as well."""
    w0, w1 = weights(40, 64).copy(), weights(64, 48, seed=2).copy()
    w0[:, 2] *= 10000
    w1[2] /= 10000
    nodes = [node("MatMul", "x w0", "a", name="first"), node("Sigmoid", "a", "s"),
             node("Mul", "a s", "loud"), node("MatMul", "loud w1", "b", name="ruined"),
             node("MatMul", "b w2", "y", name="last")]
    source = support.save(chain(nodes, (40,), (8,), {"w0": w0, "w1": w1, "w2": weights(48, 8)}),
                          tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", 40, count=100)
    out = tmp_path / "q.onnx"
    said = quantize(source, calib, out, "--target", "ort", "--weights", "int8")
    ruined = [each["node"] for each in said["activations"]["float_nodes"]]
    assert "ruined" in ruined and said["activations"]["pairs"]
    feeds = {"x": np.load(calib)[:4]}
    made, operators = ort(out, feeds, tmp_path)
    assert operators["MatMulNBits"] == 0
    support.assert_same_outputs(out, feeds, tmp_path)


# ---- the type of the codes


@pytest.mark.parametrize("codebook, storage, opset", [
    ("int8", "int8", 13), ("pot9", "int8", 13), ("int4", "int4", 21), ("int3", "int4", 21),
    ("pot7", "int4", 21), ("int2", "int2", 25), ("ternary", "int2", 25)])
def test_codes_should_be_stored_in_the_narrowest_type_that_holds_them(codebook, storage, opset,
                                                                      tmp_path):
    said, out, feeds = quantize_network(tmp_path, "--target", "weights", "--weights", codebook)
    assert (said["storage"], said["opset"]) == (storage, opset)
    assert said["narrowest"] == {"storage": storage, "opset": {"int8": 10}.get(storage, opset),
                                 "is_used": True, "bytes_saved": 0}
    assert_same(out, feeds, tmp_path)


@pytest.mark.parametrize("codebook, storage, opset, bits", [("int4", "int4", 21, 4),
                                                            ("ternary", "int2", 25, 6)])
def test_the_opset_should_be_kept_on_demand_and_its_cost_be_named(codebook, storage, opset, bits,
                                                                  tmp_path):
    said, out, _ = quantize_network(tmp_path, "--target", "weights", "--weights", codebook,
                                    "--opset", "keep")
    saved = sum(layer["outputs"] * layer["inputs"] * bits // 8 for layer in said["layers"])
    assert (said["storage"], said["opset"]) == ("int8", 13)
    assert said["narrowest"] == {"storage": storage, "opset": opset, "is_used": False,
                                 "bytes_saved": saved}
    assert "opset=keep" in support.metadata(out)["ldnq.options"]
    done = support.succeed("quantize", tmp_path / "m.onnx", "-o", out, "--calib", tmp_path / "c.npy",
                           "--target", "weights", "--weights", codebook, "--opset", "keep", *QUICK)
    assert (f"hint: at opset 13 the codes take {saved} bytes more than in {storage}, which needs "
            f"opset {opset}\n") in done.stdout


def test_a_model_that_can_not_be_raised_should_keep_its_opset_with_a_warning(tmp_path):
    mean = node("ReduceMean", "a", "b", keepdims=1)  # opset 18 made axes an input
    mean.attribute.append(onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS,
                                              ref_attr_name="axes"))
    here = helper.make_function("com.here", "Mean", ["a"], ["b"], [mean],
                                [helper.make_opsetid("", 13)], attributes=["axes"])
    nodes = [node("MatMul", "x w", "m"),
             helper.make_node("Mean", ["m"], ["y"], domain="com.here", axes=[1])]
    proto = support.model(nodes, {"x": ["n", K]}, {"y": ["n", 1]}, {"w": weights(K, 8)},
                          opset=13, opsets=[("com.here", 1)], functions=[here])
    source = support.save(proto, tmp_path / "m.onnx")
    calib = support.save_samples(tmp_path / "c.npy", K, count=100)
    out = tmp_path / "q.onnx"
    said = quantize(source, calib, out, "--target", "weights", "--weights", "ternary")
    assert (said["storage"], said["opset"]) == ("int8", 13)
    (warning,) = support.warnings(said)
    assert "wider types, at opset 13" in warning and "ReduceMean" in warning
    assert_same(out, {"x": np.load(calib)[:4]}, tmp_path)
    done = support.ldnq("quantize", source, "-o", out, "--calib", calib, "--target", "weights",
                        "--weights", "ternary", "--storage", "int4")
    assert done.returncode == support.UNSUPPORTED and "ReduceMean" in done.stderr


# ---- what is slower is said before the work, what is impossible is refused


def test_convolutions_below_8_bits_should_be_warned_of_before_the_work(tmp_path):
    said, out, feeds = quantize_network(tmp_path, "--target", "ort", "--weights", "int4")
    (warning,) = support.warnings(said)
    for words in ("1 layer will run slower than in the float model", "Conv 'conv'", "int4",
                  "storage int8 has a kernel", "session.disable_quant_qdq = 1"):
        assert words in warning
    # Before the work: also where the samples are not even read.
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", out, "--calib", "/none/x.npy",
                        "--target", "ort", "--weights", "int4")
    assert done.returncode == support.IO and warning in done.stderr
    # The option does what is said: no weight is dequantized on a run.
    made, operators = ort(out, feeds, tmp_path, {"session.disable_quant_qdq": "1"})
    assert operators["DequantizeLinear"] == 0
    support.assert_close(made, support.run(out, feeds, tmp_path / "run"), 2e-6)
    assert ort(out, feeds, tmp_path)[1]["DequantizeLinear"] == 1


@pytest.mark.parametrize("options", [["--target", "ort", "--weights", "int8"],
                                     ["--target", "ort", "--weights", "int4", "--skip", "conv"],
                                     ["--target", "weights", "--weights", "int4"],
                                     ["--target", "openvino", "--weights", "int4"]])
def test_layers_with_a_kernel_should_not_be_warned_of(options, tmp_path):
    said, _, _ = quantize_network(tmp_path, *options)
    assert support.warnings(said) == []


@pytest.mark.parametrize("options, words", [
    (["--target", "openvino", "--weights", "int4", "--storage", "int4"],
     ["--storage int4", "'openvino'", "weights of 4 bits", "int8"]),
    (["--target", "tensorrt", "--weights", "ternary", "--storage", "int2"],
     ["--storage int2", "'tensorrt'", "int8"]),
    (["--target", "ort", "--weights", "int4", "--storage", "int4", "--activations", "uint8"],
     ["--storage int4", "'ort'", "quantized activations", "int8"]),
    (["--target", "openvino", "--weights", "int8", "--granularity", "block"],
     ["'openvino'", "no scales per block", "granularity to channel"]),
    (["--target", "ort", "--weights", "int8", "--granularity", "block", "--activations", "uint8"],
     ["'ort'", "integer kernels", "no scales per block", "granularity to channel"]),
    (["--target", "ort", "--weights", "int2", "--granularity", "block", "--block-size", 512],
     ["node 'layer' (MatMul", "block-size 512", "up to 256", "storage int4"]),
    (["--target", "weights", "--weights", "int4", "--granularity", "block", "--opset", "keep"],
     ["a scale per block needs opset 21", "opset 17", "granularity channel"]),
    (["--target", "weights", "--weights", "int4", "--storage", "int4", "--opset", "keep"],
     ["int4 need opset 21", "opset 17", "storage at auto"]),
])
def test_what_a_target_does_not_take_should_be_refused_before_the_work(options, words, tmp_path):
    source = support.save(chain([node("MatMul", "x w", "y", name="layer")], (600,), (8,),
                                {"w": weights(600, 8)}, opset=17), tmp_path / "m.onnx")
    out = tmp_path / "q.onnx"
    done = support.ldnq("quantize", source, "-o", out, "--calib", "/none/x.npy", *options)
    assert done.returncode == support.USAGE and done.stderr.count("\n") == 1
    assert all(text in done.stderr for text in words), done.stderr
    assert not out.exists()

# SPDX-License-Identifier: Apache-2.0
"""Products whose weight is no plain matrix on the right: on the left, of several matrices, of the
groups of a transposed convolution, an operand of Einsum, or in an
operator of ONNX Runtime's optimizer."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper

RNG = np.random.default_rng(19)


def array(*shape):
    return RNG.normal(0, .3, shape).astype(np.float32)


def correlated(*shape, axis=-1):
    """Samples whose features along `axis` follow a few hidden ones."""
    width = shape[axis]
    mixing = RNG.normal(0, 1, (3, width))
    moved = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    x = RNG.normal(0, 1, (*moved, 3)) @ mixing + RNG.normal(0, .1, (*moved, width))
    return np.ascontiguousarray(np.moveaxis(x, -1, axis), dtype=np.float32)


def save(path, nodes, x, **constants):
    """A model from x to y, whose shape has the axes that ONNX Runtime gives it."""
    def build(shape):
        return support.model(nodes, {"x": ["N", *x.shape[1:]]}, {"y": shape}, constants, opset=21,
                             ir_version=10, opsets=[("com.microsoft", 1)])

    [y] = support.ort_run(build(None).SerializeToString(), {"x": x[:1]}).values()
    support.save(build([f"axis{i}" for i in range(y.ndim)]), path)
    return path, x


def matmul(path, weight, x, left=False):
    node = helper.make_node("MatMul", ["w", "x"] if left else ["x", "w"], ["y"], "layer")
    return save(path, [node], x, w=weight)


def left(path):
    return matmul(path, array(8, 12), correlated(96, 12, 5, axis=1), left=True)


def left_matrices(path):
    return matmul(path, array(3, 8, 12), correlated(64, 3, 12, 5, axis=2), left=True)


def leading_ones(path):
    return matmul(path, array(1, 1, 12, 8), correlated(64, 2, 5, 12))


def matrices(path):
    return matmul(path, array(3, 12, 8), correlated(64, 3, 5, 12))


def matrices_of_one_input(path):
    return matmul(path, array(3, 12, 8), correlated(64, 1, 5, 12))


def gemm_with_its_weight_as_a(path):
    x = correlated(160, 12)
    nodes = [helper.make_node("Gemm", ["w", "x", "c"], ["z"], "layer", transA=1, transB=1, alpha=.5,
                              beta=2.),
             helper.make_node("Transpose", ["z"], ["y"])]
    return save(path, nodes, x, w=array(12, 8), c=array(8, 1))


def moved_before_the_product(path):
    """Exporters leave a Transpose and an Unsqueeze after the initializer."""
    x = correlated(64, 3, 5, 12)
    nodes = [helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
             helper.make_node("Unsqueeze", ["t", "axes"], ["u"]),
             helper.make_node("MatMul", ["x", "u"], ["y"], "layer")]
    return save(path, nodes, x, w=array(8, 12), axes=np.array([0]))


def transposed_convolution(path, groups, outputs, **attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "layer", group=groups, **attributes)
    return save(path, [node], correlated(64, 12, 5, 4, axis=1), w=array(12, outputs, 3, 2))


def groups_of_several(path):
    return transposed_convolution(path, 2, 4, strides=[2, 2])


def depthwise(path):
    return transposed_convolution(path, 12, 1)


def depthwise_with_multiplier(path):
    return transposed_convolution(path, 12, 2)


def einsum(path, equation, weight, x, left=False):
    node = helper.make_node("Einsum", ["w", "x"] if left else ["x", "w"], ["y"], "layer",
                            equation=equation)
    return save(path, [node], x, w=weight)


def heads_into_width(path):
    return einsum(path, "nqhd,hde->nqe", array(3, 4, 10),
                  correlated(64, 5, 12).reshape(64, 5, 3, 4))


def width_into_heads(path):
    return einsum(path, "nqd,hdk->nhqk", array(3, 12, 4), correlated(64, 5, 12))


def experts_by_einsum(path):
    return einsum(path, "eoi,neqi->neqo", array(3, 8, 12), correlated(64, 3, 5, 12), left=True)


def any_axes_by_einsum(path):
    return einsum(path, "...i,oi->...o", array(8, 12), correlated(64, 2, 5, 12))


def fused(path, op, x, more=(), **attributes):
    """An operator that ONNX Runtime's optimizer writes."""
    constants = dict(more)
    node = helper.make_node(op, ["x", *constants], ["y"], "layer", domain="com.microsoft",
                            **attributes)
    return save(path, [node], x, **constants)


def fused_conv(path):
    return fused(path, "FusedConv", correlated(64, 12, 5, 4, axis=1),
                 {"w": array(8, 12, 3, 2), "b": array(8)}, activation="Relu")


def fused_gemm(path):
    return fused(path, "FusedGemm", correlated(160, 12), {"w": array(8, 12), "b": array(8)},
                 transB=1, activation="LeakyRelu", activation_alpha=.25)


def fused_matmul(path):
    return fused(path, "FusedMatMul", correlated(64, 2, 12, 5, axis=2), {"w": array(8, 12)},
                 transA=1, transB=1, alpha=.5)


FUSED = (fused_conv, fused_gemm, fused_matmul)
EINSUMS = (heads_into_width, width_into_heads, experts_by_einsum, any_axes_by_einsum)
PRODUCTS = (*EINSUMS, *FUSED, left, left_matrices, gemm_with_its_weight_as_a, leading_ones, matrices,
            matrices_of_one_input, moved_before_the_product, groups_of_several, depthwise,
            depthwise_with_multiplier)


def quantize(make, folder, *options):
    source, x = make(folder / "m.onnx")
    np.save(folder / "x.npy", x)
    out = folder / "q.onnx"
    answer = support.answer("quantize", source, "-o", out, "--calib", folder / "x.npy",
                            "--target", "weights", *options)
    return source, out, x, answer


def assert_no_float_weight(out):
    """Scales are left, and biases, which are smaller than any weight here."""
    large = [t.name for t in onnx.load(out).graph.initializer
             if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= 72
             and not t.name.endswith("_scale")]
    assert not large


def sqnr(source, out, x):
    [exact], [rounded] = (support.ort_run(path, {"x": x}).values() for path in (source, out))
    return 10 * np.log10(np.sum(exact**2) / np.sum((exact - rounded)**2))


@pytest.mark.parametrize("make", PRODUCTS)
def test_product_should_be_quantized_in_codes(make, tmp_path):
    source, out, x, answer = quantize(make, tmp_path, "--weights", "int8", "--solver", "nearest")
    assert [layer["node"] for layer in answer["layers"]] == ["layer"]
    assert not answer["not_quantized"]
    support.check(out)
    support.assert_same_outputs(out, {"x": x[:4]}, tmp_path / "run")
    assert_no_float_weight(out)
    assert sqnr(source, out, x) > 40
    [layer] = support.answer("diff", source, out)["layers"]
    assert layer["node"] == layer["other"] == "layer" and layer["weight_error"]["sqnr_db"] > 40
    [listed] = support.answer("inspect", out)["layers"]
    assert listed["node"] == "layer" and "int8" in str(listed)


@pytest.mark.parametrize("make", [m for m in PRODUCTS if m not in (depthwise,
                                                                   depthwise_with_multiplier)])
def test_product_should_be_fitted_to_its_input(make, tmp_path):
    """Features that are correlated let the codes of a row make up for each other."""
    found = {}
    for solver in ("rtn", "gptq"):
        folder = tmp_path / solver
        folder.mkdir()
        RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state
        source, out, x, _ = quantize(make, folder, "--weights", "int4", "--solver", solver,
                                     "--granularity", "channel")
        support.assert_same_outputs(out, {"x": x[:4]}, folder / "run")
        assert_no_float_weight(out)
        found[solver] = sqnr(source, out, x)
    assert found["gptq"] > found["rtn"] + 3, found


def wide_left_matrices(path):
    return matmul(path, array(2, 6, 40), correlated(48, 2, 40, 3, axis=2), left=True)


def wide_right_matrices(path):
    return matmul(path, array(1, 40, 6), correlated(48, 2, 3, 40))


def wide_groups(path):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "layer", group=2)
    return save(path, [node], correlated(24, 64, 4, 3, axis=1), w=array(64, 3, 2, 1))


@pytest.mark.parametrize("options", [("--granularity", "block", "--block-size", "16"),
                                     ("--granularity", "tensor")])
@pytest.mark.parametrize("make", [wide_left_matrices, wide_right_matrices, wide_groups])
def test_scales_of_any_granularity_should_be_stored(make, options, tmp_path):
    source, out, x, _ = quantize(make, tmp_path, "--weights", "int4", "--solver", "gptq", *options)
    support.check(out)
    support.assert_same_outputs(out, {"x": x[:4]}, tmp_path / "run")
    assert_no_float_weight(out)
    assert sqnr(source, out, x) > 15


@pytest.mark.parametrize("target", ["ort", "openvino"])
@pytest.mark.parametrize("make", [left, matrices, groups_of_several])
def test_target_should_get_such_products_in_codes_too(make, target, tmp_path):
    source, x = make(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "q.onnx"
    support.succeed("quantize", source, "-o", out, "--calib", tmp_path / "x.npy", "--weights",
                    "int8", "--target", target, "--solver", "nearest")
    support.check(out)
    support.assert_same_outputs(out, {"x": x[:4]}, tmp_path / "run")
    assert_no_float_weight(out)
    assert sqnr(source, out, x) > 35


@pytest.mark.parametrize("activation, parameters", [("Tanh", []), ("HardSigmoid", [.2, .5]),
                                                    ("Clip", [-.5, .5]), ("LeakyRelu", [.1])])
def test_fused_conv_should_add_its_sum_and_apply_its_activation(activation, parameters, tmp_path):
    x = correlated(3, 4, 6, 5, axis=1)
    nodes = [helper.make_node("FusedConv", ["x", "w", "b", "x"], ["y"], "layer",
                              domain="com.microsoft", activation=activation, pads=[1] * 4,
                              **({"activation_params": parameters} if parameters else {}))]
    source, _ = save(tmp_path / "m.onnx", nodes, x, w=array(4, 4, 3, 3), b=array(4))
    support.assert_same_outputs(source, {"x": x}, tmp_path / "run")


@pytest.mark.parametrize("flags", range(4))
def test_fused_matmul_should_transpose_its_operands(flags, tmp_path):
    x = correlated(2, 3, 5, 4) if flags & 1 == 0 else correlated(2, 3, 4, 5)
    w = array(4, 6) if flags & 2 == 0 else array(3, 6, 4)
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", alpha=.5,
                            transA=flags & 1, transB=flags >> 1)
    source, _ = save(tmp_path / "m.onnx", [node], x, w=w)
    support.assert_same_outputs(source, {"x": x}, tmp_path / "run")


# ---- matrices that are looked up at run time


def experts(path, count=96, reached=3, matrices=4, width=12):
    """Each sample names the matrix that it meets; the lookup comes before the data is computed."""
    nodes = [helper.make_node("Gather", ["w", "ids"], ["g"], "experts"),
             helper.make_node("Relu", ["x"], ["r"]),
             helper.make_node("MatMul", ["r", "g"], ["y"], "product")]
    proto = support.model(nodes, {"x": ["N", 5, width]}, {"y": ["N", 5, 8]},
                          {"w": array(matrices, width, 8)}, opset=21, ir_version=10)
    proto.graph.input.append(support.info("ids", ["N"], TensorProto.INT64))
    support.save(proto, path)
    ids = RNG.integers(0, reached, count)
    # Each matrix has an input of its own kind.
    x = np.stack([correlated(5, width) for _ in range(reached)])[ids]
    return path, {"x": x + RNG.normal(0, .3, x.shape).astype(np.float32), "ids": ids}


def quantize_experts(folder, *options, **shape):
    RNG.bit_generator.state = np.random.default_rng(6).bit_generator.state
    source, feeds = experts(folder / "m.onnx", **shape)
    np.savez(folder / "x.npz", **feeds)
    out = folder / "q.onnx"
    answer = support.answer("quantize", source, "-o", out, "--calib", folder / "x.npz", *options)
    support.check(out)
    support.assert_same_outputs(out, feeds, folder / "run")
    assert_no_float_weight(out)
    exact, rounded = (support.ort_run(path, feeds)["y"] for path in (source, out))
    return source, out, answer, 10 * np.log10(np.sum(exact**2) / np.sum((exact - rounded)**2))


@pytest.mark.parametrize("target", ["weights", "ort"])
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_matrices_should_be_looked_up_as_codes(weights, target, tmp_path):
    source, out, answer, quality = quantize_experts(tmp_path, "--weights", weights, "--target",
                                                    target, "--solver", "gptq")
    assert [layer["node"] for layer in answer["layers"]] == ["experts"]
    assert quality > (35 if weights == "int8" else 14)
    graph = onnx.load(out).graph
    [lookup] = [n for n in graph.node if n.op_type == "Gather" and n.input[0] == "w_quantized"]
    assert lookup.input[1] == "ids"
    layers = {layer["node"]: layer for layer in support.answer("diff", source, out)["layers"]}
    assert layers["experts"]["other"] and layers["experts"]["bits"] < 11
    listed = {layer["node"]: layer for layer in support.answer("inspect", out)["layers"]}
    assert listed["experts"]["type"] == weights


def test_matrices_should_be_looked_up_with_the_scales_of_blocks(tmp_path):
    found = {}
    for granularity, size in ("channel", ()), ("block", ("--block-size", 16)):
        folder = tmp_path / granularity
        folder.mkdir()
        source, out, _, found[granularity] = quantize_experts(
            folder, "--weights", "int4", "--target", "weights", "--solver", "gptq", "--granularity",
            granularity, *size, width=64)
    assert found["block"] > found["channel"] + .5, found
    stored = {t.name: list(t.dims) for t in onnx.load(out).graph.initializer}
    assert stored["w_scale"] == [4, 4, 1, 8]
    assert stored["w_quantized"] == [4, 4, 16, 4]  # two codes in a byte
    paired = {each["node"]: each for each in support.answer("diff", source, out)["layers"]}["experts"]
    assert paired["weight_error"]["sqnr_db"] > 15 and paired["bits"] < 6.5, paired
    listed = {each["node"]: each for each in support.answer("inspect", out)["layers"]}["experts"]
    assert listed["type"] == "int4" and listed["bytes"] == 4 * 64 * 4 + 4 * 4 * 8 * 4


def test_each_matrix_should_be_fitted_to_what_meets_it(tmp_path):
    found = {}
    for solver in ("rtn", "gptq"):
        folder = tmp_path / solver
        folder.mkdir()
        _, _, answer, found[solver] = quantize_experts(folder, "--weights", "int4", "--target",
                                                       "weights", "--solver", solver)
    assert found["gptq"] > found["rtn"] + 2, found
    assert any("'experts'" in text and "matrix 3" in text for text in answer["warnings"])


# ---- layers whose input is constant


def constants_model(nodes, **values):
    """y = x v + what the nodes make of constants, (8, 64); all of it can be computed before."""
    rng = np.random.default_rng(7)
    values = {name: rng.normal(0, .2, shape).astype(np.float32) for name, shape in values.items()}
    return support.model([helper.make_node("MatMul", ["x", "v"], ["xv"], "data"), *nodes,
                          helper.make_node("Add", ["xv", "all"], ["y"])],
                         {"x": ["N", 8, 64]}, {"y": ["N", 8, 64]},
                         {"v": rng.normal(0, .2, (64, 64)).astype(np.float32), **values})


def test_layers_of_constants_should_be_quantized(tmp_path):
    """Learned queries, as a file of one picture has them: two layers share a sum of constants, and
    what follows is constant as well."""
    nodes = [helper.make_node("Add", ["query", "place"], ["sum"]),
             helper.make_node("MatMul", ["sum", "w"], ["a"], "first"),
             helper.make_node("Gemm", ["sum", "u"], ["b"], "second"),
             helper.make_node("Mul", ["a", "b"], ["ab"]), helper.make_node("Shape", ["b"], ["shape"]),
             helper.make_node("Reshape", ["ab", "shape"], ["c"]),
             helper.make_node("MatMul", ["c", "t"], ["all"], "third")]
    source = support.save(constants_model(nodes, query=(8, 64), place=(8, 64), w=(64, 64),
                                          u=(64, 64), t=(64, 64)), tmp_path / "m.onnx")
    x = RNG.normal(0, 1, (24, 8, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "q.onnx"
    for options in (["--target", "weights", "--weights", "int8", "--solver", "gptq"],
                    ["--target", "ort", "--weights", "int8", "--solver", "nearest"]):
        said = support.answer("quantize", source, "-o", out, "--calib", tmp_path / "x.npy", *options)
        assert [layer["node"] for layer in said["layers"]] == ["first", "second", "third", "data"]
        support.check(out)
        kept = [t.name for t in onnx.load(out).graph.initializer
                if t.data_type == TensorProto.FLOAT and len(t.dims) > 1]
        assert kept == ["query", "place"]
        outputs = support.assert_same_outputs(out, {"x": x[:3]}, tmp_path)
        exact = support.ort_run(source, {"x": x[:3]})["y"]
        assert np.square(exact - outputs["y"]).sum() < 1e-3 * np.square(exact).sum()
        pairs = support.answer("diff", source, out)["layers"]
        assert sum(8 <= pair["bits"] < 9 for pair in pairs) == 4
    assert sum(layer["quantizable"] for layer in support.answer("inspect", source)["layers"]) == 4


def test_product_of_constants_that_is_a_weight_should_stay_one(tmp_path):
    """The sum of a weight and its adapter."""
    nodes = [helper.make_node("Mul", ["down", "scale"], ["scaled"]),
             helper.make_node("MatMul", ["scaled", "up"], ["change"], "adapter"),
             helper.make_node("Add", ["w", "change"], ["whole"]),
             helper.make_node("MatMul", ["x", "whole"], ["all"], "layer")]
    source = support.save(constants_model(nodes, down=(64, 64), up=(64, 64), scale=(64,),
                                          w=(64, 64)), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", RNG.normal(0, 1, (24, 8, 64)).astype(np.float32))
    said = support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib",
                          tmp_path / "x.npy", "--target", "weights", "--weights", "int8",
                          "--solver", "gptq")
    assert [layer["node"] for layer in said["layers"]] == ["data", "layer"]
    assert {t.data_type for t in onnx.load(tmp_path / "q.onnx").graph.initializer
            if len(t.dims) > 1} == {TensorProto.INT8}

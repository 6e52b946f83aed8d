# SPDX-License-Identifier: Apache-2.0
"""Operators that ONNX Runtime contributes: `ldnq run` computes what ONNX Runtime does, and `diff`
and `inspect` see the codes in them."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from support import UNSUPPORTED, answer, assert_close, ldnq, ort_run, run  # noqa: E402

MICROSOFT = "com.microsoft"
HIDDEN, HEADS, LENGTH, BATCH = 16, 4, 5, 2


class Network:
    """One node; arrays are constants, or inputs with the prefix 'in:'."""

    def __init__(self, op, inputs, outputs=("y",), domain=MICROSOFT, standard=17, **attributes):
        self.feeds, stored, names = {}, [], []
        for i, given in enumerate(inputs):
            name = f"i{i}" if given is not None else ""
            names.append(name)
            if isinstance(given, tuple):  # ("in", array)
                self.feeds[name] = given[1]
            elif given is not None:
                stored.append(numpy_helper.from_array(given, name))
        node = helper.make_node(op, names, outputs, name="node", domain=domain, **attributes)
        values = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype),
                                                a.shape) for name, a in self.feeds.items()]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                   if name.startswith("scores") else onnx.ValueInfoProto(name=name)
                   for name in outputs if name]
        graph = helper.make_graph([node], "g", values, results, stored)
        self.model = helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", standard), helper.make_opsetid(MICROSOFT, 1)])

    def save(self, folder):
        path = folder / "m.onnx"
        onnx.save(self.model, path)
        return path


def given(array):
    return "in", array


def floats(*shape, seed=0, scale=1.0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


def codes(*shape, dtype=np.uint8, seed=0):
    info = np.iinfo(dtype)
    return np.random.default_rng([seed, *shape]).integers(info.min, info.max + 1, shape).astype(dtype)


def one(value, dtype=np.float32):
    return np.array(value, dtype)


X = floats(BATCH, LENGTH, HIDDEN)
VECTOR = floats(HIDDEN, seed=1)
IDS = np.array([[1, 4, 2, 0, 3], [5, 5, 1, 7, 6]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)

FLOAT = {
    "Gelu": lambda: Network("Gelu", [given(X)]),
    "BiasGelu": lambda: Network("BiasGelu", [given(X), VECTOR]),
    "FastGelu": lambda: Network("FastGelu", [given(X)]),
    "FastGelu bias": lambda: Network("FastGelu", [given(X), VECTOR]),
    "QuickGelu": lambda: Network("QuickGelu", [given(X)]),
    "QuickGelu alpha": lambda: Network("QuickGelu", [given(X)], alpha=1.1),
    "LayerNormalization 11": lambda: Network("LayerNormalization", [given(X), VECTOR, VECTOR],
                                             domain="", standard=11, axis=-1, epsilon=1e-3),
    "SimplifiedLayerNormalization": lambda: Network(
        "SimplifiedLayerNormalization", [given(X), VECTOR], domain="", axis=-1, epsilon=1e-3),
    "SkipLayerNormalization": lambda: Network(
        "SkipLayerNormalization", [given(X), given(floats(BATCH, LENGTH, HIDDEN, seed=2)), VECTOR],
        epsilon=1e-3),
    "SkipLayerNormalization all": lambda: Network(
        "SkipLayerNormalization", [given(X), given(floats(BATCH, LENGTH, HIDDEN, seed=2)), VECTOR,
                                   VECTOR, VECTOR], outputs=("y", "", "", "sum")),
    "SkipSimplifiedLayerNormalization": lambda: Network(
        "SkipSimplifiedLayerNormalization", [given(X), given(floats(BATCH, LENGTH, HIDDEN, seed=2)),
                                             VECTOR, VECTOR], outputs=("y", "", "", "sum")),
    "EmbedLayerNormalization": lambda: Network(
        "EmbedLayerNormalization", [given(IDS), given(IDS % 2), floats(8, HIDDEN), floats(9, HIDDEN),
                                    floats(2, HIDDEN), VECTOR, VECTOR, given(MASK)],
        outputs=("y", "mask")),
    "EmbedLayerNormalization positions": lambda: Network(
        "EmbedLayerNormalization", [given(IDS), None, floats(8, HIDDEN), floats(9, HIDDEN), None,
                                    VECTOR, VECTOR, None, given(IDS)], outputs=("y", "mask", "sum")),
    "RotaryEmbedding": lambda: Network(
        "RotaryEmbedding", [given(floats(BATCH, HEADS, LENGTH, 4)), given(IDS.astype(np.int64)),
                            floats(9, 2), floats(9, 2, seed=1)]),
    "RotaryEmbedding first": lambda: Network(
        "RotaryEmbedding", [given(X), given(np.array([2], np.int64)), floats(9, 2),
                            floats(9, 2, seed=1)], num_heads=HEADS, interleaved=1),
    "MultiHeadAttention": lambda: attention(),
    "MultiHeadAttention bias": lambda: attention(bias=floats(3 * HIDDEN)),
    "MultiHeadAttention mask": lambda: attention(mask=given(MASK)),
    "MultiHeadAttention lengths": lambda: attention(mask=given(np.array([5, 3], np.int32))),
    "MultiHeadAttention both": lambda: attention(
        mask=given(MASK), scores=given(floats(BATCH, HEADS, LENGTH, LENGTH, seed=4))),
    "MultiHeadAttention scores": lambda: attention(
        scores=given(floats(1, HEADS, LENGTH, LENGTH, seed=4)), scale=0.3),
    "MultiHeadAttention causal": lambda: attention(unidirectional=1),
    "MultiHeadAttention past": lambda: attention(
        past=given(floats(BATCH, HEADS, 3, 4, seed=5)), outputs=("y", "k", "v")),
}


def packed_attention(bias=True, mask=None, past=None, scores=None, sizes=None, outputs=("y",),
                     **attributes):
    if sizes:
        attributes["qkv_hidden_sizes"] = sizes
    width = sum(sizes) if sizes else 3 * HIDDEN
    inputs = [given(X), floats(HIDDEN, width, scale=.3), floats(width) if bias else None, mask, past,
              scores]
    while inputs[-1] is None:
        inputs.pop()
    return Network("Attention", inputs, outputs, num_heads=HEADS, **attributes)


FLOAT |= {
    "Attention": lambda: packed_attention(),
    "Attention no bias": lambda: packed_attention(bias=False),
    "Attention mask": lambda: packed_attention(mask=given(MASK)),
    "Attention lengths": lambda: packed_attention(mask=given(np.array([5, 3], np.int32))),
    "Attention scores": lambda: packed_attention(
        scores=given(floats(BATCH, HEADS, LENGTH, LENGTH, seed=4))),
    "Attention sizes": lambda: packed_attention(sizes=[HIDDEN, HIDDEN, 2 * HIDDEN], scale=.4),
    "Attention causal": lambda: packed_attention(unidirectional=1),
    "Attention past": lambda: packed_attention(
        past=given(floats(2, BATCH, HEADS, 3, HIDDEN // HEADS, seed=5)), outputs=("y", "p")),
    "Attention causal past": lambda: packed_attention(
        past=given(floats(2, BATCH, HEADS, 3, HIDDEN // HEADS, seed=5)), outputs=("y", "p"),
        unidirectional=1),
}


def attention(bias=None, mask=None, scores=None, past=None, outputs=("y",), **attributes):
    inputs = [given(floats(BATCH, LENGTH, HIDDEN, seed=s)) for s in range(3)]
    inputs += [bias, mask, scores, past, past]
    while inputs[-1] is None:
        inputs.pop()
    return Network("MultiHeadAttention", inputs, outputs, num_heads=HEADS, **attributes)


def group_attention(length, past, packed=False, cache=floats, rest=(), rotates=True, scores=0,
                    **attributes):
    """4 heads of 16 share 2 of the keys, as in LLaMA."""
    q, k, v = (floats(BATCH, length, n * 16, seed=s) for s, n in enumerate((4, 2, 2)))
    inputs = [given(np.concatenate([q, k, v], -1)), None, None] if packed else [
        given(q), given(k), given(v)]
    inputs += [given(cache(BATCH, 2, past, 16, seed=s)) for s in (3, 4)]
    inputs += [given(np.full(BATCH, past + length - 1, np.int32)), one(past + length, np.int32)]
    inputs += [floats(16, 8), floats(16, 8, seed=1)] if rotates else [None] * 2
    inputs += rest
    while inputs[-1] is None:
        inputs.pop()
    outputs = ("y", "k", "v", "scores") if scores else ("y", "k", "v")
    return Network("GroupQueryAttention", inputs, outputs, num_heads=4, kv_num_heads=2,
                   do_rotary=int(rotates), qk_output=scores, **attributes)


def cached_codes(length, past, *shape, bits=8):
    """The cache of keys and values in int8, or in bytes of two codes, with scales of this shape."""
    scales = [floats(*shape, seed=s) ** 2 + .02 for s in (6, 7)]
    kind = "PER_TENSOR" if shape == (1,) else "PER_CHANNEL"

    def cache(*sizes, seed):
        if bits == 8:
            return codes(*sizes, dtype=np.int8, seed=seed)
        return codes(*sizes[:-1], sizes[-1] // 2, dtype=np.uint8, seed=seed)

    return group_attention(length, past, cache=cache, rest=[None] * 3 + scales, k_quant_type=kind,
                           v_quant_type=kind, kv_cache_bit_width=bits)


def with_sink(length, past, **attributes):
    """A score for each head besides those of the keys."""
    return group_attention(length, past, rest=[None] * 2 + [2 * floats(4, seed=8)], **attributes)


FLOAT |= {
    "GroupQueryAttention prompt": lambda: group_attention(LENGTH, 0),
    "GroupQueryAttention step": lambda: group_attention(1, 6),
    "GroupQueryAttention packed": lambda: group_attention(LENGTH, 0, packed=True),
    "GroupQueryAttention plain": lambda: group_attention(1, 6, rotates=False),
    "GroupQueryAttention window": lambda: group_attention(LENGTH, 0, local_window_size=2),
    "GroupQueryAttention window step": lambda: group_attention(1, 6, local_window_size=2),
    "GroupQueryAttention softcap": lambda: group_attention(LENGTH, 0, softcap=.5),
    "GroupQueryAttention both ways": lambda: group_attention(LENGTH, 0, causal=0),
    "GroupQueryAttention scores": lambda: group_attention(
        LENGTH, 0, rest=[None, given(floats(1, 4, LENGTH, LENGTH))]),
    "GroupQueryAttention positions": lambda: group_attention(
        LENGTH, 0, rest=[given(np.arange(3, 3 + 2 * LENGTH).reshape(2, LENGTH))]),
    "GroupQueryAttention step at positions": lambda: group_attention(
        1, 6, rest=[given(np.array([[3], [2]], np.int64))]),
    "GroupQueryAttention int8": lambda: cached_codes(1, 6, 1),
    "GroupQueryAttention int8 per channel": lambda: cached_codes(1, 6, 1, 2, 1, 16),
    "GroupQueryAttention int8 prompt": lambda: cached_codes(LENGTH, 0, 1),
    "GroupQueryAttention int4": lambda: cached_codes(1, 6, 1, bits=4),
    "GroupQueryAttention int4 per channel": lambda: cached_codes(1, 6, 2, 1, 16, bits=4),
    "GroupQueryAttention int4 prompt": lambda: cached_codes(LENGTH, 0, 1, bits=4),
    "GroupQueryAttention sink": lambda: with_sink(1, 6),
    "GroupQueryAttention sink prompt": lambda: with_sink(LENGTH, 0, softcap=.5),
    "GroupQueryAttention sink window": lambda: with_sink(LENGTH, 0, local_window_size=2),
    "GroupQueryAttention sink scores": lambda: group_attention(
        LENGTH, 0, rest=[None, given(floats(1, 4, LENGTH, LENGTH)), 2 * floats(4, seed=8)]),
    "GroupQueryAttention smooth": lambda: group_attention(1, 6, smooth_softmax=1),
    "GroupQueryAttention output of scores": lambda: group_attention(
        LENGTH, 0, scores=1, softcap=.5, local_window_size=2,
        rest=[None, given(floats(1, 4, LENGTH, LENGTH))]),
    "GroupQueryAttention output of probabilities": lambda: group_attention(1, 6, scores=2),
    "GroupQueryAttention scores beside a sink": lambda: with_sink(LENGTH, 0, scores=1),
    "GroupQueryAttention probabilities beside a sink": lambda: with_sink(1, 6, scores=2),
    "MultiHeadAttention output of scores": lambda: attention(
        outputs=("y", "", "", "scores"), unidirectional=1,
        scores=given(floats(BATCH, HEADS, LENGTH, LENGTH, seed=4))),
    "FusedMatMul batch of A": lambda: Network(
        "FusedMatMul", [given(floats(5, 3, 4)), given(floats(3, 4, 6))], transBatchA=1, alpha=.5),
    "FusedMatMul batch of B": lambda: Network(
        "FusedMatMul", [given(floats(2, 3, 5, 4)), given(floats(4, 2, 3, 6))], transBatchB=1),
    "FusedMatMul batches, transposed": lambda: Network(
        "FusedMatMul", [given(floats(4, 3, 5)), given(floats(6, 3, 4))], transBatchA=1,
        transBatchB=1, transA=1, transB=1),
}


@pytest.mark.parametrize("name", FLOAT)
def test_float_operator_should_compute_what_onnx_runtime_does(name, tmp_path):
    network = FLOAT[name]()
    path = network.save(tmp_path)
    theirs = ort_run(path, network.feeds)
    assert_close(run(path, network.feeds, tmp_path), theirs, relative=2e-5)


A, B = given(codes(2, 3, 4, 4)), given(codes(2, 3, 4, 4, seed=1))
AS, AZ, BS, BZ, YS, YZ = one(.02), one(120, np.uint8), one(.03), one(110, np.uint8), one(.04), one(
    100, np.uint8)



def packed_codes(channels=None, mask=None, past=None, outputs=("y",), **attributes):
    weight = codes(HIDDEN, 3 * HIDDEN, dtype=np.int8)
    scale = one(.01) if channels is None else floats(channels) ** 2 * .01 + .002
    zero = one(0, np.int8) if channels is None else np.zeros(channels, np.int8)
    inputs = [given(codes(BATCH, LENGTH, HIDDEN)), weight, floats(3 * HIDDEN), AS, scale, mask, AZ,
              zero, past]
    while inputs[-1] is None:
        inputs.pop()
    return Network("QAttention", inputs, outputs, num_heads=HEADS, **attributes)


def dynamic_lstm(directions=1, columns=False, lengths=None, **attributes):
    """As quantize_dynamic writes it."""
    hidden, width = 6, 24
    inputs = [given(floats(4, 1, 5))]
    inputs += [codes(directions, size, width, dtype=np.int8) for size in (5, hidden)]
    inputs += [floats(directions, 2 * width, scale=.1), lengths, None, None, None]
    for seed in (0, 1):
        scale = floats(directions, *([width] if columns else []), seed=seed) ** 2 * .003 + .002
        inputs += [scale, np.zeros(scale.shape, np.int8)]
    return Network("DynamicQuantizeLSTM", inputs, ("y", "h", "c"), hidden_size=hidden,
                   **attributes)


INTEGER = {
    "QLinearAdd": lambda: Network("QLinearAdd", [A, AS, AZ, B, BS, BZ, YS, YZ]),
    "QLinearMul": lambda: Network("QLinearMul", [A, AS, AZ, B, BS, BZ, YS, YZ]),
    "QLinearSigmoid": lambda: Network("QLinearSigmoid", [A, AS, AZ, one(1 / 256), one(0, np.uint8)]),
    "QLinearLeakyRelu": lambda: Network("QLinearLeakyRelu", [A, AS, AZ, YS, YZ], alpha=.2),
    "QLinearSoftmax": lambda: Network(
        "QLinearSoftmax", [A, AS, AZ, one(1 / 256), one(0, np.uint8)], opset=17, axis=1),
    "QLinearSoftmax of rows": lambda: Network(
        "QLinearSoftmax", [A, AS, AZ, one(1 / 256), one(0, np.uint8)], opset=12, axis=2),
    "QLinearGlobalAveragePool": lambda: Network(
        "QLinearGlobalAveragePool", [A, AS, AZ, YS, YZ]),
    "QLinearAveragePool": lambda: Network(
        "QLinearAveragePool", [A, AS, AZ, YS, YZ], kernel_shape=[3, 3], pads=[1, 1, 1, 1],
        strides=[2, 1]),
    "QLinearConcat": lambda: Network("QLinearConcat", [YS, YZ, A, AS, AZ, B, BS, BZ], axis=1),
    "QLinearWhere": lambda: Network(
        "QLinearWhere", [given(codes(2, 3, 4, 4) > 99), A, AS, AZ, B, BS, BZ, YS, YZ]),
    "QGemm": lambda: Network(
        "QGemm", [given(codes(3, 8)), AS, AZ, codes(6, 8, dtype=np.int8), floats(6) ** 2 + .01,
                  np.zeros(6, np.int8), np.arange(6, dtype=np.int32) * 300, one(1.), YZ],
        transB=1),
    "QGemm float": lambda: Network(
        "QGemm", [given(codes(3, 8)), AS, AZ, codes(8, 6, dtype=np.int8), one(.03),
                  one(3, np.int8)], alpha=.5),
    "MatMulIntegerToFloat": lambda: Network(
        "MatMulIntegerToFloat", [given(codes(2, 3, 8)), codes(8, 6, dtype=np.int8), AS,
                                 floats(6) ** 2 + .01, AZ, np.zeros(6, np.int8), floats(6)]),
    "QAttention": lambda: packed_codes(),
    "QAttention per channel": lambda: packed_codes(48, mask=given(np.array([5, 3], np.int32))),
    "QAttention causal": lambda: packed_codes(mask=given(MASK), unidirectional=1),
    "QAttention past": lambda: packed_codes(
        past=given(floats(2, BATCH, HEADS, 3, HIDDEN // HEADS, seed=5)), outputs=("y", "p")),
    "DynamicQuantizeLSTM": lambda: dynamic_lstm(),
    "DynamicQuantizeLSTM both ways": lambda: dynamic_lstm(
        directions=2, columns=True, direction="bidirectional"),
    # With more samples, ONNX Runtime's threads quantize the states of some of them each.
    "DynamicQuantizeLSTM reverse": lambda: dynamic_lstm(
        lengths=given(np.array([3], np.int32)), direction="reverse"),
    "DynamicQuantizeMatMul": lambda: Network(
        "DynamicQuantizeMatMul", [given(floats(2, 3, 8)), codes(8, 6, dtype=np.int8), one(.03),
                                  one(3, np.int8), floats(6)]),
}


@pytest.mark.parametrize("name", INTEGER)
def test_integer_operator_should_be_a_step_off_at_most(name, tmp_path):
    network = INTEGER[name]()
    path = network.save(tmp_path)
    theirs = ort_run(path, network.feeds, optimized=False)["y"]
    ours = run(path, network.feeds, tmp_path)["y"]
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if theirs.dtype == np.float32:
        assert_close({"y": ours}, {"y": theirs}, relative=1e-5)
    else:
        off = np.abs(ours.astype(int) - theirs)
        assert off.max() <= 1 and (off > 0).mean() < .1


def pack(values, bits):
    """Rows of codes, the first one in the lowest bits."""
    per = 8 // bits
    padded = np.zeros((values.shape[0], -(-values.shape[1] // per) * per), np.uint8)
    padded[:, :values.shape[1]] = values
    shifts = np.arange(per) * bits
    return (padded.reshape(len(padded), -1, per) << shifts).sum(-1).astype(np.uint8)


def matmul_nbits(bits, cols, block, zero, bias=False):
    rows, count = 6, -(-cols // block)
    rng = np.random.default_rng([bits, cols])
    q = rng.integers(0, 1 << bits, (rows, count * block))
    scales = rng.uniform(.01, .1, (rows, count)).astype(np.float32)
    zeros = {"none": None, "codes": pack(rng.integers(0, 1 << bits, (rows, count)), bits).ravel(),
             "real": rng.uniform(0, 5, (rows, count)).astype(np.float32)}[zero]
    packed = pack(q, bits).reshape(rows, count, -1)
    inputs = [given(floats(2, 3, cols)), packed, scales, zeros]
    inputs += [None, floats(rows)] if bias else []
    while inputs[-1] is None:
        inputs.pop()
    return Network("MatMulNBits", inputs, standard=21, K=cols, N=rows, bits=bits, block_size=block)


@pytest.mark.parametrize("bits, cols, block, zero, bias", [
    (4, 32, 16, "none", False), (4, 40, 16, "codes", True), (4, 48, 16, "real", False),
    (8, 32, 32, "none", False), (8, 32, 16, "codes", False), (2, 64, 32, "none", False),
    (2, 96, 32, "codes", True)])
def test_matmul_nbits_should_compute_what_onnx_runtime_does(bits, cols, block, zero, bias, tmp_path):
    network = matmul_nbits(bits, cols, block, zero, bias)
    path = network.save(tmp_path)
    assert_close(run(path, network.feeds, tmp_path), ort_run(path, network.feeds), relative=1e-5)


@pytest.mark.parametrize("bits, zero", [(4, False), (4, True), (8, False), (8, True)])
def test_gather_block_quantized_should_compute_what_onnx_runtime_does(bits, zero, tmp_path):
    rng = np.random.default_rng(bits)
    q = rng.integers(0, 1 << bits, (7, 64))
    zeros = pack(rng.integers(0, 1 << bits, (7, 2)), bits) if zero else None
    scales = rng.uniform(.01, .1, (7, 2)).astype(np.float32)
    inputs = [pack(q, bits), given(np.array([[1, 6], [0, 3]], np.int64)), scales]
    network = Network("GatherBlockQuantized", inputs + ([zeros] if zero else []), standard=21,
                      bits=bits, block_size=32)
    path = network.save(tmp_path)
    assert_close(run(path, network.feeds, tmp_path), ort_run(path, network.feeds), relative=1e-6)


@pytest.mark.parametrize("network", [
    lambda: packed_attention(do_rotary=1),
    lambda: Network("RotaryEmbedding", [given(X), given(np.array([2], np.int64)), floats(9, 2),
                                        floats(9, 2)], num_heads=HEADS, is_packed_batching=1),
    lambda: group_attention(1, 6, local_window_size=2, sliding_window_cache=1),
    lambda: group_attention(1, 6, rest=[None] * 5 + [floats(16), floats(16)]),
    lambda: cached_codes(1, 6, 1, bits=2),
], ids=["Attention", "RotaryEmbedding", "cache of a window", "norm of keys", "bits of the cache"])
def test_a_form_that_is_not_computed_should_be_refused(network, tmp_path):
    network = network()
    line = ["run", network.save(tmp_path), "--output", tmp_path / "o"]
    for name, array in network.feeds.items():
        np.save(tmp_path / f"{name}.npy", array)
        line += ["--input", f"{name}={tmp_path / name}.npy"]
    done = ldnq(*line)
    assert done.returncode == UNSUPPORTED and "'node'" in done.stderr, done.stderr


def test_what_is_not_computed_should_be_said_to_come_from_the_optimizer(tmp_path):
    network = Network("ReorderOutput", [given(X)], domain="com.microsoft.nchwc", channels=3)
    network.model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    np.save(tmp_path / "x.npy", X)
    done = ldnq("run", network.save(tmp_path), "--input", tmp_path / "x.npy", "--output",
                tmp_path / "o")
    assert done.returncode == UNSUPPORTED
    assert "ReorderOutput" in done.stderr and "model from before" in done.stderr


def test_diff_and_inspect_should_see_the_codes_of_operator_files(tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    rng = np.random.default_rng(1)

    class Reader(CalibrationDataReader):
        feeds = iter([{"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)}] * 3)

        def get_next(self):
            return next(self.feeds, None)

    weights = {"w": floats(8, 3, 3, 3, scale=.2), "v": floats(10, 8, seed=1, scale=.3),
               "b": floats(8, seed=2), "c": floats(10, seed=3), "m": floats(10, 6, scale=.3)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["a"], name="conv", pads=[1, 1, 1, 1]),
             helper.make_node("Add", ["a", "a"], ["d"], name="add"),
             helper.make_node("GlobalAveragePool", ["d"], ["p"], name="pool"),
             helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
             helper.make_node("Gemm", ["f", "v", "c"], ["g"], name="gemm", transB=1),
             helper.make_node("MatMul", ["g", "m"], ["y"], name="matmul")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    source, quantized = tmp_path / "f.onnx", tmp_path / "q.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]),
              source)
    quantize_static(source, quantized, Reader(), quant_format=QuantFormat.QOperator)
    assert any(n.op_type == "QGemm" for n in onnx.load(quantized).graph.node)

    np.save(tmp_path / "x.npy", rng.standard_normal((6, 3, 8, 8)).astype(np.float32))
    found = answer("diff", source, quantized, "--data", tmp_path / "x.npy")
    layers = {layer["node"]: layer for layer in found["layers"]}
    assert set(layers) == {"conv", "gemm", "matmul"}
    for layer in layers.values():
        assert 8 < layer["bits"] < 14
        assert layer["weight_error"]["sqnr_db"] > 35 and layer["accumulated"]["sqnr_db"] > 25
    assert found["paired_layers"] == 3
    counted = [node.op_type for node in onnx.load(quantized).graph.node]
    assert found["b"]["nodes"] == len(counted) and found["a"]["nodes"] == len(nodes)
    assert found["b"]["qdq_nodes"] == sum(kind.endswith("uantizeLinear") for kind in counted)
    assert not [change for change in found["changed"] if "type" in change["text"]]
    listed = answer("inspect", quantized)["layers"]
    assert [layer["type"] for layer in listed] == ["int8"] * 3
    assert {layer["reason"] for layer in listed} == {"its weight is quantized already"}


WITH_WEIGHTS = [name for name in FLOAT if name.startswith(("Attention", "EmbedLayer"))]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_of_an_optimized_file_should_become_codes(name, tmp_path):
    network, quantized = FLOAT[name](), tmp_path / "q.onnx"
    for stored in network.model.graph.initializer:  # large enough to be worth codes
        if name.startswith("Embed") and stored.dims[0] == 8:
            stored.CopyFrom(numpy_helper.from_array(floats(300, HIDDEN), stored.name))
    path = network.save(tmp_path)
    done = ldnq("quantize", path, "-o", quantized, "--calib", "none", "--weights", "int8",
                "--target", "weights")
    assert done.returncode == 0, done.stderr
    left = [t for t in onnx.load(quantized).graph.initializer
            if t.data_type == TensorProto.FLOAT and len(t.dims) == 2 and t.dims[1] > 1]
    assert all(tensor.dims[0] < 10 for tensor in left), left  # positions, segments
    theirs = ort_run(quantized, network.feeds)
    assert_close(run(quantized, network.feeds, tmp_path), theirs, relative=2e-5)
    assert_close(ort_run(path, network.feeds), theirs, relative=.03)


def test_a_weight_of_attention_should_be_fitted_as_a_layer(tmp_path):
    network, quantized = packed_attention(mask=given(MASK)), tmp_path / "q.onnx"
    np.savez(tmp_path / "x.npz", **network.feeds)
    found = answer("quantize", network.save(tmp_path), "-o", quantized, "--calib",
                   tmp_path / "x.npz", "--weights", "int4", "--target", "ort")
    assert [layer["node"] for layer in found["layers"]] == ["node/MatMul#0"]
    assert not found["not_quantized"]
    listed = answer("inspect", quantized)["layers"]
    assert [(layer["node"], layer["type"]) for layer in listed] == [("node/MatMul#0", "int4")]

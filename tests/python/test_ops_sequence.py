# SPDX-License-Identifier: Apache-2.0
"""LSTM, GRU, RNN, Attention and their like, and operators on codes, on random shapes and
attributes give what ONNX Runtime gives."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import node_case  # noqa: E402
from test_ops_random import (  # noqa: E402
    F, I64, Case, draw, floats, list_of, pick, shape, window, with_types)

DRAWS = 60
GENERATORS = {}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


def generator(function):
    GENERATORS[function.__name__] = function
    return function


# ---- recurrent operators


def small(rng, sizes):
    return (floats(rng, sizes) * F(0.4)).astype(F)


def activations(rng, count):
    """Names, and the numbers that each of them takes."""
    names, alphas, betas = [], [], []
    for _ in range(count):
        name = pick(rng, "Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu",
                    "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus")
        names.append(name)
        if name in ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"):
            alphas.append(float(rng.uniform(0.1, 0.9)))
        if name in ("Affine", "ScaledTanh", "HardSigmoid"):
            betas.append(float(rng.uniform(0.1, 0.9)))
    lists = {"activations": names, "activation_alpha": alphas, "activation_beta": betas}
    return {name: values for name, values in lists.items() if values}


def recurrent(rng, op, opset=14):
    direction = pick(rng, "forward", "reverse", "bidirectional")
    d = 2 if direction == "bidirectional" else 1
    steps, batch, inputs, hidden = (int(n) for n in rng.integers(1, 7, 4))
    batch = pick(rng, batch, batch, 37)
    layout = pick(rng, 0, 0, 0, 1)
    x = floats(rng, [batch, steps, inputs] if layout else [steps, batch, inputs])
    state = [batch, d, hidden] if layout else [d, batch, hidden]
    g = GATES[op] * hidden
    arrays = [x, small(rng, [d, g, inputs]), small(rng, [d, g, hidden]),
              small(rng, [d, 2 * g]) if rng.random() < 0.7 else None,
              rng.integers(1, steps + 1, batch).astype(np.int32) if rng.random() < 0.4 else None,
              small(rng, state) if rng.random() < 0.5 else None]
    attributes = {"hidden_size": hidden, "direction": direction}
    if opset >= 14:
        attributes["layout"] = layout
    if rng.random() < 0.3:
        attributes["clip"] = float(rng.uniform(0.3, 1.5))
    if rng.random() < 0.4:
        attributes |= activations(rng, FUNCTIONS[op] * d)
    if op == "LSTM":
        arrays += [small(rng, state) if rng.random() < 0.5 else None,
                   small(rng, [d, 3 * hidden]) if rng.random() < 0.5 else None]
        attributes["input_forget"] = int(rng.random() < 0.2)
    if op == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(0, 2))
    return Case(op, arrays, opset=opset, outputs=3 if op == "LSTM" else 2, **attributes)


@generator
def rnn(rng):
    return recurrent(rng, "RNN")


@generator
def gru(rng):
    return recurrent(rng, "GRU")


@generator
def lstm(rng):
    return recurrent(rng, "LSTM")


@generator
def recurrent_7(rng):
    case = recurrent(rng, pick(rng, "RNN", "GRU", "LSTM"), opset=7)
    return case


# ---- attention


def heads(rng, joined, batch, count, length, size):
    return floats(rng, [batch, length, count * size] if joined else [batch, count, length, size])


@generator
def attention(rng):
    batch, kv, group, q_len, kv_len, size, v_size = (int(n) for n in rng.integers(1, 5, 7))
    causal = int(rng.integers(0, 2))
    # ONNX Runtime shows all keys to a single query, causal or not.
    q_len, kv_len = pick(rng, q_len + causal, 70), pick(rng, kv_len, 90)
    joined = rng.random() < 0.5
    arrays = [heads(rng, joined, batch, kv * group, q_len, size),
              heads(rng, joined, batch, kv, kv_len, size),
              heads(rng, joined, batch, kv, kv_len, v_size)]
    past = int(rng.integers(1, 4)) if rng.random() < 0.4 else 0
    total = past + kv_len
    mask = None
    if rng.random() < 0.5:
        sizes = [[q_len, total], [1, 1, q_len, total], [batch, 1, q_len, total],
                 [batch, kv * group, q_len, total]]
        mask = floats(rng, sizes[rng.integers(4)])
        if rng.random() < 0.4:
            mask = mask > -2
            mask[..., 0] = True
    arrays.append(mask)
    if past:
        arrays += [floats(rng, [batch, kv, past, n]) for n in (size, v_size)]
    attributes = {"is_causal": causal}
    if joined:
        attributes |= {"q_num_heads": kv * group, "kv_num_heads": kv}
    if rng.random() < 0.3:
        attributes["softcap"] = float(rng.uniform(1, 3))
    if rng.random() < 0.3:
        attributes["scale"] = float(rng.uniform(0.1, 1))
    outputs = pick(rng, 3, 4) if past else 1
    if attributes["is_causal"]:
        # ONNX Runtime writes the lowest number where ONNX's reference has -inf.
        outputs = min(outputs, 3)
    if outputs == 4:
        attributes["qk_matmul_output_mode"] = int(rng.integers(0, 4))
    return Case("Attention", arrays, opset=pick(rng, 23, 24), outputs=outputs, **attributes)


@generator
def rotary_embedding(rng):
    batch, length, count, half = (int(n) for n in rng.integers(1, 6, 4))
    joined = rng.random() < 0.5
    size = 2 * half
    x = heads(rng, joined, batch, count, length, size)
    turned = 2 * int(rng.integers(1, half + 1)) if rng.random() < 0.3 else 0
    attributes = {"interleaved": int(rng.integers(0, 2)), "rotary_embedding_dim": turned}
    if joined or turned:
        attributes["num_heads"] = count
    width = (turned or size) // 2
    if rng.random() < 0.5:
        caches = [floats(rng, [9, width]) for _ in range(2)]
        inputs = [x, *caches, rng.integers(0, 9, [batch, length]).astype(I64)]
    else:
        inputs = [x, *(floats(rng, [batch, length, width]) for _ in range(2))]
    return Case("RotaryEmbedding", inputs, opset=23, **attributes)


@generator
def rms_normalization(rng):
    x = floats(rng, shape(rng, least=1, zero=0))
    axis = int(rng.integers(-x.ndim, x.ndim))
    return Case("RMSNormalization", [x, floats(rng, x.shape[axis:])], opset=23, axis=axis,
                epsilon=float(rng.uniform(1e-6, 1e-2)))


# ---- operators on codes


def codes(rng, kind, sizes):
    """ONNX Runtime cuts sums of two products to 16 bits where the weights are signed and
    the processor has no instructions for them; with seven bits none is cut."""
    low, high = (-64, 63) if kind == np.int8 else (0, 255)
    return rng.integers(low, high + 1, sizes).astype(kind)


def zero_point(rng, kind, sizes=()):
    return np.asarray(rng.integers(0, 100, sizes)).astype(kind)


def scales(rng, sizes=()):
    return np.asarray(rng.uniform(0.01, 0.1, sizes), F)


def matrices(rng):
    m, k, n = (int(size) for size in rng.integers(1, 40, 3))
    batch = shape(rng, most=2, zero=0)
    kinds = pick(rng, (np.uint8, np.uint8), (np.uint8, np.int8))
    return (m, k, n), kinds, codes(rng, kinds[0], [*batch, m, k]), codes(rng, kinds[1], [k, n])


@generator
def matmul_integer(rng):
    (_, _, n), kinds, a, b = matrices(rng)
    zeros = [zero_point(rng, kinds[0]), zero_point(rng, kinds[1], pick(rng, (), (n,)))]
    return Case("MatMulInteger", [a, b, *zeros[: rng.integers(0, 3)]], opset=10)


@generator
def qlinear_matmul(rng):
    (_, k, n), kinds, a, b = matrices(rng)
    by = pick(rng, (), (n,))
    y_scale = np.asarray(rng.uniform(0.3, 1) * np.sqrt(k), F)
    return Case("QLinearMatMul", [a, scales(rng), zero_point(rng, kinds[0]), b, scales(rng, by),
                                  zero_point(rng, kinds[1], by), y_scale,
                                  zero_point(rng, kinds[0])], opset=10, constants=[4, 5])


def convolved(rng):
    groups, axes = pick(rng, 1, 1, 2), int(rng.integers(1, 3))
    inputs, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    attributes = window(rng, axes, ceil_mode=False)
    if attributes["auto_pad"] in ("NOTSET", "VALID"):
        attributes["dilations"] = list_of(rng, axes, 1, 3)
    kinds = pick(rng, (np.uint8, np.uint8), (np.uint8, np.int8))
    x = codes(rng, kinds[0], [2, inputs, *list_of(rng, axes, 6, 14)])
    w = codes(rng, kinds[1], [outputs, inputs // groups, *attributes["kernel_shape"]])
    return kinds, x, w, {"group": groups, **attributes}


@generator
def conv_integer(rng):
    kinds, x, w, attributes = convolved(rng)
    zeros = [zero_point(rng, kind) for kind in kinds]
    return Case("ConvInteger", [x, w, *zeros[: rng.integers(0, 3)]], opset=10, **attributes)


@generator
def qlinear_conv(rng):
    kinds, x, w, attributes = convolved(rng)
    by = pick(rng, (), (len(w),))
    # ONNX Runtime wants one zero point of signed weights, and that 0.
    w_zero = np.zeros(by, kinds[1]) if kinds[1] == np.int8 else zero_point(rng, kinds[1])
    y_scale = np.asarray(rng.uniform(0.1, 1), F)
    bias = [rng.integers(-9999, 9999, len(w)).astype(np.int32)] if rng.random() < 0.5 else []
    return Case("QLinearConv", [x, scales(rng), zero_point(rng, kinds[0]), w, scales(rng, by),
                                w_zero, y_scale, zero_point(rng, kinds[0]), *bias], opset=10,
                constants=[3, 4, 5], **attributes)


@generator
def dynamic_quantize(rng):
    x = floats(rng, shape(rng, zero=0)) + F(pick(rng, 0, 5, -5))
    return Case("DynamicQuantizeLinear", [x], opset=11, outputs=3)


# ---- other types


@generator
def integers(rng):
    kind = pick(rng, np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.uint64)
    low = 0 if np.iinfo(kind).min == 0 else -9
    a, b = (rng.integers(low, 10, sizes).astype(kind) for sizes in [shape(rng)] * 2)
    op = pick(rng, "Add", "Sub", "Mul", "Div", "Mod", "Equal", "Greater", "LessOrEqual", "Max",
              "Min")
    if op in ("Div", "Mod"):
        b = np.where(b == 0, 3, b).astype(kind)
    return Case(op, [a, b], opset=19)


@generator
def halves(rng):
    def half(*sizes):
        return floats(rng, sizes).astype(np.float16)

    rows, columns = (int(n) for n in rng.integers(1, 40, 2))
    x = half(rows, columns)
    return pick(rng, Case("MatMul", [x, half(columns, 7)]),
                Case("Gemm", [x, half(5, columns), half(5)], transB=1),
                Case("Conv", [half(2, 3, 9, 8), half(4, 3, 3, 3), half(4)], pads=[1, 1, 1, 1]),
                Case("Add", [x, half(columns)]), Case("Softmax", [x], axis=-1),
                Case("LayerNormalization", [x, half(columns), half(columns)]),
                Case("ReduceMean", [x], axes=[1]), Case("Sigmoid", [x]), Case("Tanh", [x]),
                Case("Clip", [x, np.float16(-1), np.float16(0.5)]), Case("Transpose", [x]),
                Case("BatchNormalization", [x, half(columns), half(columns), half(columns),
                                            np.abs(half(columns)) + np.float16(1)]))


# ---- the test


def draw_finite(rng, generate):
    """Activations without bounds may grow past what a float holds."""
    while True:
        case, outputs = draw(rng, generate)
        if all(np.abs(output.astype(float)).max(initial=0) < 1e7 for output in outputs):
            return case, outputs


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_random_sequences_should_give_what_onnx_runtime_gives(tmp_path, name):
    rng = np.random.default_rng(sorted(GENERATORS).index(name))
    dirs = []
    for i in range(DRAWS):
        case, outputs = draw_finite(rng, GENERATORS[name])
        model = with_types(case.model(), outputs)
        folder = tmp_path / f"{name}_{i}"
        dirs.append(node_case.write(folder, model, case.fed().values(), outputs))
    results = node_case.run(dirs, relative=5e-5)
    wrong = {case: told for case, told in results.items() if told[0] != "pass"}
    assert not wrong

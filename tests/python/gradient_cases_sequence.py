# SPDX-License-Identifier: Apache-2.0
"""LSTM, GRU, RNN, Attention, RotaryEmbedding, RMSNormalization."""

import numpy as np

from gradients import Case, node, normal, with_opsets

# ---- recurrent operators, as ONNX writes them down, in double

FUNCTIONS = {
    "Tanh": lambda x, a, b: np.tanh(x),
    "Sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "ThresholdedRelu": lambda x, a, b: np.where(x > a, x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "Elu": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(x)),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Softplus": lambda x, a, b: np.logaddexp(x, 0),
}
ALPHA = {"Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"}
BETA = {"Affine", "ScaledTanh", "HardSigmoid"}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def functions_of(op, directions, attributes):
    alphas = iter(attributes.get("activation_alpha", []))
    betas = iter(attributes.get("activation_beta", []))
    clip = attributes.get("clip", np.inf)

    def bind(name):
        alpha = next(alphas) if name in ALPHA else 0
        beta = next(betas) if name in BETA else 0
        return lambda x, cut=clip: FUNCTIONS[name](np.clip(x, -cut, cut), alpha, beta)

    return [bind(name) for name in attributes.get("activations", DEFAULTS[op] * directions)]


def gru_step(x, h, w, r, wb, rb, f, attributes):
    n = h.shape[1]
    z = f[0](x @ w[:n].T + h @ r[:n].T + wb[:n] + rb[:n])
    reset = f[0](x @ w[n:2 * n].T + h @ r[n:2 * n].T + wb[n:2 * n] + rb[n:2 * n])
    if attributes.get("linear_before_reset"):
        part = reset * (h @ r[2 * n:].T + rb[2 * n:])
    else:
        part = (reset * h) @ r[2 * n:].T + rb[2 * n:]
    return (1 - z) * f[1](x @ w[2 * n:].T + wb[2 * n:] + part) + z * h


def lstm_step(x, h, c, w, r, b, p, f, attributes):
    i, o, forget, cell = np.split(x @ w.T + h @ r.T + b, 4, axis=1)
    pi, po, pf = np.split(p, 3)
    i = f[0](i + pi * c)
    forget = 1 - i if attributes.get("input_forget") else f[0](forget + pf * c)
    c = forget * c + i * f[1](cell)
    return f[0](o + po * c) * f[2](c, cut=np.inf), c


def recurrent(op, **attributes):
    """{name: array} -> outputs, for the names x w r b lens h c p."""
    def run(feeds):
        x, w, r = feeds["x"], feeds["w"], feeds["r"]
        if attributes.get("layout"):
            x = x.swapaxes(0, 1)
        (steps, batch, _), (d, _, n) = x.shape, r.shape
        g = GATES[op] * n
        b = feeds.get("b", np.zeros((d, 2 * g)))
        lens = feeds.get("lens", np.full(batch, steps))
        states = [feeds.get(k, np.zeros((batch, d, n) if attributes.get("layout")
                                        else (d, batch, n))) for k in "hc"]
        if attributes.get("layout"):
            states = [s.swapaxes(0, 1) for s in states]
        p = feeds.get("p", np.zeros((d, 3 * n)))
        functions = functions_of(op, d, attributes)
        y, hs, cs = np.zeros((steps, d, batch, n)), [], []
        for k in range(d):
            f = functions[k * len(DEFAULTS[op]):]
            h, c = states[0][k], states[1][k]
            backward = k == 1 or attributes.get("direction") == "reverse"
            for t in reversed(range(steps)) if backward else range(steps):
                seen = (t < lens)[:, None]
                if op == "LSTM":
                    new, cell = lstm_step(x[t], h, c, w[k], r[k], b[k, :g] + b[k, g:], p[k], f,
                                          attributes)
                    c = np.where(seen, cell, c)
                elif op == "GRU":
                    new = gru_step(x[t], h, w[k], r[k], b[k, :g], b[k, g:], f, attributes)
                else:
                    new = f[0](x[t] @ w[k].T + h @ r[k].T + b[k, :g] + b[k, g:])
                y[t, k] = np.where(seen, new, 0)
                h = np.where(seen, new, h)
            hs.append(h)
            cs.append(c)
        outputs = [y, np.stack(hs)] + ([np.stack(cs)] if op == "LSTM" else [])
        if attributes.get("layout"):
            return [y.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in outputs[1:])]
        return outputs

    return run


def recurrent_case(name, op, steps=4, batch=3, inputs=3, hidden=2, has="bh", lens=None, **more):
    d = 2 if more.get("direction") == "bidirectional" else 1
    g, layout = GATES[op] * hidden, more.get("layout", 0)
    state = (batch, d, hidden) if layout else (d, batch, hidden)
    arrays = {"x": normal(*((batch, steps) if layout else (steps, batch)), inputs, seed=1),
              "w": normal(d, g, inputs, seed=2, spread=0.6),
              "r": normal(d, g, hidden, seed=3, spread=0.6)}
    if "b" in has:
        arrays["b"] = normal(d, 2 * g, seed=4, spread=0.4)
    if lens:
        arrays["lens"] = np.array(lens, np.int32)
    if "h" in has:
        arrays["h"] = normal(*state, seed=5)
    if op == "LSTM" and "c" in has:
        arrays["c"] = normal(*state, seed=6)
    if op == "LSTM" and "p" in has:
        arrays["p"] = normal(d, 3 * hidden, seed=7, spread=0.5)
    order = ["x", "w", "r", "b", "lens", "h", "c", "p"][:8 if op == "LSTM" else 6]
    names = " ".join(k if k in arrays else "_" for k in order)
    outputs = "y yh yc" if op == "LSTM" else "y yh"
    return Case(f"{op} {name}", node(op, names, outputs, hidden_size=hidden, **more), arrays,
                reference=recurrent(op, **more))


def named(functions):
    alphas = [0.3 + 0.1 * i for i, name in enumerate(functions) if name in ALPHA]
    betas = [0.9 - 0.2 * i for i, name in enumerate(functions) if name in BETA]
    lists = {"activations": functions, "activation_alpha": alphas, "activation_beta": betas}
    return {name: values for name, values in lists.items() if values}


def recurrent_cases(op):
    many = 3 if op == "LSTM" else len(DEFAULTS[op])
    smooth = ["Softsign", "ScaledTanh", "Softplus"][:many]
    bent = ["Elu", "LeakyRelu", "HardSigmoid"][:many]
    cut = ["Relu", "Affine", "ThresholdedRelu"][:many]
    yield recurrent_case("plain", op, has="")
    yield recurrent_case("all inputs", op, has="bhcp")
    yield recurrent_case("reverse", op, has="bhcp", direction="reverse")
    yield recurrent_case("both ways", op, has="bhcp", direction="bidirectional")
    yield recurrent_case("lengths", op, has="bhcp", lens=[2, 4, 1], direction="bidirectional")
    yield recurrent_case("batch first", op, has="bhcp", layout=1, lens=[2, 4, 1],
                         direction="bidirectional")
    yield recurrent_case("clip", op, has="bhcp", clip=0.5)
    yield recurrent_case("many rows", op, has="bhcp", batch=19, steps=2)
    yield recurrent_case("wide", op, has="bhcp", hidden=40, inputs=5, batch=2)
    yield recurrent_case("one step", op, has="bhcp", steps=1, batch=1)
    yield recurrent_case("smooth functions", op, has="bhcp", **named(smooth))
    yield recurrent_case("bent functions", op, has="bhcp", **named(bent))
    yield recurrent_case("cut functions", op, has="bhcp", **named(cut))


# ---- torch's layers as the reference: other code, another order of gates


def torch_case(op, layers_name, order, **more):
    hidden, inputs = 5, 3
    made = recurrent_case("as torch has it", op, steps=6, batch=2, inputs=inputs, hidden=hidden,
                          has="bhc", direction="bidirectional", **more)

    def gates(array):
        return np.concatenate([np.split(array, GATES[op])[i] for i in order])

    def run(feeds):
        import torch
        layer = getattr(torch.nn, layers_name)(inputs, hidden, bidirectional=True).double()
        both = np.split(feeds["b"], 2, axis=1)
        with torch.no_grad():
            for k, end in enumerate(("", "_reverse")):
                for name, array in (("weight_ih", feeds["w"][k]), ("weight_hh", feeds["r"][k]),
                                    ("bias_ih", both[0][k]), ("bias_hh", both[1][k])):
                    getattr(layer, f"{name}_l0{end}").copy_(torch.from_numpy(gates(array)))
            state = torch.from_numpy(feeds["h"])
            if op == "LSTM":
                state = (state, torch.from_numpy(feeds["c"]))
            y, states = layer(torch.from_numpy(feeds["x"]), state)
        y = y.numpy().reshape(*y.shape[:2], 2, hidden).transpose(0, 2, 1, 3)
        return [y, *(s.numpy() for s in (states if op == "LSTM" else [states]))]

    made.reference = run
    return made


# ---- attention


def attention(names="q k v", outputs="y", spread=1.0, **more):
    """q_heads 4 and kv_heads 2 as axes, lengths 3 and 5 (after a past of 2: 7)."""
    arrays = {"q": normal(2, 4, 3, 4, seed=1, spread=spread), "k": normal(2, 2, 5, 4, seed=2),
              "v": normal(2, 2, 5, 3, seed=3), "pk": normal(2, 2, 2, 4, seed=4),
              "pv": normal(2, 2, 2, 3, seed=5)}
    total = 7 if "pk" in names.split() else 5
    arrays |= {"m": normal(3, total, seed=6), "m3": normal(4, 1, total, seed=7),
               "m4": normal(2, 1, 3, total, seed=8),
               "ms": normal(2, 4, 3, total - 1, seed=9),
               "mb": normal(2, 1, 3, total, seed=10) > -0.5}
    arrays["mb"][..., 0] = True
    arrays["lens"] = np.array([3, 5], np.int64)
    given = {k: arrays[k] for k in names.split() if k != "_"}
    opset = 24 if "lens" in given else 23
    return Case(f"Attention {names} to {outputs} {more}", node("Attention", names, outputs, **more),
                given, opset=opset)


def joined(**more):
    """Heads side by side in a row."""
    arrays = {"q": normal(2, 70, 4 * 3, seed=1), "k": normal(2, 9, 2 * 3, seed=2),
              "v": normal(2, 9, 2 * 2, seed=3)}
    return Case(f"Attention of joined heads {more}",
                node("Attention", "q k v", q_num_heads=4, kv_num_heads=2, **more), arrays,
                opset=23)


ATTENTION = [
    attention(),
    attention(is_causal=1),
    attention(scale=0.3),
    attention(softcap=1.5, spread=2.0),
    attention("q k v m"),
    attention("q k v m3"),
    attention("q k v m4", is_causal=1),
    attention("q k v ms"),
    attention("q k v mb"),
    attention("q k v mb", softcap=2.0),
    attention("q k v _ pk pv", "y pk2 pv2"),
    attention("q k v m4 pk pv", "y pk2 pv2 s", is_causal=0, softcap=2.0, qk_matmul_output_mode=1),
    attention("q k v _ pk pv", is_causal=1),
    attention("q k v m4 _ _ lens"),
    *(attention("q k v m", "y _ _ s", qk_matmul_output_mode=mode) for mode in range(4)),
    joined(),
    joined(is_causal=1, softcap=2.0),
]


# ---- rotary embedding and RMS normalization


def rms(axis, epsilon=1e-5):
    def run(feeds):
        x = feeds["x"]
        axes = tuple(range(axis % x.ndim, x.ndim))
        return [x / np.sqrt((x * x).mean(axes, keepdims=True) + epsilon) * feeds["scale"]]

    return run


def rms_case(x, scale, axis):
    return Case(f"RMSNormalization {x} by {scale} from {axis}",
                node("RMSNormalization", "x scale", axis=axis),
                {"x": normal(*x), "scale": normal(*scale, seed=1, centre=1)}, opset=23,
                reference=rms(axis))


def rotary(x, cache, ids=None, **more):
    arrays = {"x": normal(*x), "cos": normal(*cache, seed=1), "sin": normal(*cache, seed=2)}
    if ids is not None:
        arrays["ids"] = np.array(ids, np.int64)
    return Case(f"RotaryEmbedding {x} by {cache} {more}",
                node("RotaryEmbedding", " ".join(arrays), **more), arrays, requested=["x"], opset=23)


CASES = [
    *recurrent_cases("RNN"), *recurrent_cases("GRU"), *recurrent_cases("LSTM"),
    recurrent_case("linear before reset", "GRU", linear_before_reset=1),
    recurrent_case("linear before reset without bias", "GRU", has="h", linear_before_reset=1),
    recurrent_case("linear before reset, lengths", "GRU", lens=[1, 4, 3], clip=0.6,
                   linear_before_reset=1, direction="bidirectional"),
    recurrent_case("coupled gates", "LSTM", has="bhcp", input_forget=1),
    *with_opsets(recurrent_case("old", "LSTM", has="bhc"), 7, 14),
    torch_case("RNN", "RNN", [0]),
    torch_case("GRU", "GRU", [1, 0, 2], linear_before_reset=1),
    torch_case("LSTM", "LSTM", [0, 2, 3, 1]),
    *ATTENTION,
    rms_case((3, 5), (5,), -1), rms_case((3, 4, 5), (4, 5), 1), rms_case((3, 4, 5), (5,), 1),
    rms_case((3, 4, 5), (4, 1), -2), rms_case((3, 5), (1,), -1), rms_case((40, 300), (300,), -1),
    rms_case((2, 3, 4), (2, 3, 4), 0),
    rotary((2, 3, 4, 6), (2, 4, 3)), rotary((2, 3, 4, 6), (2, 4, 3), interleaved=1),
    rotary((2, 3, 4, 6), (5, 2), [[0, 4, 2, 1], [3, 3, 0, 1]], rotary_embedding_dim=4, num_heads=3),
    rotary((2, 4, 18), (2, 4, 3), num_heads=3),
]

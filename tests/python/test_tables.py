# SPDX-License-Identifier: Apache-2.0
"""Tables that ids look rows up in: stored as codes, of which only the rows that were looked up are
dequantized.

The forms are those of src/emit/emit_table.h; nothing here reads the program's own view of them,
but for inspect and diff.
"""

import warnings

import numpy as np
import onnx
import pytest
import support
import torch
from onnx import TensorProto, helper, numpy_helper
from support import model, save, weights

ROWS, WIDTH, LENGTH = 300, 64, 80
GPTQ = ("--solver", "gptq")


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), output.split(), **attributes)


def ids_model(nodes, initializers, shape=("n", 6), out=("n", 6, 5), dtype=TensorProto.INT64, **more):
    proto = model(nodes, {}, {"y": list(out)}, initializers, **more)
    proto.graph.input.append(support.info("ids", list(shape), dtype))
    return proto


def looked_up(rows=ROWS, width=WIDTH, head=None, **more):
    """A table, something between, and a head: of its own, or reading the table again."""
    table = weights(rows, width)
    table[0] = 0  # padding
    nodes = [node("Gather", "table ids", "e", name="embed"), node("Tanh", "e", "t"),
             *(head or [node("MatMul", "t w", "y", name="head")])]
    values = {"table": table} | ({} if head else {"w": weights(width, 5, seed=2)})
    return ids_model(nodes, values, out=("n", 6, rows if head else 5), **more)


TIED = {
    "transpose": [node("Transpose", "table", "turned", perm=[1, 0]),
                  node("MatMul", "t turned", "y", name="head")],
    "gemm": [node("Reshape", "t flat", "f"), node("Gemm", "f table", "g", name="head", transB=1),
             node("Reshape", "g whole", "y")],
}


def tied(kind, rows=ROWS, width=WIDTH):
    proto = looked_up(rows, width, head=TIED[kind])
    if kind == "gemm":
        proto.graph.initializer.extend([
            support.tensor("flat", np.array([-1, width])),
            support.tensor("whole", np.array([-1, 6, rows]))])
    return proto


@pytest.fixture
def calib(tmp_path):
    ids = np.random.default_rng(0).integers(1, ROWS, (24, 6))
    ids[:, -1] = 0
    np.savez(tmp_path / "ids.npz", ids=ids)
    return tmp_path / "ids.npz"


def feeds(calib):
    return {"ids": np.load(calib)["ids"]}


def quantize(source, out, calib, codebook, target="weights", *options):
    said = support.answer("quantize", source, "-o", out, "--calib", calib, "--weights", codebook,
                          "--target", target, *options)
    support.check(out)
    return said


def initializers(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def table_codes(path, rows=ROWS):
    """Initializers with an integer for each row that some Gather reads."""
    graph = onnx.load(path).graph
    read = {n.input[0] for n in graph.node if n.op_type == "Gather"}
    return {name: array for name, array in initializers(path).items()
            if name in read and array.dtype in (np.int8, np.uint8) and array.shape[0] == rows}


def dequantized(path, suffix="", rows=ROWS):
    """The table, computed here from the file's tensors."""
    arrays = initializers(path)
    (name, codes), = table_codes(path, rows).items()
    scales = arrays[name.replace("_quantized", "_scale")]
    if codes.dtype == np.uint8:
        codes = np.concatenate([codes & 15, codes >> 4], axis=-1).astype(np.int32) - 8
    return (codes * scales).reshape(rows, -1).astype(np.float32)


def assert_runs_alike(path, calib, tmp_path, activations=False):
    """In ONNX Runtime with and without optimization, and in `ldnq run`."""
    plain = support.ort_run(path, feeds(calib), optimized=False)
    support.assert_close(support.run(path, feeds(calib), tmp_path), plain)
    if not activations:
        support.assert_close(support.ort_run(path, feeds(calib)), plain)
    return plain


# ---- lookups in another form


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize("unsqueezed", [True, False])
def test_lookup_by_tuples_of_one_index_should_become_a_gather(opset, unsqueezed, tmp_path, calib):
    """As torch's newer exporter writes table[ids]."""
    axes = {"axes": [-1]} if opset < 13 else {}
    tuples = node("Unsqueeze", "ids" if axes else "ids last", "tuples", **axes)
    nodes = [*([tuples] if unsqueezed else []),
             node("GatherND", "table tuples" if unsqueezed else "table ids", "e", name="embed"),
             node("MatMul", "e w", "y", name="head")]
    values = {"table": weights(ROWS, WIDTH), "w": weights(WIDTH, 5, seed=2)}
    if unsqueezed and not axes:
        values["last"] = np.array([-1])
    shape = ("n", 6) if unsqueezed else ("n", 6, 1)
    source = save(ids_model(nodes, values, shape=shape, opset=opset), tmp_path / "m.onnx")
    if not unsqueezed:
        np.savez(calib, ids=np.load(calib)["ids"][..., None])
    assert [layer["quantizable"] for layer in support.answer("inspect", source)["layers"]] == [
        True, True]
    out = tmp_path / "q.onnx"
    said = quantize(source, out, calib, "int8", "weights", *GPTQ)
    assert [layer["node"] for layer in said["layers"]] == ["embed", "head"]
    table = dequantized(out)
    exact = support.ort_run(source, feeds(calib))["y"]
    found = assert_runs_alike(out, calib, tmp_path)["y"]
    assert np.abs(table - values["table"]).max() < 0.01
    assert np.abs(found - exact).max() < 0.02 * np.abs(exact).max()
    pairs = support.answer("diff", source, out, "--data", calib)["layers"]
    assert [pair["node"] for pair in pairs] == ["embed", "head"]


# Axes of the table, and the one that ids look up along: positions of shape (1, places, width), and a
# table that an output layer also reads, as MatMul wants it.
AXES = {"last": ((WIDTH, ROWS), 1), "second of three": ((1, ROWS, WIDTH), 1),
        "between": ((4, ROWS, 16), 1), "first of three": ((ROWS, 4, 16), 0)}


def ids_along(shape, axis, tail=()):
    out = [*shape[:axis], "n", 6, *shape[axis + 1:]]
    nodes = [node("Gather", "table ids", "e", name="embed", axis=axis), node("Tanh", "e", "t"),
             *(tail or [node("Identity", "t", "y")])]
    return ids_model(nodes, {"table": weights(*shape)}, out=("n", 6, ROWS) if tail else out)


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("codebook", ["int8", "int4"])
def test_lookup_along_any_axis_should_read_codes(kind, codebook, tmp_path, calib):
    shape, axis = AXES[kind]
    source, out = save(ids_along(shape, axis), tmp_path / "m.onnx"), tmp_path / "q.onnx"
    said = quantize(source, out, calib, codebook, "weights", *GPTQ)
    assert not said["not_quantized"]
    arrays = initializers(out)
    codes, scales = arrays["table_quantized"], arrays["table_scale"]
    assert codes.nbytes == np.prod(shape) // (1 if codebook == "int8" else 2)
    assert scales.shape == tuple(n if i == axis else 1 for i, n in enumerate(shape))
    if codebook == "int4":
        packed = 0 if axis == len(shape) - 1 else -1
        codes = np.concatenate([codes & 15, codes >> 4], packed).astype(np.int32) - 8
    found = assert_runs_alike(out, calib, tmp_path)["y"]
    looked = np.take(codes * scales, feeds(calib)["ids"], axis)
    assert np.abs(found - np.tanh(looked)).max() < 1e-5
    pair, = support.answer("diff", source, out)["layers"]
    error = np.sum((codes * scales - weights(*shape))**2) / np.sum(weights(*shape)**2)
    assert pair["weight_error"]["sqnr_db"] == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert [layer["type"] for layer in support.answer("inspect", out)["layers"]] == [codebook]


def test_columns_of_an_output_layer_should_be_looked_up_as_codes(tmp_path, calib):
    tail = [node("Transpose", "t", "turned", perm=[1, 2, 0]),
            node("MatMul", "turned table", "y", name="head")]
    source = save(ids_along((WIDTH, ROWS), 1, tail), tmp_path / "m.onnx")
    out = tmp_path / "q.onnx"
    said = quantize(source, out, calib, "int8", "weights", *GPTQ)
    assert [layer["node"] for layer in said["layers"]] == ["embed", "head"]
    assert said["tied"] == [{"node": "head", "table": "embed",
                             "reason": "its lookup reads another axis"}]
    assert not any(a.dtype == np.float32 and a.size > ROWS for a in initializers(out).values())
    assert_runs_alike(out, calib, tmp_path)


def test_table_of_places_of_a_fixed_length_should_be_quantized(tmp_path, calib):
    """Its rows are known before, but the file has all of it."""
    proto = looked_up()
    proto.graph.node.insert(1, node("Gather", "places six", "p", name="place"))
    proto.graph.node.insert(2, node("Add", "e p", "s"))
    proto.graph.node[3].input[0] = "s"
    proto.graph.initializer.extend([support.tensor("places", weights(LENGTH, WIDTH, seed=4)),
                                    support.tensor("six", np.arange(6)[None])])
    source, out = save(proto, tmp_path / "m.onnx"), tmp_path / "q.onnx"
    said = quantize(source, out, calib, "int8", "weights", *GPTQ)
    assert sorted(layer["node"] for layer in said["layers"]) == ["embed", "head", "place"]
    assert "places" not in initializers(out)
    exact = support.ort_run(source, feeds(calib))["y"]
    assert np.abs(assert_runs_alike(out, calib, tmp_path)["y"] - exact).max() < 0.03


def test_lookup_by_tuples_of_two_indices_should_stay(tmp_path):
    nodes = [node("GatherND", "table ids", "e"), node("Unsqueeze", "e last", "x"),
             node("MatMul", "x w", "y", name="head")]
    values = {"table": weights(30, 20), "last": np.array([-1]), "w": weights(1, 5, seed=2)}
    source = save(ids_model(nodes, values, shape=("n", 6, 2), opset=17), tmp_path / "m.onnx")
    np.savez(tmp_path / "ids.npz", ids=np.random.default_rng(0).integers(0, 20, (8, 6, 2)))
    out = tmp_path / "q.onnx"
    assert [layer["node"] for layer in quantize(source, out, tmp_path / "ids.npz", "int8")["layers"]
            ] == ["head"]
    assert "GatherND" in [each.op_type for each in onnx.load(out).graph.node]


# ---- the form


@pytest.mark.parametrize("codebook, most", [("int8", 1.1), ("int4", 0.6)])
def test_a_table_should_be_stored_as_codes_by_row(codebook, most, tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "q.onnx", calib, codebook, "weights", *GPTQ)
    assert [(layer["node"], layer["solver"]) for layer in said["layers"]] == [
        ("embed", "mse"), ("head", "gptq")]
    assert said["not_quantized"] == [] and said["tied"] == []
    float_table = initializers(source)["table"]
    table = dequantized(tmp_path / "q.onnx")
    error = np.sum((table - float_table) ** 2) / np.sum(float_table ** 2)
    assert error == pytest.approx(said["layers"][0]["error"], rel=1e-3)
    assert error < (1e-4 if codebook == "int8" else 0.02)
    assert not table[0].any()  # the padding stays exactly zero
    stored = sum(array.nbytes for array in table_codes(tmp_path / "q.onnx").values())
    assert stored <= most * ROWS * WIDTH
    assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path)
    rows = support.ort_run(tmp_path / "q.onnx", feeds(calib))
    want = np.tanh(table[feeds(calib)["ids"]]) @ support.quantized_weights(tmp_path / "q.onnx")[
        0].weight.T
    support.assert_close(rows, {"y": want.astype(np.float32)}, 1e-4)


def test_no_node_should_read_a_whole_table(tmp_path, calib):
    """It would take longer than all else."""
    source = save(looked_up(), tmp_path / "m.onnx")
    for codebook in ("int8", "int4"):
        quantize(source, tmp_path / "q.onnx", calib, codebook, "weights", *GPTQ)
        (name, _), = table_codes(tmp_path / "q.onnx").items()
        graph = onnx.load(tmp_path / "q.onnx").graph
        assert [n.op_type for n in graph.node if name in n.input] == ["Gather"]


def test_blocks_should_have_scales_of_their_own(tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "b.onnx", calib, "int4", "weights", *GPTQ,
                    "--granularity", "block", "--block-size", 16)
    assert said["layers"][0]["block_size"] == 16
    (_, codes), = table_codes(tmp_path / "b.onnx").items()
    assert codes.shape == (ROWS, WIDTH // 16, 8)
    plain = quantize(source, tmp_path / "r.onnx", calib, "int4", "weights", *GPTQ)
    assert said["layers"][0]["error"] < 0.8 * plain["layers"][0]["error"]
    assert_runs_alike(tmp_path / "b.onnx", calib, tmp_path)
    float_table = initializers(source)["table"]
    error = np.sum((dequantized(tmp_path / "b.onnx") - float_table) ** 2)
    assert error / np.sum(float_table ** 2) == pytest.approx(said["layers"][0]["error"], rel=1e-3)
    # With 8 bits, and where blocks do not divide a row, each row has one scale.
    said = quantize(source, tmp_path / "b.onnx", calib, "int8", "weights", "--granularity", "block")
    assert said["layers"][0]["block_size"] == 0
    source = save(looked_up(width=72), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "b.onnx", calib, "int4", "weights", *GPTQ,
                    "--granularity", "block", "--block-size", 16)
    assert said["layers"][0]["block_size"] == 0


def test_rows_of_odd_width_should_have_a_byte_per_code(tmp_path, calib):
    source = save(looked_up(width=65), tmp_path / "m.onnx")
    quantize(source, tmp_path / "q.onnx", calib, "int4", "weights", *GPTQ)
    (_, codes), = table_codes(tmp_path / "q.onnx").items()
    assert codes.dtype == np.int8 and abs(codes).max() <= 8
    assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path)


@pytest.mark.parametrize("shape", [(), (5,), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.INT32])
def test_ids_of_any_shape_should_be_looked_up(shape, dtype, tmp_path):
    nodes = [node("Gather", "table ids", "e", name="embed"), node("MatMul", "e w", "y")]
    proto = ids_model(nodes, {"table": weights(ROWS, WIDTH), "w": weights(WIDTH, 8)}, shape,
                      (*shape, 8), dtype, opset=11)
    source = save(proto, tmp_path / "m.onnx")
    kind = np.int64 if dtype == TensorProto.INT64 else np.int32
    ids = np.random.default_rng(0).integers(-ROWS, ROWS, (4, *shape)).astype(kind)
    (tmp_path / "data").mkdir()
    for i, sample in enumerate(ids):
        folder = tmp_path / "data" / f"test_data_set_{i}"
        folder.mkdir()
        (folder / "input_0.pb").write_bytes(
            support.tensor("ids", sample.reshape(shape)).SerializeToString())
    for codebook, more in (("int8", ()), ("int4", ("--granularity", "block"))):
        quantize(source, tmp_path / "q.onnx", tmp_path / "data", codebook, "weights", *GPTQ, *more)
        at = {"ids": np.asarray(ids[0]).reshape(shape)}
        plain = support.ort_run(tmp_path / "q.onnx", at, optimized=False)
        support.assert_close(support.run(tmp_path / "q.onnx", at, tmp_path), plain)
        float_output = support.ort_run(source, at)["y"]
        error = np.linalg.norm(plain["y"] - float_output) / np.linalg.norm(float_output)
        assert error < (0.02 if codebook == "int8" else 0.3)


# ---- which codebook, and what stays


def test_layers_should_be_chosen_by_name(tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")

    def made(*options, codebook="int4"):
        said = quantize(source, tmp_path / "q.onnx", calib, codebook, "weights", *GPTQ, *options)
        return {layer["node"]: layer["weights"] for layer in said["layers"]}

    assert made("--layer", "embed=int8") == {"embed": "int8", "head": "int4"}
    assert made("--layer", "embed=float") == {"head": "int4"}
    assert "table" in initializers(tmp_path / "q.onnx")
    assert made("--skip", "embed") == {"head": "int4"}
    assert made("--only", "embed") == {"embed": "int4"}
    # A table has at least 4 bits per code in the file, and uses them unless it is named.
    assert made(codebook="ternary") == {"embed": "int4", "head": "ternary"}
    assert made("--layer", "embed=ternary", codebook="ternary") == {"embed": "ternary",
                                                                   "head": "ternary"}
    assert set(np.unique(table_codes(tmp_path / "q.onnx").popitem()[1] & 15)) == {7, 8, 9}


def test_a_table_that_stays_should_be_named_with_the_reason(tmp_path, calib):
    wide = looked_up(rows=400, width=4)
    for proto, reason in ((looked_up(rows=30), "fewer than 4096 elements"),
                          (wide, "fewer than 8 elements")):
        source = save(proto, tmp_path / "m.onnx")
        np.savez(calib, ids=feeds(calib)["ids"] % 30)
        said = quantize(source, tmp_path / "q.onnx", calib, "int8")
        assert [kept["node"] for kept in said["not_quantized"]] == ["embed"]
        assert reason in said["not_quantized"][0]["reason"]
        seen = {layer["node"]: layer for layer in support.answer("inspect", source)["layers"]}
        assert seen["embed"]["reason"] == said["not_quantized"][0]["reason"]


def test_gathers_of_one_table_should_read_the_same_codes(tmp_path, calib):
    nodes = [node("Gather", "table ids", "a", name="first"), node("Neg", "ids", "back"),
             node("Gather", "table back", "b", name="second"), node("Sub", "a b", "s"),
             node("MatMul", "s w", "y", name="head")]
    values = {"table": weights(ROWS, WIDTH), "w": weights(WIDTH, 5)}
    source = save(ids_model(nodes, values), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "q.onnx", calib, "int8")
    assert [layer["solver"] for layer in said["layers"]][:2] == ["mse", "shared"]
    assert said["tied"] == [{"node": "second", "table": "first", "reason": None}]
    (name, _), = table_codes(tmp_path / "q.onnx").items()
    graph = onnx.load(tmp_path / "q.onnx").graph
    assert [n.op_type for n in graph.node if name in n.input] == ["Gather"] * 2
    assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path)
    layers = support.answer("diff", source, tmp_path / "q.onnx", "--data", calib)["layers"]
    assert all(layer["other"] for layer in layers)


# ---- tied to an output layer


@pytest.mark.parametrize("kind", TIED)
def test_a_tied_table_should_be_stored_once_in_8_bits(kind, tmp_path, calib):
    source = save(tied(kind), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "q.onnx", calib, "int8")
    assert said["tied"] == [{"node": "head", "table": "embed", "reason": None}]
    (_, codes), = table_codes(tmp_path / "q.onnx").items()
    arrays = initializers(tmp_path / "q.onnx")
    assert sum(array.size == codes.size for array in arrays.values()) == 1
    assert said["bytes_after"] < 0.35 * said["bytes_before"]
    assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path)
    printed = support.succeed("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib,
                              "--weights", "int8", "--target", "weights").stdout
    assert "stored once: the table of 'embed' and 'head'" in printed


def test_codes_should_not_be_stored_besides_a_table_that_stays(tmp_path, calib):
    other = looked_up()
    other.graph.node.extend([node("Transpose", "table", "turned"),
                             node("ReduceSum", "turned", "sums", name="sums")])
    other.graph.output.append(support.info("sums", [1, 1]))
    shown = looked_up()
    shown.graph.output.append(support.info("table", [ROWS, WIDTH]))
    masks = looked_up()
    table = numpy_helper.to_array(masks.graph.initializer[0]).copy()
    table[3, 3] = -np.inf
    masks.graph.initializer[0].CopyFrom(support.tensor("table", table))
    for proto, reason in ((other, "another reader of its table"),
                          (shown, "another reader of its table"), (masks, "not finite")):
        source = save(proto, tmp_path / "m.onnx")
        np.savez(calib, ids=feeds(calib)["ids"] % 3)
        said = quantize(source, tmp_path / "q.onnx", calib, "int8")
        assert reason in {kept["node"]: kept["reason"] for kept in said["not_quantized"]}["embed"]
        assert said["bytes_after"] < said["bytes_before"] + 1024
    # The output layer alone: the summary says what it costs.
    source = save(tied("transpose"), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "q.onnx", calib, "int8", "weights", "--skip", "embed")
    assert [(t["node"], t["table"]) for t in said["tied"]] == [("head", "embed")]
    assert "skip" in said["tied"][0]["reason"]
    said = quantize(save(tied("transpose"), tmp_path / "m.onnx"), tmp_path / "q.onnx", calib,
                    "int8", "weights", "--layer", "head=int4", *GPTQ)
    assert "different codebooks" in said["tied"][0]["reason"]


@pytest.mark.parametrize("kind", TIED)
@pytest.mark.parametrize("codebook, target, why", [
    ("int4", "weights", "packed bytes"), ("int8", "ort", "weight of its own"),
    ("int4", "ort", "packed bytes"), ("int8", "openvino", "weight of its own"),
    ("ternary", "weights", "different codebooks")])
def test_a_tied_table_that_is_stored_twice_should_be_named(kind, codebook, target, why, tmp_path,
                                                           calib):
    source = save(tied(kind), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "q.onnx", calib, codebook, target, *GPTQ)
    (only,) = said["tied"]
    assert only["table"] == "embed" and why in only["reason"]
    assert said["bytes_after"] < 0.7 * said["bytes_before"]
    assert all(array.size < ROWS * WIDTH for array in initializers(tmp_path / "q.onnx").values()
               if array.dtype == np.float32)
    assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path, activations=target != "weights")


def test_a_small_tied_table_should_not_grow(tmp_path, calib):
    """Its codes would be stored besides it."""
    source = save(tied("transpose", rows=40, width=24), tmp_path / "m.onnx")
    np.savez(calib, ids=feeds(calib)["ids"] % 40)
    for codebook in ("int8", "int4", "ternary"):
        for target in ("weights", "ort", "openvino"):
            said = quantize(source, tmp_path / "q.onnx", calib, codebook, target, *GPTQ)
            assert len(said["layers"]) == 2
            assert said["bytes_after"] < said["bytes_before"]


# ---- exports


class Encoder(torch.nn.Module):
    """BERT's inputs: tokens, positions, and types whose table is too small to count."""

    def __init__(self):
        super().__init__()
        self.tokens = torch.nn.Embedding(ROWS, WIDTH, padding_idx=0)
        self.places = torch.nn.Embedding(LENGTH, WIDTH)
        self.types = torch.nn.Embedding(2, WIDTH)
        self.block = torch.nn.TransformerEncoderLayer(WIDTH, 4, 96, batch_first=True, dropout=0)
        self.head = torch.nn.Linear(WIDTH, 8)

    def forward(self, ids):
        places = torch.arange(ids.shape[1])[None]
        return self.head(self.block(self.tokens(ids) + self.places(places) + self.types(ids * 0)))


class Decoder(torch.nn.Module):
    """GPT's head reads the table of tokens."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = torch.nn.Embedding(ROWS, WIDTH), torch.nn.Embedding(LENGTH, WIDTH)
        self.wide, self.narrow = torch.nn.Linear(WIDTH, 96), torch.nn.Linear(96, WIDTH)
        self.norm, self.head = torch.nn.LayerNorm(WIDTH), torch.nn.Linear(WIDTH, ROWS, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1])[None])
        x = x + self.narrow(torch.nn.functional.gelu(self.wide(self.norm(x))))
        return self.head(self.norm(x))


@pytest.fixture(scope="module", params=[(kind, dynamo) for kind in (Encoder, Decoder)
                                        for dynamo in (False, True)],
                ids=lambda p: f"{p[0].__name__}-{'dynamo' if p[1] else 'torchscript'}")
def export(request, tmp_path_factory):
    kind, dynamo = request.param
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tables") / "m.onnx"
    ids = (torch.randint(1, ROWS, (2, 12)),)
    open_axes = {0: "batch", 1: "length"}
    shapes = ({axis: torch.export.Dim(name, max=LENGTH) for axis, name in open_axes.items()},)
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(kind().eval(), ids, str(path), input_names=["ids"], output_names=["y"],
                          dynamo=dynamo, **({"dynamic_shapes": shapes, "external_data": False,
                                             "verbose": False} if dynamo else
                                            {"opset_version": 17,
                                             "dynamic_axes": {"ids": open_axes}}))
    return path, kind


@pytest.mark.parametrize("target", ["weights", "ort", "openvino"])
@pytest.mark.parametrize("codebook", ["int8", "int4"])
def test_exports_should_keep_no_large_table_in_float(export, codebook, target, tmp_path, calib):
    source, kind = export
    ids = np.random.default_rng(3).integers(1, ROWS, (16, 12))
    ids[:, -3:] = 0
    np.savez(calib, ids=ids)
    said = quantize(source, tmp_path / "q.onnx", calib, codebook, target, *GPTQ)
    tables = [layer for layer in said["layers"] if layer["op"] == "Gather"]
    assert len(tables) == 2 and [layer["inputs"] for layer in tables] == [WIDTH] * 2
    assert len(said["tied"]) == (kind is Decoder)
    floats = sum(array.nbytes for array in initializers(tmp_path / "q.onnx").values()
                 if array.dtype == np.float32)
    assert floats < 0.06 * said["bytes_before"]
    assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path, activations=target != "weights")
    want = support.ort_run(source, feeds(calib))["y"]
    made = support.ort_run(tmp_path / "q.onnx", feeds(calib), optimized=False)["y"]
    assert np.linalg.norm(made - want) < (0.02 if codebook == "int8" else 0.2) * np.linalg.norm(want)

    # diff pairs the tables, and inspect sees codes
    layers = support.answer("diff", source, tmp_path / "q.onnx", "--data", calib)["layers"]
    for layer in layers:
        if layer["op"] == "Gather" and layer["weights"] >= 4096:
            assert layer["other"] and layer["bits"] < (8.6 if codebook == "int8" else 5.1)
            assert layer["isolated"]["sqnr_db"] > (40 if codebook == "int8" else 18)
    seen = [layer for layer in support.answer("inspect", tmp_path / "q.onnx")["layers"]
            if layer["op"] == "Gather" and layer["parameters"] >= 4096]
    assert [layer["type"] for layer in seen] == [codebook] * 2
    assert all("already" in layer["reason"] and layer["macs"] == 0 for layer in seen)


def test_openvino_should_compute_the_same(export, tmp_path, calib):
    openvino = pytest.importorskip("openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    for codebook in ("int8", "int4"):
        quantize(export[0], tmp_path / "q.onnx", calib, codebook, "weights", *GPTQ)
        compiled = openvino.Core().compile_model(str(tmp_path / "q.onnx"), "CPU", settings)
        want = support.ort_run(tmp_path / "q.onnx", feeds(calib), optimized=False)
        support.assert_close({"y": np.asarray(compiled(feeds(calib))[0])}, want)


# ---- what else reads layers


@pytest.mark.parametrize("kilobytes, chosen", [(16, "int4"), (23, "int8")])
def test_a_budget_should_count_the_bits_that_a_table_takes(kilobytes, chosen, tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")
    said = support.answer("quantize", source, "-o", tmp_path / "q.onnx", "--calib", calib,
                          "--weights", "ternary,int4,int8", "--target", "weights",
                          "--budget", f"{kilobytes}K")
    assert [layer["node"] for layer in said["layers"]] == ["embed", "head"]
    assert said["layers"][0]["weights"] == chosen
    arrays = initializers(tmp_path / "q.onnx")
    stored = sum(array.nbytes for name, array in arrays.items() if name.startswith("table"))
    assert stored <= 1024 * kilobytes


def test_fine_tuning_should_leave_tables_alone(tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")
    tables = []
    for steps in (0, 20):
        more = ("--distill", steps, "--refine") if steps else ()
        quantize(source, tmp_path / "q.onnx", calib, "int4", "weights", *GPTQ, *more)
        tables.append(dequantized(tmp_path / "q.onnx"))
        assert_runs_alike(tmp_path / "q.onnx", calib, tmp_path)
    assert np.array_equal(*tables)


def test_lint_should_find_nothing_wrong_with_a_table(tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")
    for target in ("ort", "openvino"):
        quantize(source, tmp_path / "q.onnx", calib, "int8", target)
        said = support.answer("lint", tmp_path / "q.onnx", "--target", target)
        assert [found for found in said["findings"] if "table" in str(found)] == []


def test_lint_should_name_a_table_that_is_dequantized_as_a_whole(tmp_path):
    proto = looked_up(opset=21)
    proto.graph.initializer[0].CopyFrom(
        support.tensor("codes", np.ones((ROWS, WIDTH), np.int8)))
    proto.graph.initializer.append(support.tensor("scales", weights(ROWS) ** 2 + 0.1))
    proto.graph.node.insert(0, node("DequantizeLinear", "codes scales", "table", axis=0))
    source = save(proto, tmp_path / "m.onnx")
    found = support.answer("lint", source, "--target", "ort")["findings"]
    assert [(f["rule"], f["node"]) for f in found if f["rule"] == "whole-table"] == [
        ("whole-table", "embed")]
    found = support.answer("lint", source, "--target", "openvino")["findings"]
    assert "whole-table" not in [f["rule"] for f in found]


def test_a_target_without_the_form_should_keep_its_own(tmp_path, calib):
    source = save(looked_up(), tmp_path / "m.onnx")
    said = quantize(source, tmp_path / "q.onnx", calib, "int8", "qnn")
    assert [kept["node"] for kept in said["not_quantized"]] == ["embed"]
    assert "no form for the codes of a table" in said["not_quantized"][0]["reason"]

# SPDX-License-Identifier: Apache-2.0
"""Samples of different shapes: pictures of several sizes, sentences of several lengths."""

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

RNG = np.random.default_rng(11)
QUANTIZE = ("--target", "weights", "--weights", "int4", "--solver", "gptq")
SIZES = [(int(h), int(w)) for h, w in RNG.integers(5, 12, (40, 2))]


def convolutional(path):
    """Scores of 5 classes and a map, of pictures of any size."""
    w = support.weights
    nodes = [helper.make_node("Conv", ["x", "a"], ["p"], "first", pads=[1] * 4),
             helper.make_node("Relu", ["p"], ["q"]),
             helper.make_node("Conv", ["q", "b"], ["map"], "map"),
             helper.make_node("GlobalAveragePool", ["q"], ["g"]),
             helper.make_node("Flatten", ["g"], ["f"]),
             helper.make_node("MatMul", ["f", "c"], ["scores"], "last")]
    onnx.save(support.model(nodes, {"x": ["N", 3, "H", "W"]},
                            {"scores": ["N", 5], "map": ["N", 4, "H", "W"]},
                            {"a": w(8, 3, 3, 3), "b": w(4, 8, 1, 1), "c": w(8, 5)}, opset=17), path)
    return path


def sentences(path):
    """Two inputs, ids and weights of the positions, both of any length."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"], "table"),
             helper.make_node("Unsqueeze", ["mass", "last"], ["m"]),
             helper.make_node("Mul", ["e", "m"], ["h"]),
             helper.make_node("MatMul", ["h", "w"], ["y"], "product")]
    proto = support.model(nodes, {"ids": ["N", "T"], "mass": ["N", "T"]}, {"y": ["N", "T", 6]},
                          {"table": support.weights(30, 8), "w": support.weights(8, 6),
                           "last": np.array([-1])}, opset=17)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(proto, path)
    return path


def put_arrays(folder, count=40):
    folder.mkdir()
    for i, size in enumerate(SIZES[:count]):
        np.save(folder / f"{i:02}.npy", RNG.normal(size=(3, *size)).astype(np.float32))
    return folder


def make_sentence(length):
    return {"ids": RNG.integers(0, 30, (1, length)),
            "mass": RNG.normal(size=(1, length)).astype(np.float32)}


def put_protos(folder, sample, names):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        tensor = numpy_helper.from_array(sample[name])
        (folder / f"input_{i}.pb").write_bytes(tensor.SerializeToString())


def outputs(model, feeds):
    return list(support.ort_run(model, feeds).values())


def codes(path):
    return {tensor.name: numpy_helper.to_array(tensor).tobytes()
            for tensor in onnx.load(path).graph.initializer}


def quantize(model, calib, out, *options):
    return support.answer("quantize", model, "-o", out, "--calib", calib, *QUANTIZE, *options)


def test_all_positions_should_count(tmp_path):
    """Four samples are too few to hold any out."""
    result = quantize(convolutional(tmp_path / "m.onnx"), put_arrays(tmp_path / "x", 4),
                      tmp_path / "q.onnx")
    assert result["one_at_a_time"] == "their shapes differ" and result["samples"] == 4
    positions = {layer["node"]: layer["positions"] for layer in result["layers"]}
    pixels = sum(h * w for h, w in SIZES[:4])
    assert positions == {"first": pixels, "map": pixels, "last": 4}


def test_folders_sets_and_patterns_should_be_the_same_samples(tmp_path):
    model = sentences(tmp_path / "m.onnx")
    (tmp_path / "npz").mkdir()
    for i in range(30):
        sample = make_sentence(3 + i % 4)
        np.savez(tmp_path / "npz" / f"{i:02}.npz", **sample)
        put_protos(tmp_path / "pb" / f"test_data_set_{i:02}", sample, ("ids", "mass"))
    results = [quantize(model, calib, tmp_path / f"{k}.onnx") for k, calib in enumerate(
        (tmp_path / "npz", tmp_path / "npz" / "*.npz", tmp_path / "pb",
         tmp_path / "pb" / "test_data_set_??"))]
    assert [(r["samples"], r["held_out_samples"]) for r in results] == [(30, 6)] * 4
    assert len({r["metadata"]["ldnq.data"] for r in results[:2]}) == 1
    assert all(codes(tmp_path / f"{k}.onnx") == codes(tmp_path / "0.onnx") for k in (1, 2, 3))


def test_pictures_of_several_sizes_should_be_as_their_arrays(tmp_path):
    model = convolutional(tmp_path / "m.onnx")
    for name in ("png", "npy"):
        (tmp_path / name).mkdir()
    for i, (h, w) in enumerate(SIZES[:20]):
        pixels = RNG.integers(0, 256, (h, w, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "png" / f"{i:02}.png")
        np.save(tmp_path / "npy" / f"{i:02}.npy",
                pixels.transpose(2, 0, 1) * np.float32(1 / 255))
    pictures = quantize(model, tmp_path / "png", tmp_path / "p.onnx", "--augment", "1")
    quantize(model, tmp_path / "npy", tmp_path / "a.onnx")
    assert codes(tmp_path / "p.onnx") == codes(tmp_path / "a.onnx")
    assert "resize and crop" in pictures["one_at_a_time"]


@pytest.mark.parametrize("options", [
    ("--target", "ort", "--weights", "int8"),
    ("--target", "ort", "--weights", "int8", "--effort", "fast"),
    ("--budget", "5bits"), ("--min-sqnr", "15"), ("--distill", "8"), ("--cascade", "4")],
    ids=lambda options: options[0] + options[-1])
def test_all_ways_should_take_them(options, tmp_path):
    model, calib = convolutional(tmp_path / "m.onnx"), put_arrays(tmp_path / "x")
    target = () if "--target" in options else ("--target", "weights")
    result = support.answer("quantize", model, "-o", tmp_path / "q.onnx", "--calib", calib,
                            *target, *options)
    assert result["one_at_a_time"] == "their shapes differ"
    assert len(result["layers"]) >= 2 and result["accuracy"]["sqnr"] > 10
    onnx.checker.check_model(tmp_path / "q.onnx")


def test_figures_should_be_those_of_all_samples(tmp_path):
    model, calib = convolutional(tmp_path / "m.onnx"), put_arrays(tmp_path / "x")
    quantize(model, calib, tmp_path / "q.onnx")
    diff = support.answer("diff", model, tmp_path / "q.onnx", "--data", calib)
    sums = np.zeros((2, 2))
    for path in sorted(calib.iterdir()):
        feeds = {"x": np.load(path)[None]}
        for o, (t, y) in enumerate(zip(outputs(model, feeds),
                                       outputs(tmp_path / "q.onnx", feeds))):
            sums[o] += np.sum(t.astype(float) ** 2), np.sum((y - t).astype(float) ** 2)
    sqnr = 10 * np.log10(sums[:, 0] / sums[:, 1])
    found = {output["name"]: output["error"]["sqnr_db"] for output in diff["outputs"]}
    assert np.allclose([found["scores"], found["map"]], sqnr, atol=0.01)


def test_eval_should_read_classes_of_files(tmp_path):
    model = convolutional(tmp_path / "m.onnx")
    (tmp_path / "x").mkdir()
    right = 0
    for i, (h, w) in enumerate(SIZES):
        x = RNG.normal(size=(1, 3, h, w)).astype(np.float32)
        np.savez(tmp_path / "x" / f"{i:02}.npz", x=x, labels=i % 5)
        right += int(outputs(model, {"x": x})[0].argmax()) == i % 5
    result = support.answer("eval", model, "--data", tmp_path / "x")
    assert result["models"][0]["samples"] == 40
    assert result["models"][0]["top1"] == pytest.approx(100 * right / 40)


# ---- padding


def attention(path, length="T", mask="attention_mask"):
    """One layer of attention over sentences, and two products; padded positions can't be seen."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"]),
             helper.make_node("MatMul", ["e", "w"], ["h"], "first"),
             helper.make_node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
             helper.make_node("MatMul", ["h", "t"], ["s"]),
             helper.make_node("Cast", [mask], ["m"], to=TensorProto.FLOAT),
             helper.make_node("Sub", ["one", "m"], ["i"]),
             helper.make_node("Mul", ["i", "far"], ["f"]),
             helper.make_node("Unsqueeze", ["f", "axis"], ["u"]),
             helper.make_node("Add", ["s", "u"], ["b"]),
             helper.make_node("Softmax", ["b"], ["p"], axis=-1),
             helper.make_node("MatMul", ["p", "h"], ["o"]),
             helper.make_node("MatMul", ["o", "v"], ["y"], "last")]
    proto = support.model(nodes, {"ids": ["N", length], mask: ["N", length]},
                          {"y": ["N", length, 6]},
                          {"table": support.weights(30, 8), "w": support.weights(8, 8),
                           "v": support.weights(8, 6), "one": np.float32(1),
                           "far": np.float32(-1e4), "axis": np.array([1])}, opset=17)
    for value in proto.graph.input:
        value.type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(proto, path)
    return path


def put_padded(folder, mask="attention_mask", left=False, count=30):
    """The same sentences, padded to one length in x.npz, and as they are in a folder."""
    (folder / "s").mkdir()
    padded = {"ids": [], mask: []}
    for i in range(count):
        length = 3 + i % 5
        ids = RNG.integers(0, 30, (1, length))
        np.savez(folder / "s" / f"{i:02}.npz", **{"ids": ids, mask: np.ones((1, length), int)})
        pad = ((0, 0), (9 - length, 0) if left else (0, 9 - length))
        padded["ids"].append(np.pad(ids, pad, constant_values=7))
        padded[mask].append(np.pad(np.ones((1, length), int), pad))
    np.savez(folder / "x.npz", **{k: np.concatenate(v) for k, v in padded.items()})


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("options", [QUANTIZE, ("--target", "ort", "--weights", "int8")],
                         ids=["weights", "activations"])
def test_padded_positions_should_be_in_no_statistic(options, left, tmp_path):
    model = attention(tmp_path / "m.onnx")
    put_padded(tmp_path, left=left)
    results = [support.answer("quantize", model, "-o", tmp_path / f"{i}.onnx", "--calib",
                              tmp_path / calib, *options, *more)
               for i, (calib, more) in enumerate((("s", ()), ("x.npz", ()),
                                                  ("x.npz", ("--mask", "none"))))]
    assert codes(tmp_path / "0.onnx") == codes(tmp_path / "1.onnx")
    assert codes(tmp_path / "0.onnx") != codes(tmp_path / "2.onnx")
    assert results[0]["accuracy"] == results[1]["accuracy"] != results[2]["accuracy"]
    assert "padding" in results[1]["one_at_a_time"] and results[2]["one_at_a_time"] is None
    diffs = [support.answer("diff", model, tmp_path / "0.onnx", "--data", tmp_path / calib)["outputs"]
             for calib in ("s", "x.npz")]
    assert diffs[0] == diffs[1]


def put_gap(path):
    """Masks two positions after the second word of each sentence."""
    samples = dict(np.load(path))
    for name, fill in (("ids", 7), ("attention_mask", 0)):
        samples[name] = np.insert(samples[name], [2, 2], fill, axis=1)
    np.savez(path, **samples)
    return samples


def test_positions_that_are_masked_between_others_should_be_cut_too(tmp_path):
    model = attention(tmp_path / "m.onnx")
    put_padded(tmp_path)
    put_gap(tmp_path / "x.npz")
    results = [quantize(model, tmp_path / calib, tmp_path / f"{i}.onnx")
               for i, calib in enumerate(("s", "x.npz"))]
    assert codes(tmp_path / "0.onnx") == codes(tmp_path / "1.onnx")
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert not any("between" in warning for warning in results[1]["warnings"])


def test_a_mask_may_have_any_name(tmp_path):
    model = attention(tmp_path / "m.onnx", mask="is_real")
    put_padded(tmp_path, mask="is_real")
    alone = quantize(model, tmp_path / "s", tmp_path / "0.onnx")
    padded = quantize(model, tmp_path / "x.npz", tmp_path / "1.onnx", "--mask", "is_real")
    counted = quantize(model, tmp_path / "x.npz", tmp_path / "2.onnx")
    assert alone["accuracy"] == padded["accuracy"] != counted["accuracy"]
    done = support.ldnq("quantize", model, "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "x.npz", "--mask", "other")
    assert done.returncode == support.USAGE and "no input of that name" in done.stderr


def test_samples_without_padding_should_stay_together(tmp_path):
    model = attention(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", ids=RNG.integers(0, 30, (30, 5)),
             attention_mask=np.ones((30, 5), int))
    assert quantize(model, tmp_path / "x.npz", tmp_path / "q.onnx")["one_at_a_time"] is None


@pytest.mark.parametrize("gap", [False, True], ids=["at the end", "in the middle"])
def test_padding_of_a_fixed_length_should_be_left_out(gap, tmp_path):
    """What is at the padded positions changes nothing."""
    model = attention(tmp_path / "m.onnx", 11 if gap else 9)
    put_padded(tmp_path)
    samples = put_gap(tmp_path / "x.npz") if gap else dict(np.load(tmp_path / "x.npz"))
    ids = samples["ids"].copy()
    ids[samples["attention_mask"] == 0] = 29
    np.savez(tmp_path / "z.npz", ids=ids, attention_mask=samples["attention_mask"])
    for options in QUANTIZE, ("--target", "ort", "--weights", "int8"):
        results = [support.answer("quantize", model, "-o", tmp_path / f"{name}.onnx", "--calib",
                                  tmp_path / f"{name}.npz", *options) for name in "xz"]
        assert "padding" in results[0]["one_at_a_time"]
        assert not any("masks" in warning for warning in results[0]["warnings"])
        assert codes(tmp_path / "x.onnx") == codes(tmp_path / "z.onnx")
        assert results[0]["accuracy"] == results[1]["accuracy"]
        fitted = results[0]["samples"] - results[0]["held_out_samples"]
        assert all(3 * fitted <= layer["positions"] <= 7 * fitted for layer in results[0]["layers"]
                   if layer["op"] == "MatMul")
        diffs = [support.answer("diff", model, tmp_path / "x.onnx", "--data",
                                tmp_path / f"{name}.npz") for name in "xz"]
        assert diffs[0]["outputs"] == diffs[1]["outputs"]


@pytest.mark.parametrize("options", [("--estimate", 8), ("--distill", 4), ("--budget", "5bits")],
                         ids=["estimate", "distill", "budget"])
def test_padding_of_a_fixed_length_should_be_in_no_gradient(options, tmp_path):
    """What is at the padded positions changes nothing but the output there."""
    model = attention(tmp_path / "m.onnx", 11)
    put_padded(tmp_path)
    samples = put_gap(tmp_path / "x.npz")
    samples["ids"][samples["attention_mask"] == 0] = 29
    np.savez(tmp_path / "z.npz", **samples)
    results = [support.answer("quantize", model, "-o", tmp_path / f"{name}.onnx", "--calib",
                              tmp_path / f"{name}.npz", *QUANTIZE, *options) for name in "xz"]
    assert codes(tmp_path / "x.onnx") == codes(tmp_path / "z.onnx")
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert results[0]["output_estimate"]["error"] == results[1]["output_estimate"]["error"]


@pytest.mark.parametrize("length", [9, "T"])
def test_rows_of_a_fixed_batch_may_mask_different_positions(length, tmp_path):
    model = onnx.load(attention(tmp_path / "m.onnx", length))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, tmp_path / "m.onnx")
    put_padded(tmp_path)
    samples = dict(np.load(tmp_path / "x.npz"))
    samples["ids"][samples["attention_mask"] == 0] = 29
    np.savez(tmp_path / "z.npz", **samples)
    x, z = (quantize(tmp_path / "m.onnx", tmp_path / f"{name}.npz", tmp_path / f"{name}.onnx")
            for name in "xz")
    assert codes(tmp_path / "x.onnx") == codes(tmp_path / "z.onnx")
    assert x["accuracy"] == z["accuracy"] and x["samples"] == 10


@pytest.mark.parametrize("shape", [["N", 9], ["N", 1, 1, 9]])
def test_a_mask_may_be_one_that_is_added_to_scores(shape, tmp_path):
    """0 at the words; a sentence without padding has nothing else than zeros."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["h"]),
             helper.make_node("Reshape", ["attention_mask", "shape"], ["m"]),
             helper.make_node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
             helper.make_node("MatMul", ["h", "t"], ["s"]),
             helper.make_node("Add", ["s", "m"], ["b"]),
             helper.make_node("Softmax", ["b"], ["p"], axis=-1),
             helper.make_node("MatMul", ["p", "h"], ["o"]),
             helper.make_node("MatMul", ["o", "v"], ["y"], "last")]
    model = support.model(nodes, {"ids": ["N", 9], "attention_mask": shape}, {"y": ["N", 9, 6]},
                          {"table": support.weights(30, 8), "v": support.weights(8, 6),
                           "shape": np.array([0, 1, 9])}, opset=17)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, tmp_path / "m.onnx")
    put_padded(tmp_path)
    samples = dict(np.load(tmp_path / "x.npz"))
    is_padded = samples["attention_mask"] == 0
    for name, id in (("x", 7), ("z", 29)):
        ids = np.where(is_padded, id, samples["ids"])
        mask = np.where(is_padded, np.float32(-1e4), np.float32(0)).reshape(30, *shape[1:])
        np.savez(tmp_path / f"{name}.npz", ids=ids, attention_mask=mask)
    np.savez(tmp_path / "whole.npz", ids=samples["ids"], attention_mask=0 * mask)
    x, z, whole = (quantize(tmp_path / "m.onnx", tmp_path / f"{name}.npz", tmp_path / f"{name}.onnx")
                   for name in ("x", "z", "whole"))
    assert codes(tmp_path / "x.onnx") == codes(tmp_path / "z.onnx")
    assert "padding" in x["one_at_a_time"] and whole["one_at_a_time"] is None


def test_a_sample_that_is_masked_as_a_whole_should_be_named(tmp_path):
    model = attention(tmp_path / "m.onnx")
    mask = np.ones((6, 5), int)
    mask[4] = 0
    np.savez(tmp_path / "x.npz", ids=RNG.integers(0, 30, (6, 5)), attention_mask=mask)
    done = support.ldnq("quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npz")
    assert done.returncode == support.DATA
    assert "x.npz[4]: input 'attention_mask' masks all its positions" in done.stderr


# ---- a batch that the model fixes, past keys


def test_pictures_should_be_grouped_by_a_fixed_batch(tmp_path):
    """The last two of 22 are too few for a batch of 4."""
    proto = support.model([helper.make_node("Conv", ["x", "a"], ["p"], "first"),
                           helper.make_node("Flatten", ["p"], ["f"]),
                           helper.make_node("MatMul", ["f", "b"], ["y"], "last")],
                          {"x": [4, 3, 6, 6]}, {"y": [4, 5]},
                          {"a": support.weights(2, 3, 3, 3), "b": support.weights(32, 5)}, opset=17)
    onnx.save(proto, tmp_path / "m.onnx")
    (tmp_path / "png").mkdir()
    arrays = []
    for i in range(22):
        pixels = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "png" / f"{i:02}.png")
        arrays.append(pixels.transpose(2, 0, 1) * np.float32(1 / 255))
    np.save(tmp_path / "x.npy", np.stack(arrays[:20]))
    pictures = quantize(tmp_path / "m.onnx", tmp_path / "png", tmp_path / "p.onnx",
                        "--augment", "1")
    quantize(tmp_path / "m.onnx", tmp_path / "x.npy", tmp_path / "a.onnx")
    assert pictures["samples"] == 5
    assert any("the last 2 of 22 pictures are left out" in w for w in pictures["warnings"])
    assert codes(tmp_path / "p.onnx") == codes(tmp_path / "a.onnx")


def cached(path):
    """Reads keys of the past, and a mask of past and present; the product has a position per id."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"]),
             helper.make_node("ReduceSum", ["past_key_values.0.key", "axis"], ["k"], keepdims=0),
             helper.make_node("Reshape", ["k", "shape"], ["r"]),
             helper.make_node("Add", ["e", "r"], ["h"]),
             helper.make_node("MatMul", ["h", "w"], ["p"], "product"),
             helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
             helper.make_node("ReduceSum", ["m"], ["n"], keepdims=0),
             helper.make_node("Div", ["p", "n"], ["y"])]
    proto = support.model(nodes, {"ids": ["N", "T"], "past_key_values.0.key": ["N", 2, "P", 4],
                                  "attention_mask": ["N", "P + T"]}, {"y": ["N", "T", 6]},
                          {"table": support.weights(30, 8), "w": support.weights(8, 6),
                           "axis": np.array([2]), "shape": np.array([0, 1, 8])}, opset=17)
    for i in (0, 2):
        proto.graph.input[i].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(proto, path)
    return path


def put_cached(path, past, mask, seed=0):
    rng = np.random.default_rng(seed)
    np.savez(path, **{
        "ids": rng.integers(0, 30, (20, mask.shape[1] - past)), "attention_mask": mask,
        "past_key_values.0.key": rng.normal(size=(20, 2, past, 4)).astype(np.float32)})


@pytest.mark.parametrize("past", [0, 3])
def test_past_keys_should_be_read_by_name(past, tmp_path):
    put_cached(tmp_path / "x.npz", past, np.ones((20, past + 2), np.int64))
    result = quantize(cached(tmp_path / "m.onnx"), tmp_path / "x.npz", tmp_path / "q.onnx")
    assert result["samples"] == 20 and "product" in [layer["node"] for layer in result["layers"]]


@pytest.mark.parametrize("padded", ["past", "present"])
def test_a_mask_of_past_and_present_should_mask_the_ids_it_is_for(padded, tmp_path):
    model = cached(tmp_path / "m.onnx")
    mask = np.ones((20, 3 + 4), np.int64)
    if padded == "past":
        mask[::2, :2] = 0
    else:
        mask[:, 3] = 0
    put_cached(tmp_path / "x.npz", 3, mask)
    result = quantize(model, tmp_path / "x.npz", tmp_path / "q.onnx")
    assert not any("attention_mask" in warning for warning in result["warnings"])
    fitted = result["samples"] - result["held_out_samples"]
    product, = [layer for layer in result["layers"] if layer["node"] == "product"]
    assert product["positions"] == fitted * (4 if padded == "past" else 3)
    if padded == "past":  # positions of the cache are computed in no sample: nothing to leave out
        assert "padding" not in result["one_at_a_time"]
        return
    samples = dict(np.load(tmp_path / "x.npz"))
    samples["ids"][:, 0] = 29
    np.savez(tmp_path / "z.npz", **samples)
    other = quantize(model, tmp_path / "z.npz", tmp_path / "z.onnx")
    assert codes(tmp_path / "q.onnx") == codes(tmp_path / "z.onnx")
    assert result["accuracy"] == other["accuracy"]


# ---- arrays that do not fit, and values


def test_an_axis_too_many_at_the_end_should_be_refused(tmp_path):
    model = sentences(tmp_path / "m.onnx")
    sample = {k: np.repeat(x, 8, 0)[..., None] for k, x in make_sentence(6).items()}
    np.savez(tmp_path / "x.npz", **sample)
    done = support.ldnq("quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npz")
    assert done.returncode == support.DATA
    assert "x.npz[ids]: is (8,6,1) where input 'ids' is (N,T)" in done.stderr


def test_an_array_too_many_should_be_a_warning(tmp_path):
    model = sentences(tmp_path / "m.onnx")
    (tmp_path / "x").mkdir()
    for i in range(6):
        np.savez(tmp_path / "x" / f"{i}.npz", token_type_ids=np.zeros((1, 3 + i), int),
                 **make_sentence(3 + i))
    result = quantize(model, tmp_path / "x", tmp_path / "q.onnx")
    assert [w for w in result["warnings"] if "token_type_ids" in w] == [
        f"{tmp_path}/x/0.npz[token_type_ids]: is not read, as no input that is used has that name"]


def test_samples_along_another_axis_should_be_said_to_need_files(tmp_path):
    """Positions in three coordinates, (3,N,T), beside (N,T)."""
    nodes = [helper.make_node("ReduceSum", ["p", "axis"], ["q"], keepdims=0),
             helper.make_node("Mul", ["x", "q"], ["m"]),
             helper.make_node("MatMul", ["m", "w"], ["y"], "product")]
    onnx.save(support.model(nodes, {"x": ["N", 6], "p": [3, "N", 6]}, {"y": ["N", 5]},
                            {"w": support.weights(6, 5), "axis": np.array([0])}, opset=17),
              tmp_path / "m.onnx")
    x, p = (RNG.normal(size=shape).astype(np.float32) for shape in ((8, 6), (3, 8, 6)))
    np.savez(tmp_path / "x.npz", x=x, p=p)
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "x.npz")
    assert done.returncode == support.DATA and "samples along axis 1; give a folder" in done.stderr
    (tmp_path / "s").mkdir()
    for i in range(8):
        np.savez(tmp_path / "s" / f"{i}.npz", x=x[i:i + 1], p=p[:, i:i + 1])
    assert quantize(tmp_path / "m.onnx", tmp_path / "s", tmp_path / "q.onnx")["samples"] == 8


@pytest.mark.parametrize("shape", [[], [6]])
def test_an_array_of_an_input_without_a_batch_may_go_with_many_samples(shape, tmp_path):
    """A scalar such as the rate of a recording; in a file for each sample it has to be repeated."""
    proto = support.model([helper.make_node("Mul", ["x", "s"], ["m"]),
                           helper.make_node("MatMul", ["m", "w"], ["y"], "product")],
                          {"x": ["N", 6], "s": shape}, {"y": ["N", 5]},
                          {"w": support.weights(6, 5)}, opset=17)
    onnx.save(proto, tmp_path / "m.onnx")
    x = RNG.normal(size=(12, 6)).astype(np.float32)
    s = np.full(shape, 1.5, np.float32)
    np.savez(tmp_path / "x.npz", x=x, s=s)
    (tmp_path / "s").mkdir()
    for i in range(12):
        np.savez(tmp_path / "s" / f"{i:02}.npz", x=x[i:i + 1], s=s)
    one, many = (quantize(tmp_path / "m.onnx", tmp_path / calib, tmp_path / f"{calib}.onnx")
                 for calib in ("x.npz", "s"))
    assert codes(tmp_path / "x.npz.onnx") == codes(tmp_path / "s.onnx")
    assert one["samples"] == 12 and one["accuracy"] == many["accuracy"]
    assert any("goes with all 12" in text for text in one["warnings"]) == bool(shape)
    np.savez(tmp_path / "x.npz", x=x, s=np.stack([s] * 3))
    done = support.ldnq("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", "--calib",
                        tmp_path / "x.npz")
    assert done.returncode == support.DATA and "holds 3 samples where" in done.stderr


def test_a_value_out_of_range_should_be_named_with_its_sample_and_position(tmp_path):
    model = sentences(tmp_path / "m.onnx")
    samples = [make_sentence(6) for _ in range(8)]
    samples[5]["ids"][0, 4] = 30
    np.savez(tmp_path / "x.npz", **{k: np.concatenate([s[k] for s in samples]) for k in samples[0]})
    done = support.ldnq("quantize", model, "-o", tmp_path / "q.onnx", "--calib", tmp_path / "x.npz")
    assert done.returncode == support.DATA
    assert "index 30 is out of range for an axis of 30 elements (at (0,4) of its indices) "\
        "(sample " in done.stderr and "x.npz[5]" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Runs that go on with the layers that an earlier one has fitted: they write the bytes of a run
that was never ended."""

import fcntl
import json
import os
import re
import shutil

import numpy as np
import onnx
import pytest

import small_models as small
import support
from support import DIGITS, USAGE, save

GATE = 9
MODEL = DIGITS / "digits-ts.onnx"
DIGITS_LINE = [MODEL, "--calib", DIGITS / "calib", "--max-samples", 24]
TIMES = re.compile(r'"[a-z_]*seconds":\s*[0-9.e+-]+')


def three_products(folder):
    """Three products, the last of which stays float, in a data file."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((64, 64)).astype(np.float32) / 8 for name in "abc"}
    nodes = [small.node("MatMul", "x a", "h", name="one"), small.node("Relu", "h", "r"),
             small.node("MatMul", "r b", "g", name="two"),
             small.node("MatMul", "g c", "y", name="left")]
    onnx.save_model(small.chain(nodes, (64,), (64,), arrays), folder / "m.onnx",
                    save_as_external_data=True, location="m.bin", size_threshold=0)
    np.save(folder / "x.npy", rng.standard_normal((48, 64)).astype(np.float32))
    return [folder / "m.onnx", "--calib", folder / "x.npy", "--skip", "left"]


def shared_weight(folder):
    proto, shape, _ = small.weight_shared_by_two_convs()
    np.save(folder / "x.npy",
            np.random.default_rng(0).standard_normal((24, *shape)).astype(np.float32))
    return [save(proto, folder / "m.onnx"), "--calib", folder / "x.npy"]


def tables(folder):
    """A table that ids look rows up in, between two layers, and an output layer that shares it."""
    rng = np.random.default_rng(0)
    arrays = {"t": rng.standard_normal((80, 64)).astype(np.float32),
              "a": rng.standard_normal((64, 64)).astype(np.float32) / 8}
    nodes = [small.node("Gather", "t ids", "h", name="rows"),
             small.node("MatMul", "h a", "g", name="one"), small.node("Relu", "g", "r"),
             small.node("Transpose", "t", "u", perm=[1, 0]),
             small.node("MatMul", "r u", "y", name="scores")]
    proto = support.model(nodes, {"ids": ["N", 8]}, {"y": ["N", 8, 80]}, arrays)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    np.savez(folder / "ids.npz", ids=rng.integers(0, 80, (40, 8)))
    return [save(proto, folder / "m.onnx"), "--calib", folder / "ids.npz"]


def same_input(folder):
    """Two layers with the same input, so large that they share the sums over it: a run that goes on
    between them makes the sums again."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) / 8
              for name, shape in [("w", (64, 64)), ("a", (64, 8200)), ("b", (64, 8200)),
                                  ("c", (8, 8)), ("d", (8, 8))]}
    arrays |= {"zero": np.array([0]), "eight": np.array([8]), "one": np.array([1])}
    nodes = [small.node("MatMul", "x w", "h", name="first"),
             small.node("MatMul", "h a", "p", name="gate"),
             small.node("MatMul", "h b", "q", name="up"), small.node("Mul", "p q", "r"),
             small.node("Slice", "r zero eight one", "s"),
             small.node("MatMul", "s c", "t", name="third"), small.node("Relu", "t", "u"),
             small.node("MatMul", "u d", "y", name="last")]
    np.save(folder / "x.npy", rng.standard_normal((96, 64)).astype(np.float32))
    return [save(small.chain(nodes, (64,), (8,), arrays), folder / "m.onnx"), "--calib",
            folder / "x.npy"]


def digits(folder):
    return DIGITS_LINE


def outputs_of(folder):
    """What a run has written, without times; a data file goes by its content."""
    found = {}
    for path in sorted(folder.iterdir()):
        data = re.sub(rb" samples in [0-9.]+ seconds", b"", path.read_bytes())
        if path.suffix in (".jsonl", ".html", ".json"):
            data = TIMES.sub("", data.decode()).encode()
        found[path.name] = data
    return found


def quantize(line, folder, *options, **more):
    """Runs in `folder`, where it writes."""
    folder.mkdir(exist_ok=True)
    return support.ldnq("quantize", *line, "-o", "q.onnx", "--log", "l.jsonl", *options,
                        cwd=folder, **more)


def strip_times(text):
    return TIMES.sub("", text)


def layers_of(checkpoint):
    return sorted(checkpoint.glob("*.layer"))


def end_late(line, folder, *options):
    """A run whose report can't be written, at its end; its checkpoint has all layers."""
    done = quantize(line, folder / "ended", *options, "--report", "/dev/full", "--checkpoint",
                    folder / "all")
    assert done.returncode == support.IO and "/dev/full" in done.stderr
    assert not (folder / "ended" / "q.onnx").exists()
    return layers_of(folder / "all")


def weights(*options):
    return ["--target", "weights", *options]


@pytest.mark.parametrize("net, options", [
    *[(digits, weights("--weights", "int4", "--solver", solver))
      for solver in ("best", "admm", "beam", "cd", "gptq", "admm-paper", "nearest", "mse", "rtn")],
    (digits, weights("--weights", "ternary", "--solver", "best", "--lambda", 0)),
    (digits, weights("--weights", "int4", "--solver", "beam", "--lambda", ".5")),
    (digits, weights("--weights", "int3", "--solver", "beam", "--max-mem", "1K")),
    (digits, weights("--weights", "int8", "--solver", "nearest", "--effort", "fast")),
    (digits, weights("--weights", "int4", "--solver", "cd", "--augment", 2)),
    (digits, weights("--weights", "int4", "--solver", "cd", "--granularity", "tensor")),
    (digits, ["--target", "ort", "--weights", "int8", "--solver", "gptq"]),
    (digits, ["--target", "tflite", "--weights", "int8", "--solver", "nearest"]),
    (digits, weights("--weights", "int2", "--solver", "gptq", "--distill", 6, "--refine")),
    (digits, weights("--weights", "int2", "--solver", "gptq", "--cascade", 3)),
    (three_products, weights("--weights", "int4", "--solver", "gptq", "--granularity", "block",
                             "--block-size", 16)),
    (three_products, ["--target", "ort", "--weights", "int4", "--solver", "beam"]),
    (same_input, weights("--weights", "int4", "--solver", "gptq", "--max-mem", "1M")),
    (tables, weights("--weights", "int8", "--solver", "gptq")),
    (tables, weights("--weights", "int4", "--solver", "cd")),
    (shared_weight, weights("--weights", "ternary", "--solver", "best")),
], ids=lambda value: value.__name__ if callable(value) else "-".join(map(str, value)).replace(
    "--", ""))
def test_a_run_should_go_on_after_any_layer(tmp_path, net, options):
    line = [*net(tmp_path), *options]
    report = ["--report", "r.html"] if "best" in options or "--distill" in options else []
    done = quantize(line, tmp_path / "want", "--json", *report)
    assert done.returncode == support.OK, done.stderr
    want = outputs_of(tmp_path / "want")
    records = end_late(line, tmp_path)
    fitted = [json.loads(text) for text in (tmp_path / "ended" / "l.jsonl").read_text().split("\n")
              if '"layer"' in text]
    assert len(records) == len(fitted) > 1
    for count in {1, len(records)} if report else {max(1, len(records) - 3)}:
        checkpoint, folder = tmp_path / f"ck{count}", tmp_path / f"got{count}"
        shutil.copytree(tmp_path / "all", checkpoint)
        for path in layers_of(checkpoint)[count:]:
            path.unlink()
        got = quantize(line, folder, "--json", *report, "--checkpoint", checkpoint, "--resume",
                       "--threads", 1)
        assert got.returncode == support.OK, got.stderr
        assert f"resumes with {count} layer" in got.stderr
        assert outputs_of(folder) == want
        assert strip_times(got.stdout) == strip_times(done.stdout)
        assert layers_of(checkpoint) == []
        # A layer that is not fitted again has the seconds that it took.
        layers = json.loads(got.stdout)["layers"]
        assert [layer["solver_seconds"] for layer in layers[:count]] == \
            [layer["solver_seconds"] for layer in fitted[:count]]


@pytest.mark.parametrize("options", [
    ["--budget", "3bits", "--weights", "int2,int4", "--solver", "gptq"],
    ["--budget", "3bits", "--weights", "int2,int4", "--solver", "gptq", "--estimate", 0],
    ["--min-sqnr", 22, "--weights", "int2,int4,int8", "--solver", "gptq"],
])
def test_a_search_should_go_on_after_any_layer(tmp_path, options):
    """It quantizes several times: fits that are complete are not made again."""
    line = [*DIGITS_LINE, "--target", "weights", *options]
    done = quantize(line, tmp_path / "want", "--json", "--plan", "plan.json")
    assert done.returncode == support.OK, done.stderr
    want = outputs_of(tmp_path / "want")
    records = end_late(line, tmp_path, "--plan", "plan.json")
    assert len({path.name.split("-")[1] for path in records}) >= 3
    for count in (len(records) // 2, len(records) - 2):
        checkpoint, folder = tmp_path / f"ck{count}", tmp_path / f"got{count}"
        shutil.copytree(tmp_path / "all", checkpoint)
        for path in layers_of(checkpoint)[count:]:
            path.unlink()
        got = quantize(line, folder, "--json", "--plan", "plan.json", "--checkpoint", checkpoint,
                       "--resume")
        assert got.returncode == support.OK, got.stderr
        assert outputs_of(folder) == want
        assert strip_times(got.stdout) == strip_times(done.stdout)


# ---- what is refused, and what is not


QUICK = ["--target", "weights", "--weights", "int4", "--solver", "gptq"]


@pytest.fixture
def ended(tmp_path):
    """A folder with three_products, and with a checkpoint of all its layers in all/."""
    line = [*three_products(tmp_path), *QUICK]
    end_late(line, tmp_path)
    return tmp_path


def resume(folder, *options, line=None):
    line = line or [folder / "m.onnx", "--calib", folder / "x.npy", "--skip", "left", *QUICK]
    return quantize([*line, *options], folder / "got", "--checkpoint", folder / "all", "--resume")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options, text", [
    (["--weights", "int8"], "--weights was 'int4' when this checkpoint was made, and is 'int8' now"),
    (["--seed", 1], "--seed was '0'"), (["--skip", "one"], "--skip was 'left' "),
    (["--rho", 2], "--rho was not set when this checkpoint was made, and is '2' now"),
    (["--weights", "int8", "--solver", "beam"], "as differ solver"),
])
def test_other_options_should_be_refused_by_name(ended, options, text):
    before = contents(ended / "all")
    done = resume(ended, *options)
    assert done.returncode == USAGE and text in done.stderr
    assert "in another folder" in done.stderr and done.stderr.count("\n") == 1
    assert contents(ended / "all") == before and not (ended / "got" / "q.onnx").exists()
    assert resume(ended).returncode == support.OK


def test_other_inputs_should_be_refused_by_name(ended):
    array = np.load(ended / "x.npy")
    np.save(ended / "x.npy", array[::-1])
    done = resume(ended)
    assert done.returncode == USAGE and "with samples of other contents" in done.stderr
    np.save(ended / "x.npy", array)
    (ended / "m.bin").write_bytes((ended / "m.bin").read_bytes()[::-1])
    done = resume(ended)
    assert done.returncode == USAGE and "was made of the model" in done.stderr


def test_another_plan_should_be_refused(tmp_path):
    line = [*three_products(tmp_path), *QUICK, "--plan", tmp_path / "plan.json"]
    plan = {"layers": [{"node": "one", "weights": "int8"}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    end_late(line, tmp_path)
    (tmp_path / "plan.json").write_text('{"layers": []}')
    done = resume(tmp_path, line=line)
    assert done.returncode == USAGE and "a plan of other contents" in done.stderr
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert resume(tmp_path, line=line).returncode == support.OK


def test_a_damaged_header_should_be_refused(ended):
    path = ended / "all" / "ldnq-checkpoint.json"
    text = path.read_text()
    for damage in (text.replace("int4", "int8"), text[:-20], "", "[]"):
        path.write_text(damage)
        done = resume(ended)
        assert done.returncode == support.DATA and "is damaged" in done.stderr


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "longer", "another layer", "flip codes"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_layer_should_be_fitted_again(ended, which, damage):
    records = layers_of(ended / "all")
    data = bytearray(records[which].read_bytes())
    if damage == "cut":
        data = data[:-9]
    elif damage == "empty":
        data = b""
    elif damage == "longer":
        data += b"x"
    elif damage == "another layer":
        data = records[1 - which].read_bytes()
    else:
        data[200 if damage == "flip codes" else 3] ^= 4
    records[which].write_bytes(data)
    quantize([ended / "m.onnx", "--calib", ended / "x.npy", "--skip", "left", *QUICK],
             ended / "want")
    done = resume(ended)
    assert done.returncode == support.OK
    assert ("is damaged" in done.stderr) == (damage != "another layer")
    assert (ended / "got" / "q.onnx").read_bytes() == (ended / "want" / "q.onnx").read_bytes()


def test_a_checkpoint_should_not_be_overwritten(ended):
    before = contents(ended / "all")
    done = quantize([ended / "m.onnx", "--calib", ended / "x.npy", *QUICK], ended / "got",
                    "--checkpoint", ended / "all")
    assert done.returncode == USAGE and "--resume is not set" in done.stderr
    assert contents(ended / "all") == before


def test_a_folder_with_other_files_should_be_refused(tmp_path):
    line = [*three_products(tmp_path), *QUICK]
    for folder in (tmp_path, DIGITS / "calib"):
        for more in ([], ["--resume"]):
            done = quantize(line, tmp_path / "got", "--checkpoint", folder, *more)
            assert done.returncode == USAGE and "choose a new or an empty folder" in done.stderr
    done = quantize(line, tmp_path / "got", "--checkpoint", tmp_path / "m.onnx")
    assert done.returncode == support.IO and "m.onnx" in done.stderr
    done = quantize(line, tmp_path / "got", "--checkpoint", tmp_path / "no" / "such")
    assert done.returncode == support.IO and "no/such" in done.stderr
    assert quantize(line, tmp_path / "got", "--resume").returncode == USAGE


def test_a_folder_without_a_checkpoint_should_start_from_the_beginning(tmp_path):
    line = [*three_products(tmp_path), *QUICK]
    (tmp_path / "empty").mkdir()
    for folder in ("new", "empty"):
        done = quantize(line, tmp_path / "got", "-q", "--checkpoint", tmp_path / folder, "--resume")
        assert done.returncode == support.OK and "starts from the beginning" in done.stderr
        assert not (tmp_path / folder).exists()


def test_two_runs_should_not_share_a_folder(ended):
    lock = os.open(ended / "all", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    done = resume(ended)
    os.close(lock)
    assert done.returncode == support.IO and "another run uses" in done.stderr
    assert resume(ended).returncode == support.OK


def test_a_run_that_fits_no_layer_should_leave_no_checkpoint(tmp_path):
    line = [*three_products(tmp_path), *QUICK]
    array = np.load(tmp_path / "x.npy")
    array[:] = 3e38
    np.save(tmp_path / "x.npy", array)
    done = quantize(line, tmp_path / "got", "--checkpoint", tmp_path / "ck")
    assert done.returncode == support.NUMERIC and not (tmp_path / "ck").exists()


def test_a_goal_out_of_reach_should_leave_no_checkpoint(tmp_path):
    done = quantize([*DIGITS_LINE, "--target", "weights", "--min-sqnr", 300, "--weights", "int8",
                     "--solver", "gptq", "--layer", "*pointwise.0*=int2"], tmp_path / "got",
                    "--checkpoint", tmp_path / "ck")
    assert done.returncode == GATE and not (tmp_path / "ck").exists()


def test_a_checkpoint_that_can_not_be_written_should_not_end_the_run(tmp_path):
    """The records of a folder that is full from some layer on."""
    line = [*DIGITS_LINE, *QUICK]
    quantize(line, tmp_path / "want")
    (tmp_path / "ck").mkdir()
    # The fourth record finds a folder with its name.
    (tmp_path / "ck" / "ldnq-0001-00003.layer").mkdir()
    done = quantize(line, tmp_path / "got", "--checkpoint", tmp_path / "ck")
    assert done.returncode == support.OK and "goes on without it" in done.stderr
    assert (tmp_path / "got" / "q.onnx").read_bytes() == \
        (tmp_path / "want" / "q.onnx").read_bytes()

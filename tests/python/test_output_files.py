# SPDX-License-Identifier: Apache-2.0
"""What a run writes is never what it reads: paths that lead to one file are refused before the
work."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import quantized
import small_models as small
import support
from support import DIGITS, LDNQ, USAGE, save

MODEL = DIGITS / "digits-ts.onnx"
FAST = ["--solver", "rtn", "--weights", "int8"]


@pytest.fixture
def folder(tmp_path):
    """A model with external data, samples, a plan."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    proto = small.chain([small.node("MatMul", "x w", "y", name="one")], (64,), (64,),
                        {"w": weight})
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True,
                    location="m.data", size_threshold=0)
    np.save(tmp_path / "x.npy",
            np.random.default_rng(1).standard_normal((24, 64)).astype(np.float32))
    (tmp_path / "plan.json").write_text('{"layers": []}')
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(folder, *arguments):
    before = contents(folder)
    done = support.ldnq(*arguments, cwd=folder)
    assert done.returncode == USAGE, done.stderr
    assert "choose another path" in done.stderr and done.stderr.count("\n") == 1
    assert contents(folder) == before


@pytest.mark.parametrize("options", [
    "-o m.onnx", "-o ./m.onnx", "-o link", "-o hard", "-o m.data", "-o x.npy",
    "-o q.onnx --report q.onnx", "-o q.onnx --report sub/../q.onnx", "-o q.onnx --report dangling",
    "-o q.onnx --log q.onnx", "-o q.onnx --report r --log r", "-o q.onnx --log m.onnx",
    "-o q.onnx --log x.npy", "-o q.onnx --report m.data", "-o q.onnx --log dangling",
    "-o plan.json --plan plan.json", "-o q.onnx --report plan.json --plan plan.json",
    "-o q.onnx --budget 6bits --plan q.onnx", "-o q.onnx --budget 6bits --plan m.onnx",
    "-o sub/../x.npy", "-o q.onnx --report x.npy",
])
def test_outputs_that_are_inputs_or_each_other_should_be_refused(folder, options):
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("m.onnx")
    (folder / "dangling").symlink_to("sub/../q.onnx")
    os.link(folder / "m.onnx", folder / "hard")
    solver = [] if "--plan" in options else FAST
    assert_refused(folder, "quantize", "m.onnx", "--calib", "x.npy", *solver, *options.split())


@pytest.mark.parametrize("calib", ["one", "one/a.png"])
def test_a_sample_should_not_be_overwritten(tmp_path, calib):
    (tmp_path / "one").mkdir()
    source = sorted((DIGITS / "calib").rglob("*.png"))
    shutil.copy(source[0], tmp_path / "one" / "a.png")
    shutil.copy(source[1], tmp_path / "one" / "b.png")
    for option in ["-o", "--log", "--report"]:
        outputs = ["-o", "q.onnx", option, "one/a.png"] if option != "-o" else ["-o", "one/a.png"]
        assert_refused(tmp_path, "quantize", MODEL, "--calib", calib, "--max-samples", 1, *FAST,
                       *outputs)


def test_tensor_protos_should_not_be_overwritten(folder):
    (folder / "set").mkdir()
    array = np.load(folder / "x.npy")
    (folder / "set" / "input_0.pb").write_bytes(support.tensor("x", array).SerializeToString())
    assert_refused(folder, "quantize", "m.onnx", "--calib", "set", *FAST, "-o", "set/input_0.pb")


def test_diff_should_not_write_its_page_over_what_it_reads(folder):
    quantized.quantize(folder / "m.onnx", folder / "q.onnx", folder / "x.npy", *FAST)
    for page in ["m.onnx", "m.data", "q.onnx", "x.npy"]:
        assert_refused(folder, "diff", "m.onnx", "q.onnx", "--data", "x.npy", "--html", page)


def test_run_should_not_write_over_what_it_reads(folder):
    (folder / "out").mkdir()
    shutil.copy(folder / "x.npy", folder / "out" / "y.npy")
    assert_refused(folder, "run", "m.onnx", "--input", "out/y.npy", "--output", "out")
    (folder / "x.npy").rename(folder / "out" / "x.npy")
    support.succeed("run", "m.onnx", "--input", "out/x.npy", "--output", "out", cwd=folder)


def test_devices_and_files_of_earlier_runs_should_be_written(folder):
    line = ["quantize", folder / "m.onnx", "--calib", folder / "x.npy", *FAST]
    support.succeed(*line, "-o", "/dev/null", "--report", "/dev/null", "--log", "/dev/null")
    for _ in range(2):
        support.succeed(*line, "-o", folder / "q.onnx", "--report", folder / "r.html", "--log",
                        folder / "l.jsonl")


# ---- a run that fails leaves no model


def quantize_with(folder, *options, **more):
    return support.ldnq("quantize", "m.onnx", "--calib", "x.npy", *FAST, "-o", "q.onnx", *options,
                        cwd=folder, **more)


@pytest.mark.parametrize("old", [None, b"from an earlier run"])
@pytest.mark.parametrize("options", [
    ["--report", "/dev/full"], ["--log", "/dev/full"],
    ["--budget", "6bits", "--weights", "int4,int8", "--plan", "/dev/full"],
])
def test_what_can_not_be_written_should_leave_no_new_model(folder, old, options):
    if old:
        (folder / "q.onnx").write_bytes(old)
    before = contents(folder)
    done = quantize_with(folder, *options)
    assert done.returncode == support.IO
    assert "/dev/full: can't be written: No space left on device" in done.stderr
    assert contents(folder) == before


def test_a_data_file_with_too_long_a_name_should_be_refused_before_the_work(folder):
    """233 bytes are the most: .HASH.data is added."""
    quantize = ["quantize", folder / "m.onnx", "--calib", folder / "x.npy", "--target", "weights",
                "--weights", "int8", "--solver", "rtn"]
    long = folder / (234 * "q")
    before = contents(folder)
    done = support.ldnq(*quantize, "-o", long, "--log", folder / "log")
    assert done.returncode == support.IO and "its data file" in done.stderr
    assert contents(folder) == before  # no log of layers
    support.succeed(*quantize, "-o", folder / (233 * "q"))


def test_a_limit_of_the_size_of_files_should_leave_no_model(folder):
    """The report is larger than the model, which fits."""
    limit = 16 << 10
    before = contents(folder)

    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = quantize_with(folder, "--report", "r.html", preexec_fn=set_limit)
    assert done.returncode == support.IO and "r.html" in done.stderr
    assert contents(folder) == before
    assert quantize_with(folder, preexec_fn=set_limit).returncode == support.OK


# ---- the model and its data file


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_run_that_is_killed_while_it_renames_should_leave_the_old_model(folder, nth):
    """The bytes of left, which stays float, are in the data file."""
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        arrays = {name: rng.standard_normal((64, 64)).astype(np.float32) for name in ("a", "b")}
        nodes = [small.node("MatMul", "x a", "h", name="one"),
                 small.node("MatMul", "h b", "y", name="left")]
        onnx.save_model(small.chain(nodes, (64,), (64,), arrays), folder / f"m{seed}.onnx",
                        save_as_external_data=True, location=f"m{seed}.bin", size_threshold=0)

    def line(seed):
        return ["quantize", f"m{seed}.onnx", "--calib", "x.npy", *FAST, "--skip", "left", "-o",
                "q.onnx", "-q"]

    support.succeed(*line(2), cwd=folder)
    want = support.run(folder / "q.onnx", {"x": np.load(folder / "x.npy")}, folder / "run")
    new = (folder / "q.onnx").read_bytes()
    for path in folder.glob("q.onnx*"):
        path.unlink()
    support.succeed(*line(1), cwd=folder)
    old = (folder / "q.onnx").read_bytes()
    before = support.run(folder / "q.onnx", {"x": np.load(folder / "x.npy")}, folder / "run")
    strace = ["strace", "-f", "-o", "/dev/null", "-e",
              f"inject=rename,renameat,renameat2,unlink:signal=KILL:when={nth}", support.LDNQ]
    subprocess.run([*map(str, strace), *line(2)], cwd=folder, check=False, timeout=60)
    now = (folder / "q.onnx").read_bytes()
    assert now in (old, new)
    after = support.run(folder / "q.onnx", {"x": np.load(folder / "x.npy")}, folder / "run")
    assert np.array_equal(after["y"], (before if now == old else want)["y"])


# ---- what can't be written is refused before the work


# Root may write everywhere.
NOT_ROOT = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture
def open_folder(folder):
    """The same files in a folder that any user can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        place = Path(name)
        for source in folder.iterdir():
            shutil.copyfile(source, place / source.name)
        place.chmod(0o777)
        try:
            subprocess.run([LDNQ, "--version"], check=True, capture_output=True, **NOT_ROOT)
        except OSError:
            pytest.skip("other users can't run the program")
        yield place


@pytest.mark.parametrize("options, status, text", [
    ("-o ro/q.onnx", support.IO, "Permission denied"),
    ("-o sub", support.IO, "is a folder"), ("-o sub/", support.IO, "is a folder"),
    ("-o none/q.onnx", support.IO, "'none' is not a folder"),
    ("-o x.npy/q.onnx", support.IO, "'x.npy' is not a folder"),
    ("-o " + 300 * "q", support.IO, "name too long"),
    ("-o " + 250 * "q", support.IO, "name too long"),  # that of the temporary file
    ("-o pipe", support.IO, "is a named pipe"), ("-o socket", support.IO, "is a socket"),
    ("-o /dev/stdout", USAGE, "standard output"), ("-o /dev/fd/1", USAGE, "standard output"),
    ("-o /dev/stderr", USAGE, "standard error"),
    ("-o q --report ro/r.html", support.IO, "Permission denied"),
    ("-o q --report sub", support.IO, "is a folder"),
    ("-o q --report /dev/stdout", USAGE, "standard output"),
    ("-o q --report pipe", support.IO, "is a named pipe"),
    ("-o q --log ro/l", support.IO, "Permission denied"),
    ("-o q --log sub", support.IO, "is a folder"),
    ("-o q --log -", USAGE, "--log takes a path, not '-'"),
    ("-o q --log /dev/stdout", USAGE, "standard output"),
    ("-o q --budget 6bits --weights int4,int8 --plan ro/p", support.IO, "Permission denied"),
    ("-o q --budget 6bits --weights int4,int8 --plan -", USAGE, "--plan takes a path"),
    ("-o q --checkpoint -", USAGE, "--checkpoint takes a path"),
])
def test_what_can_not_be_written_should_be_refused_before_the_work(open_folder, options, status,
                                                                   text, tmp_path):
    folder = open_folder
    (folder / "sub").mkdir()
    (folder / "ro").mkdir(mode=0o555)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
    before = contents(folder)
    line = [LDNQ, "quantize", "m.onnx", "--calib", "x.npy", *FAST, *options.split()]
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as errors:
        done = subprocess.run(line, cwd=folder, stdout=out, stderr=errors, timeout=60, check=False,
                              **NOT_ROOT)
    messages = support.without_progress((tmp_path / "err").read_text())
    assert done.returncode == status, messages
    assert text.lower() in messages.lower() and messages.count("\n") == 1, messages
    assert contents(folder) == before and not (folder / "-").exists()
    assert (tmp_path / "out").read_text() == ""


def test_a_model_in_the_pipe_of_standard_output_should_be_alone_there(folder):
    line = [LDNQ, "quantize", "m.onnx", "--calib", "x.npy", *FAST, "-o", "/dev/stdout"]
    done = subprocess.run(line, cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == support.OK, done.stderr
    assert quantize_with(folder).returncode == support.OK
    # A pipe has no data file beside it: all weights are in the model.
    piped, named = onnx.load_model_from_string(done.stdout), onnx.load(folder / "q.onnx")
    assert piped.graph.node == named.graph.node and piped.metadata_props == named.metadata_props
    assert all(each.name == other.name and
               (numpy_helper.to_array(each) == numpy_helper.to_array(other)).all() for each, other
               in zip(piped.graph.initializer, named.graph.initializer, strict=True))


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_should_be_written_without_rights_to_its_folder(open_folder, device):
    done = quantize_with(open_folder, "--report", device, **NOT_ROOT)
    assert done.returncode == (support.OK if device == "/dev/null" else support.IO), done.stderr
    assert (open_folder / "q.onnx").exists() == (device == "/dev/null")


@pytest.mark.parametrize("old", [None, b"from an earlier run"])
def test_a_disk_that_is_full_should_leave_no_new_model(folder, old):
    if old:
        (folder / "q.onnx").write_bytes(old)
    before = contents(folder)

    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = quantize_with(folder, preexec_fn=set_limit)
    assert done.returncode == support.IO, done.stderr
    assert "q.onnx: can't be written: File too large" in done.stderr.splitlines()[-1]
    assert contents(folder) == before

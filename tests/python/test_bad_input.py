# SPDX-License-Identifier: Apache-2.0
"""Bad input: one line that says what is wrong, an exit code of its class, no file.

All tests run with the plain program, and with the sanitized one where
LDNQ_BUILD_ASAN names its build folder.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import small_models as small
import support
from bad_cases import CALIB, CASES, DIGIT_MODEL, on_digits, quantize
from support import DIGITS, IO, MODEL, weights

PROGRAMS = {"plain": support.LDNQ}
if "LDNQ_BUILD_ASAN" in os.environ:
    PROGRAMS["sanitized"] = Path(os.environ["LDNQ_BUILD_ASAN"]) / "src" / "cli" / "ldnq"

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99:print_stacktrace=1",
}

KEPT = b"what was there before"


@pytest.fixture(params=PROGRAMS.values(), ids=PROGRAMS)
def program(request):
    return request.param


def start(program, *arguments, **more):
    return support.ldnq(*arguments, program=program, env=os.environ | SANITIZERS, **more)


def assert_refused(done, code, words):
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    # Work that has begun has said before what it needs.
    messages = re.sub(r"\Aneeds about \d+ MB of memory: .*\n", "", done.stderr)
    assert messages.startswith("ldnq: ") and messages.count("\n") == 1
    for word in words:
        assert str(word) in done.stderr, done.stderr


def listing(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input_should_be_refused_in_one_line(case, program, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    arguments, code, words = case(tmp_path / "in")
    out = tmp_path / "out" / "q.onnx"
    out.write_bytes(KEPT)
    if arguments[0] == "quantize" and "-o" not in arguments:
        arguments += ["-o", out]
    before = listing(tmp_path)
    assert_refused(start(program, *arguments), code, words)
    assert listing(tmp_path) == before
    assert out.read_bytes() == KEPT


# ---- every command, every length


@pytest.mark.parametrize("command", ["quantize", "diff", "eval", "run", "inspect", "lint"])
@pytest.mark.parametrize("contents", [b"", b"\x89PNG\r\n\x1a\n", b"\x08"],
                         ids=["empty", "png", "cut"])
def test_every_command_should_refuse_what_is_no_model(command, contents, program, tmp_path):
    (tmp_path / "m.onnx").write_bytes(contents)
    np.save(tmp_path / "in.npy", np.zeros((1, 1, 8, 8), np.float32))
    options = {"quantize": ["-o", tmp_path / "q.onnx", "--calib", CALIB],
               "eval": ["--data", DIGITS / "eval"], "inspect": [], "lint": [],
               "diff": [DIGITS / "digits-ts.onnx"],
               "run": ["--input", tmp_path / "in.npy", "--output", tmp_path / "out"]}[command]
    before = listing(tmp_path)
    assert_refused(start(program, command, tmp_path / "m.onnx", *options), MODEL,
                   [tmp_path / "m.onnx"])
    assert listing(tmp_path) == before


def test_a_model_cut_anywhere_should_be_refused(program, tmp_path):
    whole = small.batchnorm_behind_conv()[0].SerializeToString()
    path = tmp_path / "m.onnx"
    for length in {*range(0, len(whole), 29), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert_refused(start(program, "inspect", path), MODEL, [path])


@pytest.mark.parametrize("file", ["digits-ts.onnx", "digits-dynamo.onnx"])
def test_a_real_model_cut_anywhere_should_be_refused(file, program, tmp_path):
    whole = (DIGITS / file).read_bytes()
    path, out = tmp_path / "m.onnx", tmp_path / "q.onnx"
    for length in (1, 7, 100, 5000, len(whole) // 2, len(whole) - 5000, len(whole) - 40,
                   len(whole) - 3):
        path.write_bytes(whole[:length])
        assert_refused(start(program, *quantize(path, CALIB), "-o", out), MODEL, [path])
        assert not out.exists()


def test_a_model_with_a_flipped_byte_should_be_run_or_refused(program, tmp_path):
    """No byte of the skeleton may crash it: whatever the exit code, it is one of ours."""
    whole = small.batchnorm_behind_grouped_conv()[0].SerializeToString()
    path, rng = tmp_path / "m.onnx", np.random.default_rng(11)
    for at in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        done = start(program, "inspect", path)
        assert 0 <= done.returncode <= 8 and done.returncode != 1, (at, done.stderr)
        assert done.returncode == 0 or done.stderr.count("\n") == 1


# ---- what can't be read or written


def as_nobody():
    os.setgid(65534)
    os.setuid(65534)


@pytest.fixture
def open_folder():
    """Where another user may look, which pytest's own folders do not allow."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


@pytest.fixture
def unprivileged(open_folder, program):
    """Arguments for the program under a user who is not root."""
    if os.geteuid() != 0:
        return {}
    more = {"preexec_fn": as_nobody, "cwd": open_folder}
    try:
        support.ldnq("--version", program=program, **more)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("the program can't be started by another user")
    return more


def test_what_may_not_be_read_should_be_refused(program, open_folder, unprivileged):
    model, picture = open_folder / "m.onnx", open_folder / "x.png"
    shutil.copy(DIGIT_MODEL, model)
    shutil.copy(sorted(CALIB.iterdir())[0], picture)
    out = open_folder / "q.onnx"
    for path in (model, picture):
        path.chmod(0)
        done = start(program, *quantize(model, picture), "-o", out, **unprivileged)
        assert_refused(done, IO, [path, "Permission denied"])
        path.chmod(0o644)
    assert listing(open_folder) == [Path("m.onnx"), Path("x.png")]


def test_a_folder_that_may_not_be_written_should_be_refused(program, open_folder, unprivileged):
    for source, name in ((DIGIT_MODEL, "m.onnx"), (sorted(CALIB.iterdir())[0], "x.png")):
        shutil.copy(source, open_folder / name)
    out = open_folder / "out" / "q.onnx"
    out.parent.mkdir(mode=0o555)
    done = start(program, *quantize(open_folder / "m.onnx", open_folder / "x.png"), "-o", out,
                 **unprivileged)
    assert_refused(done, IO, [out, "Permission denied"])
    assert not list(out.parent.iterdir())


def small_files_only(limit):
    """Writes beyond the limit fail as on a full disk."""

    def apply():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return {"preexec_fn": apply, "restore_signals": False}


@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("limit", [0, 4096, 20000])
def test_a_full_disk_should_leave_no_file(program, tmp_path, limit, there):
    out = tmp_path / "q.onnx"
    if there:
        out.write_bytes(KEPT)
    done = start(program, *on_digits(CALIB), "-o", out, **small_files_only(limit))
    assert_refused(done, IO, [out])
    assert listing(tmp_path) == ([Path("q.onnx")] if there else [])
    assert not there or out.read_bytes() == KEPT


def test_a_full_disk_should_stop_the_spilling_of_activations(program, tmp_path):
    done = start(program, *on_digits(CALIB), "-o", tmp_path / "q.onnx", "--max-mem", "1K",
                 **small_files_only(4096), cwd=tmp_path)
    assert_refused(done, IO, ["temporary"])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_should_leave_no_output_of_run(program, tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((200, 1, 8, 8), np.float32))
    done = start(program, "run", DIGIT_MODEL, "--input", tmp_path / "in.npy", "--output",
                 tmp_path / "out", **small_files_only(4096))
    assert_refused(done, IO, [tmp_path / "out" / "logits.npy"])
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_should_leave_no_external_data(program, tmp_path):
    (tmp_path / "out").mkdir()
    proto, shape, _ = small.convolution((8, 9, 9), (64, 8, 3, 3))
    proto.graph.node[0].output[0] = "a"
    proto.graph.node.append(small.conv("a more", "y", name="left"))
    proto.graph.initializer.append(support.tensor("more", weights(16, 64, 3, 3)))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin")
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    done = start(program, *quantize(tmp_path / "m.onnx", calib), "--skip", "left", "-o",
                 tmp_path / "out" / "q.onnx", **small_files_only(8192))
    assert_refused(done, IO, [tmp_path / "out" / "q.onnx"])
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full_should_be_refused(program, tiny_disk):
    done = start(program, *on_digits(CALIB), "-o", tiny_disk / "q.onnx")
    assert_refused(done, IO, [tiny_disk / "q.onnx", "No space left"])
    assert not list(tiny_disk.iterdir())


# ---- killed on the way


@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
def test_a_killed_run_should_leave_all_or_nothing(tmp_path, there):
    whole = tmp_path / "whole.onnx"
    began = time.monotonic()
    support.succeed(*on_digits(CALIB), "-o", whole)
    step = (time.monotonic() - began) / 20
    killed, delay = 0, 0
    for i in range(24):
        out = tmp_path / str(i) / "q.onnx"
        out.parent.mkdir()
        if there:
            out.write_bytes(KEPT)
        child = subprocess.Popen([support.LDNQ, *map(str, on_digits(CALIB)), "-q", "-o", out])
        time.sleep(delay)
        child.kill()
        if child.wait() == -signal.SIGKILL:
            killed += 1
            delay += step
        else:  # it was faster than that: again from the start, in smaller steps
            delay, step = 0, step / 2
        left = [path.name for path in out.parent.iterdir() if path != out]
        assert all(name.startswith("q.onnx.tmp") for name in left) and len(left) <= 1
        if out.exists():
            assert out.read_bytes() in (whole.read_bytes(), *([KEPT] if there else []))
        else:
            assert not there
    assert killed >= 5

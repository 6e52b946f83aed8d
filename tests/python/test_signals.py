# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end a run where it can go on; a second one ends it at once. Nothing temporary
stays."""

import os
import signal
import subprocess
import time

import pytest

import support
from support import DIGITS

LINE = ["quantize", DIGITS / "digits-ts.onnx", "--calib", DIGITS / "calib", "--target", "weights",
        "--weights", "int4", "--solver", "best"]


def set_handling(ignored):
    """Whatever the shell that runs the tests ignores, as it does for jobs in the background."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)


def start(folder, *options, ignore=None):
    """A run whose log is a pipe: it waits where it opens it, after its samples are read, or, where
    there is a reader, after three of seven layers."""
    if not (folder / "log").exists():
        os.mkfifo(folder / "log")
    command = [support.LDNQ, *map(str, LINE), "-o", "q.onnx", "--log", "log", "--report", "r.html",
               *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            encoding="utf-8", preexec_fn=lambda: set_handling(ignore))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def end_after_layers(folder, number, *options, ignore=None):
    """(the run, its output, its messages); it is sent the signal among its layers."""
    pipe = support.open_small_pipe(folder / "log")
    with start(folder, *options, ignore=ignore) as run:
        support.wait_until_it_waits(run)
        run.send_signal(number)
        support.drain(pipe)
        return run, *run.communicate(timeout=60)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_should_store_the_layer_and_say_how_to_go_on(tmp_path, number, code):
    (tmp_path / "q.onnx").write_bytes(b"from an earlier run")
    run, out, err = end_after_layers(tmp_path, number, "--checkpoint", "ck")
    assert run.returncode == code and out == ""
    last = err.splitlines()[-1]
    assert "--resume" in last and "'ck'" in last and number.name in last
    assert names(tmp_path) == ["ck", "log", "q.onnx"]
    assert (tmp_path / "q.onnx").read_bytes() == b"from an earlier run"
    layers = [name for name in names(tmp_path / "ck") if name.endswith(".layer")]
    assert 2 <= len(layers) < 7 and len(names(tmp_path / "ck")) == len(layers) + 1
    done = support.ldnq(*LINE, "-o", "q.onnx", "--checkpoint", "ck", "--resume", cwd=tmp_path)
    assert done.returncode == support.OK and f"with {len(layers)} layers of ck" in done.stderr
    support.succeed(*LINE, "-o", "want.onnx", cwd=tmp_path)
    assert (tmp_path / "q.onnx").read_bytes() == (tmp_path / "want.onnx").read_bytes()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_a_checkpoint_a_signal_should_say_so(tmp_path, number, code):
    run, _, err = end_after_layers(tmp_path, number, "-q")
    assert run.returncode == code and "--checkpoint DIR" in err and err.count("\n") == 1
    assert names(tmp_path) == ["log"]


def test_a_second_signal_should_end_the_run_at_once(tmp_path):
    with start(tmp_path, "--checkpoint", "ck") as run:
        # It waits in open(), where nothing asks for the first one.
        support.wait_until_it_waits(run)
        run.send_signal(signal.SIGINT)
        support.wait_until_it_waits(run)
        assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=60) == 143
    assert names(tmp_path) == ["ck", "log"]


def test_a_signal_that_is_ignored_should_stay_ignored(tmp_path):
    run, _, _ = end_after_layers(tmp_path, signal.SIGINT, ignore=signal.SIGINT)
    assert run.returncode == support.OK and (tmp_path / "q.onnx").exists()


def test_the_log_of_a_run_that_was_ended_should_be_removed(tmp_path):
    """As for a job that is canceled; a run that goes on writes it from the start."""
    command = [support.LDNQ, *map(str, LINE), "-o", "q.onnx", "--log", "l.jsonl", "--augment", "8",
               "--checkpoint", "ck"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL,
                          preexec_fn=lambda: set_handling(None)) as run:
        while run.poll() is None and len(list(tmp_path.glob("ck/*.layer"))) < 1:
            time.sleep(.001)
        run.send_signal(signal.SIGINT)
    assert run.returncode == 130 and names(tmp_path) == ["ck"]

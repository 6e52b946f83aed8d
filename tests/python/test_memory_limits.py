# SPDX-License-Identifier: Apache-2.0
"""Limits of memory and threads: whatever they are, the program ends by itself, with a message."""

import resource
import subprocess

import pytest

from support import DIGITS, LDNQ, NOMEM, OK

MEBI = 1 << 20
EVAL = ["eval", DIGITS / "digits-ts.onnx", "--data", DIGITS / "eval", "--max-samples", 40]
QUANTIZE = ["quantize", DIGITS / "digits-ts.onnx", "--calib", DIGITS / "calib", "--max-samples", 30,
            "--target", "weights", "--weights", "int4", "--solver", "gptq", "-o", "q.onnx"]


def run_limited(which, limit, *arguments):
    """The exit code and the messages; a run that does not end fails the test."""
    done = subprocess.run([LDNQ, *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          check=False,
                          preexec_fn=lambda: resource.setrlimit(which, (limit, limit)))
    return done.returncode, done.stderr


def find_least_limit(which, low, high, *arguments):
    """The limit above which the program runs, within 2 MiB; it fails with `low`."""
    while high - low > 2 * MEBI:
        middle = (low + high) // 2
        if run_limited(which, middle, *arguments)[0] == OK:
            high = middle
        else:
            low = middle
    return high


@pytest.mark.parametrize("which, arguments", [
    (resource.RLIMIT_AS, [*QUANTIZE, "--threads", 1]),
    (resource.RLIMIT_AS, [*QUANTIZE, "--threads", 3, "--report", "q.html"]),
    (resource.RLIMIT_AS, [*EVAL, "--threads", 2]),
    (resource.RLIMIT_DATA, [*QUANTIZE, "--threads", 2]),
], ids=["one-thread", "threads", "eval", "data"])
def test_memory_that_runs_out_should_end_in_its_exit_code(tmp_path, monkeypatch, which, arguments):
    monkeypatch.chdir(tmp_path)
    loads = find_least_limit(which, MEBI, 2048 * MEBI, "--help") - 64 * MEBI
    works = find_least_limit(which, loads, 4096 * MEBI, *arguments)
    codes = set()
    steps = 8
    for step in range(steps + 1):
        limit = loads + (works - loads) * step // steps
        code, messages = run_limited(which, limit, *arguments)
        assert code in (OK, NOMEM), f"{limit} bytes: {code}, {messages}"
        assert code == OK or len(messages.splitlines()) == 1, messages
        codes.add(code)
    assert codes == {OK, NOMEM}
    for over in range(1, 5):  # less than what the buffers of the products leave
        code, messages = run_limited(which, works - over * MEBI // 2, *arguments)
        assert code in (OK, NOMEM), messages


def test_a_small_stack_should_be_refused():
    assert run_limited(resource.RLIMIT_STACK, 600 << 10, *EVAL)[0] == NOMEM
    assert run_limited(resource.RLIMIT_STACK, 8 * MEBI, *EVAL)[0] == OK

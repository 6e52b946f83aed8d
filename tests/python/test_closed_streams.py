# SPDX-License-Identifier: Apache-2.0
"""Standard streams that are closed when the program starts: no file may get their descriptors,
or what is printed lands in it."""

import json
import os

import pytest

import support
from support import DIGITS, IO, OK

LINE = ["quantize", DIGITS / "digits-ts.onnx", "--calib", DIGITS / "calib", "--max-samples", 40,
        "--target", "weights",
        "--solver", "gptq", "-v", "--max-mem", "1K", "--threads", 1]


def closing(*descriptors):
    return lambda: [os.close(descriptor) for descriptor in descriptors]


@pytest.mark.parametrize("closed", [[2], [0], [0, 2]])
def test_closed_streams_should_change_neither_the_model_nor_the_log(tmp_path, closed):
    support.succeed(*LINE, "-o", tmp_path / "good.onnx")
    done = support.ldnq(*LINE, "-o", tmp_path / "q.onnx", "--log", tmp_path / "log.jsonl",
                        preexec_fn=closing(*closed))
    assert done.returncode == OK
    assert (tmp_path / "q.onnx").read_bytes() == (tmp_path / "good.onnx").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 8


def test_a_closed_standard_output_should_still_be_an_error(tmp_path):
    done = support.ldnq("inspect", DIGITS / "digits-ts.onnx", preexec_fn=closing(1))
    assert done.returncode == IO and "standard output" in done.stderr
    assert support.ldnq("--version", preexec_fn=closing(0, 1, 2)).returncode == IO

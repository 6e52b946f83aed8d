# SPDX-License-Identifier: Apache-2.0
"""Samples whose files change or vanish while a run reads them again and again."""

import os
import shutil
import subprocess

import numpy as np
import onnx
import pytest

import support
from support import DIGITS

MODEL = DIGITS / "digits-ts.onnx"


def quantize_while(folder, calib, change):
    """Calls `change` after the samples were first read, and before the first layer."""
    os.mkfifo(folder / "log")
    line = ["quantize", MODEL, "--calib", calib, "--solver", "rtn", "--max-mem", "1K", "-o",
            folder / "q.onnx", "--log", folder / "log"]
    with subprocess.Popen([support.LDNQ, *map(str, line)], stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, encoding="utf-8") as run:
        # The log is a pipe. Opening it, the run waits for a reader.
        support.wait_until_it_waits(run)
        change()
        (folder / "log").read_text(encoding="utf-8")
        text = run.stderr.read()
    assert run.returncode == support.OK or not (folder / "q.onnx").exists()
    return run.returncode, text


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "c").mkdir()
    for i, path in enumerate(sorted((DIGITS / "calib").rglob("*.png"))[:12]):
        shutil.copy(path, tmp_path / "c" / f"{i:02}.png")
    return tmp_path / "c"


def test_a_picture_that_vanishes_should_be_named(tmp_path, pictures):
    code, text = quantize_while(tmp_path, pictures, (pictures / "07.png").unlink)
    assert code == support.IO and "07.png: has vanished since it was first read" in text


@pytest.mark.parametrize("content", ["another picture", "damage"])
def test_a_picture_that_changes_should_be_named(tmp_path, pictures, content):
    other = (pictures / "03.png").read_bytes()
    change = lambda: (pictures / "07.png").write_bytes(  # noqa: E731
        other if content == "another picture" else b"nothing")
    code, text = quantize_while(tmp_path, pictures, change)
    assert code == support.DATA and "07.png: has changed since it was first read" in text


@pytest.mark.parametrize("change", ["vanish", "other"])
def test_pictures_that_change_after_the_last_layer_should_lose_no_work(tmp_path, pictures, change):
    """The layers are written, and the run names what it could not measure on."""
    pipe = support.open_small_pipe(tmp_path / "log")
    line = ["quantize", MODEL, "--calib", pictures, "--target", "weights", "--weights", "int4",
            "--solver", "gptq", "-o", tmp_path / "q.onnx", "--log", tmp_path / "log"]
    with subprocess.Popen([support.LDNQ, *map(str, line)], stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, encoding="utf-8") as run:
        support.wait_until_it_waits(run)  # layers after the second read no samples
        for path in pictures.iterdir():
            path.unlink() if change == "vanish" else path.write_bytes(b"nothing")
        support.drain(pipe)
        text = run.stderr.read()
    assert run.returncode == support.OK, text
    assert ("has vanished" if change == "vanish" else "has changed") in text and ".png" in text
    onnx.checker.check_model(tmp_path / "q.onnx")


def test_a_copy_of_a_picture_should_be_as_good(tmp_path, pictures):
    def replace():
        shutil.copy(pictures / "07.png", tmp_path / "copy")
        os.replace(tmp_path / "copy", pictures / "07.png")

    assert quantize_while(tmp_path, pictures, replace)[0] == support.OK
    noted = support.metadata(tmp_path / "q.onnx")["ldnq.data"]
    support.succeed("quantize", MODEL, "--calib", pictures, "--solver", "rtn", "-o",
                    tmp_path / "again.onnx")
    assert support.metadata(tmp_path / "again.onnx")["ldnq.data"] == noted


def test_an_array_that_changes_should_be_named_and_may_lose_its_name(tmp_path):
    array = np.random.default_rng(0).standard_normal((12, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)

    def change():
        with open(tmp_path / "x.npy", "r+b") as file:
            file.seek(-4 * 12 * 64, os.SEEK_END)
            file.write(np.ones(12 * 64, np.float32).tobytes())

    code, text = quantize_while(tmp_path, tmp_path / "x.npy", change)
    assert code == support.DATA and "]: has changed since it was first read" in text
    (tmp_path / "log").unlink()
    code, text = quantize_while(tmp_path, tmp_path / "x.npy", (tmp_path / "x.npy").unlink)
    assert code == support.OK


def test_tensor_protos_that_change_should_be_named(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "p").mkdir()
    for i in range(12):
        proto = onnx.numpy_helper.from_array(rng.random((1, 1, 8, 8), np.float32))
        (tmp_path / "p" / f"{i:02}.pb").write_bytes(proto.SerializeToString())
    change = lambda: shutil.copy(tmp_path / "p" / "03.pb", tmp_path / "p" / "05.pb")  # noqa: E731
    code, text = quantize_while(tmp_path, tmp_path / "p", change)
    assert code == support.DATA and "05.pb: has changed since it was first read" in text

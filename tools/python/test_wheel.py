# SPDX-License-Identifier: Apache-2.0
"""Tests the wheel where it is installed: tools/wheel runs them in an environment of their own."""

import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import ldnq

HERE = Path(__file__).resolve().parent
PACKAGE = Path(ldnq.__file__).resolve().parent
OF_PYTHON = {"libbz2", "liblzma", "libcrypto", "libz"}  # modules of Python itself load the system's


def model():
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((32, 8), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", size])
            for name, size in (("x", 32), ("y", 8)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    graph = helper.make_graph([node], "small", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


SAMPLES = np.random.default_rng(1).standard_normal((64, 32), np.float32)


@pytest.mark.parametrize("name", ["quantize_cnn.py", "quantize_transformer.py"])
def test_examples_should_run_within_two_minutes(name, tmp_path):
    start = time.monotonic()
    done = subprocess.run([sys.executable, HERE / name], cwd=tmp_path, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "computes what ldnq computes" in done.stdout, done.stdout
    seconds = time.monotonic() - start
    print(f"\n{name}: {seconds:.1f} s\n{done.stdout}")
    assert seconds < 120
    lines = [line for line in (HERE / name).read_text().splitlines()[1:] if line.strip()]
    assert len(lines) <= 13
    assert len(list(tmp_path.glob("*.onnx"))) == 1


def test_libraries_should_be_those_of_the_wheel():
    code = ("import ldnq; "
            "print(''.join(line for line in open('/proc/self/maps') if '.so' in line))")
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout
    mapped = {Path(line.split()[-1]) for line in text.splitlines() if line.strip()}
    inside = {path.name.split("-")[0] for path in (PACKAGE.parent / "ldnq.libs").iterdir()}
    assert {"libopenblasp", "libprotobuf", "libpng16", "libzip"} <= inside
    foreign = {path.name for path in mapped if "site-packages" not in path.parts and
               path.name.split(".")[0] in inside - OF_PYTHON}
    assert not foreign
    assert any(path.name.startswith("libopenblasp-") for path in mapped)


def test_the_program_should_run():
    done = subprocess.run([sys.executable, "-m", "ldnq", "--version"], capture_output=True,
                          text=True, check=True)
    assert metadata.version("ldnq") == ldnq.__version__ and ldnq.__version__ in done.stdout
    assert subprocess.run([Path(sys.executable).parent / "ldnq", "--version"], check=True,
                          capture_output=True, text=True).stdout == done.stdout


def test_tables_and_bars_should_be_there(capfd):
    q = ldnq.quantize(model(), SAMPLES, weights="int4", progress=True)
    assert list(q.to_pandas()["node"]) == ["product"]
    assert "%" in capfd.readouterr().err


def test_keywords_should_have_types(tmp_path):
    (tmp_path / "good.py").write_text(
        'import ldnq\nq = ldnq.quantize("net.onnx", None, target="ort", block_size=32)\n'
        'data: bytes = q.model\nd = ldnq.diff("a.onnx", q)\nshare: float | None = d.agreement\n')
    (tmp_path / "bad.py").write_text(
        'import ldnq\nldnq.quantize("net.onnx", None, target="orb")\n'
        'ldnq.quantize("net.onnx", None, weight="int4")\nldnq.lint("q.onnx", weights="int4")\n')
    for name, errors in (("good.py", 0), ("bad.py", 3)):
        done = subprocess.run([sys.executable, "-m", "mypy", "--python-version", "3.11", name],
                              cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.count("error:") == errors, done.stdout

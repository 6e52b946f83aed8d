# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at random moments, with everything that it can write: there is never half a
file, and what is there goes on to the bytes of a run that was never ended.

Half of the moments are drawn over the run's own duration, measured first, so that they fall on all
its stages on any machine; the others come after a number of layers. LDNQ_KILL_SEED repeats the moments of a run that failed."""

import os
import random
import shutil
import subprocess
import time

import numpy as np
import onnx

import small_models as small
import support

MOMENTS = int(os.environ.get("LDNQ_KILL_MOMENTS", 50))


def make_model(path, seed):
    """Six products, of which the last stays float, in a data file."""
    rng = np.random.default_rng(seed)
    arrays = {f"w{i}": rng.standard_normal((48, 48)).astype(np.float32) / 7 for i in range(6)}
    nodes, last = [], "x"
    for i in range(6):
        out = "y" if i == 5 else f"h{i}"
        nodes.append(small.node("MatMul", f"{last} w{i}", out, name=f"p{i}"))
        if i < 5:
            nodes.append(small.node("Relu", out, f"r{i}"))
        last = f"r{i}"
    onnx.save_model(small.chain(nodes, (48,), (48,), arrays), path, save_as_external_data=True,
                    location=path.with_suffix(".bin").name, size_threshold=0)


def line(model, *options):
    return [support.LDNQ, "quantize", f"../{model}.onnx", "--calib", "../x.npy", "--target",
            "weights", "--weights", "int4", "--solver", "best", "--skip", "p5", "--threads", "1",
            "-q", "-o", "q.onnx", "--report", "r.html", "--log", "l.jsonl", *options]


def model_of(folder):
    """The bytes of the model and of the data file that it refers to."""
    path = folder / "q.onnx"
    if not path.exists():
        return None
    proto = onnx.load(path, load_external_data=False)
    names = {entry.value for tensor in proto.graph.initializer for entry in tensor.external_data
             if entry.key == "location"}
    assert len(names) == 1
    return path.read_bytes(), (folder / names.pop()).read_bytes()


def run(folder, command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                          timeout=60)
    assert done.returncode == support.OK, done.stderr
    return model_of(folder)


def layers_of(folder):
    return list(folder.glob("ck/*.layer"))


def kill_after(folder, command, seconds, layers):
    """Whether the run was still there to be killed, after that time or with that many layers."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as started:
        if seconds is not None:
            time.sleep(seconds)
        while seconds is None and started.poll() is None and len(layers_of(folder)) < layers:
            time.sleep(.0005)
        started.kill()
    return started.returncode != support.OK


def assert_no_half_file(folder, old, new):
    """An OUT is the old one or the new one, as a whole; so is a page."""
    assert model_of(folder) in (old, new)
    page = folder / "r.html"
    assert not page.exists() or page.read_text().rstrip().endswith("</html>")
    for record in layers_of(folder):
        assert record.read_bytes()[:8] == b"ldnqlayr"


def test_a_run_that_is_killed_should_always_go_on(tmp_path):
    seed = int(os.environ.get("LDNQ_KILL_SEED", random.randrange(10**6)))
    print(f"LDNQ_KILL_SEED={seed}")
    rng = random.Random(seed)
    for name in ("old", "new"):
        make_model(tmp_path / f"{name}.onnx", len(name) + (name == "new"))
        (tmp_path / name).mkdir()
    np.save(tmp_path / "x.npy",
            np.random.default_rng(5).standard_normal((64, 48)).astype(np.float32))
    old = run(tmp_path / "old", line("old"))
    start = time.monotonic()
    new = run(tmp_path / "new", line("new", "--checkpoint", "ck"))
    duration = time.monotonic() - start
    assert old != new and sorted(path.suffix for path in (tmp_path / "new").iterdir()) == \
        [".data", ".html", ".jsonl", ".onnx"]
    killed = resumed = 0
    folder = tmp_path / "run"
    for moment in range(MOMENTS):
        if not folder.exists():
            # Half of the runs find the result of another one at their path.
            if moment % 2:
                shutil.copytree(tmp_path / "old", folder)
            else:
                folder.mkdir()
            before = model_of(folder)
        seconds = rng.uniform(0, duration) if rng.random() < .5 else None
        is_whole = not layers_of(folder)
        was_killed = kill_after(folder, line("new", "--checkpoint", "ck", "--resume"), seconds,
                                rng.randrange(5))
        if seconds is not None and is_whole and not was_killed:
            duration = seconds  # the machine has become faster
        killed += was_killed
        resumed += was_killed and bool(layers_of(folder))
        assert_no_half_file(folder, before, new)
        # Some runs are killed again and again.
        if was_killed and rng.random() < .5:
            continue
        assert run(folder, line("new", "--checkpoint", "ck", "--resume")) == new
        assert not (folder / "ck").exists()
        shutil.rmtree(folder)
    assert killed > MOMENTS // 3 and resumed > MOMENTS // 10

# SPDX-License-Identifier: Apache-2.0
"""Test cases in ONNX's layout: written to folders, and run by the program node_case.

The program comes from the sanitized build where there is one.
"""

import os
import subprocess
from pathlib import Path

from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[2]


def program():
    for build in (os.environ.get("LDNQ_BUILD_ASAN"), os.environ.get("LDNQ_BUILD"), ROOT / "build"):
        if build and (path := Path(build) / "tests" / "ops" / "node_case").exists():
            return path
    raise FileNotFoundError("node_case is not built: meson setup build && ninja -C build")


def run(dirs, relative=1e-5):
    """{name: (verdict, reason)} of all cases; a crash is an error."""
    command = [program(), "--relative", str(relative), *dirs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, reason = rest.partition(": ")
        results[name] = (verdict, reason)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    assert len(results) == len(dirs)
    return results


def write(folder, model, inputs, outputs):
    """inputs and outputs: arrays in the order of the graph's."""
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, array in enumerate(arrays):
            proto = numpy_helper.from_array(array)
            (data / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())
    return folder

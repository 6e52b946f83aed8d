# SPDX-License-Identifier: Apache-2.0
"""Files name the kernels that made them, and --portable writes the same bytes with any of
OpenBLAS's kernels."""

import os
import subprocess

import onnx
import pytest
import support

CPU = subprocess.run([support.LDNQ, "--version"], capture_output=True, text=True,
                     check=True).stdout.split("cpu:")[1].split()
KERNELS = ["Haswell", "Zen", "SkylakeX"] if "avx512f" in CPU else ["Haswell", "Zen"]
needs_fma = pytest.mark.skipif("avx2" not in CPU or "fma" not in CPU, reason="needs AVX2 and FMA")

# Quick, and still through all that computes: products, factorizations, convolutions, fits.
SAMPLES = ("--calib", support.DIGITS / "calib", "--max-samples", 40, "--augment", 1)
SETTINGS = {
    "int8 with activations": ("--target", "ort", "--weights", "int8", "--solver", "nearest"),
    "int4 blocks": ("--target", "ort", "--weights", "int4", "--solver", "best"),
    "int4": ("--target", "weights", "--weights", "int4", "--solver", "best"),
    "ternary": ("--target", "weights", "--weights", "ternary", "--solver", "best"),
    "fine-tuned": ("--target", "weights", "--weights", "int3", "--solver", "gptq", "--distill", 10),
}


def quantize(folder, kernels, *options):
    """The bytes of the file, its metadata, and what was printed."""
    out = folder / f"{kernels}.onnx"
    done = support.succeed("quantize", support.DIGITS / "digits-ts.onnx", "-o", out, *SAMPLES,
                           *options, env={**os.environ, "OPENBLAS_CORETYPE": kernels})
    metadata = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    return out.read_bytes(), metadata, done.stdout


@needs_fma
@pytest.mark.parametrize("setting", SETTINGS)
def test_portable_files_should_not_depend_on_the_kernels(setting, tmp_path):
    files = {kernels: quantize(tmp_path, kernels, *SETTINGS[setting], "--portable")[0]
             for kernels in KERNELS}
    assert len(set(files.values())) == 1


@needs_fma
@pytest.mark.parametrize("kernels", KERNELS)
def test_file_and_summary_should_name_the_kernels(kernels, tmp_path):
    _, metadata, printed = quantize(tmp_path, kernels, *SETTINGS["int4"], "--solver", "rtn")
    assert metadata["ldnq.kernels"].startswith("OpenBLAS ")
    assert f"({kernels} kernels), FMA" in metadata["ldnq.kernels"]
    assert "portable" not in metadata["ldnq.options"]
    assert f"kernels: {metadata['ldnq.kernels']}\n" in printed
    _, metadata, _ = quantize(tmp_path, kernels, *SETTINGS["int4"], "--solver", "rtn", "--portable")
    assert "(Haswell kernels)" in metadata["ldnq.kernels"]
    assert "portable=1" in metadata["ldnq.options"].split()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows that builds of the program write the same files, byte by byte.

compare-files OLD NEW [--small]    both programs quantize the same models with the same options
compare-files PROGRAM --record FILE    writes the hashes of PROGRAM's files to the entry of FILE
                                       for this machine's kernels; tests/python/test_golden_files.py
                                       compares with that entry

The models in testdata/ are always taken; without --small and --record also the networks below
LDNQ_DATA (by default ../shared/data). The output has a line for each case, then a sum; exit code
1 where two files differ."""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("LDNQ_DATA", ROOT.parent / "shared" / "data"))
DIGITS = ROOT / "testdata" / "digits"

# Codebooks, scales and solvers. What the bytes depend on is given, whatever the defaults are.
KINDS = {
    "int8": ["--weights", "int8", "--solver", "best"],
    "int4": ["--weights", "int4", "--solver", "best", "--storage", "int4"],
    "ternary": ["--weights", "ternary", "--solver", "best", "--storage", "int8"],
    "int3 blocks": ["--weights", "int3", "--solver", "best", "--granularity", "block",
                    "--block-size", "16", "--storage", "int4"],
    "pot5 tensor": ["--weights", "pot5", "--solver", "best", "--granularity", "tensor",
                    "--storage", "int8"],
    "budget": ["--budget", "3bits", "--weights", "int2,int3,int4,int8", "--solver", "best",
               "--storage", "int8"],
    "admm-paper": ["--weights", "ternary", "--solver", "admm-paper", "--effort", "fast",
                   "--lambda", "0", "--storage", "int8"],
    "gptq": ["--weights", "int4", "--solver", "gptq", "--storage", "int8"],
    "beam": ["--weights", "int2", "--solver", "beam", "--storage", "int2"],
}
FINE_TUNING = {
    "distill": ["--weights", "ternary", "--solver", "best", "--storage", "int8", "--distill", "20",
                "--refine"],
    "cascade": ["--weights", "ternary", "--solver", "best", "--storage", "int8", "--cascade", "5"],
}
RTN = {"rtn": ["--weights", "int8", "--solver", "rtn"]}


def cases_of(name, folder, kinds, *options):
    """{case: (model, options)} of a network, for both exporters."""
    return {f"{name}-{exporter} {kind}": (folder / f"{name}-{exporter}.onnx",
                                          [*kinds[kind], "--calib", folder / "calib", *options])
            for exporter in ("ts", "dynamo") for kind in kinds}


def small_cases():
    return cases_of("digits", DIGITS, {**KINDS, **FINE_TUNING})


def all_cases():
    cifar, lite = DATA / "resnet20-cifar10", DATA / "efficientnet-lite0"
    return {**small_cases(),
            **cases_of("resnet20", cifar, KINDS, "--mean", ".485,.456,.406", "--std",
                       ".229,.224,.225"),
            **cases_of("efficientnet-lite0", lite, RTN, "--mean", ".498", "--std", ".502")}


KERNELS_KEY = b"ldnq.kernels"


def without_kernels(data):
    """The file without the metadata that names the kernels: records are sorted by them."""
    entry = b"\n" + bytes([len(KERNELS_KEY)]) + KERNELS_KEY + b"\x12"
    start = data.find(entry)
    if start < 0:
        return data
    end = start + len(entry) + 1 + data[start + len(entry)]
    assert end - start < 128 and data[start - 2:start] == bytes([0x72, end - start])
    return data[:start - 2] + data[end:]


class Program:
    def __init__(self, path):
        self.path = pathlib.Path(path).resolve()
        lines = self.print("--version").splitlines()
        self.version = lines[0].removeprefix("ldnq ")
        self.about = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        # Programs from before 0.2.0 have no targets.
        has_targets = "--target" in self.print("quantize", "--help")
        self.target = ["--target", "weights"] if has_targets else []

    def print(self, *arguments):
        return subprocess.run([self.path, *arguments], capture_output=True, text=True,
                              check=True).stdout

    def kernels(self):
        """What the bytes depend on besides the program: OpenBLAS's kernels, FMA, libm."""
        has_fma = "fma" in self.about["cpu"].split()
        return ", ".join([self.about["blas"], "FMA" if has_fma else "no FMA",
                          os.confstr("CS_GNU_LIBC_VERSION")])

    def quantize(self, model, options):
        """The bytes of the file, without the version and the kernels that wrote it; None where
        that failed."""
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out.onnx"
            done = subprocess.run([self.path, "quantize", model, "-o", out, "-q", *self.target,
                                   *options], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"{self.path} failed: {done.stderr.strip()}")
                return None
            return without_kernels(out.read_bytes().replace(self.version.encode(), b"VERSION"))

    def hash(self, model, options):
        data = self.quantize(model, options)
        return data and hashlib.sha256(data).hexdigest()


def compare(old, new, cases):
    """Whether all files are equal."""
    different = 0
    for name, (model, options) in cases.items():
        hashes = [program.hash(model, options) for program in (old, new)]
        is_same = hashes[0] is not None and hashes[0] == hashes[1]
        different += not is_same
        print(f"same       {name} {hashes[0][:16]}" if is_same else f"DIFFERENT  {name}",
              flush=True)
    print(f"{len(cases) - different} same, {different} different")
    return different == 0


def record(program, file):
    """Whether all files were written."""
    entries = json.loads(file.read_text()) if file.exists() else {}
    hashes = {name: program.hash(*case) for name, case in small_cases().items()}
    if None in hashes.values():
        return False
    entries[program.kernels()] = hashes
    file.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
    print(f"{len(hashes)} files for {program.kernels()}")
    return True


def main():
    parser = argparse.ArgumentParser(prog="compare-files", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--record", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    if len(options.programs) != (1 if options.record else 2):
        parser.error("--record takes one program, a comparison takes two")
    programs = [Program(path) for path in options.programs]
    if options.record:
        return record(programs[0], options.record)
    return compare(*programs, small_cases() if options.small else all_cases())


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each choice of weights and target costs and gains, for the table of src/docs/choosing.md:
the size of the file, the accuracy on evaluation images beside the float network, the time of one
sample in ONNX Runtime (one thread, processor time, medians over turns that the files take one
after the other) with its default session, and with session.disable_quant_qdq = 1, which
dequantizes weights once.

    tools/bench_choices.py --only ResNet       (with the Python of tests/requirements.txt)

Networks and samples: tools/bench_networks.py; those with labelled images alone."""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

import bench_targets as bench
from bench_networks import Pictures, all_networks

# What is written, and its options.
CHOICES = [
    ("int8, ort (default)", ["--target", "ort", "--weights", "int8"]),
    ("int8, weights alone", ["--target", "weights", "--weights", "int8"]),
    ("int4, 8-bit activations", ["--target", "ort", "--weights", "int4", "--activations",
                                 "uint8"]),
    ("int4, weights alone", ["--target", "weights", "--weights", "int4"]),
    ("int4, blocks of 32", ["--target", "weights", "--weights", "int4", "--granularity", "block",
                            "--block-size", "32"]),
    ("int3, weights alone", ["--target", "weights", "--weights", "int3"]),
    ("int2, blocks of 16", ["--target", "weights", "--weights", "int2", "--granularity", "block",
                            "--block-size", "16"]),
    ("ternary, weights alone", ["--target", "weights", "--weights", "ternary"]),
]


def milliseconds(runners, samples, turns, runs=3):
    """Medians of processor time; the runners take turns."""
    feed = {name: array[:1] for name, array in samples.items()}
    times = [[] for _ in runners]
    for _ in range(turns):
        for runner, found in zip(runners, times):
            runner.run(None, feed)
            start = time.process_time()
            for _ in range(runs):
                runner.run(None, feed)
            found.append((time.process_time() - start) / runs * 1e3)
    return [statistics.median(found) for found in times]


def quantized(network, folder, choices, more):
    """[(name, file)] of the choices."""
    files = []
    for i, (name, options) in enumerate(choices):
        out = folder / f"{i}.onnx"
        bench.ours(network, out, None, [*options, *more])
        files.append((name, out))
        print(f"{network.name}: {name}", file=sys.stderr)
    return files


def measure(network, choices, arguments):
    samples, labels = network.samples("eval"), network.labels()
    exact = bench.outputs(network.model, samples)
    with tempfile.TemporaryDirectory() as name:
        files = [("float", network.model),
                 *quantized(network, pathlib.Path(name), choices, arguments.options)]
        sessions = [bench.session(path, 1, fuses=fuses)
                    for _, path in files for fuses in (True, False)]
        times = milliseconds(sessions, samples, arguments.turns)
        print(f"\n{network.name}, {len(exact)} images")
        print("| file | kB | times smaller | top-1 | agreement | KL divergence | ms | "
              "ms, dequantized once |")
        print("|---|---|---|---|---|---|---|---|")
        whole = network.model.stat().st_size
        for i, (kind, path) in enumerate(files):
            top, agree, kl, _ = bench.quality(
                exact, bench.outputs(path, samples, fuses=False), labels)
            size = path.stat().st_size
            print(f"| {kind} | {size / 1000:.0f} | {whole / size:.1f} | {top:.2f} | {agree:.2f} | "
                  f"{kl:.4f} | {times[2 * i]:.2f} | {times[2 * i + 1]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks with this word in their name")
    parser.add_argument("--choice", default="", help="choices with this word in their name")
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("options", nargs="*", help="options of ldnq quantize, after --")
    arguments = parser.parse_args()
    choices = [c for c in CHOICES if arguments.choice in c[0]]
    for network in all_networks():
        if isinstance(network, Pictures) and arguments.only.lower() in network.name.lower():
            measure(network, choices, arguments)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Times ldnq's float executor against ONNX Runtime on the same input.

The two take turns, so that a machine whose speed drifts slows both; printed are
the medians and the ratio ONNX Runtime / ldnq (1: equally fast, 0.5: half its
speed). Outputs are compared before anything is timed."""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
NETWORKS = [
    ("ResNet-20", DATA / "resnet20-cifar10/resnet20-ts.onnx", (3, 32, 32)),
    ("EfficientNet-Lite0", DATA / "efficientnet-lite0/efficientnet-lite0-ts.onnx", (3, 224, 224)),
    ("digits", ROOT / "testdata/digits/digits-ts.onnx", (1, 8, 8)),
]
# ONNX Runtime's threads go on spinning for a while after a run.
PAUSE = 0.05


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def time_both(path, sample, batch, threads, runs):
    """Seconds a run, as two lists; the outputs must agree."""
    data = numpy.random.default_rng(0).standard_normal((batch, *sample)).astype(numpy.float32)
    reference = session(path, threads)
    feeds = {reference.get_inputs()[0].name: data}
    expected = reference.run(None, feeds)[0]
    with tempfile.TemporaryDirectory() as folder:
        given, made = f"{folder}/in.npy", f"{folder}/out.npy"
        numpy.save(given, data)
        ours = subprocess.Popen(
            [ROOT / "build/tests/exec/bench_forward", path, given, made, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if ours.stdout.readline().strip() != "ready":
            sys.exit(f"{path}: the executor did not start")
        error = numpy.abs(numpy.load(made) - expected).max() / numpy.abs(expected).max()
        if not error < 1e-4:
            sys.exit(f"{path}: outputs differ by {error:.2g}")
        theirs_seconds, ours_seconds = [], []
        for _ in range(runs):
            start = time.perf_counter()
            reference.run(None, feeds)
            theirs_seconds.append(time.perf_counter() - start)
            time.sleep(PAUSE)
            ours.stdin.write("\n")
            ours.stdin.flush()
            ours_seconds.append(float(ours.stdout.readline()))
        ours.stdin.close()
        ours.wait()
    return theirs_seconds, ours_seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--network", nargs="+", help="names of networks; all by default")
    arguments = parser.parse_args()

    print(f"{'network':20} {'batch':>5} {'threads':>7} {'ORT ms':>9} {'ldnq ms':>9} {'ratio':>6}")
    for name, path, sample in NETWORKS:
        if arguments.network and name not in arguments.network:
            continue
        if not path.exists():
            print(f"{name:20} left out: {path.name} is not here")
            continue
        for batch in arguments.batch:
            for threads in arguments.threads:
                runs = arguments.runs if batch > 1 else 5 * arguments.runs
                theirs, ours = time_both(path, sample, batch, threads, runs)
                ratio = statistics.median(a / b for a, b in zip(theirs, ours))
                print(f"{name:20} {batch:5} {threads:7} {1e3 * statistics.median(theirs):9.2f} "
                      f"{1e3 * statistics.median(ours):9.2f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()

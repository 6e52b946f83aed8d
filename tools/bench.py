#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times ldnq's float executor against ONNX Runtime on the same input.

The two take turns, so that a machine whose speed drifts slows both. With one thread
it is processor time that counts. Printed are the least times, which other programs disturb least, and the ratio ONNX Runtime /
ldnq (1: equally fast, 0.5: half its speed) of those and as the median over the
turns. Outputs are compared before anything is timed."""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

import bench_transformer

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("LDNQ_DATA", ROOT.parent / "shared" / "data"))
TRANSFORMER = ROOT / "build" / "transformer.onnx"
PROGRAM = ROOT / "build/tests/exec/bench_forward"


def pictures(*sample):
    return lambda rng, batch: rng.standard_normal((batch, *sample)).astype(numpy.float32)


def tokens(rng, batch):
    return rng.integers(0, bench_transformer.WORDS, (batch, bench_transformer.TOKENS))


NETWORKS = [
    ("ResNet-20", DATA / "resnet20-cifar10/resnet20-ts.onnx", pictures(3, 32, 32)),
    ("EfficientNet-Lite0", DATA / "efficientnet-lite0/efficientnet-lite0-ts.onnx",
     pictures(3, 224, 224)),
    ("transformer", TRANSFORMER, tokens),
    ("digits", ROOT / "testdata/digits/digits-ts.onnx", pictures(1, 8, 8)),
]
# ONNX Runtime's threads go on spinning for a while after a run, and so do ours.
PAUSE = 0.05
# Of each in its turn; the last one counts, as the first after a pause finds caches cold and
# threads asleep.
RUNS = 2


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Ours:
    """bench_forward at work on one input: a call is some runs, and gives the seconds of each."""

    def __init__(self, path, data, threads, folder):
        given, made = f"{folder}/in.npy", f"{folder}/out.npy"
        numpy.save(given, data)
        # OpenBLAS' own threads spin for a while after they have started, which would count.
        self.process = subprocess.Popen([PROGRAM, path, given, made, str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{path}: the executor did not start")
        self.output = numpy.load(made)

    def __call__(self, runs):
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        return [float(seconds) for seconds in self.process.stdout.readline().split()]

    def finish(self):
        self.process.stdin.close()
        self.process.wait()


def seconds_now(threads):
    """What bench_forward counts."""
    return time.thread_time() if threads == 1 else time.perf_counter()


def time_both(path, sample, batch, threads, seconds, least_runs):
    """Seconds a run, as two lists; the outputs must agree."""
    data = sample(numpy.random.default_rng(0), batch)
    reference = session(path, threads)
    feeds = {reference.get_inputs()[0].name: data}
    expected = reference.run(None, feeds)[0]
    theirs_seconds, ours_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(path, data, threads, folder)
        error = numpy.abs(ours.output - expected).max() / numpy.abs(expected).max()
        if not error < 1e-4:
            sys.exit(f"{path}: outputs differ by {error:.2g}")
        end = time.perf_counter() + seconds
        while len(ours_seconds) < least_runs or time.perf_counter() < end:
            time.sleep(PAUSE)
            for _ in range(RUNS):
                start = seconds_now(threads)
                reference.run(None, feeds)
                theirs = seconds_now(threads) - start
            time.sleep(PAUSE)
            ours_seconds.append(ours(RUNS)[-1])
            theirs_seconds.append(theirs)
        ours.finish()
    return theirs_seconds, ours_seconds


def print_line(name, batch, threads, theirs, ours):
    least = min(theirs) / min(ours)
    median = statistics.median(a / b for a, b in zip(theirs, ours))
    print(f"{name:20} {batch:5} {threads:7} {1e3 * min(theirs):9.2f} {1e3 * min(ours):9.2f} "
          f"{least:6.2f} {median:7.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=8, help="for each line of the table")
    parser.add_argument("--runs", type=int, default=5, help="at least, for each line")
    parser.add_argument("--network", nargs="+", help="names of networks; all by default",
                        choices=[name for name, _, _ in NETWORKS])
    arguments = parser.parse_args()

    if not TRANSFORMER.exists():
        bench_transformer.write(TRANSFORMER)
    print(f"{'network':20} {'batch':>5} {'threads':>7} {'ORT ms':>9} {'ldnq ms':>9} "
          f"{'ratio':>6} {'median':>7}")
    for name, path, sample in NETWORKS:
        if arguments.network and name not in arguments.network:
            continue
        if not path.exists():
            print(f"{name:20} left out: {path.name} is not here; LDNQ_DATA names its folder")
            continue
        for batch in arguments.batch:
            for threads in arguments.threads:
                theirs, ours = time_both(path, sample, batch, threads, arguments.seconds,
                                         arguments.runs)
                print_line(name, batch, threads, theirs, ours)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures files that ldnq writes for ONNX Runtime (--target ort) beside those of ONNX
Runtime's own quantize_static (MinMax, per channel, uint8 activations, int8 weights), in one run.

For each network: seconds and peak memory of the quantization; kernels that ONNX Runtime still
runs in float; on evaluation images the top-1, the agreement with the float network, the KL
divergence (nats per image) and the SQNR (dB) of the outputs; milliseconds per image in ONNX
Runtime at batch 1, medians over turns that the files take one after the other.

The networks and images are not part of the repository: LDNQ_DATA (or ../shared/data)."""

import argparse
import collections
import csv
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization import shape_inference
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("LDNQ_DATA", ROOT.parent / "shared" / "data"))
PROGRAM = pathlib.Path(os.environ.get("LDNQ_BUILD", ROOT / "build")) / "src/cli/ldnq"
BATCH = 50
KERNELS = {"Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul", "Add", "MaxPool", "AveragePool"}


class Network:
    def __init__(self, name, folder, model, mean, std):
        self.name, self.folder, self.model = name, DATA / folder, DATA / folder / model
        self.mean, self.std = numpy.float32(mean), numpy.float32(std)

    def files(self, split):
        return sorted(p for p in (self.folder / split).rglob("*")
                      if p.suffix in (".png", ".jpg", ".JPEG", ".jpeg"))

    def images(self, split):
        pixels = [numpy.asarray(Image.open(f).convert("RGB"), numpy.float32)
                  for f in self.files(split)]
        scaled = (numpy.stack(pixels) / 255 - self.mean) / self.std
        return scaled.transpose(0, 3, 1, 2).astype(numpy.float32)

    def labels(self):
        """By labels.csv, else by the folders in alphabetical order."""
        table = self.folder / "eval" / "labels.csv"
        files = self.files("eval")
        if table.exists():
            with table.open() as rows:
                known = {row[0]: int(row[1]) for row in csv.reader(rows) if row[1].isdigit()}
            return numpy.array([known[f.name] for f in files])
        classes = sorted({f.parent.name for f in files})
        return numpy.array([classes.index(f.parent.name) for f in files])


NETWORKS = [
    Network("ResNet-20", "resnet20-cifar10", "resnet20-ts.onnx", (.485, .456, .406),
            (.229, .224, .225)),
    Network("EfficientNet-Lite0", "efficientnet-lite0", "efficientnet-lite0-ts.onnx", (.498,) * 3,
            (.502,) * 3),
]


class Images(quantization.CalibrationDataReader):
    def __init__(self, name, images):
        self.name, self.rest = name, iter(range(len(images)))
        self.data = images

    def get_next(self):
        i = next(self.rest, None)
        return None if i is None else {self.name: self.data[i:i + 1]}


def session(path, threads=2, optimized=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quantize_static(network, out, folder):
    """Seconds, and nothing for memory: it runs in this process."""
    prepared = folder / "prepared.onnx"
    images = network.images("calib")
    start = time.monotonic()
    shape_inference.quant_pre_process(str(network.model), str(prepared))
    name = onnx.load(prepared).graph.input[0].name
    quantization.quantize_static(
        str(prepared), str(out), Images(name, images), per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8)
    return time.monotonic() - start, float("nan")


def ours(network, out, options):
    """(seconds, peak MB)"""
    triple = [",".join(f"{v:g}" for v in part.tolist()) for part in (network.mean, network.std)]
    command = [PROGRAM, "quantize", network.model, "-o", out, "--calib", network.folder / "calib",
               "--target", "ort", "--mean", triple[0], "--std", triple[1], "-q", *options]
    start = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {child.returncode}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def outputs(path, images):
    runner = session(path)
    name = runner.get_inputs()[0].name
    return numpy.concatenate([runner.run(None, {name: images[i:i + BATCH]})[0]
                              for i in range(0, len(images), BATCH)]).astype(numpy.float64)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))


def divergence(float_logits, logits):
    p, q = log_softmax(float_logits), log_softmax(logits)
    return float((numpy.exp(p) * (p - q)).sum(axis=1).mean())


def sqnr(exact, found):
    return 10 * numpy.log10(numpy.square(exact).sum() / numpy.square(exact - found).sum())


def float_kernels(path, folder):
    optimized = folder / "optimized.onnx"
    session(path, optimized=optimized)
    counts = collections.Counter(n.op_type for n in onnx.load(optimized).graph.node)
    return sum(counts[kernel] for kernel in KERNELS)


def milliseconds(paths, image, threads, turns, runs=3):
    """Medians of the files, which take turns."""
    runners = [session(path, threads) for path in paths]
    times = [[] for _ in paths]
    for _ in range(turns):
        for runner, found in zip(runners, times):
            feed = {runner.get_inputs()[0].name: image}
            runner.run(None, feed)
            start = time.perf_counter()
            for _ in range(runs):
                runner.run(None, feed)
            found.append((time.perf_counter() - start) / runs * 1e3)
    return [statistics.median(found) for found in times]


def measure(network, made, spent_on_ours, options, turns):
    images, labels = network.images("eval"), network.labels()
    exact = outputs(network.model, images)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = {"float": network.model, "quantize_static": folder / "static.onnx", "ldnq": made}
        spent = {"float": (float("nan"),) * 2,
                 "quantize_static": quantize_static(network, files["quantize_static"], folder),
                 "ldnq": spent_on_ours}
        one, two = (milliseconds(files.values(), images[:1], threads, turns)
                    for threads in (1, 2))
        print(f"\n{network.name}, {len(network.files('calib'))} calibration and {len(images)} "
              f"evaluation images, ldnq {' '.join(options)}")
        print(f"{'file':16} {'seconds':>8} {'MB':>5} {'float':>5} {'top-1':>6} {'agree':>6} "
              f"{'KL':>7} {'SQNR':>5} {'ms, 1':>6} {'ms, 2':>6}")
        for i, (kind, path) in enumerate(files.items()):
            found = outputs(path, images)
            best = found.argmax(axis=1)
            print(f"{kind:16} {spent[kind][0]:8.1f} {spent[kind][1]:5.0f} "
                  f"{float_kernels(path, folder):5} {100 * (best == labels).mean():6.2f} "
                  f"{100 * (best == exact.argmax(axis=1)).mean():6.2f} "
                  f"{divergence(exact, found):7.4f} "
                  f"{sqnr(exact, found) if kind != 'float' else float('inf'):5.1f} "
                  f"{one[i]:6.2f} {two[i]:6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks with this word in their name")
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("options", nargs="*", help="options of ldnq quantize, after --",
                        default=["--weights", "int8", "--solver", "gptq", "--effort", "fast"])
    arguments = parser.parse_args()
    chosen = [n for n in NETWORKS if arguments.only.lower() in n.name.lower()]
    with tempfile.TemporaryDirectory() as name:
        made = [pathlib.Path(name) / f"{i}.onnx" for i in range(len(chosen))]
        # First of all: a child's peak memory counts what this process had when it started it.
        spent = [ours(network, out, arguments.options) for network, out in zip(chosen, made)]
        for network, out, took in zip(chosen, made, spent):
            measure(network, out, took, arguments.options, arguments.turns)


if __name__ == "__main__":
    main()

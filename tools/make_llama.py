#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a network of LLaMA's form with random weights, and samples for it.

    tools/make_llama.py OUT.onnx                         1.1 billion parameters, float16 (2.2 GB)
    tools/make_llama.py OUT.onnx --blocks 4              a shorter one
    tools/make_llama.py OUT.onnx --hidden 4096 --intermediate 11008 --kv-heads 32 --blocks 1
                                                         one block of the size of 7 billion

Beside OUT.onnx it writes OUT.onnx.data with the weights and OUT.npy with the samples. Weights are
made and written a few rows at a time, so that a network of any size needs little memory.

What makes such networks hard to quantize is imitated: the singular values of a weight decay, its
elements have heavy tails, and a few channels of the residual stream are many times as large as the
others, by the embedding and by the gains of the normalizations. So inputs of layers have outlier
channels, and Gram matrices a steep spectrum.
"""

import argparse
import math
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 17
ALIGNMENT = 4096
RANK = 48  # of the part of a weight whose singular values decay
PIECE = 1 << 21  # elements that are made at once
OUTLIERS = 6  # channels of the residual stream
FREQUENCY = 10000.0


class Weights:
    """Tensors that go into the data file as they are made."""

    def __init__(self, path, seed):
        self.path, self.file = path, open(path, "wb")
        self.seed, self.tensors, self.parameters = seed, [], 0

    def close(self):
        self.file.close()

    def _add(self, name, shape, pieces):
        self.file.write(b"\0" * (-self.file.tell() % ALIGNMENT))
        start = self.file.tell()
        for piece in pieces:
            self.file.write(piece.astype(np.float16).tobytes())
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape,
                             data_location=TensorProto.EXTERNAL)
        for key, value in [("location", self.path.name), ("offset", start),
                           ("length", self.file.tell() - start)]:
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        self.parameters += math.prod(shape)
        return name

    def vector(self, name, values):
        return self._add(name, values.shape, [values])

    def matrix(self, name, inputs, outputs, gain=1.0):
        """Half of the power is of rank RANK, half is noise with heavy tails."""
        rng = np.random.default_rng([self.seed, len(self.tensors)])
        spectrum = np.arange(1, RANK + 1) ** -.6
        spectrum *= 1 / np.sqrt((spectrum ** 2).sum())
        right = (rng.standard_normal((RANK, outputs)) * spectrum[:, None]).astype(np.float32)
        scale = np.float32(gain / math.sqrt(2 * inputs))

        def pieces():
            rows = max(1, PIECE // outputs)
            for first in range(0, inputs, rows):
                count = min(rows, inputs - first)
                left = rng.standard_normal((count, RANK), dtype=np.float32)
                noise = rng.standard_normal((count, outputs), dtype=np.float32)
                noise *= .75 + .14 * noise * noise
                yield (left @ right + noise) * scale

        return self._add(name, (inputs, outputs), pieces())


def make_network(weights, args):
    heads, kv_heads, head = args.heads, args.kv_heads, args.hidden // args.heads
    nodes, constants = [], {}
    rng = np.random.default_rng(args.seed)
    outliers = rng.choice(args.hidden, OUTLIERS, replace=False)

    def add(kind, inputs, name, **attrs):
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attrs))
        return name

    def constant(name, values, dtype):
        constants[name] = onnx.numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def normalize(source, name):
        """RMSNorm, which computes in float32."""
        gains = np.abs(1 + .2 * rng.standard_normal(args.hidden))
        gains[outliers] *= rng.uniform(2, 6, OUTLIERS)
        wide = add("Cast", [source], f"{name}/wide", to=TensorProto.FLOAT)
        power = add("ReduceMean", [add("Mul", [wide, wide], f"{name}/square")], f"{name}/power",
                    axes=[-1])
        root = add("Sqrt", [add("Add", [power, "epsilon"], f"{name}/sum")], f"{name}/root")
        unit = add("Cast", [add("Div", [wide, root], f"{name}/unit")], f"{name}/narrow",
                   to=TensorProto.FLOAT16)
        return add("Mul", [unit, weights.vector(f"{name}.weight", gains)], f"{name}/out")

    def project(source, name, inputs, outputs, gain=1.0):
        return add("MatMul", [source, weights.matrix(f"{name}.weight", inputs, outputs, gain)],
                   name)

    def split_heads(source, name, count):
        shape = constant(f"shape{count}", [0, 0, count, head], np.int64)
        return add("Transpose", [add("Reshape", [source, shape], f"{name}/split")], f"{name}/heads",
                   perm=[0, 2, 1, 3])

    def rotate(source, name):
        left = add("Slice", [source, "zero", "half", "last"], f"{name}/left")
        right = add("Slice", [source, "half", "whole", "last"], f"{name}/right")
        turned = add("Concat", [add("Neg", [right], f"{name}/minus"), left], f"{name}/turned",
                     axis=-1)
        return add("Add", [add("Mul", [source, "cosine"], f"{name}/even"),
                           add("Mul", [turned, "sine"], f"{name}/odd")], f"{name}/rotated")

    def repeat(source, name):
        """Each head of the keys or values serves several of the queries."""
        if heads == kv_heads:
            return source
        one = constant("one_group", [0, kv_heads, 1, args.length, head], np.int64)
        all_of = constant("all_groups", [1, kv_heads, heads // kv_heads, args.length, head],
                          np.int64)
        back = constant("all_heads", [0, heads, args.length, head], np.int64)
        wide = add("Expand", [add("Reshape", [source, one], f"{name}/one"), all_of], f"{name}/all")
        return add("Reshape", [wide, back], f"{name}/repeated")

    constant("epsilon", 1e-5, np.float32)
    for name, value in [("zero", 0), ("half", head // 2), ("whole", head), ("last", -1)]:
        constant(name, [value], np.int64)
    angle = np.outer(np.arange(args.length), FREQUENCY ** (-np.arange(0, head, 2) / head))
    constant("cosine", np.tile(np.cos(angle), 2), np.float16)
    constant("sine", np.tile(np.sin(angle), 2), np.float16)
    constant("mask", np.triu(np.full((args.length, args.length), -1e4), 1), np.float16)
    constant("scale", 1 / math.sqrt(head), np.float16)
    merged = constant("merged", [0, 0, args.hidden], np.int64)

    stream = add("Gather", [weights.matrix("embedding.weight", args.vocabulary, args.hidden,
                                           math.sqrt(args.vocabulary)), "ids"], "embedding")
    loud = np.ones(args.hidden)
    loud[outliers] = rng.uniform(8, 30, OUTLIERS)
    stream = add("Mul", [stream, weights.vector("embedding.gain", loud)], "embedding/loud")
    kv = kv_heads * head
    for i in range(args.blocks):
        name = f"block{i}"
        x = normalize(stream, f"{name}/norm1")
        q = rotate(split_heads(project(x, f"{name}/q", args.hidden, args.hidden), f"{name}/q",
                               heads), f"{name}/q")
        k = rotate(split_heads(project(x, f"{name}/k", args.hidden, kv), f"{name}/k", kv_heads),
                   f"{name}/k")
        v = split_heads(project(x, f"{name}/v", args.hidden, kv), f"{name}/v", kv_heads)
        turned = add("Transpose", [repeat(k, f"{name}/k")], f"{name}/k/columns", perm=[0, 1, 3, 2])
        scores = add("Mul", [add("MatMul", [q, turned], f"{name}/products"), "scale"],
                     f"{name}/scaled")
        share = add("Softmax", [add("Add", [scores, "mask"], f"{name}/masked")], f"{name}/share",
                    axis=-1)
        mixed = add("MatMul", [share, repeat(v, f"{name}/v")], f"{name}/mixed")
        mixed = add("Reshape", [add("Transpose", [mixed], f"{name}/mixed/turned",
                                    perm=[0, 2, 1, 3]), merged], f"{name}/attention")
        stream = add("Add", [stream, project(mixed, f"{name}/o", args.hidden, args.hidden, .5)],
                     f"{name}/sum1")
        x = normalize(stream, f"{name}/norm2")
        gate = project(x, f"{name}/gate", args.hidden, args.intermediate)
        silu = add("Mul", [gate, add("Sigmoid", [gate], f"{name}/sigmoid")], f"{name}/silu")
        product = add("Mul", [silu, project(x, f"{name}/up", args.hidden, args.intermediate)],
                      f"{name}/product")
        stream = add("Add", [stream, project(product, f"{name}/down", args.intermediate,
                                             args.hidden, .5)], f"{name}/sum2")
    if args.no_head:
        add("Identity", [stream], "out")
        width = args.hidden
    else:
        project(normalize(stream, "norm"), "out", args.hidden, args.vocabulary, .3)
        width = args.vocabulary
    return helper.make_graph(
        nodes, "llama", [helper.make_tensor_value_info("ids", TensorProto.INT64,
                                                       ["N", args.length])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT16, ["N", args.length, width])],
        [*constants.values(), *weights.tensors])


def make_samples(args):
    """Words as often as in text: the n-th has a share of 1/n."""
    rng = np.random.default_rng([args.seed, 1])
    share = 1 / (np.arange(args.vocabulary) + 3.0)
    return rng.choice(args.vocabulary, (args.samples, args.length), p=share / share.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name, default in [("blocks", 22), ("hidden", 2048), ("intermediate", 5632), ("heads", 32),
                          ("kv-heads", 4), ("vocabulary", 32000), ("length", 256),
                          ("samples", 32), ("seed", 0)]:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--no-head", action="store_true",
                        help="end after the last block, without the product with the vocabulary")
    args = parser.parse_args()
    weights = Weights(args.out.with_name(args.out.name + ".data"), args.seed)
    graph = make_network(weights, args)
    weights.close()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                ir_version=8), args.out)
    np.save(args.out.with_suffix(".npy"), make_samples(args).astype(np.int64))
    print(f"{args.out}: {weights.parameters / 1e6:.1f} million parameters")


if __name__ == "__main__":
    main()

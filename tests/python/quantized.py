# SPDX-License-Identifier: Apache-2.0
"""What the tests of `ldnq quantize` share: running it, and all that a written file promises."""

import re

import numpy as np
import onnx
from onnx import TensorProto

import support
from support import DIGITS, save

CODES = {
    "ternary": {-1, 0, 1},
    "pot5": {0, *(s * 2**i for s in (-1, 1) for i in range(2))},
    "pot7": {0, *(s * 2**i for s in (-1, 1) for i in range(3))},
    "pot9": {0, *(s * 2**i for s in (-1, 1) for i in range(4))},
    "pot11": {0, *(s * 2**i for s in (-1, 1) for i in range(5))},
    "int2": set(range(-2, 2)),
    "int3": set(range(-4, 4)),
    "int4": set(range(-8, 8)),
    "int8": set(range(-128, 128)),
}
# What a solver alone makes of the samples as they are, each layer aiming at its own weight.
BASELINE = ["--effort", "fast", "--lambda", 0]
OPSET_OF_BITS = {2: 25, 4: 21, 8: 10}
DTYPE_OF_BITS = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.INT8}
DIGIT_FILES = [DIGITS / "digits-ts.onnx", DIGITS / "digits-dynamo.onnx"]


def bits_needed(codebook):
    low, high = min(CODES[codebook]), max(CODES[codebook])
    return next(b for b in (2, 4, 8) if -(2 ** (b - 1)) <= low and high < 2 ** (b - 1))


def expected_storage(opset, codebook, granularity, storage):
    """(bits, opset) after src/emit/emit.h."""
    opset = max(opset, 13 if granularity == "channel" else 10)
    if storage != "auto":
        bits = int(storage[3:])
        return bits, max(opset, OPSET_OF_BITS[bits])
    bits = bits_needed(codebook)
    return bits, max(opset, OPSET_OF_BITS[bits])


def opset_of(proto):
    return next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))


def quantize(source, out, calib, *options):
    setting = support.WEIGHTS_ALONE if "--budget" in options else support.TERNARY
    return support.answer("quantize", source, *setting, "-o", out, "--calib", calib, *options)


def assert_valid(source, out, feeds, folder, codebook="ternary", granularity="channel",
                 storage="auto"):
    """All that a written file promises. Returns its quantized weights and outputs."""
    support.check(out)
    outputs = support.assert_same_outputs(out, feeds, folder)
    bits, opset = expected_storage(opset_of(onnx.load(source)), codebook, granularity, storage)
    assert opset_of(onnx.load(out)) == opset
    made = [q for q in support.quantized_weights(out)
            if re.search(r"_quantized(_\d+)?$", q.node.input[0])]
    for q in made:
        assert q.dtype == DTYPE_OF_BITS[bits]
        assert set(np.unique(q.codes)) <= CODES[codebook]
        assert (q.scales != 0).all() and q.scales.dtype == np.float32
        # Outputs lie along the first axis (see src/emit for the ones that did not), but for
        # ConvTranspose.
        axis = 1 if q.readers[0].op_type == "ConvTranspose" else 0
        assert q.axis == (axis if granularity == "channel" else None)
        assert q.scales.shape == ((q.codes.shape[axis],) if granularity == "channel" else ())
    return made, outputs


def inspect(source):
    return {layer["node"]: layer for layer in support.answer("inspect", source)["layers"]}


def prepare(build, tmp_path):
    """(file, calibration data, feeds, number of weights) of a small model."""
    proto, shape, count = build()
    source = save(proto, tmp_path / "m.onnx")
    support.check(source)
    if isinstance(shape, dict):
        rng = np.random.default_rng(5)
        arrays = {name: rng.normal(0.5, 1, (24, *dims)).astype(np.float32)
                  for name, dims in shape.items()}
        np.savez(tmp_path / "calib.npz", **arrays)
        return source, tmp_path / "calib.npz", {n: a[:2] for n, a in arrays.items()}, count
    calib = support.save_samples(tmp_path / "calib.npy", *shape)
    data = np.load(calib)
    first = proto.graph.input[0].type.tensor_type.shape.dim
    return source, calib, {"x": data[:2] if len(first) == data.ndim else data[0]}, count
